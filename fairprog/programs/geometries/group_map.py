"""One steered group as a convex problem in its map, and the map that was found.

Given the common laws R_i, every group's map is a problem of its own: theta, a tuple of parts such
as (S, beta), and the cost sum_i w_i KL(T # R_i || P_i) over the classes.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from operator import iadd
from typing import Any, Protocol, Self

import numpy as np

from fairprog.kernels.multivariate.balls import minimise_in_balls
from fairprog.labels import Array, addresses

SMALL_GAP = 1e-9  # nats: a bound that needs no second one

Theta = tuple[Any, ...]  # a map in the problem's own coordinates, part by part
Gradient = tuple[Any, ...]  # of the same parts


class GroupProblem(Protocol):
    """One steered group given the common laws: a convex problem in its map theta.

    Attributes
    ----------
    group : hashable
        Label of the group.
    w : Array, shape (K,)
        Weights q~_ia of its cells.
    parts : mapping of name to shape
        The free parts of theta, as the conic solvers' variables: {"linear": (p,), "offset":
        (k,)}. Their names begin the addresses of the consensus conditions.
    """

    @property
    def group(self) -> Hashable:
        """Label of the group."""

    @property
    def w(self) -> Array:
        """Weights of its cells."""

    @property
    def parts(self) -> Mapping[str, tuple[int, ...]]:
        """Names and shapes of the variables."""

    @property
    def is_large(self) -> bool:
        """Whether gradients are taken class by class and not kept."""

    # -- numbers --

    def cost(self, theta: Theta) -> float:
        """Return sum_i w_i V_i at a map shared by the classes, nats."""

    def class_gradients(self, theta: Theta) -> Iterable[Gradient]:
        """Return the gradient of every class's w_i V_i in its own map."""

    def decrement(self, theta: Theta, gradient: Gradient) -> float:
        """Return the Newton decrement of a gradient at theta, or an upper bound on it."""

    def shortfall(self, theta: Theta, decrement: float) -> float:
        """Return a bound on the nats by which theta's cost is above its minimum.

        `decrement` is that of the cost's gradient at theta.
        """

    def best(self, closed: bool) -> Theta:
        """Return the optimum, by the closed form where `closed`, else by Newton's method."""

    def only(self, i: int) -> Self:
        """Return the problem of one class alone."""

    def mirrored(self) -> Self:
        """Return the problem over mirror images."""

    def lengths(self, theta: Theta, other: Theta) -> tuple[float, ...]:
        """Return how far two maps are apart in the norms of the consensus form, by part."""

    def gap(self, theta: Theta, other: Theta) -> float:
        """Return the largest difference of two maps, relative where above one."""

    # -- the user's units --

    def user_map(self, theta: Theta) -> Any:
        """Return the map in the family's own coordinates."""

    def multipliers(self, gradient: Gradient) -> tuple[Array, ...]:
        """Return a class's gradients in the parts of the user's map."""

    def prices(self, gradient: Gradient) -> tuple[float, ...]:
        """Return the norms dual to the consensus form, one per part (none where there is none)."""

    # -- CVXPY, whose functions are handed in --

    def express(self, cp: Any, i: int, x: Mapping[str, Any]) -> tuple[Any, list[Any]]:
        """Return w_i V_i at the variables x as a convex expression, and what it needs."""

    def length(self, cp: Any, part: str, x: Any) -> Any:
        """Return the consensus form of a difference between two maps in one part."""

    def theta(self, x: Mapping[str, Array]) -> Theta:
        """Return the map of given values of the variables."""

    def gradient(self, x: Mapping[str, Array]) -> Gradient:
        """Return the gradient of given derivatives by the variables."""

    def view(self, cp: Any, name: str, i: int, x: Mapping[str, Any]) -> Any:
        """Return a parameter of the steered cell, or of its map, as an expression."""


