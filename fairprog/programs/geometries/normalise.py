"""Normalisation of the maps where every group moves: which common coordinates are meant.

Any G of the class of maps may follow the common laws and precede the maps; the ones returned have
sum_a p_a b_a = 0 and sum_a p_a log |det A_a| = 0.
"""

from __future__ import annotations

import numpy as np

from fairprog.labels import Array
from fairprog.populations import Normal
from fairprog.transports import AffineMap, Transport

Cells = tuple[Array, Array]  # means and variances (K, k)


def normalised(
    D: Normal, maps: list[AffineMap], cells: tuple[Array, Array], transport: Transport
) -> tuple[list[AffineMap], tuple[Array, Array]]:
    """Choose common coordinates with sum_a p_a b_a = 0 and sum_a p_a log|det A_a| = 0.

    Diagonal maps leave one factor per feature free: sum_a p_a log|A_a[j, j]| = 0 for all j.
    """
    p, U = D.group_mass, D.support_basis
    inner = np.stack([U.T @ T.matrix @ U for T in maps])
    factor = np.ones(U.shape[1])
    if transport.kind == "diagonal":
        factor = np.exp(-p @ np.log(np.abs(np.diagonal(inner, axis1=1, axis2=2))))
    elif transport.kind != "fixed":
        factor *= np.exp(-(p @ np.linalg.slogdet(inner)[1]) / len(factor))
    offsets = np.stack([U.T @ T.offset for T in maps])
    # mirror images and rotations may average to nothing: there no shift of the origin helps
    shift = -np.linalg.pinv(np.tensordot(p, inner, 1), rcond=1e-8) @ (p @ offsets)
    # x_old = factor * x_new + shift, feature by feature
    rest = np.eye(len(U)) - U @ U.T
    out = [
        AffineMap(U @ (A * factor) @ U.T + rest, U @ (A @ shift + b))
        for A, b in zip(inner, offsets, strict=True)
    ]
    m, M = cells
    return out, ((m - shift) / factor, M / np.outer(factor, factor))


def normalised_features(
    p: Array, gain: Array, shift: Array, cells: Cells
) -> tuple[Array, Array, Cells]:
    """Choose common coordinates with sum_a p_a b_a = 0 and sum_a p_a log|g_a| = 0."""
    m, M = cells
    factor = np.exp(-p @ np.log(np.abs(gain)))
    average = p @ gain
    # mirror images may average to nothing: there no shift of the origin helps
    small = np.abs(average) <= 1e-8 * (p @ np.abs(gain))
    move = np.where(small, 0.0, -(p @ shift) / np.where(small, 1.0, average))
    return gain * factor, gain * move + shift, ((m - move) / factor, M / factor**2)
