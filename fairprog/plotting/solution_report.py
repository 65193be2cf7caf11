"""The report of a solution: which figures and tables, in which order."""

from __future__ import annotations

from collections.abc import Mapping

from fairprog.evidence.movement import population_movement
from fairprog.evidence.rows import Card, Evidence
from fairprog.evidence.words import (
    GREW,
    grown_gaps,
    headline,
    scope_words,
    settings_rows,
    unlike_rows,
    warnings_of,
)
from fairprog.labels import Array
from fairprog.plotting.html import Markup, join
from fairprog.plotting.html_page import card_facts, panels, verdict
from fairprog.plotting.report import Draw, Report, settings_section
from fairprog.plotting.report_gaps import gaps_section, rows_section, threshold_gaps, zero
from fairprog.plotting.report_movement import movement_section
from fairprog.plotting.report_populations import legend, population_panels, populations_section
from fairprog.plotting.report_proof import (
    bounds_section,
    certificate_section,
    price_picture,
    prices_section,
    sure_section,
)
from fairprog.populations import Evaluation
from fairprog.solution import Solution
from fairprog.tables import EqualizedOdds

SAMPLES = 2**12  # where rates have no closed form


def solution_report(sol: Solution, evidence: Evidence | None = None) -> Report:
    """Return the report of a nearest ideal population.

    Parameters
    ----------
    sol : Solution
    evidence : Evidence, optional
        Figures measured on rows; default: those of the populations alone.
    """
    found = Evidence() if evidence is None else evidence
    before, after = (P.evaluate(n_samples=SAMPLES) for P in (sol.original, sol.population))
    movement = found.movement
    if movement is None and sol.moves_rows and evidence is not None:
        movement = population_movement(sol)
    thresholds = threshold_gaps(sol)
    warnings = [
        *unlike_rows(before.error, found.error),
        *found.remarks,
        *grown_gaps(before, after),
        *warnings_of(sol, movement, found.curves, found.ranks, bool(found.cards)),
    ]
    sections: list[tuple[str, str, Draw]] = [
        ("populations", "Populations before and after",
         lambda: populations_section(sol, movement)),
        ("gaps", "Gaps between groups", lambda: gaps_section(sol, before, after, thresholds)),
        ("rows", "Gaps on rows", lambda: rows_section(found)),
        ("prices", "What fairness costs", lambda: prices_section(sol)),
        ("bounds", "What it says about the original population", lambda: bounds_section(sol)),
        ("certificate", "Why you can trust this", lambda: certificate_section(sol)),
        ("settings", "Settings and versions", lambda: settings_section(settings_rows(sol))),
    ]  # fmt: skip
    if sol.inferred is not None:
        sections.insert(4, ("sure", "How sure", lambda: sure_section(sol.inferred)))
    if movement is not None:
        moved = movement
        who = ("movement", "Who moves how far", lambda: movement_section(moved, found.ranks))
        sections.insert(3, who)
    facts = _facts(sol, before, after, thresholds, found)
    return Report(headline(sol) + ".", sections, [lambda: _short(sol)], facts, warnings)


def _short(sol: Solution) -> Markup:
    prices = [price_picture(sol)] if sol.price or sol.sensitivity else []
    return join([legend(sol.original), panels(*population_panels(sol), *prices)])


def _facts(
    sol: Solution,
    before: Evaluation,
    after: Evaluation,
    thresholds: Mapping[str, tuple[Array, Array, Array]],
    found: Evidence,
) -> list[tuple[str, object, str]]:
    cert = sol.certificate
    facts = card_facts(found.cards)
    for curve in () if found.cards else found.curves[:1]:
        first, second = (list(curve.worst.values()) * 2)[:2]
        note = f"each ±{curve.half_width:.3f}; {curve.title}"
        grew = second > first + GREW
        facts += card_facts([Card("Gap on rows, worst threshold", first, second, grew, note)])
    scope = scope_words(cert, "local optimum")
    rows = "; this says nothing about your rows" if facts else ""
    facts += [
        ("The optimisation", verdict(cert.ok), scope + rows),
        ("KL divergence", f"{sol.kl:.4g} nats", "of the steered from the original population"),
        (
            "Bayes error of the populations",
            f"{before.error:.4f} → {after.error:.4f}",
            "before → after, 0-1 cost",
        ),
    ]
    if thresholds:
        worst = [max(float(curves[k].max()) for curves in thresholds.values()) for k in (1, 2)]
        facts.append(
            (
                "Largest gap, all thresholds",
                f"{worst[0]:.4f} → {zero(worst[1]):.4f}",
                "of the populations, any notion",
            )
        )
    else:
        gaps = [e.gap(EqualizedOdds()) for e in (before, after)]
        facts.append(
            (
                "Equalized odds gap",
                f"{gaps[0]:.4f} → {zero(gaps[1]):.4f}",
                "of the populations, 0-1 cost",
            )
        )
    return facts
