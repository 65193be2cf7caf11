"""Rows that a population is estimated from: checked, labels coded."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fairprog.errors import DataError
from fairprog.labels import (
    Array,
    Indices,
    check_weights,
    encode,
    label_order,
    label_vector,
    plain,
    sorted_labels,
)

__all__ = ["CodedRows", "codes_of", "refuse_missing", "rows_of"]


@dataclass(frozen=True, eq=False)
class CodedRows:
    """Class, group and weight of n rows that are all at hand.

    Attributes
    ----------
    i, a : Indices, shape (n,)
        Positions of their class and group among `classes` and `groups`.
    weight : Array, shape (n,)
    classes, groups : tuple of labels
    """

    i: Indices
    a: Indices
    weight: Array
    classes: tuple[Hashable, ...]
    groups: tuple[Hashable, ...]

    @classmethod
    def check(
        cls,
        y: ArrayLike,
        sensitive_features: ArrayLike,
        sample_weight: ArrayLike | None,
        classes: Sequence[Any] | None,
        groups: Sequence[Any] | None,
        n: int,
    ) -> Self:
        """Check what a `fit` was given for n rows; label order: given, else sorted.

        Raises
        ------
        DataError
            For no rows, missing labels, other lengths, labels that are not listed, weights that
            are no weights.
        """
        if n == 0:
            raise DataError("`X` has no rows.", argument="X")
        y_vector = label_vector(y, "y", n)
        a_vector = label_vector(sensitive_features, "sensitive_features", n)
        class_labels = label_order(classes, y_vector, "classes")
        group_labels = label_order(groups, a_vector, "groups")
        return cls(
            encode(y_vector, class_labels, "y", n),
            encode(a_vector, group_labels, "sensitive_features", n),
            check_weights(sample_weight, n),
            class_labels,
            group_labels,
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of classes and groups, (K, G)."""
        return len(self.classes), len(self.groups)

    def counts(self) -> tuple[Array, Array]:
        """Return numbers of rows of positive weight and sums of weights, shape (K, G) each."""
        n_rows, total = np.zeros(self.shape), np.zeros(self.shape)
        np.add.at(n_rows, (self.i, self.a), self.weight > 0)
        np.add.at(total, (self.i, self.a), self.weight)
        return n_rows, total


def rows_of(X: ArrayLike) -> NDArray[Any]:
    """Return rows of numbers without copying or converting an array (NaN is found later)."""
    array = np.asarray(X)
    if array.dtype.kind not in "fiub":
        try:
            array = array.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise DataError(f"`X` must be an array of numbers: {error}.", argument="X") from None
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2 or not array.shape[1]:
        raise DataError(
            f"`X` must have shape (n, d) with at least one feature; its shape is {array.shape}.",
            argument="X",
        )
    return array


def codes_of(
    values: ArrayLike, known: tuple[Hashable, ...] | None, argument: str, n: int
) -> tuple[NDArray[np.intp], tuple[Hashable, ...]]:
    """Return the code of each label and the labels: the known ones, else those met."""
    if known is not None:
        return encode(values, known, argument, n), known
    array = label_vector(values, argument, n)
    if array.dtype.kind == "O":
        labels = sorted_labels(array.tolist())
        return encode(values, labels, argument, n), labels
    distinct, codes = np.unique(array, return_inverse=True)
    return codes, tuple(plain(v) for v in distinct)


def refuse_missing(X: NDArray[Any]) -> None:
    """Name the first entry that is not finite."""
    for start in range(0, len(X), 4096):
        bad = np.argwhere(~np.isfinite(X[start : start + 4096]))
        if len(bad):
            row, column = int(bad[0, 0]) + start, int(bad[0, 1])
            raise DataError(
                f"`X` must be finite; found {X[row, column]} in row {row}, column {column}.",
                argument="X",
            )
    raise DataError("The squares of `X` overflow; scale the features down.", argument="X")
