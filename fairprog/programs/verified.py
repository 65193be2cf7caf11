"""No answer leaves a program unless its own certificate holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np

from fairprog.errors import SolverError
from fairprog.solution import ClassifierSolution, ScoreSolution, Solution

ROUNDING = 1e-8  # of divergences, nats

Proven = TypeVar("Proven", bound=Solution | ClassifierSolution | ScoreSolution)


def verified(
    solution: Proven, where: str = "", advice: str | Callable[[], str] = "Try another solver."
) -> Proven:
    """Return the solution if its certificate is ok and its divergence is one: finite, not below 0.

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
    kl = getattr(solution, "kl", 0.0)  # classifiers have none
    finite = np.isfinite(kl)
    if solution.certificate.ok and finite and kl > -ROUNDING:
        return solution
    fault = f"fails its certificate: {solution.certificate}"
    if kl < -ROUNDING:
        fault = f"has a divergence below 0, {kl:.3g}: rounding has destroyed it"
    said = advice if isinstance(advice, str) else advice()
    raise SolverError(
        f"The answer of {solution.solver}{where} "
        f"{fault if finite else 'is infinitely far from the population'}. {said}",
        status="unverified",
        details={"certificate": solution.certificate, "solution": solution},
    )
