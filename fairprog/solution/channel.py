"""How a score of one group is released at random: by a law of levels, or a tie that is split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fairprog.fields import array, increasing, read, refuse
from fairprog.labels import Array, Indices, check_finite
from fairprog.lots import keys_of, lots, row_keys
from fairprog.numeric import near

PURPOSE = "fair score"
EDGE = (
    2.0**-20
)  # a tie ends where the next score begins: that lots nearer to an end do is no split
BUCKETS = 64  # of a lot, by which a draw finds its level


@dataclass(frozen=True, eq=False)
class Channel:
    """A randomised, rank-keeping map of the scores of one group to common levels.

    Scores between two `cuts` share a law of levels, ``chance[block]``. Higher scores have higher
    levels: with the same lot always, and so for every share of lots.

    Parameters
    ----------
    cuts : Array, shape (n - 1,)
        Where blocks of scores end, rising; a score equal to a cut is above it.
    levels : Array, shape (V,)
        Rising.
    chance : Array, shape (n, V)
        P(level | block).

    Examples
    --------
    >>> import fairprog as fp
    >>> D = fp.Categorical.from_scores([.2, .8, .4, .9], sensitive_features=list("aabb"))
    >>> channel = fp.FairScore(D).solve().channels["a"]
    >>> channel.mean([.2, .8]).round(3)
    array([0.327, 0.782])
    >>> bool(channel([.2, .8], key=["Ann", "Bob"])[0] in channel.levels)
    True
    """

    cuts: Array
    levels: Array
    chance: Array

    def blocks(self, score: Array) -> Indices:
        """Return the block of each score."""
        return np.searchsorted(self.cuts, score, side="right")

    @property
    def draws(self) -> bool:
        """Whether a lot decides which level some score is released at."""
        return bool(self.chance.max(axis=1).min() < 1.0 - 1e-9)

    def __call__(self, score: ArrayLike, *, key: Any = None, random_state: int = 0) -> Array:
        """Return the released score of every score, drawn by the lot of its key.

        Parameters
        ----------
        score : array_like, shape (n,)
        key : array_like, shape (n,), optional
            Identifiers of the rows; default the scores, so that equal ones share a lot.
        random_state : int
            Seed of the lots.
        """
        keys = row_keys(np.asarray(score, float)) if key is None else keys_of(key, np.size(score))
        return self.at(check_finite(score, "score"), lots(random_state, PURPOSE, keys))

    def at(self, score: Array, lot: Array) -> Array:
        """Return the released score of every score at its lot in [0, 1)."""
        return self.draw(self.blocks(score), lot)

    def draw(self, block: Indices, lot: Array) -> Array:
        """Return the level at a lot in [0, 1) of the law of each block."""
        k = self._first[block, (lot * BUCKETS).astype(np.intp)]
        ends = self._ends
        left = np.flatnonzero(ends[block, k] <= lot)
        while left.size:
            k[left] += 1
            left = left[ends[block[left], k[left]] <= lot[left]]
        return self.levels[k]

    def mean(self, score: ArrayLike) -> Array:
        """Return the mean level of every score: no lots, an increasing map, but not quite fair."""
        at = self.blocks(check_finite(score, "score"))
        return np.asarray((self.chance @ self.levels)[at])

    def exceedance(self, score: ArrayLike, threshold: float) -> Array:
        """Return P(released score >= threshold | score)."""
        above = self.above[:, np.searchsorted(self.levels, threshold)]
        return np.asarray(np.minimum(above, 1.0)[self.blocks(check_finite(score, "score"))])

    @property
    def above(self) -> Array:
        """P(released score >= level | block), shape (n, V + 1): the last column is zero."""
        rest = np.cumsum(self.chance[:, ::-1], axis=1)[:, ::-1]
        return np.pad(rest, ((0, 0), (0, 1)))

    @cached_property
    def _ends(self) -> Array:
        """Cumulative chances; the last level of a block that has any is its end."""
        out = np.cumsum(self.chance, axis=1)
        return np.where(out >= out[:, -1:] - 1e-15, np.inf, out)

    @cached_property
    def _first(self) -> Indices:
        """The level that holds the start of every bucket of lots."""
        starts = np.arange(BUCKETS) / BUCKETS
        return np.stack([np.searchsorted(e, starts, side="right") for e in self._ends])

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that :meth:`from_dict` reads back."""
        return {"cuts": self.cuts, "levels": self.levels, "chance": self.chance}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Channel:
        """Rebuild a channel from :meth:`to_dict`."""
        of_cuts = lambda v: array(0)(v) or increasing(v)  # noqa: E731
        shape = {"cuts": of_cuts, "levels": increasing, "chance": array(None, None)}
        out = cls(**read(data, "channel", shape))
        laws = np.abs(out.chance.sum(axis=1) - 1.0).max() <= 1e-6 and out.chance.min() >= -1e-9
        if out.chance.shape != (out.cuts.size + 1, out.levels.size) or not laws:
            raise refuse("`channel.chance` holds no laws of the levels")
        return out


