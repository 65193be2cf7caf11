"""Normal laws: KL divergence, moments of mixtures, push-forwards, monotone transport."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr

from fairprog.labels import Array


def symmetrize(S: Array) -> Array:
    """Return (S + S') / 2 over the last two axes."""
    return 0.5 * (S + np.swapaxes(S, -1, -2))


def interval_mass(low: Array, high: Array) -> Array:
    """Return P(low < Z <= high) of a standard normal, accurate in both tails."""
    flip = low > 0
    below, above = np.where(flip, -high, low), np.where(flip, -low, high)
    return ndtr(above) - ndtr(below)


def symmetric_root(S: Array, power: float = 0.5) -> Array:
    """Return the symmetric power of positive definite matrices, last two axes."""
    values, vectors = np.linalg.eigh(S)
    return (vectors * values[..., None, :] ** power) @ np.swapaxes(vectors, -1, -2)


def kl(mean: Array, cov: Array, target_mean: Array, target_cov: Array) -> Array:
    r"""Return KL(N(mean, cov) || N(target_mean, target_cov)) in nats, over leading axes.

    With lambda the eigenvalues of L^{-1} cov L^{-T}, target_cov = L L':
    :math:`\frac12 \sum_j (\lambda_j - 1 - \log \lambda_j) + \frac12 \|L^{-1}\delta\|^2`, a form
    that loses no digits where the two laws nearly agree; where they differ much the logarithms
    are taken from determinants.

    Parameters
    ----------
    mean, target_mean : Array, shape (..., d)
    cov, target_cov : Array, shape (..., d, d)
        Positive definite.

    Returns
    -------
    Array, shape (...)

    Examples
    --------
    >>> import numpy as np
    >>> float(kl(np.zeros(1), np.eye(1), np.ones(1), np.eye(1)))
    0.5
    """
    cov, target_cov, delta = in_units(target_cov, cov, target_cov, mean - target_mean)
    L = np.linalg.cholesky(target_cov)
    white = np.linalg.solve(L, cov)
    white = symmetrize(np.linalg.solve(L, np.swapaxes(white, -1, -2)))
    excess = np.linalg.eigvalsh(white) - 1.0
    near = (np.abs(excess) < 0.5).all(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = (excess - np.log1p(excess)).sum(axis=-1)
    if not near.all():  # small eigenvalues lose their digits in lambda - 1
        log_det = np.linalg.slogdet(target_cov)[1] - np.linalg.slogdet(cov)[1]
        spread = np.where(near, spread, excess.sum(axis=-1) + log_det)
    delta = np.linalg.solve(L, delta[..., None])[..., 0]
    return 0.5 * (spread + (delta**2).sum(axis=-1))


def in_units(of: Array, cov: Array, target_cov: Array, shift: Array) -> tuple[Array, ...]:
    """Return two covariances and a shift in units in which the variances of `of` are one.

    Triangular systems are solved by LU, which loses all digits where units differ much.
    """
    unit = np.sqrt(np.diagonal(of, axis1=-2, axis2=-1))
    scale = unit[..., :, None] * unit[..., None, :]
    return cov / scale, target_cov / scale, shift / unit


def push(A: Array, b: Array, mean: Array, cov: Array) -> tuple[Array, Array]:
    """Return (A mean + b, A cov A'), over leading axes of mean (..., d) and cov (..., d, d)."""
    return mean @ A.T + b, symmetrize(A @ cov @ A.T)


def pooled_covariance(prior: Array, cov: Array) -> Array:
    """Return sum_ia q_ia S_ia, shape (d, d), for prior (K, G) and cov (K, G, d, d)."""
    return np.einsum("ia,iajk->jk", prior, cov)


def unit_condition(cov: Array) -> float:
    """Return the worst condition number of covariances (..., d, d) at unit variances.

    Infinite where one of them is not positive definite.
    """
    variances = np.diagonal(cov, axis1=-2, axis2=-1)
    if not (variances > 0).all():
        return np.inf
    scale = 1.0 / np.sqrt(variances)
    values = np.linalg.eigvalsh(cov * scale[..., :, None] * scale[..., None, :])
    least, largest = values[..., 0], values[..., -1]
    definite = least > 1e-300 * largest
    return float((largest[definite] / least[definite]).max()) if definite.all() else np.inf


def gaussian_map(cov: Array, to_cov: Array, W: Array) -> Array:
    r"""Return the linear part of the monotone map N(., cov) -> N(., to_cov).

    With y = W x, W W the metric, and tilded covariances in y, the optimal transport map
    :math:`\tilde S^{-1/2}(\tilde S^{1/2}\tilde S_{to}\tilde S^{1/2})^{1/2}\tilde S^{-1/2}`;
    for the inverse pooled covariance as metric it is equivariant under affine changes of
    coordinates.

    Parameters
    ----------
    cov, to_cov : Array, shape (d, d)
    W : Array, shape (d, d)
        Symmetric root of the metric.

    Returns
    -------
    Array, shape (d, d)
    """
    root = symmetric_root(W @ cov @ W)
    back = symmetric_root(W @ cov @ W, -0.5)
    middle = symmetric_root(symmetrize(root @ W @ to_cov @ W @ root))
    return np.asarray(np.linalg.solve(W, back @ middle @ back @ W))
