"""The cells of one group on the real line, and its exact Bayes rates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from fairprog.kernels.line.line_regions import level_masses, line_regions, monotone_edges
from fairprog.labels import Array, Indices
from fairprog.populations.law import Law

GRID = 161  # nodes of every cell's own grid
LEVELS = [1e-6, 1e-5, 1e-4, 1e-3, *np.linspace(0.004, 0.996, 60), 0.999, 0.9999, 0.99999]


@dataclass(eq=False)
class LineGroup:
    """Standard laws, moved and scaled, of the classes of one group, in the family's coordinates.

    Attributes
    ----------
    laws : sequence of Law
    loc, scale, prior : Array, shape (K,)
        prior[i] = P(Y=i, A=a).
    """

    laws: Sequence[Law]
    loc: Array
    scale: Array
    prior: Array

    def log_joint(self, x: Array) -> Array:
        """Return log q_i p_i(x), shape (n, K)."""
        columns = []
        with np.errstate(over="ignore", divide="ignore"):
            for law, loc, scale, q in self._cells():
                z = (x - loc) / scale
                phi = np.asarray(law.phi(z), dtype=float)
                outside = (z < law.support[0]) | (z > law.support[1])
                columns.append(np.log(q / scale) - np.where(outside, np.inf, phi))
        return np.stack(columns, axis=-1)

    def cdfs(self, x: Array) -> Array:
        """Return P(X <= x | i), shape (n, K)."""
        parts = [law.cdf((x - loc) / scale) for law, loc, scale, _ in self._cells()]
        return np.stack(parts, axis=-1)

    def _cells(self) -> zip[tuple[Law, float, float, float]]:
        return zip(self.laws, self.loc, self.scale, self.prior, strict=True)

    @cached_property
    def breaks(self) -> Array:
        """Where densities have jumps or kinks, in order."""
        found = []
        for law, loc, scale, _ in self._cells():
            ends = [e for e in law.support if np.isfinite(e)]
            found += [loc + scale * k for k in (*law.kinks, *ends)]
        return np.array(sorted(set(found)))

    @cached_property
    def _grid(self) -> tuple[Array, Array]:
        """Nodes that resolve every cell, and the points where densities break."""
        nodes = []
        for law, loc, scale, _ in self._cells():
            low, mode, high = law.range
            t = np.linspace(np.arcsinh(low - mode), np.arcsinh(high - mode), GRID)
            nodes.append(loc + scale * (mode + np.sinh(t)))
        return np.unique(np.concatenate(nodes)), self.breaks

    # -- Bayes rules --

    def regions(self, cost: Array) -> tuple[Array, Indices]:
        """Return points and the Bayes actions between them."""
        return line_regions(self.log_joint, cost, *self._grid)

    def rates(self, points: Array, actions: Indices, n_actions: int) -> Array:
        """Return P(Yhat=j | i), shape (K, J), of actions between points."""
        K = len(self.laws)
        F = self.cdfs(points) if points.size else np.zeros((0, K))
        F = np.concatenate([np.zeros((1, K)), F, np.ones((1, K))])
        rates = np.zeros((K, n_actions))
        for region, action in enumerate(actions):
            rates[:, action] += F[region + 1] - F[region]
        return rates

    def log_odds(self, x: Array) -> Array:
        """Return log of q_1 p_1(x) over q_0 p_0(x), two classes, shape (n,)."""
        terms = self.log_joint(x)
        with np.errstate(invalid="ignore"):
            return np.asarray(terms[..., 1] - terms[..., 0])

    @cached_property
    def _monotone(self) -> Array:
        """Edges between which the log odds are monotone."""
        return monotone_edges(self.log_odds, *self._grid)

    def log_odds_cdf(self, thresholds: Array) -> Array:
        """Return P(log odds <= t | i), shape (T, 2)."""
        return level_masses(self.log_odds, self._monotone, self.cdfs, thresholds)

    def log_odds_nodes(self) -> list[Array]:
        """Return log odds at points of every cell, and at their own turns."""
        found = []
        for law, loc, scale, _ in self._cells():
            z, w = law.rule
            nodes = z[np.minimum(np.searchsorted(np.cumsum(w), LEVELS), z.size - 1)]
            found.append(self.log_odds(loc + scale * nodes))
        turns = self.log_odds(self._monotone)
        turns = turns[np.isfinite(turns)]
        step = 1e-9 * (1.0 + np.abs(turns))
        return [*found, turns, turns - step, turns + step]
