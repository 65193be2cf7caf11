"""Weighted rates of every group at every threshold of a score, their gaps, and chance.

Codes of rows are ``2 g + (1 if positive)``; a rate at t is of the rows with a score above t. All
of it comes from the cells' weighted distribution functions at the distinct scores. Under a
permutation of groups within classes those of one class are running counts of its shuffled groups,
and the rates given the class change at its own rows only. Of many rows only their numbers in bins
are permuted, which are multivariate hypergeometric: no row is touched again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from fairprog.labels import Array, Indices

MANY_ROWS = 20_000  # beyond, permutations are drawn as counts of rows in bins
BINS = 1000
RATES = ("tpr", "fpr", "selection", "accuracy")


def tie_ends(ordered: Array) -> Indices:
    """Return the last position of every distinct value of sorted scores."""
    return np.flatnonzero(np.concatenate([np.diff(ordered) > 0, [True]]))


def cumulated(code: Indices, weight: Array, ends: Indices, n_groups: int) -> Array:
    """Return the weight of every cell up to each distinct score, shape (T, n_groups, 2).

    Rows are sorted by their score.
    """
    out = np.empty((2 * n_groups, ends.size))
    for cell, row in enumerate(out):
        np.take(np.cumsum(np.where(code == cell, weight, 0.0)), ends, out=row)
    return np.asarray(out.reshape(n_groups, 2, ends.size).transpose(2, 0, 1))


def rates_of(mass: Array) -> Array:
    """Return the rates in the order of RATES, shape (4, T, G), from cumulated weights."""
    total = mass[-1]
    above = total - mass
    group = total.sum(axis=1)
    return np.stack(
        [
            above[..., 1] / total[:, 1],
            above[..., 0] / total[:, 0],
            above.sum(axis=-1) / group,
            (above[..., 1] + mass[..., 0]) / group,
        ]
    )


def worst_gaps(rates: Array) -> Array:
    """Return the largest gap over thresholds of each of the four rates.

    Examples
    --------
    >>> import numpy as np
    >>> code = np.array([0, 2, 1, 3])  # scores 1, 2, 3, 4
    >>> worst_gaps(rates_of(cumulated(code, np.ones(4), np.arange(4), 2)))
    array([1. , 1. , 0.5, 0.5])
    """
    return np.asarray(np.ptp(rates, axis=2).max(axis=1))


def permuted_worst_gaps(
    code: Indices,
    weight: Array,
    ends: Indices,
    n_groups: int,
    count: int,
    rng: np.random.Generator,
) -> Iterator[Array]:
    """Yield worst gaps of the rows as they are, then with groups permuted within each class.

    Each is of shape (1 + G, 4): the largest difference between two groups, and of every group
    that from all rows.
    """
    group = (code // 2).astype(np.min_scalar_type(n_groups))  # small integers shuffle fastest
    rows = [np.flatnonzero(code % 2 == i) for i in (0, 1)]
    groups, weights = [group[r] for r in rows], [weight[r] for r in rows]
    # rows of a class up to each distinct score of both classes, and up to each of its own
    upto = [np.searchsorted(r, ends, side="right") for r in rows]
    own = [u[np.diff(u, prepend=0) > 0] for u in upto]

    def counts(groups: Iterable[NDArray[np.integer]]) -> list[Array]:
        return [_counts(g, w, n_groups) for g, w in zip(groups, weights, strict=True)]

    measured = _all_gaps(counts(groups), upto, own)
    if code.size <= MANY_ROWS:
        yield measured
        for _ in range(count):
            yield _all_gaps(counts([rng.permutation(g) for g in groups]), upto, own)
        return
    # of many rows it is enough to know how many of each group lie in each of many bins
    few = np.unique(np.searchsorted(ends, np.linspace(0, code.size - 1, BINS + 1)[1:]))
    at = [np.concatenate([[0], u[few]]) for u in upto]
    bins = [_bins(np.diff(u), w, u) for u, w in zip(at, weights, strict=True)]
    sizes = [np.bincount(g, minlength=n_groups) for g in groups]
    every = [np.arange(1, few.size + 1)] * 2
    coarse = [below[:, u] for below, u in zip(counts(groups), at, strict=True)]
    yield np.concatenate([measured[:1], _all_gaps(coarse, every, every)[1:]])
    for _ in range(count):
        drawn = [_permuted_bins(b, n, rng) for b, n in zip(bins, sizes, strict=True)]
        yield _all_gaps(drawn, every, every)


def _all_gaps(below: list[Array], upto: list[Indices], own: list[Indices]) -> Array:
    """Return the widest gaps of all rates, (1 + G, 4), from weights by class, group, place."""
    below0, below1 = below
    total = below0[:, -1] + below1[:, -1]
    negative = below0.take(upto[0], axis=1)
    positive = below1.take(upto[1], axis=1)
    right = negative - positive + below1[:, -1:]  # negative rows below, positive ones above
    return np.stack(
        [
            _widest(below1.take(own[1], axis=1), below1[:, -1]),
            _widest(below0.take(own[0], axis=1), below0[:, -1]),
            _widest(negative + positive, total),
            _widest(right, total),
        ],
        axis=1,
    )


Bins = tuple[Indices, Array, Array]  # rows, their mean weight, and its variance


def _bins(count: Indices, weight: Array, upto: Indices) -> Bins:
    """Return what is known of the rows of a class between thresholds."""
    sums = [np.diff(np.concatenate([[0.0], np.cumsum(w)])[upto]) for w in (weight, weight**2)]
    mean, square = (x / np.maximum(count, 1) for x in sums)
    same = weight.size == 0 or np.ptp(weight) == 0
    return count, mean, np.maximum(square - mean**2, 0.0) * (not same)


def _permuted_bins(bins: Bins, sizes: Indices, rng: np.random.Generator) -> Array:
    """Return weights up to each threshold, (G, T + 1), of groups that are permuted."""
    count, mean, variance = bins
    left, drawn = count.copy(), np.empty((sizes.size, count.size))
    for g, size in enumerate(sizes[:-1]):
        drawn[g] = rng.multivariate_hypergeometric(left, size, method="marginals")
        left -= drawn[g].astype(left.dtype)
    drawn[-1] = left
    mass = drawn * mean
    if variance.any():  # which rows of a bin, as far as their weights differ
        noise = np.sqrt(drawn) * rng.standard_normal(drawn.shape)
        noise -= drawn / np.maximum(count, 1) * noise.sum(axis=0)
        mass += np.sqrt(variance) * noise
    return np.concatenate([np.zeros((sizes.size, 1)), np.cumsum(mass, axis=1)], axis=1)


def _counts(group: NDArray[np.integer], weight: Array, n_groups: int) -> Array:
    """Return each group's weight among the first 0, 1, 2, ... rows, shape (G, n + 1)."""
    out = np.zeros((n_groups, group.size + 1))
    for g in range(n_groups):
        np.cumsum(weight * (group == g), out=out[g, 1:])
    return out


def _widest(part: Array, mass: Array) -> Array:
    """Return over columns the largest gap of the rates part / mass, and each one's from all."""
    rates = part / mass[:, None]
    if len(rates) == 2:  # both are off by their shares of the gap
        gap = float(np.abs(rates[0] - rates[1]).max(initial=0.0))
        return gap * np.append(1.0, 1.0 - mass / mass.sum())
    off = np.abs(rates - part.sum(axis=0) / mass.sum()).max(axis=1, initial=0.0)
    return np.append(np.ptp(rates, axis=0).max(initial=0.0), off)
