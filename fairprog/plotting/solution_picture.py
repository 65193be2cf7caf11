"""A solution: the population before, after, and in common coordinates."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fairprog.errors import DataError
from fairprog.plotting.cells_picture import (
    cells_legend,
    crowded,
    draw_cells,
    frame_of,
    legend_handles,
)
from fairprog.plotting.maps_picture import plot_maps
from fairprog.plotting.style import figure_of, style
from fairprog.populations import Pushforward
from fairprog.solution import Solution

LONG = 28  # characters of a title that fit above one panel


def plot_solution(
    sol: Solution, ax: Sequence[Axes] | None = None
) -> tuple[Figure, tuple[Axes, ...]]:
    """Draw every cell of the population before and after steering, with its Bayes rules.

    One feature: the densities of the cells times their base rates, so that curves of one group
    cross where its 0-1 Bayes rule changes its mind; the bands below the axis show what that rule
    predicts. More than six curves are drawn group by group. Two features: the ellipse that holds
    half of each cell, and thin lines where the rule of a group changes its mind. More: ellipses in
    the plane of the two leading discriminant directions of the original population's cells, in
    units of the pooled standard deviation. With more than one feature a third panel shows the
    steered population in common coordinates, where all groups coincide (each is drawn thinner than
    the one before). Log-normal populations are drawn on logarithmic axes in the user's units
    (their densities per unit of log x, which keeps areas and crossings true). Of nonlinear maps:
    see :func:`~fairprog.plotting.plot_maps`.

    Parameters
    ----------
    sol : Solution
    ax : two or three Axes, optional
        Before, after, and (if three are given) in common coordinates. Default: a new figure, of
        two panels for one feature and three for more, with a legend below.

    Examples
    --------
    >>> import fairprog as fp
    >>> D = fp.Normal([[.3, .2], [.3, .2]], [[0., 1.], [2., 2.]], std=[[1., 1.], [1., 2.]],
    ...               groups=["a", "b"])
    >>> fig, (before, after) = fp.NearestIdeal(D, steer=["b"]).solve().plot()
    >>> before.get_xlabel()
    'feature x (units of the data)'
    """
    if isinstance(sol.population.core, Pushforward):
        return plot_maps(sol, ax=ax)
    panels = _given_axes(ax)
    D = sol.original
    number = len(panels) if panels else 3 if D.n_features > 1 else 2
    populations = [D, sol.population, sol.aligned][:number]
    with style():
        if panels is None:
            more = max(0, D.n_groups - 2)
            tall = 0.9 * more if crowded(D) else 0.0 if D.n_features > 1 else 0.22 * more
            fig, array = plt.subplots(
                1,
                number,
                figsize=(3.5 * number - 0.8 * (number == 3), 3.3 + tall),
                sharex=True,
                sharey=True,
                layout="constrained",
            )
            panels = tuple(array)
        else:
            fig = figure_of(panels[0])
        frame = frame_of(populations)
        titles = ("before", f"after steering {_who(sol)}\nKL = {sol.kl:.3g} nats", _common(sol))
        for k, (axes, P, title) in enumerate(zip(panels, populations, titles, strict=False)):
            draw_cells(axes, P, frame, overlay=k == 2 and not sol.settings["map_bound"])
            axes.set_title(title)
        handles = legend_handles(D)
        if ax is None:
            for axes in panels[1:]:
                axes.set_ylabel("")
        cells_legend(fig, panels[0], handles, below=ax is None)
    return fig, panels


def _common(sol: Solution) -> str:
    exact = not sol.settings["map_bound"]
    return "in common coordinates" + ("\n(groups coincide)" if exact else "")


def _who(sol: Solution) -> str:
    steered = sol.settings["steer"]
    if steered == "all":
        return "all groups"
    names = ", ".join(map(str, steered))
    return names if len(names) <= LONG else f"{len(steered)} of the groups"


def _given_axes(ax: Sequence[Axes] | None) -> tuple[Axes, ...] | None:
    if ax is None:
        return None
    axes = list(np.ravel(np.asarray(ax, dtype=object)))
    if len(axes) not in (2, 3) or not all(isinstance(x, Axes) for x in axes):
        raise DataError(
            "`ax` must be two matplotlib Axes (before, after) or three (and in common "
            f"coordinates); found {len(axes)} object(s).",
            argument="ax",
        )
    return tuple(axes)
