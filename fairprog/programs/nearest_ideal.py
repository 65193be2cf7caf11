"""The program: the ideal population nearest to yours in KL divergence.

This is the front door: it checks what every family has in common and hands over to the subclass
that solves programs on the population's family (`NearestNormal` for normal populations, ...).
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike

from fairprog.errors import ModelError
from fairprog.labels import Array, check_number
from fairprog.populations import Population
from fairprog.programs.base_rates import steered_prior
from fairprog.programs.conditions import Condition, checked_conditions
from fairprog.programs.joint_rates import solve_joint
from fairprog.programs.options import (
    CONIC,
    Conic,
    allowed_orientation,
    check_addresses,
    reference_group,
    refuse_bound,
    steered_groups,
)
from fairprog.programs.verified import verified
from fairprog.solution import ReweightedSolution, Solution
from fairprog.transports import Monotone, Transport

if TYPE_CHECKING:
    from fairprog.solution.frontier import Frontier

__all__ = ["NearestIdeal"]


class NearestIdeal:
    """Find the ideal population nearest to D: minimise KL(D~ || D), in nats.

    Every steered group gets one affine map T_a of the transport class that carries the common
    laws R_i to its cells, P~_ia = T_a # R_i, so that base rates and cells make every
    cost-sensitive Bayes rule exactly fair.

    Parameters
    ----------
    population : Population
        At least two groups; of a family that programs know, such as Normal or LogNormal.
    steer : "all" or list of groups
        Which groups may move. Every other group stays exactly as it is.
    transport : Transport, default Monotone()
        `Translation`, `Scaling`, `Diagonal`, `Monotone`, `Whitened`, `Affine` (not convex) or
        `PiecewiseLinear` (nonlinear, one feature).
    reference : hashable, optional
        The group whose coordinates are the common ones; default the first that stays.
    orientation : {"preserve", "any"}
        "any" allows mirror images (d = 1, `Scaling` and `Affine` only).
    base_rates : {"equalize", "keep", "joint"} or array_like (K,)
        Target P(Y=i | A=a): that of the groups that stay (else the KL-nearest common one),
        unchanged, chosen together with the maps (all groups steered; it may give a class up), or
        the given one.
    map_bound : float, default 0.0
        How far, in the pooled metric, each class's map may be from the group's common one; 0
        asks for exact fairness. Not a gap of rates. Needs a group that stays, in whose coordinates
        it is measured.
    constraints : sequence of conditions
        Functions declared by :func:`fairprog.constraint`.

    Raises
    ------
    DataError
        For unknown or repeated groups, base rates that are no law, a negative bound.
    ModelError
        For options that clash.
    InfeasibleError
        If groups that stay are not ideal among themselves (to 1e-6); names them and the
        condition that clashes.

    Notes
    -----
    One or several groups: convex (theory.md section 4, the paper's Theorem 4.1), solved exactly
    and by a conic solver, and compared. All groups: section 5.

    Examples
    --------
    >>> import fairprog as fp
    >>> D = fp.Normal([[.3, .2], [.3, .2]], [[0., 1.], [2., 2.]], std=[[1., 1.], [1., 2.]],
    ...               groups=["a", "b"])
    >>> sol = fp.NearestIdeal(D, steer=["b"]).solve()
    >>> round(sol.kl, 6)
    0.080519
    >>> sol.population.is_ideal() and sol.certificate.ok
    True
    """

    families: ClassVar[tuple[type[Population], ...]] = ()
    joint_by_search: ClassVar[bool] = True  # base_rates="joint" has no closed form
    _by_family: ClassVar[dict[type[Population], type[NearestIdeal]]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        NearestIdeal._by_family.update(dict.fromkeys(cls.families, cls))

    def __new__(cls, population: Any = None, *args: Any, **kwargs: Any) -> Self:
        """Return the program of the population's family; a subclass inherits that of its parent.

        Called on a subclass (as copying does) it is that subclass.
        """
        if cls is NearestIdeal:
            known = [NearestIdeal._by_family.get(c) for c in type(population).__mro__]
            found = next((c for c in known if c is not None), None)
            if found is None:
                names = sorted(family.__name__ for family in NearestIdeal._by_family)
                raise ModelError(
                    f"`population` must be a population of one of the families {names}; found "
                    f"{type(population).__name__}.",
                    argument="population",
                )
            return object.__new__(found)  # type: ignore[return-value]
        return object.__new__(cls)

    def __init__(
        self,
        population: Population,
        steer: str | Iterable[Any] = "all",
        transport: Transport | None = None,
        reference: Any = None,
        orientation: str = "preserve",
        base_rates: str | ArrayLike = "equalize",
        map_bound: float = 0.0,
        constraints: Iterable[Condition | Callable[[Any, Any], Any]] = (),
    ) -> None:
        if population.n_groups < 2:
            raise ModelError("`population` needs at least two groups.", argument="population")
        self.population: Any = population
        self.transport = self.default_transport() if transport is None else transport
        if not isinstance(self.transport, Transport):
            raise ModelError(
                f"`transport` must be a Transport such as Monotone(); found {transport!r}.",
                argument="transport",
            )
        self.check_transport()
        self.steered = steered_groups(population, steer)
        self.staying = [a for a in range(population.n_groups) if a not in self.steered]
        self.reference = reference_group(population, self.staying, reference)
        self.orientation = allowed_orientation(population, self.transport, orientation)
        self.map_bound = check_number(map_bound, "map_bound")
        self.constraints = checked_conditions(constraints)
        self.check_conditions()
        self.prior = self.target_prior(base_rates)
        self.base_rates = (
            base_rates if isinstance(base_rates, str) else tuple(np.asarray(base_rates).tolist())
        )
        check_addresses(population)
        self.check_family()

    if not TYPE_CHECKING:  # for the type checker unknown names stay unknown

        def __getattr__(self, name: str) -> Any:
            """Say of a name that only the answer has where it is."""
            fields = {*Solution.__dataclass_fields__, *ReweightedSolution.__dataclass_fields__}
            answers = {*fields, *dir(Solution), *dir(ReweightedSolution)}
            message = f"{type(self).__name__!r} object has no attribute {name!r}."
            if name in answers and not name.startswith("_"):
                message += f" This is the program; call .solve() first: program.solve().{name}"
            raise AttributeError(message, name=name, obj=self)

    def __repr__(self) -> str:
        steer = "all" if not self.staying else [self.population.groups[a] for a in self.steered]
        return f"NearestIdeal({self.population!r}, steer={steer!r}, transport={self.transport!r})"

    # -- what each family decides --

    def default_transport(self) -> Transport:
        """Return the transport used where none is given."""
        return Monotone()

    def check_transport(self) -> None:
        """Refuse transports that do not keep the family."""

    def check_conditions(self) -> None:
        """Refuse custom constraints and bounds where there is no convex program to hold them."""
        if not self.staying and self.map_bound > 0:
            refuse_bound(self.population.groups)
        if not self.staying and self.constraints:
            raise ModelError(
                "steer='all' is not one convex program, so it takes no custom constraints; steer "
                "all groups but one instead.",
                argument="constraints",
            )

    def target_prior(self, base_rates: str | ArrayLike) -> Array:
        """Return the steered prior q~, shape (K, G)."""
        return steered_prior(self.population, self.staying, base_rates)

    def at_rates(self, rho: Array) -> Self:
        """Return the program with the common base rates (K,) given; no group may stay."""
        fixed = copy.copy(self)
        fixed.prior = rho[:, None] * self.population.group_mass
        fixed.base_rates = tuple(rho.tolist())
        return fixed

    def at_map_bound(self, map_bound: float) -> Self:
        """Return the program with another `map_bound`; ModelError if it takes none."""
        other = copy.copy(self)
        other.map_bound = map_bound
        other.check_conditions()
        other.check_family()
        return other

    def rate_starts(self) -> list[Array]:
        """Return base rates (K,) to begin the joint search from, besides those of "equalize"."""
        rates = self.population.base_rates
        return [*rates.T, np.full(len(rates), 1.0 / len(rates))]

    def check_family(self) -> None:
        """Check what is left once every option is known, such as ideality of groups that stay."""

    def formulate(self) -> Any:
        """Return the CVXPY problem."""
        raise NotImplementedError

    def find(self, solver: str, conic: Conic, started: float) -> Solution:
        """Return the answer with its certificate, which `solve` checks."""
        raise NotImplementedError

    # -- the same for all --

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

    @property
    def problem(self) -> Any:
        """The CVXPY problem (orientation preserved), to look at and to extend.

        In whitened coordinates; every constraint carries its address as label and the value is
        KL(D~ || D).

        Raises
        ------
        ModelError
            For steer="all", and for Affine() in several dimensions: not one convex problem.
        """
        return self.formulate()

    # -- solving --

    def solve(
        self,
        solver: str = "auto",
        time_limit: float | None = None,
        verbose: bool = False,
        **solver_options: Any,
    ) -> Solution:
        """Solve, verify and return the answer.

        Parameters
        ----------
        solver : {"auto", "closed-form", "newton", "CLARABEL", "SCS"}
            "auto" solves exactly (closed form for d = 1, else Newton's method; in more than 12
            dimensions its steps by conjugate gradients) and, up to 12 dimensions (64 for maps
            with at most one number per feature), once more by Clarabel to compare; with custom
            constraints or a `map_bound` it goes down the conic ladder.
        time_limit : float, optional
            Seconds per conic solve.
        verbose : bool
            Let the conic solver print.
        **solver_options
            Passed on to the conic solver.

        Returns
        -------
        Solution

        Raises
        ------
        ModelError
            If the solver does not apply, with the reason.
        InfeasibleError
            If the conditions clash, naming them.
        SolverError
            If nothing converged or the answer fails its own certificate.

        Examples
        --------
        >>> import fairprog as fp
        >>> D = fp.Normal([[.3, .2], [.3, .2]], [[0., 1.], [2., 2.]], std=[[1., 1.], [1., 2.]])
        >>> fp.NearestIdeal(D, steer=[1]).solve(solver="closed-form").solver
        'closed-form'
        """
        started = time.perf_counter()
        if solver not in ("auto", "closed-form", "newton", *CONIC):
            raise ModelError(
                f"`solver` must be 'auto', 'closed-form', 'newton', 'CLARABEL' or 'SCS'; found "
                f"{solver!r}.",
                argument="solver",
            )
        if time_limit is not None:
            time_limit = check_number(time_limit, "time_limit")
        conic = Conic(time_limit, verbose, solver_options)
        if self.base_rates == "joint" and self.joint_by_search:
            solution = solve_joint(self, solver, conic, started)
        else:
            solution = self.find(solver, conic, started)
        return verified(solution)

    def frontier(self, map_bounds: ArrayLike, time_limit: float | None = None) -> Frontier:
        """Return KL and the price of consensus at every `map_bound`.

        Parameters
        ----------
        map_bounds : array_like, shape (n,)
            Distances between maps, at least 0; the program's own `map_bound` is ignored. 0 is
            solved exactly, the others share one compilation.
        time_limit : float, optional
            Seconds per solve.

        Returns
        -------
        Frontier

        Raises
        ------
        ModelError
            For steer="all", and for families and transports that take no `map_bound`.

        Examples
        --------
        >>> import fairprog as fp
        >>> D = fp.Normal([[.3, .2], [.3, .2]], [[0., 1.], [2., 2.]], std=[[1., 1.], [1., 2.]])
        >>> fp.NearestIdeal(D, steer=[1]).frontier([0, .1, .5]).risks.round(3)
        array([0.081, 0.055, 0.007])
        """
        from fairprog.programs.nearest_frontier import nearest_frontier

        return nearest_frontier(self, map_bounds, time_limit=time_limit)
