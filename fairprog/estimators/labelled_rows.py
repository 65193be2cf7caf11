"""What every step is fitted on: rows with a class, a group and a weight, checked."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import ArrayLike, NDArray

from fairprog.errors import DataError
from fairprog.groups import check_cells, group_labels, refuse_reordered, refuse_swapped
from fairprog.labels import (
    Array,
    Indices,
    check_number,
    check_weights,
    encode,
    label_vector,
    sorted_labels,
)

__all__ = ["LabelledRows", "refuse_text"]


@dataclass(frozen=True, eq=False)
class LabelledRows:
    """Labels and groups of n rows, as they were given.

    Attributes
    ----------
    label, group : arrays of labels, shape (n,)
        Several sensitive columns are crossed, their groups are tuples.
    weight : Array, shape (n,)
    classes, groups : tuple of labels, sorted
    """

    label: NDArray[Any]
    group: NDArray[Any]
    weight: Array
    classes: tuple[Hashable, ...]
    groups: tuple[Hashable, ...]

    @classmethod
    def check(
        cls,
        step: Any,
        X: Any,
        y: ArrayLike | None,
        sensitive_features: Any,
        sample_weight: ArrayLike | None,
        n: int,
        merge_groups: Mapping[Any, Any] | None,
    ) -> LabelledRows:
        """Check what the `fit` of a step was given.

        Raises
        ------
        DataError
            For missing labels, groups or values, other lengths than n, labels passed as groups,
            pandas objects with the same index in another order.
        """
        if y is None:
            raise DataError(
                f"{type(step).__name__} requires y to be passed, but the target y is None.",
                argument="y",
            )
        refuse_reordered(
            X=X, y=y, sensitive_features=sensitive_features, sample_weight=sample_weight
        )
        label = label_vector(y, "y", n)
        group = group_labels(sensitive_features, n, merge_groups)
        refuse_swapped(label, group)
        return cls(
            label,
            group,
            check_weights(sample_weight, n),
            sorted_labels(label.tolist()),
            sorted_labels(group.tolist()),
        )

    def require(self, least: Any) -> None:
        """Refuse cells (class, group) with fewer rows than that; DataError names one."""
        least = int(check_number(least, "min_cell", 1))
        check_cells(self.label, self.group, least, self.classes)

    @property
    def y(self) -> Indices:
        """Position of every row's class."""
        return encode(self.label, self.classes, "y")

    @property
    def a(self) -> Indices:
        """Position of every row's group."""
        return encode(self.group, self.groups, "sensitive_features")


def refuse_text(X: Any) -> None:
    """Refuse a data frame with columns that are no numbers, by name."""
    kinds: Any = getattr(X, "dtypes", None)
    if not hasattr(kinds, "items"):
        return
    text = [str(c) for c, kind in kinds.items() if getattr(kind, "kind", "O") not in "biuf"]
    if text:
        raise DataError(
            f"Columns {text[:5]} of `X` hold no numbers. Encode them first, or steer the score "
            "of a model that takes them (ScoreSteering, SteeredClassifier): the better tool for "
            "categories.",
            argument="X",
        )
