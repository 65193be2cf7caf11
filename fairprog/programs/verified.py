"""No answer leaves a program unless its own certificate holds."""

from __future__ import annotations

from typing import TypeVar

from fairprog.errors import SolverError
from fairprog.solution import Solution
from fairprog.solution.classifier_solution import ClassifierSolution

__all__ = ["verified"]

Proven = TypeVar("Proven", Solution, ClassifierSolution)


def verified(solution: Proven, where: str = "", advice: str = "Try another solver.") -> Proven:
    """Return the solution if its certificate is ok.

    Parameters
    ----------
    solution : Solution or ClassifierSolution
    where, advice : str
        What the message says of the program, and what it tells to do.

    Raises
    ------
    SolverError
        With the certificate and the refused solution in ``details``.
    """
    if solution.certificate.ok:
        return solution
    raise SolverError(
        f"The answer of {solution.solver}{where} fails its certificate: {solution.certificate}. "
        f"{advice}",
        status="unverified",
        details={"certificate": solution.certificate, "solution": solution},
    )
