"""The cells of a univariate family in its own coordinates: quantiles, densities, Bayes regions."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Self

import numpy as np

from fairprog.labels import Array, Indices
from fairprog.populations import line_evaluation
from fairprog.populations.base import Population
from fairprog.populations.coordinates import normalized_log
from fairprog.populations.law import Law

__all__ = ["LineCells"]


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

    def log_posterior(self, Z: Array, group: Indices) -> Array:
        """Return log P(Y=i | z, a), shape (n, K), of rows (n, 1) in the family's coordinates."""
        out = np.empty((len(Z), self.n_classes))
        for a in range(self.n_groups):
            rows = group == a
            joint = line_evaluation.log_joint(self, a, range(self.n_classes))(Z[rows, 0])
            out[rows] = normalized_log(joint, self.base_rates[:, a])
        return out

    def cell_quantiles(self, scores: Array) -> Array:
        """Return z with P(Z <= z | i, a) = Phi(score), shape (n, K, G); scores are cut at 6."""
        return self._by_cell(lambda law: law.quantiles(scores), self.base_scale, self.base_loc)

    def cell_density(self, z: Array) -> Array:
        """Return the densities of the cells at z (n,), shape (n, K, G)."""
        groups = range(self.n_groups)
        logs = [line_evaluation.log_joint(self, a, range(self.n_classes))(z) for a in groups]
        out: Array = np.exp(np.stack(logs, axis=-1)) / self.prior
        return out

    def cell_masses(self, edges: Array) -> Array:
        """Return P(edges[k-1] < Z <= edges[k] | i, a), shape (n + 1, K, G)."""
        groups = range(self.n_groups)
        F = np.stack([line_evaluation.cdfs(self, a)(edges) for a in groups], axis=-1)
        ends = np.zeros((1, *self.prior.shape)), np.ones((1, *self.prior.shape))
        return np.maximum(np.diff(np.concatenate([ends[0], F, ends[1]]), axis=0), 0.0)

    def density_breaks(self) -> Array:
        """Return where densities of cells have jumps or kinks."""
        found = [line_evaluation.breaks(self, a) for a in range(self.n_groups)]
        return np.unique(np.concatenate(found))

    def decision_regions(self, cost: Array, a: int) -> tuple[Array, Indices]:
        """Return points and the Bayes actions between them, of the group at `a`."""
        return line_evaluation.regions(self, a, cost)

    def _by_cell(self, of: Callable[[Law], Array], gain: Array, shift: Array) -> Array:
        values = [[of(law) for law in row] for row in self.laws]
        out: Array = np.moveaxis(np.array(values), -1, 0) * gain + shift
        return out

    # -- Bayes rules --

    def decision_rates(
        self, cost: Array, rule: Self, n_samples: int, random_state: int | np.random.Generator
    ) -> tuple[Array, float]:
        """Return P(Yhat=j | i, a) of the Bayes rule of `rule`, shape (K, G, K), and 0.0."""
        return line_evaluation.decision_rates(self, rule, cost), 0.0

    @cached_property
    def _odds(self) -> list[line_evaluation.Odds]:
        return [line_evaluation.odds(self, a) for a in range(self.n_groups)]

    def log_odds_cdf(self, thresholds: Array) -> Array:
        """Return P(log odds <= t | i, a), shape (T, 2, G), of two classes."""
        return line_evaluation.log_odds_cdf(self._odds, thresholds)

    def log_odds_nodes(self) -> Array:
        """Return thresholds at which to scan differences of `log_odds_cdf`."""
        return line_evaluation.log_odds_nodes(self, self._odds)
