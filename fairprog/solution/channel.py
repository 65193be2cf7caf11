"""A channel: what becomes of a score of one group, drawn by lot from levels of all."""

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

PURPOSE = "fair score"
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

    def blocks(self, score: ArrayLike) -> Indices:
        """Return the block of each score."""
        return np.searchsorted(self.cuts, check_finite(score, "score"), side="right")

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
        return self.draw(self.blocks(score), lots(random_state, PURPOSE, keys))

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
        return np.asarray((self.chance @ self.levels)[self.blocks(score)])

    def exceedance(self, score: ArrayLike, threshold: float) -> Array:
        """Return P(released score >= threshold | score)."""
        above = self.chance[:, self.levels >= threshold].sum(axis=1)
        return np.asarray(np.minimum(above, 1.0)[self.blocks(score)])

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
