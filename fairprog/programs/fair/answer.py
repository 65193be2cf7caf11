"""From parts of atoms to a verified solution: population, KL and rates recomputed in numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import rel_entr

from fairprog.kernels.atoms.level_prices import bernoulli_kl
from fairprog.labels import Array, Indices
from fairprog.populations import Categorical, Support
from fairprog.programs.fair.question import FairQuestion
from fairprog.programs.fair.short_forms import Parts
from fairprog.solution.nearest_fair import FairCertificate, NearestFairSolution
from fairprog.tables import OutcomeTable

SAME = 1e-11  # between posteriors that are one but for rounding


def assemble_fair(
    question: FairQuestion, parts: Parts, margin: float, seconds: float, conic_gap: float | None
) -> NearestFairSolution:
    """Build the explicit population and prove it.

    Every part of an atom is an atom of its own. Masses of groups are made exact, which moves them
    by rounding only (it is checked: the notion's gap is of the population that is returned).
    """
    D = question.population
    pair, level, mass, posterior = _with_the_rest(question, parts)
    s = D.support
    group = s.group[pair].astype(np.intp)
    mass = mass * (D.group_mass / np.bincount(group, mass, D.n_groups))[group]
    atom, place = _atoms(question, pair, level)
    share = _shares(question, pair, place, mass)
    order = np.empty(len(place), dtype=np.intp)
    if len(atom) == len(place):
        order[place] = np.arange(len(place))
    else:
        order = np.argsort(place, kind="stable")
    pair, place, share = pair[order], place[order], share[order]
    score = posterior[order, 1] if D.n_classes == 2 else posterior[order]
    support = Support(place, group[order], mass[order], score)
    values = D.values[atom]
    population = Categorical._from_support(support, len(atom), values, D.classes, D.groups)
    population.scores_given, population.effective_rows = D.scores_given, D.effective_rows
    kl = divergence(D, population, pair, share)
    certificate = FairCertificate(
        dual_value=parts.lower,
        duality_gap=abs(kl - parts.lower),
        fairness_violation=_violation(question, population, parts, pair),
        mass_residual=_mass_residual(question, population, pair),
        conic_gap=conic_gap,
        lower_bound=parts.infimum,
        margin=margin,
        grid=question.span is not None,
    )
    return NearestFairSolution(
        kl=kl,
        original=D,
        population=population,
        affine={},
        duals=parts.duals,
        sensitivity=parts.sensitivity,
        price=parts.price,
        price_interval={},
        certificate=certificate,
        settings=question.settings(),
        solver=parts.solver,
        seconds=seconds,
        pair=pair,
        share=share,
    )


def divergence(D: Categorical, population: Categorical, pair: Indices, share: Array) -> float:
    """Return KL(population || D) of laws of (X, part, Y, A), nats."""
    new, old = population.support, D.support
    w, before = new.weight, old.weight[pair] * share
    if new.score.ndim == 1:
        inner = bernoulli_kl(new.score, old.score[pair])
    else:
        inner = rel_entr(new.score, old.score[pair]).sum(axis=1)
    inner = np.where(w > 0, inner, 0.0)
    return float(w @ inner + rel_entr(w, before).sum())


def _with_the_rest(question: FairQuestion, parts: Parts) -> tuple[Indices, Indices, Array, Array]:
    """Return the parts with pairs of groups that stay, and those that lost all their mass."""
    D, s = question.population, question.population.support
    there = np.zeros(len(s.atom), dtype=bool)
    there[parts.pair] = True
    rest = np.flatnonzero(~there)
    stays = np.isin(s.group[rest], question.staying)
    levels = question.levels
    level = np.zeros(len(rest), dtype=np.intp)
    if levels is not None and rest.size:
        level = levels.of(s.posterior[rest])
    return (
        np.concatenate([parts.pair, rest]),
        np.concatenate([parts.level, level]),
        np.concatenate([parts.mass, np.where(stays, s.weight[rest], 0.0)]),
        np.concatenate([parts.posterior, s.posterior[rest].reshape(-1, D.n_classes)]),
    )


def _atoms(question: FairQuestion, pair: Indices, level: Indices) -> tuple[Indices, Indices]:
    """Return the original atom of every new one, and the new atom of every part."""
    atom = question.population.support.atom[pair]
    L = int(level.max()) + 1
    key = atom * np.intp(L) + level
    present = np.zeros(question.population.n_atoms * L, dtype=bool)
    present[key] = True
    return np.flatnonzero(present) // L, np.cumsum(present)[key] - 1


def _shares(question: FairQuestion, pair: Indices, place: Indices, mass: Array) -> Array:
    """Return which share of its pair every part is: in a group-blind program that of the atom."""
    if question.uses_group:
        whole = np.bincount(pair, mass)[pair]
        return np.divide(mass, whole, out=np.ones_like(mass), where=whole > 0)
    atom = question.population.support.atom[pair]
    whole, part = np.bincount(atom, mass)[atom], np.bincount(place, mass)[place]
    return np.divide(part, whole, out=np.ones_like(mass), where=whole > 0)


def _violation(
    question: FairQuestion, population: Categorical, parts: Parts, pair: Indices
) -> float:
    """Return by how much Bayes rules of the population, or the rule given, miss the notion."""
    D, s, worst = population, population.support, 0.0
    if question.rule is not None:
        table = _table(D, s.weight[:, None] * s.posterior, question.rule[pair])
        return max(0.0, question.notion.violation(table))
    levels = question.levels
    assert levels is not None
    joint, posterior = s.weight[:, None] * s.posterior, s.posterior
    if not question.uses_group:  # rules see the atom alone
        whole = np.zeros((D.n_atoms, D.n_classes))
        np.add.at(whole, s.atom, joint)
        mass = whole.sum(axis=1, keepdims=True)
        posterior = np.divide(whole, mass, out=np.zeros_like(whole), where=mass > 0)[s.atom]
    if question.span is not None:  # at every threshold, not only those of the grid
        low, high = question.span
        t = np.unique(posterior[s.weight > 0, 1])
        t = t[(t >= low) & (t <= high)]
        cuts = 0.5 * (t[:-1] + t[1:])
        cuts = cuts[np.diff(t) > SAME][:: max(1, len(cuts) // 2000)]
        cuts = np.append(cuts, [end for end in (low, high) if 0 < end < 1])
        rules: Any = [np.stack([posterior[:, 1] <= c, posterior[:, 1] > c], 1) for c in cuts]
    else:
        actions = levels.actions[levels.of(posterior)]
        rules = [np.eye(D.n_classes)[column] for column in actions.T]
    for h in rules:
        worst = max(worst, question.notion.violation(_table(D, joint, h)))
    return worst


def _table(D: Categorical, joint: Array, h: Any) -> OutcomeTable:
    Z = np.zeros((D.n_groups, D.n_classes, D.n_classes))
    for i in range(D.n_classes):
        for j in range(D.n_classes):
            Z[:, i, j] = np.bincount(D.support.group, joint[:, i] * h[:, j], D.n_groups)
    return OutcomeTable(Z / Z.sum(), D.classes, D.groups)


def _mass_residual(question: FairQuestion, population: Categorical, pair: Indices) -> float:
    """Return how far from their targets are what base rates, law or labels shall keep."""
    D, s = question.population, question.population.support
    off = float(np.abs(population.group_mass - D.group_mass).max())
    if question.keeps_rates:
        off = max(off, float(np.abs(population.prior - D.prior).max()))
    if question.keeps_law:
        kept = np.bincount(pair, population.support.weight, len(s.atom))
        off = max(off, float(np.abs(kept - s.weight).max()))
    if question.move == "masses":
        gap = np.abs(population.support.posterior - s.posterior[pair])
        off = max(off, float((gap * population.support.weight[:, None]).max()))
    return off
