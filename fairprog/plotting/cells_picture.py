"""One population on one axes: densities in one dimension, ellipses in more, its Bayes rule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

from fairprog.labels import Array
from fairprog.plotting.style import MARKERS, class_line, group_color, legend_columns, short

Function = Callable[[Array], Array]

HALF = np.sqrt(2.0 * np.log(2.0))  # this many standard deviations hold half of a normal law in 2-d
CURVE = np.linspace(-4.5, 4.5, 181)  # normal scores of the points at which a density is drawn
GRID = 121  # points each way of the grid that boundaries are found on
CROWD = 6  # densities on one base line; of more, every group has a base line of its own


@dataclass(frozen=True, eq=False)
class Frame:
    """What panels that show populations side by side have in common.

    Attributes
    ----------
    names : (str, str)
        Labels of the axes.
    low, high : Array, shape (1,) or (2,)
        What is shown, in the family's own coordinates.
    plane : Array, shape (d, 2), or None
        Directions to look along; None in one dimension.
    scale : str or (callable, callable)
        Of the axes in the user's units, for matplotlib.
    show : callable
        From the family's own coordinates to the units of the axes.
    boundaries : bool
        Whether the plane is the whole space, so that decision boundaries can be drawn.
    top : float
        Height of a density panel.
    """

    names: tuple[str, str]
    low: Array
    high: Array
    plane: Array | None
    scale: str | tuple[Function, Function]
    show: Function
    boundaries: bool
    top: float

    def space(self, set_scale: Callable[..., object]) -> None:
        """Space an axis of features evenly in the family's own coordinates."""
        if isinstance(self.scale, str):
            set_scale(self.scale)
        else:
            set_scale("function", functions=self.scale)


def frame_of(populations: Sequence[Any], names: Sequence[str] | None = None) -> Frame:
    """Return limits and directions that suit all of the populations; the first one leads.

    Parameters
    ----------
    populations : sequence of Population
        One feature: any family. Several: normal cells, perhaps seen through a bijection.
    names : sequence of str, optional
        Of the features; default those of the first population.
    """
    D = populations[0]
    if D.n_features == 1:
        return _line_frame(populations, names)
    D, log = D.core, D.coordinate == "log x" and D.core is D
    V, axes = _plane(populations[0], names)
    centres = np.stack([P.core.location @ V for P in populations])
    spreads = np.stack([P.core.cov_along(V) for P in populations])
    variances = np.diagonal(spreads, axis1=-2, axis2=-1)
    reach = 1.35 * HALF * np.sqrt(np.maximum(variances, 0.0))
    low, high = (centres - reach).min((0, 1, 2)), (centres + reach).max((0, 1, 2))
    flat = high <= low  # nothing varies along a null direction
    shown = log and D.n_features == 2
    return Frame(
        names=axes,
        low=np.where(flat, low - 1.0, low),
        high=np.where(flat, high + 1.0, high),
        plane=V,
        scale="log" if shown else "linear",
        show=np.exp if shown else _same,
        boundaries=D.n_features == 2 and D.null_dimension == 0,
        top=0.0,
    )


def _line_frame(populations: Sequence[Any], names: Sequence[str] | None) -> Frame:
    D = populations[0]
    ends = [P.cell_quantiles(np.array([-3.2, 3.2])) for P in populations]
    low, high = float(np.min(ends)), float(np.max(ends))
    curves = [c for P in populations for c in _curves(P, (low, high))]
    top = 1.05 * max(float(height.max()) for _, _, _, height in curves)
    for a, b in ((low, high), (high, low)):  # a density that begins at an end needs room there
        if max(float(h[z == a].max(initial=0.0)) for *_, z, h in curves) > 0.03 * top:
            low, high = (a - 0.05 * (b - a), high) if a == low else (low, a + 0.05 * (a - b))
    units = {"x": "(units of the data)", "log x": "(data units, log)"}
    scales: dict[str, str] = {"x": "linear", "log x": "log"}
    return Frame(
        names=(
            f"{_feature(D, 0, names)} "
            + units.get(D.coordinate, f"(data units, spaced by {D.coordinate})"),
            f"base rate × density (per unit of {D.coordinate})",
        ),
        low=np.array([low]),
        high=np.array([high]),
        plane=None,
        scale=scales.get(D.coordinate) or (_by_column(D._forward), _by_column(D._backward)),
        show=_by_column(D._backward),
        boundaries=True,
        top=top,
    )


def _same(z: Array) -> Array:
    return z


def _by_column(f: Function) -> Function:
    """Return a map of one feature for arrays of any shape; what has no image becomes NaN."""

    def mapped(x: Array) -> Array:
        values: Array = np.ma.filled(np.ma.asarray(x, dtype=float), np.nan)
        with np.errstate(all="ignore"):
            out: Array = np.asarray(f(values.reshape(-1, 1))).reshape(np.shape(values))
        return out

    return mapped


