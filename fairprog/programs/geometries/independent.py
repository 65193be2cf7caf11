"""Programs on normal populations with independent features: every feature in one pass."""

from __future__ import annotations

import itertools
import time
import warnings
from typing import Any

import numpy as np

from fairprog.errors import FairprogWarning, ModelError
from fairprog.kernels.diagonal import best_diagonal
from fairprog.kernels.diagonal_all import best_gains, best_ratios, common_cells
from fairprog.kernels.diagonal_common import featurewise_map
from fairprog.labels import Array, refuse_large
from fairprog.populations import DiagonalNormal
from fairprog.programs.answer import Answer
from fairprog.programs.base_rates import EQUAL
from fairprog.programs.diagonal_answer import DiagonalAnswer, assemble_diagonal
from fairprog.programs.diagonal_maps import DiagonalMaps
from fairprog.programs.group_maps import GroupMaps
from fairprog.programs.nearest_ideal import NearestIdeal
from fairprog.programs.nearest_normal import NearestNormal
from fairprog.programs.options import CONIC, Conic, no_common_map
from fairprog.programs.piecewise_maps import check_piecewise
from fairprog.programs.solvers import DIAGONAL_DIMENSION, NOTHING, compare
from fairprog.solution import Solution
from fairprog.transports import Diagonal, DiagonalMap, Kind, Transport

__all__ = ["NearestDiagonal"]

FEATUREWISE = ("fixed", "scalar", "diagonal")


