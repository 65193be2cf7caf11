r"""Bayes rules on the real line for densities given by their logarithms only.

Zeros of differences of densities are isolated on a grid, with a search inside every dip that
could hide a pair of them, and bisected to rounding. Nothing is assumed of the densities but that
the grid resolves them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from fairprog.kernels.line.univariate_regions import bayes_decisions
from fairprog.labels import Array, Indices

Function = Callable[[Array], Array]

GOLDEN = 0.5 * (np.sqrt(5.0) - 1.0)
TIE = 1e-12


def line_regions(
    log_joint: Function, cost: Array, grid: Array, breaks: Array
) -> tuple[Array, Indices]:
    """Return breakpoints and the Bayes action between them.

    Parameters
    ----------
    log_joint : callable
        x (n,) to log q_i p_i(x), shape (n, K); -inf outside a support.
    cost : Array, shape (K, J)
    grid : Array, shape (n,)
        Increasing; from one end of all mass to the other.
    breaks : Array
        Where densities may jump: ends of supports.
    """
    noise = 8.0 * np.finfo(float).eps * np.abs(cost).max()
    found: list[Array] = []
    for k in range(1, cost.shape[1]):
        for j in range(k):
            gain = cost[:, j] - cost[:, k]
            gain = np.where(np.abs(gain) <= noise, 0.0, gain)
            if (gain > 0).any() and (gain < 0).any():
                found.append(_zeros(partial(_gain, log_joint, gain), grid))
    points = np.unique(np.concatenate([np.empty(0), *found, breaks]))
    ends = np.concatenate([grid[:1], points, grid[-1:]])
    decisions = bayes_decisions(log_joint(0.5 * (ends[1:] + ends[:-1])), cost)
    change = decisions[1:] != decisions[:-1]
    return points[change], np.append(decisions[:1], decisions[1:][change])


def _gain(log_joint: Function, gain: Array, x: Array) -> Array:
    """Return sum_i gain_i q_i p_i(x) over its largest term."""
    live = gain != 0
    terms = log_joint(x)[:, live] + np.log(np.abs(gain[live]))
    top = terms.max(axis=1, keepdims=True)
    top = np.where(np.isfinite(top), top, 0.0)
    return np.exp(terms - top) @ np.sign(gain[live])


def _zeros(f: Function, grid: Array) -> Array:
    """Return the zeros of f that the grid and its dips show."""
    x = grid
    v = f(x)
    s = np.sign(v)
    inner = np.arange(1, x.size - 1)
    dip = inner[
        (s[inner] == s[inner - 1])
        & (s[inner] == s[inner + 1])
        & (np.abs(v[inner]) <= np.abs(v[inner - 1]))
        & (np.abs(v[inner]) <= np.abs(v[inner + 1]))
        & (v[inner] != 0)
    ]
    if dip.size:
        lowest = _golden(lambda p: s[dip] * f(p), x[dip - 1], x[dip + 1])
        x = np.unique(np.append(x, lowest))
        v = f(x)
    crossing = np.flatnonzero(v[:-1] * v[1:] < 0)
    side = np.sign(v[crossing + 1])
    low, high = x[crossing], x[crossing + 1]
    for _ in range(64):
        middle = 0.5 * (low + high)
        above = side * f(middle) > 0
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    touching = (v[1:-1] == 0) & ((v[:-2] != 0) | (v[2:] != 0))
    return np.concatenate([x[1:-1][touching], 0.5 * (low + high)])


def _golden(f: Function, low: Array, high: Array, steps: int = 50) -> Array:
    """Return where f is smallest between low and high, elementwise, by golden sections."""
    a, b = low.copy(), high.copy()
    for _ in range(steps):
        c, d = b - GOLDEN * (b - a), a + GOLDEN * (b - a)
        left = f(c) < f(d)
        a, b = np.where(left, a, c), np.where(left, d, b)
    return 0.5 * (a + b)


def _times(sign: float, h: Function, x: Array) -> Array:
    return sign * h(x)


def monotone_edges(h: Function, grid: Array, breaks: Array) -> Array:
    """Return edges between which h is monotone: its extrema, breaks and the ends of the grid."""
    x = np.unique(np.concatenate([grid, breaks]))
    v = h(x)
    found = [grid[:1], grid[-1:], breaks[(breaks > grid[0]) & (breaks < grid[-1])]]
    inner = np.arange(1, x.size - 1)
    for sign in (1.0, -1.0):
        with np.errstate(invalid="ignore"):
            left, right = sign * (v[inner] - v[inner - 1]), sign * (v[inner + 1] - v[inner])
        turn = inner[(left <= 0) & (right >= 0) & ((left < 0) | (right > 0))]
        if turn.size:
            ends = x[turn - 1], x[turn + 1]
            found.append(_golden(partial(_times, sign, h), *ends))
            found.append(x[turn])  # where h has a kink or a plateau
    return np.unique(np.concatenate(found))


def level_masses(h: Function, edges: Array, cdf: Function, t: Array) -> Array:
    """Return P(h(X) <= t) for every t, given edges between which h is monotone.

    Parameters
    ----------
    h : callable
        Log odds at x.
    edges : Array, shape (m,)
        From `monotone_edges`.
    cdf : callable
        x (n,) to the cdfs (n, L) of several laws of X.
    t : Array, shape (T,)

    Returns
    -------
    Array, shape (T, L)
    """
    # values just inside each piece: h may jump at an edge
    width = np.diff(edges)
    inside_left, inside_right = edges[:-1] + 1e-13 * width, edges[1:] - 1e-13 * width
    start, stop = h(inside_left), h(inside_right)
    F = cdf(edges)
    total = np.zeros((t.size, F.shape[1]))
    for k in range(width.size):
        if not (F[k + 1] - F[k]).any() or np.isnan(start[k]) or np.isnan(stop[k]):
            continue
        rising = stop[k] >= start[k]
        low, high = min(start[k], stop[k]), max(start[k], stop[k])
        level = t + TIE * np.maximum(1.0, np.abs(t))  # equal up to rounding counts as reached
        whole = level >= high
        some = ~whole & (level > low)
        total[whole] += F[k + 1] - F[k]
        if some.any():
            a, b = np.full(some.sum(), edges[k]), np.full(some.sum(), edges[k + 1])
            for _ in range(60):
                middle = 0.5 * (a + b)
                up = (h(middle) > t[some]) == rising
                a, b = np.where(up, a, middle), np.where(up, middle, b)
            at = cdf(0.5 * (a + b))
            total[some] += at - F[k] if rising else F[k + 1] - at
    return np.clip(total, 0.0, 1.0)
