"""Who belongs to which group: one column, several columns crossed, or probabilities."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairprog.errors import DataError
from fairprog.labels import Array, encode, label_array, label_vector, plain, sorted_labels

__all__ = ["check_cells", "group_labels", "group_shares", "refuse_reordered", "refuse_swapped"]


def group_labels(
    sensitive_features: Any, n: int, merge_groups: Mapping[Any, Any] | None = None
) -> NDArray[Any]:
    """Return one label per row; several columns are crossed into tuples.

    Parameters
    ----------
    sensitive_features : array_like, shape (n,) or (n, k), or a data frame
    n : int
        Number of rows there must be.
    merge_groups : mapping, optional
        Which labels are to be read as which others.

    Raises
    ------
    DataError
        If it is missing, has another length or missing values.
    """
    if sensitive_features is None:
        raise DataError(
            "`sensitive_features` is required: the maps are one per group. Pass the group of "
            "every row (to transform and predict also an (n, G) array of its probabilities), in a "
            "pipeline by metadata routing: sklearn.set_config(enable_metadata_routing=True).",
            argument="sensitive_features",
        )
    shape = np.shape(sensitive_features)
    if len(shape) == 2 and shape[1] > 1:
        table = np.asarray(sensitive_features, dtype=object)
        columns = [label_vector(column, "sensitive_features", n) for column in table.T]
        labels = label_array([tuple(map(plain, row)) for row in zip(*columns, strict=True)])
    else:
        labels = label_vector(sensitive_features, "sensitive_features", n)
    if not merge_groups:
        return labels
    merged = [merge_groups.get(plain(v), plain(v)) for v in labels.tolist()]
    out = np.empty(n, dtype=object)
    out[:] = merged
    return out


def group_shares(
    sensitive_features: Any,
    n: int,
    groups: Sequence[Hashable],
    merge_groups: Mapping[Any, Any] | None,
    certain: bool = False,
) -> Array:
    """Return P(A = group | row), shape (n, G): indicators where the group is known.

    An (n, G) array of nonnegative floats whose rows sum to one is read as probabilities, in the
    order of `groups`, unless its rows are themselves groups (crossed columns).

    Parameters
    ----------
    certain : bool
        Whether every row must have one group.

    Raises
    ------
    DataError
        If groups are missing or not known.
    """
    shape = np.shape(sensitive_features)
    if len(shape) == 2 and shape == (n, len(groups)) and len(groups) > 1:
        array = np.asarray(sensitive_features)
        if array.dtype.kind == "f" and not _are_groups(array, groups):
            return _probabilities(array, certain)
    labels = group_labels(sensitive_features, n, merge_groups)
    return np.eye(len(groups))[encode(labels, groups, "sensitive_features", n)]


def _are_groups(array: NDArray[Any], groups: Sequence[Hashable]) -> bool:
    """Return whether rows are groups: columns were crossed, as many as there are groups."""
    known = {g for g in groups if isinstance(g, tuple) and len(g) == array.shape[1]}
    return bool(known) and all(tuple(row) in known for row in array.tolist())


def _probabilities(array: NDArray[Any], certain: bool) -> Array:
    if not (np.isfinite(array).all() and (array >= 0).all()):
        raise DataError(
            "`sensitive_features` as probabilities must be finite and nonnegative.",
            argument="sensitive_features",
        )
    off = np.abs(array.sum(axis=1) - 1.0)
    if off.max(initial=0.0) > 1e-6:
        raise DataError(
            f"`sensitive_features` as probabilities must sum to one in every row; row "
            f"{int(off.argmax())} sums to {array[off.argmax()].sum():.6g}.",
            argument="sensitive_features",
        )
    if certain and not (array.max(axis=1) == 1.0).all():
        raise DataError(
            "`sensitive_features` must name the group of every row here: a row that was moved by "
            "the mean of several maps cannot be moved back.",
            argument="sensitive_features",
        )
    return array.astype(np.float64)


def refuse_reordered(**rows: Any) -> None:
    """Refuse pandas objects whose indexes hold the same labels in another order.

    Rows are matched by position, as everywhere in scikit-learn; what has no index, or an index of
    other labels, is taken as it lies.
    """
    found = [(name, v.index) for name, v in rows.items() if hasattr(v, "iloc")]
    for name, index in found[1:]:
        first, other = found[0]
        if index.equals(other) or len(index) != len(other):
            continue
        if index.is_unique and other.is_unique and index.isin(other).all():
            row = int(np.flatnonzero(np.asarray(index != other))[0])
            raise DataError(
                f"`{first}` and `{name}` have the same index in another order: row {row} is "
                f"{other[row]!r} in one and {index[row]!r} in the other, and rows are matched by "
                f"position. Write {name}.loc[{first}.index], or {name}.to_numpy() if the order is "
                "meant.",
                argument=name,
            )


def check_cells(
    y: NDArray[Any], group: NDArray[Any], min_cell: int, classes: Sequence[Hashable]
) -> tuple[Hashable, ...]:
    """Return the groups, sorted; DataError naming a cell with fewer than `min_cell` rows."""
    groups = sorted_labels(group.tolist())
    i, a = encode(y, classes, "y"), encode(group, groups, "sensitive_features")
    count = np.zeros((len(classes), len(groups)), dtype=int)
    np.add.at(count, (i, a), 1)
    small = [
        (c, g, int(count[k, m]))
        for k, c in enumerate(classes)
        for m, g in enumerate(groups)
        if count[k, m] < min_cell
    ]
    if small:
        c, g, found = small[0]
        others = f" ({len(small)} such cells)" if len(small) > 1 else ""
        raise DataError(
            f"Class {c!r}, group {g!r} has {found} row(s); at least {min_cell} are needed in "
            f"every cell{others}. Gather more rows, leave the group out, or join it to another: "
            f"give both one label, as merge_groups={{{g!r}: ...}} does.",
            argument="sensitive_features",
            cell=(c, g),
        )
    return groups


def refuse_swapped(y: Any, group: Any) -> None:
    """Refuse groups that are as many as the rows: labels and groups may have been swapped."""
    n_groups = len(set(group.tolist()))
    if n_groups > max(20, len(group) // 4):
        raise DataError(
            f"`sensitive_features` has {n_groups} distinct values in {len(group)} rows: it must "
            "hold groups. Were features or labels passed instead?",
            argument="sensitive_features",
        )
    if len(set(y.tolist())) > 1 and y.tolist() == group.tolist():
        raise DataError(
            "`sensitive_features` is the same as `y` in every row: pass the group of each row, "
            "not its label.",
            argument="sensitive_features",
        )
