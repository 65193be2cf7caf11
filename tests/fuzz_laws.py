"""Laws of cells as plain numbers: divergences by textbook formulas or quadrature, images."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from scipy.integrate import quad
from scipy.special import digamma, gammaln

__all__ = ["cells_of", "distance", "divergence", "moved_law", "total_divergence"]

EULER = 0.5772156649015329


def divergence(kind: str, law: Any, goal: Any) -> tuple[float, float]:
    """Return KL(law || goal) of one cell in nats, and the error of that number.

    A law is (loc, scale), (shape, mean) or (mean, cov), by kind.
    """
    if kind in ("Gamma", "Exponential"):
        (k, m), (c, n) = law, goal
        ratio = m * c / (n * k)
        terms = [
            (k - c) * digamma(k),
            -gammaln(k),
            gammaln(c),
            -c * np.log(ratio),
            k * (ratio - 1),
        ]
        return float(np.sum(terms)), 1e-14 * float(np.abs(terms).sum())
    if kind in ("Laplace", "Logistic", "Gumbel", "GumbelMin", "Weibull", "ShiftedExponential"):
        (l, s), (c, t) = law, goal
        a, b = s / t, (l - c) / t
        error = 1e-15 * (abs(l) + abs(c)) / t * (1.0 + abs(b)) + 1e-14 * (1 + a + abs(b))
        if kind == "Laplace":
            return abs(b) + a * np.exp(-abs(b) / a) - 1 - np.log(a), error
        if kind == "ShiftedExponential":
            inside = b >= -error - 1e-9
            return (a + b - 1 - np.log(a), error + max(-b, 0.0)) if inside else (np.inf, 0.0)
        if kind == "Logistic":
            return _logistic(a, b, error)
        b = b if kind == "Gumbel" else -b
        tail = float(np.exp(gammaln(1 + a) - b))
        return (a - 1) * EULER + b + tail - 1 - np.log(a), error * (1 + tail)
    (m, S), (c, T) = law, goal
    root = np.linalg.cholesky(T)
    half = np.linalg.solve(root, np.linalg.cholesky(S))
    shift = np.linalg.solve(root, m - c)
    square = float((half**2).sum())
    logs = 2 * np.log(np.abs(np.diagonal(root) / np.diagonal(np.linalg.cholesky(S)))).sum()
    value = 0.5 * (square - len(m) + float(shift @ shift) + float(logs))
    far = np.abs(np.linalg.solve(root, np.abs(m) + np.abs(c))).max()
    condition = np.linalg.cond(root) * np.finfo(float).eps
    squeezed = np.linalg.cond(S) * np.finfo(float).eps  # what rounding does to log det S
    return value, 1e-15 * far * (1 + np.abs(shift).max()) + squeezed + condition * (
        square + shift @ shift + 1
    )


def _logistic(a: float, b: float, error: float) -> tuple[float, float]:
    def minus_log(z: float) -> float:
        return abs(z) + 2.0 * np.log1p(np.exp(-abs(z)))

    steps = np.array([0.0, 1, 4, 16, 64, 256]) / a
    kink = np.concatenate([-b / a - steps, -b / a + steps])
    ends = np.unique(np.r_[-700, -40, -10, 0, 10, 40, 700, kink[np.abs(kink) < 700]])
    parts = [
        quad(lambda z: np.exp(-minus_log(z)) * minus_log(a * z + b), low, high, epsrel=1e-12)
        for low, high in pairwise(ends)
    ]
    value = sum(p[0] for p in parts) - 2 - np.log(a)
    return value, error + sum(p[1] for p in parts)


# -- populations as plain numbers --


def cells_of(kind: str, D: Any) -> list[list[Any]]:
    """Return the law of every cell, [class][group], in the coordinates of the maps."""
    K, G = D.prior.shape
    if kind in ("Gamma", "Exponential"):
        shape = D.shape if kind == "Gamma" else np.ones((K, G))
        return [[(shape[i, a], D.mean[i, a]) for a in range(G)] for i in range(K)]
    if kind == "Weibull":
        return [[(np.log(D.scale[i, a]), 1 / D.shape[i, a]) for a in range(G)] for i in range(K)]
    if kind in ("Laplace", "Logistic", "Gumbel", "GumbelMin", "ShiftedExponential"):
        return [[(D.loc[i, a], D.scale[i, a]) for a in range(G)] for i in range(K)]
    D = D.base if kind == "Transformed" else D
    mean, std = np.asarray(D.mean), getattr(D, "std", None)
    if mean.ndim == 2:
        return [
            [(mean[i, a, None], np.array([[std[i, a] ** 2]])) for a in range(G)] for i in range(K)
        ]
    cov = np.asarray(D.cov)
    full = cov[..., None] * np.eye(mean.shape[-1]) if cov.ndim == 3 else cov
    return [[(mean[i, a], full[i, a]) for a in range(G)] for i in range(K)]


def moved_law(kind: str, law: Any, A: np.ndarray, b: np.ndarray) -> Any:
    """Return the law of A Z + b."""
    if kind in ("Gamma", "Exponential"):
        return law[0], law[1] * float(np.exp(b[0]))
    if np.ndim(law[0]) == 0:
        return A[0, 0] * law[0] + b[0], abs(A[0, 0]) * law[1]
    return A @ law[0] + b, A @ law[1] @ A.T


def total_divergence(kind: str, prior: Any, cells: Any, original: Any) -> tuple[float, float]:
    """Return KL of the joint laws and its error; `original` is (prior, cells)."""
    q, goals = original
    value = float((prior * np.log(prior / q)).sum())
    error = 1e-14
    for i, a in np.ndindex(*prior.shape):
        v, e = divergence(kind, cells[i][a], goals[i][a])
        value, error = value + prior[i, a] * v, error + prior[i, a] * e
    return value, error


def distance(kind: str, law: Any, other: Any) -> float:
    """Return how far two laws are from one another, in their own units."""
    if np.ndim(law[0]) == 0:
        if kind in ("Gamma", "Exponential"):
            return max(abs(law[0] / other[0] - 1), abs(law[1] / other[1] - 1))
        rounding = 1e-13 * (abs(law[0]) + abs(other[0])) / other[1]
        return max(abs(law[0] - other[0]) / other[1] - rounding, abs(law[1] / other[1] - 1), 0.0)
    root = np.linalg.cholesky(other[1])
    white = np.linalg.solve(root, np.linalg.solve(root, law[1]).T)
    shift = np.abs(np.linalg.solve(root, law[0] - other[0])).max()
    far = np.abs(np.linalg.solve(root, np.abs(law[0]) + np.abs(other[0]))).max()
    rounding = 1e-13 * far + 1e-14 * np.linalg.cond(other[1])
    return max(float(shift), float(np.abs(white - np.eye(len(root))).max())) - rounding
