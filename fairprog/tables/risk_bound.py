"""Risks as constraints."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fairprog.errors import ModelError
from fairprog.labels import check_number
from fairprog.tables.outcome import OutcomeTable
from fairprog.tables.risks import Risk
from fairprog.tables.templates import Constraint, TableView, Term


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
        return float(self.risk.unit(classes))

    def express(self, view: TableView) -> list[Term]:
        """Return the risk's terms, what it minimises as one inequality."""
        bound = view.parameter("bound", self.upper, signed=True)
        risk, base = self.risk.without_base(view.classes)
        terms, unit = risk.express_in_units(view)
        total = sum(t.expression for t in terms if t.sense == "minimize")
        paid = float(np.sum(view.mass, axis=0) @ base) / unit
        rest = [t for t in terms if t.sense != "minimize"]
        others = [replace(t, address=f"{self.name}:{t.address}") for t in rest]
        return [*others, Term(total + paid - bound / unit, "<=", 0.0, self.name, unit=unit)]
