"""Increasing maps of scores to common coordinates, by quantiles or by a program."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fairprog.door import Rows
from fairprog.errors import ModelError
from fairprog.labels import Array, check_number, index_of
from fairprog.populations import Normal
from fairprog.programs import NearestIdeal
from fairprog.solution import QuantileMap, Solution
from fairprog.transports import Monotone, PiecewiseLinear, PiecewiseLinearMap

Maps = dict[Hashable, PiecewiseLinearMap]
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
        cls, groups: tuple[Hashable, ...], steer: str | Iterable[Any], reference: Any
    ) -> Plan:
        """Read `steer` and `reference`; the reference must be a group that stays."""
        if isinstance(steer, str):
            if steer != "all":
                raise ModelError(
                    f"`steer` must be 'all' or a list of groups; found {steer!r}.",
                    argument="steer",
                )
            moving = groups if len(groups) > 1 else ()
        else:
            moving = tuple(groups[index_of(groups, g, "steer")] for g in steer)
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
    count = np.bincount(2 * rows.a[own] + rows.y[own], rows.count[own])
    return int(np.clip(np.ceil(4.0 * count[count > 0].min() ** 0.25), 4, 1000))


def quantile_maps(z: Array, rows: Rows, plan: Plan, n_quantiles: int) -> Maps:
    """Return the maps that match the quantiles of class-balanced mixtures."""
    own, y, a = plan.rows(rows), rows.y, rows.a
    fitted = QuantileMap.fit(
        z[own],
        y[own],
        sensitive_features=a[own],
        sample_weight=rows.weight[own],
        reference=None if plan.home is None else rows.groups.index(plan.home),
        n_quantiles=n_quantiles,
    )
    return {g: fitted.maps[rows.groups.index(g)][0] for g in plan.to_home}


def program_maps(z: Array, rows: Rows, plan: Plan, method: str) -> tuple[Maps, Solution]:
    """Return maps of the nearest ideal population, every class weighing the same."""
    if method == "monotone" and plan.home is None:
        raise ModelError(
            "method='monotone' moves groups to one that stays: pass steer=[...] without the "
            "group that is to stay, or use method='quantile'.",
            argument="steer",
        )
    own = plan.rows(rows)
    D = Normal.fit(
        z[own], rows.label[own], sensitive_features=rows.group[own], sample_weight=rows.weight[own]
    )
    prior = np.tile(D.group_mass / 2.0, (2, 1))
    D = Normal(prior, D.mean, std=D.std, classes=D.classes, groups=D.groups)
    steer: Any = "all" if plan.home is None else list(plan.to_home)
    transport = PiecewiseLinear() if method == "monotone" else Monotone()
    solution = NearestIdeal(D, steer, transport, reference=plan.home).solve()
    return {g: _increasing(solution.affine[g]) for g in plan.to_home}, solution


def _increasing(T: Any) -> PiecewiseLinearMap:
    """Return the inverse of a map from common to own coordinates."""
    if isinstance(T, PiecewiseLinearMap):
        return T.inverse()
    back = T.inverse()
    slope, offset = float(back.matrix[0, 0]), float(back.offset[0])
    return PiecewiseLinearMap(np.array([0.0, 1.0]), np.array([offset, offset + slope]))
