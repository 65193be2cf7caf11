"""Programs on normal (and log-normal) populations, in any dimension."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

from fairprog.errors import FairprogWarning, ModelError
from fairprog.kernels.cells import LARGE
from fairprog.kernels.common_rates import best_rates
from fairprog.kernels.normal import kl, push, unit_condition
from fairprog.kernels.threads import one_blas_pool
from fairprog.labels import Array, check_finite
from fairprog.populations import Normal
from fairprog.programs.affine_maps import nearest_all_affine
from fairprog.programs.all_groups import nearest_all
from fairprog.programs.answer import assemble
from fairprog.programs.frames import Frame, check_diagonal, check_scales, make_frame
from fairprog.programs.nearest_ideal import NearestIdeal
from fairprog.programs.options import Conic, staying_maps
from fairprog.programs.piecewise_maps import (
    check_piecewise,
    formulate_piecewise,
    solve_piecewise_maps,
)
from fairprog.programs.solvers import find_answer, second_opinion
from fairprog.solution import Solution
from fairprog.transports import AffineMap, Monotone, Whitened

if TYPE_CHECKING:
    from fairprog.programs.compile import Compiled

__all__ = ["NearestNormal"]

ILL_CONDITIONED = 1e6  # at unit variances: beyond it rounding may be what fails a certificate


class NearestNormal(NearestIdeal):
    """The nearest ideal normal population: theory.md section 4 (one group) and 5 (all).

    Made by :class:`NearestIdeal`.
    """

    families = (Normal,)
    population: Normal
    staying_maps: dict[int, AffineMap]

    def check_transport(self) -> None:
        """Check the fields of a transport against the population's features and classes."""
        population = self.population
        if self.transport.kind == "identity":
            raise ModelError(
                "`transport` Identity() is for exponential families of one parameter and finite "
                "alphabets; normal populations take Translation() or a larger class of maps.",
                argument="transport",
            )
        check_diagonal(population, self.transport)
        if isinstance(self.transport, Whitened):
            self.transport.class_index(population.classes)
        if isinstance(self.transport, Monotone) and not isinstance(self.transport.metric, str):
            d = population.n_features
            check_finite(self.transport.metric, "metric", (d, d))

    def check_family(self) -> None:
        """Check that groups that stay are ideal among themselves; say what is set aside."""
        if self.transport.kind == "piecewise":
            check_piecewise(self)
        check_scales(self.population, self.transport, everyone=not self.staying)
        self.staying_maps = staying_maps(self.population, self.reference, self.staying)
        if self.population.null_dimension:
            warnings.warn(
                f"{self.population.null_dimension} direction(s) of the features are constant in "
                "every cell; they are set aside and the maps are the identity there.",
                FairprogWarning,
                stacklevel=3,
            )

    def _not_convex(self) -> bool:
        """Return whether the class of maps alone makes the program non-convex."""
        return self.transport.kind == "full" and self.population.n_features > 1

    def check_conditions(self) -> None:
        """Refuse custom constraints and bounds where there is no convex program to hold them."""
        super().check_conditions()
        if self._not_convex() and (self.constraints or self.map_bound > 0):
            raise ModelError(
                "Affine() in several dimensions is not a convex program, so it takes no custom "
                "constraints and no `map_bound`; use Monotone() instead.",
                argument="constraints" if self.constraints else "map_bound",
            )

    def rate_starts(self) -> list[Array]:
        """Return the base rates of the best joint descent over maps and rates."""
        D, log_rates = self.population, np.log(self.population.base_rates)
        mirror = self.orientation == "any"
        if self._not_convex():
            maps, cells = nearest_all_affine(D, self.prior, mirror, log_rates)
        else:
            maps, cells, _ = nearest_all(D, self.prior, self.transport, mirror, log_rates)
        U = D.support_basis
        moved = [push(U.T @ T.matrix @ U, T.offset @ U, *cells) for T in maps]
        mean, cov = (np.stack(parts, axis=1) for parts in zip(*moved, strict=True))
        V = kl(mean, cov, D.support_mean, D.support_cov)
        return [best_rates(V, D.group_mass, log_rates)[0]]

    def advice(self) -> str:
        """Return what to do, by how the cells are conditioned."""
        D = self.population
        cells = [np.asarray(D.support_cov_of(a)) for a in range(D.n_groups)]
        worst = max(unit_condition(S) for S in cells)
        if worst < ILL_CONDITIONED:
            return super().advice()
        pooled = np.einsum("ia,iajk->ajk", D.base_rates, np.stack(cells, axis=1))
        remedies = (
            "gather more rows or raise `shrinkage`, since their group's pooled ones are far better"
            if worst > 100.0 * unit_condition(pooled)
            else "leave out features that others all but determine, or keep principal components "
            "that vary, computed in float64"
        )
        others = " Steering all groups but one is better conditioned too." * (not self.staying)
        return (
            "Some combinations of features hardly vary: the covariances have the condition number "
            f"{worst:.1g} at unit variances. To do: {remedies}.{others}"
        )

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

    def formulate(self) -> Any:
        """Return the consensus form."""
        if self.transport.kind == "piecewise":
            return formulate_piecewise(self)
        if self._not_convex():
            raise ModelError(
                "Affine() in several dimensions is not a convex problem; use Monotone() to see "
                "one.",
                argument="transport",
            )
        if not self.staying:
            raise ModelError(
                "steer='all' is not one convex problem; steer all groups but one to see one.",
                argument="steer",
            )
        return self.compile(self.frames()).problem

    # -- solving --

    def find(self, solver: str, conic: Conic, started: float) -> Solution:
        """Solve exactly or by the conic ladder, and prove the answer."""
        if conic.options and (not self.staying or solver in ("closed-form", "newton")):
            raise ModelError(
                f"The options {sorted(conic.options)} are for the conic solvers, which "
                f"{'steer=' + repr('all') if not self.staying else 'solver=' + repr(solver)} "
                "does not use.",
                argument="solver_options",
            )
        if self.transport.kind == "piecewise":
            return solve_piecewise_maps(self, solver, conic, started)
        with one_blas_pool() if self.population.n_features > LARGE else nullcontext():
            return self._prove(solver, conic, started)

    def _prove(self, solver: str, conic: Conic, started: float) -> Solution:
        """Return the answer, proven."""
        answer = find_answer(self, solver, conic)
        solution = assemble(self, answer, time.perf_counter() - started)
        if not solution.certificate.ok and self.constraints and not answer.kinked:
            # a condition may have a kink at the answer: ask the other conic solver
            second_opinion(self, answer, conic)
            solution = assemble(self, answer, time.perf_counter() - started)
        return solution
