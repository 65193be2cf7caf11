"""From an answer to a verified `Solution`: KL, population and prices recomputed in numpy."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from fairprog.labels import Array
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
    by_group |= {g.problem.group: g.user_map for g in answer.groups}
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
    lazy = geometry.n_features > geometry.kept_features and answer.compiled is None
    computed: dict[str, Callable[[], Array]] = {}
    sensitivity: dict[str, Array] = {}
    shares: dict[str, float] = {}
    for g in answer.groups:
        where = g.addresses(geometry.D.classes)
        for own, prices in zip(where, g.totals[0], strict=True):
            shares |= dict(zip(own, prices, strict=bool(prices)))
        if lazy:
            places = ((w, i, k) for i, own in enumerate(where) for k, w in enumerate(own))
            computed |= {w: partial(g.sensitivity, i, k) for w, i, k in places}
            continue
        for own, values in zip(where, g.sensitivities(), strict=True):
            sensitivity |= dict(zip(own, values, strict=True))
    price = {"consensus": float(sum(shares.values()))} if shares else {}
    if lazy:
        return _Multipliers(
            ComputedArrays(computed, -1.0), ComputedArrays(computed), price, shares
        )
    source = answer.compiled or answer.priced
    if source is not None:
        duals, prices = source.condition_prices()
        sensitivity |= {where: np.asarray(-value) for where, value in duals.items()}
        price |= prices
    duals = {where: np.asarray(-value) for where, value in sensitivity.items()}
    return _Multipliers(duals, sensitivity, price, shares)
