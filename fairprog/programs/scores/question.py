"""The question that `FairScore` asks: scores and masses by group, and options, checked once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from fairprog.errors import DataError, ModelError
from fairprog.kernels.scores.roc_hulls import TINY, joined, roc_curve, roc_hull
from fairprog.labels import Array, Indices, address, check_finite, index_of
from fairprog.populations import Categorical
from fairprog.programs.conditions import Condition, checked_conditions
from fairprog.tables import (
    DemographicParity,
    EqualizedOdds,
    EqualOpportunity,
    Notion,
    PredictiveEquality,
)
from fairprog.tables.attributes import check_whole

MOST_LEVELS = 500  # scores of groups that stay, each a level of the linear program; more are
LEVELS = 100  # joined to about so many
NOTIONS = (EqualizedOdds, EqualOpportunity, PredictiveEquality, DemographicParity)


@dataclass(frozen=True, eq=False)
class ScoreQuestion:
    """Which score is asked for.

    Attributes
    ----------
    population : Categorical
    notion : Notion
    staying : tuple of int
        Positions of the groups that keep their score.
    costs : Array, or None
        Thresholds that are to serve; None is every cost in (0, 1), evenly.
    conditions : tuple of Condition
    scores : sequence of G arrays (n,)
        The distinct scores of every group, rising.
    mass : sequence of G arrays (n, 2)
        P(score, Y, A = a).
    """

    population: Categorical
    notion: Notion
    staying: tuple[int, ...]
    costs: Array | None
    conditions: tuple[Condition, ...]
    scores: Sequence[Array]
    mass: Sequence[Array]

    @cached_property
    def hulls(self) -> list[tuple[Indices, Array]]:
        """Blocks and hull of every group."""
        return [roc_hull(m) for m in self.mass]

    @property
    def bound(self) -> float:
        """The difference bound."""
        return self.notion.difference_bound

    @cached_property
    def q(self) -> Array:
        """P(Y=i, A=a), shape (2, G)."""
        return np.stack([m.sum(axis=0) for m in self.mass], axis=1)

    @cached_property
    def events(self) -> Array:
        """Weights of (F, T) in the rate of every event, shape (E, G, 2)."""
        share = (self.q / self.q.sum(axis=0)).T
        return np.array([
            share if len(condition) == 2 else np.tile(np.eye(2)[condition[0]], (len(share), 1))
            for _, _, condition in self.notion.events(self.population.classes)
        ])  # fmt: skip

    @property
    def addresses(self) -> list[str]:
        """The address of every event."""
        events = self.notion.events(self.population.classes)
        return [address(self.notion.name, *labels) for labels, _, _ in events]

    @property
    def is_linear_program(self) -> bool:
        """Whether the closed ways do not reach it."""
        both = len(self.events) == 2 and self.bound > 0 and len(self.mass) > 2
        return both or bool(self.staying or self.conditions)

    def blocks(self, a: int) -> tuple[Indices, Array]:
        """Return the blocks of a group and their curve; a group that stays has its levels."""
        if a not in self.staying:
            return joined(*self.hulls[a])
        starts = np.flatnonzero(np.diff(self.level_of(self.scores[a]), prepend=-1) > 0)
        return starts, roc_curve(np.add.reduceat(self.mass[a], starts, axis=0))

    @cached_property
    def levels(self) -> tuple[Array, Array]:
        """The lowest and the mean score of every level of the groups that stay.

        Their scores; where these are many, neighbours of about the same mass are one level.
        """
        score, place = np.unique(
            np.concatenate([self.scores[a] for a in self.staying]), return_inverse=True
        )
        if len(score) <= MOST_LEVELS:
            return score, score
        mass = np.concatenate([self.mass[a].sum(axis=1) for a in self.staying])
        mass = np.bincount(place, mass)
        level = np.floor(LEVELS * (1.0 - TINY) * np.cumsum(mass) / mass.sum())
        first = np.flatnonzero(np.diff(level, prepend=-1.0) > 0)
        mean = np.add.reduceat(mass * score, first) / np.add.reduceat(mass, first)
        return score[first], mean

    def level_of(self, score: Array) -> Indices:
        """Return the level of scores of groups that stay."""
        return np.searchsorted(self.levels[0], score, side="right") - 1

    def at_bound(self, bound: float) -> ScoreQuestion:
        """Return the question at another bound."""
        return replace(self, notion=replace(self.notion, difference_bound=bound))


def ask_score(
    population: Any, notion: Any, steer: Any, cost_weight: Any, constraints: Any
) -> ScoreQuestion:
    """Return the question; the errors are those of :class:`~fairprog.FairScore`."""
    if not isinstance(population, Categorical) or population.n_classes != 2:
        kind = type(population).__name__
        found = f"{population.n_classes} classes" if isinstance(population, Categorical) else kind
        raise ModelError(
            f"`population` must be Categorical with two classes; found {found}. Count scores by "
            "fp.ScoreCounts or Categorical.from_scores; of other families take `discretize()`.",
            argument="population",
        )
    notion = EqualizedOdds() if notion is None else notion
    if not isinstance(notion, NOTIONS) or notion.ratio_bound is not None:
        raise ModelError(
            f"`notion` must be EqualizedOdds, EqualOpportunity, PredictiveEquality or "
            f"DemographicParity with a difference_bound; found {notion!r}.",
            argument="notion",
        )
    check_whole(notion, "FairScore")
    groups = population.groups
    staying: tuple[int, ...] = ()
    if not isinstance(steer, str):
        moving = {index_of(groups, g, "steer") for g in steer}
        staying = tuple(a for a in range(len(groups)) if a not in moving)
    elif steer != "all":
        raise ModelError(
            f"`steer` must be 'all' or a list of groups; found {steer!r}.", argument="steer"
        )
    costs = None
    if not (isinstance(cost_weight, str) and cost_weight == "uniform"):
        costs = np.unique(check_finite(cost_weight, "cost_weight"))
        if not costs.size or costs[0] <= 0.0 or costs[-1] >= 1.0:
            raise DataError(
                "`cost_weight` must be 'uniform' or a list of costs between 0 and 1; found "
                f"{cost_weight!r}.",
                argument="cost_weight",
            )
        if staying:
            raise ModelError(
                "Groups that stay keep their scores, and with them all thresholds: give "
                "`cost_weight` with steer='all' only.",
                argument="cost_weight",
            )
    counted = [_of_group(population, a) for a in range(len(groups))]
    scores, mass = zip(*counted, strict=True)
    conditions = checked_conditions(constraints)
    return ScoreQuestion(population, notion, staying, costs, conditions, scores, mass)


def _of_group(D: Categorical, a: int) -> tuple[Array, Array]:
    """Return a group's distinct scores, rising, and the masses of both classes at each."""
    s = D.support
    rows = slice(None) if D.n_groups == 1 else np.flatnonzero(s.group == a)
    posterior, weight = s.score[rows], np.asarray(s.weight[rows])
    score = posterior
    values = D._values
    if values is not None and values.ndim == 1 and values.dtype.kind in "fiub":
        score = values[s.atom[rows]].astype(float)
    mass = np.stack([weight * (1.0 - posterior), weight * posterior], axis=1)
    step = np.diff(score)
    if not (step > 0).all():
        order = np.argsort(score, kind="stable")
        score, mass = score[order], mass[order]
        first = np.flatnonzero(np.append(True, np.diff(score) > 0))
        score, mass = score[first], np.add.reduceat(mass, first, axis=0)
    return score, mass
