"""How near ANY ideal population could be, whatever its family: a true lower bound."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import expit, logit

from fairprog.errors import ModelError
from fairprog.kernels.atoms.level_prices import Group, bound_over_levels
from fairprog.labels import Array, check_count
from fairprog.populations import Categorical, Empirical

BINS = 4_000  # of the log odds of one feature
FEWER = 1_200  # where each of their probabilities is an integral in the plane
ERROR = 1e-9  # of a distribution function of log odds
WIDER = 1e-10  # by which bins are widened, in log odds


def lower_bound(sol: Any, levels: int) -> float:
    """Return the bound; see :meth:`fairprog.Solution.family_free_bound`."""
    D, settings = sol.original, sol.settings
    if D.n_classes != 2:
        raise ModelError(
            f"The bound is of two classes; the population has {D.n_classes}.",
            argument="population",
        )
    if settings["map_bound"] or not sol.population.is_ideal(1e-6):
        raise ModelError(
            "The population of this solution is not ideal (base rates kept, or a map_bound), so "
            "there is nothing to compare: an ideal one may be nearer or farther.",
            argument="base_rates",
        )
    steer = settings["steer"]
    steered = [a for a, g in enumerate(D.groups) if steer == "all" or g in steer]
    count = check_count(levels, "levels", 2)
    known = isinstance(D, Categorical)
    of, error = (_of_atoms, 0.0) if known else (_of_bins, ERROR)
    sizes = {count, max(2, count // 2)}  # the prices of many levels may be the worse ones
    return max(_bounded(*of(D, n), D.group_mass, steered, error) for n in sizes)


def _bounded(
    edges: Array, groups: list[Group], tables: Array, mass: Array, steered: list[int], error: float
) -> float:
    """Return the bound from the groups' bins and their tables (level, class), (G, L, 2)."""
    staying = [a for a in range(len(mass)) if a not in steered]
    kept = None
    if staying:
        kept = np.tensordot(mass[staying], tables[staying], axes=1) / mass[staying].sum()
    every = np.ones(len(edges) - 1, dtype=bool)
    own, p = [groups[a] for a in steered], mass[steered]
    value = bound_over_levels(edges[:-1], edges[1:], own, p, every, kept, error=error)
    return max(value, 0.0)


def _edges(eta: Array, weight: Array, count: int) -> Array:
    """Return ends of levels: half evenly spaced, half by where the posteriors are."""
    order = np.argsort(eta)
    share = np.cumsum(weight[order]) / weight.sum()
    inner = np.interp(np.arange(1, count // 2 + 1) / (count // 2 + 1), share, eta[order])
    even = np.arange(1, count - count // 2) / (count - count // 2)
    inside = np.union1d(inner, even)
    return np.concatenate([[0.0], inside[(inside > 0) & (inside < 1)], [1.0]])


def _of_atoms(D: Categorical, count: int) -> tuple[Array, list[Group], Array]:
    """Return edges, atoms and tables of a finite population: its posteriors are known."""
    s = D.support
    edges, groups = _edges(s.score, s.weight, count), []
    tables = np.zeros((D.n_groups, len(edges) - 1, 2))
    for a in range(D.n_groups):
        own = s.group == a
        eta, law = s.score[own], s.weight[own] / D.group_mass[a]
        groups.append((eta, eta, law))
        level = np.searchsorted(edges[1:-1], eta, side="left")
        np.add.at(tables[a], level, law[:, None] * np.stack([1.0 - eta, eta], axis=1))
    return edges, groups, tables


def _of_bins(D: Any, count: int) -> tuple[Array, list[Group], Array]:
    """Return edges, bins of the log odds with their exact probabilities, and tables."""
    if isinstance(D.core, Empirical) or not hasattr(D.core, "_log_odds_nodes"):
        raise ModelError(
            f"The law of the log odds of {type(D).__name__} is not known exactly, and a sampled "
            "bound is no bound.",
            argument="population",
        )
    nodes = D.core._log_odds_nodes()
    size = BINS if D.n_features == 1 else FEWER
    parts = max(1, size // len(nodes))
    t = np.unique(np.linspace(nodes[:-1], nodes[1:], parts, endpoint=False))
    masses = np.diff(D.core.log_odds_cdf(t), axis=0)
    weight = np.maximum(np.einsum("tia,ia->t", masses, D.prior), 0.0)
    edges = _edges(expit(0.5 * (t[1:] + t[:-1])), weight, count)
    cuts = logit(edges[1:-1])
    t = np.union1d(t, cuts)
    H = D.core.log_odds_cdf(t)
    ends = np.zeros((1, *H.shape[1:]))
    cells = np.diff(np.concatenate([ends, H, ends + 1.0]), axis=0) * D.base_rates
    wide = WIDER * (1.0 + np.abs(t))
    first, last = np.append(0.0, expit(t - wide)), np.append(expit(t + wide), 1.0)
    law = np.maximum(cells.sum(axis=1), 0.0)
    level = np.searchsorted(cuts, np.append(t, np.inf), side="left")
    tables = np.zeros((D.n_groups, len(edges) - 1, 2))
    for a in range(D.n_groups):
        np.add.at(tables[a], level, cells[:, :, a])
    groups = [(first, last, law[:, a] / law[:, a].sum()) for a in range(D.n_groups)]
    return edges, groups, tables
