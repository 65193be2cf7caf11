"""The common map of two groups' normal cells whose features are independent, if there is one.

Whitened by class 0, a common affine map is an orthogonal matrix that carries every class
difference and every class variance of one group to the other's (see
:mod:`fairprog.kernels.multivariate.common_map`). The variances are diagonal, so it is block
diagonal over the features whose variance ratios agree: it pairs features of equal ratios, and
within a block of equal ones any rotation will do. First every feature is paired with itself; if
that fails, features are paired in the order of their ratios.
"""

from __future__ import annotations

import numpy as np

from fairprog.kernels.independent.diagonal import diagonal_residual
from fairprog.kernels.multivariate.common_map import ULPS
from fairprog.labels import Array

WIDTHS = (1e-13, 1e-11, 1e-9)  # ratios closer than this, relatively, may be rotated together


def featurewise_map(
    mean: Array, var: Array, to_mean: Array, to_var: Array
) -> tuple[Array, Array, float]:
    """Return (gain, shift, residual) of the map that pairs every feature with itself.

    Parameters
    ----------
    mean, var, to_mean, to_var : Array, shape (K, d)

    Returns
    -------
    gain, shift : Array, shape (d,)
        A feature whose class differences point the other way is reflected.
    residual : float
    """
    unit, to_unit = np.sqrt(var[0]), np.sqrt(to_var[0])
    same = ((mean - mean[0]) / unit * ((to_mean - to_mean[0]) / to_unit)).sum(axis=0) >= 0
    gain = np.where(same, 1.0, -1.0) * to_unit / unit
    shift = to_mean[0] - gain * mean[0]
    here, there = mean - mean[0], to_mean - to_mean[0]  # no origin is better than another
    return gain, shift, diagonal_residual(gain, 0.0 * shift, here, var, there, to_var)


def is_common(mean: Array, var: Array, to_mean: Array, to_var: Array, atol: float) -> bool:
    """Return whether a common affine map carries all cells to the targets to `atol`, whitened.

    What rounding of the means may add is added to it, see
    :func:`fairprog.kernels.multivariate.common_map.mean_rounding`.
    """
    atol += _mean_rounding(mean, var) + _mean_rounding(to_mean, to_var)
    if featurewise_map(mean, var, to_mean, to_var)[2] <= atol:
        return True
    here, there = _sorted(mean, var), _sorted(to_mean, to_var)
    return any(_sorted_residual(here, there, width) <= atol for width in WIDTHS)


def _mean_rounding(mean: Array, var: Array) -> float:
    """Return the root mean square length of whitened errors in the last places of the means."""
    error = ULPS * np.finfo(float).eps * np.maximum(np.abs(mean), np.abs(mean[0]))
    return float(np.sqrt((error**2 / var).sum(axis=1)).max())


def _sorted(mean: Array, var: Array) -> tuple[Array, Array]:
    """Return log ratios (K - 1, d) and whitened class differences, in the order of the ratios."""
    ratio = np.log(var[1:]) - np.log(var[0])
    delta = (mean[1:] - mean[0]) / np.sqrt(var[0])
    # the last key leads; later classes decide where the ratios of earlier ones agree to rounding
    order = np.lexsort((ratio[-1], *np.round(ratio[:-1], 9)[::-1])) if len(ratio) else slice(None)
    return ratio[:, order], delta[:, order]


def _sorted_residual(here: tuple[Array, Array], there: tuple[Array, Array], width: float) -> float:
    """Return an upper bound on the residual of the best map between blocks of equal ratios."""
    (ratio, delta), (to_ratio, to_delta) = here, there
    if not len(ratio):  # one class
        return 0.0
    cuts = np.flatnonzero((np.abs(np.diff(ratio, axis=1)) > width).any(axis=0)) + 1
    starts = np.concatenate([[0], cuts])
    size = np.diff(np.concatenate([starts, [ratio.shape[1]]]))
    low = np.minimum.reduceat(to_ratio, starts, axis=1)
    high = np.maximum.reduceat(to_ratio, starts, axis=1)
    spread = np.maximum(
        np.maximum.reduceat(ratio, starts, axis=1) - low,
        high - np.minimum.reduceat(ratio, starts, axis=1),
    )
    worst = float(np.expm1(np.abs(spread)).max(initial=0.0))
    away = np.zeros((len(ratio), len(starts)))  # squares, whitened by the target cell
    alone = size == 1
    k = starts[alone]
    sign = np.where((delta[:, k] * to_delta[:, k]).sum(axis=0) >= 0, 1.0, -1.0)
    away[:, alone] = (sign * delta[:, k] - to_delta[:, k]) ** 2
    for block in np.flatnonzero(~alone):
        rows = slice(starts[block], starts[block] + size[block])
        away[:, block] = _rotated(delta[:, rows], to_delta[:, rows])
    return max(worst, float(np.sqrt((away / np.exp(low)).sum(axis=1)).max()))


def _rotated(delta: Array, to_delta: Array) -> Array:
    """Return by class the squared distance of O delta_i from the target, O orthogonal and best."""
    first, second = delta.T, to_delta.T
    if len(first) > len(delta):  # only lengths and angles count
        first, second = np.linalg.qr(first).R, np.linalg.qr(second).R
    left, _, right = np.linalg.svd(second @ first.T)
    return ((left @ right @ first - second) ** 2).sum(axis=0)
