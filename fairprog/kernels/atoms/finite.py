"""Bayes rules, thresholds and laws of posteriors on a finite support, as array functions.

The support: pairs (x, a) with mass weight[m], group code group[m] and posterior[m, i].
Source: theory.md section 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairprog.labels import Array, Indices

Codes = NDArray[np.integer[Any]]

# posteriors closer than this are not told apart, so that rounding makes no spurious gap
RESOLUTION = 1e-11


def bayes_actions(posterior: Array, C: Array, resolution: float = 1e-12) -> Indices:
    """Return argmin_j sum_i C[i, j] eta_i, shape (m,); ties go to the smallest j.

    Parameters
    ----------
    posterior : Array, shape (m, K)
    C : Array, shape (K, K)
    resolution : float
        Expected costs closer than this times the largest cost are ties.
    """
    cost = posterior @ C
    best = cost.min(axis=1, keepdims=True)
    scale = resolution * max(1.0, float(np.abs(C).max()))
    return np.argmax(cost <= best + scale, axis=1)


def tables_at_thresholds(
    weight: Array, score: Array, group: Codes, n_groups: int
) -> Iterator[Array]:
    """Yield the tables Z (G, 2, 2) of 'predict 1 iff score > t', t between distinct scores.

    Every cost matrix of a binary label is one of these rules, its mirror, or a constant.
    """
    order = np.argsort(score, kind="stable")
    s, g = score[order], group[order]
    ends = np.flatnonzero(np.diff(s) > RESOLUTION) + 1  # rows before `end` are predicted 0
    below = np.zeros((len(ends) + 1, n_groups, 2))
    for a in range(n_groups):
        inside = (g == a) * weight[order]
        for i, part in enumerate((inside * (1.0 - s), inside * s)):
            total = np.cumsum(part)
            below[:-1, a, i], below[-1, a, i] = total[ends - 1], total[-1]
    for row in below[:-1]:
        yield np.stack([row, np.maximum(below[-1] - row, 0.0)], axis=-1)
    yield np.stack([below[-1], np.zeros_like(below[-1])], axis=-1)  # the constant


def _clusters(values: Array, atol: float) -> Indices:
    """Return cluster numbers of sorted-and-linked values: neighbours closer than atol agree."""
    order = np.argsort(values, kind="stable")
    out = np.empty(len(values), dtype=np.intp)
    out[order] = np.concatenate([[0], np.cumsum(np.diff(values[order]) > atol)])
    return out


def same_posterior_laws(
    weight: Array, posterior: Array, group: Codes, n_groups: int, atol: float
) -> float:
    """Return the largest total variation between the groups' laws of the posterior.

    Parameters
    ----------
    weight : Array, shape (m,)
        P(X=x | A=a).
    posterior : Array, shape (m, K)
    group : integer array, shape (m,)
    n_groups : int
    atol : float
        Posteriors closer than this in every class count as one.
    """
    code = np.stack([_clusters(column, atol) for column in posterior.T], axis=1)
    _, cluster = np.unique(code, axis=0, return_inverse=True)
    cluster = cluster.reshape(-1)
    laws = np.zeros((n_groups, int(cluster.max()) + 1))
    np.add.at(laws, (group, cluster), weight)
    worst = max(float(np.abs(p - q).sum()) for p in laws for q in laws)
    return 0.5 * worst
