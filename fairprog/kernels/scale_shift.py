r"""Newton's method in two variables: a scale S > 0 and a shift beta.

For a log-concave density the cost w E phi(S x + beta) - Q log S is jointly convex (theory.md,
Theorem B). The same problem fits a location-scale family to data (S = 1/scale,
beta = -loc/scale) and finds the nearest ideal population.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fairprog.labels import Array

__all__ = ["hessian", "minimise_scale_shift"]

Cost = Callable[[Array], float]
Gradient = Callable[[Array], Array]

STEP = 1e-4


def hessian(gradient: Gradient, x: Array) -> Array:
    """Return the Hessian at x by central differences of an exact gradient."""
    n = x.size
    H = np.empty((n, n))
    for k in range(n):
        step = np.zeros(n)
        step[k] = STEP * (abs(x[0]) if n == 2 else 1.0)
        H[k] = (gradient(x + step) - gradient(x - step)) / (2.0 * step[k])
    return 0.5 * (H + H.T)


def minimise_scale_shift(cost: Cost, gradient: Gradient, start: Array) -> tuple[Array, int]:
    """Return the minimiser of a convex cost over (S, beta), or over (beta,), and the steps taken.

    Parameters
    ----------
    cost, gradient : callables of (2,) or (1,) arrays
        `cost` is infinite where S <= 0.
    start : Array, shape (2,) or (1,)

    Notes
    -----
    Damped steps with backtracking until the decrement ends in rounding.
    """
    x, value = np.asarray(start, dtype=float), cost(np.asarray(start, dtype=float))
    last = np.inf
    for iteration in range(1, 101):
        g = gradient(x)
        H = hessian(gradient, x)
        values, V = np.linalg.eigh(H)
        floor = 1e-12 * max(float(values[-1]), 1e-300)
        step = -V @ ((V.T @ g) / np.maximum(values, floor))
        decrement = float(np.sqrt(max(-float(g @ step), 0.0)))
        if decrement >= 0.5 * last and last < 1e-7:  # quadratic convergence has ended in rounding
            return x, iteration
        t = 1.0
        while t > 1e-12:
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
        x, value, last = trial, found, decrement
        if decrement < 1e-15:
            return x, iteration
    return x, 100
