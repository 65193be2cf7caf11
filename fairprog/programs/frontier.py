"""KL and the price of consensus over a range of `map_bound`."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fairprog.errors import DataError
from fairprog.labels import check_finite
from fairprog.programs.answer import Conic
from fairprog.programs.geometries.base import Geometry
from fairprog.programs.ladder import compile_choices
from fairprog.programs.prove import prove
from fairprog.programs.verified import verified
from fairprog.solution.frontier import Frontier


def map_bound_frontier(
    geometry: Geometry, map_bounds: ArrayLike, time_limit: float | None
) -> Frontier:
    """Return KL and the price of consensus (NaN where it is not known) at every bound.

    Every bound is solved exactly where there is a method; else bounds above zero share one
    compilation, whose bound is a CVXPY Parameter.
    """
    started = time.perf_counter()
    bounds = np.atleast_1d(check_finite(map_bounds, "map_bounds"))
    if not bounds.size or np.any(bounds < 0):
        raise DataError(
            f"`map_bounds` must hold at least one distance, and none below 0; found "
            f"{bounds.tolist()}.",
            argument="map_bounds",
        )
    geometry.at(geometry.question.at_map_bound(bounds.max())).refuse()  # programs that take none
    conic = Conic(time_limit, False, {})
    compiled: list[Any] = []
    kl, price = [], []
    for bound in bounds:
        at_bound = geometry.at(geometry.question.at_map_bound(bound))
        if bound > 0 and not at_bound.takes_balls:
            compiled = compiled or compile_choices(at_bound)
            for program in compiled:
                program.map_bound.value = float(bound)
        solution = prove(at_bound, "auto", conic, started, compiled if bound > 0 else ())
        verified(solution, f" at bound {bound:g}", geometry.advice)
        kl.append(solution.kl)
        price.append(solution.price.get("consensus", np.nan))
    return Frontier(
        bounds,
        np.array(kl),
        np.array(price),
        "map_bound",
        "KL divergence (nats)",
        quantity="kl",
        compilations=len(compiled),
        solves=len(bounds),
        seconds=time.perf_counter() - started,
    )
