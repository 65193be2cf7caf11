"""Cells of one group in hundreds of dimensions: taken one by one, nothing of size K d^2 copied."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from fairprog.kernels.algebra.blas import (
    add_outer,
    average,
    cholesky,
    general_inverse,
    gram,
    half_gram,
    log_det,
    product,
    solve,
    solve_lower,
    times_lower,
    upper_times,
)
from fairprog.labels import Array, Indices

LARGE = 64  # dimensions from which cells are taken one by one


Cells = Any
"""Covariances of one group: an array (K, d, d), or a sequence that computes each when asked.

What such a sequence returns may be overwritten.
"""


def distinct_cells(Gamma: Cells, Sigma: Cells) -> list[Indices]:
    """Return the classes of each distinct pair of covariances: one for all where all are shared.

    Arrays broadcast along the class axis (stride 0) are shared by all classes.
    """
    K = len(Sigma)
    if K > 1 and Gamma.strides[0] == 0 and Sigma.strides[0] == 0:
        return [np.arange(K)]
    return [np.array([i]) for i in range(K)]


def factor(cells: Cells, k: int) -> Array:
    """Return the Cholesky factor of one covariance, in place of one that was computed for it."""
    return cholesky(cells[k], overwrite=not isinstance(cells, np.ndarray))


def raw_gradients(
    A: Array, b: Array, m: Array, Gamma: Array, mu: Array, Sigma: Array
) -> Iterator[tuple[Array, Array]]:
    r"""Yield the gradients of V_i in (A, b), class by class: (d, d) and (d,).

    :math:`\nabla_A V_i = \Sigma_i^{-1}(A\Gamma_i + r_i m_i') - A^{-T}`,
    :math:`\nabla_b V_i = \Sigma_i^{-1} r_i`, :math:`r_i = A m_i + b - \mu_i`.
    """
    away = general_inverse(A).T
    r = m @ A.T + b - mu
    for members in distinct_cells(Gamma, Sigma):
        k = members[0]
        U = factor(Sigma, k)
        pulled = [solve(U, r[i]) for i in members]
        X = solve(U, product(A, Gamma[k]), overwrite=True)
        del U
        X -= away
        for i, g in zip(members, pulled, strict=True):
            own = X if len(members) == 1 else X.copy()
            if len(members) == 1:
                del X
            own = add_outer(own, g, m[i])
            yield own, g
            del own


def decrement_bound(
    S: Array, N: Array, n: Array, w: Array, m: Array, Gamma: Array, Sigma: Array
) -> float:
    r"""Return an upper bound on the Newton decrement of a gradient (N, n) in (S, beta).

    The Hessian is at least that of -Q log det S, and in the offset at least
    :math:`w_i \Sigma_i^{-1} / (1 + m_i'\Gamma_i^{-1}m_i)` for every class, whatever S does, so

    .. math:: \lambda \le \sqrt{\mathrm{tr}(SNSN) / Q} + \min_i
        \sqrt{(1 + m_i'\Gamma_i^{-1} m_i)\, n'\Sigma_i n / w_i}.

    Parameters
    ----------
    S, N : Array, shape (d, d)
        In any coordinates in which they are symmetric.
    n : Array, shape (d,)
        In the coordinates of the cells.
    w, m, Gamma, Sigma : Array
    """
    SN = product(S, N)
    linear = np.sqrt(max(float(np.vdot(SN, SN.T)), 0.0) / float(w.sum()))
    offset = min(
        (1.0 + float(m[i] @ solve(factor(Gamma, i), m[i]))) * float(n @ Sigma[i] @ n) / w[i]
        for i in (int(np.argmax(w)), int(np.argmin((m**2).sum(axis=1))))
    )
    return float(linear + np.sqrt(max(offset, 0.0)))


def map_residuals(
    A: Array, b: Array, mean: Array, cov: Cells, to_mean: Array, to_cov: Cells
) -> float:
    """Return an upper bound on `map_residual`, close where it is small.

    With L L' the target covariance and F F' that of the reference, the Frobenius norm of
    L^{-1} A F (L^{-1} A F)' - I bounds the spectral norm; infinite where a target is not
    positive definite.
    """
    shift = mean @ A.T + b - to_mean
    worst = 0.0
    for members in distinct_cells(cov, to_cov):
        k = members[0]
        white = times_lower(A, factor(cov, k))
        try:
            U = factor(to_cov, k)
        except np.linalg.LinAlgError:
            return np.inf
        white = solve_lower(U, white, overwrite=True)
        away = solve_lower(U, np.ascontiguousarray(shift[members].T))
        size = np.sqrt((away**2).sum(axis=0)).max()
        del U
        white = half_gram(white)  # of W'W - I and WW' - I the norms are one
        diagonal = white.diagonal() - 1.0
        np.fill_diagonal(white, 0.0)
        off = 2.0 * float(np.vdot(white, white)) + float(diagonal @ diagonal)
        worst = max(worst, float(np.sqrt(off)), float(size))
        del white
    return worst


def push_cov(A: Array, S: Array) -> Array:
    """Return A S A', exactly symmetric; S may be singular."""
    varies = np.diagonal(S) > 0  # where a variance is zero so is its row
    part = not varies.all()
    try:
        U = cholesky(S[np.ix_(varies, varies)] if part else S, overwrite=part)
        half = upper_times(U, np.array(A.T[varies], order="C"), overwrite=True)
        del U
        return gram(half)
    except np.linalg.LinAlgError:
        pass
    return average(product(product(A, S), A.T))


def stacked_kl(mean: Array, cov: Cells, target_mean: Array, target_cov: Cells) -> Array:
    """Return KL(N(mean_i, cov_i) || N(target_mean_i, target_cov_i)), shape (K,), by Cholesky.

    Zero where the arrays are one and the same.
    """
    out = np.zeros(len(mean))
    for members in distinct_cells(cov, target_cov):
        k = members[0]
        U = half = None  # at most two matrices at a time
        spread, same = 0.0, _same(cov, target_cov, k)
        if same and np.array_equal(mean[members], target_mean[members]):
            continue
        if not same:
            F = factor(cov, k)
            spread = -log_det(F)
            half = np.ascontiguousarray(F.T)
            del F
        U = factor(target_cov, k)
        if half is not None:
            half = solve_lower(U, half, overwrite=True)
            spread += float(np.vdot(half, half)) - len(U) + log_det(U)
        delta = solve_lower(U, np.ascontiguousarray((mean - target_mean)[members].T))
        out[members] = 0.5 * (spread + (delta**2).sum(axis=0))
    return out


def _same(x: Cells, y: Cells, k: int) -> bool:
    """Return whether two matrices are one in memory."""
    if not (isinstance(x, np.ndarray) and isinstance(y, np.ndarray)):
        return False
    return bool(x[k].__array_interface__["data"] == y[k].__array_interface__["data"])
