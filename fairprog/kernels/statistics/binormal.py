"""Rank correlations of normal laws and their mixtures, in closed form up to one integral."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr

from fairprog.labels import Array

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)


def binormal_cdf(h: Array, k: Array, r: Array) -> Array:
    r"""Return P(U <= h, V <= k) for standard normal U, V with correlation r, |r| <= 1.

    :math:`\Phi(h)\Phi(k) + \frac1{2\pi}\int_0^{\arcsin r}
    \exp(-\frac{h^2 + k^2 - 2hk\sin\theta}{2\cos^2\theta})\,d\theta` by 64 Gauss-Legendre nodes:
    to about 1e-10 for |r| <= 0.99, 1e-4 at the ends.

    Examples
    --------
    >>> from fairprog.kernels.statistics.binormal import binormal_cdf
    >>> round(float(binormal_cdf(np.zeros(()), np.zeros(()), np.array(0.5))), 12)
    0.333333333333
    """
    h, k, r = (np.asarray(v, dtype=float)[..., None] for v in (h, k, r))
    end = np.arcsin(np.clip(r, -1.0, 1.0))
    theta = 0.5 * end * (_NODES + 1.0)
    cos2 = np.maximum(np.cos(theta) ** 2, 1e-300)
    exponent = (h * h + k * k - 2.0 * h * k * np.sin(theta)) / (2.0 * cos2)
    integral = 0.5 * end[..., 0] * (np.exp(-np.maximum(exponent, 0.0)) @ _WEIGHTS)
    return ndtr(h[..., 0]) * ndtr(k[..., 0]) + integral / (2.0 * np.pi)


def mixture_spearman(weight: Array, mean: Array, cov: Array) -> float:
    r"""Return Spearman's rank correlation of a mixture of bivariate normal laws.

    :math:`12\,E[F(X)G(Y)] - 3` with F, G the marginal cdfs (mixtures as well): a sum over triples
    of components of bivariate normal probabilities.

    Parameters
    ----------
    weight : Array, shape (K,)
        Sums to one.
    mean : Array, shape (K, 2)
    cov : Array, shape (K, 2, 2)
        Each variance positive.

    Examples
    --------
    >>> from fairprog.kernels.statistics.binormal import mixture_spearman
    >>> one = mixture_spearman(np.ones(1), np.zeros((1, 2)), np.array([[[1., .5], [.5, 1.]]]))
    >>> bool(np.isclose(one, 6 / np.pi * np.arcsin(0.25)))
    True
    """
    w = weight
    x, y = mean[:, 0], mean[:, 1]
    vx, vy, c = cov[:, 0, 0], cov[:, 1, 1], cov[:, 0, 1]
    sx = np.sqrt(vx[:, None] + vx[None, :])  # of X_k - X_i: axes (k, i)
    sy = np.sqrt(vy[:, None] + vy[None, :])
    h = ((x[None, :] - x[:, None]) / sx)[:, None, :]  # axes (k, l, i)
    k = ((y[None, :] - y[:, None]) / sy)[None, :, :]
    r = c / (sx[:, None, :] * sy[None, :, :])
    joint = binormal_cdf(*np.broadcast_arrays(h, k, r))
    value = 12.0 * float(np.einsum("k,l,i,kli->", w, w, w, joint)) - 3.0
    return min(1.0, max(-1.0, value))
