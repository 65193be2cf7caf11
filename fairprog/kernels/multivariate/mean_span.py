r"""What the diagonal preconditioner of Newton's method misses: the span of the class means.

In the basis of :mod:`fairprog.kernels.multivariate.newton_cg` all classes together are diagonal,
and what they differ by averages out, but for what meets their means: along the mean of one class
the Hessian is that class's precision alone. With U (d, r) an orthonormal basis of the span of the
means, the matrices :math:`V = Y U' + U Y'` are where conjugate gradients would be slow, and are
solved for beside the diagonal: the equations for Y are thin, products of d x d matrices with r
columns. After each division by the diagonal, M, what is left in the span is

.. math:: R = 2 (r - H M^{-1} r) U, \qquad
    \sum_j P_j Y (U'F_jU) + \Lambda Y + 2 Q B^{-1} Y (U'B^{-1}U) = R

where, outside of the span, :math:`\Lambda Y` stands for :math:`\sum_j F_j Y (U'P_jU)` (two-level
preconditioning by deflation: Tang, Nabben, Vuik & Erlangga, J. Sci. Comput. 39, 2009). A rough
solution does. Arrays of r columns are held as rows.
"""

from __future__ import annotations

import numpy as np

from fairprog.kernels.algebra.blas import product
from fairprog.kernels.multivariate.balanced_cells import Tables, rows_times_f, rows_times_p
from fairprog.labels import Array

ROUGH = 0.3  # relative residual of the thin equations that does
LOST = 0.1  # of <r, z>, at most: more says that the rough solution is wrong
MOST = 10  # conjugate gradient steps for them
FEATURES = 8  # for each direction that is kept, and more
Span = tuple[Array, Array, Array, Array, Array]


def mean_span(tables: Tables) -> Span:
    """Return U' (r, d), the rows F_j U, mean and P_j U, U'F_jU, U'P_jU, and diag(sum F_j)."""
    packed, diagonals, weighted, plain, diagonal, _ = tables
    dtype, d = diagonal.dtype, len(diagonal)
    cells = list(zip(packed, diagonals, weighted, plain, strict=True))
    _, size, vectors = np.linalg.svd(np.concatenate(plain).astype(float), full_matrices=False)
    U = vectors[: d // FEATURES][size[: d // FEATURES] > 1e-3 * size[0]].astype(dtype)
    rows = np.empty((len(cells), 2 * len(U) + 1, d), dtype)
    for cell, own in zip(cells, rows, strict=True):
        own[: len(U)] = rows_times_f(U, *cell)
        own[len(U)] = cell[2].sum(axis=0)
        own[len(U) + 1 :] = rows_times_p(U, cell[0])
    second = np.sum([g + (wm * x).sum(axis=0) for _, (_, g), wm, x in cells], axis=0)
    inner = rows @ U.T
    return U, rows, inner[:, : len(U)], inner[:, len(U) + 1 :], second


def preconditioned(
    tables: Tables, span: Span, Binv: Array, Q: float, M: Array, r: Array, z: Array
) -> bool:
    """Add to z, which is r / M, what that leaves of r in the span; return False if it does not do.

    Where the rough solution takes z far from r the diagonal alone is the better preconditioner.
    """
    U, here = span[0], 2.0 * (span[0] @ r)
    if not len(U):
        return False
    Y = _solve(tables, span, Binv, Q, M, here - _along_means(tables, span, Binv, Q, z))
    Y -= 0.5 * ((Y @ U.T).T @ U)  # the part in the span itself is there twice
    if float(np.vdot(here, Y)) < -LOST * float(np.vdot(r, z)):
        return False
    product(Y.T, U, z, add=True)
    product(U.T, Y, z, add=True)
    return True


def _along_means(tables: Tables, span: Span, Binv: Array, Q: float, V: Array) -> Array:
    """Return 2 (H V) U as rows, V symmetric."""
    packed, diagonals, weighted, plain, *_ = tables
    U, rows, *_ = span
    r = len(U)
    out = product(product(U @ Binv, V), Binv)
    out *= V.dtype.type(2.0 * Q)
    moved = product(rows.reshape(-1, len(V)), V).reshape(rows.shape)
    shift = np.zeros_like(V[0])
    for T, both, wm, x, own in zip(packed, diagonals, weighted, plain, moved, strict=True):
        pulled = rows_times_p(own[: r + 1], T)
        out += pulled[:r]
        shift -= pulled[r]
        out += rows_times_f(own[r + 1 :], T, both, wm, x)
    for T, own in zip(packed, rows, strict=True):  # the offset follows
        mean = own[r]
        out += np.outer(U @ mean, rows_times_p(shift[None], T)[0])
        out += np.outer(own[r + 1 :] @ shift, mean)
    return out


def _solve(tables: Tables, span: Span, Binv: Array, Q: float, M: Array, R: Array) -> Array:
    """Return a rough solution Y of the thin equations, by conjugate gradients."""
    U, _, UFU, UPU, second = span
    number = R.dtype.type
    M = number(2.0) * ((U * U) @ M)
    UBU = number(2.0 * Q) * (U @ Binv @ U.T)
    Y, z = np.zeros_like(R), R / M
    p, rz = z, float(np.vdot(R, z))
    end = ROUGH**2 * rz
    for _ in range(MOST):
        if not rz > end:
            break
        inner = p @ U.T
        moved = (p - inner @ U) * second  # off the span; in it
        moved += ((UPU @ inner @ UFU).sum(axis=0) - moved @ U.T) @ U
        moved += product(UBU @ p, Binv)
        for T, F in zip(tables[0], UFU, strict=True):
            moved += rows_times_p(F @ p, T)
        step = number(rz / float(np.vdot(p, moved)))
        Y += step * p
        R -= step * moved
        z = R / M
        last, rz = rz, float(np.vdot(R, z))
        p = z + number(rz / last) * p
    return Y
