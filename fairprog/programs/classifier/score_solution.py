"""`FairClassifier` over binary scores: when sorting solves it, and its answer as a solution."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from fairprog.errors import InfeasibleError, ModelError, SolverError
from fairprog.kernels.scores.sorted_scores import Curve
from fairprog.programs.classifier.infeasible import explain_clash
from fairprog.programs.classifier.question import ClassifierQuestion
from fairprog.programs.classifier.score_path import ScoreAnswer, solve_scores
from fairprog.programs.verified import verified
from fairprog.solution.classifier_solution import ClassifierCertificate, ClassifierSolution
from fairprog.solution.threshold_classifier import ThresholdClassifier
from fairprog.tables import OutcomeTable
from fairprog.tables.rate_rows import NotLinear

FEW = 20_000  # pairs up to which the table knows its individuals (it holds them in arrays)
ZERO = 1e-9  # prices below this, in units of the risk, are rounding


def solve_by_sorting(
    question: ClassifierQuestion,
    required: bool,
    price_intervals: bool,
    started: float,
    curves: Sequence[Curve] | None = None,
) -> ClassifierSolution | None:
    """Return the proven solution, or None where another solver must decide.

    Parameters
    ----------
    question : ClassifierQuestion
    required : bool
        Raise an error with the reason instead of returning None.
    price_intervals : bool
    started : float
        ``time.perf_counter()`` at the start.
    curves : sequence of Curve, optional
        The population's scores, sorted already.

    Raises
    ------
    ModelError
        If it does not apply though it is required.
    InfeasibleError
        If no classifier satisfies the constraints, naming those that clash.
    SolverError
        If the answer fails its certificate though this path is required.
    """
    try:
        solution = _sorted(question, required, price_intervals, started, curves)
        return None if solution is None else verified(solution, advice="Try solver='HIGHS'.")
    except InfeasibleError:
        error = explain_clash(question)
        if required or isinstance(error, InfeasibleError):
            raise error from None
    except SolverError:
        if required:
            raise
    return None  # the linear program decides


def _sorted(
    question: ClassifierQuestion,
    required: bool,
    price_intervals: bool,
    started: float,
    curves: Sequence[Curve] | None,
) -> ClassifierSolution | None:
    reason = None
    if question.population.n_classes != 2:
        reason = "the label is not binary"
    elif not question.uses_group:
        reason = "the classifier is group-blind"
    elif question.free is not None:
        reason = "a notion leaves its level free"
    try:
        if reason is None:
            templates = list(question.constraints.values())
            answer = solve_scores(
                question.population, question.risk, templates, price_intervals, curves
            )
            return _solution(question, answer, started)
    except NotLinear as found:
        reason = f"a template is not linear in the outcome table: {found}"
    if required:
        raise ModelError(f"solver='SORT' does not apply: {reason}.", argument="solver")
    return None


def _solution(
    question: ClassifierQuestion, answer: ScoreAnswer, started: float
) -> ClassifierSolution:
    D, constraints = question.population, question.constraints
    table: OutcomeTable = OutcomeTable(answer.Z, D.classes, D.groups, D.attributes)
    risk = question.risk.evaluate(table)
    unit = answer.rows.unit
    missed = [t.violation(table) / t.unit(D.classes) for t in constraints.values()]
    certificate = ClassifierCertificate(
        violation=max([0.0, *missed]),
        risk_gap=abs(answer.rows.goal.evaluate(table) - answer.risk) / unit,
        primal_residual=answer.feasibility_residual,
        dual_residual=answer.dual_residual / unit,
        slackness=answer.slackness / unit,
        duality_gap=answer.duality_gap / unit,
    )
    goal = answer.rows.goal
    first = goal.matrix(D.classes)[:, 0] if goal.is_expected_cost else None
    rule = ThresholdClassifier(D, answer.rules, answer.reduced, first)
    if len(D.support.score) <= FEW:
        table = D.table(rule.h)
    rows = answer.rows
    priced = [key for key, c in constraints.items() if c.bound is not None]
    per = {key: unit / c.unit(D.classes) for key, c in constraints.items()}
    prices = zip(constraints, answer.price, strict=True)
    price = {key: _clean(p, per[key]) for key, p in prices if key in priced}
    intervals = {
        key: (_clean(low, per[key]), _clean(high, per[key]))
        for key, (low, high) in zip(constraints, answer.price_interval, strict=True)
        if key in priced and not np.isnan(low)
    }
    two_sided = np.isfinite(rows.low) & (rows.low < rows.high)
    duals = np.where(two_sided, np.abs(answer.marginals), -answer.marginals)
    return ClassifierSolution(
        risk=risk,
        table=table,
        classifier=rule,
        price=price,
        price_interval=intervals,
        duals={w: np.array(v) for w, v in zip(rows.addresses, duals, strict=True)},
        sensitivity=dict(zip(rows.addresses, map(np.array, answer.marginals), strict=True)),
        certificate=certificate,
        settings=question.settings(),
        solver=answer.method,
        seconds=time.perf_counter() - started,
    )


def _clean(price: float, unit: float) -> float:
    return 0.0 if abs(price) < ZERO * unit else float(price)
