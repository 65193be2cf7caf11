"""How well a score ranks two samples: the area under the ROC curve, with its standard error."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from fairprog.labels import Array


def _placements(x: Array, others: Array, weight: Array) -> Array:
    """Return P(other < x) + P(other = x) / 2 for every entry of x."""
    order = np.argsort(others, kind="stable")
    total = np.concatenate([[0.0], np.cumsum(weight[order])])
    below = total[np.searchsorted(others[order], x, side="left")]
    upto = total[np.searchsorted(others[order], x, side="right")]
    return np.asarray(0.5 * (below + upto) / total[-1])


def auc(x: Array, positive: NDArray[np.bool_], weight: Array | None = None) -> float:
    """Return P(x of a positive > x of a negative) + P(equal) / 2.

    Examples
    --------
    >>> import numpy as np
    >>> auc(np.array([1., 2., 3., 4.]), np.array([False, True, False, True]))
    0.75
    """
    w = np.ones(x.size) if weight is None else weight
    place = np.unique(x, return_inverse=True)[1]
    n = int(place.max()) + 1
    high, low = (np.bincount(place[own], w[own], n) for own in (positive, ~positive))
    return float(high @ (np.cumsum(low) - 0.5 * low) / (high.sum() * low.sum()))


def auc_and_error(
    x: Array, positive: NDArray[np.bool_], weight: Array | None = None
) -> tuple[float, float]:
    """Return the area and DeLong's standard error (1988, Biometrics 44), weights as given.

    The error is infinite where one of the two samples has a single row.
    """
    w = np.ones(x.size) if weight is None else weight
    area, variance = float("nan"), 0.0
    for side in (~positive, positive):
        share = w[side] / w[side].sum()
        v = _placements(x[side], x[~side], w[~side])
        area = float(share @ v)
        size = 1.0 / float(share @ share)  # rows, or as many as the weights are worth
        spread = float(share @ (v - area) ** 2)
        variance += spread / (size - 1.0) if size >= 1.5 else np.inf
    return area, float(np.sqrt(variance))


def auc_interval(
    area: float, positive: int, negative: int, confidence: float = 0.95
) -> tuple[float, float]:
    r"""Return Newcombe's interval of an area (2006, Statistics in Medicine 25, method 5).

    The ends solve :math:`|\theta - \hat\theta| = z \sqrt{V(\theta)}` with

    .. math:: V = \frac{\theta (1 - \theta)}{m n} \Bigl( 1 + N \Bigl( \frac{1-\theta}{2-\theta}
              + \frac{\theta}{1+\theta} \Bigr) \Bigr), \quad N = \tfrac{m + n}{2} - 1,

    so that an area of 1 of a few rows has an interval too.

    Examples
    --------
    >>> low, high = auc_interval(1.0, 3, 40)
    >>> round(low, 3), high
    (0.687, 1.0)
    """
    from scipy.optimize import brentq  # takes its time

    z, N = float(ndtri(0.5 + 0.5 * confidence)), 0.5 * (positive + negative) - 1.0

    def off(t: float) -> float:
        spread = 1.0 + N * ((1.0 - t) / (2.0 - t) + t / (1.0 + t))
        return (area - t) ** 2 - z**2 * t * (1.0 - t) * spread / (positive * negative)

    low = float(brentq(off, 0.0, area)) if area > 0 and off(0.0) > 0 > off(area) else 0.0
    high = float(brentq(off, area, 1.0)) if area < 1 and off(1.0) > 0 > off(area) else 1.0
    if area == 1.0:
        low = float(brentq(off, 0.0, 1.0 - 1e-12))
    if area == 0.0:
        high = float(brentq(off, 1e-12, 1.0))
    return low, high
