"""The HTML report of a fair score: whom it levels down, what it costs, the proof."""

from __future__ import annotations

from fairprog.evidence.score_summary import ADVICE, levelling
from fairprog.plotting.html import Markup, data_table, join, paragraphs, tag
from fairprog.plotting.html_page import (
    fact_list,
    panel,
    panels,
    stylesheet,
    verdict,
    warning_list,
    whole_page,
)
from fairprog.plotting.score_picture import plot_score, plot_score_price
from fairprog.solution.score_solution import TOLERANCE, ScoreSolution


def score_html(sol: ScoreSolution, title: str | None = None) -> str:
    """Return the whole report as one HTML page that loads nothing.

    Parameters
    ----------
    sol : ScoreSolution
    title : str, optional
        Default "fairprog report".
    """
    sections = [
        ("warnings", "Read this first", warning_list(_warnings(sol))),
        ("groups", "What becomes of the groups", join([_pictures(sol), _groups(sol)])),
        ("certificate", "Why you can trust this", _certificate(sol)),
    ]
    introduction = [tag("p", _headline(sol), class_="lead"), _facts(sol)]
    return whole_page("fairprog report" if title is None else title, introduction, sections)


def score_notebook_html(sol: ScoreSolution) -> str:
    """Return a short report for a notebook, in a style of its own that leaves theirs alone."""
    parts = [tag("p", tag("b", _headline(sol))), warning_list(_warnings(sol)), _pictures(sol)]
    return tag(
        "div", tag("style", Markup(stylesheet())), *parts, _groups(sol), class_="fairprog notebook"
    )


def _headline(sol: ScoreSolution) -> str:
    return (
        f"One score for {len(sol.groups)} groups under {sol.notion!r}: worst gap {sol.gap:.4g} "
        "over all thresholds of the population it was fitted to."
    )


def _facts(sol: ScoreSolution) -> Markup:
    name, price = next(iter(sol.price.items()))
    return fact_list([
        ("Worst gap", f"{sol.gap:.4g}", f"over all thresholds; bound {sol.notion.bound:g}"),
        ("Risk", f"{sol.risk:.4g}", "mean cost over thresholds"),
        ("Price", f"{price:.4g}", f"risk per unit of the bound of {name}"),
        ("Certificate", verdict(sol.certificate.ok), "global optimum"),
    ])  # fmt: skip


def _warnings(sol: ScoreSolution) -> list[str]:
    said = [levelling(sol), ADVICE]
    if sol.effective_rows is not None:
        said.append(
            f"The population was counted from {sol.effective_rows:,} rows: gaps of new rows "
            "differ by sampling. Measure them on rows not used here: solution.band(...)."
        )
    return said


def _pictures(sol: ScoreSolution) -> Markup:
    text = "ROC hulls of the groups (dashed) and of the released score; shaded: what is given up."
    price = "What a unit of the bound is worth at every threshold, and who is decided by lot."
    return panels(
        panel(lambda ax: plot_score(sol, ax=ax), "Levelling down", text),
        panel(lambda ax: plot_score_price(sol, ax=ax), "Price and lots", price),
    )


def _groups(sol: ScoreSolution) -> Markup:
    lots, moved = sol.lot_at(0.5), sol.movement
    rows = [
        [str(g), f"{b:.4f}", f"{a:.4f}", f"{lots[g]:.4f}", f"{moved[g]:.4f}"]
        for g, (b, a) in sol.auc.items()
    ]
    head = ["group", "AUC before", "AUC after", "by lot at .5", "mean change of rank"]
    return data_table("The groups", head, rows)


def _certificate(sol: ScoreSolution) -> Markup:
    rows = [
        [name.replace("_", " "), f"{value:.2e}", f"{TOLERANCE:.0e}", "yes" if passes else "NO"]
        for name, value, passes in sol.certificate.checks()
    ]
    said = "Recomputed from the channels and every atom; the dual value bounds all fair rules."
    table = data_table("Residuals", ["check", "residual", "tolerance", "passes"], rows)
    return join([paragraphs([said]), table])
