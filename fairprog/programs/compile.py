"""From frames and conditions to a CVXPY problem, and from its solution back to numpy.

The only module that imports CVXPY. Only here are variables created, DCP checked, constraints
labelled and solvers called.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import cvxpy as cp
import numpy as np

from fairprog.errors import FairprogError, InfeasibleError, ModelError, SolverError
from fairprog.kernels.normal import symmetric_root
from fairprog.kernels.one_group import linear_basis
from fairprog.labels import Array, address
from fairprog.populations import Normal
from fairprog.programs.conditions import Condition
from fairprog.programs.frames import Frame
from fairprog.programs.views import original_view, steered_view
from fairprog.tables.templates import Term

__all__ = ["CellVariables", "Compiled", "TableVariables", "compile_nearest", "compile_terms"]

SOLVER_OPTIONS: dict[str, dict[str, Any]] = {
    "CLARABEL": {"tol_gap_abs": 1e-12, "tol_gap_rel": 1e-12, "tol_feas": 1e-12, "max_iter": 200},
    "SCS": {"eps_abs": 1e-9, "eps_rel": 1e-9, "max_iters": 200_000},
}
TIME_LIMIT = {"CLARABEL": "time_limit", "SCS": "time_limit_secs"}


@dataclass(eq=False)
class CellVariables:
    """The variables of one steered group: common (theta, beta) and one copy per class."""

    frame: Frame
    theta: Any
    beta: Any
    thetas: list[Any]
    betas: list[Any]
    basis: Array

    def matrix(self, theta: Any) -> Any:
        """Return S~ as an affine expression (the identity for translations)."""
        k = self.basis.shape[1]
        if not len(self.basis):
            return np.eye(k)
        return cp.reshape(self.basis.reshape(len(self.basis), -1).T @ theta, (k, k), order="C")

    def value(self, theta: Any, beta: Any) -> tuple[Array, Array]:
        """Return (S~, beta) as numbers."""
        k = self.basis.shape[1]
        S = np.tensordot(theta.value, self.basis, 1) if len(self.basis) else np.eye(k)
        return S, np.asarray(beta.value)


@dataclass(eq=False)
class Compiled:
    """A compiled program: the CVXPY problem, its variables, and every constraint by address."""

    problem: Any
    classes: tuple[Hashable, ...]
    cells: list[CellVariables]
    consensus: dict[str, Any]
    balls: dict[str, Any]
    conditions: dict[str, Any]
    map_bound: Any = None
    solver: str = ""
    seconds: float = 0.0
    log: list[str] = field(default_factory=list)

    def condition_multipliers(self) -> dict[str, Array]:
        """Return the dual value of every custom condition."""
        return {w: np.asarray(c.dual_value, dtype=float) for w, c in self.conditions.items()}

    def is_inequality(self, where: str) -> bool:
        """Return whether a custom condition has a bound (so a price)."""
        return isinstance(
            self.conditions[where], (cp.constraints.Inequality, cp.constraints.NonPos)
        )

    def ball_multipliers(self) -> dict[tuple[str, int], tuple[float, float]]:
        """Return, by (group, class index), the multipliers of the two `map_bound` balls."""
        out = {}
        for cell in self.cells if self.balls else []:
            g = str(cell.frame.group)
            for i, c in enumerate(self.classes):
                pair = (self.balls.get(address(name, g, c)) for name in ("linear", "offset"))
                out[g, i] = tuple(0.0 if b is None else float(b.dual_value) for b in pair)
        return out  # type: ignore[return-value]

    def worst_violation(self) -> float:
        """Return the largest violation of a custom condition or ball at the current values."""
        found = [*self.conditions.values(), *self.balls.values()]
        return max((float(np.max(c.violation())) for c in found), default=0.0)

    def condition_gradients(self) -> dict[int, Array]:
        """Return, by variable id, the gradient of sum <dual, condition> (CVXPY's signs).

        Raises
        ------
        SolverError
            If a condition has no gradient at the answer, which then cannot be verified.
        """
        out: dict[int, Array] = {}
        for where, c in self.conditions.items():
            is_psd = isinstance(c, cp.constraints.PSD)
            expression = c.args[0] if is_psd else c.expr
            dual = (-1.0 if is_psd else 1.0) * np.ravel(np.asarray(c.dual_value), order="F")
            for variable, jacobian in expression.grad.items():
                if jacobian is None:
                    raise SolverError(
                        f"The condition {where!r} is not differentiable at the answer, so the "
                        "answer cannot be verified."
                    )
                dense = np.asarray(
                    jacobian.todense() if hasattr(jacobian, "todense") else jacobian
                )
                gradient = (dense.reshape(variable.size, -1) @ dual).reshape(-1)
                out[variable.id] = out.get(variable.id, 0.0) + gradient
        return out


def _cell_cost(cell: CellVariables, i: int, S: Any, beta: Any) -> Any:
    """Return w_i V_i as a convex expression: quadratic minus log det S~, constants included."""
    f = cell.frame
    P_root = symmetric_root(f.Sigma[i], -0.5)
    Gamma_root = symmetric_root(f.Gamma[i])
    k = len(f.root)
    spread = cp.sum_squares(cp.vec(P_root @ S @ (f.root @ Gamma_root), order="C"))
    shift = cp.sum_squares(P_root @ (S @ (f.root @ f.m[i]) + beta - f.mu[i]))
    constant = -0.5 * k + 0.5 * (
        np.linalg.slogdet(f.Sigma[i])[1]
        - np.linalg.slogdet(f.Gamma[i])[1]
        - 2.0 * np.linalg.slogdet(f.root)[1]
    )
    return f.w[i] * (0.5 * (spread + shift) + constant - _log_det(cell, i, S))


def _log_det(cell: CellVariables, i: int, S: Any) -> Any:
    kind, k = cell.frame.kind, len(cell.frame.root)
    theta = cell.thetas[i]
    if kind == "fixed":
        return 0.0
    if kind == "scalar":  # S = theta I / sqrt(k)
        return k * cp.log(theta[0]) - 0.5 * k * np.log(k)
    if kind == "diagonal":
        return cp.sum(cp.log(theta))
    return cp.log_det(S)


def compile_nearest(
    D: Normal,
    frames: Sequence[Frame],
    prior_kl: float,
    conditions: Sequence[Condition],
    map_bound: float,
) -> Compiled:
    """Build the consensus form: one map per (group, class), labelled equalities or balls.

    The problem's value is KL(D~ || D) in nats.
    """
    objective: Any = prior_kl
    constraints: list[Any] = []
    consensus: dict[str, Any] = {}
    balls: dict[str, Any] = {}
    cells: list[CellVariables] = []
    bound = cp.Parameter(nonneg=True, value=map_bound, name="map_bound") if map_bound > 0 else None
    for f in frames:
        basis, k, K = linear_basis(f.kind, len(f.root)), len(f.root), len(f.w)
        p = len(basis)
        g = str(f.group)
        cell = CellVariables(
            frame=f,
            theta=cp.Variable(p, name=f"linear[{g}]") if p else None,
            beta=cp.Variable(k, name=f"offset[{g}]"),
            thetas=[
                cp.Variable(p, name=address("linear", g, c)) if p else None for c in D.classes
            ],
            betas=[cp.Variable(k, name=address("offset", g, c)) for c in D.classes],
            basis=basis,
        )
        cells.append(cell)
        W = symmetric_root(f.metric)
        W_inverse = symmetric_root(f.metric, -0.5)
        for i in range(K):
            S = cell.matrix(cell.thetas[i])
            objective = objective + _cell_cost(cell, i, S, cell.betas[i])
            pairs = [("linear", cell.thetas[i], cell.theta)] if p else []
            pairs.append(("offset", cell.betas[i], cell.beta))
            for name, own, common in pairs:
                where = address(name, g, D.classes[i])
                if bound is None:
                    condition = own == common
                else:
                    slack = cp.Variable(own.shape, name=f"slack_{where}")
                    condition = own == common + slack
                    if name == "linear":
                        moved = W @ cell.matrix(slack) @ f.root @ W_inverse
                        distance = cp.norm(cp.vec(moved, order="C"), 2)
                    else:
                        distance = cp.norm(W @ slack, 2)
                    balls[where] = _label(distance <= bound, f"map_bound:{where}")
                    constraints.append(balls[where])
                consensus[where] = _label(condition, where)
                constraints.append(consensus[where])
    custom = _custom(D, cells, conditions)
    constraints.extend(custom.values())
    problem = cp.Problem(cp.Minimize(objective), constraints)
    if not problem.is_dcp():
        raise ModelError("The program is not convex by CVXPY's rules (DCP).")
    return Compiled(problem, D.classes, cells, consensus, balls, custom, bound)


def _label(condition: Any, where: str) -> Any:
    condition.set_label(where)
    return condition


def _custom(
    D: Normal, cells: Sequence[CellVariables], conditions: Sequence[Condition]
) -> dict[str, Any]:
    """Call the user's conditions, check what they return, and label it."""
    out: dict[str, Any] = {}
    for condition in conditions:
        try:
            returned = condition(steered_view(D, cells), original_view(D))
        except FairprogError:
            raise
        except Exception as error:
            error.add_note(f"This happened in the condition {condition!r}.")
            raise
        several = isinstance(returned, (list, tuple))
        for k, item in enumerate(returned if several else [returned]):
            where = f"{condition.name}[{k}]" if several else condition.name
            _check_condition(item, condition, where)
            if where in out:
                raise ModelError(
                    f"Two conditions share the address {where!r}; rename one function.",
                    argument="constraints",
                )
            out[where] = _label(item, where)
    return out


def _check_condition(item: Any, condition: Condition, where: str) -> None:
    if not isinstance(item, cp.constraints.constraint.Constraint):
        raise ModelError(
            f"{condition!r} must return CVXPY constraints; at {where!r} it returned "
            f"{type(item).__name__} ({item!r}). A comparison of plain numbers, such as two "
            "groups that both stay, is not a constraint.",
            argument="constraints",
        )
    if not isinstance(
        item,
        (
            cp.constraints.Inequality,
            cp.constraints.Equality,
            cp.constraints.Zero,
            cp.constraints.NonPos,
            cp.constraints.PSD,
        ),
    ):
        raise ModelError(
            f"{condition!r}, {where!r}: write the condition with <=, >=, == or >>; "
            f"{type(item).__name__} is not supported.",
            argument="constraints",
        )
    if not item.is_dcp():
        raise ModelError(
            f"{condition!r} is not convex: at {where!r}, `{item}` does not follow the DCP rules "
            "(convex <= concave, affine == affine).",
            argument="constraints",
        )


def solve(
    compiled: Compiled,
    ladder: Sequence[str],
    time_limit: float | None,
    verbose: bool,
    options: Mapping[str, Any],
) -> None:
    """Solve by the first rung that returns a solution.

    Raises
    ------
    InfeasibleError
        Naming the conditions with a non-zero multiplier in the infeasibility certificate.
    SolverError
        If every rung fails; carries the statuses and the last iterate.
    """
    status = "not run"
    for name in ladder:
        settings = dict(SOLVER_OPTIONS[name])
        if time_limit is not None:
            settings[TIME_LIMIT[name]] = float(time_limit)
        settings.update(options)
        started = time.perf_counter()
        try:
            with warnings.catch_warnings():
                # inaccurate answers are judged by our own residuals
                warnings.filterwarnings("ignore", message="Solution may be inaccurate")
                compiled.problem.solve(solver=name, verbose=verbose, **settings)
            status = str(compiled.problem.status)
        except cp.error.SolverError as error:
            status = f"error: {error}"
        compiled.seconds += time.perf_counter() - started
        compiled.log.append(f"{name}: {status}")
        if status in (cp.OPTIMAL, cp.OPTIMAL_INACCURATE):
            compiled.solver = name
            return
        if status in (cp.INFEASIBLE, cp.INFEASIBLE_INACCURATE):
            raise _infeasible(compiled, status)
    iterate = {v.name(): v.value for v in compiled.problem.variables()}
    raise SolverError(
        f"No solver found an answer: {'; '.join(compiled.log)}. Check the scale of custom "
        "conditions, or pass another `solver` or looser tolerances.",
        status=status,
        details={"log": compiled.log, "last_iterate": iterate},
    )


def _infeasible(compiled: Compiled, status: str) -> InfeasibleError:
    weights = {
        where: float(np.max(np.abs(c.dual_value)))
        for where, c in compiled.conditions.items()
        if c.dual_value is not None
    }
    largest = max(weights.values(), default=0.0)
    clash = [where for where, v in weights.items() if v > 1e-6 * largest > 0]
    groups = [cell.frame.group for cell in compiled.cells]
    names = clash or list(compiled.conditions)
    return InfeasibleError(
        f"No population satisfies the conditions: {names} clash with each other or with one "
        f"increasing map per group for {groups}. Relax one of them.",
        argument="constraints",
        status=status,
        details={"conditions": names, "groups": groups, "multipliers": weights},
    )


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
        constraints[term.address] = _label(condition, term.address)
    return objective, constraints
