r"""Weighted moments of every cell in one pass, in blocks that suit BLAS.

Rows are centred on a point near their cell's mean before anything is multiplied, so that float32
products lose nothing to cancellation; sums over blocks are float64. Two sets of rows are merged by

.. math:: M = M_1 + M_2 + \frac{n_1 n_2}{n_1 + n_2}(\bar x_1 - \bar x_2)(\bar x_1 - \bar x_2)'

(Chan, Golub and LeVeque, 1983).

Products of float32 rows are float32 wherever these tell how much the rows vary in EVERY direction.
At unit variances their rounding moves a scatter by about 1e-6 at most (measured, 16 to 768
features), so a scatter whose smallest eigenvalue is above 1e-3 is right to one part in a thousand
along every direction, and so are sums of such scatters. After a layer norm one direction does not
vary at all, and float32 gives it a variance of either sign: weak directions that all such scatters
have in common, if they are few, are summed once more in float64, S v and nothing else; any other
scatter is, whole.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairprog.kernels.algebra.blas import cholesky
from fairprog.labels import Array, Indices

WINDOW_BYTES = 2**28  # of consecutive rows whose cells are gathered together
BLOCK_BYTES = 2**21  # of centred rows: they stay in the cache between the passes over them
SAMPLE = 64  # rows, evenly spaced, whose mean is the centre of a cell
SINGLE = (np.dtype(np.float32), np.dtype(np.float16))
RESOLVED = 1e-3  # least eigenvalue, at unit variances, that float32 products are trusted with
FEW = 1 / 16  # of the features: as many directions are summed once more by themselves
ENOUGH = 4  # rows per feature from which on float32 products save time, the check included


def stream_moments(
    X: NDArray[Any], cell: Indices, weight: Array | None, slot: Indices, diagonal: bool = False
) -> tuple[Indices, Array, Array, Array]:
    """Return the moments of every cell.

    Parameters
    ----------
    X : array, shape (n, d)
        Any real type; may be a memory map, which is read in order, window by window: once, or
        twice where float32 products turn out to be too coarse.
    cell : Indices, shape (n,)
        The cell of each row.
    weight : Array, shape (n,), or None
        Nonnegative; rows of weight zero are not counted. None means ones.
    slot : Indices, shape (n_cells,)
        Where each cell's scatter is summed: its own place, or one it shares with other cells.
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
    if weight is not None:
        cell = np.where(weight > 0, cell, -1)
    d, n_slots = X.shape[1], int(slot.max()) + 1
    single = np.full(n_slots, X.dtype in SINGLE)
    scatter = np.zeros((n_slots, d) if diagonal else (n_slots, d, d))
    if diagonal:  # of variances alone nothing cancels
        return *_add(X, cell, weight, slot, single, scatter), scatter
    rows = np.bincount(cell + 1, minlength=len(slot) + 1)[1:]
    single &= np.bincount(slot, rows, n_slots) >= ENOUGH * d
    count, mass, mean = _add(X, cell, weight, slot, single, scatter)
    coarse = np.array([s and not _resolves(S) for s, S in zip(single, scatter, strict=True)])
    if coarse.any():
        coarse &= ~_refined(X, cell, weight, slot, coarse, mean, scatter)
    if coarse.any():
        scatter[coarse], again = 0.0, coarse[slot]
        cell = np.where((cell >= 0) & again[cell], cell, -1)
        mean[again] = _add(X, cell, weight, slot, single & ~coarse, scatter)[2][again]
    return count, mass, mean, scatter


def _refined(
    X: NDArray[Any],
    cell: Indices,
    weight: Array | None,
    slot: Indices,
    coarse: NDArray[np.bool_],
    mean: Array,
    scatter: Array,
) -> NDArray[np.bool_]:
    """Sum the weak directions of coarse scatters in float64; say of which slots that is enough.

    At unit variances a scatter S becomes (I - P) S (I - P) + P S + S P - P S P, P the projection
    on the weak directions, with S in the last three terms in float64: no error of the directions
    themselves, which are known from float32, comes in. Means, too, become those of float64.
    """
    done = np.zeros(len(scatter), bool)
    size = np.einsum("sjj->s", scatter)
    pooled = sum(scatter[s] / size[s] for s in np.flatnonzero(coarse))
    variances = np.diagonal(pooled).copy()
    if not (np.isfinite(pooled).all() and (variances > 0).all()):
        return done
    unit = np.sqrt(variances)  # one for all: what is weak in all is one direction of the features
    frame = np.outer(unit, unit)
    values, V = np.linalg.eigh(pooled / frame)
    V = V[:, values < RESOLVED]
    if not 0 < V.shape[1] <= FEW * len(V):
        return done
    found, total, mass = np.zeros((len(slot), *V.shape)), np.zeros_like(mean), np.zeros(len(slot))
    W = V / unit[:, None]
    room = _room(len(X), len(V), np.float64)
    for start in range(0, len(X), len(room)):
        rows = X[start : start + len(room)]
        for c, where in _by_cell(cell[start : start + len(room)], len(slot)):
            if coarse[slot[c]]:
                Z = np.subtract(rows[where], mean[c], out=room[: len(where)])
                w = np.ones(len(where)) if weight is None else weight[start + where]
                found[c] += Z.T @ (w[:, None] * (Z @ W))
                total[c] += w @ Z
                mass[c] += w.sum()
    shift = total / np.where(mass > 0, mass, 1.0)[:, None]
    mean += shift
    for s in np.flatnonzero(coarse):
        own = slot == s
        within = found[own] - np.einsum("cj,cm->cjm", total[own], shift[own] @ W)
        S, T = scatter[s] / frame, within.sum(axis=0) / unit[:, None]
        R = S @ V - T  # what float32 made of S V, less what it is
        S = S - R @ V.T - V @ R.T + V @ (V.T @ R) @ V.T
        scatter[s] = S * frame
        done[s] = _resolves((S + size[s] * V @ V.T) * frame)
    return done


