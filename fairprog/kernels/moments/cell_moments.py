"""Weighted moments of every (class, group) cell."""

from __future__ import annotations

import numpy as np

from fairprog.labels import Array, Indices


def cell_moments(
    X: Array,
    i: Indices,
    a: Indices,
    weight: Array,
    shape: tuple[int, int],
    covariance: str = "full",
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
    covariance : {"full", "tied", "diagonal"}
        "tied" pools the covariances of each group's classes; "diagonal" keeps variances only.

    Returns
    -------
    count : Indices, shape (K, G)
    mass : Array, shape (K, G)
        Sums of weights.
    mean, cov : Array, shapes (K, G, d) and (K, G, d, d)
        Zero in empty cells; covariances are (1, G, d, d) where tied, (K, G, d) where diagonal.
    """
    K, G = shape
    d = X.shape[1]
    count, mass = np.zeros(shape, dtype=np.intp), np.zeros(shape)
    tied, diagonal = covariance == "tied", covariance == "diagonal"
    mean = np.zeros((K, G, d))
    cov = np.zeros((K, G, d) if diagonal else (1 if tied else K, G, d, d))
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
            if diagonal:
                cov[k, g] = np.einsum("n,nj,nj->j", w, centered, centered) / mass[k, g]
            elif tied:
                cov[0, g] += (centered.T * w) @ centered
            else:
                cov[k, g] = (centered.T * w) @ centered / mass[k, g]
    if tied:
        cov /= np.where(mass > 0, mass, 1.0).sum(axis=0)[:, None, None]
    return count, mass, mean, cov
