"""From an answer to a verified `Solution`: KL, population and prices recomputed in numpy."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from fairprog.programs.answer import Answer
from fairprog.programs.geometries.base import Geometry
from fairprog.programs.multipliers import multipliers_of
from fairprog.programs.proof import certify
from fairprog.solution import Solution


def assemble(geometry: Geometry, answer: Answer, seconds: float) -> Solution:
    """Build the steered population and prove it."""
    D, question = geometry.D, geometry.question
    by_group: dict[Hashable, Any] = {D.groups[a]: T for a, T in geometry.staying_maps.items()}
    by_group |= {g.problem.group: g.user_map for g in answer.groups}
    maps = {label: by_group[label] for label in D.groups}
    multipliers = multipliers_of(geometry, answer)  # while no steered population takes memory
    laws = geometry.common_laws(answer)
    population = geometry.pushed(answer, laws)
    kl = population.kl(D)
    unique = geometry.unique_prices and not question.constraints
    return geometry.solution(
        kl=kl,
        original=D,
        population=population,
        affine=maps,
        duals=multipliers.duals,
        sensitivity=multipliers.sensitivity,
        price=multipliers.price,
        price_by_condition=multipliers.shares,
        price_interval={k: (v, v) for k, v in multipliers.price.items() if unique},
        certificate=certify(geometry, answer, population, maps, laws, kl),
        settings=question.settings(),
        solver=answer.solver,
        seconds=seconds,
    )
