"""How sure an answer is: intervals for divergence, prices, maps, bounds (theory.md section 13)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache, partial
from typing import Any

import numpy as np
from scipy.special import ndtri

from fairprog.errors import DataError, FairprogError, ModelError
from fairprog.labels import Array, check_count, check_number
from fairprog.populations import Transformed
from fairprog.populations.evaluation import binary_rates
from fairprog.programs.answer import Answer
from fairprog.programs.estimation_error import (
    MOST,
    Error,
    displaced,
    estimation_error,
    random_error,
    rows_of_cells,
)
from fairprog.programs.geometries.base import Geometry
from fairprog.programs.geometries.normal import NormalGeometry
from fairprog.programs.ideality import chance_of
from fairprog.programs.nearest_ideal import NearestIdeal
from fairprog.programs.responses.linear_response import geometry_of, response_of
from fairprog.programs.responses.normal_response import NormalResponse
from fairprog.solution import Solution
from fairprog.solution.bounds import Bounds, largest_moves_slope, total_variation_slope
from fairprog.solution.inferred import Deferred, Estimate, Inference, estimate

STEP = 0.05  # of central differences, in standard deviations of the estimate
MOST_FEATURES = 256  # beyond, no system with the Hessian of normal maps is solved: KL alone
MOST_OF_MAPS = 64  # the same for one system per entry of a map
MANY, FEW = 24, 60  # beyond so many features differences are taken along so many random directions
DESCENTS = (
    24,
    6,
)  # directions along which all groups' maps descend: up to four features, and beyond
BOUNDS = ("equal_opportunity", "equalized_odds", "risk")

Values = dict[tuple[str, Any], Any]  # (what, of what)


def inference_of(
    sol: Solution,
    confidence: float,
    method: str,
    moments: Any,
    n_bootstrap: int,
    random_state: int,
) -> Inference:
    """Return the intervals of a solution; see ``Solution.inference``."""
    if method not in ("delta", "bootstrap"):
        raise ModelError(
            f"`method` must be 'delta' or 'bootstrap'; found {method!r}.", argument="method"
        )
    if not 0.0 < check_number(confidence, "confidence") < 1.0:
        raise DataError(
            f"`confidence` must lie between 0 and 1, such as 0.95; found {confidence!r}.",
            argument="confidence",
        )
    settings = dict(sol.settings)
    if settings["constraints"] or settings["map_bound"]:
        raise ModelError(
            "Intervals are for exact ideality; this answer has a `map_bound` or conditions.",
            argument="method",
        )
    program = NearestIdeal(sol.original, **settings)
    n = int(rows_of_cells(sol.original).sum())
    z = float(ndtri(0.5 + 0.5 * confidence))
    geometry = program.geometry
    maps: dict[str, Any] = {}
    if method == "delta" and type(geometry) is NormalGeometry and geometry.is_convex:
        found, maps = _normal(sol, geometry, z, random_state)
    elif method == "delta":
        base = _values(sol, geometry.D)
        found = _delta(sol, geometry, base, z, np.random.default_rng(random_state))
    else:
        count = check_count(n_bootstrap, "n_bootstrap")
        drawn = _replicates(sol, program, moments, count, random_state)
        base = _values(sol, geometry.D)
        found = _spread(base, [_values(again, again.original.core) for again in drawn], z)
    pvalue = None
    with suppress(ModelError):
        pvalue = chance_of(program, sol.kl, n)[2]
    return Inference(
        confidence=confidence,
        method="parametric bootstrap" if method == "bootstrap" and moments is None else method,
        n=n,
        kl=found["kl", None],
        gap=found.get(("gap", None)),
        pvalue=pvalue,
        **{
            name: {k: e for (what, k), e in found.items() if what == name}
            for name in ("price", "matrix", "offset", "bounds")
        }
        | maps,
    )


def _values(sol: Solution, D: Any) -> Values:
    """Return what a solution says, by name."""
    out: Values = {("kl", None): sol.kl}
    out |= {("price", name): value for name, value in sol.price.items()}
    for g, T in sol.affine.items():
        if g != sol.settings["reference"]:
            out |= {("matrix", g): T.matrix, ("offset", g): T.offset}
    out |= _bounds(sol.bounds)
    return out | _gap(D)


def _bounds(bounds: Bounds) -> Values:
    return {("bounds", name): getattr(bounds, name)() for name in BOUNDS}


def _gap(D: Any, near: float | None = None) -> Values:
    """Return the largest gap in P(predicted positive | group), where it is exact and cheap."""
    if D.n_features != 1 or D.n_classes != 2:
        return {}
    return {("gap", None): _worst_gap(D, near)[0]}


def _worst_gap(D: Any, near: float | None = None) -> tuple[float, float]:
    """Return the largest gap over thresholds on the log odds, all or those near one, and where.

    It may be at a kink, where log odds have an end, so that it is sought anew nearby.
    """
    t = np.linspace(-8.0, 8.0, 161) if near is None else near + np.linspace(-0.1, 0.1, 61)
    for width in (0.1, 3.4e-3, 1.2e-4)[near is not None :]:
        gaps = np.ptp((D.base_rates * binary_rates(D, t)[..., 1]).sum(axis=1), axis=1)
        best = int(gaps.argmax())
        value, at = float(gaps[best]), float(t[best])
        t = at + width * np.linspace(-1.0, 1.0, 61)
    return value, at


# -- the delta method on normal laws --


def _normal(
    sol: Solution, geometry: NormalGeometry, z: float, random_state: int
) -> tuple[dict[tuple[str, Any], Estimate], dict[str, Any]]:
    """Return intervals from analytic derivatives; those of the maps when they are asked for."""
    response = NormalResponse(geometry, sol.affine)
    se: dict[tuple[str, Any], float] = {("kl", None): float(response.errors(response.kl))}
    base: Values = {("kl", None): sol.kl}
    if geometry.n_features == 1 and geometry.D.n_classes == 2:
        base["gap", None], at = _worst_gap(geometry.D)
        se["gap", None] = response.gap(at)
    if len(response.pooled) > MOST_FEATURES:
        return {key: _estimate(key, base[key], se[key], z) for key in se}, {}
    bounds = sol.bounds
    by_cell = np.stack([largest_moves_slope(bounds.cell_kl, i) for i in (-1, None)])
    by_cell = by_cell[: 1 if np.array_equal(*by_cell) else 2]  # often one and the same class
    of_bounds, (of_price, bias_of_price), bias = response.numbers(
        by_cell, np.random.default_rng(random_state)
    )
    biases = {"kl": bias, "price": bias_of_price}
    se |= zip(
        [("bounds", name) for name in BOUNDS[:2]], np.broadcast_to(of_bounds, 2), strict=True
    )
    se["bounds", "risk"] = se["kl", None] * float(total_variation_slope(sol.kl))
    if "consensus" in sol.price:
        se["price", "consensus"] = of_price
        base["price", "consensus"] = sol.price["consensus"]
    base |= _bounds(bounds)

    names = [frame.group for frame in response.frames]
    entries = cache(lambda k: response.entries(k, np.random.default_rng(random_state)))

    def part(name: str, k: int, g: Any) -> Estimate:
        error, bias = entries(names.index(g))[k]
        return estimate(getattr(sol.affine[g], name), error, z, bias)

    if len(response.pooled) > MOST_OF_MAPS:
        names = []
    maps = {
        name: Deferred(names, partial(part, name, k))
        for k, name in enumerate(("matrix", "offset"))
    }
    return {key: _estimate(key, base[key], se[key], z, biases.get(key[0])) for key in se}, maps


# -- the delta method on other laws --


def _delta(
    sol: Solution, geometry: Geometry, base: Values, z: float, rng: np.random.Generator
) -> dict[tuple[str, Any], Estimate]:
    """Return intervals from central differences along the directions of the estimate's error."""
    follow = _follower(sol, geometry)
    error = estimation_error(geometry.D, rng, FEW if geometry.n_features > MANY else MOST)
    squares: dict[tuple[str, Any], Any] = {}
    ends, with_maps = [], any(what == "matrix" for what, _ in follow(geometry.D))
    for move in error.moves:
        up, down = (follow(error.moved(move, sign * STEP)) for sign in (1, -1))
        for key in up:
            slope = (up[key] - down[key]) / (2.0 * STEP)
            squares[key] = squares.get(key, 0.0) + error.weight * np.square(slope)
        ends.append(up["kl", None] + down["kl", None])
    biases = {}
    if with_maps:
        biases["kl"] = _bias(error, sol.kl, ends, lambda D: follow(D)["kl", None])
    elif type(geometry) is NormalGeometry and geometry.question.base_rates != "joint":
        biases["kl"] = _bias_of_all_groups(sol, geometry, rng)
    return {
        key: _estimate(key, base[key], np.sqrt(square), z, biases.get(key[0]))
        for key, square in squares.items()
    }


