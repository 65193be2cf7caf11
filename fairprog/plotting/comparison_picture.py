"""Pictures and pages of a comparison: the held-out gap first, whatever was optimised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fairprog.comparison import Comparison
from fairprog.comparison.comparison_words import cards, cells, findings_of, legend, titles
from fairprog.comparison.methods import NOTHING
from fairprog.evidence.words import certificate_words
from fairprog.plotting.html import Markup, data_table, join, paragraphs, tag
from fairprog.plotting.html_page import (
    captioned,
    card_facts,
    fact_list,
    notebook_part,
    verdict,
    warning_list,
    whole_page,
)
from fairprog.plotting.style import group_color, new_axes, style
from fairprog.solution import Solution


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


def _figure(found: Comparison) -> Markup:
    fig, _ = plot_comparison(found)
    text = (
        "The gap between groups at the worst threshold, on rows held out, with standard errors. "
        "Hollow: methods that decide at one threshold, by the gap there. Orange: more than "
        "nothing."
    )
    return tag("div", captioned(fig, "Methods compared", text), class_="wide")


def _table(found: Comparison) -> Markup:
    rows = [(name, *cells(found, name)) for name in found.values]
    return data_table("Means over the splits ± standard errors", ("method", *titles(found)), rows)


def _parts(found: Comparison) -> Markup:
    return join([_figure(found), _table(found), paragraphs([legend(found)])])


def _best(found: Comparison) -> str:
    from fairprog.comparison.result import choose

    return choose([found])


def comparison_html(found: Comparison, title: str | None = None) -> str:
    """Return a comparison as one HTML page that loads nothing."""
    best = _best(found)
    lead = tag("p", _lead(best), class_="lead")
    sections = [
        ("warnings", "Read this first", warning_list(findings_of(found))),
        ("methods", "Methods on rows held out", _parts(found)),
    ]
    name = "fairprog comparison" if title is None else title
    return whole_page(name, [lead, fact_list(card_facts(cards(found, best)))], sections)


def comparison_notebook_html(found: Comparison) -> str:
    """Return a comparison for a notebook."""
    said = findings_of(found)
    parts = [
        tag("p", tag("b", _lead(_best(found)))),
        warning_list(said) if said else "",
        _figure(found),
        _table(found),
    ]
    return notebook_part(*parts)


def _lead(best: str) -> str:
    if best == NOTHING:
        return "No method lowers the held-out gap beyond chance at a loss of at most .01."
    return f"On these splits {best!r} lowers the held-out gap most, at a loss of at most .01."


def fit_html(
    found: Mapping[str, Comparison],
    best: str,
    warnings: Sequence[str],
    columns: Sequence[str],
    solution: Solution | None,
    title: str,
) -> str:
    """Return the report of ``fairprog fit``: held-out figures first, the optimisation last.

    Parameters
    ----------
    found : dict of learner to Comparison
    best : str
        The method whose step was written.
    warnings : sequence of str
    columns : sequence of str
        The numbers that are moved.
    solution : Solution, optional
    title : str
    """
    shown = [card for name, c in found.items() for card in cards(c, best, name)]
    facts = card_facts(shown)
    proof: list[object] = [paragraphs(["The step rests on no optimisation of its own."])]
    if solution is not None:
        ok = solution.certificate.ok
        facts.append(("The optimisation", verdict(ok), "this says nothing about your rows"))
        proof = [paragraphs(certificate_words(solution.certificate))]
    sections = [
        ("warnings", "Read this first", warning_list(warnings)),
        *(
            (f"learner-{k}", f"{name[0].upper()}{name[1:]} on rows held out", _parts(c))
            for k, (name, c) in enumerate(found.items())
        ),
        ("certificate", "The optimisation", join(proof)),
        ("columns", "Columns that are moved", tag("p", ", ".join(columns))),
    ]
    lead = tag(
        "p", f"Method: {best}, fitted to all rows; measured on rows held out.", class_="lead"
    )
    return whole_page(title, [lead, fact_list(facts)], sections)
