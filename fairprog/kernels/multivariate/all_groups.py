r"""All groups steered: the best common laws for given maps, and the cost with them eliminated."""

from __future__ import annotations

import numpy as np

from fairprog.kernels.multivariate.normal import symmetrize
from fairprog.labels import Array


def pull_back(
    w: Array, matrices: Array, offsets: Array, mean: Array, cov: Array
) -> tuple[Array, Array]:
    r"""Return the best common cells for given maps: precision-weighted pull-backs.

    .. math:: M_i^{-1} = \sum_a v_{ia} A_a' \Sigma_{ia}^{-1} A_a,\qquad
        m_i = M_i \sum_a v_{ia} A_a' \Sigma_{ia}^{-1} (\mu_{ia} - b_a),\qquad
        v_{ia} = w_{ia} / w_{i\cdot}

    Parameters
    ----------
    w : Array, shape (K, G)
    matrices, offsets : Array, shapes (G, d, d) and (G, d)
    mean, cov : Array, shapes (K, G, d) and (K, G, d, d)

    Returns
    -------
    m, M : Array, shapes (K, d) and (K, d, d)
    """
    v = w / w.sum(axis=1, keepdims=True)
    PA = np.linalg.solve(cov, np.broadcast_to(matrices, cov.shape))  # Sigma^{-1} A
    precision = np.einsum("ia,asr,iasc->irc", v, matrices, PA)
    right = np.einsum("ia,iasr,ias->ir", v, PA, mean - offsets)
    M = np.linalg.inv(symmetrize(precision))
    m = (M @ right[..., None])[..., 0]
    return m, symmetrize(M)


def profile_cost(
    w: Array,
    matrices: Array,
    offsets: Array,
    mean: Array,
    precision: Array,
    log_dets: Array,
    fixed: tuple[int, Array] | None = None,
) -> tuple[float, Array, Array]:
    r"""Return the cost of given maps with the common cells at their best, and its gradient.

    With :math:`T_i = \sum_a w_{ia} A_a' \Sigma_{ia}^{-1} A_a` and :math:`w_i = \sum_a w_{ia}` the
    best covariances are :math:`M_i = w_i T_i^{-1}` and, :math:`r_{ia} = A_a m_i + b_a - \mu_{ia}`,

    .. math:: f = \sum_{ia} \frac{w_{ia}}2 (\log\det\Sigma_{ia} - 2\log|\det A_a| - d
        + r_{ia}'\Sigma_{ia}^{-1}r_{ia})
        + \sum_i \frac12 (\mathrm{tr}\, T_i M_i - w_i \log\det M_i).

    The gradient holds the cells fixed, which at their best is the same.

    Parameters
    ----------
    w : Array, shape (K, G)
    matrices, offsets : Array, shapes (G, d, d) and (G, d)
    mean, precision : Array, shapes (K, G, d) and (K, G, d, d)
        Target means and inverse covariances.
    log_dets : Array, shape (K, G)
        log det Sigma_ia.
    fixed : (class index, covariance), optional
        A common covariance fixed by choice of coordinates.

    Returns
    -------
    cost : float
    G, g : Array, shapes (G, d, d) and (G, d)
        Gradients in A_a and b_a.
    """
    K, groups, d = mean.shape
    away = np.linalg.inv(matrices).swapaxes(1, 2)
    mass = w.sum(axis=0)
    value = 0.5 * float((w * (log_dets - d)).sum())
    value -= float(mass @ np.linalg.slogdet(matrices)[1])
    G, g = -mass[:, None, None] * away, np.zeros((groups, d))
    for i in range(K):
        PA = precision[i] @ matrices
        right = np.einsum("a,asr,as->r", w[i], PA, mean[i] - offsets)
        T = symmetrize((w[i][:, None, None] * matrices).reshape(-1, d).T @ PA.reshape(-1, d))
        inner = np.linalg.inv(T)
        m, M = inner @ right, float(w[i].sum()) * symmetrize(inner)
        if fixed is not None and fixed[0] == i:
            M = fixed[1]
        r = matrices @ m + offsets - mean[i]
        pulled = (precision[i] @ r[..., None])[..., 0] * w[i][:, None]
        value += 0.5 * float(np.vdot(T, M)) - 0.5 * float(w[i].sum() * np.linalg.slogdet(M)[1])
        value += 0.5 * float((r * pulled).sum())
        G += w[i][:, None, None] * (PA @ M) + pulled[:, :, None] * m
        g += pulled
    return value, G, g


def common_laws_residual(
    w: Array, cells: tuple[Array, Array], best: tuple[Array, Array], fixed: int | None = None
) -> float:
    """Return how far common laws (K, d), (K, d, d) are from the best ones, whitened, weighted.

    The covariance of the class `fixed` is a choice of coordinates: its mean alone counts.
    """
    (m, M), (best_m, best_M) = cells, best
    L = np.linalg.cholesky(M)
    spread = np.linalg.solve(L, np.swapaxes(np.linalg.solve(L, best_M), -1, -2))
    squares = ((spread - np.eye(M.shape[-1])) ** 2).sum(axis=(-1, -2))
    if fixed is not None:  # its best mean does not depend on its covariance
        squares[fixed] = 0.0
    shift = np.linalg.solve(L, (best_m - m)[..., None])[..., 0]
    squares = squares + (shift**2).sum(axis=-1)
    return float(np.sqrt((w.sum(axis=1) ** 2 * squares).sum()))
