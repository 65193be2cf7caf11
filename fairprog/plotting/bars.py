"""Bars: prices and sensitivities by address, bounds by cell, residuals beside tolerances."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator

from fairprog.plotting.style import COLORS, group_color, new_axes, short, style
from fairprog.solution import Bounds, Solution
from fairprog.solution.certificate import Checked

WIDTH = 3.7  # inches, of a figure of its own
MOST = 16  # bars; of more conditions the most costly are drawn
TINY = 1e-17  # a residual of zero is drawn here


def plot_prices(sol: Solution, ax: Axes | None = None) -> tuple[Figure, Axes]:
    """Draw prices of bounds and sensitivities of conditions, each with its name or address.

    A sensitivity that is a number is drawn with its sign, a vector or matrix by its norm, in the
    user's units: bars of different units do not compare. Lines across prices are their intervals,
    where ``sol.inference()`` was asked for. Of more than sixteen conditions those
    with the largest parts of the price of consensus are drawn, after conditions of the user's.

    Parameters
    ----------
    sol : Solution

    Examples
    --------
    >>> import fairprog as fp
    >>> from fairprog.plotting import plot_prices
    >>> D = fp.Normal([[.3, .2], [.3, .2]], [[0., 1.], [2., 2.]], std=[[1., 1.], [1., 2.]])
    >>> fig, ax = plot_prices(fp.NearestIdeal(D, steer=[1]).solve())
    >>> [t.get_text() for t in ax.get_yticklabels()][:2]
    ['price of consensus', 'linear[1,0]']
    """
    prices = [(f"price of {name}", float(value)) for name, value in sol.price.items()]
    costs = [
        (name, float(value) if np.ndim(value) == 0 else float(np.linalg.norm(value)))
        for name, value in sol.sensitivity.items()
    ]
    parts = sol.price_by_condition
    worst = sorted(range(len(costs)), key=lambda k: -parts.get(costs[k][0], np.inf))[:MOST]
    costs = [costs[k] for k in sorted(worst)]
    rows = [*prices, *costs]
    with style():
        fig, axes = new_axes(ax, (WIDTH, 0.9 + 0.22 * max(2, len(rows))))
        colors = [COLORS[1]] * len(prices) + [COLORS[0]] * len(costs)
        _bars(axes, rows, colors)
        axes.set_xlabel("nats of KL per unit")
        known = {} if sol.inferred is None else sol.inferred.price
        for k, name in enumerate(sol.price):
            if name in known:
                axes.plot([known[name].low, known[name].high], [k, k], color="0.2", linewidth=1.4)
        handles = [
            Patch(color=COLORS[1], label="price of a bound"),
            Patch(color=COLORS[0], label="sensitivity to a condition"),
        ]
        options: dict[str, Any] = {"handles": handles, "handlelength": 1.2, "columnspacing": 1.0}
        if ax is None:
            fig.legend(loc="outside upper center", ncols=2, **options)
        else:
            axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), **options)
    return fig, axes


def _bars(ax: Axes, rows: Sequence[tuple[str, float]], colors: Sequence[str]) -> None:
    """Draw one horizontal bar per row, its value written beside it."""
    values = np.array([v for _, v in rows]) if rows else np.zeros(1)
    reach = max(float(np.abs(values).max()), 1e-12)
    for k, ((_, value), color) in enumerate(zip(rows, colors, strict=True)):
        ax.barh(k, value, color=color, height=0.7)
        ax.text(
            value + 0.02 * reach * (1.0 if value >= 0 else -1.0),
            k,
            f"{value if abs(value) > 1e-12 else 0.0:.3g}",
            ha="left" if value >= 0 else "right",
            va="center",
            fontsize=7,
        )
    ax.set_yticks(range(len(rows)), [short(name, 30) for name, _ in rows])
    ax.invert_yaxis()
    ax.axvline(0.0, color="0.4", linewidth=0.8)
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    # room for a number at either end, in the units of the axis, beside tick labels of this length
    longest = max((len(short(name, 30)) for name, _ in rows), default=0)
    free = max(1.1, WIDTH - 0.4 - 0.066 * longest - 0.5 * ((low < 0) + 1))
    room = 0.5 * max(high - low, 1e-12) / free
    ax.set_xlim(low - (room if low < 0 else 0.0), high + room)
    ax.grid(False, axis="y")


def plot_bounds(bounds: Bounds, ax: Axes | None = None) -> tuple[Figure, Axes]:
    """Draw how far each rate P(. | Y=i, A=a) of a classifier can move between the populations.

    Parameters
    ----------
    bounds : Bounds
    """
    moves = bounds.cell_total_variation
    K, G = moves.shape
    classes, groups = bounds.classes or tuple(range(K)), bounds.groups or tuple(range(G))
    rows = [
        (f"class {short(c, 8)}, group {short(g, 8)}", float(moves[i, a]))
        for a, g in enumerate(groups)
        for i, c in enumerate(classes)
    ]
    with style():
        fig, axes = new_axes(ax, (WIDTH, 0.8 + 0.22 * max(2, len(rows))))
        _bars(axes, rows, [group_color(a) for a in range(G) for _ in range(K)])
        axes.set_xlabel("largest change of a rate")
    return fig, axes


def plot_certificate(certificate: Checked, ax: Axes | None = None) -> tuple[Figure, Axes]:
    """Draw every residual as a bar that must end before the mark of its tolerance.

    Parameters
    ----------
    certificate : Certificate, or that of another answer
    """
    checks = certificate.checks()
    with style():
        fig, axes = new_axes(ax, (WIDTH, 0.9 + 0.25 * len(checks)))
        for k, (_, value, tolerance) in enumerate(checks):
            color = COLORS[0] if value <= tolerance else COLORS[1]
            axes.barh(k, max(value, TINY) - TINY / 10, left=TINY / 10, color=color, height=0.6)
            axes.plot([tolerance] * 2, [k - 0.42, k + 0.42], color="black", linewidth=1.6)
        axes.set_xscale("log")
        axes.set_xlim(TINY / 10, 100.0 * max(max(v, t) for _, v, t in checks))
        axes.xaxis.set_major_locator(LogLocator(numticks=6))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:.0e}"))
        axes.minorticks_off()
        axes.set_yticks(range(len(checks)), [name.replace("_", " ") for name, _, _ in checks])
        axes.invert_yaxis()
        axes.grid(False, axis="y")
        axes.set_xlabel("residual (mark: tolerance)")
    return fig, axes
