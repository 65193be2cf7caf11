r"""Randomised threshold rules on scores, applied and proved row by row.

A rule of one group is ``(share, upper, p, lower, p')``: with probability `share` select the scores
above `upper` (and those equal to it with probability p), else the scores below `lower` (and those
equal to it with probability p'). Every reachable pair of selected negatives and positives has
such a rule; an optimum is a threshold rule (share 1 or 0) unless multipliers vanish.

The proof of optimality is complementary slackness, a sum of nonnegative terms and therefore free
of cancellation: with reduced costs r(:math:`\eta`) the duality gap of the rows is
:math:`\sum w\,(\max(r, 0)\,h + \max(-r, 0)\,(1-h))`. Source: theory.md section 8.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from fairprog.kernels.scores.sorted_scores import Curve, atom_at, locate, prefix, total
from fairprog.labels import Array

CHUNK = 1 << 16
BOTH = np.ones(2)


def apply_rule(rule: Array, score: Array) -> Array:
    """Return P(Yhat=1 | score) of one group's rule, shape of `score`."""
    share, upper, p, lower, q = (float(v) for v in rule)
    out: Array = np.zeros(score.shape)
    if share > 0:
        out += share * (score > upper)
        if p > 0:
            out += (share * p) * (score == upper)
    if share < 1:
        out += (1.0 - share) * (score < lower)
        if q > 0:
            out += ((1.0 - share) * q) * (score == lower)
    return out


def boundary(curve: Curve, selected: float) -> tuple[Array, Array]:
    """Return threshold, chance at it and positives when a mass is selected from top or bottom.

    Parameters
    ----------
    curve : curve
    selected : float
        Mass to select, in [0, mass of the group].

    Returns
    -------
    top, bottom : Array, shape (3,)
        Threshold, probability at the threshold, mass of the positives selected.
    """
    everything = total(curve)
    out = []
    for value in (float(everything.sum()) - selected, selected):
        k = min(max(locate(curve, BOTH, value, "left"), 1), len(curve[0]))
        tau, first, last = atom_at(curve, k - 1)
        before, after = prefix(curve, first), prefix(curve, last)
        mass = float((after - before).sum())
        share = min(max((value - float(before.sum())) / mass, 0.0), 1.0) if mass > 0 else 0.0
        out.append((tau, share, float(before[1] + share * (after[1] - before[1]))))
    (top, unselected, rest), bottom = out
    return np.array([top, 1.0 - unselected, float(everything[1]) - rest]), np.array(bottom)


def rule_at_point(curve: Curve, point: Array) -> Array:
    """Return the rule that selects the given masses of negatives and positives.

    A point outside the region by rounding is moved to the boundary with the same mass.
    """
    mass = float(total(curve).sum())
    selected = min(max(float(point.sum()), 0.0), mass)
    top, bottom = boundary(curve, selected)
    room = top[2] - bottom[2]
    share = 1.0 if room <= 1e-15 * mass else (float(point[1]) - bottom[2]) / room
    share = min(max(share, 0.0), 1.0)
    for end in (0.0, 1.0):
        if abs(share - end) * room <= 1e-12 * mass:
            share = end
    return np.array([share, top[0], top[1], bottom[0], bottom[1]])


def prove_rules(curves: Sequence[Curve], rules: Array, reduced: Array) -> tuple[Array, float]:
    """Recompute from the rows what is selected, and the slackness of the rules.

    Parameters
    ----------
    curves : sequence of G curves
    rules : Array, shape (G, 5)
    reduced : Array, shape (G, 2)
        Reduced cost of a unit of negatives and of positives.

    Returns
    -------
    points : Array, shape (G, 2)
        Masses of negatives and positives selected.
    slackness : float
        How far the rules are from minimising the reduced cost: a sum of nonnegative terms.
    """
    points, terms = np.zeros((len(curves), 2)), []
    for a, (eta, weight, unit, _) in enumerate(curves):
        negatives, positives = [], []
        c0, c1 = float(reduced[a, 0]), float(reduced[a, 1])
        for start in range(0, len(eta), CHUNK):
            part = eta[start : start + CHUNK]
            h = apply_rule(rules[a], part)
            r = c0 + (c1 - c0) * part
            wrong = np.where(r > 0, h * r, (h - 1.0) * r)
            if weight is None:
                positives.append(unit * float(h @ part))
                negatives.append(unit * float(h.sum()) - positives[-1])
                terms.append(unit * float(wrong.sum()))
            else:
                mass = weight[start : start + CHUNK]
                positives.append(float((h * mass) @ part))
                negatives.append(float(h @ mass) - positives[-1])
                terms.append(float(wrong @ mass))
        points[a] = math.fsum(negatives), math.fsum(positives)
    return points, math.fsum(terms)
