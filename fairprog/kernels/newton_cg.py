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
themselves.

Classes that share their arrays (stride 0 along the first axis) cost as much as one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.linalg import eigh, eigvalsh

from fairprog.kernels.blas import cholesky, gram, inverse, log_det, product, solve, solve_lower
from fairprog.kernels.cells import distinct_cells
from fairprog.kernels.normal import symmetrize
from fairprog.kernels.one_group import exact_step
from fairprog.labels import Array, Indices

__all__ = ["cell_tables", "conjugate_gradients", "decrement_cg", "hessian_product", "newton_cg"]

SMALL = 64  # below, float64 costs as little
DRIFT = 1e-3  # of a float64 gradient: below, its updates by float32 products have lost digits
Cells = tuple[Array, Array, Array, Array, Array, list[Indices]]  # w, m, Gamma, mu, Sigma, parts
Tables = tuple[list[Array], list[Array], list[Array], list[Array], Array]


def newton_cg(
    root: Array,
    w: Array,
    m: Array,
    Gamma: Array,
    mu: Array,
    Sigma: Array,
    tol: float = 1e-9,
    max_iter: int = 60,
) -> tuple[Array, Array, int, float]:
    r"""Minimise f(S root, beta) over S symmetric positive definite and beta.

    Parameters
    ----------
    root : Array, shape (d, d)
    w, m, Gamma, mu, Sigma : Array
        Weights (K,), reference cells (K, d), (K, d, d), target cells (K, d), (K, d, d).
    tol : float
        Where to stop: the norm of the gradient in the inverse preconditioner over
        max(1, f).
    max_iter : int

    Returns
    -------
    S : Array, shape (d, d)
    beta : Array, shape (d,)
    iterations : int
        Newton steps.
    residual : float
        The norm that was reached.

    Notes
    -----
    Source: theory.md section 4. The step along a direction D is exact where the quadratic model
    is not trusted: f is a quadratic minus Q sum log(1 + t mu_j), mu_j eigenvalues of B^{-1} D.
    """
    Q, d = float(w.sum()), m.shape[1]
    parts = distinct_cells(Gamma, Sigma)
    data = (w, m, Gamma, mu, Sigma, parts)
    C, lam, constant, target = _basis(root, data)
    RC = product(root.T, C)
    dtype = np.float64 if d < SMALL else np.float32
    tables = cell_tables(C, RC, data, dtype)
    B = np.diag(np.sqrt(Q / lam))
    value, G, beta = _start_gradient(tables, B, w, target, parts)  # the offset is C beta
    n = np.zeros(d)
    fresh, start, best, stalled, iterations = False, np.inf, np.inf, 0, 0
    while True:
        U = cholesky(B)
        Binv = inverse(U)
        M = tables[-1] + _barrier_diagonal(Binv, Q)
        N = symmetrize(G - Q * Binv)
        size = float(np.sqrt((N * N / M).sum() + n @ n))
        scale = max(1.0, abs(value + constant - 0.5 * Q * log_det(U)))
        if iterations == 0:
            start = size
        elif not fresh and (size < DRIFT * start or size < tol * scale):
            value, G, n = _gradient(B, beta, C, RC, data)
            fresh = True
            continue
        if fresh:
            start = size
            if size < tol * scale or iterations >= max_iter:
                break
            if size > 0.5 * best:  # rounding in the products, or in everything
                stalled += 1
                if stalled > 2 and dtype == np.float64:
                    break
                if dtype == np.float32:
                    dtype, stalled = np.float64, 0
                    del tables
                    tables = cell_tables(C, RC, data, dtype)
            best = min(best, size)
        iterations += 1
        # move to the best offset of this B: the weighted precisions add up to I here
        beta = beta - n
        G -= _offset_gradient(tables, n)
        N, n = symmetrize(G - Q * Binv), np.zeros(d)
        eta = max(min(0.1, size / np.sqrt(Q)), 0.3 * tol * scale / size)
        D, HD, shift = conjugate_gradients(tables, Binv.astype(dtype), Q, -N, M, eta)
        HD -= Q * product(product(Binv, D), Binv)  # the quadratic's part
        t, slope = 1.0, float(np.vdot(N, D))
        if -slope > 0.0625 * Q:  # far from the optimum
            t = _line_search(U, D, slope + Q * float(np.vdot(Binv, D)), HD, Q)
        value += t * float(np.vdot(G, D)) + 0.5 * t**2 * float(np.vdot(HD, D))
        G += t * HD  # in the precision of the products: good for a few steps
        B = symmetrize(B + t * D)
        beta = beta + t * shift
        fresh = False
    S = product(product(C, B), C.T)
    return symmetrize(S), C @ beta, iterations, size / scale


