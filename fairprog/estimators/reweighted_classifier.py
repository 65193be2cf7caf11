"""`ReweightedClassifier`: any learner with weights, trained on the nearest fair population."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import ClassifierMixin, MetaEstimatorMixin
from sklearn.utils import _safe_indexing, column_or_1d, get_tags
from sklearn.utils.validation import _num_samples, check_is_fitted

from fairprog.door import Rows
from fairprog.errors import DataError, ModelError
from fairprog.estimators.folds import folds
from fairprog.estimators.learner import Learner, scores_of, trained
from fairprog.estimators.score_columns import check_binary
from fairprog.estimators.step import GroupReader
from fairprog.labels import Array
from fairprog.lots import column_order, lots, row_keys
from fairprog.populations import Categorical
from fairprog.programs import NearestFair
from fairprog.tables import Notion


class ReweightedClassifier(Learner, MetaEstimatorMixin, ClassifierMixin, GroupReader):
    """A classifier trained on the nearest population whose Bayes rule is fair.

    Posteriors are cross-fitted: every fold is scored by a copy of the estimator that has not seen
    it, and the scores are calibrated by counting in bins, group by group. The program
    (:class:`fairprog.NearestFair`) says how the population of (bin, label, group) is to move, and
    the estimator is trained once on all rows, with its weights (or, with ``move="labels"``, on
    its labels). To predict takes no group, unless X holds it.

    Parameters
    ----------
    estimator : classifier
        With `fit(X, y, sample_weight=)` and `predict_proba` or `decision_function`.
    thresholds : float, sequence of float, or "all", default 0.5
        On the probability of the last class; `predict` uses the first (of "all" and a range 0.5).
    threshold_range : (float, float), optional
    notion : Notion, default DemographicParity()
    move : {"both", "labels", "masses"}
        Whether rows get weights and labels of either class, new labels, or weights by level.
    base_rates : {"joint", "keep"}, optional
        See :class:`fairprog.NearestFair`.
    uses_group : bool, default False
        Whether the learner sees the group (or a proxy as good) in X: the rules that are made fair
        then are group-aware; else they are rules of the score alone.
    bins : int, default 30
        Quantile bins of the scores.
    cv : int or splitter, default 5
    random_state : int, default 0
        Seed of the folds, and of labels that are drawn.
    sensitive_column : str or int, optional
        Column of X that holds the group; rows to be predicted may come without it.
    keep_sensitive : bool, default False
        Whether `estimator` is given that column as a feature.

    Attributes
    ----------
    solution_ : NearestFairSolution
    sample_weight_ : Array, shape (n,)
        What the rows were weighed by: the program's times those given.
    estimator_ : classifier
    classes_, groups_ : arrays of labels

    Notes
    -----
    The program is exact on the population of bins; a learner is fair on held-out rows only as far
    as it is near to the Bayes rule of the reweighted rows. Where it cannot use its weights well
    (few parameters, early stopping) post-processing of scores gets nearer. One threshold moves
    too little for many learners to notice, and may leave the gap as it was: give several, or a
    range about it. Audit held-out rows.

    Examples
    --------
    >>> import fairprog as fp
    >>> from sklearn.linear_model import LogisticRegression
    >>> D = fp.Normal([[.3, .2], [.3, .2]], [[0., 1.], [2., 2.]], std=[[1., .5], [1., .5]])
    >>> X, y, a = D.sample(4000, random_state=0)
    >>> model = fp.ReweightedClassifier(LogisticRegression()).fit(X, y, sensitive_features=a)
    >>> model.solution_.certificate.ok, model.predict(X).shape
    (True, (4000,))
    """

    def __init__(
        self,
        estimator: Any,
        thresholds: Any = 0.5,
        *,
        threshold_range: tuple[float, float] | None = None,
        notion: Notion | None = None,
        move: str = "labels",
        base_rates: str | None = None,
        uses_group: bool = False,
        margin: float = 0.05,
        bins: int = 30,
        cv: Any = 5,
        random_state: int = 0,
        sensitive_column: str | int | None = None,
        keep_sensitive: bool = False,
    ) -> None:
        self.estimator = estimator
        self.thresholds = thresholds
        self.threshold_range = threshold_range
        self.notion = notion
        self.move = move
        self.base_rates = base_rates
        self.uses_group = uses_group
        self.margin = margin
        self.bins = bins
        self.cv = cv
        self.random_state = random_state
        self.sensitive_column = sensitive_column
        self.keep_sensitive = keep_sensitive

    unknown_group = "error"

    def __sklearn_tags__(self) -> Any:
        """Say that there are two classes."""
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        tags.target_tags.required = True
        tags.input_tags = get_tags(self.estimator).input_tags
        return tags

    def fit(
        self, X: Any, y: Any, *, sensitive_features: Any = None, sample_weight: Any = None
    ) -> Self:
        """Find the population, and train the estimator on it.

        Parameters
        ----------
        X : array_like or data frame, shape (n, d)
        y : array_like, shape (n,)
            Two classes; the last is the positive one.
        sensitive_features : array_like, shape (n,)
            Not with `sensitive_column`.
        sample_weight : array_like, shape (n,), optional

        Raises
        ------
        DataError
            For cells (class, group) too small to be in every fold.
        ModelError
            For an estimator without scores or without weights, options that clash.
        """
        if isinstance(self.cv, str):
            raise ModelError(
                f"`cv` must be a number of folds or a splitter; found {self.cv!r}.", argument="cv"
            )
        y = column_or_1d(y, warn=True) if getattr(y, "ndim", 1) == 2 else y
        features, beside, groups = self._read(X, sensitive_features, reset=True)
        n = _num_samples(features)
        rows = Rows.check(y, groups, sample_weight, n, cross=True, X=X)
        if len(rows.classes) > 2:
            check_binary(rows.classes)
        if len(rows.classes) < 2:
            raise DataError(
                f"`y` holds the one class {list(rows.classes)}; a classifier needs two.",
                argument="y",
            )
        if rows.kept is not None:
            kept = np.flatnonzero(rows.kept)
            features, beside = _safe_indexing(features, kept), _safe_indexing(beside, kept)
        self._keep_labels(rows, groups)
        keys = row_keys(beside, column_order(beside, rows.weight))
        score = self._cross_fitted(features, rows, lots(self.random_state, "folds", keys))
        known: dict[str, Any] = {"sensitive_features": rows.group, "sample_weight": rows.weight}
        names: dict[str, Any] = {"classes": list(rows.classes), "groups": list(rows.groups)}
        counted = Categorical.from_scores(score, y=rows.label, bins=self.bins, **known, **names)
        population = _smoothed(counted, rows.y.size)
        default = isinstance(self.thresholds, float) and self.thresholds == 0.5
        self.solution_ = NearestFair(
            population,
            None if self.threshold_range is not None and default else self.thresholds,
            threshold_range=self.threshold_range,
            notion=self.notion,
            move=self.move,
            base_rates=self.base_rates,
            uses_group=self.uses_group,
        ).solve(margin=self.margin)
        weight = rows.weight * self.solution_.sample_weight(
            rows.label, sensitive_features=rows.group, X=score
        )
        self.estimator_ = trained(self.estimator, features, rows.label, weight)
        self.sample_weight_ = rows.spread(weight)
        if self.sensitive_column is None and hasattr(self.estimator_, "n_features_in_"):
            self.n_features_in_ = self.estimator_.n_features_in_
        return self

    def _cross_fitted(self, features: Any, rows: Rows, lot: Array) -> Array:
        """Return the scores of every row by a model that has not seen it."""
        score = np.full(rows.y.size, np.nan)
        label = rows.label
        for train, test in folds(self.cv, rows, 1, lot):
            model = trained(
                self.estimator, _safe_indexing(features, train), label[train], rows.weight[train]
            )
            score[test] = scores_of(model, _safe_indexing(features, test))
        if np.isnan(score).any():
            raise DataError(
                "`cv` leaves rows that are in no held-out fold; every row needs a score.",
                argument="cv",
            )
        return score

    def predict_proba(self, X: Any, *, sensitive_features: Any = None) -> Array:
        """Return the estimator's probabilities, shape (n, 2); groups are not needed."""
        check_is_fitted(self, "estimator_")
        given = sensitive_features if self.sensitive_column is None else None
        p = scores_of(self.estimator_, self._read(X, given, reset=False, grouped=False)[0])
        return np.stack([1.0 - p, p], axis=1)

    def predict(self, X: Any, *, sensitive_features: Any = None) -> Any:
        """Return the last class where its probability exceeds the first threshold."""
        p = self.predict_proba(X, sensitive_features=sensitive_features)[:, 1]
        several = isinstance(self.thresholds, str) or self.threshold_range is not None
        t = 0.5 if several else float(np.ravel(self.thresholds)[0])
        return self.classes_[(p > t).astype(int)]


def _smoothed(D: Categorical, n: int) -> Categorical:
    """Return the population with one more row per bin and group, of the group's base rates.

    A share that was counted as 0 or 1 could not move.
    """
    mass = D.mass[:, None]
    joint = mass * (D.joint + D.base_rates / n) / (mass + 1.0 / n)
    out = type(D)(joint, values=D.values, classes=D.classes, groups=D.groups)
    out.score_bins, out.effective_rows = D.score_bins, D.effective_rows
    return out
