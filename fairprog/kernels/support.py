"""Null directions: where the features do not vary within any cell, and what is left."""

from __future__ import annotations

import numpy as np

from fairprog.kernels.normal import pooled_covariance
from fairprog.labels import Array

__all__ = ["mean_spread", "split_support"]

NULL_VARIANCE = 1e-10  # of the largest, columns at unit variance


def split_support(prior: Array, mean: Array, cov: Array) -> tuple[Array, Array]:
    """Split feature space into the support of the cells and their null directions.

    A direction (a linear combination v'x of the features, columns scaled to unit variance) is
    null when its pooled within-cell variance is below 1e-10 of the largest.

    Parameters
    ----------
    prior : Array, shape (K, G)
    mean : Array, shape (K, G, d)
    cov : Array, shape (K, G, d, d)

    Returns
    -------
    basis : Array, shape (d, k)
        Orthonormal; the identity where nothing is null. x = basis y + const, y = basis' x.
    null : Array, shape (d, d - k)
        Orthonormal basis of the combinations that are constant.
    """
    d = mean.shape[-1]
    within = pooled_covariance(prior, cov)
    center = np.einsum("ia,iaj->j", prior, mean)
    between = np.einsum("ia,iaj->j", prior, (mean - center) ** 2)
    total = np.diag(within) + between
    # a constant column has rounding noise where its variance should be zero
    varies = total > (1e-12 * np.abs(center)) ** 2
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


def mean_spread(prior: Array, mean: Array, cov: Array, null: Array) -> Array:
    """Return, per null direction, the largest distance of a cell mean from the average.

    In units of the scale of the columns involved: above rounding (1e-5) the cells differ where
    they cannot overlap, and KL is infinite.
    """
    center = np.einsum("ia,iaj->j", prior, mean)
    within = np.diag(pooled_covariance(prior, cov))
    total = within + np.einsum("ia,iaj->j", prior, (mean - center) ** 2) + 1e-24 * center**2
    unit = np.sqrt((null**2 * total[:, None]).sum(axis=0))
    unit = np.where(unit > 0, unit, 1.0)
    out: Array = np.abs((mean - center) @ null).max(axis=(0, 1)) / unit
    return out
