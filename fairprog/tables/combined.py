"""Sums of risks, and risks as constraints."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from fairprog.errors import DataError, ModelError
from fairprog.labels import check_number
from fairprog.tables.outcome import OutcomeTable
from fairprog.tables.risks import Risk
from fairprog.tables.templates import Constraint, TableView, Term
from fairprog.tables.units import express_in_units, unit_of, without_base

__all__ = ["RiskBound", "WeightedRisk"]


@dataclass(frozen=True, repr=False)
class WeightedRisk(Risk):
    """sum_k weights[k] risks[k]; usually written ``fp.ErrorRate() + 0.1 * fp.RenyiInformation()``.

    Parameters
    ----------
    risks : tuple of Risk
    weights : tuple of float
        Nonnegative.

    Examples
    --------
    >>> import fairprog as fp
    >>> fp.ErrorRate() + 0.1 * fp.RenyiInformation()
    WeightedRisk((ErrorRate(), RenyiInformation()), (1.0, 0.1))
    """

    risks: Any = ()
    weights: Any = ()
    name: ClassVar[str] = "weighted_risk"

    def __post_init__(self) -> None:
        risks = tuple(self.risks)
        weights = tuple(check_number(w, "weights") for w in self.weights)
        if not risks or len(risks) != len(weights) or not all(isinstance(r, Risk) for r in risks):
            raise DataError("`risks` must be risks, each with one of `weights`.", argument="risks")
        object.__setattr__(self, "risks", risks)
        object.__setattr__(self, "weights", weights)

    def evaluate(self, table: OutcomeTable) -> float:
        """Return the weighted sum."""
        pairs = zip(self.weights, self.risks, strict=True)
        return float(sum(w * risk.evaluate(table) for w, risk in pairs))

    def express(self, view: TableView) -> list[Term]:
        """Return the terms of every risk, those to minimise scaled."""
        out: list[Term] = []
        for weight, risk in zip(self.weights, self.risks, strict=True):
            for term in risk.express(view):
                scaled = term.sense == "minimize"
                out.append(replace(term, expression=weight * term.expression) if scaled else term)
        return out


@dataclass(frozen=True, repr=False)
class RiskBound(Constraint):
    """A risk as a constraint: it is at most `upper`.

    Parameters
    ----------
    risk : Risk
    upper : float
        In the unit of the risk.

    Examples
    --------
    >>> import fairprog as fp
    >>> fp.RiskBound(fp.ErrorRate(), 0.2)
    RiskBound(ErrorRate(), 0.2)
    """

    risk: Any = None
    upper: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.risk, Risk):
            raise ModelError(f"`risk` must be a risk; found {self.risk!r}.", argument="risk")
        object.__setattr__(self, "upper", check_number(self.upper, "upper", -float("inf")))

    @property
    def name(self) -> str:  # type: ignore[override]
        """``bound_`` and the risk's name."""
        return f"bound_{self.risk.name}"

    @property
    def bound_field(self) -> str:
        """``upper``."""
        return "upper"

    def evaluate(self, table: OutcomeTable) -> float:
        """Return the risk."""
        return float(self.risk.evaluate(table))

    def violation(self, table: OutcomeTable) -> float:
        """Return by how much the risk exceeds the bound."""
        return self.evaluate(table) - self.upper

    def unit(self, classes: tuple[Hashable, ...]) -> float:
        """Return the unit of the risk."""
        return unit_of(self.risk, classes)

    def express(self, view: TableView) -> list[Term]:
        """Return the risk's terms, what it minimises as one inequality."""
        bound = view.parameter("bound", self.upper)
        risk, base = without_base(self.risk, view.classes)
        terms, unit = express_in_units(risk, view)
        total = sum(t.expression for t in terms if t.sense == "minimize")
        paid = float(np.sum(view.mass, axis=0) @ base) / unit
        rest = [t for t in terms if t.sense != "minimize"]
        others = [replace(t, address=f"{self.name}:{t.address}") for t in rest]
        return [*others, Term(total + paid - bound / unit, "<=", 0.0, self.name, unit=unit)]
