r"""Gamma laws without loss of digits, whatever the shape: divergence, and the likelihood's root.

With Stirling's remainders :math:`R(k) = \log\Gamma(k) - (k - \frac12)\log k + k -
\frac12\log 2\pi` and :math:`P(k) = \log k - \frac1{2k} - \psi(k)`, what cancels in the textbook
formulas (six digits at shape 1e5) is gone before anything is summed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.special import digamma, gammaln

from fairprog.errors import DataError
from fairprog.labels import Array

__all__ = ["SHAPES", "excess", "fit_shape", "gamma_divergence", "log_gamma_constant"]

SHAPES = (1e-4, 1e10)  # beyond them log X has no density that doubles can follow
LARGE = 20.0  # from here Stirling's series ends below rounding


def excess(d: ArrayLike) -> Array:
    """Return d - log(1 + d), by its series near zero."""
    d = np.asarray(d, dtype=float)
    near = np.zeros_like(d)
    for j in range(9, 1, -1):
        near = 1.0 / j - d * near
    return np.where(np.abs(d) < 1e-2, d * d * near, d - np.log1p(d))


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

    :math:`k' g(t - 1) + \frac12 g(k'/k - 1) - (k - k') P(k) + R(k') - R(k)`, k' = `to`,
    :math:`g(d) = d - \log(1 + d)`, t the ratio of the means.
    """
    (R, P), (R_to, _) = _remainders(k), _remainders(to)
    ratio = (to - k) / k
    with np.errstate(over="ignore"):
        mean = float(np.expm1(beta - np.log1p(ratio)))
    value = to * float(excess(mean)) + 0.5 * float(excess(ratio)) - (k - to) * P + R_to - R
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
    d = (x - mean) / mean
    s = float(v @ excess(d) - excess(v @ d))
    if not 0.5 / SHAPES[1] < s < 0.999 / SHAPES[0]:
        raise DataError(
            f"The values lie between {x.min():.12g} and {x.max():.12g}: too near one another, or "
            f"over too many orders of magnitude, for a shape between {SHAPES[0]:g} and "
            f"{SHAPES[1]:g} to be fitted.",
            argument="X",
        )

    def short(u: float) -> float:
        k = float(np.exp(u))
        return (0.5 / k + _remainders(k)[1]) / s - 1.0

    return float(np.exp(brentq(short, -np.log(2.1 * s), -np.log(0.9 * s), xtol=1e-15)))
