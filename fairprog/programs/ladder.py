"""Which solver answers a program, and which one checks it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fairprog.errors import InfeasibleError, ModelError, SolverError
from fairprog.programs.affine_maps import nearest_all_affine, nearest_one_affine
from fairprog.programs.all_groups import nearest_all, nearest_two_groups, normalised
from fairprog.programs.answer import Answer
from fairprog.programs.frames import make_frame, solve_frame
from fairprog.programs.group_maps import GroupMaps, closed_form_maps, read_maps
from fairprog.programs.options import CONIC, Conic, sign_choices
from fairprog.transports import Translation

if TYPE_CHECKING:
    from fairprog.programs.nearest_normal import NearestNormal

__all__ = ["find_answer", "second_opinion"]

CLARABEL_DIMENSION = 12  # beyond, a full covariance takes the interior point method seconds
DIAGONAL_DIMENSION = 64  # the same for maps with at most one number per feature
CONIC_CONDITION = 1e6  # of R~: beyond, interior points end in rounding and tell nothing
NOTHING = 1e-13  # nats, what rounding leaves of a divergence of zero
COLLAPSED = 1e-6  # of the unconstrained map: narrower is a singular map met to tolerance


def find_answer(program: NearestNormal, solver: str, conic: Conic) -> Answer:
    """Return the answer of the named solver; "auto" prefers exact ones and compares."""
    if not program.staying:
        return all_groups_answer(program, solver)
    relaxed = bool(program.constraints or program.map_bound > 0)
    if solver in ("closed-form", "newton") and relaxed:
        raise ModelError(
            f"solver={solver!r} knows neither custom constraints nor a `map_bound`; use 'auto', "
            "'CLARABEL' or 'SCS'.",
            argument="solver",
        )
    if program.frames()[0].kind == "full" and solver in CONIC:
        raise ModelError(
            f"solver={solver!r} does not apply to Affine() in several dimensions: it is not a "
            "convex problem; use 'auto'.",
            argument="solver",
        )
    if solver in CONIC or relaxed:
        answer = conic_answer(program, solver, conic)
        refuse_collapse(program, answer)
        return answer
    answer = exact_answer(program, solver)
    within = all(g.frame.root_condition <= CONIC_CONDITION for g in answer.groups)
    if solver == "auto" and conic_pays(program) and within:
        compare(program, answer, conic)
    return answer


def conic_pays(program: NearestNormal) -> bool:
    """Return whether an interior point solve is cheap enough to check every answer by."""
    kind = program.frames()[0].kind
    if kind == "full":  # not convex
        return False
    limit = CLARABEL_DIMENSION if kind == "symmetric" else DIAGONAL_DIMENSION
    return program.population.n_features <= limit


def exact_answer(program: NearestNormal, solver: str) -> Answer:
    """Solve every steered group in numpy; with orientation "any" keep the better sign."""
    one_dimensional = program.population.n_features == 1
    if solver == "closed-form" and not one_dimensional:
        raise ModelError(
            f"solver='closed-form' exists for one feature; the population has "
            f"{program.population.n_features}. Use 'newton' or 'auto'.",
            argument="solver",
        )
    closed = one_dimensional and solver != "newton"
    chosen: list[GroupMaps] = []
    if program.frames()[0].kind == "full":
        mirror = program.orientation == "any"
        chosen = [nearest_one_affine(program.population, f, mirror) for f in program.frames()]
        # nothing is nearer than no divergence at all
        return Answer(chosen, "descent", all(g.cost() <= NOTHING for g in chosen))
    for frame in program.frames():
        signs = [frame, frame.mirrored()] if program.orientation == "any" else [frame]
        find = closed_form_maps if closed else solve_frame
        candidates = [GroupMaps(f, *find(f)) for f in signs]
        chosen.append(
            candidates[0] if len(signs) == 1 else min(candidates, key=lambda c: c.cost())
        )
    return Answer(chosen, "closed-form" if closed else "newton", globally_optimal=True)


def compare(program: NearestNormal, answer: Answer, conic: Conic) -> None:
    """Solve the conic form on the same frames and record how far it is from the exact one."""
    from fairprog.programs.compile import solve

    compiled = program.compile([g.frame for g in answer.groups])
    try:
        solve(compiled, CONIC, conic.time_limit, conic.verbose, conic.options)
    except SolverError:
        return  # the exact answer is proven by its own residuals; there is nothing to compare
    # an inaccurate answer of Clarabel has met looser tolerances; one of SCS may be unfinished
    if compiled.problem.status == "optimal" or compiled.solver == "CLARABEL":
        answer.compare(read_maps(compiled))
        answer.keep_exact(compiled.solver)


def refuse_collapse(program: NearestNormal, answer: Answer) -> None:
    """Raise where conditions leave only singular maps: solvers stop short of infinite KL."""
    if not program.constraints or program.transport.kind == "fixed":
        return
    for g in answer.groups:
        free, _ = solve_frame(g.frame)
        ratio = np.linalg.eigvals(np.linalg.solve(free, g.S)).real.min()
        if ratio < COLLAPSED:
            names = [c.name for c in program.constraints]
            raise InfeasibleError(
                f"The conditions {names} leave group {g.frame.group!r} only maps that squeeze "
                "some direction to nothing (an infinite divergence). Relax one of them.",
                argument="constraints",
                cell=(None, g.frame.group),
                details={"conditions": names, "groups": [g.frame.group]},
            )


def second_opinion(program: NearestNormal, answer: Answer, conic: Conic) -> None:
    """Solve once more by the other conic solver and record the difference."""
    from fairprog.programs.compile import solve

    other = "SCS" if answer.solver == "CLARABEL" else "CLARABEL"
    compiled = program.compile([g.frame for g in answer.groups])
    try:
        solve(compiled, [other], conic.time_limit, conic.verbose, {})
    except SolverError:
        return  # the certificate stands as it is
    answer.compare(read_maps(compiled))
    answer.kinked = True


def conic_answer(program: NearestNormal, solver: str, conic: Conic) -> Answer:
    """Solve the CVXPY program down the ladder; orientation "any" tries every choice of signs."""
    from fairprog.programs.compile import solve

    ladder: tuple[str, ...] = (solver,) if solver in CONIC else CONIC
    if solver == "auto" and not conic_pays(program):
        ladder = ("SCS", "CLARABEL")
    best: Answer | None = None
    failure: InfeasibleError | None = None
    for combination in sign_choices(program.frames(), program.orientation):
        compiled = program.compile(combination)
        try:
            solve(compiled, ladder, conic.time_limit, conic.verbose, conic.options)
        except InfeasibleError as error:
            failure = error
            continue
        answer = Answer(read_maps(compiled), compiled.solver, globally_optimal=True)
        answer.compiled = compiled
        if best is None or answer.cost() < best.cost():
            best = answer
    if best is None:
        assert failure is not None
        raise failure
    if not (program.constraints or program.map_bound > 0):
        exact = exact_answer(program, "auto")
        best.compare(exact.groups)
    return best


def all_groups_answer(program: NearestNormal, solver: str) -> Answer:
    """Steer every group: the polynomial where it applies, else descent; normalised."""
    D = program.population
    polynomial = (
        D.n_features == 1 and D.n_classes == D.n_groups == 2 and program.transport.kind != "fixed"
    )
    if solver in CONIC or (solver == "closed-form" and not polynomial):
        raise ModelError(
            f"solver={solver!r} does not apply to steer='all': "
            + (
                "it is not one convex problem; use 'auto'."
                if solver in CONIC
                else "closed form stationary points exist for one feature, two classes, two "
                "groups and maps that scale; use 'auto'."
            ),
            argument="solver",
        )
    mirror = program.orientation == "any"
    anchor: int | None = None
    name = "polynomial" if polynomial and solver != "newton" else "descent"
    if name == "polynomial":
        maps, cells = nearest_two_groups(D, program.prior, mirror)
    elif program.transport.kind == "full" and D.n_features > 1:
        maps, cells = nearest_all_affine(D, program.prior, mirror)
    else:
        maps, cells, anchor = nearest_all(D, program.prior, program.transport, mirror)
    maps, cells = normalised(D, maps, cells, program.transport)
    groups = []
    for a, T in enumerate(maps):
        # the anchor's matrix is a choice of coordinates, not a decision
        transport = Translation() if a == anchor else program.transport
        frame = make_frame(D, transport, a, program.prior[:, a], cells)
        groups.append(GroupMaps.from_user(frame, T))
    is_global = name == "polynomial" or sum(g.cost() for g in groups) <= NOTHING
    return Answer(groups, name, globally_optimal=is_global, reference=cells)
