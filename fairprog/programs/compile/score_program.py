r"""The joint linear program of a fair score, for what the closed ways do not reach.

The variables are the exceedances H_a[b, v] = P(S' >= level v | block b) of every group that moves:
in [0, 1], rising in the score and falling in v. The rates of an event in every group lie within
half the bound of a free centre at every threshold v. Least is the mean over thresholds of

.. math:: \sum_a c_v\, q_{0a} F_a(v) + (1 - c_v)\, q_{1a} (1 - T_a(v)).

Source: theory.md section 11 (Theorem F).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import cvxpy as cp
import numpy as np
import scipy.sparse as sp

from fairprog.errors import InfeasibleError, SolverError
from fairprog.labels import Array
from fairprog.programs.compile.linear import HIGHS, linear_model, run_linear
from fairprog.programs.compile.standard_form import StandardForm

LARGE = 4000  # exceedances from which on the simplex method takes longer than interior points
INTERIOR = {"solver": "ipm", "run_crossover": "off", "ipm_optimality_tolerance": 1e-11}


@dataclass(eq=False)
class ScoreProgram:
    """The compiled program; `bound` is a parameter.

    Attributes
    ----------
    problem : cvxpy.Problem
    bound : cvxpy.Parameter
    exceedances : list of G variables (n_a, V), or arrays for groups that stay
    tied : list of E lists of (upper, lower) constraints by group
    """

    problem: Any
    bound: Any
    exceedances: list[Any]
    tied: list[list[tuple[Any, Any]]]
    form: Any

    def solve(self, bound: float, how: tuple[Any, ...]) -> tuple[list[Array], Array, str]:
        """Return the exceedances, the multipliers (V, E, G) and the solver's name.

        Raises
        ------
        InfeasibleError
            With the least bound that is feasible in ``details["least_bound"]``.
        """
        self.bound.value = bound
        size = sum(h.size for h in self.exceedances)
        options = INTERIOR if how[0] == "HIGHS" and size > LARGE else {}
        if self.form.solve(*how, options) == "infeasible":
            least = self.least_bound()
            raise InfeasibleError(
                "No score is that fair.", status="infeasible", details={"least_bound": least}
            )
        H = [np.asarray(getattr(h, "value", h)) for h in self.exceedances]
        K = [[np.ravel(u.dual_value) - np.ravel(d.dual_value) for u, d in e] for e in self.tied]
        return H, np.moveaxis(np.array(K), -1, 0), self.form.solver

    def least_bound(self) -> float:
        """Return the least bound for which there is a score."""
        free = cp.Variable(nonneg=True)
        constraints = []
        for e in self.tied:
            for upper, lower in e:
                constraints += [
                    c.args[0] - c.args[1] + self.bound / 2 <= free / 2 for c in (upper, lower)
                ]
        others = [
            c
            for c in self.problem.constraints
            if not any(c is k for e in self.tied for p in e for k in p)
        ]
        self.bound.value = 0.0
        problem = cp.Problem(cp.Minimize(free), constraints + others)
        if StandardForm(problem).solve("HIGHS", None, False, {}) == "infeasible":
            raise InfeasibleError("The constraints clash at every bound.", status="infeasible")
        return float(free.value)


def compile_score(
    question: Any, blocks: Sequence[Array], cost: Array, weight: Array, fixed: Any
) -> ScoreProgram:
    """Return the program.

    Parameters
    ----------
    question : ScoreQuestion
    blocks : sequence of G arrays (n_a, 2)
        P(block | Y) of every group, by rising score.
    cost, weight : Array, shape (V,)
        Of every threshold, rising; weights sum to one.
    fixed : mapping of position to Array (n_a, V)
        Exceedances of the groups that stay.
    """
    q, V = question.q, len(cost)
    bound = cp.Parameter(nonneg=True, name="bound")
    exceedances: list[Any] = []
    constraints = []
    rates: list[Any] = []  # (V, 2)
    for a, P in enumerate(blocks):
        H = fixed.get(a)
        if H is None:
            H = cp.Variable((len(P), V), name=f"exceedance[{question.population.groups[a]}]")
            name = question.population.groups[a]
            constraints += [
                (H[:1] >= 0).set_label(f"nonnegative[{name}]"),
                (H[-1:] <= 1).set_label(f"at_most_one[{name}]"),
            ]
            if len(P) > 1:
                constraints.append((cp.diff(H, axis=0) >= 0).set_label(f"rank_keeping[{name}]"))
            if V > 1:
                constraints.append((cp.diff(H, axis=1) <= 0).set_label(f"nested[{name}]"))
        exceedances.append(H)
        rates.append(H.T @ P)
    tied: list[list[tuple[Any, Any]]] = []
    for event, where in zip(question.events, question.addresses, strict=True):
        centre, own = cp.Variable(V, name=f"centre[{where}]"), []
        for a, group in enumerate(question.population.groups):
            off = rates[a] @ event[a] - centre
            label = where.replace("[", f"[{group},", 1)
            pair = (
                (off <= bound / 2).set_label(f"{label}:upper"),
                (-off <= bound / 2).set_label(f"{label}:lower"),
            )
            own.append(pair)
            constraints += pair
        tied.append(own)
    risk = sum(
        q[0, a] * (weight * cost) @ r[:, 0] - q[1, a] * (weight * (1 - cost)) @ r[:, 1]
        for a, r in enumerate(rates)
    )
    view = SimpleNamespace(
        rates={(i, a): r[:, i] for a, r in enumerate(rates) for i in (0, 1)}, costs=cost
    )
    for condition in question.conditions:
        found = condition(view, question.population)
        for c in found if isinstance(found, (list, tuple)) else [found]:
            constraints.append(c.set_label(condition.name))
    problem = cp.Problem(cp.Minimize(risk), constraints)
    return ScoreProgram(problem, bound, exceedances, tied, StandardForm(problem))


def least_movement(P: Array, R: Array) -> Array:
    r"""Return the rank-keeping channel from P to R whose ranks move least.

    .. math:: \min \sum_{b, l} p_b M(l \mid b) |rank(b) - rank(l)|

    with M stochastic, carrying both laws, its exceedances rising in the score.

    Parameters
    ----------
    P : Array, shape (n, 2)
        P(block | Y), by rising score; its rows' means are what ranks are of.
    R : Array, shape (m, 2)
        P(level | Y), rising.
    """
    n, m = len(P), len(R)
    ranks = [np.cumsum(x.mean(axis=1)) - 0.5 * x.mean(axis=1) for x in (P, R)]
    cost = P.mean(axis=1)[:, None] * np.abs(ranks[0][:, None] - ranks[1])
    eye = sp.eye_array(m)
    laws = sp.vstack([sp.kron(P[:, i][None], eye) for i in (0, 1)])
    rows = sp.kron(sp.eye_array(n), np.ones((1, m)))
    step = sp.diags_array([-1.0, 1.0], offsets=[0, 1], shape=(n - 1, n))
    above = sp.csr_array(np.triu(np.ones((m, m)))[1:])
    A = sp.csc_array(sp.vstack([laws, rows, sp.kron(step, above)]))
    equal = np.concatenate([R.T.ravel(), np.ones(n)])
    kept = (n - 1) * (m - 1)
    lower = np.concatenate([equal, np.zeros(kept)])
    upper = np.concatenate([equal, np.full(kept, np.inf)])
    settings = {**HIGHS, "primal_feasibility_tolerance": 1e-10}
    model = linear_model(A, lower, upper, cost.ravel(), settings, False, np.zeros(n * m))
    status, x, _ = run_linear(model)
    if status != "optimal":
        raise SolverError(f"The channel of least movement was not found: {status}.", status=status)
    return np.asarray(x).reshape(n, m)
