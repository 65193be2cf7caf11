r"""All groups steered at once where features are independent: one small problem per feature.

Weights w (K, G), means mu and variances v (K, G, d). For given gains g_a the common variances,
the common means and the offsets are closed forms; with :math:`u_{ia} = w_{ia}/v_{ia}`,
:math:`T_i = \sum_a u_{ia} g_a^2` and :math:`r_{ia} = g_a m_i + b_a - \mu_{ia}`,

.. math:: F(g) = \tfrac12\sum_i w_{i\cdot}\log T_i - \sum_a w_{\cdot a}\log|g_a|
    + \tfrac12\sum_{ia} u_{ia} r_{ia}^2 + \text{const},\qquad M_i = w_{i\cdot}/T_i .

F does not change when all gains of a feature are multiplied by one number. For K = G = 2 its
stationary points are the roots of a polynomial (theory.md, Theorem C), taken for all features
together; otherwise Newton's method in log g descends on every feature at once, from several
starts.
"""

from __future__ import annotations

import numpy as np

from fairprog.kernels.independent.diagonal import best_diagonal
from fairprog.labels import Array, Indices
from fairprog.transports import Kind

BLOCK = 2048  # features taken at once
STEPS = 60
STEADY = 1e-13  # the gradient, relative to the weights
LONGEST = 1.5  # of a step in log g
RATIOS = np.exp(np.linspace(-14.0, 14.0, 57))  # a grid that no better ratio may hide on


def common_cells(
    gain: Array, w: Array, mean: Array, var: Array
) -> tuple[Array, Array, Array, Array]:
    """Return the best common means, variances (K, d) and offsets (G, d), and residuals.

    Parameters
    ----------
    gain : Array, shape (G, d)
    w : Array, shape (K, G)
    mean, var : Array, shape (K, G, d)

    Returns
    -------
    m, M : Array, shape (K, d)
    shift : Array, shape (G, d)
        That of the first group keeps the u-weighted mean of its cells at zero in common
        coordinates.
    r : Array, shape (K, G, d)
    """
    u = w[..., None] / var
    pull = u * gain  # (K, G, d)
    T = (pull * gain).sum(axis=1)
    first = (u[:, 0] * mean[:, 0]).sum(axis=0) / u[:, 0].sum(axis=0)
    shift = np.zeros(gain.shape)
    shift[0] = first
    if len(gain) > 1:  # normal equations of the other offsets, the means eliminated
        rest = pull[:, 1:]
        A = -np.einsum("iaj,ibj->jab", rest / T[:, None], rest)
        k = np.arange(len(gain) - 1)
        A[:, k, k] += u[:, 1:].sum(axis=0).T
        away = np.concatenate([(mean[:, :1] - first), mean[:, 1:]], axis=1)
        guess = (pull * away).sum(axis=1) / T
        right = (u[:, 1:] * away[:, 1:] - rest * guess[:, None]).sum(axis=0)
        shift[1:] = np.linalg.solve(A, right.T[..., None])[..., 0].T
    m = (pull * (mean - shift)).sum(axis=1) / T
    M = w.sum(axis=1)[:, None] / T
    return m, M, shift, gain * m[:, None] + shift - mean


def pulled_back(
    gain: Array, shift: Array, w: Array, mean: Array, var: Array
) -> tuple[Array, Array]:
    """Return the best common means and variances (K, d) for given maps."""
    pull = w[..., None] / var * gain
    T = (pull * gain).sum(axis=1)
    return (pull * (mean - shift)).sum(axis=1) / T, w.sum(axis=1)[:, None] / T


def gain_cost(
    gain: Array, w: Array, mean: Array, var: Array, shared: bool = False
) -> tuple[Array, Array]:
    """Return F (n,) and its gradient in log|g| (G, n): n = d features, or 1 where g is shared."""
    m, M, _, r = common_cells(gain, w, mean, var)
    u = w[..., None] / var
    value = -0.5 * (w.sum(axis=1)[:, None] * np.log(M)).sum(axis=0)
    value += 0.5 * (u * r**2).sum(axis=(0, 1)) - w.sum(axis=0) @ np.log(np.abs(gain))
    slope = (u * (gain**2 * M[:, None] + r * gain * m[:, None])).sum(axis=0)
    slope -= w.sum(axis=0)[:, None]
    if shared:
        return value.sum(keepdims=True), slope.sum(axis=1, keepdims=True)
    return value, slope


