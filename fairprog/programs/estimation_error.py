r"""How estimates of cells vary: directions v_j with sum v_j v_j' the covariance of the estimator.

A population of a family is moved along such directions; everything computed from it follows. Rows
count as independent draws from the fitted laws: proportions are multinomial, means normal,
covariances Wishart, locations and scales as Fisher's information says.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.integrate import quad

from fairprog.errors import DataError, ModelError
from fairprog.kernels.normal import symmetric_root
from fairprog.kernels.one_group import linear_basis
from fairprog.labels import Array
from fairprog.populations import DiagonalNormal, LocationScale, Normal
from fairprog.populations.law import Law

MOST = 400  # directions; of more parameters, so many random combinations

Move = tuple[Array, ...]  # changes of prior (K, G), and of the cells' parameters


@dataclass(frozen=True, eq=False)
class Error:
    """Directions of the error of an estimate, and its bias.

    Attributes
    ----------
    D : Population, in its own coordinates
    moves : list of Move
        At the size of one standard deviation.
    weight : float
        Of each in a sum of squares: 1, or 1 over their number where they are random.
    bias : Move or None
        The bias of the estimator.
    """

    D: Any
    moves: list[Move]
    weight: float
    bias: Move | None

    def moved(self, move: Move, size: float) -> Any:
        """Return the population at that many standard deviations along a direction."""
        return displaced(self.D, tuple(size * part for part in move))


def rows_of_cells(D: Any) -> Array:
    """Return the rows of every cell, (K, G), known or refused."""
    if D.n_rows is None:
        raise DataError(
            "The population does not know how many rows it was estimated from; fit it, or say "
            "population.with_rows(n_rows) with the rows of every cell before solving.",
            argument="population",
        )
    return np.asarray(D.n_rows, dtype=float)


def displaced(D: Any, move: Move) -> Any:
    """Return a population with prior and parameters of its cells changed; prior sums to one."""
    prior = D.prior + move[0]
    prior = np.maximum(prior, 1e-12) / np.maximum(prior, 1e-12).sum()
    if isinstance(D, DiagonalNormal):
        return type(D)(prior, D.location + move[1], cov=D.std**2 * np.exp(move[2]),
                       covariance="diagonal", classes=D.classes, groups=D.groups)  # fmt: skip
    if isinstance(D, Normal):
        cells = []
        for a in range(D.n_groups):
            S = D.cov_of(a)
            if D.covariance == "tied":  # one array for all classes
                shared = np.asarray(S[0] + move[2][0, a])
                cells.append(np.broadcast_to(shared, S.shape))
            else:
                cells.append(S + move[2][:, a])
        return D._moved(prior, D.location + move[1], cells)
    return D.with_cells(prior, D.base_loc + move[1], D.base_scale * np.exp(move[2]))


def estimation_error(D: Any, rng: np.random.Generator, most: int = MOST) -> Error:
    """Return the error of maximum-likelihood estimates from the rows a population knows.

    Raises
    ------
    DataError
        If it knows none.
    ModelError
        For families whose estimates have another law.
    """
    n, q = rows_of_cells(D), D.prior
    K, G, d = D.n_classes, D.n_groups, D.n_features
    root = np.sqrt(q.ravel())
    shares = root[:, None] * (np.eye(K * G) - np.outer(root, root)) / np.sqrt(n.sum())
    normal = isinstance(D, Normal) and not isinstance(D, DiagonalNormal)
    if not normal and not (isinstance(D, LocationScale) and D.moves_scale) and not isinstance(
        D, DiagonalNormal
    ):  # fmt: skip
        raise ModelError(
            f"How estimates of {type(D).__name__} populations vary is not known here; intervals "
            "are for normal and location-scale families, and what they become by a bijection.",
            argument="population",
        )
    second = linear_basis("symmetric", d) if normal else np.eye(d)
    size = K * G * (1 + d + len(second))
    factors = _factors(D, n)
    if size <= most:
        moves = list(_basis_moves(D, shares, factors, second, n))
        return Error(D, moves, 1.0, _bias(D, n))
    moves = [_random_move(D, shares, factors, n, rng) for _ in range(most)]
    return Error(D, moves, 1.0 / most, _bias(D, n))


def random_error(D: Any, rng: np.random.Generator) -> Move:
    """Return one random error of the estimate of a population."""
    return estimation_error(D, rng, most=1).moves[0]


def _factors(D: Any, n: Array) -> Array:
    """Return square roots of the cells' own covariances of means (or of locations and scales)."""
    if isinstance(D, DiagonalNormal):
        return np.asarray(D.std / np.sqrt(n)[..., None])
    if isinstance(D, Normal):
        return np.stack([symmetric_root(np.asarray(D.cov_of(a))) for a in range(D.n_groups)], 1)
    return np.array(
        [[fisher_root(D.law(i, a)) for a in range(D.n_groups)] for i in range(D.n_classes)]
    )


