"""Populations on finitely many atoms, with a stated error.

Ideal populations are discretised in the common coordinates: the same atoms, carried by one map
per group, so that the discretised population is ideal to rounding. Others share atoms in the
features themselves. One feature, any family: bins with their exact probabilities. Several, normal
cells: quasi-Monte Carlo nodes, weighted so that the prior is exact.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import ndtri

from fairprog.errors import DataError
from fairprog.kernels.atoms.finite import bayes_actions
from fairprog.labels import Array, check_number, check_random_state

SPLIT = 8  # sub-bins, or scrambles, by which the error is measured


def finite_version(
    D: Any, n: int, random_state: int | np.random.Generator
) -> tuple[Array, Array, float]:
    """Return the joint law (X, K, G) of n atoms, what they are, and the discretisation's error.

    See :meth:`fairprog.populations.Population.discretize`.
    """
    n = int(check_number(n, "n", 2))
    if n > 10**7:
        raise DataError(f"`n` = {n} atoms are too many.", argument="n")
    ideal = D.is_ideal()
    # atoms stand in the first group's coordinates where one map carries them to every group
    groups = slice(0, 1) if ideal else slice(None)
    weight = D.prior / D.prior.sum(axis=0) / D.n_groups
    weight = weight[:, groups] * (D.n_groups if ideal else 1)
    if D.n_features == 1:
        edges = _quantile_edges(D, weight, groups, n)
        law, error = _bins(D, edges, groups)
        Z = _centres(edges)[:, None]
    else:
        cells = D.support_mean[:, groups], D.support_cov[:, groups]
        rng = check_random_state(random_state)
        scrambles = [_nodes(weight, *cells, n, int(rng.integers(2**31))) for _ in range(SPLIT + 1)]
        nodes, law = scrambles[0]
        tables = np.array([_bayes_table(_joint(D, other)) for _, other in scrambles[1:]])
        error = float(tables.std(axis=0, ddof=1).max())
        U = D.support_basis
        Z = nodes @ U.T + D.location[0, 0] @ (np.eye(len(U)) - U @ U.T)
    values = D.from_coordinates(Z)
    return _joint(D, law), values[:, 0] if values.shape[1] == 1 else values, error


def _joint(D: Any, law: Array) -> Array:
    """Return P(x, i, a) from laws P(x | i, a), shape (X, K, 1 or G)."""
    return D.prior * (law / law.sum(axis=0))


def _bayes_table(joint: Array) -> Array:
    K = joint.shape[1]
    mass = joint.sum(axis=1)
    h = np.eye(K)[bayes_actions(np.moveaxis(joint, 1, 2).reshape(-1, K), 1.0 - np.eye(K))]
    return np.einsum("xia,xaj->aij", joint, h.reshape(*mass.shape, K))


def _quantile_edges(D: Any, weight: Array, groups: slice, n: int) -> Array:
    """Return n - 1 increasing inner edges: quantiles of the mixture of the cells."""
    count = max(401, 16001 // D.prior.size)  # so that many cells take no more memory than few
    grid = np.unique(D.cell_quantiles(np.linspace(-9, 9, count))[..., groups])[1:-1]
    masses = np.einsum("nia,ia->n", D.cell_masses(grid)[..., groups], weight)
    cdf = np.cumsum(masses)[:-1]
    increasing = np.concatenate([[True], np.diff(cdf) > 0])
    edges = np.interp(np.arange(1, n) / n, cdf[increasing] / cdf[-1], grid[increasing])
    return np.unique(edges)


def _centres(edges: Array) -> Array:
    ends = np.concatenate([[edges[0] - (edges[1:2] - edges[:1]).sum()], edges])
    ends = np.concatenate([ends, [edges[-1] + (edges[-1:] - edges[-2:-1]).sum()]])
    return 0.5 * (ends[1:] + ends[:-1])


def _bins(D: Any, edges: Array, groups: slice) -> tuple[Array, float]:
    """Return P(bin | i, a), shape (X, K, 1 or G), and the error of any table's entry."""
    coarse = D.cell_masses(edges)[..., groups]
    spread = float(np.ptp(D.cell_quantiles(np.array([-9.0, 9.0]))[..., groups]))
    outer = np.concatenate([[edges[0] - spread / 2], edges, [edges[-1] + spread / 2]])
    inner = np.linspace(outer[:-1], outer[1:], SPLIT, endpoint=False)[1:]  # within every bin
    fine = D.cell_masses(np.sort(np.concatenate([edges, inner.ravel()])))[..., groups]
    parts = _joint(D, fine)
    mass = parts.sum(axis=1, keepdims=True)
    eta = parts / np.where(mass > 0, mass, 1.0)
    whole = _joint(D, coarse)
    total = whole.sum(axis=1, keepdims=True)
    of_bin = np.repeat(whole / np.where(total > 0, total, 1.0), SPLIT, axis=0)
    moved = (mass * np.abs(eta - of_bin)).sum(axis=0)
    return coarse, float(moved.max())


def _nodes(weight: Array, mean: Array, cov: Array, n: int, seed: int) -> tuple[Array, Array]:
    """Return nodes (n, k) from the mixture of the cells, and P(node | i, a), (n, K, 1 or G)."""
    from scipy.stats import qmc

    K, G, k = mean.shape
    u = qmc.Sobol(k + 1, rng=seed).random_base2(int(np.ceil(np.log2(n))))[:n]
    u = np.clip(u, 1e-12, 1 - 1e-12)
    share = np.cumsum(weight.ravel()) / weight.sum()
    cell = np.minimum(np.searchsorted(share, u[:, 0]), K * G - 1)
    z = ndtri(u[:, 1:])
    roots = np.linalg.cholesky(cov).reshape(K * G, k, k)
    nodes = mean.reshape(K * G, k)[cell] + np.einsum("nij,nj->ni", roots[cell], z)
    log_density = np.empty((n, K * G))
    for c in range(K * G):
        y = np.linalg.solve(roots[c], (nodes - mean.reshape(K * G, k)[c]).T)
        log_density[:, c] = -0.5 * (y**2).sum(axis=0) - np.log(np.diag(roots[c])).sum()
    log_density -= log_density.max(axis=1, keepdims=True)
    density = np.exp(log_density)
    mixture = density @ (weight.ravel() / weight.sum())
    return nodes, (density / mixture[:, None]).reshape(n, K, G)
