"""Class and group labels, and the checks every array argument goes through."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Hashable, Iterable, Sequence
from datetime import timedelta
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fairprog.errors import DataError, ModelError
from fairprog.numeric import as_numbers

LARGEST_ARRAY = 2**30  # bytes of a dense matrix that is formed from a diagonal one

Array = NDArray[np.floating[Any]]  # what numpy.linalg's stubs return
Indices = NDArray[np.intp]

UNNAMED = ("key", "X")  # whose values name neither classes nor groups
TIMES = (np.datetime64, np.timedelta64, timedelta)
CROSS = "frame.astype(str).agg(' & '.join, axis=1)"
MEND = "Drop these rows everywhere, or fill the values in: NaN is not read as a value."


def plain(label: Any) -> Hashable:
    """Return `label` as a plain Python value (numpy scalars are unwrapped)."""
    return label.item() if isinstance(label, np.generic) else label


def as_labels(labels: Iterable[Any] | None, count: int, argument: str) -> tuple[Hashable, ...]:
    """Check a list of class or group labels; None means 0, 1, ..., count - 1.

    Raises
    ------
    DataError
        If their number is wrong or two are equal.
    ModelError
        If two different labels print alike (addresses such as ``offset[b,1]`` use ``str``).
    """
    if labels is None:
        return tuple(range(count))
    try:
        out = tuple(plain(label) for label in labels)
        hash(out)
    except TypeError:
        raise DataError(
            f"`{argument}` must be a list of hashable labels; found {labels!r}.", argument=argument
        ) from None
    if len(out) != count:
        raise DataError(
            f"`{argument}` lists {len(out)} labels {list(out)} but the arrays have {count}.",
            argument=argument,
        )
    if len(set(out)) != count:
        raise DataError(f"`{argument}` lists a label twice: {list(out)}.", argument=argument)
    if len({str(label) for label in out}) != count:
        raise ModelError(
            f"`{argument}` has two labels that print alike: {[repr(x) for x in out]}; conditions "
            "are addressed by str(label), so rename one.",
            argument=argument,
        )
    return out


def label_array(labels: Sequence[Hashable]) -> NDArray[Any]:
    """Return labels as an array that keeps them apart (of objects where types differ)."""
    kinds = {type(label) for label in labels}
    if len(kinds) == 1 and kinds <= {bool, int, float, str}:
        return np.array(labels)
    out = np.empty(len(labels), dtype=object)
    out[:] = list(labels)
    return out


def sorted_labels(values: Iterable[Any]) -> tuple[Hashable, ...]:
    """Return the distinct labels, sorted (by type name and text where they do not compare)."""
    distinct = {plain(v) for v in values}
    try:
        return tuple(sorted(distinct))  # type: ignore[type-var]
    except TypeError:
        return tuple(sorted(distinct, key=lambda v: (type(v).__name__, str(v))))


def index_of(labels: Sequence[Hashable], label: Any, argument: str) -> int:
    """Return the position of `label`; DataError naming the known labels if absent."""
    try:
        return list(labels).index(plain(label))
    except ValueError:
        raise DataError(
            f"`{argument}` names {label!r}, which is not one of {list(labels)}.", argument=argument
        ) from None


def label_order(
    given: Iterable[Any] | None, found: NDArray[Any], argument: str
) -> tuple[Hashable, ...]:
    """Return the label order: the given one, else the labels found, sorted."""
    if given is None:
        return sorted_labels((found if found.dtype.kind == "O" else np.unique(found)).tolist())
    labels = tuple(given)
    return as_labels(labels, len(labels), argument)


def is_missing(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which entries are None, NaN, NaT or infinite (labels may be any objects)."""
    if values.dtype.kind in "fc":
        return ~np.isfinite(values)
    if values.dtype.kind in "mM":
        return np.isnat(values)
    if values.dtype.kind != "O":
        return np.zeros(values.shape, dtype=bool)
    # None, NaN, NaT and pandas.NA are told by not being equal to themselves (or by being None)
    return np.array([v is None or not _same(v) for v in values], dtype=bool)