def _basis(root: Array, data: Cells) -> tuple[Array, Array, float, Array]:
    """Return C, lambda, what f holds besides quadratic and log det B, and the target means."""
    w, m, Gamma, mu, Sigma, parts = data
    Q, d = float(w.sum()), m.shape[1]
    P, G = np.zeros((d, d)), np.zeros((d, d))
    logs = 0.0
    for members in parts:
        share, k = float(w[members].sum()), members[0]
        U = cholesky(Sigma[k])
        P += share * inverse(U)
        G += (share / Q) * Gamma[k]
        logs += share * (log_det(U) - log_det(cholesky(Gamma[k])))
    G += (m.T * (w / Q)) @ m
    G = product(product(root, G), root.T)
    U = cholesky(P)
    white = solve_lower(U, np.ascontiguousarray(solve_lower(U, G).T))
    lam, vectors = eigh(symmetrize(white), driver="evd", overwrite_a=True, check_finite=False)
    C = solve_lower(U, np.ascontiguousarray(vectors), transposed=True)
    constant = 0.5 * (logs - Q * d) + Q * log_det(U) - Q * float(np.linalg.slogdet(root)[1])
    return C, lam, constant, (mu @ U.T) @ vectors


def cell_tables(C: Array, RC: Array, data: Cells, dtype: Any) -> Tables:
    """Return the cells in the basis C, and the diagonal of the quadratic's Hessian.

    Returns
    -------
    P : list of Array (d, d)
        C' Sigma_j^{-1} C for each distinct pair j.
    G : list of Array (d, d)
        The reference covariances, times the weights of their classes.
    wm, m : lists of Array (k_j, d)
        The reference means of its classes, weighted and plain.
    diagonal : Array (d, d)
    """
    w, m, Gamma, _, Sigma, parts = data
    P, G, weighted, plain = [], [], [], []
    d = m.shape[1]
    diagonal = np.zeros((d, d))
    means = m @ RC
    for members in parts:
        k = members[0]
        X = solve_lower(cholesky(Sigma[k]), C)
        P.append(gram(X.astype(dtype, copy=False)))
        Y = product(product(RC.T, Gamma[k]), RC)
        Y *= float(w[members].sum())
        wm = means[members] * w[members, None]
        G.append(Y.astype(dtype))
        Y += wm.T @ means[members]
        outer = np.outer(np.diagonal(P[-1]), np.diagonal(Y))
        diagonal += 0.5 * (outer + outer.T)
        Y *= P[-1]
        Y[np.diag_indices(d)] = 0.0
        diagonal += Y
        weighted.append(wm.astype(dtype))
        plain.append(means[members].astype(dtype))
    return P, G, weighted, plain, diagonal


def _barrier_diagonal(Binv: Array, Q: float) -> Array:
    """Return the diagonal of V -> Q B^{-1} V B^{-1} on symmetric matrices."""
    b = np.diagonal(Binv)
    out: Array = Binv * Binv
    out[np.diag_indices(len(b))] = 0.0
    out += np.outer(b, b)
    out *= Q
    return out


def _start_gradient(
    tables: Tables, B: Array, w: Array, target: Array, parts: list[Indices]
) -> tuple[float, Array, Array]:
    """Return the quadratic part of f at B and its best offset, its gradient, and that offset."""
    P, G, weighted, plain, _ = tables
    S = B.astype(P[0].dtype)
    pairs = list(zip(P, G, weighted, plain, parts, strict=True))
    off = [x @ B - target[j] for x, j in zip(plain, parts, strict=True)]
    beta = -sum(p @ (w[j] @ r) for p, r, j in zip(P, off, parts, strict=True))
    out, value = np.zeros_like(S), 0.0
    for (p, g, wm, _, j), r in zip(pairs, off, strict=True):
        r = r + beta
        X = product(p, product(S, g))
        value += 0.5 * float(np.vdot(X, S)) + 0.5 * float(w[j] @ np.einsum("kr,kr->k", r @ p, r))
        out += X + (p @ r.T.astype(S.dtype)) @ wm
    return value, symmetrize(out.astype(float)), beta


def _gradient(
    B: Array, beta: Array, C: Array, RC: Array, data: Cells
) -> tuple[float, Array, Array]:
    """Return the quadratic part of f and its gradient in (B, beta), from the cells themselves."""
    w, m, Gamma, mu, Sigma, parts = data
    A = product(product(C, B), RC.T)
    r = m @ A.T + C @ beta - mu
    G, g, value = np.zeros_like(A), np.zeros_like(beta), 0.0
    for members in parts:
        k, share, wr = members[0], float(w[members].sum()), r[members].T * w[members]
        U = cholesky(Sigma[k])
        X = solve(U, product(A, Gamma[k]))
        Z = solve(U, wr)
        value += 0.5 * (share * float(np.vdot(X, A)) + float(np.vdot(Z, r[members].T)))
        X *= share
        G += X
        G += Z @ m[members]
        g += Z.sum(axis=1)
    return value, symmetrize(product(product(C.T, G), RC)), C.T @ g


