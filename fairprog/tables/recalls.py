"""True positive rates of every class, and their root mean square gap."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from fairprog.errors import DataError, ModelError
from fairprog.labels import Array, address, check_number
from fairprog.tables.fractional import FractionalNotion
from fairprog.tables.notions import Event, Notion, rate_in
from fairprog.tables.outcome import OutcomeTable
from fairprog.tables.templates import Constraint, TableView, Term


@dataclass(frozen=True, repr=False)
class TruePositiveRateParity(Notion):
    """P(Yhat=i | Y=i, A=a) agrees between groups: binary, of the positive class; else of each.

    Parameters and errors: see :class:`Notion`. Source: theory.md section 1.

    Examples
    --------
    >>> import fairprog as fp
    >>> y, guess = [0, 1, 2, 0, 1, 2], [0, 1, 2, 0, 1, 1]
    >>> table = fp.OutcomeTable.from_predictions(y, guess, sensitive_features=list("aaabbb"))
    >>> fp.TruePositiveRateParity().evaluate(table)
    array([[1., 1.],
           [1., 1.],
           [1., 0.]])
    """

    name: ClassVar[str] = "true_positive_rate_parity"

    def events(self, classes: tuple[Hashable, ...]) -> list[Event]:
        """One event per class (binary: the positive one)."""
        of = [self._positive(classes)] if len(classes) == 2 else range(len(classes))
        return [((classes[i],), [(i, i)], [i]) for i in of]

    def evaluate(self, table: OutcomeTable) -> Array:
        """Return Z[a,i,i] / q_ia, shape (events, G)."""
        rates = np.einsum("aii->ia", table.rates())
        return rates[[self._positive(table.classes)]] if len(rates) == 2 else rates


@dataclass(frozen=True, repr=False)
class RMSGap(Constraint):
    """The root mean square, over a notion's events, of largest minus smallest rate is bounded.

    With :class:`TruePositiveRateParity` it is the RMS TPR gap of multi-class audits.

    Parameters
    ----------
    notion : Notion
        With rates linear in the table; its own bound is not used.
    upper : float, default 0.05
        Positive, in units of probability. For 0 use the notion itself.

    Raises
    ------
    ModelError
        For a notion whose rates are ratios, or that is on one attribute or within strata.
    DataError
        For a bound that is not positive.

    Examples
    --------
    >>> import fairprog as fp
    >>> y, guess = [0, 1, 2, 0, 1, 2], [0, 1, 2, 0, 1, 1]
    >>> table = fp.OutcomeTable.from_predictions(y, guess, sensitive_features=list("aaabbb"))
    >>> round(fp.RMSGap(fp.TruePositiveRateParity(), upper=.1).gap(table), 4)
    0.5774
    """

    notion: Any = None
    upper: float = 0.05

    def __post_init__(self) -> None:
        wanted = isinstance(self.notion, Notion) and not isinstance(self.notion, FractionalNotion)
        if not wanted or self.notion.splits:
            raise ModelError(
                f"`notion` must have linear rates, between all groups; found {self.notion!r}.",
                argument="notion",
            )
        object.__setattr__(self, "upper", check_number(self.upper, "upper"))
        if self.upper == 0:
            raise DataError(
                "`upper` must be positive; a gap of 0 is what the notion itself asks for.",
                argument="upper",
            )

    @property
    def name(self) -> str:  # type: ignore[override]
        """``rms_`` and the notion's name."""
        return f"rms_{self.notion.name}"

    @property
    def bound_field(self) -> str:
        """``upper``."""
        return "upper"

    def evaluate(self, table: OutcomeTable) -> Array:
        """Return the gap of every event, shape (events,)."""
        return np.asarray(np.ptp(self.notion.evaluate(table), axis=1))

    def gap(self, table: OutcomeTable) -> float:
        """Return the root mean square gap."""
        return float(np.sqrt((self.evaluate(table) ** 2).mean()))

    def violation(self, table: OutcomeTable) -> float:
        """Return by how much the gap exceeds the bound."""
        return self.gap(table) - self.upper

    def express(self, view: TableView) -> list[Term]:
        """Return ``|rate - level| <= width / 2`` per event and group; the widths' norm."""
        bound = view.parameter("bound", self.upper)
        events = self.notion.events(view.classes)
        width = view.level(f"{self.name}:width", len(events))
        level = view.level(f"{self.name}:level", len(events))
        terms = []
        for e, (labels, outcomes, inside) in enumerate(events):
            for a, group in enumerate(view.groups):
                rate, where = rate_in(view, self, a, outcomes, inside), (self.name, group, *labels)
                terms += [
                    Term(rate - level[e] - width[e] / 2, "<=", 0.0, f"{address(*where)}:upper"),
                    Term(level[e] - rate - width[e] / 2, "<=", 0.0, f"{address(*where)}:lower"),
                ]
        norm = view.functions.norm(width, 2) / np.sqrt(len(events))
        return [*terms, Term(norm - bound, "<=", 0.0, self.name)]
