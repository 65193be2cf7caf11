"""A solution with nonlinear maps: what they do to the densities, and the maps themselves."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.special import ndtr

from fairprog.plotting.style import class_line, figure_of, group_color, style
from fairprog.solution import Solution
from fairprog.transports import PiecewiseLinearMap


def plot_maps(sol: Solution, ax: Sequence[Axes] | None = None) -> tuple[Figure, tuple[Axes, ...]]:
    """Draw the steered groups' densities (original ones thin and grey), and their maps.

    Parameters
    ----------
    sol : Solution
        Of ``NearestIdeal(..., transport=PiecewiseLinear())``.
    ax : sequence of two Axes, optional
        Default: a new figure.
    """
    D, E = sol.original.core, sol.population.core
    where = sol.original.coordinate
    maps = {a: T for a, T in enumerate(sol.affine.values()) if isinstance(T, PiecewiseLinearMap)}
    steered = list(maps)
    with style():
        if ax is None:
            ax = plt.subplots(1, 2, figsize=(7.0, 3.2), layout="constrained")[1]
        left, right = ax
        fig = figure_of(left)
        mean, std = D.location[..., 0], np.sqrt(D.cov[..., 0, 0])
        centers = np.append(E.mean[:, steered], mean[:, steered])
        reach = 3.5 * np.append(E.std[:, steered], std[:, steered])
        edges = np.linspace(float((centers - reach).min()), float((centers + reach).max()), 600)
        middle, width = 0.5 * (edges[1:] + edges[:-1]), np.diff(edges)
        r = D.groups.index(sol.settings["reference"])
        for a, T in maps.items():
            back = T.inverse()(edges)
            for i, c in enumerate(D.classes):
                before = np.diff(ndtr((edges - mean[i, a]) / std[i, a])) / width
                after = np.diff(ndtr((back - mean[i, r]) / std[i, r])) / width
                rates = D.base_rates[i, a], E.base_rates[i, a]
                left.plot(middle, rates[0] * before, color="0.6", lw=0.8, ls=class_line(i))
                left.plot(
                    middle,
                    rates[1] * after,
                    color=group_color(a),
                    linestyle=class_line(i),
                    label=f"group {D.groups[a]}, class {c}",
                )
            low, high = (mean[:, r] - 3.2 * std[:, r]).min(), (mean[:, r] + 3.2 * std[:, r]).max()
            x = np.union1d(np.linspace(low, high, 200), T.knots)
            right.plot(x, T(x), color=group_color(a), label=f"group {D.groups[a]}")
            right.plot(T.knots, T.values, ".", color=group_color(a), markersize=3)
        units = "feature x (units of the data)" if where == "x" else f"{where}, x the feature"
        left.set_xlabel(units)
        left.set_ylabel(f"base rate × density (per unit of {where})")
        left.set_title(f"steered; grey: before. KL = {sol.kl:.3g} nats")
        left.legend()
        reference, unit = sol.settings["reference"], "units of x" if where == "x" else where
        right.set_xlabel(f"common coordinates (group {reference}, {unit})")
        right.set_ylabel(f"steered feature ({unit})")
        right.set_title("maps and their knots")
        right.legend()
    return fig, (left, right)
