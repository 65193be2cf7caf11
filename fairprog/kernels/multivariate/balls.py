r"""One map per class, each in a ball about a common one: a barrier method.

.. math:: \min_{x, s}\ \sum_i f_i(x + \varepsilon s_i)
    \quad\text{subject to}\quad s_{ip}'M_p s_{ip} \le 1,
    \qquad f_i(x) = \tfrac12 x'H_i x - c_i'x + w_i \varphi(x)

over parts p of x; :math:`\varphi = -\log\det`, or 0. Every point on the way is feasible, and at
the end :math:`\nabla f_i` are multipliers of the maps (Boyd & Vandenberghe, chapter 11).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from fairprog.kernels.multivariate.one_group import solve_by_scales
from fairprog.labels import Array

GAP = 1e-12  # of a ball at the end, of what it is worth at the start
SHRINK = 0.1
STEPS = 60  # Newton steps for one weight of the barrier

Barrier = Callable[[Array], tuple[Array, Array] | None]


# H (K, n, n), c (K, n), w (K,), the barrier: x to gradient (n,) and Hessian (n, n) of phi, None
# outside of its domain; and M_p, by parts in the order of x
Quadratics = tuple[Array, Array, Array, Barrier, Sequence[Array]]


def minimise_in_balls(f: Quadratics, x: Array, bound: float) -> tuple[Array, Array]:
    """Return x (n,) and x + bound s_i (K, n) of the optimum, from that of maps that agree.

    Examples
    --------
    >>> import numpy as np
    >>> H, c, one = np.ones((2, 1, 1)), np.array([[0.], [2.]]), np.ones((1, 1))
    >>> flat = lambda x: (np.zeros(1), np.zeros((1, 1)))
    >>> f = H, c, np.ones(2), flat, [one]  # (x - 0)^2 / 2 and (x - 2)^2 / 2
    >>> x, own = minimise_in_balls(f, np.ones(1), 0.25)
    >>> x.round(6).tolist(), own.round(6).tolist()
    ([1.0], [[0.75], [1.25]])
    """
    (K, n), metrics = f[1].shape, f[4]
    z = np.concatenate([x, np.zeros(K * n)])
    start = _derivatives(f, z, bound, 0.0)
    assert start is not None
    slopes = start[0][n:].reshape(K, n)  # bound times those of the classes
    worth = 0.0
    for row in slopes:
        for g, M in zip(_parts(f, row), metrics, strict=True):
            worth += float(np.sqrt(max(float(g @ np.linalg.solve(M, g)), 0.0)))
    if K == 1 or worth <= GAP:  # the classes agree
        return x, np.tile(x, (K, 1))
    mu, goal = worth, GAP * max(worth, 1e-3)
    while True:
        z = _centred(f, z, bound, mu)
        if mu <= goal:
            x, s = z[:n], z[n:].reshape(K, n)
            return x, x + bound * s
        mu = max(SHRINK * mu, goal)


def _centred(f: Quadratics, z: Array, bound: float, mu: float) -> Array:
    """Return the minimiser of the cost plus mu times the balls' barriers, by Newton's method."""
    last, here = np.inf, _derivatives(f, z, bound, mu)
    assert here is not None  # where the last weight of the barrier ended
    for _ in range(STEPS):
        g, H = here
        step = -solve_by_scales(H, g)
        size = max(float(-g @ step), 0.0)  # the decrement's square, nats
        if size <= 1e-3 * mu and size >= 0.25 * last:  # all that rounding lets it
            return z
        t, last = 1.0, size
        while t > 1e-12:
            there = _derivatives(f, z + t * step, bound, mu)
            if there is not None and float(there[0] @ step) <= 0.5 * size:  # convex: not beyond
                break
            t *= 0.5
        else:  # no step is told from rounding
            return z
        z, here = z + t * step, there
    return z


def _derivatives(f: Quadratics, z: Array, bound: float, mu: float) -> tuple[Array, Array] | None:
    """Return gradient and Hessian in (x, s_1, ..., s_K); None outside of the domain."""
    H_own, c, w, barrier, metrics = f
    K, n = c.shape
    x, s = z[:n], z[n:].reshape(K, n)
    g, H = np.zeros(z.size), np.zeros((z.size, z.size))
    for i in range(K):
        there = x + bound * s[i]
        curved = barrier(there)
        if curved is None:
            return None
        found = H_own[i] @ there - c[i] + w[i] * curved[0], H_own[i] + w[i] * curved[1]
        own = slice(n + i * n, n + (i + 1) * n)
        g[:n] += found[0]
        g[own] = bound * found[0]
        H[:n, :n] += found[1]
        H[own, :n] = bound * found[1]
        H[:n, own] = H[own, :n].T
        H[own, own] = bound**2 * found[1]
        at = own.start
        for part, M in zip(_parts(f, s[i]), metrics, strict=True):
            k, pulled = slice(at, at + len(M)), M @ part
            room = 1.0 - float(part @ pulled)
            if room <= 0:
                return None
            g[k] += 2.0 * mu / room * pulled
            H[k, k] += 2.0 * mu / room * (M + 2.0 / room * np.outer(pulled, pulled))
            at += len(M)
    return g, H


def _parts(f: Quadratics, x: Array) -> list[Array]:
    return np.split(x, np.cumsum([len(M) for M in f[4]])[:-1])
