"""Levels: regions of the posterior in which every rule that is asked for decides the same.

Costs of two classes are thresholds on P(Y=1 | x, a), which cut [0, 1] into intervals; "all" costs,
or a range, become a grid of points, which every threshold separates into the same sets for every
group. Of more classes a level is a cone of linear inequalities, one per pair of actions and cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import expit, logit

from fairprog.errors import DataError, ModelError
from fairprog.labels import Array, Indices, check_finite

NONE = np.zeros(0)
FLAT = 1e-9  # a cone that is narrower than this is empty
SPARE = 1e-7  # log odds kept from 0 and 1 where points are placed
TIE = 1e-12  # expected costs that differ by less are the same, as in `bayes_actions`


@dataclass(frozen=True, eq=False)
class Levels:
    """Regions of the posterior.

    Attributes
    ----------
    rules : tuple of str
        What the levels are of: thresholds, or costs by number; the addresses of conditions end so.
    actions : Indices, shape (L, rules)
        What every rule predicts in a level.
    low, high : Array, shape (L,)
        Ends of the intervals (two classes), else empty.
    cones : list of Array, shape (n, K)
        A level is where ``cone @ posterior <= 0``.
    exact : bool
        Whether levels stand for all the rules that are asked for; else they are points of a grid.
    whole : Levels or None
        The levels that a margin was taken from.
    """

    rules: tuple[str, ...]
    actions: Indices
    low: Array
    high: Array
    cones: list[Array]
    exact: bool = True
    whole: Levels | None = None

    def __len__(self) -> int:
        return len(self.actions)

    @property
    def binary(self) -> bool:
        """Whether levels are intervals: two classes."""
        return self.low.size > 0

    @property
    def points(self) -> Any:
        """Which levels are single posteriors (two classes)."""
        return (self.low == self.high) if self.binary else np.zeros(len(self), dtype=bool)

    def inside(self, margin: float) -> Levels:
        """Return the levels without what is within `margin` of a border between two.

        It is where posteriors may move to; those that stay are in the level they were in.
        """
        if not self.binary:
            # the costs of the actions differ by this much at least
            return replace(self, cones=[cone + margin for cone in self.cones], whole=self)
        low = np.where(self.points | (self.low <= 0.0), self.low, self.low + margin)
        high = np.where(self.points | (self.high >= 1.0), self.high, self.high - margin)
        low = np.where(np.abs(low - high) < 1e-12, high, low)  # 0.6 - 0.5 is no tenth in binary
        if (low > high).any():
            raise DataError(
                f"`thresholds` must be {2 * margin:g} apart and inside (0, 1).",
                argument="thresholds",
            )
        return replace(self, low=low, high=high, whole=self)

    def of(self, posterior: Array) -> Indices:
        """Return the level of every posterior (m, K), whatever the margin.

        Of the first where several hold it: as Bayes rules do, ties go to the first class, so that
        a posterior exactly on a threshold is below it.
        """
        if self.whole is not None:
            return self.whole.of(posterior)
        if self.binary:
            return np.searchsorted(self.high[:-1] + TIE, posterior[:, 1], side="left")
        off = np.stack([np.max(posterior @ cone.T, axis=1, initial=0.0) for cone in self.cones], 1)
        return np.argmax(off <= off.min(axis=1, keepdims=True) + TIE, axis=1)


def threshold_levels(thresholds: Sequence[float], names: Sequence[str] | None = None) -> Levels:
    """Return the intervals between thresholds."""
    t = check_finite(thresholds, "thresholds", (len(thresholds),))
    if not t.size or t.min() <= 0 or t.max() >= 1 or np.unique(t).size < t.size:
        raise DataError(
            f"`thresholds` must be different numbers inside (0, 1); found {t.tolist()}.",
            argument="thresholds",
        )
    rules = [f"{value:g}" for value in t] if names is None else names
    edges = np.concatenate([[0.0], np.sort(t), [1.0]])
    actions = (edges[:-1, None] >= t).astype(np.intp)
    return Levels(tuple(rules), actions, edges[:-1], edges[1:], [])


def grid_levels(low: float, high: float, count: int, eta: Array, weight: Array) -> Levels:
    """Return points for every threshold between `low` and `high`, and what is outside as levels.

    Half of them are spaced evenly, half by where the posteriors are.
    """
    inner = (eta > low) & (eta < high)
    order = np.argsort(eta[inner])
    share = np.cumsum(weight[inner][order])
    even = low + (high - low) * (np.arange(count - count // 2) + 0.5) / (count - count // 2)
    edges = even
    if inner.any():
        at = (np.arange(count // 2) + 0.5) / max(count // 2, 1)
        edges = np.union1d(even, np.interp(at, share / share[-1], eta[inner][order]))
    ends = ([0.0] if low > 0 else []), ([1.0] if high < 1 else [])
    first = np.concatenate([ends[0], edges, [high] * len(ends[1])])
    last = np.concatenate([[low] * len(ends[0]), edges, ends[1]])
    if low <= 0 and (eta <= 0).any():
        first, last = np.append(0.0, first), np.append(0.0, last)
    if high >= 1 and (eta >= 1).any():
        first, last = np.append(first, 1.0), np.append(last, 1.0)
    cuts = 0.5 * (last[:-1] + first[1:])
    actions = (np.arange(len(first))[:, None] > np.arange(len(cuts))).astype(np.intp)
    return Levels(tuple(f"{c:.4g}" for c in cuts), actions, first, last, [], exact=False)


def cells_of(levels: Levels, low: float, high: float) -> Levels:
    """Return intervals, one about each level of a grid, that cover [0, 1]."""
    edges = 0.5 * (levels.high[:-1] + levels.low[1:])
    first, last = np.append(0.0, edges), np.append(edges, 1.0)
    if low > 0:
        last[0] = first[1] = low
    if high < 1:
        last[-2] = first[-1] = high
    return replace(levels, low=first, high=last, exact=True)


def refit(levels: Levels, eta: Array, level: Indices, mass: Array) -> Levels:
    """Return the grid with every point where what is in it is nearest: the mean of log odds."""
    odds = logit(np.clip(eta, SPARE, 1.0 - SPARE))
    total = np.bincount(level, mass, len(levels))
    mean = np.bincount(level, mass * odds, len(levels)) / np.where(total > 0, total, 1.0)
    inner = levels.points & (levels.low > 0) & (levels.low < 1) & (total > 0)
    point = np.where(inner, expit(mean), 0.0)
    return replace(
        levels,
        low=np.where(inner, point, levels.low),
        high=np.where(inner, point, levels.high),
    )


def cost_levels(costs: Sequence[Array], n_classes: int) -> Levels:
    """Return the regions in which the Bayes rules of the costs decide.

    Raises
    ------
    ModelError
        For a cost of two classes of which one action is never the better.
    """
    if n_classes == 2:
        thresholds = []
        for C in costs:
            over, under = C[0, 1] - C[0, 0], C[1, 0] - C[1, 1]
            if min(over, under) <= 0:
                raise ModelError(
                    "`cost` must make each error dearer than the right decision: with "
                    f"{C.tolist()} one action is never the better.",
                    argument="cost",
                )
            thresholds.append(over / (over + under))
        return threshold_levels(thresholds)
    every: list[tuple[Any, tuple[int, ...]]] = [(np.zeros((0, n_classes)), ())]
    for C in costs:
        scale = np.ptp(C, axis=1).max()
        wins = [np.delete((C[:, [j]] - C).T / scale, j, axis=0) for j in range(n_classes)]
        every = [(np.vstack([A, w]), (*acts, j)) for A, acts in every for j, w in enumerate(wins)]
    kept = [(A, acts) for A, acts in every if _width(A) > FLAT]
    names = tuple(f"cost {k}" for k in range(len(costs)))
    return Levels(names, np.array([acts for _, acts in kept]), NONE, NONE, [A for A, _ in kept])


def _width(cone: Array) -> float:
    """Return how far inside the cone a posterior can be."""
    from scipy.optimize import linprog

    n, K = cone.shape
    found = linprog(
        np.append(np.zeros(K), -1.0), A_ub=np.hstack([cone, np.ones((n, 1))]), b_ub=np.zeros(n),
        A_eq=[np.append(np.ones(K), 0.0)], b_eq=[1.0], bounds=[(0, None)] * K + [(None, 1.0)],
    )  # fmt: skip
    return -float(found.fun or 0.0) if found.status == 0 else 0.0
