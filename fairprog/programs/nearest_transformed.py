"""Programs on transformed populations: those of the base, seen through the bijection."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Self

from numpy.typing import ArrayLike

from fairprog.labels import Array
from fairprog.populations import Transformed
from fairprog.programs.conditions import Condition
from fairprog.programs.nearest_ideal import NearestIdeal
from fairprog.programs.options import Conic
from fairprog.solution import Solution
from fairprog.solution.frontier import Frontier
from fairprog.transports import Transport

__all__ = ["NearestTransformed"]


class NearestTransformed(NearestIdeal):
    """The nearest ideal population through a bijection; made by :class:`NearestIdeal`.

    The program is that of the base population: custom conditions see its parameters.
    """

    families = (Transformed,)
    population: Transformed

    def __init__(
        self,
        population: Transformed,
        steer: str | Iterable[Any] = "all",
        transport: Transport | None = None,
        reference: Any = None,
        orientation: str = "preserve",
        base_rates: str | ArrayLike = "equalize",
        map_bound: float = 0.0,
        constraints: Iterable[Condition | Callable[[Any, Any], Any]] = (),
    ) -> None:
        self.inner = NearestIdeal(
            population.base,
            steer,
            transport,
            reference,
            orientation,
            base_rates,
            map_bound,
            constraints,
        )
        self.population = population
        for name in ("transport", "steered", "staying", "reference", "prior", "base_rates"):
            setattr(self, name, getattr(self.inner, name))

    def at_rates(self, rho: Array) -> Self:
        """Return the program with the common base rates given, and its base's."""
        fixed = super().at_rates(rho)
        fixed.inner = self.inner.at_rates(rho)
        return fixed

    def rate_starts(self) -> list[Array]:
        """Return the base's."""
        return self.inner.rate_starts()

    def settings(self) -> dict[str, Any]:
        """Return the options of the base's program."""
        return self.inner.settings()

    def advice(self) -> str:
        """Return the base's."""
        return self.inner.advice()

    def formulate(self) -> Any:
        """Return the base's problem."""
        return self.inner.formulate()

    def find(self, solver: str, conic: Conic, started: float) -> Solution:
        """Solve the base's program and lift its populations through the bijection."""
        solution = self.inner.find(solver, conic, started)
        g = self.population.bijection
        steered = Transformed(solution.population, g)
        return replace(solution, original=self.population, population=steered)

    def frontier(self, map_bounds: ArrayLike, time_limit: float | None = None) -> Frontier:
        """Return the base's: KL and prices do not change under a bijection."""
        return self.inner.frontier(map_bounds, time_limit)
