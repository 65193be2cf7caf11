"""Programs on normal populations with independent features: every feature in one pass.

Maps that keep features independent are diagonal, so `Diagonal` is the transport if none is given.
Maps that mix features (a class mean of one feature helps to fit another) are those of the program
with covariance matrices, where these are small enough.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from fairprog.errors import ModelError
from fairprog.kernels.independent.diagonal_all import (
    best_gains,
    best_ratios,
    common_cells,
    pulled_back,
)
from fairprog.labels import Array, refuse_large
from fairprog.populations import DiagonalNormal
from fairprog.programs.answer import Answer, Conic
from fairprog.programs.geometries.base import CONIC, Geometry
from fairprog.programs.geometries.group_map import GroupMaps, GroupProblem
from fairprog.programs.geometries.independent_frame import (
    Cells,
    IndependentFrame,
    independent_frame,
)
from fairprog.programs.geometries.normal import (
    NOT_ONE,
    NOTHING,
    NormalGeometry,
)
from fairprog.programs.geometries.normalise import normalised_features
from fairprog.solution.certificate import IDEALITY_TOLERANCE
from fairprog.transports import Diagonal, Transport

FEATUREWISE = ("fixed", "scalar", "diagonal")


def keeps_independent(population: DiagonalNormal, transport: Transport) -> bool:
    """Return whether the maps keep features independent: of one feature all do."""
    return population.n_features == 1 or transport.kind in FEATUREWISE


class IndependentGeometry(NormalGeometry):
    """Normal laws with independent features; nothing of size d^2 is formed."""

    alike = "map of each feature"
    constant = "feature(s) are constant"

    # -- what it takes --

    @classmethod
    def default_transport(cls, population: Any) -> Transport:
        """Return Diagonal(): the largest class of maps that keeps features independent."""
        return Diagonal()

    @classmethod
    def check_transport(cls, population: Any, transport: Transport) -> None:
        """Refuse maps that mix features where matrices would take more than a gibibyte."""
        if transport.kind in FEATUREWISE:
            return
        d = population.n_features
        try:
            refuse_large((*population.variances.shape, d), "They", "")
        except ModelError:
            raise ModelError(
                f"{transport!r} mixes features, which needs covariance matrices, too large for "
                f"{d} features; Diagonal(), Scaling() and Translation() need none.",
                argument="transport",
            ) from None
        super().check_transport(population, transport)

    def refuse(self) -> None:
        """Check conditions and groups that stay; say what is set aside."""
        self.refuse_conditions_on_all()
        self.refuse_unlike()
        self.warn_constant()

    def solvers(self) -> dict[str, str]:
        """Return the solvers that do not apply, with the reason."""
        if self.question.staying:
            return {}
        out = dict.fromkeys(CONIC, NOT_ONE)
        if not (self.kind == "fixed" or self._has_polynomial):
            out["closed-form"] = (
                "does not apply to steer='all' here: closed form stationary points exist for two "
                "classes, two groups and Diagonal(); use 'auto'"
            )
        return out

    @property
    def _has_polynomial(self) -> bool:
        one = self.kind == "diagonal" or self.D.support_variances.shape[-1] == 1
        return one and self.D.prior.shape == (2, 2) and self.kind != "fixed"

    def advice(self) -> str:
        """Return what all programs say: there are no combinations of features here."""
        return Geometry.advice(self)

    def rate_starts(self) -> list[Array]:
        """Return the base rates to begin a joint search from."""
        return Geometry.rate_starts(self)

    # -- solving --

    @cached_property
    def _cells(self) -> Cells:
        return self.D.support_mean, self.D.support_variances

    def _frame(self, a: int, cells: Cells) -> IndependentFrame:
        mean, var = self._cells
        w, own = self.question.prior[:, a], (mean[:, a], var[:, a])
        return independent_frame(self.D, self.kind, a, w, cells, own)

    def problems(self) -> Sequence[GroupProblem]:
        """Return the problem of every steered group."""
        r, (mean, var) = self.question.reference, self._cells
        return [self._frame(a, (mean[:, r], var[:, r])) for a in self.question.steered]

    def conic_seconds(self, answer: Answer) -> float:
        """Return Clarabel's time: vectors as long as there are features."""
        return 0.008 + self._n_cells * (0.004 + 1e-4 * self.n_features)

    def exact(self, solver: str) -> Answer:
        """Return the closed form of every group; with orientation "any" the better sign."""
        return self._best(True, "closed-form")

    def all_groups(self, solver: str, conic: Conic) -> Answer:
        """Return the answer with every group free, its common coordinates normalised.

        Translations have one optimum, a linear system per feature; two groups of two classes are
        settled by the polynomial; anything else is the best descent.
        """
        w, (mean, var), mirror = self.question.prior, self._cells, self.question.mirrors
        gain: Array = np.ones(mean.shape[1:])
        name, is_global = "descent", True
        if self.kind == "fixed":
            name = "closed-form"
        elif self._has_polynomial and solver != "newton":
            name = "polynomial"
            ratio, excess = best_ratios(w, mean, var, mirror)
            gain = np.stack([ratio, np.ones_like(ratio)])
            is_global = bool((excess <= 1e-9).all())
        else:
            signs = [np.ones(len(gain))]
            if mirror:  # one overall mirror image changes nothing
                rest = itertools.product((1.0, -1.0), repeat=len(gain) - 1)
                signs = [np.array([1.0, *s]) for s in rest]
            shared = self.kind == "scalar"
            ends = [best_gains(w, mean, var, s, shared=shared) for s in signs]
            gain, _ = min(ends, key=lambda end: float(end[1].sum()))
        m, M, shift, _ = common_cells(gain, w, mean, var)
        gain, shift, cells = normalised_features(self.D.prior, mean, gain, shift, (m, M))
        frames = [self._frame(a, cells) for a in range(len(gain))]
        groups = [
            GroupMaps(f, f.from_user(*own))
            for f, own in zip(frames, zip(gain, shift, strict=True), strict=True)
        ]
        if name == "descent":
            is_global = sum(g.cost() for g in groups) <= NOTHING
        return Answer(groups, name, is_global, cells)

    def parameter(self, name: str, i: int, a: int) -> Any:
        """Return mean, std, cov or factor of a cell, or the map to a group that stays."""
        if name == "cov":
            return np.diag(self.D.variances[i, a])
        if name == "factor":
            return np.diag(np.sqrt(self.D.variances[i, a]))
        return super().parameter(name, i, a)

    # -- the answer --

    def ideality_tolerance(self, answer: Answer, population: Any, residual: float) -> float:
        """Return the tolerance: no combination of features is ill-conditioned."""
        return IDEALITY_TOLERANCE

    def laws_residual(self, answer: Answer) -> float:
        """Return how far free common laws are from the best ones, whitened, weighted."""
        if answer.free_laws is None:
            return 0.0
        m, M = answer.free_laws
        maps, prior = [g.user_map for g in answer.groups], self.question.prior
        gain = np.stack([self.D.varying(T.diagonal) for T in maps])
        shift = np.stack([self.D.varying(T.offset) for T in maps])
        best_m, best_M = pulled_back(gain, shift, prior, *self._cells)
        squares = ((best_M / M - 1.0) ** 2 + (best_m - m) ** 2 / M).sum(axis=1)
        return float(np.sqrt((prior.sum(axis=1) ** 2 * squares).sum()))

    def is_global(self, answer: Answer) -> bool:
        """Return whether the optimum is known to be global."""
        return answer.globally_optimal
