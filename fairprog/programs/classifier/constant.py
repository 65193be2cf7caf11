"""Whether constraints leave a classifier that does not see the group more than constants."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np

from fairprog.errors import FairprogWarning
from fairprog.programs.classifier.question import ClassifierQuestion
from fairprog.solution.classifier_solution import ClassifierSolution
from fairprog.tables import Constraint

ADVICE = "Relax a bound, or let the classifier see the group."
SPREAD = 1e-6
HARDLY = 0.02  # of what is gained over a constant without constraints: less is hardly anything


def warn_of_constants(
    question: ClassifierQuestion,
    answer: ClassifierSolution,
    solve: Callable[[ClassifierQuestion], ClassifierSolution],
) -> None:
    """Warn if the answer is, or is hardly better than, the same prediction for everybody.

    Only if the constraints make it so: `solve` answers the question without them.
    """
    if question.uses_group or not question.constraints:
        return
    if np.ptp(answer.classifier.h, axis=0).max() <= SPREAD and _only_constants(question):
        said = f"only constant classifiers satisfy {list(question.constraints)}: everybody gets"
        warnings.warn(f"Without the group {said} the same prediction. {ADVICE}", FairprogWarning,
                      stacklevel=4)  # fmt: skip
        return
    constant = _best_constant(question)
    if constant == np.inf or constant - answer.risk > HARDLY * abs(constant):
        return
    free = solve(question.under({})).risk
    if constant - free > SPREAD and constant - answer.risk < HARDLY * (constant - free):
        warnings.warn(
            f"Without the group {list(question.constraints)} leave hardly more than constants: "
            f"the risk is {answer.risk:.4f}, that of the same prediction for everybody "
            f"{constant:.4f}, that without constraints {free:.4f}. {ADVICE}",
            FairprogWarning,
            stacklevel=4,
        )


def _best_constant(question: ClassifierQuestion) -> float:
    """Return the least risk of the same prediction for everybody that is allowed, or infinity."""
    D, asked, least = question.population, question.constraints.values(), np.inf
    for law in np.eye(D.n_classes):
        table = D.table(np.tile(law, (len(D.support.atom), 1)))
        if all(isinstance(c, Constraint) and c.violation(table) <= SPREAD for c in asked):
            least = min(least, question.risk.evaluate(table))
    return least


def _only_constants(question: ClassifierQuestion) -> bool:
    """Return whether every feasible classifier is a constant.

    A random linear function that vanishes on constants is minimised and maximised: it is zero at
    both ends, almost surely, only where that is so.
    """
    from fairprog.programs.compile.classifier import least_of

    compiled = question.compile()
    way = np.random.default_rng(0).normal(size=compiled.shape)
    way = (way - way.mean(axis=0)).ravel() / len(way)
    return all(least_of(compiled, sign * way) >= -SPREAD for sign in (1.0, -1.0))
