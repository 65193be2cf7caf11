"""The HTML report of ``fairprog steer --report``: the solution, and what held-out rows say."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from fairprog.cli.audit_split import Comparison, held_out_scores
from fairprog.cli.columns import Design
from fairprog.cli.printed_report import figure_text, legend_words, worse_words
from fairprog.cli.tabular import Plan
from fairprog.codec import write_text
from fairprog.errors import FairprogError
from fairprog.evidence.held_out import gap_curves
from fairprog.evidence.movement import movement_of_rows
from fairprog.evidence.rows import Evidence, Section, score_ranks
from fairprog.solution import Solution


def write_report(
    path: str | os.PathLike[str],
    solution: Solution,
    design: Design,
    plan: Plan,
    comparison: Comparison | None,
    *,
    source: str,
    test_size: float,
    seed: int,
    remarks: Sequence[str] = (),
) -> None:
    """Write the report of a table, atomically.

    Parameters
    ----------
    path : path-like
    solution : Solution
        Fitted to all rows.
    design, plan
        What the held-out figures are made from.
    comparison : Comparison or None
        None: no rows were held out.
    source : str
        The name of the table.
    test_size, seed
        Of the splits.
    remarks : sequence of str
        Warnings that were printed already.
    """
    from fairprog.plotting.solution_report import report_html

    evidence = evidence_of_design(
        solution, design, plan, comparison, test_size=test_size, seed=seed, remarks=remarks
    )
    page = report_html(solution, evidence, title=f"Steering report: {source}")
    write_text(path, page)


def evidence_of_design(
    solution: Solution,
    design: Design,
    plan: Plan,
    comparison: Comparison | None,
    *,
    test_size: float,
    seed: int,
    remarks: Sequence[str] = (),
) -> Evidence:
    """Measure gaps on held-out rows with models fitted to the others, and movement on all rows."""
    movement = movement_of_rows(
        solution, design.X, design.y, sensitive_features=design.group, names=design.encoded
    )
    said = list(remarks)
    if comparison is None:
        return Evidence(movement=movement, remarks=tuple(said))
    if worse_words(comparison):
        said.append(worse_words(comparison))
    try:
        scores, test = held_out_scores(design, plan, test_size=test_size, seed=seed)
    except FairprogError as error:
        said.append(f"Gaps could not be measured on held-out rows: {error}")
        return Evidence(movement=movement, remarks=tuple(said))
    curves = gap_curves(
        scores,
        design.y[test],
        sensitive_features=design.group[test],
        classes=design.classes,
        groups=design.groups,
    )
    return Evidence(
        source=(
            "The scores are those of logistic models, one trained on raw and one on aligned "
            f"features (the group is no feature), on {len(test):,} held-out rows: neither the "
            "models nor the maps were fitted to these. Rows are aligned without their labels."
            + (
                " The curves show one split, the first; means over all splits are in the table "
                "below, and the head of the page and the warnings go by these."
                if comparison.splits > 1
                else ""
            )
        ),
        curves=curves,
        ranks=score_ranks(scores, design.group[test], design.groups),
        movement=movement,
        sections=(_splits(comparison, design, test_size),) if comparison.measures else (),
        remarks=tuple(said),
        card=_card(comparison),
    )


def _card(comparison: Comparison) -> tuple[str, str, str] | None:
    """Return the held-out gap for the head of the page, where it is a mean over splits."""
    if comparison.splits < 2:
        return None
    titles = {
        "gap at worst threshold, Y=1": "Held-out gap, worst threshold",
        "equalized odds gap": "Held-out equalized odds gap",
    }
    m = next(m for m in comparison.measures if m.name in titles)
    value = f"{m.before.mean():.3f} → {m.after.mean():.3f}"
    errors = [v.std(ddof=1) / np.sqrt(v.size) for v in (m.before, m.after)]
    rate = "" if "odds" in m.name else "equal opportunity; "
    note = (
        f"{rate}mean of {comparison.splits} splits, standard errors "
        f"{errors[0]:.3f} and {errors[1]:.3f}"
    )
    return titles[m.name], value, note


def _splits(comparison: Comparison, design: Design, test_size: float) -> Section:
    """Return the table that is printed, over all splits."""
    rows = []
    for m in comparison.measures:
        chance = "–" if m.by_chance is None else figure_text(m.by_chance, False)
        rows.append(
            (m.name, figure_text(m.before, m.signed), figure_text(m.after, m.signed), chance)
        )
    return Section(
        title="One random split"
        if comparison.splits == 1
        else f"Over {comparison.splits} random splits",
        text=(
            f"Logistic models as above, {test_size:.0%} of the rows held out each time; mean and "
            f"standard error over the splits. {legend_words(comparison.measures, design)}",
        ),
        head=("figure", "raw features", "aligned features", "by chance"),
        rows=tuple(rows),
    )
