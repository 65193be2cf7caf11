"""Templates over outcome tables as CVXPY constraints."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import cvxpy as cp
import numpy as np

from fairprog.errors import ModelError
from fairprog.labels import Array
from fairprog.tables.templates import Term

INDIVIDUAL = ("h", "weight", "posterior", "atom", "group")


class TableVariables:
    """A view of outcome-table expressions for the templates' symbolic face.

    Parameters
    ----------
    Z : CVXPY expressions indexed [a, i, j]
    mass : Array, shape (G, K)
        P(A=a, Y=i): fixed.
    classes, groups : sequences of labels
    individuals : mapping, optional
        ``h``, ``weight``, ``posterior``, ``atom``, ``group`` of the support, where known.
    parameters : collection of str
        Names of the numbers that become CVXPY Parameters.
    redundant : bool
        Whether equalities that follow from others are wanted (their multipliers are priced).
    attributes : tuple of str
        What the groups cross.
    """

    functions = cp

    def __init__(
        self,
        Z: Any,
        mass: Array,
        classes: Sequence[Hashable],
        groups: Sequence[Hashable],
        individuals: dict[str, Any] | None = None,
        parameters: Sequence[str] = (),
        redundant: bool = False,
        attributes: tuple[str, ...] = (),
    ) -> None:
        self.Z, self.mass = Z, mass
        self.classes, self.groups = tuple(classes), tuple(groups)
        self.levels: dict[str, Any] = {}
        self.parameters: dict[str, Any] = {}
        self.redundant, self.attributes = redundant, attributes
        self.looks_at_individuals = False
        self._individuals = individuals or {}
        self._names = tuple(parameters)

    def level(self, name: str, size: int | None = None) -> Any:
        """Return the free scalar (or vector) of that name, created on first use."""
        if name not in self.levels:
            self.levels[name] = cp.Variable(() if size is None else size, name=f"level:{name}")
        return self.levels[name]

    def parameter(self, name: str, value: float, signed: bool = False) -> Any:
        """Return the number, or a Parameter of that name with that value."""
        if name not in self._names:
            return value
        if name not in self.parameters:
            self.parameters[name] = cp.Parameter(
                nonneg=bool(value >= 0 and not signed), value=value, name=f"parameter:{name}"
            )
        return self.parameters[name]

    def __getattr__(self, name: str) -> Any:
        if name not in INDIVIDUAL:
            raise AttributeError(f"A view of an outcome table has no {name!r}.")
        if name not in self._individuals:
            raise ModelError(
                f"A template asked for `{name}`: it speaks about single individuals, which this "
                "program does not know."
            )
        self.looks_at_individuals = True
        return self._individuals[name]


def compile_terms(terms: Sequence[Term], shift: Any = None) -> tuple[Any, dict[str, Any]]:
    """Turn terms into (objective expression, constraints by address).

    Parameters
    ----------
    terms : sequence of Term
    shift : callable, optional
        ``shift(term)`` is a Parameter of value 0 to add to the right side of an equality.

    Raises
    ------
    ModelError
        If a term is not convex, naming its address.
    """
    objective: Any = 0.0
    constraints: dict[str, Any] = {}
    for term in terms:
        if term.sense == "minimize":
            if isinstance(term.expression, cp.Expression) and not term.expression.is_convex():
                raise ModelError(f"The term {term.address!r} is not convex: it is minimised.")
            objective = objective + term.expression
            continue
        if term.sense == "==":
            moved = 0.0 if shift is None else shift(term)
            condition = term.expression == term.bound + moved
        elif term.sense == "<=":
            condition = term.expression <= term.bound
        else:
            condition = cp.abs(term.expression) <= term.bound
        if isinstance(condition, (bool, np.bool_)):
            raise ModelError(f"The term {term.address!r} compares numbers; it constrains nothing.")
        if not condition.is_dcp():
            raise ModelError(f"The term {term.address!r} is not convex: `{condition}`.")
        if term.address in constraints:
            raise ModelError(f"Two terms share the address {term.address!r}.")
        constraints[term.address] = condition.set_label(term.address)
    return objective, constraints
