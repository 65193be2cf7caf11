"""Steered values of lattice-valued columns, rounded at random to values that occur.

An affine map shifts whole numbers off their lattice, and a tree then reads the group from the
offset. Rounding v between neighbours l < u to u with probability (v - l) / (u - l) keeps the mean
and hides the group again.
"""

from __future__ import annotations

import numpy as np

from fairprog.labels import Array

__all__ = ["lattices", "snap_to"]

SHARE = 0.1  # a column with fewer distinct values than this share of the rows is a lattice


def lattices(X: Array, snap: str | bool) -> list[Array | None]:
    """Return for every column the values it may take, or None where it is continuous.

    Parameters
    ----------
    X : Array, shape (n, d)
        Rows in common coordinates that no map has moved.
    snap : "auto" or bool
        "auto": columns with fewer distinct values than a tenth of the rows; True: every column;
        False: none.
    """
    out: list[Array | None] = []
    for column in X.T:
        values = np.unique(column)
        few = values.size < max(2, SHARE * len(column)) if snap == "auto" else bool(snap)
        out.append(values if few else None)
    return out


def snap_to(
    X: Array, moved: np.ndarray, values: list[Array | None], rng: np.random.Generator
) -> Array:
    """Return X with the moved rows of every lattice-valued column rounded at random.

    Parameters
    ----------
    X : Array, shape (n, d)
    moved : array of bool, shape (n,)
        The rows that a map has moved.
    values : list of (sorted Array or None)
        What :func:`lattices` found.
    rng : numpy.random.Generator
    """
    out = X.copy()
    for j, lattice in enumerate(values):
        if lattice is None:
            continue
        v = np.clip(X[moved, j], lattice[0], lattice[-1])
        above = np.clip(np.searchsorted(lattice, v), 1, max(1, lattice.size - 1))
        if lattice.size == 1:
            out[moved, j] = lattice[0]
            continue
        low, high = lattice[above - 1], lattice[above]
        up = rng.random(v.size) < (v - low) / (high - low)
        out[moved, j] = np.where(up, high, low)
    return out
