r"""The law of a quadratic form in normal variables (a generalised chi-square).

``Q = offset + sum_j (weights_j z_j^2 + slopes_j z_j)`` with iid standard normal z, a form that
stays accurate as a weight tends to zero.

Source: inversion of the moment generating function, Lugannani and Rice (1980), Adv. Appl. Prob.
12; hyperbolic contours and their geometric convergence, Weideman and Trefethen (2007), Math.
Comp. 76; characteristic function of Q, Imhof (1961), Biometrika 48.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr

from fairprog.kernels.rates.contour_integral import merged_form, upper_tail
from fairprog.labels import Array


def spectral_cdf(
    x: ArrayLike, weights: ArrayLike, slopes: ArrayLike, offset: float = 0.0, tol: float = 1e-11
) -> tuple[Array, Array]:
    r"""P(Q <= x) for ``Q = offset + sum_j (weights_j z_j^2 + slopes_j z_j)``.

    One weight or none: closed form. Otherwise the smaller tail is the contour integral
    ``(1 / 2 pi i) int exp(K(s) - s (x - offset)) / s ds``,
    ``K(s) = sum_j -log(1 - 2 w_j s) / 2 + slopes_j^2 s^2 / (2 - 4 w_j s)``, over a hyperbola
    through the real saddle point; nodes are doubled until two values agree to ``tol``.

    Parameters
    ----------
    x : array of any shape, in the unit of Q.
    weights, slopes : (d,) arrays; any of them may be zero.
    offset : float.
    tol : absolute accuracy asked for.

    Returns
    -------
    values, error : arrays of the shape of x
        Probabilities and an estimate of their absolute error (last change when the nodes were
        doubled, plus truncation and rounding).

    Examples
    --------
    >>> values, _ = spectral_cdf([-1.0, 0.0], [1.0, -1.0], [0.0, 0.0])  # symmetric about 0
    >>> values.round(6)
    array([0.204894, 0.5     ])
    """
    x = np.asarray(x, float)
    y = np.ravel(x) - offset
    form = merged_form(np.atleast_1d(np.asarray(weights, float)), np.asarray(slopes, float))
    weight, count, square, shift, flat = form
    values: Array = np.zeros(y.shape)
    error: Array = np.zeros(y.shape)
    if weight.size == 0:
        values = ndtr(y / np.sqrt(flat)) if flat > 0 else (y >= 0).astype(float)
    elif flat == 0 and count.sum() == 1:
        values = _one_weight(y, float(weight[0]), float(np.sqrt(square[0])))
    else:
        const = offset - np.sum(square / (4 * weight))
        noise = 4 * np.finfo(float).eps * (np.abs(x.ravel()) + abs(offset) + abs(const))
        below = (x.ravel() - const <= noise) & (flat == 0) & np.all(weight > 0)
        above = (x.ravel() - const >= -noise) & (flat == 0) & np.all(weight < 0)
        edge = y + np.sum(shift)
        edge[np.abs(edge) <= noise] = 0.0
        values[above | (y == np.inf)] = 1.0
        inside = np.isfinite(y) & ~below & ~above
        high = inside & (y >= np.sum(count * weight))
        if high.any():
            tail, error[high] = upper_tail(y[high], edge[high], form, tol)
            values[high] = 1 - tail
        low = inside & ~high
        if low.any():  # the upper tail of -Q
            mirrored = (-weight, count, square, -shift, flat)
            values[low], error[low] = upper_tail(-y[low], -edge[low], mirrored, tol)
    values[np.isnan(y)] = np.nan
    return np.clip(values, 0, 1).reshape(x.shape), error.reshape(x.shape)


def normal_mass(low: Array, high: Array) -> Array:
    """P(low < z <= high) for standard normal z, without cancellation in the upper tail.

    Parameters
    ----------
    low, high : arrays, low <= high; infinities are allowed.

    Returns
    -------
    mass : array of probabilities.

    Examples
    --------
    >>> float(normal_mass(np.float64(30.0), np.inf)) > 0
    True
    """
    flip = np.asarray(low) > 0
    return np.asarray(ndtr(np.where(flip, -low, high)) - ndtr(np.where(flip, -high, low)))


def _one_weight(y: Array, weight: float, slope: float) -> Array:
    """P(weight z^2 + slope z <= y), slope >= 0, through the two roots (the stable pair)."""
    gap = slope**2 + 4 * weight * y
    q = -(slope + np.sqrt(np.maximum(gap, 0))) / 2
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        first, second = q / weight, np.where(q == 0, 0.0, -y / q)
    mass = normal_mass(np.minimum(first, second), np.maximum(first, second))
    mass = np.where(gap > 0, mass, 0.0)
    mass = np.where(np.isinf(y), (y * weight > 0).astype(float), mass)
    return mass if weight > 0 else 1 - mass
