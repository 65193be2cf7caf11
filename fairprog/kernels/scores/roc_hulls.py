r"""Hulls of the ROC curves of groups, and the least of them.

Atoms of a group are ordered by score. The upper boundary of (false, true positive rate) over all
mixtures of thresholds is the concave hull :math:`\rho_a` of the ROC curve; in masses its slopes
are the isotonic regression of the posterior on the score, so that its edges are blocks of
neighbouring atoms. A rule with the same rates in every group lies below every :math:`\rho_a`,
hence below :math:`\rho = \min_a \rho_a`, which is concave. Source: theory.md section 11 (Theorem
D).

A *curve* is an array (m + 1, 2) of (F, T) from (0, 0) to (1, 1), edges by falling slope: the first
edge may be vertical, the last horizontal.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fairprog.labels import Array, Indices

TINY = 1e-13  # an edge shorter than this has no direction
MOST_EDGES = 2000  # a hull with more gives chords of it: off by at most their sagitta


def roc_curve(mass: Array) -> Array:
    """Return (F, T) of every threshold, shape (n + 1, 2), from masses (n, 2) by rising score."""
    out = np.concatenate([np.zeros((1, 2)), np.cumsum(mass[::-1], axis=0)])
    return np.asarray(out / out[-1])


def roc_hull(mass: Array) -> tuple[Indices, Array]:
    """Return the blocks of a group's atoms and the hull of its ROC curve.

    Parameters
    ----------
    mass : Array, shape (n, 2)
        Negatives and positives of every atom, by rising score; none empty.

    Returns
    -------
    starts : Indices, shape (m,)
        The first atom of every block, by rising score.
    curve : Array, shape (m + 1, 2)
    """
    from scipy.optimize import isotonic_regression

    p = mass / mass.sum(axis=0)
    weight = p.sum(axis=1)
    starts = isotonic_regression(p[:, 1] / weight, weights=weight).blocks[:-1]
    return np.asarray(starts, np.intp), roc_curve(np.add.reduceat(p, starts, axis=0))


def joined(starts: Indices, curve: Array, most: int = MOST_EDGES) -> tuple[Indices, Array]:
    """Return blocks and hull with at most so many edges: neighbours are joined, evenly in mass."""
    if len(starts) <= most:
        return starts, curve
    place = np.floor(most * np.diff(curve, axis=0)[::-1].sum(axis=1).cumsum() / 2.0000001)
    first = np.append(True, np.diff(place) > 0)
    return starts[first], curve[::-1][np.append(first, True)][::-1]


def height(curve: Array, F: Array) -> Array:
    """Return the largest true positive rate at each false positive rate."""
    first = int(np.flatnonzero(curve[:, 0] == 0.0)[-1])  # the top of a vertical edge
    return np.interp(F, curve[first:, 0], curve[first:, 1])


def least_curve(curves: Sequence[Array]) -> Array:
    """Return the minimum of concave curves, with the vertices that are on it."""
    out = curves[0]
    for other in curves[1:]:
        out = _least_of_two(out, other)
    return out


def _least_of_two(a: Array, b: Array) -> Array:
    x = np.union1d(a[:, 0], b[:, 0])
    d = height(a, x) - height(b, x)
    at = np.flatnonzero(d[:-1] * d[1:] < 0.0)
    cross = x[at] + (x[at + 1] - x[at]) * (d[at] / (d[at] - d[at + 1]))
    own = [c[height(c, c[:, 0]) <= height(o, c[:, 0]), 0] for c, o in ((a, b), (b, a))]
    x = np.unique(np.concatenate([*own, cross, [0.0, 1.0]]))
    out = np.stack([x, np.minimum(height(a, x), height(b, x))], axis=1)
    return without_tiny_edges(np.concatenate([np.zeros((1, 2)), out]))


def without_tiny_edges(curve: Array) -> Array:
    """Return a curve without the vertices that hardly differ from the one before."""
    kept = np.append(True, np.diff(curve.sum(axis=1)) > TINY)
    kept[np.flatnonzero(kept)[-1]] = False  # the last vertex that stays is (1, 1)
    kept[[0, -1]] = True
    return curve[kept]


def area(curve: Array) -> float:
    """Return the area under a curve of (F, T): the AUC, ties counting half."""
    return float(np.trapezoid(curve[:, 1], curve[:, 0]))


def least_value(curve: Array, w: Array, u: Array) -> Array:
    """Return the minimum of w F - u T over a concave curve, for w, u >= 0, shape (n,)."""
    step = np.diff(curve, axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = np.minimum.accumulate(step[:, 1] / step[:, 0])
        wanted = np.where(u > 0.0, w / u, np.inf)  # rounding may leave u below 0
    k = np.searchsorted(-slope, -wanted, side="right")
    near = np.clip(np.stack([k - 1, k, k + 1]), 0, len(step))
    return np.asarray((w * curve[near, 0] - u * curve[near, 1]).min(axis=0))
