"""Numbers out of what users pass: lists, arrays, data frames with missing values."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fairprog.errors import DataError

Numbers = NDArray[np.floating[Any]]
DUST = 1e-12  # of a number: less than what sums in another order differ by is no difference


def as_numbers(values: ArrayLike | None, argument: str) -> NDArray[np.float64]:
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


def without_dust(x: Numbers, preferred: Any = None) -> Numbers:
    """Return numbers in which those that differ by rounding only are the same.

    Neighbours among the distinct values are one where they differ by at most 1e-12 of their size
    (or 1e-15 of the largest): the smallest stands for all of them, or one of the `preferred`.

    Parameters
    ----------
    x : Array, shape (n,)
    preferred : boolean array, shape (n,), optional

    Examples
    --------
    >>> import numpy as np
    >>> without_dust(np.array([0.1 + 0.2, 0.3, 1.0])).tolist()
    [0.3, 0.3, 1.0]
    """

    def apart(values: Numbers) -> Numbers:
        near = DUST * np.abs(values[1:]) + 1e-3 * DUST * np.abs(values[[0, -1]]).max()
        return np.diff(values) - near

    ordered = np.sort(x)
    if x.size < 2 or not ((apart(ordered) <= 0.0) & (ordered[1:] > ordered[:-1])).any():
        return x
    values, place = np.unique(x, return_inverse=True)
    cluster = np.concatenate([[0], np.cumsum(apart(values) > 0.0)])
    stands = np.empty(cluster[-1] + 1)
    stands[cluster[::-1]] = values[::-1]
    if preferred is not None:
        stands[cluster[place[preferred]]] = x[preferred]
    return np.asarray(stands[cluster[place]])


def near(x: Numbers, values: Numbers) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Return the place of the nearest of sorted values, and where x is that one but for dust."""
    k = np.searchsorted(0.5 * (values[1:] + values[:-1]), x)
    off = np.abs(x - values[k])
    return k, off <= DUST * (1e3 * np.abs(values[k]) + np.abs(values[[0, -1]]).max())
