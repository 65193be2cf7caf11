"""Maps of normal populations: between the cells of two groups, from common laws to groups."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import cached_property, partial
from typing import Any, Self

import numpy as np

from fairprog.kernels.algebra.null_directions import extend, restrict
from fairprog.kernels.multivariate.cells import LARGE, map_residuals, push_cov
from fairprog.kernels.multivariate.common_map import common_map, map_residual
from fairprog.kernels.multivariate.normal import gaussian_map, push, symmetric_root
from fairprog.labels import Array
from fairprog.populations.cell_checks import RestrictedCells
from fairprog.populations.normal_cells import NormalCells
from fairprog.transports import AffineMap

TIED = 1e-12  # of the largest variance: what rounding makes of covariances that are one
NormalLaws = tuple[Array, Array]  # means (K, d) and covariances (K, d, d)


class ComputedMap:
    """A map of rows that is computed when it is first called, and kept.

    Two threads that call it at once compute the same map twice, and either is right.
    """

    def __init__(self, compute: Callable[[], Callable[[Array], Array]]) -> None:
        self._compute = compute

    @cached_property
    def map(self) -> Callable[[Array], Array]:
        """The map itself."""
        return self._compute()

    def __call__(self, X: Array) -> Array:
        """Move rows (n, d)."""
        return self.map(X)


class NormalMaps(NormalCells):
    """What moves the cells of a normal population, in normal coordinates."""

    # -- common laws, carried to groups by maps --

    def laws_of(self, a: int) -> NormalLaws:
        """Return means (K, d) and covariances (K, d, d) of the group at `a`."""
        return self._mean[:, a], self.cov_of(a)

    def lifted_laws(self, mean: Array, cov: Array) -> NormalLaws:
        """Return laws (K, k), (K, k, k) in support coordinates as laws of all features."""
        U = self._basis
        outside = self._mean[:, 0] @ (np.eye(len(U)) - U @ U.T)
        return mean @ U.T + outside, U @ cov @ U.T

    def common_map(self, r: int, a: int) -> AffineMap:
        """Return the affine map that best carries group r's cells to those of a.

        The identity in directions in which nothing varies; see
        :func:`fairprog.kernels.multivariate.common_map.common_map`.
        """
        U = self._basis
        if r == a:
            return AffineMap.identity(len(U))
        own = (self.support_mean[:, g] for g in (r, a))
        cells = (np.asarray(self.support_cov_of(g)) for g in (r, a))
        (m, mu), (S, to) = own, cells
        A, b, _ = common_map(m, S, mu, to)
        return AffineMap(extend(A, U), U @ b)

    def pushed(self, prior: Array, laws: NormalLaws, maps: Mapping[Hashable, Any]) -> Self:
        """Return the population whose group g is maps[g] # laws; see :meth:`Population.pushed`.

        Tied covariances stay tied under one map for all classes, and groups that stay share this
        population's arrays.
        """
        mean, covs, (m, M) = self._mean.copy(), list(self._cells), laws
        by_class = any(isinstance(T, Sequence) for T in maps.values())
        # common laws of other base rates have covariances that differ between the classes
        tied = self.covariance == "tied" and not by_class and _alike(M)
        together = not by_class and (tied or self.covariance != "tied")
        distinct = M[:1] if tied else M
        for g, T in maps.items():
            a = self.groups.index(g)
            if isinstance(T, Sequence):
                cells = [push(t.matrix, t.offset, *cell) for t, *cell in zip(T, m, M, strict=True)]
                mean[:, a], pushed = (np.stack(x) for x in zip(*cells, strict=True))
            elif mean.shape[-1] <= LARGE:
                mean[:, a], pushed = push(T.matrix, T.offset, m, distinct)
            else:  # one cell at a time
                mean[:, a], pushed = m @ T.matrix.T + T.offset, np.empty(distinct.shape)
                for i, S in enumerate(distinct):
                    pushed[i] = push_cov(T.matrix, S)
            if self.is_univariate:  # files hold the deviation, and what is loaded is the same
                pushed = np.sqrt(pushed) ** 2
            covs[a] = np.broadcast_to(pushed, M.shape)
        if not together:
            return self._with_cells(prior, mean, np.stack(covs, axis=1), tied)
        return self._moved(prior, mean, covs)

    def _with_cells(self, prior: Array, mean: Array, cov: Array, tied: bool) -> Self:
        """Return the population with the same labels and other cells, (1, G, d, d) where tied."""
        if self.is_univariate:
            std = np.sqrt(cov[..., 0, 0])
            return type(self)(prior, mean[..., 0], std=std, **self._labels())
        if tied:
            return type(self)(prior, mean, cov=cov[0], covariance="tied", **self._labels())
        return type(self)(prior, mean, cov=cov, **self._labels())

    def map_residual(self, T: AffineMap, laws: NormalLaws, a: int) -> float:
        """Return the worst whitened residual of the cells of the group at `a` against T # laws.

        In the directions that vary. Above 64 features a bound on it, close where it is small:
        see :func:`fairprog.kernels.multivariate.common_map.map_residual` and
        :func:`fairprog.kernels.multivariate.cells.map_residuals`.
        """
        U, large = self._basis, self.n_features > LARGE
        m, M = laws[0] @ U, laws[1]
        inner: Any = RestrictedCells(M, U) if large and U.shape[0] > U.shape[1] else restrict(M, U)
        # what the constant directions add to A x
        constant = (laws[0][0] - m[0] @ U.T) @ T.matrix.T @ U
        A, b = restrict(T.matrix, U), U.T @ T.offset + constant
        own = self.support_cov_of(a) if large else restrict(self.cov_of(a), U)
        measure = map_residuals if large else map_residual
        return measure(A, b, m, inner, self._mean[:, a] @ U, own)

    # -- moving cells --

    def mapped(self, maps: Mapping[Hashable, AffineMap]) -> Self:
        """Return the population whose group g is moved by maps[g], in normal coordinates."""
        tied = self.covariance == "tied"  # one map for all classes keeps them tied
        moved = [
            push(
                maps[g].matrix,
                maps[g].offset,
                self._mean[:, a],
                self._cells[a][:1] if tied else self._cells[a],
            )
            for a, g in enumerate(self.groups)
        ]
        mean, cov = (np.stack(parts, axis=1) for parts in zip(*moved, strict=True))
        return self._with_cells(self.prior, mean, cov, tied)

    def cell_maps(self, target: Self) -> Mapping[tuple[int, int], Callable[[Array], Array]]:
        """Return per cell the monotone transport to the cell of `target`, in the pooled metric.

        Each is computed when it is first called, and kept: together they are as large as the
        cells that move.
        """
        W = symmetric_root(self.pooled_cov, -0.5)
        return {
            (i, a): ComputedMap(partial(self._cell_map, target, W, i, a))
            for i, a in np.ndindex(*self.prior.shape)
        }

    def _cell_map(self, target: Self, W: Array, i: int, a: int) -> Callable[[Array], Array]:
        """Return the map of one cell to that of `target`, W the root of the metric."""
        U, S, to = self._basis, self._cells[a][i], target.cov_of(a)[i]
        same = np.array_equal(self._mean[i, a], target.location[i, a])
        if same and np.array_equal(S, to):  # a group that stays
            return lambda X: X
        inner = gaussian_map(restrict(S, U), restrict(to, U), W)
        shift = target.location[i, a] @ U - inner @ self.support_mean[i, a]
        affine = AffineMap(extend(inner, U), U @ shift)
        return self.user_map(affine)


def _alike(M: Array) -> bool:
    """Return whether covariances (K, d, d) are one and the same."""
    if M.strides[0] == 0:
        return True
    return bool(np.abs(M - M[:1]).max() <= TIED * np.abs(M[0]).max())
