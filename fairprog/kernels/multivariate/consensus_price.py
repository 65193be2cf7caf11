r"""The price of consensus of one group's classes, and its derivatives.

Of the gradients N in S and n in beta of a class's cost the price is the norm dual to
:math:`\|W X R W^{-1}\|_F`, W'W = M the metric, plus that dual to :math:`\|W x\|`:

.. math:: \langle N, L^{-1}N\rangle^{1/2} + (n'M^{-1}n)^{1/2}, \qquad
    LX = \tfrac12(MXH + HXM), \quad H = R M^{-1} R',

L restricted to the maps S of the class (M X H where any S is allowed).
"""

from __future__ import annotations

import numpy as np

from fairprog.kernels.algebra.stacks import dot, flip, outer, trace
from fairprog.kernels.multivariate.normal import symmetrize
from fairprog.kernels.multivariate.one_group import linear_basis
from fairprog.labels import Array
from fairprog.transports import Kind


def prices(kind: Kind, N: Array, n: Array, pooled: Array, root: Array) -> Array:
    """Return the sum of the classes' prices, (...); arguments as in `price_slopes`."""
    offset = np.sqrt((n * (n @ pooled)).sum(axis=-1)).sum(axis=-1)
    if kind == "fixed":
        return np.asarray(offset)
    X = _inverse(kind, N, np.linalg.inv(pooled), root @ pooled @ flip(root))
    return np.asarray(offset + np.sqrt(np.maximum(dot(N, X), 0.0)).sum(axis=-1))


def price_slopes(
    kind: Kind, N: Array, n: Array, pooled: Array, root: Array
) -> tuple[Array, Array, Array, Array]:
    """Return derivatives of the sum of the classes' prices in N, n, M^{-1} and R.

    Parameters
    ----------
    kind : str or Pattern
    N, n : Array, shapes (K, d, d) and (K, d)
    pooled : Array, shape (d, d)
        M^{-1}.
    root : Array, shape (d, d)
    """
    M, tiny = np.linalg.inv(pooled), np.finfo(float).tiny
    offset = np.sqrt(np.maximum(np.einsum("ij,jk,ik->i", n, pooled, n), tiny))
    y = n @ pooled / offset[:, None]
    by_pooled = 0.5 * (outer(n, n) / offset[:, None, None]).sum(axis=0)
    if kind == "fixed":
        return np.zeros_like(N), y, by_pooled, np.zeros_like(root)
    H = root @ pooled @ root.T
    X = _inverse(kind, N, M, H)
    linear = np.sqrt(np.maximum(dot(N, X), tiny))[:, None, None]
    by_metric = (-0.5 * X @ H @ flip(X) / linear).sum(axis=0)  # of M, then of H
    by_shape = (-0.5 * flip(X) @ M @ X / linear).sum(axis=0)
    by_pooled = by_pooled - M @ by_metric @ M + root.T @ by_shape @ root
    return X / linear, y, by_pooled, 2.0 * by_shape @ root @ pooled


def _inverse(kind: Kind, N: Array, M: Array, H: Array) -> Array:
    """Return L^{-1} N, class by class."""
    if kind == "scalar":
        return np.asarray(N * (M.shape[-1] / trace(M @ H))[..., None, None, None])
    M, H = M[..., None, :, :], H[..., None, :, :]
    if kind == "full":
        return np.linalg.solve(M, N) @ np.linalg.inv(H)
    if kind == "symmetric":
        away = np.linalg.inv(np.linalg.cholesky(M))
        values, V = np.linalg.eigh(symmetrize(away @ H @ flip(away)))
        V = flip(away) @ V  # V'MV = I, V'HV diagonal
        values = 0.5 * (values[..., :, None] + values[..., None, :])
        return np.asarray(V @ (flip(V) @ N @ V / values) @ flip(V))
    E = linear_basis(kind, M.shape[-1])
    L = np.einsum("ajk,...bjk->...ab", E, M @ E @ H)[..., None, :, :]
    numbers = np.linalg.solve(L, np.tensordot(N, E, ((-2, -1), (1, 2)))[..., None])
    return np.tensordot(numbers[..., 0], E, 1)
