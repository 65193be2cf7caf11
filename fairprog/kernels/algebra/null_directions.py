"""Null directions: where the features do not vary within any cell, and what is left."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fairprog.labels import Array

CONSTANT = 1e-10  # a column varies if its deviation is above this fraction of its mean
NULL_VARIANCE = 1e-10  # of the largest, columns at unit variance
MEAN_SPREAD = 1e-5  # up to which means of cells along a null direction are alike


def split_support(prior: Array, mean: Array, within: Array) -> tuple[Array, Array]:
    """Split feature space into the support of the cells and their null directions.

    A direction (a linear combination v'x of the features, columns scaled to unit variance) is
    null when its pooled within-cell variance is below 1e-10 of the largest.

    Parameters
    ----------
    prior : Array, shape (K, G)
    mean : Array, shape (K, G, d)
    within : Array, shape (d, d)
        Pooled within-cell covariance.

    Returns
    -------
    basis : Array, shape (d, k)
        Orthonormal; the identity where nothing is null. x = basis y + const, y = basis' x.
    null : Array, shape (d, d - k)
        Orthonormal basis of the combinations that are constant.
    """
    d = mean.shape[-1]
    total, center = _total_variance(prior, mean, within)
    # a constant column has rounding noise where its variance should be zero
    varies = total > (CONSTANT * np.abs(center)) ** 2
    scale = np.where(varies, 1.0 / np.sqrt(np.where(varies, total, 1.0)), 0.0)
    values, vectors = np.linalg.eigh(within * np.outer(scale, scale))
    is_null = values <= NULL_VARIANCE * max(values[-1], 0.0)
    if not is_null.any():
        return np.eye(d), np.zeros((d, 0))
    combinations = vectors[:, is_null] * np.where(varies, scale, 1.0)[:, None]
    columns = (np.abs(combinations) > 1e-8 * np.abs(combinations).max(axis=0)).any(axis=1)
    if columns.sum() == is_null.sum():  # constant columns: keep the others as they are
        return np.eye(d)[:, ~columns], np.eye(d)[:, columns]
    q, _ = np.linalg.qr(combinations / np.linalg.norm(combinations, axis=0), mode="complete")
    count = int(is_null.sum())
    return q[:, count:], q[:, :count]


def restrict(X: Array, basis: Array) -> Array:
    """Return U' X U over the last two axes: a view where U is the identity.

    As `split_support` builds it, a square U is the identity. Where U selects columns, entries
    are copied and nothing is multiplied.
    """
    d, k = basis.shape
    if d == k:  # nothing was set aside
        return X
    if _selects(basis):
        columns = basis.argmax(axis=0)
        return np.asarray(X[..., columns[:, None], columns])
    return np.asarray(basis.T @ X @ basis)


def extend(A: Array, basis: Array) -> Array:
    """Return U A U' + I - U U', which is A on the support and the identity elsewhere."""
    d, k = basis.shape
    if d == k:
        return A
    out: Array = np.eye(d)
    if _selects(basis):
        columns = basis.argmax(axis=0)
        out[columns[:, None], columns] = A
        return out
    return basis @ A @ basis.T + out - basis @ basis.T


def _selects(basis: Array) -> bool:
    """Return whether the columns of a basis are features."""
    return bool(np.count_nonzero(basis) == basis.shape[1])


def mean_spread(prior: Array, mean: Array, within: Array, null: Array) -> Array:
    """Return, per null direction, the largest distance of a cell mean from the first cell's.

    In units of the scale of the columns involved: above rounding (1e-5) the cells differ where
    they cannot overlap, and KL is infinite.
    """
    unit = np.sqrt(_unit_variance(prior, mean, within, null))
    return np.abs((mean - mean[0, 0]) @ null).max(axis=(0, 1)) / unit


def variance_share(prior: Array, mean: Array, within: Array, directions: Array) -> Array:
    """Return the variance along directions (d, k) over that of the columns involved, shape (k,).

    By the rule of `split_support` a null direction has at most 1e-10 d.
    """
    along = np.einsum("dk,de,ek->k", directions, within, directions, optimize=True)
    return along / _unit_variance(prior, mean, within, directions)


def _unit_variance(prior: Array, mean: Array, within: Array, directions: Array) -> Array:
    """Return what directions would vary by, were columns independent; 1 where none varies."""
    total, center = _total_variance(prior, mean, within)
    floor = (10.0 * CONSTANT * np.abs(center)) ** 2  # well above the rounding of a constant
    unit = (directions**2 * np.maximum(total, floor)[:, None]).sum(axis=0)
    return np.where(unit > 0, unit, 1.0)


def constant_features(prior: Array, mean: Array, within: Array) -> tuple[NDArray[np.bool_], Array]:
    """Return which features are null by the rule of `split_support`, and their `mean_spread`.

    For independent features, `within` (d,) their pooled variances; the spread is 0 for the others.
    """
    total, center = _total_variance(prior, mean, within)
    varies = total > (CONSTANT * np.abs(center)) ** 2
    share = np.divide(within, total, out=np.zeros_like(total), where=varies)
    constant = share <= NULL_VARIANCE * share.max()
    unit = np.sqrt(np.maximum(total, (10.0 * CONSTANT * np.abs(center)) ** 2))
    apart = np.abs(mean - mean[0, 0]).max(axis=(0, 1))
    spread = np.where(constant, apart / np.where(unit > 0, unit, 1.0), 0.0)
    return constant, spread


def _total_variance(prior: Array, mean: Array, within: Array) -> tuple[Array, Array]:
    """Return the variance of every column, and the mean of one cell as its scale."""
    shifted = mean - mean[0, 0]  # about one cell, so that equal means cancel to the bit
    average = np.einsum("ia,iaj->j", prior, shifted)
    between = np.einsum("ia,iaj->j", prior, (shifted - average) ** 2)
    own = within if within.ndim == 1 else np.diag(within)
    return own + between, mean[0, 0]