def best_gains(
    w: Array, mean: Array, var: Array, sign: Array, shared: bool = False
) -> tuple[Array, Array]:
    """Return gains (G, d) of a local optimum, the best of G + 1 starts, and their F (n,).

    Parameters
    ----------
    w : Array, shape (K, G)
    mean, var : Array, shape (K, G, d)
    sign : Array, shape (G,)
        -1 for groups whose maps are mirror images.
    shared : bool
        One gain per group for all features.
    """
    if not shared and mean.shape[2] > BLOCK:  # as many features as a cache holds
        parts = [slice(j, j + BLOCK) for j in range(0, mean.shape[2], BLOCK)]
        ends = [best_gains(w, mean[..., j], var[..., j], sign) for j in parts]
        return (
            np.concatenate([gain for gain, _ in ends], axis=1),
            np.concatenate([value for _, value in ends]),
        )
    unit = np.sqrt(np.einsum("ia,iaj->j", w, var) / w.sum())
    center = np.einsum("ia,iaj->aj", w, mean) / w.sum(axis=0)[:, None]
    mean, var = (mean - center) / unit, var / unit**2
    starts = _starts(w, mean, var, sign, shared)
    best, best_value = _descend(starts[0], sign[:, None], w, mean, var, shared)
    for start in starts[1:]:
        x, value = _descend(start, sign[:, None], w, mean, var, shared)
        better = value < best_value
        best, best_value = np.where(better, x, best), np.where(better, value, best_value)
    gain = sign[:, None] * np.exp(best) * np.ones((1, mean.shape[2]))
    return gain, best_value


def _starts(w: Array, mean: Array, var: Array, sign: Array, shared: bool) -> list[Array]:
    """Return log gains: those of geometric mean spreads, and the best with each group staying."""
    spread = 0.5 * np.log(var).mean(axis=0)
    starts = [spread.mean(axis=1, keepdims=True) if shared else spread]
    kind: Kind = "scalar" if shared else "diagonal"
    for r in range(w.shape[1]):
        x = np.empty_like(spread)
        for a in range(w.shape[1]):
            cells = mean[:, r], var[:, r], mean[:, a], var[:, a]
            gain = best_diagonal(kind, w[:, a], *cells, sign[a] * sign[r])[0]
            x[a] = 0.0 if a == r else np.log(np.abs(gain))
        starts.append(x[:, :1] if shared else x)
    return starts


def _descend(
    x: Array, sign: Array, w: Array, mean: Array, var: Array, shared: bool
) -> tuple[Array, Array]:
    """Descend by Newton steps in log g on all features at once; the finished ones drop out.

    The Hessian is that of central differences of the gradient, its eigenvalues taken by their
    size; a step is halved, feature by feature, until F falls.
    """
    G, n = x.shape
    x = x - x.mean(axis=0)
    live = np.arange(n)
    final = np.full(n, np.inf)
    ones = np.ones((1, 1 if not shared else mean.shape[2]))

    def cost(at: Array, k: Indices) -> tuple[Array, Array]:
        cells = (mean, var) if shared else (mean[..., k], var[..., k])
        return gain_cost(sign * np.exp(at) * ones, w, *cells, shared)

    value, slope = cost(x, live)
    total = w.sum() * (mean.shape[2] if shared else 1)
    for _ in range(STEPS):
        final[live] = value
        going = np.abs(slope).max(axis=0) > STEADY * total
        live, value, slope = live[going], value[going], slope[:, going]
        if not live.size:
            break
        at = x[:, live]
        hessian = np.empty((live.size, G, G))
        h = 1e-5
        for a in range(G):
            away = np.zeros((G, 1))
            away[a] = h
            hessian[:, a] = (cost(at + away, live)[1] - cost(at - away, live)[1]).T / (2.0 * h)
        values, vectors = np.linalg.eigh(0.5 * (hessian + hessian.swapaxes(1, 2)) + total / G)
        size = np.maximum(np.abs(values), 1e-8 * total)
        step = np.einsum("nab,nb,ncb,cn->an", vectors, 1.0 / size, vectors, -slope)
        step -= step.mean(axis=0)
        step *= np.minimum(1.0, LONGEST / np.maximum(np.abs(step).max(axis=0), 1e-300))
        moved, left = np.zeros(live.size, bool), np.arange(live.size)
        new_value, new_slope = value.copy(), slope.copy()
        t = 1.0
        while left.size and t > 1e-6:
            trial, k = at[:, left] + t * step[:, left], live[left]
            f, g = cost(trial, k)
            rounding = 1e-14 * (1.0 + np.abs(value[left]))
            near = np.abs(g).max(axis=0) < 0.5 * np.abs(slope[:, left]).max(axis=0)
            good = (f < value[left] - rounding) | ((f < value[left] + rounding) & near)
            done = left[good]
            x[:, live[done]] = trial[:, good]
            new_value[done], new_slope[:, done] = f[good], g[:, good]
            moved[done], left, t = True, left[~good], 0.5 * t
        value, slope = new_value, new_slope
        final[live] = value
        live, value, slope = live[moved], value[moved], slope[:, moved]  # rounding is reached
        if not live.size:
            break
    return x, final


