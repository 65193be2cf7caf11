"""Pictures: one style for every figure; the only module that imports matplotlib.

Groups are told apart by colour (Okabe and Ito's palette, safe for colour-blind readers), classes
by line style and depth of fill, so that a figure survives a black-and-white printer. Nothing is
shown and nothing is closed here, except by :func:`save_figure`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike
from scipy.linalg import eigh

from fairprog.errors import DataError
from fairprog.kernels.bayes_rates import decision_regions
from fairprog.kernels.normal import pooled_covariance
from fairprog.labels import Array
from fairprog.populations import LogNormal, Normal
from fairprog.solution import Solution

__all__ = [
    "COLORS",
    "plot_curves",
    "plot_gaps",
    "plot_solution",
    "save_figure",
    "style",
]

# Okabe and Ito, ordered for contrast; yellow is left out: it fades on white.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
LINES = ("--", "-", ":", "-.", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)))
MARKERS = ("o", "s", "^", "D", "v", "P")
HALF = np.sqrt(2.0 * np.log(2.0))  # this many standard deviations hold half of a normal law in 2-d

_STYLE: Any = {  # Any: matplotlib types the keys one by one, and differently by version
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.labelsize": 9,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 9,
    "font.size": 9,
    "grid.color": "0.9",
    "grid.linewidth": 0.6,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "savefig.dpi": 150,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
}


@contextmanager
def style() -> Iterator[None]:
    """Apply the style of the package to the figures made inside a ``with`` block.

    Examples
    --------
    >>> from fairprog.plotting import style
    >>> import matplotlib.pyplot as plt
    >>> with style():
    ...     fig, ax = plt.subplots()
    """
    with plt.rc_context(_STYLE):
        yield


def save_figure(fig: Figure, path: str | os.PathLike[str], dpi: int = 150) -> Path:
    """Write a figure and close it.

    Parameters
    ----------
    fig : Figure
    path : path-like
        The suffix says the format.
    dpi : int
        Dots per inch of a pixel format.

    Returns
    -------
    Path
    """
    target = Path(path)
    fig.savefig(target, dpi=dpi)
    plt.close(fig)
    return target


def _class_line(i: int) -> Any:
    return LINES[i % len(LINES)]


def _group_color(a: int) -> str:
    return COLORS[a % len(COLORS)]


# -- curves --


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

    Returns
    -------
    (Figure, Axes)
    """
    with style():
        if ax is None:
            fig, ax = plt.subplots(figsize=(4.2, 2.9), layout="constrained")
        else:
            fig = _figure_of(ax)
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
        In [0, 1].
    gaps : mapping of label to array_like, shape (n,)
        For example ``{"before": ..., "after": ...}``.
    bands : mapping of label to (low, high), optional
    xlabel, ylabel : str
        With units.
    ax : Axes, optional

    Returns
    -------
    (Figure, Axes)
    """
    fig, ax = plot_curves(thresholds, gaps, xlabel=xlabel, ylabel=ylabel, bands=bands, ax=ax)
    top = max(float(np.max(np.asarray(v))) for v in gaps.values())
    for _, high in (bands or {}).values():
        top = max(top, float(np.max(np.asarray(high))))
    ax.set_xlim(0.0, 1.0)
    ax.set_ylim(-0.03 * max(top, 1e-3), 1.15 * max(top, 1e-3))  # a curve at zero stays visible
    return fig, ax


def _figure_of(ax: Axes) -> Figure:
    fig = ax.figure
    return fig.figure if isinstance(fig, SubFigure) else fig


# -- a population before and after --


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
            fig = _figure_of(panels[0])
        if flat:
            _draw_ellipses(panels, populations)
        else:
            _draw_densities(panels, populations)
        panels[0].set_title("before")
        panels[1].set_title(f"after: {_who(sol)} steered, KL = {sol.kl:.3g} nats")
        handles = _legend_handles(D, flat)
        if ax is None:
            panels[1].set_ylabel("")
            fig.legend(
                handles=handles,
                loc="outside lower center",
                ncols=min(len(handles), 6),
                handlelength=2.6,
            )
        else:
            panels[0].legend(handles=handles, handlelength=2.2, fontsize=7)
    return fig, panels


def _who(sol: Solution) -> str:
    steered = sol.settings["steer"]
    if steered == "all":
        return "all groups"
    if len(steered) > 2:
        return f"{len(steered)} groups"
    return ("group " if len(steered) == 1 else "groups ") + ", ".join(map(str, steered))


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
        Patch(color=_group_color(a), label=f"group {g}") for a, g in enumerate(D.groups)
    ]
    return handles + [
        Line2D(
            [],
            [],
            color="0.3",
            linestyle=_class_line(i),
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
                color, depth = _group_color(a), 0.22 * i / max(D.n_classes - 1, 1)
                ax.plot(show(grid), h[i, a], color=color, linestyle=_class_line(i))
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
                    facecolor=_group_color(a),
                    alpha=depth,
                    edgecolor="white",
                    linewidth=0.5,
                )
            )
            if right - left > 0.05 * (ends[1] - ends[0]):
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
                color, depth = _group_color(a), 0.18 * i / max(D.n_classes - 1, 1)
                ax.plot(*line.T, color=color, linestyle=_class_line(i))
                ax.fill(*line.T, color=color, alpha=depth, linewidth=0)
                ax.plot(*centre, color=color, marker=MARKERS[i % len(MARKERS)], markersize=4)
        if logarithmic:
            ax.set(xscale="log", yscale="log")
        ax.set(xlabel=names[0], ylabel=names[1])
