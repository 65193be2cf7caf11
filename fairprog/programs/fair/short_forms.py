"""Answers without a conic solver: sorting, pools of levels, Newton's method on the dual.

Each returns parts of the support (pair, level, mass, posterior), prices of levels (G, L) by group,
and a lower bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fairprog.errors import DataError
from fairprog.kernels.atoms.level_prices import (
    FEW,
    best_prices,
    bound_over_levels,
    cheapest,
    coarse,
    common_basis,
    couple,
    dual_value,
    moved,
)
from fairprog.kernels.atoms.log_linear_pool import pool
from fairprog.kernels.atoms.one_threshold import (
    common_rate,
    price_finder,
    side_costs,
    tilted,
    weighed,
)
from fairprog.labels import Array, Indices
from fairprog.programs.fair.levels import Levels, cells_of, refit
from fairprog.programs.fair.question import FairQuestion
from fairprog.tables import DemographicParity, EqualizedOdds, EqualOpportunity, PredictiveEquality

REFITS = 2


@dataclass(frozen=True, eq=False)
class Parts:
    """An answer: where every part of a pair (x, a) goes, what proves it, what it costs.

    Attributes
    ----------
    pair, level : Indices, shape (n,)
        Position in the population's support, and among the levels.
    mass : Array, shape (n,)
        New P(part, A=a).
    posterior : Array, shape (n, K)
    lower, infimum : float
        Lower bounds: for posteriors that keep the margin, and without one. Of a grid of
        thresholds the second is over every population that is fair at all of them.
    duals, sensitivity, price : dict
    solver : str
    levels : Levels or None
        Those of the answer, with their margin.
    """

    pair: Indices
    level: Indices
    mass: Array
    posterior: Array
    lower: float
    infimum: float
    duals: dict[str, Array]
    sensitivity: dict[str, Array]
    price: dict[str, float]
    solver: str
    levels: Levels | None


Told = tuple[dict[str, Array], dict[str, Array], dict[str, float]]
CLASSES = {  # by notion: the classes given which predictions are to have one law
    EqualizedOdds: (0, 1),
    EqualOpportunity: (1,),
    PredictiveEquality: (0,),
}


def _told(
    question: FairQuestion, prices: Array, weights: Array, actions: Indices,
    rules: Sequence[str], given: str = "",
) -> Told:  # fmt: skip
    """Return duals, sensitivities and the price of the notion from prices of levels (G, L).

    A rule's rate of the last class is the mass of the levels above its threshold, whose price is
    the step of the levels' prices there: KL + sum_a w_a l_a (rate_a - common rate).
    """
    D, notion = question.population, question.notion
    if D.n_classes > 2:
        return {}, {}, {}
    positive = 1 if notion.positive is None else D.classes.index(notion.positive)
    order = np.argsort(np.argmax(actions, axis=0), kind="stable")
    steps = np.diff(prices, axis=1) * weights[:, None]
    duals = {
        f"{notion.name}[{D.groups[a]}{given},{D.classes[positive]}]@{rules[c]}": np.asarray(
            step[a] if positive else -step[a]
        )
        for step, c in zip(steps.T, order, strict=True)
        for a in question.steered
    }
    price = 0.5 * float(sum(np.abs(y) for y in duals.values()))
    return duals, {where: -y for where, y in duals.items()}, {notion.name: price}


def by_sorting(question: FairQuestion, wide: Levels, levels: Levels) -> Parts:
    """Return the answer for one threshold (theory.md section 12): one number, found by sorting."""
    D, s, keep = question.population, question.population.support, question.keeps_law
    low, high = float(levels.high[0]), float(levels.low[1])
    masses = D.group_mass[list(question.steered)]
    rows, groups = [], []
    for a, p in zip(question.steered, masses, strict=True):
        own = np.flatnonzero(s.group == a)
        order, group = weighed(s.score[own], s.weight[own] / p, low, high, keep)
        rows.append(own[order])
        groups.append(group)
    if question.staying:
        table = question.staying_levels.sum(axis=1)[:, list(question.staying)]
        z = float(table[1].sum() / table.sum())
        found = np.array([price_finder(group, keep)(z) for group in groups])
    else:
        z, found = common_rate(groups, masses, keep)
    parts, bounds = [], np.zeros(2)
    for own, group, price, p in zip(rows, groups, found, masses, strict=True):
        law = tilted(group, price)
        eta, total = s.score[own], float(law.sum())
        law = group[1] if keep else np.asarray(law / total)
        atom, level, mass = couple(np.arange(len(law)), law, np.array([1.0 - z, z]))
        parts.append((own[atom], level, p * mass, np.where(
            level == 1, np.maximum(eta[atom], high), np.minimum(eta[atom], low)
        )))  # fmt: skip
        below, above = side_costs(eta, float(wide.high[0]), float(wide.low[1]))
        least = np.minimum(below, above + price)
        value = cheapest(least, s.weight[own] / p, keep)[0]
        bound = -np.log(total)
        if keep:
            below, above = side_costs(eta, low, high)
            bound = law @ np.minimum(below, above + price)
        bounds += p * (np.array([bound, value]) - price * z)
    prices = np.zeros((D.n_groups, 2))
    prices[list(question.steered), 1] = found
    return _parted(parts, question, levels, prices, bounds, "sorting")


def _laws(question: FairQuestion) -> tuple[list[tuple[Array, Array, Array]], Array]:
    D, s = question.population, question.population.support
    own = [np.flatnonzero(s.group == a) for a in question.steered]
    p = D.group_mass[list(question.steered)]
    laws = [s.weight[rows] / mass for rows, mass in zip(own, p, strict=True)]
    return [(s.score[r], s.score[r], law) for r, law in zip(own, laws, strict=True)], p


def _parted(
    parts: Sequence[tuple[Any, ...]], question: FairQuestion, levels: Levels, prices: Array,
    bounds: Any, solver: str,
) -> Parts:  # fmt: skip
    pair, level, mass, share = (np.concatenate(column) for column in zip(*parts, strict=True))
    posterior = np.stack([1.0 - share, share], axis=1)
    D = question.population
    told = _told(question, prices, D.group_mass, levels.actions, levels.rules)
    lower, infimum = bounds
    return Parts(pair, level, mass, posterior, lower, infimum, *told, solver, levels)


def by_pool(question: FairQuestion) -> Parts | None:
    r"""Return the answer where posteriors stay in what a rule decides: log-linear pools.

    Of levels, whose posteriors stay, or of the predictions of a deterministic rule. Their law
    becomes the pool of the groups' laws: with two actions
    :math:`\mathrm{logit}\, z = \sum_a p_a \mathrm{logit}\, r_a` at the divergence
    :math:`\sum_a p_a\, kl(z \| r_a)`; given a class the same with weights q_ia. None where there
    is no such form.
    """
    D, notion, s = question.population, question.notion, question.population.support
    parity = type(notion) is DemographicParity and not question.keeps_rates
    cases: list[tuple[int, ...]] = [tuple(range(D.n_classes))] if parity else []
    if question.rule is not None and D.n_classes == 2 and not parity:
        flip = notion.positive is not None and D.classes.index(notion.positive) == 0
        cases = [(i ^ flip,) for i in CLASSES.get(type(notion), ())]
    plain = notion.bound_field == "difference_bound" and not notion.bound
    free = question.uses_group and not question.constraints and plain and bool(cases)
    rule, levels = question.rule, question.levels
    rules: tuple[str, ...]
    sure = rule is not None and bool(((rule == 0) | (rule == 1)).all())
    if rule is not None and sure and free and question.move == "both":
        level, actions, rules = rule.argmax(axis=1), np.arange(D.n_classes)[:, None], ("rule",)
    elif levels is not None and free and question.move == "masses" and levels.exact:
        level, actions, rules = levels.of(s.posterior), levels.actions, levels.rules
    else:
        return None
    joint, lower = s.weight[:, None] * s.posterior, 0.0
    told: Told = {}, {}, {}
    for classes in cases:
        table = np.zeros((len(actions), D.n_groups))
        np.add.at(table, (level, s.group), joint[:, list(classes)].sum(axis=1))
        weight = table.sum(axis=0)
        table /= weight
        stays = list(question.staying)
        pooled = pool(table, weight / weight.sum())[0]
        common = table[:, stays] @ weight[stays] if stays else pooled
        common = common / max(common.sum(), 1e-300)
        if not common.any() or (table[common > 0] == 0).any():
            raise DataError(
                "KL is infinite: some group has no mass in a level, or under a prediction, where "
                f"the others must keep some; {notion.name} needs move='both', or another rule.",
                argument="move",
            )
        factor = np.divide(common[:, None], table, out=np.zeros_like(table), where=table > 0)
        log = np.log(np.where(factor > 0, factor, 1.0))
        joint[:, list(classes)] *= factor[level, s.group][:, None]
        lower += float((weight * (common @ log))[list(question.steered)].sum())
        given = f",{D.classes[classes[0]]}" if type(notion) is EqualizedOdds else ""
        new = _told(question, -log.T, weight, actions, rules, given)
        for old, more in zip(told[:2], new[:2], strict=True):
            old.update(more)
        told[2].update({k: v + told[2].get(k, 0.0) for k, v in new[2].items()})
    moves = np.flatnonzero(np.isin(s.group, question.steered))
    mass = joint.sum(axis=1)
    posterior = np.divide(joint, mass[:, None], out=s.posterior.copy(), where=mass[:, None] > 0)
    own = level[moves] if levels is not None else 0 * moves
    name = "closed-form" if rule is not None else "log-linear pool"
    return Parts(moves, own, mass[moves], posterior[moves], lower, lower, *told, name, levels)


def by_dual(question: FairQuestion, levels: Levels, margin: float) -> Parts:
    """Return the answer for many thresholds, or a grid that stands for all in a range.

    Prices by Newton's method, the population by the increasing coupling of each group's tilted
    law with the common one. Of a grid the points are moved to where their posteriors are; where a
    group stays they are, at last, that group's own posteriors.
    """
    s, steered = question.population.support, list(question.steered)
    groups, p = _laws(question)
    few = groups if levels.exact else [coarse(group, FEW) for group in groups]
    rows = [np.flatnonzero(s.group == a) for a in steered]
    order = [np.argsort(first, kind="stable") for first, _, _ in groups]
    for k in range(1 if levels.exact else 1 + REFITS):
        inner = levels.inside(margin)
        kept = _kept(question, _cells(question, levels))
        basis = common_basis(p, np.zeros(len(levels), dtype=bool), kept is None)
        paid = basis.T @ np.kron(p, (np.zeros((len(levels), 2)) if kept is None else kept).ravel())
        found, laws = best_prices(inner.low, inner.high, few, p, basis, paid, question.keeps_law)
        ends, common = (inner.low, inner.high), p @ laws.sum(axis=2) / p.sum()
        if question.staying:
            ends, common = _own_points(question, inner)
        parts = []
        for a, (group, own) in enumerate(zip(groups, order, strict=True)):
            cost, _ = moved(inner.low, inner.high, group, found[a])
            law = cheapest(cost.min(axis=1), group[2], question.keeps_law)[1]
            atom, level, mass = couple(own, law / law.sum(), common / common.sum())
            eta = group[0][atom]
            share = np.clip(eta, ends[0][level], ends[1][level])
            if (((eta <= 0) | (eta >= 1)) & (share != eta)).any():
                name = question.population.groups[steered[a]]
                raise DataError(
                    f"KL is infinite: posteriors of group {name!r} that are exactly 0 or 1 cannot "
                    "move, and would have to. Count them in fewer bins, or smooth them.",
                    argument="population",
                    cell=(None, name),
                )
            parts.append((rows[a][atom], level, p[a] * mass, share))
        if k < REFITS and not levels.exact and not question.staying:
            atoms, places, masses = (np.concatenate([q[c] for q in parts]) for c in range(3))
            levels = refit(levels, s.score[atoms], places, masses)
    prices = np.zeros((question.population.n_groups, len(levels)))
    prices[steered] = found[:, :, 0]
    paid_to_kept = 0.0 if kept is None else float(p @ (found * kept).sum(axis=(1, 2)))
    bounds = [
        dual_value(ends[0], ends[1], groups, p, found, question.keeps_law) - paid_to_kept
        for ends in ((inner.low, inner.high), (levels.low, levels.high))
    ]
    if not levels.exact:
        bounds[1] = _over_grid(question, levels, groups, p)
    if question.staying and not levels.exact:  # points are others in the end
        bounds[0] = bounds[1]
    return _parted(parts, question, inner, prices, bounds, "dual")


def _over_grid(
    question: FairQuestion, levels: Levels, groups: list[tuple[Array, Array, Array]], p: Array
) -> float:
    """Return a lower bound over every population that is fair at all thresholds of the range."""
    cells, span = _cells(question, levels), question.span or (0.0, 1.0)
    inside = (cells.low >= span[0]) & (cells.high <= span[1])
    kept = _kept(question, cells)
    return bound_over_levels(cells.low, cells.high, groups, p, inside, kept, question.keeps_law)


def _cells(question: FairQuestion, levels: Levels) -> Levels:
    """Return intervals about the points of a grid; levels that are intervals as they are."""
    return levels if levels.exact else cells_of(levels, *(question.span or (0.0, 1.0)))


def _kept(question: FairQuestion, levels: Levels) -> Array | None:
    """Return the law of level and class of the groups that stay, shape (L, 2)."""
    if not question.staying:
        return None
    s = question.population.support
    stays, table = np.isin(s.group, question.staying), np.zeros((len(levels), 2))
    joint = s.weight[stays, None] * s.posterior[stays]
    np.add.at(table, levels.of(s.posterior[stays]), joint)
    return table / table.sum()


def _own_points(question: FairQuestion, levels: Levels) -> tuple[tuple[Array, Array], Array]:
    """Return ends of levels and their law where a group stays: of a grid, its own posteriors."""
    s = question.population.support
    kept = np.isin(s.group, question.staying)
    if levels.exact:
        mass: Array = np.bincount(levels.of(s.posterior[kept]), s.weight[kept], len(levels)) * 1.0
        return (levels.low, levels.high), mass
    low, high = question.span or (0.0, 1.0)
    eta = np.where(s.score <= low, 0.0, np.where(s.score >= high, 1.0, s.score))[kept]
    point, where = np.unique(eta, return_inverse=True)
    mass = np.bincount(where, s.weight[kept]) * 1.0
    first, last = point.copy(), point.copy()
    last[(point == 0.0) & (low > 0)] = low
    first[(point == 1.0) & (high < 1)] = high
    return (first, last), mass
