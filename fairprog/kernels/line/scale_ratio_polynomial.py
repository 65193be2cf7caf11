r"""All groups steered, one feature, two classes, two groups: Theorem C.

With the common laws eliminated the cost is a function of the ratio gamma of the groups' scales
alone; its stationary points are the real roots of a polynomial of degree at most eight.
"""

from __future__ import annotations

import numpy as np
from numpy.polynomial import Polynomial

from fairprog.labels import Array


def _weights(w: Array, std: Array) -> tuple[Array, Array, Array, Array]:
    """Return a_i, c_i = w_ia / sigma_ia^2 for a = 0, 1 and the harmonic W_0, W_1."""
    u = w / std**2
    W = u[0] * u[1] / (u[0] + u[1])
    return u[:, 0], u[:, 1], W[0], W[1]


def scale_ratio_cost(gamma: Array, w: Array, mean: Array, std: Array) -> Array:
    r"""Return F(gamma), the optimal cost for a given scale ratio up to a constant, K = G = 2.

    .. math:: F(\gamma) = \sum_i \frac{w_{i\cdot}}2 \log(a_i\gamma^2 + c_i)
        - w_{\cdot 0}\log|\gamma| + \frac{(D_0-\gamma D_1)^2}{2(1/W_0+\gamma^2/W_1)}

    Source: theory.md section 5.

    Parameters
    ----------
    gamma : Array, shape (...)
        Scale of group 0 over that of group 1; negative for a mirror image.
    w, mean, std : Array, shape (2, 2)
        Weights, means and standard deviations, class first.
    """
    a, c, W0, W1 = _weights(w, std)
    D = mean[1] - mean[0]
    g = np.asarray(gamma, dtype=float)[..., None]
    logs = (0.5 * w.sum(axis=1) * np.log(a * g**2 + c)).sum(axis=-1)
    g = g[..., 0]
    fit = (D[0] - g * D[1]) ** 2 / (2.0 * (1.0 / W0 + g**2 / W1))
    return logs - w[:, 0].sum() * np.log(np.abs(g)) + fit


def polynomial(w: Array, mean: Array, std: Array) -> Polynomial:
    r"""Return gamma F'(gamma) prod_i (a_i gamma^2 + c_i) (1/W_0 + gamma^2/W_1)^2, degree 8.

    Its positive lead and negative constant term guarantee a positive and a negative root; the
    multiplier has no real roots, so the stationary points of F are exactly its real roots
    (theory.md, Theorem C).
    """
    a, c, W0, W1 = _weights(w, std)
    D = mean[1] - mean[0]
    g = Polynomial([0.0, 1.0])
    p = [Polynomial([c[i], 0.0, a[i]]) for i in range(2)]
    h = Polynomial([1.0 / W0, 0.0, 1.0 / W1])
    N = Polynomial([D[0], -D[1]])
    logs = w[0].sum() * a[0] * g**2 * p[1] + w[1].sum() * a[1] * g**2 * p[0]
    logs = logs - w[:, 0].sum() * p[0] * p[1]
    fit = -D[1] * g * N * h - N**2 * g**2 / W1
    return logs * h**2 + fit * p[0] * p[1]


def best_scale_ratio(
    w: Array, mean: Array, std: Array, mirror: bool = False
) -> tuple[float, Array]:
    """Return the globally optimal scale ratio and all stationary points of F.

    Parameters
    ----------
    w, mean, std : Array, shape (2, 2)
    mirror : bool
        Whether negative ratios are allowed as well.

    Returns
    -------
    gamma : float
    stationary : Array
        Every real root (of the allowed sign), ascending.

    Notes
    -----
    The ratio is scaled to order one before the roots are taken; near-real roots are accepted,
    polished by Newton's method on F' and compared by F.
    """
    unit = np.sqrt(np.prod(std, axis=0))  # geometric mean of the class spreads, per group
    mean_, std_ = mean / unit, std / unit
    poly = polynomial(w, mean_, std_)
    roots = poly.roots()
    near_real = np.abs(roots.imag) <= 1e-4 * np.maximum(1e-8, np.abs(roots))
    candidates = roots.real[near_real]
    candidates = candidates[candidates != 0.0]
    if not mirror:
        candidates = candidates[candidates > 0]
    derivative = poly.deriv()
    for _ in range(3):
        slope = derivative(candidates)
        step = np.where(slope != 0.0, poly(candidates) / np.where(slope == 0.0, 1.0, slope), 0.0)
        small = np.abs(step) < 0.1 * np.abs(candidates)
        candidates = np.where(small, candidates - step, candidates)
    cost = scale_ratio_cost(candidates, w, mean_, std_)
    ratio = float(unit[0] / unit[1])
    return float(candidates[np.argmin(cost)]) * ratio, np.sort(candidates) * ratio


def two_group_cells(gamma: float, w: Array, mean: Array, std: Array) -> tuple[Array, Array]:
    """Return the steered means and standard deviations, (2, 2) each, for a scale ratio.

    sigma_i1^2 = (w_i0 + w_i1) / (a_i gamma^2 + c_i), sigma_i0 = |gamma| sigma_i1; the mean
    differences are the W-weighted projection of (D_0, D_1) on the line delta_0 = gamma delta_1.
    """
    a, c, W0, W1 = _weights(w, std)
    D = mean[1] - mean[0]
    steered_std = np.empty((2, 2))
    steered_std[:, 1] = np.sqrt(w.sum(axis=1) / (a * gamma**2 + c))
    steered_std[:, 0] = abs(gamma) * steered_std[:, 1]
    delta = (W0 * gamma * D[0] + W1 * D[1]) / (W0 * gamma**2 + W1)
    deltas = np.array([gamma * delta, delta])
    u = w / std**2
    center = (u * mean).sum(axis=0) / u.sum(axis=0)
    low = center - u[1] * deltas / u.sum(axis=0)
    return np.stack([low, low + deltas]), steered_std


def is_best_ratio(gamma: float, w: Array, mean: Array, std: Array, mirror: bool) -> bool:
    """Return whether no ratio of scales on a wide grid is better than gamma (d = 1, K = G = 2)."""
    grid = abs(gamma) * np.geomspace(1e-6, 1e6, 2001)
    if mirror:
        grid = np.concatenate([-grid, grid])
    F = scale_ratio_cost(np.append(grid, gamma), w, mean, std)
    return bool(F[-1] <= F[:-1].min() + 1e-9 * max(1.0, abs(F[-1])))
