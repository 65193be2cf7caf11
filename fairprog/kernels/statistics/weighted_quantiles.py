"""Quantiles of weighted samples, and the knots of the map that matches two of them.

A sample is taken as the law whose distribution function runs through the middle of every jump
(of all its ties together) and straight between: continuous, so that quantiles of any two samples
can be matched by a strictly increasing piecewise-linear map.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fairprog.labels import Array, Indices


def balanced_weights(y: Indices, weight: Array, n_classes: int) -> Array:
    """Return weights with the same total 1 / K in every class, y holding class positions."""
    totals = np.bincount(y, weights=weight, minlength=n_classes)
    return np.asarray(weight / (n_classes * totals[y]))


def middle_levels(x: Array, weight: Array) -> tuple[Array, Array]:
    """Return the distinct values and the level in the middle of each one's jump.

    Examples
    --------
    >>> import numpy as np
    >>> middle_levels(np.array([1., 3., 3., 2.]), np.ones(4))
    (array([1., 2., 3.]), array([0.125, 0.375, 0.75 ]))
    """
    kept = weight > 0
    values, position = np.unique(x[kept], return_inverse=True)
    mass = np.bincount(position, weights=weight[kept])
    mass = mass / mass.sum()
    return values, np.cumsum(mass) - 0.5 * mass


def quantile_curve(values: Array, mass: Array, atom: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Return points (level, value) of the quantile function, both in rising order.

    An atom keeps its jump: the curve is flat over it and rises at its ends, where a level occurs
    twice. All other values lie in the middle of theirs.

    Parameters
    ----------
    values : Array, shape (n,)
        Rising.
    mass : Array, shape (n,)
    atom : boolean array, shape (n,)

    Examples
    --------
    >>> import numpy as np
    >>> level, value = quantile_curve(np.array([0., 1.]), np.array([3., 1.]), np.ones(2, bool))
    >>> level.tolist()
    [0.0, 0.0, 0.0, 0.75, 0.75, 0.75, 0.75, 1.0, 1.0, 1.0]
    >>> value.tolist()
    [0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    """
    ends = np.concatenate([[0.0], np.cumsum(mass)])
    ends /= ends[-1]
    low, high = ends[:-1], ends[1:]
    before, after = np.append(values[0], values[:-1]), np.append(values[1:], values[-1])
    level = np.where(
        atom[:, None], np.stack([low, low, high, high], 1), 0.5 * (low + high)[:, None]
    )
    value = np.where(atom[:, None], np.stack([before, values, values, after], 1), values[:, None])
    points = atom[:, None] | (np.arange(4) == 0)
    return (
        np.concatenate([[0.0], level[points], [1.0]]),
        np.maximum.accumulate(np.concatenate([values[:1], value[points], values[-1:]])),
    )


def both_limits(at: Array, level: Array, value: Array) -> Array:
    """Return the curve's values just below and just above each level, one after the other."""
    below = np.interp(-at, -level[::-1], value[::-1])
    both = np.stack([below, np.interp(at, level, value)], axis=1).ravel()
    return np.asarray(np.maximum.accumulate(both))


def repeated_quantiles(x: Array, count: Array, levels: Array) -> Array:
    """Return the quantiles (linear between order statistics) of a sample with repetitions.

    Parameters
    ----------
    x : Array, shape (n,)
    count : Array, shape (n,) or (1,)
        How often each value occurs: whole numbers.
    levels : Array

    Examples
    --------
    >>> import numpy as np
    >>> repeated_quantiles(np.array([1., 5.]), np.array([3., 1.]), np.array([.5, .75, 1.]))
    array([1., 2., 5.])
    """
    order = np.argsort(x, kind="stable")
    upto = np.cumsum(np.broadcast_to(count, x.shape)[order])
    at = levels * (upto[-1] - 1.0)
    low, high = (np.searchsorted(upto, f(at), side="right") for f in (np.floor, np.ceil))
    start = x[order][low]
    return np.asarray(start + (at - np.floor(at)) * (x[order][high] - start))


def common_levels(laws: Sequence[tuple[Array, Array]], count: int) -> Array:
    """Return levels (k + 1/2) / count, kept where all of these `middle_levels` have quantiles."""
    low, high = max(at[0] for _, at in laws), min(at[-1] for _, at in laws)
    return np.unique(np.clip((np.arange(count) + 0.5) / count, low, high))


def matched_knots(first: Array, second: Array) -> tuple[Array, Array]:
    """Return knots and values, both strictly increasing, from quantiles at the same levels.

    Where a tie makes quantiles of one sample coincide, one knot is kept, at their mean.
    """
    for _ in range(2):  # a tie in one is merged in both
        first, second = _merge_ties(first, second)
        second, first = _merge_ties(second, first)
    return first, second


def _merge_ties(first: Array, second: Array) -> tuple[Array, Array]:
    resolution = 1e-12 * float(np.ptp(first))
    group = np.concatenate([[0], np.cumsum(np.diff(first) > resolution)])
    count = np.bincount(group)
    merged = [np.bincount(group, weights=v) / count for v in (first, second)]
    return merged[0], merged[1]
