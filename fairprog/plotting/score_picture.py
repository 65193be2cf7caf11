"""The fair score in one look: the groups' ROC curves, their hulls, and what all can reach."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fairprog.plotting.style import COLORS, figure_of, group_color, new_axes, short, style
from fairprog.solution.score_solution import ScoreSolution


def plot_score(solution: ScoreSolution, *, ax: Any = None) -> tuple[Figure, Any]:
    """Draw the groups' ROC hulls with the released score's curve, and where the price sits.

    Parameters
    ----------
    solution : ScoreSolution
    ax : Axes, or two of them, optional
        One: the ROC curves only. Default: a new figure with both.
    """
    with style():
        if ax is None:
            fig, ax = plt.subplots(1, 2, figsize=(7.4, 3.3), layout="constrained")
        axes = np.ravel(ax)
        fig = figure_of(axes[0])
        _draw_roc(solution, axes[0])
        if len(axes) > 1:
            plot_score_price(solution, ax=axes[1])
    return fig, ax


def _draw_roc(sol: ScoreSolution, ax: Axes) -> None:
    before = {}
    for a, (g, mass) in enumerate(sol.mass.items()):
        curve = np.cumsum(np.concatenate([np.zeros((1, 2)), (mass / mass.sum(0))[::-1]]), axis=0)
        before[g] = curve
        ax.plot(*curve.T, color=group_color(a), linestyle="--", linewidth=1.2)
    common = sol.gap <= 1e-6
    after = sol.exceedances
    for a, (g, rates) in enumerate(after.items()):
        F, T = (np.concatenate([r, [0.0]]) for r in rates)
        color = COLORS[6] if common else group_color(a)
        if not common:
            ax.fill_between(F, T, np.interp(F, *before[g].T), color=color, alpha=0.12, linewidth=0)
        if a == 0 or not common:
            ax.plot(F, T, color=color, linewidth=2.2)
        if common:
            lost = np.interp(F, *before[g].T)
            ax.fill_between(F, T, lost, color=group_color(a), alpha=0.15, linewidth=0)
    ax.plot([0, 1], [0, 1], color="0.8", linewidth=0.8, zorder=0)
    for a, g in enumerate(before):
        auc = sol.auc[g]
        ax.text(
            0.97, 0.06 + 0.085 * (len(before) - 1 - a),
            f"{short(g, 18)}: AUC {auc[0]:.3f} → {auc[1]:.3f}",
            color=group_color(a), ha="right", fontsize=8, transform=ax.transAxes,
        )  # fmt: skip
    title = "what all groups can reach" if common else "released scores"
    ax.set(
        xlabel="false positive rate", ylabel="true positive rate",
        title=f"before (dashed), and {title}", xlim=(0, 1), ylim=(0, 1.01),
    )  # fmt: skip
    ax.set_aspect("equal")


def plot_score_price(solution: ScoreSolution, *, ax: Axes | None = None) -> tuple[Figure, Axes]:
    """Draw the price of the bound and the share of randomised decisions, by threshold."""
    with style():
        fig, ax = new_axes(ax, (3.9, 3.0))
        cost, price = solution.price_at
        total = next(iter(solution.price.values()))
        ax.fill_between(cost, 0.0, price, color="0.85", linewidth=0)
        ax.plot(cost, price, color="0.45", linewidth=1.0, label=f"price, mean {total:.3f}")
        for a, (g, share) in enumerate(solution.lot.items()):
            ax.step(
                np.concatenate([[0.0], solution.levels, [1.0]]),
                np.concatenate([[0.0], share, [0.0]]),
                where="pre",
                color=group_color(a),
                label=f"randomised, {short(g, 18)}",
            )
        ax.set(xlabel="threshold", title="price and randomised decisions")
        ax.set_ylim(0.0, 1.4 * max(float(ax.dataLim.y1), 1e-3))  # room for the legend
        ax.set_ylabel("risk per unit; share of decisions")
        ax.legend(loc="upper left")
    return fig, ax