@dataclass(eq=False)
class GroupMaps:
    """The solved map of one steered group: a common one, and one per class where relaxed.

    Attributes
    ----------
    problem : GroupProblem
    theta : tuple
        The common map.
    thetas : list of tuples or None
        The maps of the classes, where they may differ.
    multipliers : list of tuples or None
        Gradients of the optimum in the targets of the consensus conditions, by class; None means
        those of the cells' costs.
    """

    problem: GroupProblem
    theta: Theta
    thetas: list[Theta] | None = None
    multipliers: list[Gradient] | None = None

    @property
    def group(self) -> Hashable:
        """Label of the group."""
        return self.problem.group

    def addresses(self, classes: Sequence[Hashable]) -> list[list[str]]:
        """Return the addresses of the consensus conditions of every class, part by part."""
        found = addresses(self.problem.parts, self.problem.group, classes)
        return [list(by_part.values()) for by_part in found]

    @cached_property
    def user_map(self) -> Any:
        """The common map in the family's own coordinates."""
        return self.problem.user_map(self.theta)

    @property
    def user_maps(self) -> Any:
        """The maps of the classes, or the common one where they have no own."""
        if self.thetas is None:
            return self.user_map
        return [self.problem.user_map(theta) for theta in self.thetas]

    def cost(self) -> float:
        """Return the group's part of KL at the maps of the cells."""
        if self.thetas is None:
            return float(self.problem.cost(self.theta))
        return sum(float(self.problem.only(i).cost(t)) for i, t in enumerate(self.thetas))

    def gradients(self) -> Iterator[Gradient]:
        """Yield the gradient of every cell's cost at its map."""
        if self.thetas is None:
            yield from self.problem.class_gradients(self.theta)
            return
        for i, theta in enumerate(self.thetas):
            yield from self.problem.only(i).class_gradients(theta)

    @cached_property
    def kept(self) -> list[Gradient]:
        """The multipliers of the consensus conditions, by class."""
        return list(self.gradients()) if self.multipliers is None else self.multipliers

    def sensitivities(self) -> list[tuple[Array, ...]]:
        """Return the multipliers of every class's conditions, by part, in the user's units."""
        return [self.problem.multipliers(own) for own in self.kept]

    def sensitivity(self, i: int, part: int) -> Array:
        """Return one of `sensitivities` without keeping any gradient."""
        own = next(iter(self.problem.only(i).class_gradients(self.theta)))
        return self.problem.multipliers(own)[part]

    def unused(self, bound: float) -> list[float]:
        """Return what the unused part of each class's bound is worth, nats.

        The best use of a bound is against the multiplier, all of it.
        """
        out: list[float] = []
        for theta, N in zip(self.thetas or [], self.multipliers or [], strict=True):
            gained = [
                float(np.sum(m * (x - y))) for m, x, y in zip(N, theta, self.theta, strict=True)
            ]
            prices = self.problem.prices(N)  # of the parts that are free: the last, if not all
            free = gained[len(gained) - len(prices) :]
            out += [abs(v + bound * p) for v, p in zip(free, prices, strict=True)]
        return out

    def duality_gap(self, bound: float) -> float:
        """Return by how many nats maps in balls about the common one miss the optimum.

        Where the multipliers are the costs' own gradients; to second order in their sum.
        """
        return sum(self.unused(bound)) + 0.5 * self.totals[1] ** 2

    @cached_property
    def totals(self) -> tuple[list[tuple[float, ...]], float]:
        """Prices of every class by part, and the decrement of the sum of the multipliers.

        One pass over the classes: dual norms, whose sum is the price of consensus, and the norm of
        a sum that vanishes at an optimum.
        """
        agreed = len(self.problem.w) == 1  # one class always agrees with itself
        prices, total = [], None
        for own in self.gradients() if self.problem.is_large else self.kept:
            price = self.problem.prices(own)
            prices.append(tuple(0.0 for _ in price) if agreed else price)
            total = tuple(np.array(x) for x in own) if total is None else _add(total, own)
        assert total is not None
        return prices, float(self.problem.decrement(self.theta, total))

    def common_decrement(self) -> float:
        """Return the Newton decrement of the cost in the common map."""
        if self.multipliers is None and self.thetas is None:
            return self.totals[1]
        gradients = iter(self.problem.class_gradients(self.theta))
        total = tuple(np.array(x) for x in next(gradients))
        for own in gradients:
            total = _add(total, own)
        return float(self.problem.decrement(self.theta, total))

    def optimality_gap(self) -> float:
        """Return the common map's cost less a proven lower bound on it: the optimum's, or zero."""
        gap = self.problem.shortfall(self.theta, self.common_decrement())
        return gap if gap <= SMALL_GAP else min(gap, self.cost())


def _add(total: Gradient, own: Gradient) -> Gradient:
    """Add gradients in place: in hundreds of dimensions there is room for one at a time."""
    return tuple(map(iadd, total, own))


def best_in_balls(problem: Any, bound: float) -> GroupMaps:
    """Return the optimum of a problem with a map per class, each within `bound` of a common one.

    The multipliers are the costs' gradients, which is what the barrier method leaves exact.
    """
    at = np.cumsum([0, *(int(np.prod(shape)) for shape in problem.parts.values())])

    def theta(x: Array) -> Theta:
        spans = zip(problem.parts, at[:-1], at[1:], strict=True)
        return problem.theta({part: x[i:j] for part, i, j in spans})

    start = problem.coordinates(problem.best(True))
    x, own = minimise_in_balls(problem.quadratics(), start, bound)
    thetas = [theta(y) for y in own]
    found = GroupMaps(problem, theta(x), thetas)
    return replace(found, multipliers=list(found.gradients()))


def best_signs(
    problems: Sequence[GroupProblem], mirrors: bool, closed: bool, bound: float = 0.0
) -> list[GroupMaps]:
    """Return the optimum of every problem; where mirror images are allowed the better sign."""

    def best(p: GroupProblem) -> GroupMaps:
        return best_in_balls(p, bound) if bound > 0 else GroupMaps(p, p.best(closed))

    out = []
    for problem in problems:
        signs = [problem, problem.mirrored()] if mirrors else [problem]
        found = [best(p) for p in signs]
        out.append(min(found, key=GroupMaps.cost) if mirrors else found[0])
    return out


def relative_gap(theta: Theta, other: Theta) -> float:
    """Return the largest difference between the parts of two maps, relative where above one."""
    return max(
        float(np.abs(np.subtract(x, y)).max() / max(1.0, float(np.abs(x).max())))
        for x, y in zip(theta, other, strict=True)
    )
