r"""Increasing piecewise-linear maps of the line: evaluation, exact moments, the nearest one.

A map T has knots t_1 < ... < t_n, values v_1 < ... < v_n there, straight lines between and
slopes g_left, g_right > 0 outside. It is linear in theta = (g_left, v_1, ..., v_n, g_right), and
its n + 1 slopes are D theta. For a target N(mu_i, sigma_i^2) per class and reference laws P_i,

.. math:: f(\theta) = \sum_i w_i \Bigl( \frac{E_{P_i}(T(x) - \mu_i)^2}{2\sigma_i^2}
          - E_{P_i} \log T'(x) \Bigr)
          = \tfrac12\theta' A \theta - c'\theta - \sum_k \pi_k \log (D\theta)_k + \text{const}

is convex, with A tridiagonal and pi_k the mass of segment k: no quadrature, the moments of a
normal law on a segment are closed forms (theory.md section 4).
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr, ndtri

from fairprog.labels import Array

NODES, WEIGHTS = np.polynomial.legendre.leggauss(16)


def mixture_quantiles(w: Array, mean: Array, std: Array, levels: Array) -> Array:
    """Return quantiles of the normal mixture with weights w (K,), by bisection."""
    p = w / w.sum()
    z = ndtri(levels)
    low = (mean[:, None] + std[:, None] * z).min(axis=0)
    high = (mean[:, None] + std[:, None] * z).max(axis=0)
    for _ in range(80):
        middle = 0.5 * (low + high)
        below = p @ ndtr((middle - mean[:, None]) / std[:, None]) < levels
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return np.asarray(0.5 * (low + high))


def normal_moments(knots: Array, mean: float, std: float) -> Array:
    """Return E[(x - anchor)^j; segment] of N(mean, std^2), j = 0, 1, 2: shape (3, n + 1).

    The anchor is the left end of a segment, the first knot for the left tail. Segments up to one
    standard deviation wide by Gauss-Legendre (exact to rounding, without cancellation), others
    by the closed forms.
    """
    z = (knots - mean) / std
    phi = np.exp(-0.5 * z * z) / np.sqrt(2.0 * np.pi)
    out = np.empty((3, len(knots) + 1))
    # tails: about the end point
    for k, end, sign in ((0, 0, -1.0), (-1, -1, 1.0)):
        a, mass = sign * z[end], ndtr(-sign * z[end])
        first = phi[end] - a * mass
        second = (1.0 + a * a) * mass - a * phi[end]
        out[:, k] = mass, sign * std * first, std**2 * second
    a, h = z[:-1], np.diff(z)
    u = 0.5 * (NODES[:, None] + 1.0) * h
    density = np.exp(-0.5 * (a + u) ** 2) / np.sqrt(2.0 * np.pi) * (0.5 * WEIGHTS[:, None] * h)
    narrow = np.stack([(density * u**j).sum(axis=0) for j in range(3)])
    b, mass = z[1:], ndtr(z[1:]) - ndtr(z[:-1])
    first = phi[:-1] - phi[1:] - a * mass
    second = (1.0 + a * a) * mass - a * phi[:-1] + (2.0 * a - b) * phi[1:]
    wide = np.stack([mass, first, second])
    scale = std ** np.arange(3)[:, None]
    out[:, 1:-1] = np.where(h <= 1.0, narrow, wide) * scale
    return out


def sample_moments(knots: Array, x: Array, weight: Array) -> Array:
    """Return the same moments of a weighted sample, its weights normalised."""
    segment = np.searchsorted(knots, x, side="right")
    u = x - knots[np.maximum(segment - 1, 0)]
    w = weight / weight.sum()
    size = len(knots) + 1
    return np.stack([np.bincount(segment, weights=w * u**j, minlength=size) for j in range(3)])


def slope_matrix(knots: Array) -> Array:
    """Return D, shape (n + 1, n + 2): the slopes are D theta."""
    n = len(knots)
    out = np.zeros((n + 1, n + 2))
    out[0, 0] = out[n, n + 1] = 1.0
    k = np.arange(1, n)
    out[k, k], out[k, k + 1] = -1.0 / np.diff(knots), 1.0 / np.diff(knots)
    return out


def quadratic_forms(knots: Array, moments: Array) -> tuple[Array, Array]:
    """Return M (n + 2, n + 2) and b (n + 2,): E T(x)^2 = theta' M theta, E T(x) = b' theta."""
    n = len(knots)
    h = np.diff(knots)
    M, b = np.zeros((n + 2, n + 2)), np.zeros(n + 2)
    for k, slope, value in ((0, 0, 1), (n, n + 1, n)):  # the tails
        m0, m1, m2 = moments[:, k]
        M[slope, slope] += m2
        M[value, value] += m0
        M[slope, value] += m1
        M[value, slope] += m1
        b[slope] += m1
        b[value] += m0
    m0, s1, s2 = moments[0, 1:n], moments[1, 1:n] / h, moments[2, 1:n] / h**2
    low, high = np.arange(1, n), np.arange(2, n + 1)
    M[low, low] += m0 - 2.0 * s1 + s2
    M[high, high] += s2
    M[low, high] += s1 - s2
    M[high, low] += s1 - s2
    b[low] += m0 - s1
    b[high] += s1
    return M, b


def cell_gradient(
    theta: Array, D: Array, M: Array, b: Array, mass: Array, mu: float, sigma: float
) -> Array:
    """Return the gradient of E(T - mu)^2 / (2 sigma^2) - E log T' in theta."""
    return (M @ theta - mu * b) / sigma**2 - D.T @ (mass / (D @ theta))


