r"""Gamma laws without loss of digits, whatever the shape: divergence, and the likelihood's root.

With Stirling's remainders :math:`R(k) = \log\Gamma(k) - (k - \frac12)\log k + k -
\frac12\log 2\pi` and :math:`P(k) = \log k - \frac1{2k} - \psi(k)`, what cancels in the textbook
formulas (six digits at shape 1e5) is gone before anything is summed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import digamma, gammaln

from fairprog.errors import DataError
from fairprog.labels import Array

SHAPES = (1e-4, 1e10)  # beyond them log X has no density that doubles can follow
LARGE = 20.0  # from here Stirling's series ends below rounding


def excess(u: ArrayLike) -> Array:
    """Return exp(u) - 1 - u, by its series near zero."""
    u = np.asarray(u, dtype=float)
    small = np.where(np.abs(u) < 1e-2, u, 0.0)
    series = np.zeros_like(u)
    for j in range(9, 1, -1):
        series = (1.0 + small * series) / j
    with np.errstate(over="ignore"):
        return np.where(small == u, small * small * series, np.expm1(u) - u)


def log_ratio(x: ArrayLike, y: ArrayLike) -> Array:
    """Return log(x / y) of positive numbers, however near or far they are."""
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    d = (x - y) / y
    near = np.abs(d) < 0.5
    return np.where(near, np.log1p(np.where(near, d, 0.0)), np.log(x) - np.log(y))


def _remainders(k: float) -> tuple[float, float]:
    """Return R(k) and P(k)."""
    if k < LARGE:
        R = gammaln(k) - (k - 0.5) * np.log(k) + k - 0.5 * np.log(2.0 * np.pi)
        return float(R), float(np.log(k) - 0.5 / k - digamma(k))
    v = 1.0 / (k * k)
    R = (1 / 12 - v * (1 / 360 - v * (1 / 1260 - v / 1680))) / k
    return R, v * (1 / 12 - v * (1 / 120 - v * (1 / 252 - v / 240)))


def log_gamma_constant(k: float) -> float:
    """Return k - k log k + log Gamma(k): -log density of log(X/k) at zero."""
    return _remainders(k)[0] + 0.5 * float(np.log(2.0 * np.pi / k))


def gamma_divergence(k: float, to: float, beta: float) -> float:
    r"""Return KL of Gamma(shape k) from Gamma(shape `to`), scales exp(beta) and 1, nats.

    :math:`k' g(\log t) + \frac12 g(\log(k'/k)) - (k - k') P(k) + R(k') - R(k)`, k' = `to`,
    :math:`g(u) = e^u - 1 - u`, t the ratio of the means.
    """
    (R, P), (R_to, _) = _remainders(k), _remainders(to)
    ratio = float(log_ratio(to, k))
    value = to * float(excess(beta - ratio)) + 0.5 * float(excess(ratio))
    value += R_to - R - (k - to) * P
    return max(value, 0.0)


def fit_shape(x: Array, v: Array) -> float:
    """Return the shape of largest likelihood: log k - psi(k) = log mean - mean log.

    The root lies between 1/(2s) and 1/s, s the right-hand side; weights v sum to one.

    Raises
    ------
    DataError
        Where the shape is not between 1e-4 and 1e10.
    """
    mean = float(v @ x)
    u = log_ratio(x, mean)
    s = float(v @ excess(u) - excess(np.log1p(v @ np.expm1(u))))
    if not 0.5 / SHAPES[1] < s < 0.999 / SHAPES[0]:
        raise DataError(
            f"The values lie between {x.min():.12g} and {x.max():.12g}: too near one another, or "
            f"over too many orders of magnitude, for a shape between {SHAPES[0]:g} and "
            f"{SHAPES[1]:g} to be fitted.",
            argument="X",
        )

    from scipy.optimize import brentq  # takes its time

    def short(u: float) -> float:
        k = float(np.exp(u))
        return (0.5 / k + _remainders(k)[1]) / s - 1.0

    return float(np.exp(brentq(short, -np.log(2.1 * s), -np.log(0.9 * s), xtol=1e-15)))
