"""What learners make of features at a quick look: how well they read the group, what gaps grow."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairprog.door import Rows
from fairprog.errors import FairprogWarning
from fairprog.kernels.statistics.gap_bands import worst_gap
from fairprog.kernels.statistics.ranking import auc
from fairprog.labels import Array, Indices

EASIER = 0.03  # more than raw features tell: alignment makes the group easier to read
TOLD = 0.6  # area from which columns that stay are said to tell the group
ROWS, COLUMNS = 2000, 64  # of a quick look


def group_auc(X: Array, a: Indices, X_new: Array, a_new: Indices, trees: int = 60) -> float:
    """Return the area on new rows, of the pair of groups that is told apart best; 0.5 is chance.

    Parameters
    ----------
    X, X_new : Array, shape (n, d)
    a, a_new : Indices, shape (n,)
        Groups as positions.
    trees : int
        How many, one set per pair of groups.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    best = 0.5
    for pair in combinations(np.unique(a_new).tolist(), 2):
        own, new = np.isin(a, pair), np.isin(a_new, pair)
        if np.unique(a[own]).size < 2:
            continue
        reader = HistGradientBoostingClassifier(
            max_iter=trees, early_stopping=False, random_state=0
        ).fit(X[own], a[own])
        said = reader.predict_proba(X_new[new])[:, 1]
        best = max(best, auc(said, a_new[new] == pair[1]))
    return best


def quick_group_auc(X: Array, a: Indices) -> float:
    """Return the area of a few trees: every other row, of 2,000 spread over all, reads the rest.

    Of more than 64 columns the first are looked at.
    """
    some = np.linspace(0, len(X) - 1, min(len(X), ROWS)).astype(int)
    learn, judge = some[::2], some[1::2]
    if np.unique(a[judge]).size < 2 or min(len(learn), len(judge)) < 40:
        return 0.5
    return group_auc(X[learn, :COLUMNS], a[learn], X[judge, :COLUMNS], a[judge], trees=12)


def warn_of_group(before: Array, after: Array, a: Indices) -> None:
    """Warn where aligned features tell the group better than raw ones."""
    first, second = quick_group_auc(before, a), quick_group_auc(after, a)
    # standard error of an area of 0.5 on n rows of two equal groups (Mann and Whitney, 1947)
    noise = 1.0 / np.sqrt(3.0 * min(len(before), ROWS) / 2)
    if second > first + EASIER + noise:
        warnings.warn(
            "The group is EASIER to read from the aligned features than from the raw ones (area "
            f"under the curve of boosted trees {first:.2f} before, {second:.2f} after): columns "
            "that are far from normal, or not rounded, do that. Compare on held-out rows "
            "(fairprog.compare), leave such columns out, or steer scores.",
            FairprogWarning,
            stacklevel=4,
        )


def quick_worst_gap(X: Array, rows: Rows) -> float:
    """Return the worst gap of a least-squares score: every other row teaches, the rest judge.

    Over all thresholds, of both classes the larger; of more than 64 columns the first are used.
    """
    Z = X[:, :COLUMNS] - X[:, :COLUMNS].mean(axis=0)
    Z = Z / np.maximum(Z.std(axis=0), np.finfo(float).tiny)
    y, a = rows.y.astype(float), rows.a[1::2]
    score = Z[1::2] @ np.linalg.lstsq(Z[::2], y[::2] - y[::2].mean(), rcond=1e-10)[0]
    cells = [[score[(y[1::2] == i) & (a == k)] for k in np.unique(a)] for i in (0, 1)]
    return max((worst_gap(own) for own in cells if min(map(len, own)) > 0), default=0.0)


def warn_of_gap(before: Array, after: Array, rows: Rows) -> None:
    """Warn where a linear model's worst gap is larger on aligned features than on raw ones."""
    if rows.shape[0] != 2 or len(before) < 40 * min(COLUMNS, before.shape[1]):
        return
    first, second = quick_worst_gap(before, rows), quick_worst_gap(after, rows)
    noise = 1.0 / np.sqrt(max(1.0, rows.cells.min() / 2))  # 1.4 standard errors of a gap
    if second > first + EASIER + noise:
        warnings.warn(
            f"The worst gap of a linear model GREW from {first:.2f} to {second:.2f} on half of "
            "the rows fitted: exactly fair is the aligned population, and they are not like it. "
            "Measure on held-out rows (fairprog.compare), steer other groups, or steer scores.",
            FairprogWarning,
            stacklevel=4,
        )


def warn_of_staying(X: Array, a: Indices, names: Sequence[str]) -> None:
    """Warn where columns that stay as they are tell the group by themselves."""
    told = quick_group_auc(X, a) if names else 0.5
    if told > TOLD:
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        warnings.warn(
            f"{len(names)} columns are indicators of categories and stay as they are "
            f"({', '.join(names[:3])}{more}); they alone reveal the group (area under the "
            f"curve of boosted trees {told:.2f}; 0.5 = not at all). Leave them out, or steer "
            "scores.",
            FairprogWarning,
            stacklevel=4,
        )


def as_table(X: Any) -> NDArray[np.float64]:
    """Return features as trees read them: numbers, missing ones NaN, text by its rank."""
    if hasattr(X, "toarray"):
        return np.asarray(X.toarray(), dtype=np.float64)
    if hasattr(X, "iloc"):
        numeric = X.select_dtypes(["number", "bool"]).columns
        columns = [
            X[c].to_numpy(dtype=np.float64, na_value=np.nan) if c in numeric
            else np.unique(X[c].astype(str), return_inverse=True)[1].astype(np.float64)
            for c in X.columns
        ]  # fmt: skip
        return np.stack(columns, axis=1)
    return np.asarray(X, dtype=np.float64)
