"""The report of a fair score: whom it levels down, what it costs, the proof."""

from __future__ import annotations

from fairprog.evidence.score_summary import ADVICE, levelling
from fairprog.plotting.html import Markup, data_table, join
from fairprog.plotting.html_page import panel, panels, verdict
from fairprog.plotting.report import Report, proof_section
from fairprog.plotting.score_picture import plot_score, plot_score_price
from fairprog.solution.score_solution import ScoreSolution

PROOF = "Recomputed from the channels and every atom; the dual value bounds all fair rules."


def score_report(sol: ScoreSolution) -> Report:
    """Return the report of a fair score."""
    return Report(
        f"One score for {len(sol.groups)} groups under {sol.notion!r}: worst gap {sol.gap:.4g} "
        "over all thresholds of the population it was fitted to.",
        [
            ("groups", "What becomes of the groups", lambda: _groups(sol)),
            ("certificate", "Why you can trust this", lambda: proof_section(
                sol.certificate, [PROOF]
            )),
        ],
        [lambda: _groups(sol)],
        _facts(sol),
        _warnings(sol),
    )  # fmt: skip


def _facts(sol: ScoreSolution) -> list[tuple[str, object, str]]:
    name, price = next(iter(sol.price.items()))
    return [
        ("Worst gap", f"{sol.gap:.4g}", f"over all thresholds; bound {sol.notion.bound:g}"),
        ("Risk", f"{sol.risk:.4g}", "mean cost over thresholds"),
        ("Price", f"{price:.4g}", f"risk per unit of the bound of {name}"),
        ("The optimisation", verdict(sol.certificate.ok), "global optimum"),
    ]


def _warnings(sol: ScoreSolution) -> list[str]:
    said = [levelling(sol), ADVICE]
    if sol.effective_rows is not None:
        said.append(
            f"The population was counted from {sol.effective_rows:,} rows: gaps of new rows "
            "differ by sampling. Measure them on rows not used here: solution.band(...)."
        )
    return said


def _groups(sol: ScoreSolution) -> Markup:
    text = "ROC hulls of the groups (dashed) and of the released score; shaded: what is given up."
    price = "What a unit of the bound is worth at every threshold; whose decisions are randomised."
    drawn = panels(
        panel(lambda ax: plot_score(sol, ax=ax), "Levelling down", text),
        panel(lambda ax: plot_score_price(sol, ax=ax), "Price and randomised decisions", price),
    )
    lots, moved = sol.lot_at(0.5), sol.movement
    rows = [
        [str(g), f"{b:.4f}", f"{a:.4f}", f"{lots[g]:.4f}", f"{moved[g]:.4f}"]
        for g, (b, a) in sol.auc.items()
    ]
    head = ["group", "AUC before", "AUC after", "randomised at 0.5", "mean change of rank"]
    return join([drawn, data_table("The groups", head, rows)])
