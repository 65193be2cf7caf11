"""All groups of a univariate family at once: shifts of laws that all groups share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fairprog.errors import ModelError, SolverError
from fairprog.kernels.scaling import minimise_shifts, sinkhorn
from fairprog.labels import Array
from fairprog.populations import Gamma, Weibull
from fairprog.populations.law import Law
from fairprog.programs.line_answer import LineAnswer, LineMaps
from fairprog.programs.line_frames import line_frame
from fairprog.programs.options import CONIC, Conic

if TYPE_CHECKING:
    from fairprog.programs.nearest_line import NearestLine

__all__ = ["nearest_shifts", "shared_laws"]

SAME = 1e-9


def shared_laws(program: NearestLine) -> tuple[list[Law], Array]:
    """Return the law and scale every group has in a class.

    Raises
    ------
    ModelError
        If the transport is not `Translation`, or shapes or scales differ between groups: the
        program is then not convex.
    """
    D = program.population
    name = type(D).__name__
    if program.transport.kind != "fixed":
        raise ModelError(
            f"steer='all' on the family {name} takes transport=Translation() (convex), not "
            f"{program.transport!r}; or steer all groups but one.",
            argument="transport",
        )
    scale = np.exp(np.log(D.base_scale).mean(axis=1))
    laws = [D.law(i, 0) for i in range(D.n_classes)]
    for i, c in enumerate(D.classes):
        off = np.abs(D.base_scale[i] / scale[i] - 1.0)
        a = int(np.argmax(off))
        different = [b for b in range(D.n_groups) if D.law(i, b) is not laws[i]]
        if off[a] > SAME or different:
            what = "shapes" if isinstance(D, (Gamma, Weibull)) else "scales"
            raise ModelError(
                f"steer='all' needs the {what} of each class to be the same in all groups of a "
                f"{name} population; those of class {c!r} differ. Steer all groups but one.",
                argument="steer",
                cell=(c, D.groups[different[0] if different else a]),
            )
    return laws, scale


def nearest_shifts(program: NearestLine, solver: str, conic: Conic) -> LineAnswer:
    """Return the global optimum over common laws and one shift per group."""
    if program.transport.kind == "identity":
        return _identity(program, solver)
    D, q = program.population, program.prior
    laws, scale = shared_laws(program)
    compare = None
    if solver in ("auto", *CONIC):
        compare = _conic(program, laws, scale, solver, conic)
    if solver in CONIC:
        assert compare is not None
        alpha, beta = compare
        name = solver
    else:
        alpha, beta, name = _exact(program, laws, scale, solver)
    answer = _answer(program, laws, scale, alpha, beta, name)
    if compare is not None and solver == "auto":
        answer.compare(_answer(program, laws, scale, *compare, "conic").groups)
    elif solver in CONIC:
        exact = _exact(program, laws, scale, "auto")
        answer.compare(_answer(program, laws, scale, *exact).groups)
    u = _shifts(alpha, beta, D.base_loc, scale)
    d = q * _slopes(laws, u) / scale[:, None]
    curvature = (
        q * (_slopes(laws, u + 1e-5) - _slopes(laws, u - 1e-5)) / 2e-5 / scale[:, None] ** 2
    )
    answer.residual = float(np.sqrt((d.sum(axis=1) ** 2 / curvature.sum(axis=1)).sum()))
    return answer


def _shifts(alpha: Array, beta: Array, loc: Array, scale: Array) -> Array:
    return np.asarray((alpha[:, None] + beta - loc) / scale[:, None])


def _slopes(laws: list[Law], u: Array) -> Array:
    """Return D_i'(u_ia), D_i(u) = KL of the law of Z + u from that of Z."""
    pairs = zip(laws, u, strict=True)
    return np.array([[law.gradient(law, 1.0, x)[1] for x in row] for law, row in pairs])


