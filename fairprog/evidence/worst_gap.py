r"""The largest gap between groups over all thresholds: corrected estimate, interval, band.

A maximum over thresholds and pairs of groups is estimated too high, the more so the more there is
to choose from, and a band that holds at every threshold is wider than its maximum needs. Both
follow from the law of the measured maximum where the rates are

.. math:: r_a^{\lambda}(t) = \bar r(t) + \lambda\,(\hat r_a(t) - \bar r(t)),

populations that lead from no gap at all (lambda = 0) through the sample (lambda = 1): the interval
holds the gaps of those under which what was measured is no rare event. Errors of the rates are
drawn by the multiplier bootstrap on sorted counts: with weights u of a group's rows, their
increments between thresholds are independent normal numbers of variance sum u^2, tied down by
their total. Of two groups at lambda = 0 this is Smirnov's law. A sample that shows a large gap has
too sharp a peak, one that shows a small gap too flat a one; so the lower end takes a path whose
peaks are cut flat, and the upper end one whose peaks are sharpened (simulated in
``experiments/audit_coverage.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.special import ndtri

from fairprog.labels import Array, Indices

GRID = 256  # thresholds at which errors are drawn
WORK = 2_000_000  # pairs times draws times thresholds: beyond, at fewer thresholds
STEPS = 9  # gaps around the measured one for which its law is drawn
PRIOR_ROWS = 2.0
FLAT, SHARP, MIDDLE = 0.7, 0.5, 0.2  # see `_shape`, in units of sqrt(1/n_a + 1/n_b)


@dataclass(frozen=True, eq=False)
class Rate:
    """A rate of every group at every threshold, and how it errs.

    Attributes
    ----------
    above : Array, shape (G, T)
        The rate of the rows above each threshold.
    spread : Array, shape (signs, G, T)
        Sums of u^2 between thresholds, u the share of a row in its group's weight: of the rows
        that count above a threshold, and of those that count below it (accuracies have both).
    """

    above: Array
    spread: Array

    @classmethod
    def of(cls, mass: Array, square: Array, below: tuple[Array, Array] | None = None) -> Rate:
        """Return the rate of weights, and their squares, summed up to each threshold, (G, T).

        `below` are those of rows that count below a threshold instead.
        """
        parts = [(mass, square), *([] if below is None else [below])]
        total = sum(m[:, -1:] for m, _ in parts)
        right = mass[:, -1:] - mass + (0.0 if below is None else below[0])
        spread = [np.diff(s, axis=1, prepend=0.0) for _, s in parts]
        return cls(right / total, np.stack(spread) / total**2)

    @property
    def count(self) -> Array:
        """Rows behind each group's rate, (G,): as many as the weights are worth."""
        return np.asarray(1.0 / self.spread.sum(axis=(0, 2)))

    @property
    def without_gap(self) -> Rate:
        """The same groups with the rate of all rows."""
        n = self.count
        shape = np.einsum("a,sat->st", n, self.spread) / len(n)
        spread = shape[:, None, :] / n[:, None]
        return Rate(np.broadcast_to(n @ self.above / n.sum(), self.above.shape), spread)

    def eased(self, null: Rate) -> Rate:
        """Return the rate with two rows of `null` added to each group, whose own may be few."""
        n = self.count
        t = (n / (n + PRIOR_ROWS))[:, None]
        return Rate(
            null.above + t * (self.above - null.above),
            null.spread + t * (self.spread - null.spread),
        )

    def errors(self, normals: Array) -> Array:
        """Return errors of the rates, (draws, G, T), from normal numbers (draws, signs, G, T)."""
        walk = np.cumsum(normals * np.sqrt(self.spread), axis=3)
        ends = walk[..., -1:]
        out = ends[:, 0] - walk[:, 0] - self.above * ends.sum(axis=1)
        return out if len(self.spread) == 1 else out + walk[:, 1]


