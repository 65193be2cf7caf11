"""The nearest-ideal program on a finite alphabet: relative entropies in CVXPY.

    minimise  KL(q~ || q) + sum_ia q~_ia KL(P_ia || D_ia)   over laws P_ia of X, common laws R_i

subject to P_ia = R_i (addresses ``law[{group},{class}]``) or, with a bound, to total variations
between them of at most bound / 2. The variables are densities of P_ia with respect to the larger
of D_ia and the common law that is to be expected, so that they are of order one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cvxpy as cp
import numpy as np

from fairprog.kernels.atoms.log_linear_pool import pool
from fairprog.labels import Array, address
from fairprog.programs.compile.custom import add_gradient, condition_prices, custom_constraints
from fairprog.programs.compile.views import CellView, original_view
from fairprog.programs.geometries.parameters import Parameters

Cell = tuple[int, int]  # class, group
LEAST = 1e-9  # mass of an atom that variables are scaled by


@dataclass(frozen=True, eq=False)
class CellLaw:
    """The law of one steered cell: P_ia = scale u on the atoms where D_ia has mass.

    Attributes
    ----------
    u : Variable
    support : index array
    base, scale : Array
        D_ia on its support, and what u is a density of.
    weight : float
        q~_ia.
    """

    u: Any
    support: Any
    base: Array
    scale: Array
    weight: float

    def value(self, n: int) -> Array:
        """Return the law, normalised, shape (X,)."""
        out = np.zeros(n)
        part = self.scale * np.maximum(np.asarray(self.u.value), 0.0)
        out[self.support] = part / part.sum()
        return out


@dataclass(frozen=True, eq=False)
class CompiledFinite:
    """The CVXPY problem, its variables, and every constraint by address.

    Attributes
    ----------
    problem : cvxpy.Problem
    cells : dict (class, group) -> CellLaw
    common : list of (Variable, Array)
        By class v and m with R_i = m v; empty where R_i is that of a group that stays.
    consensus, balls, conditions : dict address -> Constraint
        Equalities of laws, or with a bound the total variations; custom conditions.
    prior_kl : float
    map_bound : Parameter or None
    groups : list
    """

    problem: Any
    cells: dict[Cell, CellLaw]
    common: list[tuple[Any, Array]]
    consensus: dict[str, Any]
    balls: dict[str, Any]
    conditions: dict[str, Any]
    prior_kl: float
    map_bound: Any
    groups: list[Any]

    @property
    def limits(self) -> str:
        """What the conditions may clash with, besides each other."""
        return f"the fixed masses of the cells of {self.groups}, or with atoms without mass"

    def condition_prices(self) -> tuple[dict[str, Array], dict[str, float]]:
        """Return the multiplier of every condition (CVXPY's signs), and prices by name."""
        conditions, price = condition_prices(self.conditions)
        duals = condition_prices(self.consensus)[0] | conditions
        balls = {w: c for w, c in self.balls.items() if ":" not in w}
        if balls:
            by_ball, bounds = condition_prices(balls)
            duals, price = duals | by_ball, {"consensus": sum(bounds.values())} | price
        return duals, price

    def violation(self) -> float:
        """Return the worst violation of a condition or a ball at the current values."""
        rules = [*self.conditions.values(), *self.balls.values()]
        return max([0.0, *(float(np.max(c.violation())) for c in rules)])

    def common_law(self, i: int) -> Array:
        """Return the free common law of a class on its support, normalised."""
        v, m = self.common[i]
        out: Array = m * np.maximum(np.asarray(v.value), 0.0)
        return out / out.sum()

    def dual_value(self) -> float:
        """Return the Lagrangian's minimum over all laws at the multipliers: a lower bound.

        Multipliers of inequalities are clipped at zero and constraints replaced by their tangents
        at the answer, which keeps the bound valid: every part then has a closed form. NaN where a
        condition has no gradient.
        """
        slope: dict[int, Array] = {}
        constant = self.prior_kl
        for part in (self.consensus, self.balls, self.conditions):
            constant += sum(tangent(constraint, slope) for constraint in part.values())
        for cell in self.cells.values():
            s = slope.pop(cell.u.id, np.zeros(len(cell.base)))
            constant -= float(s @ cell.u.value)
            score = -s / (cell.scale * cell.weight)
            top = score.max()
            constant -= cell.weight * float(top + np.log(cell.base @ np.exp(score - top)))
        for v, m in self.common:
            s = slope.pop(v.id, np.zeros(len(m)))
            constant += float((s / m).min() - s @ v.value)
        for variable in self.problem.variables():  # what is left: distances, between 0 and 2 X
            if variable.id in slope:
                s, most = slope[variable.id], 2.0 * variable.size
                constant += float(most * np.minimum(s, 0.0).sum() - s @ np.ravel(variable.value))
        return constant


def compile_finite(
    geometry: Parameters, laws: Array, near: CompiledFinite | None = None
) -> CompiledFinite:
    """Build the program.

    Parameters
    ----------
    geometry : Parameters
        With the question.
    laws : Array, shape (X, K, G)
        P(X=x | Y=i, A=a).
    near : CompiledFinite, optional
        A solved program whose answer is about the one expected: variables then are near one.

    Raises
    ------
    ModelError
        If a condition is not convex or returns something else than constraints.
    """
    D, question, n = geometry.D, geometry.question, len(laws)
    prior, steered, reference = question.prior, list(question.steered), question.reference
    objective: Any = question.prior_kl
    cells: dict[Cell, CellLaw] = {}
    common: list[tuple[Any, Array]] = []
    consensus: dict[str, Any] = {}
    balls: dict[str, Any] = {}
    rules: list[Any] = []
    expressions: dict[Cell, Any] = {}
    bound = None
    if question.map_bound > 0:
        bound = cp.Parameter(nonneg=True, value=question.map_bound, name="map_bound")
    for i, c in enumerate(D.classes):
        used = laws[:, i, steered].max(axis=1) > 0
        scale = _expected_law(laws[:, i], prior[i], steered, reference)
        R: Any = laws[:, i, reference]
        if reference is None:
            if near is not None:
                scale[used] = np.maximum(near.common_law(i), LEAST)
            v = cp.Variable(int(used.sum()), nonneg=True, name=address("common", c))
            common.append((v, scale[used]))
            R = _spread(used) @ cp.multiply(scale[used], v)
            rules.append(cp.sum(cp.multiply(scale[used], v)) == 1)
        for a in steered:
            where, own = address("law", D.groups[a], c), laws[:, i, a] > 0
            d = laws[own, i, a]
            s = np.maximum(d, scale[own])
            if near is not None:
                s = np.maximum(near.cells[i, a].value(n)[own], LEAST)
            u = cp.Variable(len(d), name=where)
            cells[i, a] = CellLaw(u, np.flatnonzero(own), d, s, float(prior[i, a]))
            expressions[i, a] = P = _spread(own) @ cp.multiply(s, u)
            objective += prior[i, a] * ((s * np.log(s / d)) @ u - s @ cp.entr(u))
            rules.append(s @ u == 1)
            if bound is None:
                row_scale = 1.0 / np.where(scale > 0, scale, 1.0)
                both = own | (used if reference is None else laws[:, i, reference] > 0)
                difference = cp.multiply(row_scale[both], (P - R)[both])
                consensus[where] = (difference == 0).set_label(where)
                continue
            distance = cp.Variable(n, nonneg=True, name=f"distance_{where}")
            apart = n * (P - R)  # of order one
            balls[f"{where}:above"] = (apart - distance <= 0).set_label(f"{where}:above")
            balls[f"{where}:below"] = (-apart - distance <= 0).set_label(f"{where}:below")
            balls[where] = (cp.sum(distance) / n - bound <= 0).set_label(where)
    view = CellView(
        D,
        {
            "law": lambda i, a: expressions.get((i, a), laws[:, i, a]),
            "joint": lambda i, a: prior[i, a] * expressions.get((i, a), laws[:, i, a]),
        },
    )
    taken, views = {*consensus, *balls}, (view, original_view(geometry))
    conditions = custom_constraints(views, question.constraints, taken)
    every = [*rules, *consensus.values(), *balls.values(), *conditions.values()]
    problem = cp.Problem(cp.Minimize(objective), every)
    groups, rates = [D.groups[a] for a in steered], question.prior_kl
    return CompiledFinite(
        problem, cells, common, consensus, balls, conditions, rates, bound, groups
    )


def tangent(constraint: Any, slope: dict[int, Array]) -> float:
    """Add multiplier times gradient to `slope`; return multiplier times value."""
    dual = np.ravel(np.asarray(constraint.dual_value, dtype=float), order="F")
    if isinstance(constraint, (cp.constraints.Inequality, cp.constraints.NonPos)):
        dual = np.maximum(dual, 0.0)
    elif isinstance(constraint, cp.constraints.PSD):
        return float("nan")
    if not add_gradient(constraint.expr, dual, slope):
        return float("nan")
    return float(dual @ np.ravel(np.asarray(constraint.expr.value), order="F"))


def _expected_law(
    laws: Array, weight: Array, steered: Sequence[int], reference: int | None
) -> Array:
    """Return about what the common law of a class will be, shape (X,).

    That of the group that stays, else the log-linear pool (theory.md section 5), and the largest
    law where the pool has no mass because an atom is missing from some group.
    """
    if reference is not None:
        return laws[:, reference]
    law, value = pool(laws, weight / weight.sum())
    largest: Array = laws[:, list(steered)].max(axis=1)
    return np.where(law > 0, law, largest) if np.isfinite(value) else largest


def _spread(mask: Any) -> Array:
    """Return the matrix that puts entries where `mask` is true."""
    return np.eye(len(mask))[:, mask]