def draw_cells(ax: Axes, D: Any, frame: Frame, *, overlay: bool = False) -> None:
    """Draw the cells of a population and its 0-1 Bayes rule.

    Parameters
    ----------
    ax : Axes
    D : Population
    frame : Frame
    overlay : bool
        The groups are expected to coincide: later ones are drawn thinner, so that all show.
    """
    widths = [1.6 + (1.9 * (D.n_groups - 1 - a) if overlay else 0.0) for a in range(D.n_groups)]
    if frame.plane is None:
        _draw_densities(ax, D, frame, widths, overlay)
    else:
        _draw_ellipses(ax, D, frame, widths, overlay)
    ax.set(xlabel=frame.names[0], ylabel=frame.names[1])


def cells_legend(fig: Figure, ax: Axes, handles: Sequence[Any], *, below: bool) -> None:
    """Explain cells below a figure of its own, or within given axes."""
    if not below:
        ax.legend(handles=handles, handlelength=2.2, fontsize=7)
        return
    columns = legend_columns([str(h.get_label()) for h in handles], fig.get_figwidth())
    fig.legend(handles=handles, loc="outside lower center", ncols=columns, handlelength=2.6)


def legend_handles(D: Any) -> list[Patch | Line2D]:
    """Return what tells groups (colour) and classes (line, marker) apart."""
    flat = D.n_features > 1
    handles: list[Patch | Line2D] = [
        Patch(color=group_color(a), label=f"group {short(g, 40)}") for a, g in enumerate(D.groups)
    ]
    return handles + [
        Line2D(
            [],
            [],
            color="0.3",
            linestyle=class_line(i),
            marker=MARKERS[i % len(MARKERS)] if flat else None,
            markersize=4,
            label=f"class {short(c, 40)}",
        )
        for i, c in enumerate(D.classes)
    ]


def _feature(D: Any, k: int, names: Sequence[str] | None) -> str:
    known = names or D.feature_names
    if known is not None:
        return short(known[k])
    return "feature x" if D.n_features == 1 else f"feature {k + 1}"


# -- one feature --


def _draw_densities(
    ax: Axes, D: Any, frame: Frame, widths: Sequence[float], overlay: bool
) -> None:
    low, high, top = float(frame.low[0]), float(frame.high[0]), frame.top
    base = _base_lines(D, top)
    for i, a, z, height in _curves(D, (low, high)):
        color, depth = group_color(a), 0.22 * i / max(D.n_classes - 1, 1)
        x, curve = frame.show(z), base[a] + height
        ax.plot(x, curve, color=color, linestyle=class_line(i), linewidth=widths[a])
        if depth > 0 and not (overlay and a):
            ax.fill_between(x, base[a], curve, color=color, alpha=depth, linewidth=0)
    _draw_regions(ax, D, (low, high), top, frame.show)
    frame.space(ax.set_xscale)
    ax.set_xlim(*frame.show(np.array([low, high])))
    if not isinstance(frame.scale, str):
        ticks = _spaced_ticks(*frame.scale, low, high)
        ax.xaxis.set_major_locator(FixedLocator(ticks))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:.6g}"))


def crowded(D: Any) -> bool:
    """Whether densities are drawn group by group: too many for one base line."""
    return D.n_features == 1 and D.n_groups * D.n_classes > CROWD


def _base_lines(D: Any, top: float) -> Array:
    """Return where the densities of every group stand."""
    step = top + 1.7 * _band_height(D, top) if crowded(D) else 0.0
    return step * np.arange(D.n_groups - 1.0, -1.0, -1.0)


def _band_height(D: Any, top: float) -> float:
    """Return the height of a band that shows what a rule predicts, under densities up to `top`."""
    return (0.17 if crowded(D) else 0.095) * top


def _curves(D: Any, ends: tuple[float, float]) -> list[tuple[int, int, Array, Array]]:
    """Return (class, group, points, base rate times density) of every cell within the ends."""
    low, high = ends
    quantiles = D.cell_quantiles(CURVE)
    breaks = D.density_breaks()
    step = 1e-9 * (high - low)
    beside = np.concatenate([breaks - step, breaks, breaks + step])  # both sides of a jump
    out = []
    for i in range(D.n_classes):
        for a in range(D.n_groups):
            z = np.concatenate([[low], quantiles[:, i, a], beside, [high]])
            z = np.unique(np.clip(z, low, high))
            out.append((i, a, z, D.base_rates[i, a] * D.cell_density(z)[:, i, a]))
    return out


def _spaced_ticks(forward: Function, backward: Function, low: float, high: float) -> list[float]:
    """Return short numbers that are about evenly spaced in the family's own coordinates."""
    z = np.linspace(low, high, 7)[1:-1]
    ticks = set()
    for goal, x in zip(z, backward(z), strict=True):
        for digits in range(1, 7):
            tick = float(f"{x:.{digits}g}")
            if abs(float(forward(np.array(tick))) - goal) <= 0.2 * (z[1] - z[0]):
                ticks.add(tick)
                break
    return sorted(ticks)


