"""How well a score ranks two samples: the area under the ROC curve, with its standard error."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

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
    above = _placements(x[positive], x[~positive], w[~positive])
    return float(np.average(above, weights=w[positive]))


def auc_standard_error(
    x: Array, positive: NDArray[np.bool_], weight: Array | None = None
) -> float:
    """Return DeLong's standard error of the area (1988, Biometrics 44), weights as given.

    Infinite where one of the two samples has a single row.
    """
    w = np.ones(x.size) if weight is None else weight
    variance = 0.0
    for side in (positive, ~positive):
        share = w[side] / w[side].sum()
        v = _placements(x[side], x[~side], w[~side])
        size = 1.0 / float(share @ share)  # rows, or as many as the weights are worth
        if size < 1.5:
            return float("inf")
        variance += float(share @ (v - share @ v) ** 2) / (size - 1.0)
    return float(np.sqrt(variance))
