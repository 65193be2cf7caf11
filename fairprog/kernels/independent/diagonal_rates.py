"""Rates of Bayes rules where features are independent: nothing to rotate, nothing to factor.

Companion of :mod:`fairprog.kernels.rates.bayes_rates`, with variances (K, G, d) for covariances.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from fairprog.kernels.line.univariate_regions import bayes_decisions
from fairprog.labels import Array

NOISE = 1e-13  # coefficients of the log odds below this part of what they are made of are zero
REPLICATES = 16
SOBOL_DIMENSIONS = 1024  # beyond, pseudo-random numbers are as good and sooner at hand
BLOCK = 2**22  # numbers per temporary array


def independent_form(
    prior: Array, centre: Array, rule_var: Array, mean: Array, var: Array
) -> tuple[Array, Array, float]:
    """Return weights, slopes and offset of the log odds of one cell in standard coordinates.

    Parameters
    ----------
    prior : Array, shape (2,)
    centre, rule_var : Array, shape (2, d)
        Means and variances of the group's two cells in the rule's population.
    mean, var : Array, shape (d,)
        The cell of X.
    """
    u = np.sqrt(var / rule_var)
    v = (mean - centre) / np.sqrt(rule_var)
    weights, slopes = (u[0] ** 2 - u[1] ** 2) / 2, u[0] * v[0] - u[1] * v[1]
    weights[np.abs(weights) <= NOISE * (u**2).max()] = 0.0
    slopes[np.abs(slopes) <= NOISE * np.abs(u * v).max()] = 0.0
    offset = np.log(prior[1]) - np.log(prior[0]) + (v[0] @ v[0] - v[1] @ v[1]) / 2
    offset += 0.5 * (np.log(rule_var[0]) - np.log(rule_var[1])).sum()
    return weights, slopes, float(offset)


def sampled_rates(
    cost: Array,
    prior: Array,
    centre: Array,
    scatter: Array,
    mean: Array,
    var: Array,
    n_samples: int,
    random_state: int | np.random.Generator,
) -> tuple[Array, float]:
    """Return rates (K, G, K) of a Bayes rule by sampling, and the largest standard error.

    Of costs (C, K, K) rates (C, K, G, K) of all of them, by the same points.

    Scrambled Sobol sequences up to 1024 features, pseudo-random numbers beyond. With
    x = mean + std z a squared distance is a quadratic in z without products: features are taken
    block by block, and a block is two matrix products; pseudo-random ones are of float32, whose
    rounding, in blocks that are summed in float64, is far below what sampling leaves open. Of
    those half are the others mirrored at the mean, for which the products serve again.
    """
    from scipy.stats import qmc  # here: importing scipy.stats takes longer than fairprog itself

    K, G, d = mean.shape
    power = max(1, int(np.ceil(np.log2(max(1, n_samples) / REPLICATES))))
    n = 2**power
    with np.errstate(divide="ignore"):
        log_mass = np.log(prior) - 0.5 * np.log(scatter).sum(axis=-1)
    size = max(1, min(BLOCK // n, BLOCK // (K * G * K)))
    children = np.random.default_rng(random_state).spawn(REPLICATES)
    sobol = d <= SOBOL_DIMENSIONS
    points = [qmc.Sobol(d, rng=child).random_base2(power) for child in children] if sobol else []
    joint = np.tile(log_mass.T[None, :, None], (REPLICATES, K, 1, n, 1))  # (K, G, n, K) of each
    for start in range(0, d, size):
        j = slice(start, start + size)
        # of every cell (i, a) and every class k of its group, in this order: (K, G, K, block)
        precision = 1.0 / scatter[..., j].swapaxes(0, 1)
        away = mean[:, :, None, j] - centre[..., j].swapaxes(0, 1)
        curved = 0.5 * var[:, :, None, j] * precision
        sloped = np.sqrt(var[:, :, None, j]) * away * precision
        joint -= 0.5 * (away**2 * precision).sum(axis=-1)[:, :, None]
        # less those of the first class: the rule sees differences
        curved, sloped = ((x - x[:, :, :1])[:, :, 1:] for x in (curved, sloped))
        dtype = float if sobol else np.float32
        square, linear = (x.reshape(K * G * (K - 1), -1).T.astype(dtype) for x in (curved, sloped))
        for r, child in enumerate(children):
            if sobol:
                z: NDArray[Any] = ndtri(np.clip(points[r][:, j], 2.0**-32, 1 - 2.0**-32))
            else:
                z = child.standard_normal((n // 2, len(linear)), dtype=np.float32)
            even, odd = (z * z) @ square, z @ linear
            total = even + odd if sobol else np.concatenate([even + odd, even - odd])
            joint[r, ..., 1:] -= np.moveaxis(total.reshape(n, K, G, K - 1), 0, 2)
    return averaged(np.stack([rates_of(cost, each) for each in joint]))


def rates_of(cost: Array, joint: Array) -> Array:
    """Return shares of actions (..., K, G, K) from log joints (K, G, n, K), for every cost."""
    actions = bayes_decisions(joint.reshape(-1, joint.shape[-1]), cost)
    actions = actions.reshape(*cost.shape[:-2], *joint.shape[:3])
    return np.stack([(actions == k).mean(axis=-1) for k in range(cost.shape[-1])], axis=-1)


def averaged(rates: Array) -> tuple[Array, float]:
    """Return the mean over replicates, the first axis, and its largest standard error."""
    error = np.std(rates, axis=0, ddof=1).max() / np.sqrt(len(rates))
    return rates.mean(axis=0), float(error)
