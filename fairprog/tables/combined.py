"""Sums of risks, and risks as constraints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from fairprog.errors import DataError, ModelError
from fairprog.labels import Array, check_number
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
        risks = (self.risks,) if isinstance(self.risks, Risk) else tuple(self.risks)
        weights = tuple(check_number(w, "weights") for w in np.atleast_1d(self.weights))
        other = [risk for risk in risks if not isinstance(risk, Risk)]
        if other:
            raise DataError(f"Only risks can be added; found {other[0]!r}.", argument="risks")
        if not risks or len(risks) != len(weights):
            raise DataError("`risks` must be risks, each with one of `weights`.", argument="risks")
        pairs: list[tuple[float, Risk]] = []
        for weight, risk in zip(weights, risks, strict=True):
            if isinstance(risk, WeightedRisk):  # a sum of sums is a sum
                inner = zip(risk.weights, risk.risks, strict=True)
                pairs += [(weight * own, part) for own, part in inner]
            else:
                pairs.append((weight, risk))
        object.__setattr__(self, "weights", tuple(weight for weight, _ in pairs))
        object.__setattr__(self, "risks", tuple(risk for _, risk in pairs))

    @property
    def is_expected_cost(self) -> bool:
        """Whether every part is."""
        return all(risk.is_expected_cost for risk in self.risks)

    def matrix(self, classes: tuple[Hashable, ...]) -> Array:
        """Return the weighted sum of the parts' cost matrices, shape (K, K)."""
        pairs = zip(self.weights, self.risks, strict=True)
        return np.sum([w * risk.matrix(classes) for w, risk in pairs], axis=0)

    def evaluate(self, table: OutcomeTable) -> float:
        """Return the weighted sum."""
        pairs = zip(self.weights, self.risks, strict=True)
        return float(sum(w * risk.evaluate(table) for w, risk in pairs))

    def express(self, view: TableView) -> list[Term]:
        """Return the terms of every risk, those to minimise scaled."""
        return self.express_parts(view, lambda risk, seen: (risk.express(seen), 1.0), 1.0)

    def express_parts(
        self,
        view: TableView,
        express: Callable[[Risk, Any], tuple[list[Term], float]],
        unit: float,
    ) -> list[Term]:
        """Return the terms of sum_k weights[k] risks[k] / unit, `express` giving (terms, unit).

        The second risk of a name has levels of its own, and addresses that end in ``:2``.
        """
        out: list[Term] = []
        seen: Counter[str] = Counter()
        for weight, risk in zip(self.weights, self.risks, strict=True):
            seen[risk.name] += 1
            end = "" if seen[risk.name] == 1 else f":{seen[risk.name]}"
            terms, own = express(risk, _Part(view, end))
            for term in terms:
                if term.sense == "minimize":
                    out.append(replace(term, expression=weight * own / unit * term.expression))
                else:
                    out.append(replace(term, address=term.address + end))
        return out


class _Part:
    """The view of one risk of a sum: its levels are its own."""

    def __init__(self, view: TableView, end: str) -> None:
        self._view, self._end = view, end

    def level(self, name: str, size: int | None = None) -> Any:
        return self._view.level(name + self._end, size)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._view, name)


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
        bound = view.parameter("bound", self.upper, signed=True)
        risk, base = without_base(self.risk, view.classes)
        terms, unit = express_in_units(risk, view)
        total = sum(t.expression for t in terms if t.sense == "minimize")
        paid = float(np.sum(view.mass, axis=0) @ base) / unit
        rest = [t for t in terms if t.sense != "minimize"]
        others = [replace(t, address=f"{self.name}:{t.address}") for t in rest]
        return [*others, Term(total + paid - bound / unit, "<=", 0.0, self.name, unit=unit)]
