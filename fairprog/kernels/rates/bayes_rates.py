r"""Exact rates of Bayes rules on normal populations.

"Rule" arguments describe the population whose Bayes rule is used, plain ones the population it
is applied to; both have the same classes, groups and dimension. Axes: class, group, dimensions;
of independent features variances (K, G, d) stand for covariances.

With ``U_k = L_k^-1 L`` and ``v_k = L_k^-1 (m - m_k)`` (rule cell k, cell X = m + L z), the log
odds are the quadratic form
``log q_1/q_0 + log |L_0|/|L_1| + (|v_0 + U_0 z|^2 - |v_1 + U_1 z|^2) / 2``: a closed form in
one dimension, normal where the rule's covariances agree, else a generalised chi-square
(theory.md, section 7).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import solve_triangular
from scipy.special import ndtr, ndtri

from fairprog.kernels.independent.diagonal_rates import (
    NOISE,
    REPLICATES,
    averaged,
    independent_form,
    rates_of,
    sampled_rates,
)
from fairprog.kernels.line.univariate_regions import decision_regions
from fairprog.kernels.rates.quadratic_form import normal_mass, spectral_cdf
from fairprog.labels import Array

__all__ = ["decision_rates", "decision_regions", "log_odds_cdf", "log_odds_nodes"]

TIE = 1e-12  # log odds closer than this to a threshold are at the threshold


def log_odds_cdf(
    thresholds: ArrayLike,
    rule_prior: ArrayLike,
    rule_mean: ArrayLike,
    rule_cov: ArrayLike,
    mean: ArrayLike,
    cov: ArrayLike,
) -> Array:
    r"""Cdfs of the log odds ``log q_1a p_1a(X) / (q_0a p_0a(X))`` given class and group of X.

    Parameters
    ----------
    thresholds : (T,) array of log odds, in nats.
    rule_prior, rule_mean, rule_cov : (2, G), (2, G, d), (2, G, d, d) arrays
        The population whose densities and priors are in the log odds.
    mean, cov : (2, G, d), (2, G, d, d) arrays
        The population of X.

    Returns
    -------
    H : (T, 2, G) array
        ``H[t, i, a] = P(log odds <= thresholds[t] | Y=i, A=a)``. Constant log odds jump within
        1e-12 below their value, so that a threshold equal up to rounding counts as reached.

    Examples
    --------
    >>> m, S = np.array([[[0.0]], [[2.0]]]), np.ones((2, 1, 1, 1))
    >>> log_odds_cdf([0.0], [[0.5], [0.5]], m, S, m, S).round(4).ravel()
    array([0.8413, 0.1587])
    """
    t = np.asarray(thresholds, float)
    forms = _log_odds_forms(rule_prior, rule_mean, rule_cov, mean, cov)
    H = np.empty((t.size, 2, len(forms[0])))
    for i, a in np.ndindex(2, len(forms[0])):
        weights, slopes, offset = forms[i][a]
        if not weights.any() and not slopes.any():
            H[:, i, a] = t >= offset - TIE * max(1.0, abs(offset))
        else:
            H[:, i, a] = spectral_cdf(t, weights, slopes, offset)[0]
    return H


def log_odds_nodes(
    rule_prior: ArrayLike,
    rule_mean: ArrayLike,
    rule_cov: ArrayLike,
    mean: ArrayLike,
    cov: ArrayLike,
) -> Array:
    r"""Thresholds at which to scan the differences of the cdfs of `log_odds_cdf`.

    Quantiles of the log odds of every cell (evenly spaced and towards the tails), the kinks of
    the cdfs (the vertex of the quadratic), and both sides of the jump of constant log odds.

    Parameters
    ----------
    rule_prior, rule_mean, rule_cov, mean, cov : as in `log_odds_cdf`.

    Returns
    -------
    thresholds : (T,) array, increasing, in nats; T is about 600 (more for many groups).

    Examples
    --------
    >>> m, S = np.array([[[0.0]], [[2.0]]]), np.ones((2, 1, 1, 1))
    >>> nodes = log_odds_nodes([[0.5], [0.5]], m, S, m, S)
    >>> bool(400 <= nodes.size <= 1000 and nodes[0] < -10 and nodes[-1] > 10)
    True
    """
    forms = _log_odds_forms(rule_prior, rule_mean, rule_cov, mean, cov)
    size = max(24, 300 // (2 * len(forms[0])))
    z = np.concatenate([ndtri((np.arange(size) + 0.5) / size), np.linspace(-6.5, 6.5, size)])
    found = []
    for weights, slopes, offset in (form for row in forms for form in row):
        spread = np.sqrt(np.sum(2 * weights**2 + slopes**2))
        if spread == 0:
            found.append(offset - np.array([0.0, 3 * TIE]) * max(1.0, abs(offset)))
            continue
        if weights.size == 1:
            found.append(offset + weights[0] * z**2 + slopes[0] * z)
        else:  # invert the cdf by interpolation on a grid that is dense around the mean
            grid = offset + np.sum(weights) + spread * np.sinh(np.linspace(-4, 4, 161)) / 2
            H = np.maximum.accumulate(spectral_cdf(grid, weights, slopes, offset, 1e-9)[0])
            found.append(np.interp(ndtr(z), H, grid))
        curved = weights != 0
        vertex = slopes[curved] / (2 * weights[curved])
        if vertex.size and np.all(np.abs(vertex) < 10):
            found.append(np.atleast_1d(offset - np.sum(weights[curved] * vertex**2)))
    return np.unique(np.concatenate(found))


def decision_rates(
    cost: ArrayLike,
    rule_prior: ArrayLike,
    rule_mean: ArrayLike,
    rule_cov: ArrayLike,
    mean: ArrayLike,
    cov: ArrayLike,
    n_samples: int = 2**16,
    random_state: int | np.random.Generator = 0,
) -> tuple[Array, float]:
    r"""Rates of the Bayes rule of ``cost``: ``P(rule predicts j | Y=i, A=a)``.

    Exact for d = 1 or two classes; otherwise averages over 16 independently scrambled Sobol
    sequences (Owen, 1997, SIAM J. Numer. Anal. 34), which give the standard error.

    Parameters
    ----------
    cost : (K, K) array, ``cost[i, j]`` of predicting j when the truth is i, in the user's unit.
        Or several, (C, K, K): rates (C, K, G, K), where they are sampled by the same points.
    rule_prior, rule_mean, rule_cov : (K, G), (K, G, d), (K, G, d, d) arrays
        The population whose Bayes rule is used; the lowest action wins ties.
    mean, cov : (K, G, d), (K, G, d, d) arrays
        The population it is applied to.
    n_samples : int
        Points per cell where sampling is needed, rounded up to 16 times a power of two.
    random_state : int or numpy Generator

    Returns
    -------
    rates : (K, G, K) array of probabilities, ``rates[i, a, j]``.
    standard_error : float
        The largest over all entries; 0.0 where the rates are exact.

    Examples
    --------
    >>> m, S = np.array([[[0.0]], [[2.0]]]), np.ones((2, 1, 1, 1))
    >>> rates, error = decision_rates([[0, 1], [1, 0]], [[0.5], [0.5]], m, S, m, S)
    >>> rates[:, 0].round(4).tolist(), error
    ([[0.8413, 0.1587], [0.1587, 0.8413]], 0.0)
    """
    cost, rule_prior = np.asarray(cost, float), np.asarray(rule_prior, float)
    rule_mean, rule_cov = np.asarray(rule_mean, float), np.asarray(rule_cov, float)
    mean, cov = np.asarray(mean, float), np.asarray(cov, float)
    if cost.ndim > 2 and (mean.shape[2] == 1 or cost.shape[1] == 2):
        args = rule_prior, rule_mean, rule_cov, mean, cov
        return np.stack([decision_rates(C, *args)[0] for C in cost]), 0.0
    if mean.shape[2] == 1:
        rule_std, std = (np.sqrt(S.reshape(S.shape[:2])) for S in (rule_cov, cov))
        rates = np.zeros((*mean.shape[:2], len(cost)))
        for a in range(mean.shape[1]):
            points, actions = decision_regions(
                cost, rule_prior[:, a], rule_mean[:, a, 0], rule_std[:, a]
            )
            z = (points - mean[:, a]) / std[:, a, None]
            ends = np.full((len(z), 1), np.inf)
            mass = normal_mass(np.hstack([-ends, z]), np.hstack([z, ends]))
            for region, action in enumerate(actions):
                rates[:, a, action] += mass[:, region]
        return rates, 0.0
    if cost.shape[-2] == 2:
        return _binary_rates(cost, rule_prior, rule_mean, rule_cov, mean, cov), 0.0
    sampled = _sampled_rates if cov.ndim == 4 else sampled_rates
    return sampled(cost, rule_prior, rule_mean, rule_cov, mean, cov, n_samples, random_state)


def _log_odds_forms(
    rule_prior: ArrayLike,
    rule_mean: ArrayLike,
    rule_cov: ArrayLike,
    mean: ArrayLike,
    cov: ArrayLike,
) -> list[list[tuple[Array, Array, float]]]:
    """Spectral forms [i][a] of the log odds of the rule in every cell; noise set to zero."""
    prior, centre = np.asarray(rule_prior, float), np.asarray(rule_mean, float)
    mean, cov, rule_cov = (np.asarray(x, float) for x in (mean, cov, rule_cov))
    if cov.ndim == 3:
        return [
            [
                independent_form(prior[:, a], centre[:, a], rule_cov[:, a], mean[i, a], cov[i, a])
                for a in range(mean.shape[1])
            ]
            for i in (0, 1)
        ]
    root, rule_root = np.linalg.cholesky(cov), np.linalg.cholesky(rule_cov)
    log_det = np.log(np.diagonal(rule_root, axis1=-2, axis2=-1)).sum(axis=-1)

    def form(i: int, a: int) -> tuple[Array, Array, float]:
        L = rule_root[:, a]
        U = [solve_triangular(L[k], root[i, a], lower=True) for k in (0, 1)]
        v = [solve_triangular(L[k], mean[i, a] - centre[k, a], lower=True) for k in (0, 1)]
        weights, basis = np.linalg.eigh((U[0].T @ U[0] - U[1].T @ U[1]) / 2)
        slopes = basis.T @ (U[0].T @ v[0] - U[1].T @ v[1])
        size = [np.linalg.norm(u) for u in U]
        weights[np.abs(weights) <= NOISE * max(size) ** 2] = 0.0
        slopes[np.abs(slopes) <= NOISE * max(size[k] * np.linalg.norm(v[k]) for k in (0, 1))] = 0.0
        log_prior = np.log(prior[1, a]) - np.log(prior[0, a])
        offset = log_prior + log_det[0, a] - log_det[1, a] + (v[0] @ v[0] - v[1] @ v[1]) / 2
        return weights, slopes, float(offset)

    return [[form(i, a) for a in range(mean.shape[1])] for i in (0, 1)]


def _binary_rates(
    cost: Array, prior: Array, centre: Array, scatter: Array, mean: Array, cov: Array
) -> Array:
    """Predict 1 iff ``loss * P(Y=0 | x) < gain * P(Y=1 | x)``."""
    loss, gain = cost[0, 1] - cost[0, 0], cost[1, 0] - cost[1, 1]
    noise = 8 * np.finfo(float).eps * np.max(np.abs(cost))
    loss, gain = (0.0 if abs(c) <= noise else c for c in (loss, gain))
    if loss > 0 and gain > 0:  # iff the log odds exceed the threshold
        ones = 1 - log_odds_cdf([np.log(loss / gain)], prior, centre, scatter, mean, cov)[0]
    elif loss < 0 and gain < 0:  # iff the log odds are below it: those of 0 against 1 exceed
        prior, centre, scatter = prior[::-1], centre[::-1], scatter[::-1]
        ones = 1 - log_odds_cdf([np.log(gain / loss)], prior, centre, scatter, mean, cov)[0]
    else:
        ones = np.full(mean.shape[:2], float(loss <= 0 <= gain and (loss, gain) != (0, 0)))
    return np.stack([1 - ones, ones], axis=-1)


def _sampled_rates(
    cost: Array,
    prior: Array,
    centre: Array,
    scatter: Array,
    mean: Array,
    cov: Array,
    n_samples: int,
    random_state: int | np.random.Generator,
) -> tuple[Array, float]:
    """Scrambled Sobol averages; every replicate uses its points in all cells."""
    from scipy.stats import qmc  # here: importing scipy.stats takes longer than fairprog itself

    K, G, d = mean.shape
    power = max(0, int(np.ceil(np.log2(max(1, n_samples) / REPLICATES))))
    root, whiten = np.linalg.cholesky(cov), np.linalg.inv(np.linalg.cholesky(scatter))
    with np.errstate(divide="ignore"):
        log_mass = np.log(prior) + np.log(np.diagonal(whiten, axis1=-2, axis2=-1)).sum(axis=-1)
    rates = []
    for child in np.random.default_rng(random_state).spawn(REPLICATES):
        uniform = qmc.Sobol(d, rng=child).random_base2(power)
        z = ndtri(np.clip(uniform, 2.0**-32, 1 - 2.0**-32))
        joint = np.empty((K, G, len(z), K))
        for i, a in np.ndindex(K, G):
            x = mean[i, a] + z @ root[i, a].T
            for k in range(K):
                white = (x - centre[k, a]) @ whiten[k, a].T
                joint[i, a, :, k] = log_mass[k, a] - np.sum(white**2, axis=1) / 2
        rates.append(rates_of(cost, joint))
    return averaged(np.stack(rates))
