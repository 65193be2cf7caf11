"""The parameters of normal cells: their covariances stored once, full or shared by classes."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike

from fairprog.errors import DataError, ModelError
from fairprog.kernels.algebra.null_directions import (
    MEAN_SPREAD,
    NULL_VARIANCE,
    mean_spread,
    restrict,
    variance_share,
)
from fairprog.kernels.multivariate.cells import LARGE, stacked_kl
from fairprog.kernels.multivariate.normal import kl, pooled_covariance, symmetrize
from fairprog.labels import Array, check_finite
from fairprog.populations.base import Population
from fairprog.populations.cell_checks import (
    RestrictedCells,
    check_structure,
    refuse_asymmetric,
    refuse_below,
    refuse_cells,
    support_of_cells,
)


class CellStorage(Population):
    """Chooses who stores the cells: the class asked for, or one that keeps variances only."""

    _diagonal_types: ClassVar[dict[type, type[Any]]] = {}  # who keeps variances instead

    __signature__: ClassVar[inspect.Signature]

    def __init_subclass__(cls, **options: Any) -> None:
        """Show the arguments of ``__init__``: early Pythons 3.11 show those of ``__new__``."""
        super().__init_subclass__(**options)
        _, *own = inspect.signature(cls.__init__).parameters.values()
        cls.__signature__ = inspect.Signature(own)

    def __new__(
        cls, *args: Any, covariance: str = "full", std: ArrayLike | None = None, **labels: Any
    ) -> Self:
        """Return an object of the class that keeps variances only, where these are diagonal."""
        unknown = sorted(labels.keys() - cls.__signature__.parameters.keys())
        if unknown:
            raise TypeError(
                f"{cls.__name__}() has no argument {unknown[0]!r}; standard deviations are `std`, "
                "covariances `cov`."
            )
        diagonal = covariance == "diagonal" and std is None
        found: type[Self] = cls._diagonal_types.get(cls, cls) if diagonal else cls
        return object.__new__(found)


class NormalCells(CellStorage):
    """Means and covariances of normal cells, and the directions in which they vary.

    One array of covariances per group. Nothing of size K G d^2 is formed for tied ones, and
    populations made by :meth:`_moved` share the arrays they did not change. Parameters are those
    of :class:`Normal`.
    """

    def __init__(
        self,
        prior: ArrayLike,
        mean: ArrayLike,
        *,
        std: ArrayLike | None = None,
        cov: ArrayLike | None = None,
        covariance: str = "full",
        classes: Iterable[Any] | None = None,
        groups: Iterable[Any] | None = None,
        feature_names: Iterable[str] | None = None,
    ) -> None:
        self.covariance, self.is_univariate = check_structure(covariance), std is not None
        self._start(prior, classes, groups)
        self._set_cells(mean, std, cov)
        self._set_feature_names(feature_names)
        self._set_support()

    def _set_cells(self, mean: ArrayLike, std: ArrayLike | None, cov: ArrayLike | None) -> None:
        """Keep means and covariances, checked."""
        if self.covariance == "diagonal" and std is None:
            raise ModelError(
                f"{type(self).__name__} has no form with covariance='diagonal'; it belongs to "
                "Normal and LogNormal.",
                argument="covariance",
            )
        if (std is None) == (cov is None):
            raise ModelError("Give exactly one of `std` (univariate) and `cov`.", argument="std")
        K, G = self.prior.shape
        self._cells: tuple[Array, ...]
        if std is None:
            self._mean = self._checked_mean(mean)
            d = self._mean.shape[2]
            if self.covariance == "tied":
                shared = symmetrize(self._checked(cov, (G, d, d)))
                self._cells = tuple(np.broadcast_to(S, (K, d, d)) for S in shared)
            else:
                self._cells = tuple(np.moveaxis(self._checked(cov, (K, G, d, d)), 1, 0))
            return
        center, spread = check_finite(mean, "mean"), check_finite(std, "std", (K, G))
        if center.shape != (K, G):
            raise DataError(
                f"`mean` has shape {center.shape}; with `std` it must be {(K, G)}.",
                argument="mean",
            )
        refuse_cells(spread <= 0, spread, "std", "positive", self.classes, self.groups)
        if self.covariance == "tied" and np.ptp(spread, axis=0).max() > 0:
            raise DataError(
                "`std` differs between classes of a group; with covariance='tied' they share one.",
                argument="std",
            )
        self.covariance = "full"  # of one feature they are the same
        self._mean = center[..., None]
        self._cells = tuple(np.moveaxis((spread**2)[..., None, None], 1, 0))

    def _set_support(self) -> None:
        """Find the directions that vary, and what follows from them."""
        self._basis, self._null = support_of_cells(
            self.prior,
            self._mean,
            self.cov[:1] if self.covariance == "tied" else self.cov,
            self._pooled(self._cells),
            self.classes,
            self.groups,
        )
        self._support_cells: tuple[Any, ...] = tuple(self._restrict(S) for S in self._cells)
        own = self._support_cells
        own = tuple(S[:1] for S in own) if self.covariance == "tied" else own
        refuse_below(own, 1e-13, self.classes, self.groups)
        for array in self._support_cells:
            array.setflags(write=False)
        self.pooled_cov  # noqa: B018 - part of the population, so not of what a solve needs
        self._finish()

    def _checked_mean(self, mean: ArrayLike) -> Array:
        """Return means of shape (K, G, d)."""
        K, G = self.prior.shape
        center = check_finite(mean, "mean")
        if center.ndim != 3 or center.shape[:2] != (K, G) or not center.shape[2]:
            raise DataError(
                f"`mean` has shape {center.shape}; with `cov` it must be ({K}, {G}, d), d >= 1.",
                argument="mean",
            )
        return center

    def _finish(self) -> None:
        """Derive what follows from cells and support, and freeze it."""
        self.support_mean = self._mean @ self._basis
        for array in (self.prior, self._mean, self.support_mean, *self._cells):
            array.setflags(write=False)

    def _checked(self, cov: ArrayLike | None, shape: tuple[int, ...]) -> Array:
        """Return finite, symmetric covariances of a shape."""
        S = check_finite(cov, "cov", shape)
        cells = S if S.ndim == 4 else S[None]
        refuse_asymmetric(cells, self.classes, self.groups)
        for cell in np.ndindex(cells.shape[:2]):
            cells[cell] = symmetrize(cells[cell])
        return S

    def _restrict(self, cells: Array) -> Array:
        """Return the covariances of one group in support coordinates (its own array if alike)."""
        if self.covariance == "tied":
            return np.broadcast_to(
                restrict(cells[0], self._basis), (len(cells), *2 * self._basis.shape[1:])
            )
        return restrict(cells, self._basis)

    def _pooled(self, cells: Sequence[Array]) -> Array:
        """Return sum_ia q_ia S_ia."""
        if self.covariance == "tied":
            groups = np.stack([S[0] for S in cells])[None]
            return pooled_covariance(self.group_mass[None], groups)
        return sum(
            (np.einsum("i,ijk->jk", self.prior[:, a], S) for a, S in enumerate(cells)),
            np.zeros(cells[0].shape[1:]),
        )

    def _moved(self, prior: Array, mean: Array, cells: Sequence[Array]) -> Self:
        """Return a population with the same labels and support, its arrays taken as they are.

        For covariances (K, d, d) per group that are positive definite on the support by
        construction; arrays broadcast along the classes are kept so.
        """
        out = copy.copy(self)
        for name in ("cov", "support_cov", "pooled_cov", "n_rows", "cell_weight"):
            vars(out).pop(name, None)
        out.prior, out._mean, out._cells = prior, mean, tuple(cells)
        if self.null_dimension:
            out._support_cells = tuple(
                self._support_cells[a] if S is self._cells[a] else RestrictedCells(S, self._basis)
                for a, S in enumerate(out._cells)
            )
        else:
            out._support_cells = out._cells
        out._finish()
        return out

    @property
    def n_features(self) -> int:
        """Number of features, d."""
        return int(self._mean.shape[-1])

    @property
    def null_dimension(self) -> int:
        """Number of null directions: constant in every cell and equal between cells."""
        return int(self._null.shape[1])

    @property
    def support_basis(self) -> Array:
        """Orthonormal columns (d, k) of the directions that vary."""
        return self._basis

    @property
    def mean(self) -> Array:
        """Cell means: (K, G) when univariate, else (K, G, d)."""
        return self._mean[..., 0] if self.is_univariate else self._mean

    @property
    def location(self) -> Array:
        """Cell means with the feature axis always there, shape (K, G, d)."""
        return self._mean

    @property
    def std(self) -> Array:
        """Standard deviations of the features: (K, G) when univariate, else (K, G, d)."""
        out: Array = np.sqrt(
            np.stack([np.diagonal(S, axis1=-2, axis2=-1) for S in self._cells], axis=1)
        )
        return out[..., 0] if self.is_univariate else out

    @cached_property
    def cov(self) -> Array:
        """Cell covariances, shape (K, G, d, d)."""
        return self._stacked(self._cells)

    @cached_property
    def support_cov(self) -> Array:
        """Cell covariances in support coordinates, shape (K, G, k, k)."""
        return self._stacked([np.asarray(S) for S in self._support_cells])

    @cached_property
    def pooled_cov(self) -> Array:
        """Pooled within-cell covariance sum_ia q_ia S_ia in support coordinates, (k, k)."""
        out = self._pooled([np.asarray(S) for S in self._support_cells])
        out.setflags(write=False)
        return out

    def cov_of(self, group: int) -> Array:
        """Covariances of the group in that position, shape (K, d, d); never a copy."""
        return self._cells[group]

    def support_cov_of(self, group: int) -> Any:
        """Covariances of one group in support coordinates, shape (K, k, k); never a copy.

        Of a steered population with null directions a sequence that computes each when asked.
        """
        return self._support_cells[group]

    def cov_along(self, V: Array) -> Array:
        """Return V' S_ia V for directions V (d, k), shape (K, G, k, k)."""
        return np.einsum("dk,iade,el->iakl", V, self.cov, V, optimize=True)

    def discriminants(self) -> Array:
        """Return directions of the support in which class means differ most, pooled variance 1.

        Shape (d, k), the most telling first: between v = lambda within v.
        """
        from scipy.linalg import eigh

        apart = self.support_mean - np.einsum("ia,iad->d", self.prior, self.support_mean)
        between = np.einsum("ia,iad,iae->de", self.prior, apart, apart)
        return self.support_basis @ eigh(between, self.pooled_cov)[1][:, ::-1]

    def _stacked(self, cells: Sequence[Array]) -> Array:
        """Return (K, G, d, d), without copying where it is one array or tied."""
        base = cells[0].base
        shape = (cells[0].shape[0], len(cells), *cells[0].shape[1:])
        if self.covariance == "tied":
            out = np.broadcast_to(np.stack([S[0] for S in cells]), shape)
        elif (
            isinstance(base, np.ndarray)
            and base.shape == shape
            and all(S.base is base for S in cells)
        ):
            out = base
        else:
            out = np.stack(cells, axis=1)
        out.setflags(write=False)
        return out

    def _same_support(self, other: NormalCells) -> bool:
        """Return whether the same directions are constant, at the same values.

        Up to rounding: a steered population's own null directions are as far from the original's
        as what is left of the variance along them turns them, however small that is.
        """
        if self.n_features != other.n_features or self.null_dimension != other.null_dimension:
            return False
        if not self.null_dimension:
            return True
        within = other._pooled([other.cov_of(a) for a in range(other.n_groups)])
        share = variance_share(other.prior, other.location, within, self._null)
        if share.max() > NULL_VARIANCE * max(100, self.n_features):
            return False
        cells = np.concatenate([D.location.reshape(1, -1, D.n_features) for D in (self, other)], 1)
        prior = np.concatenate([D.prior.reshape(1, -1) for D in (self, other)], 1) / 2.0
        return bool(mean_spread(prior, cells, within, self._null).max() <= 2.0 * MEAN_SPREAD)

    def _ordered_cov(self, order: Sequence[int], group: int) -> Any:
        """Return support covariances of one group in an order of classes, a view if it can be."""
        cells = self._support_cells[group]
        if self.covariance == "tied" or list(order) == list(range(len(cells))):
            return cells
        return np.asarray(cells)[list(order)]

    def cell_divergences(self, other: Self) -> Array:
        """Return V_ia = KL(P_ia || P'_ia) in nats, shape (K, G), P' the cells of `other`."""
        order_i, order_a = self._order_of(other, "other")
        cells = np.ix_(order_i, order_a)
        U = other.support_basis
        if not self._same_support(other):
            return np.full(self.prior.shape, np.inf)
        if U.shape[1] > LARGE:
            alike = np.array_equal(U, self._basis)
            return np.stack(
                [
                    stacked_kl(
                        (self._mean @ U)[:, a],
                        self._support_cells[a] if alike else restrict(self._cells[a], U),
                        other.support_mean[order_i, b],
                        other._ordered_cov(order_i, b),
                    )
                    for a, b in enumerate(order_a)
                ],
                axis=1,
            )
        return kl(
            self._mean @ U, U.T @ self.cov @ U, other.support_mean[cells], other.support_cov[cells]
        )

    def _parameters(self) -> dict[str, Any]:
        spread: dict[str, Any] = {"cov": self.cov}
        if self.is_univariate:
            spread = {"std": self.std}
        elif self.covariance == "tied":
            spread = {"cov": self.cov[0], "covariance": "tied"}
        return {"mean": self.mean, **spread}

    def _sizes(self) -> dict[str, Any]:
        return super()._sizes() | {"d": self.n_features}
