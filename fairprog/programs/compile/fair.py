"""The nearest fair population, whatever its family: relative entropies in CVXPY.

A *unit* is what rules see: a pair (x, a), or an atom x where they are blind to the group. In level
k it holds the masses u(r, k, i, a), and shares of a unit may go to several levels: the population
lives on X and an independent lot. Minimising over the shares leaves

    KL( sum_k T_k || m ) + sum_{r,k} T_k(r) KL( u(r, k, .) / T_k(r) || prior of r ),

jointly convex in u, with linear conditions: posteriors lie in their levels, and a notion speaks
about the few numbers table[k, i, a]. Source: theory.md section 12.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import cvxpy as cp
import numpy as np
import scipy.sparse as sp
from scipy.special import logsumexp, xlogy

from fairprog.kernels.atoms.level_prices import bernoulli_kl
from fairprog.labels import Array, Indices
from fairprog.programs.compile.custom import condition_prices, custom_constraints
from fairprog.programs.compile.exact_masses import exact_masses, table_rows
from fairprog.programs.compile.fair_entries import Entries, entries_of, held_rows
from fairprog.programs.compile.finite import tangent
from fairprog.programs.compile.standard_form import StandardForm
from fairprog.programs.compile.terms import TableVariables, compile_terms
from fairprog.programs.compile.views import CellView
from fairprog.programs.fair.levels import Levels
from fairprog.programs.fair.question import FairQuestion


@dataclass(frozen=True, eq=False)
class CompiledFair:
    """The CVXPY problem, its variables and every constraint by address.

    Attributes
    ----------
    problem : cvxpy.Problem
    question : FairQuestion
    levels : Levels or None
        With their margin.
    entries : Entries
    density : Variable
        Entries over the mass that they had, which is of order one.
    v : Expression
        Entries over the mass of their unit.
    table : Variable
        P(level, Y=i, A=a), shape (L * K * G,).
    link : Constraint
        table is the sum of the entries.
    rows : dict name -> (matrix, right side)
        Linear conditions on units: posteriors in levels, laws that stay.
    held : dict name -> Constraint
        The same, as constraints.
    masses, notions, conditions : dict address -> Constraint
        Masses of groups (and base rates), the notion at every rule, custom conditions.
    """

    problem: Any
    question: FairQuestion
    levels: Levels | None
    entries: Entries
    density: Any
    v: Any
    table: Any
    link: Any
    sums: Any
    fixed: Array
    actions: Indices
    rows: dict[str, tuple[Any, Array]]
    held: dict[str, Any]
    masses: dict[str, Any]
    notions: dict[str, Any]
    conditions: dict[str, Any]

    @property
    def limits(self) -> str:
        """What the conditions may clash with, besides each other."""
        return "the masses of the groups, the notion, and atoms without mass"

    def impossible(self) -> bool:
        """Return whether the linear conditions alone cannot be met, by a linear program."""
        alone = cp.Problem(cp.Minimize(0.0), self.problem.constraints)
        return StandardForm(alone).solve("auto", None, False, {}) == "infeasible"

    def parts(self) -> tuple[Indices, Indices, Array]:
        """Return (pair, level, masses of the classes) of all parts of steered pairs.

        Every linear condition but the custom ones holds exactly.
        """
        e, K = self.entries, self.question.population.n_classes
        L = 1 if self.levels is None else len(self.levels)
        u = e.weight * exact_masses(self)
        key, where = np.unique(e.pair * L + e.level, return_inverse=True)
        joint = np.zeros((len(key), K))
        np.add.at(joint, where, u[:, None] * e.law)
        kept = joint.sum(axis=1) > 0.0
        return key[kept] // L, key[kept] % L, joint[kept]

    def dual_value(self, levels: Levels | None) -> float:
        """Return the Lagrangian's minimum at the multipliers: a lower bound on the optimum.

        Over posteriors in `levels`, which may be wider than those of the program: without their
        margin it bounds what no margin would reach. NaN where a condition has no gradient.
        """
        e, q = self.entries, self.question
        slope: dict[int, Array] = {}
        constant = sum(tangent(c, slope) for c in self.conditions.values())
        extra = slope.pop(self.density.id, np.zeros(len(e.pair))) / e.prior
        constant += float(self.link.dual_value @ self.fixed - extra @ self.v.value)
        price = self.sums.T @ self.link.dual_value + extra
        several = self.levels is not None and not self.levels.binary
        if "posterior" in self.held and (several or q.move == "masses"):
            price = price + self.rows["posterior"][0].T @ np.maximum(self._dual("posterior"), 0.0)
        if "point" in self.held and q.move == "masses":
            price = price + self.rows["point"][0].T @ self._dual("point")
        if "law" in self.held and not q.uses_group:
            rows, law = self.rows["law"]
            price = price + rows.T @ self._dual("law")
            constant -= float(self._dual("law") @ law)
        cost = e.cost
        if q.projects and levels is not None:
            eta = q.population.support.score[e.pair]
            ends = levels.low[e.level], levels.high[e.level]
            cost = bernoulli_kl(np.clip(eta, *ends), eta)
        cost = self._slot_costs(price / e.weight + cost, levels)
        least = np.full(len(e.mass), np.inf)
        np.minimum.at(least, e.unit, cost)
        return constant + self._over_units(least) + self._over_tables()

    def _dual(self, name: str) -> Array:
        return np.asarray(self.held[name].dual_value, dtype=float)

    def _slot_costs(self, price: Array, levels: Levels | None) -> Array:
        """Return the least cost per mass of a unit in a level at prices of entries."""
        e, n = self.entries, len(self.entries.unit)
        least = np.full(n, np.inf)  # taken out: prices of what is nearly impossible are large
        np.minimum.at(least, e.slot, price)
        Z = e.prior * np.exp(least[e.slot] - price)
        with np.errstate(divide="ignore", invalid="ignore"):
            cost = -np.log(np.bincount(e.slot, Z, n))
            if levels is None or not levels.binary:
                return np.asarray(least + cost)
            both = np.stack([np.bincount(e.slot, Z * e.law[:, i], n) for i in (0, 1)])
            level = np.zeros(n, dtype=np.intp)
            level[e.slot] = e.level
            share = np.clip(both[1] / both.sum(axis=0), levels.low[level], levels.high[level])
            held = (xlogy(s := np.stack([1.0 - share, share]), s) - xlogy(s, both)).sum(axis=0)
        free = np.zeros(n, dtype=bool)
        free[e.slot] = ~e.known
        return np.asarray(least + np.where(free, held, cost))

    def _over_units(self, least: Array) -> float:
        """Return the least divergence of the law of X plus its mean cost."""
        e, q = self.entries, self.question
        if q.keeps_law and q.uses_group:
            return float(e.mass @ least)
        D = q.population
        if q.rule is None and not q.uses_group:
            return -float(logsumexp(-least, b=e.mass))
        group = np.zeros(len(e.mass), dtype=np.intp)
        group[e.unit[e.slot]] = D.support.group[e.pair]
        value = 0.0
        for a in q.steered:
            own, p = group == a, D.group_mass[a]
            value -= float(p * logsumexp(-least[own], b=e.mass[own] / p))
        return value

    def _over_tables(self) -> float:
        """Return the least of minus the prices over all tables that satisfy the notion."""
        q, table = self.question, self.table
        (E, d), (F, h) = table_rows(q, self.actions)
        rules = [E @ table == d, table >= 0] + ([F @ table <= h] if h.size else [])
        stays = np.flatnonzero(np.isin(np.arange(table.size) % q.population.n_groups, q.staying))
        if stays.size:
            rules.append(table[stays] == self.fixed[stays])
        outer = cp.Problem(cp.Minimize(-self.link.dual_value @ table), rules)
        kept = table.value
        StandardForm(outer).solve("auto", None, False, {})
        value, table.value = float(outer.value), kept
        return value

    def prices(self) -> tuple[dict[str, Array], dict[str, Array], dict[str, float]]:
        """Return duals, sensitivities and prices."""
        duals, price = condition_prices(self.conditions)
        notions = {where: np.asarray(c.dual_value, float) for where, c in self.notions.items()}
        total = sum(0.5 * float(np.abs(y).sum()) for y in notions.values())
        if self.question.notion.bound_field == "difference_bound":
            price = {self.question.notion.name: total} | price
        duals = notions | duals
        return duals, {where: -_signed(self, where, y) for where, y in duals.items()}, price


def _signed(compiled: CompiledFair, where: str, dual: Array) -> Array:
    """Return a multiplier with the sign of the side on which its condition binds."""
    c = compiled.notions.get(where)
    inner = None if c is None or not isinstance(c.args[0], cp.abs) else c.args[0].args[0]
    return dual if inner is None else dual * np.sign(np.asarray(inner.value, dtype=float))


def compile_fair(question: FairQuestion, levels: Levels | None) -> CompiledFair:
    """Build the program over the levels, or for a given rule.

    Raises
    ------
    ModelError
        If a condition is not convex or returns something else than constraints.
    """
    D = question.population
    e = entries_of(question, levels)
    K, G = D.n_classes, D.n_groups
    density = cp.Variable(len(e.pair), nonneg=True, name="entries")
    v = cp.multiply(e.prior, density)
    S = e.sums(e.slot)
    split = np.flatnonzero(e.prior < 1.0)  # the others are all of their unit
    parts = cp.rel_entr(density[split], S.T[split] @ (S @ v))
    objective: Any = (e.weight * e.cost) @ v + (e.weight * e.prior)[split] @ parts
    if not (question.keeps_law and question.uses_group):  # 0 where the law of X stays
        objective -= e.mass @ cp.entr(e.sums(e.unit[e.slot], size=len(e.mass)) @ v)
    rows = held_rows(question, levels, e)
    held = {
        name: (A @ v <= b if name == "posterior" else A @ v == b).set_label(name)
        for name, (A, b) in rows.items()
    }
    sums, fixed, actions, rules = _table_sums(question, levels, e)
    place = np.arange(len(actions) * K * G).reshape(len(actions), K, G)
    table = cp.Variable(place.size, name="table")
    link = (sums @ v + fixed - table == 0).set_label("table")
    masses: dict[str, Any] = {}
    for a in question.steered:  # but for what follows where the law of X stays
        kept = range(int(question.keeps_law), K) if question.keeps_rates else ()
        for i in kept:
            masses[f"mass[{a},{i}]"] = cp.sum(table[place[:, i, a]]) == D.prior[i, a]
        if not (question.keeps_rates or question.keeps_law):
            masses[f"mass[{a}]"] = cp.sum(table[place[:, :, a].ravel()]) == D.group_mass[a]
    notions: dict[str, Any] = {}
    for c, rule in enumerate(rules):
        Z = _Tables(table, place, actions[:, c])
        view = TableVariables(Z, D.prior.T, D.classes, D.groups)
        terms = question.notion.express(view)
        notions |= compile_terms([replace(t, address=f"{t.address}@{rule}") for t in terms])[1]
    joint = D.joint

    def law(i: int, a: int) -> Any:
        if a in question.staying:
            return joint[:, i, a]
        own = (D.support.group[e.pair] == a) * e.law[:, i] * e.weight
        return e.sums(D.support.atom[e.pair], own, D.n_atoms) @ v

    views = CellView(D, {"joint": law}), CellView(D, {"joint": lambda i, a: joint[:, i, a]})
    conditions = custom_constraints(views, question.constraints, set(notions))
    every = [link, *held.values(), *masses.values(), *notions.values()]
    problem = cp.Problem(cp.Minimize(objective), [*every, *conditions.values()])
    return CompiledFair(
        problem,
        question,
        levels,
        e,
        density,
        v,
        table,
        link,
        sums,
        fixed,
        actions,
        rows,
        held,
        masses,
        notions,
        conditions,
    )


class _Tables:
    """Z[a, i, j] of one rule, from the table of levels."""

    def __init__(self, table: Any, place: Indices, action: Indices) -> None:
        self._table, self._place, self._action = table, place, action

    def __getitem__(self, cell: tuple[int, int, int]) -> Any:
        a, i, j = cell
        where = self._place[self._action == j, i, a]
        return cp.sum(self._table[where]) if where.size else cp.Constant(0.0)


def _table_sums(
    question: FairQuestion, levels: Levels | None, e: Entries
) -> tuple[Any, Array, Indices, tuple[str, ...]]:
    """Return the matrix from entries to the table, what groups that stay add, and the rules."""
    D, s = question.population, question.population.support
    K, G, n = D.n_classes, D.n_groups, len(e.pair)
    rule = np.zeros((0, 0)) if question.rule is None else question.rule
    # from every entry, to every class, in its level or in all that the rule predicts
    to = np.arange(1) if question.rule is None else np.arange(K)
    frm, k, i = (index.ravel() for index in np.meshgrid(np.arange(n), to, np.arange(K)))
    level = e.level[frm] if question.rule is None else k
    mass = (e.weight[:, None] * e.law)[frm, i]
    mass = mass if question.rule is None else mass * rule[e.pair[frm], k]
    size = K if levels is None else len(levels)
    group = s.group[e.pair[frm]].astype(np.intp)
    where = (level * K + i) * G + group
    sums = sp.csr_array((mass, (where, frm)), shape=(size * K * G, n))
    if question.rule is None:
        assert levels is not None
        return sums, question.staying_levels.ravel(), levels.actions, levels.rules
    stays = np.isin(s.group, question.staying)
    joint, of = s.weight[stays, None] * s.posterior[stays], np.eye(G)[s.group[stays]]
    fixed = np.einsum("mj,mi,ma->jia", rule[stays], joint, of)
    return sums, fixed.ravel(), np.arange(K)[:, None], ("rule",)
