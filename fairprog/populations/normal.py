"""Normal populations: every cell (class, group) has a normal law."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fairprog.errors import DataError, ModelError
from fairprog.kernels.cells import LARGE, stacked_kl
from fairprog.kernels.common_map import common_map
from fairprog.kernels.moments import cell_moments, shrink
from fairprog.kernels.normal import kl, pooled_covariance, symmetrize
from fairprog.labels import (
    Array,
    check_features,
    check_finite,
    check_number,
    check_weights,
    column_names,
    encode,
    label_array,
    label_order,
    label_vector,
)
from fairprog.populations.base import Population, check_prior
from fairprog.populations.cells import (
    RestrictedCells,
    check_classes,
    check_counts,
    check_shrinkage,
    check_structure,
    refuse_asymmetric,
    refuse_cells,
    restrict,
    support_of_cells,
)
from fairprog.populations.evaluation import Evaluation, evaluate_normal, scan_costs
from fairprog.tables import DemographicParity, Notion, Risk
from fairprog.transports import AffineMap, ConjugatedMap

__all__ = ["Normal"]


class Normal(Population):
    """Normal law of X in every cell: X | Y=i, A=a ~ N(mean[i, a], cov[i, a]).

    Parameters
    ----------
    prior : array_like, shape (K, G)
        P(Y=i, A=a); positive, sums to one.
    mean : array_like, shape (K, G) or (K, G, d)
        Cell means, in the units of the features; (K, G) is the univariate case.
    std : array_like, shape (K, G)
        Cell standard deviations (univariate case only).
    cov : array_like, shape (K, G, d, d), or (G, d, d) where tied
        Cell covariances; singular only in directions that are constant in every cell.
    covariance : {"full", "tied"}
        "tied": one covariance per group, shared by its classes; nothing of size K G d^2 is
        formed and solving costs as much as for one class.
    classes, groups : sequence of hashables, optional
        Labels; default 0, 1, ....
    feature_names : sequence of str, optional
        Names of the features; `fit` takes those of a data frame. Data frames that are moved later
        must have the same columns in the same order.

    Raises
    ------
    DataError
        For NaN, wrong shapes, priors that do not sum to one or have an empty cell, covariances
        that are not positive definite (by how much), directions that are constant within cells
        but differ between them. The message names the cell.
    ModelError
        For labels that print alike, or both / none of `std` and `cov`.

    Notes
    -----
    Source: theory.md sections 0 to 3.

    Examples
    --------
    >>> import fairprog as fp
    >>> D = fp.Normal([[.3, .2], [.3, .2]], [[0., 1.], [2., 2.]], std=[[1., 1.], [1., 2.]],
    ...               groups=["a", "b"])
    >>> D.base_rates
    array([[0.5, 0.5],
           [0.5, 0.5]])
    >>> D.is_ideal()
    False
    >>> round(D.evaluate().error, 4)
    0.2172
    """

    family: ClassVar[str] = "normal"

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
        self.covariance = check_structure(covariance)
        self.prior, self.classes, self.groups = check_prior(prior, classes, groups)
        if (std is None) == (cov is None):
            raise ModelError("Give exactly one of `std` (univariate) and `cov`.", argument="std")
        K, G = self.prior.shape
        center = check_finite(mean, "mean")
        self.is_univariate = std is not None
        if std is not None:
            spread = check_finite(std, "std", (K, G))
            if center.shape != (K, G):
                raise DataError(
                    f"`mean` has shape {center.shape}; with `std` it must be {(K, G)}.",
                    argument="mean",
                )
            refuse_cells(spread <= 0, spread, "std", "positive", self.classes, self.groups)
            self._mean = center[..., None]
            self._cells: tuple[Array, ...] = tuple(np.moveaxis((spread**2)[..., None, None], 1, 0))
        else:
            if center.ndim != 3 or center.shape[:2] != (K, G) or not center.shape[2]:
                raise DataError(
                    f"`mean` has shape {center.shape}; with `cov` it must be ({K}, {G}, d), "
                    "d >= 1.",
                    argument="mean",
                )
            d = center.shape[2]
            self._mean = center
            if self.covariance == "tied":
                shared = symmetrize(self._checked(cov, (G, d, d)))
                self._cells = tuple(np.broadcast_to(S, (K, d, d)) for S in shared)
            else:
                self._cells = tuple(np.moveaxis(self._checked(cov, (K, G, d, d)), 1, 0))
        self.feature_names = None if feature_names is None else tuple(feature_names)
        if self.feature_names is not None and len(self.feature_names) != self.n_features:
            raise DataError(
                f"`feature_names` lists {len(self.feature_names)} names for {self.n_features} "
                "features.",
                argument="feature_names",
            )
        self._basis, self._null = support_of_cells(
            self.prior,
            self._mean,
            self.cov[:1] if self.covariance == "tied" else self.cov,
            self._pooled(self._cells),
            self.classes,
            self.groups,
        )
        self._support_cells: tuple[Any, ...] = tuple(self._restrict(S) for S in self._cells)
        for array in self._support_cells:
            array.setflags(write=False)
        self.pooled_cov  # noqa: B018 - part of the population, so not of what a solve needs
        self._finish()

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

    def moved(self, prior: Array, mean: Array, cells: Sequence[Array]) -> Self:
        """Return a population with the same labels and support, its arrays taken as they are.

        For covariances (K, d, d) per group that are positive definite on the support by
        construction; arrays broadcast along the classes are kept so.
        """
        out = type(self).__new__(type(self))
        vars(out).update(vars(self))
        for name in ("cov", "support_cov", "pooled_cov"):
            vars(out).pop(name, None)
        out.prior, out._mean, out._cells = prior, mean, tuple(cells)
        if self.null_dimension:
            out._support_cells = tuple(RestrictedCells(S, self._basis) for S in out._cells)
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

    # -- the bijection between the user's units and the normal coordinates (identity here) --

    @staticmethod
    def _forward(X: Array) -> Array:
        return X

    @staticmethod
    def _backward(X: Array) -> Array:
        return X

    @classmethod
    def check_domain(cls, X: Array) -> Array:
        """Return features of shape (n, d) unchanged; DataError where the family has no density."""
        return X

    @classmethod
    def user_map(cls, affine: AffineMap) -> AffineMap | ConjugatedMap:
        """Return an affine map of the normal coordinates as a map of X in the user's units."""
        return affine

    # -- statistics --

    @classmethod
    def fit(
        cls,
        X: ArrayLike,
        y: ArrayLike,
        *,
        sensitive_features: ArrayLike,
        sample_weight: ArrayLike | None = None,
        classes: Sequence[Any] | None = None,
        groups: Sequence[Any] | None = None,
        covariance: str = "full",
        shrinkage: str | float | None = None,
    ) -> Self:
        """Estimate a population by maximum likelihood (moments divided by n).

        Parameters
        ----------
        X : array_like, shape (n, d) or (n,)
            Features; one feature gives a univariate population.
        y, sensitive_features : array_like, shape (n,)
            Class and group of each row.
        sample_weight : array_like, shape (n,), optional
            Nonnegative weights.
        classes, groups : sequence, optional
            Label order: given, else sorted.
        covariance : {"full", "tied"}
            "tied" estimates one covariance per group, pooled over its classes.
        shrinkage : float in [0, 1] or "auto", optional
            Part of every cell's covariance that is replaced by its own group's pooled one (never
            another group's: that would hide the gap). "auto" takes, cell by cell, the part that
            minimises the expected squared error for normal rows of that number (after Ledoit and
            Wolf, 2004). Default: none.

        Raises
        ------
        DataError
            For missing or infinite values, lengths that differ, unknown labels, a cell with
            fewer than two rows, or a cell whose covariance is singular.

        Warns
        -----
        FairprogWarning
            Where a cell has fewer than 5 d rows.

        Examples
        --------
        >>> import fairprog as fp
        >>> X, y, a = [1., 3., 2., 4., 0., 2., 5., 7.], [0, 0, 1, 1] * 2, list("aaaabbbb")
        >>> fp.Normal.fit(X * 3, y * 3, sensitive_features=a * 3).mean
        array([[2., 1.],
               [3., 6.]])
        """
        features = cls._forward(cls.check_domain(check_features(X)))
        n, d = features.shape
        if n == 0:
            raise DataError("`X` has no rows.", argument="X")
        y_vector = label_vector(y, "y", n)
        a_vector = label_vector(sensitive_features, "sensitive_features", n)
        class_labels = label_order(classes, y_vector, "classes")
        group_labels = label_order(groups, a_vector, "groups")
        i = encode(y, class_labels, "y", n)
        g = encode(sensitive_features, group_labels, "sensitive_features", n)
        weight = check_weights(sample_weight, n)
        tied = check_structure(covariance) == "tied"
        amount = check_shrinkage(shrinkage, tied)
        count, mass, mean, cov = cell_moments(
            features, i, g, weight, (len(class_labels), len(group_labels)), tied
        )
        check_classes(class_labels, n)
        check_counts(count, d, mean, cov, class_labels, group_labels, amount)
        prior = mass / mass.sum()
        if amount is not None:
            cov = shrink(count, mass, cov, amount)
        labels: dict[str, Any] = {
            "classes": class_labels,
            "groups": group_labels,
            "feature_names": column_names(X),
        }
        if d == 1:
            std = np.broadcast_to(np.sqrt(cov[..., 0, 0]), prior.shape)
            return cls(prior, mean[..., 0], std=std, **labels)
        return cls(prior, mean, cov=cov[0] if tied else cov, covariance=covariance, **labels)

    def sample(
        self, n: int, random_state: int | np.random.Generator | None = None
    ) -> tuple[Array, NDArray[Any], NDArray[Any]]:
        """Draw n rows.

        Parameters
        ----------
        n : int
            Number of rows.
        random_state : int or numpy Generator, optional

        Returns
        -------
        X : Array, shape (n, d)
        y, a : arrays of labels, shape (n,)
        """
        rng = np.random.default_rng(random_state)
        if check_number(n, "n") != int(n):
            raise DataError(f"`n` must be a whole number; found {n!r}.", argument="n")
        n = int(n)
        K, G = self.prior.shape
        cell = rng.choice(K * G, size=n, p=self.prior.ravel())
        z = rng.standard_normal((n, self.n_features))
        X = np.empty((n, self.n_features))
        for c in range(K * G):
            i, a = divmod(c, G)
            values, vectors = np.linalg.eigh(self._cells[a][i])
            root = vectors * np.sqrt(np.maximum(values, 0.0))
            X[cell == c] = self._mean[i, a] + z[cell == c] @ root.T
        classes, groups = label_array(self.classes), label_array(self.groups)
        return self._backward(X), classes[cell // G], groups[cell % G]

    def kl(self, other: Population) -> float:
        """Return KL(self || other) of the joint laws of (X, Y, A), in nats.

        sum_ia q_ia log(q_ia / q'_ia) + sum_ia q_ia KL(P_ia || P'_ia). Infinite where `other` is
        singular and self is not. Labels are matched by value.

        Raises
        ------
        ModelError
            If `other` is of another family or has other labels or dimension.
        """
        order_i, order_a = self._order_of(other, "other")
        assert isinstance(other, Normal)
        if other.n_features != self.n_features:
            raise ModelError(
                f"`other` has {other.n_features} features; needed are {self.n_features}.",
                argument="other",
            )
        prior = other.prior[np.ix_(order_i, order_a)]
        value = float((self.prior * np.log(self.prior / prior)).sum())
        return value + float((self.prior * self.cell_divergences(other)).sum())

    def check_names(self, X: Any) -> None:
        """Raise a DataError if X is a data frame with other columns than the population's."""
        names = column_names(X)
        if names is not None and self.feature_names is not None and names != self.feature_names:
            raise DataError(
                f"`X` has the columns {list(names)}; the population was fitted on "
                f"{list(self.feature_names)}, in this order.",
                argument="X",
            )

    def same_support(self, other: Normal) -> bool:
        """Return whether the same directions are constant, at the same values."""
        if self.n_features != other.n_features or self.null_dimension != other.null_dimension:
            return False
        if not self.null_dimension:
            return True
        here, there = self._mean[0, 0] @ self._null, other.location[0, 0] @ self._null
        apart = np.abs(here - there) > 1e-6 * (1.0 + np.abs(here))
        return not apart.any() and bool(np.abs(self._null.T @ other.support_basis).max() <= 1e-6)

    def _ordered_cov(self, order: Sequence[int], group: int) -> Any:
        """Return support covariances of one group in an order of classes, a view if it can be."""
        cells = self._support_cells[group]
        if self.covariance == "tied" or list(order) == list(range(len(cells))):
            return cells
        return np.asarray(cells)[list(order)]

    def cell_divergences(self, other: Normal) -> Array:
        """Return V_ia = KL(P_ia || P'_ia) in nats, shape (K, G), P' the cells of `other`."""
        order_i, order_a = self._order_of(other, "other")
        cells = np.ix_(order_i, order_a)
        U = other.support_basis
        if not self.same_support(other):
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
            self._mean @ U,
            U.T @ self.cov @ U,
            other.support_mean[cells],
            other.support_cov[cells],
        )

    # -- fairness --

    def evaluate(
        self,
        cost: ArrayLike | Risk | None = None,
        rule_of: Normal | None = None,
        n_samples: int = 2**16,
        random_state: int | np.random.Generator = 0,
    ) -> Evaluation:
        """Apply a Bayes rule to this population.

        Parameters
        ----------
        cost : array_like (K, K), mapping with keys 'fp' and 'fn', or Risk, optional
            C[i, j] = cost of predicting j when the truth is i; default 0-1.
        rule_of : population, optional
            Use the Bayes rule of that population; default self.
        n_samples, random_state
            Used where the rates have no closed form (d > 1 and K > 2).

        Returns
        -------
        Evaluation
            Exact for d = 1 and for K = 2, else quasi-Monte Carlo with its standard error.
        """
        return evaluate_normal(self, cost, rule_of, n_samples, random_state)

    def ideality_gap(self, notion: Notion | None = None) -> float:
        """Return the worst gap of a notion over all cost matrices (0 iff ideal for it).

        Binary labels: the supremum over thresholds of the posterior (for demographic parity the
        Kolmogorov-Smirnov distance of the groups' posteriors), to about 1e-9. More classes: the
        worst over a fixed search of cost matrices, which is a LOWER bound only (d > 1: by
        quasi-Monte Carlo, so it is not exactly zero on an ideal population).

        Parameters
        ----------
        notion : Notion, default DemographicParity()
        """
        return scan_costs(self, DemographicParity() if notion is None else notion)

    def is_ideal(self, atol: float = 1e-8) -> bool:
        """Return whether one map per group carries common laws to every cell.

        Parameters
        ----------
        atol : float
            Largest difference of base rates and largest whitened residual of a cell allowed.

        Notes
        -----
        With two classes the test is necessary and sufficient; with more, True is a proof and
        False says only that no common affine map was found (theory.md section 2).
        """
        if np.ptp(self.base_rates, axis=1).max() > atol:
            return False
        return all(
            common_map(
                self.support_mean[:, 0],
                self.support_cov[:, 0],
                self.support_mean[:, a],
                self.support_cov[:, a],
            )[2]
            <= atol
            for a in range(1, self.n_groups)
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the constructor's arguments, with the family's name."""
        spread: dict[str, Any] = {"cov": self.cov}
        if self.is_univariate:
            spread = {"std": self.std}
        elif self.covariance == "tied":
            spread = {"cov": self.cov[0], "covariance": "tied"}
        return {
            "population": type(self).__name__,
            "prior": self.prior,
            "mean": self.mean,
            **spread,
            "classes": self.classes,
            "groups": self.groups,
            "feature_names": self.feature_names,
        }

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(K={self.n_classes}, G={self.n_groups}, d={self.n_features}, "
            f"classes={list(self.classes)}, groups={list(self.groups)})"
        )
