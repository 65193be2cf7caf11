"""The program over increasing piecewise-linear maps of one feature: exponential cones."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import cvxpy as cp
import numpy as np

from fairprog.kernels.normal import symmetrize
from fairprog.kernels.piecewise_linear import quadratic_forms, slope_matrix
from fairprog.labels import Array, address
from fairprog.programs.compile.compiled import Compiled
from fairprog.programs.compile.custom import label

__all__ = ["compile_piecewise"]


def compile_piecewise(
    group: Hashable,
    classes: Sequence[Hashable],
    knots: Array,
    w: Array,
    moments: Array,
    targets: tuple[Array, Array],
    constant: float,
) -> tuple[Compiled, Any]:
    """Return the program of one group and its variable theta; every class has a copy of it.

    The equalities of the copies are the fairness constraints, labelled ``map[group,class]``.
    """
    D, size = slope_matrix(knots), len(knots) + 2
    common = cp.Variable(size, name=f"map[{group}]")
    objective: Any = constant
    consensus: dict[str, Any] = {}
    for i, c in enumerate(classes):
        where = address("map", group, c)
        own = cp.Variable(size, name=where)
        mu, sigma = float(targets[0][i]), float(targets[1][i])
        M, b = quadratic_forms(knots, moments[i])
        values, vectors = np.linalg.eigh(symmetrize(M))
        root = (vectors * np.sqrt(np.maximum(values, 0.0))).T
        square = cp.sum_squares(root @ own) - 2.0 * mu * (b @ own) + mu**2
        slopes = cp.sum(cp.multiply(moments[i, 0], cp.log(D @ own)))
        density = np.log(sigma) + 0.5 * np.log(2.0 * np.pi)
        objective = objective + w[i] * (0.5 * square / sigma**2 + density - slopes)
        consensus[where] = label(own == common, where)
    problem = cp.Problem(cp.Minimize(objective), list(consensus.values()))
    return Compiled(problem, tuple(classes), [], consensus, {}, {}), common
