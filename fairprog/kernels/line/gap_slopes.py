r"""How the largest gap of Bayes rules follows the cells: normal laws, one feature, two classes.

The log odds of a group are a quadratic l(x), and its rate is
:math:`r(t) = \sum_i \rho_i P_i(l(X) > t)`. A rate changes with the laws on its region, and with
the region, whose ends move by dl / |l'|. The gap is largest where its derivative in t vanishes, so
that t may stay; or at a kink, where a group's log odds end, which moves with its cells.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr

from fairprog.labels import Array

KINK = 2e-4  # nats from the end of log odds: thresholds are known to 1e-4


Group = tuple[Array, Array, Array]
"""A group's proportions, means and variances, (2,) each; also derivatives in them."""


def _by_log_odds(g: Group, x: Array) -> Group:
    """Return the derivatives of the log odds at points, (n, 2) each."""
    prior, mean, var = g
    sign, z = np.array([-1.0, 1.0]), x[:, None] - mean
    return sign / prior + 0.0 * z, sign * z / var, 0.5 * sign * (z**2 / var - 1.0) / var


def _quadratic(g: Group, t: float) -> Array:
    """Return the coefficients of l(x) - t, highest first."""
    prior, m, var = g
    v = 1.0 / var
    constant = np.log(prior[1] / prior[0]) + 0.5 * np.log(var[0] / var[1]) - t
    constant += 0.5 * (m[0] ** 2 * v[0] - m[1] ** 2 * v[1])
    return np.array([0.5 * (v[0] - v[1]), m[1] * v[1] - m[0] * v[0], constant])


def rate_slopes(g: Group, t: float) -> tuple[float, float, Group]:
    """Return the rate of a group above a threshold, dr/dt, and its derivatives in the cells."""
    (prior, mean, var), line = g, _quadratic(g, t)
    roots = np.roots(line)
    x: Array = np.sort(roots.real[roots.imag == 0.0])
    steep = np.polyval(np.polyder(line), x)
    z, side = x[:, None] - mean, np.sign(steep)[:, None]
    beyond = steep[-1] > 0 if x.size else line[2] > 0  # whether the region reaches to the right
    above = float(beyond) - (side * ndtr(z / np.sqrt(var))).sum(axis=0)
    density = np.exp(-0.5 * z**2 / var) / np.sqrt(2.0 * np.pi * var)
    rho = prior / prior.sum()
    rate = float(rho @ above)
    flow = density @ rho / np.abs(steep)  # of the region's ends
    by_prior, by_mean, by_var = (flow @ part for part in _by_log_odds(g, x))
    own = rho * side * density
    slopes = (
        by_prior + (above - rate) / prior.sum(),
        by_mean + own.sum(axis=0),
        by_var + 0.5 * (own * z / var).sum(axis=0),
    )
    return rate, -float(flow.sum()), slopes


def gap_slopes(first: Group, second: Group, t: float) -> tuple[Group, Group]:
    """Return the derivatives of r_first - r_second where it is largest, at the threshold t.

    Examples
    --------
    >>> a = np.array([0.3, 0.3]), np.array([0.0, 2.0]), np.array([1.0, 1.0])
    >>> b = np.array([0.2, 0.2]), np.array([0.0, 1.0]), np.array([1.0, 1.0])
    >>> gap_slopes(a, b, 0.5)[0][1].round(3)
    array([-0.06,  0.06])
    """
    groups: tuple[Group, Group] = (first, second)
    turns, slopes = [], []
    for sign, g in zip((1.0, -1.0), groups, strict=True):
        _, turn, (by_prior, by_mean, by_var) = rate_slopes(g, t)
        turns.append(sign * turn)
        slopes.append((sign * by_prior, sign * by_mean, sign * by_var))
    for k, g in enumerate(groups):
        line = _quadratic(g, t)
        top = -0.5 * line[1] / line[0] if line[0] else np.inf
        if np.isfinite(top) and abs(np.polyval(line, top)) < KINK:
            p, m, v = _by_log_odds(g, np.array([top]))  # beyond it this group's rate stays
            slopes[k] = turns[1 - k] * p[0], turns[1 - k] * m[0], turns[1 - k] * v[0]
            break
    return slopes[0], slopes[1]
