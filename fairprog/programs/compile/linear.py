"""Linear programs by HiGHS, and the face of all their optimal multipliers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from fairprog.labels import Array

HIGHS = {
    "primal_feasibility_tolerance": 1e-9,
    "dual_feasibility_tolerance": 1e-9,
    "small_matrix_value": 1e-12,
}
ACTIVE = 1e-8  # slack below which a constraint counts as active


@dataclass(eq=False)
class Form:
    """The numbers of one standard form."""

    A: Any
    b: Array
    c: Array
    P: Any
    n_zero: int
    linear: bool


class DualFace:
    """All optimal multipliers of a linear program: those complementary to one primal optimum."""

    def __init__(self, form: Form, x: Array) -> None:
        slack = form.b - form.A @ x
        self.rows = np.flatnonzero((np.arange(len(form.b)) < form.n_zero) | (slack <= ACTIVE))
        self.form = form

    def optimise(
        self, linear: Array, absolute: Array, sense: float = 1.0
    ) -> tuple[float, Array] | None:
        """Return min (sense=1) or max (-1) of linear'y + absolute'|y| over the face, and y.

        `absolute` (nonnegative, on equalities) can only be minimised. None: unbounded.
        """
        form, k = self.form, len(self.rows)
        split = np.flatnonzero(absolute[self.rows])
        columns = form.A[self.rows].T.tocsc()
        extra = len(split)
        # y and t >= |y| on the split rows: y - t <= 0, -y - t <= 0
        pick = sp.coo_array((np.ones(extra), (np.arange(extra), split)), shape=(extra, k))
        eye = sp.eye_array(extra)
        A = sp.block_array(
            [[columns, None], [pick, -eye], [-pick, -eye]] if extra else [[columns]]
        ).tocsc()
        scale = float(max(1, form.n_zero))  # multipliers are of the order of 1/rows
        lower = np.concatenate([-scale * form.c, np.full(2 * extra, -np.inf)])
        upper = np.concatenate([-scale * form.c, np.zeros(2 * extra)])
        cost = sense * np.concatenate([linear[self.rows], absolute[self.rows][split]])
        free = np.concatenate([self.rows < form.n_zero, np.zeros(extra, dtype=bool)])
        model = linear_model(A, lower, upper, cost, HIGHS, False, np.where(free, -np.inf, 0.0))
        status, values, _ = run_linear(model)
        if status != "optimal":
            return None
        y = np.zeros(len(form.b))
        y[self.rows] = values[:k] / scale
        return float(linear @ y + absolute @ np.abs(y)), y


def linear_model(
    A: Any,
    lower: Array,
    upper: Array,
    c: Array,
    settings: dict[str, Any],
    verbose: bool,
    col_lower: Array | None = None,
) -> Any:
    """Return a HiGHS model: minimise c'x, lower <= A x <= upper, x >= col_lower."""
    import highspy

    # the bound class itself: the Python layer above it prints a banner when it is made
    solver: Any = highspy.Highs.__mro__[1]()
    solver.setOptionValue("output_flag", verbose)
    for name, value in settings.items():
        if solver.setOptionValue(name, value) == highspy.HighsStatus.kError:
            raise ValueError(f"{name} = {value!r}")
    lp: Any = highspy.HighsLp()
    lp.num_row_, lp.num_col_ = A.shape
    lp.col_cost_ = c
    lp.col_lower_ = np.full(A.shape[1], -np.inf) if col_lower is None else col_lower
    lp.col_upper_ = np.full(A.shape[1], np.inf)
    lp.row_lower_, lp.row_upper_ = lower, upper
    lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    lp.a_matrix_.start_ = A.indptr
    lp.a_matrix_.index_ = A.indices
    lp.a_matrix_.value_ = A.data
    solver.passModel(lp)
    return solver


def run_linear(solver: Any) -> tuple[str, Array, Array]:
    """Run HiGHS; return the status in CVXPY's words, x and the row multipliers."""
    solver.run()
    status = {
        "kOptimal": "optimal",
        "kInfeasible": "infeasible",
        "kUnbounded": "unbounded",
        "kUnboundedOrInfeasible": "infeasible_or_unbounded",
    }.get(solver.getModelStatus().name, solver.getModelStatus().name)
    solution = solver.getSolution()
    return status, np.array(solution.col_value), np.array(solution.row_dual)
