"""Who moves how far: displacements of every cell, feature by feature."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fairprog.evidence.movement import Movement
from fairprog.plotting.style import MARKERS, group_color, new_axes, short, style

MOST = 64  # intervals that can be told apart in one picture


def plot_movement(movement: Movement, ax: Axes | None = None) -> tuple[Figure, Axes]:
    """Draw medians, quartiles and 5% to 95% ranges of displacements, in pooled s.d.

    Groups that do not move are left out, and features beyond about sixty intervals (those that
    move least).

    Parameters
    ----------
    movement : Movement
    """
    K, G = movement.rms.shape
    groups = [a for a in range(G) if np.nanmax(movement.rms[:, a], initial=0.0) > 1e-12] or [0]
    block = K * len(groups)
    reach = np.nan_to_num(np.abs(movement.quantiles)).max(axis=(0, 1, 2))
    features = np.sort(np.argsort(-reach, kind="stable")[: max(1, MOST // block)])
    with style():
        height = 0.9 + len(features) * (0.12 * block + 0.16)
        fig, axes = new_axes(ax, (3.7, max(1.4, height)))
        ticks, y = [], 0.0
        for j in features:
            start = y
            for a in groups:
                for i in range(K):
                    low, q1, middle, q3, high = movement.quantiles[:, i, a, j]
                    color = group_color(a)
                    axes.plot([low, high], [y, y], color=color, linewidth=1.0)
                    axes.plot([q1, q3], [y, y], color=color, linewidth=3.2)
                    axes.plot([middle], [y], color=color, marker=MARKERS[i % 6], markersize=4.5)
                    y += 1.0
            ticks.append((start + y - 1.0) / 2.0)
            y += 1.3
        axes.axvline(0.0, color="0.4", linewidth=0.8)
        axes.set_yticks(ticks, [short(movement.features[j], 20) for j in features])
        axes.set_ylim(y - 1.3, -1.0)
        axes.set_xlabel("displacement (pooled s.d.)")
        axes.grid(False, axis="y")
    return fig, axes
