"""No answer leaves a program unless its own certificate holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np

from fairprog.errors import SolverError
from fairprog.solution import Solution
from fairprog.solution.classifier_solution import ClassifierSolution
from fairprog.solution.score_solution import ScoreSolution

Proven = TypeVar("Proven", Solution, ClassifierSolution, ScoreSolution)


def verified(
    solution: Proven, where: str = "", advice: str | Callable[[], str] = "Try another solver."
) -> Proven:
    """Return the solution if its certificate is ok and its divergence finite.

    Parameters
    ----------
    solution : Solution, ClassifierSolution or ScoreSolution
    where : str
        What the message says of the program.
    advice : str or function
        What it tells to do; a function is called where there is need of advice only.

    Raises
    ------
    SolverError
        With the certificate and the refused solution in ``details``.
    """
    finite = np.isfinite(getattr(solution, "kl", 0.0))  # classifiers have none
    if solution.certificate.ok and finite:
        return solution
    fault = f"fails its certificate: {solution.certificate}"
    said = advice if isinstance(advice, str) else advice()
    raise SolverError(
        f"The answer of {solution.solver}{where} "
        f"{fault if finite else 'is infinitely far from the population'}. {said}",
        status="unverified",
        details={"certificate": solution.certificate, "solution": solution},
    )
