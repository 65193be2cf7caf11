"""Exact Bayes rates of populations on the real line, in the family's own coordinates."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import numpy as np

from fairprog.kernels.line_regions import level_masses, line_regions, monotone_edges
from fairprog.labels import Array, Indices

if TYPE_CHECKING:
    from fairprog.populations.line_cells import LineCells

__all__ = [
    "Odds",
    "breaks",
    "cdfs",
    "decision_rates",
    "log_joint",
    "log_odds_cdf",
    "log_odds_nodes",
    "odds",
    "regions",
]

Function = Callable[[Array], Array]
Odds = tuple[Function, Array, Function]

GRID = 161  # nodes of every cell's own grid


def log_joint(D: LineCells, a: int, order: Iterable[int]) -> Function:
    """Return x -> log q_i p_i(x) of one group, classes in the given order."""
    order = list(order)
    laws = [D.law(i, a) for i in order]

    def values(x: Array) -> Array:
        columns = []
        with np.errstate(over="ignore", divide="ignore"):
            for i, law in zip(order, laws, strict=True):
                z = (x - D.base_loc[i, a]) / D.base_scale[i, a]
                phi = np.asarray(law.phi(z), dtype=float)
                outside = (z < law.support[0]) | (z > law.support[1])
                phi = np.where(outside, np.inf, phi)
                columns.append(np.log(D.prior[i, a] / D.base_scale[i, a]) - phi)
        return np.stack(columns, axis=-1)

    return values


def _grid(D: LineCells, a: int) -> tuple[Array, Array]:
    """Return nodes that resolve every cell of a group, and the points where densities break."""
    nodes = []
    for i in range(D.n_classes):
        low, mode, high = D.law(i, a).range
        t = np.linspace(np.arcsinh(low - mode), np.arcsinh(high - mode), GRID)
        nodes.append(D.base_loc[i, a] + D.base_scale[i, a] * (mode + np.sinh(t)))
    return np.unique(np.concatenate(nodes)), breaks(D, a)


def breaks(D: LineCells, a: int) -> Array:
    """Return, in order, where densities of one group have jumps or kinks."""
    found = []
    for i in range(D.n_classes):
        law = D.law(i, a)
        ends = [e for e in law.support if np.isfinite(e)]
        found += [D.base_loc[i, a] + D.base_scale[i, a] * k for k in (*law.kinks, *ends)]
    return np.array(sorted(set(found)))


def regions(D: LineCells, a: int, cost: Array) -> tuple[Array, Indices]:
    """Return points and the Bayes actions between them, of one group."""
    return line_regions(log_joint(D, a, range(D.n_classes)), cost, *_grid(D, a))


def cdfs(D: LineCells, a: int) -> Callable[[Array], Array]:
    """Return x -> the cdfs of the classes of one group, shape (n, K)."""

    def values(x: Array) -> Array:
        return np.stack(
            [
                D.law(i, a).cdf((x - D.base_loc[i, a]) / D.base_scale[i, a])
                for i in range(D.n_classes)
            ],
            axis=-1,
        )

    return values


def decision_rates(D: LineCells, rule: LineCells, cost: Array) -> Array:
    """Return P(Yhat=j | i, a) of the Bayes rule of `rule`, shape (K, G, J)."""
    order_i, order_a = D._order_of(rule, "rule_of")
    rates = np.zeros((*D.prior.shape, cost.shape[1]))
    for a, b in enumerate(order_a):
        points, actions = line_regions(log_joint(rule, b, order_i), cost, *_grid(rule, b))
        F = cdfs(D, a)(points) if points.size else np.zeros((0, D.n_classes))
        F = np.concatenate([np.zeros((1, D.n_classes)), F, np.ones((1, D.n_classes))])
        for region, action in enumerate(actions):
            rates[:, a, action] += F[region + 1] - F[region]
    return rates


def _log_odds(D: LineCells, a: int) -> Callable[[Array], Array]:
    joint = log_joint(D, a, [0, 1])

    def h(x: Array) -> Array:
        terms = joint(x)
        with np.errstate(invalid="ignore"):
            return np.asarray(terms[..., 1] - terms[..., 0])

    return h


def odds(D: LineCells, a: int) -> Odds:
    """Return the log odds of one group, edges between which they are monotone, and the cdfs."""
    h = _log_odds(D, a)
    return h, monotone_edges(h, *_grid(D, a)), cdfs(D, a)


def log_odds_cdf(groups: list[Odds], thresholds: Array) -> Array:
    """Return P(log odds <= t | i, a), shape (T, 2, G)."""
    t = np.asarray(thresholds, dtype=float)
    return np.stack([level_masses(*group, t) for group in groups], axis=-1)


def log_odds_nodes(D: LineCells, groups: list[Odds]) -> Array:
    """Return thresholds at which to scan: log odds at points of every cell, and at its turns."""
    found = []
    levels = [1e-6, 1e-5, 1e-4, 1e-3, *np.linspace(0.004, 0.996, 60), 0.999, 0.9999, 0.99999]
    for a, (h, edges, _) in enumerate(groups):
        for i in range(2):
            z, w = D.law(i, a).rule
            nodes = z[np.minimum(np.searchsorted(np.cumsum(w), levels), z.size - 1)]
            found.append(h(D.base_loc[i, a] + D.base_scale[i, a] * nodes))
        turns = h(edges)
        turns = turns[np.isfinite(turns)]
        step = 1e-9 * (1.0 + np.abs(turns))
        found += [turns, turns - step, turns + step]
    thresholds = np.unique(np.concatenate(found))
    return thresholds[np.isfinite(thresholds)]
