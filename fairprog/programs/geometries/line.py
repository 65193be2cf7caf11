"""Programs on univariate families: Laplace, logistic, Gumbel, Weibull, gamma, a user's own, ...

One or several groups: convex for every log-concave density (theory.md, Theorem B), solved by
Newton's method in two variables. All groups: convex for shifts where the classes' laws are the
same in all groups (section 5).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from fairprog.errors import ModelError
from fairprog.labels import Array
from fairprog.populations import LocationScale
from fairprog.populations.law import Law
from fairprog.programs.answer import Answer, Conic
from fairprog.programs.geometries.base import CONIC, Geometry
from fairprog.programs.geometries.group_map import GroupMaps, GroupProblem, best_signs
from fairprog.programs.geometries.line_all import average_laws, nearest_shifts, shared_laws
from fairprog.programs.geometries.line_bounded import line_frame
from fairprog.programs.geometries.line_frame import LineFrame
from fairprog.transports import AffineMap, Diagonal, Monotone, Scaling, Translation, Transport

NORMALISED = 1e-6  # how far from one a density's integral by quadrature may be


class LineGeometry(Geometry):
    """Location-scale families on the line, in the family's own coordinates."""

    view_names = ("loc", "scale", "mean", "std", "matrix", "offset")
    original_names = ("loc", "scale", "mean", "std")

    # -- what it takes --

    @classmethod
    def default_transport(cls, population: LocationScale) -> Transport:
        """Return `Monotone`, or `Translation` where the family is closed under shifts only."""
        return Monotone() if population.moves_scale else Translation()

    @classmethod
    def check_transport(cls, population: LocationScale, transport: Transport) -> None:
        """Refuse transports that do not keep the family."""
        name = type(population).__name__
        known = (Monotone, Scaling, Diagonal) if population.moves_scale else ()
        if transport.kind == "identity" or isinstance(transport, (Translation, *known)):
            return
        allowed = [f"{c.__name__}()" for c in (Translation, *known)]
        raise ModelError(
            f"`transport` {transport!r} does not keep the family {name}, or is for several "
            f"features; use one of {allowed}. They act in the family's own coordinates (those of "
            "log X for positive laws).",
            argument="transport",
        )

    def refuse(self) -> None:
        """Check conditions, orientation, densities, and groups that stay."""
        question, name = self.question, type(self.D).__name__
        self.refuse_conditions_on_all()
        if question.map_bound > 0:
            raise ModelError(
                "`map_bound` exists for normal, log-normal and finite populations; here the "
                "consensus is exact. Leave it 0.",
                argument="map_bound",
            )
        if question.constraints and self._nothing_moves:
            raise ModelError("Identity() leaves nothing to constrain.", argument="constraints")
        laws = [law for row in self.D.laws for law in row]
        if question.mirrors and not all(law.symmetric for law in laws):
            raise ModelError(
                f"orientation='any' needs a symmetric density: the mirror image of a {name} law "
                "is of another family.",
                argument="orientation",
            )
        for law in laws:
            _refuse_density(law, name)
            if question.mirrors and law.lopsided_at is not None:
                raise ModelError(
                    f"The family {name} calls itself symmetric, but -log density differs between "
                    f"z = {law.lopsided_at:.4g} and its mirror image. Drop `symmetric = True`.",
                    argument="population",
                )
        for a, T in self._staying.items():
            r = question.reference
            assert r is not None
            off = np.inf if T is None else self.D.map_residual(T, self.D.laws_of(r), a)
            self.refuse_apart(r, a, "affine map", off)

    @property
    def _nothing_moves(self) -> bool:
        return self.question.transport.kind == "identity"

    @cached_property
    def _staying(self) -> dict[int, AffineMap | None]:
        r = self.question.reference
        if r is None:
            return {}
        if self._nothing_moves:
            return dict.fromkeys(self.question.staying, AffineMap.identity(1))
        return {a: self.D.common_map(r, a) for a in self.question.staying}

    @property
    def staying_maps(self) -> dict[int, AffineMap]:
        """Maps from the reference to the groups that stay."""
        return {a: T for a, T in self._staying.items() if T is not None}

    def solvers(self) -> dict[str, str]:
        """Return the solvers that do not apply, with the reason."""
        out = {"closed-form": "exists for normal populations; use 'auto' or 'newton'"}
        if self._nothing_moves:
            out = dict.fromkeys(CONIC, "does not apply: Identity() has a closed form; use 'auto'")
        return out

    # -- solving --

    @property
    def uses_conic(self) -> bool:
        """Whether there is anything to decide."""
        return not self._nothing_moves

    def frame(self, a: int, laws: Any, scales: bool) -> LineFrame:
        """Return the problem of a group, given common laws."""
        return line_frame(self.D, scales, a, self.question.prior[:, a], laws)

    def problems(self) -> Sequence[GroupProblem]:
        """Return the whitened coordinates of every steered group."""
        scales, laws = self.question.transport.kind != "fixed", self.D.laws_of(self._reference)
        return [self.frame(a, laws, scales) for a in self.question.steered]

    @property
    def _reference(self) -> int:
        assert self.question.reference is not None
        return self.question.reference

    @property
    def conic_order(self) -> tuple[str, ...]:
        """The conic solvers; exact answers are compared with Clarabel's alone."""
        return CONIC if self.question.relaxed else CONIC[:1]

    def exact(self, solver: str) -> Answer:
        """Return the answer of Newton's method in two variables, or the identity."""
        if self._nothing_moves:
            return self._unmoved(self.D.laws_of(self._reference))
        return Answer(best_signs(self.problems(), self.question.mirrors, False), "newton")

    def conic_seconds(self, answer: Answer) -> float:
        """Return Clarabel's time by cells, if anything was decided and its nodes see the costs."""
        frames: list[Any] = [g.problem for g in answer.groups]
        seen = (f.resolved(g.theta) for f, g in zip(frames, answer.groups, strict=True))
        if not (answer.decided and all(seen)):
            return np.inf
        return 0.008 + 0.02 * self.D.n_classes * len(answer.groups)

    def all_groups(self, solver: str, conic: Conic) -> Answer:
        """Return the global optimum over common laws and one shift per group."""
        if self._nothing_moves:
            return self._unmoved(average_laws(self.D, self.question.prior))
        laws, scale = shared_laws(self.D, self.question.transport)
        return nearest_shifts(self, laws, scale, solver, conic)

    def _unmoved(self, laws: Any) -> Answer:
        """Give all groups the common laws themselves."""
        groups = []
        for a in self.question.steered:
            f = self.frame(a, laws, False)
            groups.append(GroupMaps(f, (1.0, (f.center - f.target_center) / f.C)))
        free = None if self.question.staying else laws
        return Answer(groups, "closed-form", free_laws=free, decided=False)

    def formulate(self) -> Any:
        """Return the consensus form; for all groups the program in row and column shifts."""
        if self._nothing_moves:
            raise ModelError(
                "Identity() leaves nothing to decide: no problem.", argument="transport"
            )
        if self.question.staying:
            return super().formulate()
        from fairprog.programs.compile.shifts import compile_shifts

        D, question = self.D, self.question
        laws, scale = shared_laws(D, question.transport)
        args = question.prior, laws, D.base_loc, scale, D.group_mass, question.prior_kl
        return compile_shifts(type(D), *args).problem

    def sharper(self, answer: Answer, attempt: int) -> tuple[Any, dict[str, Any]] | None:
        """Return the program whose quadrature panels break where the kinks now are."""
        frames: list[Any] = [g.problem for g in answer.groups]
        kinked = any(law.kinks for f in frames for law in f.own_laws)
        if attempt or not (kinked and self.question.constraints):
            return None
        moved = [replace(f, near=g.theta) for f, g in zip(frames, answer.groups, strict=True)]
        return self.compile(moved), {}

    def parameter(self, name: str, i: int, a: int) -> Any:
        """Return loc, scale, mean or std of a cell, or the map to a group that stays."""
        if name == "matrix":
            return self.staying_maps[a].matrix[0, 0]
        if name == "offset":
            return self.staying_maps[a].offset[0]
        return float(getattr(self.D, f"base_{name}")[i, a])

    # -- the answer --

    def common_laws(self, answer: Answer) -> Any:
        """Return standard laws, locations and scales (K,) of the common laws."""
        return answer.free_laws or self.D.laws_of(self._reference)

    def laws_residual(self, answer: Answer) -> float:
        """Return the Newton decrement in the shifts of free common laws."""
        if answer.free_laws is None or not answer.decided:
            return 0.0
        laws, loc, scale = answer.free_laws
        shifts = np.array([float(g.user_map.offset[0]) for g in answer.groups])
        u = (loc[:, None] + shifts - self.D.base_loc) / scale[:, None]

        def slopes(u: Array) -> Array:
            pairs = zip(laws, u, strict=True)
            return np.array([[law.gradient(law, 1.0, x)[1] for x in row] for law, row in pairs])

        q = self.question.prior / scale[:, None]
        curvature = q / scale[:, None] * (slopes(u + 1e-5) - slopes(u - 1e-5)) / 2e-5
        squares = (q * slopes(u)).sum(axis=1) ** 2 / curvature.sum(axis=1)
        return float(np.sqrt(squares.sum()))


def _refuse_density(law: Law, name: str) -> None:
    """Refuse densities that are not normalised, not log-concave, or end above."""
    if abs(law.mass - 1.0) > NORMALISED:
        raise ModelError(
            f"The density of the family {name} integrates to {law.mass:.9g}, not 1, so that KL is "
            f"wrong; add {np.log(law.mass):.9g} to `neg_log_density` and `atom`. If it is "
            "normalised, list where it is not smooth in `kinks`.",
            argument="population",
        )
    if law.concave_chord is not None:
        x, y = law.concave_chord
        raise ModelError(
            f"The density of the family {name} is not log-concave: -log density lies above its "
            f"chord between z = {x:.4g} and {y:.4g}. Programs need a convex one (theory.md, "
            "Theorem B).",
            argument="population",
        )
    if np.isfinite(law.support[1]):
        raise ModelError(
            f"The family {name} has an upper end of its support; programs take lower ends only. "
            "Model -X instead.",
            argument="population",
        )