def _same(value: Any) -> bool:
    try:
        return bool(value == value)  # NaN is the value that differs from itself
    except TypeError:  # pandas.NA has no truth value
        return False


def encode(
    values: ArrayLike | None,
    labels: Sequence[Hashable],
    argument: str,
    n: int | None = None,
    distinct: NDArray[Any] | None = None,
) -> Indices:
    """Return the integer code of each entry of a label vector, whose sorted labels may be known.

    Several columns are crossed where the labels are tuples.

    Raises
    ------
    DataError
        If the argument is missing, has the wrong length, holds missing values, or a label
        that is not in `labels`.
    """
    array = label_vector(tupled(values, labels, argument), argument, n)
    position = {label: k for k, label in enumerate(labels)}
    if array.dtype.kind == "O":
        codes = np.array([position.get(plain(v), -1) for v in array], dtype=np.intp)
    else:
        distinct = np.unique(array) if distinct is None else distinct
        lookup = np.array([position.get(plain(v), -1) for v in distinct], dtype=np.intp)
        place = np.searchsorted(distinct, array)  # of few labels faster than a sort of the rows
        codes = lookup[place] if distinct.size else np.zeros(0, dtype=np.intp)
    unknown = np.flatnonzero(codes < 0)
    if unknown.size:
        found = sorted_labels(array[unknown].tolist())
        raise DataError(
            f"`{argument}` has label(s) {list(found)[:5]} not seen before "
            f"({unknown.size} rows, the first in row {unknown[0]}); known are {list(labels)}.",
            argument=argument,
        )
    return codes


def crossed(columns: Any, argument: str, n: int | None = None) -> NDArray[Any]:
    """Return the rows of several label columns as tuples, shape (n,)."""
    table = np.asarray(unmasked(columns), dtype=object)
    parts = [label_vector(column, argument, n) for column in table.T]
    return label_array([tuple(map(plain, row)) for row in zip(*parts, strict=True)])


def tupled(values: Any, labels: Iterable[Any] | None, argument: str) -> Any:
    """Return the rows of several columns as tuples, where the labels are some; else as given.

    Raises
    ------
    DataError
        For a data frame whose columns hold the same labels: their order is not known here.
    """
    known = [v for v in labels or () if isinstance(v, tuple)]
    shape = _as_vector(values).shape if known else ()
    if len(shape) != 2 or {len(v) for v in known} != {shape[1]}:
        return values
    held = [set(own) for own in zip(*known, strict=True)]
    if hasattr(values, "iloc") and len(set().union(*held)) < sum(map(len, held)):
        raise DataError(
            f"Columns of `{argument}` hold the same labels ({list(map(str, values.columns))}), "
            "and their names at the fit are not known here: pass them in the order of the fit, by "
            ".to_numpy(), or use the step that was fitted.",
            argument=argument,
        )
    return crossed(values, argument)


def _as_vector(values: ArrayLike) -> NDArray[Any]:
    try:
        array = np.asarray(unmasked(values))
    except ValueError:  # labels of different lengths, such as tuples
        return label_array(list(values))  # type: ignore[arg-type]
    return array.astype(object) if array.dtype.kind == "T" else array  # numpy's own text


def unmasked(values: Any) -> Any:
    """Return a masked array as one of objects, None where it is masked; all else as it is."""
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        out = np.array(values.data, dtype=object)
        out[np.ma.getmaskarray(values)] = None
        return out
    return values


