"""Tables of counted scores: what a GROUP BY returns, Arrow, and dask.

A line is one score, or one bin, of one class and group. Of rows without weights everything that is
added up is a whole number or a multiple of :math:`2^{-53}` that float64 holds exactly, so that the
sum is the same to the bit wherever and in whichever order pieces are merged.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fairprog.errors import DataError
from fairprog.labels import Array, check_finite
from fairprog.populations.coded_rows import codes_of
from fairprog.populations.table_chunks import values_of

PARTS = ("sum", "sum_fine", "sum_finest")
GRIDS = (2.0**11, 2.0**32, 2.0**53)  # 21 bits each: 2^31 parts of scores below 1,024 add exactly


def split(score: Array) -> list[Array]:
    """Return parts of scores on ever finer grids; what is below the last is left out."""
    parts, rest = [], score
    for grid in GRIDS:
        parts.append(np.floor(rest * grid) / grid)
        rest = rest - parts[-1]
    return parts


def summed(key: Array, *columns: Array) -> tuple[Array, ...]:
    """Return distinct keys and the sums of every column over each."""
    distinct, inverse = np.unique(key, return_inverse=True)
    return distinct, *(np.bincount(inverse, c, distinct.size).astype(float) for c in columns)


def to_arrow(counts: Any) -> Any:
    """Return the lines of `ScoreCounts` as an Arrow table; see there."""
    import pyarrow as pa

    lines: dict[str, list[Any]] = {}
    for (label, group), (key, mass, *parts) in counts._cells.items():
        if not key.size:
            continue
        first = (np.arange(key.size) == 0) * 1.0
        total = sum(parts) if parts else key * mass
        own = {"score": total / mass, "class": [label] * key.size, "group": [group] * key.size}
        own |= {"weight": mass, "rows": first * counts._rows[label, group]}
        own |= {"squares": first * counts._squares * (not lines)}
        if parts:
            own |= {"bin": key, **dict(zip(PARTS, parts, strict=True))}
        else:
            own["score"] = key
        for name, column in own.items():
            lines.setdefault(name, []).extend(column)
    try:
        return pa.table(lines)
    except pa.ArrowException as error:
        raise DataError(
            f"Labels of an Arrow column are of one type: {error}", argument="classes"
        ) from error


def add_table(counts: Any, table: Any, names: dict[str, str]) -> None:
    """Add the lines of a table to `ScoreCounts`; see there."""
    schema = getattr(table, "schema", None)
    known = {str(c) for c in getattr(schema, "names", getattr(table, "columns", ()))}
    for argument, name in names.items():
        if name not in known:
            raise DataError(
                f"`{argument}` names the column {name!r}; the table has {sorted(known)}.",
                argument=argument,
            )

    def column(name: str, default: Any = None) -> Array:
        if name not in known and default is not None:
            return np.asarray(default)
        return check_finite(values_of(table[name]), name)

    score, rows = column(names["score"]), column(names["rows"])
    y, classes = codes_of(values_of(table[names["y"]]), counts.classes, "y", len(score))
    labels = values_of(table[names["sensitive_features"]])
    a, groups = codes_of(labels, counts.groups, "sensitive_features", len(score))
    weight = column("weight", rows)
    if min(rows.min(initial=0.0), weight.min(initial=0.0)) < 0:
        raise DataError(f"`{names['rows']}` and weights must not be negative.", argument="rows")
    if counts.edges is None:
        key, parts = score, []
    else:
        key = column("bin", np.searchsorted(counts.edges, score, "right") * 1.0)
        means = [weight * part for part in split(score)]
        parts = [column(name, mean) for name, mean in zip(PARTS, means, strict=True)]
    counts._squares += float(column("squares", weight**2 / np.maximum(rows, 1.0)).sum())
    for i, label in enumerate(classes):
        for g, group in enumerate(groups):
            own = (y == i) & (a == g) & (weight > 0)
            lines = summed(key[own], weight[own], *(part[own] for part in parts))
            counts._add((label, group), lines, float(rows[own].sum()))


def gather_dask(empty: Any, vectors: list[Any]) -> Any:
    """Return `empty` plus the counts of every chunk of dask arrays, merged in their order."""
    import dask
    import dask.array as da

    score = da.asarray(vectors[0])
    arrays = [score, *(da.asarray(v).rechunk(score.chunks) for v in vectors[1:])]
    gather, add = dask.delayed(_gather), dask.delayed(_add)
    pieces = [
        gather(empty, *block)
        for block in zip(*(x.to_delayed().ravel() for x in arrays), strict=True)
    ]
    while len(pieces) > 1:  # in pairs: no worker holds more than two
        pairs = zip(pieces[::2], [*pieces[1::2], None], strict=False)
        pieces = [one if other is None else add(empty, one, other) for one, other in pairs]
    return add(empty, pieces[0]).compute() if pieces else empty


def _gather(empty: Any, s: Any, y: Any, a: Any, weight: Any = None) -> Any:
    """Return the counts of one chunk (runs on a worker)."""
    return empty.fresh().partial_fit(s, y, sensitive_features=a, sample_weight=weight)


def _add(empty: Any, *pieces: Any) -> Any:
    """Return the sum of pieces, which stay as they are."""
    out = empty.fresh()
    for piece in pieces:
        out.merge(piece)
    return out
