"""Which constraints of a fair-classifier program clash: an irreducible set, with proof.

The elastic program minimises the sum of the constraints' violations; a least sum above zero
proves the clash and its multipliers say who takes part. A deletion filter then drops every
constraint that the others clash without.
"""

from __future__ import annotations

import numpy as np

from fairprog.errors import FairprogError, InfeasibleError, SolverError
from fairprog.programs.classifier.question import ClassifierQuestion

CLASH = 1e-8  # least sum of violations that proves a clash


def explain_clash(question: ClassifierQuestion) -> FairprogError:
    """Return the error to raise: constraints that clash by name, none of them needlessly.

    A SolverError where the least sum of violations is zero: then nothing clashes.
    """
    constraints = question.constraints
    missed, weights, heavy = _missed(question)
    if missed <= CLASH:
        return SolverError(
            f"The solver reports that the constraints clash, but they are missed by at least "
            f"{missed:.3g} only. Try another solver.",
            status="infeasible",
            details={"missed": missed},
        )
    names = [key for key in constraints if key in heavy]
    if len(names) < len(constraints) and not _clash(question, names):
        names = list(constraints)
    for key in list(names):  # who is left clashes without the others' help
        fewer = [k for k in names if k != key]
        names = fewer if _clash(question, fewer) else names
    if len(names) < len(constraints):
        missed, weights, _ = _missed(_only(question, names))
    clash = "clash" if len(names) > 1 else "cannot be satisfied"
    amount = f" (missed by at least {missed:.3g} in sum)" if np.isfinite(missed) else ""
    return InfeasibleError(
        f"No classifier satisfies the constraints: {names} {clash}{amount}. Relax one of them.",
        argument="constraints",
        status="infeasible",
        details={"conditions": names, "multipliers": weights, "missed": missed},
    )


def _only(question: ClassifierQuestion, names: list[str]) -> ClassifierQuestion:
    return question.under({k: question.constraints[k] for k in names})


def _clash(question: ClassifierQuestion, names: list[str]) -> bool:
    """Return whether these constraints are proven to clash."""
    try:
        return bool(names) and _missed(_only(question, names))[0] > CLASH
    except SolverError:  # no proof: nobody is acquitted by it
        return False


def _missed(question: ClassifierQuestion) -> tuple[float, dict[str, float], set[str]]:
    """Return the least sum of violations, its multipliers, and who has any.

    Infinite where functions of the user's, which have no slack, clash already.
    """
    from fairprog.programs.compile.standard_form import StandardForm

    compiled = question.compile(elastic=True)
    if StandardForm(compiled.problem).solve("auto", None, False, {}) == "infeasible":
        return float("inf"), {}, set()
    weights = {
        where: float(np.max(np.abs(c.dual_value), initial=0.0))
        for where, c in compiled.constraints.items()
    }
    heavy = {compiled.owners[w] for w, v in weights.items() if v > 1e-6}
    return float(compiled.problem.value), weights, heavy
