r"""Weighted moments of every cell in one pass, in blocks that suit BLAS.

Rows are centred on a point near their cell's mean before anything is multiplied, so that float32
products lose nothing to cancellation; sums over blocks are float64. Two sets of rows are merged by

.. math:: M = M_1 + M_2 + \frac{n_1 n_2}{n_1 + n_2}(\bar x_1 - \bar x_2)(\bar x_1 - \bar x_2)'

(Chan, Golub and LeVeque, 1983).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairprog.labels import Array, Indices

__all__ = ["between", "stream_moments"]

WINDOW_BYTES = 2**28  # of consecutive rows whose cells are gathered together
BLOCK_BYTES = 2**21  # of centred rows: they stay in the cache between the passes over them
SAMPLE = 64  # rows, evenly spaced, whose mean is the centre of a cell


def stream_moments(
    X: NDArray[Any],
    cell: Indices,
    weight: Array | None,
    slot: Indices,
    dtype: type[np.floating[Any]],
    diagonal: bool = False,
) -> tuple[Indices, Array, Array, Array]:
    """Return the moments of every cell.

    Parameters
    ----------
    X : array, shape (n, d)
        Any real type; may be a memory map, which is read in order, window by window.
    cell : Indices, shape (n,)
        The cell of each row.
    weight : Array, shape (n,), or None
        Nonnegative; rows of weight zero are not counted. None means ones.
    slot : Indices, shape (n_cells,)
        Where each cell's scatter is summed: its own place, or one it shares with other cells.
    dtype : numpy.float32 or numpy.float64
        Type of the products within a block.
    diagonal : bool
        Keep the diagonals of the scatters only, shape (n_slots, d).

    Returns
    -------
    count : Indices, shape (n_cells,)
    mass : Array, shape (n_cells,)
        Sums of weights.
    mean : Array, shape (n_cells, d)
    scatter : Array, shape (n_slots, d, d)
        Weighted sums of (x - mean)(x - mean)', each row with the mean of its own cell.
    """
    n, d = X.shape
    n_cells = len(slot)
    if weight is not None:
        cell = np.where(weight > 0, cell, -1)
    window = max(1, WINDOW_BYTES // max(1, X.itemsize * d))
    size = max(32, BLOCK_BYTES // (np.dtype(dtype).itemsize * d))
    room = np.empty((min(size, n), d), dtype=dtype)
    ones = np.ones(len(room), dtype)
    count, mass = np.zeros(n_cells, np.intp), np.zeros(n_cells)
    center = _centers(X, cell, n_cells, np.result_type(X.dtype, dtype))
    total = np.zeros((n_cells, d))
    scatter = np.zeros((int(slot.max()) + 1, d) if diagonal else (int(slot.max()) + 1, d, d))
    for start in range(0, n, window):
        rows = X[start : start + window]
        for c, where in _by_cell(cell[start : start + window], n_cells):
            for low in range(0, len(where), size):
                block = where[low : low + size]
                Z = room[: len(block)]
                np.subtract(rows[block], center[c], out=Z, casting="same_kind")
                root = ones[: len(block)]
                if weight is not None:
                    w = weight[start + block]
                    root = np.sqrt(w).astype(dtype)
                    Z *= root[:, None]
                    mass[c] += w.sum()
                count[c] += len(block)
                total[c] += root @ Z
                scatter[slot[c]] += np.einsum("nj,nj->j", Z, Z) if diagonal else Z.T @ Z
    if weight is None:
        mass = count.astype(float)
    shift = total / np.where(mass > 0, mass, 1.0)[:, None]
    for c in range(n_cells):
        scatter[slot[c]] -= between(mass[c], shift[c], diagonal)
    return count, mass, center + shift, scatter


def between(mass: float, gap: Array, diagonal: bool) -> Array:
    """Return mass * gap gap' (or its diagonal): the scatter between two centres."""
    out: Array = mass * gap**2 if diagonal else np.outer(mass * gap, gap)
    return out


def _by_cell(cell: Indices, n_cells: int) -> list[tuple[int, Indices]]:
    """Return (cell, its rows in order) for every cell that occurs; -1 is none."""
    order = np.argsort(cell.astype(np.min_scalar_type(-n_cells)), kind="stable")
    edges = np.searchsorted(cell[order], np.arange(n_cells + 1))
    return [(c, order[edges[c] : edges[c + 1]]) for c in range(n_cells) if edges[c] < edges[c + 1]]


def _centers(X: NDArray[Any], cell: Indices, n_cells: int, dtype: Any) -> NDArray[Any]:
    """Return a point near the mean of every cell: the mean of a few rows; zero if it has none."""
    out = np.zeros((n_cells, X.shape[1]), dtype)
    for c, rows in _by_cell(cell, n_cells):
        spaced = rows[:: max(1, len(rows) // SAMPLE)]
        out[c] = X[spaced].mean(axis=0, dtype=np.float64)
    return out
