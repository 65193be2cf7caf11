"""All groups of a univariate family at once: shifts of laws that all groups share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fairprog.errors import ModelError, SolverError
from fairprog.kernels.line.scaling import linear_shifts, minimise_shifts, sinkhorn
from fairprog.kernels.multivariate.lower_bounds import tangent_gap
from fairprog.labels import Array
from fairprog.populations import Gamma, LocationScale, Weibull
from fairprog.populations.law import Law
from fairprog.populations.location_scale import LineLaws
from fairprog.programs.answer import Answer, Conic
from fairprog.programs.geometries.base import CONIC, Geometry
from fairprog.programs.geometries.group_map import GroupMaps
from fairprog.programs.geometries.line_bounded import line_frame
from fairprog.transports import Transport

SAME = 1e-9


def shared_laws(D: LocationScale, transport: Transport) -> tuple[Sequence[Law], Array]:
    """Return the law and scale every group has in a class.

    Raises
    ------
    ModelError
        If the transport is not `Translation`, or shapes or scales differ between groups: the
        program is then not convex.
    """
    name = type(D).__name__
    if transport.kind != "fixed":
        raise ModelError(
            f"steer='all' on the family {name} takes transport=Translation() (convex), not "
            f"{transport!r}; or steer all groups but one.",
            argument="transport",
        )
    scale = np.exp(np.log(D.base_scale).mean(axis=1))
    laws = [D.law(i, 0) for i in range(D.n_classes)]
    for i, c in enumerate(D.classes):
        off = np.abs(D.base_scale[i] / scale[i] - 1.0)
        a = int(np.argmax(off))
        different = [b for b in range(D.n_groups) if not laws[i].is_same(D.law(i, b))]
        if off[a] > SAME or different:
            what = "shapes" if isinstance(D, (Gamma, Weibull)) else "scales"
            raise ModelError(
                f"steer='all' needs the {what} of each class to be the same in all groups of a "
                f"{name} population; those of class {c!r} differ. Steer all groups but one.",
                argument="steer",
                cell=(c, D.groups[different[0] if different else a]),
            )
    return laws, scale


def nearest_shifts(
    geometry: Geometry, laws: Sequence[Law], scale: Array, solver: str, conic: Conic
) -> Answer:
    """Return the global optimum over common laws and one shift per group.

    Solved at unit scale about the cells' mean location, so that units do not matter. Of densities
    that are exponential from the end of their support on, it is a linear program.
    """
    D, q = geometry.D, geometry.question.prior
    unit, center = float(np.exp(np.log(scale).mean())), float((q * D.base_loc).sum())
    shifts = _Shifts(type(D), q, laws, (D.base_loc - center) / unit, scale / unit, D.group_mass)

    def answer(alpha: Array, beta: Array, name: str, gap: float | None = None) -> Answer:
        proven = shifts.optimality_gap(alpha, beta) if gap is None else None
        found = _answer(D, q, laws, scale, center + unit * alpha, unit * beta, name)
        return replace(found, duality_gap=gap, optimality_gap=proven)

    exact = answer(*shifts.exact(D, solver))
    if solver not in CONIC and not conic.second_opinion:
        return exact
    second = shifts.conic(solver, conic)
    if second is None:
        return exact
    other = answer(*second)
    return other.compared(exact) if solver in CONIC else exact.compared(other)


@dataclass(frozen=True, eq=False)
class _Shifts:
    """The program in shifts alpha_i of the classes and beta_a of the groups, at unit scale."""

    family: type[LocationScale]
    q: Array
    laws: Sequence[Law]
    loc: Array
    scale: Array
    mass: Array

    def exact(self, D: LocationScale, solver: str) -> tuple[Any, ...]:
        """Return (alpha, beta, name, duality gap or None) of the method that suits the laws."""
        q, laws, loc = self.q, self.laws, self.loc
        if all(law.name == "ShiftedExponential" for law in laws):
            alpha, beta, gap = linear_shifts(q / self.scale[:, None], loc)
            return alpha, beta, "linear-program", gap
        if isinstance(D, Gamma) and solver != "newton":
            weight = q * D.shape
            log_matrix = np.log(weight) - loc
            alpha, beta, residual = sinkhorn(log_matrix, weight.sum(axis=1), weight.sum(axis=0))
            if residual < 1e-10:  # else the matrix is too far from its marginals: Newton
                return alpha, beta, "sinkhorn", None

        row = (q * loc).sum(axis=1) / q.sum(axis=1)
        column = (q * (loc - row[:, None])).sum(axis=0) / q.sum(axis=0)
        alpha, beta, _ = minimise_shifts(self.slopes, (row, column))
        return alpha, beta, "newton", None

    def slopes(self, y: Array) -> Array:
        """Return the derivative of every cell's cost at the locations y, shape (K, G)."""
        scale = self.scale[:, None]
        pairs = zip(self.laws, (y - self.loc) / scale, strict=True)
        d = np.array([[law.gradient(law, 1.0, x)[1] for x in row] for law, row in pairs])
        return np.asarray(self.q * d / scale)

    def optimality_gap(self, alpha: Array, beta: Array) -> float | None:
        """Return the bound of tangents in (alpha, beta[1:]); None where supports end."""
        if any(np.isfinite(law.support[0]) for law in self.laws):
            return None

        def locations(x: Array) -> Array:
            return x[: alpha.size, None] + np.append(0.0, x[alpha.size :])

        def cost(x: Array) -> float:
            pairs = zip(self.laws, (locations(x) - self.loc) / self.scale[:, None], strict=True)
            V = [[law.divergence(law, 1.0, u) for u in row] for law, row in pairs]
            return float((self.q * np.array(V)).sum())

        def slope(x: Array) -> Array:
            d = self.slopes(locations(x))
            return np.append(d.sum(axis=1), d.sum(axis=0)[1:])

        x = np.append(alpha + beta[0], beta[1:] - beta[0])
        return tangent_gap(cost, slope, x, np.full(x.size, float(self.scale.min())))

    def conic(self, solver: str, conic: Conic) -> tuple[Array, Array, str] | None:
        """Return (alpha, beta, name) of a conic solver; None where "auto" finds none."""
        from fairprog.programs.compile.shifts import compile_shifts
        from fairprog.programs.compile.solve import solve

        compiled = compile_shifts(
            self.family, self.q, self.laws, self.loc, self.scale, self.mass, 0.0
        )
        ladder = (solver,) if solver in CONIC else CONIC
        try:
            name = solve(compiled, ladder, conic.time_limit, conic.verbose, conic.options)
        except SolverError:
            if solver in CONIC:
                raise
            return None  # the exact answer is proven by its own residuals
        return (*compiled.value(), name)


