"""Risks: objectives that are linear in the outcome table."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from fairprog.errors import DataError, ModelError
from fairprog.labels import Array, check_finite
from fairprog.tables.outcome import OutcomeTable
from fairprog.tables.templates import TableView, Template, Term

__all__ = ["CostSensitiveRisk", "ErrorRate", "Risk", "cost_matrix", "rule_costs"]


def cost_matrix(cost: ArrayLike | Mapping[str, float] | None, n_classes: int) -> Array:
    """Return the K x K cost matrix: C[i, j] = cost of predicting j when the truth is i.

    Parameters
    ----------
    cost : array_like (K, K), mapping or None
        None is the 0-1 cost; ``{"fp": ..., "fn": ...}`` is fairlearn's spelling for binary
        labels (nonnegative, not both zero).
    n_classes : int
        K.

    Raises
    ------
    DataError
        For a wrong shape, non-finite entries or an unusable mapping.
    """
    if cost is None:
        return 1.0 - np.eye(n_classes)
    if isinstance(cost, Mapping):
        if set(cost) != {"fp", "fn"} or n_classes != 2:
            raise DataError(
                f"A cost mapping needs the keys 'fp' and 'fn' and binary labels; found keys "
                f"{sorted(cost)} and {n_classes} classes.",
                argument="cost",
            )
        fp, fn = (float(check_finite(cost[k], "cost", ())) for k in ("fp", "fn"))
        if min(fp, fn) < 0 or max(fp, fn) == 0:
            raise DataError(
                f"Costs must be nonnegative and not both zero; found fp={fp}, fn={fn}.",
                argument="cost",
            )
        return np.array([[0.0, fp], [fn, 0.0]])
    return check_finite(cost, "cost", (n_classes, n_classes))


@dataclass(frozen=True, repr=False)
class Risk(Template):
    """An objective over outcome tables: ``evaluate(table)`` and ``express(view)``.

    Examples
    --------
    >>> import fairprog as fp
    >>> isinstance(fp.ErrorRate() + .1 * fp.RenyiInformation(), fp.Risk)
    True
    """

    name: ClassVar[str] = "risk"

    def matrix(self, classes: tuple[Hashable, ...]) -> Array:
        """Return the cost matrix C, shape (K, K)."""
        return cost_matrix(None, len(classes))

    @property
    def is_expected_cost(self) -> bool:
        """Whether the risk is sum_{a,i,j} C[i,j] Z[a,i,j], so that it has a Bayes rule."""
        own = type(self)
        return own.express is Risk.express and own.evaluate is Risk.evaluate

    def evaluate(self, table: OutcomeTable) -> float:
        """Return the risk sum_{a,i,j} C[i,j] Z[a,i,j], in the unit of the cost."""
        return float(np.einsum("aij,ij->", table.Z, self.matrix(table.classes)))

    def __add__(self, other: Risk) -> Risk:
        """Return the sum of two risks."""
        from fairprog.tables.combined import WeightedRisk

        return WeightedRisk((self, other), (1.0, 1.0))

    def __rmul__(self, weight: float) -> Risk:
        """Return the risk times a nonnegative number."""
        from fairprog.tables.combined import WeightedRisk

        return WeightedRisk((self,), (weight,))

    def express(self, view: TableView) -> list[Term]:
        """Return the one term to minimise."""
        C = self.matrix(view.classes)
        K = range(len(view.classes))
        expression = sum(
            C[i, j] * view.Z[a, i, j] for a in range(len(view.groups)) for i in K for j in K
        )
        return [Term(expression, "minimize", 0.0, self.name)]


@dataclass(frozen=True, repr=False)
class ErrorRate(Risk):
    """P(Yhat != Y).

    Examples
    --------
    >>> import fairprog as fp
    >>> table = fp.OutcomeTable([[[.2, .1], [.1, .1]], [[.1, .1], [.1, .2]]])
    >>> round(fp.ErrorRate().evaluate(table), 3)
    0.4
    """

    name: ClassVar[str] = "error_rate"


@dataclass(frozen=True, repr=False)
class CostSensitiveRisk(Risk):
    """Expected cost sum_{a,i,j} C[i,j] P(A=a, Y=i, Yhat=j).

    Parameters
    ----------
    cost : array_like, shape (K, K), or mapping with keys 'fp' and 'fn'
        C[i, j] = cost of predicting j when the truth is i, in your loss unit.

    Raises
    ------
    DataError
        If the matrix is not square and finite, or the mapping not usable.

    Notes
    -----
    Source: theory.md section 0.

    Examples
    --------
    >>> import fairprog as fp
    >>> table = fp.OutcomeTable([[[.2, .1], [.1, .1]], [[.1, .1], [.1, .2]]])
    >>> round(fp.CostSensitiveRisk({"fp": 1, "fn": 5}).evaluate(table), 3)
    1.2
    """

    cost: Any = None
    name: ClassVar[str] = "cost_sensitive_risk"

    def __post_init__(self) -> None:
        if self.cost is None:
            raise DataError(
                "`cost` is required; for the 0-1 cost use ErrorRate().", argument="cost"
            )
        if isinstance(self.cost, Mapping):
            C = cost_matrix(self.cost, 2)
        else:
            C = check_finite(self.cost, "cost")
            if C.ndim != 2 or C.shape[0] != C.shape[1]:
                raise DataError(
                    f"`cost` must be a square matrix, classes by predictions; its shape is "
                    f"{C.shape}.",
                    argument="cost",
                )
        object.__setattr__(self, "cost", tuple(tuple(float(c) for c in row) for row in C))

    def matrix(self, classes: tuple[Hashable, ...]) -> Array:
        """Return the cost matrix C, shape (K, K); DataError if K differs."""
        return cost_matrix(self.cost, len(classes))


def rule_costs(
    cost: ArrayLike | Mapping[str, float] | Risk | None, classes: tuple[Hashable, ...]
) -> Array:
    """Return the cost matrix of a Bayes rule, shape (K, K): of a cost, or of an expected cost.

    Raises
    ------
    ModelError
        For other risks (of the worst group, of tails, penalties): no Bayes rule minimises them.
    """
    if not isinstance(cost, Risk):
        return cost_matrix(cost, len(classes))
    if not cost.is_expected_cost:
        raise ModelError(
            f"{cost!r} is no expected cost, so it has no Bayes rule; fp.FairClassifier minimises "
            "it over classifiers, its `evaluate` takes an outcome table.",
            argument="cost",
        )
    return cost.matrix(classes)
