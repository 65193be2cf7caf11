"""What the fields of a file may hold: each is checked when it is read, and named where wrong.

Files come from strangers, too: what a file lacks, or has in another shape, must be an error at
`fp.load` and not a row that is silently left where it was.

A kind is ``float`` (finite), ``int`` (a count), ``Hashable`` (a label) or another type; ``{type:
kind}`` for a mapping and ``{key: kind, ...}`` for one with just these keys; ``[kind]`` for a list
and ``(kind, kind, ...)`` for one of just this length; a frozenset of the values there are; None;
or a function of the value.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any

import numpy as np

from fairprog.errors import DataError

Test = Callable[[Any], bool]


def fits(value: Any, kind: Any) -> bool:
    """Return whether a value is of a kind."""
    if kind is float:
        whole = type(value) is int and abs(value) < 2**53
        return whole or (isinstance(value, float) and abs(value) < np.inf)
    if kind is int:
        return type(value) is int and 0 <= value < 2**53
    if kind is Hashable:
        plain = isinstance(value, (str, bool)) or fits(value, float)
        return plain or (isinstance(value, tuple) and fits(value, [Hashable]))
    if isinstance(kind, type):
        return isinstance(value, kind)
    if isinstance(kind, dict):
        if not isinstance(value, Mapping):
            return False
        of = next(iter(kind), None)
        if isinstance(of, type):
            return all(fits(k, of) and fits(v, kind[of]) for k, v in value.items())
        return set(value) == set(kind) and all(fits(value[k], kind[k]) for k in kind)
    if isinstance(kind, (list, tuple)):
        if not isinstance(value, (list, tuple)):
            return False
        kinds = kind * len(value) if isinstance(kind, list) else kind
        return len(value) == len(kinds) and all(map(fits, value, kinds))
    if isinstance(kind, frozenset):
        return isinstance(value, Hashable) and value in kind
    return value is None if kind is None else bool(kind(value))


def either(*kinds: Any) -> Test:
    """Return a kind that is one of several."""
    return lambda value: any(fits(value, kind) for kind in kinds)


def least(low: float, high: float = np.inf) -> Test:
    """Return numbers of at least `low`, and at most `high`."""
    return lambda value: fits(value, float) and low <= value <= high


def array(*shape: int | None) -> Test:
    """Return numbers whose squares are finite, of a shape; None stands for any length.

    Without a shape, of any.
    """

    def test(value: Any) -> bool:
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiub":
            return False
        sizes = len(shape) == value.ndim and all(
            n is None or n == m for n, m in zip(shape, value.shape, strict=True)
        )
        return (sizes or (not shape and value.size > 0)) and bool((np.abs(value) < 1e150).all())

    return test


def increasing(value: Any) -> bool:
    """Return whether a value is a vector of increasing numbers."""
    return array(None)(value) and value.size > 0 and bool((np.diff(value) > 0).all())


def labels(value: Any) -> bool:
    """Return whether a value is a list of distinct labels."""
    return fits(value, [Hashable]) and 0 < len(value) == len(set(value))


def refuse(where: str) -> DataError:
    """Return what to raise for a field that does not fit."""
    said = " ".join(where.split())
    return DataError(f"It is not a file written by fairprog, or damaged: {said}.", argument="path")


def read(data: Any, where: str, kinds: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record's fields, each of its kind; several names may share one.

    A name that ends in "?" may be missing, as in older files, and is None then.

    Raises
    ------
    DataError
        Naming the first field that is missing, not known or of another kind.
    """
    if not isinstance(data, Mapping):
        raise refuse(f"`{where}` is no record of fields")
    left, out = dict(data), dict(data)
    for names, kind in kinds.items():
        for name in names.split():
            key = name.rstrip("?")
            if key not in left and key == name:
                raise refuse(f"`{where}` lacks the field {key!r}")
            value = left.pop(key, None)
            out.setdefault(key, None)
            if not fits(value, kind) and not (value is None and key != name):
                raise refuse(f"`{where}.{key}` cannot be {value!r:.80}")
    if left:
        raise refuse(f"`{where}` has no field {next(iter(left))!r:.60}")
    return out
