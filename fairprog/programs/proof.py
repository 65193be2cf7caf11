"""The certificate: residuals of an answer, computed in numpy from the answer itself."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from fairprog.kernels.all_groups import pull_back
from fairprog.kernels.common_map import map_residual
from fairprog.labels import Array
from fairprog.populations import Normal
from fairprog.programs.frames import dual_norms
from fairprog.solution import Certificate
from fairprog.transports import AffineMap, Whitened

if TYPE_CHECKING:
    from fairprog.programs.answer import Answer
    from fairprog.programs.nearest_ideal import NearestIdeal

__all__ = ["certify"]


def certify(
    program: NearestIdeal,
    answer: Answer,
    population: Normal,
    maps: Mapping[Hashable, AffineMap],
    cells: tuple[Array, Array],
    kl: float,
) -> Certificate:
    """Return the certificate of an answer; nothing in it is taken from a solver's word."""
    compiled = answer.compiled
    answered = [a for a in range(population.n_groups) if a not in program.staying]
    conditional = compiled is not None and bool(program.constraints or program.map_bound > 0)
    residual = _conic_stationarity(answer) if conditional else _stationarity(program, answer, maps)
    return Certificate(
        kkt_residual=residual / max(1.0, kl),
        ideality_residual=_ideality(program, population, maps, cells, answered),
        staying_residual=_ideality(program, population, maps, cells, program.staying),
        feasibility_residual=compiled.worst_violation() if compiled is not None else 0.0,
        conic_gap=answer.conic_gap,
        parameter_gap=answer.parameter_gap,
        globally_optimal=answer.globally_optimal,
        requires_ideality=program.map_bound == 0,
    )


def _ideality(
    program: NearestIdeal,
    population: Normal,
    maps: Mapping[Hashable, AffineMap],
    cells: tuple[Array, Array],
    groups: Sequence[int],
) -> float:
    """Return the worst whitened residual of a cell of some groups, plus that of base rates."""
    U = program.population.support_basis
    m, M = cells[0] @ U, U.T @ cells[1] @ U
    target = program.prior / program.prior.sum(axis=0)
    worst, off = 0.0, 0.0
    for a in groups:
        T = maps[population.groups[a]]
        # what the constant directions add to A x
        constant = (cells[0][0] - m[0] @ U.T) @ T.matrix.T @ U
        A, b = U.T @ T.matrix @ U, U.T @ T.offset + constant
        mean, cov = population.location[:, a] @ U, U.T @ population.cov[:, a] @ U
        worst = max(worst, map_residual(A, b, m, M, mean, cov))
        off = max(off, float(np.abs(population.base_rates[:, a] - target[:, a]).max()))
    return worst + off


def _stationarity(
    program: NearestIdeal, answer: Answer, maps: Mapping[Hashable, AffineMap]
) -> float:
    """Return the Newton decrement in every group's map, and the residual of the common laws."""
    squares = 0.0
    for g in answer.groups:
        N, n = g.frame.gradients(g.S, g.beta)
        squares += g.frame.decrement(g.S, N.sum(axis=0), n.sum(axis=0)) ** 2
    if answer.reference is not None:
        squares += _reference_residual(program, maps, answer.reference) ** 2
    return float(np.sqrt(squares))


def _reference_residual(
    program: NearestIdeal, maps: Mapping[Hashable, AffineMap], cells: tuple[Array, Array]
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


def _conic_stationarity(answer: Answer) -> float:
    """Return the size of the Lagrangian's gradient in every variable of the conic program.

    Cell maps: gradient of the cell cost minus its consensus multiplier plus the conditions';
    common map: the multipliers sum to zero; slacks: each multiplier's dual norm is that of its
    ball.
    """
    compiled = answer.compiled
    assert compiled is not None
    from_conditions = compiled.condition_gradients()
    balls = compiled.ball_multipliers()
    squares = 0.0
    for cell, g in zip(compiled.cells, answer.groups, strict=True):
        G, h = g.gradients()
        N, n = g.prices()
        for i in range(len(h)):
            left, rest = G[i] - N[i], h[i] - n[i] + from_conditions.get(cell.betas[i].id, 0.0)
            if cell.thetas[i] is not None and cell.thetas[i].id in from_conditions:
                left = left + np.tensordot(from_conditions[cell.thetas[i].id], cell.basis, 1)
            S = g.S if g.S_cells is None else g.S_cells[i]
            squares += g.frame.decrement(S, left, rest, [i]) ** 2
            if balls:
                linear, offset = dual_norms(g.frame, N[i], n[i])
                own = balls[str(g.frame.group), i]
                squares += (linear - own[0]) ** 2 + (offset - own[1]) ** 2
        squares += g.frame.decrement(g.S, N.sum(axis=0), n.sum(axis=0)) ** 2
    return float(np.sqrt(squares))
