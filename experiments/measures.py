"""Measures of normal populations that the package itself has no use for."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr, ndtri

import fairprog as fp
from fairprog.kernels.line.univariate_regions import decision_regions
from fairprog.labels import Array

__all__ = ["blind_rule", "jensen_shannon", "jensen_shannon_sampled", "log_joint"]


def jensen_shannon(D: fp.Normal, E: fp.Normal, tolerance: float = 1e-9) -> float:
    """Return the Jensen-Shannon divergence of the joint laws of (X, Y, A), in nats.

    By the trapezoidal rule, which converges geometrically for these integrands, on grids that
    are refined until two of them agree to `tolerance`.
    """
    total = 0.0
    for i in range(D.n_classes):
        for a in range(D.n_groups):
            cells = [(P.prior[i, a], P.mean[i, a], P.std[i, a]) for P in (D, E)]
            low = min(m - 12.0 * s for _, m, s in cells)
            high = max(m + 12.0 * s for _, m, s in cells)
            value, previous, n = 0.0, np.inf, 2**9
            while abs(value - previous) > tolerance:
                previous, n = value, 2 * n
                x = np.linspace(low, high, n + 1)
                p, q = (w * _density(x, m, s) for w, m, s in cells)
                middle = (p + q) / 2.0
                integrand = (_entropy_term(p, middle) + _entropy_term(q, middle)) / 2.0
                value = float(integrand.sum()) * (high - low) / n
            total += value
    return total


def _density(x: Array, mean: float, std: float) -> Array:
    out: Array = np.exp(-0.5 * ((x - mean) / std) ** 2) / (np.sqrt(2.0 * np.pi) * std)
    return out


def _entropy_term(p: Array, q: Array) -> Array:
    """Return p log(p / q), 0 where p = 0 (q >= p / 2 here)."""
    ratio = np.divide(p, q, out=np.ones_like(p), where=p > 0)
    out: Array = p * np.log(ratio)
    return out


def blind_rule(D: fp.Normal) -> fp.OutcomeTable:
    """Return the outcome table of the 0-1 Bayes rule that sees x but not the group."""
    K, G = D.prior.shape
    # every cell is a class of its own; an action stands for its class, and doubles cost too much
    cost = np.full((K * G, K * G), 9.0)
    for i in range(K):
        cost[:, i * G] = np.repeat(np.arange(K) != i, G)
    points, action = decision_regions(cost, D.prior.ravel(), D.mean.ravel(), D.std.ravel())
    edges = np.concatenate([[-np.inf], points, [np.inf]])
    mass = np.diff(ndtr((edges - D.mean[..., None]) / D.std[..., None]), axis=-1)
    Z = np.zeros((G, K, K))
    for region, k in enumerate(action):
        Z[:, :, k // G] += (D.prior * mass[..., region]).T
    return fp.OutcomeTable(Z, D.classes, D.groups)


def jensen_shannon_sampled(
    D: fp.Normal, E: fp.Normal, n: int = 2**12, random_state: int = 0, replicates: int = 8
) -> tuple[float, float]:
    """Return the Jensen-Shannon divergence of the joint laws in any dimension, and its error.

    log 2 - (E_D log(1 + dE/dD) + E_E log(1 + dD/dE)) / 2 by `n` scrambled Sobol points per cell
    and replicate; the error is the standard error over the replicates. Nats.
    """
    from scipy.stats import qmc

    d, totals = D.n_features, np.zeros(replicates)
    for r, rng in enumerate(np.random.default_rng(random_state).spawn(replicates)):
        u = qmc.Sobol(d, rng=rng).random(n)
        z = ndtri(np.clip(u, 2.0**-32, 1.0 - 2.0**-32))
        for i, a in np.ndindex(D.prior.shape):
            for P, Q in ((D, E), (E, D)):
                x = P.location[i, a] + z @ np.linalg.cholesky(P.cov[i, a]).T
                log_ratio = log_joint(Q, a, x)[:, i] - log_joint(P, a, x)[:, i]
                mean = float(np.logaddexp(0.0, log_ratio).mean())
                totals[r] += 0.5 * P.prior[i, a] * (np.log(2.0) - mean)
    return float(totals.mean()), float(totals.std(ddof=1) / np.sqrt(replicates))


def log_joint(D: fp.Normal, a: int, x: Array) -> Array:
    """Return log q_ia p_ia(x), shape (n, K), up to the power of 2 pi, which all cells share."""
    out = np.empty((len(x), D.n_classes))
    for i in range(D.n_classes):
        white = np.linalg.inv(np.linalg.cholesky(D.cov[i, a]))
        z = (x - D.location[i, a]) @ white.T
        out[:, i] = np.log(D.prior[i, a]) + np.log(np.diag(white)).sum() - 0.5 * (z**2).sum(axis=1)
    return out
