"""Normalisation of the maps where every group moves: which common coordinates are meant.

Any G of the class of maps may follow the common laws and precede the maps; the ones returned keep
every column's overall mean when rows are aligned, sum_a p_a T_a^{-1}(m_a) = sum_a p_a m_a with m_a
the mean of group a, and have sum_a p_a log |det A_a| = 0. Both move with the columns' zeros and
units, so that common coordinates lie where the data lie.
"""

from __future__ import annotations

import numpy as np

from fairprog.kernels.algebra.null_directions import extend, restrict
from fairprog.labels import Array
from fairprog.populations import Normal
from fairprog.transports import AffineMap, Transport

Cells = tuple[Array, Array]  # means and variances (K, k)


def normalised(
    D: Normal, maps: list[AffineMap], cells: tuple[Array, Array], transport: Transport
) -> tuple[list[AffineMap], tuple[Array, Array]]:
    """Choose common coordinates that keep the overall mean, with sum_a p_a log|det A_a| = 0.

    Diagonal maps leave one factor per feature free: sum_a p_a log|A_a[j, j]| = 0 for all j.
    """
    p, U = D.group_mass, D.support_basis
    inner = np.stack([restrict(T.matrix, U) for T in maps])
    factor = np.ones(U.shape[1])
    if transport.kind == "diagonal":
        factor = np.exp(-p @ np.log(np.abs(np.diagonal(inner, axis1=1, axis2=2))))
    elif transport.kind != "fixed":
        factor *= np.exp(-(p @ np.linalg.slogdet(inner)[1]) / len(factor))
    offsets = np.stack([U.T @ T.offset for T in maps])
    own = np.einsum("ia,iad->ad", D.prior / p, D.mean.reshape(*D.prior.shape, -1)) @ U
    aligned = np.stack(
        [
            AffineMap(A, b).inverse()(x[None])[0]
            for A, b, x in zip(inner, offsets, own, strict=True)
        ]
    )
    # x_old = factor * x_new + shift, feature by feature
    shift = p @ aligned - factor * (p @ own)
    out = [
        AffineMap(extend(A * factor, U), U @ (A @ shift + b))
        for A, b in zip(inner, offsets, strict=True)
    ]
    m, M = cells
    return out, ((m - shift) / factor, M / np.outer(factor, factor))


def normalised_features(
    prior: Array, mean: Array, gain: Array, shift: Array, cells: Cells
) -> tuple[Array, Array, Cells]:
    """Choose common coordinates that keep every overall mean, with sum_a p_a log|g_a| = 0."""
    m, M = cells
    p = prior.sum(axis=0)
    factor = np.exp(-p @ np.log(np.abs(gain)))
    own = np.einsum("ia,iad->ad", prior / p, mean)
    move = p @ ((own - shift) / gain) - factor * (p @ own)
    return gain * factor, gain * move + shift, ((m - move) / factor, M / factor**2)
