"""Numbers out of what users pass: lists, arrays, data frames with missing values."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fairprog.errors import DataError

__all__ = ["as_numbers"]


def as_numbers(values: ArrayLike, argument: str) -> NDArray[np.float64]:
    """Return values as a new float64 array; what is missing (None, pandas.NA, masked) is NaN.

    Raises
    ------
    DataError
        For text, dates, complex numbers and sparse matrices: none of them becomes a number
        silently. Of a data frame the columns are named.
    """
    try:
        return _converted(values)
    except (TypeError, ValueError) as error:
        reason = str(error).rstrip(".")
        names = _without_numbers(values)
    if names:
        listed = f"{names[:5]}"[1:-1] + (", ..." if len(names) > 5 else "")
        raise DataError(
            f"`{argument}` must be an array of numbers: column(s) {listed} hold none ({reason}). "
            "Encode them as numbers first, or leave them out.",
            argument=argument,
        )
    raise DataError(f"`{argument}` must be an array of numbers: {reason}.", argument=argument)


def _converted(values: Any) -> NDArray[np.float64]:
    if hasattr(values, "toarray"):
        raise TypeError("it is sparse; pass its `toarray()`")
    if isinstance(values, np.ma.MaskedArray):
        values = np.ma.filled(values.astype(np.float64), np.nan)
    array = np.asarray(values)
    if array.dtype.kind in "cmM":  # numpy would drop imaginary parts and count nanoseconds
        raise TypeError(f"its dtype is {array.dtype}")
    pandas = sys.modules.get("pandas")  # no pandas.NA unless it was imported
    if array.dtype.kind == "O" and pandas is not None:
        array = np.where(pandas.isna(array), np.nan, array)
    return np.array(array, dtype=np.float64)


def _without_numbers(values: Any) -> list[str]:
    """Return the columns of a data frame that cannot be converted."""
    pandas = sys.modules.get("pandas")
    if pandas is None or not isinstance(values, pandas.DataFrame):
        return []
    found = []
    for name, column in values.items():
        try:
            _converted(column)
        except (TypeError, ValueError):
            found.append(str(name))
    return found
