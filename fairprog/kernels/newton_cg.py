r"""One group steered to a reference in hundreds of dimensions: Newton's method by CG.

The program of :mod:`fairprog.kernels.one_group` over A = S R, S symmetric positive definite, with
the offset eliminated. With :math:`\bar P = \sum_i w_i \Sigma_i^{-1}` and :math:`\bar G` the
weighted second moment of R x over the reference, C is taken such that

.. math:: C'\bar P C = I, \qquad C'\bar G C = diag(\lambda), \qquad S = C B C'.

If all classes had the same covariances the Hessian would be
:math:`V \mapsto \tfrac12 (V\Lambda + \Lambda V) + Q B^{-1} V B^{-1}`, so
:math:`B = \sqrt{Q} \Lambda^{-1/2}` is where the search starts, and the diagonal of the Hessian in
this basis is a preconditioner that leaves little to do. A product with the Hessian is two matrix
products per class; no matrix beyond d x d is ever formed. The products of conjugate gradients are
taken in float32 from a copy of the cells in this basis; gradients in float64 from the cells
themselves. Both matrices of a class share one array (one triangle each), so the copy takes a
quarter of what the moments of two groups take.

Classes that share their arrays (stride 0 along the first axis) cost as much as one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.linalg import blas, eigh, eigvalsh

from fairprog.kernels.blas import (
    add_outer,
    average,
    cholesky,
    gram,
    inverse,
    log_abs_det,
    log_det,
    product,
    solve,
    solve_lower,
    upper_times,
)
from fairprog.kernels.cells import distinct_cells
from fairprog.kernels.normal import symmetrize
from fairprog.kernels.one_group import exact_step
from fairprog.labels import Array, Indices

__all__ = ["decrement_cg", "newton_cg"]

SMALL = 64  # below, float64 costs as little
DRIFT = 1e-3  # of a float64 gradient: below, its updates by float32 products have lost digits
PRODUCTS = 1e-5  # precision of a step by products in the basis, until a float64 gradient tells
Cells = tuple[Array, Array, Array, Array, Array, list[Indices]]  # w, m, Gamma, mu, Sigma, parts
Tables = tuple[list[Array], list[tuple[Array, Array]], list[Array], list[Array], Array, float]
"""Cells in the basis, see :func:`_cell_tables`."""


def newton_cg(
    root: Array,
    w: Array,
    m: Array,
    Gamma: Array,
    mu: Array,
    Sigma: Array,
    tol: float = 3e-9,
    max_iter: int = 60,
) -> tuple[Array, Array, int, float]:
    r"""Minimise f(S root, beta) over S symmetric positive definite and beta.

    Parameters
    ----------
    root : Array, shape (d, d)
    w, m, Gamma, mu, Sigma : Array
        Weights (K,), reference cells (K, d), (K, d, d), target cells (K, d), (K, d, d).
    tol : float
        Where to stop: the norm of the gradient in the inverse preconditioner over max(1, f).
    max_iter : int

    Returns
    -------
    S : Array, shape (d, d)
    beta : Array, shape (d,)
    iterations : int
        Newton steps.
    residual : float
        The norm that was reached: in float64, or by the recurrence of the last step where the
        gradient it started from was so small that float32 could not spoil it.

    Notes
    -----
    Source: theory.md section 4. The step along a direction D is exact where the quadratic model
    is not trusted: f is a quadratic minus Q sum log(1 + t mu_j), mu_j eigenvalues of B^{-1} D.

    Memory beyond the cells: a float32 copy of K d^2 numbers and about ten d x d matrices.
    """
    Q, d = float(w.sum()), m.shape[1]
    parts = distinct_cells(Gamma, Sigma)
    data = (w, m, Gamma, mu, Sigma, parts)
    C, lam, constant, target = _basis(root, data)
    dtype: Any = np.float64 if d < SMALL else np.float32
    tables = _cell_tables(C, root, data, dtype)
    *_, diagonal, log_dets = tables
    constant += 0.5 * (log_dets - Q * d)
    B = np.diag(np.sqrt(Q / lam))
    value, G, beta = _start_gradient(tables, B, w, target, parts)  # the offset is C beta
    n: Array = np.zeros(d)
    fresh, size, start, true, best = False, np.inf, np.inf, np.inf, np.inf
    precision, stalled, iterations = PRODUCTS, 0, 0
    while True:
        U = cholesky(B)
        logs = log_det(U)
        Binv = inverse(U, overwrite=True)
        M = _barrier_diagonal(Binv, Q, dtype)
        M += diagonal
        G -= Q * Binv  # from here on that of f
        said, size = size, float(np.sqrt(_norm2(G, M) + n @ n))
        scale = max(1.0, abs(value + constant - Q * logs))
        if iterations == 0 and not fresh:
            start = max(size, PRODUCTS / DRIFT)
        if not fresh and size < tol * scale and precision * true < 0.3 * tol * scale:
            break  # what the last float64 gradient left is within reach of the products
        if not fresh and size < max(DRIFT * start, tol * scale):
            del G, M, Binv
            value, G, n = _gradient(B, beta, C, root, data)
            fresh = True
            continue
        if fresh:
            precision = max(PRODUCTS, float(np.sqrt(abs(size**2 - said**2))) / start)
            start = true = size
            if size < tol * scale or iterations >= max_iter:
                break
            if size > 0.5 * best:  # rounding in the products, or in everything
                stalled += 1
                if stalled > 2 and dtype == np.float64:
                    break
                if dtype == np.float32:
                    dtype, stalled = np.float64, 0
                    del tables, diagonal
                    tables = _cell_tables(C, root, data, dtype)
                    diagonal = tables[-2]
            best = min(best, size)
        iterations += 1
        # move to the best offset of this B: the weighted precisions add up to I here
        beta = beta - n
        if n.any():
            G -= _offset_gradient(tables, n)
        n = np.zeros(d)
        eta = max(min(0.1, size / np.sqrt(Q)), 0.7 * tol * scale / size)
        N = G.astype(dtype)  # what is lost of it is small where it is small
        del G
        Binv = Binv.astype(dtype, copy=False)
        D, left, shift = _conjugate_gradients(tables, Binv, Q, N, M, eta)
        del M, Binv
        slope = float(np.vdot(N, D))
        curvature = -slope - float(np.vdot(D, left))  # <D, H D>
        t = 1.0
        U = cholesky(B)
        if -slope > 0.14 * Q:  # beyond where full steps converge quadratically
            t = _line_search(U, D, slope, curvature, Q)
        # gradient of the quadratic at B + t D: N + Q/B at B, and t (H D - Q/B D /B)
        Binv = inverse(U, overwrite=True)
        trace = float(np.vdot(Binv, D))
        G = Binv.astype(dtype)
        G = average(product(product(G, D), G)).astype(float, copy=False)
        value += t * (slope + Q * trace)
        value += 0.5 * t**2 * (curvature - Q * float(np.vdot(G, D)))
        G *= -t
        G += Binv
        G *= Q
        del Binv
        G += (1.0 - t) * N
        G -= t * left
        del N, left
        D *= D.dtype.type(t)
        B += D
        del D
        beta = beta + t * shift
        fresh = False
    S = average(product(product(C, B), C.T))
    return S, C @ beta, iterations, size / scale


def _norm2(N: Array, M: Array) -> float:
    """Return <N, N / M>, row block by row block."""
    return float(
        sum(np.vdot(N[i : i + 64], N[i : i + 64] / M[i : i + 64]) for i in range(0, len(N), 64))
    )


def _basis(root: Array, data: Cells) -> tuple[Array, Array, float, Array]:
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


def _cell_tables(C: Array, root: Array, data: Cells, dtype: Any) -> Tables:
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
        P = gram(solve_lower(U, C).astype(dtype, copy=False))
        U = cholesky(Gamma[k])
        logs -= share * log_det(U)
        G = gram(upper_times(U, RC).astype(dtype, copy=False))
        del U
        G *= dtype(share)
        x = means[members].astype(dtype)
        wm = x * w[members, None].astype(dtype)
        p, g = P.diagonal().copy(), G.diagonal().copy()
        for i in range(0, d, 64):  # of V -> (P V F + F V P) / 2, F = G + means
            rows = slice(i, i + 64)
            F = G[rows] + wm[:, rows].T @ x
            f = g + (wm * x).sum(axis=0)
            F *= P[rows]
            F[np.arange(len(F)), np.arange(i, i + len(F))] = 0.0
            diagonal[rows] += F
            diagonal[rows] += 0.5 * (np.outer(p[rows], f) + np.outer(f[rows], p))
            P[rows, :i] = G[rows, :i]
            block = P[rows, rows]
            block[...] = np.triu(block) + np.tril(G[rows, rows], -1)
        packed.append(P)
        diagonals.append((p, g))
        weighted.append(wm)
        plain.append(x)
    return packed, diagonals, weighted, plain, diagonal, logs


def _rows_times_p(X: Array, T: Array) -> Array:
    """Return X P for rows X (k, d), P in the upper triangle of T."""
    symm = blas.ssymm if T.dtype == np.float32 else blas.dsymm
    return symm(1.0, T.T, X.astype(T.dtype, copy=False).T, lower=1).T


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


def _start_gradient(
    tables: Tables, B: Array, w: Array, target: Array, parts: Sequence[Indices]
) -> tuple[float, Array, Array]:
    """Return the quadratic part of f at B and its best offset, its gradient, and that offset."""
    packed, diagonals, weighted, plain, *_ = tables
    S = B.astype(packed[0].dtype)
    off = [x @ B - target[j] for x, j in zip(plain, parts, strict=True)]
    pulled = [_rows_times_p(r * w[j, None], T) for T, r, j in zip(packed, off, parts, strict=True)]
    beta = -np.sum([p.sum(axis=0) for p in pulled], axis=0, dtype=float)
    value, out, work = 0.0, np.zeros_like(S), np.empty_like(S)
    for T, both, wm, r, j in zip(packed, diagonals, weighted, off, parts, strict=True):
        r = r + beta
        before = float(np.vdot(out, S))
        _sandwich(T, both, S, np.zeros_like(wm), wm, out, work)
        z = _rows_times_p(r, T)
        value += 0.5 * (float(np.vdot(out, S)) - before)
        value += 0.5 * float(w[j] @ np.einsum("kr,kr->k", z, r))
        product(z.T, wm, out, add=True)
    return value, average(out.astype(float)), beta


def _gradient(
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


def _barrier_diagonal(Binv: Array, Q: float, dtype: Any) -> Array:
    """Return the diagonal of V -> Q B^{-1} V B^{-1} on symmetric matrices."""
    b = np.diagonal(Binv).astype(dtype)
    out = Binv.astype(dtype)
    out *= out
    out[np.diag_indices(len(b))] = 0.0
    out += np.outer(b, b)
    out *= dtype(Q)
    return out


def _offset_gradient(tables: Tables, n: Array) -> Array:
    """Return how the gradient in B changes with a shift n of the offset."""
    packed, _, weighted, *_ = tables
    out = np.zeros(packed[0].shape)
    for T, wm in zip(packed, weighted, strict=True):
        add_outer(out, _rows_times_p(n[None], T)[0].astype(float), wm.sum(axis=0, dtype=float))
    return average(out)


def _hessian_product(
    tables: Tables, Binv: Array, Q: float, V: Array, out: Array, work: Array
) -> Array:
    """Put the Hessian's product with a symmetric V into `out`; return the offset's shift."""
    packed, diagonals, weighted, plain, *_ = tables
    shift = -np.sum(
        [_rows_times_p(wm @ V, T).sum(axis=0) for T, wm in zip(packed, weighted, strict=True)],
        axis=0,
    )
    product(Binv, product(V, Binv, work), out)
    out *= V.dtype.type(Q)
    for T, both, wm, x in zip(packed, diagonals, weighted, plain, strict=True):
        _sandwich(T, both, V, x @ V + shift, wm, out, work)
    average(out)
    return shift


def _conjugate_gradients(
    tables: Tables, Binv: Array, Q: float, N: Array, M: Array, tol: float, max_iter: int = 300
) -> tuple[Array, Array, Array]:
    """Solve H D = -N to a relative residual in the preconditioned norm.

    Returns
    -------
    D : Array, shape (d, d)
        Symmetric.
    left : Array, shape (d, d)
        -N - H D.
    shift : Array, shape (d,)
        The offset's part of the step.
    """
    number = N.dtype.type
    scale = float(np.sqrt(_norm2(N, M)))
    r = N / number(-scale)
    x, shift = np.zeros_like(r), np.zeros(len(r))
    p, Hp, work = r / M, np.empty_like(r), np.empty_like(r)
    rz = float(np.vdot(r, p))
    for _ in range(max_iter):
        step = _hessian_product(tables, Binv, Q, p, Hp, work)
        curvature = float(np.vdot(p, Hp))
        if not curvature > 0.0:  # rounding: what there is will do
            break
        alpha = rz / curvature
        np.multiply(p, number(alpha), out=work)
        x += work
        shift += alpha * step
        Hp *= number(alpha)
        r -= Hp
        z = np.divide(r, M, out=Hp)
        rz, last = float(np.vdot(r, z)), rz
        if rz <= tol**2:
            break
        p *= number(rz / last)
        p += z
    x *= number(scale)
    r *= number(scale)
    return x, r, scale * shift


def _line_search(U: Array, D: Array, slope: float, curvature: float, Q: float) -> float:
    """Return the best step along D, given the slope of f and <D, H D>."""
    half = solve_lower(U, D.astype(float), overwrite=True)
    half = solve_lower(U, np.ascontiguousarray(half.T), overwrite=True)
    ratios = eigvalsh(half, driver="evd", overwrite_a=True, check_finite=False)
    quadratic = max(curvature - Q * float((ratios**2).sum()), 0.0)
    return exact_step(quadratic, slope + Q * float(ratios.sum()), Q, ratios)


def decrement_cg(
    root: Array, S: Array, w: Array, m: Array, Gamma: Array, Sigma: Array, N: Array, n: Array
) -> float:
    r"""Return the Newton decrement of a gradient (N, n) in (S, beta), at most 1% too large.

    With the offset eliminated and x the answer of conjugate gradients for the gradient g,
    :math:`\|g\|_{H^{-1}} \le \sqrt{x'Hx} + \|g - Hx\|_{H^{-1}}`; of what is left the norm is at
    most :math:`\sqrt{\mathrm{tr}(SrSr)/Q}`, the Hessian being at least that of -Q log det S.
    """
    data = (w, m, Gamma, np.zeros_like(m), Sigma, distinct_cells(Gamma, Sigma))
    Q = float(w.sum())
    C, _, _, _ = _basis(root, data)
    tables = _cell_tables(C, root, data, np.float64)
    inner = np.linalg.inv(C)
    B = symmetrize(inner @ S @ inner.T)
    Binv = inverse(cholesky(B))
    *_, diagonal, _ = tables
    M = diagonal + _barrier_diagonal(Binv, Q, np.float64)
    shift = C.T @ n
    g = symmetrize(C.T @ N @ C) - _offset_gradient(tables, shift)
    total = float(shift @ shift)
    if not np.any(g):
        return float(np.sqrt(total))
    for tol in (1e-2, 1e-4, 1e-6):
        x, left, _ = _conjugate_gradients(tables, Binv, Q, g, M, tol)
        rest = product(B, left)
        bound = np.sqrt(max(float(np.vdot(rest, rest.T)), 0.0) / Q)
        found = np.sqrt(max(-float(np.vdot(x, g)) - float(np.vdot(x, left)), 0.0))
        if bound <= 1e-2 * found:
            break
    return float(np.sqrt(total + (found + bound) ** 2))
