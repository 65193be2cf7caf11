"""The law nearest to a reference under linear conditions: an exponential tilt, by Newton's method.

    min  beta sum_x w_x KL(h_x || pi_x) + sum_xj w_x c_xj h_xj,   low <= A(h) + B t <= high,

A(h)_r = sum_xj w_x h_xj Phi_xjr, t free. The minimiser is h_xj prop. to pi_xj exp(-e_xj / beta),
e_xj = c_xj + y . Phi_xj, and its multipliers y, B'y = 0, maximise the concave dual

    -beta sum_x w_x log sum_j pi_xj exp(-e_xj / beta)  -  sum_r max_{low <= s <= high} y_r s_r,

whose last term is smoothed by a logarithmic barrier that is driven to nothing.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import null_space
from scipy.special import logsumexp

from fairprog.labels import Array

BARRIERS = 10.0 ** -np.arange(2.0, 14.0)
STEPS = 60  # of Newton's method per barrier
WIDE = 10.0  # stands for a missing bound of conditions of order one


def tilt(
    log_pi: Array, cost: Array, weight: Array, features: Array, B: Array, low: Array, high: Array,
    beta: float,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """Return the tilted laws h, (n, K), the multipliers y and A(h) + B t, both of shape (r,).

    Parameters
    ----------
    log_pi, cost : Array, shape (n, K)
    weight : Array, shape (n,)
    features : Array, shape (n, K, r)
    B : Array, shape (r, L)
    low, high : Array, shape (r,)
        Infinite where there is no bound; equal for equations.
    beta : float
        Positive.
    """
    low = np.where(np.isfinite(low), low, high - WIDE)
    high = np.where(np.isfinite(high), high, low + WIDE)
    middle, half = 0.5 * (low + high), 0.5 * (high - low)
    free = null_space(B.T) if B.size else np.eye(len(low))

    def laws(y: Array) -> tuple[Array, Array]:
        z = log_pi - (cost + features @ y) / beta
        norm = logsumexp(z, axis=1)
        return np.exp(z - norm[:, None]), norm

    def value(y: Array, norm: Array, mu: float) -> float:
        root = np.hypot(mu, y * half)
        slack = mu * np.log(np.where(half > 0, 2 * mu * half**2 / (mu + root), 1.0))
        return float(-beta * weight @ norm - y @ middle - ((root - mu) + slack).sum())

    u = np.zeros(free.shape[1])
    h, norm = laws(free @ u)
    for mu in BARRIERS:
        for _ in range(STEPS):
            y = free @ u
            root = np.hypot(mu, y * half)
            s = middle + y * half**2 / (mu + root)
            mean = np.einsum("nk,nkr->nr", h, features)
            bend = np.einsum("n,nk,nkr,nks->rs", weight, h, features, features, optimize=True)
            bend = (bend - (mean * weight[:, None]).T @ mean) / beta
            bend += np.diag(half**2 * mu / (root * (mu + root)))
            slope = free.T @ (weight @ mean - s)
            way = np.linalg.lstsq(free.T @ bend @ free, slope, rcond=1e-14)[0]
            gain, step = float(slope @ way), 1.0
            here = value(y, norm, mu)
            while step > 1e-8:
                h, norm = laws(free @ (u + step * way))
                near = gain < 1e-3 * mu  # whole steps converge from here, and values are rounding
                if near or value(free @ (u + step * way), norm, mu) >= here + 0.1 * step * gain:
                    break
                step *= 0.5
            u = u + step * way
            if gain < (1e-6 if mu == BARRIERS[-1] else 1e-3) * mu:
                break
    y = free @ u
    return h, y, middle + y * half**2 / (mu + np.hypot(mu, y * half))
