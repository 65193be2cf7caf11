"""Normal populations whose features are independent within every cell: variances, no matrices.

Made by ``Normal(..., covariance="diagonal")`` and ``LogNormal(..., covariance="diagonal")``.
Everything is arithmetic on (K, G, d) arrays; matrices are formed when they are asked for, where
they are small enough.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from functools import cached_property, partial
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fairprog.errors import DataError, ModelError
from fairprog.kernels.algebra.null_directions import MEAN_SPREAD, constant_features
from fairprog.kernels.independent.diagonal import diagonal_kl, diagonal_residual
from fairprog.kernels.independent.diagonal_common import featurewise_map, is_common
from fairprog.labels import Array, check_finite, refuse_large
from fairprog.populations.lognormal import LogNormal
from fairprog.populations.normal import Normal
from fairprog.populations.normal_cells import NormalCells
from fairprog.transports import AffineMap, DiagonalMap


class DiagonalNormal(Normal):
    """A normal population with independent features; see :class:`Normal`.

    Attributes
    ----------
    variances : Array, shape (K, G, d)
        Variances of the cells; zero where a feature never varies.
    varies : array of bool, shape (d,)
        The features that are not constant in every cell.
    """

    def _set_cells(self, mean: ArrayLike, std: ArrayLike | None, cov: ArrayLike | None) -> None:
        """Keep means and variances, checked."""
        if std is not None or cov is None:
            raise ModelError(
                "covariance='diagonal' takes the cells' variances as `cov`, shape (K, G, d).",
                argument="cov",
            )
        self.covariance, self._mean = "diagonal", self._checked_mean(mean)
        variances = np.asarray(cov)
        if variances.shape != self._mean.shape:
            raise DataError(
                f"`cov` has shape {variances.shape}; with covariance='diagonal' it holds the "
                f"variances of the cells, {self._mean.shape}.",
                argument="cov",
            )
        self.variances = check_finite(variances, "cov")

    def _set_support(self) -> None:
        """Find the features that vary."""
        self.varies = self._checked_support()
        for array in (self._mean, self.variances, self.varies):
            array.setflags(write=False)

    def _checked_support(self) -> NDArray[np.bool_]:
        """Return which features vary; DataError where a cell's variance is no variance."""
        self._refuse_variances(self.variances < 0, "must not be negative")
        within = np.einsum("ia,iaj->j", self.prior, self.variances)
        constant, spread = constant_features(self.prior, self._mean, within)
        if constant.all():
            raise DataError("`cov` has no feature with positive variance.", argument="cov")
        if spread.max(initial=0.0) > MEAN_SPREAD:
            j = int(np.argmax(spread))
            raise DataError(
                f"Feature {j} is constant within every cell but differs between them (by "
                f"{spread[j]:.3g} of its scale): the divergence between cells is infinite. Drop "
                "this feature.",
                argument="mean",
            )
        self._refuse_variances((self.variances <= 0) & ~constant, "must be positive")
        return ~constant

    def _refuse_variances(self, bad: NDArray[np.bool_], needed: str) -> None:
        where = np.argwhere(bad)
        if where.size:
            i, a, j = (int(k) for k in where[0])
            raise DataError(
                f"`cov` of class {self.classes[i]!r}, group {self.groups[a]!r} {needed}; found "
                f"{self.variances[i, a, j]:.6g} for feature {j} ({len(where)} such entries).",
                argument="cov",
                cell=(self.classes[i], self.groups[a]),
            )

    # -- parameters --

    @property
    def null_dimension(self) -> int:
        """Number of features that are constant in every cell, at the same value."""
        return int((~self.varies).sum())

    def varying(self, values: Array) -> Array:
        """Return an array (..., d) at the features that vary, without copying where all do."""
        return values if self.varies.all() else values[..., self.varies]

    @cached_property
    def support_mean(self) -> Array:  # type: ignore[override]
        """Means of the features that vary, shape (K, G, k)."""
        return self.varying(self._mean)

    @cached_property
    def support_variances(self) -> Array:
        """Variances of the features that vary, shape (K, G, k)."""
        return self.varying(self.variances)

    @property
    def pooled_variances(self) -> Array:
        """Pooled within-cell variances sum_ia q_ia s_ia of the features that vary, shape (k,)."""
        return np.einsum("ia,iaj->j", self.prior, self.support_variances)

    @property
    def std(self) -> Array:
        """Standard deviations of the features, shape (K, G, d)."""
        return np.sqrt(self.variances)

    def full(self) -> Normal:
        """Return the same population with covariance matrices, which mixing maps need.

        Raises
        ------
        ModelError
            Where these would take more than a gibibyte.
        """
        out = self._family()(self.prior, self._mean, cov=self.cov, **self._labels())
        return out if self.n_rows is None else out.with_rows(self.n_rows, self.cell_weight)

    @classmethod
    def _family(cls) -> type[Normal]:
        """Return the class of the same family that keeps matrices."""
        return Normal

    # -- matrices, formed when they are asked for --

    def _dense(self, variances: Array) -> Array:
        """Return diagonal matrices (..., k, k) of (..., k)."""
        refuse_large(
            (*variances.shape, variances.shape[-1]),
            "The covariance matrices of a diagonal population",
            "its variances are in `.variances`",
        )
        out: Array = variances[..., None] * np.eye(variances.shape[-1])
        out.setflags(write=False)
        return out

    @property
    def cov(self) -> Array:
        """Cell covariances, shape (K, G, d, d)."""
        return self._dense(self.variances)

    @property
    def support_cov(self) -> Array:
        """Cell covariances of the features that vary, shape (K, G, k, k)."""
        return self._dense(self.support_variances)

    @property
    def pooled_cov(self) -> Array:
        """Pooled within-cell covariance of the features that vary, shape (k, k)."""
        return self._dense(self.pooled_variances)

    def cov_of(self, group: int) -> Array:
        """Covariances of the group in that position, shape (K, d, d)."""
        return self._dense(self.variances[:, group])

    def support_cov_of(self, group: int) -> Array:
        """Covariances of one group at the features that vary, shape (K, k, k)."""
        return self._dense(self.support_variances[:, group])

    @property
    def support_basis(self) -> Array:
        """Columns (d, k) of the identity at the features that vary."""
        d = self.n_features
        refuse_large((d, d), "The basis of the support", "the features that vary are `.varies`")
        return np.eye(d)[:, self.varies]

    def cov_along(self, V: Array) -> Array:
        """Return V' S_ia V for directions V (d, k), shape (K, G, k, k)."""
        return np.einsum("dk,iad,dl->iakl", V, self.variances, V, optimize=True)

    def discriminants(self) -> Array:
        """Return directions (d, k) in which means differ, as many as can tell cells apart.

        Pooled variance 1, the most telling first; see :meth:`Normal.discriminants`.
        """
        apart = self.support_mean - np.einsum("ia,iad->d", self.prior, self.support_mean)
        scale = np.sqrt(self.pooled_variances)
        white = np.sqrt(self.prior)[..., None] * apart / scale
        rows = np.linalg.svd(white.reshape(-1, scale.size), full_matrices=False)[2]
        out = np.zeros((self.n_features, len(rows)))
        out[self.varies] = (rows / scale).T
        return out

    @property
    def _null(self) -> Array:  # type: ignore[override]
        """Columns of the identity at the features that do not vary."""
        d = self.n_features
        refuse_large((d, d), "The basis of the null space", "`~varies` says where nothing varies")
        return np.eye(d)[:, ~self.varies]

    # -- what a population does --

    def _same_support(self, other: NormalCells) -> bool:
        """Return whether the same features are constant, at the same values."""
        if not isinstance(other, DiagonalNormal):
            return super()._same_support(other)
        if not np.array_equal(self.varies, other.varies):
            return False
        here, there = self._mean[0, 0, ~self.varies], other.location[0, 0, ~self.varies]
        return not (np.abs(here - there) > 1e-6 * (1.0 + np.abs(here))).any()

    def cell_divergences(self, other: Self) -> Array:
        """Return V_ia = KL(P_ia || P'_ia) in nats, shape (K, G), P' the cells of `other`."""
        order_i, order_a = self._order_of(other, "other")
        if not self._same_support(other):
            return np.full(self.prior.shape, np.inf)
        own = self.support_mean, self.support_variances
        return diagonal_kl(*own, *self._in_support(other, np.ix_(order_i, order_a)))

    def laws_of(self, a: int) -> tuple[Array, Array]:
        """Return means and variances (K, d) of the group at `a`."""
        return self._mean[:, a], self.variances[:, a]

    def lifted_laws(self, mean: Array, variances: Array) -> tuple[Array, Array]:
        """Return laws (K, k) of the features that vary as laws (K, d) of all."""
        out = self._mean[:, 0].copy(), self.variances[:, 0].copy()
        out[0][:, self.varies], out[1][:, self.varies] = mean, variances
        return out

    def common_map(self, r: int, a: int) -> DiagonalMap:
        """Return the map of every feature to itself that best carries group r's cells to a's."""
        if r == a:
            return DiagonalMap.identity(self.n_features)
        m, v = self.support_mean, self.support_variances
        gain, shift = np.ones(self.n_features), np.zeros(self.n_features)
        gain[self.varies], shift[self.varies], _ = featurewise_map(
            m[:, r], v[:, r], m[:, a], v[:, a]
        )
        return DiagonalMap(gain, shift)

    def pushed(
        self, prior: Array, laws: tuple[Array, Array], maps: Mapping[Hashable, Any]
    ) -> Self:
        """Return the population whose group g is maps[g] # laws; see :meth:`Population.pushed`."""
        mean, variances = self._mean.copy(), self.variances.copy()
        for g, T in maps.items():
            a = self.groups.index(g)
            gain = T.diagonal if isinstance(T, DiagonalMap) else np.stack([t.diagonal for t in T])
            shift = T.offset if isinstance(T, DiagonalMap) else np.stack([t.offset for t in T])
            mean[:, a] = gain * laws[0] + shift
            variances[:, a] = gain**2 * laws[1]
        return self.with_cells(prior, mean, variances)

    def map_residual(self, T: Any, laws: tuple[Array, Array], a: int) -> float:
        """Return the worst whitened residual of the cells of the group at `a` against T # laws."""
        pairs = (T.diagonal, T.offset, *laws, *self.laws_of(a))
        return diagonal_residual(*(self.varying(values) for values in pairs))

    def mapped(self, maps: Mapping[Hashable, AffineMap]) -> Any:
        """Return the population whose group g is moved by maps[g], in normal coordinates.

        With matrices where a map mixes features.
        """
        moved = [maps[g] for g in self.groups]
        if not all(isinstance(T, DiagonalMap) for T in moved):
            return self.full().mapped(maps)
        gain, shift = (np.stack([getattr(T, n) for T in moved]) for n in ("diagonal", "offset"))
        return self.with_cells(self.prior, gain * self._mean + shift, gain**2 * self.variances)

    def with_cells(self, prior: Array, mean: Array, variances: Array) -> Self:
        """Return the population with another prior and other cells, the same labels."""
        labels = self._labels()
        return type(self)(prior, mean, cov=variances, covariance="diagonal", **labels)

    def cell_maps(self, target: Self) -> Mapping[tuple[int, int], Callable[[Array], Array]]:
        """Return per cell the monotone transport to the cell of `target`, feature by feature."""
        if not isinstance(target, DiagonalNormal):
            return self.full().cell_maps(target)
        return {
            (i, a): partial(self._carry, target, i, a) for i, a in np.ndindex(*self.prior.shape)
        }

    def _carry(self, target: Self, i: int, a: int, X: Array) -> Array:
        """Carry rows of one cell to that of `target`."""
        old, new = self.variances[i, a], target.variances[i, a]
        gain = np.sqrt(np.divide(new, old, out=np.ones_like(old), where=self.varies))
        shift = np.where(self.varies, target.location[i, a] - gain * self._mean[i, a], 0.0)
        return self.user_map(DiagonalMap(gain, shift))(X)

    # -- rows and Bayes rules, see Normal --

    def _coloured(self, z: Array, i: int, a: int) -> Array:
        return z * np.sqrt(self.variances[i, a])

    def _to_support(self, Z: Array) -> Array:
        return self.varying(Z)

    def _log_density(self, Z: Array, i: int, a: int) -> Array:
        std = np.sqrt(self.support_variances[i, a])
        white = (Z - self.support_mean[i, a]) / std
        return -0.5 * np.einsum("nj,nj->n", white, white) - np.log(std).sum()

    @property
    def _support_laws(self) -> tuple[Array, Array]:
        return self.support_mean, self.support_variances

    def _in_support(self, other: Any, cells: Any) -> tuple[Array, Array]:
        return other.support_mean[cells], other.support_variances[cells]

    def _is_image(self, a: int, atol: float) -> bool:
        """Return whether a map does it, which may pair different features of the two groups."""
        m, v = self.support_mean, self.support_variances
        return is_common(m[:, 0], v[:, 0], m[:, a], v[:, a], atol)

    def _parameters(self) -> dict[str, Any]:
        return {"mean": self._mean, "cov": self.variances, "covariance": self.covariance}

    def _name(self) -> str:
        return self._family().__name__

    def _sizes(self) -> dict[str, Any]:
        return super()._sizes() | {"covariance": "diagonal"}


class DiagonalLogNormal(DiagonalNormal, LogNormal):
    """A log-normal population whose features are independent; see :class:`LogNormal`."""

    @classmethod
    def _family(cls) -> type[Normal]:
        return LogNormal


Normal._diagonal_types.update({Normal: DiagonalNormal, LogNormal: DiagonalLogNormal})
