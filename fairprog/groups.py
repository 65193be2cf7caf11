"""Who belongs to which group: one column, several columns crossed, or probabilities."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairprog.errors import DataError, ModelError
from fairprog.labels import (
    Array,
    Indices,
    column_names,
    crossed,
    encode,
    label_vector,
    plain,
)


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
            "every row (to transform and predict also an (n, G) array of its probabilities). In a "
            "pipeline or a search the easy way is a column of X that holds it, read by "
            "IdealSteering, SteeredClassifier and ReweightedClassifier: sensitive_column='sex'. "
            "The other is metadata routing: sklearn.set_config(enable_metadata_routing=True) and "
            "step.set_fit_request(sensitive_features=True).set_transform_request("
            "sensitive_features=True), of classifiers set_predict_request.",
            argument="sensitive_features",
        )
    if isinstance(sensitive_features, Mapping):
        raise DataError(
            "`sensitive_features` is a mapping; needed is the group of every row, in their order. "
            "Pass a column of it, or several as pandas.DataFrame(sensitive_features).",
            argument="sensitive_features",
        )
    shape = np.shape(sensitive_features)
    if len(shape) == 2 and shape[1] > 1:
        labels = crossed(sensitive_features, "sensitive_features", n)
    else:
        labels = label_vector(sensitive_features, "sensitive_features", n)
    if not isinstance(merge_groups, Mapping | None):
        raise ModelError(
            f"`merge_groups` must be a mapping of groups to groups; found {merge_groups!r}.",
            argument="merge_groups",
        )
    if not merge_groups:
        return labels
    merged = [merge_groups.get(plain(v), plain(v)) for v in labels.tolist()]
    out = np.empty(n, dtype=object)
    out[:] = merged
    return out


def are_crossed(sensitive_features: Any) -> bool:
    """Return whether there are several sensitive columns, whose values are crossed."""
    shape = np.shape(sensitive_features)
    return len(shape) == 2 and shape[1] > 1


def attribute_names(sensitive_features: Any) -> tuple[str, ...]:
    """Return the names of the sensitive columns of a data frame or series, else none."""
    name = getattr(sensitive_features, "name", None)
    series = () if name is None or not hasattr(sensitive_features, "iloc") else (str(name),)
    return column_names(sensitive_features, "sensitive_features") or series


def attributes_in_order(sensitive_features: Any, attributes: tuple[str, ...]) -> Any:
    """Return the columns of a data frame in the order of these names.

    Raises
    ------
    DataError
        Where it has others instead: by position they could be read as each other.
    """
    names = attribute_names(sensitive_features)
    if names == attributes or min(len(names), len(attributes)) < 2:
        return sensitive_features
    if sorted(names) != sorted(attributes):
        if len(names) != len(attributes) and not set(names) & set(attributes):
            return sensitive_features  # probabilities, by group
        raise DataError(
            f"`sensitive_features` has the columns {list(names)}; those of the fit were "
            f"{list(attributes)}. Rename them, or pass an array to go by position.",
            argument="sensitive_features",
        )
    return sensitive_features[list(attributes)]


def group_shares(
    sensitive_features: Any,
    n: int,
    groups: Sequence[Hashable],
    merge_groups: Mapping[Any, Any] | None,
    certain: bool = False,
    pooled: Array | None = None,
) -> Array:
    """Return P(A = group | row), shape (n, G): indicators where the group is known.

    An (n, G) array of nonnegative floats whose rows sum to one is read as probabilities, in the
    order of `groups` (of a data frame by the names of its columns), unless its rows are themselves
    groups (crossed columns).

    Parameters
    ----------
    certain : bool
        Whether every row must have one group.
    pooled : Array, shape (G,), optional
        What a row of a group that is not known gets; default an error.

    Raises
    ------
    DataError
        If groups are missing or not known.
    """
    shape = np.shape(sensitive_features)
    if len(shape) == 2 and shape == (n, len(groups)) and len(groups) > 1:
        array = np.asarray(sensitive_features)
        if array.dtype.kind == "f" and not _are_groups(array, groups):
            names = column_names(sensitive_features, "sensitive_features")
            return _probabilities(array[:, _order_of(names, groups)], certain)
    labels = group_labels(sensitive_features, n, merge_groups)
    if pooled is None or certain:
        return np.eye(len(groups))[encode(labels, groups, "sensitive_features", n)]
    position = {g: k for k, g in enumerate(groups)}
    code = np.array([position.get(plain(g), -1) for g in labels], dtype=np.intp)
    return np.vstack([np.eye(len(groups)), pooled])[code]


def _order_of(names: tuple[str, ...] | None, groups: Sequence[Hashable]) -> list[int]:
    """Return which column holds each group: by name; by position where columns have none."""
    count = range(len(groups))
    wanted = [str(g) for g in groups]
    if names is None or (sorted(names) != sorted(wanted) and list(names) == list(map(str, count))):
        return list(count)
    if sorted(names) != sorted(wanted):
        raise DataError(
            f"`sensitive_features` as probabilities has the columns {list(names)}; needed is one "
            f"for each group, {wanted}.",
            argument="sensitive_features",
        )
    return [names.index(g) for g in wanted]


def _are_groups(array: NDArray[Any], groups: Sequence[Hashable]) -> bool:
    """Return whether rows are groups: columns were crossed, as many as there are groups."""
    known = {g for g in groups if isinstance(g, tuple) and len(g) == array.shape[1]}
    return bool(known) and all(tuple(row) in known for row in array.tolist())


def _probabilities(array: NDArray[Any], certain: bool) -> Array:
    bad = np.argwhere(~(np.isfinite(array) & (array >= 0)))
    if bad.size:
        raise DataError(
            "`sensitive_features` as probabilities must be finite and nonnegative; found "
            f"{array[tuple(bad[0])]} in row {bad[0][0]} ({len(bad)} such entries).",
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


def refuse_small(
    count: Indices, least: int, classes: Sequence[Any], groups: Sequence[Any], note: str = ""
) -> None:
    """Refuse cells with fewer than `least` rows, of counts (K, G); DataError names one."""
    small = np.argwhere(count < least)
    if not small.size:
        return
    i, a = (int(k) for k in small[0])
    c, g = classes[i], groups[a]
    others = f" ({len(small)} such cells)" if len(small) > 1 else ""
    raise DataError(
        f"Class {c!r}, group {g!r} has {count[i, a]} row(s); at least {least} are needed in "
        f"every cell{others}{note}. Gather more rows, leave the group out, or join it to another: "
        f"give both one label, as merge_groups={{{g!r}: ...}} does.",
        argument="sensitive_features",
        cell=(c, g),
    )


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
