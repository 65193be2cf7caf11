"""Templates over outcome tables as CVXPY constraints."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import cvxpy as cp

from fairprog.errors import ModelError
from fairprog.labels import Array
from fairprog.programs.compile.compiled import label
from fairprog.tables.templates import Term

__all__ = ["TableVariables", "compile_terms"]


class TableVariables:
    """A view of outcome-table expressions for the templates' symbolic face.

    Parameters
    ----------
    Z : CVXPY expressions indexed [a, i, j]
    mass : Array, shape (G, K)
        P(A=a, Y=i): fixed.
    classes, groups : sequences of labels
    """

    def __init__(
        self, Z: Any, mass: Array, classes: Sequence[Hashable], groups: Sequence[Hashable]
    ) -> None:
        self.Z, self.mass = Z, mass
        self.classes, self.groups = tuple(classes), tuple(groups)
        self.levels: dict[str, Any] = {}

    def level(self, name: str) -> Any:
        """Return the free scalar of that name, created on first use."""
        if name not in self.levels:
            self.levels[name] = cp.Variable(name=f"level:{name}")
        return self.levels[name]


def compile_terms(terms: Sequence[Term]) -> tuple[Any, dict[str, Any]]:
    """Turn terms into (objective expression, constraints by address).

    Raises
    ------
    ModelError
        If a term is not convex, naming its address.
    """
    objective: Any = 0.0
    constraints: dict[str, Any] = {}
    for term in terms:
        if term.sense == "minimize":
            objective = objective + term.expression
            continue
        if term.sense == "==":
            condition = term.expression == term.bound
        elif term.sense == "<=":
            condition = term.expression <= term.bound
        else:
            condition = cp.abs(term.expression) <= term.bound
        if not condition.is_dcp():
            raise ModelError(f"The term {term.address!r} is not convex: `{condition}`.")
        if term.address in constraints:
            raise ModelError(f"Two terms share the address {term.address!r}.")
        constraints[term.address] = label(condition, term.address)
    return objective, constraints
