r"""What it costs to move posteriors into levels, and the dual of the nearest fair population.

Two classes. Thresholds on :math:`\eta = P(Y=1 \mid x, a)` cut [0, 1] into *levels*, intervals
:math:`I_k` (or points). At prices :math:`w_{ki}` per mass of class i in level k the cheapest
posterior there costs

.. math:: d_k(\eta) = \min_{e \in I_k} kl(e \,\|\, \eta) + e\, w_{k1} + (1 - e)\, w_{k0},

the minimiser being the exponential tilt of :math:`\eta`, put into :math:`I_k`. A group with law f
of :math:`\eta` then costs :math:`V = -\log E_f \exp(-\min_k d_k)`, or :math:`E_f \min_k d_k` where
the law of X stays. By duality, ANY prices give a lower bound. Source: theory.md section 12.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import expit, kl_div, logit, logsumexp, softmax, xlogy

from fairprog.labels import Array, Indices

# nats by which log-sum-exp may miss the minimum over levels, in turn
SMOOTHINGS = 10.0 ** -np.arange(1.0, 6.01, 0.25)
FEW = 400  # atoms on which prices are found
LARGEST = 700.0  # nats, where exp ends
STEPS = 12  # Newton steps at each
RIDGES = (1e-10, 1e-6, 1e-4, 1e-2, 1.0, 100.0)

Group = tuple[Array, Array, Array]  # ends of bins of the posterior, shape (n,) each, and their law


def bernoulli_kl(p: Array | float, q: Array) -> Array:
    """Return kl(p || q) of Bernoulli laws in nats.

    Examples
    --------
    >>> from fairprog.kernels.atoms.level_prices import bernoulli_kl
    >>> bernoulli_kl(np.array([0.5, 0.2]), np.array([0.25, 0.2])).round(4)
    array([0.1438, 0.    ])
    """
    return np.asarray(kl_div(p, q) + kl_div(1.0 - p, 1.0 - q))


def moved(low: Array, high: Array, group: Group, price: Array) -> tuple[Array, Array]:
    """Return d_k and the posterior that attains it, shape (n, L) each.

    Where bins are given the original posterior may be anywhere in them: a bin costs what its
    nearest end does. With its mean there would be no lower bound.

    Parameters
    ----------
    low, high : Array, shape (L,)
    group : (first, last, law), shape (n,) each
        Bins of the posterior and their law; a posterior that is known is a bin of width 0.
    price : Array, shape (L, 2)
    """
    first, last = group[0][:, None], group[1][:, None]
    tilt = price[:, 1] - price[:, 0]
    with np.errstate(divide="ignore"):
        e = expit(logit(np.where(tilt > 0, first, last)) - tilt)
    if (tilt == 0).any():  # anywhere in the bin
        e = np.where(tilt == 0, np.clip(0.5 * (low + high), first, last), e)
    e = np.clip(e, low, high)
    cost = bernoulli_kl(e, np.clip(e, first, last)) + e * price[:, 1] + (1.0 - e) * price[:, 0]
    return cost, e


def cheapest(least: Array, law: Array, keep_law: bool) -> tuple[float, Array]:
    """Return V of one group from its least costs (n,), and the tilted law of its atoms."""
    if keep_law:
        return float(law @ least), law
    value = -float(logsumexp(-least, b=law))
    return value, law * np.exp(value - least)


def dual_value(
    low: Array,
    high: Array,
    groups: Sequence[Group],
    weights: Array,
    prices: Array,
    keep_law: bool,
    error: float = 0.0,
) -> float:
    """Return sum_a p_a V_a at prices of shape (G, L, 2): what no population can go below.

    Where the laws are of bins in order, and their cdfs known to `error`, still a lower bound.
    """
    value = 0.0
    for w, group, price in zip(weights, groups, prices, strict=True):
        least = moved(low, high, group, price)[0].min(axis=1)
        own = cheapest(least, group[2], keep_law)[0]
        if error > 0:  # what moving mass between bins can add to E exp(-least)
            tilt = np.exp(np.minimum(own - least, LARGEST))
            own -= float(np.log1p(error * (np.abs(np.diff(tilt)).sum() + tilt.max())))
        value += float(w * own)
    return value


def common_basis(weights: Array, both: Any, free: bool) -> Array:
    """Return the basis of prices (G * L * 2, q) under which levels have equal masses.

    Parameters
    ----------
    weights : Array, shape (G,)
    both : array of bool, shape (L,)
        Levels whose masses of both classes are equal: so it is wherever the law of the posterior
        is the same in every group, which tightens a bound from intervals to second order.
    free : bool
        Whether the common law is free (prices then sum to zero), or given.
    """
    level = np.repeat(np.arange(len(both)), np.where(both, 2, 1))
    first = np.concatenate([[True], np.diff(level) > 0])
    own = np.zeros((len(both), 2, len(level)))
    own[level, np.where(first, 0, 1), np.arange(len(level))] = 1.0
    single = ~np.asarray(both)[level]
    own[level[single], 1, np.flatnonzero(single)] = 1.0
    flat = own.reshape(-1, len(level))
    if not free:
        return np.kron(np.eye(len(weights)), flat)
    return np.kron(np.vstack([np.eye(len(weights) - 1), -weights[:-1] / weights[-1]]), flat)


def bound_over_levels(
    low: Array,
    high: Array,
    groups: Sequence[Group],
    weights: Array,
    both: Any,
    kept: Array | None,
    keep_law: bool = False,
    error: float = 0.0,
) -> float:
    """Return a lower bound on the divergence of every population whose levels have one law.

    Prices are found on few atoms, and the bound is evaluated on all.

    Parameters
    ----------
    low, high, groups, weights, both, keep_law, error
        As for the functions above.
    kept : Array, shape (L, 2), or None
        The law of level and class, where some group stays.
    """
    law = np.zeros((len(low), 2)) if kept is None else kept
    basis = common_basis(weights, both, kept is None)
    few = [coarse(group, FEW) for group in groups]
    paid = basis.T @ np.kron(weights, law.ravel())
    prices, _ = best_prices(low, high, few, weights, basis, paid, keep_law)
    value = dual_value(low, high, groups, weights, prices, keep_law, error)
    return value - float(weights @ (prices * law).sum(axis=(1, 2)))


def best_prices(
    low: Array,
    high: Array,
    groups: Sequence[Group],
    weights: Array,
    basis: Array,
    paid: Array,
    keep_law: bool = False,
) -> tuple[Array, Array]:
    """Return prices (G, L, 2) that nearly maximise the dual, and laws (G, L, 2) of the levels.

    Maximises sum_a p_a V_a(w_a) - y . paid over y, prices w = basis y, by Newton's method on a
    dual in which log-sum-exp stands for the minimum over levels, ever more sharply.

    Parameters
    ----------
    low, high : Array, shape (L,)
    groups : sequence of (first, last, law)
    weights : Array, shape (G,)
        Masses of the groups.
    basis : Array, shape (G * L * 2, q)
    paid : Array, shape (q,)
    keep_law : bool
        Whether the law of X stays.
    """
    shape = (len(groups), len(low), 2)
    y, size = np.zeros(basis.shape[1]), 2 * len(low)
    best: tuple[float, Array, Array] = -np.inf, basis @ y, np.zeros(shape)
    for eps in SMOOTHINGS:

        def at(y: Array, eps: float = eps) -> tuple[float, Array, Array, Array]:
            prices = (basis @ y).reshape(shape)
            value, slope, bend = -float(y @ paid), -paid, np.zeros((len(y), len(y)))
            laws = np.zeros(shape)
            for a, (w, group) in enumerate(zip(weights, groups, strict=True)):
                v, laws[a], H = _smooth(low, high, group, prices[a], keep_law, eps)
                own = basis[a * size : (a + 1) * size]
                value += float(w * v)
                slope = slope + w * (own.T @ laws[a].ravel())
                bend += w * (own.T @ H @ own)
            return value, slope, bend, laws

        value, slope, bend, found = at(y)
        for _ in range(STEPS):
            for ridge in RIDGES:  # the least that leads upwards
                scaled = ridge * np.trace(bend) / len(y) * np.eye(len(y))
                step = np.linalg.solve(bend + scaled, slope)
                trial = at(y + step)
                if trial[0] >= value + 0.1 * float(slope @ step):
                    break
            gain = trial[0] - value
            if not gain > 0:
                break
            y, (value, slope, bend, found) = y + step, trial
            if gain <= 1e-2 * eps:
                break
        prices = basis @ y
        exact = dual_value(low, high, groups, weights, prices.reshape(shape), keep_law)
        if exact - y @ paid > best[0]:
            best = exact - float(y @ paid), prices, found
    return best[1].reshape(shape), best[2]


def _smooth(
    low: Array, high: Array, group: Group, price: Array, keep_law: bool, eps: float
) -> tuple[float, Array, Array]:
    """Return the smoothed V, its gradient (L, 2), and minus its Hessian (2 L, 2 L)."""
    cost, e = moved(low, high, group, price)
    share = softmax(-cost / eps, axis=1)
    value, law = cheapest(-eps * logsumexp(-cost / eps, axis=1), group[2], keep_law)
    part = np.stack([share * (1.0 - e), share * e], axis=-1)
    level = np.einsum("n,nki->ki", law, part)
    flat = part.reshape(len(part), -1)
    both = (flat * law[:, None]).T @ flat
    H = -both / eps if keep_law else both * (1.0 - 1.0 / eps) - np.outer(level, level)
    free = (e > low) & (e < high)  # not held by an end of its level
    own, spread = share * law[:, None], np.where(free, e * (1.0 - e), 0.0)
    k = 2 * np.arange(len(low))
    for i, j, sign in ((0, 0, 1.0), (0, 1, -1.0), (1, 0, -1.0), (1, 1, 1.0)):
        ei, ej = (e if c else 1.0 - e for c in (i, j))
        H[k + i, k + j] += (own * (ei * ej / eps + sign * spread)).sum(axis=0)
    return value, level, H


def coarse(group: Group, count: int) -> Group:
    """Return about `count` atoms in place of many: means of neighbours, of about equal mass."""
    eta, law = 0.5 * (group[0] + group[1]), group[2]
    if len(eta) <= count:
        return eta, eta, law
    order = np.argsort(eta, kind="stable")
    part = np.minimum(np.cumsum(law[order]) * count, count - 1e-9).astype(np.intp)
    mass = np.bincount(part, law[order], count)
    kept = mass > 0
    mean = np.bincount(part, (law * eta)[order], count)[kept] / mass[kept]
    return mean, mean, np.asarray(mass[kept], dtype=float)


def couple(order: Indices, mass: Array, levels: Array) -> tuple[Indices, Indices, Array]:
    """Return the increasing coupling of atoms in an order with levels: (atom, level, mass).

    Both laws have the same total; there are at most n + L - 1 parts.

    Examples
    --------
    >>> from fairprog.kernels.atoms.level_prices import couple
    >>> couple(np.array([1, 0]), np.array([0.6, 0.4]), np.array([0.5, 0.5]))
    (array([1, 0, 0]), array([0, 0, 1]), array([0.4, 0.1, 0.5]))
    """
    upper, steps = np.cumsum(mass[order]), np.cumsum(levels)
    upper[-1] = steps[-1] = max(upper[-1], steps[-1])
    ends = np.concatenate([upper, steps])
    ends.sort(kind="stable")  # two runs, merged
    part = np.diff(ends, prepend=0.0)
    ends, part = ends[part > 0], part[part > 0]
    middle = ends - 0.5 * part
    atom = order[np.minimum(np.searchsorted(upper, middle), len(order) - 1)]
    level = np.minimum(np.searchsorted(steps, middle), len(levels) - 1)
    # ends that differ by rounding would make two parts of one
    first = np.flatnonzero(np.diff(atom, prepend=-1) | np.diff(level, prepend=-1))
    return atom[first], level[first], np.add.reduceat(part, first)


def entropy(mass: Array, law: Array) -> float:
    """Return sum mass log(mass / law), nats."""
    return float(np.sum(xlogy(mass, mass) - xlogy(mass, law)))
