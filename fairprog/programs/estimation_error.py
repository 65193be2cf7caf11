r"""How estimates of cells vary: directions v_j with sum v_j v_j' the covariance of the estimator.

A population of a family is moved along such directions; everything computed from it follows. Rows
count as independent draws from the fitted laws: proportions are multinomial, means normal,
covariances Wishart, locations and scales as Fisher's information says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from fairprog.errors import DataError, ModelError
from fairprog.kernels.multivariate.normal import symmetric_root
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
    n = rows_of_cells(D)
    known = isinstance(D, Normal) or (isinstance(D, LocationScale) and D.moves_scale)
    if not known:
        raise ModelError(
            f"How estimates of {type(D).__name__} populations vary is not known here; intervals "
            "are for normal and location-scale families, and what they become by a bijection.",
            argument="population",
        )
    size, move = _standardised(D, n)
    if size <= most:
        return Error(D, [move(unit) for unit in np.eye(size)], 1.0, _bias(D, n))
    moves = [move(rng.standard_normal(size)) for _ in range(most)]
    return Error(D, moves, 1.0 / most, _bias(D, n))


def random_error(D: Any, rng: np.random.Generator) -> Move:
    """Return one random error of the estimate of a population."""
    size, move = _standardised(D, rows_of_cells(D))
    return move(rng.standard_normal(size))


def _standardised(D: Any, n: Array) -> tuple[int, Callable[[Array], Move]]:
    """Return how many independent standard numbers make an error, and what they make."""
    (K, G), d, root = n.shape, D.n_features, np.sqrt(D.prior.ravel())
    shares = root[:, None] * (np.eye(K * G) - np.outer(root, root)) / np.sqrt(n.sum())
    full = isinstance(D, Normal) and not isinstance(D, DiagonalNormal)
    tied = full and D.covariance == "tied"
    factors, upper = _factors(D, n), np.triu_indices(d)
    spread = d * (d + 1) // 2 if full else d
    off = np.where(upper[0] == upper[1], 0.5, np.sqrt(0.5))  # S + S' has entries of norm one
    zero = np.zeros((K, G, d, d)[: 2 + isinstance(D, Normal) + full])

    def move(x: Array) -> Move:
        first = np.zeros(zero.shape[: 2 + isinstance(D, Normal)])
        second, parts = zero.copy(), iter(np.split(x[K * G :].reshape(K * G, -1), K * G))
        for i, a in np.ndindex(K, G):
            y, F = next(parts)[0], factors[i, a]
            if full:
                first[i, a] = F @ y[:d] / np.sqrt(n[i, a])
                m = n[:, a].sum() if tied else n[i, a]
                if not (tied and i):
                    S = np.zeros((d, d))
                    S[upper] = y[d:] * off
                    W = F @ (S + S.T) @ F * np.sqrt(2.0 / m)
                    second[slice(None) if tied else i, a] = W
            elif isinstance(D, Normal):
                first[i, a], second[i, a] = F * y[:d], np.sqrt(2.0 / n[i, a]) * y[d:]
            else:
                step = F @ y / np.sqrt(n[i, a])
                first[i, a], second[i, a] = D.base_scale[i, a] * step[0], step[1]
        return (shares @ x[: K * G]).reshape(K, G), first, second

    return K * G * (1 + d + spread), move


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
    from scipy.integrate import quad

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


def _bias(D: Any, n: Array) -> Move | None:
    """Return the bias of moments divided by n; None of other estimates, where it is not known."""
    if not isinstance(D, Normal):
        return None
    none = np.zeros(n.shape), np.zeros(D.location.shape)
    if isinstance(D, DiagonalNormal):  # of the logarithm
        return (*none, np.zeros(D.location.shape) - 2.0 / n[..., None])
    share = 1.0 / n
    if D.covariance == "tied":
        share = np.broadcast_to(len(n) / n.sum(axis=0), n.shape)
    return (*none, -D.cov * share[..., None, None])