def _bias(error: Error, here: float, ends: list[float], kl: Callable[[Any], float]) -> float:
    """Return the bias of KL, from the sums of its values at both ends of every direction."""
    bias = 0.5 * error.weight * float(np.sum(np.array(ends) - 2.0 * here)) / STEP**2
    if error.bias is not None:
        up, down = (kl(error.moved(error.bias, sign * STEP)) for sign in (1, -1))
        bias += (up - down) / (2.0 * STEP)
    return bias


def _bias_of_all_groups(
    sol: Solution, geometry: NormalGeometry, rng: np.random.Generator
) -> float:
    """Return the bias of KL where all groups are steered: their maps descend anew, from here."""
    maps = list(sol.affine.values())
    error = estimation_error(geometry.D, rng, DESCENTS[geometry.n_features > 4])

    def kl(D: Any) -> float:
        at: Any = geometry_of(geometry, D)
        return float(at.least_nearby(maps))

    ends = [sum(kl(error.moved(v, sign * STEP)) for sign in (1, -1)) for v in error.moves]
    return _bias(error, kl(geometry.D), ends, kl)


def _estimate(
    key: tuple[str, Any], value: Any, se: Any, z: float, bias: float | None = None
) -> Estimate:
    return estimate(value, se, z, bias, -np.inf if key[0] in ("matrix", "offset") else 0.0)


