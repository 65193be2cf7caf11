"""Risks that look at the tail, or at every law near the given one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from fairprog.errors import DataError, ModelError
from fairprog.labels import Array, check_number
from fairprog.tables.atom_table import atoms_of
from fairprog.tables.group_risks import CostRisk, group_risks
from fairprog.tables.outcome import OutcomeTable
from fairprog.tables.templates import TableView, Term
from fairprog.tables.worst_case import check_ball, express_worst_case, worst_case


@dataclass(frozen=True, repr=False)
class TailRisk(CostRisk):
    """A function of the law of the losses, of individuals (x, a) or of groups."""

    over: str = "individuals"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.over not in ("individuals", "groups"):
            raise ModelError(
                f"`over` must be 'individuals' or 'groups'; found {self.over!r}.", argument="over"
            )

    def _numbers(self, table: OutcomeTable) -> tuple[Array, Array]:
        """Return losses and their weights."""
        if self.over == "groups":
            return self.group_risks(table), table.group_mass
        known = atoms_of(table, self)
        losses = ((known.posterior @ self.matrix(table.classes)) * known.h).sum(axis=1)
        return losses, known.weight / known.weight.sum()

    def _expressions(self, view: TableView) -> tuple[Any, Array]:
        """Return losses as one affine vector, and their weights."""
        C, cp = self.matrix(view.classes), view.functions
        if self.over == "groups":
            return cp.hstack(group_risks(view, C)), np.sum(view.mass, axis=1)
        losses = cp.sum(cp.multiply(view.posterior @ C, view.h), axis=1)
        return losses, np.asarray(view.weight) / np.sum(view.weight)


@dataclass(frozen=True, repr=False)
class CVaR(TailRisk):
    """Mean loss of the worst fraction 1 - level (conditional value at risk, superquantile).

    min_t t + E (loss - t)_+ / (1 - level). The loss of an individual is its expected cost
    E[C[Y, Yhat] | x, a]; of a group, E[C[Y, Yhat] | A=a].

    Source: Rockafellar and Uryasev, *Optimization of conditional value-at-risk*, 2000; over
    groups: Williamson and Menon, *Fairness risk measures*, 2019.

    Parameters
    ----------
    cost : array_like (K, K) or mapping, optional
        See :class:`CostSensitiveRisk`; default 0-1.
    level : float, default 0.9
        In [0, 1): 0 is the mean, near 1 the worst case.
    over : {"individuals", "groups"}, default "individuals"

    Raises
    ------
    DataError, ModelError
        For a level outside [0, 1), an unknown `over`, or an unusable cost.

    Examples
    --------
    >>> import fairprog as fp
    >>> table = fp.OutcomeTable([[[.3, .1], [.1, .1]], [[.1, .1], [.1, .1]]])
    >>> round(fp.CVaR(level=.6, over="groups").evaluate(table), 3)
    0.5
    """

    level: float = 0.9
    name: ClassVar[str] = "cvar"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "level", check_number(self.level, "level"))
        if self.level >= 1.0:
            raise DataError(f"`level` must be in [0, 1); found {self.level}.", argument="level")

    def evaluate(self, table: OutcomeTable) -> float:
        """Return the mean of the worst losses, by sorting."""
        losses, weight = self._numbers(table)
        order = np.argsort(-losses, kind="stable")
        before = np.concatenate([[0.0], np.cumsum(weight[order])[:-1]])
        share = np.clip(1.0 - self.level - before, 0.0, weight[order])
        return float(share @ losses[order] / share.sum())

    def express(self, view: TableView) -> list[Term]:
        """Return the formula of Rockafellar and Uryasev, to minimise."""
        losses, weight = self._expressions(view)
        t = view.level(f"{self.name}:t")
        tail = weight @ view.functions.pos(losses - t)
        return [Term(t + tail / (1.0 - self.level), "minimize", 0.0, self.name)]


@dataclass(frozen=True, repr=False)
class RobustRisk(TailRisk):
    """The largest expected cost over all laws of individuals (or groups) near the given one.

    sup { E_Q loss : D(Q, P) <= radius }, Y given (x, a) and the classifier kept.

    Source: theory.md section 8; Duchi and Namkoong, *Learning models with uniform performance
    via distributionally robust optimization*, 2021.

    Parameters
    ----------
    cost : array_like (K, K) or mapping, optional
        See :class:`CostSensitiveRisk`; default 0-1.
    radius : float, default 0.1
        0 is the mean. KL in nats, total variation as half the absolute difference.
    ball : {"chi2", "kl", "tv"}, default "chi2"
        D = E_P (dQ/dP - 1)^2, KL(Q || P), or total variation.
    over : {"individuals", "groups"}, default "individuals"

    Raises
    ------
    DataError, ModelError
        For a negative radius, an unknown `ball` or `over`, or an unusable cost.

    Examples
    --------
    >>> import fairprog as fp
    >>> table = fp.OutcomeTable([[[.3, .1], [.1, .1]], [[.1, .1], [.1, .1]]])
    >>> round(fp.RobustRisk(radius=.1, ball="tv", over="groups").evaluate(table), 4)
    0.4167
    """

    radius: float = 0.1
    ball: str = "chi2"
    name: ClassVar[str] = "robust_risk"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "radius", check_number(self.radius, "radius"))
        check_ball(self.ball)

    def evaluate(self, table: OutcomeTable) -> float:
        """Return the worst expectation, by building the worst law."""
        return worst_case(*self._numbers(table), self.radius, self.ball)[0]

    def express(self, view: TableView) -> list[Term]:
        """Return the dual of the supremum, to minimise."""
        losses, weight = self._expressions(view)
        value, terms = express_worst_case(view, losses, weight, self.radius, self.ball, self.name)
        return [Term(value, "minimize", 0.0, self.name), *terms]
