"""What the nearest fair population decides: masses of pairs (x, a) in levels, and their limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from fairprog.kernels.atoms.level_prices import bernoulli_kl
from fairprog.labels import Array, Indices
from fairprog.programs.fair.levels import TIE, Levels
from fairprog.programs.fair.question import FairQuestion

ROUNDING = 1e-15  # of posteriors


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
    whole : Array, shape (n,)
        All of the pair's, always.
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
    whole: Array
    known: Any

    @property
    def weight(self) -> Array:
        """Mass of each entry's unit: variables are relative to it."""
        return np.asarray(self.mass[self.unit[self.slot]])

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
    if levels is not None and levels.binary:
        used &= known[:, :, None] | _reachable(levels, eta, unit)
    row, level, label = np.nonzero(allowed[:, :, None] & used)
    fixed = known[row, level]
    slots, slot = np.unique(unit[row] * L + level, return_inverse=True)
    whole = s.weight[pairs][row] / mass[unit[row]]
    return Entries(
        pairs[row],
        level,
        np.where(fixed[:, None], law[row, level], np.eye(K)[label]),
        np.where(fixed, cost[row, level], 0.0),
        slot,
        slots // L,
        mass,
        whole * np.where(fixed, 1.0, eta[row, label]),
        whole,
        fixed,
    )


def _reachable(levels: Levels, eta: Array, unit: Indices) -> Any:
    """Return which classes (m, L, K) may be in a level of their unit: masses only scale.

    A unit of one class keeps its posterior, 0 or 1; in levels that end there no other class is.
    """
    there = np.zeros((unit.max() + 1, 2), dtype=bool)
    np.logical_or.at(there, unit, eta > 0)
    zero, one = there[unit].T[:, :, None]
    level = (zero | (levels.high >= 1)) & (one | (levels.low <= 0))
    return level[:, :, None] & np.stack([levels.low < 1, levels.high > 0], axis=1)


def _within_reach(levels: Levels, eta: Array, unit: Indices, aware: bool) -> Any:
    """Return which levels the posterior of a unit can be in while pairs keep theirs.

    No margin keeps them from a border: who is on it already stays there (`Levels.of`).
    """
    out, level = np.zeros((len(eta), len(levels)), dtype=bool), levels.of(eta)
    out[np.arange(len(eta)), level] = True
    if aware:
        return out
    whole, n = levels.whole or levels, int(unit.max()) + 1
    if not levels.binary:
        there = np.zeros((n, len(levels)), dtype=bool)
        np.logical_or.at(there, unit, out)  # levels are convex: who is in one stays in it
        return out | (there.sum(axis=1) > 1)[unit, None]
    least, most = np.ones(n), np.zeros(n)
    np.minimum.at(least, unit, eta[:, 1])
    np.maximum.at(most, unit, eta[:, 1])
    least, most = least[unit, None], most[unit, None]
    above = np.where(whole.points | (whole.low <= 0), most >= whole.low, most > whole.low + TIE)
    ends = ((levels.high <= 0) & (eta[:, 1:] > 0)) | ((levels.low >= 1) & (eta[:, 1:] < 1))
    return above & (least <= whole.high + np.where(whole.points, 0.0, TIE)) & ~ends


def held_rows(
    question: FairQuestion, levels: Levels | None, e: Entries
) -> dict[str, tuple[Any, Array]]:
    """Return linear conditions on units, by name, as a matrix and a right side.

    "posterior" is at most its right side (posteriors lie in levels), the others are equal to it:
    "point" (levels that are points), "law" (the law of X stays).
    """
    held: dict[str, tuple[Any, Array]] = {}
    free = ~e.known if question.uses_group else np.ones(len(e.pair), dtype=bool)
    stay = question.move == "masses"
    posterior: list[Any] = []
    if levels is not None and levels.binary:
        at, low, high = levels.points, levels.low > 0, levels.high < 1

        def off(end: Array, which: Any, sign: float, reached: bool) -> Any:
            used = free & which[e.level]
            beyond = sign * (end[e.level] - e.law[:, 1])
            beyond = (_from_within_reach(e, beyond) if reached else beyond) * used
            return e.sums(e.slot, beyond, len(e.unit))[np.unique(e.slot[used])]

        posterior = [
            off(levels.low, ~at & low, 1.0, stay),
            off(levels.high, ~at & high, -1.0, stay),
        ]
        point = off(levels.low, at & low & high, 1.0, False)
        if point.shape[0]:
            held["point"] = point, np.zeros(point.shape[0])
    elif levels is not None and free.any():
        for r in range(max(len(cone) for cone in levels.cones)):
            row = np.array([c[r] if r < len(c) else 0.0 * c[0] for c in levels.cones])
            beyond = (row[e.level] * e.law).sum(axis=1)
            beyond = _from_within_reach(e, beyond) if stay else beyond
            posterior.append(e.sums(e.slot, beyond, len(e.unit)))
    if posterior and (rows := sp.vstack(posterior).tocsr()).shape[0]:
        held["posterior"] = rows, np.zeros(rows.shape[0])
    if question.keeps_law:
        _, first, where = np.unique(e.pair, return_index=True, return_inverse=True)
        held["law"] = e.sums(where), e.whole[first]
    return held


def _from_within_reach(e: Entries, beyond: Array) -> Array:
    """Return how far posteriors that stay are beyond an end of their level, less the margin.

    Where all pairs of a unit are within the margin of the end, the nearest counts as inside.
    """
    least = np.full(len(e.unit), np.inf)
    np.minimum.at(least, e.slot, beyond)
    beyond = beyond - np.maximum(least, 0.0)[e.slot]
    return np.where(np.abs(beyond) > ROUNDING, beyond, 0.0)
