r"""One group steered to a reference in hundreds of dimensions: Newton's method by CG.

The program of :mod:`fairprog.kernels.multivariate.one_group` over A = S R, S symmetric positive
definite, with the offset eliminated. With :math:`\bar P = \sum_i w_i \Sigma_i^{-1}` and
:math:`\bar G` the weighted second moment of R x over the reference, C is taken such that

.. math:: C'\bar P C = I, \qquad C'\bar G C = diag(\lambda), \qquad S = C B C'.

If all classes had the same covariances the Hessian would be
:math:`V \mapsto \tfrac12 (V\Lambda + \Lambda V) + Q B^{-1} V B^{-1}`, so
:math:`B = \sqrt{Q} \Lambda^{-1/2}` is where the search starts, and the diagonal of the Hessian in
this basis is a preconditioner that leaves little to do but along the means of the classes, where
:mod:`fairprog.kernels.multivariate.mean_span` takes over. A product with the Hessian is two matrix
products per class; no matrix beyond d x d is ever formed. The products of conjugate gradients are
taken in float32 from a copy of the cells in this basis; gradients in float64 from the cells
themselves. Both matrices of a class share one array (one triangle each), so the copy takes a
quarter of what the moments of two groups take.

Classes that share their arrays (stride 0 along the first axis) cost as much as one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.linalg import eigvalsh

from fairprog.kernels.algebra.blas import average, cholesky, inverse, log_det, product, solve_lower
from fairprog.kernels.multivariate.balanced_cells import (
    Tables,
    balancing_basis,
    barrier_diagonal,
    cell_tables,
    exact_gradient,
    hessian_product,
    offset_gradient,
    start_gradient,
    weighted_square,
)
from fairprog.kernels.multivariate.cells import distinct_cells
from fairprog.kernels.multivariate.mean_span import Span, mean_span, preconditioned
from fairprog.kernels.multivariate.normal import symmetrize
from fairprog.kernels.multivariate.one_group import exact_step
from fairprog.labels import Array

SMALL = 64  # below, float64 costs as little
DRIFT = 1e-3  # of a float64 gradient: below, its updates by float32 products have lost digits
PRODUCTS = 1e-5  # precision of a step by products in the basis, until a float64 gradient tells


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
    C, lam, constant, target = balancing_basis(root, data)
    dtype: Any = np.float64 if d < SMALL else np.float32
    tables = cell_tables(C, root, data, dtype)
    *_, diagonal, log_dets = tables
    span = mean_span(tables)
    constant += 0.5 * (log_dets - Q * d)
    B = np.diag(np.sqrt(Q / lam))
    value, G, beta = start_gradient(tables, B, w, target, parts)  # the offset is C beta
    n: Array = np.zeros(d)
    exact, size, best = False, np.inf, np.inf  # exact: G is a float64 gradient, not carried on
    start, left = np.inf, np.inf  # size of G when it was last known, and what products leave of it
    stalled, iterations = 0, 0
    while True:
        U = cholesky(B)
        logs = log_det(U)
        Binv = inverse(U, overwrite=True)
        del U  # the same memory
        M = barrier_diagonal(Binv, Q, dtype)
        M += diagonal
        G -= Q * Binv  # from here on that of f
        said, size = size, float(np.sqrt(weighted_square(G, M) + n @ n))
        goal = tol * max(1.0, abs(value + constant - Q * logs))
        if exact:  # how far the products were off says how far they may be trusted from here
            left = size * max(PRODUCTS, float(np.sqrt(abs(size**2 - said**2))) / start)
            start = size
        elif iterations == 0:
            start = max(size, PRODUCTS / DRIFT)
        if _is_there(exact, size, left, goal) or (exact and iterations >= max_iter):
            break
        if not exact and size < max(DRIFT * start, goal):
            del G, M, Binv
            value, G, n = exact_gradient(B, beta, C, root, data)
            exact = True
            continue
        if exact and size > 0.5 * best:  # rounding in the products, or in everything
            stalled += 1
            if stalled > 2 and dtype == np.float64:
                break
            if dtype == np.float32:
                dtype, stalled = np.float64, 0
                del tables, diagonal, span
                tables = cell_tables(C, root, data, dtype)
                diagonal, span = tables[-2], mean_span(tables)
        if exact:
            best = min(best, size)
        iterations += 1
        # move to the best offset of this B: the weighted precisions add up to I here
        beta = beta - n
        if n.any():
            G -= offset_gradient(tables, n)
        n, exact = np.zeros(d), False
        eta = max(min(0.1, size / np.sqrt(Q)), 0.5 * goal / size)
        N = G.astype(dtype)  # what is lost of it is small where it is small
        del G
        Binv = Binv.astype(dtype, copy=False)
        D, rest, shift = _conjugate_gradients(tables, span, Binv, Q, N, M, eta)
        del M, Binv
        G, t, gained = _step(B, D, Q, N, rest)
        del N, D, rest
        beta, value = beta + t * shift, value + gained
    S = average(product(product(C, B), C.T))
    return S, C @ beta, iterations, size * tol / goal


def _is_there(exact: bool, size: float, left: float, goal: float) -> bool:
    """Return whether a gradient is small enough, and what it was carried on from was too."""
    return size < goal and (exact or left < 0.3 * goal)


def _step(B: Array, D: Array, Q: float, N: Array, rest: Array) -> tuple[Array, float, float]:
    """Move B, in place, along a Newton direction.

    Parameters
    ----------
    B, D : Array, shape (d, d)
        The map and the direction, which is overwritten.
    N, rest : Array, shape (d, d)
        The gradient of f at B, and -N - H D.

    Returns
    -------
    G : Array, shape (d, d)
        Gradient of the quadratic part there, carried on by products that D was found with.
    t : float
        Part of the direction that was gone.
    gained : float
        Change of the quadratic part.
    """
    slope = float(np.vdot(N, D))
    curvature = -slope - float(np.vdot(D, rest))  # <D, H D>
    t = 1.0
    U = cholesky(B)
    if -slope > 0.14 * Q:  # beyond where full steps converge quadratically
        t = _line_search(U, D, slope, curvature, Q)
    # gradient of the quadratic at B + t D: N + Q/B at B, and t (H D - Q/B D /B)
    inner = inverse(U, overwrite=True)
    gained = t * (slope + Q * float(np.vdot(inner, D)))
    G = inner.astype(N.dtype)
    G = average(product(product(G, D), G)).astype(float, copy=False)
    gained += 0.5 * t**2 * (curvature - Q * float(np.vdot(G, D)))
    G *= -t
    G += inner
    G *= Q
    del inner
    G += (1.0 - t) * N
    G -= t * rest
    D *= D.dtype.type(t)
    B += D
    return G, t, gained


def _conjugate_gradients(
    tables: Tables,
    span: Span | None,
    Binv: Array,
    Q: float,
    N: Array,
    M: Array,
    tol: float,
    max_iter: int = 300,
) -> tuple[Array, Array, Array]:
    """Solve H D = -N to a relative residual, in the norm that divides by M.

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
    scale = float(np.sqrt(weighted_square(N, M)))
    r = N / number(-scale)
    x, shift = np.zeros_like(r), np.zeros(len(r))
    p, Hp, work = r / M, np.empty_like(r), np.empty_like(r)
    if span is not None and not preconditioned(tables, span, Binv, Q, M, r, p):
        span = None
    rz = float(np.vdot(r, p))
    for _ in range(max_iter):
        step = hessian_product(tables, Binv, Q, p, Hp, work)
        curvature = float(np.vdot(p, Hp))
        if not curvature > 0.0:  # rounding: what there is will do
            break
        alpha = rz / curvature
        np.multiply(p, number(alpha), out=work)
        x += work
        shift += alpha * step
        Hp *= number(alpha)
        r -= Hp
        z = np.divide(r, M, out=work)
        if float(np.vdot(r, z)) <= tol**2:
            break
        if span is not None and not preconditioned(tables, span, Binv, Q, M, r, z):
            span = None
        p *= number(-float(np.vdot(Hp, z)) / rz)  # conjugate to p, whatever z is
        p += z
        rz = float(np.vdot(r, z))
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
    C, *_ = balancing_basis(root, data)
    tables = cell_tables(C, root, data, np.float64)
    inner = np.linalg.inv(C)
    B = symmetrize(inner @ S @ inner.T)
    Binv = inverse(cholesky(B))
    *_, diagonal, _ = tables
    M = diagonal + barrier_diagonal(Binv, Q, np.float64)
    shift = C.T @ n
    g = symmetrize(C.T @ N @ C) - offset_gradient(tables, shift)
    total = float(shift @ shift)
    if not np.any(g):
        return float(np.sqrt(total))
    for tol in (1e-2, 1e-4, 1e-6):
        x, left, _ = _conjugate_gradients(tables, None, Binv, Q, g, M, tol)
        rest = product(B, left)
        bound = np.sqrt(max(float(np.vdot(rest, rest.T)), 0.0) / Q)
        found = np.sqrt(max(-float(np.vdot(x, g)) - float(np.vdot(x, left)), 0.0))
        if bound <= 1e-2 * found:
            break
    return float(np.sqrt(total + (found + bound) ** 2))
