"""The nearest-ideal program on a finite alphabet: relative entropies in CVXPY.

    minimise  KL(q~ || q) + sum_ia q~_ia KL(P_ia || D_ia)   over laws P_ia of X, common laws R_i

subject to P_ia = R_i (addresses ``law[{group},{class}]``) or, with a bound, to total variations
between them of at most bound / 2. The variables are densities of P_ia with respect to the larger
of D_ia and the common law that is to be expected, so that they are of order one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cvxpy as cp
import numpy as np

from fairprog.kernels.log_linear_pool import pool
from fairprog.labels import Array, address
from fairprog.populations import Categorical
from fairprog.programs.compile.custom import (
    add_gradient,
    condition_prices,
    custom_constraints,
    label,
)
from fairprog.programs.compile.views import CellView
from fairprog.programs.conditions import Condition

__all__ = ["CompiledFinite", "compile_finite"]

Cell = tuple[int, int]  # class, group
LEAST = 1e-9  # mass of an atom that variables are scaled by


@dataclass(frozen=True, eq=False)
class CompiledFinite:
    """The CVXPY problem, its variables, and every constraint by address.

    Attributes
    ----------
    problem : cvxpy.Problem
    density : dict (class, group) -> Variable
        u with P_ia = scale u, on the support of the cell.
    support : dict (class, group) -> index array
    base, scale : dict (class, group) -> Array
        D_ia on its support, and what u is a density of.
    weight : dict (class, group) -> float
        q~_ia.
    common : dict class -> (Variable, Array) or None
        v and m with R_i = m v; None where R_i is that of a group that stays.
    consensus, conditions : dict address -> Constraint
    balls : dict address -> Constraint
        The total variations, with a bound.
    """

    problem: Any
    density: dict[Cell, Any]
    support: dict[Cell, Any]
    base: dict[Cell, Array]
    scale: dict[Cell, Array]
    weight: dict[Cell, float]
    common: dict[int, tuple[Any, Array] | None]
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

    def law(self, cell: Cell, n: int) -> Array:
        """Return P_ia, normalised, shape (X,)."""
        out = np.zeros(n)
        part = self.scale[cell] * np.maximum(np.asarray(self.density[cell].value), 0.0)
        out[self.support[cell]] = part / part.sum()
        return out

    def common_law(self, i: int) -> Array:
        """Return the free common law of a class on its support, normalised."""
        pair = self.common[i]
        assert pair is not None
        out: Array = pair[1] * np.maximum(np.asarray(pair[0].value), 0.0)
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
            constant += sum(_tangent(constraint, slope) for constraint in part.values())
        for cell, u in self.density.items():
            d, w = self.base[cell], self.weight[cell]
            s = slope.pop(u.id, np.zeros(len(d)))
            constant -= float(s @ u.value)
            score = -s / (self.scale[cell] * w)
            top = score.max()
            constant -= w * float(top + np.log(d @ np.exp(score - top)))
        for pair in self.common.values():
            if pair is not None:
                v, m = pair
                s = slope.pop(v.id, np.zeros(len(m)))
                constant += float((s / m).min() - s @ v.value)
        for variable in self.problem.variables():  # what is left: distances, between 0 and 2 X
            if variable.id in slope:
                s, most = slope[variable.id], 2.0 * variable.size
                constant += float(most * np.minimum(s, 0.0).sum() - s @ np.ravel(variable.value))
        return constant


def compile_finite(
    D: Categorical,
    laws: Array,
    prior: Array,
    steered: Sequence[int],
    reference: int | None,
    map_bound: float,
    conditions: Sequence[Condition],
    near: CompiledFinite | None = None,
) -> CompiledFinite:
    """Build the program.

    Parameters
    ----------
    D : Categorical
    laws : Array, shape (X, K, G)
        P(X=x | Y=i, A=a).
    prior : Array, shape (K, G)
        Steered base rates times group masses.
    steered : positions of the groups that move
    reference : position of a group that stays, or None
    map_bound : float
    conditions : sequence of Condition
    near : CompiledFinite, optional
        A solved program whose answer is about the one expected: variables then are near one.

    Raises
    ------
    ModelError
        If a condition is not convex or returns something else than constraints.
    """
    n, K = laws.shape[:2]
    prior_kl = float((prior * np.log(prior / D.prior)).sum())
    objective: Any = prior_kl
    density: dict[Cell, Any] = {}
    support: dict[Cell, Any] = {}
    base: dict[Cell, Array] = {}
    scales: dict[Cell, Array] = {}
    weight: dict[Cell, float] = {}
    common: dict[int, tuple[Any, Array] | None] = {}
    consensus: dict[str, Any] = {}
    balls: dict[str, Any] = {}
    rules: list[Any] = []
    expressions: dict[Cell, Any] = {}
    bound = cp.Parameter(nonneg=True, value=map_bound, name="map_bound") if map_bound > 0 else None
    for i in range(K):
        used = laws[:, i, list(steered)].max(axis=1) > 0
        scale = _expected_law(laws[:, i], prior[i], steered, reference)
        if near is not None and reference is None:
            scale[used] = np.maximum(near.common_law(i), LEAST)
        R: Any
        if reference is None:
            v = cp.Variable(int(used.sum()), nonneg=True, name=address("common", D.classes[i]))
            common[i] = (v, scale[used])
            R = _spread(used) @ cp.multiply(scale[used], v)
            rules.append(cp.sum(cp.multiply(scale[used], v)) == 1)
        else:
            common[i], R = None, laws[:, i, reference]
        for a in steered:
            cell, where = (i, a), address("law", D.groups[a], D.classes[i])
            own = laws[:, i, a] > 0
            d = laws[own, i, a]
            s = np.maximum(d, scale[own])
            if near is not None:
                s = np.maximum(near.law((i, a), n)[own], LEAST)
            u = cp.Variable(len(d), name=where)
            density[cell], support[cell], base[cell] = u, np.flatnonzero(own), d
            scales[cell] = s
            weight[cell] = float(prior[i, a])
            P = _spread(own) @ cp.multiply(s, u)
            expressions[cell] = P
            information = (s * np.log(s / d)) @ u - s @ cp.entr(u)
            objective = objective + prior[i, a] * information
            rules.append(s @ u == 1)
            if bound is None:
                row_scale = 1.0 / np.where(scale > 0, scale, 1.0)
                both = own | (used if reference is None else laws[:, i, reference] > 0)
                difference = cp.multiply(row_scale[both], (P - R)[both])
                consensus[where] = label(difference == 0, where)
                continue
            distance = cp.Variable(n, nonneg=True, name=f"distance_{where}")
            apart = n * (P - R)  # of order one
            balls[f"{where}:above"] = label(apart - distance <= 0, f"{where}:above")
            balls[f"{where}:below"] = label(-apart - distance <= 0, f"{where}:below")
            balls[where] = label(cp.sum(distance) / n - bound <= 0, where)
    found = _conditions(D, laws, prior, expressions, conditions, {*consensus, *balls})
    every = [*rules, *consensus.values(), *balls.values(), *found.values()]
    return CompiledFinite(
        cp.Problem(cp.Minimize(objective), every),
        density,
        support,
        base,
        scales,
        weight,
        common,
        consensus,
        balls,
        found,
        prior_kl,
        bound,
        [D.groups[a] for a in steered],
    )


def _tangent(constraint: Any, slope: dict[int, Array]) -> float:
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


def _conditions(
    D: Categorical,
    laws: Array,
    prior: Array,
    expressions: Mapping[Cell, Any],
    conditions: Sequence[Condition],
    taken: set[str],
) -> dict[str, Any]:
    """Call the user's conditions with the labelled views ``law`` and ``joint``."""
    view = CellView(
        D,
        {
            "law": lambda i, a: expressions.get((i, a), laws[:, i, a]),
            "joint": lambda i, a: prior[i, a] * expressions.get((i, a), laws[:, i, a]),
        },
    )
    original = CellView(
        D,
        {
            "law": lambda i, a: laws[:, i, a],
            "joint": lambda i, a: D.prior[i, a] * laws[:, i, a],
        },
    )
    return custom_constraints((view, original), conditions, taken)
