"""Moments as lines of an Arrow table: pieces that an engine carries from its workers."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fairprog.codec import load
from fairprog.errors import DataError
from fairprog.populations.table_chunks import values_of

COLUMN = "moments"


def to_arrow(moments: Any) -> Any:
    """Return a pyarrow.Table of one line, which holds what ``moments.save`` writes."""
    import pyarrow as pa

    with TemporaryDirectory() as folder:
        path = Path(folder) / "piece.npz"
        moments.save(path)
        return pa.table({COLUMN: pa.array([path.read_bytes()], pa.binary())})


def merge_lines(moments: Any, table: Any) -> None:
    """Add the pieces of a table to `moments`, in the order of its lines."""
    schema = getattr(table, "schema", None)
    names = list(getattr(schema, "names", getattr(table, "columns", ())))
    if COLUMN not in names:
        raise DataError(
            f"`table` has the columns {names}; needed is {COLUMN!r}, of Moments.to_arrow().",
            argument="table",
        )
    with TemporaryDirectory() as folder:
        path = Path(folder) / "piece.npz"
        for piece in values_of(table[COLUMN]):
            path.write_bytes(piece)
            found = load(path)
            if not isinstance(found, type(moments)):
                raise DataError(f"A line holds {found!r}, no Moments.", argument="table")
            moments.merge(found)
