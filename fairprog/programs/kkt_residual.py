"""The KKT residual: the Newton decrement of the Lagrangian's gradient.

Half its square is, to second order, by how many nats the answer misses the optimum.
"""

from __future__ import annotations

import numpy as np

from fairprog.programs.answer import Answer
from fairprog.programs.geometries.base import Geometry


def kkt_residual(geometry: Geometry, answer: Answer) -> float:
    """Return the Newton decrement of the Lagrangian's gradient, in root nats."""
    if answer.duality_gap is not None:
        return float(np.sqrt(2.0 * max(answer.duality_gap, 0.0)))
    if not answer.decided:
        return geometry.laws_residual(answer)
    residual = 0.0 if answer.compiled is None else _conic_stationarity(answer)
    if not geometry.question.relaxed:
        squares = sum(g.common_decrement() ** 2 for g in answer.groups)
        squares += geometry.laws_residual(answer) ** 2
        residual = max(residual, float(np.sqrt(squares)))
    return residual


def _conic_stationarity(answer: Answer) -> float:
    """Return the size of the Lagrangian's gradient in every variable of the consensus form.

    Maps of the classes: gradient of the cell's cost minus its consensus multiplier plus the
    conditions'; common map: the multipliers sum to zero; slacks: each multiplier's dual norm is
    that of its ball. Infinite where a condition has no gradient and no second opinion was asked.
    """
    compiled = answer.compiled
    conditions = {} if answer.kinked else compiled.condition_gradients()
    if conditions is None:
        return float("inf")
    squares = 0.0
    for cell, g in zip(compiled.cells, answer.groups, strict=True):
        problem, multipliers = g.problem, g.multipliers or []
        for i, (G, N) in enumerate(zip(g.gradients(), multipliers, strict=True)):
            if not answer.kinked:
                pull = problem.gradient(
                    {part: conditions.get(x.id, 0.0) for part, x in cell.own[i].items()}
                )
                left = tuple(own - m + p for own, m, p in zip(G, N, pull, strict=True))
                theta = g.theta if g.thetas is None else g.thetas[i]
                squares += problem.only(i).decrement(theta, left) ** 2
            if compiled.balls:  # in nats: what a unit of the scaled slack is worth
                bound, balls = float(compiled.map_bound.value), compiled.ball_multipliers(cell, i)
                for price, own in zip(problem.prices(N), balls, strict=True):
                    squares += (bound * price - own) ** 2
        total = tuple(sum(parts[1:], parts[0]) for parts in zip(*multipliers, strict=True))
        squares += problem.decrement(g.theta, total) ** 2
    return float(np.sqrt(squares))
