r"""One group where densities have a lower end of support, such as the exponential law's.

KL is finite only if supports nest: S low_r + beta >= low_s in every class. For each S the best
shift is either free or at the largest of these bounds; what remains is convex in S alone.
"""

from __future__ import annotations

import numpy as np

from fairprog.labels import Array
from fairprog.programs.line_frames import LineFrame

__all__ = ["cone_residual", "minimise_bounded"]


def _bounds(f: LineFrame) -> tuple[Array, Array]:
    """Return (c_i, d_i): the constraints beta >= c_i - S d_i."""
    low = np.array([law.support[0] for law in f.laws])
    own = np.array([law.support[0] for law in f.own_laws])
    return f.own_loc + f.own_scale * own, f.sign * f.loc + f.scale * low


def minimise_bounded(f: LineFrame) -> tuple[float, float]:
    """Return the optimal (S, beta), by bisection on the slope in S of the best cost."""
    if not f.scales:
        return 1.0, _best_shift(f, 1.0)[0]
    low, high = np.log(1e-9), np.log(1e9)
    for _ in range(110):
        middle = 0.5 * (low + high)
        S = float(np.exp(middle))
        rising = _slope(f, S) > 0
        low, high = (low, middle) if rising else (middle, high)
    S = float(np.exp(0.5 * (low + high)))
    return S, _best_shift(f, S)[0]


def _best_shift(f: LineFrame, S: float) -> tuple[float, bool]:
    """Return the best beta for a scale, and whether it is at a bound."""
    c, d = _bounds(f)
    bound = float((c - S * d).max())
    if f.gradients(S, bound)[1].sum() >= 0:
        return bound, True
    low, step = bound, 1.0
    while f.gradients(S, bound + step)[1].sum() < 0:
        low, step = bound + step, 2.0 * step
    high = bound + step
    for _ in range(80):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if f.gradients(S, middle)[1].sum() > 0 else (middle, high)
    return 0.5 * (low + high), False


def _slope(f: LineFrame, S: float) -> float:
    beta, tight = _best_shift(f, S)
    N, n = f.gradients(S, beta)
    if not tight:
        return float(N.sum())
    c, d = _bounds(f)
    return float(N.sum() - n.sum() * d[int(np.argmax(c - S * d))])


def cone_residual(f: LineFrame, S: float, beta: float, gradient: Array) -> tuple[Array, Array]:
    """Return what is left of a gradient after nonnegative multipliers, and these (K,)."""
    from scipy.optimize import nnls

    c, d = _bounds(f)
    slack = beta - (c - S * d)
    active = np.flatnonzero(slack <= 1e-7)
    multipliers = np.zeros(c.size)
    if active.size:
        columns = np.stack([f.free(float(d[k]), 1.0) for k in active], axis=1)
        multipliers[active] = nnls(columns, gradient)[0]
        gradient = gradient - columns @ multipliers[active]
    return gradient, multipliers
