"""The learner inside a step: what it is given, trained with weights, and its scores."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn import config_context
from sklearn.base import BaseEstimator, clone
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import has_fit_parameter, validate_data

from fairprog.errors import ModelError
from fairprog.estimators.sensitive_column import check_keep, lacks_column, take_column
from fairprog.labels import Array, column_names


class Learner(BaseEstimator):
    """Who wraps a learner, and may read the groups from a column of X."""

    sensitive_column: Any
    keep_sensitive: bool
    n_features_in_: int

    def _read(
        self, X: Any, sensitive_features: Any, reset: bool, grouped: bool = True
    ) -> tuple[Any, Any, Any]:
        """Return what the estimator is given, the same without the group, and the groups.

        Where rows are not `grouped` nobody needs the groups, and their column may be missing.
        """
        check_keep(self.keep_sensitive)
        column_names(X)
        X = X.tocsr() if hasattr(X, "tocsr") else X  # the one sparse form that has rows
        column, spared = self.sensitive_column, not (reset or grouped or self.keep_sensitive)
        if column is None or (spared and lacks_column(X, column, self.n_features_in_)):
            return X, X, sensitive_features
        frame = hasattr(X, "columns")
        options = {"dtype": None, "accept_sparse": "csr", "ensure_all_finite": False}
        X = validate_data(self, X, reset=reset, skip_check_array=frame, **options)
        beside, groups = take_column(X, column, sensitive_features)
        return (X if self.keep_sensitive else beside), beside, groups


def trained(estimator: Any, X: Any, y: NDArray[Any], weight: Array | None) -> Any:
    """Return a copy of the estimator, trained; of a pipeline the last step takes the weights.

    Raises
    ------
    ModelError
        For weights that it does not take.
    """
    model = clone(estimator)
    if weight is None:
        return model.fit(X, y)
    name, last = "sample_weight", model
    while isinstance(last, Pipeline):
        names, steps = zip(*last.steps, strict=True)
        name, last = name.replace("sample", f"{names[-1]}__sample"), steps[-1]
    if not has_fit_parameter(last, "sample_weight"):
        raise ModelError(
            f"{type(last).__name__} takes no `sample_weight`; leave it out or use a learner "
            "that does.",
            argument="sample_weight",
        )
    if last is model:
        return model.fit(X, y, sample_weight=weight)
    with config_context(enable_metadata_routing=False):  # the last step's, by its name
        return model.fit(X, y, **{name: weight})


def scores_of(model: Any, X: Any) -> Array:
    """Return probabilities of the last class."""
    if hasattr(model, "predict_proba"):
        return np.asarray(model.predict_proba(X))[:, 1]
    if hasattr(model, "decision_function"):
        return np.asarray(expit(model.decision_function(X)))
    raise ModelError(
        f"{type(model).__name__} has neither `predict_proba` nor `decision_function`; "
        "`estimator` must give scores.",
        argument="estimator",
    )
