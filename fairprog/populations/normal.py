"""Normal populations, univariate and multivariate: the family and its fairness."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np

from fairprog.errors import ModelError
from fairprog.kernels.algebra.null_directions import restrict
from fairprog.kernels.multivariate.common_map import common_map, mean_rounding
from fairprog.kernels.multivariate.normal import interval_mass
from fairprog.kernels.rates.bayes_rates import (
    decision_rates,
    decision_regions,
    log_odds_cdf,
    log_odds_nodes,
)
from fairprog.labels import Array, Indices
from fairprog.populations.coordinates import normalized_log
from fairprog.populations.evaluation import table_of_rates
from fairprog.populations.normal_rows import NormalRows
from fairprog.tables import OutcomeTable


class Normal(NormalRows):
    """Normal law of X in every cell: X | Y=i, A=a ~ N(mean[i, a], cov[i, a]).

    Source: theory.md sections 0 to 3.

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
        joint, Z = np.empty((len(Z), self.n_classes)), self._to_support(Z)
        for i, a in np.ndindex(*self.prior.shape):
            rows = group == a
            joint[rows, i] = np.log(self.prior[i, a]) + self._log_density(Z[rows], i, a)
        return normalized_log(joint, self.base_rates.mean(axis=1))  # a density is never zero

    def _to_support(self, Z: Array) -> Array:
        """Return rows (n, d) in support coordinates, (n, k)."""
        return Z @ self._basis

    def _log_density(self, Z: Array, i: int, a: int) -> Array:
        """Return log densities of a cell at rows (n, k), up to a constant of all cells."""
        L = np.linalg.cholesky(self.support_cov_of(a)[i])
        white = np.linalg.solve(L, (Z - self.support_mean[i, a]).T)
        return -0.5 * (white**2).sum(axis=0) - np.log(np.diag(L)).sum()

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

    def _decision_rates(
        self, cost: Array, rule: Self, n_samples: int, random_state: int | np.random.Generator
    ) -> tuple[Array, float]:
        """Return P(Yhat=j | i, a) of the Bayes rule of `rule`, and its standard error."""
        order_i, order_a = self._order_of(rule, "rule_of")
        if not self._same_support(rule):
            varying = [D.n_features - D.null_dimension for D in (rule, self)]
            raise ModelError(
                f"`rule_of` varies in {varying[0]} directions of {rule.n_features} features; the "
                f"population varies in {varying[1]} of {self.n_features}, and they must be the "
                "same.",
                argument="rule_of",
            )
        cells = np.ix_(order_i, order_a)
        laws = rule.prior[cells], *self._in_support(rule, cells)
        return decision_rates(cost, *laws, *self._support_laws, n_samples, random_state)

    def _tables_of_rules(self, costs: Array) -> Sequence[OutcomeTable]:
        """Return the outcome tables of the population's own Bayes rules, by the same points."""
        rates, _ = self._decision_rates(costs, self, 2**11, 0)
        return [table_of_rates(self, own) for own in rates]

    @property
    def _support_laws(self) -> tuple[Array, Array]:
        """Means and covariances of the cells in support coordinates."""
        return self.support_mean, self.support_cov

    def _in_support(self, other: Self, cells: Any) -> tuple[Array, Array]:
        """Return those of some cells of another population, in this one's coordinates."""
        return other.location[cells] @ self._basis, restrict(other.cov[cells], self._basis)

    def log_odds_cdf(self, thresholds: Array) -> Array:
        """Return P(log odds <= t | i, a), shape (T, 2, G), of two classes."""
        cells = self._support_laws
        return log_odds_cdf(thresholds, self.prior, *cells, *cells)

    def _log_odds_nodes(self) -> Array:
        """Return thresholds at which to scan differences of `log_odds_cdf`."""
        cells = self._support_laws
        return log_odds_nodes(self.prior, *cells, *cells)

    def _is_image(self, a: int, atol: float) -> bool:
        first, own = ((self.support_mean[:, g], self.support_cov[:, g]) for g in (0, a))
        residual = common_map(*first, *own)[2]
        return residual <= atol or residual <= atol + mean_rounding(*first) + mean_rounding(*own)
