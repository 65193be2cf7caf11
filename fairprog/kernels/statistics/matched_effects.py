r"""Strengths at which groups show the same effect, from curves measured at some strengths.

With :math:`e_a(t)` the effect of t times the vector of group a, linear between (0, 0) and the
measured points, the strengths that match an effect E are

.. math:: t_a(E) = \min \{t : e_a(t) \ge E\} , \qquad E \le \min_a \max_t e_a(t) .
"""

from __future__ import annotations

import numpy as np

from fairprog.labels import Array


def fluent_strengths(perplexity_ratio: Array, tolerance: float) -> int:
    r"""Return how many strengths come before the first with a ratio above :math:`1 + \tau`.

    Parameters
    ----------
    perplexity_ratio : Array, shape (n,)
        Perplexity of steered texts over that of unsteered ones, at increasing strengths.
    tolerance : float
        :math:`\tau`.
    """
    broken = np.flatnonzero(perplexity_ratio > 1.0 + tolerance)
    return int(broken[0]) if broken.size else len(perplexity_ratio)


def least_strength(strengths: Array, curve: Array, effect: float) -> float:
    """Return the least strength with this effect, which is positive and reached by the curve.

    Parameters
    ----------
    strengths, curve : Array, shape (n,)
        Positive, increasing strengths, and the effects there.
    effect : float
    """
    x, y = np.append(0.0, strengths), np.append(0.0, curve)
    k = int(np.argmax(y >= effect))
    share = (effect - y[k - 1]) / (y[k] - y[k - 1])
    return float(x[k - 1] + share * (x[k] - x[k - 1]))
