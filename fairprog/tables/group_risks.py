"""Risks about how the groups fare: the worst one, the variance between them, dependence."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from fairprog.labels import Array, address
from fairprog.tables.outcome import OutcomeTable
from fairprog.tables.risks import CostSensitiveRisk, Risk
from fairprog.tables.templates import TableView, Term


@dataclass(frozen=True, repr=False)
class CostRisk(Risk):
    """A risk built on the expected cost; ``cost=None`` is the 0-1 cost."""

    cost: Any = None

    def __post_init__(self) -> None:
        if self.cost is not None:
            object.__setattr__(self, "cost", CostSensitiveRisk(self.cost).cost)

    def matrix(self, classes: tuple[Any, ...]) -> Array:
        """Return the cost matrix C, shape (K, K)."""
        if self.cost is None:
            return super().matrix(classes)
        return CostSensitiveRisk(self.cost).matrix(classes)

    def express_in_units(self, view: TableView) -> tuple[list[Term], float]:
        """Return the terms of the risk at costs of order one, and the unit."""
        size, unit = CostRisk.unit(self, view.classes), self.unit(view.classes)
        if size == 1.0:
            return self.express(view), unit
        terms = replace(self, cost=self.matrix(view.classes) / size).express(view)
        return [t if t.sense == "minimize" else replace(t, unit=size) for t in terms], unit

    def group_risks(self, table: OutcomeTable) -> Array:
        """Return R_a = E[C[Y, Yhat] | A=a], shape (G,)."""
        C = self.matrix(table.classes)
        return np.einsum("aij,ij->a", table.Z, C) / table.group_mass


def group_risks(view: TableView, C: Array) -> list[Any]:
    """Return E[C[Y, Yhat] | A=a] of every group as affine expressions."""
    K = range(len(view.classes))
    return [
        sum(C[i, j] * view.Z[a, i, j] for i in K for j in K) / float(np.sum(view.mass[a]))
        for a in range(len(view.groups))
    ]


@dataclass(frozen=True, repr=False)
class WorstGroupRisk(CostRisk):
    """max_a E[C[Y, Yhat] | A=a]: the risk of the group that fares worst.

    Parameters
    ----------
    cost : array_like (K, K) or mapping, optional
        See :class:`CostSensitiveRisk`; default 0-1.

    Examples
    --------
    >>> import fairprog as fp
    >>> table = fp.OutcomeTable([[[.2, .1], [.1, .1]], [[.1, .1], [.1, .2]]])
    >>> round(fp.WorstGroupRisk().evaluate(table), 3)
    0.4
    """

    name: ClassVar[str] = "worst_group_risk"

    def evaluate(self, table: OutcomeTable) -> float:
        """Return the largest group risk."""
        return float(self.group_risks(table).max())

    def express(self, view: TableView) -> list[Term]:
        """Return a level to minimise that no group's risk exceeds: one address per group."""
        level = view.level(self.name)
        terms = [Term(level, "minimize", 0.0, self.name)]
        risks = group_risks(view, self.matrix(view.classes))
        for group, risk in zip(view.groups, risks, strict=True):
            terms.append(Term(risk - level, "<=", 0.0, address(self.name, group)))
        return terms


@dataclass(frozen=True, repr=False)
class GroupRiskVariance(CostRisk):
    """sum_a p_a (R_a - R)^2, R_a = E[C[Y, Yhat] | A=a], R = sum_a p_a R_a: use it as a penalty.

    Parameters
    ----------
    cost : array_like (K, K) or mapping, optional
        See :class:`CostSensitiveRisk`; default 0-1.

    Examples
    --------
    >>> import fairprog as fp
    >>> table = fp.OutcomeTable([[[.3, .1], [.1, .1]], [[.1, .1], [.1, .1]]])
    >>> round((fp.ErrorRate() + 2 * fp.GroupRiskVariance()).evaluate(table), 4)
    0.4133
    """

    name: ClassVar[str] = "group_risk_variance"

    def unit(self, classes: tuple[Any, ...]) -> float:
        """Return the square of the largest absolute cost."""
        return super().unit(classes) ** 2

    def evaluate(self, table: OutcomeTable) -> float:
        """Return the variance between groups of the group risks."""
        risks, p = self.group_risks(table), table.group_mass
        return float(p @ (risks - p @ risks) ** 2)

    def express(self, view: TableView) -> list[Term]:
        """Return the sum of squares to minimise."""
        p = np.sum(view.mass, axis=1)
        risks = group_risks(view, self.matrix(view.classes))
        mean = sum(float(w) * r for w, r in zip(p, risks, strict=True))
        square = view.functions.square
        total = sum(float(w) * square(r - mean) for w, r in zip(p, risks, strict=True))
        return [Term(total, "minimize", 0.0, self.name)]


@dataclass(frozen=True, repr=False)
class RenyiInformation(Risk):
    """Exponential Renyi mutual information of prediction and group: use it as a penalty.

    sum_{a,j} P(Yhat=j, A=a)^2 / (P(Yhat=j) P(A=a)) - 1, at least 0 and 0 iff the prediction is
    independent of the group. Convex because the group masses are fixed.

    Source: theory.md section 8.

    Examples
    --------
    >>> import fairprog as fp
    >>> table = fp.OutcomeTable([[[.3, .1], [.1, .1]], [[.1, .1], [.1, .1]]])
    >>> round(fp.RenyiInformation().evaluate(table), 4)
    0.0278
    """

    name: ClassVar[str] = "renyi_information"

    def evaluate(self, table: OutcomeTable) -> float:
        """Return the exponential Renyi mutual information."""
        joint = table.Z.sum(axis=1)
        product = np.outer(joint.sum(axis=1), joint.sum(axis=0))
        used = product > 0
        return float((joint[used] ** 2 / product[used]).sum() - 1.0)

    def express(self, view: TableView) -> list[Term]:
        """Return one quadratic over linear per predicted class."""
        cp, K = view.functions, range(len(view.classes))
        p = np.sum(view.mass, axis=1)
        total: Any = -1.0
        for j in K:
            joint = [sum(view.Z[a, i, j] for i in K) for a in range(len(p))]
            scaled = cp.hstack([z / np.sqrt(w) for z, w in zip(joint, p, strict=True)])
            total = total + cp.quad_over_lin(scaled, sum(joint))
        return [Term(total, "minimize", 0.0, self.name)]
