"""What templates say about binary scores, as rows of numbers.

Templates only add, scale and compare entries of ``view.Z``. Here these entries are affine
functions of the rates (x_a, y_a) = P(Yhat=1 | Y=0, a), P(Yhat=1 | Y=1, a) and of levels, so that
what a template expresses can be read off as a row of coefficients. A template that asks for more
(convex functions, single individuals) is not linear in the table and is refused with `NotLinear`.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fairprog.errors import ModelError
from fairprog.labels import Array
from fairprog.tables.notions import Notion
from fairprog.tables.templates import Constraint, Term

LEVELS = 64  # room for free levels; a program that needs more goes to the LP


class NotLinear(Exception):  # noqa: N818 - not an error: another solver takes over
    """Raised by templates that are not linear in the outcome table, with the reason."""


@dataclass(frozen=True, eq=False)
class Affine:
    """Coefficients of the variables and a constant."""

    vector: Array
    constant: float = 0.0

    __array_ufunc__ = None  # numpy scalars must ask __rmul__, not spread over the vector

    def __add__(self, other: Any) -> Affine:
        """Add an affine function or a number."""
        if isinstance(other, Affine):
            return Affine(self.vector + other.vector, self.constant + other.constant)
        return Affine(self.vector, self.constant + _number(other))

    __radd__ = __add__

    def __neg__(self) -> Affine:
        """Change the sign."""
        return Affine(-self.vector, -self.constant)

    def __sub__(self, other: Any) -> Affine:
        """Subtract an affine function or a number."""
        return self + (-other)

    def __rsub__(self, other: Any) -> Affine:
        """Subtract from a number."""
        return -self + other

    def __mul__(self, factor: Any) -> Affine:
        """Scale by a number."""
        return Affine(_number(factor) * self.vector, _number(factor) * self.constant)

    __rmul__ = __mul__

    def __truediv__(self, divisor: Any) -> Affine:
        """Divide by a number."""
        return self * (1.0 / _number(divisor))


def _number(value: Any) -> float:
    if isinstance(value, Affine) or np.ndim(value):
        raise NotLinear("a product of decisions, or a vector")
    return float(value)


class ScoreView:
    """The `TableView` of binary scores; see the module."""

    def __init__(
        self,
        mass: Array,
        classes: tuple[Hashable, ...],
        groups: tuple[Hashable, ...],
        shift: float,
        attributes: tuple[str, ...] = (),
    ) -> None:
        G = len(groups)
        self.attributes = attributes
        self.mass, self.classes, self.groups, self._shift = mass, classes, groups, shift
        self.redundant = False
        self.levels_are_rates = True
        self._levels: dict[str, int] = {}
        self._fill(G)

    def _fill(self, G: int) -> None:
        mass, self.n_rates = self.mass, 2 * G
        self.Z = np.empty((G, 2, 2), dtype=object)
        for a in range(G):
            for i in range(2):
                rate = self._unit(2 * a + i)
                self.Z[a, i, 1] = float(mass[a, i]) * rate
                self.Z[a, i, 0] = float(mass[a, i]) * (1.0 - rate)

    def _unit(self, k: int) -> Affine:
        if k >= self.size:
            raise NotLinear("very many levels")
        vector = np.zeros(self.size)
        vector[k] = 1.0
        return Affine(vector)

    def level(self, name: str, size: int | None = None) -> Affine:
        """Return the free scalar of that name, in [0, 1]."""
        if size is not None or not self.levels_are_rates:
            raise NotLinear("a level that is no rate")
        position = self._levels.setdefault(name, len(self._levels))
        return self._unit(self.n_rates + position)

    def parameter(self, name: str, value: float, signed: bool = False) -> float:
        """Return the number; the bound is shifted where its derivative is asked for."""
        return value + self._shift if name == "bound" else value

    def __getattr__(self, name: str) -> Any:
        raise NotLinear(f"it uses `{name}`")

    @property
    def n_levels(self) -> int:
        """How many levels were asked for."""
        return len(self._levels)

    @property
    def size(self) -> int:
        """Number of coefficients there is room for."""
        return self.n_rates + LEVELS


class CellView(ScoreView):
    """The view of any number of classes: the entries Z[a, i, j] themselves, in this order."""

    def _fill(self, G: int) -> None:
        shape = (G, len(self.classes), len(self.classes))
        self.n_rates = int(np.prod(shape))
        self.Z = np.empty(shape, dtype=object)
        for k, cell in enumerate(np.ndindex(shape)):
            self.Z[cell] = self._unit(k)


@dataclass(frozen=True, eq=False)
class RateRows:
    """A program over rates: minimise objective . v + constant, low <= A v <= high.

    Attributes
    ----------
    objective : Array, shape (2 G + L,)
    constant : float
    A : Array, shape (m, 2 G + L)
    low, high : Array, shape (m,)
    addresses : tuple of m strings
    owner : integer array, shape (m,)
        Which constraint each row belongs to.
    per_bound : Array, shape (m, 2 G + L + 2)
        Derivatives of (A, low, high) with respect to the owner's bound.
    slope : Array, shape (m, 2 G + L + 1)
        For equations that stand for a bound of zero: relaxed by eps they would read
        |row| <= (slope . v + constant) eps.
    goal : Risk
        The risk without the costs nobody can avoid.
    unit : float
        What `goal` was divided by; `objective` and `constant` are those of goal / unit.
    units : Array, shape (m,)
        What each row was divided by.
    """

    objective: Array
    constant: float
    A: Array
    low: Array
    high: Array
    addresses: tuple[str, ...]
    owner: Array
    per_bound: Array
    slope: Array
    goal: Any
    unit: float
    units: Array

    def price_weight(self, v: Array) -> Array:
        """Return |d row / d bound| at v: a price is this weight times the absolute multipliers."""
        n = self.A.shape[1]
        value, moved = self.A @ v, self.per_bound[:, :n] @ v
        above = np.abs(value - self.high) <= np.abs(value - self.low)  # the side that binds
        edge = np.where(above, self.per_bound[:, n + 1], self.per_bound[:, n])
        relaxed = np.maximum(self.slope[:, :n] @ v + self.slope[:, n], 0.0)
        out: Array = np.where(self.low == self.high, relaxed, np.abs(moved - edge))
        return out


def rate_rows(
    mass: Array,
    classes: tuple[Hashable, ...],
    groups: tuple[Hashable, ...],
    risk: Any,
    constraints: Sequence[Any],
    attributes: tuple[str, ...] = (),
    view: type[ScoreView] = ScoreView,
) -> RateRows:
    """Return the program that templates state over the rates of binary scores.

    Parameters
    ----------
    mass : Array, shape (G, 2)
        P(A=a, Y=i).
    classes, groups : tuple
    risk : Risk
    constraints : sequence of constraints
    attributes : tuple of str
        What the groups cross.
    view : type of view
        ``CellView``: the variables are the entries of the table rather than rates.

    Raises
    ------
    NotLinear
        If a template is not linear in the outcome table.
    ModelError
        If two terms share an address.
    """
    now, later = (view(mass, classes, groups, s, attributes) for s in (0.0, 1.0))
    now.levels_are_rates = False
    goal, _ = risk.without_base(classes)
    minimised, unit = goal.express_in_units(now)
    if any(term.sense != "minimize" for term in minimised):
        raise NotLinear("the risk has conditions of its own")
    terms: list[tuple[Term, Term, int]] = []
    for k, constraint in enumerate(constraints):
        if not isinstance(constraint, Constraint):
            raise NotLinear("a condition of the user's")
        now.levels_are_rates = later.levels_are_rates = isinstance(constraint, Notion)
        here, there = constraint.express(now), constraint.express(later)
        terms += [(s, t, k) for s, t in zip(here, there, strict=True)]
    addresses = [term.address for term, _, _ in terms]
    double = sorted({where for where in addresses if addresses.count(where) > 1})
    if double:
        raise ModelError(f"Two terms share the address {double[0]!r}.", argument="constraints")
    n = now.n_rates + now.n_levels
    parts = [(_row(s, n), _row(t, n)) for s, t, _ in terms]
    rows = np.array([here for here, _ in parts]).reshape(len(parts), n + 2)
    shifted = np.array([there for _, there in parts]).reshape(len(parts), n + 2)
    with np.errstate(invalid="ignore"):
        difference = np.where(np.isfinite(rows), shifted - rows, 0.0)
    objective = sum(
        (_affine(term.expression) for term in minimised), start=Affine(np.zeros(now.size))
    )
    return RateRows(
        objective=objective.vector[:n],
        constant=objective.constant,
        A=rows[:, :n],
        low=rows[:, n],
        high=rows[:, n + 1],
        addresses=tuple(term.address for term, _, _ in terms),
        owner=np.array([k for _, _, k in terms], dtype=float),
        per_bound=difference,
        slope=np.array([_slope(term, n) for term, _, _ in terms]).reshape(len(terms), n + 1),
        goal=goal,
        unit=unit,
        units=np.array([term.unit for term, _, _ in terms], dtype=float),
    )


def _affine(expression: Any) -> Affine:
    if not isinstance(expression, Affine):
        raise NotLinear(f"{expression!r} is no linear expression")
    return expression


def _slope(term: Term, n: int) -> Array:
    if isinstance(term.slope, Affine):
        return np.append(term.slope.vector[:n], term.slope.constant)
    return np.append(np.zeros(n), 0.0 if term.slope is None else _number(term.slope))


def _row(term: Term, n: int) -> Array:
    """Return coefficients, lowest and highest value of a term."""
    f, bound = _affine(term.expression), _number(term.bound)
    lowest = {"==": bound, "<=": -np.inf, "abs<=": -bound}.get(term.sense)
    if lowest is None:
        raise NotLinear("a constraint that is to be minimised")
    return np.concatenate([f.vector[:n], [lowest - f.constant, bound - f.constant]])
