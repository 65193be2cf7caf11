"""Frontiers: one program compiled once, its bound a Parameter, solved at every bound."""

from __future__ import annotations

import copy
import itertools
import time
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from fairprog.errors import DataError, InfeasibleError, ModelError, SolverError
from fairprog.labels import Array, check_finite, check_number
from fairprog.populations import Categorical, Support
from fairprog.programs.answer import Answer, assemble
from fairprog.programs.classifier_answer import assemble_classifier
from fairprog.programs.group_maps import read_maps
from fairprog.programs.nearest_normal import NearestNormal
from fairprog.programs.options import CONIC
from fairprog.programs.solvers import refuse_collapse
from fairprog.solution.classifier_solution import TOLERANCE
from fairprog.solution.frontier import Frontier
from fairprog.tables import Constraint

if TYPE_CHECKING:
    from fairprog.programs.fair_classifier import FairClassifier
    from fairprog.programs.nearest_ideal import NearestIdeal

__all__ = ["classifier_frontier", "nearest_frontier"]


def classifier_frontier(
    program: FairClassifier,
    bounds: ArrayLike,
    constraint: str | None = None,
    *,
    bootstrap: int = 0,
    sample_size: int | None = None,
    confidence: float = 0.9,
    random_state: int | np.random.Generator = 0,
    solver: str = "auto",
    progress: bool = True,
) -> Frontier:
    """Return risk and price of a fair classifier at every bound; see FairClassifier.frontier.

    Parameters
    ----------
    program : FairClassifier
    bounds : array_like, shape (n,)
        Values of the constraint's bound. A notion's bound 0 is the program with equalities; all
        other bounds share one compilation.
    constraint : str, optional
        Name of the constraint whose bound is swept; default the only one that has a bound.
    bootstrap : int, default 0
        Number of resampled populations for bands: the in-sample frontier of a multinomial sample
        of `sample_size` rows. Where the posteriors are scores that were given
        (``from_scores`` without `y`), rows are drawn and keep their scores; else labels are drawn
        with them and counted again.
    sample_size : int, optional
        Rows the population was counted from; default ``population.n_rows``.
    confidence : float
        The bands hold this share of the bootstrap frontiers at each bound.
    random_state, solver
        As elsewhere.
    progress : bool
        Show a progress bar over the bootstrap.

    Returns
    -------
    Frontier
    """
    started = time.perf_counter()
    key = _swept(program, constraint)
    values = np.atleast_1d(check_finite(bounds, "bounds"))
    risks, prices, compilations, solves = _sweep(program, key, values, solver)
    samples = bands = None
    if bootstrap:
        size = program.population.n_rows if sample_size is None else sample_size
        if size is None:
            raise ModelError(
                "`sample_size` is required: this population does not know how many rows it was "
                "counted from.",
                argument="sample_size",
            )
        samples = _bootstrap(
            program, key, values, int(bootstrap), int(size), random_state, solver, progress
        )
        tail = 0.5 * (1.0 - check_number(confidence, "confidence"))
        bands = (np.quantile(samples, tail, axis=0), np.quantile(samples, 1.0 - tail, axis=0))
    return Frontier(
        values,
        risks,
        prices,
        f"{program.constraints[key].bound_field} of {key}",
        program.risk.name,
        bands,
        samples,
        confidence if bootstrap else None,
        compilations,
        solves,
        time.perf_counter() - started,
    )


def _swept(program: FairClassifier, name: str | None) -> str:
    bounded = [
        k
        for k, c in program.constraints.items()
        if isinstance(c, Constraint) and c.bound_field is not None
    ]
    if name is None and len(bounded) == 1:
        name = bounded[0]
    if name not in bounded:
        raise ModelError(
            f"`constraint` must name one of the constraints with a bound, {bounded}; found "
            f"{name!r}.",
            argument="constraint",
        )
    if program._free is not None:
        raise ModelError(
            f"{program._free!r} leaves its level free, so there is no one convex program per "
            "bound; fix the `level`.",
            argument="constraint",
        )
    return name


def _sweep(
    program: FairClassifier, key: str, bounds: Array, solver: str
) -> tuple[Array, Array, int, int]:
    """Return risks, prices, number of compilations and of solver calls."""
    from fairprog.programs.compile import StandardForm

    how: tuple[Any, ...] = (solver, None, False, {})
    risks, prices = np.full(len(bounds), np.nan), np.full(len(bounds), np.nan)
    compilations = solves = 0
    template = program.constraints[key]
    parameter = form = compiled = slope = None
    for k in np.argsort(-bounds, kind="stable"):  # from loose to tight: warm starts
        bound = float(bounds[k])
        at_bound = template.with_bound(bound)
        if parameter is None or bound == 0.0:
            chosen = {**program.constraints, key: at_bound}
            fresh = program.compile(chosen)
            own = StandardForm(fresh.problem)
            if own.solve(*how) == "infeasible":
                raise program._infeasible(chosen)
            compilations += own.compilations
            if key not in fresh.bounds:  # equalities: the smallest price, like `solve`
                solution = assemble_classifier(program, fresh, own, chosen, True, 0.0)
                _check(solution.certificate.ok, bound, solution.certificate)
                risks[k], prices[k] = solution.risk, solution.price[key]
                solves += own.solves
                continue
            if parameter is None:
                parameter, form, compiled = fresh.bounds[key], own, fresh
                slope = form.derivative(parameter, 1.0)
        else:
            parameter.value = bound
            assert form is not None
            if form.solve(*how) == "infeasible":
                raise program._infeasible({**program.constraints, key: at_bound})
        assert form is not None and compiled is not None and slope is not None
        residuals = form.residuals()
        _check(max(residuals.values()) <= TOLERANCE, bound, residuals)
        sign = -1.0 if template.bound_field == "ratio_bound" else 1.0
        risks[k] = compiled.unit * float(compiled.problem.value)
        prices[k] = sign * compiled.unit * float((slope[0] - slope[1] @ form.x) @ form.y)
    solves += 0 if form is None else form.solves
    return risks, prices, compilations, solves


