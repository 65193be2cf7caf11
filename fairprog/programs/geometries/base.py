"""What a program asks of a family.

A `Question` says what is wanted; a `Geometry` knows how the family answers it, and where some
group stays makes one convex :class:`~fairprog.programs.geometries.group_map.GroupProblem` of every
group that moves. Whatever is the same for all families is written against these two and nothing
else: the ladder of solvers, the consensus form in CVXPY, the certificate, the solution, the
frontier.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar, NoReturn, Self

import numpy as np

from fairprog.errors import InfeasibleError, ModelError
from fairprog.kernels.multivariate.cells import LARGE
from fairprog.labels import Array
from fairprog.populations import Population
from fairprog.programs.answer import Answer, Conic
from fairprog.programs.base_rates import EQUAL, steered_prior
from fairprog.programs.geometries.group_map import GroupProblem
from fairprog.programs.geometries.parameters import Parameters
from fairprog.programs.question import Question
from fairprog.solution import Solution
from fairprog.transports import AffineMap, Monotone, Transport

CONIC = ("CLARABEL", "SCS")


class Geometry(Parameters, ABC):
    """How one family of populations answers a question; made once a question is asked.

    A family adds a subclass and its line in :mod:`fairprog.programs.geometries.choose`.
    """

    joint_by_search: ClassVar[bool] = True  # base_rates="joint" has no closed form
    solution: ClassVar[type[Solution]] = Solution
    target_prior: ClassVar[Callable[..., Array]] = staticmethod(steered_prior)
    unique_prices: ClassVar[bool] = True  # without custom conditions
    kept_features: ClassVar[int] = LARGE  # beyond, multipliers are computed when asked for

    def at(self, question: Question) -> Self:
        """Return the geometry of another question about the same population and maps."""
        return type(self)(question)

    # -- what it takes --

    @classmethod
    def default_transport(cls, population: Any) -> Transport:
        """Return the transport used where none is given."""
        return Monotone()

    @classmethod
    @abstractmethod
    def check_transport(cls, population: Any, transport: Transport) -> None:
        """Refuse transports that do not keep the family."""

    @abstractmethod
    def refuse(self) -> None:
        """Raise the error of a question that has no answer here; warn of what is set aside."""

    @abstractmethod
    def solvers(self) -> dict[str, str]:
        """Return, by name of a solver that does not apply, the reason."""

    def advice(self) -> str:
        """Return what to do about an answer that cannot be proven."""
        if self.question.transport.kind in ("fixed", "identity"):
            return "Try another solver."
        return "Try another solver, maps that squeeze nothing, or transport=Translation()."

    def rate_starts(self) -> list[Array]:
        """Return base rates (K,) to begin a joint search from, besides those of "equalize"."""
        rates = self.D.base_rates
        return [*rates.T, np.full(len(rates), 1.0 / len(rates))]

    # -- solving --

    def threads(self) -> AbstractContextManager[Any]:
        """Return the context in which programs are solved and proven."""
        return nullcontext()

    @property
    def is_convex(self) -> bool:
        """Whether the question is one convex program: some group stays."""
        return bool(self.question.staying)

    @property
    def uses_conic(self) -> bool:
        """Whether conic solvers are used at all."""
        return self.is_convex

    @property
    def conic_order(self) -> tuple[str, ...]:
        """The conic solvers, in the order they are tried."""
        return CONIC

    @property
    def takes_balls(self) -> bool:
        """Whether the question is a `map_bound` alone, and has a method of its own."""
        return False

    @abstractmethod
    def problems(self) -> Sequence[GroupProblem]:
        """Return the problem of every steered group, given the common laws of the reference."""

    @abstractmethod
    def exact(self, solver: str) -> Answer:
        """Return the exact answer, some group staying."""

    def all_groups(self, solver: str, conic: Conic) -> Answer:
        """Return the answer with every group steered, where that is no one convex program."""
        raise AssertionError(f"{type(self).__name__} is asked for convex programs only")

    @abstractmethod
    def conic_seconds(self, answer: Answer) -> float:
        """Return about how long a conic solve takes; infinite where it would tell nothing."""

    def compared(self, answer: Answer, compiled: Any, solver: str) -> Answer:
        """Return an exact answer with its distance to a conic one of the same program."""
        return answer.compared(Answer(compiled.common_maps(), solver))

    def compile(self, problems: Sequence[GroupProblem]) -> Any:
        """Return the CVXPY program of the group problems, with its addresses."""
        from fairprog.programs.compile.consensus import compile_consensus

        return compile_consensus(self, problems)

    def formulate(self) -> Any:
        """Return the CVXPY problem, to look at."""
        if not self.is_convex:
            raise ModelError(
                "steer='all' is not one convex problem; steer all groups but one to see one.",
                argument="steer",
            )
        return self.compile(self.problems()).problem

    def read(self, compiled: Any, solver: str) -> Answer:
        """Return the answer of a compiled program that `solver` has solved."""
        return Answer(compiled.maps(), solver, compiled=compiled)

    def sharper(self, answer: Answer, attempt: int) -> tuple[Any, dict[str, Any]] | None:
        """Return a program nearer to the answer, and options to solve it by; None if it will do.

        `attempt` counts from 0.
        """
        return None

    def better(self, found: Answer, answer: Answer) -> Answer:
        """Return the better of a sharper answer and the one before."""
        return found

    def refuse_collapse(self, answer: Answer) -> None:
        """Raise an InfeasibleError where conditions leave only singular maps."""

    # -- from the answer to populations --

    @property
    def staying_maps(self) -> Mapping[int, AffineMap]:
        """Maps from the reference to the groups that stay, by position."""
        return {}

    @abstractmethod
    def common_laws(self, answer: Answer) -> Any:
        """Return the common laws R_i, as the population's `laws_of` returns laws."""

    def pushed(self, answer: Answer, laws: Any) -> Population:
        """Return the steered population; groups that stay are copied to the bit."""
        by_class = self.question.map_bound > 0
        maps = {g.problem.group: g.user_maps if by_class else g.user_map for g in answer.groups}
        out: Population = self.D.pushed(self.question.prior, laws, maps)
        return out

    def residual(self, population: Any, T: Any, laws: Any, a: int) -> float:
        """Return the worst whitened residual of the cells of a group against T # R_i."""
        return float(population.map_residual(T, laws, a))

    def ideality_tolerance(self, answer: Answer, population: Any, residual: float) -> float:
        """Return the ideality residual that rounding alone may cause."""
        from fairprog.solution.certificate import IDEALITY_TOLERANCE

        return IDEALITY_TOLERANCE

    def laws_residual(self, answer: Answer) -> float:
        """Return how far free common laws are from the best ones for the maps."""
        return 0.0

    def is_global(self, answer: Answer) -> bool:
        """Return whether the answer is known to be the global optimum."""
        return answer.globally_optimal

    # -- errors that several families raise --

    def refuse_apart(self, first: int, second: int, what: str, residual: float) -> None:
        """Raise an InfeasibleError where a group that stays is no image of the reference."""
        if residual <= EQUAL:
            return
        names = [self.D.groups[first], self.D.groups[second]]
        raise InfeasibleError(
            f"Groups {names} both stay but are not ideal among themselves: no {what} carries the "
            f"cells of {names[0]!r} to those of {names[1]!r} (residual {residual:.3g}; needed is "
            f"{EQUAL:g}). Steer all groups but one.",
            argument="steer",
            cell=(None, names[1]),
            details={"conditions": ["class_conditionals"], "groups": names},
        )

    def refuse_conditions_on_all(self) -> None:
        """Refuse bounds and custom conditions where steer="all" is not one convex program."""
        if self.question.staying:
            return
        if self.question.map_bound > 0:
            refuse_bound(self.D.groups)
        if self.question.constraints:
            raise ModelError(
                "steer='all' is not one convex program, so it takes no custom constraints; steer "
                "all groups but one instead.",
                argument="constraints",
            )


def refuse_bound(groups: Sequence[Hashable]) -> NoReturn:
    """Raise a ModelError that says what to steer instead of all groups under a `map_bound`."""
    raise ModelError(
        "steer='all' takes no `map_bound`: the common coordinates are then free, and in smaller "
        "ones any two maps are as near as you like. Let one group stay, whose coordinates measure "
        f"the distance: steer={list(groups[1:])!r}; in a grid search write two grids, "
        "[{'steer': ['all']}, "
        f"{{'steer': [{list(groups[1:])!r}], 'map_bound': [0.0, 0.1]}}].",
        argument="map_bound",
    )
