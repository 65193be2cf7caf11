"""The program: the ideal population nearest to yours in KL divergence."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from fairprog.errors import FairprogWarning, ModelError, SolverError
from fairprog.labels import check_finite, check_number
from fairprog.populations import Normal
from fairprog.programs.answer import assemble
from fairprog.programs.base_rates import steered_prior
from fairprog.programs.conditions import Condition, checked_conditions
from fairprog.programs.frames import Frame, check_diagonal, make_frame
from fairprog.programs.options import (
    allowed_orientation,
    check_addresses,
    reference_group,
    staying_maps,
    steered_groups,
)
from fairprog.programs.solvers import CONIC, Conic, find_answer, second_opinion
from fairprog.solution import Solution
from fairprog.transports import Monotone, Transport, Whitened

if TYPE_CHECKING:
    from fairprog.programs.compile import Compiled

__all__ = ["NearestIdeal"]


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
        if isinstance(self.transport, Monotone) and not isinstance(self.transport.metric, str):
            d = population.n_features
            check_finite(self.transport.metric, "metric", (d, d))
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

    def frames(self) -> list[Frame]:
        """Return the whitened coordinates of every steered group (some group stays)."""
        D = self.population
        assert self.reference is not None
        cells = D.support_mean[:, self.reference], D.support_cov_of(self.reference)
        return [make_frame(D, self.transport, a, self.prior[:, a], cells) for a in self.steered]

    def compile(self, frames: Sequence[Frame]) -> Compiled:
        """Return the CVXPY problem on given frames (mirrored or not), with its addresses."""
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
        return self.compile(self.frames()).problem

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
        exact = not self.staying or solver in ("closed-form", "newton")
        if solver_options and exact:
            raise ModelError(
                f"The options {sorted(solver_options)} are for the conic solvers, which "
                f"{'steer=' + repr('all') if not self.staying else 'solver=' + repr(solver)} "
                "does not use.",
                argument="solver_options",
            )
        conic = Conic(time_limit, verbose, solver_options)
        answer = find_answer(self, solver, conic)
        solution = assemble(self, answer, time.perf_counter() - started)
        if not solution.certificate.ok and self.constraints and not answer.kinked:
            # a condition may have a kink at the answer: ask the other conic solver
            second_opinion(self, answer, conic)
            solution = assemble(self, answer, time.perf_counter() - started)
        if not solution.certificate.ok:
            raise SolverError(
                f"The answer of {answer.solver} fails its certificate: {solution.certificate}. "
                "Try another solver.",
                status="unverified",
                details={"certificate": solution.certificate, "solution": solution},
            )
        return solution
