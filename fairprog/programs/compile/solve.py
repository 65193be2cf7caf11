"""The solver ladder."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import cvxpy as cp
import numpy as np

from fairprog.errors import ModelError, SolverError
from fairprog.programs.compile.interruptible import interruptible
from fairprog.programs.compile.linear import HIGHS
from fairprog.programs.infeasible import infeasible

SOLVER_OPTIONS: dict[str, dict[str, Any]] = {
    "HIGHS": HIGHS,
    "CLARABEL": {"tol_gap_abs": 1e-12, "tol_gap_rel": 1e-12, "tol_feas": 1e-12, "max_iter": 200},
    "SCS": {"eps_abs": 1e-9, "eps_rel": 1e-9, "max_iters": 200_000},
}
SOLVED = (cp.OPTIMAL, cp.OPTIMAL_INACCURATE)
INSIDE = 1e-3  # of a unit of whitened coordinates
INTERRUPTED = "interrupted"  # what SCS says
LAST_RESORT = 20_000  # iterations; what they reach is judged by our own residuals
TIME_LIMIT = {"HIGHS": "time_limit", "CLARABEL": "time_limit", "SCS": "time_limit_secs"}


def attempts(
    ladder: Sequence[str],
    run: Callable[[str, dict[str, Any]], str],
    time_limit: float | None,
    options: Mapping[str, Any],
) -> Iterator[tuple[str, str]]:
    """Go down the ladder: yield each solver and the status that `run` of it and settings returns.

    Where it raises, the error's text is the status. `options` are those of the first rung.

    Raises
    ------
    ModelError
        For options the solver does not know.
    """
    for name in ladder:
        settings = dict(SOLVER_OPTIONS[name])
        if name == "SCS" and len(ladder) > 1:  # the last resort may be slow, not endless
            settings["max_iters"] = LAST_RESORT
        if time_limit is not None:
            settings[TIME_LIMIT[name]] = float(time_limit)
        if name == ladder[0]:  # options are those of the solver that was meant
            settings.update(options)
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                # inaccurate answers are judged by our own residuals, unfinished ones refused
                warnings.filterwarnings("ignore", message="Solution may be inaccurate")
                status = run(name, settings)
        except cp.error.SolverError as error:
            status = f"error: {error}"
        except (TypeError, ValueError) as error:
            if options and name == ladder[0]:
                raise ModelError(
                    f"{name} does not accept the solver options {dict(options)}: {error}",
                    argument="solver_options",
                ) from error
            if isinstance(error, TypeError):
                raise
            status = f"error: {error}"  # such as data that overflow in the solver's form
        if status == INTERRUPTED:  # by Ctrl-C, which SCS takes for itself
            raise KeyboardInterrupt
        yield name, status


def solve(
    compiled: Any,
    ladder: Sequence[str],
    time_limit: float | None,
    verbose: bool,
    options: Mapping[str, Any],
) -> str:
    """Solve a compiled program by the first rung that returns a solution; return its name.

    Parameters
    ----------
    compiled : object
        With a CVXPY ``problem``, the custom ``conditions`` by address, and what these ``limits``
        may clash with.
    ladder : sequence of {"CLARABEL", "SCS"}
    time_limit : float or None
        Seconds per rung.
    verbose : bool
    options : mapping
        Of the first rung.

    Raises
    ------
    ModelError
        For options the solver does not know.
    InfeasibleError
        Naming the conditions with a non-zero multiplier in the infeasibility certificate.
    SolverError
        If every rung fails; carries the statuses and the last iterate.
    """
    status, log = "not run", []

    def run(name: str, settings: dict[str, Any]) -> str:
        problem = compiled.problem
        data, chain, inverse = problem.get_problem_data(
            name, verbose=verbose, solver_opts=settings
        )
        # a solver that is left alone keeps the warm start it writes
        own, problem._solver_cache = SimpleNamespace(_solver_cache=problem._solver_cache), {}
        raw = interruptible(chain.solve_via_data, own, data, True, verbose, settings)
        problem._solver_cache = own._solver_cache
        if name == "SCS" and raw["info"]["status"] == INTERRUPTED:
            return INTERRUPTED
        problem.unpack_results(raw, chain, inverse)
        return str(problem.status)

    for name, status in attempts(ladder, run, time_limit, options):
        log.append(f"{name}: {status}")
        if status in SOLVED:
            return name
        if status in (cp.INFEASIBLE, cp.INFEASIBLE_INACCURATE) and compiled.conditions:
            error = infeasible(compiled, status)
            if not can_be_met(compiled.problem):
                raise error
            log[-1] += " in its rounding, though the conditions alone can be met"
    # "infeasible" without a condition is the solver's rounding, no proof of anything
    iterate = {v.name(): v.value for v in compiled.problem.variables()}
    raise SolverError(
        f"No solver found an answer: {'; '.join(log)}. Bring what custom conditions ask for to "
        "within a million standard deviations of the data, or pass another `solver` or looser "
        "tolerances.",
        status=status,
        details={"log": log, "last_iterate": iterate},
    )


def can_be_met(problem: Any) -> bool:
    """Return whether the constraints can be met well inside of the objective's domain.

    Conditions on very different scales look infeasible to a solver that minimises.
    """
    room = cp.Variable()
    domain = [
        c.args[0] - room * np.eye(c.args[0].shape[0]) >> 0
        if isinstance(c, cp.constraints.PSD)
        else c.expr + room <= 0
        for c in problem.objective.expr.domain
    ]
    alone = cp.Problem(cp.Maximize(room), [*problem.constraints, *domain, room <= 1.0])
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Solution may be inaccurate")
            alone.solve("CLARABEL")
    except cp.error.SolverError:
        return False
    return alone.status == cp.OPTIMAL and float(room.value) > INSIDE
