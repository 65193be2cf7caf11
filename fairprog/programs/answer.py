"""What a solver returned, before it is believed, and how far another answer is from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from fairprog.programs.geometries.group_map import GroupMaps


@dataclass(frozen=True)
class Conic:
    """What the user said to the conic solvers."""

    time_limit: float | None
    verbose: bool
    options: dict[str, Any]
    second_opinion: bool = False


@dataclass(frozen=True, eq=False)
class Answer:
    """The maps of the steered groups, and their distance to those of another solver.

    Attributes
    ----------
    groups : sequence of GroupMaps
    solver : str
    globally_optimal : bool
    free_laws : object
        Common laws where they were decided with the maps, as the geometry knows them; None where
        they are those of the reference.
    compiled : object or None
        The compiled program the answer was read from.
    priced : object or None
        The compiled program whose multipliers are reported, where it is another one.
    duality_gap : float or None
        KL minus a lower bound on it, nats, where that is what proves the answer.
    optimality_gap : float or None
        The same where a decrement proves it besides, and it is not the sum over the groups.
    conic_gap : float or None
        Difference of the costs over max(1, cost); None where there is no second answer, or its
        cost is infinite (supports that nest to the solver's tolerance only).
    parameter_gap : float or None
        Largest difference of the maps, relative where above one.
    kinked : bool
        Whether a condition has no gradient here; `conic_gap` is then to the other conic solver.
    decided : bool
        Whether there was anything to decide: maps that are all the identity have no decrement.
    """

    groups: Sequence[GroupMaps]
    solver: str
    globally_optimal: bool = True
    free_laws: Any = None
    compiled: Any = field(default=None, kw_only=True)
    priced: Any = field(default=None, kw_only=True)
    duality_gap: float | None = field(default=None, kw_only=True)
    optimality_gap: float | None = field(default=None, kw_only=True)
    conic_gap: float | None = field(default=None, kw_only=True)
    parameter_gap: float | None = field(default=None, kw_only=True)
    kinked: bool = field(default=False, kw_only=True)
    decided: bool = field(default=True, kw_only=True)

    def cost(self) -> float:
        """Return the part of KL the maps decide."""
        return sum(g.cost() for g in self.groups)

    def gap(self, other: Self) -> float:
        """Return the largest difference of a map from that of another answer."""
        pairs = zip(self.groups, other.groups, strict=True)
        return max(g.problem.gap(g.theta, h.theta) for g, h in pairs)

    def compared(self, other: Self, **changes: Any) -> Self:
        """Return the answer with its distance to a second, independent one."""
        here, there = self.cost(), other.cost()
        gap = abs(here - there) / max(1.0, here) if np.isfinite(here - there) else None
        return replace(self, conic_gap=gap, parameter_gap=self.gap(other), **changes)
