"""How many rows a cell needs for a gap, or a population for a divergence, to be seen."""

from __future__ import annotations

import math

from scipy.special import chdtri, chndtr, ndtri


def rows_for_gap(delta: float, confidence: float, power: float) -> int:
    r"""Return the rows each of two cells needs for a gap `delta` at one threshold to be seen.

    The two-sample Smirnov test at level 1 - confidence rejects where the gap at the worst
    threshold exceeds :math:`c\,\sqrt{2/n}`, :math:`c = \sqrt{\log(2/\alpha)/2}` (its DKW bound).
    At the threshold of a true gap delta the measured one has standard deviation at most
    :math:`\sqrt{1/(2n)}`, so that :math:`n = (2 c + z_{power})^2 / (2\delta^2)` suffices.

    Examples
    --------
    >>> rows_for_gap(0.1, 0.95, 0.8)
    633
    """
    c = math.sqrt(math.log(2.0 / (1.0 - confidence)) / 2.0)
    z = float(ndtri(power))
    return max(2, math.ceil((2.0 * c + z) ** 2 / (2.0 * delta**2)))


def rows_for_kl(delta: float, df: int, confidence: float, power: float) -> int:
    r"""Return the rows for which a chi-square of noncentrality 2 n delta is seen with `power`.

    Examples
    --------
    >>> rows_for_kl(0.01, 3, 0.95, 0.8)
    546
    """
    critical = float(chdtri(df, 1.0 - confidence))

    def missing(noncentrality: float) -> float:
        return 1.0 - float(chndtr(critical, df, noncentrality)) - power

    from scipy.optimize import brentq

    return math.ceil(brentq(missing, 1e-9, 1e6) / (2.0 * delta))
