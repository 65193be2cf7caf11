"""The cells of a univariate family in its own coordinates: quantiles, densities, Bayes regions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Self

import numpy as np

from fairprog.labels import Array, Indices
from fairprog.populations.base import Population
from fairprog.populations.coordinates import normalized_log
from fairprog.populations.law import Law
from fairprog.populations.line_group import LineGroup


class LineCells(Population):
    """Cells with standard laws, moved and scaled: what pictures, reports and Bayes rules ask.

    Attributes
    ----------
    base_loc, base_scale : Array, shape (K, G)
        In the family's own coordinates (those of log X for positive laws).
    """

    base_loc: Array
    base_scale: Array

    def law(self, i: int, a: int) -> Law:
        """Return the standard law of a cell."""
        raise self._missing("laws of one feature")

    @property
    def laws(self) -> list[list[Law]]:
        """Standard laws by class and group."""
        return [[self.law(i, a) for a in range(self.n_groups)] for i in range(self.n_classes)]

    @property
    def base_mean(self) -> Array:
        """Cell means in the family's coordinates, shape (K, G)."""
        means = np.array([[law.mean for law in row] for row in self.laws])
        return self.base_loc + self.base_scale * means

    @property
    def base_std(self) -> Array:
        """Cell standard deviations in the family's coordinates, shape (K, G)."""
        return self.base_scale * np.array([[law.std for law in row] for row in self.laws])

    @property
    def coordinate_std(self) -> Array:
        """Standard deviations of the cells in the family's coordinates, shape (K, G, 1)."""
        return self.base_std[..., None]

    def _group(self, a: int, order: Sequence[int] | None = None) -> LineGroup:
        """Return the cells of the group at `a`, its classes in an order."""
        k = list(range(self.n_classes) if order is None else order)
        laws = [self.law(i, a) for i in k]
        return LineGroup(laws, self.base_loc[k, a], self.base_scale[k, a], self.prior[k, a])

    @cached_property
    def _groups(self) -> list[LineGroup]:
        return [self._group(a) for a in range(self.n_groups)]

    def log_posterior(self, Z: Array, group: Indices) -> Array:
        """Return log P(Y=i | z, a), shape (n, K), of rows (n, 1) in the family's coordinates."""
        out = np.empty((len(Z), self.n_classes))
        for a, cells in enumerate(self._groups):
            rows = group == a
            out[rows] = normalized_log(cells.log_joint(Z[rows, 0]), self.base_rates[:, a])
        return out

    def cell_quantiles(self, scores: Array) -> Array:
        """Return z with P(Z <= z | i, a) = Phi(score), shape (n, K, G); scores are cut at 6."""
        values = [[law.quantiles(scores) for law in row] for row in self.laws]
        return np.moveaxis(np.array(values), -1, 0) * self.base_scale + self.base_loc

    def cell_density(self, z: Array) -> Array:
        """Return the densities of the cells at z (n,), shape (n, K, G)."""
        logs = [cells.log_joint(z) for cells in self._groups]
        return np.exp(np.stack(logs, axis=-1)) / self.prior

    def cell_masses(self, edges: Array) -> Array:
        """Return P(edges[k-1] < Z <= edges[k] | i, a), shape (n + 1, K, G)."""
        F = np.stack([cells.cdfs(edges) for cells in self._groups], axis=-1)
        ends = np.zeros((1, *self.prior.shape)), np.ones((1, *self.prior.shape))
        return np.maximum(np.diff(np.concatenate([ends[0], F, ends[1]]), axis=0), 0.0)

    def density_breaks(self) -> Array:
        """Return where densities of cells have jumps or kinks."""
        return np.unique(np.concatenate([cells.breaks for cells in self._groups]))

    def decision_regions(self, cost: Array, a: int) -> tuple[Array, Indices]:
        """Return points and the Bayes actions between them, of the group at `a`."""
        return self._groups[a].regions(cost)

    # -- Bayes rules --

    def _decision_rates(
        self, cost: Array, rule: Self, n_samples: int, random_state: int | np.random.Generator
    ) -> tuple[Array, float]:
        """Return P(Yhat=j | i, a) of the Bayes rule of `rule`, shape (K, G, K), and 0.0."""
        order_i, order_a = self._order_of(rule, "rule_of")
        rates = [
            cells.rates(*rule._group(b, order_i).regions(cost), cost.shape[1])
            for cells, b in zip(self._groups, order_a, strict=True)
        ]
        return np.stack(rates, axis=1), 0.0

    def log_odds_cdf(self, thresholds: Array) -> Array:
        """Return P(log odds <= t | i, a), shape (T, 2, G), of two classes."""
        t = np.asarray(thresholds, dtype=float)
        return np.stack([cells.log_odds_cdf(t) for cells in self._groups], axis=-1)

    def _log_odds_nodes(self) -> Array:
        """Return thresholds at which to scan differences of `log_odds_cdf`."""
        found = [nodes for cells in self._groups for nodes in cells.log_odds_nodes()]
        thresholds = np.unique(np.concatenate(found))
        return thresholds[np.isfinite(thresholds)]
