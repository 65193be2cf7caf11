"""A population before and after: densities in one dimension, ellipses in more."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import MaxNLocator
from scipy.linalg import eigh

from fairprog.errors import DataError
from fairprog.kernels.bayes_rates import decision_regions
from fairprog.kernels.normal import pooled_covariance
from fairprog.labels import Array
from fairprog.plotting.style import (
    MARKERS,
    class_line,
    figure_of,
    group_color,
    style,
)
from fairprog.populations import LogNormal, Normal
from fairprog.solution import Solution

__all__ = ["plot_solution"]

LONG = 28  # characters of a title that fit above one panel
HALF = np.sqrt(2.0 * np.log(2.0))  # this many standard deviations hold half of a normal law in 2-d


def plot_solution(
    sol: Solution, ax: Sequence[Axes] | None = None
) -> tuple[Figure, tuple[Axes, Axes]]:
    """Draw every cell of the population before and after steering.

    One feature: the densities of the cells times their base rates, so that curves of one group
    cross where its 0-1 Bayes rule changes its mind; the bands below the axis show what that rule
    predicts. Two features: the ellipse that holds half of each cell. More: the same in the plane
    of the two leading discriminant directions of the original population's cells, in units of
    the pooled standard deviation. Log-normal populations are drawn on logarithmic axes in the
    user's units (their densities per unit of log x, which keeps areas and crossings true).

    Parameters
    ----------
    sol : Solution
    ax : two Axes, optional
        Default: a new figure with a legend below the panels.

    Returns
    -------
    (Figure, (Axes, Axes))

    Examples
    --------
    >>> import fairprog as fp
    >>> D = fp.Normal([[.3, .2], [.3, .2]], [[0., 1.], [2., 2.]], std=[[1., 1.], [1., 2.]],
    ...               groups=["a", "b"])
    >>> fig, (before, after) = fp.NearestIdeal(D, steer=["b"]).solve().plot()
    >>> before.get_xlabel()
    'feature x (units of the data)'
    """
    panels = _two_axes(ax)
    D = sol.original
    populations = (D, sol.population)
    flat = D.n_features > 1
    with style():
        if panels is None:
            size = 7.0, 3.3 + (0.0 if flat else 0.22 * max(0, D.n_groups - 2))
            fig, array = plt.subplots(
                1, 2, figsize=size, sharex=True, sharey=True, layout="constrained"
            )
            panels = (array[0], array[1])
        else:
            fig = figure_of(panels[0])
        if flat:
            _draw_ellipses(panels, populations)
        else:
            _draw_densities(panels, populations)
        panels[0].set_title("before")
        panels[1].set_title(f"after steering {_who(sol)}\nKL = {sol.kl:.3g} nats")
        handles = _legend_handles(D, flat)
        if ax is None:
            panels[1].set_ylabel("")
            fig.legend(
                handles=handles,
                loc="outside lower center",
                ncols=_columns(handles, width=fig.get_figwidth()),
                handlelength=2.6,
            )
        else:
            panels[0].legend(handles=handles, handlelength=2.2, fontsize=7)
    return fig, panels


def _who(sol: Solution) -> str:
    steered = sol.settings["steer"]
    if steered == "all":
        return "all groups"
    names = ", ".join(map(str, steered))
    return names if len(names) <= LONG else f"{len(steered)} of the groups"


def _columns(handles: Sequence[Patch | Line2D], width: float) -> int:
    """Return how many legend entries fit beside each other."""
    longest = max(len(str(h.get_label())) for h in handles)
    return max(1, min(len(handles), 6, int(14.0 * width / (longest + 6))))


def _two_axes(ax: Sequence[Axes] | None) -> tuple[Axes, Axes] | None:
    if ax is None:
        return None
    axes = list(np.ravel(np.asarray(ax, dtype=object)))
    if len(axes) != 2 or not all(isinstance(x, Axes) for x in axes):
        raise DataError(
            f"`ax` must be two matplotlib Axes (before, after); found {len(axes)} object(s).",
            argument="ax",
        )
    return axes[0], axes[1]


def _legend_handles(D: Normal, flat: bool) -> list[Patch | Line2D]:
    handles: list[Patch | Line2D] = [
        Patch(color=group_color(a), label=f"group {g}") for a, g in enumerate(D.groups)
    ]
    return handles + [
        Line2D(
            [],
            [],
            color="0.3",
            linestyle=class_line(i),
            marker=MARKERS[i % len(MARKERS)] if flat else None,
            markersize=4,
            label=f"class {c}",
        )
        for i, c in enumerate(D.classes)
    ]


# -- one feature --


def _draw_densities(panels: Sequence[Axes], populations: Sequence[Normal]) -> None:
    logarithmic = isinstance(populations[0], LogNormal)
    means = np.stack([D.location[..., 0] for D in populations])
    stds = np.stack([np.sqrt(D.cov[..., 0, 0]) for D in populations])
    low, high = float((means - 3.2 * stds).min()), float((means + 3.2 * stds).max())
    # a uniform grid, and one per cell: narrow cells keep their peaks
    z = np.linspace(-4.0, 4.0, 161)
    grid = np.union1d(
        np.linspace(low, high, 800), (means[..., None] + stds[..., None] * z).ravel()
    )
    grid = grid[(grid >= low) & (grid <= high)]
    show: Callable[[Array], Array] = np.exp if logarithmic else (lambda x: x)
    heights = [
        D.base_rates[..., None]
        * np.exp(-0.5 * ((grid - m[..., None]) / s[..., None]) ** 2)
        / (np.sqrt(2.0 * np.pi) * s[..., None])
        for D, m, s in zip(populations, means, stds, strict=True)
    ]
    top = 1.05 * max(float(h.max()) for h in heights)
    for ax, D, h, m, s in zip(panels, populations, heights, means, stds, strict=True):
        for i in range(D.n_classes):
            for a in range(D.n_groups):
                color, depth = group_color(a), 0.22 * i / max(D.n_classes - 1, 1)
                ax.plot(show(grid), h[i, a], color=color, linestyle=class_line(i))
                ax.fill_between(show(grid), 0.0, h[i, a], color=color, alpha=depth, linewidth=0)
        _draw_regions(ax, D, m, s, (low, high), top, show)
        if logarithmic:
            ax.set_xscale("log")
        ax.set_xlim(*show(np.array([low, high])))
        ax.set_xlabel("feature x (units of the data" + (", log scale)" if logarithmic else ")"))
        ax.set_ylabel("base rate × density (per unit of " + ("log x)" if logarithmic else "x)"))


def _draw_regions(
    ax: Axes,
    D: Normal,
    mean: Array,
    std: Array,
    ends: tuple[float, float],
    top: float,
    show: Callable[[Array], Array],
) -> None:
    """Draw one band per group below the axis: what the group's 0-1 Bayes rule predicts."""
    height = 0.095 * top
    ticks = [t for t in MaxNLocator(4).tick_values(0.0, top) if 0.0 <= t <= top]
    labels = [f"{t:.4g}" for t in ticks]
    cost = 1.0 - np.eye(D.n_classes)
    for a, group in enumerate(D.groups):
        middle = -(a + 0.75) * 1.25 * height
        points, decisions = decision_regions(cost, D.prior[:, a], mean[:, a], std[:, a])
        edges = np.concatenate([[ends[0]], np.clip(points, *ends), [ends[1]]])
        for left, right, j in zip(edges[:-1], edges[1:], decisions, strict=True):
            if right <= left:
                continue
            x0, x1, x = show(np.array([left, right, (left + right) / 2.0]))
            depth = 0.12 + 0.73 * j / max(D.n_classes - 1, 1)
            ax.add_patch(
                Rectangle(
                    (x0, middle - height / 2),
                    x1 - x0,
                    height,
                    facecolor=group_color(a),
                    alpha=depth,
                    edgecolor="white",
                    linewidth=0.5,
                )
            )
            room = max(0.05, 0.026 * len(str(D.classes[j])))  # share of the axis a label needs
            if right - left > room * (ends[1] - ends[0]):
                ax.text(
                    x,
                    middle,
                    str(D.classes[j]),
                    ha="center",
                    va="center_baseline",
                    fontsize=7,
                    color="white" if depth > 0.5 else "black",
                    clip_on=True,
                )
        ticks.append(middle)
        labels.append(f"rule {group}")
    ax.axhline(0.0, color="0.4", linewidth=0.8)
    ax.set_yticks(ticks, labels)
    ax.set_ylim(-(D.n_groups + 0.4) * 1.25 * height, top)
    ax.grid(False)


