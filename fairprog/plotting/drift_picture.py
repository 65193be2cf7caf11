"""How far the cells of a population moved, as new rows have it."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fairprog.evidence.drift import Drift
from fairprog.plotting.style import group_color, new_axes, short, style


def plot_drift(found: Drift, ax: Axes | None = None) -> tuple[Figure, Axes]:
    """Draw the size of every check as a bar, with its p-value; those that moved are coloured.

    Parameters
    ----------
    found : Drift
    ax : Axes, optional
    """
    names = list(found.pvalues)
    place, sizes = np.arange(len(names)), np.array([found.sizes[name] for name in names])
    whole = "base rates" if found.labelled else "all rows"
    with style():
        fig, axes = new_axes(ax, (4.4, 0.9 + 0.28 * len(names)))
        colors = [group_color(1) if name in found.moved else "0.7" for name in names]
        axes.barh(place, sizes, color=colors, height=0.65)
        for k, name in enumerate(names):
            word = "moved, " if name in found.moved else ""
            said = f" {word}p = {found.pvalues[name]:.2g}"
            axes.text(sizes[k], k, said, va="center", fontsize=7.5, color="0.25")
        labels = [
            f"{whole if c is None else 'class ' + short(c, 14)}, group {short(g, 14)}"
            for c, g in names
        ]
        axes.set_yticks(place, labels)
        axes.set_xlim(0.0, 1.45 * max(float(sizes.max()), 1e-6))
        axes.invert_yaxis()
        axes.grid(False, axis="y")
        axes.set_xlabel(f"nats from where it was ({found.n:,} rows)")
    return fig, axes
