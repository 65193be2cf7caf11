"""Rows moved block by block: at the speed of one matrix product, in bounded memory.

A block of rows stays in the cache while it is gathered by group, multiplied, checked and put back.
Arrays and memory maps are read as they lie; anything else is converted once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from fairprog.codec import write_atomically
from fairprog.errors import DataError
from fairprog.labels import Array, Indices, check_features

Move = Callable[[Array, Array], Any]  # rows, and where the moved rows go: same shape and type
BLOCK_BYTES = 2**22  # of rows taken at once
FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def checked_dtype(dtype: DTypeLike | None, out: Any) -> np.dtype[Any]:
    """Return the type of the result and of the products: float64 unless asked for otherwise."""
    found = out.dtype if dtype is None and isinstance(out, np.ndarray) else np.dtype(dtype or "f8")
    if found not in FLOATS or (isinstance(out, np.ndarray) and out.dtype != found):
        raise DataError(
            f"`dtype` must be float32 or float64, and that of `out`; found {found}.",
            argument="dtype",
        )
    return found


def rows_as_they_lie(X: ArrayLike, dim: int) -> NDArray[Any]:
    """Return rows (n, dim); real arrays and memory maps are neither copied nor converted."""
    if not (isinstance(X, np.ndarray) and X.dtype.kind in "fiub"):
        return check_features(X, dim=dim)
    rows = X[:, None] if X.ndim == 1 else X
    if rows.ndim != 2 or rows.shape[1] != dim:
        check_features(np.empty((0, *rows.shape[1:])), dim=dim)  # says what is wrong
    return rows


def map_rows(
    X: NDArray[Any],
    group: Indices | None,
    moves: Sequence[Move | None],
    *,
    dtype: np.dtype[Any],
    out: NDArray[Any] | str | os.PathLike[str] | None = None,
    check: Callable[[Array], Any] | None = None,
) -> NDArray[Any]:
    """Return the rows moved, each by the function of its group.

    Parameters
    ----------
    X : array, shape (n, d)
        May be a memory map.
    group : Indices, shape (n,), or None
        Position of each row's function; None where there is one.
    moves : sequence of functions, or None for rows that stay as they are
    dtype : numpy.float32 or numpy.float64
        Of the result, and of the rows that functions are given.
    out : array of X's shape, or path, optional
        Where the rows go: an array, which may be X itself, or the .npy file that is written,
        atomically, and returned as a memory map. Default: a new array.
    check : function, optional
        Called with every block of rows, to raise a DataError.

    Raises
    ------
    DataError
        For values that are not finite, naming row and column; rows before it are in an `out`
        array by then, a file is not written at all. For an `out` that overlaps X.
    """
    if out is None:
        out = np.empty(X.shape, dtype)
    elif not isinstance(out, np.ndarray):
        return _into_file(X, group, moves, dtype, out, check)
    if out.shape != X.shape or not out.flags.writeable:
        raise DataError(
            f"`out` must be a writable array of shape {X.shape}; its shape is {out.shape}.",
            argument="out",
        )
    in_place = _same_memory(out, X)
    if not in_place and np.may_share_memory(out, X):
        raise DataError(
            "`out` overlaps `X`: rows would be read after they were overwritten. Give X itself or "
            "an array of its own.",
            argument="out",
        )
    size = max(1, BLOCK_BYTES // max(1, dtype.itemsize * X.shape[1]))
    gathered, moved = (np.empty((min(size, len(X)), X.shape[1]), dtype) for _ in range(2))
    for start in range(0, len(X), size):
        block = slice(start, start + size)
        rows, target = X[block], out[block]
        _refuse_missing(rows, start)
        if check is not None:
            _checked(check, rows, start)
        own = np.zeros(len(rows), np.intp) if group is None else group[block]
        for a, move in enumerate(moves):
            where = np.flatnonzero(own == a)
            n = len(where)
            if move is None:
                target[where] = rows[where]
            elif n:
                whole = n == len(rows)
                mine, into = gathered[:n], target if whole and not in_place else moved[:n]
                if whole and rows.dtype == dtype:
                    mine = np.ascontiguousarray(rows)
                elif rows.dtype == dtype:
                    np.take(rows, where, axis=0, out=mine, mode="clip")
                else:
                    mine[...] = rows[where]
                move(mine, into)
                if into is not target:
                    target[where] = into
    return out


def _same_memory(out: NDArray[Any], X: NDArray[Any]) -> bool:
    """Return whether two arrays are the same rows, entry for entry."""
    mine, theirs = out.__array_interface__, X.__array_interface__
    return mine["data"] == theirs["data"] and out.strides == X.strides and out.dtype == X.dtype


def _into_file(
    X: NDArray[Any],
    group: Indices | None,
    moves: Sequence[Move | None],
    dtype: np.dtype[Any],
    path: str | os.PathLike[str],
    check: Callable[[Array], Any] | None,
) -> NDArray[Any]:
    """Write the rows to a .npy file, all or nothing, and map it."""
    if Path(path).suffix != ".npy":
        raise DataError(
            f"`out` must be an array or a path that ends in .npy; found {str(path)!r}.",
            argument="out",
        )

    def write(temporary: Path) -> None:
        target = np.lib.format.open_memmap(temporary, mode="w+", dtype=dtype, shape=X.shape)
        map_rows(X, group, moves, dtype=dtype, out=target, check=check)
        target.flush()

    write_atomically(path, write)
    return np.load(path, mmap_mode="r")


def _refuse_missing(rows: NDArray[Any], start: int) -> None:
    """Raise a DataError naming the first value that is not finite."""
    if rows.dtype.kind != "f":
        return
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(rows.sum()):  # a finite sum has finite terms
            return
    bad = np.argwhere(~np.isfinite(rows))
    if len(bad):
        at = int(bad[0, 0]) + start, int(bad[0, 1])
        raise DataError(
            f"`X` must be finite; found {rows[bad[0, 0], bad[0, 1]]} at position {at} "
            f"({len(bad)} such entries).",
            argument="X",
        )


def _checked(check: Callable[[Array], Any], rows: NDArray[Any], start: int) -> None:
    try:
        check(rows.astype(np.float64, copy=False))
    except DataError as error:
        if not start:
            raise
        raise DataError(f"Counting rows from {start}: {error}", argument=error.argument) from error