# -- several features --


def _plane(D: Normal) -> tuple[Array, tuple[str, str]]:
    """Return two directions (d, 2) to look along, and the labels of the axes."""
    if D.n_features == 2:
        names = [f"feature {k} (units of the data)" for k in (1, 2)]
        return np.eye(2), (names[0], names[1])
    m, U = D.support_mean, D.support_basis
    within = pooled_covariance(D.prior, D.support_cov)
    centre = np.einsum("ia,iad->d", D.prior, m)
    between = np.einsum("ia,iad,iae->de", D.prior, m - centre, m - centre)
    vectors = eigh(between, within)[1][:, ::-1][:, :2]  # V' within V = I: pooled units
    V = U @ (vectors * np.where(vectors.sum(axis=0) < 0, -1.0, 1.0))
    if V.shape[1] < 2:  # a single direction varies: show it against one that does not
        V = np.column_stack([V, D._null[:, 0]])
    of = " of log x" if isinstance(D, LogNormal) else ""
    names = [f"{k} discriminant{of} (pooled s.d.)" for k in ("first", "second")]
    return V, (names[0], names[1])


def _draw_ellipses(panels: Sequence[Axes], populations: Sequence[Normal]) -> None:
    V, names = _plane(populations[0])
    logarithmic = isinstance(populations[0], LogNormal) and populations[0].n_features == 2
    angle = np.linspace(0.0, 2.0 * np.pi, 181)
    circle = HALF * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    for ax, D in zip(panels, populations, strict=True):
        for i in range(D.n_classes):
            for a in range(D.n_groups):
                values, vectors = np.linalg.eigh(V.T @ D.cov[i, a] @ V)
                root = vectors * np.sqrt(np.maximum(values, 0.0))
                centre = V.T @ D.location[i, a]
                line = centre + circle @ root.T
                if logarithmic:
                    line, centre = np.exp(line), np.exp(centre)
                color, depth = group_color(a), 0.18 * i / max(D.n_classes - 1, 1)
                ax.plot(*line.T, color=color, linestyle=class_line(i))
                ax.fill(*line.T, color=color, alpha=depth, linewidth=0)
                ax.plot(*centre, color=color, marker=MARKERS[i % len(MARKERS)], markersize=4)
        if logarithmic:
            ax.set(xscale="log", yscale="log")
        ax.set(xlabel=names[0], ylabel=names[1])
