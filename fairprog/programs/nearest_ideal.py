"""The program: the ideal population nearest to yours in KL divergence."""

from __future__ import annotations

import itertools
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from fairprog.errors import FairprogWarning, InfeasibleError, ModelError, SolverError
from fairprog.kernels.one_group import newton
from fairprog.labels import check_number
from fairprog.populations import Normal
from fairprog.programs.all_groups import nearest_all, nearest_two_groups, normalised
from fairprog.programs.answer import Answer, assemble
from fairprog.programs.base_rates import steered_prior
from fairprog.programs.conditions import Condition, checked_conditions
from fairprog.programs.frames import Frame, check_diagonal, make_frame
from fairprog.programs.group_maps import GroupMaps, closed_form_maps, read_maps
from fairprog.programs.options import (
    allowed_orientation,
    check_addresses,
    reference_group,
    staying_maps,
    steered_groups,
)
from fairprog.solution import Solution
from fairprog.transports import Monotone, Translation, Transport, Whitened

if TYPE_CHECKING:
    from fairprog.programs.compile import Compiled

__all__ = ["NearestIdeal"]

CONIC = ("CLARABEL", "SCS")
CLARABEL_DIMENSION = 12  # beyond, a full covariance takes the interior point method seconds
COLLAPSED = 1e-6  # of the unconstrained map: narrower is a singular map met to tolerance


