"""The outcome table Z[a, i, j] = P(A=a, Y=i, Yhat=j)."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fairprog.door import Rows
from fairprog.errors import DataError
from fairprog.groups import are_crossed, attribute_names
from fairprog.labels import Array, as_labels, check_finite, encode, label_vector, sorted_labels
from fairprog.pictures import Drawn


@dataclass(frozen=True, eq=False)
class OutcomeTable(Drawn):
    """Joint law of group, class and prediction: Z[a, i, j] = P(A=a, Y=i, Yhat=j).

    Group comes first here, the one exception to the class-first axis order.

    Source: theory.md section 8.

    Parameters
    ----------
    Z : array_like, shape (G, K, K)
        Probabilities: nonnegative (to 1e-9), summing to one (to 1e-6), with no empty group.
    classes, groups : sequence of hashables, optional
        Labels; default 0, 1, ....
    attributes : sequence of str, optional
        Names of the sensitive attributes that the groups, as tuples, cross.

    Raises
    ------
    DataError
        If the array is not such a law.

    Examples
    --------
    >>> import fairprog as fp
    >>> table = fp.OutcomeTable.from_predictions(
    ...     [1, 1, 0, 0], [1, 0, 0, 1], sensitive_features=["a", "b", "a", "b"])
    >>> table.accuracy
    0.5
    >>> fp.DemographicParity().gap(table)
    0.0
    >>> fp.EqualOpportunity().gap(table)
    1.0
    """

    Z: Array
    classes: tuple[Hashable, ...] = ()
    groups: tuple[Hashable, ...] = ()
    attributes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        Z = check_finite(self.Z, "Z")
        if Z.ndim != 3 or Z.shape[1] != Z.shape[2] or not Z.size:
            raise DataError(f"`Z` has shape {Z.shape}; needed is (G, K, K).", argument="Z")
        if Z.min() < -1e-9 or abs(Z.sum() - 1.0) > 1e-6:
            raise DataError(
                f"`Z` must be a probability law: smallest entry {Z.min():.3g}, sum {Z.sum():.9g}.",
                argument="Z",
            )
        groups = as_labels(self.groups or None, Z.shape[0], "groups")
        empty = [g for g, mass in zip(groups, Z.sum(axis=(1, 2)), strict=True) if mass <= 0]
        if empty:
            raise DataError(
                f"`Z` has no mass in group {empty[0]!r}.", argument="Z", cell=(None, empty[0])
            )
        Z.setflags(write=False)
        object.__setattr__(self, "Z", Z)
        object.__setattr__(self, "groups", groups)
        object.__setattr__(self, "classes", as_labels(self.classes or None, Z.shape[1], "classes"))

    @classmethod
    def from_predictions(
        cls,
        y_true: ArrayLike,
        y_pred: ArrayLike,
        *,
        sensitive_features: ArrayLike,
        sample_weight: ArrayLike | None = None,
        classes: Sequence[Any] | None = None,
        groups: Sequence[Any] | None = None,
    ) -> OutcomeTable:
        """Count a table from labels and predictions (weights optional).

        Parameters
        ----------
        y_true, y_pred, sensitive_features : array_like, shape (n,)
            True class, predicted class, group of each row; groups of shape (n, k), or a data
            frame, are crossed.
        sample_weight : array_like, shape (n,), optional
            Nonnegative weights.
        classes, groups : sequence, optional
            Label order: given, else sorted.

        Raises
        ------
        DataError
            For missing values, unknown labels or lengths that differ.
        """
        n = len(label_vector(y_true, "y_true"))
        if not n:
            raise DataError("`y_true` has no rows.", argument="y_true")
        rows = Rows.check(
            y_true, sensitive_features, sample_weight, n,
            classes=classes, groups=groups, label="y_true", y_pred=y_pred,
            cross=are_crossed(sensitive_features),
        )  # fmt: skip
        prediction = rows.of(label_vector(y_pred, "y_pred", n))
        unknown = sorted_labels(set(prediction.tolist()) - set(rows.classes))
        unknown = unknown if classes is None else ()
        if unknown:
            raise DataError(
                f"`y_pred` holds {len(unknown)} value(s) that are no class of `y_true`, such as "
                f"{unknown[0]!r}. Turn scores into classes first; if a class is merely never "
                "true, name all of them: classes=.",
                argument="y_pred",
            )
        K, G = len(rows.classes), len(rows.groups)
        cell = (rows.a * K + rows.y) * K + encode(prediction, rows.classes, "y_pred")
        Z = np.bincount(cell, rows.weight, G * K * K).reshape(G, K, K)
        names = attribute_names(sensitive_features)
        return cls(Z / rows.weight.sum(), rows.classes, rows.groups, names)

    @property
    def group_mass(self) -> Array:
        """P(A=a), shape (G,)."""
        return self.Z.sum(axis=(1, 2))

    @property
    def cell_mass(self) -> Array:
        """P(A=a, Y=i), shape (G, K)."""
        return self.Z.sum(axis=2)

    @property
    def accuracy(self) -> float:
        """P(Yhat = Y)."""
        return float(np.einsum("aii->", self.Z))

    def rates(self) -> Array:
        """P(Yhat=j | A=a, Y=i), shape (G, K, K); NaN rows where a cell is empty."""
        with np.errstate(invalid="ignore", divide="ignore"):
            out: Array = self.Z / self.cell_mass[:, :, None]
        return out
