"""The certificate: residuals of an answer, computed in numpy from the answer itself."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from fairprog.populations import Population
from fairprog.programs.answer import Answer
from fairprog.programs.base_rates import base_rate_residual
from fairprog.programs.geometries.base import Geometry
from fairprog.programs.geometries.group_map import SMALL_GAP
from fairprog.programs.kkt_residual import kkt_residual
from fairprog.solution import Certificate
from fairprog.solution.certificate import CONIC_TOLERANCE

ROUNDING = 4.0 * float(np.finfo(float).eps)


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
    gap = _relative_gap(geometry, answer, kl)
    return Certificate(
        kkt_residual=kkt_residual(geometry, answer) / float(np.sqrt(scale)),
        ideality_residual=ideality,
        staying_residual=_ideality(geometry, population, maps, laws, others),
        feasibility_residual=_violation(geometry, answer) / scale,
        conic_gap=answer.conic_gap,
        parameter_gap=answer.parameter_gap,
        globally_optimal=geometry.is_global(answer) and (gap or 0.0) <= CONIC_TOLERANCE,
        ideality_tolerance=geometry.ideality_tolerance(answer, population, ideality),
        requires_ideality=question.map_bound == 0,
        optimality_gap=gap,
    )


def _relative_gap(geometry: Geometry, answer: Answer, kl: float) -> float | None:
    """Return KL less a proven lower bound on it, with what rounding adds, over max(1, KL).

    None where nothing was decided or stationary points were enumerated, for local optima, and
    have multipliers in place of a bound.
    """
    if not (answer.globally_optimal and answer.decided):
        return None
    gap = answer.optimality_gap if answer.duality_gap is None else answer.duality_gap
    if gap is None and answer.free_laws is not None:
        cost = answer.cost()
        gap = cost if cost <= SMALL_GAP else None  # nothing is nearer than no divergence at all
    elif gap is None and not geometry.question.relaxed:
        gap = sum(g.optimality_gap() for g in answer.groups)
    if gap is None or not np.isfinite(kl):
        return gap
    # every cell's divergence is a sum of as many terms as features, of its own size or of one
    rounding = ROUNDING * geometry.n_features * (kl + geometry.n_features)
    return float(max(gap, 0.0) + rounding) / max(1.0, kl)


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


def _violation(geometry: Geometry, answer: Answer) -> float:
    """Return the worst violation of conditions, consensus and complementary slackness.

    The consensus is measured between each class's map and the common one that is returned, in the
    norms of its bound and in nats: what it is worth to be outside. Slackness is in nats.
    """
    worst = 0.0 if answer.compiled is None else float(answer.compiled.violation())
    bound = geometry.question.map_bound
    for g in answer.groups:
        if g.thetas is None or g.multipliers is None:
            continue
        for theta, N in zip(g.thetas, g.multipliers, strict=True):
            lengths, prices = g.problem.lengths(theta, g.theta), g.problem.prices(N)
            free = lengths[len(lengths) - len(prices) :]  # the last parts, if not all
            for length, price in zip(free, prices, strict=True):
                worst = max(worst, max(1.0, price) * (length - bound))
        worst = max([worst, *g.unused(bound)])
    return worst