def label_vector(values: ArrayLike | None, argument: str, n: int | None = None) -> NDArray[Any]:
    """Check a vector of labels: present, one-dimensional, right length, nothing missing."""
    if values is None:
        raise DataError(f"`{argument}` is required and was not given.", argument=argument)
    array = _as_vector(values)
    if array.dtype.kind in "US" and not isinstance(values, np.ndarray):
        array = np.asarray(values, dtype=object)  # keep mixed labels such as ["a", 1] apart
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        cross = array.ndim == 2 and argument == "sensitive_features"
        raise DataError(
            f"`{argument}` must be one-dimensional; its shape is {array.shape}."
            + (f" Cross its columns first, such as by {CROSS}." if cross else ""),
            argument=argument,
        )
    if n is not None and array.shape[0] != n:
        raise DataError(
            f"`{argument}` has {array.shape[0]} entries but there are {n} rows.", argument=argument
        )
    missing = np.flatnonzero(is_missing(array))
    if missing.size:
        raise DataError(
            f"`{argument}` has {missing.size} missing value(s), the first in row {missing[0]}. "
            + MEND,
            argument=argument,
        )
    if argument not in UNNAMED:
        _refuse_dates(array, argument)
    return array


def _refuse_dates(array: NDArray[Any], argument: str) -> None:
    """Refuse dates and times as labels: numpy, pandas and files read them differently."""
    dates = array.dtype.kind in "mM"
    if not dates and array.dtype.kind == "O":
        dates = any(hasattr(v, "strftime") or isinstance(v, TIMES) for v in array)
    if dates:
        raise DataError(
            f"`{argument}` holds dates, such as {array[0]!s}: a label is text, a number or a "
            "tuple of them. Give their text, as by .astype(str), or what makes them classes or "
            "groups, such as the year.",
            argument=argument,
        )


def check_finite(
    values: ArrayLike | None,
    argument: str,
    shape: tuple[int, ...] | None = None,
    rows: bool = False,
) -> Array:
    """Return a float array; DataError on NaN, infinity, non-numbers or a wrong shape.

    Where the first axis are rows of data the error says what to do about missing ones.
    """
    if values is None:
        raise DataError(f"`{argument}` is required and was not given.", argument=argument)
    array = as_numbers(values, argument)
    if shape is not None and array.shape != shape:
        raise DataError(
            f"`{argument}` has shape {array.shape}; needed is {shape}.", argument=argument
        )
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        at = tuple(int(k) for k in bad[0])
        names = column_names(values) if array.ndim == 2 else None
        where = f"position {at}" if names is None else f"row {at[0]}, column {names[at[1]]!r}"
        raise DataError(
            f"`{argument}` must be finite; found {array[at]} at {where} "
            f"({len(bad)} such entries)." + (f" {MEND}" if rows else ""),
            argument=argument,
        )
    return array


def check_features(X: ArrayLike, argument: str = "X", dim: int | None = None) -> Array:
    """Return features as a finite (n, d) float array; shape (n,) is one feature."""
    array = check_finite(X, argument, rows=True)
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2 or not array.shape[1]:
        needed = "(n, d)" if array.ndim != 2 else "(n, d) with at least one feature"
        raise DataError(
            f"`{argument}` must have shape {needed}; its shape is {array.shape}.",
            argument=argument,
        )
    if dim is not None and array.shape[1] != dim:
        raise DataError(
            f"`{argument}` has {array.shape[1]} features; the population has {dim}.",
            argument=argument,
        )
    return array


def as_given(rows: Array, X: Any) -> Any:
    """Return moved rows (n, d) as X was given.

    A pandas DataFrame with its index and columns, a Series with its index and name, shape (n,)
    for other one-dimensional X, else `rows` themselves.
    """
    out = rows[:, 0] if np.ndim(X) == 1 else rows
    pandas = sys.modules.get("pandas")  # X is of pandas only if it was imported
    if pandas is not None and isinstance(X, pandas.DataFrame):
        return pandas.DataFrame(out, index=X.index, columns=X.columns)
    if pandas is not None and isinstance(X, pandas.Series):
        return pandas.Series(out, index=X.index, name=X.name)
    return out


