"""All groups of a univariate family at once: the convex program in row and column shifts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cvxpy as cp
import numpy as np

from fairprog.labels import Array
from fairprog.populations import LocationScale
from fairprog.populations.law import Law
from fairprog.programs.geometries.line_atoms import atom, expected_atom

__all__ = ["Shifts", "atom_values", "compile_shifts"]


@dataclass(frozen=True, eq=False)
class Shifts:
    """A compiled program in row shifts alpha (classes) and column shifts beta (groups)."""

    problem: Any
    alpha: Any
    beta: Any
    conditions: tuple[()] = ()

    def value(self) -> tuple[Array, Array]:
        """Return (alpha, beta)."""
        return np.asarray(self.alpha.value), np.asarray(self.beta.value)


def compile_shifts(D: LocationScale, prior: Array, laws: Sequence[Law], scale: Array) -> Shifts:
    """Build the program: laws and scales shared by the groups, one shift per group."""
    alpha, beta = cp.Variable(D.n_classes, name="loc"), cp.Variable(D.n_groups, name="offset")
    objective: Any = float((prior * np.log(prior / D.prior)).sum())
    constraints = [(D.group_mass @ beta == 0).set_label("coordinates")]
    for i, a in np.ndindex(*prior.shape):
        shift = (alpha[i] + beta[a] - D.base_loc[i, a]) / scale[i]
        expected, cones = expected_atom(cp, type(D), laws[i], laws[i], 1.0, shift)
        constraints += cones
        objective = objective + prior[i, a] * (expected - laws[i].entropy)
    return Shifts(cp.Problem(cp.Minimize(objective), constraints), alpha, beta)


def atom_values(family: Any, law: Law, z: Array) -> Array:
    """Return the values of a family's atom at points: the numeric face of the symbolic one."""
    variable = cp.Variable(len(z))
    expression = atom(cp, family, law, variable)
    variable.value = z
    return np.asarray(expression.value, dtype=float)
