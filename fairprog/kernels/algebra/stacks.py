"""Vectors and matrices along the last axes of arrays, as many as the leading axes hold."""

from __future__ import annotations

import numpy as np

from fairprog.labels import Array


def flip(X: Array) -> Array:
    """Return the transposes of matrices."""
    return np.swapaxes(X, -1, -2)


def both(X: Array) -> Array:
    """Return X + X'."""
    return X + flip(X)


def outer(x: Array, y: Array) -> Array:
    """Return x y'."""
    return x[..., :, None] * y[..., None, :]


def apply(A: Array, x: Array) -> Array:
    """Return A x."""
    return np.asarray((A @ x[..., None])[..., 0])


def dot(A: Array, B: Array) -> Array:
    """Return tr(A'B).

    Examples
    --------
    >>> X = np.arange(8.0).reshape(2, 2, 2)
    >>> dot(X, X)
    array([ 14., 126.])
    """
    return np.asarray(np.einsum("...jk,...jk->...", A, B))


def trace(X: Array) -> Array:
    """Return tr X."""
    return np.asarray(np.trace(X, axis1=-2, axis2=-1))
