"""The level of a fractional notion where it is left free: convex for each level, not jointly."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from fairprog.errors import ModelError
from fairprog.programs.classifier.infeasible import explain_clash
from fairprog.programs.classifier.question import ClassifierQuestion

LEVELS = 41  # tried before the best is refined
WIDTH = 1e-7  # of the interval that is left


def search_level(question: ClassifierQuestion, key: str, how: tuple[Any, ...]) -> float:
    """Return the best level of the notion `key`: a scan, then golden sections around the best.

    Parameters
    ----------
    question : ClassifierQuestion
    key : str
        Name of a fractional notion with one event.
    how : tuple
        Solver, time limit, verbosity and options of every solve.

    Raises
    ------
    ModelError
        If the notion has several events.
    InfeasibleError
        If no level tried has a classifier.
    """
    from fairprog.programs.compile.standard_form import StandardForm

    template = replace(question.constraints[key], level=0.5)
    if len(template.fractions(question.population.classes)) > 1:
        raise ModelError(
            f"{question.constraints[key]!r} has several events, and only one level can be "
            "searched; give `level`, one per event.",
            argument="constraints",
        )
    fixed = question.replacing(key, template)
    compiled = fixed.compile()
    form = StandardForm(compiled.problem)

    def value(level: float) -> float:
        compiled.levels[key].value = level
        status = form.solve(*how)
        return np.inf if status == "infeasible" else float(compiled.problem.value)

    levels = np.linspace(0.0, 1.0, LEVELS)
    values = [value(float(t)) for t in levels]
    best = int(np.argmin(values))
    if not np.isfinite(values[best]):
        raise explain_clash(fixed)
    low, high = float(levels[max(best - 1, 0)]), float(levels[min(best + 1, LEVELS - 1)])
    ratio = 0.5 * (np.sqrt(5.0) - 1.0)
    tried = {float(levels[best]): values[best]}
    while high - low > WIDTH:
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        for t in (left, right):
            if t not in tried:
                tried[t] = value(t)
        low, high = (low, right) if tried[left] <= tried[right] else (left, high)
    return min(tried, key=lambda t: tried[t])
