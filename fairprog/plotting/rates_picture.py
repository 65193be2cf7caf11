"""Rates of an outcome table, class by class and group by group."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fairprog.plotting.style import MARKERS, group_color, legend_columns, new_axes, short, style
from fairprog.populations import Evaluation
from fairprog.tables import OutcomeTable


def plot_rates(
    of: OutcomeTable | Evaluation, ax: Axes | None = None, *, standard_error: float = 0.0
) -> tuple[Figure, Axes]:
    """Draw P(Yhat=i | Y=i, A=a): the true positive rate of every class, group by group.

    The grey line of a class is the gap between its groups. Error bars are two standard errors
    of a rate: that given, or that of an evaluation whose rates were sampled.

    Examples
    --------
    >>> import fairprog as fp
    >>> table = fp.OutcomeTable([[[.2, .1], [.1, .1]], [[.1, .1], [.1, .2]]], groups=["a", "b"])
    >>> fig, ax = table.plot()
    >>> ax.get_ylabel()
    'P(Yhat = class | Y = class)'
    """
    table = of.table if isinstance(of, Evaluation) else of
    if isinstance(of, Evaluation):
        standard_error = of.standard_error
    rates = np.einsum("aii->ia", table.rates())
    K, G = rates.shape
    with style():
        fig, axes = new_axes(ax, (max(3.4, min(9.0, 1.6 + 0.45 * K)), 2.9))
        for i in np.flatnonzero(~np.isnan(rates).all(axis=1)):
            ends = [np.nanmin(rates[i]), np.nanmax(rates[i])]
            axes.plot([i, i], ends, color="0.7", linewidth=5.0, solid_capstyle="butt", zorder=1)
        for a, group in enumerate(table.groups):
            place = np.arange(K) + 0.12 * (a - (G - 1) / 2.0) / max(1.0, (G - 1) / 2.0)
            axes.errorbar(
                place,
                rates[:, a],
                yerr=2.0 * standard_error if standard_error > 0 else None,
                color=group_color(a),
                marker=MARKERS[a % len(MARKERS)],
                linestyle="none",
                markersize=5.5,
                capsize=2.0,
                label=f"group {short(group)}",
            )
        names = [short(c, 12) for c in table.classes]
        crowded = sum(map(len, names)) > 11.0 * axes.get_position().width * fig.get_figwidth()
        axes.set_xticks(range(K), names, rotation=90 if crowded else 0)
        axes.set_xlim(-0.6, K - 0.4)
        axes.set_ylim(-0.03, 1.03)
        axes.set(xlabel="class", ylabel="P(Yhat = class | Y = class)")
        axes.grid(False, axis="x")
        labels = [f"group {short(group)}" for group in table.groups]
        columns = legend_columns(labels, 0.8 * fig.get_figwidth())
        axes.legend(loc="lower center", bbox_to_anchor=(0.45, 1.0), ncols=columns)
    return fig, axes
