r"""Newton's method in two variables: a scale S > 0 and a shift beta.

For a log-concave density the cost w E phi(S x + beta) - Q log S is jointly convex (theory.md,
Theorem B). The same problem fits a location-scale family to data (S = 1/scale,
beta = -loc/scale) and finds the nearest ideal population.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fairprog.labels import Array

Cost = Callable[[Array], float]
Gradient = Callable[[Array], Array]
Slopes = Callable[[float, float], Array]

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


@np.errstate(over="ignore", invalid="ignore")
def newton_step(H: Array, g: Array) -> tuple[Array, float]:
    """Return -H^{-1} g and the Newton decrement sqrt(g' H^{-1} g), whatever the variables' units.

    H is scaled to a unit diagonal first; directions of no curvature get 1e-12 of the largest.
    Infinite where nothing bends.
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
        done = decrement >= 0.5 * last and last < 1e-7  # quadratic convergence ends in rounding
        if done or not np.isfinite(step).all():
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


def bracket_scale_shift(
    slopes: Slopes, start: Array, scales: bool = True
) -> tuple[float, float, Array]:
    """Return the minimiser (S, beta) of the same cost by one bracket within another.

    Parameters
    ----------
    slopes : callable (S, beta) -> Array
        Finite; the derivatives in log S and in beta come first. Both increase along their
        variable, the first at the best beta of every S. Jumps, at kinks of phi, do no harm.
    start : Array, shape (2,)
    scales : bool
        Whether S is free; else it stays 1.

    Returns
    -------
    S, beta : float
    slopes : Array
        There. Where they jump in beta, those of both sides are mixed so that the one in beta is
        zero: the mixture is a derivative of the best beta's cost.
    """
    best = float(start[1])

    def settled(u: float) -> Array:
        nonlocal best
        S = float(np.exp(u))
        best = increasing_root(lambda beta: float(slopes(S, beta)[1]), best)
        step = 1e-15 + 4.0 * np.spacing(abs(best))
        below, above = slopes(S, best - step), slopes(S, best + step)
        share = above[1] / (above[1] - below[1]) if below[1] < 0 < above[1] else 0.5
        return np.asarray(share * below + (1.0 - share) * above)

    u = (
        0.0
        if not scales
        else increasing_root(lambda v: float(settled(v)[0]), float(np.log(start[0])))
    )
    found = settled(u)
    return float(np.exp(u)), best, found


def increasing_root(f: Callable[[float], float], start: float) -> float:
    """Return where an increasing function changes sign, looking ever farther from `start`."""
    from scipy.optimize import brentq  # takes its time

    ends, step, rises = [start, start], 0.25, f(start) < 0
    for _ in range(60):
        step *= 2.0
        ends = [ends[1], ends[1] + step] if rises else [ends[0] - step, ends[0]]
        if (f(ends[1]) >= 0) if rises else (f(ends[0]) <= 0):
            return float(brentq(f, ends[0], ends[1], xtol=1e-15, rtol=1e-15, maxiter=500))
    return start
