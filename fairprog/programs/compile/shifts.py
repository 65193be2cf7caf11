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


def compile_shifts(
    family: type[LocationScale],
    prior: Array,
    laws: Sequence[Law],
    loc: Array,
    scale: Array,
    mass: Array,
    prior_kl: float,
) -> Shifts:
    """Build the program: laws and scales (K,) shared by the groups, locations (K, G) of the cells.

    `prior` (K, G) are the weights of the cells, `mass` (G,) those of the groups in the rule for
    the coordinates, `prior_kl` what the base rates cost.
    """
    K, G = prior.shape
    alpha, beta = cp.Variable(K, name="loc"), cp.Variable(G, name="offset")
    objective: Any = prior_kl
    constraints = [(mass @ beta == 0).set_label("coordinates")]
    for i, a in np.ndindex(K, G):
        shift = (alpha[i] + beta[a] - loc[i, a]) / scale[i]
        expected, cones = expected_atom(cp, family, laws[i], laws[i], 1.0, shift)
        constraints += cones
        objective = objective + prior[i, a] * (expected - laws[i].entropy)
    return Shifts(cp.Problem(cp.Minimize(objective), constraints), alpha, beta)


def atom_values(family: Any, law: Law, z: Array) -> Array:
    """Return the values of a family's atom at points: the numeric face of the symbolic one."""
    variable = cp.Variable(len(z))
    expression = atom(cp, family, law, variable)
    variable.value = z
    return np.asarray(expression.value, dtype=float)
