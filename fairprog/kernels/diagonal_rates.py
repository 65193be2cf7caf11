"""Rates of Bayes rules where features are independent: nothing to rotate, nothing to factor.

Companion of :mod:`fairprog.kernels.bayes_rates`, with variances (K, G, d) for covariances.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri

from fairprog.kernels.univariate_regions import bayes_decisions
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

    Scrambled Sobol sequences up to 1024 features, pseudo-random numbers beyond. With
    x = mean + std z a squared distance is a quadratic in z without products: features are taken
    block by block, and a block is two matrix products.
    """
    from scipy.stats import qmc  # here: importing scipy.stats takes longer than fairprog itself

    K, G, d = mean.shape
    power = max(0, int(np.ceil(np.log2(max(1, n_samples) / REPLICATES))))
    n = 2**power
    with np.errstate(divide="ignore"):
        log_mass = np.log(prior) - 0.5 * np.log(scatter).sum(axis=-1)
    size = max(1, min(BLOCK // n, BLOCK // (K * G * K)))
    rates = np.empty((REPLICATES, K, G, len(cost)))
    for r, child in enumerate(np.random.default_rng(random_state).spawn(REPLICATES)):
        uniform = qmc.Sobol(d, rng=child).random_base2(power) if d <= SOBOL_DIMENSIONS else None
        joint = np.tile(log_mass.T[None, :, None], (K, 1, n, 1))  # (cell's class, G, n, K)
        for start in range(0, d, size):
            j = slice(start, start + size)
            if uniform is None:
                z = child.standard_normal((n, min(size, d - start)))
            else:
                z = ndtri(np.clip(uniform[:, j], 2.0**-32, 1 - 2.0**-32))
            # of every cell (i, a) and every class k of its group, in this order: (K, G, K, block)
            precision = 1.0 / scatter[..., j].swapaxes(0, 1)
            away = mean[:, :, None, j] - centre[..., j].swapaxes(0, 1)
            curved = 0.5 * var[:, :, None, j] * precision
            sloped = np.sqrt(var[:, :, None, j]) * away * precision
            constant = 0.5 * (away**2 * precision).sum(axis=-1)
            total = (z * z) @ curved.reshape(K * G * K, -1).T
            total += z @ sloped.reshape(K * G * K, -1).T
            joint -= np.moveaxis(total.reshape(n, K, G, K), 0, 2) + constant[:, :, None]
        for i, a in np.ndindex(K, G):
            actions = bayes_decisions(joint[i, a], cost)
            rates[r, i, a] = np.bincount(actions, minlength=len(cost)) / n
    error = np.std(rates, axis=0, ddof=1).max() / np.sqrt(REPLICATES)
    return rates.mean(axis=0), float(error)
