"""A question about classifiers, answered: by sorting, by a solver, by a search over programs."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from fairprog.errors import InfeasibleError
from fairprog.programs.classifier.answer import assemble_classifier
from fairprog.programs.classifier.constant import warn_of_constants
from fairprog.programs.classifier.infeasible import explain_clash
from fairprog.programs.classifier.level_search import search_level
from fairprog.programs.classifier.question import ClassifierQuestion
from fairprog.programs.classifier.ratio_search import search_ratio
from fairprog.programs.classifier.score_solution import solve_by_sorting
from fairprog.programs.classifier.tilt_path import solve_by_tilting
from fairprog.programs.verified import verified
from fairprog.solution.classifier_solution import ClassifierSolution
from fairprog.tables import RatioRisk


def solve_question(
    question: ClassifierQuestion, how: tuple[Any, ...], price_intervals: bool, started: float
) -> ClassifierSolution:
    """Return the proven answer: the body of :meth:`FairClassifier.solve`.

    Parameters
    ----------
    question : ClassifierQuestion
    how : tuple
        Solver, time limit, verbosity and options.
    price_intervals : bool
    started : float
        ``time.perf_counter()`` at the start.
    """
    if isinstance(question.risk, RatioRisk):
        answer = search_ratio(
            question, lambda q, prices: solve_question(q, how, prices and price_intervals, started)
        )
        return replace(answer, seconds=time.perf_counter() - started)
    solver, _, _, options = how
    if solver == "SORT" or (solver == "auto" and not options):
        sorted_answer = solve_by_sorting(question, solver == "SORT", price_intervals, started)
        tilted = solve_by_tilting(question, started) if sorted_answer is None else None
        if sorted_answer is not None or tilted is not None:
            return sorted_answer or tilted  # type: ignore[return-value]
    convex = question.free is None
    if question.free is not None:
        level = search_level(question, question.free, how)
        template = question.constraints[question.free]
        question = question.replacing(question.free, replace(template, level=level))
    compiled = question.compile()
    form = solve_compiled(question, compiled.problem, how)
    seconds = time.perf_counter() - started
    answer = assemble_classifier(question, compiled, form, price_intervals, seconds, convex)
    warn_of_constants(
        question, verified(answer), lambda free: solve_question(free, how, False, started)
    )
    return answer


def solve_compiled(question: ClassifierQuestion, problem: Any, how: tuple[Any, ...]) -> Any:
    """Return the solved standard form; an infeasible program is explained."""
    from fairprog.programs.compile.standard_form import StandardForm

    form = StandardForm(problem)
    if form.solve(*how) == "infeasible":
        error = explain_clash(question)
        if how[0] != "auto" or isinstance(error, InfeasibleError):
            raise error
        if all(form.solve(s, how[1], how[2], {}) == "infeasible" for s in ("CLARABEL", "SCS")):
            raise error
    return form
