"""A bound on a rate itself, group by group: levelling up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from fairprog.errors import DataError
from fairprog.labels import Array, address, check_number
from fairprog.tables.attributes import by_view, names_of, split_tables
from fairprog.tables.notions import rate_in
from fairprog.tables.outcome import OutcomeTable
from fairprog.tables.parity import group_rate, parse_rate
from fairprog.tables.templates import Constraint, TableView, Term


@dataclass(frozen=True, repr=False)
class RateBound(Constraint):
    """A rate of every group is at least `lower`, or at most `upper`: lower <= rate_a <= upper.

    Groups need not agree: a minimum rate lifts the groups below it and leaves the others.

    Parameters
    ----------
    rate : str
        ``"P(yhat=J)"`` or ``"P(yhat=J | y=I)"``, as for :class:`Parity`.
    lower, upper : float, optional
        In [0, 1], at least one of them. A frontier sweeps `lower`, and ``price`` is that of
        `lower`, where it is given; write two templates to have both priced.
    on : str or int, or several, optional
        Attributes it is about, where groups cross several: the others are added up. See
        :class:`Notion`.

    Raises
    ------
    ModelError
        If the text is not of that form.
    DataError
        If no bound is given, a bound is outside [0, 1], or `lower` exceeds `upper`.

    Examples
    --------
    >>> import fairprog as fp
    >>> D = fp.Categorical.from_scores([.2, .8, .4, .9], sensitive_features=list("aabb"))
    >>> at_least = fp.RateBound("P(yhat=1 | y=1)", lower=.9)
    >>> sol = fp.FairClassifier(D, fp.ErrorRate(), [at_least]).solve()
    >>> at_least.evaluate(sol.table).round(3)
    array([0.9, 0.9])
    >>> round(sol.price["rate_bound"], 4)  # per unit of the rate
    0.9125
    """

    rate: str = ""
    lower: float | None = None
    upper: float | None = None
    on: Any = None
    name: ClassVar[str] = "rate_bound"
    within: ClassVar[None] = None

    def __post_init__(self) -> None:
        parse_rate(self.rate, ())
        if isinstance(self.on, list):
            object.__setattr__(self, "on", tuple(self.on))
        for name in ("lower", "upper"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, check_number(value, name))
        low, high = self._ends()
        if (self.lower is None and self.upper is None) or not low <= high <= 1.0:
            raise DataError(
                "`lower` and `upper` must be in [0, 1], at least one of them given, and in this "
                f"order; found lower={self.lower}, upper={self.upper}.",
                argument="lower" if self.upper is None else "upper",
            )

    def _ends(self) -> tuple[float, float]:
        return 0.0 if self.lower is None else self.lower, 1.0 if self.upper is None else self.upper

    @property
    def bound_field(self) -> str:
        """``lower`` where it is given, else ``upper``."""
        return "upper" if self.lower is None else "lower"

    @property
    def upward(self) -> bool:
        """Whether the bound is a lower one."""
        return self.lower is not None

    @property
    def splits(self) -> bool:
        """Whether it adds up groups."""
        return self.on is not None

    @property
    def key(self) -> str:
        """The name, and which attributes it is on."""
        return "_".join([self.name, *(f"on_{name}" for name in names_of(self.on))])

    def evaluate(self, table: OutcomeTable) -> Array:
        """Return the rate of every group, shape (G,); NaN where its condition has no mass."""
        return group_rate(split_tables(table, self)[0], self.rate)

    def violation(self, table: OutcomeTable) -> float:
        """Return by how much the worst group misses a bound."""
        rates, (low, high) = self.evaluate(table), self._ends()
        return float(np.maximum(low - rates, rates - high).max())

    @by_view
    def express(self, view: TableView) -> list[Term]:
        """Return one term per group and bound that is given."""
        counted, _, inside = parse_rate(self.rate, view.classes)
        bound = view.parameter("bound", getattr(self, self.bound_field))
        terms: list[Term] = []
        for a, group in enumerate(view.groups):
            rate = rate_in(view, self, a, counted, inside)
            where = address(self.name, group, self.rate)
            if self.lower is not None:
                terms.append(Term(bound - rate, "<=", 0.0, f"{where}:lower"))
            if self.upper is not None:
                high = bound if self.lower is None else self.upper
                terms.append(Term(rate - high, "<=", 0.0, f"{where}:upper"))
        return terms
