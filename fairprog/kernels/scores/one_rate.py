r"""One linear rate bounded between groups: exact solution by bisection on its level.

Minimise :math:`\sum_a c_a \cdot z_a` over reachable z_a = (negatives, positives selected in group
a) such that :math:`|r_a - t| \le d`, with the rate :math:`r_a = g_a \cdot z_a` and a free level t.
Given its rate a group does best at
:math:`\phi_a(r)`, convex and piecewise linear: rows enter in the order of cost over rate, which is
monotone in the score. With :math:`\phi_a` known from prefix sums,
:math:`F(t) = \sum_a \min_{|r - t| \le d} \phi_a(r)` is minimised by bisection on the sign of its
slope; the slopes at the optimum are the multipliers. O(G log n) per step. Source: theory.md
section 8.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fairprog.kernels.scores.sorted_scores import (
    Curve,
    atom_at,
    best_response,
    locate,
    prefix,
    total,
)
from fairprog.labels import Array

ROUNDING = 4e-15  # of a rate: sums of blocks carry no more


def solve_one_rate(
    curves: Sequence[Curve], cost: Array, rate: Array, half_width: float
) -> tuple[Array, Array, Array]:
    """Return rates, the interval of multipliers of each group, and the level.

    Parameters
    ----------
    curves : sequence of G curves
    cost, rate : Array, shape (G, 2)
        Cost and rate of a unit of negatives and of positives selected; rates are nonnegative.
    half_width : float
        d, half the difference bound.

    Returns
    -------
    rates : Array, shape (G,)
        Optimal r_a.
    slopes : Array, shape (G, 2)
        For each group the interval of slopes of phi_a at r_a that complementary slackness
        allows: choose one each with sum zero and reduced costs c - slope * g prove the optimum.
    levels : Array, shape (1,)
    """
    groups = list(zip(curves, cost, rate, strict=True))

    def slope(t: float) -> float:
        if half_width == 0.0:
            return sum(_slope(c, u, g, t, 0.0) for c, u, g in groups)
        return sum(
            min(_slope(c, u, g, t + half_width, 0.0), 0.0)
            + max(_slope(c, u, g, t - half_width, 0.0), 0.0)
            for c, u, g in groups
        )

    low, high = 0.0, 1.0
    if slope(low) >= 0.0:
        high = low
    while low < high:
        middle = 0.5 * (low + high)
        if middle in (low, high):
            break
        if slope(middle) >= 0.0:
            high = middle
        else:
            low = middle
    t = high
    rates = np.array(
        [np.clip(best_response(c, u)[1] @ g, t - half_width, t + half_width) for c, u, g in groups]
    )
    slopes = np.zeros((len(groups), 2))
    for a, (c, u, g) in enumerate(groups):
        at_top = rates[a] >= t + half_width - ROUNDING
        at_bottom = rates[a] <= t - half_width + ROUNDING
        if at_top or at_bottom:
            below = _slope(c, u, g, rates[a], -ROUNDING)
            above = _slope(c, u, g, rates[a], ROUNDING)
            lowest, highest = -np.inf if at_top else 0.0, np.inf if at_bottom else 0.0
            slopes[a] = max(below, lowest), min(above, highest)
    return rates, slopes, np.array([t])


def from_top(cost: Array, rate: Array) -> bool:
    """Whether cost over rate falls with the score, so that the highest scores enter first."""
    return bool(cost[1] * rate[0] - cost[0] * rate[1] <= 0)


def _ends(curve: Curve, rate: Array) -> float:
    return float(total(curve) @ rate)


def _slope(curve: Curve, cost: Array, rate: Array, r: float, shift: float) -> float:
    """Return the right slope of phi at r (shift >= 0) or the left one (shift < 0).

    With a shift the slope is taken that far to the right or left.
    """
    n, most = len(curve[0]), _ends(curve, rate)
    r = r + shift
    right = shift >= 0
    if (r < 0.0) or (r <= 0.0 and not right):
        return -np.inf
    if (r > most) or (r >= most and right):
        return np.inf
    top = from_top(cost, rate)
    # the row that enters next (right) or entered last (left), counted from the bottom
    if top:
        k = locate(curve, rate, most - r, "left" if right else "right")
    else:
        k = locate(curve, rate, r, "right" if right else "left")
    eta = float(curve[0][min(max(k, 1), n) - 1])
    price, worth = cost[0] + (cost[1] - cost[0]) * eta, rate[0] + (rate[1] - rate[0]) * eta
    if worth > 0:
        return float(price / worth)
    # a row without rate: always or never selected; where it costs nothing, cost over rate is
    # the same for all rows
    dearest = int(np.argmax(rate))
    return float(np.sign(price) * np.inf) if price else float(cost[dearest] / rate[dearest])


def balanced_slopes(slopes: Array) -> Array:
    """Choose one slope per group from its interval, with sum zero and least absolute sum.

    Every slope starts as near to zero as its interval allows; what is missing is shared in
    proportion to the room the groups have.
    """
    low, high = slopes[:, 0], slopes[:, 1]
    chosen = np.clip(0.0, low, high)
    missing = -float(chosen.sum())
    if missing == 0.0:
        return chosen
    room = (high - chosen) if missing > 0 else (chosen - low)
    if np.isinf(room).any():
        share = np.isinf(room) / np.isinf(room).sum()
    elif room.sum() > 0:
        share = room / room.sum() * min(1.0, room.sum() / abs(missing))
    else:
        share = np.zeros(len(room))
    return chosen + missing * share


def rule_at_rate(curve: Curve, cost: Array, rate: Array, r: float) -> Array:
    """Return the optimal rule with rate r: see :mod:`fairprog.kernels.scores.score_rules`."""
    most = _ends(curve, rate)
    top = from_top(cost, rate)
    value = most - r if top else r
    n = len(curve[0])
    if value >= most - ROUNDING:  # rows beyond, without rate, are on the other side
        value, k = most, locate(curve, rate, most - ROUNDING, "left") - 1
    else:
        value = value if value > ROUNDING else 0.0
        k = locate(curve, rate, max(value, ROUNDING), "right") - 1
    tau, first, last = atom_at(curve, min(max(k, 0), n - 1))
    before = float(prefix(curve, first) @ rate)
    atom = float(prefix(curve, last) @ rate) - before
    share = min(max((value - before) / atom, 0.0), 1.0) if atom > 0 else 0.0
    if min(share, 1.0 - share) * atom <= ROUNDING:  # a vertex: no randomisation
        share = float(round(share))
    if top:
        return np.array([1.0, tau, 1.0 - share, 0.0, 0.0])
    return np.array([0.0, 1.0, 0.0, tau, share])
