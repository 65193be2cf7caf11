r"""One group steered to a reference where features are independent: every feature at once.

Arrays of one group: weights w (K,), reference means m and variances s (K, d), the group's own
means mu and variances t (K, d). The map is x_j -> g_j x_j + b_j, and

.. math:: f(g, b) = \sum_i w_i V_i,\quad V_i = \tfrac12\sum_j\Bigl(\frac{g_j^2 s_{ij}
    + (g_j m_{ij} + b_j - \mu_{ij})^2}{t_{ij}} - 1 - \log\frac{g_j^2 s_{ij}}{t_{ij}}\Bigr)

is the sum of problems of one feature each, whose closed form is that of theory.md section 4. A
common factor g for all features is the same quadratic with V, R, S and Q summed over them.
"""

from __future__ import annotations

import numpy as np

from fairprog.labels import Array
from fairprog.transports import Kind


def diagonal_kl(mean: Array, var: Array, to_mean: Array, to_var: Array) -> Array:
    """Return KL of normal laws with independent features, nats, summed over the last axis.

    Examples
    --------
    >>> import numpy as np
    >>> float(diagonal_kl(np.zeros(2), np.ones(2), np.ones(2), np.ones(2)))
    1.0
    """
    excess = (var - to_var) / to_var
    near = np.abs(excess) < 0.5  # there log1p keeps the digits, elsewhere the logarithms do
    log = np.where(near, np.log1p(np.where(near, excess, 0.0)), np.log(var) - np.log(to_var))
    return 0.5 * (excess - log + (mean - to_mean) ** 2 / to_var).sum(axis=-1)


def best_diagonal(
    kind: Kind, w: Array, m: Array, s: Array, mu: Array, t: Array, sign: float = 1.0
) -> tuple[Array, Array]:
    """Return the optimal (g, b), shape (d,) each.

    Parameters
    ----------
    kind : {"fixed", "scalar", "diagonal"}
        g = 1, one factor for all features, or one per feature.
    w : Array, shape (K,)
    m, s, mu, t : Array, shape (K, d)
        Means and variances of the reference and of the group.
    sign : float
        -1 for mirror images.

    Examples
    --------
    >>> import numpy as np
    >>> one = np.ones((2, 1))
    >>> m, mu = np.array([[0.], [1.]]), np.array([[3.], [5.]])
    >>> best_diagonal("diagonal", 0.5 * one[:, 0], m, one, mu, 4 * one)
    (array([2.]), array([3.]))
    """
    u = w[:, None] / t
    total = u.sum(axis=0)
    center, target = (u * m).sum(axis=0) / total, (u * mu).sum(axis=0) / total
    if kind == "fixed":
        return np.ones_like(total), target - center
    dm, dmu = sign * (m - center), mu - target
    curvature = (u * (s + dm**2)).sum(axis=0)
    R = (u * dm * dmu).sum(axis=0)
    Q = float(w.sum())
    if kind == "scalar":
        curvature, R, Q = curvature.sum(), R.sum(), Q * len(total)
    root = np.sqrt(R * R + 4.0 * Q * curvature)
    # the root that does not cancel
    g = np.where(R >= 0, (R + root) / (2.0 * curvature), 2.0 * Q / (root - np.minimum(R, 0.0)))
    gain = sign * g * np.ones_like(total)
    return gain, target - gain * center


def diagonal_gradients(
    gain: Array, shift: Array, m: Array, s: Array, mu: Array, t: Array
) -> tuple[Array, Array]:
    """Return the gradients of every V_i in g and b, shape (K, d) each."""
    r = gain * m + shift - mu
    return (gain * s + r * m) / t - 1.0 / gain, r / t


def diagonal_decrement(
    kind: Kind, w: Array, m: Array, s: Array, t: Array, gain: Array, N: Array, n: Array
) -> float:
    """Return the Newton decrement of a gradient: N (d,) in g and n (d,) in b, of f at (g, b).

    The offsets are eliminated feature by feature; what is left of the Hessian is a number per
    feature, or one for a common factor.
    """
    u = w[:, None] / t
    total = u.sum(axis=0)
    square = float((n**2 / total).sum())
    if kind == "fixed":
        return float(np.sqrt(square))
    center = (u * m).sum(axis=0) / total
    curvature = (u * (s + (m - center) ** 2)).sum(axis=0) + float(w.sum()) / gain**2
    rest = N - center * n
    if kind == "scalar":
        return float(np.sqrt(square + rest.sum() ** 2 / curvature.sum()))
    return float(np.sqrt(square + (rest**2 / curvature).sum()))


def diagonal_residual(
    gain: Array, shift: Array, mean: Array, var: Array, to_mean: Array, to_var: Array
) -> float:
    """Return the worst whitened residual of (g, b) # N(mean_i, var_i) against the target cells.

    The larger of the length of the whitened difference of means and the largest relative
    difference of a variance, worst over the classes: arrays (K, d).
    """
    apart = (gain * mean + shift - to_mean) / np.sqrt(to_var)
    spread = np.abs(gain**2 * var / to_var - 1.0)
    return float(max(np.sqrt((apart**2).sum(axis=-1)).max(), spread.max(initial=0.0)))
