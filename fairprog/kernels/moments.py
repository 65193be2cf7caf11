"""Weighted moments of every (class, group) cell."""

from __future__ import annotations

import numpy as np

from fairprog.labels import Array, Indices

__all__ = ["cell_moments", "shrink"]


def cell_moments(
    X: Array, i: Indices, a: Indices, weight: Array, shape: tuple[int, int], tied: bool = False
) -> tuple[Indices, Array, Array, Array]:
    """Return counts, weights, means and covariances (divided by the weight) of every cell.

    Parameters
    ----------
    X : Array, shape (n, d)
    i, a : Indices, shape (n,)
        Class and group of each row.
    weight : Array, shape (n,)
        Nonnegative; rows of weight zero are not counted.
    shape : (K, G)
    tied : bool
        Pool the covariances of each group's classes.

    Returns
    -------
    count : Indices, shape (K, G)
    mass : Array, shape (K, G)
        Sums of weights.
    mean, cov : Array, shapes (K, G, d) and (K, G, d, d), or (1, G, d, d) where tied
        Zero in empty cells.
    """
    K, G = shape
    d = X.shape[1]
    count, mass = np.zeros(shape, dtype=np.intp), np.zeros(shape)
    mean, cov = np.zeros((K, G, d)), np.zeros((1 if tied else K, G, d, d))
    for k in range(K):
        for g in range(G):
            rows = (i == k) & (a == g) & (weight > 0)
            count[k, g] = rows.sum()
            if not count[k, g]:
                continue
            w = weight[rows]
            mass[k, g] = w.sum()
            mean[k, g] = w @ X[rows] / mass[k, g]
            centered = X[rows] - mean[k, g]
            if tied:
                cov[0, g] += (centered.T * w) @ centered
            else:
                cov[k, g] = (centered.T * w) @ centered / mass[k, g]
    if tied:
        cov /= np.where(mass > 0, mass, 1.0).sum(axis=0)[:, None, None]
    return count, mass, mean, cov


def shrink(count: Indices, mass: Array, cov: Array, amount: float) -> Array:
    r"""Return every cell's covariance moved towards its own group's pooled one, T.

    :math:`(1 - s) \hat\Sigma_{ia} + s T_a`. Where `amount` is negative ("auto"), s minimises the
    expected squared error in coordinates in which T is I; for n normal rows the noise is

    .. math:: s = \min\Bigl(1, \frac{(\|\hat\Sigma\|_F^2 + (\mathrm{tr}\,\hat\Sigma)^2) / n}
        {\|\hat\Sigma - I\|_F^2}\Bigr).

    Parameters
    ----------
    count : Indices, shape (K, G)
    mass : Array, shape (K, G)
    cov : Array, shape (K, G, d, d)
    amount : float
        In [0, 1], or negative for "auto".

    Notes
    -----
    Source: Ledoit and Wolf (2004), with the noise of normal rows; theory.md section 9.
    """
    out = np.empty_like(cov)
    for g in range(cov.shape[1]):
        share = mass[:, g] / mass[:, g].sum()
        pooled = np.einsum("i,ijk->jk", share, cov[:, g])
        values, vectors = np.linalg.eigh(pooled)
        keep = values > 1e-10 * values[-1]
        W = vectors[:, keep] / np.sqrt(values[keep])
        for k in range(len(cov)):
            s = amount
            if amount < 0:
                white = W.T @ cov[k, g] @ W
                distance = float(((white - np.eye(len(white))) ** 2).sum())
                noise = float((white**2).sum() + np.trace(white) ** 2) / count[k, g]
                s = 1.0 if distance <= noise else noise / distance
            out[k, g] = (1.0 - s) * cov[k, g] + s * pooled
    return out