def _answer(
    D: LocationScale,
    q: Array,
    laws: Sequence[Law],
    scale: Array,
    alpha: Array,
    beta: Array,
    name: str,
) -> Answer:
    """Return the answer in common coordinates with sum_a p_a b_a = 0."""
    center = float(D.group_mass @ beta)
    alpha, beta = alpha + center, beta - center
    reference = laws, alpha, scale
    groups = []
    for a in range(D.n_groups):
        f = line_frame(D, False, a, q[:, a], reference)
        theta = 1.0, float((beta[a] + f.center - f.target_center) / f.C)
        groups.append(GroupMaps(f, theta))
    return Answer(groups, name, free_laws=reference)


def average_laws(D: LocationScale, q: Array) -> LineLaws:
    """Return one law per class: the average of natural parameters (theory.md section 5).

    Weights q~_ia / q~_i. ; gamma laws average shape and rate, Weibull laws of one shape k
    average scale^-k.

    Raises
    ------
    ModelError
        If the family is not exponential.
    """
    v = q / q.sum(axis=1, keepdims=True)
    if isinstance(D, Gamma):
        shape, rate = (v * D.shape).sum(axis=1), (v * np.exp(-D.base_loc)).sum(axis=1)
        loc = np.broadcast_to(-np.log(rate)[:, None], v.shape)
        same = np.broadcast_to(shape[:, None], v.shape)
        return D.with_cells(D.prior, loc, np.ones(v.shape), same).laws_of(0)
    if not isinstance(D, Weibull):
        raise ModelError(
            f"Identity() with steer='all' is for exponential families (exponential, gamma, "
            f"Weibull of known shapes); {type(D).__name__} is none.",
            argument="transport",
        )
    scale = 1.0 / D.shape[:, 0]
    if np.abs(D.base_scale / scale[:, None] - 1.0).max() > SAME:
        raise ModelError(
            "Identity() with steer='all' needs the shapes of a Weibull population to be the same "
            "in all groups: only then it is an exponential family.",
            argument="transport",
        )
    rate = (v * np.exp(-D.base_loc / scale[:, None])).sum(axis=1)
    return D.laws_of(0)[0], -scale * np.log(rate), scale
