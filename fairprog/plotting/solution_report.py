"""The HTML report of a solution: which figures and tables, in which order."""

from __future__ import annotations

from collections.abc import Mapping

from fairprog.evidence.movement import population_movement
from fairprog.evidence.rows import Card, Evidence
from fairprog.evidence.words import (
    GREW,
    grown_gaps,
    headline,
    scope_words,
    unlike_rows,
    warnings_of,
)
from fairprog.labels import Array
from fairprog.plotting.html import Markup, tag
from fairprog.plotting.html_page import (
    card_facts,
    fact_list,
    notebook_part,
    panels,
    verdict,
    warning_list,
    whole_page,
)
from fairprog.plotting.report_gaps import gaps_section, rows_section, threshold_gaps, zero
from fairprog.plotting.report_movement import movement_section
from fairprog.plotting.report_populations import legend, population_panels, populations_section
from fairprog.plotting.report_proof import (
    bounds_section,
    certificate_section,
    price_picture,
    prices_section,
    settings_section,
    sure_section,
)
from fairprog.populations import Evaluation
from fairprog.solution import Solution
from fairprog.tables import EqualizedOdds

SAMPLES = 2**12  # where rates have no closed form


def report_html(
    sol: Solution, evidence: Evidence | None = None, *, title: str | None = None
) -> str:
    """Return the whole report as one HTML page that loads nothing.

    Parameters
    ----------
    sol : Solution
    evidence : Evidence, optional
        Figures measured on rows; default: those of the populations alone.
    title : str, optional
        Default "fairprog report".
    """
    found = Evidence() if evidence is None else evidence
    name = "fairprog report" if title is None else title
    before, after = _evaluations(sol)
    movement = found.movement
    if movement is None and sol.moves_rows:
        movement = population_movement(sol)
    thresholds = threshold_gaps(sol)
    warnings = [
        *unlike_rows(before.error, found.error),
        *found.remarks,
        *grown_gaps(before, after),
        *warnings_of(sol, movement, found.curves, found.ranks, bool(found.cards)),
    ]
    sections = [
        ("warnings", "Read this first", warning_list(warnings)),
        ("populations", "Populations before and after", populations_section(sol, movement)),
        ("gaps", "Gaps between groups", gaps_section(sol, before, after, thresholds)),
        ("rows", "Gaps on rows", rows_section(found)),
        *(
            []
            if movement is None
            else [("movement", "Who moves how far", movement_section(movement, found.ranks))]
        ),
        ("prices", "What fairness costs", prices_section(sol)),
        *([] if sol.inferred is None else [("sure", "How sure", sure_section(sol.inferred))]),
        ("bounds", "What it says about the original population", bounds_section(sol)),
        ("certificate", "Why you can trust this", certificate_section(sol)),
        ("settings", "Settings and versions", settings_section(sol)),
    ]
    lead = tag("p", headline(sol) + ".", class_="lead")
    return whole_page(name, [lead, _facts(sol, before, after, thresholds, found)], sections)


def notebook_html(sol: Solution) -> str:
    """Return a short report for a notebook: figures at a glance, populations, prices.

    Its style sheet speaks of the class ``fairprog`` only.
    """
    before, after = _evaluations(sol)
    warnings = [*grown_gaps(before, after), *warnings_of(sol)]
    parts = [
        tag("p", tag("b", headline(sol) + ".")),
        _facts(sol, before, after, threshold_gaps(sol), Evidence()),
        warning_list(warnings) if warnings else "",
        legend(sol.original),
        panels(
            *population_panels(sol),
            *([price_picture(sol)] if sol.price or sol.sensitivity else []),
        ),
    ]
    return notebook_part(*parts)


def _evaluations(sol: Solution) -> tuple[Evaluation, Evaluation]:
    before, after = (P.evaluate(n_samples=SAMPLES) for P in (sol.original, sol.population))
    return before, after


def _facts(
    sol: Solution,
    before: Evaluation,
    after: Evaluation,
    thresholds: Mapping[str, tuple[Array, Array, Array]],
    found: Evidence,
) -> Markup:
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
    return fact_list(facts)
