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

from fairprog.kernels.level_prices import bernoulli_kl
from fairprog.labels import Array, Indices
from fairprog.programs.compile.custom import condition_prices, custom_constraints
from fairprog.programs.compile.finite import tangent
from fairprog.programs.compile.standard_form import StandardForm
from fairprog.programs.compile.terms import TableVariables, compile_terms
from fairprog.programs.compile.views import CellView
from fairprog.programs.fair.levels import Levels
from fairprog.programs.fair.question import FairQuestion

LEAST = 1e-13  # mass of a part of an atom that is kept


@dataclass(frozen=True, eq=False)
class Entries:
    """What is decided: masses of pairs (x, a) in levels, by class or with a known posterior.

    Attributes
    ----------
    pair, level : Indices, shape (n,)
        Positions in the support, among levels.
    law : Array, shape (n, K)
        The class, or the posterior.
    cost : Array, shape (n,)
        Divergence of that posterior, nats.
    slot : Indices, shape (n,)
        Number of the (unit, level).
    unit : Indices, shape (slots,)
        Unit of every slot.
    mass : Array, shape (units,)
    prior : Array, shape (n,)
        Original mass over that of the unit; all of the pair's where the posterior is known.
    known : array of bool, shape (n,)
    """

    pair: Indices
    level: Indices
    law: Array
    cost: Array
    slot: Indices
    unit: Indices
    mass: Array
    prior: Array
    known: Any

    @property
    def weight(self) -> Array:
        """Mass of each entry's unit: variables are relative to it."""
        return np.asarray(self.mass[self.unit[self.slot]])

    @property
    def first(self) -> Array:
        """Weights with which entries of the law as it is add up to it."""
        return self.prior * (self.level == self.level[np.searchsorted(self.pair, self.pair)])

    def sums(self, index: Any, weight: Any = None, size: int | None = None) -> Any:
        """Return the sparse matrix that adds entries up by an index."""
        weight = np.ones(len(index)) if weight is None else weight
        shape = (int(index.max()) + 1 if size is None else size, len(index))
        return sp.csr_array((weight, (index, np.arange(len(index)))), shape=shape)


def entries_of(question: FairQuestion, levels: Levels | None) -> Entries:
    """Return what is decided of the groups that are steered."""
    s, K = question.population.support, question.population.n_classes
    pairs = np.flatnonzero(np.isin(s.group, question.steered))
    aware = question.uses_group or question.rule is not None
    unit = np.arange(len(pairs)) if aware else np.unique(s.atom[pairs], return_inverse=True)[1]
    mass: Array = np.bincount(unit, s.weight[pairs]) * 1.0
    eta = s.posterior[pairs]
    L = 1 if levels is None else len(levels)
    allowed, known = np.ones((len(pairs), L), dtype=bool), np.zeros((len(pairs), L), dtype=bool)
    law = np.repeat(eta[:, None], L, axis=1)
    cost: Array = np.zeros((len(pairs), L))
    if levels is not None and question.move == "masses":
        known[:] = True
        allowed = _within_reach(levels, eta, unit, aware)
    elif levels is not None and levels.binary and aware:
        known[:] = question.projects | levels.points
        share = np.clip(eta[:, 1:], levels.low, levels.high)
        law = np.stack([1.0 - share, share], axis=-1)
        cost = bernoulli_kl(share, eta[:, 1:])
        allowed = ~known | np.isfinite(cost)
    used = np.where(known[:, :, None], np.arange(K) == 0, (eta > 0)[:, None])
    row, level, label = np.nonzero(allowed[:, :, None] & used)
    fixed = known[row, level]
    slots, slot = np.unique(unit[row] * L + level, return_inverse=True)
    prior = s.weight[pairs][row] * np.where(fixed, 1.0, eta[row, label]) / mass[unit[row]]
    return Entries(
        pairs[row],
        level,
        np.where(fixed[:, None], law[row, level], np.eye(K)[label]),
        np.where(fixed, cost[row, level], 0.0),
        slot,
        slots // L,
        mass,
        prior,
        fixed,
    )


