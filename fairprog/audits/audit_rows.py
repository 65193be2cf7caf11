"""The rows of an audit, checked: labels and groups as codes, scores as columns."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fairprog.door import Rows
from fairprog.errors import DataError
from fairprog.labels import Array, Indices, check_finite, label_vector
from fairprog.numeric import as_numbers, without_dust
from fairprog.populations.score_direction import warn_of_direction


@dataclass(frozen=True, eq=False)
class AuditRows:
    """Rows with codes of their classes and groups, weights, and scores of shape (n, 1) or (n, K).

    Attributes
    ----------
    y, a : Indices, shape (n,)
    classes, groups : tuple of labels
    weight : Array, shape (n,)
    scores : dict of name to Array
        "score", or "before" and "after".
    confidence : float
    """

    y: Indices
    a: Indices
    classes: tuple[Hashable, ...]
    groups: tuple[Hashable, ...]
    weight: Array
    scores: Mapping[str, Array]
    confidence: float

    @classmethod
    def check(
        cls,
        y_true: ArrayLike,
        y_score: ArrayLike | None,
        after: ArrayLike | None,
        sensitive_features: Any,
        sample_weight: ArrayLike | None,
        merge_groups: Mapping[Any, Any] | None,
        order: Sequence[Any] | None,
        confidence: float,
    ) -> AuditRows:
        """Return the rows of :func:`fairprog.audit`, which says what is refused and warned of."""
        n = len(label_vector(y_true, "y_true"))
        if not n:
            raise DataError("`y_true` has no rows.", argument="y_true")
        found = Rows.check(
            y_true, sensitive_features, sample_weight, n,
            classes=order, merge_groups=merge_groups, cross=True,
            label="y_true", y_score=y_score, y_score_after=after,
        )  # fmt: skip
        classes, groups = found.classes, found.groups
        _refuse_few(found, n)
        S = _columns(y_score, "y_score", n, len(classes))
        scores = {"score": S}
        if after is not None:
            scores = {"before": S, "after": _columns(after, "y_score_after", n, len(classes))}
        scores = {name: found.of(columns) for name, columns in scores.items()}
        # rows in another order, and numbers that differ by rounding, are the same audit
        keys = [column for columns in scores.values() for column in columns.T]
        order_ = np.lexsort([found.weight, found.a, found.y, *keys])
        rows = cls(
            found.y[order_], found.a[order_], classes, groups, found.weight[order_],
            {name: columns[order_] for name, columns in scores.items()}, confidence,
        )  # fmt: skip
        if S.shape[1] == 1:
            first = next(iter(rows.scores.values()))
            warn_of_direction(first[:, 0], rows.y, rows.a, rows.weight, classes, stacklevel=3)
        return rows

    @property
    def counts(self) -> Indices:
        """Rows of every cell, shape (K, G)."""
        out = np.zeros((len(self.classes), len(self.groups)), dtype=np.intp)
        np.add.at(out, (self.y, self.a), 1)
        return out

    def problems(self) -> Iterator[tuple[int, NDArray[np.bool_], dict[str, Array]]]:
        """Yield (class, positive rows, scores): one problem, or each class against the rest."""
        single = len(self.classes) == 2
        for k in (1,) if single else range(len(self.classes)):
            columns = {name: S[:, 0 if single else k] for name, S in self.scores.items()}
            yield k, self.y == k, columns


def _refuse_few(found: Rows, n: int) -> None:
    """Refuse labels that are scores, one class, one group, and empty cells."""
    if len(found.classes) > max(20, n // 4):
        raise DataError(
            f"`y_true` has {len(found.classes)} distinct values in {n} rows: it must hold "
            "classes. Were scores passed first? The order is audit(y_true, y_score).",
            argument="y_true",
        )
    known = (("y_true", found.classes, "class"), ("sensitive_features", found.groups, "group"))
    for name, labels, what in known:
        if len(labels) < 2:
            raise DataError(
                f"`{name}` holds the one {what} {labels[0]!r}; at least two are needed for a gap.",
                argument=name,
            )
    found.require(1)


def _columns(scores: ArrayLike | None, name: str, n: int, n_classes: int) -> Array:
    """Return (n, 1) scores of the last of two classes, or (n, K)."""
    try:
        as_numbers(scores, name)
    except DataError as error:
        raise DataError(
            f"{error} Scores are needed, such as `predict_proba(X)[:, 1]`, not predicted classes.",
            argument=name,
        ) from None
    array = check_finite(scores, name, rows=True)
    array = array[:, None] if array.ndim == 1 else array
    known = (1, 2) if n_classes == 2 else (n_classes,)
    if array.ndim != 2 or len(array) != n or array.shape[1] not in known:
        wanted = f"({n},) or ({n}, 2)" if n_classes == 2 else f"({n}, {n_classes})"
        hint = "" if n_classes == 2 else f" (a column for each of the {n_classes} classes, sorted)"
        if n_classes > 2 and array.shape[1:] == (1,) and len(np.unique(array)) == 2:
            hint += ". Were labels and scores swapped? The order is audit(y_true, y_score)"
        raise DataError(
            f"`{name}` has shape {np.asarray(scores).shape}; needed is {wanted}{hint}.",
            argument=name,
        )
    if array.shape[1] == 2 and np.ptp(array.sum(axis=1)) > 0.01 * np.abs(array).max():
        raise DataError(
            f"The two columns of `{name}` do not add up to the same in every row, so that the "
            "last does not say all of them. Pass one score of the last class, such as a "
            "probability or the difference of two logits.",
            argument=name,
        )
    array = array[:, -1:] if n_classes == 2 else array
    return np.stack([without_dust(column) for column in array.T], axis=1)
