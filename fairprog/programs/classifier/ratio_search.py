"""Risks that are ratios of the table, by programs with expected costs.

Whatever minimises a smooth risk over a convex set of tables minimises, too, the expected cost that
touches the risk there. So: minimise an expected cost, take the one that touches the risk at the
answer, and again until nothing improves. Where the risk is a ratio of linear functions that is
Dinkelbach's method and finds the optimum from anywhere; else it starts from many costs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from fairprog.errors import ModelError
from fairprog.labels import Array
from fairprog.programs.classifier.question import ClassifierQuestion
from fairprog.programs.verified import verified
from fairprog.solution.classifier_solution import ClassifierSolution
from fairprog.tables import CostSensitiveRisk, OutcomeTable, RatioRisk

STARTS = 19  # costs from which a risk is descended that may have several optima
ROUNDS = 50
STILL = 1e-10  # less than this is no improvement

Solve = Callable[[ClassifierQuestion, bool], ClassifierSolution]


def search_ratio(question: ClassifierQuestion, solve: Solve) -> ClassifierSolution:
    """Return the best answer found; its certificate says whether it is the optimum.

    Parameters
    ----------
    question : ClassifierQuestion
        With a :class:`~fairprog.tables.RatioRisk`.
    solve : function
        Of a question with an expected cost, and whether price intervals are wanted.

    Raises
    ------
    ModelError
        If the risk is undefined at every answer: the constraints leave constants only.
    """
    risk, D = question.risk, question.population
    assert isinstance(risk, RatioRisk)

    def at(cost: Array, prices: bool = False) -> ClassifierSolution:
        return solve(replace(question, risk=CostSensitiveRisk(cost)), prices)

    starts = [0.5] if risk.linear_fractional else np.linspace(0.0, 1.0, STARTS + 2)[1:-1]
    tables = [at(risk.start(float(t), D.classes)).table for t in starts]
    best: OutcomeTable = min(tables, key=risk.evaluate)
    for _ in range(ROUNDS):
        cost = risk.tangent(best)
        if cost is None:
            raise ModelError(
                f"{risk!r} is undefined where everybody gets the same prediction, and the "
                "constraints leave no other classifier. Relax one of them.",
                argument="risk",
            )
        answer = at(cost)
        gain = risk.evaluate(best) - risk.evaluate(answer.table)
        left = float(np.einsum("aij,ij->", best.Z - answer.table.Z, cost))
        if gain <= STILL:
            break
        best = answer.table
    assert cost is not None
    answer = at(cost, True)
    value = risk.evaluate(answer.table)
    proof = replace(
        answer.certificate,
        duality_gap=max(answer.certificate.duality_gap, left),
        globally_optimal=answer.certificate.globally_optimal and risk.linear_fractional,
    )
    settings = {**answer.settings, "risk": risk}
    return verified(replace(answer, risk=value, certificate=proof, settings=settings))
