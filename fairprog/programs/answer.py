"""From solved maps to a verified `Solution`: KL, population and prices recomputed in numpy."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from fairprog.kernels.cells import LARGE, push_cov
from fairprog.kernels.normal import push
from fairprog.labels import Array, address
from fairprog.populations import Normal
from fairprog.programs.group_maps import GroupMaps
from fairprog.programs.proof import certify
from fairprog.programs.second_answer import SecondAnswer
from fairprog.solution import Solution
from fairprog.solution.arrays import ComputedArrays
from fairprog.transports import AffineMap

if TYPE_CHECKING:
    from fairprog.programs.compile import Compiled
    from fairprog.programs.nearest_normal import NearestNormal

__all__ = ["Answer", "assemble"]


@dataclass(eq=False)
class Answer(SecondAnswer):
    """What a solver returned, before it is believed."""

    groups: list[GroupMaps]
    solver: str
    globally_optimal: bool
    reference: tuple[Array, Array] | None = None
    compiled: Compiled | None = None
    kinked: bool = False  # a condition has no gradient here; `conic_gap` is to the other solver


def assemble(program: NearestNormal, answer: Answer, seconds: float) -> Solution:
    """Build the steered population and prove it."""
    D = program.population
    relaxed = program.map_bound > 0
    maps: dict[Hashable, AffineMap] = {D.groups[a]: T for a, T in program.staying_maps.items()}
    for g in answer.groups:
        maps[g.frame.group] = g.common
    maps = {label: maps[label] for label in D.groups}
    cells = _common_cells(program, answer)
    duals, sensitivity, price, by_condition = _prices(program, answer)
    population = _population(program, answer, maps, cells, relaxed)
    kl = population.kl(D)
    certificate = certify(program, answer, population, maps, cells, kl)
    return Solution(
        kl=kl,
        original=D,
        population=population,
        affine=maps,
        duals=duals,
        sensitivity=sensitivity,
        price=price,
        price_by_condition=by_condition,
        price_interval={} if program.constraints else {k: (v, v) for k, v in price.items()},
        certificate=certificate,
        settings=program.settings(),
        solver=answer.solver,
        seconds=seconds,
    )


def _common_cells(program: NearestNormal, answer: Answer) -> tuple[Array, Array]:
    """Return the common laws R_i in all features: the reference's, or the free ones."""
    D = program.population
    if program.reference is not None:
        return D.location[:, program.reference], D.cov_of(program.reference)
    assert answer.reference is not None
    m, M = answer.reference
    U = D.support_basis
    outside = D.location[:, 0] @ (np.eye(len(U)) - U @ U.T)
    return m @ U.T + outside, U @ M @ U.T


def _population(
    program: NearestNormal,
    answer: Answer,
    maps: dict[Hashable, AffineMap],
    cells: tuple[Array, Array],
    relaxed: bool,
) -> Normal:
    """Push the common laws through the maps; groups that stay are copied to the bit."""
    D = program.population
    if D.n_features > LARGE and not relaxed:
        return _large_population(program, answer, maps, cells)
    mean, cov = D.location.copy(), D.cov.copy()
    for g in answer.groups:
        a = D.groups.index(g.frame.group)
        T = maps[g.frame.group]
        mean[:, a], cov[:, a] = push(T.matrix, T.offset, *cells)
        if relaxed and g.S_cells is not None and g.beta_cells is not None:
            for i in range(D.n_classes):
                T = g.frame.user_map(g.S_cells[i], g.beta_cells[i])
                mean[i, a], cov[i, a] = push(T.matrix, T.offset, cells[0][i], cells[1][i])
    labels: dict[str, Any] = {
        "classes": D.classes,
        "groups": D.groups,
        "feature_names": D.feature_names,
    }
    if D.covariance == "tied" and not relaxed:  # one map for all classes keeps them tied
        return type(D)(program.prior, mean, cov=cov[0], covariance="tied", **labels)
    if not D.is_univariate:
        return type(D)(program.prior, mean, cov=cov, **labels)
    std = np.sqrt(cov[..., 0, 0])
    std[:, program.staying] = D.std[:, program.staying]
    return type(D)(program.prior, mean[..., 0], std=std, **labels)


def _large_population(
    program: NearestNormal,
    answer: Answer,
    maps: dict[Hashable, AffineMap],
    cells: tuple[Array, Array],
) -> Normal:
    """Push cell by cell; groups that stay share the original's arrays."""
    D = program.population
    mean = D.location.copy()
    covs = [D.cov_of(a) for a in range(D.n_groups)]
    m, M = cells
    for g in answer.groups:
        a, T = D.groups.index(g.frame.group), maps[g.frame.group]
        mean[:, a] = m @ T.matrix.T + T.offset
        distinct = M[:1] if D.covariance == "tied" else M
        pushed = np.empty(distinct.shape)
        for i, S in enumerate(distinct):
            pushed[i] = push_cov(T.matrix, S)
        covs[a] = np.broadcast_to(pushed, M.shape)
    return D._moved(program.prior, mean, covs)


def _prices(
    program: NearestNormal, answer: Answer
) -> tuple[Mapping[str, Array], Mapping[str, Array], dict[str, float], dict[str, float]]:
    """Return duals (CVXPY's sign), sensitivities, prices, and that of consensus by condition."""
    D = program.population
    found: dict[str, Callable[[], Array]] = {}
    shares: dict[str, float] = {}
    for g in answer.groups:
        for i, (c, (linear, offset)) in enumerate(zip(D.classes, g.totals[0], strict=True)):
            if g.frame.kind != "fixed":
                where = address("linear", g.frame.group, c)
                found[where], shares[where] = partial(_linear, g, i), linear
            where = address("offset", g.frame.group, c)
            found[where], shares[where] = partial(_offset, g, i, D.is_univariate), offset
    price = {"consensus": float(sum(shares.values()))}
    if D.n_features > LARGE and answer.compiled is None:
        return ComputedArrays(found, -1.0), ComputedArrays(found), price, shares
    sensitivity = {where: compute() for where, compute in found.items()}
    duals = {where: np.asarray(-value) for where, value in sensitivity.items()}
    if answer.compiled is not None:
        own, prices = answer.compiled.condition_prices()
        duals, price = duals | own, price | prices
        sensitivity |= {where: np.asarray(-value) for where, value in own.items()}
    return duals, sensitivity, price, shares


def _linear(g: GroupMaps, i: int) -> Array:
    """Return the sensitivity of one class's linear condition, in the user's units."""
    linear, _ = g.frame.user_multipliers(*g.class_prices(i))
    assert linear is not None
    return linear


def _offset(g: GroupMaps, i: int, univariate: bool) -> Array:
    """Return the sensitivity of one class's offset, in the user's units."""
    offset = g.frame.user_offset(g.class_prices(i)[1])
    return np.asarray(offset[0]) if univariate else offset