@dataclass(frozen=True, eq=False)
class SplitMap:
    """An increasing map of the scores of one group that splits ties at random.

    No map of single values can tell rows with the same score apart: between the places where it
    puts a tie of one group and a tie of another there is a threshold that tells the groups apart
    instead. So a row that is tied is spread over the jump of its score in the group's
    distribution function, and what is matched are laws without jumps. With the same lot a higher
    score is never moved below a lower one.

    Parameters
    ----------
    scores : Array, shape (n,)
        Rising.
    low, high : Array, shape (n,)
        The levels over which rows with each score are spread, equal where none are tied. Between
        two scores levels are interpolated; beyond the ends they are those of the ends.
    levels, values : Array, shape (m,)
        The moved score at every level, linear in between: neither ever falls.

    Examples
    --------
    >>> import numpy as np
    >>> T = SplitMap(np.array([0., 1.]), np.array([0., .5]), np.array([.5, 1.]),
    ...              np.array([0., .25, .25, 1.]), np.array([0., 0., 1., 1.]))
    >>> T.at(np.zeros(4), np.array([0., .4, .6, .9]))
    array([0., 0., 1., 1.])
    """

    scores: Array
    low: Array
    high: Array
    levels: Array
    values: Array

    @classmethod
    def of(cls, own: Array, at: Array, levels: Array, values: Array) -> SplitMap:
        """Return the map of scores that have these levels, a tie more than one; neither falls."""
        scores, first = np.unique(own, return_index=True)
        last = np.append(first[1:], own.size) - 1
        return cls(scores, at[first], at[last], levels, values)

    @property
    def draws(self) -> bool:
        """Whether a lot decides where some tied score goes."""
        ends = (self.at(self.scores, lot) for lot in (EDGE, 1.0 - EDGE))
        return bool(np.not_equal(*ends).any())

    def at(self, score: Array, lot: Array | float) -> Array:
        """Return the moved score of every score at its lot in [0, 1)."""
        k, known = near(score, self.scores)
        between = np.interp(score, np.repeat(self.scores, 2), self._ends)
        level = np.where(known, self.low[k] + lot * (self.high[k] - self.low[k]), between)
        return np.interp(level, self.levels, self.values)

    def inverse(self) -> SplitMap:
        """Return the map back; what was split is put together, what ran together is split."""
        return self.of(self.values, self.levels, self._ends, np.repeat(self.scores, 2))

    @property
    def _ends(self) -> Array:
        return np.stack([self.low, self.high], axis=1).ravel()

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that :meth:`from_dict` reads back."""
        return dict(vars(self))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> SplitMap:
        """Rebuild a map from :meth:`to_dict`."""
        n, m = (np.size(np.asarray(data.get(name))) for name in ("scores", "levels"))
        shape = {"scores": increasing, "low high": array(n), "levels values": array(m)}
        out = cls(**read(data, "map", shape))
        if m == 0 or any((np.diff(v) < 0).any() for v in (out._ends, out.levels, out.values)):
            raise refuse("`map` falls somewhere")
        return out
