r"""Scores sorted once, with block-wise prefix sums: the ROC region of a group in O(log n).

A group's rows have scores :math:`\eta` = P(Y=1 | x, a) and masses w. A randomised classifier
h(:math:`\eta`) selects positives :math:`\sum w \eta h` and negatives
:math:`\sum w (1-\eta) h`; the pairs that can be reached are a convex region (a zonoid) whose
boundary points are threshold rules: select from the top, or from the bottom. All that programs
over scores need are sums over the rows below a threshold or a rank.

A *curve* is the tuple ``(eta, weight, unit, blocks)``: scores ascending; masses in that order, or
None where every row weighs ``unit``; ``blocks[b]`` = (negatives, positives) of the rows before row
b * BLOCK. Within a block sums are made when asked for, so that a curve takes little more than the
sorted scores. Source: theory.md section 8.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fairprog.labels import Array

BLOCK = 512
Curve = tuple[Array, Array | None, float, Array]


def sort_scores(score: Array, weight: Array | None, unit: float, rows: NDArray[np.bool_]) -> Curve:
    """Return the curve of the chosen rows; one copy of their scores is made and sorted.

    Parameters
    ----------
    score : Array, shape (n,)
        P(Y=1 | x, a) in [0, 1].
    weight : Array, shape (n,), or None
        Masses; None where every row has mass `unit`.
    unit : float
    rows : boolean array, shape (n,)
    """
    eta: Array = score[rows]
    mass: Array | None = None
    if weight is None:
        eta.sort()
    else:
        order = np.argsort(eta)
        eta, mass = eta[order], weight[rows][order]
    n = len(eta)
    starts = np.arange(0, n, BLOCK)
    everything: Array
    if mass is None:
        positives = unit * _block_sums(eta)
        everything = unit * np.minimum(BLOCK, n - starts)
    else:
        positives = _block_sums(eta * mass)
        everything = _block_sums(mass)
    blocks = np.zeros((len(starts) + 1, 2))
    np.cumsum(everything - positives, out=blocks[1:, 0])
    np.cumsum(positives, out=blocks[1:, 1])
    return eta, mass, unit, blocks


def _block_sums(x: Array) -> Array:
    """Return the sums of consecutive blocks (pairwise summation within)."""
    whole = len(x) // BLOCK * BLOCK
    sums = x[:whole].reshape(-1, BLOCK).sum(axis=1)
    return sums if whole == len(x) else np.append(sums, x[whole:].sum())


def total(curve: Curve) -> Array:
    """Return the mass of the negatives and of the positives, shape (2,)."""
    return curve[3][-1]


def _masses(curve: Curve, start: int, stop: int) -> tuple[Array, Array]:
    """Return the negatives and positives of each row of a slice."""
    eta, weight, unit, _ = curve
    part = eta[start:stop]
    positives = part * (unit if weight is None else weight[start:stop])
    return (unit if weight is None else weight[start:stop]) - positives, positives


def prefix(curve: Curve, k: int) -> Array:
    """Return (negatives, positives) of the k lowest rows."""
    blocks = curve[3]
    b = k // BLOCK
    if b * BLOCK == k or k >= len(curve[0]):
        return blocks[b if b * BLOCK == k else -1]
    negatives, positives = _masses(curve, b * BLOCK, k)
    return np.array([blocks[b, 0] + negatives.sum(), blocks[b, 1] + positives.sum()])


def locate(curve: Curve, rate: Array, value: float, side: str) -> int:
    """Return the first k with rate . prefix(k) >= value (side "left") or > value ("right").

    ``rate`` = (per negative, per positive), nonnegative; k = n + 1 where there is none.
    """
    eta, weight, unit, blocks = curve
    n, levels = len(eta), blocks @ rate
    b = int(levels.searchsorted(value, side))  # type: ignore[call-overload]
    if b == 0:
        return 0
    if b == len(blocks):
        return n + 1
    start = (b - 1) * BLOCK
    per_negative, per_positive = float(rate[0]), float(rate[1])
    inside = (per_positive - per_negative) * eta[start : start + BLOCK]
    inside += per_negative
    inside *= unit if weight is None else weight[start : start + BLOCK]
    inside = inside.cumsum()
    inside += levels[b - 1]
    k = start + 1 + int(inside.searchsorted(value, side))  # type: ignore[call-overload]
    return min(k, start + len(inside))  # rounding: the block's end is where it must be


def atom_at(curve: Curve, k: int) -> tuple[float, int, int]:
    """Return the score of row k (0-based) and the range of rows that share it."""
    eta = curve[0]
    tau = eta[k]
    return (
        float(tau),
        int(np.searchsorted(eta, tau, side="left")),
        int(np.searchsorted(eta, tau, side="right")),
    )


def best_response(curve: Curve, cost: Array) -> tuple[float, Array]:
    """Minimise cost . (negatives, positives selected): the value and the minimiser.

    A row's reduced cost is linear in its score, so that the optimum selects above or below one
    threshold; rows with reduced cost zero are not selected.
    """
    eta = curve[0]
    c0, c1 = float(cost[0]), float(cost[1])
    everything = total(curve)
    point: Array
    if c1 < c0:  # selected from the top: c0 (1 - eta) + c1 eta < 0
        k = int(np.searchsorted(eta, c0 / (c0 - c1), side="right"))
        point = everything - prefix(curve, k)
    elif c1 > c0:
        point = prefix(curve, int(np.searchsorted(eta, c0 / (c0 - c1), side="left")))
    else:
        point = everything if c0 < 0 else np.zeros(2)
    return float(point @ cost), point
