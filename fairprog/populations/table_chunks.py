"""Chunks of rows, also as tables: data frames, Arrow batches, Parquet row groups."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairprog.door import refuse_reordered
from fairprog.errors import DataError
from fairprog.labels import column_names
from fairprog.numeric import as_numbers
from fairprog.populations.coded_rows import rows_of


@dataclass(frozen=True)
class Chunk:
    """Rows with their labels, and the names of the features where they are known."""

    X: NDArray[Any]
    y: Any
    group: Any
    weight: Any = None
    names: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Columns:
    """Which columns of a table are the label, the group and the weight; all others are features.

    A single feature column may hold a list of numbers per row, as embeddings are stored.
    """

    y: str | None = None
    sensitive_features: str | None = None
    sample_weight: str | None = None

    def read(self, table: Any) -> Chunk:
        """Return the rows of a table; DataError naming a column that is not there."""
        schema = getattr(table, "schema", None)  # Arrow's; `columns` are its arrays
        names = getattr(schema, "names", table.columns if hasattr(table, "columns") else ())
        names = [str(c) for c in (names() if callable(names) else names)]
        roles = [c for c in (self.y, self.sensitive_features, self.sample_weight) if c]
        for argument, column in vars(self).items():
            if column is not None and column not in names:
                raise DataError(
                    f"`{argument}` names the column {column!r}; the table has {names}.",
                    argument=argument,
                )
        features = tuple(name for name in names if name not in roles)
        if not features:
            raise DataError(f"The table has no column besides {roles}.", argument="chunks")
        values = [values_of(table[name]) for name in features]
        if len(values) == 1 and values[0].dtype.kind == "O" and len(values[0]):
            X = rows_of(np.stack([np.asarray(row) for row in values[0]]))
            features = tuple(f"{features[0]}[{j}]" for j in range(X.shape[1]))
        else:
            for name, column in zip(features, values, strict=True):
                if column.dtype.kind in "mMUS" or (column.dtype.kind == "O" and len(column)):
                    as_numbers(column, name)  # says so of dates and text
            X = rows_of(np.column_stack(values))
        y, group = (values_of(table[c]) for c in (self.y, self.sensitive_features))
        weight = None if self.sample_weight is None else values_of(table[self.sample_weight])
        return Chunk(X, y, group, weight, features)


def values_of(column: Any) -> NDArray[Any]:
    """Return a column as an array; Arrow's with missing values or text must be copied."""
    try:
        found: NDArray[Any] = column.to_numpy(zero_copy_only=False)
    except TypeError:
        found = np.asarray(column)
    return found


def chunks_of(chunks: Iterable[Any], columns: Columns, first: int = 0) -> Iterator[Chunk]:
    """Yield the chunks; DataError for one that is neither a table nor a triple or quadruple.

    A function without arguments stands for the chunk it returns. `first` is the number of the
    first one, for messages.
    """
    for number, item in enumerate(chunks, start=first):
        chunk = item() if callable(item) else item
        if hasattr(chunk, "schema") or hasattr(chunk, "columns"):
            if columns.y is None or columns.sensitive_features is None:
                raise DataError(
                    f"Chunk {number} is a table; say which of its columns are `y` and "
                    "`sensitive_features`.",
                    argument="y" if columns.y is None else "sensitive_features",
                )
            yield columns.read(chunk)
            continue
        if not isinstance(chunk, Sequence) or len(chunk) not in (3, 4):
            raise DataError(
                f"Chunk {number} must be (X, y, sensitive_features), (X, y, sensitive_features, "
                f"sample_weight) or a table; found {type(chunk).__name__}.",
                argument="chunks",
            )
        X, y, group, *rest = chunk
        refuse_reordered(
            X=X, y=y, sensitive_features=group, sample_weight=rest[0] if rest else None
        )
        yield Chunk(rows_of(X), y, group, rest[0] if rest else None, column_names(X))