def _offset_gradient(tables: Tables, n: Array) -> Array:
    """Return how the gradient in B changes with a shift n of the offset."""
    P, _, weighted, _, _ = tables
    out = sum(np.outer(p @ n, wm.sum(axis=0)) for p, wm in zip(P, weighted, strict=True))
    return symmetrize(np.asarray(out, dtype=float))


def hessian_product(tables: Tables, Binv: Array, Q: float, V: Array) -> tuple[Array, Array]:
    """Return the Hessian's product with a symmetric V, the offset following V, and its shift."""
    P, G, weighted, plain, _ = tables
    shift = -sum(p @ (V @ wm.T).sum(axis=1) for p, wm in zip(P, weighted, strict=True))
    out = product(Binv, product(V, Binv))
    out *= Q
    for p, g, wm, x in zip(P, G, weighted, plain, strict=True):
        T = product(V, g)
        T += (x @ V + shift).T @ wm
        out = product(p, T, out, add=True)
    return symmetrize(out), shift


def conjugate_gradients(
    tables: Tables, Binv: Array, Q: float, right: Array, M: Array, tol: float, max_iter: int = 300
) -> tuple[Array, Array, Array]:
    """Solve H D = right to a relative residual in the preconditioned norm.

    Returns
    -------
    D, HD : Array, shape (d, d)
        float64, symmetric.
    shift : Array, shape (d,)
        The offset's part of the step.
    """
    dtype = Binv.dtype
    scale = float(np.sqrt((right * right / M).sum()))
    r = (right / scale).astype(dtype)
    M = M.astype(dtype)
    x, shift = np.zeros_like(r), np.zeros(len(r), dtype)
    p = r / M
    step_shift: Array
    rz = float(np.vdot(r, p))
    for _ in range(max_iter):
        Hp, step_shift = hessian_product(tables, Binv, Q, p)
        curvature = float(np.vdot(p, Hp))
        if curvature <= 0.0:  # rounding: what there is will do
            break
        alpha = rz / curvature
        x += dtype.type(alpha) * p
        shift += dtype.type(alpha) * step_shift
        Hp *= dtype.type(alpha)
        r -= Hp
        z = np.divide(r, M, out=Hp)
        rz, last = float(np.vdot(r, z)), rz
        if rz <= tol**2:
            break
        p *= dtype.type(rz / last)
        p += z
    return (
        symmetrize(scale * x.astype(float)),
        right - symmetrize(scale * r.astype(float)),
        scale * shift.astype(float),
    )


def _line_search(U: Array, D: Array, slope: float, HD: Array, Q: float) -> float:
    """Return the best step along D: a quadratic of that slope, and log det B."""
    half = solve_lower(U, np.ascontiguousarray(solve_lower(U, D).T))
    ratios = eigvalsh(half, driver="evd", overwrite_a=True, check_finite=False)
    return exact_step(max(float(np.vdot(D, HD)), 0.0), slope, Q, ratios)


def decrement_cg(
    root: Array, S: Array, w: Array, m: Array, Gamma: Array, Sigma: Array, N: Array, n: Array
) -> float:
    r"""Return the Newton decrement of a gradient (N, n) in (S, beta), at most 1% too large.

    With the offset eliminated and x the answer of conjugate gradients for the gradient g,
    :math:`\|g\|_{H^{-1}} \le \sqrt{x'Hx} + \|g - Hx\|_{H^{-1}}`; of what is left the norm is at
    most :math:`\sqrt{\mathrm{tr}(SrSr)/Q}`.
    """
    data = (w, m, Gamma, np.zeros_like(m), Sigma, distinct_cells(Gamma, Sigma))
    Q = float(w.sum())
    C, _, _, _ = _basis(root, data)
    RC = product(root.T, C)
    tables = cell_tables(C, RC, data, np.float64)
    inner = np.linalg.inv(C)
    B = symmetrize(inner @ S @ inner.T)
    Binv = inverse(cholesky(B))
    M = tables[-1] + _barrier_diagonal(Binv, Q)
    shift = C.T @ n
    right = symmetrize(C.T @ N @ C) - _offset_gradient(tables, shift)
    total = float(shift @ shift)
    if not np.any(right):
        return float(np.sqrt(total))
    for tol in (1e-2, 1e-4, 1e-6):
        x, Hx, _ = conjugate_gradients(tables, Binv, Q, right, M, tol)
        left = product(B, right - Hx)
        rest = np.sqrt(max(float(np.vdot(left, left.T)), 0.0) / Q)
        found = np.sqrt(max(float(np.vdot(x, Hx)), 0.0))
        if rest <= 1e-2 * found:
            break
    return float(np.sqrt(total + (found + rest) ** 2))
