"""Fairness notions: rates of an outcome table that must agree between groups.

A notion is a list of *events* (a rate P(Yhat in S | condition) per event) and a comparison: the
largest minus the smallest group rate (``difference_bound``) or smallest over largest
(``ratio_bound``). fairlearn bounds the deviation from the *overall* rate instead; here the bound
is on the spread between groups, worst over events.

Each notion is written twice: ``evaluate`` in numpy from the definition, ``express`` from the
event masks with a free level per event. Tests compare the two.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from fairprog.errors import DataError, ModelError
from fairprog.labels import Array, address, index_of, plain
from fairprog.tables.attributes import by_table, by_view, names_of, split_tables
from fairprog.tables.outcome import OutcomeTable
from fairprog.tables.templates import Constraint, TableView, Term

Mask = list[tuple[int, int]]  # (true class, predicted class) pairs
Event = tuple[tuple[Hashable, ...], Mask, list[int]]  # address labels, outcomes, true classes


@dataclass(frozen=True, repr=False, kw_only=True)
class Notion(Constraint):
    """A fairness notion; see the concrete ones.

    Parameters
    ----------
    difference_bound : float, default 0.0
        Largest minus smallest group rate, worst over events, in units of probability.
    ratio_bound : float, optional
        Instead of a difference: smallest over largest group rate must reach this, in (0, 1].
    positive : hashable, optional
        The class label that counts as positive; default the last of ``classes``.
    on : str, int or tuple of these, optional
        Of several sensitive attributes those whose groups are compared, by column name or
        position: ``on="sex"`` adds up all women, whatever else they are. Default: all of them,
        crossed.
    within : str, int or tuple of these, optional
        Control features: groups are compared inside each stratum of these attributes.

    Raises
    ------
    DataError
        If a bound is outside its range or both bounds are given.
    ModelError
        Where `on` or `within` names no attribute of the groups, or nothing is left to compare.

    Examples
    --------
    >>> import fairprog as fp
    >>> table = fp.OutcomeTable([[[.2, .1], [.1, .1]], [[.1, .1], [.1, .2]]])
    >>> notion = fp.EqualizedOdds(difference_bound=.1)
    >>> notion.evaluate(table).round(3)  # (events, groups)
    array([[0.333, 0.5  ],
           [0.5  , 0.667]])
    >>> round(notion.gap(table), 3), round(notion.violation(table), 3)
    (0.167, 0.067)
    """

    difference_bound: float = 0.0
    ratio_bound: float | None = None
    positive: Any = None
    on: Any = None
    within: Any = None

    name: ClassVar[str] = "notion"

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for face, by_part in (("evaluate", by_table), ("express", by_view)):
            if face in cls.__dict__:
                setattr(cls, face, by_part(cls.__dict__[face]))

    def __post_init__(self) -> None:
        for name in ("on", "within"):
            if isinstance(getattr(self, name), list):
                object.__setattr__(self, name, tuple(getattr(self, name)))
        for name in ("difference_bound", "ratio_bound"):
            self._to_number(name)
        object.__setattr__(self, "positive", plain(self.positive))
        if not 0.0 <= self.difference_bound <= 1.0:
            raise DataError(
                f"`difference_bound` must be in [0, 1]; found {self.difference_bound}.",
                argument="difference_bound",
            )
        if self.ratio_bound is not None:
            if not 0.0 < self.ratio_bound <= 1.0:
                raise DataError(
                    f"`ratio_bound` must be in (0, 1]; found {self.ratio_bound}.",
                    argument="ratio_bound",
                )
            if self.difference_bound != 0.0:
                raise DataError(
                    "Give `difference_bound` or `ratio_bound`, not both.", argument="ratio_bound"
                )

    @property
    def bound_field(self) -> str:
        """``difference_bound``, or ``ratio_bound`` where that was given."""
        return "difference_bound" if self.ratio_bound is None else "ratio_bound"

    @property
    def upward(self) -> bool:
        """Whether it has a ratio bound: a larger one asks for more."""
        return self.ratio_bound is not None

    @property
    def splits(self) -> bool:
        """Whether it adds up groups (`on`) or compares inside strata (`within`)."""
        return self.on is not None or self.within is not None

    @property
    def key(self) -> str:
        """The name, and which attributes it is on and within."""
        parts = [self.name]
        for word in ("on", "within"):
            parts += [f"{word}_{name}" for name in names_of(getattr(self, word))]
        return "_".join(parts)

    def violation(self, table: OutcomeTable) -> float:
        """Return by how much the worst event misses the bound (0 or less: it does not)."""
        gap = self.gap(table)
        if self.ratio_bound is None:
            return gap - self.difference_bound
        rates = self.evaluate(table)
        high, low = np.nanmax(rates, axis=1), np.nanmin(rates, axis=1)
        return float((self.ratio_bound * high - low).max())

    def _to_number(self, name: str) -> None:
        value = getattr(self, name)
        if not (value is None and name == "ratio_bound"):
            number = float(value) if isinstance(value, (int, float, np.number)) else None
            if number is None:
                raise DataError(f"`{name}` must be a number; found {value!r}.", argument=name)
            object.__setattr__(self, name, number)

    def _positive(self, classes: tuple[Hashable, ...]) -> int:
        if self.positive is None:
            return len(classes) - 1
        return index_of(classes, self.positive, "positive")

    def _other(self, classes: tuple[Hashable, ...]) -> int:
        """Return the negative class of a binary label (ModelError when there are more)."""
        if len(classes) != 2:
            raise ModelError(
                f"{type(self).__name__} needs a binary label; the classes are {list(classes)}. "
                "Use EqualizedOdds(), or Parity('P(yhat=... | y=...)') for one rate."
            )
        return 1 - self._positive(classes)

    def events(self, classes: tuple[Hashable, ...]) -> list[Event]:
        """Return the events for `express`: address labels, outcome pairs, true classes."""
        raise ModelError(f"{type(self).__name__} defines no events; subclass Notion and add them.")

    def evaluate(self, table: OutcomeTable) -> Array:
        """Return the group rates, shape (events, G); NaN where the condition has no mass."""
        raise ModelError(f"{type(self).__name__} defines no rates; subclass Notion and add them.")

    def gap(self, table: OutcomeTable) -> float:
        """Return largest minus smallest group rate, worst over events (0 iff exactly fair).

        Raises
        ------
        DataError
            If some group has no mass in the condition of an event.
        """
        if not isinstance(table, OutcomeTable):
            raise DataError(
                f"`table` must be an OutcomeTable; found {type(table).__name__}. A population has "
                "one for every rule: population.evaluate(cost).table.",
                argument="table",
            )
        worst = 0.0
        for part in split_tables(table, self):
            rates = self.evaluate(part)
            empty = np.argwhere(np.isnan(rates))
            if empty.size:
                group = part.groups[int(empty[0][1])]
                raise DataError(
                    f"{self!r} is undefined: group {group!r} has no mass in the condition of "
                    f"event {int(empty[0][0])}.",
                    cell=(None, group),
                )
            worst = max(worst, float(np.ptp(rates, axis=1).max()))
        return worst

    @by_view
    def express(self, view: TableView) -> list[Term]:
        """Return the terms: one address per (event, group), bound 0 as equalities.

        ``|rate_g - level| <= difference_bound / 2`` with a free level per event; for a ratio,
        ``ratio_bound * level <= rate_g <= level``.
        """
        terms: list[Term] = []
        bound = view.parameter("bound", getattr(self, self.bound_field))
        events = self.events(view.classes)
        if not view.redundant and self.bound_field == "difference_bound" and self.bound == 0.0:
            events = _irredundant(events, len(view.classes))
        for labels, outcomes, condition in events:
            level = view.level(address(self.name, *labels))
            for a, group in enumerate(view.groups):
                rate = rate_in(view, self, a, outcomes, condition)
                where = address(self.name, group, *labels)
                if self.ratio_bound is not None:
                    terms.append(Term(rate - level, "<=", 0.0, f"{where}:upper"))
                    terms.append(Term(bound * level - rate, "<=", 0.0, f"{where}:lower"))
                elif self.difference_bound == 0.0:
                    terms.append(Term(rate - level, "==", 0.0, where, 0.5))
                else:
                    terms.append(Term(rate - level, "abs<=", bound / 2, where))
        return terms


def rate_in(view: TableView, template: Any, a: int, outcomes: Mask, inside: list[int]) -> Any:
    """Return the rate of the group at `a` as an affine expression.

    Raises
    ------
    DataError
        If the group has no mass in the classes `inside`, naming the template.
    """
    mass = float(sum(view.mass[a, i] for i in inside))
    if mass <= 0:
        raise DataError(
            f"{template!r}: group {view.groups[a]!r} has no mass in class(es) "
            f"{[view.classes[i] for i in inside]}.",
            cell=(view.classes[inside[0]], view.groups[a]),
        )
    return sum(view.Z[a, i, j] for i, j in outcomes) / mass


def _irredundant(events: list[Event], n_classes: int) -> list[Event]:
    """Drop the first event of each condition whose events split all outcomes: it follows."""
    kept: list[Event] = []
    by_condition: dict[tuple[int, ...], list[Event]] = {}
    for event in events:
        by_condition.setdefault(tuple(event[2]), []).append(event)
    for condition, same in by_condition.items():
        outcomes = [pair for event in same for pair in event[1]]
        split = len(outcomes) == len(set(outcomes)) == len(condition) * n_classes
        kept.extend(same[1:] if split else same)
    return kept


@dataclass(frozen=True, repr=False)
class DemographicParity(Notion):
    """P(Yhat=j | A=a) agrees between groups (binary: j positive; otherwise every j).

    Parameters and errors: see :class:`Notion`. Source: theory.md sections 1 and 8.

    Examples
    --------
    >>> import fairprog as fp
    >>> fp.DemographicParity(difference_bound=0.1)
    DemographicParity(difference_bound=0.1)
    """

    name: ClassVar[str] = "demographic_parity"

    def events(self, classes: tuple[Hashable, ...]) -> list[Event]:
        """One event per predicted class (binary: the positive one)."""
        K = range(len(classes))
        predicted = [self._positive(classes)] if len(classes) == 2 else list(K)
        return [((classes[j],), [(i, j) for i in K], list(K)) for j in predicted]

    def evaluate(self, table: OutcomeTable) -> Array:
        """Return sum_i Z[a,i,j] / p_a, shape (events, G)."""
        rates = (table.Z.sum(axis=1) / table.group_mass[:, None]).T
        return rates[[self._positive(table.classes)]] if len(rates) == 2 else rates


@dataclass(frozen=True, repr=False)
class EqualOpportunity(Notion):
    """P(Yhat=1 | Y=1, A=a) agrees between groups, 1 the positive class (true positive rate).

    Parameters and errors: see :class:`Notion`. Source: theory.md sections 1 and 8.

    Examples
    --------
    >>> import fairprog as fp
    >>> fp.EqualOpportunity(positive="hired")
    EqualOpportunity(positive='hired')
    """

    name: ClassVar[str] = "equal_opportunity"

    def events(self, classes: tuple[Hashable, ...]) -> list[Event]:
        """Return one event: the positive class, predicted positive."""
        k = self._positive(classes)
        return [((classes[k], classes[k]), [(k, k)], [k])]

    def evaluate(self, table: OutcomeTable) -> Array:
        """Return Z[a,1,1] / q_1a, shape (1, G)."""
        k = self._positive(table.classes)
        return table.rates()[None, :, k, k]


@dataclass(frozen=True, repr=False)
class PredictiveEquality(Notion):
    """P(Yhat=1 | Y=0, A=a) agrees between groups (false positive rate; binary labels only).

    Parameters: see :class:`Notion`; ModelError with more than two classes.
    Source: theory.md sections 1 and 8.

    Examples
    --------
    >>> import fairprog as fp
    >>> fp.PredictiveEquality()
    PredictiveEquality()
    """

    name: ClassVar[str] = "predictive_equality"

    def events(self, classes: tuple[Hashable, ...]) -> list[Event]:
        """Return one event: the negative class, predicted positive."""
        n, k = self._other(classes), self._positive(classes)
        return [((classes[n], classes[k]), [(n, k)], [n])]

    def evaluate(self, table: OutcomeTable) -> Array:
        """Return Z[a,0,1] / q_0a, shape (1, G)."""
        n, k = self._other(table.classes), self._positive(table.classes)
        return table.rates()[None, :, n, k]


@dataclass(frozen=True, repr=False)
class EqualizedOdds(Notion):
    """P(Yhat=j | Y=i, A=a) agrees between groups for every i and j.

    Parameters and errors: see :class:`Notion`. Source: theory.md sections 1 and 8.

    Examples
    --------
    >>> import fairprog as fp
    >>> fp.EqualizedOdds(ratio_bound=0.8)
    EqualizedOdds(ratio_bound=0.8)
    """

    name: ClassVar[str] = "equalized_odds"

    def events(self, classes: tuple[Hashable, ...]) -> list[Event]:
        """One event per (true, predicted) pair (binary: predicted positive only)."""
        K = range(len(classes))
        predicted = [self._positive(classes)] if len(classes) == 2 else list(K)
        return [((classes[i], classes[j]), [(i, j)], [i]) for i in K for j in predicted]

    def evaluate(self, table: OutcomeTable) -> Array:
        """Return Z[a,i,j] / q_ia, shape (events, G)."""
        rates = np.moveaxis(table.rates(), 0, -1)
        if len(table.classes) == 2:
            rates = rates[:, [self._positive(table.classes)]]
        return rates.reshape(-1, rates.shape[-1])


@dataclass(frozen=True, repr=False)
class AccuracyParity(Notion):
    """P(Yhat=Y | A=a) agrees between groups.

    Parameters and errors: see :class:`Notion`. Source: theory.md section 1.

    Examples
    --------
    >>> import fairprog as fp
    >>> fp.AccuracyParity()
    AccuracyParity()
    """

    name: ClassVar[str] = "accuracy_parity"

    def events(self, classes: tuple[Hashable, ...]) -> list[Event]:
        """Return one event: the prediction is right."""
        K = range(len(classes))
        return [((), [(i, i) for i in K], list(K))]

    def evaluate(self, table: OutcomeTable) -> Array:
        """Return sum_i Z[a,i,i] / p_a, shape (1, G)."""
        return (np.einsum("aii->a", table.Z) / table.group_mass)[None]
