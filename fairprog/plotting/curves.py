"""Curves: gaps against thresholds, and anything else against a parameter."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from fairprog.plotting.style import COLORS, new_axes, style


def plot_curves(
    x: ArrayLike,
    curves: Mapping[str, ArrayLike],
    *,
    xlabel: str,
    ylabel: str,
    bands: Mapping[str, tuple[ArrayLike, ArrayLike]] | None = None,
    ax: Axes | None = None,
    legend: bool = True,
) -> tuple[Figure, Axes]:
    """Draw curves over one abscissa, in the order given; each has its colour and dashes.

    Parameters
    ----------
    x : array_like, shape (n,)
    curves : mapping of label to array_like, shape (n,)
    xlabel, ylabel : str
        With units.
    bands : mapping of label to (low, high), optional
        Shaded bands around some of the curves.
    ax : Axes, optional
        Default: a new figure, one column wide.
    legend : bool
    """
    with style():
        fig, ax = new_axes(ax, (4.2, 2.9))
        dashes = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
        for k, (label, values) in enumerate(curves.items()):
            color = COLORS[k % len(COLORS)]
            ax.plot(x, values, color=color, linestyle=dashes[k % len(dashes)], label=label)
            if bands is not None and label in bands:
                low, high = bands[label]
                ax.fill_between(x, low, high, color=color, alpha=0.15, linewidth=0)
        ax.set(xlabel=xlabel, ylabel=ylabel)
        if legend:
            ax.legend()
    return fig, ax


def plot_gaps(
    thresholds: ArrayLike,
    gaps: Mapping[str, ArrayLike],
    *,
    bands: Mapping[str, tuple[ArrayLike, ArrayLike]] | None = None,
    xlabel: str = "threshold on P(Y=1 | x, a)",
    ylabel: str = "gap between groups (probability)",
    ax: Axes | None = None,
) -> tuple[Figure, Axes]:
    """Draw the gap of a notion at every threshold of the posterior (or score).

    Parameters
    ----------
    thresholds : array_like, shape (n,)
        Probabilities, or in the unit of the score.
    gaps : mapping of label to array_like, shape (n,)
        For example ``{"before": ..., "after": ...}``.
    bands : mapping of label to (low, high), optional
    xlabel, ylabel : str
        With units.
    ax : Axes, optional
    """
    fig, ax = plot_curves(thresholds, gaps, xlabel=xlabel, ylabel=ylabel, bands=bands, ax=ax)
    fit_gaps(ax)
    t = np.asarray(thresholds, dtype=float)
    inside = t.min() >= 0.0 and t.max() <= 1.0  # probabilities
    ax.set_xlim(*((0.0, 1.0) if inside else (float(t.min()), float(t.max()))))
    return fig, ax


def fit_gaps(ax: Axes) -> None:
    """Let the axis of gaps, and those that share it, hold all that is drawn on any of them."""
    together = ax.get_shared_y_axes().get_siblings(ax)
    drawn = [other.dataLim.y1 for other in together if np.isfinite(other.dataLim.y1)]
    top = max([1e-3, *map(float, drawn)])
    ax.set_ylim(-0.03 * top, 1.15 * top)  # a curve at zero stays visible
