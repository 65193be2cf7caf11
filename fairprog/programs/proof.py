"""The certificate: residuals of an answer, computed in numpy from the answer itself."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fairprog.kernels.all_groups import pull_back, scale_ratio_cost
from fairprog.kernels.cells import LARGE, map_residuals
from fairprog.kernels.common_map import map_residual
from fairprog.kernels.normal import symmetric_root, unit_condition
from fairprog.labels import Array
from fairprog.populations import Normal
from fairprog.populations.cell_checks import RestrictedCells
from fairprog.programs.base_rates import base_rate_residual
from fairprog.programs.frames import dual_norms
from fairprog.solution import Certificate
from fairprog.solution.certificate import IDEALITY_TOLERANCE
from fairprog.transports import AffineMap, Whitened

if TYPE_CHECKING:
    from fairprog.programs.answer import Answer
    from fairprog.programs.nearest_normal import NearestNormal

__all__ = ["certify"]


def certify(
    program: NearestNormal,
    answer: Answer,
    population: Normal,
    maps: Mapping[Hashable, AffineMap],
    cells: tuple[Array, Array],
    kl: float,
) -> Certificate:
    """Return the certificate of an answer; nothing in it is taken from a solver's word."""
    compiled = answer.compiled
    answered = [a for a in range(population.n_groups) if a not in program.staying]
    others = [a for a in program.staying if a != program.reference]
    residual = 0.0
    if compiled is not None:
        residual = _conic_stationarity(answer)
    if not (program.constraints or program.map_bound > 0):
        residual = max(residual, _stationarity(program, answer, maps))
    ideality = _ideality(program, population, maps, cells, answered)
    return Certificate(
        kkt_residual=residual / float(np.sqrt(max(1.0, kl))),
        ideality_residual=ideality,
        staying_residual=_ideality(program, population, maps, cells, others),
        feasibility_residual=_feasibility(answer) / max(1.0, kl),
        conic_gap=answer.conic_gap,
        parameter_gap=answer.parameter_gap,
        globally_optimal=answer.globally_optimal and _no_lower_ratio(program, answer, maps),
        ideality_tolerance=_rounding(population, answered, ideality),
        requires_ideality=program.map_bound == 0,
    )


def _ideality(
    program: NearestNormal,
    population: Normal,
    maps: Mapping[Hashable, AffineMap],
    cells: tuple[Array, Array],
    groups: Sequence[int],
) -> float:
    """Return the worst whitened residual of a cell of some groups, plus that of base rates."""
    D, U = program.population, program.population.support_basis
    m = cells[0] @ U
    large = D.n_features > LARGE
    square = large and U.shape[0] == U.shape[1]
    M: Any = cells[1] if square else RestrictedCells(cells[1], U) if large else U.T @ cells[1] @ U
    off = base_rate_residual(D, population, groups, program.reference, program.base_rates)
    worst = 0.0
    for a in groups:
        T = maps[population.groups[a]]
        # what the constant directions add to A x
        constant = (cells[0][0] - m[0] @ U.T) @ T.matrix.T @ U
        A, b = T.matrix if square else U.T @ T.matrix @ U, U.T @ T.offset + constant
        mean = population.location[:, a] @ U
        measure = map_residuals if large else map_residual
        cov = population.support_cov_of(a) if large else U.T @ population.cov_of(a) @ U
        worst = max(worst, measure(A, b, m, M, mean, cov))
    return worst + off


def _rounding(population: Normal, groups: Sequence[int], residual: float) -> float:
    """Return the ideality residual that rounding alone may cause: eps times the condition.

    Above 64 features only where the residual needs the excuse.
    """
    if population.n_features > LARGE and residual <= IDEALITY_TOLERANCE:
        return IDEALITY_TOLERANCE
    cov = np.stack([np.asarray(population.support_cov_of(a)) for a in groups], axis=1)
    return max(IDEALITY_TOLERANCE, 16.0 * np.finfo(float).eps * unit_condition(cov))


def _no_lower_ratio(
    program: NearestNormal, answer: Answer, maps: Mapping[Hashable, AffineMap]
) -> bool:
    """Return whether no scale ratio on a wide grid is better than the polynomial's best root."""
    if answer.solver != "polynomial":
        return True
    D = program.population
    first, second = (float(maps[g].matrix[0, 0]) for g in D.groups)
    gamma = first / second
    grid = abs(gamma) * np.geomspace(1e-6, 1e6, 2001)
    if program.orientation == "any":
        grid = np.concatenate([-grid, grid])
    std = np.sqrt(D.support_cov[..., 0, 0])
    F = scale_ratio_cost(np.append(grid, gamma), program.prior, D.support_mean[..., 0], std)
    return bool(F[-1] <= F[:-1].min() + 1e-9 * max(1.0, abs(F[-1])))


