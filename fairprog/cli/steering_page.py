"""The HTML report of ``fairprog steer --report``: the solution, and what held-out rows say."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence

from sklearn.base import clone

from fairprog.cli.columns import Design
from fairprog.cli.fitting import codes_of
from fairprog.codec import write_text
from fairprog.comparison import Comparison
from fairprog.comparison.comparison_words import cards, cells, findings_of, legend, titles
from fairprog.comparison.methods import NOTHING
from fairprog.evidence.held_out import gap_curves
from fairprog.evidence.movement import movement_of_rows
from fairprog.evidence.rows import Evidence, Section, score_ranks
from fairprog.labels import Array, Indices
from fairprog.solution import Solution

ALIGNED = "aligned features"


def write_report(
    path: str | os.PathLike[str],
    solution: Solution,
    design: Design,
    comparison: Comparison | None,
    *,
    source: str,
    remarks: Sequence[str] = (),
) -> None:
    """Write the report of a table, atomically.

    Parameters
    ----------
    path : path-like
    solution : Solution
        Fitted to all rows.
    design : Design
    comparison : Comparison or None
        None: no rows were held out.
    source : str
        The name of the table.
    remarks : sequence of str
        Warnings that were printed already.
    """
    from fairprog.plotting.solution_report import solution_report

    evidence = evidence_of_design(solution, design, comparison, remarks=remarks)
    write_text(path, solution_report(solution, evidence).page(f"Steering report: {source}"))


def evidence_of_design(
    solution: Solution,
    design: Design,
    comparison: Comparison | None,
    *,
    remarks: Sequence[str] = (),
) -> Evidence:
    """Measure gaps on held-out rows with models fitted to the others, and movement on all rows."""
    movement = movement_of_rows(
        solution, design.X, design.y, sensitive_features=design.group, names=design.encoded
    )
    said = list(remarks)
    if comparison is None or ALIGNED not in comparison.values:
        return Evidence(movement=movement, remarks=tuple(said))
    said += findings_of(comparison)
    scores, test = first_split(comparison, design)
    curves = gap_curves(
        scores,
        design.y[test],
        sensitive_features=design.group[test],
        classes=design.classes,
        groups=design.groups,
    )
    several = comparison.n_splits > 1
    rows = [(name, *cells(comparison, name)) for name in comparison.values]
    return Evidence(
        source=(
            "The scores are those of logistic models, one trained on raw and one on aligned "
            f"features (the group is no feature), on {len(test):,} held-out rows: neither the "
            "models nor the maps were fitted to these. Rows are aligned without their labels."
            + (
                " The curves show one split, the first; means over all splits are in the table "
                "below, and the head of the page and the warnings go by these."
                if several
                else ""
            )
        ),
        curves=curves,
        ranks=score_ranks(scores, design.group[test], design.groups),
        movement=movement,
        sections=(
            Section(
                f"Over {comparison.n_splits} random splits" if several else "One random split",
                (legend(comparison),),
                ("method", *titles(comparison)),
                tuple(rows),
            ),
        ),
        remarks=tuple(said),
        cards=tuple(cards(comparison, ALIGNED)) if several else (),
        error=1.0 - comparison.mean(NOTHING, "score")[0],
    )


def first_split(comparison: Comparison, design: Design) -> tuple[dict[str, Array], Indices]:
    """Return class probabilities of the rows of the first split, and which these are."""
    train, test = comparison.splits[0]
    y, group = codes_of(design), design.group
    scores = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # said when the whole table was fitted
        for title, name in (("raw features", NOTHING), (ALIGNED, ALIGNED)):
            method = clone(comparison.methods[name])
            method.fit(design.X[train], y[train], sensitive_features=group[train])
            scores[title] = method.predict_proba(design.X[test], sensitive_features=group[test])
    return scores, test