class NearestIdeal:
    """Find the ideal population nearest to D: minimise KL(D~ || D), in nats.

    Every steered group gets one affine map T_a of the transport class that carries the common
    laws R_i to its cells, P~_ia = T_a # R_i, so that base rates and cells make every
    cost-sensitive Bayes rule exactly fair.

    Parameters
    ----------
    population : Normal or LogNormal
        At least two groups.
    steer : "all" or list of groups
        Which groups may move. Every other group stays exactly as it is.
    transport : Transport, default Monotone()
        `Translation`, `Scaling`, `Diagonal`, `Monotone` or `Whitened`.
    reference : hashable, optional
        The group whose coordinates are the common ones; default the first that stays.
    orientation : {"preserve", "any"}
        "any" allows mirror images (d = 1 and `Scaling` only).
    base_rates : {"equalize", "keep"} or array_like (K,)
        Target P(Y=i | A=a): that of the groups that stay (else the KL-nearest common one),
        unchanged, or the given one.
    map_bound : float, default 0.0
        How far, in the pooled metric, each class's map may be from the group's common one; 0
        asks for exact fairness. Not a gap of rates.
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

    def __init__(
        self,
        population: Normal,
        steer: str | Iterable[Any] = "all",
        transport: Transport | None = None,
        reference: Any = None,
        orientation: str = "preserve",
        base_rates: str | ArrayLike = "equalize",
        map_bound: float = 0.0,
        constraints: Iterable[Condition | Callable[[Any, Any], Any]] = (),
    ) -> None:
        if not isinstance(population, Normal):
            raise ModelError(
                f"`population` must be a Normal or LogNormal; found {type(population).__name__}.",
                argument="population",
            )
        if population.n_groups < 2:
            raise ModelError("`population` needs at least two groups.", argument="population")
        self.population = population
        self.transport = Monotone() if transport is None else transport
        if not isinstance(self.transport, Transport):
            raise ModelError(
                f"`transport` must be a Transport such as Monotone(); found {transport!r}.",
                argument="transport",
            )
        check_diagonal(population, self.transport)
        if isinstance(self.transport, Whitened):
            self.transport.class_index(population.classes)
        self.steered = steered_groups(population, steer)
        self.staying = [a for a in range(population.n_groups) if a not in self.steered]
        self.reference = reference_group(population, self.staying, reference)
        self.orientation = allowed_orientation(population, self.transport, orientation)
        self.map_bound = check_number(map_bound, "map_bound")
        self.constraints = checked_conditions(constraints)
        if not self.staying and (self.constraints or self.map_bound > 0):
            raise ModelError(
                "steer='all' is not one convex program, so it takes no custom constraints and no "
                "`map_bound`; steer all groups but one instead.",
                argument="constraints" if self.constraints else "map_bound",
            )
        self.prior = steered_prior(population, self.staying, base_rates)
        self.base_rates = (
            base_rates if isinstance(base_rates, str) else tuple(np.asarray(base_rates).tolist())
        )
        check_addresses(population)
        self.staying_maps = staying_maps(population, self.reference, self.staying)
        if population.null_dimension:
            warnings.warn(
                f"{population.null_dimension} direction(s) of the features are constant in every "
                "cell; they are set aside and the maps are the identity there.",
                FairprogWarning,
                stacklevel=2,
            )

    def __repr__(self) -> str:
        steer = "all" if not self.staying else [self.population.groups[a] for a in self.steered]
        return f"NearestIdeal({self.population!r}, steer={steer!r}, transport={self.transport!r})"

    # -- building --

    def _frames(self) -> list[Frame]:
        D = self.population
        cells = D.support_mean[:, self.reference], D.support_cov[:, self.reference]
        return [make_frame(D, self.transport, a, self.prior[:, a], cells) for a in self.steered]

    def _compile(self, frames: Sequence[Frame]) -> Compiled:
        from fairprog.programs.compile import compile_nearest

        q = self.population.prior
        prior_kl = float((self.prior * np.log(self.prior / q)).sum())
        return compile_nearest(
            self.population,
            frames,
            prior_kl,
            self.constraints,
            self.map_bound,
            self.staying_maps,
        )

    @property
    def problem(self) -> Any:
        """The CVXPY problem (orientation preserved), to look at and to extend.

        In whitened coordinates; every constraint carries its address as label and the value is
        KL(D~ || D).

        Raises
        ------
        ModelError
            For steer="all", which is not one convex problem.
        """
        if not self.staying:
            raise ModelError(
                "steer='all' is not one convex problem; steer all groups but one to see one.",
                argument="steer",
            )
        return self._compile(self._frames()).problem

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
            "auto" solves exactly (closed form for d = 1, else Newton's method) and, up to 12
            dimensions, once more by Clarabel to compare; with custom constraints or a
            `map_bound` it goes down the conic ladder.
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
        exact = not self.staying or solver in ("closed-form", "newton")
        if solver_options and exact:
            raise ModelError(
                f"The options {sorted(solver_options)} are for the conic solvers, which "
                f"{'steer=' + repr('all') if not self.staying else 'solver=' + repr(solver)} "
                "does not use.",
                argument="solver_options",
            )
        if not self.staying:
            answer = self._solve_all(solver)
        elif solver in ("auto", "closed-form", "newton") and not (
            self.constraints or self.map_bound > 0
        ):
            answer = self._solve_exact(solver)
            if solver == "auto" and self._conic_pays():
                self._compare(answer, time_limit, verbose, solver_options)
        elif solver in ("closed-form", "newton"):
            raise ModelError(
                f"solver={solver!r} knows neither custom constraints nor a `map_bound`; use "
                "'auto', 'CLARABEL' or 'SCS'.",
                argument="solver",
            )
        else:
            answer = self._solve_conic(solver, time_limit, verbose, solver_options)
            self._refuse_collapse(answer)
        solution = assemble(self, answer, time.perf_counter() - started)
        if not solution.certificate.ok and self.constraints and not answer.kinked:
            # a condition may have a kink at the answer: ask the other conic solver
            self._second_opinion(answer, time_limit, verbose)
            solution = assemble(self, answer, time.perf_counter() - started)
        if not solution.certificate.ok:
            raise SolverError(
                f"The answer of {answer.solver} fails its certificate: {solution.certificate}. "
                "Try another solver.",
                status="unverified",
                details={"certificate": solution.certificate, "solution": solution},
            )
        return solution

    def _conic_pays(self) -> bool:
        symmetric = self.transport.kind == "symmetric"
        return not symmetric or self.population.n_features <= CLARABEL_DIMENSION

    def _solve_exact(self, solver: str) -> Answer:
        """Solve every steered group in numpy; with orientation "any" keep the better sign."""
        one_dimensional = self.population.n_features == 1
        if solver == "closed-form" and not one_dimensional:
            raise ModelError(
                f"solver='closed-form' exists for one feature; the population has "
                f"{self.population.n_features}. Use 'newton' or 'auto'.",
                argument="solver",
            )
        closed = one_dimensional and solver != "newton"
        chosen: list[GroupMaps] = []
        for frame in self._frames():
            signs = [frame, frame.mirrored()] if self.orientation == "any" else [frame]
            candidates = [
                GroupMaps(
                    f,
                    *(closed_form_maps(f) if closed else newton(f.kind, f.root, f.w, *f.args)[:2]),
                )
                for f in signs
            ]
            chosen.append(min(candidates, key=lambda c: c.cost()))
        return Answer(chosen, "closed-form" if closed else "newton", globally_optimal=True)

    def _compare(
        self, answer: Answer, time_limit: float | None, verbose: bool, options: dict[str, Any]
    ) -> None:
        """Solve the conic form on the same frames and record how far it is from the exact one."""
        from fairprog.programs.compile import solve

        compiled = self._compile([g.frame for g in answer.groups])
        try:
            solve(compiled, CONIC, time_limit, verbose, options)
        except SolverError:
            return  # the exact answer is proven by its own residuals; there is nothing to compare
        # an inaccurate answer of Clarabel has met looser tolerances; one of SCS may be unfinished
        if compiled.problem.status == "optimal" or compiled.solver == "CLARABEL":
            answer.compare(read_maps(compiled))
            if not answer.agrees():
                warnings.warn(
                    f"{compiled.solver} ends {answer.conic_gap:.2g} (KL) and "
                    f"{answer.parameter_gap:.2g} (maps) from the exact answer, which is kept: "
                    "its own Newton decrement proves it.",
                    FairprogWarning,
                    stacklevel=3,
                )
                answer.conic_gap = answer.parameter_gap = None

    def _refuse_collapse(self, answer: Answer) -> None:
        """Raise where conditions leave only singular maps: solvers stop short of infinite KL."""
        if not self.constraints or self.transport.kind == "fixed":
            return
        for g in answer.groups:
            free, _, _ = newton(g.frame.kind, g.frame.root, g.frame.w, *g.frame.args)
            ratio = np.linalg.eigvals(np.linalg.solve(free, g.S)).real.min()
            if ratio < COLLAPSED:
                names = [c.name for c in self.constraints]
                raise InfeasibleError(
                    f"The conditions {names} leave group {g.frame.group!r} only maps that squeeze "
                    "some direction to nothing (an infinite divergence). Relax one of them.",
                    argument="constraints",
                    cell=(None, g.frame.group),
                    details={"conditions": names, "groups": [g.frame.group]},
                )

    def _second_opinion(self, answer: Answer, time_limit: float | None, verbose: bool) -> None:
        """Solve once more by the other conic solver and record the difference."""
        from fairprog.programs.compile import solve

        other = "SCS" if answer.solver == "CLARABEL" else "CLARABEL"
        compiled = self._compile([g.frame for g in answer.groups])
        try:
            solve(compiled, [other], time_limit, verbose, {})
        except SolverError:
            return  # the certificate stands as it is
        answer.compare(read_maps(compiled))
        answer.kinked = True

    def _solve_conic(
        self, solver: str, time_limit: float | None, verbose: bool, options: dict[str, Any]
    ) -> Answer:
        from fairprog.programs.compile import solve

        ladder: tuple[str, ...] = (solver,) if solver in CONIC else CONIC
        if solver == "auto" and not self._conic_pays():
            ladder = ("SCS", "CLARABEL")
        frames = self._frames()
        mirrors = itertools.product(*([f, f.mirrored()] for f in frames))
        best: Answer | None = None
        failure: InfeasibleError | None = None
        for combination in mirrors if self.orientation == "any" else [tuple(frames)]:
            compiled = self._compile(combination)
            try:
                solve(compiled, ladder, time_limit, verbose, options)
            except InfeasibleError as error:
                failure = error
                continue
            answer = Answer(read_maps(compiled), compiled.solver, globally_optimal=True)
            answer.compiled = compiled
            if best is None or answer.cost() < best.cost():
                best = answer
        if best is None:
            assert failure is not None
            raise failure
        if not (self.constraints or self.map_bound > 0):
            exact = self._solve_exact("auto")
            best.compare(exact.groups)
        return best

    def _solve_all(self, solver: str) -> Answer:
        D = self.population
        polynomial = (
            D.n_features == 1 and D.n_classes == D.n_groups == 2 and self.transport.kind != "fixed"
        )
        if solver in CONIC or (solver == "closed-form" and not polynomial):
            raise ModelError(
                f"solver={solver!r} does not apply to steer='all': "
                + (
                    "it is not one convex problem; use 'auto'."
                    if solver in CONIC
                    else "closed form stationary points exist for one feature, two classes, two "
                    "groups and maps that scale; use 'auto'."
                ),
                argument="solver",
            )
        mirror = self.orientation == "any"
        anchor: int | None = None
        name = "polynomial" if polynomial and solver != "newton" else "descent"
        if name == "polynomial":
            maps, cells = nearest_two_groups(D, self.prior, mirror)
        else:
            maps, cells, anchor = nearest_all(D, self.prior, self.transport, mirror)
        maps, cells = normalised(D, maps, cells, self.transport.kind != "fixed")
        groups = []
        for a, T in enumerate(maps):
            # the anchor's matrix is a choice of coordinates, not a decision
            transport = Translation() if a == anchor else self.transport
            frame = make_frame(D, transport, a, self.prior[:, a], cells)
            groups.append(GroupMaps.from_user(frame, T))
        return Answer(groups, name, globally_optimal=name == "polynomial", reference=cells)
