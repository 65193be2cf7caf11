"""A compiled problem in standard form, solved, and proven in numpy.

    minimise  1/2 x'Px + c'x   subject to   A x + s = b,  s in K = {0} x R_+ x ...
    dual      P x + c + A'y = 0,  y in K*,  s'y = 0

CVXPY writes the form once (bounds are Parameters); HiGHS solves the linear ones through its own
interface, started from the last basis, Clarabel and SCS the others.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import cvxpy as cp
import numpy as np
import scipy.sparse as sp

from fairprog.errors import ModelError, SolverError
from fairprog.kernels.algebra.cones import outside_cone, outside_dual_cone
from fairprog.labels import Array
from fairprog.programs.compile.interruptible import interruptible
from fairprog.programs.compile.linear import DualFace, Form, linear_model, run_linear
from fairprog.programs.compile.solve import SOLVED, attempts

TOLERANCE = 1e-6  # residuals above which an answer is not one


@dataclass(eq=False)
class StandardForm:
    """Reads, solves and differentiates the standard form of one CVXPY problem.

    Attributes
    ----------
    compilations, solves : int
        How often the problem was canonicalised, and how often a solver ran.
    """

    problem: Any
    compilations: int = 0
    solves: int = 0
    log: list[str] = field(default_factory=list)
    x: Array = field(default_factory=lambda: np.zeros(0))
    y: Array = field(default_factory=lambda: np.zeros(0))
    solver: str = ""
    _chain: Any = None
    _inverse: Any = None
    _data: Any = None
    _highs: Any = None
    _scale: float = 1.0
    _last: Form | None = None
    _highs_form: Form | None = None

    # -- the form --

    def read(self) -> Form:
        """Return the form at the parameters' present values (no new canonicalisation)."""
        if self._chain is None:
            self.compilations += 1
        self._data, self._chain, self._inverse = self.problem.get_problem_data(
            cp.CLARABEL, solver_opts={}
        )
        data = self._data
        dims = data["dims"]
        P = data.get("P")
        linear = (P is None or not P.nnz) and dims.zero + dims.nonneg == len(data["b"])
        return Form(data["A"].tocsc(), data["b"], data["c"], P, dims.zero, linear)

    def derivative(self, parameter: Any, step: Any) -> tuple[Array, Any]:
        """Return (db, dA) when a parameter moves by `step` (the form is affine in it)."""
        here = self.read()
        value = parameter.value
        try:
            parameter.value = value + step
            there = self.read()
        finally:
            parameter.value = value
        dA = there.A - here.A
        dA.eliminate_zeros()
        return there.b - here.b, dA

    # -- solving --

    def solve(
        self, solver: str, time_limit: float | None, verbose: bool, options: dict[str, Any]
    ) -> str:
        """Solve; returns "optimal" or "infeasible", else raises a SolverError."""
        self._last = form = self.read()
        ladder = [solver] if solver != "auto" else ["CLARABEL", "SCS"]
        if solver == "auto" and form.linear:
            ladder = ["HIGHS", "CLARABEL"]
        if solver == "HIGHS" and not form.linear:
            raise ModelError(
                "HiGHS solves linear programs only; this one is not linear. Use 'auto' or "
                "'CLARABEL'.",
                argument="solver",
            )

        def run(name: str, settings: dict[str, Any]) -> str:
            self.solves += 1
            if name == "HIGHS":
                return self._solve_highs(form, settings, verbose)
            return self._solve_conic(name, settings, verbose)

        for name, status in attempts(ladder, run, time_limit, options):
            self.log.append(f"{name}: {status}")
            if status in SOLVED:
                worst = max(self.residuals().values())
                if worst <= TOLERANCE:
                    self.solver = name
                    return "optimal"
                self.log[-1] += f" with residual {worst:.1e}"
            elif status in ("infeasible", "infeasible_inaccurate", "infeasible_or_unbounded"):
                return "infeasible"
        raise SolverError(
            f"No solver found an answer: {'; '.join(self.log)}.",
            status=self.log[-1],
            details={"log": list(self.log)},
        )

    def _solve_highs(self, form: Form, settings: dict[str, Any], verbose: bool) -> str:
        last = self._highs_form
        warm = (
            last is not None
            and self._highs is not None
            and last.A.shape == form.A.shape
            and np.array_equal(last.A.indices, form.A.indices)
            and np.array_equal(last.A.data, form.A.data)
            and np.array_equal(last.c, form.c)
        )
        lower = np.where(np.arange(len(form.b)) < form.n_zero, form.b, -np.inf)
        if warm:
            if "time_limit" in settings:  # HiGHS counts from its first run on
                limit = self._highs.getRunTime() + settings["time_limit"]
                self._highs.setOptionValue("time_limit", limit)
            rows = np.arange(len(form.b), dtype=np.int32)
            self._highs.changeRowsBounds(len(rows), rows, lower, form.b)
        else:
            self._scale = float(max(1, form.n_zero))  # reduced costs are of the order of 1/rows
            cost = self._scale * form.c
            self._highs = linear_model(form.A, lower, form.b, cost, settings, verbose)
        self._highs_form = form
        status, self.x, row_dual = run_linear(self._highs)
        if status == "optimal":
            self.accept(self.x, -row_dual / self._scale)
        return status

    def _solve_conic(self, name: str, settings: dict[str, Any], verbose: bool) -> str:
        if name == "SCS":
            return self._solve_scs(settings, verbose)
        run = self._chain.solver.solve_via_data
        raw = interruptible(run, self._data, False, verbose, settings)
        self.problem.unpack_results(raw, self._chain, self._inverse)
        if str(self.problem.status) in ("optimal", "optimal_inaccurate"):
            self.x, self.y = np.asarray(raw.x), np.asarray(raw.z)
        return str(self.problem.status)

    def _solve_scs(self, settings: dict[str, Any], verbose: bool) -> str:
        import scs

        data, dims = self._data, self._data["dims"]
        if dims.psd:
            raise ModelError("SCS is not offered for programs with matrix inequalities here.")
        problem = {"A": data["A"].tocsc(), "b": data["b"], "c": data["c"]}
        if data.get("P") is not None and data["P"].nnz:
            problem["P"] = sp.triu(data["P"]).tocsc()
        cones = {"z": dims.zero, "l": dims.nonneg, "q": list(dims.soc), "ep": dims.exp}
        result = interruptible(
            lambda: scs.SCS(problem, cones, verbose=verbose, **settings).solve()
        )
        status = str(result["info"]["status"])
        if status in ("solved", "solved (inaccurate - reached max_iters)"):
            self.accept(np.asarray(result["x"]), np.asarray(result["y"]))
            return "optimal" if status == "solved" else "optimal_inaccurate"
        return "infeasible" if status.startswith("infeasible") else status

    def accept(self, x: Array, y: Array) -> None:
        """Make (x, y) the primal and dual values of the CVXPY problem."""
        self.x, self.y = x, y
        form = self._last
        assert form is not None
        value = float(form.c @ x)
        if form.P is not None:
            value += 0.5 * float(x @ (_full(form.P) @ x))
        raw = SimpleNamespace(
            x=x, z=y, status="Solved", obj_val=value, solve_time=0.0, iterations=0
        )
        self.problem.unpack_results(raw, self._chain, self._inverse)

    # -- proof --

    def residuals(self) -> dict[str, float]:
        """Return feasibility, dual feasibility, complementary slackness and duality gap.

        All relative to max(1, |objective|), recomputed from A, b, c, x and y.
        """
        form = self._last
        assert form is not None
        x, y = self.x, self.y
        s = form.b - form.A @ x
        quadratic = np.zeros_like(x) if form.P is None else _full(form.P) @ x
        value = 0.5 * float(x @ quadratic) + float(form.c @ x)
        dual_value = -0.5 * float(x @ quadratic) - float(form.b @ y)
        scale = max(1.0, abs(value))
        start = form.n_zero
        primal, dual, slackness = float(np.abs(s[:start]).max(initial=0.0)), 0.0, 0.0
        for kind, size in _cones(self._data["dims"]):
            s_k, y_k = s[start : start + size], y[start : start + size]
            primal, dual = (
                max(primal, outside_cone(kind, s_k)),
                max(dual, outside_dual_cone(kind, y_k)),
            )
            products = s_k * y_k  # of a cone that is no orthant their sum vanishes, not each
            worst = products if kind == "nonneg" else products.sum(keepdims=True)
            slackness = max(slackness, float(np.abs(worst).max(initial=0.0)))
            start += size
        stationarity = float(np.abs(quadratic + form.c + form.A.T @ y).max(initial=0.0))
        return {
            "primal": primal / scale,
            "dual": max(dual, stationarity) / scale,
            "slackness": slackness / scale,
            "gap": abs(value - dual_value) / scale,
        }

    # -- the optimal dual face of a linear program --

    def dual_face(self) -> DualFace:
        """Return the optimal dual face of the last linear solve."""
        assert self._last is not None
        return DualFace(self._last, self.x)


def _full(P: Any) -> Any:
    upper = sp.triu(P, 1)
    return sp.triu(P) + upper.T


def _cones(dims: Any) -> list[tuple[str, int]]:
    return [
        ("nonneg", dims.nonneg),
        *(("soc", k) for k in dims.soc),
        *(("psd", k) for k in dims.psd),
        *(("exp", 3) for _ in range(dims.exp)),
    ]
