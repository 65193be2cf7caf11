"""Exact Bayes rates of populations on the real line, in the family's own coordinates."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from fairprog.kernels.line_regions import level_masses, line_regions, monotone_edges
from fairprog.labels import Array

if TYPE_CHECKING:
    from fairprog.populations.location_scale import LocationScale

__all__ = ["decision_rates", "log_odds_cdf", "log_odds_nodes"]

GRID = 161  # nodes of every cell's own grid


def _log_joint(D: LocationScale, a: int, order: list[int]) -> Callable[[Array], Array]:
    """Return x -> log q_i p_i(x) of one group, classes in the given order."""
    laws = [D.law(i, a) for i in order]

    def log_joint(x: Array) -> Array:
        columns = []
        with np.errstate(over="ignore", divide="ignore"):
            for i, law in zip(order, laws, strict=True):
                z = (x - D.base_loc[i, a]) / D.base_scale[i, a]
                phi = np.asarray(law.phi(z), dtype=float)
                outside = (z < law.support[0]) | (z > law.support[1])
                phi = np.where(outside, np.inf, phi)
                columns.append(np.log(D.prior[i, a] / D.base_scale[i, a]) - phi)
        return np.stack(columns, axis=-1)

    return log_joint


def _grid(D: LocationScale, a: int) -> tuple[Array, Array]:
    """Return nodes that resolve every cell of a group, and the points where densities break."""
    nodes, breaks = [], []
    for i in range(D.n_classes):
        law, loc, scale = D.law(i, a), D.base_loc[i, a], D.base_scale[i, a]
        low, mode, high = law.range
        t = np.linspace(np.arcsinh(low - mode), np.arcsinh(high - mode), GRID)
        nodes.append(loc + scale * (mode + np.sinh(t)))
        ends = [e for e in law.support if np.isfinite(e)]
        breaks += [loc + scale * k for k in (*law.kinks, *ends)]
    return np.unique(np.concatenate(nodes)), np.array(sorted(set(breaks)))


def _cdfs(D: LocationScale, a: int) -> Callable[[Array], Array]:
    """Return x -> the cdfs of the classes of one group, shape (n, K)."""

    def cdfs(x: Array) -> Array:
        return np.stack(
            [
                D.law(i, a).cdf((x - D.base_loc[i, a]) / D.base_scale[i, a])
                for i in range(D.n_classes)
            ],
            axis=-1,
        )

    return cdfs


def decision_rates(D: LocationScale, rule: LocationScale, cost: Array) -> Array:
    """Return P(Yhat=j | i, a) of the Bayes rule of `rule`, shape (K, G, J)."""
    order_i, order_a = D._order_of(rule, "rule_of")
    rates = np.zeros((*D.prior.shape, cost.shape[1]))
    for a, b in enumerate(order_a):
        grid, breaks = _grid(rule, b)
        points, actions = line_regions(_log_joint(rule, b, order_i), cost, grid, breaks)
        F = _cdfs(D, a)(points) if points.size else np.zeros((0, D.n_classes))
        F = np.concatenate([np.zeros((1, D.n_classes)), F, np.ones((1, D.n_classes))])
        for region, action in enumerate(actions):
            rates[:, a, action] += F[region + 1] - F[region]
    return rates


def _log_odds(D: LocationScale, a: int) -> Callable[[Array], Array]:
    log_joint = _log_joint(D, a, [0, 1])

    def h(x: Array) -> Array:
        terms = log_joint(x)
        with np.errstate(invalid="ignore"):
            return np.asarray(terms[..., 1] - terms[..., 0])

    return h


def log_odds_cdf(D: LocationScale, thresholds: Array) -> Array:
    """Return P(log odds <= t | i, a), shape (T, 2, G)."""
    t = np.asarray(thresholds, dtype=float)
    out = np.empty((t.size, 2, D.n_groups))
    for a in range(D.n_groups):
        h = _log_odds(D, a)
        edges = monotone_edges(h, *_grid(D, a))
        out[:, :, a] = level_masses(h, edges, _cdfs(D, a), t)
    return out


def log_odds_nodes(D: LocationScale) -> Array:
    """Return thresholds at which to scan: log odds at points of every cell, and at its turns."""
    found = []
    for a in range(D.n_groups):
        h = _log_odds(D, a)
        for i in range(2):
            z, w = D.law(i, a).rule
            level = np.searchsorted(np.cumsum(w), np.linspace(0.004, 0.996, 60))
            tail = np.searchsorted(np.cumsum(w), [1e-6, 1e-5, 1e-4, 1e-3, 0.999, 0.9999, 0.99999])
            x = D.base_loc[i, a] + D.base_scale[i, a] * z[np.minimum([*level, *tail], z.size - 1)]
            found.append(h(x))
        with np.errstate(invalid="ignore"):
            turns = h(monotone_edges(h, *_grid(D, a)))
        turns = turns[np.isfinite(turns)]
        step = 1e-9 * (1.0 + np.abs(turns))
        found += [turns, turns - step, turns + step]
    nodes = np.unique(np.concatenate(found))
    return nodes[np.isfinite(nodes)]
