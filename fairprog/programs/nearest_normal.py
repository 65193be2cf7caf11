"""Programs on normal (and log-normal) populations, in any dimension."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fairprog.errors import FairprogWarning, ModelError
from fairprog.labels import check_finite
from fairprog.populations import Normal
from fairprog.programs.answer import assemble
from fairprog.programs.frames import Frame, check_diagonal, make_frame
from fairprog.programs.nearest_ideal import NearestIdeal
from fairprog.programs.options import Conic, staying_maps
from fairprog.programs.solvers import find_answer, second_opinion
from fairprog.solution import Solution
from fairprog.transports import AffineMap, Monotone, Whitened

if TYPE_CHECKING:
    from fairprog.programs.compile import Compiled

__all__ = ["NearestNormal"]


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
        self.staying_maps = staying_maps(self.population, self.reference, self.staying)
        if self.population.null_dimension:
            warnings.warn(
                f"{self.population.null_dimension} direction(s) of the features are constant in "
                "every cell; they are set aside and the maps are the identity there.",
                FairprogWarning,
                stacklevel=3,
            )

    # -- building --

    def frames(self) -> list[Frame]:
        """Return the whitened coordinates of every steered group (some group stays)."""
        D = self.population
        cells = D.support_mean[:, self.reference], D.support_cov[:, self.reference]
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
        answer = find_answer(self, solver, conic)
        solution = assemble(self, answer, time.perf_counter() - started)
        if not solution.certificate.ok and self.constraints and not answer.kinked:
            # a condition may have a kink at the answer: ask the other conic solver
            second_opinion(self, answer, conic)
            solution = assemble(self, answer, time.perf_counter() - started)
        return solution
