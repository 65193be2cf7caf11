"""Scores and columns of few values: how the map of a program moves what is tied.

A tie is spread uniformly over the cell of its value (up to the middle between neighbours) where
maps act, moved, and collected on the value in whose cell it falls: values that occur. The order
of two scores of a group is kept, but for ties.
"""

from __future__ import annotations

import numpy as np

from fairprog.door import Rows
from fairprog.errors import DataError
from fairprog.estimators.score_columns import forward
from fairprog.labels import Array
from fairprog.solution import SplitMap
from fairprog.transports import PiecewiseLinearMap

SHARE = 0.1  # fewer distinct values than this share of the rows: a lattice


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


def rounded(x: Array, lattice: Array, lot: Array) -> Array:
    """Return values rounded at random to neighbours on a lattice: their mean is kept."""
    place = np.interp(x, lattice, np.arange(lattice.size))
    return np.asarray(lattice[place.astype(np.intp) + (lot < place % 1.0)])


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
