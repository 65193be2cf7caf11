"""Increasing maps of scores to common coordinates, by quantiles or by a program."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairprog.door import Rows
from fairprog.errors import FairprogWarning, ModelError
from fairprog.estimators.lattice import is_lattice, over_cells
from fairprog.estimators.score_columns import forward
from fairprog.kernels.statistics.gap_bands import worst_gap
from fairprog.kernels.statistics.weighted_quantiles import (
    balanced_weights,
    both_limits,
    common_levels,
    quantile_curve,
)
from fairprog.labels import Array, check_number, index_of
from fairprog.numeric import near
from fairprog.populations import Normal
from fairprog.programs import NearestIdeal
from fairprog.solution import Solution, SplitMap
from fairprog.solution.quantile_map import matched_map
from fairprog.transports import Monotone, PiecewiseLinear, PiecewiseLinearMap

ATOM, FEW = 0.25, 3  # over the root of a cell's rows: a mass that is smaller is not seen; rows
CHANCE = 0.5  # over the root of the smallest cell's rows: growth that is smaller is chance
Maps = dict[Hashable, PiecewiseLinearMap | SplitMap]
OPTIONS = {
    "method": ("quantile", "monotone", "normal", "channel"),
    "space": ("logit", "identity"),
    "ties": ("auto", "spread", "keep"),
}


def check_options(**values: Any) -> None:
    """Refuse options that there are not."""
    for name, value in values.items():
        if value not in OPTIONS[name]:
            raise ModelError(
                f"`{name}` must be one of {list(OPTIONS[name])}; found {value!r}.", argument=name
            )


def in_order(steer: Any, method: Any) -> tuple[Any, Any]:
    """Return `steer` and `method`, also where they were given in the old order."""
    if isinstance(steer, str) and steer in OPTIONS["method"]:
        known = isinstance(method, str) and method in OPTIONS["method"]
        steer, method = "all" if known else method, steer
    return steer, method


@dataclass(frozen=True)
class Plan:
    """Who moves, and where to.

    Attributes
    ----------
    moving : tuple of groups
        None of them where there is one group.
    home : hashable
        The group that the others are moved to; None is their average.
    """

    moving: tuple[Hashable, ...]
    home: Any

    @classmethod
    def choose(
        cls, groups: tuple[Hashable, ...], steer: str | Iterable[Any], reference: Any, method: str
    ) -> Plan:
        """Read `steer` and `reference`; the reference must be a group that stays.

        Maps of method "monotone" are to a group that stays: to the first, if all may move.
        """
        if isinstance(steer, str):
            if steer != "all":
                raise ModelError(
                    f"`steer` must be 'all' or a list of groups; found {steer!r}.",
                    argument="steer",
                )
            moving = groups if len(groups) > 1 else ()
        else:
            moving = tuple(groups[index_of(groups, g, "steer")] for g in steer)
        if reference is None and method == "monotone" and set(moving) == set(groups):
            reference = groups[0]
        if reference is None:
            return cls(moving, next((g for g in groups if g not in moving), None))
        index_of(groups, reference, "reference")
        if reference in moving and len(moving) < len(groups):
            raise ModelError(
                f"`reference` is {reference!r}, which is to be steered; name a group that stays.",
                argument="reference",
            )
        return cls(moving, reference)

    def rows(self, rows: Rows) -> Any:
        """Return which rows matter: those of groups that move and of the one they move to."""
        kept = [k for k, g in enumerate(rows.groups) if g in self.moving or g == self.home]
        return np.isin(rows.a, kept)

    @property
    def to_home(self) -> tuple[Hashable, ...]:
        """The groups that get a map of their own."""
        return tuple(g for g in self.moving if g != self.home)


def n_quantiles_of(rows: Rows, plan: Plan, n_quantiles: int | str) -> int:
    """Return the number of quantiles; "auto" by the rows of the smallest cell that matters."""
    if n_quantiles != "auto":
        return int(check_number(n_quantiles, "n_quantiles", 2))
    own = plan.rows(rows)
    count = np.bincount(len(rows.classes) * rows.a[own] + rows.y[own], rows.count[own])
    return int(np.clip(np.ceil(4.0 * count[count > 0].min() ** 0.25), 4, 1000))


def quantile_maps(
    s: Array, rows: Rows, plan: Plan, space: str, n_quantiles: int, ties: str
) -> Maps:
    """Return the maps that match the quantiles of class-balanced mixtures.

    Where a group has scores that hold many of its rows, all maps are between the scores as they
    are, and split them; else they are in `space`.
    """
    laws = laws_of(s, rows, plan, ties)
    share = shares_of(laws, plan)
    if any(law.atom.any() for law in laws.values()):
        found: Iterable[Any] = split_maps([*laws.values()], share, n_quantiles)
    else:
        middles = [(forward(law.values, space), law.middle) for law in laws.values()]
        levels = common_levels(middles, n_quantiles)
        own = np.stack([np.interp(levels, at, values) for values, at in middles])
        common = share @ own
        found = (matched_map(x, common, 0, g) for x, g in zip(own, laws, strict=True))
    return {g: T for g, T in zip(laws, found, strict=True) if g in plan.to_home}


@dataclass(frozen=True, eq=False)
class Law:
    """Distinct scores of a group, rising, and their masses, every class weighing the same."""

    values: Array
    mass: Array
    atom: NDArray[np.bool_]
    lattice: bool
    weight: float

    @classmethod
    def of(cls, s: Array, rows: Rows, own: NDArray[np.bool_], ties: str) -> Law:
        """Return the law of the scores of rows that are their `own`, with its point masses."""
        y, weight, count = rows.y[own], rows.weight[own], rows.count[own]
        values, place = np.unique(s, return_inverse=True)
        share = balanced_weights(y, weight, int(rows.y.max()) + 1)
        mass: Any = np.bincount(place, share)
        held, least = np.bincount(place, count), np.bincount(y, count)
        lattice = is_lattice(values.size, count.sum())
        atom = (held >= FEW) & (mass >= ATOM / np.sqrt(least[least > 0].min()))
        atom |= lattice or ties == "spread"
        return cls(values, mass, atom, lattice, float(weight.sum()))

    @property
    def middle(self) -> Array:
        """The level in the middle of each score's jump."""
        mass = self.mass / self.mass.sum()
        return np.asarray(np.cumsum(mass) - 0.5 * mass)


