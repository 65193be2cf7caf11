"""Tied scores: spread over their cell of the lattice before a map, collected after it.

An increasing map can only move an atom as a whole, and between the moved atoms of two groups
there is a threshold that tells them apart. Spread uniformly over the cell of its value (up to the
middle between neighbours) an atom can be split, and values collected by cells are values that
occur. The order of two scores of a group is kept, but for ties. Scores are matched and returned
as they were given, cells are those of the space where maps act: nothing hangs on a last digit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairprog.door import Rows
from fairprog.errors import DataError
from fairprog.estimators.score_columns import forward
from fairprog.labels import Array, Indices
from fairprog.lots import Keys, shared_too_widely
from fairprog.numeric import DUST

SHARE = 0.1  # fewer distinct values than this share of the rows: a lattice
POINTS = 16  # by which an atom that is spread over its cell stands for a uniform law


def is_lattice(x: Array, count: float) -> bool:
    """Return whether x has fewer distinct values than a tenth of `count`, its number of rows."""
    return bool(np.unique(x).size < max(2.0, SHARE * count))


def edges(values: Array) -> Array:
    """Return the cells' edges, shape (m + 1,), of m >= 2 sorted distinct values.

    Examples
    --------
    >>> import numpy as np
    >>> edges(np.array([0., 1., 3.]))
    array([-0.5,  0.5,  2. ,  4. ])
    """
    middle = 0.5 * (values[1:] + values[:-1])
    return np.concatenate([[2 * values[0] - middle[0]], middle, [2 * values[-1] - middle[-1]]])


def near(x: Array, values: Array) -> tuple[Indices, NDArray[np.bool_]]:
    """Return the place of the nearest of sorted values, and where x is that one but for dust."""
    k = np.searchsorted(0.5 * (values[1:] + values[:-1]), x)
    off = np.abs(x - values[k])
    return k, off <= DUST * (1e3 * np.abs(values[k]) + np.abs(values[[0, -1]]).max())


@dataclass(frozen=True, eq=False)
class Lattice:
    """Distinct scores, sorted, and the edges of their cells where maps act."""

    scores: Array
    edges: Array

    @classmethod
    def of(cls, s: Array, space: str) -> Lattice:
        """Return the lattice of scores of which at least two differ."""
        scores = np.unique(s)
        return cls(scores, edges(forward(scores, space)))

    def spread(self, s: Array, z: Array, level: Array) -> Array:
        """Return z with every entry whose score is of the lattice put at its level of its cell."""
        k, tied = near(s, self.scores)
        inside = self.edges[k] + level * (self.edges[k + 1] - self.edges[k])
        return np.where(tied, inside, z)

    def collect(self, z: Array) -> Array:
        """Return the score in whose cell each entry lies (the first or last beyond the ends)."""
        return np.asarray(self.scores[np.searchsorted(self.edges[1:-1], z, side="right")])


def refuse_constant(s: Array, rows: Rows) -> None:
    """Refuse a group whose scores are all the same; DataError names it."""
    for k, g in enumerate(rows.groups):
        if not np.ptp(s[rows.a == k]) > 0:
            raise DataError(
                f"All scores of group {g!r} are the same: no increasing map can move them "
                "apart. Was the right column passed?",
                argument="X",
                cell=(None, g),
            )


def spread_evenly(s: Array, space: str, rows: Rows, ties: str) -> tuple[Array, Rows, bool]:
    """Return what maps are fitted to, in the space where they act, and whether ties are spread.

    Every atom of a group that has ties to spread becomes points that fill its cell evenly, with
    its weight: as many whatever the number of its rows, and in no order of them.
    """
    z = forward(s, space)
    own = [np.flatnonzero(rows.a == k) for k in range(len(rows.groups))]
    tied = [ties == "spread" or is_lattice(s[o], rows.count[o].sum()) for o in own]
    if ties == "keep" or not any(tied):
        return z, rows, False
    level = (np.arange(POINTS) + 0.5) / POINTS
    parts: list[tuple[NDArray[Any], ...]] = []
    for k, (o, spreads) in enumerate(zip(own, tied, strict=True)):
        if not spreads:
            parts.append((z[o], rows.y[o], rows.a[o], rows.weight[o]))
            continue
        lattice = Lattice.of(s[o], space)
        K = len(rows.classes)
        mass = np.bincount(
            K * np.searchsorted(lattice.scores, s[o]) + rows.y[o],
            rows.weight[o],
            K * lattice.scores.size,
        )
        width = np.diff(lattice.edges)
        points = np.repeat(lattice.edges[:-1, None] + level * width[:, None], K, axis=0)
        y = np.repeat(np.tile(np.arange(K), lattice.scores.size), POINTS)
        weight = np.repeat(mass / POINTS, POINTS)
        full = weight > 0
        parts.append((points.ravel()[full], y[full], np.full(full.sum(), k), weight[full]))
    z, y, a, weight = (np.concatenate(column) for column in zip(*parts, strict=True))
    return z, replace(rows, y=y, a=a, weight=weight), True


def shares_lots(a: Indices, s: Array, keys: Keys) -> bool:
    """Return whether tied scores of a group share so many lots that these set the error."""
    if not s.size:
        return False
    values, place = np.unique(s, return_inverse=True)
    return shared_too_widely(a, a * values.size + place, keys)
