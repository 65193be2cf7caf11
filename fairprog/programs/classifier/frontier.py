"""Frontiers of fair classifiers: scores sorted once, or one program compiled once."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fairprog.errors import ModelError, SolverError
from fairprog.labels import Array, check_finite, check_number, check_random_state
from fairprog.programs.classifier.answer import assemble_classifier
from fairprog.programs.classifier.infeasible import explain_clash
from fairprog.programs.classifier.question import ClassifierQuestion
from fairprog.programs.classifier.score_path import sort_groups
from fairprog.programs.classifier.score_solution import solve_by_sorting
from fairprog.programs.classifier.solve import solve_question
from fairprog.programs.classifier.tilt_path import solve_by_tilting
from fairprog.programs.verified import verified
from fairprog.solution.classifier_solution import TOLERANCE, ClassifierSolution
from fairprog.solution.frontier import Frontier
from fairprog.tables import Constraint, Divergence, RatioRisk


def classifier_frontier(
    question: ClassifierQuestion,
    bounds: ArrayLike,
    constraint: str | None,
    solver: str,
    resampling: tuple[int, int | None, float, int | np.random.Generator, bool],
) -> Frontier:
    """Return risk and price at every bound: the body of :meth:`FairClassifier.frontier`.

    What is resampled is said by its bootstrap, sample_size, confidence, random_state, progress.
    """
    started = time.perf_counter()
    bootstrap, sample_size, confidence, random_state, progress = resampling
    key = _swept(question, constraint)
    values = np.atleast_1d(check_finite(bounds, "bounds"))
    risks, prices, compilations, solves = _sweep(question, key, values, solver)
    samples = bands = None
    if bootstrap:
        parts = getattr(question.risk, "risks", (question.risk,))
        if question.population.scores_given and any(isinstance(r, Divergence) for r in parts):
            raise ModelError(
                "A sample does not hold every row, and the reference of `Divergence` is of the "
                "rows that are there. For bands count them in bins, from_scores(score, y=y, "
                "bins=...), with a reference per bin.",
                argument="bootstrap",
            )
        size = question.population.effective_rows if sample_size is None else sample_size
        if size is None:
            raise ModelError(
                "`sample_size` is required: this population does not know how many rows it was "
                "counted from.",
                argument="sample_size",
            )
        samples = _bootstrap(
            question, key, values, int(bootstrap), int(size), random_state, solver, progress
        )
        tail = 0.5 * (1.0 - check_number(confidence, "confidence"))
        bands = (np.quantile(samples, tail, axis=0), np.quantile(samples, 1.0 - tail, axis=0))
    return Frontier(
        values,
        risks,
        prices,
        f"{question.constraints[key].bound_field} of {key}",
        question.risk.name,
        bands,
        samples,
        confidence if bootstrap else None,
        compilations,
        solves,
        time.perf_counter() - started,
        upward=question.constraints[key].upward,
    )


def _swept(question: ClassifierQuestion, name: str | None) -> str:
    bounded = [
        k
        for k, c in question.constraints.items()
        if isinstance(c, Constraint) and c.bound_field is not None
    ]
    if name is None and len(bounded) == 1:
        name = bounded[0]
    if name not in bounded:
        raise ModelError(
            f"`constraint` must name one of the constraints with a bound, {bounded}; found "
            f"{name!r}.",
            argument="constraint",
        )
    if question.free is not None:
        raise ModelError(
            f"{question.free!r} leaves its level free, so there is no one convex program per "
            "bound; fix the `level`.",
            argument="constraint",
        )
    return name


def _sweep(
    question: ClassifierQuestion, key: str, bounds: Array, solver: str
) -> tuple[Array, Array, int, int]:
    """Return risks, prices, number of compilations and of solver calls."""
    if isinstance(question.risk, RatioRisk):
        found = [_searched(question, key, float(bound), solver) for bound in bounds]
        risks, prices = np.array([(sol.risk, sol.price[key]) for sol in found]).reshape(-1, 2).T
        return risks, prices, 0, len(found)
    if solver in ("auto", "SORT"):
        answers = _short_sweep(question, key, bounds, solver == "SORT")
        if answers is not None:
            risks = np.array([answer.risk for answer in answers])
            prices = np.array([answer.price[key] for answer in answers])
            return risks, prices, 0, len(answers)
    return _compiled_sweep(question, key, bounds, solver)


def _searched(
    question: ClassifierQuestion, key: str, bound: float, solver: str
) -> ClassifierSolution:
    at_bound = question.replacing(key, question.constraints[key].with_bound(bound))
    return solve_question(at_bound, (solver, None, False, {}), True, time.perf_counter())


def _short_sweep(
    question: ClassifierQuestion, key: str, bounds: Array, required: bool
) -> list[ClassifierSolution] | None:
    """Return the answer at every bound from scores sorted once or by tilts, else None."""
    curves = None
    if question.uses_group and question.population.n_classes == 2:
        curves = sort_groups(question.population)
    template = question.constraints[key]
    out = []
    for bound in bounds:
        at_bound = question.replacing(key, template.with_bound(float(bound)))
        started = time.perf_counter()
        answer = solve_by_sorting(at_bound, required, False, started, curves)
        answer = answer or solve_by_tilting(at_bound, started)
        if answer is None:
            return None
        out.append(answer)
    return out


def _compiled_sweep(
    question: ClassifierQuestion, key: str, bounds: Array, solver: str
) -> tuple[Array, Array, int, int]:
    """Solve programs whose bound is a Parameter; bound 0 compiles to equalities."""
    from fairprog.programs.compile.standard_form import StandardForm

    how: tuple[Any, ...] = (solver, None, False, {})
    risks, prices = np.full(len(bounds), np.nan), np.full(len(bounds), np.nan)
    compilations = solves = 0
    template = question.constraints[key]
    parameter = form = compiled = slope = None
    for k in np.argsort(-bounds, kind="stable"):  # from loose to tight: warm starts
        bound = float(bounds[k])
        at_bound = question.replacing(key, template.with_bound(bound))
        if parameter is None or bound == 0.0:
            fresh = at_bound.compile()
            own = StandardForm(fresh.problem)
            if own.solve(*how) == "infeasible":
                raise explain_clash(at_bound)
            compilations += own.compilations
            if key not in fresh.bounds:  # equalities: the smallest price, like `solve`
                solution = assemble_classifier(at_bound, fresh, own, True, 0.0)
                verified(solution, f" at bound {bound:g}")
                risks[k], prices[k] = solution.risk, solution.price[key]
                solves += own.solves
                continue
            if parameter is None:
                parameter, form, compiled = fresh.bounds[key], own, fresh
                slope = form.derivative(parameter, 1.0)
        else:
            parameter.value = bound
            assert form is not None
            if form.solve(*how) == "infeasible":
                raise explain_clash(at_bound)
        assert form is not None and compiled is not None and slope is not None
        residuals = form.residuals()
        if max(residuals.values()) > TOLERANCE:
            raise SolverError(
                f"The answer of {form.solver} at bound {bound:g} leaves residuals {residuals}. "
                "Try another solver.",
                status="unverified",
                details={"residuals": residuals},
            )
        sign = -1.0 if template.upward else 1.0
        risks[k] = compiled.risk
        prices[k] = sign * compiled.unit * float((slope[0] - slope[1] @ form.x) @ form.y)
    solves += 0 if form is None else form.solves
    return risks, prices, compilations, solves


def _bootstrap(
    question: ClassifierQuestion,
    key: str,
    bounds: Array,
    count: int,
    size: int,
    random_state: int | np.random.Generator,
    solver: str,
    progress: bool,
) -> Array:
    from tqdm.auto import tqdm

    rng = check_random_state(random_state)
    out = np.empty((count, len(bounds)))
    for r in tqdm(range(count), desc="bootstrap", disable=not progress, leave=False):
        again = question.of(question.population.resampled(size, rng))
        out[r] = _sweep(again, key, bounds, solver)[0]
    return out
