"""What rows of data add to a report: gaps with bands, who moves how far, kept ranks."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fairprog.door import refuse_reordered
from fairprog.errors import DataError, ModelError
from fairprog.evidence.held_out import GapCurve, gap_curves, posterior
from fairprog.evidence.movement import Movement, movement_of_rows
from fairprog.kernels.statistics.gap_bands import spearman
from fairprog.labels import Array, encode
from fairprog.solution import Solution


@dataclass(frozen=True)
class Section:
    """A table with sentences, as plain text.

    Attributes
    ----------
    title : str
    text : tuple of str
        Paragraphs.
    head : tuple of str
        Column titles.
    rows : tuple of tuples of str
        The first entry names the row.
    """

    title: str
    text: tuple[str, ...]
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Card:
    """A figure before and after, and whether it got worse beyond its error."""

    title: str
    before: float
    after: float
    worse: bool
    note: str


@dataclass(frozen=True, eq=False)
class Evidence:
    """Figures measured on rows.

    Attributes
    ----------
    source : str
        A sentence that says which rows and which scores.
    curves : tuple of GapCurve
    confidence : float
        Of the bands.
    ranks : dict of group to float
        Spearman's correlation, within the group, of the first score and the second.
    movement : Movement or None
    sections : tuple of Section
        Anything else.
    remarks : tuple of str
        Warnings in sentences.
    cards : tuple of Card
        Figures for the head of the page, from more than one split; they and the remarks then
        stand for the gaps of the one split that the curves show.
    error : float, optional
        What share of held-out rows a model on raw features gets wrong.
    """

    source: str = ""
    curves: tuple[GapCurve, ...] = ()
    confidence: float = 0.95
    ranks: Mapping[Hashable, float] | None = None
    movement: Movement | None = None
    sections: tuple[Section, ...] = ()
    remarks: tuple[str, ...] = ()
    cards: tuple[Card, ...] = ()
    error: float | None = None


def evidence_of_rows(
    sol: Solution,
    X: ArrayLike | None,
    y: ArrayLike | None,
    sensitive_features: ArrayLike | None,
    scores: Mapping[str, ArrayLike] | None,
    confidence: float,
) -> Evidence:
    """Measure rows the solution was not fitted to; see :meth:`Solution.to_html`."""
    D = sol.original
    given: dict[str, Any] = {"X": X, "y": y, "sensitive_features": sensitive_features}
    refuse_reordered(**given | {f"scores[{name!r}]": s for name, s in (scores or {}).items()})
    if all(v is None for v in given.values()) and scores is None:
        return Evidence()
    for name, value in given.items():
        if value is None and not (name == "X" and scores is not None):
            raise DataError(
                f"`{name}` is missing: a report on rows needs `X` (or `scores`), `y` and "
                "`sensitive_features`; without any of them it shows the populations alone.",
                argument=name,
            )
    if X is not None and not sol.moves_rows:
        raise ModelError(
            "Categorical populations are reweighted and move no rows; give `scores`, `y` and "
            "`sensitive_features` without `X`.",
            argument="X",
        )
    source = "The scores are the ones that were given."
    if scores is None:
        assert X is not None and y is not None and sensitive_features is not None
        scores = _posteriors(sol, X, y, sensitive_features)
        source = (
            "The scores are Bayes posteriors: of the original population on rows as they are, and "
            "of the steered one (with the same base rates in every group) on rows aligned without "
            "labels and on rows steered with labels."
        )
    if not scores:
        raise DataError("`scores` names no score.", argument="scores")
    assert y is not None and sensitive_features is not None
    curves = gap_curves(
        scores,
        y,
        sensitive_features=sensitive_features,
        classes=D.classes,
        groups=D.groups,
        confidence=confidence,
    )
    movement = None
    if X is not None:
        movement = movement_of_rows(sol, X, y, sensitive_features=sensitive_features)
    return Evidence(
        source=source,
        curves=curves,
        confidence=confidence,
        ranks=score_ranks(scores, sensitive_features, D.groups),
        movement=movement,
    )


def score_ranks(
    scores: Mapping[str, ArrayLike], sensitive_features: ArrayLike, groups: Sequence[Hashable]
) -> dict[Hashable, float] | None:
    """Return Spearman's correlation of the first two scores within each group, or None."""
    pair = [np.asarray(s, dtype=float) for s in list(scores.values())[:2]]
    if len(pair) < 2:
        return None
    first, second = (s if s.ndim == 1 else s[:, -1] for s in pair)
    a = encode(sensitive_features, groups, "sensitive_features", len(first))
    return {g: spearman(first[a == k], second[a == k]) for k, g in enumerate(groups)}


def _posteriors(
    sol: Solution, X: ArrayLike, y: ArrayLike, sensitive_features: ArrayLike
) -> dict[str, Array]:
    """Return posteriors of rows as they are, aligned, and steered.

    The posterior of the steered population at x, group a, is a function of the aligned x alone
    where base rates agree: a group-blind score of the common coordinates. Where they were kept
    the score takes those of all groups together, which keeps it blind.
    """
    E, a = sol.population, sensitive_features
    blind = E.with_prior(np.outer(E.prior.sum(axis=1), E.group_mass))
    steered = sol.steer(X, y, sensitive_features=a)
    return {
        "as they are": posterior(sol.original, X, sensitive_features=a),
        "aligned": posterior(blind, X, sensitive_features=a),
        "steered": posterior(blind, steered, sensitive_features=a),
    }
