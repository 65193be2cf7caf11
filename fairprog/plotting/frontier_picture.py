"""Frontiers and classifiers."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fairprog.errors import ModelError
from fairprog.labels import Array, Indices
from fairprog.plotting.style import COLORS, MARKERS, group_color, new_axes, style
from fairprog.solution import ClassifierSolution, Frontier

FEW = 200  # atoms of a group that are drawn one by one
MOST = 2000  # points of a line through more of them


def plot_frontier(
    frontier: Frontier, *, ax: Axes | None = None, label: str | None = None, color: str = COLORS[0]
) -> tuple[Figure, Axes]:
    """Draw the optimum against the bound, the tangents its prices give, and the band.

    Parameters
    ----------
    frontier : Frontier
    ax : Axes, optional
        Default: a new figure. Several frontiers may share one.
    label, color : str, optional
    """
    order = np.argsort(frontier.bounds)
    x, y, slope = (v[order] for v in (frontier.bounds, frontier.risks, frontier.prices))
    with style():
        fig, ax = new_axes(ax, (4.2, 2.9))
        if frontier.bands is not None:
            low, high = (band[order] for band in frontier.bands)
            name = f"{frontier.confidence:.0%} of samples"
            ax.fill_between(x, low, high, color=color, alpha=0.15, linewidth=0, label=name)
        ax.plot(x, y, color=color, marker="o", markersize=3, label=label or "optimum")
        if len(x) > 1:
            falling = 1.0 if frontier.upward else -1.0
            reach = 0.04 * (x[-1] - x[0])
            for k in np.unique(np.linspace(0, len(x) - 1, 4).astype(int)):
                t = np.array([x[k] - reach, x[k] + reach])
                ax.plot(t, y[k] + falling * slope[k] * (t - x[k]), color="0.3", linewidth=1.0)
        ax.set(xlabel=frontier.bound_name.replace("_", " "), ylabel=_spoken(frontier.risk_name))
        ax.legend()
    return fig, ax


def _spoken(name: str) -> str:
    return name.replace("_", " ")


def plot_classifier(
    solution: ClassifierSolution, *, ax: Axes | None = None
) -> tuple[Figure, Axes]:
    """Draw P(Yhat = last class) against its posterior, atom by atom, groups apart.

    More than 200 atoms of a group are drawn as a line through at most 2,000 of them, evenly by
    rank of their posteriors; each group's is thinner than the one before.

    Parameters
    ----------
    solution : ClassifierSolution
        With two classes.
    ax : Axes, optional
    """
    rule = solution.classifier
    D, s = rule.population, rule.population.support
    if D.n_classes != 2:
        raise ModelError("The picture of a classifier is drawn for binary labels.")
    thresholds = rule.thresholds
    with style():
        fig, ax = new_axes(ax, (4.2, 2.9))
        for a, name in enumerate(D.groups):
            rows = _shown(s.score, np.flatnonzero(s.group == a))
            if len(rows) > FEW:
                ax.plot(
                    s.score[rows],
                    rule.h[rows, 1],
                    color=group_color(a),
                    linewidth=max(1.2, 5.0 - 2.2 * a),
                    label=str(name),
                )
                continue
            size = 12 + 60 * np.sqrt(s.weight[rows] / s.weight.max())
            ax.scatter(
                s.score[rows],
                rule.h[rows, 1],
                s=size,
                color=group_color(a),
                marker=MARKERS[a % len(MARKERS)],
                alpha=0.6,
                linewidths=0,
                label=str(name),
            )
        for a, t in enumerate(() if thresholds is None else thresholds.values()):
            if 0 <= t <= 1:
                ax.axvline(t, color=group_color(a), linewidth=1.0, linestyle="--")
        positive = D.classes[-1]
        ax.set(
            xlabel=f"P(Y={positive} | x, a)",
            ylabel=f"P(predict {positive} | x, a)",
            xlim=(-0.02, 1.02),
            ylim=(-0.04, 1.04),
        )
        ax.legend(title="group")
    return fig, ax


def _shown(score: Array, rows: Indices) -> Indices:
    """Return the rows of a group that are drawn, by rank where they make a line."""
    if len(rows) <= FEW:
        return rows
    by_rank = rows[np.argsort(score[rows], kind="stable")]
    return by_rank[np.linspace(0, len(rows) - 1, min(MOST, len(rows))).round().astype(int)]
