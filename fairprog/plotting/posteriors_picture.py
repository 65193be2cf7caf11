"""The picture of a nearest fair population: posteriors before and after."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fairprog.plotting.style import figure_of, group_color, short, style
from fairprog.plotting.weights import plot_weights
from fairprog.solution.nearest_fair import NearestFairSolution


def plot_posteriors(
    sol: NearestFairSolution, ax: Sequence[Axes] | None = None
) -> tuple[Figure, tuple[Axes, Axes]]:
    """Draw the groups' laws of the posterior before and after, and where posteriors go.

    Of more than two classes: the masses of the cells before and after.

    Parameters
    ----------
    sol : NearestFairSolution
    ax : two Axes, optional
        Default: a new figure.

    Examples
    --------
    >>> import fairprog as fp
    >>> D = fp.Categorical.from_scores([.2, .4, .7, .3, .6, .8], sensitive_features=list("aaabbb"))
    >>> fig, (laws, moves) = fp.NearestFair(D, .5).solve().plot()
    >>> laws.get_ylabel(), moves.get_xlabel()
    ('share above', 'posterior before')
    """
    D = sol.original
    if D.n_classes != 2:
        return plot_weights(sol, ax)
    with style():
        panels = ax
        if panels is None:
            panels = plt.subplots(1, 2, figsize=(7.2, 3.2), layout="constrained")[1]
        laws, moves = panels
        fig = figure_of(laws)
        for a, group in enumerate(D.groups):
            for E, dash, name in ((D, ":", "before"), (sol.population, "-", "after")):
                own = E.support.group == a
                x, w = E.support.score[own], E.support.weight[own]
                order = np.argsort(x)
                above = 1.0 - np.cumsum(w[order]) / w.sum()
                laws.step(
                    np.concatenate([[0.0], x[order], [1.0]]),
                    np.concatenate([[1.0], above, [0.0]]),
                    where="post", color=group_color(a), linestyle=dash,
                    label=f"{short(group, 16)}, {name}",
                )  # fmt: skip
            own = D.support.group == a
            order = np.argsort(D.support.score[own])
            x, y = D.support.score[own][order], sol.moved_posterior[own, 1][order]
            moves.plot(x, y, color=group_color(a), label=short(group, 16))
        moves.plot([0, 1], [0, 1], color="0.6", linewidth=0.8, zorder=0)
        given = sol.settings["thresholds"]
        for t in () if given == "all" else given[:12]:
            for panel, draw in ((laws, laws.axvline), (moves, moves.axhline)):
                draw(t, color="0.4", linewidth=0.8, linestyle="--")
                panel.set(xlim=(0, 1), ylim=(0, 1))
        laws.set(xlabel="threshold on P(Y=1 | x, group)", ylabel="share above", xlim=(0, 1))
        moves.set(xlabel="posterior before", ylabel="posterior after", xlim=(0, 1), ylim=(0, 1))
        laws.set_title(f"KL {sol.kl:.3g} nats")
        laws.legend()
        moves.legend()
    return fig, (laws, moves)
