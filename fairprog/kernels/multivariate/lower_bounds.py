r"""By how many nats a convex cost at a point can be above its minimum: proven, without a solver.

Costs of normal laws are a quadratic minus :math:`Q \log\det S`, whose quotient by Q is
self-concordant; those of other families are convex and nothing else is known of them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.optimize import nnls

from fairprog.labels import Array

STEPS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2)  # between the point and those where tangents are taken
BALANCED = 1e-10  # of the largest slope: what is left of a combination of tangents that is flat


def self_concordant_gap(decrement: float, weight: float) -> float:
    r"""Return :math:`Q\,\omega_*(\lambda / \sqrt Q)`, :math:`\omega_*(t) = -t - \log(1 - t)`.

    An upper bound on :math:`f(x) - \min f` where :math:`f / Q` is self-concordant and f has the
    Newton decrement :math:`\lambda` at x (Nesterov and Nemirovskii); infinite from
    :math:`\lambda = \sqrt Q` on. f with a larger weight on its logarithms is as well.

    Examples
    --------
    >>> from fairprog.kernels.multivariate.lower_bounds import self_concordant_gap
    >>> self_concordant_gap(0.02, 0.25) >= 0.5 * 0.02**2, self_concordant_gap(0.5, 0.25)
    (True, inf)
    """
    t = decrement / np.sqrt(weight)
    return float(weight * max(-t - np.log1p(-t), 0.5 * t * t)) if t < 1.0 else np.inf


def tangent_gap(
    cost: Callable[[Array], float],
    slope: Callable[[Array], Array],
    x: Array,
    unit: Array,
    ends: Array | None = None,
) -> float:
    """Return cost(x) less a lower bound on the minimum of a convex cost.

    Tangents at points around x lie below the cost, and so does every convex combination of them;
    one that is flat bounds the cost everywhere. Infinite where there is none: then x is no
    minimum.

    Parameters
    ----------
    cost, slope : callables
        A convex function of x and its gradient.
    x, unit : Array, shape (p,)
        The point, and lengths on which the cost bends.
    ends : Array, shape (m, 1 + p), optional
        Rows (b, a) of constraints b + a @ (y - x) >= 0, which x satisfies.

    Examples
    --------
    >>> import numpy as np
    >>> from fairprog.kernels.multivariate.lower_bounds import tangent_gap
    >>> args = lambda x: float(x @ x), lambda x: 2 * x
    >>> tangent_gap(*args, np.zeros(2), np.ones(2)) < 1e-11
    True
    >>> tangent_gap(*args, np.array([0.0, 1e-3]), np.ones(2)) >= 1e-6
    True
    """
    ends = np.zeros((0, 1 + x.size)) if ends is None else ends
    here, best = cost(x), np.inf
    for step in STEPS:
        around = step * np.diag(unit)
        moves = np.concatenate([np.zeros((1, x.size)), around, -around])
        costs = np.array([cost(x + move) for move in moves])
        moves, costs = moves[np.isfinite(costs)], costs[np.isfinite(costs)]
        if not costs.size:
            continue
        slopes = np.array([slope(x + move) for move in moves])
        heights = costs - (slopes * moves).sum(axis=1)  # of the tangents, at x
        near = ends[ends[:, 0] <= step * unit.max()]
        columns = np.concatenate([unit * slopes, -unit * near[:, 1:]])
        scale = np.abs(columns).max() or 1.0
        sums = np.concatenate([np.ones(len(moves)), np.zeros(len(near))])
        target = np.append(np.zeros(x.size), 1.0)
        weights, left = nnls(np.vstack([columns.T / scale, sums]), target)
        if left <= BALANCED:
            flat = weights @ np.concatenate([heights, -near[:, 0]])
            best = min(best, here - float(flat) + left * scale)
    return float(max(best, 0.0))