def best_ratios(w: Array, mean: Array, var: Array, mirror: bool = False) -> tuple[Array, Array]:
    """Return the globally best gain of group 0 over that of group 1, (d,), for K = G = 2.

    Parameters
    ----------
    w : Array, shape (2, 2)
    mean, var : Array, shape (2, 2, d)
    mirror : bool
        Whether negative ratios are allowed.

    Returns
    -------
    ratio : Array, shape (d,)
    excess : Array, shape (d,)
        F at the ratio less the least F on a wide grid of ratios: not positive at an optimum.
    """
    if mean.shape[2] > BLOCK:
        parts = [slice(j, j + BLOCK) for j in range(0, mean.shape[2], BLOCK)]
        ends = [best_ratios(w, mean[..., j], var[..., j], mirror) for j in parts]
        return np.concatenate([r for r, _ in ends]), np.concatenate([e for _, e in ends])
    unit = np.sqrt(np.sqrt(np.prod(var, axis=0)))  # geometric mean of the class spreads
    mean, var = mean / unit, var / unit**2
    coefficients = _polynomial(w, mean, var)
    companion = np.zeros((mean.shape[2], 8, 8))
    companion[:, np.arange(1, 8), np.arange(7)] = 1.0
    companion[:, :, -1] = -(coefficients[:-1] / coefficients[-1]).T
    roots = np.linalg.eigvals(companion).T  # (8, d)
    near_real = np.abs(roots.imag) <= 1e-4 * np.maximum(1e-8, np.abs(roots))
    allowed = near_real & ((roots.real != 0.0) if mirror else (roots.real > 0.0))
    ratio = np.where(allowed, roots.real, 1.0)
    for _ in range(3):
        value, slope = _horner(coefficients, ratio)
        step = np.divide(value, slope, out=np.zeros_like(value), where=slope != 0.0)
        ratio = np.where(np.abs(step) < 0.1 * np.abs(ratio), ratio - step, ratio)
    cost = np.where(allowed, _ratio_cost(ratio, w, mean, var), np.inf)
    best = np.take_along_axis(ratio, cost.argmin(axis=0)[None], axis=0)[0]
    grid = np.concatenate([-RATIOS, RATIOS]) if mirror else RATIOS
    least = np.full(len(best), np.inf)
    for factor in grid:
        least = np.minimum(least, _ratio_cost(factor * np.abs(best), w, mean, var))
    return best * unit[0] / unit[1], cost.min(axis=0) - least


def _ratio_cost(ratio: Array, w: Array, mean: Array, var: Array) -> Array:
    """Return F of theory.md section 5 at ratios (..., d); see `all_groups.scale_ratio_cost`."""
    u = w[..., None] / var
    W = u[0] * u[1] / (u[0] + u[1])
    D = mean[1] - mean[0]
    total = w.sum(axis=1)[:, None]
    squares = ratio**2
    logs = 0.5 * sum(total[i] * np.log(u[i, 0] * squares + u[i, 1]) for i in range(2))
    fit = (D[0] - ratio * D[1]) ** 2 / (2.0 * (1.0 / W[0] + squares / W[1]))
    return logs - w[:, 0].sum() * np.log(np.abs(ratio)) + fit


def _polynomial(w: Array, mean: Array, var: Array) -> Array:
    """Return the coefficients (9, d), ascending, of the polynomial of `all_groups.polynomial`."""
    u = w[..., None] / var
    W = u[0] * u[1] / (u[0] + u[1])
    D = mean[1] - mean[0]
    zero, one = np.zeros(mean.shape[2]), np.ones(mean.shape[2])
    g = np.stack([zero, one])
    g2 = _times(g, g)
    p = [np.stack([u[i, 1], zero, u[i, 0]]) for i in range(2)]
    h = np.stack([1.0 / W[0], zero, 1.0 / W[1]])
    N = np.stack([D[0], -D[1]])
    logs = w[0].sum() * u[0, 0] * _times(g2, p[1]) + w[1].sum() * u[1, 0] * _times(g2, p[0])
    both = _times(p[0], p[1])
    logs = logs - w[:, 0].sum() * both
    fit = np.concatenate([-D[1] * _times(_times(g, N), h), zero[None]])[:5]
    fit = fit - _times(_times(N, N), g2) / W[1]
    return _times(logs, _times(h, h)) + _times(fit, both)


def _times(p: Array, q: Array) -> Array:
    """Return the product of polynomials, coefficients first."""
    out = np.zeros((len(p) + len(q) - 1, p.shape[1]))
    for k, row in enumerate(p):
        out[k : k + len(q)] += row * q
    return out


def _horner(coefficients: Array, x: Array) -> tuple[Array, Array]:
    """Return a polynomial and its derivative at x (..., d)."""
    value, slope = np.zeros_like(x), np.zeros_like(x)
    for c in coefficients[::-1]:
        slope = slope * x + value
        value = value * x + c
    return value, slope
