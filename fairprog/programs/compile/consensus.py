"""The nearest-ideal program in consensus form, with the user's conditions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cvxpy as cp
import numpy as np

from fairprog.errors import ModelError
from fairprog.kernels.normal import symmetric_root
from fairprog.kernels.one_group import linear_basis
from fairprog.labels import address
from fairprog.populations import Normal
from fairprog.programs.compile.compiled import CellVariables, Compiled
from fairprog.programs.compile.custom import custom_constraints, label
from fairprog.programs.conditions import Condition
from fairprog.programs.frames import Frame
from fairprog.programs.views import original_view, steered_view
from fairprog.transports import AffineMap

__all__ = ["compile_nearest"]


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
    staying: Mapping[int, AffineMap],
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
                    condition = own == common + bound * slack  # |slack| <= 1
                    if name == "linear":
                        moved = W @ cell.matrix(slack) @ f.root @ W_inverse
                        distance = cp.norm(cp.vec(moved, order="C"), 2)
                    else:
                        distance = cp.norm(W @ slack, 2)
                    balls[where] = label(distance <= 1, f"map_bound:{where}")
                    constraints.append(balls[where])
                consensus[where] = label(condition, where)
                constraints.append(consensus[where])
    views = steered_view(D, cells, staying), original_view(D)
    custom = custom_constraints(views, conditions, {*consensus, "consensus"})
    constraints.extend(custom.values())
    problem = cp.Problem(cp.Minimize(objective), constraints)
    if not problem.is_dcp():
        raise ModelError("The program is not convex by CVXPY's rules (DCP).")
    return Compiled(problem, D.classes, cells, consensus, balls, custom, bound)
