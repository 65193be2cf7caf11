"""Two measures of univariate normal populations that the package itself has no use for."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr

import fairprog as fp
from fairprog.kernels.univariate_regions import decision_regions
from fairprog.labels import Array

__all__ = ["blind_rule", "jensen_shannon"]


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
