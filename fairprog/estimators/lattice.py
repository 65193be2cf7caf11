"""Scores and columns of few values, which are ties: what maps are fitted to and what they move.

A program fits a map to laws with densities, so a tie is spread uniformly over the cell of its
value (up to the middle between neighbours) where maps act, moved, and collected on the value in
whose cell it falls: values that occur. The order of two scores of a group is kept, but for ties.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairprog.door import Rows
from fairprog.errors import DataError
from fairprog.estimators.score_columns import forward
from fairprog.labels import Array
from fairprog.solution import SplitMap
from fairprog.transports import PiecewiseLinearMap

SHARE = 0.1  # fewer distinct values than this share of the rows: a lattice
POINTS = 16  # by which an atom that is spread over its cell stands for a uniform law


def is_lattice(n_values: int, count: float) -> bool:
    """Return whether there are fewer distinct values than a tenth of `count`, their rows."""
    return bool(n_values < max(2.0, SHARE * count))


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


def over_cells(T: PiecewiseLinearMap, own: Array, common: Array, space: str) -> SplitMap:
    """Return the map that spreads scores over their cells, moves them by T and collects them.

    Parameters
    ----------
    T : PiecewiseLinearMap
        In `space`.
    own, common : Array
        Distinct scores, sorted, of the group and of where it is moved to; at least two.
    space : {"logit", "identity"}
    """
    cells, border = T.at(edges(forward(own, space))), edges(forward(common, space))[1:-1]
    values = np.repeat(common, 2)[1:-1]
    return SplitMap(own, cells[:-1], cells[1:], np.repeat(border, 2), values)


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
    values = [np.unique(s[o]) for o in own]
    tied = [
        ties == "spread" or is_lattice(v.size, rows.count[o].sum())
        for v, o in zip(values, own, strict=True)
    ]
    if ties == "keep" or not any(tied):
        return z, rows, False
    level = (np.arange(POINTS) + 0.5) / POINTS
    parts: list[tuple[NDArray[Any], ...]] = []
    for k, (o, v) in enumerate(zip(own, values, strict=True)):
        if not tied[k]:
            parts.append((z[o], rows.y[o], rows.a[o], rows.weight[o]))
            continue
        K = len(rows.classes)
        cell = K * np.searchsorted(v, s[o]) + rows.y[o]
        mass = np.bincount(cell, rows.weight[o], K * v.size)
        ends = edges(forward(v, space))
        points = np.repeat(ends[:-1, None] + level * np.diff(ends)[:, None], K, axis=0)
        y = np.repeat(np.tile(np.arange(K), v.size), POINTS)
        weight = np.repeat(mass / POINTS, POINTS)
        full = weight > 0
        parts.append((points.ravel()[full], y[full], np.full(full.sum(), k), weight[full]))
    z, y, a, weight = (np.concatenate(column) for column in zip(*parts, strict=True))
    return z, replace(rows, y=y, a=a, weight=weight), True