def laws_of(s: Array, rows: Rows, plan: Plan, ties: str) -> dict[Hashable, Law]:
    """Return the laws of the groups that matter (moving, or moved to) and have rows."""
    own = {g: rows.a == k for k, g in enumerate(rows.groups) if g in (*plan.moving, plan.home)}
    return {g: Law.of(s[o], rows, o, ties) for g, o in own.items() if o.any()}


def shares_of(laws: Mapping[Hashable, Law], plan: Plan) -> Array:
    """Return what each law weighs in the common one: home alone, else by its rows."""
    weight = [law.weight if plan.home in (None, g) else 0.0 for g, law in laws.items()]
    return np.array(weight) / sum(weight)


def split_maps(
    laws: Sequence[Law], share: Array, n_quantiles: int, mean: bool = False
) -> Iterator[SplitMap]:
    """Yield each group's map to the common quantiles, at all levels where a tie begins or ends.

    Where all scores are few, moved ones are scores that occur: those nearest to the common
    quantiles, best where a tie moves together, or, to keep their `mean`, both neighbours.
    """
    curves = [quantile_curve(law.values, law.mass, law.atom) for law in laws]
    twice = [level[1:][np.diff(level) == 0] for level, _ in curves]
    ends = (0.0, 1.0)  # no tail is cut off
    at = np.unique(np.concatenate([(np.arange(n_quantiles) + 0.5) / n_quantiles, ends, *twice]))
    own = np.stack([both_limits(at, *curve) for curve in curves])
    common = np.where(np.ptp(own, axis=0) == 0, own[0], np.maximum.accumulate(share @ own))
    levels = goal = np.repeat(at, 2)
    if all(law.lattice for law in laws):
        occur = np.unique(np.concatenate([law.values for law in laws]))
        if mean:
            goal, common = _on_lattice(np.diff(at), common[1:-1:2], occur)
        else:
            common = occur[near(common, occur)[0]]
    return (SplitMap.of(x, levels, goal, common) for x in own)


