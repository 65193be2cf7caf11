"""The exact fast path for group-aware classifiers over binary scores.

Every group's optimal rule is a threshold on its score, so a program over n rows is one over the
G regions of rates that threshold rules reach (theory.md section 8): sort once per group, then
O(G log n) per step. One notion with one event is solved by bisection on its level, everything
else that is linear in the outcome table by cutting planes. The answer is proved from the rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fairprog.errors import InfeasibleError, SolverError
from fairprog.kernels.scores.one_rate import balanced_slopes, rule_at_rate, solve_one_rate
from fairprog.kernels.scores.score_cuts import solve_with_cuts
from fairprog.kernels.scores.score_multipliers import (
    least_multipliers,
    multiplier_polyhedron,
    price_range,
)
from fairprog.kernels.scores.score_rules import prove_rules, rule_at_point
from fairprog.kernels.scores.sorted_scores import Curve, best_response, sort_scores, total
from fairprog.labels import Array
from fairprog.populations import Categorical
from fairprog.tables.rate_rows import RateRows, rate_rows

TINY = 1e-300


@dataclass(frozen=True, eq=False)
class ScoreAnswer:
    """Optimal rules with their proof.

    Attributes
    ----------
    risk : float
        Of the rules and `rows.goal`, the risk without costs nobody can avoid, recomputed from the
        rows.
    Z : Array, shape (G, 2, 2)
        Outcome table, recomputed from the rows.
    rules : Array, shape (G, 5)
        See :mod:`fairprog.kernels.scores.score_rules`.
    levels : Array, shape (L,)
    rows : RateRows
        The program, in the risk's unit; all other numbers are in the user's costs.
    marginals : Array, shape (m,)
        d risk / d target of every row.
    reduced : Array, shape (G, 2)
        Reduced cost of a unit of mass of each class predicted positive; a group's rule minimises
        (1 - eta) reduced[a, 0] + eta reduced[a, 1].
    price : tuple of floats, one per constraint
        Least valid -d risk / d bound.
    price_interval : tuple of (float, float)
        Lowest and highest valid price: infinite where a bound is zero, NaN where not looked for.
    duality_gap : float
        Risk minus the lower bound of the multipliers: a sum of nonnegative terms.
    slackness : float
        The largest of those terms.
    dual_residual : float
        How far the multipliers of a level are from their sum.
    feasibility_residual : float
        Worst violation of a row.
    method : str
        "closed-form", "bisection" or "cutting-planes".
    rounds : int
        Master problems solved; 0 for the others.
    """

    risk: float
    Z: Array
    rules: Array
    levels: Array
    rows: RateRows
    marginals: Array
    reduced: Array
    price: tuple[float, ...]
    price_interval: tuple[tuple[float, float], ...]
    duality_gap: float
    slackness: float
    dual_residual: float
    feasibility_residual: float
    method: str
    rounds: int


def _rows_of(population: Categorical, risk: Any, constraints: Sequence[Any]) -> RateRows:
    D = population
    return rate_rows(D.prior.T, D.classes, D.groups, risk, constraints, D.attributes)


def sort_groups(population: Categorical) -> list[Curve]:
    """Return the sorted scores of every group: all that programs over binary scores need."""
    s = population.support
    equal = s.weight.strides == (0,)  # all rows weigh the same
    unit = float(s.weight[0])
    return [
        sort_scores(s.score, None if equal else s.weight, unit, s.group == a)
        for a in range(population.n_groups)
    ]


def solve_scores(
    population: Categorical,
    risk: Any,
    constraints: Sequence[Any],
    price_intervals: bool = True,
    curves: Sequence[Curve] | None = None,
) -> ScoreAnswer:
    """Minimise a risk over group-aware randomised classifiers, subject to linear templates.

    Parameters
    ----------
    population : Categorical
        Binary labels.
    risk : Risk
    constraints : sequence of constraints
        Linear in the outcome table.
    price_intervals : bool
        Whether to look for the ends of the price intervals as well.
    curves : sequence of Curve, optional
        What :func:`sort_groups` returned, where many programs share a population.

    Raises
    ------
    NotLinear
        If a template is not linear in the outcome table.
    InfeasibleError
        If no classifier satisfies the constraints.
    SolverError
        If the master problem fails.
    """
    rows = _rows_of(population, risk, constraints)
    curves = sort_groups(population) if curves is None else curves
    mass = np.array([total(curve) for curve in curves])
    G = len(curves)
    cost = _per_mass(rows.objective[: 2 * G].reshape(G, 2), mass)
    one = _one_rate(rows, mass)
    marginals: Array
    levels: Array
    if not len(rows.A):
        marginals, levels, method, rounds = np.zeros(0), np.zeros(0), "closed-form", 0
        points = [best_response(c, u)[1] for c, u in zip(curves, cost, strict=True)]
        rules = np.array([rule_at_point(c, z) for c, z in zip(curves, points, strict=True)])
        price: tuple[float, ...] = tuple(0.0 for _ in constraints)
        interval: tuple[tuple[float, float], ...] = tuple((0.0, 0.0) for _ in constraints)
    elif one is not None:
        method, rounds = "bisection", 0
        rate, half_width, sign, offset = one
        rates, slopes, level = solve_one_rate(curves, cost, rate, half_width)
        slope = balanced_slopes(slopes)
        rules = np.array(
            [rule_at_rate(c, cost[a], rate[a], rates[a]) for a, c in enumerate(curves)]
        )
        marginals, levels = sign * slope, offset + sign * level
        price, interval = _one_price(slope, slopes, half_width)
    else:
        method = "cutting-planes"
        status, v, marginals, rounds = solve_with_cuts(
            curves, rows.objective, rows.A, rows.low, rows.high
        )
        if status == "infeasible":
            raise InfeasibleError(
                "No classifier satisfies all constraints.",
                status=status,
                details={"conditions": [repr(c) for c in constraints]},
            )
        if status != "optimal":
            raise SolverError(f"The master problem over scores failed: {status}.", status=status)
        points = [v[2 * a : 2 * a + 2] * mass[a] for a in range(G)]
        rules = np.array([rule_at_point(c, z) for c, z in zip(curves, points, strict=True)])
        levels = v[2 * G :]
        marginals, price, interval = _prices(
            curves, rules, rows, v, marginals, len(constraints), price_intervals
        )
    return _proved(curves, mass, rows, rules, levels, marginals, price, interval, method, rounds)


def _per_mass(coefficients: Array, mass: Array) -> Array:
    """Turn coefficients of rates into coefficients of masses; 0 where there is no mass."""
    out: Array = np.divide(coefficients, mass, out=np.zeros_like(coefficients), where=mass > 0)
    return out


def _one_rate(rows: RateRows, mass: Array) -> tuple[Array, float, float, float] | None:
    """Read the program as |sign * r_a + offset - level| <= d with nonnegative rates, if it is.

    Returns the rates per mass, d, sign and offset.
    """
    G = len(mass)
    A, m = rows.A, len(rows.A)
    if m != G or A.shape[1] != 2 * G + 1 or not np.all(A[:, -1] == -1.0):
        return None
    own = np.array([A[a, 2 * a : 2 * a + 2] for a in range(G)])
    rest = A[:, : 2 * G].copy()
    for a in range(G):
        rest[a, 2 * a : 2 * a + 2] = 0.0
    sign = 1.0 if own.sum() > 0 else -1.0
    half_width = float(rows.high[0] - rows.low[0]) / 2.0
    offset = -float(rows.high[0] + rows.low[0]) / 2.0
    same = np.ptp(rows.high) <= 1e-15 and np.ptp(rows.low) <= 1e-15
    same &= bool(np.all(rows.price_weight(np.zeros(A.shape[1])) == 0.5))
    if rest.any() or np.any(sign * own < 0) or not (np.isfinite(half_width) and same):
        return None
    return _per_mass(sign * own, mass), half_width, sign, offset


def _one_price(
    slope: Array, slopes: Array, half_width: float
) -> tuple[tuple[float, ...], tuple[tuple[float, float], ...]]:
    """Return the least price and its interval: sums of positive slopes that others can balance."""
    price = float(np.abs(slope).sum()) / 2.0
    if half_width == 0.0:
        return (price,), ((price, math.inf),)
    up = float(np.maximum(slopes[:, 1], 0.0).sum())
    down = float(np.maximum(-slopes[:, 0], 0.0).sum())
    return (price,), ((price, max(price, min(up, down))),)


def _prices(
    curves: Sequence[Curve],
    rules: Array,
    rows: RateRows,
    v: Array,
    marginals: Array,
    n: int,
    price_intervals: bool,
) -> tuple[Array, tuple[float, ...], tuple[tuple[float, float], ...]]:
    """Return least multipliers where they exist to rounding, else the master's, and prices."""
    optimal = multiplier_polyhedron(curves, rules, rows.objective, rows.A, rows.low, rows.high, v)
    least = least_multipliers(optimal)
    marginals = marginals if least is None else least
    weight = rows.price_weight(v)
    price, interval = [], []
    for k in range(n):
        own = np.where(rows.owner == k, weight, 0.0)
        price.append(float(own @ np.abs(marginals)))
        found = price_range(optimal, own) if price_intervals and least is not None else None
        interval.append((np.nan, np.nan) if found is None else found)
    return marginals, tuple(price), tuple(interval)


