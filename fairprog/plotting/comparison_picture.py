"""Pictures and pages of a comparison: the held-out gap first, whatever was optimised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fairprog.comparison import Comparison
from fairprog.comparison.comparison_words import (
    cards,
    cells,
    findings_of,
    gap_words,
    legend,
    titles,
)
from fairprog.comparison.methods import NOTHING
from fairprog.comparison.result import choose
from fairprog.evidence.words import certificate_words, verified_words
from fairprog.plotting.html import Markup, data_table, join, paragraphs, tag
from fairprog.plotting.html_page import captioned, card_facts, verdict
from fairprog.plotting.report import Draw, Report
from fairprog.plotting.style import group_color, new_axes, style
from fairprog.solution import ScoreSolution, Solution


def plot_comparison(found: Comparison, *, ax: Axes | None = None) -> tuple[Figure, Axes]:
    """Draw the worst gap of every method with its standard error, and its score beside it.

    Methods that decide at one threshold only are drawn by the gap there, hollow. Dotted: the gap
    by chance.

    Parameters
    ----------
    found : Comparison
    ax : Axes, optional
    """
    names = list(found.values)
    with style():
        fig, axes = new_axes(ax, (4.2, 0.8 + 0.42 * len(names)))
        for k, name in enumerate(names):
            single = np.isnan(found.mean(name, "worst gap")[0])
            figure = "gap" if single else "worst gap"
            x, error = found.mean(name, figure)
            rise = found.change(name, figure)[0]
            color = "0.4" if name == NOTHING else group_color(1 if rise > 0 else 0)
            axes.errorbar(
                x, -k, xerr=np.nan_to_num(error), color=color, marker="o", markersize=5,
                markerfacecolor="white" if single else color,
            )  # fmt: skip
            score, its = found.mean(name, "score")
            off = "" if np.isnan(its) else f" ±{its:.3f}"
            axes.annotate(
                f"{name}: {found.scoring} {score:.3f}{off}",
                (0.0, -k), xycoords=("axes fraction", "data"), xytext=(0, 8),
                textcoords="offset points", va="center", fontsize=8, color="0.4",
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
            )  # fmt: skip
        chance = found.mean(NOTHING, "chance")[0]
        if not np.isnan(chance):
            axes.axvline(chance, color="0.4", linewidth=1.0, linestyle=":")
            axes.annotate(
                "by chance", (chance, 1.0), xycoords=("data", "axes fraction"), xytext=(0, 2),
                textcoords="offset points", ha="center", fontsize=8, color="0.4",
            )  # fmt: skip
        axes.set_xlim(left=0.0)
        axes.set_ylim(-len(names) + 0.4, 0.7)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(f"gap at the worst threshold ({found.notion.name.replace('_', ' ')})")
        axes.grid(False, axis="y")
    return fig, axes


def comparison_report(found: Comparison) -> Report:
    """Return the report of a comparison."""
    best = choose([found])
    if best == NOTHING:
        lead = (
            "No method lowers a held-out gap that is beyond chance by more than one standard "
            "error at a loss of at most 0.01."
        )
    else:
        lead = (
            f"On these splits {best!r} lowers the held-out gap most, at a loss of at most 0.01: "
            f"{gap_words(found, partial(found.change, best))}."
        )
    return Report(
        lead,
        [("methods", "Methods on rows held out", lambda: _methods(found))],
        [lambda: _methods(found)],
        card_facts(cards(found, best)),
        findings_of(found),
        "fairprog comparison",
    )


def _methods(found: Comparison) -> Markup:
    fig, _ = plot_comparison(found)
    text = (
        "The gap between groups at the worst threshold, on rows held out, with standard errors. "
        "Hollow: methods that decide at one threshold, by the gap there. Orange: more than "
        "nothing."
    )
    figure = tag("div", captioned(fig, "Methods compared", text), class_="wide")
    rows = [(name, *cells(found, name)) for name in found.values]
    table = data_table("Means over the splits ± standard errors", ("method", *titles(found)), rows)
    return join([figure, table, paragraphs([legend(found)])])


def fit_report(
    found: Mapping[str, Comparison],
    best: str,
    warnings: Sequence[str],
    columns: Sequence[str],
    solution: Solution | ScoreSolution | None,
    written: bool = True,
) -> Report:
    """Return the report of ``fairprog fit``: held-out figures first, the optimisation last.

    Parameters
    ----------
    found : dict of learner to Comparison
    best : str
        The method whose step was written.
    warnings : sequence of str
    columns : sequence of str
        The numbers that are moved.
    solution : Solution or ScoreSolution, optional
        What the step rests on.
    written : bool
        Whether there is a step; else held-out figures are all there is.
    """
    facts = card_facts([card for name, c in found.items() for card in cards(c, best, name)])
    proof = ["The step rests on no optimisation of its own."]
    if solution is not None:
        ok = solution.certificate.ok
        facts.append(("The optimisation", verdict(ok), "this says nothing about your rows"))
        proof = [verified_words(solution.certificate)]
        if isinstance(solution, Solution):
            proof = certificate_words(solution.certificate)
    sections: list[tuple[str, str, Draw]] = [
        (f"learner-{k}", f"{name[0].upper()}{name[1:]} on rows held out", partial(_methods, c))
        for k, (name, c) in enumerate(found.items())
    ]
    lead = "No step was written: the rows say no. Measured on rows held out."
    if written:
        gaps = [f"{name}: {gap_words(c, partial(c.change, best))}" for name, c in found.items()]
        lead = f"Method: {best}, fitted to all rows. On rows held out, {'; '.join(gaps)}."
        sections.append(("certificate", "The optimisation", lambda: paragraphs(proof)))
    heading = "Columns that are moved" if written else "Columns that would be moved"
    sections.append(("columns", heading, lambda: tag("p", ", ".join(columns))))
    return Report(lead, sections, [], facts, warnings)
