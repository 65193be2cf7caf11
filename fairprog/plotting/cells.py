"""One population on one axes: densities in one dimension, ellipses in more, its Bayes rule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import MaxNLocator
from scipy.linalg import eigh

from fairprog.kernels.bayes_rates import decision_regions
from fairprog.kernels.normal import pooled_covariance
from fairprog.labels import Array
from fairprog.plotting.style import MARKERS, class_line, group_color, short
from fairprog.populations import LogNormal, Normal
from fairprog.solution.held_out import log_posterior

__all__ = ["Frame", "draw_cells", "frame_of", "legend_handles"]

HALF = np.sqrt(2.0 * np.log(2.0))  # this many standard deviations hold half of a normal law in 2-d
CURVE = np.linspace(-4.5, 4.5, 181)  # standard deviations at which a density is drawn
GRID = 121  # points each way of the grid that boundaries are found on


@dataclass(frozen=True, eq=False)
class Frame:
    """What panels that show populations side by side have in common.

    Attributes
    ----------
    names : (str, str)
        Labels of the axes.
    low, high : Array, shape (1,) or (2,)
        What is shown, in normal coordinates.
    plane : Array, shape (d, 2), or None
        Directions to look along; None in one dimension.
    logarithmic : bool
        Whether axes are logarithmic, in the user's units.
    boundaries : bool
        Whether the plane is the whole space, so that decision boundaries can be drawn.
    top : float
        Height of a density panel.
    """

    names: tuple[str, str]
    low: Array
    high: Array
    plane: Array | None
    logarithmic: bool
    boundaries: bool
    top: float

    def show(self, z: Array) -> Array:
        """Return normal coordinates in the units of the axes."""
        return np.exp(z) if self.logarithmic else z


def frame_of(populations: Sequence[Normal], names: Sequence[str] | None = None) -> Frame:
    """Return limits and directions that suit all of the populations; the first one leads.

    Parameters
    ----------
    populations : sequence of Normal
    names : sequence of str, optional
        Of the features; default those of the first population.
    """
    D = populations[0]
    log = isinstance(D, LogNormal)
    if D.n_features == 1:
        means = np.stack([P.location[..., 0] for P in populations])
        stds = np.stack([np.sqrt(P.cov[..., 0, 0]) for P in populations])
        rates = np.stack([P.base_rates for P in populations])
        units = "(data units, log)" if log else "(units of the data)"
        return Frame(
            names=(
                f"{_feature(D, 0, names)} {units}",
                "base rate × density (per unit of " + ("log x)" if log else "x)"),
            ),
            low=np.array([(means - 3.2 * stds).min()]),
            high=np.array([(means + 3.2 * stds).max()]),
            plane=None,
            logarithmic=log,
            boundaries=True,
            top=1.05 * float((rates / (np.sqrt(2.0 * np.pi) * stds)).max()),
        )
    V, axes = _plane(D, names)
    centres = np.stack([P.location @ V for P in populations])
    variances = np.stack([np.einsum("dk,iade,ek->iak", V, P.cov, V) for P in populations])
    reach = 1.35 * HALF * np.sqrt(np.maximum(variances, 0.0))
    low, high = (centres - reach).min((0, 1, 2)), (centres + reach).max((0, 1, 2))
    flat = high <= low  # nothing varies along a null direction
    return Frame(
        names=axes,
        low=np.where(flat, low - 1.0, low),
        high=np.where(flat, high + 1.0, high),
        plane=V,
        logarithmic=log and D.n_features == 2,
        boundaries=D.n_features == 2 and D.null_dimension == 0,
        top=0.0,
    )


def draw_cells(ax: Axes, D: Normal, frame: Frame, *, overlay: bool = False) -> None:
    """Draw the cells of a population and its 0-1 Bayes rule.

    Parameters
    ----------
    ax : Axes
    D : Normal
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


def legend_handles(D: Normal) -> list[Patch | Line2D]:
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


def _feature(D: Normal, k: int, names: Sequence[str] | None) -> str:
    known = names or D.feature_names
    if known is not None:
        return short(known[k])
    return "feature x" if D.n_features == 1 else f"feature {k + 1}"


# -- one feature --


def _draw_densities(
    ax: Axes, D: Normal, frame: Frame, widths: Sequence[float], overlay: bool
) -> None:
    low, high, top = float(frame.low[0]), float(frame.high[0]), frame.top
    mean, std = D.location[..., 0], np.sqrt(D.cov[..., 0, 0])
    for i in range(D.n_classes):
        for a in range(D.n_groups):
            x = np.clip(np.concatenate([[low], mean[i, a] + CURVE * std[i, a], [high]]), low, high)
            x = np.unique(x)
            z = (x - mean[i, a]) / std[i, a]
            scale = D.base_rates[i, a] / (np.sqrt(2.0 * np.pi) * std[i, a])
            height = scale * np.exp(-0.5 * z**2)
            color, depth = group_color(a), 0.22 * i / max(D.n_classes - 1, 1)
            ax.plot(
                frame.show(x), height, color=color, linestyle=class_line(i), linewidth=widths[a]
            )
            if depth > 0 and not (overlay and a):
                ax.fill_between(frame.show(x), height, color=color, alpha=depth, linewidth=0)
    _draw_regions(ax, D, mean, std, (low, high), top, frame.show)
    if frame.logarithmic:
        ax.set_xscale("log")
    ax.set_xlim(*frame.show(np.array([low, high])))


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
    ax.axhline(0.0, color="0.4", linewidth=0.8)
    ax.set_yticks(ticks, labels)
    ax.set_ylim(-(D.n_groups + 0.4) * 1.25 * height, top)
    ax.grid(False)


# -- several features --


def _plane(D: Normal, given: Sequence[str] | None) -> tuple[Array, tuple[str, str]]:
    """Return two directions (d, 2) to look along, and the labels of the axes."""
    if D.n_features == 2:
        names = [f"{_feature(D, k, given)} (units of the data)" for k in (0, 1)]
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


def _draw_ellipses(
    ax: Axes, D: Normal, frame: Frame, widths: Sequence[float], overlay: bool
) -> None:
    V = frame.plane
    assert V is not None
    angle = np.linspace(0.0, 2.0 * np.pi, 121)
    circle = HALF * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    for i in range(D.n_classes):
        for a in range(D.n_groups):
            values, vectors = np.linalg.eigh(V.T @ D.cov[i, a] @ V)
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
    if frame.logarithmic:
        ax.set(xscale="log", yscale="log")
    limits = [frame.show(np.array([a, b])) for a, b in zip(frame.low, frame.high, strict=True)]
    ax.set_xlim(*limits[0])
    ax.set_ylim(*limits[1])


def _draw_boundaries(ax: Axes, D: Normal, frame: Frame, widths: Sequence[float]) -> None:
    """Draw where each group's 0-1 Bayes rule changes its mind: the class odds are even."""
    sides = [np.linspace(a, b, GRID) for a, b in zip(frame.low, frame.high, strict=True)]
    points = np.stack(np.meshgrid(*sides), axis=-1).reshape(-1, 2) @ D.support_basis
    shown = [frame.show(s) for s in sides]
    for a in range(D.n_groups):
        scores = log_posterior(D, points, np.full(len(points), a))
        for i in range(1 if D.n_classes == 2 else 0, D.n_classes):
            rival = np.delete(scores, i, axis=1).max(axis=1)
            lead = (scores[:, i] - rival).reshape(GRID, GRID)
            if lead.min() < 0.0 < lead.max():
                ax.contour(
                    *shown, lead, [0.0], colors=[group_color(a)], linewidths=0.5 * widths[a]
                )
