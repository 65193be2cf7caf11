"""The one door by which rows come in: labels, groups and weights that belong to the same rows.

Rows are matched by position, as everywhere in scikit-learn. pandas objects say by their index
which rows they hold: the same index in the same order passes, another order or other rows are
refused, and so is half of the same rows. An index of 0, 1, ... says nothing where the other one
has none of its labels. Rows of weight zero stay outside.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fairprog.errors import DataError
from fairprog.groups import group_labels, refuse_small, refuse_swapped
from fairprog.labels import (
    Array,
    Indices,
    check_number,
    check_weights,
    encode,
    label_array,
    label_order,
    label_vector,
    plain,
    tupled,
)


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of positive weight: class and group as positions among the labels.

    Attributes
    ----------
    y, a : Indices, shape (n,)
    weight : Array, shape (n,)
    classes, groups : tuple of labels
        In the order asked for, else sorted.
    kept : array of bool, or None
        Which of the rows given these are; None is all.
    """

    y: Indices
    a: Indices
    weight: Array
    classes: tuple[Hashable, ...]
    groups: tuple[Hashable, ...]
    kept: NDArray[np.bool_] | None = None

    @classmethod
    def check(
        cls,
        y: ArrayLike | None,
        sensitive_features: Any,
        sample_weight: ArrayLike | None = None,
        n: int | None = None,
        *,
        classes: Iterable[Any] | None = None,
        groups: Iterable[Any] | None = None,
        merge_groups: Mapping[Any, Any] | None = None,
        cross: bool = False,
        label: str = "y",
        **beside: Any,
    ) -> Rows:
        """Check labels, groups and weights of n rows, and that what is `beside` them is of these.

        Several sensitive columns are crossed where `cross` allows it, groups that are as many as
        the rows refused.

        Raises
        ------
        DataError
            For missing labels, groups or weights, another number than n, labels not listed, pandas
            objects of other rows or in another order, a class or group whose rows all weigh zero.
        """
        given = {label: y, "sensitive_features": sensitive_features}
        refuse_reordered(**beside, **given, sample_weight=sample_weight)
        if y is None:
            raise DataError(
                f"`{label}` is required: this requires y to be passed, but the target y is None.",
                argument=label,
            )
        class_vector = label_vector(y, label, n)
        n = len(class_vector)
        if cross:
            group_vector = group_labels(sensitive_features, n, merge_groups)
            refuse_swapped(class_vector, group_vector)
        else:
            groups = None if groups is None else tuple(groups)
            given_groups = tupled(sensitive_features, groups, "sensitive_features")
            group_vector = label_vector(given_groups, "sensitive_features", n)
        met_y, met_a = (
            v if v.dtype.kind == "O" else np.unique(v) for v in (class_vector, group_vector)
        )
        class_labels = label_order(classes, met_y, "classes")
        group_names = label_order(groups, met_a, "groups")
        i = encode(class_vector, class_labels, label, distinct=met_y)
        a = encode(group_vector, group_names, "sensitive_features", distinct=met_a)
        weight = check_weights(sample_weight, n)
        if sample_weight is None or weight.all():
            return cls(i, a, weight, class_labels, group_names)
        for what, code, labels in (("class", i, class_labels), ("group", a, group_names)):
            mass = np.bincount(code, weight, len(labels))
            gone = np.flatnonzero((mass == 0) & (np.bincount(code, minlength=len(labels)) > 0))
            if gone.size:
                name = labels[gone[0]]
                raise DataError(
                    f"All rows of {what} {name!r} have weight zero, as if there were none: give "
                    f"some a positive weight, or leave the {what} out.",
                    argument="sample_weight",
                    cell=(name, None) if what == "class" else (None, name),
                )
        kept = weight > 0
        return cls(i[kept], a[kept], weight[kept], class_labels, group_names, kept)

    def of(self, values: Any) -> Any:
        """Return the entries of an array that belong to these rows."""
        return values if self.kept is None else values[self.kept]

    def spread(self, values: Array) -> Array:
        """Return values of these rows at their places among the rows given, zero elsewhere."""
        if self.kept is None:
            return values
        out = np.zeros(self.kept.size)
        out[self.kept] = values
        return out

    @property
    def label(self) -> NDArray[Any]:
        """The class of every row."""
        return label_array(self.classes)[self.y]

    @property
    def group(self) -> NDArray[Any]:
        """The group of every row."""
        return label_array(self.groups)[self.a]

    @property
    def count(self) -> Array:
        """How many rows each stands for; see :func:`counted`."""
        return counted(self.weight)

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of classes and groups, (K, G)."""
        return len(self.classes), len(self.groups)

    @property
    def mass(self) -> Array:
        """Sums of weights of every cell, shape (K, G)."""
        out = np.zeros(self.shape)
        np.add.at(out, (self.y, self.a), self.weight)
        return out

    @property
    def cells(self) -> Indices:
        """Rows of every cell, shape (K, G), repetitions counted."""
        K, G = self.shape
        found = np.bincount(self.y * G + self.a, self.count, K * G)
        return found.astype(np.intp).reshape(K, G)

    def require(self, least: Any, where: str = "") -> None:
        """Refuse cells (class, group) with fewer rows than that; DataError names one."""
        least = int(check_number(least, "min_cell", 1))
        note = "" if self.kept is None else "; rows of weight zero do not count"
        refuse_small(self.cells, least, self.classes, self.groups, where + note)

    def require_folds(self, folds: int, least: int) -> None:
        """Refuse cells that do not have so many rows in every fold; DataError names one."""
        self.require(least * folds, f", {least} in each of {folds} folds (fewer folds: `cv`)")


def counted(weight: Array) -> Array:
    """Return how many rows each stands for: a whole weight is a number of repetitions.

    Where some weight is not whole, weights are relative and every row counts as one.
    """
    return weight if np.array_equal(weight, np.round(weight)) else (weight > 0).astype(float)


def refuse_reordered(**rows: Any) -> None:
    """Refuse pandas objects whose indexes hold the same rows in another order, or other rows.

    What has no index, or the index 0, 1, ... beside one without a label in common, is taken as it
    lies.

    Raises
    ------
    DataError
    """
    found = [(name, v.index) for name, v in rows.items() if hasattr(v, "iloc")]
    for (first, other), (name, index) in combinations(found, 2):
        if len(index) != len(other) or index.equals(other):
            continue
        index, other = index.to_flat_index(), other.to_flat_index()
        shared = index.isin(other)
        if not shared.any() and (_numbers_rows(index) or _numbers_rows(other)):
            continue
        row = int(np.flatnonzero(np.asarray(index != other))[0])
        remedy = f"Write {name}.loc[{first}.index], or {name}.to_numpy() if the order is meant."
        if not shared.any():
            how = "indexes without a label in common"
            remedy = (
                f"Take the same rows of both, by .loc[...] of one index, or write "
                f"{name}.reset_index(drop=True) if the order is meant."
            )
        elif shared.all() and other.isin(index).all():
            how = "the same index in another order"
        elif shared.all():
            how = "indexes of the same labels, some repeated or in one only, in another order"
        else:
            how = f"indexes that agree in {int(shared.sum())} of {len(index)} labels only"
        raise DataError(
            f"`{first}` and `{name}` have {how}: row {row} is {plain(other[row])!r} in one "
            f"and {plain(index[row])!r} in the other, and rows are matched by position. {remedy}",
            argument=name,
        )


def _numbers_rows(index: Any) -> bool:
    """Return whether a pandas index is 0, 1, ..., as of a table that has none."""
    import pandas as pd

    return bool(index.equals(pd.RangeIndex(len(index))))