def _proved(
    curves: Sequence[Curve],
    mass: Array,
    rows: RateRows,
    rules: Array,
    levels: Array,
    marginals: Array,
    price: tuple[float, ...],
    interval: tuple[tuple[float, float], ...],
    method: str,
    rounds: int,
) -> ScoreAnswer:
    """Recompute everything from the rows of data: table, risk, violation, duality gap."""
    G = len(curves)
    reduced = rows.objective - rows.A.T @ marginals
    per_mass = _per_mass(reduced[: 2 * G].reshape(G, 2), mass)
    points, slackness = prove_rules(curves, rules, per_mass)
    rates = np.clip(_per_mass(points, np.maximum(mass, TINY)), 0.0, 1.0)
    v = np.concatenate([rates.ravel(), levels])
    value = rows.A @ v
    violation = np.maximum(value - rows.high, rows.low - value)
    with np.errstate(invalid="ignore"):
        distance = np.where(marginals > 0, value - rows.low, value - rows.high)
    terms = np.where(marginals == 0.0, 0.0, np.abs(marginals * distance))
    free = reduced[2 * G :]
    at_ends = np.maximum(free, 0.0) * levels + np.maximum(-free, 0.0) * (1.0 - levels)
    Z = np.empty((G, 2, 2))
    Z[:, :, 1] = np.clip(points, 0.0, mass)
    Z[:, :, 0] = mass - Z[:, :, 1]
    unit = rows.unit  # from here on in the user's costs
    return ScoreAnswer(
        risk=unit * (float(math.fsum(rows.objective * v)) + rows.constant),
        Z=Z,
        rules=rules,
        levels=levels,
        rows=rows,
        marginals=unit / rows.units * marginals,
        reduced=unit * per_mass,
        price=tuple(unit * p for p in price),
        price_interval=tuple((unit * low, unit * high) for low, high in interval),
        duality_gap=unit * math.fsum([slackness, *terms, *at_ends]),
        slackness=unit * float(max([slackness, *terms])),
        dual_residual=unit * float(np.abs(free).max(initial=0.0)),
        feasibility_residual=max(0.0, float(violation.max(initial=0.0))),
        method=method,
        rounds=rounds,
    )
