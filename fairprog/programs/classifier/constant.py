"""Whether constraints leave a classifier that does not see the group anything but constants."""

from __future__ import annotations

import warnings

import numpy as np

from fairprog.errors import FairprogWarning
from fairprog.programs.classifier.question import ClassifierQuestion
from fairprog.solution.classifier_solution import ClassifierSolution

SPREAD = 1e-6


def warn_of_constants(question: ClassifierQuestion, answer: ClassifierSolution) -> None:
    """Warn if the answer is the same everywhere because nothing else satisfies the constraints.

    A random linear function that vanishes on constants is minimised and maximised: it is zero at
    both ends, almost surely, only where every feasible classifier is a constant.
    """
    h = answer.classifier.h
    if question.uses_group or not question.constraints or np.ptp(h, axis=0).max() > SPREAD:
        return
    from fairprog.programs.compile.classifier import least_of

    compiled = question.compile()
    way = np.random.default_rng(0).normal(size=compiled.shape)
    way = (way - way.mean(axis=0)).ravel() / len(way)
    if any(least_of(compiled, sign * way) < -SPREAD for sign in (1.0, -1.0)):
        return
    warnings.warn(
        f"Without the group only constant classifiers satisfy {list(question.constraints)}: "
        "everybody gets the same prediction. Relax a bound, or let the classifier see the group.",
        FairprogWarning,
        stacklevel=4,
    )
