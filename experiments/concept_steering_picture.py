"""The picture of `concept_steering`: effect against strength per topic, before and after."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from fairprog.labels import Array
from fairprog.plotting import COLORS, style

from .concept_steering_generated import RELATIVE, Measured
from .concept_steering_tables import by_method
from .concept_steering_vectors import IDEAL, IDEAL_CALIBRATED, SHARED, SHARED_MEANS
from .intervals import interval
from .pictures import save_picture
from .reviews import GENRES

__all__ = ["draw"]

DRAWN = (SHARED_MEANS, SHARED, IDEAL, IDEAL_CALIBRATED)


def draw(found: Sequence[Measured], path: Path) -> None:
    """Draw effect against strength per topic, before and after."""
    methods = by_method(found)
    t = np.array([0.0, *RELATIVE])
    with style():
        fig, cells = plt.subplots(
            2, 2, figsize=(6.5, 5.4), layout="constrained", sharex=True, sharey=True
        )
        for k, (ax, method) in enumerate(zip(cells.flat, DRAWN, strict=True)):
            seeds = methods[method]
            for j, g in enumerate(GENRES):
                values = np.array([[0.0, *(e for e, _ in m.curve[g])] for m in seeds])
                _band(ax, t, values, COLORS[j], ("-", "--")[j], g)
            ax.axhline(0.0, color="0.6", linewidth=0.7)
            ax.set(title=("before: " if k < 2 else "after: ") + method)
        for ax in cells[:, 0]:
            ax.set_ylabel("effect: rise of P(praise)")
        for ax in cells[1]:
            ax.set_xlabel("strength (1: matched)")
        cells[0, 0].legend(loc="upper left")
    save_picture(fig, path)


def _band(ax: Any, t: Array, values: Array, color: str, dash: str, label: str) -> None:
    """Draw the mean over seeds with its 95 % band."""
    if not len(values):
        return
    ends = np.array([interval(column) for column in values.T])
    ax.plot(t, ends[:, 0], color=color, linestyle=dash, label=label)
    if len(values) > 1:
        ax.fill_between(t, ends[:, 1], ends[:, 2], color=color, alpha=0.15, linewidth=0)
