"""The consensus form of programs on univariate families."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cvxpy as cp
import numpy as np

from fairprog.errors import ModelError
from fairprog.labels import Array, address
from fairprog.populations import LocationScale
from fairprog.populations.law import Law
from fairprog.programs.compile.atoms import expected_atom
from fairprog.programs.compile.compiled import Compiled
from fairprog.programs.compile.custom import custom_constraints, label
from fairprog.programs.conditions import Condition
from fairprog.programs.line_frames import LineFrame
from fairprog.programs.line_views import line_view
from fairprog.programs.views import CellView
from fairprog.transports import AffineMap

__all__ = ["LineVariables", "Shifts", "compile_line", "compile_shifts", "line_multipliers"]


@dataclass(eq=False)
class LineVariables:
    """The variables of one steered group: common (S, beta) and one copy per class."""

    frame: LineFrame
    theta: Any
    beta: Any
    thetas: list[Any]
    betas: list[Any]

    def value(self) -> tuple[float, float]:
        """Return the common (S, beta)."""
        S = 1.0 if self.theta is None else float(self.theta.value)
        return S, float(self.beta.value)


def compile_line(
    D: LocationScale,
    frames: Sequence[LineFrame],
    prior_kl: float,
    conditions: Sequence[Condition],
    original: CellView,
    staying: Mapping[int, AffineMap],
) -> Compiled:
    """Build the problem: one map per (group, class), labelled equalities; value KL(D~ || D).

    Expectations are sums over nodes (Laplace: exact), so the value is that of the exact program
    to about 1e-8.
    """
    objective: Any = prior_kl
    constraints: list[Any] = []
    consensus: dict[str, Any] = {}
    cells: list[LineVariables] = []
    for f in frames:
        g, K = str(f.group), len(f.w)

        def scale(name: str, free: bool = f.scales) -> Any:
            return cp.Variable(name=name) if free else None

        cell = LineVariables(
            frame=f,
            theta=scale(f"linear[{g}]"),
            beta=cp.Variable(name=f"offset[{g}]"),
            thetas=[scale(address("linear", g, c)) for c in D.classes],
            betas=[cp.Variable(name=address("offset", g, c)) for c in D.classes],
        )
        cells.append(cell)
        for i in range(K):
            S = 1.0 if cell.thetas[i] is None else cell.thetas[i]
            alpha = S * (f.scale[i] / f.own_scale[i])
            beta = (S * (f.sign * f.loc[i]) + cell.betas[i] - f.own_loc[i]) / f.own_scale[i]
            kinks = f.pulled_kinks(i)
            expected, cones = expected_atom(type(D), f.laws[i], f.own_laws[i], alpha, beta, kinks)
            constant = f.laws[i].entropy + np.log(f.scale[i] / f.own_scale[i])
            log_S = 0.0 if cell.thetas[i] is None else cp.log(S)
            objective = objective + f.w[i] * (expected - constant - log_S)
            where = address("support", g, D.classes[i])
            constraints += [label(c, where) for c in cones]
            pairs = [("linear", cell.thetas[i], cell.theta)] if f.scales else []
            pairs.append(("offset", cell.betas[i], cell.beta))
            for name, own, common in pairs:
                where = address(name, g, D.classes[i])
                consensus[where] = label(own == common, where)
                constraints.append(consensus[where])
    views = line_view(D, cells, staying), original
    custom = custom_constraints(views, conditions, {*consensus, "consensus"})
    constraints.extend(custom.values())
    problem = cp.Problem(cp.Minimize(objective), constraints)
    if not problem.is_dcp():
        raise ModelError(
            f"The program on the family {type(D).__name__} is not convex by CVXPY's rules (DCP)."
        )
    return Compiled(problem, D.classes, cells, consensus, {}, custom)


def line_multipliers(compiled: Compiled, cell: LineVariables) -> tuple[Array, Array]:
    """Return the gradients of the optimum in the targets of the consensus conditions."""
    g = str(cell.frame.group)
    N, n = [], []
    for c in compiled.classes:
        where = address("linear", g, c)
        dual = compiled.consensus[where].dual_value if where in compiled.consensus else 0.0
        N.append(-float(dual))
        n.append(-float(compiled.consensus[address("offset", g, c)].dual_value))
    return np.array(N), np.array(n)


@dataclass(eq=False)
class Shifts:
    """A compiled program in row shifts alpha (classes) and column shifts beta (groups)."""

    problem: Any
    alpha: Any
    beta: Any
    conditions: dict[str, Any]
    cells: list[Any]
    log: list[str]
    solver: str = ""
    seconds: float = 0.0

    def value(self) -> tuple[Array, Array]:
        """Return (alpha, beta)."""
        return np.asarray(self.alpha.value), np.asarray(self.beta.value)


def compile_shifts(D: LocationScale, prior: Array, shared: tuple[list[Law], Array]) -> Shifts:
    """Build the convex program of all groups: laws shared by the groups, one shift per group."""
    laws, scale = shared
    alpha, beta = cp.Variable(D.n_classes, name="loc"), cp.Variable(D.n_groups, name="offset")
    objective: Any = float((prior * np.log(prior / D.prior)).sum())
    constraints = [label(D.group_mass @ beta == 0, "coordinates")]
    for i, a in np.ndindex(*prior.shape):
        shift = (alpha[i] + beta[a] - D.base_loc[i, a]) / scale[i]
        expected, cones = expected_atom(type(D), laws[i], laws[i], 1.0, shift)
        constraints += cones
        objective = objective + prior[i, a] * (expected - laws[i].entropy)
    return Shifts(cp.Problem(cp.Minimize(objective), constraints), alpha, beta, {}, [], [])
