"""Normal populations: every cell (class, group) has a normal law."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fairprog.errors import DataError, ModelError
from fairprog.kernels.bayes_rates import (
    decision_rates,
    decision_regions,
    log_odds_cdf,
    log_odds_nodes,
)
from fairprog.kernels.common_map import common_map
from fairprog.kernels.moments import cell_moments
from fairprog.kernels.normal import (
    gaussian_map,
    interval_mass,
    kl,
    pooled_covariance,
    push,
    symmetric_root,
    symmetrize,
)
from fairprog.labels import (
    Array,
    Indices,
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
from fairprog.populations.categorical import Categorical
from fairprog.populations.cells import check_classes, check_counts, refuse_cells, support_of_cells
from fairprog.populations.coordinates import normalized_log
from fairprog.populations.evaluation import Evaluation, evaluate_population, scan_costs
from fairprog.tables import DemographicParity, Notion, Risk
from fairprog.transports import AffineMap

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
    cov : array_like, shape (K, G, d, d)
        Cell covariances; singular only in directions that are constant in every cell.
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
        classes: Iterable[Any] | None = None,
        groups: Iterable[Any] | None = None,
        feature_names: Iterable[str] | None = None,
    ) -> None:
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
            self._mean, self._cov = center[..., None], (spread**2)[..., None, None]
        else:
            if center.ndim != 3 or center.shape[:2] != (K, G) or not center.shape[2]:
                raise DataError(
                    f"`mean` has shape {center.shape}; with `cov` it must be ({K}, {G}, d), "
                    "d >= 1.",
                    argument="mean",
                )
            d = center.shape[2]
            S = check_finite(cov, "cov", (K, G, d, d))
            asymmetry = np.abs(S - np.swapaxes(S, -1, -2)).max(axis=(-1, -2))
            skewed = asymmetry > 1e-8 * np.abs(S).max(axis=(-1, -2))
            refuse_cells(skewed, asymmetry, "cov", "symmetric", self.classes, self.groups)
            self._mean, self._cov = center, symmetrize(S)
        self.feature_names = None if feature_names is None else tuple(feature_names)
        if self.feature_names is not None and len(self.feature_names) != self.n_features:
            raise DataError(
                f"`feature_names` lists {len(self.feature_names)} names for {self.n_features} "
                "features.",
                argument="feature_names",
            )
        self._basis, self._null = support_of_cells(
            self.prior, self._mean, self._cov, self.classes, self.groups
        )
        self.support_mean = self._mean @ self._basis
        self.support_cov = self._basis.T @ self._cov @ self._basis
        for array in (self.prior, self._mean, self._cov, self.support_mean, self.support_cov):
            array.setflags(write=False)

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
        out: Array = np.sqrt(np.diagonal(self._cov, axis1=-2, axis2=-1))
        return out[..., 0] if self.is_univariate else out

    @property
    def cov(self) -> Array:
        """Cell covariances, shape (K, G, d, d)."""
        return self._cov

    def mapped(self, maps: Mapping[Hashable, AffineMap]) -> Self:
        """Return the population whose group g is moved by maps[g], in normal coordinates."""
        moved = [
            push(maps[g].matrix, maps[g].offset, self._mean[:, a], self._cov[:, a])
            for a, g in enumerate(self.groups)
        ]
        mean, cov = (np.stack(parts, axis=1) for parts in zip(*moved, strict=True))
        data = self.to_dict() | {"mean": mean, "cov": cov}
        if self.is_univariate:
            data |= {"mean": mean[..., 0], "std": np.sqrt(cov[..., 0, 0])}
            del data["cov"]
        del data["population"]
        return type(self)(**data)

    def cell_maps(self, target: Self) -> Mapping[tuple[int, int], Callable[[Array], Array]]:
        """Return per cell the monotone transport to the cell of `target`, in the pooled metric."""
        U, cells = self._basis, np.ndindex(*self.prior.shape)
        W = symmetric_root(pooled_covariance(self.prior, self.support_cov), -0.5)
        maps = {}
        for i, a in cells:
            same = np.array_equal(self._mean[i, a], target.location[i, a])
            if same and np.array_equal(self._cov[i, a], target.cov[i, a]):  # a group that stays
                affine = AffineMap.identity(self.n_features)
            else:
                inner = gaussian_map(self.support_cov[i, a], U.T @ target.cov[i, a] @ U, W)
                shift = target.location[i, a] @ U - inner @ self.support_mean[i, a]
                affine = AffineMap(U @ inner @ U.T + np.eye(len(U)) - U @ U.T, U @ shift)
            maps[i, a] = self.user_map(affine)
        return maps

    # -- its cells, in normal coordinates --

    @property
    def coordinate_std(self) -> Array:
        """Standard deviations of the cells in normal coordinates, shape (K, G, d)."""
        out: Array = np.sqrt(np.diagonal(self._cov, axis1=-2, axis2=-1))
        return out

    def to_normal(self, X: ArrayLike) -> Array:
        """Return features in the coordinates in which the population is normal, shape (n, d)."""
        return self.to_coordinates(X)

    def log_posterior(self, Z: Array, group: Indices) -> Array:
        """Return log P(Y=i | z, a), shape (n, K), of rows (n, d) in normal coordinates."""
        joint = np.empty((len(Z), self.n_classes))
        rows_of = Z @ self._basis
        for a in range(self.n_groups):
            rows = group == a
            for i in range(self.n_classes):
                L = np.linalg.cholesky(self.support_cov[i, a])
                white = np.linalg.solve(L, (rows_of[rows] - self.support_mean[i, a]).T)
                log_det = np.log(np.diag(L)).sum()
                joint[rows, i] = np.log(self.prior[i, a]) - log_det - 0.5 * (white**2).sum(axis=0)
        return normalized_log(joint, self.base_rates.mean(axis=1))  # a density is never zero

    def _line(self) -> tuple[Array, Array]:
        """Return means and standard deviations (K, G) of the only feature."""
        if self.n_features > 1:
            raise self._missing("densities of one feature")
        return self._mean[..., 0], np.sqrt(self._cov[..., 0, 0])

    def cell_quantiles(self, scores: Array) -> Array:
        """Return mean + score std, shape (n, K, G)."""
        mean, std = self._line()
        out: Array = mean + std * np.asarray(scores, dtype=float)[:, None, None]
        return out

    def cell_density(self, z: Array) -> Array:
        """Return the normal densities at z (n,), shape (n, K, G)."""
        mean, std = self._line()
        u = (np.asarray(z, dtype=float)[:, None, None] - mean) / std
        out: Array = np.exp(-0.5 * u**2) / (np.sqrt(2.0 * np.pi) * std)
        return out

    def cell_masses(self, edges: Array) -> Array:
        """Return P(edges[k-1] < Z <= edges[k] | i, a), accurate in both tails."""
        mean, std = self._line()
        ends = np.concatenate([[-np.inf], edges, [np.inf]])[:, None, None]
        return interval_mass((ends[:-1] - mean) / std, (ends[1:] - mean) / std)

    def decision_regions(self, cost: Array, a: int) -> tuple[Array, Indices]:
        """Return points and the Bayes actions between them, of the group at `a`."""
        mean, std = self._line()
        return decision_regions(cost, self.prior[:, a], mean[:, a], std[:, a])

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
        count, mass, mean, cov = cell_moments(
            features, i, g, weight, (len(class_labels), len(group_labels))
        )
        check_classes(class_labels, n)
        check_counts(count, d, mean, cov, class_labels, group_labels)
        prior = mass / mass.sum()
        labels: dict[str, Any] = {
            "classes": class_labels,
            "groups": group_labels,
            "feature_names": column_names(X),
        }
        if d == 1:
            return cls(prior, mean[..., 0], std=np.sqrt(cov[..., 0, 0]), **labels)
        return cls(prior, mean, cov=cov, **labels)

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
            values, vectors = np.linalg.eigh(self._cov[i, a])
            root = vectors * np.sqrt(np.maximum(values, 0.0))
            X[cell == c] = self._mean[i, a] + z[cell == c] @ root.T
        classes, groups = label_array(self.classes), label_array(self.groups)
        return self._backward(X), classes[cell // G], groups[cell % G]

    def same_support(self, other: Normal) -> bool:
        """Return whether the same directions are constant, at the same values."""
        if self.n_features != other.n_features or self.null_dimension != other.null_dimension:
            return False
        if not self.null_dimension:
            return True
        here, there = self._mean[0, 0] @ self._null, other.location[0, 0] @ self._null
        apart = np.abs(here - there) > 1e-6 * (1.0 + np.abs(here))
        return not apart.any() and bool(np.abs(self._null.T @ other.support_basis).max() <= 1e-6)

    def cell_divergences(self, other: Self) -> Array:
        """Return V_ia = KL(P_ia || P'_ia) in nats, shape (K, G), P' the cells of `other`."""
        order_i, order_a = self._order_of(other, "other")
        cells = np.ix_(order_i, order_a)
        U = other.support_basis
        if not self.same_support(other):
            return np.full(self.prior.shape, np.inf)
        return kl(
            self._mean @ U,
            U.T @ self._cov @ U,
            other.support_mean[cells],
            other.support_cov[cells],
        )

    # -- fairness --

    def evaluate(
        self,
        cost: ArrayLike | Risk | None = None,
        rule_of: Self | None = None,
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
        return evaluate_population(self, cost, rule_of, n_samples, random_state)

    def decision_rates(
        self, cost: Array, rule: Self, n_samples: int, random_state: int | np.random.Generator
    ) -> tuple[Array, float]:
        """Return P(Yhat=j | i, a) of the Bayes rule of `rule`, and its standard error."""
        order_i, order_a = self._order_of(rule, "rule_of")
        cells, U = np.ix_(order_i, order_a), self._basis
        if not self.same_support(rule):
            raise ModelError(
                f"`rule_of` varies in {rule.support_basis.shape[1]} directions of "
                f"{rule.n_features} features; the population varies in {U.shape[1]} of "
                f"{self.n_features}, and they must be the same.",
                argument="rule_of",
            )
        return decision_rates(
            cost,
            rule.prior[cells],
            rule.location[cells] @ U,
            U.T @ rule.cov[cells] @ U,
            self.support_mean,
            self.support_cov,
            n_samples,
            random_state,
        )

    def log_odds_cdf(self, thresholds: Array) -> Array:
        """Return P(log odds <= t | i, a), shape (T, 2, G), of two classes."""
        cells = self.support_mean, self.support_cov
        return log_odds_cdf(thresholds, self.prior, *cells, *cells)

    def log_odds_nodes(self) -> Array:
        """Return thresholds at which to scan differences of `log_odds_cdf`."""
        cells = self.support_mean, self.support_cov
        return log_odds_nodes(self.prior, *cells, *cells)

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

    def discretize(
        self, n: int = 2048, random_state: int | np.random.Generator = 0
    ) -> Categorical:
        """Return a population on n atoms, for the programs over classifiers.

        An ideal population is discretised in the common coordinates (those of the first group):
        atom k of every group is the image of the same node, so the result is ideal to rounding
        and a group-blind classifier sees aligned features. Other populations share atoms in the
        features themselves.

        Parameters
        ----------
        n : int, default 2048
            Number of atoms. With one feature they are bins (at most n) with exact probabilities;
            with several, quasi-Monte Carlo nodes.
        random_state : int or numpy Generator
            Scrambles the nodes (several features).

        Returns
        -------
        Categorical
            ``discretization_error`` says what it costs. One feature: every classifier of X can
            be replaced by one of the bins whose outcome table differs by at most this in every
            entry (and tables of classifiers of bins are exact). Several features: the largest
            standard error, over scrambles, of an entry of the 0-1 Bayes rule's table.

        Examples
        --------
        >>> import fairprog as fp
        >>> D = fp.Normal([[.3, .2], [.3, .2]], [[0., 1.], [2., 2.]], std=[[1., 1.], [1., 2.]])
        >>> E = D.discretize(256)
        >>> round(D.evaluate().error, 3), round(E.evaluate().error, 3)
        (0.217, 0.217)
        >>> E.discretization_error < 2e-3
        True
        """
        from fairprog.populations.discretize import discretize

        return discretize(self, n, random_state)

    def to_dict(self) -> dict[str, Any]:
        """Return the constructor's arguments, with the family's name."""
        spread = {"std": self.std} if self.is_univariate else {"cov": self.cov}
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
