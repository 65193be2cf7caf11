"""Frontiers over `map_bound`: one conic program compiled once, its bound a Parameter."""

from __future__ import annotations

import copy
import time
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from fairprog.errors import DataError, InfeasibleError
from fairprog.labels import Array, check_finite
from fairprog.programs.answer import Answer, assemble
from fairprog.programs.group_maps import read_maps
from fairprog.programs.nearest_normal import NearestNormal
from fairprog.programs.options import CONIC, refuse_bound, sign_choices
from fairprog.programs.solvers import refuse_collapse
from fairprog.programs.verified import verified
from fairprog.solution.frontier import Frontier

if TYPE_CHECKING:
    from fairprog.programs.nearest_ideal import NearestIdeal

__all__ = ["nearest_frontier"]


def _one_by_one(
    program: NearestIdeal, bounds: Array, time_limit: float | None, started: float
) -> Frontier:
    """Solve a program of another family at every bound (NaN where no price is known)."""
    found = []
    for bound in bounds:
        found.append(program.at_map_bound(float(bound)).solve(time_limit=time_limit))
    return Frontier(
        bounds,
        np.array([solution.kl for solution in found]),
        np.array([solution.price.get("consensus", np.nan) for solution in found]),
        "map_bound",
        "KL divergence (nats)",
        quantity="kl",
        compilations=len(found),
        solves=len(found),
        seconds=time.perf_counter() - started,
    )


def nearest_frontier(
    program: NearestIdeal, map_bounds: ArrayLike, *, time_limit: float | None = None
) -> Frontier:
    """Return KL and the price of consensus at every `map_bound`.

    Parameters
    ----------
    program : NearestIdeal
        With some group that stays; its own `map_bound` is ignored.
    map_bounds : array_like, shape (n,)
        Distances between maps, at least 0. 0 is solved exactly; the others share one compilation.
    time_limit : float, optional
        Seconds per solve.

    Returns
    -------
    Frontier
    """
    from fairprog.programs.compile import solve

    started = time.perf_counter()
    bounds = np.atleast_1d(check_finite(map_bounds, "map_bounds"))
    if np.any(bounds < 0):
        raise DataError("`map_bounds` must be at least 0.", argument="map_bounds")
    program.at_map_bound(float(bounds.max()))  # refuses programs that take none
    if not isinstance(program, NearestNormal):
        return _one_by_one(program, bounds, time_limit, started)
    if not program.staying:
        refuse_bound(program.population.groups)
    kl, price = np.full(len(bounds), np.nan), np.full(len(bounds), np.nan)
    solves = 0
    compiled: list[Any] = []
    for k, bound in enumerate(bounds):
        at_bound = copy.copy(program)
        at_bound.map_bound = float(bound)
        if bound == 0.0:
            solution = at_bound.solve(time_limit=time_limit)
        else:
            if not compiled:
                choices = sign_choices(program.frames(), program.orientation)
                compiled = [at_bound.compile(frames) for frames in choices]
            best: Answer | None = None
            failure: InfeasibleError | None = None
            for one in compiled:
                one.map_bound.value = float(bound)
                one.log.clear()
                try:
                    solve(one, CONIC, time_limit, False, {})
                except InfeasibleError as error:
                    failure = error
                    continue
                answer = Answer(read_maps(one), one.solver, globally_optimal=True)
                answer.compiled = one
                if best is None or answer.cost() < best.cost():
                    best = answer
                    refuse_collapse(at_bound, best)
                    solution = assemble(at_bound, best, 0.0)
            if best is None:
                assert failure is not None
                raise failure
            verified(solution, f" at bound {bound:g}", program.advice)
        solves += 1
        kl[k], price[k] = solution.kl, solution.price.get("consensus", np.nan)
    return Frontier(
        bounds,
        kl,
        price,
        "map_bound",
        "KL divergence (nats)",
        quantity="kl",
        compilations=len(compiled),
        solves=solves,
        seconds=time.perf_counter() - started,
    )
