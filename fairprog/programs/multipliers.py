"""Duals, sensitivities and prices of an answer, by the address of each condition."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from fairprog.labels import Array
from fairprog.programs.answer import Answer
from fairprog.programs.geometries.base import Geometry
from fairprog.solution.arrays import ComputedArrays


@dataclass(frozen=True)
class Multipliers:
    """Duals in CVXPY's sign, sensitivities, prices, and those of consensus by condition."""

    duals: Mapping[str, Array]
    sensitivity: Mapping[str, Array]
    price: Mapping[str, float]
    shares: Mapping[str, float]


def multipliers_of(geometry: Geometry, answer: Answer) -> Multipliers:
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
        return Multipliers(ComputedArrays(computed, -1.0), ComputedArrays(computed), price, shares)
    source = answer.compiled or answer.priced
    if source is not None:
        duals, prices = source.condition_prices()
        sensitivity |= {where: np.asarray(-value) for where, value in duals.items()}
        price |= prices
    duals = {where: np.asarray(-value) for where, value in sensitivity.items()}
    return Multipliers(duals, sensitivity, price, shares)
