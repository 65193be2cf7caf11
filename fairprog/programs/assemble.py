"""From an answer to a verified `Solution`: KL, population and prices recomputed in numpy."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from fairprog.labels import Array, address
from fairprog.programs.answer import Answer
from fairprog.programs.geometries.base import Geometry
from fairprog.programs.proof import certify
from fairprog.solution import Solution
from fairprog.solution.arrays import ComputedArrays

__all__ = ["assemble"]


def assemble(geometry: Geometry, answer: Answer, seconds: float) -> Solution:
    """Build the steered population and prove it."""
    D, question = geometry.D, geometry.question
    by_group: dict[Hashable, Any] = {D.groups[a]: T for a, T in geometry.staying_maps.items()}
    by_group |= {g.group: g.user_map for g in answer.groups}
    maps = {label: by_group[label] for label in D.groups}
    laws = geometry.common_laws(answer)
    population = geometry.pushed(answer, laws)
    kl = population.kl(D)
    multipliers = _multipliers(geometry, answer)
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


@dataclass(frozen=True)
class _Multipliers:
    """Duals in CVXPY's sign, sensitivities, prices, and those of consensus by condition."""

    duals: Mapping[str, Array]
    sensitivity: Mapping[str, Array]
    price: Mapping[str, float]
    shares: Mapping[str, float]


def _multipliers(geometry: Geometry, answer: Answer) -> _Multipliers:
    """Return the multipliers of every condition; in many dimensions each when it is asked for."""
    found: dict[str, Callable[[], Array]] = {}
    shares: dict[str, float] = {}
    for g in answer.groups:
        parts = tuple(g.problem.parts)
        for i, (c, prices) in enumerate(zip(geometry.D.classes, g.totals[0], strict=True)):
            where = [address(part, g.group, c) for part in parts]
            found |= {
                w: partial(g.class_multiplier, i, p) for w, p in zip(where, parts, strict=True)
            }
            shares |= dict(zip(where, prices, strict=bool(prices)))
    price = {"consensus": float(sum(shares.values()))} if shares else {}
    source = answer.compiled or answer.priced
    if source is None and geometry.D.n_features > geometry.kept_features:
        return _Multipliers(ComputedArrays(found, -1.0), ComputedArrays(found), price, shares)
    sensitivity = {where: compute() for where, compute in found.items()}
    if source is not None:
        duals, prices = source.condition_prices()
        sensitivity |= {where: np.asarray(-value) for where, value in duals.items()}
        price |= prices
    duals = {where: np.asarray(-value) for where, value in sensitivity.items()}
    return _Multipliers(duals, sensitivity, price, shares)
