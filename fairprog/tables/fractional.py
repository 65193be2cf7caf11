"""Notions whose rate is a ratio of two linear functions of the table.

Rates conditioned on the prediction, P(Y=1 | Yhat=1), are linear only once the common level t is
fixed: num(Z) - t den(Z) = 0. A program with `level=None` searches the level (theory.md section 8).
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from fairprog.errors import DataError, ModelError
from fairprog.labels import Array, address, check_finite
from fairprog.tables.notions import Event, Notion
from fairprog.tables.outcome import OutcomeTable
from fairprog.tables.templates import TableView, Term

Fraction = tuple[tuple[Hashable, ...], Array, Array]  # address labels, numerator, denominator


@dataclass(frozen=True, repr=False)
class FractionalNotion(Notion):
    """Base: rate = <N, Z_a> / <M, Z_a> for K x K weights N, M per event.

    Parameters
    ----------
    level : float or tuple of float, optional
        The common level t of each event, ``|rate_a - t| <= difference_bound / 2`` in every group.
        None: the program searches t (one event only) and says that its answer is the best of the
        levels searched; for every fixed t the program is linear, jointly it is not convex.
    difference_bound, positive
        See :class:`Notion`; a ``ratio_bound`` is not offered.

    Notes
    -----
    A group for which the condition never happens (nobody predicted positive) satisfies the
    linear form at every level; its rate is NaN and ``gap`` raises. Source: theory.md section 8.

    Examples
    --------
    >>> import fairprog as fp
    >>> issubclass(fp.F1Parity, fp.FractionalNotion)
    True
    """

    level: Any = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ratio_bound is not None:
            raise ModelError(
                f"{type(self).__name__} takes a `difference_bound` only.", argument="ratio_bound"
            )
        if self.level is None:
            return
        levels = np.atleast_1d(check_finite(self.level, "level"))
        if levels.ndim != 1 or not np.all((levels >= 0) & (levels <= 1)):
            raise DataError(
                f"`level` must be in [0, 1], one per event; found {self.level!r}.",
                argument="level",
            )
        values = tuple(float(t) for t in levels)
        object.__setattr__(self, "level", values[0] if len(values) == 1 else values)

    def fractions(self, classes: tuple[Hashable, ...]) -> list[Fraction]:
        """Return the events: address labels, numerator weights and denominator weights."""
        raise ModelError(f"{type(self).__name__} defines no fractions.")

    def events(self, classes: tuple[Hashable, ...]) -> list[Event]:
        """Refuse: the rates are not linear in the table."""
        raise ModelError(f"The rates of {type(self).__name__} are not linear in the table.")

    def evaluate(self, table: OutcomeTable) -> Array:
        """Return the group rates, shape (events, G); NaN where the condition never happens."""
        rows = []
        for _, top, bottom in self.fractions(table.classes):
            num, den = (np.einsum("aij,ij->a", table.Z, w) for w in (top, bottom))
            with np.errstate(invalid="ignore", divide="ignore"):
                rows.append(num / den)
        return np.array(rows)

    def violation(self, table: OutcomeTable) -> float:
        """Return by how much a rate misses the bound; groups without the condition do not."""
        rates = self.evaluate(table)
        if self.level is None:
            happens = [row[~np.isnan(row)] for row in rates]
            spreads = [float(np.ptp(row)) for row in happens if row.size]
            return max(spreads, default=0.0) - self.difference_bound
        distance = np.abs(rates - np.atleast_1d(self.level)[:, None])
        return float(np.nan_to_num(distance).max()) - self.difference_bound / 2

    def express(self, view: TableView) -> list[Term]:
        """Return ``|num - t den| <= (bound / 2) den`` per (event, group); bound 0: equalities."""
        fractions = self.fractions(view.classes)
        if self.level is None:
            raise ModelError(
                f"{self!r} is linear only at a fixed level; give `level`, or let "
                "FairClassifier search it.",
                argument="level",
            )
        levels = np.atleast_1d(self.level)
        if len(levels) != len(fractions):
            raise DataError(
                f"{self!r} needs {len(fractions)} level(s), one per event.", argument="level"
            )
        bound = view.parameter("bound", self.difference_bound)
        terms = []
        for (labels, top, bottom), value in zip(fractions, levels, strict=True):
            level = float(value)
            if len(levels) == 1:  # what a program may search
                level = view.parameter("level", level)
            for a, group in enumerate(view.groups):
                where = address(self.name, group, *labels)
                num, den = _weighted(view, a, top), _weighted(view, a, bottom)
                if self.difference_bound == 0.0:
                    terms.append(Term(num - level * den, "==", 0.0, where, 0.5 * den))
                    continue
                upper = num - level * den - bound / 2 * den
                lower = level * den - num - bound / 2 * den
                terms.append(Term(upper, "<=", 0.0, f"{where}:upper"))
                terms.append(Term(lower, "<=", 0.0, f"{where}:lower"))
        return terms


def _weighted(view: TableView, a: int, weights: Array) -> Any:
    pairs = zip(*np.nonzero(weights), strict=True)
    return sum(float(weights[i, j]) * view.Z[a, int(i), int(j)] for i, j in pairs)


@dataclass(frozen=True, repr=False)
class PredictiveParity(FractionalNotion):
    """P(Y=j | Yhat=j, A=a) agrees between groups (precision; binary: of the positive class).

    Parameters and errors: see :class:`FractionalNotion`. With more classes one event per class.

    Examples
    --------
    >>> import fairprog as fp
    >>> table = fp.OutcomeTable([[[.2, .1], [.1, .1]], [[.1, .1], [.1, .2]]])
    >>> fp.PredictiveParity().evaluate(table).round(3)
    array([[0.5  , 0.667]])
    """

    name: ClassVar[str] = "predictive_parity"

    def fractions(self, classes: tuple[Hashable, ...]) -> list[Fraction]:
        """One event per predicted class (binary: the positive one)."""
        K = len(classes)
        out: list[Fraction] = []
        for j in [self._positive(classes)] if K == 2 else range(K):
            top, bottom = np.zeros((K, K)), np.zeros((K, K))
            top[j, j], bottom[:, j] = 1.0, 1.0
            out.append(((classes[j],), top, bottom))
        return out


@dataclass(frozen=True, repr=False)
class FalseOmissionRateParity(FractionalNotion):
    """P(Y=1 | Yhat=0, A=a) agrees between groups (binary labels only).

    Parameters and errors: see :class:`FractionalNotion`.

    Examples
    --------
    >>> import fairprog as fp
    >>> table = fp.OutcomeTable([[[.2, .1], [.1, .1]], [[.1, .1], [.1, .2]]])
    >>> fp.FalseOmissionRateParity().evaluate(table).round(3)
    array([[0.333, 0.5  ]])
    """

    name: ClassVar[str] = "false_omission_rate_parity"

    def fractions(self, classes: tuple[Hashable, ...]) -> list[Fraction]:
        """Return one event: positives among those predicted negative."""
        n, k = self._other(classes), self._positive(classes)
        top, bottom = np.zeros((2, 2)), np.zeros((2, 2))
        top[k, n], bottom[:, n] = 1.0, 1.0
        return [((classes[k], classes[n]), top, bottom)]


@dataclass(frozen=True, repr=False)
class F1Parity(FractionalNotion):
    """2 TP / (2 TP + FP + FN) of the positive class agrees between groups.

    Parameters and errors: see :class:`FractionalNotion`.

    Examples
    --------
    >>> import fairprog as fp
    >>> table = fp.OutcomeTable([[[.2, .1], [.1, .1]], [[.1, .1], [.1, .2]]])
    >>> fp.F1Parity().evaluate(table).round(3)
    array([[0.5  , 0.667]])
    """

    name: ClassVar[str] = "f1_parity"

    def fractions(self, classes: tuple[Hashable, ...]) -> list[Fraction]:
        """Return one event: the F1 score of the positive class."""
        K, k = len(classes), self._positive(classes)
        top, bottom = np.zeros((K, K)), np.zeros((K, K))
        top[k, k] = 2.0
        bottom[k, :] += 1.0
        bottom[:, k] += 1.0
        return [((classes[k],), top, bottom)]
