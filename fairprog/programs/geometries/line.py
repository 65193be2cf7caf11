"""Programs on univariate families: Laplace, logistic, Gumbel, Weibull, gamma, a user's own, ..."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fairprog.errors import InfeasibleError, ModelError, SolverError
from fairprog.labels import Array
from fairprog.populations import LocationScale
from fairprog.populations.law import Law
from fairprog.programs.base_rates import EQUAL
from fairprog.programs.line_all_groups import nearest_shifts, shared_laws
from fairprog.programs.line_answer import LineAnswer, LineMaps, assemble_line
from fairprog.programs.line_bounded import minimise_bounded
from fairprog.programs.line_frames import LineFrame, line_frame
from fairprog.programs.line_views import original_line_view
from fairprog.programs.nearest_ideal import NearestIdeal
from fairprog.programs.options import CONIC, Conic, no_common_map, sign_choices
from fairprog.solution import Solution
from fairprog.transports import AffineMap, Diagonal, Monotone, Scaling, Translation, Transport

if TYPE_CHECKING:
    from fairprog.programs.compile import Compiled

__all__ = ["NearestLine"]

NORMALISED = 1e-6  # how far from one a density's integral by quadrature may be


class NearestLine(NearestIdeal):
    """The nearest ideal population of a univariate family; made by :class:`NearestIdeal`.

    Notes
    -----
    One or several groups: convex for every log-concave density (theory.md, Theorem B), solved by
    Newton's method in two variables and by a conic solver, and compared. All groups: convex for
    shifts where the classes' laws are the same in all groups (section 5).
    """

    families = (LocationScale,)
    population: LocationScale
    staying_maps: dict[int, AffineMap]

    def default_transport(self) -> Transport:
        """Return `Monotone`, or `Translation` where the family is closed under shifts only."""
        return Monotone() if self.population.moves_scale else Translation()

    def check_transport(self) -> None:
        """Refuse transports that do not keep the family."""
        name = type(self.population).__name__
        known = (Monotone, Scaling, Diagonal) if self.population.moves_scale else ()
        if self.transport.kind == "identity" or isinstance(self.transport, (Translation, *known)):
            return
        allowed = [f"{c.__name__}()" for c in (Translation, *known)]
        raise ModelError(
            f"`transport` {self.transport!r} does not keep the family {name}, or is for several "
            f"features; use one of {allowed}. They act in the family's own coordinates (those of "
            "log X for positive laws).",
            argument="transport",
        )

    def check_conditions(self) -> None:
        """Refuse bounds on maps, and conditions where nothing or everything is free."""
        super().check_conditions()
        if self.map_bound > 0:
            raise ModelError(
                "`map_bound` exists for normal, log-normal and finite populations; here the "
                "consensus is exact. Leave it 0.",
                argument="map_bound",
            )
        if self.constraints and self.transport.kind == "identity":
            raise ModelError("Identity() leaves nothing to constrain.", argument="constraints")

    def check_family(self) -> None:
        """Check orientation, supports, and that groups that stay are ideal among themselves."""
        D, name = self.population, type(self.population).__name__
        if self.orientation == "any" and not all(x.symmetric for row in D.laws for x in row):
            raise ModelError(
                f"orientation='any' needs a symmetric density: the mirror image of a {name} law "
                "is of another family.",
                argument="orientation",
            )
        for row in D.laws:
            for law in row:
                if abs(law.mass - 1.0) > NORMALISED:
                    raise ModelError(
                        f"The density of the family {name} integrates to {law.mass:.9g}, not 1, "
                        f"so that KL is wrong; add {np.log(law.mass):.9g} to `neg_log_density` "
                        "and `atom`. If it is normalised, list where it is not smooth in `kinks`.",
                        argument="population",
                    )
                if law.concave_chord is not None:
                    x, y = law.concave_chord
                    raise ModelError(
                        f"The density of the family {name} is not log-concave: -log density lies "
                        f"above its chord between z = {x:.4g} and {y:.4g}. Programs need a convex "
                        "one (theory.md, Theorem B).",
                        argument="population",
                    )
        if np.isfinite(D.law(0, 0).support[1]):
            raise ModelError(
                f"The family {name} has an upper end of its support; programs take lower ends "
                "only. Model -X instead.",
                argument="population",
            )
        self.staying_maps = {}
        for a in self.staying:
            assert self.reference is not None
            same = self.transport.kind == "identity" or a == self.reference
            T = AffineMap.identity(1) if same else D.common_map(self.reference, a)
            cells = D.laws_of(self.reference)
            residual = np.inf if T is None else D.map_residual(T, cells, a)
            if T is None or residual > EQUAL:
                names = [D.groups[self.reference], D.groups[a]]
                raise no_common_map(names, "affine map", f"residual {residual:.3g}")
            self.staying_maps[a] = T

    # -- building --

    @property
    def bounded(self) -> bool:
        """Whether densities have a lower end of support."""
        return bool(np.isfinite(self.population.law(0, 0).support[0]))

    def reference_cells(self) -> tuple[list[Law], Array, Array]:
        """Return laws, locations and scales of the reference's cells."""
        D, r = self.population, self.reference
        assert r is not None
        return [D.law(i, r) for i in range(D.n_classes)], D.base_loc[:, r], D.base_scale[:, r]

    def frames(self) -> list[LineFrame]:
        """Return the whitened coordinates of every steered group (some group stays)."""
        scales, cells = self.transport.kind != "fixed", self.reference_cells()
        D = self.population
        return [line_frame(D, scales, a, self.prior[:, a], cells) for a in self.steered]

    def compile(self, frames: Sequence[LineFrame]) -> Compiled:
        """Return the CVXPY problem on given frames, with its addresses."""
        from fairprog.programs.compile import compile_line

        D = self.population
        prior_kl = float((self.prior * np.log(self.prior / D.prior)).sum())
        view = original_line_view(D)
        return compile_line(D, frames, prior_kl, self.constraints, view, self.staying_maps)

    def formulate(self) -> Any:
        """Return the consensus form; for all groups the program in row and column shifts."""
        if self.transport.kind == "identity":
            raise ModelError(
                "Identity() leaves nothing to decide: no problem.", argument="transport"
            )
        if self.staying:
            return self.compile(self.frames()).problem
        from fairprog.programs.compile import compile_shifts

        return compile_shifts(self.population, self.prior, shared_laws(self)).problem

    # -- solving --

    def find(self, solver: str, conic: Conic, started: float) -> Solution:
        """Solve exactly or by the conic ladder, and prove the answer."""
        if solver == "closed-form":
            raise ModelError(
                "solver='closed-form' exists for normal populations; use 'auto' or 'newton'.",
                argument="solver",
            )
        if conic.options and solver == "newton":
            raise ModelError(
                f"The options {sorted(conic.options)} are for the conic solvers, which "
                "solver='newton' does not use.",
                argument="solver_options",
            )
        if not self.staying or self.transport.kind == "identity":
            answer = nearest_shifts(self, solver, conic)
        elif solver in CONIC or self.constraints:
            if solver == "newton":
                raise ModelError(
                    "solver='newton' knows no custom constraints; use 'auto', 'CLARABEL' or "
                    "'SCS'.",
                    argument="solver",
                )
            answer = self._conic(solver, conic)
        else:
            answer = LineAnswer([self._exact(f) for f in self.frames()], "newton")
            if solver == "auto":
                self._compare(answer, conic)
        return assemble_line(self, answer, time.perf_counter() - started)

    def _exact(self, frame: LineFrame) -> LineMaps:
        """Return the best map of one group; with orientation "any" over both signs."""
        solve = minimise_bounded if self.bounded else (lambda f: f.optimum)
        signs = [frame, frame.mirrored()] if self.orientation == "any" else [frame]
        found = [LineMaps(f, *solve(f)) for f in signs]
        return min(found, key=lambda maps: maps.cost())

    def _compare(self, answer: LineAnswer, conic: Conic) -> None:
        """Solve the conic form on the same frames and record how far it is."""
        from fairprog.programs.compile import solve

        compiled = self.compile([g.frame for g in answer.groups])
        try:
            solve(compiled, CONIC[:1], conic.time_limit, conic.verbose, conic.options)
        except SolverError:
            return  # the exact answer is proven by its own residuals
        answer.compare([LineMaps(c.frame, *c.value()) for c in compiled.cells])
        answer.keep_exact(compiled.solver)

    def _conic(self, solver: str, conic: Conic) -> LineAnswer:
        """Solve the CVXPY program down the ladder; orientation "any" tries all signs."""
        from fairprog.programs.compile import line_multipliers, solve

        ladder: tuple[str, ...] = (solver,) if solver in CONIC else CONIC
        frames = self.frames()
        best: LineAnswer | None = None
        failure: InfeasibleError | None = None
        for combination in sign_choices(frames, self.orientation):
            compiled = self.compile(combination)
            try:
                solve(compiled, ladder, conic.time_limit, conic.verbose, conic.options)
                if any(law.kinks for f in combination for law in f.own_laws) and self.constraints:
                    # once more, with quadrature panels that break where the kinks now are
                    moved = [replace(c.frame, near=c.value()) for c in compiled.cells]
                    finer = self.compile(moved)
                    with suppress(SolverError):  # the first answer stands: it is certified, too
                        solve(finer, ladder, conic.time_limit, conic.verbose, conic.options)
                        compiled = finer
            except InfeasibleError as error:
                failure = error
                continue
            groups = []
            for cell in compiled.cells:
                maps = LineMaps(cell.frame, *cell.value())
                if self.constraints:
                    maps.multipliers = line_multipliers(compiled, cell)
                groups.append(maps)
            answer = LineAnswer(groups, compiled.solver, compiled=compiled)
            if best is None or answer.cost() < best.cost():
                best = answer
        if best is None:
            assert failure is not None
            raise failure
        if not self.constraints:
            best.compare([self._exact(f) for f in frames])
        return best
