r"""The price of consensus of one group's classes, and its derivatives.

Of the gradients N in S and n in beta of a class's cost the price is the norm dual to
:math:`\|W X R W^{-1}\|_F`, W'W = M the metric, plus that dual to :math:`\|W x\|`:

.. math:: \langle N, L^{-1}N\rangle^{1/2} + (n'M^{-1}n)^{1/2}, \qquad
    LX = \tfrac12(MXH + HXM), \quad H = R M^{-1} R',

L restricted to the maps S of the class (M X H where any S is allowed).
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import eigh

from fairprog.kernels.algebra.stacks import dot, flip, outer
from fairprog.kernels.multivariate.one_group import linear_basis
from fairprog.labels import Array
from fairprog.transports import Kind


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
    if kind == "full":
        return np.linalg.solve(M, N) @ np.linalg.inv(H)
    if kind == "scalar":
        return N * (len(M) / float(np.trace(M @ H)))
    if kind == "symmetric":
        values, V = eigh(H, M)  # V'MV = I, V'HV diagonal
        return np.asarray(V @ (2.0 * (V.T @ N @ V) / (values[:, None] + values)) @ V.T)
    E = linear_basis(kind, len(M))
    L = np.einsum("ajk,bjk->ab", E, M @ E @ H)
    return np.tensordot(np.linalg.solve(L, np.tensordot(E, N, ((1, 2), (1, 2)))).T, E, 1)