def thresholds_for(n_groups: int, n_rates: int, draws: int) -> int:
    """Return at how many thresholds errors are drawn."""
    pairs = n_groups * (n_groups - 1) // 2
    return max(16, min(GRID, WORK // (draws * pairs * n_rates)))


def thinned(mass: Array, most: int) -> Indices:
    """Return positions of at most so many thresholds, equally far in mean rank of the groups.

    Parameters
    ----------
    mass : Array, shape (G, T)
        Weights up to each threshold.
    """
    level = (mass / mass[:, -1:]).mean(axis=0)
    if level.size <= most:
        return np.arange(level.size)
    places = np.searchsorted(level, np.arange(1, most + 1) / most * (1 - 1e-12))
    return np.unique(np.minimum(places, level.size - 1))


@dataclass(frozen=True)
class WorstGap:
    """The largest gap over thresholds and pairs of groups, and how sure it is.

    Attributes
    ----------
    gap : float
        As measured: too high on average.
    estimate : float
        Corrected for that: as often too high as too low.
    low, high : float
        Two-sided interval, at the confidence asked for.
    at_least, at_most : float
        One-sided bounds, each at that confidence by itself.
    between : (int, int)
        The pair surest to differ.
    """

    gap: float
    estimate: float
    low: float
    high: float
    at_least: float
    at_most: float
    between: tuple[int, int]


class WorstGapLaw:
    """How the largest gap over thresholds and pairs of groups varies from sample to sample.

    Pairs are compared in units of sqrt(1/n_a + 1/n_b), so that a small group hides nothing about
    large ones.

    Parameters
    ----------
    rates : sequence of Rate
        Of the same groups, of different rows (equalized odds: of both classes).
    draws : int
    rng : numpy Generator
    """

    def __init__(self, rates: Sequence[Rate], draws: int, rng: np.random.Generator) -> None:
        self.pairs = list(combinations(range(len(rates[0].above)), 2))
        first, second = (np.array(side) for side in zip(*self.pairs, strict=True))
        self._units = [np.sqrt(1.0 / r.count[first] + 1.0 / r.count[second]) for r in rates]
        self._gaps = [r.above[first] - r.above[second] for r in rates]
        self._errors = []
        for r in rates:
            z = rng.standard_normal((draws, *r.spread.shape), dtype=np.float32)
            null = r.without_gap
            both = (null.errors(z), r.eased(null).errors(z))
            self._errors.append([(e[:, first] - e[:, second]).astype(np.float32) for e in both])
        self.unit = np.concatenate(self._units)
        self.peaks = np.concatenate([np.abs(gaps).max(axis=1) for gaps in self._gaps])

    def half_width(self, confidence: float) -> float:
        """Return within what all gaps at all thresholds are of the true ones at once."""
        off = [np.abs(own).max(axis=(1, 2)) for _, own in self._errors]
        return min(1.0, float(np.quantile(np.max(off, axis=0), confidence)))

    def interval(self, gap: float, confidence: float) -> WorstGap:
        """Return estimate and interval; `gap` is the largest measured at all thresholds."""
        alpha = 1.0 - confidence
        shapes = (self._shape(-FLAT), self._shape(SHARP), self._shape(MIDDLE))
        lower, upper, middle = map(self._inverse, shapes)
        low = lower(alpha / 2)
        surest = int(((self.peaks - low) / self.unit).argmax()) % len(self.pairs)
        return WorstGap(
            gap=gap,
            estimate=min(middle(0.5), gap),
            low=low,
            high=upper(1.0 - alpha / 2),
            at_least=lower(alpha),
            at_most=upper(1.0 - alpha),
            between=self.pairs[surest],
        )

    def _shape(self, amount: float) -> list[Array]:
        """Return the measured gaps, scaled to a peak of one, sharpened or (below 0) cut flat."""
        top, cut = float(self.peaks.max()), abs(amount) * self.unit
        level = max(float((self.peaks - cut).max()), 0.2 * top)
        out = []
        for gaps, unit in zip(self._gaps, self._units, strict=True):
            size = np.abs(gaps)
            off = np.minimum(amount * unit, 0.8 * top)[:, None]
            size = np.minimum(size, level) if amount < 0 else np.maximum(size - off, 0.0)
            out.append(np.sign(gaps) * size)
        peak = max(float(np.abs(x).max()) for x in out)
        return [(x / max(peak, 1e-12)).astype(np.float32) for x in out]

    def _rarity(self, theta: float, shape: Sequence[Array]) -> float:
        """Return, as a normal deviate, how often gaps with the peak theta measure as much."""
        top = max(float(self.peaks.max()), 1e-12)
        own, scores = np.float32(min(theta / top, 1.0)), []
        for (none, sample), form, unit in zip(self._errors, shape, self._units, strict=True):
            apart = sample - none
            apart *= own
            apart += none
            apart += np.float32(theta) * form
            peaks = np.abs(apart, out=apart).max(axis=2)
            scores.append(((peaks - theta) / unit).max(axis=1))
        measured = float(((self.peaks - theta) / self.unit).max())
        more = float(np.sum(np.max(scores, axis=0) >= measured - 1e-6 * abs(measured)))
        return float(ndtri((more + 0.5) / (len(scores[0]) + 1.0)))

    def _inverse(self, shape: Sequence[Array]) -> Callable[[float], float]:
        """Return the gap of each probability that as much is measured; in [0, 1]."""
        ends = {int((self.peaks + sign * self.unit).argmax()) for sign in (-1, 1)}
        reach = np.linspace(-2.4, 2.4, STEPS)
        points = [self.peaks[k] + reach * self.unit[k] for k in ends]
        grid = np.unique(np.clip(np.concatenate([[0.0], *points]), 0.0, 1.0))
        values = np.maximum.accumulate([self._rarity(theta, shape) for theta in grid])

        def at(probability: float) -> float:
            level = float(ndtri(probability))
            if level <= values[0]:
                return 0.0
            if level >= values[-1]:
                return 1.0
            k = int(np.searchsorted(values, level))
            share = (level - values[k - 1]) / (values[k] - values[k - 1])
            return float(grid[k - 1] + share * (grid[k] - grid[k - 1]))

        return at