def nearest(
    knots: Array, w: Array, moments: Array, mu: Array, sigma: Array, max_iter: int = 200
) -> tuple[Array, float]:
    """Minimise f over theta by Newton's method with step halving.

    Parameters
    ----------
    knots : Array, shape (n,)
    w, mu, sigma : Array, shape (K,)
        Weights and normal targets.
    moments : Array, shape (K, 3, n + 1)
        Of the reference laws, by :func:`normal_moments` or :func:`sample_moments`.

    Returns
    -------
    theta : Array, shape (n + 2,)
    value : float
        sum_i w_i (E -log N(T(x); mu_i, sigma_i^2) - E log T'(x)), nats.
    """
    A, c, D, mass = _objective(knots, w, moments, mu, sigma)
    constant = float(w @ (0.5 * (mu / sigma) ** 2 + np.log(sigma) + 0.5 * np.log(2 * np.pi)))

    def value(theta: Array) -> float:
        slopes = D @ theta
        if slopes.min() <= 0:
            return np.inf
        return float(0.5 * theta @ A @ theta - c @ theta - mass @ np.log(slopes))

    theta = _affine_start(knots, A, c, float(w.sum()))
    now, last = value(theta), np.inf
    for _ in range(max_iter):
        step, size = _newton_step(theta, A, c, D, mass)
        if size < 1e-14 or (size < 1e-6 and size >= 0.5 * last):  # ended in rounding
            break
        last, t = size, 1.0
        while size > 1e-6 and value(theta + t * step) > now - 0.25 * t * size**2:
            t *= 0.5
        theta = theta + t * step
        now = value(theta)
    return theta, now + constant


def decrement(
    theta: Array,
    knots: Array,
    w: Array,
    moments: Array,
    mu: Array,
    sigma: Array,
    gradient: Array | None = None,
) -> float:
    """Return the Newton decrement at theta: half its square is how far f is above its minimum.

    Of another gradient than that of f, where one is given.
    """
    return _newton_step(theta, *_objective(knots, w, moments, mu, sigma), gradient)[1]


def _objective(
    knots: Array, w: Array, moments: Array, mu: Array, sigma: Array
) -> tuple[Array, Array, Array, Array]:
    """Return A, c, D and the masses pi of f."""
    u = w / sigma**2
    forms = [quadratic_forms(knots, cell) for cell in moments]
    A = np.tensordot(u, np.stack([M for M, _ in forms]), 1)
    c = np.tensordot(u * mu, np.stack([b for _, b in forms]), 1)
    return A, c, slope_matrix(knots), w @ moments[:, 0]


def _affine_start(knots: Array, A: Array, c: Array, Q: float) -> Array:
    """Return the best affine map g x + b as theta: b eliminated, g from a quadratic equation."""
    ones = np.concatenate([[0.0], np.ones(len(knots)), [0.0]])
    line = np.concatenate([[1.0], knots, [1.0]])
    line = line - ones * (ones @ A @ line) / (ones @ A @ ones)
    a, r = float(line @ A @ line), float(line @ c)
    g = (r + np.sqrt(r * r + 4.0 * Q * a)) / (2.0 * a)
    return np.asarray(g * line + ones * (ones @ c) / (ones @ A @ ones))


def _newton_step(
    theta: Array, A: Array, c: Array, D: Array, mass: Array, gradient: Array | None = None
) -> tuple[Array, float]:
    slopes = D @ theta
    if gradient is None:
        gradient = A @ theta - c - D.T @ (mass / slopes)
    hessian = A + D.T @ ((mass / slopes**2)[:, None] * D)
    step = -np.linalg.solve(hessian, gradient)
    return step, float(np.sqrt(max(float(-gradient @ step), 0.0)))


def shifted(theta: Array, by: float) -> Array:
    """Return the map's numbers when its values, not its slopes, change by a constant.

    Moments about a far point (a thousand standard deviations) are taken of a shifted map: those
    of T itself would cancel.
    """
    out = theta.copy()
    out[1:-1] += by
    return out


def map_divergence(
    knots: Array, theta: Array, law: tuple[float, float], goal: tuple[float, float]
) -> float:
    """Return KL(T # N(mean, std^2) || N(mu, sigma^2)) in nats, exactly; laws are (mean, std)."""
    (mean, std), (mu, sigma) = law, goal
    moments = normal_moments(knots, mean, std)
    slopes = slope_matrix(knots) @ theta
    about = shifted(theta, -mu)
    square = float(about @ quadratic_forms(knots, moments)[0] @ about)
    spread = float(moments[0] @ np.log(slopes))
    return 0.5 * (square / sigma**2 - 1.0) + float(np.log(sigma / std)) - spread
