"""A finite population, and one before and after reweighting."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fairprog.plotting.style import (
    MARKERS,
    class_line,
    figure_of,
    group_color,
    legend_columns,
    new_axes,
    short,
    style,
)
from fairprog.populations import Categorical
from fairprog.solution import Solution

FEW = 25  # atoms that are marked and named
ABREAST = 36  # letters that find room below an axis


def draw_atoms(ax: Axes, D: Categorical) -> None:
    """Draw P(X=x, Y=i | A=a) of every cell of a finite population over its atoms."""
    few = D.n_atoms <= FEW
    for a, group in enumerate(D.groups):
        for i, label in enumerate(D.classes):
            ax.plot(
                range(D.n_atoms),
                D.joint[:, i, a] / D.group_mass[a],
                color=group_color(a),
                linestyle=class_line(i),
                marker=MARKERS[i % len(MARKERS)] if few else None,
                # equal laws cover each other after steering: sizes keep them visible
                markersize=7.0 - 2.0 * (a % 3),
                label=f"group {short(group, 30)}, class {short(label, 30)}",
            )
    ax.set(xlabel="atom x", ylabel="P(X=x, Y=y | group)")
    if few:
        names = [short(v, 16) for v in D.values]
        ax.set_xticks(range(D.n_atoms), names)
        if D.n_atoms * max(map(len, names)) > ABREAST:
            plt.setp(ax.get_xticklabels(), rotation=45, ha="right", rotation_mode="anchor")


def _legend(fig: Figure, axes: Axes, below: bool) -> None:
    """Name the cells, below the axes of our own figures: lines run everywhere inside."""
    handles, labels = axes.get_legend_handles_labels()
    if below:
        columns = legend_columns(labels, fig.get_figwidth())
        fig.legend(handles, labels, loc="outside lower center", ncols=columns)
    else:
        axes.legend()


def plot_atoms(population: Categorical, ax: Axes | None = None) -> tuple[Figure, Axes]:
    """Draw every cell of a finite population over its atoms.

    Parameters
    ----------
    population : Categorical

    Examples
    --------
    >>> import fairprog as fp
    >>> D = fp.Categorical([[[.3, .1], [.1, .1]], [[.1, .1], [.1, .1]]], groups=["a", "b"])
    >>> fig, ax = D.plot()
    >>> len(ax.lines)
    4
    """
    with style():
        fig, axes = new_axes(ax, (4.2, 3.8))
        draw_atoms(axes, population)
        _legend(fig, axes, below=ax is None)
    return fig, axes


def plot_weights(
    sol: Solution, ax: Sequence[Axes] | None = None
) -> tuple[Figure, tuple[Axes, Axes]]:
    """Draw P(X=x, Y=i | A=a) of every cell over the atoms, before and after steering.

    Parameters
    ----------
    sol : Solution
        Of a `Categorical` population.
    ax : two Axes, optional
        Default: a new figure.

    Examples
    --------
    >>> import fairprog as fp
    >>> D = fp.Categorical([[[.3, .1], [.1, .1]], [[.1, .1], [.1, .1]]], groups=["a", "b"])
    >>> fig, (before, after) = fp.NearestIdeal(D).solve().plot()
    >>> len(after.lines)
    4
    """
    with style():
        panels = ax
        if panels is None:
            panels = plt.subplots(1, 2, figsize=(7.2, 3.8), sharey=True, layout="constrained")[1]
        before, after = panels
        fig = figure_of(before)
        for panel, D, title in (
            (before, sol.original, "original"),
            (after, sol.population, f"steered, KL {sol.kl:.3g} nats"),
        ):
            draw_atoms(panel, D)
            panel.set_title(title)
        after.set_ylabel("")
        _legend(fig, before, below=ax is None)
    return fig, (before, after)
