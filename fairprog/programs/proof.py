"""The certificate: residuals of an answer, computed in numpy from the answer itself.

The KKT residual is the Newton decrement of the Lagrangian's gradient: half its square is, to
second order, by how many nats the answer misses the optimum.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from fairprog.populations import Population
from fairprog.programs.answer import Answer
from fairprog.programs.base_rates import base_rate_residual
from fairprog.programs.geometries.base import Geometry
from fairprog.solution import Certificate

__all__ = ["certify"]


def certify(
    geometry: Geometry,
    answer: Answer,
    population: Population,
    maps: Mapping[Hashable, Any],
    laws: Any,
    kl: float,
) -> Certificate:
    """Return the certificate of an answer; nothing in it is taken from a solver's word."""
    question, scale = geometry.question, max(1.0, kl)
    others = [a for a in question.staying if a != question.reference]
    ideality = _ideality(geometry, population, maps, laws, question.steered)
    return Certificate(
        kkt_residual=_kkt_residual(geometry, answer) / float(np.sqrt(scale)),
        ideality_residual=ideality,
        staying_residual=_ideality(geometry, population, maps, laws, others),
        feasibility_residual=_violation(answer) / scale,
        conic_gap=answer.conic_gap,
        parameter_gap=answer.parameter_gap,
        globally_optimal=geometry.is_global(answer),
        ideality_tolerance=geometry.ideality_tolerance(answer, population, ideality),
        requires_ideality=question.map_bound == 0,
    )


def _ideality(
    geometry: Geometry,
    population: Population,
    maps: Mapping[Hashable, Any],
    laws: Any,
    groups: Sequence[int],
) -> float:
    """Return the worst residual of a cell of some groups, plus that of base rates."""
    if not groups:
        return 0.0
    question = geometry.question
    off = base_rate_residual(
        geometry.D, population, groups, question.reference, question.base_rates
    )
    own = (geometry.residual(population, maps[population.groups[a]], laws, a) for a in groups)
    return max(own) + off


def _kkt_residual(geometry: Geometry, answer: Answer) -> float:
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


def _violation(answer: Answer) -> float:
    """Return the worst violation of conditions, consensus and complementary slackness.

    The consensus is measured between each class's map and the common one that is returned, in the
    norms of its bound. Slackness is in nats: what each multiplier times the unused part of its
    bound is worth; the best use of a bound is against its gradient, all of it.
    """
    compiled = answer.compiled
    if compiled is None:
        return 0.0
    worst: float = compiled.violation()
    for g in answer.groups:
        if g.thetas is None or g.multipliers is None:
            continue
        bound = 0.0 if compiled.map_bound is None else float(compiled.map_bound.value)
        for theta, N in zip(g.thetas, g.multipliers, strict=True):
            apart = g.problem.lengths(theta, g.theta)
            gained = [
                float(np.sum(m * (x - y))) for m, x, y in zip(N, theta, g.theta, strict=True)
            ]
            prices = g.problem.prices(N)  # of the parts that are free: the last ones, if not all
            free = gained[len(gained) - len(prices) :]
            unused = [abs(v + bound * p) for v, p in zip(free, prices, strict=True)]
            worst = max([worst, *(length - bound for length in apart), *unused])
    return worst
