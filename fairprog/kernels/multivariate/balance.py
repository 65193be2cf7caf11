r"""Coordinates that whiten a covariance P and make a root R diagonal, in any units of features.

With D the standard deviations, L L' the correlations and R = F'F, every C = D L V, V orthogonal,
has C C' = P; V is taken from the singular value decomposition F D L = U \Sigma V', so that
C'RC = Sigma^2. Its range is the square of that of the units, and an eigenvalue solver is exact to
the largest only; one-sided Jacobi rotations, after a pivoted QR decomposition of rows sorted by
size, find every singular value to its own digits.

Source: Drmac and Veselic (2008), New fast and accurate Jacobi SVD algorithm, SIAM J. Matrix
Anal. Appl. 29.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import qr

from fairprog.kernels.algebra.blas import cholesky
from fairprog.labels import Array

SPREAD = 1e4  # condition of C'RC below which any C serves
SWEEPS = 40


def balance(P: Array, R: Array) -> tuple[Array, Array]:
    """Return C with C C' = P, and C'RC: diagonal where its condition is above 1e4.

    Examples
    --------
    >>> import numpy as np
    >>> C, root = balance(np.diag([1e-8, 1.0, 1e8]), np.eye(3))
    >>> bool(np.allclose(np.sort(np.diag(root)), [1e-8, 1.0, 1e8], rtol=1e-14))
    True
    """
    units = np.sqrt(np.diagonal(P))
    L = np.linalg.cholesky(P / units[:, None] / units)
    C = units[:, None] * L
    X = cholesky(R) @ C
    values = np.linalg.svd(X, compute_uv=False)
    if values[0] ** 2 <= SPREAD * values[-1] ** 2:
        return C, np.asarray(C.T @ R @ C)
    order = np.argsort(-np.abs(X).max(axis=1))
    _, T, pivots = qr(X[order], pivoting=True, mode="economic")
    sigma, W = _left_vectors(T.T)
    V = np.empty_like(W)
    V[pivots] = W
    return units[:, None] * (L @ V), np.diag(sigma**2)


def _left_vectors(X: Array) -> tuple[Array, Array]:
    """Return singular values and left vectors of a square X by rotations of its columns."""
    X = np.array(X)
    n, eps = len(X), np.finfo(float).eps
    for _ in range(SWEEPS):
        largest = 0.0
        for i in range(n - 1):
            for j in range(i + 1, n):
                a, b = np.linalg.norm(X[:, i]), np.linalg.norm(X[:, j])
                cosine = float((X[:, i] / a) @ (X[:, j] / b))
                largest = max(largest, abs(cosine))
                if abs(cosine) <= eps:
                    continue
                zeta = (b / a - a / b) / (2.0 * cosine)
                t = 1.0 / (abs(zeta) + np.hypot(1.0, zeta)) * (1.0 if zeta >= 0 else -1.0)
                c = 1.0 / np.hypot(1.0, t)
                X[:, [i, j]] = X[:, [i, j]] @ np.array([[c, c * t], [-c * t, c]])
        if largest <= n * eps:
            break
    sigma = np.linalg.norm(X, axis=0)
    return sigma, X / sigma