def _follower(sol: Solution, geometry: Geometry) -> Any:
    """Return what the solution says near its population, to first order, KL to second."""
    if not geometry.is_convex and "closed-form" not in geometry.solvers():
        return _closed_form(sol)
    if not geometry.is_convex:
        return _envelope(sol, geometry)
    one = geometry.n_features == 1 and geometry.D.n_classes == 2
    near = _worst_gap(geometry.D)[1] if one else None
    names = [geometry.D.groups[a] for a in geometry.question.steered]
    responses = [response_of(geometry, k, sol.affine[g]) for k, g in enumerate(names)]

    def follow(D: Any) -> Values:
        at = geometry_of(geometry, D)
        answer = Answer([r.at(at) for r in responses], "delta")
        out = _follow_maps(at, answer)
        if "consensus" in sol.price:
            norms = (sum(g.problem.prices(own)) for g in answer.groups for own in g.gradients())
            out["price", "consensus"] = float(sum(norms))
        for g in answer.groups:
            T = g.user_map
            out |= {("matrix", g.group): T.matrix, ("offset", g.group): T.offset}
        return out | _gap(D, near)

    return follow


def _follow_maps(at: Geometry, answer: Answer) -> Values:
    """Return divergence and bounds of maps in the program of a population nearby."""
    E, D = at.pushed(answer, at.common_laws(answer)), at.D
    V, rates = E.cell_divergences(D), E.base_rates
    between = (rates * np.log(rates / D.base_rates)).sum(axis=0)
    kl = float((E.prior * V).sum()) + at.question.prior_kl
    return {("kl", None): kl} | _bounds(Bounds(kl, V, between, rates, D.classes, D.groups))


def _closed_form(sol: Solution) -> Any:
    """Return what the closed form says of populations nearby."""

    def follow(D: Any) -> Values:
        return _values(NearestIdeal(D, **sol.settings).solve("closed-form"), D)

    return follow


def _envelope(sol: Solution, geometry: Geometry) -> Any:
    """Return KL with all groups steered: the steered population is free, so that it may stay."""
    E: Any = sol.population.core

    def follow(D: Any) -> Values:
        question = geometry_of(geometry, D).question
        V = E.cell_divergences(D)
        kl = question.prior_kl + float((question.prior * V).sum())
        return {("kl", None): kl} | _gap(D)

    return follow


# -- the bootstrap --


def _replicates(
    sol: Solution, program: NearestIdeal, moments: Any, count: int, random_state: int
) -> Iterator[Solution]:
    """Yield the answers of replicates: of the gathered rows, or drawn from the fitted laws."""
    from tqdm import tqdm

    settings = dict(sol.settings)
    count = count if moments is None else moments.n_replicates
    solver = "newton" if "closed-form" in program.refused_solvers else "closed-form"
    drawn = (
        moments.replicates(covariance=getattr(sol.original, "covariance", None))
        if moments is not None
        else _parametric(sol.original, count, random_state)
    )
    done = 0
    for D in tqdm(drawn, total=count, desc="bootstrap", delay=3.0, leave=False, disable=None):
        with suppress(FairprogError):  # a draw that has lost a cell
            found = NearestIdeal(D, **settings).solve(solver)
            done += 1
            yield found
    if done < max(2, count // 2):
        raise ModelError(
            f"Only {done} of the draws have an answer: some cells have too few rows.",
            argument="method",
        )


def _parametric(D: Any, count: int, random_state: int) -> Iterator[Any]:
    core, rng, n = D.core, np.random.default_rng(random_state), rows_of_cells(D)
    for _ in range(count):
        again = displaced(core, random_error(core, rng)).with_rows(n)
        yield Transformed(again, D.bijection) if isinstance(D, Transformed) else again


def _spread(base: Values, drawn: list[Values], z: float) -> dict[tuple[str, Any], Estimate]:
    """Return intervals from the spread of replicates."""
    out = {}
    for key, value in base.items():
        found: Array = np.array([again[key] for again in drawn])
        bias = float(found.mean() - value) if key[0] == "kl" else None
        out[key] = _estimate(key, value, found.std(axis=0, ddof=1), z, bias)
    return out