def _within_reach(levels: Levels, eta: Array, unit: Indices, aware: bool) -> Any:
    """Return which levels the posterior of a unit can be in while pairs keep theirs."""
    out = np.zeros((len(eta), len(levels)), dtype=bool)
    if aware:
        out[np.arange(len(eta)), levels.of(eta)] = True
    elif not levels.binary:
        out[:] = True
    else:
        least, most = np.ones(unit.max() + 1), np.zeros(unit.max() + 1)
        np.minimum.at(least, unit, eta[:, 1])
        np.maximum.at(most, unit, eta[:, 1])
        out = (most[unit, None] > levels.low) & (least[unit, None] < levels.high)
    return out


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
    v, table : Variable
        Entries over the mass of their unit; P(level, Y=i, A=a), shape (L * K * G,).
    link : Constraint
        table is the sum of the entries.
    held : dict name -> (constraint, matrix)
        Linear conditions on units: posteriors in levels, laws or posteriors that stay.
    masses, notions, conditions : dict address -> Constraint
        Masses of groups (and base rates), the notion at every rule, custom conditions.
    """

    problem: Any
    question: FairQuestion
    levels: Levels | None
    entries: Entries
    v: Any
    table: Any
    link: Any
    sums: Any
    fixed: Array
    held: dict[str, tuple[Any, Any]]
    masses: dict[str, Any]
    notions: dict[str, Any]
    conditions: dict[str, Any]

    @property
    def limits(self) -> str:
        """What the conditions may clash with, besides each other."""
        return "the masses of the groups, the notion, and atoms without mass"

    def parts(self) -> tuple[Indices, Indices, Array]:
        """Return (pair, level, masses of the classes) of all parts of steered pairs."""
        e, K = self.entries, self.question.population.n_classes
        L = 1 if self.levels is None else len(self.levels)
        u = e.weight * np.maximum(np.asarray(self.v.value), 0.0)
        key, where = np.unique(e.pair * L + e.level, return_inverse=True)
        joint = np.zeros((len(key), K))
        np.add.at(joint, where, u[:, None] * e.law)
        kept = joint.sum(axis=1) > LEAST
        return key[kept] // L, key[kept] % L, joint[kept]

    def dual_value(self, levels: Levels | None) -> float:
        """Return the Lagrangian's minimum at the multipliers: a lower bound on the optimum.

        Over posteriors in `levels`, which may be wider than those of the program: without their
        margin it bounds what no margin would reach. NaN where a condition has no gradient.
        """
        e, q = self.entries, self.question
        slope: dict[int, Array] = {}
        constant = sum(tangent(c, slope) for c in self.conditions.values())
        extra = slope.pop(self.v.id, np.zeros(len(e.pair)))
        constant += float(self.link.dual_value @ self.fixed - extra @ self.v.value)
        price = self.sums.T @ self.link.dual_value + extra
        several = self.levels is not None and not self.levels.binary
        if "posterior" in self.held and (several or q.move == "masses"):
            c, C = self.held["posterior"]
            price = price + C.T @ np.maximum(c.dual_value, 0.0)
        if "law" in self.held and not q.uses_group:
            c, C = self.held["law"]
            price = price + C.T @ c.dual_value
            constant -= float(c.dual_value @ (C @ e.first))
        cost = e.cost
        if q.projects and levels is not None:
            eta = q.population.support.score[e.pair]
            ends = levels.low[e.level], levels.high[e.level]
            cost = bernoulli_kl(np.clip(eta, *ends), eta)
        cost = self._slot_costs(price / e.weight + cost, levels)
        least = np.full(len(e.mass), np.inf)
        np.minimum.at(least, e.unit, cost)
        return constant + self._over_units(least) + self._over_tables()

    def _slot_costs(self, price: Array, levels: Levels | None) -> Array:
        """Return the least cost per mass of a unit in a level at prices of entries."""
        e, n = self.entries, len(self.entries.unit)
        Z = e.prior * np.exp(-price)
        with np.errstate(divide="ignore", invalid="ignore"):
            cost = -np.log(np.bincount(e.slot, Z, n))
            if levels is None or not levels.binary:
                return np.asarray(cost)
            one, level = np.bincount(e.slot, Z * e.law[:, 1], n), np.zeros(n, dtype=np.intp)
            level[e.slot] = e.level
            both = np.stack([np.exp(-cost) - one, one])
            share = np.clip(one / both.sum(axis=0), levels.low[level], levels.high[level])
            held = (xlogy(s := np.stack([1.0 - share, share]), s) - xlogy(s, both)).sum(axis=0)
        free = np.zeros(n, dtype=bool)
        free[e.slot] = ~e.known
        return np.asarray(np.where(free, held, cost))

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
        q, D = self.question, self.question.population
        rules = [*self.masses.values(), *self.notions.values(), self.table >= 0]
        stays = np.flatnonzero(np.isin(np.arange(self.table.size) % D.n_groups, q.staying))
        if stays.size:
            rules.append(self.table[stays] == self.fixed[stays])
        outer = cp.Problem(cp.Minimize(-self.link.dual_value @ self.table), rules)
        kept = self.table.value
        StandardForm(outer).solve("auto", None, False, {})
        value, self.table.value = float(outer.value), kept
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
    v = cp.Variable(len(e.pair), nonneg=True, name="entries")
    S = e.sums(e.slot)
    split = np.flatnonzero(e.prior < 1.0)  # the others are all of their unit
    parts = cp.rel_entr(v[split], cp.multiply(e.prior[split], S.T[split] @ (S @ v)))
    objective: Any = (e.weight * e.cost) @ v + e.weight[split] @ parts
    if not question.keeps_law:
        objective -= e.mass @ cp.entr(e.sums(e.unit[e.slot]) @ v)
    held = _held(question, levels, e, v)
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
    every = [link, *(c for c, _ in held.values()), *masses.values(), *notions.values()]
    problem = cp.Problem(cp.Minimize(objective), [*every, *conditions.values()])
    return CompiledFair(
        problem,
        question,
        levels,
        e,
        v,
        table,
        link,
        sums,
        fixed,
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


def _held(
    question: FairQuestion, levels: Levels | None, e: Entries, v: Any
) -> dict[str, tuple[Any, Any]]:
    """Return linear conditions on units, with their matrices."""
    held: dict[str, tuple[Any, Any]] = {}
    size = len(e.unit)
    free = ~e.known if question.uses_group else np.ones(len(e.pair), dtype=bool)
    if levels is not None and free.any():
        C = []
        if levels.binary:
            ends = ((levels.low > 0, levels.low, 1.0), (levels.high < 1, levels.high, -1.0))
            for binds, end, sign in ends:
                used = free & binds[e.level]
                off = sign * (end[e.level] - e.law[:, 1]) * used
                C.append(e.sums(e.slot, off, size)[np.unique(e.slot[used])])
        else:
            for r in range(max(len(cone) for cone in levels.cones)):
                row = np.array([c[r] if r < len(c) else 0.0 * c[0] for c in levels.cones])
                C.append(e.sums(e.slot, (row[e.level] * e.law).sum(axis=1), size))
        held["posterior"] = ((sp.vstack(C) @ v <= 0).set_label("posterior"), sp.vstack(C).tocsr())
    if question.keeps_law:
        C = e.sums(np.unique(e.pair, return_inverse=True)[1])
        held["law"] = ((C @ v == C @ e.first).set_label("law"), C)
    return held