def column_names(X: Any, argument: str = "X") -> tuple[str, ...] | None:
    """Return the column names of a data frame, None for anything else; DataError on equal ones.

    Examples
    --------
    >>> import pandas as pd
    >>> from fairprog.labels import column_names
    >>> column_names(pd.DataFrame({"age": [30], "pay": [2.5]}))
    ('age', 'pay')
    """
    columns = getattr(X, "columns", None)
    if columns is None:
        return None
    names = tuple(str(name) for name in columns)
    if len(set(names)) < len(names):
        twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
        raise DataError(
            f"`{argument}` has several columns of one name: {twice[:5]}. Columns are known by "
            f"their names: rename them, or leave repetitions out by "
            f"{argument}.loc[:, ~{argument}.columns.duplicated()].",
            argument=argument,
        )
    return names


def check_weights(weights: ArrayLike | None, n: int, argument: str = "sample_weight") -> Array:
    """Return nonnegative finite weights of shape (n,); None means ones."""
    if weights is None:
        return np.ones(n)
    array = check_finite(weights, argument, (n,))
    if np.any(array < 0):
        raise DataError(
            f"`{argument}` must be nonnegative; the smallest entry is {array.min():.6g}.",
            argument=argument,
        )
    if n and not array.sum() > 0:
        raise DataError(f"`{argument}` must have a positive sum; it is zero.", argument=argument)
    return array


def check_number(value: Any, argument: str, minimum: float = 0.0) -> float:
    """Return a finite float, at least `minimum`."""
    try:
        number = np.nan if isinstance(value, (bool, np.bool_)) else float(value)
    except (TypeError, ValueError):
        number = np.nan
    if not (np.isfinite(number) and number >= minimum):
        raise DataError(
            f"`{argument}` must be a finite number >= {minimum:g}; found {value!r}.",
            argument=argument,
        )
    return number


def check_count(value: Any, argument: str, minimum: int = 0) -> int:
    """Return a whole number, at least `minimum`."""
    if check_number(value, argument, minimum) % 1:
        raise DataError(
            f"`{argument}` must be a whole number >= {minimum}; found {value!r}.",
            argument=argument,
        )
    return int(value)


def check_random_state(value: Any) -> np.random.Generator:
    """Return numpy's generator of a seed, or the generator that is given."""
    try:
        return np.random.default_rng(value)
    except (TypeError, ValueError):
        raise DataError(
            f"`random_state` must be None, a whole number or a numpy Generator; found {value!r}.",
            argument="random_state",
        ) from None


def printable(text: str, names: Iterable[Any] = ()) -> str:
    r"""Return text with control characters escaped; of names that occur in it, line ends as well.

    A terminal obeys what a group may be called, and a page with such a character is none.

    Examples
    --------
    >>> from fairprog.labels import printable
    >>> printable("groups: a\nb\x1b[2J", ["a\nb"])
    'groups: a\\nb\\x1b[2J'
    """

    def escaped(text: str, kept: str = "") -> str:
        control = {c for c in text if unicodedata.category(c)[0] == "C" and c not in kept}
        return text.translate({ord(c): repr(c)[1:-1] for c in control})

    for name in sorted({str(n) for n in names}, key=len, reverse=True):
        text = text.replace(name, escaped(name))
    return escaped(text, "\n")


def address(name: str, *labels: Hashable) -> str:
    """Return the address of a condition: ``address("offset", "b", 1)`` is ``'offset[b,1]'``."""
    return f"{name}[{','.join(printable(str(label), [label]) for label in labels)}]"


def addresses(
    names: Iterable[str], group: Hashable, classes: Iterable[Hashable]
) -> list[dict[str, str]]:
    """Return the address of every name for a group, by class."""
    known = tuple(names)
    return [{name: address(name, group, c) for name in known} for c in classes]


def refuse_large(shape: tuple[int, ...], what: str, instead: str) -> None:
    """Raise a ModelError instead of forming a dense array of more than a gibibyte."""
    size = 8.0 * float(np.prod([float(n) for n in shape]))
    if size > LARGEST_ARRAY:
        raise ModelError(
            f"{what} would be a dense array of shape {shape}, {size / 2**30:.3g} GiB; {instead}."
        )
