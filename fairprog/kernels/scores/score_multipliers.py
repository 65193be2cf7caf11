r"""All multipliers that prove given rules optimal, and the least and largest among them.

Reduced costs are linear in the score, so complementary slackness of a whole group is four
inequalities: they are :math:`\ge 0` at the extreme scores of the rows that are not surely
selected, and :math:`\le 0` at those of the rows that may be selected. With the signs of the active
conditions the optimal multipliers are a polyhedron; a price is a weighted sum of their absolute
values.
Source: theory.md sections 1 (zero prices) and 8.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from fairprog.kernels.scores.score_rules import apply_rule
from fairprog.kernels.scores.sorted_scores import Curve, prefix, total
from fairprog.labels import Array

NEGLIGIBLE = 1e-10  # mass at a threshold that counts as rounding
SLACK = 1e-11  # of a condition that counts as active
SLACKS = (1e-11, 1e-9, 1e-7)  # of reduced costs: the rows concerned have next to no mass
INFEASIBLE = 2
SCALE = 1e3

Polyhedron = tuple[Array, Array, Array, Array, Array, Array]


def extreme_scores(curve: Curve, rule: Array) -> tuple[list[float], list[float]]:
    """Return the extreme scores among rows with h < 1, and among those with h > 0."""
    eta = curve[0]
    # h is constant between the scores at which a rule changes: look at these and their neighbours
    edges = {0, len(eta)}
    for tau in (rule[1], rule[3]):
        edges |= {int(np.searchsorted(eta, tau, side=s)) for s in ("left", "right")}
    below, above = [], []
    ordered = sorted(edges)
    for first, last in itertools.pairwise(ordered):
        mass = float((prefix(curve, last) - prefix(curve, first)).sum())
        h = float(apply_rule(rule, eta[first : first + 1])[0])
        ends = [float(eta[first]), float(eta[last - 1])]
        if (1.0 - h) * mass > NEGLIGIBLE:
            below += ends
        if h * mass > NEGLIGIBLE:
            above += ends
    return [min(below), max(below)] if below else [], [min(above), max(above)] if above else []


def multiplier_polyhedron(
    curves: Sequence[Curve],
    rules: Array,
    objective: Array,
    A: Array,
    low: Array,
    high: Array,
    v: Array,
) -> Polyhedron:
    """Return U, u, E, e, P, N: the multipliers m = p - n that prove the rules optimal.

    They satisfy U m <= u, E m = e, 0 <= p <= P and 0 <= n <= N (0 or infinite).

    Parameters
    ----------
    curves, objective, A, low, high
        As in :func:`fairprog.kernels.scores.score_cuts.solve_with_cuts`.
    rules : Array, shape (G, 5)
        Optimal rules.
    v : Array, shape (2 G + L,)
        Optimal rates and levels.
    """
    G = len(curves)
    mass = np.array([total(c) for c in curves])
    rows, right = [], []
    for a, curve in enumerate(curves):
        below, above = extreme_scores(curve, rules[a])
        for sign, scores in ((-1.0, below), (1.0, above)):
            for tau in scores:
                # per unit of mass: rate per negative is A / q0, weighted (1 - tau), and so on
                with np.errstate(divide="ignore", invalid="ignore"):
                    unit = np.where(mass[a] > 0, [1.0 - tau, tau] / mass[a], 0.0)
                here = slice(2 * a, 2 * a + 2)
                rows.append(-sign * (A[:, here] @ unit))
                right.append(-sign * float(objective[here] @ unit))
    E, e = A[:, 2 * G :].T, objective[2 * G :]
    value = A @ v
    positive = np.where(value <= low + SLACK, np.inf, 0.0)
    negative = np.where(value >= high - SLACK, np.inf, 0.0)
    return np.array(rows).reshape(-1, len(A)), np.array(right), E, e, positive, negative


def _extreme(weight: Array, polyhedron: Polyhedron) -> Array | None:
    """Minimise weight . (p + n); None where the LP has no (bounded) answer."""
    from scipy.optimize import linprog

    U, u, E, e, *parts = polyhedron
    for slack in SLACKS:
        result = linprog(
            SCALE * np.concatenate([weight, weight]),
            A_ub=SCALE * np.concatenate([U, -U], axis=1) if len(U) else None,
            b_ub=SCALE * (u + slack) if len(U) else None,
            A_eq=SCALE * np.concatenate([E, -E], axis=1) if len(E) else None,
            b_eq=SCALE * e if len(E) else None,
            bounds=[(0.0, float(b)) for b in np.concatenate(parts)],
            method="highs-ds",
            options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
        )
        if result.status == 0:
            p, n = np.split(np.asarray(result.x), 2)
            return p - n
        if result.status != INFEASIBLE:
            return None
    return None


def least_multipliers(polyhedron: Polyhedron) -> Array | None:
    """Return the multipliers with the least sum of absolute values, (m,).

    None where rounding leaves no multiplier that satisfies complementary slackness exactly.
    """
    return _extreme(np.ones(len(polyhedron[4])), polyhedron)


def price_range(polyhedron: Polyhedron, weight: Array) -> tuple[float, float] | None:
    """Return least and largest weight . |m| over the optimal multipliers.

    The largest is infinite where the polyhedron allows it or where a condition is an equation
    (then only the least is a derivative: the bound cannot fall below zero).
    """
    least = _extreme(weight, polyhedron)
    if least is None:
        return None
    if np.any((weight > 0) & (polyhedron[4] > 0) & (polyhedron[5] > 0)):
        return float(weight @ np.abs(least)), np.inf
    most = _extreme(-weight, polyhedron)
    largest = np.inf if most is None else float(weight @ np.abs(most))
    return float(weight @ np.abs(least)), largest
