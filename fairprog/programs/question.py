"""The question that a program asks: its options, checked and resolved to positions, once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fairprog.errors import DataError, ModelError
from fairprog.labels import Array, address, check_number, index_of
from fairprog.populations import Population
from fairprog.programs.conditions import Condition, checked_conditions
from fairprog.transports import Transport


@dataclass(frozen=True, eq=False)
class Question:
    """Which ideal population is asked for.

    Attributes
    ----------
    population : Population
        D, in the family's own coordinates.
    transport : Transport
    steered, staying : tuple of int
        Positions of the groups that may move, and of the others.
    reference : int or None
        Position of the group whose coordinates are the common ones; None where no group stays.
    orientation : {"preserve", "any"}
    base_rates : str or tuple
        As the user gave them.
    prior : Array, shape (K, G)
        The steered prior, q~.
    map_bound : float
    constraints : tuple of Condition
    """

    population: Any
    transport: Transport
    steered: tuple[int, ...]
    staying: tuple[int, ...]
    reference: int | None
    orientation: str
    base_rates: str | tuple[float, ...]
    prior: Array
    map_bound: float
    constraints: tuple[Condition, ...]

    @property
    def mirrors(self) -> bool:
        """Whether mirror images are allowed."""
        return self.orientation == "any"

    @property
    def relaxed(self) -> bool:
        """Whether conditions or a bound leave more than the consensus to be met."""
        return bool(self.constraints) or self.map_bound > 0

    @property
    def prior_kl(self) -> float:
        """KL(q~ || q), nats: what the base rates cost."""
        return float((self.prior * np.log(self.prior / self.population.prior)).sum())

    def at_rates(self, rho: Array) -> Question:
        """Return the question with the common base rates (K,) given; no group may stay."""
        prior = rho[:, None] * self.population.group_mass
        return replace(self, prior=prior, base_rates=tuple(rho.tolist()))

    def at_map_bound(self, map_bound: float) -> Question:
        """Return the question with another bound."""
        return replace(self, map_bound=check_number(map_bound, "map_bound"))

    def settings(self) -> dict[str, Any]:
        """Return the options, with labels in place of positions."""
        groups = self.population.groups
        return {
            "steer": "all" if not self.staying else tuple(groups[a] for a in self.steered),
            "reference": None if self.reference is None else groups[self.reference],
            "transport": self.transport,
            "orientation": self.orientation,
            "base_rates": self.base_rates,
            "map_bound": self.map_bound,
            "constraints": self.constraints,
        }


def ask(
    population: Population,
    transport: Transport,
    steer: str | Iterable[Any],
    reference: Any,
    orientation: str,
    base_rates: str | ArrayLike,
    map_bound: float,
    constraints: Iterable[Condition | Callable[[Any, Any], Any]],
    target_prior: Callable[[Any, Sequence[int], Any], Array],
) -> Question:
    """Return the question; the errors are those of :class:`~fairprog.NearestIdeal`.

    `target_prior` of (population, staying, base_rates) is the steered prior (K, G).
    """
    steered = steered_groups(population, steer)
    staying = tuple(a for a in range(population.n_groups) if a not in steered)
    _check_addresses(population)
    prior = target_prior(population, staying, base_rates)
    given = base_rates if isinstance(base_rates, str) else tuple(np.asarray(base_rates).tolist())
    return Question(
        population=population,
        transport=transport,
        steered=steered,
        staying=staying,
        reference=_reference_group(population, staying, reference),
        orientation=_allowed_orientation(population, transport, orientation),
        base_rates=given,
        prior=prior,
        map_bound=check_number(map_bound, "map_bound"),
        constraints=checked_conditions(constraints),
    )


def steered_groups(D: Population, steer: str | Iterable[Any]) -> tuple[int, ...]:
    """Return the positions of the groups that may move."""
    groups = D.groups
    if isinstance(steer, str):
        if steer != "all":
            hint = f"; write steer=[{steer!r}]" if steer in groups else ""
            raise ModelError(
                f"`steer` must be 'all' or a list of groups; found {steer!r}{hint}.",
                argument="steer",
            )
        return tuple(range(len(groups)))
    if not isinstance(steer, Iterable):
        raise ModelError(
            f"`steer` must be 'all' or a list of groups; found {steer!r}.", argument="steer"
        )
    chosen = [index_of(groups, g, "steer") for g in steer]
    if not chosen or len(set(chosen)) < len(chosen):
        raise DataError(
            f"`steer` must name at least one group, each once; known are {list(groups)}.",
            argument="steer",
        )
    return tuple(sorted(chosen))


def _reference_group(D: Population, staying: Sequence[int], reference: Any) -> int | None:
    if not staying:
        if reference is not None:
            raise ModelError(
                "steer='all' has no reference group: the common law is free.", argument="reference"
            )
        return None
    if reference is None:
        return staying[0]
    index = index_of(D.groups, reference, "reference")
    if index not in staying:
        raise ModelError(
            f"`reference` {reference!r} is steered; it must be one of the groups that stay: "
            f"{[D.groups[a] for a in staying]}.",
            argument="reference",
        )
    return index


def _allowed_orientation(D: Population, transport: Transport, orientation: str) -> str:
    """Return the orientation, if the class of maps has mirror images where they are asked for."""
    if orientation not in ("preserve", "any"):
        raise ModelError(
            f"`orientation` must be 'preserve' or 'any'; found {orientation!r}.",
            argument="orientation",
        )
    mirrors = transport.kind not in ("identity", "fixed") and D.n_features == 1
    if orientation == "any" and not (mirrors or transport.may_mirror):
        raise ModelError(
            f"orientation='any' needs a single feature, Scaling() or Affine(); {transport!r} in "
            f"{D.n_features} dimension(s) has no mirror images.",
            argument="orientation",
        )
    return orientation


def _check_addresses(D: Population) -> None:
    """Refuse labels with commas that make two cells share an address, such as "b" and "b,1"."""
    cells = [address("", g, c) for g in D.groups for c in D.classes]
    double = sorted({where for where in cells if cells.count(where) > 1})
    if double:
        raise ModelError(
            f"Two cells share the address {double[0]!r}; rename a class or a group.",
            argument="population",
        )
