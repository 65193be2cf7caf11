r"""Groups that pass one threshold at the same rate, at the least divergence: one number.

With :math:`s = c_0(\eta) - c_1(\eta)`, which increases in :math:`\eta`, an atom of group a is
above the threshold iff :math:`s > l_a`, the price of being above. The rate above decreases in
:math:`l_a`; at the optimum all rates are z and :math:`\sum_a p_a l_a = 0`: one monotone equation
in z, whatever the number of groups. Source: theory.md section 12.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.special import expit

from fairprog.kernels.atoms.level_prices import bernoulli_kl
from fairprog.labels import Array, Indices

EXTREME = 36.0  # log odds of a rate that is 0 or 1 to rounding
HALVINGS = 100
LARGEST = 700.0  # nats, where exp ends

# of one group: s in order, and what atoms weigh below and above the threshold
Weighed = tuple[Array, Array, Array]


def weighed(
    eta: Array, law: Array, low: float, high: float, keep_law: bool
) -> tuple[Indices, Weighed]:
    """Return the order of a group's atoms by s, and (s, weights below, weights above) in it.

    Parameters
    ----------
    eta, law : Array, shape (n,)
        Posteriors and their masses, which sum to one.
    low, high : float
        Largest posterior below the threshold, smallest above.
    keep_law : bool
        Whether the law of X stays: only labels move.
    """
    below, above = side_costs(eta, low, high)
    order = np.argsort(below - above)
    below, above, law = below[order], above[order], law[order]
    if keep_law:
        return order, (below - above, law, law)
    return order, (below - above, law * np.exp(-below), law * np.exp(-above))


def side_costs(eta: Array, low: float, high: float) -> tuple[Array, Array]:
    """Return kl of the nearest posterior below the threshold, and above it; at most 700 nats."""
    out = np.zeros((2, len(eta)))
    for cost, end, off in zip(out, (low, high), (eta > low, eta < high), strict=True):
        cost[off] = np.minimum(bernoulli_kl(end, eta[off]), LARGEST)
    return out[0], out[1]


def price_finder(group: Weighed, keep_law: bool) -> Callable[[float], float]:
    """Return the function from a rate above to the price at which a group has it."""
    s, below, above = group
    A = np.concatenate([[0.0], np.cumsum(below)])
    B = np.concatenate([np.cumsum(above[::-1])[::-1], [0.0]])
    odds = np.exp(s) if not keep_law else None

    def rate(j: Indices, k: Indices) -> Array:  # at the price s[k] with j atoms below
        return B[j] if odds is None else B[j] / (B[j] + odds[k] * A[j])

    position = np.arange(len(s))
    fall, most = -rate(position + 1, position), rate(position, position)

    def price(z: float) -> float:
        j = min(int(np.searchsorted(fall, -z)), len(s) - 1)
        if z <= most[j] or odds is None:
            return float(s[j])
        return float(np.log(B[j] / A[j]) + np.log1p(-z) - np.log(z))

    return price


def common_rate(groups: Sequence[Weighed], weights: Array, keep_law: bool) -> tuple[float, Array]:
    """Return the rate z above the threshold of every group, and prices with sum p_a l_a = 0.

    Examples
    --------
    >>> from fairprog.kernels.atoms.one_threshold import common_rate, weighed
    >>> eta, law = np.array([[0.2, 0.6], [0.4, 0.9]]), np.full(2, 0.5)
    >>> sums = [weighed(row, law, 0.5, 0.5, False)[1] for row in eta]
    >>> z, prices = common_rate(sums, np.full(2, 0.5), False)
    >>> round(z, 6), bool(abs(prices.sum()) < 1e-12)  # both have half above: nothing moves
    (0.5, True)
    """
    prices = [price_finder(group, keep_law) for group in groups]

    def at(odds: float) -> Array:
        return np.array([price(float(expit(odds))) for price in prices])

    low, high = -EXTREME, EXTREME
    ends = at(low), at(high)
    for end, rate in zip(ends, (0.0, 1.0), strict=True):  # all atoms are on one side
        if weights @ end * (1.0 - 2.0 * rate) <= 0.0:
            return rate, end - weights @ end / weights.sum()
    first, last = ends
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        found = at(middle)
        if weights @ found > 0:
            low, first = middle, found
        else:
            high, last = middle, found
    over, under = float(weights @ first), float(weights @ last)
    share = 0.0 if over == under else over / (over - under)  # where prices jump: in between
    return float(expit(0.5 * (low + high))), first + share * (last - first)


def tilted(group: Weighed, price: float) -> Array:
    """Return the law of a group's atoms at a price, in the order of s; its sum is exp(-V).

    Examples
    --------
    >>> from fairprog.kernels.atoms.one_threshold import tilted, weighed
    >>> tilted(weighed(np.array([0.2, 0.6]), np.full(2, 0.5), 0.5, 0.5, False)[1], 0.0)
    array([0.5, 0.5])
    """
    s, below, above = group
    return np.where(s > price, above * np.exp(-price), below)
