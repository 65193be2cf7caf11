"""The program over increasing piecewise-linear maps of one feature: exponential cones."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Sequence
from typing import Any

import cvxpy as cp
import numpy as np

from fairprog.errors import SolverError
from fairprog.kernels.normal import symmetrize
from fairprog.kernels.piecewise_linear import quadratic_forms, slope_matrix
from fairprog.labels import Array, address
from fairprog.programs.compile.compiled import label

__all__ = ["compile_piecewise", "solve_piecewise"]


def compile_piecewise(
    group: Hashable,
    classes: Sequence[Hashable],
    knots: Array,
    w: Array,
    moments: Array,
    targets: tuple[Array, Array],
    constant: float,
) -> tuple[Any, Any]:
    """Return (problem, variable theta) of one group, every class with a copy of its own.

    The equalities of the copies are the fairness constraints, labelled ``map[group,class]``.
    """
    D, size = slope_matrix(knots), len(knots) + 2
    common = cp.Variable(size, name=f"map[{group}]")
    objective: Any = constant
    constraints = []
    for i, c in enumerate(classes):
        own = cp.Variable(size, name=address("map", group, c))
        mu, sigma = float(targets[0][i]), float(targets[1][i])
        M, b = quadratic_forms(knots, moments[i])
        values, vectors = np.linalg.eigh(symmetrize(M))
        root = (vectors * np.sqrt(np.maximum(values, 0.0))).T
        square = cp.sum_squares(root @ own) - 2.0 * mu * (b @ own) + mu**2
        slopes = cp.sum(cp.multiply(moments[i, 0], cp.log(D @ own)))
        density = np.log(sigma) + 0.5 * np.log(2.0 * np.pi)
        objective = objective + w[i] * (0.5 * square / sigma**2 + density - slopes)
        constraints.append(label(own == common, address("map", group, c)))
    return cp.Problem(cp.Minimize(objective), constraints), common


def solve_piecewise(problem: Any, common: Any, verbose: bool, options: dict[str, Any]) -> Array:
    """Solve by Clarabel and return theta; SolverError where it does not converge."""
    settings = {"tol_gap_abs": 1e-11, "tol_gap_rel": 1e-11, "tol_feas": 1e-11, "max_iter": 200}
    try:
        with warnings.catch_warnings():
            # the caller compares with the exact answer whatever the solver says of its own
            warnings.filterwarnings("ignore", message="Solution may be inaccurate")
            problem.solve(solver="CLARABEL", verbose=verbose, **{**settings, **options})
        status = str(problem.status)
    except cp.error.SolverError as error:
        status = f"error: {error}"
    if status not in (cp.OPTIMAL, cp.OPTIMAL_INACCURATE):
        raise SolverError(
            f"CLARABEL ends with status {status!r}; solver='newton' is exact here.", status=status
        )
    return np.asarray(common.value)
