"""The cells of one group and its reference in a basis that balances them, and products with them.

What :mod:`fairprog.kernels.multivariate.newton_cg` searches in: see there for the basis C and the
Hessian.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.linalg import blas, eigh

from fairprog.kernels.algebra.blas import (
    add_outer,
    average,
    cholesky,
    half_gram,
    inverse,
    log_abs_det,
    log_det,
    mirror,
    product,
    solve,
    solve_lower,
    upper_times,
)
from fairprog.labels import Array, Indices

Cells = tuple[Array, Array, Array, Array, Array, list[Indices]]  # w, m, Gamma, mu, Sigma, parts
Tables = tuple[list[Array], list[tuple[Array, Array]], list[Array], list[Array], Array, float]
"""Cells in the basis, see :func:`_cell_tables`."""


def weighted_square(N: Array, M: Array) -> float:
    """Return <N, N / M>, row block by row block."""
    return float(
        sum(np.vdot(N[i : i + 64], N[i : i + 64] / M[i : i + 64]) for i in range(0, len(N), 64))
    )


def balancing_basis(root: Array, data: Cells) -> tuple[Array, Array, float, Array]:
    """Return C, lambda, -Q log |det C C' R| and the target means in the basis."""
    w, m, Gamma, mu, Sigma, parts = data
    Q, d = float(w.sum()), m.shape[1]
    P: Array = np.zeros((d, d))
    G: Array = np.zeros((d, d))
    for members in parts:
        share, k = float(w[members].sum()), members[0]
        U = inverse(cholesky(Sigma[k]), overwrite=True)
        U *= share
        P += U
        np.multiply(Gamma[k], share / Q, out=U)
        G += U
    del U
    G += (m.T * (w / Q)) @ m
    G = product(product(root, G), root.T)
    U = cholesky(P)
    del P
    G = solve_lower(U, G, overwrite=True)
    G = average(solve_lower(U, np.ascontiguousarray(G.T), overwrite=True))
    lam, vectors = eigh(G, driver="evd", overwrite_a=True, check_finite=False)
    del G
    target = (mu @ U.T) @ vectors
    C = solve_lower(U, np.ascontiguousarray(vectors), transposed=True, overwrite=True)
    return C, lam, Q * (log_det(U) - log_abs_det(root)), target


def cell_tables(C: Array, root: Array, data: Cells, dtype: Any) -> Tables:
    """Return the cells in the basis C, as products in `dtype` want them.

    Returns
    -------
    packed : list of Array (d, d)
        For each distinct pair j the symmetric P_j = C' Sigma_j^{-1} C in the upper triangle and
        G_j = C' R Gamma_j R' C times the weights of its classes below the diagonal.
    diagonals : list of (Array (d,), Array (d,))
        Those of P_j, which the array holds between products, and of G_j.
    weighted, plain : lists of Array (k_j, d)
        The reference means of its classes, times their weights and not.
    diagonal : Array (d, d)
        Of the quadratic's Hessian.
    log_dets : float
        sum_i w_i (log det Sigma_i - log det Gamma_i).
    """
    w, m, Gamma, _, Sigma, parts = data
    d = m.shape[1]
    packed: list[Array] = []
    diagonals: list[tuple[Array, Array]] = []
    weighted: list[Array] = []
    plain: list[Array] = []
    diagonal: Array = np.zeros((d, d), dtype)
    logs = 0.0
    RC = product(root.T, C)
    means = m @ RC
    for members in parts:
        share, k = float(w[members].sum()), members[0]
        U = cholesky(Sigma[k])
        logs += share * log_det(U)
        T = half_gram(solve_lower(U, C).astype(dtype, copy=False))
        p = T.diagonal().copy()
        U = cholesky(Gamma[k])
        logs -= share * log_det(U)
        T = half_gram(upper_times(U, RC).astype(dtype, copy=False), share, below=T)
        del U
        g = T.diagonal().copy()
        T.flat[:: d + 1] = p
        x = means[members].astype(dtype)
        wm = x * w[members, None].astype(dtype)
        f = 0.5 * (g + (wm * x).sum(axis=0))
        for i in range(0, d, 64):  # of V -> (P V F + F V P) / 2, F = G + means, above the diagonal
            rows, after = slice(i, i + 64), slice(i, d)
            F = T[after, rows].T + wm[:, rows].T @ x[:, after]
            F *= T[rows, after]
            F += np.outer(p[rows], f[after])
            F += np.outer(f[rows], p[after])
            F[np.arange(len(F)), np.arange(len(F))] = 2.0 * p[rows] * f[rows]
            diagonal[rows, after] += F
        packed.append(T)
        diagonals.append((p, g))
        weighted.append(wm)
        plain.append(x)
    mirror(diagonal)
    return packed, diagonals, weighted, plain, diagonal, logs


def rows_times_p(X: Array, T: Array) -> Array:
    """Return X P for rows X (k, d), P in the upper triangle of T."""
    symm = blas.ssymm if T.dtype == np.float32 else blas.dsymm
    return symm(1.0, T.T, X.astype(T.dtype, copy=False).T, lower=1).T


