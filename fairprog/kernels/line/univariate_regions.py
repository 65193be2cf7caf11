r"""Bayes decision regions on the real line, for any number of classes and any cost matrix.

The boundary between actions j and k is a zero of ``sum_i (C_ij - C_ik) q_i p_i(x)``. With two
terms of opposite sign it solves a quadratic equation (always so for 0-1 cost or two classes);
otherwise it is a zero of a signed mixture of normal densities, which has at most 2 K - 2 zeros
(Kalai, Moitra and Valiant, 2010, STOC). Everything is computed on log densities relative to the
largest, so nothing overflows however far out the boundary lies.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fairprog.labels import Array

Integers = NDArray[np.intp]

TIE = 1e-12  # relative difference of expected costs below which they count as equal
CLEAR = 1e-9  # difference of expected costs, over the largest cost, above which one is the least
BULK = np.linspace(-12.0, 12.0, 193)  # nodes of the root isolation, in standard deviations
LEVELS = np.array([-8, -4, -2, -1, -0.5, -0.25, 0, 0.25, 0.5, 1, 2, 4, 8])  # log ratios: tails


def bayes_decisions(log_joint: ArrayLike, cost: ArrayLike) -> Integers:
    r"""Bayes action ``argmin_j sum_i C_ij q_i p_i(x)``; the lowest index wins ties.

    Where the least expected cost is not clearly the least, actions are compared in pairs, so that
    two actions which cost the same under the dominating class are told apart by the others,
    however small their densities.

    Parameters
    ----------
    log_joint : (n, K) array of ``log q_i p_i(x)``, up to a constant per row.
    cost : (..., K, K) array, ``cost[i, j]`` of predicting j when the truth is i, any unit.

    Returns
    -------
    decisions : (..., n) array of actions.

    Examples
    --------
    >>> bayes_decisions(np.log([[0.7, 0.3], [0.5, 0.5], [0.2, 0.8]]), [[0, 1], [1, 0]])
    array([0, 0, 1])
    """
    log_joint, cost = np.asarray(log_joint, float), np.asarray(cost, float)
    top = np.max(log_joint, axis=1, keepdims=True)
    mass = np.exp(log_joint - np.where(np.isfinite(top), top, 0.0))
    expected = np.swapaxes(cost, -1, -2) @ mass.T
    best = expected.argmin(axis=-2)
    near = CLEAR * mass.shape[1] * np.abs(cost).max(axis=(-2, -1))[..., None, None]
    unclear = (expected <= expected.min(axis=-2, keepdims=True) + near).sum(axis=-2) != 1
    for which in np.ndindex(cost.shape[:-2]):
        rows = np.flatnonzero(unclear[which])
        if rows.size:
            best[which][rows] = _compared_in_pairs(log_joint[rows], cost[which])
    return best


def _compared_in_pairs(log_joint: Array, cost: Array) -> Integers:
    """Return the actions (n,) of one cost, the best so far against the next."""
    best = np.zeros(log_joint.shape[0], dtype=np.intp)
    for challenger in range(1, cost.shape[1]):
        gain = np.stack([_difference(cost, j, challenger) for j in range(challenger)])[best]
        weight = np.where(gain != 0, log_joint, -np.inf)
        top = np.max(weight, axis=1, keepdims=True)
        terms = gain * np.exp(weight - np.where(np.isfinite(top), top, 0.0))
        better = np.sum(terms, axis=1) > TIE * np.sum(np.abs(terms), axis=1)
        best[better] = challenger
    return best


def decision_regions(
    cost: ArrayLike, prior: ArrayLike, mean: ArrayLike, std: ArrayLike
) -> tuple[Array, Integers]:
    r"""Regions of the Bayes rule of ``cost`` for normal classes on the real line.

    Parameters
    ----------
    cost : (K, K) array
        ``cost[i, j]`` of predicting j when the truth is i; any sign, in the user's unit.
    prior, mean, std : (K,) arrays
        Of the classes within one group; the prior need not sum to one.

    Returns
    -------
    breakpoints : (m,) array
        Increasing, in the unit of x.
    decisions : (m + 1,) array of actions
        ``decisions[r]`` holds between ``breakpoints[r - 1]`` and ``breakpoints[r]``;
        neighbours differ. Actions whose expected costs agree to 1e-12 tie: the lowest wins.

    Examples
    --------
    >>> decision_regions([[0, 1], [1, 0]], [0.5, 0.5], [-1.0, 3.0], [1.0, 1.0])
    (array([1.]), array([0, 1]))
    """
    cost, prior = np.asarray(cost, float), np.asarray(prior, float)
    mean, std = np.asarray(mean, float), np.asarray(std, float)
    centre, scale = float(np.mean(mean)), float(np.max(std))
    m, s = (mean - centre) / scale, std / scale
    with np.errstate(divide="ignore"):
        log_mass = np.log(prior) - np.log(s)

    found: list[Array] = [np.empty(0)]
    for k in range(1, cost.shape[1]):
        for j in range(k):
            found.append(_zeros(_difference(cost, j, k), log_mass, m, s))
    points = np.sort(np.concatenate(found))
    if points.size:
        near = 16 * np.finfo(float).eps * np.maximum(1, np.abs(points[1:]))
        points = points[np.append(True, np.diff(points) > near)]
        ends = points[0] - 1 - abs(points[0]), points[-1] + 1 + abs(points[-1])
        samples = np.concatenate([ends[:1], (points[1:] + points[:-1]) / 2, ends[1:]])
    else:
        samples = np.zeros(1)
    decisions = bayes_decisions(_log_terms(samples, log_mass, m, s), cost)
    change = decisions[1:] != decisions[:-1]
    return centre + scale * points[change], np.append(decisions[:1], decisions[1:][change])


def _difference(cost: Array, j: int, k: int) -> Array:
    """Column j minus column k, rounding noise removed: what action k saves under each class."""
    gain = cost[:, j] - cost[:, k]
    noise = 8 * np.finfo(float).eps * np.max(np.abs(cost))
    return np.where(np.abs(gain) <= noise, 0.0, gain)


def _log_terms(x: Array, log_mass: Array, mean: Array, std: Array) -> Array:
    """(n, K) values of ``log_mass_i - ((x - mean_i) / std_i)^2 / 2``."""
    return np.asarray(log_mass - ((x[..., None] - mean) / std) ** 2 / 2)


def _zeros(gain: Array, log_mass: Array, mean: Array, std: Array) -> Array:
    """Every zero of ``sum_i gain_i exp(log term_i)``, possibly with spurious ones."""
    live = (gain != 0) & np.isfinite(log_mass)
    gain, mean, std = gain[live], mean[live], std[live]
    log_mass = log_mass[live] + np.log(np.abs(gain))
    if not np.any(gain > 0) or not np.any(gain < 0):
        return np.empty(0)
    if gain.size == 2:
        return _crossings(log_mass, mean, std, 0, 1, np.zeros(1))
    return _mixture_zeros(np.sign(gain), log_mass, mean, std)


def _crossings(log_mass: Array, mean: Array, std: Array, i: int, k: int, level: Array) -> Array:
    """Solutions of ``log term_i(x) - log term_k(x) = level``, by the stable quadratic formula."""
    if std[i] > std[k]:  # centre at the wider term: then its quadratic coefficient is at most 1/2
        i, k, level = k, i, -level
    ratio, shift = std[k] / std[i], (mean[k] - mean[i]) / std[i]
    a, b = (1 - ratio) * (1 + ratio) / 2, -shift * ratio
    c = log_mass[i] - log_mass[k] - shift**2 / 2 - level
    if abs(a) <= 1e-14 * ratio**2:
        a = 0.0
    gap = b * b - 4 * a * c
    q = -(b + np.copysign(1.0, b) * np.sqrt(np.maximum(gap, 0))) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.concatenate([q / a, c / q])[np.tile(gap >= 0, 2)]
    x = mean[k] + std[k] * z
    return np.asarray(x[np.isfinite(x)])


def _mixture_zeros(sign: Array, log_mass: Array, mean: Array, std: Array) -> Array:
    """Isolate on a grid that follows every term and every crossing of two terms, then bisect."""
    n = sign.size
    nodes: list[Array] = [(mean[:, None] + std[:, None] * BULK).ravel()]
    for i in range(n):
        nodes += [_crossings(log_mass, mean, std, i, k, LEVELS) for k in range(i)]
    x = np.unique(np.concatenate(nodes))

    def value(points: Array) -> Array:
        terms = _log_terms(points, log_mass, mean, std)
        terms -= terms.max(axis=1, keepdims=True)
        return np.asarray(np.exp(terms) @ sign)

    def slope(points: Array, reference: Integers) -> Array:
        """Differentiate the sum divided by its reference term, up to a positive factor."""
        terms = _log_terms(points, log_mass, mean, std)
        terms -= terms.max(axis=1, keepdims=True)
        rate = (mean - points[:, None]) / std**2
        rate -= np.take_along_axis(rate, reference[:, None], axis=1)
        return np.asarray((np.exp(terms) * rate) @ sign)

    left, right = x[:-1], x[1:]
    at = np.sign(value(x))
    largest = np.argmax(_log_terms((left + right) / 2, log_mass, mean, std), axis=1)
    same = (at[:-1] == at[1:]) & (at[1:] != 0)
    dips = same & (at[1:] * slope(left, largest) < 0) & (at[1:] * slope(right, largest) > 0)
    if dips.any():  # a minimum of |sum| inside the cell may hide two zeros
        reference, side = largest[dips], at[1:][dips]
        lowest = _bisect(lambda p: side * slope(p, reference), left[dips], right[dips], 30)
        x = np.unique(np.append(x, lowest))
        at = np.sign(value(x))
    crossing = at[:-1] * at[1:] < 0
    side = at[1:][crossing]
    roots = _bisect(lambda p: side * value(p), x[:-1][crossing], x[1:][crossing])
    return np.append(x[at == 0], roots)


def _bisect(
    increasing: Callable[[Array], Array], low: Array, high: Array, steps: int = 60
) -> Array:
    """Zeros of functions that pass from negative at ``low`` to positive at ``high``."""
    for _ in range(steps):
        middle = (low + high) / 2
        above = increasing(middle) > 0
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return np.asarray((low + high) / 2)
