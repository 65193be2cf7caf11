"""Which solver answers a program, and which one checks it: the same ladder for every family.

Exact answers come first. They are proven in numpy, and compared with a conic solver's where that
is cheap or asked for; conditions and bounds are for the conic solvers, which are compared with
the exact answer where there is one.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from fairprog.errors import InfeasibleError, ModelError, SolverError
from fairprog.programs.answer import Answer, Conic
from fairprog.programs.geometries.base import CONIC, Geometry

SOLVERS = ("auto", "closed-form", "newton", *CONIC)
CHEAP = 0.05  # seconds: up to which an exact answer is compared with a conic one unasked


def find_answer(
    geometry: Geometry, solver: str, conic: Conic, compiled: Sequence[Any] = ()
) -> Answer:
    """Return the answer of the named solver; "auto" prefers exact ones.

    Parameters
    ----------
    geometry : Geometry
    solver : str
        One of SOLVERS.
    conic : Conic
    compiled : sequence, optional
        What :func:`compile_choices` returned, at the question's bound.

    Raises
    ------
    ModelError
        If the solver does not apply, with the reason.
    InfeasibleError
        If the conditions clash.
    SolverError
        If nothing converged.
    """
    _refuse(geometry, solver, conic)
    if not geometry.is_convex:
        return geometry.all_groups(solver, conic)
    if solver in CONIC or (geometry.question.relaxed and not geometry.takes_balls):
        answer = _conic_answer(geometry, solver, conic, compiled)
        geometry.refuse_collapse(answer)
        return answer
    answer = geometry.exact(solver)
    cheap = solver == "auto" and geometry.conic_seconds(answer) <= CHEAP
    if not geometry.question.relaxed and (cheap or conic.second_opinion):
        answer = _compared(geometry, answer, conic)
    return answer


def _refuse(geometry: Geometry, solver: str, conic: Conic) -> None:
    """Refuse solvers that do not apply, and options for those that are not used."""
    if solver not in SOLVERS:
        raise ModelError(
            f"`solver` must be 'auto', 'closed-form', 'newton', 'CLARABEL' or 'SCS'; found "
            f"{solver!r}.",
            argument="solver",
        )
    reason = geometry.solvers().get(solver)
    exact = solver in ("closed-form", "newton")
    if reason is None and exact and geometry.question.relaxed:
        reason = "knows neither custom constraints nor a `map_bound`; use 'auto' or 'CLARABEL'"
    if reason is not None:
        raise ModelError(f"solver={solver!r} {reason}.", argument="solver")
    exact |= solver == "auto" and geometry.takes_balls
    if conic.second_opinion and "CLARABEL" in geometry.solvers():
        raise ModelError(
            f"second_opinion=True asks CLARABEL, which {geometry.solvers()['CLARABEL']}.",
            argument="second_opinion",
        )
    if conic.options and (exact or not geometry.uses_conic):
        raise ModelError(
            f"The options {sorted(conic.options)} are for the conic solvers, which are not used "
            "here.",
            argument="solver_options",
        )


def compile_choices(geometry: Geometry) -> list[Any]:
    """Return the compiled program; with orientation "any" one for every choice of signs."""
    problems = geometry.problems()
    if not geometry.question.mirrors:
        return [geometry.compile(problems)]
    signs = itertools.product(*([p, p.mirrored()] for p in problems))
    return [geometry.compile(list(chosen)) for chosen in signs]


def _run(
    geometry: Geometry,
    compiled: Any,
    ladder: Sequence[str],
    conic: Conic,
    options: Mapping[str, Any],
) -> Answer:
    from fairprog.programs.compile.solve import solve

    solver = solve(compiled, ladder, conic.time_limit, conic.verbose, options)
    return geometry.read(compiled, solver)


def _conic_answer(
    geometry: Geometry, solver: str, conic: Conic, compiled: Sequence[Any]
) -> Answer:
    """Go down the conic ladder; of several choices of signs keep the best."""
    ladder = (solver,) if solver in CONIC else geometry.conic_order
    best: Answer | None = None
    failure: InfeasibleError | None = None
    for program in compiled or compile_choices(geometry):
        try:
            answer = _run(geometry, program, ladder, conic, conic.options)
        except InfeasibleError as error:
            failure = error
            continue
        answer = _sharpened(geometry, answer, ladder, conic)
        if best is None or answer.cost() < best.cost():
            best = answer
    if best is None:
        assert failure is not None
        raise failure
    if not geometry.question.relaxed:
        best = best.compared(geometry.exact("auto"))
    return best


def _sharpened(geometry: Geometry, answer: Answer, ladder: Sequence[str], conic: Conic) -> Answer:
    """Solve again, nearer to the answer, for as long as the geometry asks for it."""
    for attempt in itertools.count():
        finer = geometry.sharper(answer, attempt)
        if finer is None:
            return answer
        compiled, options = finer
        own = {} if ladder[0] == "SCS" else options
        with suppress(SolverError, InfeasibleError):  # the best answer stands
            found = _run(geometry, compiled, ladder, conic, {**own, **conic.options})
            answer = geometry.better(found, answer)
    raise AssertionError


def _compared(geometry: Geometry, answer: Answer, conic: Conic) -> Answer:
    """Return an exact answer with its distance to the conic one, solved for the same signs."""
    from fairprog.programs.compile.solve import solve

    program, order = geometry.compile([g.problem for g in answer.groups]), geometry.conic_order
    try:
        solver = solve(program, order, conic.time_limit, conic.verbose, conic.options)
    except SolverError:
        return answer  # it is proven by its own residuals; there is nothing to compare
    # an inaccurate answer of Clarabel has met looser tolerances; one of SCS may be unfinished
    if program.problem.status != "optimal" and solver != "CLARABEL":
        return answer
    return geometry.compared(answer, program, solver)


def second_opinion(geometry: Geometry, answer: Answer, conic: Conic) -> Answer:
    """Return a conic answer with its distance to that of the other conic solver.

    Where a condition has a kink at the answer there is no gradient that could prove it.
    """
    other = "SCS" if answer.solver == "CLARABEL" else "CLARABEL"
    program = geometry.compile([g.problem for g in answer.groups])
    try:
        second = _run(geometry, program, [other], conic, {})
    except SolverError:
        return answer  # the certificate stands as it is
    return replace(answer.compared(second), kinked=True)