def _exact(
    program: NearestLine, laws: list[Law], scale: Array, solver: str
) -> tuple[Array, Array, str]:
    """Return (alpha, beta, name): Sinkhorn's iteration for gamma laws, else Newton's method."""
    D, q = program.population, program.prior
    if isinstance(D, Gamma) and solver != "newton":
        weight = q * D.shape
        log_matrix = np.log(weight) - D.base_loc
        alpha, beta, residual = sinkhorn(log_matrix, weight.sum(axis=1), weight.sum(axis=0))
        if residual < 1e-10:  # else the matrix is too far from its marginals: Newton
            return alpha, beta, "sinkhorn"

    def cost(y: Array) -> float:
        u = (y - D.base_loc) / scale[:, None]
        pairs = zip(laws, u, strict=True)
        values = [[law.divergence(law, 1.0, x) for x in row] for law, row in pairs]
        return float((q * np.array(values)).sum())

    def slopes(y: Array) -> Array:
        return q * _slopes(laws, (y - D.base_loc) / scale[:, None]) / scale[:, None]

    v = q / q.sum(axis=1, keepdims=True)
    row = (v * D.base_loc).sum(axis=1)
    column = (q * (D.base_loc - row[:, None])).sum(axis=0) / q.sum(axis=0)
    alpha, beta, _ = minimise_shifts(cost, slopes, (row, column))
    return alpha, beta, "newton"


def _conic(
    program: NearestLine, laws: list[Law], scale: Array, solver: str, conic: Conic
) -> tuple[Array, Array] | None:
    from fairprog.programs.compile import compile_shifts, solve

    compiled = compile_shifts(program.population, program.prior, (laws, scale))
    ladder = (solver,) if solver in CONIC else CONIC
    try:
        solve(compiled, ladder, conic.time_limit, conic.verbose, conic.options)
    except SolverError:
        if solver in CONIC:
            raise
        return None  # the exact answer is proven by its own residuals
    return compiled.value()


def _answer(
    program: NearestLine, laws: list[Law], scale: Array, alpha: Array, beta: Array, name: str
) -> LineAnswer:
    """Return the answer in common coordinates with sum_a p_a b_a = 0."""
    D = program.population
    center = float(D.group_mass @ beta)
    alpha, beta = alpha + center, beta - center
    reference = laws, alpha, scale
    groups = []
    for a in range(D.n_groups):
        f = line_frame(D, False, a, program.prior[:, a], reference)
        groups.append(LineMaps(f, 1.0, (beta[a] + f.center - f.target_center) / f.C))
    return LineAnswer(groups, name, reference=reference)


def _identity(program: NearestLine, solver: str) -> LineAnswer:
    """Give all groups one law per class: the average of natural parameters (theory.md section 5).

    Weights q~_ia / q~_i. ; gamma laws average shape and rate, Weibull laws of one shape k
    average scale^-k. Where groups stay the common laws are theirs.
    """
    if solver in CONIC:
        raise ModelError("Identity() has a closed form; use solver='auto'.", argument="solver")
    D = program.population
    if program.staying:
        laws, loc, scale = program.reference_cells()
    else:
        v = program.prior / program.prior.sum(axis=1, keepdims=True)
        if isinstance(D, Gamma):
            shape, rate = (v * D.shape).sum(axis=1), (v * np.exp(-D.base_loc)).sum(axis=1)
            average = D.with_cells(
                D.prior,
                np.broadcast_to(-np.log(rate)[:, None], v.shape),
                np.ones(v.shape),
                np.broadcast_to(shape[:, None], v.shape),
            )
            laws, loc, scale = (
                [average.law(i, 0) for i in range(len(v))],
                -np.log(rate),
                np.ones(len(v)),
            )
        elif isinstance(D, Weibull):
            scale = 1.0 / D.shape[:, 0]
            if np.abs(D.base_scale / scale[:, None] - 1.0).max() > SAME:
                raise ModelError(
                    "Identity() with steer='all' needs the shapes of a Weibull population to be "
                    "the same in all groups: only then it is an exponential family.",
                    argument="transport",
                )
            rate = (v * np.exp(-D.base_loc / scale[:, None])).sum(axis=1)
            laws, loc = [D.law(i, 0) for i in range(len(v))], -scale * np.log(rate)
        else:
            raise ModelError(
                f"Identity() with steer='all' is for exponential families (exponential, gamma, "
                f"Weibull of known shapes); {type(D).__name__} is none.",
                argument="transport",
            )
    reference = laws, loc, scale
    groups = []
    for a in program.steered:
        f = line_frame(D, False, a, program.prior[:, a], reference)
        groups.append(LineMaps(f, 1.0, (f.center - f.target_center) / f.C))
    return LineAnswer(groups, "closed-form", reference=reference, fixed=True)
