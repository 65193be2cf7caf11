"""Moments of dask arrays, gathered where their chunks are (extra: dask)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fairprog.errors import DataError


def gather_dask(empty: Any, X: Any, vectors: Sequence[Any]) -> Any:
    """Return `empty` plus the moments of the chunks of rows, merged in their order.

    `empty` are `Moments`; `vectors` are class, group and, if there are any, weights: rechunked to
    the rows of X.
    """
    import dask
    import dask.array as da

    X = da.asarray(X)
    X = (X[:, None] if X.ndim == 1 else X).rechunk({1: -1})
    vectors = [da.asarray(v) for v in vectors]
    names = ("y", "sensitive_features", "sample_weight")
    for name, v in zip(names, vectors, strict=False):
        if v.shape != X.shape[:1]:
            raise DataError(
                f"`{name}` has shape {v.shape}; needed is {X.shape[:1]}, one entry for each row "
                "of `X`.",
                argument=name,
            )
    vectors = [v.rechunk((X.chunks[0],)) for v in vectors]
    gather, add = dask.delayed(_gather), dask.delayed(_add)
    blocks = zip(X.to_delayed()[:, 0], *(v.to_delayed().ravel() for v in vectors), strict=True)
    total = dask.delayed(empty)
    for block in blocks:
        total = add(total, gather(type(empty), empty.covariance, *block))
    return total.compute()


def _gather(kind: Any, covariance: str, X: Any, y: Any, a: Any, weight: Any = None) -> Any:
    """Return the moments of one chunk (runs on a worker)."""
    return kind(covariance).partial_fit(X, y, sensitive_features=a, sample_weight=weight)


def _add(one: Any, other: Any) -> Any:
    """Return the sum of two (dask keeps what a task was given, so nothing is changed)."""
    fresh = type(one)(one.covariance, classes=one.classes, groups=one.groups)
    return fresh.merge(one).merge(other)
