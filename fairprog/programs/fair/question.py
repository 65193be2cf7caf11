"""The question that `NearestFair` asks: its options, checked once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from fairprog.errors import DataError, InfeasibleError, ModelError
from fairprog.labels import Array, check_count, check_finite, encode, label_vector
from fairprog.populations import Categorical
from fairprog.programs.conditions import Condition, checked_conditions
from fairprog.programs.fair.levels import Levels, cost_levels, grid_levels, threshold_levels
from fairprog.programs.question import steered_groups
from fairprog.tables import (
    DemographicParity,
    Notion,
)
from fairprog.tables.attributes import check_whole

MOVES = ("both", "labels", "masses")
AGREE = 1e-6  # difference between rates of groups that stay


@dataclass(frozen=True, eq=False)
class FairQuestion:
    """Which population is asked for.

    Attributes
    ----------
    population : Categorical
    levels : Levels or None
        None where a rule is given.
    rule : Array, shape (m, K), or None
        P(Yhat=j | x, a) of that rule, over the population's support.
    span : (float, float) or None
        Thresholds from, to; where `levels` are a grid.
    notion : Notion
    steered : tuple of positions
    move : {"both", "labels", "masses"}
    keeps_rates, uses_group : bool
    constraints : tuple of Condition
    asked : dict
        Thresholds, range and cost as they were given.
    """

    population: Categorical
    levels: Levels | None
    rule: Array | None
    span: tuple[float, float] | None
    notion: Notion
    steered: tuple[int, ...]
    move: str
    keeps_rates: bool
    uses_group: bool
    constraints: tuple[Condition, ...]
    asked: dict[str, Any]

    @property
    def staying(self) -> tuple[int, ...]:
        """Positions of the groups that stay as they are."""
        return tuple(a for a in range(self.population.n_groups) if a not in self.steered)

    @property
    def keeps_law(self) -> bool:
        """Whether the law of X stays."""
        return self.move == "labels"

    @property
    def projects(self) -> bool:
        """Whether a posterior goes to the nearest end of its level, classes being free."""
        parity = type(self.notion) is DemographicParity and not self.keeps_rates
        free = self.rule is None and not self.constraints and self.uses_group
        return parity and free and self.population.n_classes == 2

    @property
    def is_parity(self) -> bool:
        """Whether levels shall have equal masses and nothing else: the dual has a short form."""
        exact = self.notion.bound_field == "difference_bound" and not self.notion.bound
        return self.projects and exact

    @cached_property
    def staying_levels(self) -> Array:
        """P(level, Y=i, A=a) of the groups that stay, shape (L, K, G); zero for the others."""
        D, s = self.population, self.population.support
        assert self.levels is not None
        out = np.zeros((len(self.levels), D.n_classes, D.n_groups))
        stays = np.isin(s.group, self.staying)
        k = self.levels.of(s.posterior[stays])
        joint = s.weight[stays, None] * s.posterior[stays]
        for i in range(D.n_classes):
            np.add.at(out[:, i], (k, s.group[stays]), joint[:, i])
        return out

    def settings(self) -> dict[str, Any]:
        """Return the options a solution keeps."""
        groups = self.population.groups
        return {
            **self.asked,
            "notion": self.notion,
            "steer": "all" if not self.staying else tuple(groups[a] for a in self.steered),
            "move": self.move,
            "base_rates": "keep" if self.keeps_rates else "joint",
            "uses_group": self.uses_group,
            "constraints": self.constraints,
        }


def ask_fair(
    population: Any, thresholds: Any, threshold_range: Any, cost: Any, rule: Any, notion: Any,
    steer: Any, move: str, base_rates: str | None, uses_group: bool, constraints: Iterable[Any],
    levels: int,
) -> FairQuestion:  # fmt: skip
    """Return the question; the errors are those of :class:`~fairprog.NearestFair`."""
    if not isinstance(population, Categorical):
        raise ModelError(
            f"`population` must be Categorical; found {type(population).__name__}. Use its "
            "`discretize()`, or Categorical.from_scores(...) for scored rows.",
            argument="population",
        )
    D, notion = population, DemographicParity() if notion is None else notion
    if not isinstance(notion, Notion):
        raise ModelError(
            f"`notion` must be a notion such as DemographicParity(); found {notion!r}.",
            argument="notion",
        )
    check_whole(notion, "NearestFair")
    if move not in MOVES:
        raise ModelError(f"`move` must be one of {list(MOVES)}; found {move!r}.", argument="move")
    whole = set(range(D.n_classes))
    conditioned = any(set(event[2]) != whole for event in notion.events(D.classes))
    if base_rates not in (None, "joint", "keep"):
        raise ModelError(
            f"`base_rates` must be 'joint' or 'keep'; found {base_rates!r}.", argument="base_rates"
        )
    if base_rates == "joint" and conditioned:
        raise ModelError(
            f"{notion!r} is of rates given the class: with base rates that move, too, the program "
            "is not convex. Use base_rates='keep'.",
            argument="base_rates",
        )
    given = {"threshold_range": threshold_range, "cost": cost, "rule": rule}
    named = [name for name, value in given.items() if value is not None]
    if len(named) + (thresholds is not None) > 1:
        raise ModelError(
            f"Give one of `thresholds`, {', '.join(f'`{n}`' for n in given)}; found several.",
            argument=named[0],
        )
    thresholds = 0.5 if thresholds is None else thresholds
    if not uses_group and D.n_groups > 1 and D.reveals_group:
        raise ModelError(
            "A group-blind rule is no restriction here: every atom belongs to one group. Give the "
            "groups common atoms, for instance by `bins`.",
            argument="uses_group",
        )
    if not uses_group and not (isinstance(steer, str) and steer == "all"):
        raise ModelError(
            "Where rules are blind to the group no group can stay exactly as it is: the groups "
            "share atoms. Use steer='all'.",
            argument="steer",
        )
    found, span = (None, None) if rule is not None else _levels(D, thresholds, given, levels)
    asked = {
        "thresholds": thresholds if isinstance(thresholds, str) else tuple(np.ravel(thresholds)),
        "threshold_range": None if threshold_range is None else span,
        "cost": None if cost is None else np.asarray(cost, dtype=float),
        "rule": rule is not None,
    }
    if named:
        asked["thresholds"] = ()
    question = FairQuestion(
        population=D,
        levels=found,
        rule=None if rule is None else _rule(D, rule),
        span=span,
        notion=notion,
        steered=steered_groups(D, steer),
        move=move,
        keeps_rates=base_rates == "keep" or conditioned,
        uses_group=bool(uses_group),
        constraints=checked_conditions(constraints),
        asked=asked,
    )
    if found is not None and len(question.staying) > 1:
        _refuse_apart(question)
    return question


def _levels(
    D: Categorical, thresholds: Any, given: dict[str, Any], count: int
) -> tuple[Levels, tuple[float, float] | None]:
    K, s = D.n_classes, D.support
    if given["cost"] is not None:
        costs = check_finite(given["cost"], "cost")
        costs = costs[None] if costs.ndim == 2 else costs
        if costs.shape[1:] != (K, K):
            raise DataError(
                f"`cost` must have shape ({K}, {K}), or be several such; its shape is "
                f"{costs.shape}.",
                argument="cost",
            )
        return cost_levels(list(costs), K), None
    if K != 2:
        raise ModelError(
            f"Thresholds are of two classes; the population has {K}. Give a `cost`, {K} x {K}, or "
            "several.",
            argument="thresholds",
        )
    span = given["threshold_range"]
    if isinstance(thresholds, str) or span is not None:
        if isinstance(thresholds, str) and thresholds != "all":
            raise ModelError(
                f"`thresholds` must be numbers or 'all'; found {thresholds!r}.",
                argument="thresholds",
            )
        low, high = (0.0, 1.0) if span is None else check_finite(span, "threshold_range", (2,))
        if not 0.0 <= low < high <= 1.0:
            raise DataError(
                f"`threshold_range` must be (low, high) in [0, 1]; found {span!r}.",
                argument="threshold_range",
            )
        count = check_count(count, "levels", 2)
        out = grid_levels(float(low), float(high), count, s.score, np.asarray(s.weight))
        return out, (float(low), float(high))
    return threshold_levels(np.atleast_1d(thresholds).tolist()), None


def _rule(D: Categorical, rule: Any) -> Array:
    """Return P(Yhat=j | x, a) over the support from a classifier or from predictions."""
    m, K = len(D.support.atom), D.n_classes
    rule = getattr(rule, "classifier", rule)
    if hasattr(rule, "h"):
        rule = rule.h
    values = np.asarray(rule)
    if values.shape == (m, K):
        h = check_finite(values, "rule", (m, K))
        if h.min() < 0 or np.abs(h.sum(axis=1) - 1.0).max() > 1e-9:
            raise DataError(
                "`rule` must hold laws of the prediction, row by row.", argument="rule"
            )
        return h
    return np.eye(K)[encode(label_vector(values, "rule", m), D.classes, "rule")]


def _refuse_apart(question: FairQuestion) -> None:
    """Refuse groups that stay and are not fair among themselves."""
    D, levels = question.population, question.levels
    assert levels is not None
    from fairprog.tables import OutcomeTable

    table = question.staying_levels
    groups = [D.groups[a] for a in question.staying]
    for c, name in enumerate(levels.rules):
        Z = np.zeros((len(groups), D.n_classes, D.n_classes))
        for k, action in enumerate(levels.actions[:, c]):
            Z[:, :, action] += table[k][:, list(question.staying)].T
        gap = question.notion.gap(OutcomeTable(Z / Z.sum(), D.classes, tuple(groups)))
        if gap > max(AGREE, question.notion.difference_bound):
            raise InfeasibleError(
                f"The groups {groups} stay and differ at {name}: their gap "
                f"({question.notion.name}) is {gap:.3g}. Steer all of them but one.",
                argument="steer",
            )
