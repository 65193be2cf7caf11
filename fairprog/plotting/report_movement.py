"""Who moves how far, as a section of a report."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import numpy as np

from fairprog.evidence.movement import LEVELS, Movement
from fairprog.plotting.html import Markup, data_table, join, paragraphs
from fairprog.plotting.html_page import captioned, pair
from fairprog.plotting.movement_picture import plot_movement


def movement_section(move: Movement, ranks: Mapping[Hashable, float] | None) -> Markup:
    """Return displacements and ranks of every cell."""
    said = [
        "Aligning takes each group back into the common coordinates, without labels. "
        "Displacements are in pooled standard deviations of each feature"
        + ("" if move.coordinate == "x" else f" (as {move.coordinate})")
        + (
            ", those of the population: no sampling."
            if move.counts is None
            else ", measured on the rows."
        )
    ]
    if len(move.features) < move.n_features:
        said.append(
            f"Of {move.n_features} features the {len(move.features)} that move most are shown."
        )
    fig, _ = plot_movement(move)
    picture = captioned(
        fig,
        "Displacement by feature",
        "Median (marker of the class), quartiles (thick) and 5% to 95% range (thin) of every "
        "class of a group; groups that stay are left out.",
    )
    head = ["cell", *(["rows"] if move.counts is not None else []), "root mean square"]
    rows = []
    for a, group in enumerate(move.groups):
        for i, label in enumerate(move.classes):
            row = [f"{group}, class {label}"]
            if move.counts is not None:
                row.append(f"{move.counts[i, a]:,}")
            row.append(_number(move.rms[i, a], 2))
            for j in range(len(move.features)):
                low, middle, high = move.quantiles[[0, 2, 4], i, a, j]
                row.append(f"{_signed(middle)} [{_signed(low)}, {_signed(high)}]")
            rows.append(row)
    lowest, highest = (f"{100 * q:.0f}%" for q in (LEVELS[0], LEVELS[-1]))
    moves = data_table(
        f"Displacement: median [{lowest}, {highest}] of every feature, in pooled s.d.",
        [*head, *move.features],
        rows,
    )
    rank_rows = []
    for a, group in enumerate(move.groups):
        score = [] if ranks is None else [_number(ranks[group], 3)]
        rank_rows.append([group, *score, *(_number(float(r), 3) for r in move.rank[a])])
    rank_table = data_table(
        "Ranks within a group: Spearman's correlation before and after (1: kept)",
        ["group", *([] if ranks is None else ["model score"]), *move.features],
        rank_rows,
    )
    return join([paragraphs(said), pair(picture, rank_table), moves])


def _number(value: float, digits: int) -> str:
    return "–" if np.isnan(value) else f"{value:.{digits}f}"


def _signed(value: float) -> str:
    if np.isnan(value):
        return "–"
    return "0.00" if abs(value) < 5e-3 else f"{value:+.2f}"
