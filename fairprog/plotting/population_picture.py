"""A population: its cells and its Bayes rule."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fairprog.plotting.cells_picture import cells_legend, draw_cells, frame_of, legend_handles
from fairprog.plotting.style import new_axes, style


def plot_population(population: Any, ax: Axes | None = None) -> tuple[Figure, Axes]:
    """Draw every cell of a population with the 0-1 Bayes rule of each group.

    One feature: base rates times densities; curves of one group cross where its rule changes
    its mind, and the bands below the axis show what it predicts. Two features: the ellipse that
    holds half of each cell, and thin lines where the rule of a group changes. More: ellipses in
    the plane of the two leading discriminant directions, without rules. Densities are per unit
    of the family's own coordinates (log x, ...) and the axis is spaced by them, in the user's
    units, which keeps areas and crossings true.

    Parameters
    ----------
    population : Population
        One feature: any family. Several: Normal or LogNormal, perhaps seen through a bijection
        (drawn in the coordinates of the base).

    Examples
    --------
    >>> import fairprog as fp
    >>> D = fp.Normal([[.3, .2], [.3, .2]], [[0., 1.], [2., 2.]], std=[[1., 1.], [1., 2.]])
    >>> fig, ax = D.plot()
    >>> ax.get_ylabel()
    'base rate × density (per unit of x)'
    """
    with style():
        fig, axes = new_axes(ax, (4.2, 3.5 + 0.15 * max(0, population.n_groups - 2)))
        draw_cells(axes, population, frame_of([population]))
        handles = legend_handles(population)
        cells_legend(fig, axes, handles, below=ax is None)
    return fig, axes
