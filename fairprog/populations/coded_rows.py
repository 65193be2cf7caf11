"""Rows as they come in pieces: checked without copying, labels coded."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fairprog.errors import DataError
from fairprog.labels import encode, label_vector, plain, sorted_labels
from fairprog.numeric import as_numbers


def refuse_empty(X: NDArray[Any]) -> int:
    """Return the number of rows, which must not be zero."""
    if not len(X):
        raise DataError("`X` has no rows.", argument="X")
    return len(X)


def rows_of(X: ArrayLike) -> NDArray[Any]:
    """Return rows of numbers without copying or converting an array (NaN is found later)."""
    array = X if isinstance(X, np.ndarray) else np.asarray(X)
    if array.dtype.kind not in "fiub" or isinstance(X, np.ma.MaskedArray) or hasattr(X, "toarray"):
        array = as_numbers(X, "X")
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2 or not array.shape[1]:
        raise DataError(
            f"`X` must have shape (n, d) with at least one feature; its shape is {array.shape}.",
            argument="X",
        )
    return array


def codes_of(
    values: ArrayLike, known: tuple[Hashable, ...] | None, argument: str, n: int
) -> tuple[NDArray[np.intp], tuple[Hashable, ...]]:
    """Return the code of each label and the labels: the known ones, else those met."""
    if known is not None:
        return encode(values, known, argument, n), known
    array = label_vector(values, argument, n)
    if array.dtype.kind == "O":
        labels = sorted_labels(array.tolist())
        return encode(values, labels, argument, n), labels
    distinct, codes = np.unique(array, return_inverse=True)
    return codes, tuple(plain(v) for v in distinct)


def refuse_missing(X: NDArray[Any]) -> None:
    """Name the first entry that is not finite."""
    for start in range(0, len(X), 4096):
        bad = np.argwhere(~np.isfinite(X[start : start + 4096]))
        if len(bad):
            row, column = int(bad[0, 0]) + start, int(bad[0, 1])
            raise DataError(
                f"`X` must be finite; found {X[row, column]} in row {row}, column {column}.",
                argument="X",
            )
    raise DataError("The squares of `X` overflow; scale the features down.", argument="X")
