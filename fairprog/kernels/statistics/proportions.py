"""Confidence intervals of proportions and of their differences."""

from __future__ import annotations

import numpy as np
from scipy.special import betaincinv, ndtri

from fairprog.labels import Array


def wilson(p: Array, n: Array, confidence: float = 0.95) -> tuple[Array, Array]:
    """Return Wilson's interval (1927) of proportions p of n rows.

    Examples
    --------
    >>> import numpy as np
    >>> low, high = wilson(np.array([0.5]), np.array([100.0]))
    >>> float(low.round(4)[0]), float(high.round(4)[0])
    (0.4038, 0.5962)
    """
    z = float(ndtri(0.5 + 0.5 * confidence))
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    reach = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return np.maximum(centre - reach, 0.0), np.minimum(centre + reach, 1.0)


def clopper_pearson(p: Array, n: Array, confidence: float = 0.95) -> tuple[Array, Array]:
    """Return the exact interval (1934) of proportions p of n rows: it covers at least as often.

    Examples
    --------
    >>> import numpy as np
    >>> low, high = clopper_pearson(np.array([1.0]), np.array([3.0]))
    >>> float(low.round(4)[0]), float(high[0])
    (0.2924, 1.0)
    """
    tail, k = 0.5 * (1.0 - confidence), p * n
    some, lacking = k > 0, k < n
    low = np.where(some, betaincinv(np.where(some, k, 1.0), n - k + 1.0, tail), 0.0)
    rest = np.where(lacking, n - k, 1.0)
    return low, np.where(lacking, betaincinv(k + 1.0, rest, 1.0 - tail), 1.0)


def largest_difference(p: Array, n: Array, confidence: float = 0.95) -> tuple[float, float, float]:
    """Return max p - min p with an interval: Newcombe's (1998, method 10), Bonferroni over pairs.

    Parameters
    ----------
    p, n : Array, shape (G,)
        Independent proportions and the rows behind each.
    confidence : float

    Examples
    --------
    >>> import numpy as np
    >>> [round(v, 4) for v in largest_difference(np.array([.8, .6]), np.array([70., 80.]))]
    [0.2, 0.0524, 0.3339]
    """
    pairs = [(a, b) for a in range(p.size) for b in range(p.size) if p[a] >= p[b] and a != b]
    if not pairs:
        return 0.0, 0.0, 0.0
    count = p.size * (p.size - 1) / 2.0
    low, high = wilson(p, n, 1.0 - (1.0 - confidence) / count)
    below, above = 0.0, 0.0
    for a, b in pairs:
        d = float(p[a] - p[b])
        down = d - float(np.hypot(p[a] - low[a], high[b] - p[b]))
        up = d + float(np.hypot(high[a] - p[a], p[b] - low[b]))
        below, above = max(below, down), max(above, up)
    return float(np.ptp(p)), below, min(above, 1.0)
