"""Weighted rates of every group at every threshold of a score, their gaps, chance and bootstrap.

Codes of rows are ``2 g + (1 if positive)``; a rate at t is of the rows with a score above t. All
of it comes from the cells' weighted distribution functions at the distinct scores.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fairprog.labels import Array, Indices

__all__ = [
    "RATES",
    "bootstrap_deviations",
    "cumulated",
    "permuted_worst_gaps",
    "rates_of",
    "tie_ends",
    "worst_gaps",
]

RATES = ("tpr", "fpr", "selection", "accuracy")


def tie_ends(ordered: Array) -> Indices:
    """Return the last position of every distinct value of sorted scores."""
    return np.flatnonzero(np.concatenate([np.diff(ordered) > 0, [True]]))


def cumulated(code: Indices, weight: Array, ends: Indices, n_groups: int) -> Array:
    """Return the weight of every cell up to each distinct score, shape (T, n_groups, 2).

    Rows are sorted by their score.
    """
    mass = np.zeros((code.size, 2 * n_groups))
    mass[np.arange(code.size), code] = weight
    out = np.cumsum(mass, axis=0, out=mass)[ends]
    return np.asarray(out.reshape(ends.size, n_groups, 2))


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
    """Yield worst gaps with groups permuted among the rows of each class."""
    members = [np.flatnonzero(code % 2 == i) for i in (0, 1)]
    for _ in range(count):
        shuffled = code.copy()
        for rows in members:
            shuffled[rows] = code[rng.permutation(rows)]
        yield worst_gaps(rates_of(cumulated(shuffled, weight, ends, n_groups)))


def bootstrap_deviations(
    code: Indices,
    weight: Array,
    ends: Indices,
    n_groups: int,
    count: int,
    rng: np.random.Generator,
) -> Iterator[Array]:
    """Yield how far resampling moves gaps at most: the two largest |rate* - rate| added, per rate.

    Rows are drawn with replacement within their group; draws that lose a cell are made again.
    """
    rates = rates_of(cumulated(code, weight, ends, n_groups))
    members = [np.flatnonzero(code // 2 == g) for g in range(n_groups)]
    made = 0
    while made < count:
        times = np.zeros(code.size)
        for rows in members:
            times[rows] = rng.multinomial(rows.size, np.full(rows.size, 1.0 / rows.size))
        mass = cumulated(code, weight * times, ends, n_groups)
        if not (mass[-1] > 0).all():
            continue
        off = np.sort(np.abs(rates_of(mass) - rates), axis=2)
        made += 1
        yield off[..., -2:].sum(axis=2).max(axis=1)
