"""From diagonal maps to a verified `Solution`: everything recomputed from the maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from fairprog.kernels.diagonal import diagonal_residual
from fairprog.kernels.diagonal_all import pulled_back
from fairprog.labels import Array, address
from fairprog.populations import DiagonalNormal
from fairprog.programs.base_rates import base_rate_residual
from fairprog.programs.diagonal_maps import DiagonalMaps
from fairprog.solution import Certificate, Solution
from fairprog.solution.arrays import ComputedArrays
from fairprog.transports import DiagonalMap

if TYPE_CHECKING:
    from fairprog.programs.nearest_diagonal import NearestDiagonal

__all__ = ["DiagonalAnswer", "assemble_diagonal"]

EAGER = 64  # features up to which multipliers are kept; beyond they are computed when asked for


@dataclass(eq=False)
class DiagonalAnswer:
    """What was solved: the maps, the common cells (K, k) and whether those were free."""

    groups: list[DiagonalMaps]
    cells: tuple[Array, Array]
    solver: str
    globally_optimal: bool
    free: bool = False
    conic_gap: float | None = None
    parameter_gap: float | None = None


def assemble_diagonal(
    program: NearestDiagonal, answer: DiagonalAnswer, seconds: float
) -> Solution:
    """Build the steered population and prove it."""
    D = program.population
    maps = {g.group: g.user_map() for g in answer.groups}
    maps |= {D.groups[a]: T for a, T in program.diagonal_staying_maps.items()}
    maps = {label: maps[label] for label in D.groups}
    population = _population(program, answer)
    kl = population.kl(D)
    found: dict[str, Callable[[], Array]] = {}
    shares: dict[str, float] = {}
    for g in answer.groups:
        for i, (c, (linear, offset)) in enumerate(zip(D.classes, g.prices(), strict=True)):
            if g.kind != "fixed":
                where = address("linear", g.group, c)
                found[where], shares[where] = partial(g.linear, i), linear
            where = address("offset", g.group, c)
            found[where], shares[where] = partial(g.offset, i), offset
    price = {"consensus": float(sum(shares.values()))}
    sensitivity, duals = ComputedArrays(found), ComputedArrays(found, -1.0)
    small = D.n_features <= EAGER
    return Solution(
        kl=kl,
        original=D,
        population=population,
        affine=maps,
        duals=dict(duals) if small else duals,
        sensitivity=dict(sensitivity) if small else sensitivity,
        price=price,
        price_by_condition=shares,
        price_interval={k: (v, v) for k, v in price.items()},
        certificate=_certify(program, answer, population, maps, kl),
        settings=program.settings(),
        solver=answer.solver,
        seconds=seconds,
    )


def _population(program: NearestDiagonal, answer: DiagonalAnswer) -> DiagonalNormal:
    """Push the common cells through the maps; groups that stay are copied to the bit."""
    D, (m, M) = program.population, answer.cells
    mean, variances = D.location.copy(), D.variances.copy()
    for g in answer.groups:
        a = D.groups.index(g.group)
        mean[:, a, D.varies] = g.gain * m + g.shift
        variances[:, a, D.varies] = g.gain**2 * M
    return D.with_cells(program.prior, mean, variances)


def _certify(
    program: NearestDiagonal,
    answer: DiagonalAnswer,
    population: DiagonalNormal,
    maps: dict[object, DiagonalMap],
    kl: float,
) -> Certificate:
    """Return residuals computed from the answer itself."""
    squares = sum(g.decrement() ** 2 for g in answer.groups)
    if answer.free:
        squares += _reference_residual(program, answer) ** 2
    others = [a for a in program.staying if a != program.reference]
    return Certificate(
        kkt_residual=float(np.sqrt(squares / max(1.0, kl))),
        ideality_residual=_ideality(program, answer, population, maps, program.steered),
        staying_residual=_ideality(program, answer, population, maps, others),
        feasibility_residual=0.0,
        conic_gap=answer.conic_gap,
        parameter_gap=answer.parameter_gap,
        globally_optimal=answer.globally_optimal,
    )


def _ideality(
    program: NearestDiagonal,
    answer: DiagonalAnswer,
    population: DiagonalNormal,
    maps: dict[object, DiagonalMap],
    groups: Sequence[int],
) -> float:
    """Return the worst whitened residual of a cell of some groups, plus that of base rates."""
    D = program.population
    off = base_rate_residual(D, population, groups, program.reference, program.base_rates)
    worst = 0.0
    for a in groups:
        T = maps[population.groups[a]]
        gain, shift = population.varying(T.diagonal), population.varying(T.offset)
        own = population.support_mean[:, a], population.support_variances[:, a]
        worst = max(worst, diagonal_residual(gain, shift, *answer.cells, *own))
    return worst + off


def _reference_residual(program: NearestDiagonal, answer: DiagonalAnswer) -> float:
    """Return how far free common laws are from the best ones for the maps, whitened, weighted."""
    D, (m, M) = program.population, answer.cells
    gain = np.stack([g.gain for g in answer.groups])
    shift = np.stack([g.shift for g in answer.groups])
    best_m, best_M = pulled_back(gain, shift, program.prior, D.support_mean, D.support_variances)
    squares = ((best_M / M - 1.0) ** 2 + (best_m - m) ** 2 / M).sum(axis=1)
    return float(np.sqrt((program.prior.sum(axis=1) ** 2 * squares).sum()))
