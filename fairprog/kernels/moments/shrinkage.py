r"""How far to shrink a cell's covariance towards its own group's pooled one."""

from __future__ import annotations

import numpy as np

from fairprog.labels import Array, Indices

NULL = 1e-10  # least share of the largest variance, columns at unit variance, that counts


def optimal_shrinkage(S: Array, target: Array, n: float) -> float:
    r"""Return the weight in [0, 1] of `target` that minimises the expected squared distance.

    In coordinates where the target is I, and S the covariance (divided by n) of n normal rows with
    true covariance :math:`\Sigma`,

    .. math::
        \alpha = \frac{E\|S - \Sigma\|^2}{E\|S - I\|^2}, \qquad
        E\|S - \Sigma\|^2 \approx \frac{\operatorname{tr}\Sigma^2 + (\operatorname{tr}\Sigma)^2}{n}

    (Ledoit & Wolf 2004, with the variance of a Wishart matrix; :math:`\operatorname{tr}\Sigma^2`
    by its unbiased estimate).

    Parameters
    ----------
    S, target : Array, shape (d, d)
        Of a cell, shape (d,) each for diagonal covariances. Directions in which the target does
        not vary are left out: the cell, a part of it, does not vary there either.
    n : float
        Number of rows of the cell (effective, if weighted); at least 2.

    Examples
    --------
    >>> import numpy as np
    >>> optimal_shrinkage(np.eye(3), np.eye(3), 10)
    1.0
    """
    if S.ndim == 1:
        varies = target > 0.0
        ratio = S[varies] / target[varies]
        variance = 2.0 * float((ratio**2).sum()) / n
        distance = float(((ratio - 1.0) ** 2).sum())
        return 1.0 if distance <= variance else variance / distance
    whiten = _inverse_root(target)
    W = whiten.T @ S @ whiten
    d = len(W)
    if not d:  # nothing varies
        return 1.0
    trace, square = float(np.trace(W)), float((W**2).sum())
    unbiased = max((square - trace**2 / n) * n**2 / ((n - 1.0) * (n + 2.0)), trace**2 / d)
    variance = (unbiased + trace**2) / n
    distance = square - 2.0 * trace + d
    return 1.0 if distance <= variance else variance / distance


def _inverse_root(S: Array) -> Array:
    """Return R, shape (d, rank), with R'SR = I; columns that are constant have no part in it."""
    scale = np.sqrt(np.diag(S))
    inverse = np.divide(1.0, scale, out=np.zeros_like(scale), where=scale > 0.0)
    values, vectors = np.linalg.eigh(inverse[:, None] * S * inverse)
    kept = values > NULL * values[-1]
    return inverse[:, None] * vectors[:, kept] / np.sqrt(values[kept])


def shrink(
    cov: Array, mass: Array, n: Array | Indices, shrinkage: float | str
) -> tuple[Array, Array]:
    """Return the shrunk covariances and the weight of the pooled one used in every cell.

    Parameters
    ----------
    cov : Array, shape (K, G, d, d) or (K, G, d)
    mass : Array, shape (K, G)
        Weights of the cells in their group's pooled covariance.
    n : Array, shape (K, G)
        Effective numbers of rows.
    shrinkage : float in [0, 1] or "auto"
        "auto" takes :func:`optimal_shrinkage` in every cell.
    """
    K, G = mass.shape
    out, used = cov.copy(), np.zeros((K, G))
    for a in range(G):
        pooled = np.tensordot(mass[:, a] / mass[:, a].sum(), cov[:, a], 1)
        for i in range(K):
            alpha = (
                optimal_shrinkage(cov[i, a], pooled, float(n[i, a]))
                if shrinkage == "auto"
                else float(shrinkage)
            )
            used[i, a] = alpha
            out[i, a] = (1.0 - alpha) * cov[i, a] + alpha * pooled
    return out, used
