"""The program: the ideal population nearest to yours in KL divergence.

The front door. A `Question` holds the options, the `Geometry` of the population's family answers
it, `assemble` proves the answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike

from fairprog.errors import ModelError
from fairprog.labels import Array, check_number
from fairprog.populations import Population
from fairprog.programs.answer import Conic
from fairprog.programs.conditions import Condition
from fairprog.programs.frontier import map_bound_frontier
from fairprog.programs.geometries.choose import choose, lifted
from fairprog.programs.joint_rates import solve_joint
from fairprog.programs.prove import prove
from fairprog.programs.question import Question, ask
from fairprog.programs.verified import verified
from fairprog.programs.whole_law import (
    checked_weight,
    extended_rates,
    with_whole_law,
    with_whole_rates,
    without_whole_law,
)
from fairprog.solution import ReweightedSolution, Solution
from fairprog.solution.frontier import Frontier
from fairprog.transports import Transport


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
    marginal_weight : float in [0, 1], default 0.0
        Weight of the groups' whole laws (normal populations only), as one more cell beside those
        of the classes: 0 matches classes, 1 matches all rows and no class, which is MiMiC with
        ``Monotone("identity")``. The answer is ideal at any weight; what is given up is nearness,
        and `kl` tells how much. The certificate is that of the program with this cell, whose
        conditions are those of the class "(all)".
    marginal_rates : array_like, shape (K, G), optional
        Base rates in these whole laws; default those of the population.

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
    and by a conic solver where that is cheap. All groups: section 5.

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
        marginal_weight: float = 0.0,
        marginal_rates: ArrayLike | None = None,
    ) -> None:
        family, core, chosen = choose(population, transport)
        self._core, self._weight = core, checked_weight(marginal_weight)
        self._rates, rates = (base_rates, marginal_rates), base_rates
        if self._weight:
            family, core, _ = choose(with_whole_law(core, self._weight, marginal_rates), chosen)
            rates = extended_rates(base_rates, self._weight)
        question = ask(
            core, chosen, steer, reference, orientation, rates, map_bound, constraints,
            family.target_prior,
        )  # fmt: skip
        if self._weight:
            question = with_whole_rates(question, self._core, self._weight, base_rates)
        self._population, self._geometry = population, family(question)
        self._geometry.refuse()

    @property
    def question(self) -> Question:
        """The options, checked and resolved, with the population in its own coordinates."""
        return self._geometry.question

    @property
    def population(self) -> Any:
        """The population D."""
        return self._population

    @property
    def transport(self) -> Transport:
        """The class of maps."""
        return self.question.transport

    @property
    def orientation(self) -> str:
        """Whether mirror images are allowed: "preserve" or "any"."""
        return self.question.orientation

    @property
    def base_rates(self) -> str | tuple[float, ...]:
        """The common base rates, as they were asked for."""
        return self.question.base_rates

    @property
    def map_bound(self) -> float:
        """How far maps of the classes may be apart."""
        return self.question.map_bound

    @property
    def geometry(self) -> Any:
        """How the population's family answers the question."""
        return self._geometry

    @property
    def refused_solvers(self) -> dict[str, str]:
        """By name of a solver that does not apply, the reason."""
        return self._geometry.solvers()

    @property
    def constraints(self) -> tuple[Condition, ...]:
        """The custom conditions."""
        return self.question.constraints

    @property
    def prior(self) -> Array:
        """The steered prior q~, shape (K, G)."""
        return self.question.prior

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
        steer = self.question.settings()["steer"]
        steer = steer if steer == "all" else list(steer)
        return f"NearestIdeal({self.population!r}, steer={steer!r}, transport={self.transport!r})"

    def at_map_bound(self, map_bound: float) -> NearestIdeal:
        """Return the program with another `map_bound`; ModelError if it takes none."""
        base_rates, marginal_rates = self._rates
        settings = {**self.question.settings(), "map_bound": map_bound, "base_rates": base_rates}
        whole: dict[str, Any] = {"marginal_weight": self._weight, "marginal_rates": marginal_rates}
        return NearestIdeal(self.population, **settings, **whole)

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
        return self._geometry.formulate()

    # -- solving --

    def solve(
        self,
        solver: str = "auto",
        time_limit: float | None = None,
        verbose: bool = False,
        second_opinion: bool = False,
        **solver_options: Any,
    ) -> Solution:
        """Solve, verify and return the answer.

        Parameters
        ----------
        solver : {"auto", "closed-form", "newton", "CLARABEL", "SCS"}
            "auto" solves exactly (closed form for d = 1, else Newton's method; in more than 12
            dimensions its steps by conjugate gradients), and once more by Clarabel to compare
            where that takes about 50 ms at most; a `map_bound` alone is solved by a barrier
            method up to 12 dimensions (64 for maps with at most one number per feature). Beyond,
            and with custom constraints, it goes down the conic ladder.
        time_limit : float, optional
            Seconds per conic solve.
        verbose : bool
            Let the conic solver print.
        second_opinion : bool
            Compare an exact answer with a conic solver's whatever it takes.
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
        if time_limit is not None:
            time_limit = check_number(time_limit, "time_limit")
        conic = Conic(time_limit, verbose, solver_options, second_opinion)
        geometry = self._geometry
        joint = self.question.base_rates == "joint" and geometry.joint_by_search
        solution = (solve_joint if joint else prove)(geometry, solver, conic, started)
        solution = verified(solution, advice=geometry.advice)
        if self._weight:
            given = self._core, self.question, self._weight, self._rates[0]
            solution = without_whole_law(solution, *given)
        return lifted(solution, self.population)

    def frontier(self, map_bounds: ArrayLike, time_limit: float | None = None) -> Frontier:
        """Return KL and the price of consensus at every `map_bound`.

        Parameters
        ----------
        map_bounds : array_like, shape (n,)
            Distances between maps, at least 0; the program's own `map_bound` is ignored.
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
        if self._weight:
            raise ModelError(
                "A frontier takes no `marginal_weight`; solve at one `map_bound` after the other.",
                argument="marginal_weight",
            )
        return map_bound_frontier(self._geometry, map_bounds, time_limit)
