"""What `ScoreSteering(method="channel")` fits to rows, and how it moves them."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np

from fairprog.door import Rows
from fairprog.errors import FairprogWarning, ModelError
from fairprog.kernels.statistics.weighted_quantiles import repeated_quantiles
from fairprog.labels import Array, Indices, check_count
from fairprog.populations import ScoreCounts
from fairprog.programs import FairScore
from fairprog.solution import ScoreSolution
from fairprog.tables import (
    DemographicParity,
    EqualizedOdds,
    EqualOpportunity,
    Notion,
    PredictiveEquality,
)
from fairprog.tables.attributes import check_whole

CHANCE = 0.87  # mean of Kolmogorov's distribution: sqrt(n) times the largest gap by chance
ROOM = 0.1  # by how much chance may exceed the bound without a warning
ONE_SIDED = (DemographicParity, EqualOpportunity, PredictiveEquality)


def check_notion(method: str, notion: Any, y: Any) -> None:
    """Refuse a notion that the method cannot serve, and missing labels where they are needed."""
    one_sided = isinstance(notion, ONE_SIDED)
    if isinstance(notion, Notion):
        check_whole(notion, "ScoreSteering")
    if notion is not None and method != "channel":
        plain = one_sided and notion.ratio_bound is None and notion.difference_bound == 0.0
        if method != "quantile" or not plain:
            raise ModelError(
                f"method={method!r} does not take notion={notion!r}: 'quantile' takes one-sided "
                "notions (DemographicParity, EqualOpportunity, PredictiveEquality) without a "
                "bound, 'channel' those and EqualizedOdds, with any difference_bound.",
                argument="notion",
            )
    needs = not (method == "quantile" and isinstance(notion, DemographicParity))
    if y is None and needs:
        raise ModelError(
            "`y` is required: this method requires y to be passed, but the target y is None. "
            "Only method='quantile' with notion=DemographicParity() does without labels.",
            argument="y",
        )


def weighted_for(notion: Any, rows: Rows) -> tuple[Any, Indices]:
    """Return which rows the quantile map of a one-sided notion matches, and in which classes.

    Of demographic parity all as they are; of the others the rows of the class they condition on.
    """
    if isinstance(notion, (type(None), EqualizedOdds)):
        return slice(None), rows.y
    if isinstance(notion, DemographicParity):
        return slice(None), np.zeros_like(rows.y)
    ((_, _, condition),) = notion.events(rows.classes)
    own = np.isin(rows.y, condition)
    return own, np.zeros_like(rows.y[own])


def fit_channel(
    s: Array, rows: Rows, notion: Any, steer: str | Iterable[Any], n_quantiles: int | str
) -> ScoreSolution:
    """Return the fair score of rows: isotonic hulls of all scores, or of quantile bins."""
    notion = EqualizedOdds() if notion is None else notion
    bins = None
    if n_quantiles != "auto":
        number = check_count(n_quantiles, "n_quantiles", 2)
        levels = np.arange(1, number) / number
        bins = np.unique(repeated_quantiles(s, rows.count, levels))
    counts = ScoreCounts(bins, classes=rows.classes, groups=rows.groups)
    weight = rows.weight if (rows.weight != 1.0).any() else None  # unweighted rows count faster
    counts.partial_fit(s, rows.label, sensitive_features=rows.group, sample_weight=weight)
    solution = FairScore(counts.population(), notion, steer=steer).solve()
    _warn_of_chance(rows, solution.notion)
    return solution


def _warn_of_chance(rows: Rows, notion: Any) -> None:
    """Warn of cells whose rows are too few to keep what is promised."""
    noise = np.zeros(len(rows.groups))
    for _, _, condition in notion.events(rows.classes):
        noise = np.maximum(noise, 1.0 / np.sqrt(rows.cells[condition].sum(axis=0)))
    worst = np.argsort(-noise)[:2]
    chance = CHANCE * float(np.hypot(*noise[worst])) if len(noise) > 1 else 0.0
    if chance > notion.difference_bound + ROOM:
        g = rows.groups[worst[0]]
        warnings.warn(
            f"Group {g!r} has a class of {int(rows.cells[:, worst[0]].min())} rows: so few that "
            f"the worst gap over thresholds is about {chance:.2f} by chance alone, while "
            f"{notion.difference_bound:g} is promised. The promise is about the rows fitted; fit "
            "on more rows, or merge_groups.",
            FairprogWarning,
            stacklevel=4,
        )