def _check(ok: bool, bound: float, proof: Any) -> None:
    if not ok:
        raise SolverError(
            f"The answer at bound {bound:g} fails its certificate: {proof}.",
            status="unverified",
            details={"certificate": proof},
        )


def _bootstrap(
    program: FairClassifier,
    key: str,
    bounds: Array,
    count: int,
    size: int,
    random_state: int | np.random.Generator,
    solver: str,
    progress: bool,
) -> Array:
    from tqdm.auto import tqdm

    rng = np.random.default_rng(random_state)
    out = np.empty((count, len(bounds)))
    for r in tqdm(range(count), desc="bootstrap", disable=not progress, leave=False):
        again = copy.copy(program)
        again.population = _resample(program.population, size, rng)
        out[r] = _sweep(again, key, bounds, solver)[0]
    return out


def _resample(D: Categorical, size: int, rng: np.random.Generator) -> Categorical:
    """Return the population of `size` rows drawn from D, counted again.

    Posteriors that were given as scores stay what they are: a sample of rows changes the weights
    alone (were labels drawn and counted, every row would know its own).
    """
    s = D.support
    for _ in range(100):
        if D.scores_given:
            count = rng.multinomial(size, s.weight / s.weight.sum())
            kept = count > 0
            drawn = Support(s.atom[kept], s.group[kept], count[kept] / size, s.score[kept])
            mass = np.zeros((D.n_groups, D.n_classes))
            np.add.at(mass, drawn.group, drawn.posterior * drawn.weight[:, None])
            if np.all(mass > 0):
                return Categorical._from_support(drawn, D.n_atoms, D._values, D.classes, D.groups)
            continue
        joint = rng.multinomial(size, D.joint.ravel() / D.joint.sum()).reshape(D.joint.shape)
        if np.all(joint.sum(axis=0) > 0):
            return Categorical(joint / size, values=D.values, classes=D.classes, groups=D.groups)
    raise DataError(
        f"Samples of {size} rows leave a class of some group empty: too few for bands.",
        argument="sample_size",
    )


def _one_by_one(
    program: NearestIdeal, bounds: Array, time_limit: float | None, started: float
) -> Frontier:
    """Solve a program of another family at every bound (NaN where no price is known)."""
    found = []
    for bound in bounds:
        found.append(program.at_map_bound(float(bound)).solve(time_limit=time_limit))
    return Frontier(
        bounds,
        np.array([solution.kl for solution in found]),
        np.array([solution.price.get("consensus", np.nan) for solution in found]),
        "map_bound",
        "KL divergence (nats)",
        quantity="kl",
        compilations=len(found),
        solves=len(found),
        seconds=time.perf_counter() - started,
    )


def nearest_frontier(
    program: NearestIdeal, map_bounds: ArrayLike, *, time_limit: float | None = None
) -> Frontier:
    """Return KL and the price of consensus at every `map_bound`.

    Parameters
    ----------
    program : NearestIdeal
        With some group that stays; its own `map_bound` is ignored.
    map_bounds : array_like, shape (n,)
        Distances between maps, at least 0. 0 is solved exactly; the others share one compilation.
    time_limit : float, optional
        Seconds per solve.

    Returns
    -------
    Frontier
    """
    from fairprog.programs.compile import solve

    started = time.perf_counter()
    bounds = np.atleast_1d(check_finite(map_bounds, "map_bounds"))
    if np.any(bounds < 0):
        raise DataError("`map_bounds` must be at least 0.", argument="map_bounds")
    program.at_map_bound(float(bounds.max()))  # refuses programs that take none
    if not isinstance(program, NearestNormal):
        return _one_by_one(program, bounds, time_limit, started)
    if not program.staying:
        raise ModelError(
            "steer='all' is not one convex program and takes no `map_bound`; steer all groups "
            "but one instead.",
            argument="map_bounds",
        )
    kl, price = np.full(len(bounds), np.nan), np.full(len(bounds), np.nan)
    solves = 0
    compiled: list[Any] = []
    for k, bound in enumerate(bounds):
        at_bound = copy.copy(program)
        at_bound.map_bound = float(bound)
        if bound == 0.0:
            solution = at_bound.solve(time_limit=time_limit)
        else:
            if not compiled:
                mirror = program.orientation == "any"
                choices = itertools.product(
                    *([f, f.mirrored()] if mirror else [f] for f in program.frames())
                )
                compiled = [at_bound.compile(frames) for frames in choices]
            best: Answer | None = None
            failure: InfeasibleError | None = None
            for one in compiled:
                one.map_bound.value = float(bound)
                one.log.clear()
                try:
                    solve(one, CONIC, time_limit, False, {})
                except InfeasibleError as error:
                    failure = error
                    continue
                answer = Answer(read_maps(one), one.solver, globally_optimal=True)
                answer.compiled = one
                if best is None or answer.cost() < best.cost():
                    best = answer
                    refuse_collapse(at_bound, best)
                    solution = assemble(at_bound, best, 0.0)
            if best is None:
                assert failure is not None
                raise failure
            _check(solution.certificate.ok, float(bound), solution.certificate)
        solves += 1
        kl[k], price[k] = solution.kl, solution.price.get("consensus", np.nan)
    return Frontier(
        bounds,
        kl,
        price,
        "map_bound",
        "KL divergence (nats)",
        quantity="kl",
        compilations=len(compiled),
        solves=solves,
        seconds=time.perf_counter() - started,
    )
