r"""Finite alphabets steered by the identity map: the log-linear pool.

For weights w_a (summing to one) the law R nearest to several,
:math:`\min_R \sum_a w_a KL(R \| D_a)`, is :math:`R(x) \propto \prod_a D_a(x)^{w_a}`, at the value
:math:`-\log \sum_x \prod_a D_a(x)^{w_a}`. Source: theory.md section 5 (identity transport).
"""

from __future__ import annotations

import numpy as np

from fairprog.labels import Array


def pool(laws: Array, weights: Array) -> tuple[Array, float]:
    """Return the log-linear pool of laws and its weighted divergence from them, in nats.

    Parameters
    ----------
    laws : Array, shape (X, G)
        Columns sum to one.
    weights : Array, shape (G,)
        Positive, summing to one.

    Returns
    -------
    R : Array, shape (X,)
        Zero wherever one of the laws is; all zero where the laws have no common support.
    value : float
        sum_a w_a KL(R || D_a); infinite without a common support.
    """
    with np.errstate(divide="ignore"):
        logs = np.log(laws) @ weights
    largest = logs.max()
    if largest == -np.inf:
        return np.zeros(len(laws)), float("inf")
    unnormalised = np.exp(logs - largest)
    total = float(unnormalised.sum())
    return unnormalised / total, float(-(largest + np.log(total)))


def divergence(p: Array, q: Array) -> float:
    """Return sum p log(p / q) in nats: 0 log 0 = 0, infinite where q = 0 < p."""
    used = p > 0
    if np.any(q[used] <= 0):
        return float("inf")
    return float(np.sum(p[used] * np.log(p[used] / q[used])))


def pool_residual(R: Array, laws: Array, weights: Array) -> float:
    """Return how far R is from satisfying the pool's stationarity condition.

    On the support of R, log R - sum_a w_a log D_a must be constant: the largest deviation from
    its R-weighted mean, each weighted by R, in nats.
    """
    used = R > 0
    with np.errstate(divide="ignore"):
        score = np.log(R[used]) - np.log(laws[used]) @ weights
    return float(np.sum(R[used] * np.abs(score - R[used] @ score)))
