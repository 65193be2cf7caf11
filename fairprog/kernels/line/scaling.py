r"""All groups at once where maps are shifts: matrix scaling, and Newton's method.

Minimise :math:`\sum_{ia} w_{ia} D_i(\alpha_i + \beta_a - l_{ia})` over rows alpha and columns
beta, every D_i convex. For D_i(u) = k_i (e^u - u - 1), the divergence of gamma laws, the
stationary point scales the matrix w k e^{-l} to given row and column sums: Sinkhorn's iteration.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fairprog.errors import SolverError
from fairprog.kernels.line.scale_shift import increasing_root, newton_step
from fairprog.labels import Array

MAX_ITER = 20_000
TOLERANCE = 1e-14


def sinkhorn(log_matrix: Array, rows: Array, columns: Array) -> tuple[Array, Array, float]:
    r"""Return (alpha, beta) with :math:`e^{\alpha_i + \beta_a + M_{ia}}` of the given marginals.

    Source: theory.md section 5; Sinkhorn (1967).

    Parameters
    ----------
    log_matrix : Array, shape (K, G)
    rows, columns : Array, shapes (K,) and (G,)
        Positive, of equal sums.

    Returns
    -------
    alpha, beta : Array
        Normalised by beta[0] = 0.
    residual : float
        Largest relative violation of a marginal: the certificate of convergence.

    Examples
    --------
    >>> import numpy as np
    >>> alpha, beta, residual = sinkhorn(np.zeros((2, 2)), np.ones(2), np.array([.5, 1.5]))
    >>> np.exp(alpha[:, None] + beta).round(3).tolist(), residual < 1e-12
    ([[0.25, 0.75], [0.25, 0.75]], True)
    """
    beta = np.zeros(columns.size)
    residual, best = np.inf, np.inf
    for _ in range(MAX_ITER):
        alpha = np.log(rows) - _log_sum(log_matrix + beta, 1)
        scaled = _log_sum(log_matrix + alpha[:, None], 0)
        residual = float(np.abs(np.expm1(scaled + beta - np.log(columns))).max())
        if residual <= TOLERANCE or (residual < 1e-12 and residual >= best):
            break
        best = min(best, residual)
        beta = np.log(columns) - scaled
    return alpha + beta[0], beta - beta[0], residual


def _log_sum(values: Array, axis: int) -> Array:
    top = values.max(axis=axis, keepdims=True)
    return np.log(np.exp(values - top).sum(axis=axis)) + top.squeeze(axis)


def minimise_shifts(
    slopes: Callable[[Array], Array], start: tuple[Array, Array]
) -> tuple[Array, Array, float]:
    r"""Return (alpha, beta) with beta[0] = 0 that minimise a sum of convex costs, and a residual.

    Newton's method with exact steps, after one exact step in every variable: tails may be
    exponentially steep, or straight.

    Parameters
    ----------
    slopes : callable
        Shifts u (K, G) to the derivative of every cell's weighted cost, shape (K, G).
    start : (alpha (K,), beta (G,))

    Returns
    -------
    alpha, beta : Array
    decrement : float
        Newton decrement at the end, sqrt of nats.
    """
    K, G = start[0].size, start[1].size
    x = np.concatenate([start[0], start[1] - start[1][0]])
    keep = np.delete(np.arange(K + G), K)  # beta[0] = 0

    def shifts(x: Array) -> Array:
        return np.asarray(x[:K, None] + x[None, K:])

    def advanced(x: Array, step: Array) -> Array:
        u, du = shifts(x), shifts(step)
        return x + increasing_root(lambda t: float((slopes(u + t * du) * du).sum()), 0.0) * step

    for k in keep:
        x = advanced(x, np.eye(K + G)[k])
    decrement, last, h = np.inf, np.inf, 1e-5
    for _ in range(200):
        u = shifts(x)
        d, bend = slopes(u), (slopes(u + h) - slopes(u - h)) / (2.0 * h)
        g = np.concatenate([d.sum(axis=1), d.sum(axis=0)])
        H = np.diag(np.concatenate([bend.sum(axis=1), bend.sum(axis=0)]))
        H[:K, K:], H[K:, :K] = bend, bend.T
        step = np.zeros(K + G)
        step[keep], decrement = newton_step(H[np.ix_(keep, keep)], g[keep])
        if decrement < 1e-15 or (last < 1e-7 and decrement >= 0.5 * last):
            break
        if decrement > 0.1:  # no farther than the cells are apart, for a start
            step /= max(1.0, float(np.abs(step).max() / (1.0 + np.abs(u).max())))
        x, last = advanced(x, step) if decrement > 1e-3 else x + step, decrement
    return x[:K], x[K:], decrement


def linear_shifts(c: Array, loc: Array) -> tuple[Array, Array, float]:
    r"""Return (alpha, beta) that minimise sum_ia c_ia (alpha_i + beta_a - loc_ia) >= 0, and a gap.

    The linear program :math:`\min\sum c_{ia}(\alpha_i + \beta_a)` subject to
    :math:`\alpha_i + \beta_a \ge loc_{ia}`: supports nest, and KL of exponential densities is
    the distance between their ends. Its dual is a transport plan y with the margins of c and
    largest :math:`\sum y_{ia} loc_{ia}`.

    Parameters
    ----------
    c, loc : Array, shape (K, G)
        Positive weights; locations.

    Returns
    -------
    alpha, beta : Array, shapes (K,) and (G,)
        Feasible to rounding: alpha is the least for beta.
    gap : float
        Cost minus the dual value, at least that of rounding.

    Raises
    ------
    SolverError
        If HiGHS fails.

    Examples
    --------
    >>> import numpy as np
    >>> loc = np.array([[0., 1.], [2., 3.]])  # an ideal population: loc is alpha + beta already
    >>> alpha, beta, gap = linear_shifts(np.full((2, 2), .25), loc)
    >>> float(abs(alpha[:, None] + beta - loc).max()), gap < 1e-12
    (0.0, True)
    """
    from scipy.optimize import linprog

    K, G = c.shape
    A = np.zeros((K * G, K + G))
    i, a = np.indices((K, G)).reshape(2, -1)
    A[np.arange(K * G), i] = A[np.arange(K * G), K + a] = -1.0
    found = linprog(
        np.concatenate([c.sum(axis=1), c.sum(axis=0)]),
        A,
        -loc.ravel(),
        bounds=[(None, None)] * (K + G - 1) + [(0.0, 0.0)],
        method="highs",
    )
    if found.x is None:  # bounded and feasible, whatever the locations
        raise SolverError(f"HiGHS found no shifts: {found.message}", status=str(found.status))
    beta = np.asarray(found.x[K:])
    alpha = (loc - beta).max(axis=1)
    y = np.maximum(-found.ineqlin.marginals.reshape(K, G), 0.0)
    # what the plan misses of the margins is paid at the optimum's own prices
    missed = c - y
    cost = float((c * (alpha[:, None] + beta - loc)).sum())
    bound = float((missed * (alpha[:, None] + beta)).sum() - (missed * loc).sum())
    spread = float(np.abs(missed.sum(axis=1)).sum() + np.abs(missed.sum(axis=0)).sum())
    reach = float(np.abs(alpha).max() + np.abs(beta).max())
    return alpha, beta, max(cost - bound, 0.0) + spread * reach
