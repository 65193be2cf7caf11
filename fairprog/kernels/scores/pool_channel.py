r"""The pool: a rank-keeping channel from one pair of laws to any pair it dominates.

P and R are pairs of laws (given Y = 0, given Y = 1) on atoms by falling likelihood ratio, and the
ROC curve of R lies below that of P. Level by level the next atoms of P enter a pool, the last one
split, until the pool is parallel to the level :math:`(r_{0l}, r_{1l})`; then the share
:math:`\lambda_l = |r_l| / |pool|` of the WHOLE pool leaves as level l. So

.. math:: M(l \mid k) = \sum_e entry(k, e)\, \lambda_l \prod_{e \le j < l} (1 - \lambda_j),

and what entered earlier has left by any level with the larger chance: M is rank-keeping.
Source: theory.md section 11 (Theorem E).
"""

from __future__ import annotations

import numpy as np

from fairprog.kernels.scores.roc_hulls import TINY
from fairprog.labels import Array


def pool_channel(P: Array, R: Array) -> Array:
    """Return M(level | atom), shape (n, m), with P carried to R given either class.

    Parameters
    ----------
    P : Array, shape (n + 1, 2)
        Curve (F, T) of the atoms by falling likelihood ratio, from (0, 0) to (1, 1).
    R : Array, shape (m + 1, 2)
        Curve of the levels, concave and not above P.
    """
    entry = entries(P, R)
    level = np.diff(R, axis=0)
    p = np.diff(P, axis=0)
    M = np.zeros(entry.shape)
    inside = np.zeros(len(p))  # share of every atom that is in the pool
    for k in range(len(level)):
        inside += entry[:, k]
        pool = float((inside @ p).sum())
        share = min(1.0, float(level[k].sum()) / pool) if pool > 0 else 0.0
        M[:, k] = inside if k == len(level) - 1 else share * inside
        inside = inside - M[:, k]
    return M


def entries(P: Array, R: Array) -> Array:
    """Return which share of every atom enters the pool at every level, shape (n, m).

    The line from R's last vertex along its next edge leaves the region below P's curve at the
    point up to which atoms enter; where edges coincide rounding may lose it: the mass decides.
    """
    n, m = len(P) - 1, len(R) - 1
    out = np.zeros((n, m))
    rows, goal = P.tolist(), R.tolist()
    k, part = 0, 0.0  # the atom that enters next, and how much of it is inside already
    for e in range(m):
        (F, T), (F1, T1) = goal[e], goal[e + 1]
        while k < n and (F1 + T1 - F - T > TINY or e == m - 1):
            (a, b), (c, d) = rows[k], rows[k + 1]
            if e == m - 1:
                more = 1.0
            else:
                here = (b - T) * (F1 - F) - (a - F) * (T1 - T)
                there = (d - T) * (F1 - F) - (c - F) * (T1 - T)
                by_line = 1.0 if there >= 0.0 else here / (here - there) if here > 0.0 else 0.0
                by_mass = (F1 + T1 - a - b) / (c + d - a - b)
                more = min(1.0, max(by_line, by_mass))
            if more > part:
                out[k, e], part = more - part, more
            if part < 1.0:
                break
            k, part = k + 1, 0.0
    return out
