"""Frontiers and classifiers."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fairprog.errors import ModelError
from fairprog.labels import Array, Indices
from fairprog.plotting.style import COLORS, MARKERS, group_color, legend_columns, new_axes, style
from fairprog.solution import ClassifierSolution, Frontier

FEW = 200  # atoms of a group that are drawn one by one
MOST = 2000  # points of a line through more of them
DASHES = ("-", (0, (4, 3)), (0, (1, 2)), "-.")  # groups one after the other, all to be seen


def plot_frontier(
    frontier: Frontier, *, ax: Axes | None = None, label: str | None = None, color: str = COLORS[0]
) -> tuple[Figure, Axes]:
    """Draw the optimum against the bound, with tangents whose slopes are its prices, and the band.

    Parameters
    ----------
    frontier : Frontier
    ax : Axes, optional
        Default: a new figure. Several frontiers may share one.
    label, color : str, optional
        A frontier with a label is one of several: it is drawn without tangents.
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
        if label is None and len(x) > 1:
            _draw_tangents(ax, x, y, slope, frontier.upward)
        ax.set(xlabel=frontier.bound_name.replace("_", " "), ylabel=_spoken(frontier.risk_name))
        ax.legend(loc="upper left" if frontier.upward else "upper right")
    return fig, ax


def _draw_tangents(ax: Axes, x: Array, y: Array, slope: Array, upward: bool) -> None:
    """Draw the tangents at three bounds from the strictest on; each bears its price."""
    sign, reach = 1.0 if upward else -1.0, 0.14 * (x[-1] - x[0])
    strict = np.arange(len(x))[::-1] if upward else np.arange(len(x))
    for k in dict.fromkeys(strict[[0, len(x) // 3, 2 * len(x) // 3]]):
        if slope[k] <= 1e-9 * np.abs(slope).max():
            continue  # flat: the bound costs nothing
        t = np.clip([x[k] - reach, x[k] + reach], x[0], x[-1])
        ax.plot(t, y[k] + sign * slope[k] * (t - x[k]), color=COLORS[1], linewidth=1.0)
        ax.plot(x[k], y[k], "o", color=COLORS[1], markersize=4)
        ax.annotate(
            f"price {slope[k]:.2g}",
            (x[k], y[k]),
            xytext=(-7 if upward else 7, 4),
            textcoords="offset points",
            ha="right" if upward else "left",
            color=COLORS[1],
            fontsize=8,
        )


def _spoken(name: str) -> str:
    return name.replace("_", " ")


def plot_classifier(
    solution: ClassifierSolution, *, ax: Axes | None = None
) -> tuple[Figure, Axes]:
    """Draw P(Yhat = last class) against its posterior, atom by atom, groups apart.

    More than 200 atoms of a group are drawn as a line through at most 2,000 of them, evenly by
    rank of their posteriors. The legend gives every group's threshold.

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
    thresholds = rule.thresholds or {}
    with style():
        fig, ax = new_axes(ax, (4.2, 2.9))
        for a, name in enumerate(D.groups):
            rows = _shown(s.score, np.flatnonzero(s.group == a))
            at = thresholds.get(name)
            label = str(name) if at is None else f"{name}: threshold {at:.3f}"
            if len(rows) > FEW:
                ax.plot(
                    s.score[rows],
                    rule.h[rows, 1],
                    color=group_color(a),
                    linestyle=DASHES[a % len(DASHES)],
                    linewidth=2.4 if a == 0 else 1.6,
                    label=label,
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
                label=label,
            )
            if at is not None and 0 <= at <= 1:
                ax.axvline(at, color=group_color(a), linewidth=1.0, linestyle=":")
        positive = D.classes[-1]
        ax.set(
            xlabel=f"P(Y={positive} | x, a)",
            ylabel=f"P(predict {positive} | x, a)",
            xlim=(-0.02, 1.02),
            ylim=(-0.04, 1.04),
        )
        _, labels = ax.get_legend_handles_labels()
        columns = legend_columns(labels, 0.7 * fig.get_figwidth())
        ax.legend(loc="lower center", bbox_to_anchor=(0.45, 1.0), ncols=columns)
    return fig, ax


def _shown(score: Array, rows: Indices) -> Indices:
    """Return the rows of a group that are drawn, by rank where they make a line."""
    if len(rows) <= FEW:
        return rows
    by_rank = rows[np.argsort(score[rows], kind="stable")]
    return by_rank[np.linspace(0, len(rows) - 1, min(MOST, len(rows))).round().astype(int)]
