"""Tied scores: spread over their cell of the lattice before a map, collected after it.

An increasing map can only move an atom as a whole, and between the moved atoms of two groups
there is a threshold that tells them apart. Spread uniformly over the cell of its value (up to the
middle between neighbours) an atom can be split, and values collected by cells are values that
occur. The order of two scores of a group is kept, but for ties.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np

from fairprog.errors import DataError
from fairprog.estimators.labelled_rows import LabelledRows
from fairprog.labels import Array, Indices

__all__ = ["collect", "edges", "evenly", "is_lattice", "spread", "spread_fitted"]

SHARE = 0.1  # fewer distinct values than this share of the rows: a lattice


def is_lattice(x: Array) -> bool:
    """Return whether x has fewer distinct values than a tenth of its entries."""
    return bool(np.unique(x).size < max(2.0, SHARE * x.size))


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


def evenly(x: Array, y: Indices) -> Array:
    """Return levels in (0, 1) that fill the ties of x evenly, for each class of y by itself."""
    out = np.empty(x.size)
    order = np.lexsort((x, y))
    new = np.concatenate([[True], (np.diff(x[order]) != 0) | (np.diff(y[order]) != 0)])
    tie = np.cumsum(new) - 1
    start = np.flatnonzero(new)
    count = np.bincount(tie)
    out[order] = (np.arange(x.size) - start[tie] + 0.5) / count[tie]
    return out


def spread(x: Array, values: Array, level: Array) -> Array:
    """Return x with every entry that is one of `values` put at its level of its cell."""
    edge = edges(values)
    k = np.clip(np.searchsorted(values, x), 0, values.size - 1)
    inside = edge[k] + level * (edge[k + 1] - edge[k])
    return np.where(values[k] == x, inside, x)


def collect(x: Array, values: Array) -> Array:
    """Return the value in whose cell each entry lies (the first or last beyond the ends)."""
    k = np.searchsorted(edges(values)[1:-1], x, side="right")
    return np.asarray(values[k])


def spread_fitted(
    z: Array, rows: LabelledRows, home: Any, ties: str
) -> tuple[Array, dict[Hashable, Array], Array | None]:
    """Return the scores to fit to, the lattice of every group and the common one.

    Ties are spread evenly where `ties` asks for it; else there are no lattices.

    Raises
    ------
    DataError
        If all scores of a group are the same.
    """
    members = {g: np.flatnonzero(rows.a == k) for k, g in enumerate(rows.groups)}
    for g, own in members.items():
        if not np.ptp(z[own]) > 0:
            raise DataError(
                f"All scores of group {g!r} are the same: no increasing map can move them "
                "apart. Was the right column passed?",
                argument="X",
                cell=(None, g),
            )
    tied = any(is_lattice(z[own]) for own in members.values())
    if ties == "keep" or (ties == "auto" and not tied):
        return z, {}, None
    lattices = {g: np.unique(z[own]) for g, own in members.items()}
    out = z.copy()
    for g, own in members.items():
        out[own] = spread(z[own], lattices[g], evenly(z[own], rows.y[own]))
    return out, lattices, np.unique(z) if home is None else lattices[home]
