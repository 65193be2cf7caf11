"""The group as a column of X: read where scikit-learn's tools pass nothing but X and y."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils import _safe_indexing

from fairprog.errors import DataError, ModelError


def take_column(X: Any, column: Any, sensitive_features: Any) -> tuple[Any, Any]:
    """Return X without the sensitive column, and the groups.

    Parameters
    ----------
    X : array_like, sparse matrix or data frame, shape (n, d)
    column : str or int, or None
        Name in a data frame, or position; None: the groups are `sensitive_features`.
    sensitive_features : array_like, optional

    Raises
    ------
    DataError
        If there is no such column, or groups are given twice.
    """
    if column is None:
        return X, sensitive_features
    if sensitive_features is not None:
        raise ModelError(
            f"`sensitive_features` is given, and `sensitive_column`={column!r} reads the groups "
            "from X: give one of the two.",
            argument="sensitive_features",
        )
    X = X.tocsr() if hasattr(X, "tocsr") else X  # the one sparse form that has columns and rows
    j = column_position(X, column)
    if X.shape[1] == 1:
        raise DataError(
            "X has 1 feature(s), the sensitive column: n_features = 1 leaves none to learn from.",
            argument="sensitive_column",
        )
    others = [k for k in range(X.shape[1]) if k != j]
    groups = _safe_indexing(X, j, axis=1)
    groups = groups.toarray().ravel() if hasattr(groups, "toarray") else groups
    return _safe_indexing(X, others, axis=1), groups


def lacks_column(X: Any, column: Any, d: int) -> bool:
    """Return whether rows of d columns come without the sensitive one.

    Examples
    --------
    >>> import numpy as np
    >>> lacks_column(np.zeros((5, 2)), -1, 3), lacks_column(np.zeros((5, 3)), -1, 3)
    (True, False)
    """
    if column in list(getattr(X, "columns", ())):
        return False
    shape = X.shape if hasattr(X, "shape") else np.shape(X)
    return len(shape) == 2 and shape[1] == d - 1


def column_position(X: Any, column: Any) -> int:
    """Return where the column stands in X; DataError if it is not there."""
    names = list(getattr(X, "columns", ()))
    shape = X.shape if hasattr(X, "shape") else np.shape(X)
    if isinstance(column, str) and column in names:
        return names.index(column)
    if isinstance(column, (int, np.integer)) and len(shape) == 2:
        if -shape[1] <= column < shape[1]:
            return int(column) % shape[1]
        raise DataError(
            f"`sensitive_column` is {column}, but X has {shape[1]} feature(s): n_features = "
            f"{shape[1]}.",
            argument="sensitive_column",
        )
    found = (
        f"its columns are {[str(name) for name in names]}" if names else f"its shape is {shape}"
    )
    hint = "" if names else " Reshape your data to rows and columns; a name needs a data frame."
    if isinstance(column, (list, tuple)):
        hint = " It is one column: cross several into one, or pass them as `sensitive_features`."
    raise DataError(
        f"`sensitive_column` names {column!r}, which X does not have: {found}.{hint}",
        argument="sensitive_column",
    )


def insert_column(rows: Any, position: int, groups: Any) -> Any:
    """Return rows with the column of groups at its place, as numbers where groups are numbers."""
    values = np.asarray(groups)
    numbers = values.dtype.kind in "biuf"
    kind = np.float64 if numbers else object
    return np.insert(rows.astype(kind), position, values.astype(kind), axis=1)


def check_keep(keep_sensitive: Any) -> None:
    """Refuse what is neither True nor False, such as the name of the column."""
    if not isinstance(keep_sensitive, (bool, np.bool_)):
        raise ModelError(
            f"`keep_sensitive` must be True or False; found {keep_sensitive!r}. The column is "
            "named by `sensitive_column`.",
            argument="keep_sensitive",
        )
