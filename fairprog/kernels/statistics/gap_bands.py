"""Samples: gaps at every threshold with their DKW bands, and ranks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from fairprog.labels import Array


def dkw_half_width(count: ArrayLike, n_cdfs: int, confidence: float = 0.95) -> Array:
    r"""Return :math:`e = \sqrt{\log(2m/\delta) / (2n)}`, the DKW half width of a cdf.

    With probability at least `confidence` = 1 - delta every one of m empirical distribution
    functions is within its e of the true one, everywhere at once (Dvoretzky, Kiefer and Wolfowitz
    with Massart's constant, and a union bound; theory.md section 1).

    Parameters
    ----------
    count : array_like
        Rows n behind each function.
    n_cdfs : int
        Number m of functions used at once.
    confidence : float
        In (0, 1).

    Examples
    --------
    >>> from fairprog.kernels.statistics.gap_bands import dkw_half_width
    >>> float(dkw_half_width(200, 2).round(4))
    0.1047
    """
    n = np.asarray(count, dtype=float)
    return np.sqrt(np.log(2.0 * n_cdfs / (1.0 - confidence)) / (2.0 * n))


def gap_half_width(counts: ArrayLike, n_cdfs: int, confidence: float = 0.95) -> float:
    """Return how far the largest gap between groups can be from the measured one, at most 1.

    The gap of a pair (a, a') is off by at most e_a + e_a'; over all pairs by the sum of the two
    largest (theory.md section 1).

    Parameters
    ----------
    counts : array_like, shape (G,)
        Rows of the CELL the rate conditions on, in every group.
    n_cdfs, confidence
        See :func:`dkw_half_width`.
    """
    e = np.sort(np.ravel(dkw_half_width(counts, n_cdfs, confidence)))
    return float(min(1.0, e[-2:].sum())) if e.size > 1 else 0.0


def acceptance_gaps(samples: Sequence[Array], thresholds: ArrayLike) -> Array:
    """Return the gap between groups of the share of scores above each threshold.

    Parameters
    ----------
    samples : sequence of Array
        The scores of each group, none empty.
    thresholds : array_like, shape (T,)

    Returns
    -------
    Array, shape (T,)
        Largest minus smallest share.
    """
    t = np.asarray(thresholds, dtype=float)
    below = [np.searchsorted(np.sort(s), t, side="right") / s.size for s in samples]
    return np.ptp(np.stack(below), axis=0)


def worst_gap(samples: Sequence[Array]) -> float:
    """Return the gap at the worst threshold: the largest Kolmogorov-Smirnov distance of a pair.

    Examples
    --------
    >>> from fairprog.kernels.statistics.gap_bands import worst_gap
    >>> worst_gap([np.array([0., 1.]), np.array([1., 2.])])
    0.5
    """
    return float(acceptance_gaps(samples, np.unique(np.concatenate(samples))).max())


def _ranks(x: Array) -> Array:
    """Return ranks 1..n, equal values sharing the mean of theirs."""
    _, inverse, count = np.unique(x, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count - 1) / 2.0)[inverse]


def spearman(x: Array, y: Array) -> float:
    """Return Spearman's rank correlation; NaN where one of the two is constant.

    Examples
    --------
    >>> from fairprog.kernels.statistics.gap_bands import spearman
    >>> spearman(np.array([1., 2., 3.]), np.array([1., 10., 100.]))
    1.0
    """
    r, s = _ranks(x), _ranks(y)
    r, s = r - r.mean(), s - s.mean()
    scale = float(np.sqrt((r @ r) * (s @ s)))
    return float(np.clip(r @ s / scale, -1.0, 1.0)) if scale > 0 else float("nan")