@lru_cache(maxsize=64)
def fisher_root(law: Law) -> Array:
    r"""Return a root of the inverse information of (location, log scale) of one row, (2, 2)."""
    low, high = max(law.support[0], -60.0), min(law.support[1], 60.0)

    def entry(f: Any) -> float:
        breaks = [k for k in (*law.kinks, 0.0) if low < k < high]
        value, _ = quad(lambda z: f(z) * np.exp(-law.phi(np.array(z))), low, high,
                        points=breaks, limit=400)  # fmt: skip
        return float(value)

    def slope(z: float) -> float:
        return float(law.bounded_slope(np.array(z)))

    cross = entry(lambda z: slope(z) * (z * slope(z) - 1.0))
    information = np.array(
        [
            [entry(lambda z: slope(z) ** 2), cross],
            [cross, entry(lambda z: (z * slope(z) - 1) ** 2)],
        ]
    )
    return np.linalg.cholesky(np.linalg.inv(information))


def _zero(D: Any) -> list[Array]:
    K, G, d = D.n_classes, D.n_groups, D.n_features
    if isinstance(D, DiagonalNormal):
        return [np.zeros((K, G)), np.zeros((K, G, d)), np.zeros((K, G, d))]
    if isinstance(D, Normal):
        return [np.zeros((K, G)), np.zeros((K, G, d)), np.zeros((K, G, d, d))]
    return [np.zeros((K, G)), np.zeros((K, G)), np.zeros((K, G))]


def _basis_moves(D: Any, shares: Array, factors: Array, second: Array, n: Array) -> Iterator[Move]:
    """Yield one move per parameter."""
    for column in shares.T:
        move = _zero(D)
        move[0] = column.reshape(n.shape)
        yield tuple(move)
    tied = isinstance(D, Normal) and D.covariance == "tied"
    for i, a in np.ndindex(*n.shape):
        F, m = factors[i, a], n[i, a]
        if isinstance(D, DiagonalNormal):
            for j in range(D.n_features):
                for part, step in ((1, F[j]), (2, np.sqrt(2.0 / m))):
                    move = _zero(D)
                    move[part][i, a, j] = step
                    yield tuple(move)
        elif isinstance(D, Normal):
            for j in range(D.n_features):
                move = _zero(D)
                move[1][i, a] = F[:, j] / np.sqrt(m)
                yield tuple(move)
            if tied and i:
                continue
            m = n[:, a].sum() if tied else m
            for E in second:
                move = _zero(D)
                move[2][slice(None) if tied else i, a] = np.sqrt(2.0 / m) * F @ E @ F
                yield tuple(move)
        else:
            for column in F.T / np.sqrt(m):
                move = _zero(D)
                move[1][i, a], move[2][i, a] = D.base_scale[i, a] * column[0], column[1]
                yield tuple(move)


def _random_move(D: Any, shares: Array, factors: Array, n: Array, rng: Any) -> Move:
    """Return a random error of all parameters together."""
    move = _zero(D)
    move[0] = (shares @ rng.standard_normal(n.size)).reshape(n.shape)
    tied = isinstance(D, Normal) and D.covariance == "tied"
    for i, a in np.ndindex(*n.shape):
        F, m, d = factors[i, a], n[i, a], D.n_features
        if isinstance(D, DiagonalNormal):
            move[1][i, a] = F * rng.standard_normal(d)
            move[2][i, a] = np.sqrt(2.0 / m) * rng.standard_normal(d)
        elif isinstance(D, Normal):
            move[1][i, a] = F @ rng.standard_normal(d) / np.sqrt(m)
            W = rng.standard_normal((d, d))
            if not tied:
                move[2][i, a] = F @ (W + W.T) @ F / np.sqrt(2.0 * m)
            elif not i:
                move[2][:, a] = F @ (W + W.T) @ F / np.sqrt(2.0 * n[:, a].sum())
        else:
            step = F @ rng.standard_normal(2) / np.sqrt(m)
            move[1][i, a], move[2][i, a] = D.base_scale[i, a] * step[0], step[1]
    return tuple(move)


def _bias(D: Any, n: Array) -> Move | None:
    """Return the bias of moments divided by n; None of other estimates, where it is not known."""
    move = _zero(D)
    if isinstance(D, DiagonalNormal):
        move[2] -= 2.0 / n[..., None]  # of the logarithm
    elif isinstance(D, Normal):
        tied = D.covariance == "tied"
        for a in range(D.n_groups):
            share = len(n) / n[:, a].sum() if tied else (1.0 / n[:, a])[:, None, None]
            move[2][:, a] = -np.asarray(D.cov_of(a)) * share
    else:
        return None
    return tuple(move)
