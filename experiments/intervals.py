"""Means over seeds or draws, with 95 % intervals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import t as student

__all__ = ["geometric", "interval"]


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the mean and the ends of its 95 % interval (Student's t over the seeds)."""
    x = np.asarray(values, dtype=float)
    mean = float(x.mean())
    if len(x) < 2:
        return mean, float("nan"), float("nan")
    half = float(student.ppf(0.975, len(x) - 1) * x.std(ddof=1) / np.sqrt(len(x)))
    return mean, mean - half, mean + half


def geometric(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the geometric mean and the ends of its 95 % interval, for perplexities."""
    mean, low, high = (float(np.exp(x)) for x in interval(np.log(values).tolist()))
    return mean, low, high
