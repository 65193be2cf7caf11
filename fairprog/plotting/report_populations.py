"""The populations of a report: cells before, after and in common coordinates, with a legend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.lines import Line2D

from fairprog.evidence.movement import Movement
from fairprog.plotting.cells_picture import draw_cells, frame_of, legend_handles
from fairprog.plotting.html import Markup, join, paragraphs, tag
from fairprog.plotting.html_page import PANEL, panel, panels
from fairprog.plotting.style import MARKERS, class_line, group_color, style
from fairprog.plotting.svg import figure_svg, variable_of
from fairprog.plotting.weights import draw_atoms
from fairprog.solution import Solution


def populations_section(sol: Solution, movement: Movement | None) -> Markup:
    """Return pictures of the populations with what they show."""
    said = _population_words(sol)
    names = None
    if movement is not None and len(movement.features) == sol.original.n_features:
        names = movement.features
    pictures = panels(*population_panels(sol, names))
    return join([legend(sol.original), paragraphs(said), pictures])


def population_panels(sol: Solution, names: Sequence[str] | None = None) -> list[Markup]:
    """Return the figures before, after, and in common coordinates, on the same axes."""
    if not sol.moves_rows:
        both = {"Before": sol.original, "After": sol.population}
        return [
            panel(lambda ax, P=P: draw_atoms(ax, P), name, f"The {what} population.")  # type: ignore[misc]
            for (name, P), what in zip(both.items(), ("original", "steered"), strict=True)
        ]
    D, common = sol.original, sol.aligned
    populations = {
        "Before": (D, "The original population."),
        "After": (sol.population, f"The steered population, {sol.kl:.3g} nats away."),
        "In common coordinates": (common, _common_words(sol)),
    }
    frame = frame_of([P for P, _ in populations.values()], names)
    extra = 0.0 if frame.plane is not None else 0.16 * max(0, D.n_groups - 2)
    return [
        panel(
            lambda ax, P=P: draw_cells(  # type: ignore[misc]
                ax, P, frame, overlay=P is common and not sol.settings["map_bound"]
            ),
            name,
            text,
            (PANEL[0], PANEL[1] + extra),
        )
        for name, (P, text) in populations.items()
    ]


def _population_words(sol: Solution) -> list[str]:
    D = sol.original
    if not sol.moves_rows:
        return [
            "Each line is a class of a group: the probability, within the group, of every value "
            "(atom) together with that class. Steering changes weights, not values."
        ]
    if D.n_features == 1:
        per_unit = (
            ""
            if D.coordinate == "x"
            else f" Densities are per unit of {D.coordinate}, and the axis is spaced by it."
        )
        return [
            "Each curve is a class of a group: its base rate times its density. Where the curves "
            "of a group cross, its Bayes rule for 0-1 cost changes its mind; the bands below show "
            f"what that rule predicts.{per_unit}"
        ]
    text = "Each ellipse holds half of a class of a group; its centre is marked."
    if D.core is not D:
        text += f" Cells are drawn as {D.coordinate}, feature by feature: there they are normal."
    if D.n_features == 2 and not D.null_dimension:
        return [f"{text} Thin lines: where the Bayes rule of a group changes its mind (0-1 cost)."]
    return [
        f"{text} The plane is the one in which the cells of the original population differ most "
        "(discriminant directions)."
    ]


def _common_words(sol: Solution) -> str:
    if sol.settings["map_bound"]:
        return "Each group taken back by its map; a map_bound leaves them apart."
    return "Each group taken back by its map: they coincide, drawn one upon the other."


def legend(D: Any) -> Markup:
    """Return the legend: colours of groups, lines and markers of classes."""
    items: list[Markup] = []
    for handle in legend_handles(D):
        label = str(handle.get_label())
        if isinstance(handle, Line2D):
            i = len(items) - D.n_groups
            sample, label = _line_sample(i, D.n_features > 1), f"class {D.classes[i]}"
        else:
            color = variable_of(group_color(len(items)))
            sample = Markup(
                '<svg viewBox="0 0 32 12" aria-hidden="true">'
                f'<rect x="4" width="24" height="12" style="fill: {color}"/></svg>'
            )
            label = f"group {D.groups[len(items)]}"
        items.append(tag("li", sample, tag("span", label)))
    return tag("ul", *items, class_="legend")


def _line_sample(i: int, marked: bool) -> Markup:
    """Return a short line as class i is drawn, with its marker."""
    with style():
        fig = plt.figure(figsize=(32 / 72, 12 / 72))
        ax = fig.add_axes((0, 0, 1, 1))
        ax.plot(
            [0, 0.5, 1],
            [0, 0, 0],
            color="black",
            linestyle=class_line(i),
            marker=MARKERS[i % len(MARKERS)] if marked else None,
            markevery=[1],
            markersize=5,
        )
        ax.set_axis_off()
    svg = figure_svg(fig, f"line of class {i}", "sample")
    start = svg.index("</desc>") + len("</desc>")  # the text beside it says what it is
    return Markup('<svg viewBox="0 0 32 12" aria-hidden="true">' + svg[start:])
