r"""Who moves how far when groups are aligned, and whether ranks within a group are kept.

The displacement of a row x of group a is :math:`T_a^{-1}(x) - x`, feature by feature in pooled
standard deviations :math:`s_j`, :math:`s_j^2 = \sum_{ia} q_{ia} S_{ia,jj}` of the original
population, in the family's own coordinates (log x for log-normal, gamma, Weibull ones).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri

from fairprog.kernels.statistics.binormal import mixture_spearman
from fairprog.kernels.statistics.gap_bands import spearman
from fairprog.labels import Array, Indices, column_names, encode
from fairprog.solution import Solution
from fairprog.transports import DiagonalMap

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
MAX_FEATURES = 12  # of more, those that move most are described


@dataclass(frozen=True, eq=False)
class Movement:
    """Displacement by the maps that align, in pooled standard deviations.

    Attributes
    ----------
    features : tuple of str
        Names; of more than twelve features those that move most.
    classes, groups : tuple
    quantiles : Array, shape (5, K, G, d)
        At the levels 0.05, 0.25, 0.5, 0.75, 0.95; NaN where a cell has no row.
    rms : Array, shape (K, G)
        Root mean square over the rows of a cell and over ALL features.
    rank : Array, shape (G, d)
        Spearman's correlation of a feature before and after within a group; 1 where the ranks
        are kept, NaN where nothing varies.
    counts : Indices, shape (K, G), or None
        Rows; None: figures of the population, without sampling.
    n_features : int
        Of the population.
    coordinate : str
        In which displacements are measured, as a formula of x.
    """

    features: tuple[str, ...]
    classes: tuple[Hashable, ...]
    groups: tuple[Hashable, ...]
    quantiles: Array
    rms: Array
    rank: Array
    counts: Indices | None
    n_features: int
    coordinate: str = "x"


def population_movement(sol: Solution, names: Sequence[str] | None = None) -> Movement:
    """Return the movement of the original population itself: nothing is sampled.

    One feature: quantiles of the cells, carried along. Several: displacements are normal.

    Parameters
    ----------
    sol : Solution
    names : sequence of str, optional
        Of the features; default those of the population.

    Examples
    --------
    >>> import fairprog as fp
    >>> from fairprog.evidence.movement import population_movement
    >>> D = fp.Normal([[.25, .25]] * 2, [[0., 1.], [2., 3.]], std=[[1., 1.]] * 2)
    >>> move = population_movement(fp.NearestIdeal(D, steer=[1]).solve())
    >>> move.quantiles[2, :, :, 0].round(6) + 0.0  # the median: group 1 moves by one unit
    array([[ 0., -1.],
           [ 0., -1.]])
    """
    D = sol.original
    quantiles, square, rank = (_on_a_line if D.n_features == 1 else _of_normal_cells)(sol)
    shown = _most_moved(np.einsum("ia,iad->d", D.prior, square))
    return Movement(
        features=_names(sol, shown, names),
        classes=D.classes,
        groups=D.groups,
        quantiles=quantiles[..., shown],
        rms=np.sqrt(square.mean(axis=-1)),
        rank=rank[:, shown],
        counts=None,
        n_features=D.n_features,
        coordinate=D.coordinate,
    )


def _on_a_line(sol: Solution) -> tuple[Array, Array, Array]:
    """Return quantiles (5, K, G, 1), mean squares (K, G, 1) and rank correlations (G, 1).

    Averages over a cell by the trapezoidal rule in its normal scores.
    """
    D, scale = sol.original, _pooled_scale(sol)[0]
    scores = np.linspace(-8.0, 8.0, 1601)
    weight = np.exp(-0.5 * scores**2)
    weight /= weight.sum()
    quantiles = np.empty((len(LEVELS), *D.prior.shape, 1))
    square, rank = np.empty((*D.prior.shape, 1)), np.empty((D.n_groups, 1))
    points, at_levels = D.cell_quantiles(scores), D.cell_quantiles(ndtri(np.array(LEVELS)))
    for a, group in enumerate(D.groups):
        back = sol.affine[group].inverse()
        start, end = back(np.array([0.0, 1.0]))
        rank[a] = 1.0 if end > start else -1.0  # maps of one feature are monotone
        for i in range(D.n_classes):
            step = (back(points[:, i, a]) - points[:, i, a]) / scale
            square[i, a] = weight @ step**2
            turn = np.diff(step)
            if (turn >= 0).all() or (turn <= 0).all():  # then quantiles are carried along
                quantiles[:, i, a, 0] = np.sort(back(at_levels[:, i, a]) - at_levels[:, i, a])
                quantiles[:, i, a, 0] /= scale
            else:
                order = np.argsort(step, kind="stable")
                below = np.cumsum(weight[order]) - 0.5 * weight[order]
                quantiles[:, i, a, 0] = np.interp(LEVELS, below, step[order])
    return quantiles, square, rank


def _of_normal_cells(sol: Solution) -> tuple[Array, Array, Array]:
    """Return quantiles (5, K, G, d), mean squares (K, G, d) and rank correlations (G, d)."""
    D = sol.original.core
    scale = _pooled_scale(sol)
    mean, spread = np.zeros(D.location.shape), np.zeros(D.location.shape)
    rank = np.full((D.n_groups, D.n_features), np.nan)
    for a, group in enumerate(D.groups):
        back = sol.affine[group].inverse()
        if isinstance(back, DiagonalMap):
            step = back.diagonal - 1.0
            mean[:, a] = (D.location[:, a] * step + back.offset) / scale
            spread[:, a] = np.abs(step) * D.coordinate_std[:, a] / scale
            continue
        shift = back.matrix - np.eye(D.n_features)
        mean[:, a] = (D.location[:, a] @ shift.T + back.offset) / scale
        variance = np.einsum("jk,ikl,jl->ij", shift, D.cov[:, a], shift)
        spread[:, a] = np.sqrt(np.maximum(variance, 0.0)) / scale
    square = mean**2 + spread**2
    for j in _most_moved(np.einsum("ia,iad->d", D.prior, square)):  # others are not shown
        for a, group in enumerate(D.groups):
            back = sol.affine[group].inverse()
            if isinstance(back, DiagonalMap):
                varies = D.coordinate_std[:, a, j].min() > 0
                rank[a, j] = np.sign(back.diagonal[j]) if varies else np.nan
                continue
            pair = np.stack([np.eye(D.n_features)[j], back.matrix[j]])
            cov = pair @ D.cov[:, a] @ pair.T
            if min(cov[:, 0, 0].min(), cov[:, 1, 1].min()) > 0:
                rank[a, j] = mixture_spearman(D.base_rates[:, a], D.location[:, a] @ pair.T, cov)
    return mean + ndtri(np.array(LEVELS))[:, None, None, None] * spread, square, rank


def movement_of_rows(
    sol: Solution,
    X: ArrayLike,
    y: ArrayLike,
    *,
    sensitive_features: ArrayLike,
    names: Sequence[str] | None = None,
) -> Movement:
    """Return the movement of rows that are aligned.

    Parameters
    ----------
    sol : Solution
    X : array_like, shape (n, d) or (n,) where d = 1
    y, sensitive_features : array_like, shape (n,)
        The class is read to tell cells apart only.
    names : sequence of str, optional
        Of the features; default those of the population, else the columns of a data frame.
    """
    D = sol.original
    Z = D.to_coordinates(X)
    i = encode(y, D.classes, "y", len(Z))
    a = encode(sensitive_features, D.groups, "sensitive_features", len(Z))
    moved = np.empty_like(Z)
    for g, label in enumerate(D.groups):
        moved[a == g] = sol.affine[label].inverse()(Z[a == g])
    step = (moved - Z) / _pooled_scale(sol)
    shown = _most_moved((step**2).mean(axis=0))
    shape = D.n_classes, D.n_groups
    quantiles, rms = np.full((len(LEVELS), *shape, shown.size), np.nan), np.full(shape, np.nan)
    counts = np.zeros(shape, dtype=np.intp)
    rank = np.full((D.n_groups, shown.size), np.nan)
    for g in range(D.n_groups):
        for c in range(D.n_classes):
            rows = (i == c) & (a == g)
            counts[c, g] = rows.sum()
            if counts[c, g]:
                quantiles[:, c, g] = np.quantile(step[rows][:, shown], LEVELS, axis=0)
                rms[c, g] = np.sqrt((step[rows] ** 2).mean())
        if (a == g).any():
            rank[g] = [spearman(Z[a == g, j], moved[a == g, j]) for j in shown]
    return Movement(
        features=_names(sol, shown, names or column_names(X)),
        classes=D.classes,
        groups=D.groups,
        quantiles=quantiles,
        rms=rms,
        rank=rank,
        counts=counts,
        n_features=D.n_features,
        coordinate=D.coordinate,
    )


def _pooled_scale(sol: Solution) -> Array:
    """Return pooled standard deviations (1 where a feature never varies), shape (d,)."""
    D = sol.original
    variance = np.einsum("ia,iad->d", D.prior, D.coordinate_std**2)
    return np.sqrt(np.where(variance > 0, variance, 1.0))


def _most_moved(square: Array) -> Indices:
    """Return, in order, the features to describe."""
    order = np.argsort(-square, kind="stable")[:MAX_FEATURES]
    return np.sort(order)


def _names(sol: Solution, shown: Indices, names: Sequence[str] | None) -> tuple[str, ...]:
    D = sol.original
    default = [f"feature {k + 1}" for k in range(D.n_features)]
    known = D.feature_names or names or (["feature x"] if D.n_features == 1 else default)
    return tuple(known[j] for j in shown)