def _stationarity(
    program: NearestNormal, answer: Answer, maps: Mapping[Hashable, AffineMap]
) -> float:
    """Return the Newton decrement in every group's map, and the residual of the common laws."""
    squares = 0.0
    for g in answer.groups:
        squares += g.common_decrement() ** 2
    if answer.reference is not None:
        squares += _reference_residual(program, maps, answer.reference) ** 2
    return float(np.sqrt(squares))


def _reference_residual(
    program: NearestNormal, maps: Mapping[Hashable, AffineMap], cells: tuple[Array, Array]
) -> float:
    """Return how far free common laws are from the best ones for the maps, whitened, weighted.

    The covariance of the class that `Whitened` whitens is a choice of coordinates, not free.
    """
    D, (m, M) = program.population, cells
    U = D.support_basis
    best_m, best_M = pull_back(
        program.prior,
        np.stack([U.T @ maps[g].matrix @ U for g in D.groups]),
        np.stack([maps[g].offset @ U for g in D.groups]),
        D.support_mean,
        D.support_cov,
    )
    L = np.linalg.cholesky(M)
    spread = np.linalg.solve(L, np.swapaxes(np.linalg.solve(L, best_M), -1, -2))
    squares = ((spread - np.eye(M.shape[-1])) ** 2).sum(axis=(-1, -2))
    if isinstance(program.transport, Whitened) and D.n_features > 1:
        k = program.transport.class_index(D.classes)
        squares[k] = 0.0  # its best mean does not depend on its covariance
    shift = np.linalg.solve(L, (best_m - m)[..., None])[..., 0]
    squares = squares + (shift**2).sum(axis=-1)
    return float(np.sqrt((program.prior.sum(axis=1) ** 2 * squares).sum()))


def _feasibility(answer: Answer) -> float:
    """Return the worst violation of conditions, consensus and complementary slackness.

    The consensus is measured between each class's map and the common one that is returned:
    |W (A_i - A) W^{-1}|_F and |W (T_i(c) - T(c))| against the bound. Slackness is in nats: what
    each multiplier times the unused part of its bound is worth.
    """
    compiled = answer.compiled
    if compiled is None:
        return 0.0
    bound = 0.0 if compiled.map_bound is None else float(compiled.map_bound.value)
    worst = max(compiled.worst_violation(), compiled.worst_slackness())
    for g in answer.groups:
        if g.S_cells is None or g.beta_cells is None:
            continue
        W = symmetric_root(g.frame.metric)
        N, n = g.prices()
        for i in range(len(n)):
            dS, dbeta = g.S_cells[i] - g.S, g.beta_cells[i] - g.beta
            moved = W @ dS @ g.frame.root @ np.linalg.inv(W)
            apart = max(float(np.linalg.norm(moved)), float(np.linalg.norm(W @ dbeta)))
            linear, offset = dual_norms(g.frame, N[i], n[i])
            # the best use of a bound is against its gradient, all of it
            unused = max(
                abs(float(np.sum(N[i] * dS)) + bound * linear),
                abs(float(n[i] @ dbeta) + bound * offset),
            )
            worst = max(worst, apart - bound, unused)
    return worst


def _conic_stationarity(answer: Answer) -> float:
    """Return the size of the Lagrangian's gradient in every variable of the conic program.

    Cell maps: gradient of the cell cost minus its consensus multiplier plus the conditions';
    common map: the multipliers sum to zero; slacks: each multiplier's dual norm is that of its
    ball.
    """
    compiled = answer.compiled
    assert compiled is not None
    from_conditions = None if answer.kinked else compiled.condition_gradients()
    balls = compiled.ball_multipliers()
    squares = 0.0
    for cell, g in zip(compiled.cells, answer.groups, strict=True):
        G, h = g.gradients()
        N, n = g.prices()
        for i in range(len(h)):
            if from_conditions is not None:
                left, rest = G[i] - N[i], h[i] - n[i] + from_conditions.get(cell.betas[i].id, 0.0)
                if cell.thetas[i] is not None and cell.thetas[i].id in from_conditions:
                    left = left + np.tensordot(from_conditions[cell.thetas[i].id], cell.basis, 1)
                S = g.S if g.S_cells is None else g.S_cells[i]
                squares += g.frame.decrement(S, left, rest, [i]) ** 2
            if balls:
                # in nats: what a unit of the scaled slack is worth
                bound = compiled.map_bound.value
                linear, offset = dual_norms(g.frame, N[i], n[i])
                own = balls[str(g.frame.group), i]
                squares += (bound * linear - own[0]) ** 2 + (bound * offset - own[1]) ** 2
        squares += g.frame.decrement(g.S, N.sum(axis=0), n.sum(axis=0)) ** 2
    return float(np.sqrt(squares))
