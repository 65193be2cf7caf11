r"""Base rates chosen together with the maps (theory.md section 3).

For given cell divergences V_ia the divergence of the joint laws, group masses p_a kept, is

.. math:: \sum_i \rho(i) \Bigl( \log\rho(i) + \sum_a p_a (V_{ia} - \log\rho_a(i)) \Bigr),

lowest at :math:`\rho(i) \propto \exp \sum_a p_a (\log\rho_a(i) - V_{ia})`, where it is minus the
log of the normalising sum.
"""

from __future__ import annotations

import numpy as np

from fairprog.labels import Array


def best_rates(V: Array, mass: Array, log_rates: Array) -> tuple[Array, float]:
    """Return the best common base rates (K,) for divergences V (K, G), and the divergence.

    Parameters
    ----------
    V, log_rates : Array, shape (K, G)
        Cell divergences in nats; log rho_a(i).
    mass : Array, shape (G,)
        p_a.

    Examples
    --------
    >>> import numpy as np
    >>> half = np.log(np.full((2, 2), 0.5))
    >>> rho, value = best_rates(np.zeros((2, 2)), np.array([0.3, 0.7]), half)
    >>> rho, abs(value) < 1e-15
    (array([0.5, 0.5]), True)
    """
    exponent = (log_rates - V) @ mass
    largest = exponent.max()
    parts = np.exp(exponent - largest)
    return parts / parts.sum(), float(-largest - np.log(parts.sum()))


def rates_cost(rho: Array, mass: Array, log_rates: Array) -> float:
    """Return sum_a p_a KL(rho || rho_a), nats; entries of rho may be zero."""
    positive = rho > 0
    logs = np.log(np.where(positive, rho, 1.0))
    return float(rho @ (logs - log_rates @ mass))


def chord_minimum(
    low: tuple[float, float], high: tuple[float, float], mass: Array, log_rates: Array
) -> tuple[float, float]:
    """Return (r, value): the least rates_cost + chord over rho = (1 - r, r), r in an interval.

    The cost of the best maps is a minimum of linear functions of rho, hence concave and above
    its chord: the value is a lower bound of the whole divergence over the interval.

    Parameters
    ----------
    low, high : (r, cost of the maps)
        The two ends.
    mass, log_rates : Array, shapes (G,) and (2, G)
    """
    slope = (high[1] - low[1]) / (high[0] - low[0])
    pull = log_rates @ mass
    r = float(np.clip(1.0 / (1.0 + np.exp(pull[0] - pull[1] + slope)), low[0], high[0]))
    value = rates_cost(np.array([1.0 - r, r]), mass, log_rates)
    return r, value + low[1] + slope * (r - low[0])
