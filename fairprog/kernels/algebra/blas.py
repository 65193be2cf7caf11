"""Matrix products and triangular solves of one BLAS: scipy's.

numpy's and scipy's wheels each carry a pool of BLAS threads, and alternating between the two
costs a third of the time; hot loops take everything from scipy's. The wrappers take and return
arrays in C order (their transposes are what Fortran sees), so that nothing is copied.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import blas, lapack

from fairprog.labels import Array


def product(X: Array, Y: Array, out: Array | None = None, *, add: bool = False) -> Array:
    """Return X Y, in `out` if given (C order), on top of what it holds with `add`."""
    gemm = blas.sgemm if X.dtype == np.float32 else blas.dgemm
    A, ta = (Y.T, 0) if Y.flags.c_contiguous else (Y, 1)
    B, tb = (X.T, 0) if X.flags.c_contiguous else (X, 1)
    if out is None:
        return gemm(1.0, A, B, trans_a=ta, trans_b=tb).T
    return gemm(1.0, A, B, float(add), out.T, trans_a=ta, trans_b=tb, overwrite_c=1).T


def add_outer(X: Array, g: Array, m: Array) -> Array:
    """Add g m' to X (C order, float64) in place and return it."""
    return blas.dger(1.0, m, g, a=X.T, overwrite_a=1).T


def average(X: Array, block: int = 64) -> Array:
    """Replace X by (X + X') / 2 in place and return it."""
    for i in range(0, len(X), block):
        rows = slice(i, min(i + block, len(X)))
        square, right, below = X[rows, rows], X[rows, rows.stop :], X[rows.stop :, rows]
        square += square.T.copy()
        right += below.T
        square *= 0.5
        right *= 0.5
        below[...] = right.T
    return X


def gram(X: Array) -> Array:
    """Return X' X, all of it."""
    return mirror(half_gram(X))


def half_gram(X: Array, scale: float = 1.0, below: Array | None = None) -> Array:
    """Return the upper triangle of scale X' X, and zeros; the lower one in `below`, if given."""
    syrk = blas.ssyrk if X.dtype == np.float32 else blas.dsyrk
    if below is None:
        return syrk(scale, X.T, lower=1).T  # X' seen in Fortran order: (X') (X')'
    return syrk(scale, X.T, 0.0, below.T, lower=0, overwrite_c=1).T


def cholesky(S: Array, *, overwrite: bool = False) -> Array:
    """Return the upper factor U, S = U' U, in C order; its transpose is the lower one.

    In S, if that is in C order, with `overwrite`.

    Raises
    ------
    numpy.linalg.LinAlgError
        If S is not positive definite.
    """
    # a C-ordered symmetric matrix is its own Fortran transpose: "lower" there is "upper" here
    L, info = lapack.dpotrf(S.T, lower=1, clean=1, overwrite_a=overwrite)
    if info:
        raise np.linalg.LinAlgError(f"leading minor {info} is not positive definite")
    return L.T


def solve(U: Array, X: Array, *, overwrite: bool = False) -> Array:
    """Return S^{-1} X from U = cholesky(S), X (d,) or (d, n) in C order; in X with `overwrite`."""
    if X.ndim == 1:
        out, _ = lapack.dpotrs(U.T, X, lower=1)
        return out
    X = solve_lower(U, X, overwrite=overwrite)
    return solve_lower(U, X, transposed=True, overwrite=True)


def solve_lower(U: Array, X: Array, *, transposed: bool = False, overwrite: bool = False) -> Array:
    """Return L^{-1} X with L = U' from cholesky (L^{-T} X with `transposed`); X (d, n) C order."""
    # in Fortran: X' <- X' L^{-T}, from the right
    trans = 0 if transposed else 1
    return blas.dtrsm(1.0, U.T, X.T, side=1, lower=1, trans_a=trans, overwrite_b=overwrite).T


def upper_times(U: Array, X: Array, *, overwrite: bool = False) -> Array:
    """Return U X for U upper triangular in C order; in X (C order) with `overwrite`."""
    return blas.dtrmm(1.0, U.T, X.T, side=1, lower=1, overwrite_b=overwrite).T


def lower_times(U: Array, X: Array) -> Array:
    """Return U' X for U upper triangular in C order."""
    return blas.dtrmm(1.0, U.T, X.T, side=1, lower=1, trans_a=1).T


def over_upper(X: Array, U: Array, *, overwrite: bool = False) -> Array:
    """Return X U^{-1} for U upper triangular in C order; in X (C order) with `overwrite`."""
    return blas.dtrsm(1.0, U.T, X.T, lower=1, overwrite_b=overwrite).T


def over_lower(X: Array, U: Array) -> Array:
    """Return X U^{-T} for U upper triangular in C order."""
    return blas.dtrsm(1.0, U.T, X.T, lower=1, trans_a=1).T


def times_lower(X: Array, U: Array) -> Array:
    """Return X U' for U upper triangular in C order."""
    return blas.dtrmm(1.0, U.T, X.T, trans_a=1, lower=1).T


def inverse(U: Array, *, overwrite: bool = False) -> Array:
    """Return S^{-1} from U = cholesky(S); in U with `overwrite`."""
    half, _ = lapack.dpotri(U.T, lower=1, overwrite_c=overwrite)
    return mirror(half.T)


def log_det(U: Array) -> float:
    """Return log det S from U = cholesky(S)."""
    return 2.0 * float(np.log(np.diagonal(U)).sum())


def general_inverse(X: Array) -> Array:
    """Return the inverse of any invertible X, in Fortran order: its transpose is in C order.

    Raises
    ------
    numpy.linalg.LinAlgError
        If X is exactly singular.
    """
    LU, pivots, info = lapack.dgetrf(X)
    size, _ = lapack.dgetri_lwork(len(X))
    if not info:
        out, info = lapack.dgetri(LU, pivots, lwork=int(size), overwrite_lu=True)
    if info:
        raise np.linalg.LinAlgError("the matrix is singular")
    return out


def log_abs_det(X: Array) -> float:
    """Return log |det X| of any invertible X."""
    LU, _, _ = lapack.dgetrf(X.T)
    return float(np.log(np.abs(np.diagonal(LU))).sum())


def mirror(upper: Array, block: int = 64) -> Array:
    """Copy the upper triangle of a C-ordered matrix onto the lower one, in place."""
    d = len(upper)
    for i in range(0, d, block):
        rows = slice(i, min(i + block, d))
        upper[rows.stop :, rows] = upper[rows, rows.stop :].T
        square = upper[rows, rows]
        upper[rows, rows] = np.triu(square) + np.triu(square, 1).T
    return upper
