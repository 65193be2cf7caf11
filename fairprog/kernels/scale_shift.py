r"""Newton's method in two variables: a scale S > 0 and a shift beta.

For a log-concave density the cost w E phi(S x + beta) - Q log S is jointly convex (theory.md,
Theorem B). The same problem fits a location-scale family to data (S = 1/scale,
beta = -loc/scale) and finds the nearest ideal population.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fairprog.labels import Array

__all__ = ["hessian", "minimise_scale_shift", "newton_step"]

Cost = Callable[[Array], float]
Gradient = Callable[[Array], Array]

STEP = 1e-4


def hessian(gradient: Gradient, x: Array, unit: Array | None = None) -> Array:
    """Return the Hessian at x by central differences of an exact gradient.

    Differences are 1e-4 of `unit`, the change of each variable that the cost notices; by default
    S itself.
    """
    n = x.size
    if unit is None:
        unit = np.full(n, abs(x[0]) if n == 2 else 1.0)
    elif n == 2:
        unit = np.array([min(unit[0], abs(x[0])), unit[1]])  # S stays positive
    H = np.empty((n, n))
    for k, step in enumerate(np.diag(STEP * unit)):
        H[k] = (gradient(x + step) - gradient(x - step)) / (2.0 * step[k])
    return 0.5 * (H + H.T)


def newton_step(H: Array, g: Array) -> tuple[Array, float]:
    """Return -H^{-1} g and the Newton decrement sqrt(g' H^{-1} g), whatever the variables' units.

    H is scaled to a unit diagonal first; directions of no curvature get 1e-12 of the largest.
    """
    curvature = np.abs(np.diagonal(H))
    d = 1.0 / np.sqrt(np.where(curvature > 0, curvature, 1.0))
    values, V = np.linalg.eigh(H * d * d[:, None])
    values = np.maximum(values, 1e-12 * max(float(values[-1]), 1e-300))
    along = V.T @ (d * g)
    return -d * (V @ (along / values)), float(np.sqrt((along**2 / values).sum()))


def minimise_scale_shift(
    cost: Cost, gradient: Gradient, start: Array, unit: Array | None = None
) -> tuple[Array, int]:
    """Return the minimiser of a convex cost over (S, beta), or over (beta,), and the steps taken.

    Parameters
    ----------
    cost, gradient : callables of (2,) or (1,) arrays
        `cost` is infinite where S <= 0.
    start : Array, shape (2,) or (1,)
    unit : Array of the same shape, optional
        See :func:`hessian`.

    Notes
    -----
    Damped steps with backtracking until the decrement ends in rounding.
    """
    x, value = np.asarray(start, dtype=float), cost(np.asarray(start, dtype=float))
    last = np.inf
    for iteration in range(1, 101):
        g = gradient(x)
        step, decrement = newton_step(hessian(gradient, x, unit), g)
        if decrement >= 0.5 * last and last < 1e-7:  # quadratic convergence has ended in rounding
            return x, iteration
        t = 1.0
        while t > 1e-12 and decrement > 1e-6:  # closer, values are rounding and steps are sure
            trial = x + t * step
            inside = x.size == 1 or trial[0] > 0
            found = cost(trial) if inside else np.inf
            if np.isfinite(found) and found <= value - 1e-4 * t * decrement**2 + 1e-15 * abs(
                value
            ):
                break
            t *= 0.5
        if t <= 1e-12:
            return x, iteration
        x = x + t * step
        value, last = cost(x), decrement
        if decrement < 1e-15:
            return x, iteration
    return x, 100
