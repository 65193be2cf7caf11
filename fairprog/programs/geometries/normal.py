"""Programs on normal (and log-normal) populations, in any dimension (theory.md, 4 and 5)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from fairprog.errors import FairprogWarning, InfeasibleError, ModelError
from fairprog.kernels.algebra.threads import one_blas_pool
from fairprog.kernels.line.scale_ratio_polynomial import is_best_ratio
from fairprog.kernels.multivariate.all_groups import common_laws_residual, pull_back
from fairprog.kernels.multivariate.cells import LARGE
from fairprog.kernels.multivariate.common_rates import best_rates
from fairprog.kernels.multivariate.normal import kl, pooled_covariance, push, unit_condition
from fairprog.kernels.multivariate.one_group import linear_size
from fairprog.labels import Array
from fairprog.populations import Normal
from fairprog.programs.answer import Answer, Conic
from fairprog.programs.geometries.affine import (
    least_nearby_affine,
    nearest_all_affine,
    nearest_one_affine,
)
from fairprog.programs.geometries.base import CONIC, Geometry
from fairprog.programs.geometries.frame import Frame, make_frame
from fairprog.programs.geometries.group_map import GroupMaps, GroupProblem, best_signs
from fairprog.programs.geometries.independent_frame import (
    Cells,
    IndependentFrame,
    independent_frame,
)
from fairprog.programs.geometries.normal_all import (
    least_nearby,
    nearest_all,
    nearest_two_groups,
)
from fairprog.programs.geometries.normal_checks import check_diagonal, check_scales
from fairprog.programs.geometries.normalise import normalised
from fairprog.solution.certificate import IDEALITY_TOLERANCE
from fairprog.transports import AffineMap, Kind, Pattern, Translation, Transport, Whitened

CLARABEL_DIMENSION = 12  # beyond, a full covariance takes the interior point method seconds
DIAGONAL_DIMENSION = 64  # the same for maps with at most one number per feature
CONIC_CONDITION = 1e6  # of R~: beyond, interior points end in rounding and tell nothing
NOTHING = 1e-13  # nats, what rounding leaves of a divergence of zero
COLLAPSED = 1e-6  # of the unconstrained map: narrower is a singular map met to tolerance
ILL_CONDITIONED = 1e6  # at unit variances: beyond it rounding may be what fails a certificate
WORST = 0.1  # ideality residual that rounding may explain: beyond, matrices say nothing

NOT_ONE = "does not apply to steer='all': it is not one convex problem; use 'auto'"
_NOT_CONVEX = (
    "does not apply to Affine() in several dimensions: it is not a convex problem; use 'auto'"
)


class NormalGeometry(Geometry):
    """Normal laws: one convex program per group that moves, or a search over all groups."""

    alike: ClassVar[str] = "affine map"  # what carries a group that stays to another
    constant: ClassVar[str] = "direction(s) of the features are constant"
    view_names = ("mean", "factor", "std", "matrix", "offset")
    original_names = ("mean", "std", "cov", "factor")

    # -- what it takes --

    @classmethod
    def check_transport(cls, population: Normal, transport: Transport) -> None:
        """Check the fields of a transport against the population's features and classes."""
        if transport.kind == "identity":
            raise ModelError(
                "`transport` Identity() is for exponential families of one parameter and finite "
                "alphabets; normal populations take Translation() or a larger class of maps.",
                argument="transport",
            )
        transport.check_fields(population.n_features, population.classes)
        if transport.kind == "diagonal" or isinstance(transport.kind, Pattern):
            check_diagonal(population, transport)
        if isinstance(transport.kind, Pattern) and population.n_features > LARGE:
            raise ModelError(
                f"{transport!r} is for at most {LARGE} features; use Monotone() or Diagonal().",
                argument="transport",
            )

    def refuse(self) -> None:
        """Check conditions, scales and groups that stay; say what is set aside."""
        question = self.question
        self.refuse_conditions_on_all()
        if self.kind == "full" and question.relaxed:
            raise ModelError(
                "Affine() in several dimensions is not a convex program, so it takes no custom "
                "constraints and no `map_bound`; use Monotone() instead.",
                argument="constraints" if question.constraints else "map_bound",
            )
        if isinstance(self.kind, Pattern) and not question.staying:
            raise ModelError(
                f"{question.transport!r} does not take steer='all'; let one group stay, or use "
                "Monotone() or Diagonal().",
                argument="steer",
            )
        check_scales(self.D, question.transport, everyone=not question.staying)
        self.refuse_unlike()
        self.warn_constant()

    def refuse_unlike(self) -> None:
        """Check that groups that stay are images of the reference."""
        reference = self.question.reference
        for a, T in self.staying_maps.items():
            if reference is not None and a != reference:
                off = self.D.map_residual(T, self.D.laws_of(reference), a)
                self.refuse_apart(reference, a, self.alike, off)

    def warn_constant(self) -> None:
        """Say how many directions are set aside."""
        if self.D.null_dimension:
            warnings.warn(
                f"{self.D.null_dimension} {self.constant} in every cell; they "
                "are set aside and the maps are the identity there.",
                FairprogWarning,
                stacklevel=4,
            )

    @cached_property
    def staying_maps(self) -> dict[int, AffineMap]:
        """Maps from the reference to the groups that stay."""
        r = self.question.reference
        return {} if r is None else {a: self.D.common_map(r, a) for a in self.question.staying}

    @property
    def kind(self) -> Kind:
        """The kind of matrices of the maps; of one feature every class but `fixed` scales."""
        kind: Kind = self.question.transport.kind
        return "scalar" if self.n_features == 1 and kind != "fixed" else kind

    @property
    def _has_polynomial(self) -> bool:
        D = self.D
        return bool(
            self.n_features == 1 and D.n_classes == D.n_groups == 2 and self.kind != "fixed"
        )

    def formulate(self) -> Any:
        """Return the consensus form."""
        if self.kind == "full":
            raise ModelError(
                "Affine() in several dimensions is not a convex problem; use Monotone() to see "
                "one.",
                argument="transport",
            )
        return super().formulate()

    def solvers(self) -> dict[str, str]:
        """Return the solvers that do not apply, with the reason."""
        out: dict[str, str] = {}
        if self.kind == "full":
            out |= dict.fromkeys(CONIC, _NOT_CONVEX)
        if self.n_features > 1:
            out["closed-form"] = (
                f"exists for one feature; the population has {self.n_features}. Use 'newton' or "
                "'auto'"
            )
        if not self.question.staying:
            out |= dict.fromkeys(CONIC, NOT_ONE)
            if not self._has_polynomial:
                out["closed-form"] = (
                    "does not apply to steer='all': closed form stationary points exist for one "
                    "feature, two classes, two groups and maps that scale; use 'auto'"
                )
        return out

    def advice(self) -> str:
        """Return what to do, by how the cells are conditioned."""
        D = self.D
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
        everyone = not self.question.staying
        others = " Steering all groups but one is better conditioned too." * everyone
        return (
            "Some combinations of features hardly vary: the covariances have the condition number "
            f"{worst:.1g} at unit variances. To do: {remedies}.{others}"
        )

    def rate_starts(self) -> list[Array]:
        """Return the base rates of the best joint descent over maps and rates."""
        D, log_rates, question = self.D, np.log(self.D.base_rates), self.question
        if self.kind == "full":
            maps, cells = nearest_all_affine(D, question.prior, question.mirrors, log_rates)
        else:
            maps, cells, _ = nearest_all(
                D, question.prior, question.transport, question.mirrors, log_rates
            )
        U = D.support_basis
        moved = [push(U.T @ T.matrix @ U, T.offset @ U, *cells) for T in maps]
        mean, cov = (np.stack(parts, axis=1) for parts in zip(*moved, strict=True))
        V = kl(mean, cov, D.support_mean, D.support_cov)
        return [best_rates(V, D.group_mass, log_rates)[0]]

    # -- solving --

    def threads(self) -> AbstractContextManager[Any]:
        """Hold one of two BLAS pools to one thread in many dimensions: two are slower."""
        return one_blas_pool() if self.n_features > LARGE else nullcontext()

    def problems(self) -> Sequence[GroupProblem]:
        """Return the problem of every steered group."""
        return self._lines() if self.D.is_univariate else self.frames()

    def _lines(self) -> list[IndependentFrame]:
        """Return the problems of one feature."""
        D, r = self.D, self.question.reference
        common = D.support_mean[:, r], D.support_cov[:, r, :, 0]
        return [self._line(a, common) for a in self.question.steered]

    def _line(self, a: int, common: Cells) -> IndependentFrame:
        own = self.D.support_mean[:, a], self.D.support_cov[:, a, :, 0]
        return independent_frame(self.D, self.kind, a, self.question.prior[:, a], common, own)

    def frames(self) -> list[Frame]:
        """Return the whitened coordinates of every steered group."""
        D, question = self.D, self.question
        r = question.reference
        assert r is not None
        cells = D.support_mean[:, r], D.support_cov_of(r)
        return [
            make_frame(D, question.transport, a, question.prior[:, a], cells)
            for a in question.steered
        ]

    @property
    def conic_order(self) -> tuple[str, ...]:
        """The conic solvers: SCS first where interior points would take seconds."""
        return CONIC if self._conic_pays else CONIC[::-1]

    @property
    def _conic_pays(self) -> bool:
        if self.kind == "full":  # not convex
            return False
        few = self.kind in ("fixed", "scalar", "diagonal")
        limit = DIAGONAL_DIMENSION if few else CLARABEL_DIMENSION
        return bool(self.n_features <= limit)

    @property
    def takes_balls(self) -> bool:
        """Whether the question is a `map_bound` alone, in few dimensions."""
        question = self.question
        return question.map_bound > 0 and not question.constraints and self._conic_pays

    @property
    def _n_cells(self) -> int:
        return self.D.n_classes * len(self.question.steered)

    def conic_seconds(self, answer: Answer) -> float:
        """Return Clarabel's time, with CVXPY's, by cells, features and numbers in S."""
        if self.kind == "full":  # not convex
            return np.inf
        frames: list[Any] = [g.problem for g in answer.groups]
        few = self.kind in ("fixed", "scalar", "diagonal")
        if not few and any(f.root_condition > CONIC_CONDITION for f in frames):
            return np.inf
        d = self.n_features
        size = linear_size("symmetric" if isinstance(self.kind, Pattern) else self.kind, d)
        return 0.01 + self._n_cells * (0.004 + 1e-5 * d**2 * size)

    def exact(self, solver: str) -> Answer:
        """Solve every group in numpy; with orientation "any" keep the better sign."""
        closed = self.n_features == 1 and solver != "newton"
        if self.kind == "full":
            groups = [nearest_one_affine(self.D, f, self.question.mirrors) for f in self.frames()]
            # nothing is nearer than no divergence at all
            return Answer(groups, "descent", all(g.cost() <= NOTHING for g in groups))
        return self._best(closed, "closed-form" if closed else "newton")

    def _best(self, closed: bool, name: str) -> Answer:
        """Return the best maps of every group; under a `map_bound` by the barrier method."""
        mirrors, bound = self.question.orientation == "any", self.question.map_bound
        groups = best_signs(self.problems(), mirrors, closed, bound)
        if bound == 0:
            return Answer(groups, name)
        return Answer(groups, "barrier", duality_gap=sum(g.duality_gap(bound) for g in groups))

    def all_groups(self, solver: str, conic: Conic) -> Answer:
        """Steer every group: the polynomial where it applies, else descent; normalised."""
        D, question = self.D, self.question
        transport, prior, mirror = question.transport, question.prior, question.mirrors
        anchor: int | None = None
        name = "polynomial" if self._has_polynomial and solver != "newton" else "descent"
        if name == "polynomial":
            maps, cells = nearest_two_groups(D, prior, mirror)
        elif self.kind == "full":
            maps, cells = nearest_all_affine(D, prior, mirror)
        else:
            maps, cells, anchor = nearest_all(D, prior, transport, mirror)
        maps, cells = normalised(D, maps, cells, transport)
        groups = []
        for a, T in enumerate(maps):
            if D.is_univariate:
                line = self._line(a, (cells[0], cells[1][..., 0]))
                groups.append(GroupMaps(line, line.from_user(T.matrix[0], T.offset)))
                continue
            # the anchor's matrix is a choice of coordinates, not a decision
            own = Translation() if a == anchor else transport
            groups.append(GroupMaps(*make_frame(D, own, a, prior[:, a], cells).from_user(T)))
        is_global = name == "polynomial" or sum(g.cost() for g in groups) <= NOTHING
        return Answer(groups, name, is_global, cells)

    def least_nearby(self, maps: Sequence[AffineMap]) -> float:
        """Return the least KL of all groups near given maps: those of a population close by."""
        D, question = self.D, self.question
        if self.kind == "full":
            return question.prior_kl + least_nearby_affine(D, question.prior, maps)
        return question.prior_kl + least_nearby(D, question.prior, question.transport, maps)

    def refuse_collapse(self, answer: Answer) -> None:
        """Raise where conditions leave only singular maps: solvers stop short of infinite KL."""
        if not self.question.constraints or self.kind == "fixed":
            return
        from fairprog.programs.compile.solve import can_be_met

        for g in answer.groups:
            narrow = self._narrowest(g.problem.best(False)[0], g.theta[0]) < COLLAPSED
            if narrow and not can_be_met(answer.compiled.problem):
                names = [c.name for c in self.question.constraints]
                raise InfeasibleError(
                    f"The conditions {names} leave group {g.group!r} only maps that squeeze some "
                    "direction to nothing (an infinite divergence). Relax one of them.",
                    argument="constraints",
                    cell=(None, g.group),
                    details={"conditions": names, "groups": [g.group]},
                )

    @staticmethod
    def _narrowest(free: Array, found: Array) -> float:
        """Return the least factor by which a map squeezes some direction, against the free one."""
        if free.ndim == 1:
            return float((found / free).min())
        return float(np.linalg.eigvals(np.linalg.solve(free, found)).real.min())

    def parameter(self, name: str, i: int, a: int) -> Any:
        """Return mean, std, cov or factor of a cell, or the map to a group that stays."""
        D = self.D
        if name in ("matrix", "offset"):
            T = self.staying_maps[a]
            offset = T.offset[0] if D.is_univariate else T.offset
            return T.matrix if name == "matrix" else offset
        if name == "factor":  # also where the covariance is singular
            values, vectors = np.linalg.eigh(D.cov_of(a)[i])
            return vectors * np.sqrt(np.maximum(values, 0.0))
        return getattr(D, name)[i, a]

    # -- the answer --

    def common_laws(self, answer: Answer) -> Any:
        """Return means (K, d) and covariances (K, d, d) of the common laws."""
        if answer.free_laws is not None:
            return self.D.lifted_laws(*answer.free_laws)
        return self.D.laws_of(self.question.reference)

    def ideality_tolerance(self, answer: Answer, population: Any, residual: float) -> float:
        """Return eps times the condition, at most WORST; above 64 features only where needed."""
        if population.n_features > LARGE and residual <= IDEALITY_TOLERANCE:
            return IDEALITY_TOLERANCE
        cov = np.stack(
            [np.asarray(population.support_cov_of(a)) for a in self.question.steered], axis=1
        )
        rounding = 16.0 * float(np.finfo(float).eps) * unit_condition(cov)
        return max(IDEALITY_TOLERANCE, min(WORST, rounding))

    def laws_residual(self, answer: Answer) -> float:
        """Return how far free common laws are from the best ones, whitened, weighted.

        The covariance of the class that `Whitened` whitens is a choice of coordinates, not free.
        Pulling cells back through a map loses eps times its squared condition, as whitened.
        """
        if answer.free_laws is None:
            return 0.0
        D, transport, U = self.D, self.question.transport, self.D.support_basis
        maps, prior = [g.user_map for g in answer.groups], self.question.prior
        A, b = np.stack([U.T @ T.matrix @ U for T in maps]), np.stack([T.offset @ U for T in maps])
        # in units in which the pooled variances are one
        pooled = pooled_covariance(prior, D.support_cov)
        unit = np.sqrt(np.diagonal(pooled))
        scale, (m, M) = unit[:, None] * unit, answer.free_laws
        A, b = A * (unit / unit[:, None]), b / unit
        best = pull_back(prior, A, b, D.support_mean / unit, D.support_cov / scale)
        fixed = None
        if isinstance(transport, Whitened) and self.n_features > 1:
            fixed = transport.class_index(D.classes)
        L = np.linalg.cholesky(pooled / scale)
        lost = float(np.finfo(float).eps) * np.linalg.cond(np.linalg.solve(L, A @ L)).max() ** 2
        return common_laws_residual(prior, (m / unit, M / scale), best, fixed) + float(lost)

    def is_global(self, answer: Answer) -> bool:
        """Return whether, too, no scale ratio on a wide grid beats the polynomial's best root."""
        if answer.solver != "polynomial" or not answer.globally_optimal:
            return answer.globally_optimal
        D, (first, second) = self.D, (float(g.user_map.matrix[0, 0]) for g in answer.groups)
        cells = D.support_mean[..., 0], np.sqrt(D.support_cov[..., 0, 0])
        return is_best_ratio(first / second, self.question.prior, *cells, self.question.mirrors)