def _on_lattice(mass: Array, values: Array, occur: Array) -> tuple[Array, Array]:
    """Return the quantile function (levels, values) of masses shared out to values that occur.

    Each goes to its two neighbours, by how near they are: the mean is kept.
    """
    place = np.interp(values, occur, np.arange(occur.size))
    low = np.minimum(place.astype(np.intp), max(occur.size - 2, 0))
    part = place - low
    law: Any = np.bincount(low, mass * (1.0 - part), occur.size)
    law += np.bincount(low + 1, mass * part, occur.size + 1)[: occur.size]
    ends = np.concatenate([[0.0], np.cumsum(law)])
    return np.repeat(ends, 2)[1:-1], np.repeat(occur, 2)


def program_maps(
    s: Array, rows: Rows, plan: Plan, space: str, method: str, ties: str
) -> tuple[Maps, Solution]:
    """Return maps of the nearest ideal population, every class weighing the same."""
    own = plan.rows(rows)
    D = Normal.fit(
        forward(s[own], space), rows.label[own],
        sensitive_features=rows.group[own], sample_weight=rows.weight[own],
    )  # fmt: skip
    prior = np.tile(D.group_mass / 2.0, (2, 1))
    D = Normal(prior, D.mean, std=D.std, classes=D.classes, groups=D.groups)
    steer: Any = "all" if plan.home is None else list(plan.to_home)
    transport = PiecewiseLinear() if method == "monotone" else Monotone()
    solution = NearestIdeal(D, steer, transport, reference=plan.home).solve()
    maps = {g: _increasing(solution.affine[g]) for g in plan.to_home}
    of = {g: np.unique(s[rows.a == k]) for k, g in enumerate(rows.groups)}
    few = (
        is_lattice(of[g].size, rows.count[rows.a == k].sum()) for k, g in enumerate(rows.groups)
    )
    if ties == "keep" or not (ties == "spread" or any(few)):
        return {**maps}, solution
    common = np.unique(s) if plan.home is None else of[plan.home]
    return {g: over_cells(T, of[g], common, space) for g, T in maps.items()}, solution


def warn_of_growth(before: Array, after: Array, rows: Rows, method: str) -> None:
    """Warn where the worst gap over thresholds is larger after moving the rows fitted."""
    cells = [np.flatnonzero((rows.y == i) & (rows.a == k))
             for i in np.unique(rows.y) for k in range(len(rows.groups))]  # fmt: skip
    by_class = [cells[k : k + len(rows.groups)] for k in range(0, len(cells), len(rows.groups))]
    worst = [max(worst_gap([s[k] for k in own]) for own in by_class) for s in (before, after)]
    if worst[1] > worst[0] + CHANCE / np.sqrt(min(k.size for k in cells)):
        values, count = np.unique(before, return_counts=True)
        warnings.warn(
            f"The worst gap between groups over all thresholds grew from {worst[0]:.2f} to "
            f"{worst[1]:.2f} on the rows fitted ({count.max() / before.size:.0%} of the scores "
            f"are {values[count.argmax()]:g}): method={method!r} does not follow these scores. "
            "method='quantile' with all groups steered enlarges no gap; method='channel' closes "
            "it at every threshold.",
            FairprogWarning,
            stacklevel=4,
        )


def _increasing(T: Any) -> PiecewiseLinearMap:
    """Return the inverse of a map from common to own coordinates."""
    if isinstance(T, PiecewiseLinearMap):
        return T.inverse()
    back = T.inverse()
    slope, offset = float(back.matrix[0, 0]), float(back.offset[0])
    return PiecewiseLinearMap(np.array([0.0, 1.0]), np.array([offset, offset + slope]))
