"""From a question to a solution that proves itself, or to an error that says why not."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from fairprog.errors import DataError, FairprogWarning, SolverError
from fairprog.programs.answer import Conic
from fairprog.programs.assemble import assemble
from fairprog.programs.geometries.base import Geometry
from fairprog.programs.ladder import find_answer, second_opinion
from fairprog.solution import Solution
from fairprog.solution.certificate import CONIC_TOLERANCE


def prove(
    geometry: Geometry, solver: str, conic: Conic, started: float, compiled: Sequence[Any] = ()
) -> Solution:
    """Return the answer at the base rates of the question, with its certificate.

    Raises
    ------
    SolverError
        Where rounding leaves nothing to compute with.
    """
    try:
        with geometry.threads():
            answer = find_answer(geometry, solver, conic, compiled)
            solution = assemble(geometry, answer, time.perf_counter() - started)
            if geometry.question.constraints and not solution.certificate.ok:
                # a condition may have a kink at the answer: ask the other conic solver
                answer = second_opinion(geometry, answer, conic)
                solution = assemble(geometry, answer, time.perf_counter() - started)
    except (np.linalg.LinAlgError, DataError) as error:  # the user's numbers were checked before
        if "condition" in getattr(error, "details", {}):
            raise
        raise SolverError(
            "Rounding leaves no answer: on the way, or in the end, a map squeezes some direction "
            "to what cannot be told from nothing. Classes hundreds of standard deviations apart, "
            "or features that all but determine others, do that. " + geometry.advice(),
            status="numerical",
        ) from error
    return solution if answer.compiled is not None else _alone(solution)


def _alone(solution: Solution) -> Solution:
    """Return an exact answer without the conic one, where it is proven and that one differs.

    Where the optimum is so flat that other parameters reach the same KL, KL alone is compared.
    """
    certificate = solution.certificate
    apart = certificate.conic_gap or 0.0
    near = apart <= CONIC_TOLERANCE
    own = replace(
        certificate, parameter_gap=None, conic_gap=certificate.conic_gap if near else None
    )
    if certificate.ok or not own.ok:
        return solution
    if not near:
        warnings.warn(
            f"A conic solver ends {apart:.2g} (KL) from the exact answer, which is kept: its own "
            "residuals prove it.",
            FairprogWarning,
            stacklevel=4,
        )
    return replace(solution, certificate=own)