def rows_times_f(X: Array, T: Array, diagonals: tuple[Array, Array], wm: Array, x: Array) -> Array:
    """Return X F for rows X (k, d), F = G and the second moment of the means."""
    symm = blas.ssymm if T.dtype == np.float32 else blas.dsymm
    T.flat[:: len(T) + 1] = diagonals[1]
    out = symm(1.0, T.T, X.T, lower=0).T
    T.flat[:: len(T) + 1] = diagonals[0]
    out += (X @ wm.T) @ x
    return out


def _sandwich(
    T: Array,
    diagonals: tuple[Array, Array],
    V: Array,
    X: Array,
    wm: Array,
    out: Array,
    work: Array,
) -> None:
    """Add P (V G + X' wm) to `out`, V symmetric."""
    symm = blas.ssymm if T.dtype == np.float32 else blas.dsymm
    T.flat[:: len(T) + 1] = diagonals[1]
    symm(1.0, T.T, V.T, 0.0, work.T, lower=0, overwrite_c=1)  # (V G)' = G V
    T.flat[:: len(T) + 1] = diagonals[0]
    product(X.T, wm, work, add=True)
    symm(1.0, T.T, work.T, 1.0, out.T, side=1, lower=1, overwrite_c=1)  # (P W)' = W' P


def start_gradient(
    tables: Tables, B: Array, w: Array, target: Array, parts: Sequence[Indices]
) -> tuple[float, Array, Array]:
    """Return the quadratic part of f at B and its best offset, its gradient, and that offset."""
    packed, diagonals, weighted, plain, *_ = tables
    S = B.astype(packed[0].dtype)
    off = [x @ B - target[j] for x, j in zip(plain, parts, strict=True)]
    pulled = [rows_times_p(r * w[j, None], T) for T, r, j in zip(packed, off, parts, strict=True)]
    beta = -np.sum([p.sum(axis=0) for p in pulled], axis=0, dtype=float)
    value, out, work = 0.0, np.zeros_like(S), np.empty_like(S)
    for T, both, wm, r, j in zip(packed, diagonals, weighted, off, parts, strict=True):
        r = r + beta
        before = float(np.vdot(out, S))
        _sandwich(T, both, S, np.zeros_like(wm), wm, out, work)
        z = rows_times_p(r, T)
        value += 0.5 * (float(np.vdot(out, S)) - before)
        value += 0.5 * float(w[j] @ np.einsum("kr,kr->k", z, r))
        product(z.T, wm, out, add=True)
    return value, average(out.astype(float)), beta


def exact_gradient(
    B: Array, beta: Array, C: Array, root: Array, data: Cells
) -> tuple[float, Array, Array]:
    """Return the quadratic part of f and its gradient in (B, beta), from the cells themselves."""
    w, m, Gamma, mu, Sigma, parts = data
    A = product(product(product(C, B), C.T), root)
    r = m @ A.T + C @ beta - mu
    G, g, value = np.zeros_like(A), np.zeros_like(beta), 0.0
    work = np.empty_like(A)
    for members in parts:
        k, share = members[0], float(w[members].sum())
        wr = np.ascontiguousarray(r[members].T * w[members])
        X = product(A, Gamma[k], work)
        U = cholesky(Sigma[k])
        X = solve(U, X, overwrite=True)
        Z = solve(U, wr)
        value += 0.5 * (share * float(np.vdot(X, A)) + float(np.vdot(Z, r[members].T)))
        X *= share
        G += X
        product(Z, m[members], G, add=True)
        g += Z.sum(axis=1)
        del U
    del work, X, A
    return value, average(product(product(C.T, G), product(root.T, C))), C.T @ g


def barrier_diagonal(Binv: Array, Q: float, dtype: Any) -> Array:
    """Return the diagonal of V -> Q B^{-1} V B^{-1} on symmetric matrices."""
    b = np.diagonal(Binv).astype(dtype)
    out = Binv.astype(dtype)
    out *= out
    out[np.diag_indices(len(b))] = 0.0
    out += np.outer(b, b)
    out *= dtype(Q)
    return out


def offset_gradient(tables: Tables, n: Array) -> Array:
    """Return how the gradient in B changes with a shift n of the offset."""
    packed, _, weighted, *_ = tables
    out = np.zeros(packed[0].shape)
    for T, wm in zip(packed, weighted, strict=True):
        add_outer(out, rows_times_p(n[None], T)[0].astype(float), wm.sum(axis=0, dtype=float))
    return average(out)


def hessian_product(
    tables: Tables, Binv: Array, Q: float, V: Array, out: Array, work: Array
) -> Array:
    """Put the Hessian's product with a symmetric V into `out`; return the offset's shift."""
    packed, diagonals, weighted, plain, *_ = tables
    shift = -np.sum(
        [rows_times_p(wm @ V, T).sum(axis=0) for T, wm in zip(packed, weighted, strict=True)],
        axis=0,
    )
    product(Binv, product(V, Binv, work), out)
    out *= V.dtype.type(Q)
    for T, both, wm, x in zip(packed, diagonals, weighted, plain, strict=True):
        _sandwich(T, both, V, x @ V + shift, wm, out, work)
    average(out)
    return shift
