"""Normal populations, univariate and multivariate: the family and its fairness."""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np

from fairprog.errors import ModelError
from fairprog.kernels.bayes_rates import (
    decision_rates,
    decision_regions,
    log_odds_cdf,
    log_odds_nodes,
)
from fairprog.kernels.common_map import common_map, mean_rounding
from fairprog.kernels.normal import interval_mass
from fairprog.labels import Array, Indices
from fairprog.populations.coordinates import normalized_log
from fairprog.populations.normal_rows import NormalRows

__all__ = ["Normal"]


class Normal(NormalRows):
    """Normal law of X in every cell: X | Y=i, A=a ~ N(mean[i, a], cov[i, a]).

    Parameters
    ----------
    prior : array_like, shape (K, G)
        P(Y=i, A=a); positive, sums to one.
    mean : array_like, shape (K, G) or (K, G, d)
        Cell means, in the units of the features; (K, G) is the univariate case.
    std : array_like, shape (K, G)
        Cell standard deviations (univariate case only).
    cov : array_like, shape (K, G, d, d), (G, d, d) where tied or (K, G, d) where diagonal
        Cell covariances; singular only in directions that are constant in every cell. Of
        independent features the variances.
    covariance : {"full", "tied", "diagonal"}
        "tied": one covariance per group, shared by its classes; nothing of size K G d^2 is
        formed and solving costs as much as for one class. "diagonal": features are independent
        within cells; nothing of size d^2 is formed, the transport is `Diagonal` unless another is
        asked for, and 100,000 features are solved in seconds.
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

    # -- its cells, in normal coordinates --

    @property
    def coordinate_std(self) -> Array:
        """Standard deviations of the cells in normal coordinates, shape (K, G, d)."""
        return self.std.reshape(self.location.shape)

    def log_posterior(self, Z: Array, group: Indices) -> Array:
        """Return log P(Y=i | z, a), shape (n, K), of rows (n, d) in normal coordinates."""
        joint = np.empty((len(Z), self.n_classes))
        rows_of = Z @ self.support_basis
        for a in range(self.n_groups):
            rows, cells = group == a, self.support_cov_of(a)
            for i in range(self.n_classes):
                L = np.linalg.cholesky(cells[i])
                white = np.linalg.solve(L, (rows_of[rows] - self.support_mean[i, a]).T)
                log_det = np.log(np.diag(L)).sum()
                joint[rows, i] = np.log(self.prior[i, a]) - log_det - 0.5 * (white**2).sum(axis=0)
        return normalized_log(joint, self.base_rates.mean(axis=1))  # a density is never zero

    def _line(self) -> tuple[Array, Array]:
        """Return means and standard deviations (K, G) of the only feature."""
        if self.n_features > 1:
            raise self._missing("densities of one feature")
        return self.location[..., 0], self.coordinate_std[..., 0]

    def cell_quantiles(self, scores: Array) -> Array:
        """Return mean + score std, shape (n, K, G)."""
        mean, std = self._line()
        return mean + std * np.asarray(scores, dtype=float)[:, None, None]

    def cell_density(self, z: Array) -> Array:
        """Return the normal densities at z (n,), shape (n, K, G)."""
        mean, std = self._line()
        u = (np.asarray(z, dtype=float)[:, None, None] - mean) / std
        return np.exp(-0.5 * u**2) / (np.sqrt(2.0 * np.pi) * std)

    def cell_masses(self, edges: Array) -> Array:
        """Return P(edges[k-1] < Z <= edges[k] | i, a), accurate in both tails."""
        mean, std = self._line()
        ends = np.concatenate([[-np.inf], edges, [np.inf]])[:, None, None]
        return interval_mass((ends[:-1] - mean) / std, (ends[1:] - mean) / std)

    def decision_regions(self, cost: Array, a: int) -> tuple[Array, Indices]:
        """Return points and the Bayes actions between them, of the group at `a`."""
        mean, std = self._line()
        return decision_regions(cost, self.prior[:, a], mean[:, a], std[:, a])

    # -- fairness --

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

    def _is_image(self, a: int, atol: float) -> bool:
        first, own = ((self.support_mean[:, g], self.support_cov[:, g]) for g in (0, a))
        residual = common_map(*first, *own)[2]
        return residual <= atol or residual <= atol + mean_rounding(*first) + mean_rounding(*own)
