"""The gaps of a report: those of the populations, exactly, and those measured on rows."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fairprog import tables
from fairprog.evidence.rows import Evidence, Section
from fairprog.labels import Array
from fairprog.plotting.curves import plot_gaps
from fairprog.plotting.html import Markup, data_table, join, paragraphs, tag
from fairprog.plotting.html_page import PANEL, panel, panels
from fairprog.plotting.rates_picture import plot_rates
from fairprog.populations import Evaluation
from fairprog.populations.evaluation import tables_at_thresholds
from fairprog.solution import Solution

DRAWN = ("equal opportunity", "predictive equality", "demographic parity")


def threshold_gaps(sol: Solution) -> dict[str, tuple[Array, Array, Array]]:
    """Return thresholds and gaps before and after by notion; empty unless labels are binary."""
    if sol.original.n_classes != 2:
        return {}
    odds = np.linspace(-25.0, 25.0, 301)  # thresholds next to 0 and 1 as well
    t = np.union1d(1.0 / (1.0 + np.exp(-odds)), np.linspace(0.005, 0.995, 199))
    by_side = [tables_at_thresholds(P, t) for P in (sol.original, sol.population)]
    gaps = {
        name: [np.array([notion.gap(z) for z in side]) for side in by_side]
        for name, notion in _notions(2).items()
    }
    return {name: (t, before, after) for name, (before, after) in gaps.items()}


def gaps_section(
    sol: Solution,
    before: Evaluation,
    after: Evaluation,
    thresholds: Mapping[str, tuple[Array, Array, Array]],
) -> Markup:
    """Return the gaps of the Bayes rules of both populations."""
    classes = sol.original.classes
    error = max(before.standard_error, after.standard_error)
    head = ["notion", "before", "after"]
    if thresholds:
        head += ["before, worst threshold", "after, worst threshold"]
    rows = []
    for name, notion in _notions(len(classes)).items():
        row = [name, *(f"{zero(e.gap(notion)):.4f}" for e in (before, after))]
        if name in thresholds:
            row += [f"{zero(float(g.max())):.4f}" for g in thresholds[name][1:]]
        rows.append(row)
    sampled = f" (rates by quasi-Monte Carlo, standard error up to {error:.4f})"
    said = [
        "Gaps are the largest minus the smallest rate of a group. They are those of the "
        f"populations and of their own Bayes rules, not of data{sampled if error > 0 else ''}."
    ]
    if thresholds:
        figures = [
            panel(
                lambda ax, c=c: plot_gaps(  # type: ignore[misc]
                    c[0], {"before": c[1], "after": c[2]}, ax=ax, xlabel="threshold (posterior)"
                ),
                name.capitalize(),
                f"Gap at every threshold: at most {c[1].max():.3f} before and "
                f"{zero(float(c[2].max())):.3f} after.",
                (PANEL[0], 2.5),
            )
            for name, c in thresholds.items()
            if name in DRAWN
        ]
        said.append(
            f"Every cost-sensitive Bayes rule predicts class {classes[1]} where its posterior "
            "exceeds a threshold, so that the pictures show every cost at once."
        )
    else:
        said.append(
            "With more than two classes there is no single threshold; the pictures show the rules "
            "of 0-1 cost, class by class."
        )
        figures = []
    if len(classes) > 2 or sol.original.n_groups > 2:
        figures += [
            panel(
                lambda ax, e=e: plot_rates(e, ax=ax),  # type: ignore[misc]
                f"True positive rates {when}",
                f"P(Yhat = class | Y = class) of every group; the largest gap is "
                f"{_rate_gap(e):.3f}.",
            )
            for when, e in (("before", before), ("after", after))
        ]
    table = data_table("Gaps of the 0-1 rule of each population", head, rows)
    return join([paragraphs(said), panels(*figures) if figures else "", table])


def _notions(n_classes: int) -> dict[str, tables.Notion]:
    notions: dict[str, tables.Notion] = {
        "equal opportunity": tables.EqualOpportunity(),
        "predictive equality": tables.PredictiveEquality(),
        "demographic parity": tables.DemographicParity(),
        "equalized odds": tables.EqualizedOdds(),
        "accuracy parity": tables.AccuracyParity(),
    }
    if n_classes != 2:
        del notions["predictive equality"]
    return notions


def _rate_gap(e: Evaluation) -> float:
    return zero(float(np.ptp(np.einsum("aii->ia", e.table.rates()), axis=1).max()))


def zero(value: float) -> float:
    """Return a number without the minus sign of a rounded zero."""
    return value if abs(value) >= 5e-5 else 0.0


def rows_section(found: Evidence) -> Markup:
    """Return the gaps measured on rows, or that none were given."""
    parts: list[object] = []
    if not found.curves and not found.sections:
        parts.append(
            tag(
                "p",
                "This report was made without data. What a population says is an estimate: give "
                "rows that it was not fitted to, and gaps are measured on them with bands.",
            )
        )
    if found.curves:
        names = list(found.curves[0].gaps)
        parts.append(
            paragraphs(
                [
                    found.source,
                    f"Bands: with {found.confidence:.0%} confidence all curves of a picture are "
                    "within them at every threshold at once (Dvoretzky-Kiefer-Wolfowitz, with the "
                    "rows of the cell that the rate conditions on; of more than two groups the "
                    "two least certain ones). They hold if the scores were not fitted to these "
                    "rows.",
                ]
            )
        )
        parts.append(
            panels(
                *(
                    panel(
                        lambda ax, c=c: plot_gaps(  # type: ignore[misc]
                            c.thresholds, c.gaps, bands=c.bands(), ax=ax, xlabel="threshold"
                        ),
                        c.title[0].upper() + c.title[1:],
                        "Gap between groups at every threshold, each within "
                        f"{c.half_width:.3f}. Largest: "
                        + ", ".join(f"{w:.3f} {n}" for n, w in c.worst.items())
                        + ".",
                        (PANEL[0], 2.6),
                    )
                    for c in found.curves
                )
            )
        )
        rows = [
            [
                c.title,
                *(f"{c.worst[n]:.3f}" for n in names),
                f"±{c.half_width:.3f}",
                " / ".join(f"{n:,}" for n in c.counts),
            ]
            for c in found.curves
        ]
        head = ["rate", *names, "known to within", "rows by group"]
        parts.append(data_table("Gaps at the worst threshold", head, rows))
    parts += [_section(s) for s in found.sections]
    return join(parts)


def _section(section: Section) -> Markup:
    return join(
        [
            tag("h3", section.title),
            paragraphs(section.text),
            data_table(section.title, section.head, section.rows),
        ]
    )