class NearestDiagonal(NearestNormal):
    """The nearest ideal normal population with independent features; made by `NearestIdeal`.

    Maps that keep features independent are diagonal, so `Diagonal` is the transport if none is
    given; `Translation`, `Scaling` and `Diagonal` are solved for all features in one pass. Maps
    that mix features (a class mean of one feature helps to fit another), custom conditions and a
    `map_bound` are taken to the program with covariance matrices, where those are small enough.
    """

    families = (DiagonalNormal,)
    population: DiagonalNormal
    diagonal_staying_maps: dict[int, DiagonalMap]

    def default_transport(self) -> Transport:
        """Return Diagonal(): the largest class of maps that keeps features independent."""
        return Diagonal()

    @property
    def kind(self) -> Kind:
        """What the maps of the class are here; of one feature every class but `fixed` scales."""
        kind = self.transport.kind
        univariate = self.population.n_features == 1 and kind not in ("fixed", "piecewise")
        return "scalar" if univariate else kind

    @property
    def _one_pass(self) -> bool:
        """Whether the program falls apart into features, or into one number and features."""
        return self.kind in FEATUREWISE and not (self.constraints or self.map_bound > 0)

    def full(self) -> NearestNormal:
        """Return the same program on covariance matrices."""
        settings = self.settings()
        with warnings.catch_warnings():  # this program has said it already
            warnings.simplefilter("ignore", FairprogWarning)
            program = NearestIdeal(self.population.full(), **settings)
        assert isinstance(program, NearestNormal)
        program.prior = self.prior
        return program

    def _refuse_matrices(self, what: str, argument: str) -> None:
        """Raise a ModelError where covariance matrices would take more than a gibibyte."""
        D = self.population
        try:
            refuse_large((*D.variances.shape, D.n_features), "They", "")
        except ModelError:
            raise ModelError(
                f"{what} needs covariance matrices, too large for {D.n_features} features; "
                "Diagonal(), Scaling() and Translation() without conditions need none.",
                argument=argument,
            ) from None

    def advice(self) -> str:
        """Return what all programs say: there are no combinations of features here."""
        return NearestIdeal.advice(self)

    def check_transport(self) -> None:
        """Check the fields of a transport against the population's features and classes."""
        if self.transport.kind not in FEATUREWISE:
            self._refuse_matrices(f"{self.transport!r} mixes features, which", "transport")
            super().check_transport()

    def check_conditions(self) -> None:
        """Refuse custom constraints and bounds where there is no convex program to hold them."""
        super().check_conditions()
        if self.constraints or self.map_bound > 0:
            argument = "constraints" if self.constraints else "map_bound"
            self._refuse_matrices(f"A program with `{argument}`", argument)

    def check_family(self) -> None:
        """Check that groups that stay are ideal among themselves; say what is set aside."""
        self.diagonal_staying_maps = self._staying()
        if self.transport.kind == "piecewise":
            check_piecewise(self)
        if self.population.null_dimension:
            warnings.warn(
                f"{self.population.null_dimension} feature(s) are constant in every cell; they "
                "are set aside and the maps are the identity there.",
                FairprogWarning,
                stacklevel=3,
            )

    def _staying(self) -> dict[int, DiagonalMap]:
        """Return the maps from the reference to the groups that stay, which must exist."""
        D, r = self.population, self.reference
        if r is None:
            return {}
        out = {r: DiagonalMap.identity(D.n_features)}
        m, v = D.support_mean, D.support_variances
        for a in self.staying:
            if a == r:
                continue
            gain, shift, residual = featurewise_map(m[:, r], v[:, r], m[:, a], v[:, a])
            if residual > EQUAL:
                names = [D.groups[r], D.groups[a]]
                apart = f"whitened residual {residual:.3g}"
                raise no_common_map(names, "map of each feature", apart)
            out[a] = self._maps(a, (m[:, r], v[:, r]), gain, shift).user_map()
        return out

    def formulate(self) -> Any:
        """Return the consensus form, with matrices."""
        return self.full().formulate()

    def rate_starts(self) -> list[Array]:
        """Return the base rates to begin a joint search from."""
        return NearestIdeal.rate_starts(self)

    # -- solving --

    def find(self, solver: str, conic: Conic, started: float) -> Solution:
        """Solve every feature at once and prove the answer; else by the program with matrices."""
        if not self._one_pass or (solver in CONIC and self.staying):
            return self.full().find(solver, conic, started)
        exact = solver in ("closed-form", "newton") or not self.staying
        if conic.options and exact:
            raise ModelError(
                f"The options {sorted(conic.options)} are for the conic solvers, which are not "
                "used here.",
                argument="solver_options",
            )
        if solver in CONIC:
            raise ModelError(
                f"solver={solver!r} does not apply to steer='all': it is not one convex problem; "
                "use 'auto'.",
                argument="solver",
            )
        answer = self._one_group() if self.staying else self._all_groups(solver)
        if solver == "auto" and self.staying and self.population.n_features <= DIAGONAL_DIMENSION:
            self._compare(answer, conic)
        return assemble_diagonal(self, answer, time.perf_counter() - started)

    def _maps(self, a: int, cells: tuple[Array, Array], gain: Array, shift: Array) -> DiagonalMaps:
        D = self.population
        return DiagonalMaps(
            group=D.groups[a],
            kind=self.kind,
            w=self.prior[:, a],
            mean=cells[0],
            var=cells[1],
            own_mean=D.support_mean[:, a],
            own_var=D.support_variances[:, a],
            pooled=D.pooled_variances,
            gain=gain,
            shift=shift,
            varies=D.varies,
        )

    def _one_group(self) -> DiagonalAnswer:
        """Return the closed form of every group; with orientation "any" the better sign."""
        D, r = self.population, self.reference
        cells = D.support_mean[:, r], D.support_variances[:, r]
        groups = []
        for a in self.steered:
            own = D.support_mean[:, a], D.support_variances[:, a]
            signs = (1.0, -1.0) if self.orientation == "any" else (1.0,)
            found = [
                self._maps(
                    a, cells, *best_diagonal(self.kind, self.prior[:, a], *cells, *own, sign)
                )
                for sign in signs
            ]
            groups.append(min(found, key=lambda maps: maps.cost()))
        return DiagonalAnswer(groups, cells, "closed-form", globally_optimal=True)

    def _all_groups(self, solver: str) -> DiagonalAnswer:
        """Return the answer with every group free, its common coordinates normalised.

        Translations have one optimum, a linear system per feature; two groups of two classes are
        settled by the polynomial; anything else is the best descent.
        """
        D, kind, w = self.population, self.kind, self.prior
        mean, var = D.support_mean, D.support_variances
        mirror = self.orientation == "any"
        name = "descent"
        gain: Array = np.ones(mean.shape[1:])
        if kind == "fixed":
            name = "closed-form"
        elif w.shape == (2, 2) and solver != "newton" and (kind == "diagonal" or len(var.T) == 1):
            name = "polynomial"
        elif solver == "closed-form":
            raise ModelError(
                "solver='closed-form' does not apply to steer='all' here: closed form stationary "
                "points exist for two classes, two groups and Diagonal(); use 'auto'.",
                argument="solver",
            )
        is_global = name != "descent"
        if name == "polynomial":
            ratio, excess = best_ratios(w, mean, var, mirror)
            gain = np.stack([ratio, np.ones_like(ratio)])
            is_global = bool((excess <= 1e-9).all())
        elif name == "descent":
            signs = [np.ones(D.n_groups)]
            if mirror:  # one overall mirror image changes nothing
                rest = itertools.product((1.0, -1.0), repeat=D.n_groups - 1)
                signs = [np.array([1.0, *s]) for s in rest]
            ends = [best_gains(w, mean, var, s, shared=kind == "scalar") for s in signs]
            gain, _ = min(ends, key=lambda end: float(end[1].sum()))
        m, M, shift, _ = common_cells(gain, w, mean, var)
        gain, shift, cells = self._normalised(gain, shift, (m, M))
        groups = [self._maps(a, cells, gain[a], shift[a]) for a in range(D.n_groups)]
        is_global = is_global or sum(g.cost() for g in groups) <= NOTHING
        return DiagonalAnswer(groups, cells, name, is_global, free=True)

    def _normalised(
        self, gain: Array, shift: Array, cells: tuple[Array, Array]
    ) -> tuple[Array, Array, tuple[Array, Array]]:
        """Choose common coordinates with sum_a p_a b_a = 0 and sum_a p_a log|g_a| = 0."""
        p, (m, M) = self.population.group_mass, cells
        factor = np.exp(-p @ np.log(np.abs(gain)))
        average = p @ gain
        # mirror images may average to nothing: there no shift of the origin helps
        small = np.abs(average) <= 1e-8 * (p @ np.abs(gain))
        move = np.where(small, 0.0, -(p @ shift) / np.where(small, 1.0, average))
        return gain * factor, gain * move + shift, ((m - move) / factor, M / factor**2)

    def _compare(self, answer: DiagonalAnswer, conic: Conic) -> None:
        """Record how far a conic solver of the program with matrices ends from the answer."""
        program = self.full()
        groups = [
            GroupMaps.from_user(frame, g.user_map())
            for frame, g in zip(program.frames(), answer.groups, strict=True)
        ]
        exact = Answer(groups, answer.solver, answer.globally_optimal)
        compare(program, exact, conic)
        answer.conic_gap, answer.parameter_gap = exact.conic_gap, exact.parameter_gap
