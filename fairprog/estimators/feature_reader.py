"""How features are read: numbers, beside which one column may hold the groups."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import OneToOneFeatureMixin
from sklearn.utils.validation import check_array, validate_data

from fairprog.errors import DataError
from fairprog.estimators.sensitive_column import check_keep, take_column
from fairprog.labels import Array, check_finite, column_names


class FeatureReader(OneToOneFeatureMixin):
    """Who reads features, and the groups from the column `sensitive_column` where one is named."""

    sensitive_column: str | int | None
    keep_sensitive: bool

    def _read(self, X: Any, sensitive_features: Any, reset: bool) -> tuple[Array, Any]:
        """Return the features, checked, and what says the groups."""
        check_keep(self.keep_sensitive)
        column_names(X)
        rest, groups = take_column(X, self.sensitive_column, sensitive_features)
        refuse_text(rest)
        least = 2 if reset else 1  # our own check of what is finite names the column
        features = check_array(
            rest, dtype=np.float64, ensure_min_samples=least, ensure_all_finite=False
        )
        validate_data(self, X, reset=reset, skip_check_array=True)
        if not np.isfinite(features).all():
            check_finite(rest if hasattr(rest, "columns") else features, "X", rows=True)
        return features, groups

    def _features_only(self, names: Any) -> Any:
        """Return the entries of an array over the columns of X that belong to features."""
        if self.sensitive_column is None:
            return names
        j = self.sensitive_column
        return np.delete(names, list(names).index(j) if isinstance(j, str) else j)

    def get_feature_names_out(self, input_features: Any = None) -> Any:
        """Return the names of the columns that `transform` returns."""
        names = super().get_feature_names_out(input_features)
        return names if self.keep_sensitive else self._features_only(names)


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