def _draw_regions(ax: Axes, D: Any, ends: tuple[float, float], top: float, show: Function) -> None:
    """Draw one band per group below its densities: what the group's 0-1 Bayes rule predicts."""
    height, base, apart = _band_height(D, top), _base_lines(D, top), crowded(D)
    scale = [] if apart else MaxNLocator(4).tick_values(0.0, top)
    ticks = [t for t in scale if 0.0 <= t <= top]
    labels = [f"{t:.4g}" for t in ticks]
    cost = 1.0 - np.eye(D.n_classes)
    for a, group in enumerate(D.groups):
        middle = base[a] - (0.75 if apart else a + 0.75) * 1.25 * height
        points, decisions = D.decision_regions(cost, a)
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
            label = short(D.classes[j], 16)
            room = max(0.05, 0.026 * len(label))  # share of the axis a label needs
            if right - left > room * (ends[1] - ends[0]):
                ax.text(
                    x,
                    middle,
                    label,
                    ha="center",
                    va="center_baseline",
                    fontsize=7,
                    color="white" if depth > 0.5 else "black",
                    clip_on=True,
                )
        ticks.append(middle)
        labels.append(f"rule {short(group, 11)}")
    for level in np.unique(base):
        ax.axhline(level, color="0.4", linewidth=0.8)
    ax.set_yticks(ticks, labels)
    ax.set_ylim(-((1 if apart else D.n_groups) + 0.4) * 1.25 * height, float(base[0]) + top)
    ax.grid(False)


# -- several features --


def _plane(D: Any, given: Sequence[str] | None) -> tuple[Array, tuple[str, str]]:
    """Return two directions (d, 2) to look along, and the labels of the axes."""
    seen, D = D, D.core
    if D.n_features == 2:
        units = "units of the data" if seen is D else f"as {seen.coordinate}"
        names = [f"{_feature(seen, k, given)} ({units})" for k in (0, 1)]
        return np.eye(2), (names[0], names[1])
    V = D.discriminants()[:, :2]  # V' within V = I: pooled units
    V = V * np.where(V.sum(axis=0) < 0, -1.0, 1.0)
    if V.shape[1] < 2:  # a single direction varies: show it against one that does not
        V = np.column_stack([V, D._null[:, 0]])
    of = "" if seen.coordinate == "x" else f" of {seen.coordinate}"
    names = [f"{k} discriminant{of} (pooled s.d.)" for k in ("first", "second")]
    return V, (names[0], names[1])


def _draw_ellipses(ax: Axes, D: Any, frame: Frame, widths: Sequence[float], overlay: bool) -> None:
    V, D = frame.plane, D.core
    assert V is not None
    angle = np.linspace(0.0, 2.0 * np.pi, 121)
    spreads = D.cov_along(V)
    circle = HALF * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    for i in range(D.n_classes):
        for a in range(D.n_groups):
            values, vectors = np.linalg.eigh(spreads[i, a])
            root = vectors * np.sqrt(np.maximum(values, 0.0))
            centre = V.T @ D.location[i, a]
            line, centre = frame.show(centre + circle @ root.T), frame.show(centre)
            color, depth = group_color(a), 0.18 * i / max(D.n_classes - 1, 1)
            ax.plot(*line.T, color=color, linestyle=class_line(i), linewidth=widths[a])
            ax.fill(
                *line.T, color=color, alpha=0.0 if overlay and a else depth, linewidth=0, zorder=1
            )
            size = 2.5 + widths[a]
            ax.plot(*centre, color=color, marker=MARKERS[i % len(MARKERS)], markersize=size)
    if frame.boundaries:
        _draw_boundaries(ax, D, frame, widths)
    frame.space(ax.set_xscale)
    frame.space(ax.set_yscale)
    limits = [frame.show(np.array([a, b])) for a, b in zip(frame.low, frame.high, strict=True)]
    ax.set_xlim(*limits[0])
    ax.set_ylim(*limits[1])


def _draw_boundaries(ax: Axes, D: Any, frame: Frame, widths: Sequence[float]) -> None:
    """Draw where each group's 0-1 Bayes rule changes its mind: the class odds are even."""
    sides = [np.linspace(a, b, GRID) for a, b in zip(frame.low, frame.high, strict=True)]
    points = np.stack(np.meshgrid(*sides), axis=-1).reshape(-1, 2)
    shown = [frame.show(s) for s in sides]
    for a in range(D.n_groups):
        scores = D.log_posterior(points, np.full(len(points), a))
        for i in range(1 if D.n_classes == 2 else 0, D.n_classes):
            rival = np.delete(scores, i, axis=1).max(axis=1)
            lead = (scores[:, i] - rival).reshape(GRID, GRID)
            if lead.min() < 0.0 < lead.max():
                ax.contour(
                    *shown, lead, [0.0], colors=[group_color(a)], linewidths=0.5 * widths[a]
                )