def _resolves(scatter: Array) -> bool:
    """Return whether, at unit variances, no eigenvalue of the columns that vary is too small.

    With variances v that is to say that S - RESOLVED diag(v) has a Cholesky factor.
    """
    variances = np.diagonal(scatter)
    if not np.isfinite(variances).all():  # squares that overflow float32 may fit in float64
        return False
    less = scatter.copy()
    np.fill_diagonal(less, np.where(variances > 0, (1.0 - RESOLVED) * variances, 1.0))
    try:
        cholesky(less, overwrite=True)
    except np.linalg.LinAlgError:
        return False
    return True


def _add(
    X: NDArray[Any],
    cell: Indices,
    weight: Array | None,
    slot: Indices,
    single: NDArray[np.bool_],
    scatter: Array,
) -> tuple[Indices, Array, Array]:
    """Add to the scatters and return counts, masses and means.

    Products are float32 for the slots that are `single`, else float64.
    """
    n, d = X.shape
    n_cells = len(slot)
    window = max(1, WINDOW_BYTES // max(1, X.itemsize * d))
    rooms = {dtype: _room(n, d, dtype) for dtype in map(_kind, set(single.tolist()))}
    count, mass = np.zeros(n_cells, np.intp), np.zeros(n_cells)
    center = _centers(X, cell, n_cells)
    center[single[slot]] = center[single[slot]].astype(np.float32)  # what is subtracted from rows
    total = np.zeros((n_cells, d))
    diagonal = scatter.ndim == 2
    for start in range(0, n, window):
        rows = X[start : start + window]
        for c, where in _by_cell(cell[start : start + window], n_cells):
            dtype = _kind(single[slot[c]])
            room, near = rooms[dtype], center[c].astype(dtype)
            for low in range(0, len(where), len(room)):
                block = where[low : low + len(room)]
                Z = room[: len(block)]
                np.subtract(rows[block], near, out=Z, casting="same_kind")
                root = np.ones(len(block), dtype)
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
    for c in np.flatnonzero(mass).tolist():
        scatter[slot[c]] -= between(mass[c], shift[c], diagonal)
    return count, mass, center + shift


def _kind(single: bool) -> type[np.floating[Any]]:
    return np.float32 if single else np.float64


def _room(n: int, d: int, dtype: type[np.floating[Any]]) -> NDArray[Any]:
    """Return where a block of centred rows is kept."""
    size = max(32, BLOCK_BYTES // (np.dtype(dtype).itemsize * d))
    return np.empty((min(size, n), d), dtype)


def between(mass: float, gap: Array, diagonal: bool) -> Array:
    """Return mass * gap gap' (or its diagonal): the scatter between two centres."""
    return mass * gap**2 if diagonal else np.outer(mass * gap, gap)


def _by_cell(cell: Indices, n_cells: int) -> list[tuple[int, Indices]]:
    """Return (cell, its rows in order) for every cell that occurs; -1 is none."""
    order = np.argsort(cell.astype(np.min_scalar_type(-n_cells)), kind="stable")
    edges = np.searchsorted(cell[order], np.arange(n_cells + 1))
    return [(c, order[edges[c] : edges[c + 1]]) for c in range(n_cells) if edges[c] < edges[c + 1]]


def _centers(X: NDArray[Any], cell: Indices, n_cells: int) -> Array:
    """Return a point near the mean of every cell: the mean of a few rows; zero if it has none."""
    out = np.zeros((n_cells, X.shape[1]))
    for c, rows in _by_cell(cell, n_cells):
        spaced = rows[:: max(1, len(rows) // SAMPLE)]
        out[c] = X[spaced].mean(axis=0, dtype=np.float64)
    return out
