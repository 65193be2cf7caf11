"""`SteeredClassifier`: any learner, its scores steered by maps fitted on held-out rows."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from itertools import product
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin, MetaEstimatorMixin, clone
from sklearn.exceptions import NotFittedError
from sklearn.utils import _safe_indexing, column_or_1d, get_tags
from sklearn.utils.validation import (
    _num_samples,
    check_is_fitted,
)

from fairprog.door import Rows, refuse_reordered
from fairprog.errors import DataError, ModelError
from fairprog.estimators.fold_rules import FoldRules, is_probability, most_accurate
from fairprog.estimators.folds import folds
from fairprog.estimators.learner import Learner, scores_of, trained
from fairprog.estimators.score_columns import check_binary
from fairprog.estimators.score_steering import ScoreSteering
from fairprog.evidence.few_rows import few_rows_said, warn_of_few_rows
from fairprog.labels import Array, Indices, check_number, check_weights, label_vector
from fairprog.lots import Keys, column_order, keys_for, lots, row_keys
from fairprog.numeric import without_dust
from fairprog.populations.cell_checks import check_classes
from fairprog.solution import ScoreSolution
from fairprog.tables import Notion


class SteeredClassifier(Learner, MetaEstimatorMixin, ClassifierMixin, FoldRules):
    """A binary classifier whose scores have equalized odds at every threshold.

    Every fold trains a copy of the estimator on the other folds, scores its own rows, which that
    copy has not seen, and fits a :class:`fairprog.ScoreSteering` to them. Model and map stay
    together: `predict_proba` steers the scores of every copy by its own map and averages. With
    method "channel" every row is served by ONE copy, drawn by its key: a mean of fair scores is
    not fair.

    Parameters
    ----------
    estimator : classifier
        Anything with `fit` and `predict_proba` (or `decision_function`: its logistic is taken).
    steering : ScoreSteering, optional
        Cloned for every fold; space "logit". Default ``ScoreSteering()``.
    cv : int, float in (0, 1), "prefit" or splitter, default 5
        Number of folds (stratified by class and group); a share: ONE model, that share of the
        rows held out for its map; "prefit": `estimator` is fitted already, and the rows given to
        `fit`, which it has NOT seen, are for its map; or any splitter of scikit-learn, whose
        folds must hold every class of every group.
    threshold : "accuracy" or float in [0, 1], default "accuracy"
        Above which the last class is predicted; "accuracy": the one, common to all groups, that
        is most accurate on the held-out steered scores.
    random_state : int, default 0
        Seed of the folds. Tied scores go by the seed of `steering`.
    sensitive_column : str or int, optional
        Name (of a data frame) or position of the column of X that holds the group. Scorers,
        searches, calibration, voting and permutation importance then need no metadata routing.
        With ``uses_group=False`` rows to be predicted may come without it.
    keep_sensitive : bool, default False
        Whether `estimator` is given that column as a feature.
    merge_groups : mapping, optional
        Which groups are to be read as which others; default that of `steering`.
    unknown_group : {"error", "pooled"}
        What becomes of a row of a group that was not there in `fit`: refused, or moved by the
        mean of the groups' maps, weighted as the groups were.
    notion : Notion or other constraint, such as RateBound, optional
        Instead of steering scores for every threshold: decide as the most accurate classifier does
        that satisfies this notion, any number of classes. `steering` and `threshold` are not used
        then, and the largest probability decides.
    uses_group : bool, default True
        Whether the groups of rows are known when it is used. If not, copies of the estimator learn
        label and group together (as one number, G times the place of the class plus that of the
        group: so must a "prefit" one), decisions look at X alone, and the notion is
        ``EqualizedOdds()`` if none is given. `steering` and `threshold` are refused then.

    Attributes
    ----------
    estimators_ : list of classifiers
    steerings_ : list of ScoreSteering
    threshold_ : float
    classes_, groups_ : arrays of labels
    notion_ : Notion or None
        The notion by which it decides; None where scores are steered for every threshold.
    rules_ : list
        With a notion: per fold what predicting j is worth where the class is i, the group a, and
        with what chance that decides.
    class_offsets_ : Array, shape (folds, G, K), or None
        With a notion on true positive rates: what is added to the log of a class's score.

    Notes
    -----
    Why not one model, refitted on all rows, and one map of its cross-validated scores? Those
    scores are the scores of OTHER models. The refitted one has seen more rows and spreads its
    scores wider, in large groups more than in small ones, and the map no longer fits: with boosted
    trees on Law School data the worst gap over thresholds given Y = 1 is 0.07 by maps of the same
    models and 0.17 that way. So: never `cross_val_predict`, then `fit`, then steer.

    It holds learners of any kind; keep a fitted one as those are, by ``joblib.dump(model, path)``.

    Examples
    --------
    >>> import fairprog as fp
    >>> from sklearn.linear_model import LogisticRegression
    >>> D = fp.Normal([[.3, .2], [.3, .2]], [[0., 1.], [2., 2.]], std=[[1., .5], [1., .5]])
    >>> X, y, a = D.sample(4000, random_state=0)
    >>> model = fp.SteeredClassifier(LogisticRegression()).fit(X, y, sensitive_features=a)
    >>> guess = model.predict(X, sensitive_features=a)
    >>> table = fp.OutcomeTable.from_predictions(y, guess, sensitive_features=a)
    >>> fp.EqualizedOdds().gap(table) < 0.1
    True
    """

    def __init__(
        self,
        estimator: Any,
        steering: ScoreSteering | None = None,
        cv: Any = 5,
        *,
        threshold: str | float = "accuracy",
        random_state: int = 0,
        sensitive_column: str | int | None = None,
        keep_sensitive: bool = False,
        merge_groups: Mapping[Any, Any] | None = None,
        unknown_group: str = "error",
        notion: Notion | None = None,
        uses_group: bool = True,
    ) -> None:
        self.estimator = estimator
        self.steering = steering
        self.cv = cv
        self.threshold = threshold
        self.random_state = random_state
        self.sensitive_column = sensitive_column
        self.keep_sensitive = keep_sensitive
        self.merge_groups = merge_groups
        self.unknown_group = unknown_group
        self.notion = notion
        self.uses_group = uses_group

    _shared: bool
    _order: Indices

    def __sklearn_tags__(self) -> Any:
        """Say that there are two classes, unless a notion is given."""
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = self._decides
        tags.input_tags = get_tags(self.estimator).input_tags
        return tags

    def fit(
        self, X: Any, y: Any, *, sensitive_features: Any = None, sample_weight: Any = None
    ) -> Self:
        """Train a model and a map on every fold.

        Parameters
        ----------
        X : array_like or data frame, shape (n, d)
            Whatever the estimator takes; the group is not added to it.
        y : array_like, shape (n,)
            Two classes, the last the positive one; with a `notion` any number.
        sensitive_features : array_like, shape (n,) or (n, k), or a data frame
        sample_weight : array_like, shape (n,), optional

        Raises
        ------
        DataError
            As ScoreSteering; for cells (class, group) too small to be in every fold, or not in
            one.
        ModelError
            For an estimator without scores, options that clash.

        Warns
        -----
        FairprogWarning
            If a cell has few rows; and as ScoreSteering, of the rows of a fold.
        """
        steering = self._steering
        if not isinstance(steering, ScoreSteering):
            raise ModelError(
                "`steering` must be a ScoreSteering, for instance "
                f"ScoreSteering(method='channel'); found {steering!r}.",
                argument="steering",
            )
        if self.steering is not None and not self.uses_group:
            raise ModelError(
                "`steering` moves the scores of a group, and with uses_group=False the group of "
                "new rows is not known: leave `steering` out.",
                argument="steering",
            )
        if self.threshold != "accuracy" and not self.uses_group:
            raise ModelError(
                "`threshold` is one of steered scores, and with uses_group=False the largest "
                "probability decides: leave `threshold` out.",
                argument="threshold",
            )
        if steering.space != "logit":
            raise ModelError(
                "`steering` must have space='logit': probabilities are steered and returned.",
                argument="steering",
            )
        if not (self.threshold == "accuracy" or is_probability(self.threshold)):
            raise ModelError(
                f"`threshold` must be 'accuracy' or a number in [0, 1]; found {self.threshold!r}.",
                argument="threshold",
            )
        y = column_or_1d(y, warn=True) if getattr(y, "ndim", 1) == 2 else y
        features, beside, groups = self._read(X, sensitive_features, reset=True)
        n = _num_samples(features)
        rows = Rows.check(y, groups, sample_weight, n, merge_groups=self._merged, cross=True, X=X)
        check_classes(rows.classes, n)
        if len(rows.classes) > 2 and not self._decides:
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
        self._order = column_order(beside, rows.weight)
        keys = row_keys(beside, self._order)
        levels = steering._levels(keys)
        least = int(check_number(steering.min_cell, "min_cell", 1))
        splits = folds(self.cv, rows, least, lots(self.random_state, "folds", keys))
        warn_of_few_rows(rows.cells, rows.classes, rows.groups)
        if self._decides:
            return self._fit_rules(features, rows, splits, sample_weight is not None, groups)
        label, group, shares = rows.label, rows.group, np.eye(len(rows.groups))[rows.a]
        self.estimators_, self.steerings_, self._shared, self.notion_ = [], [], False, None
        moved, tested = [], []
        for train, test in splits:
            model = self._trained(
                _safe_indexing(features, train),
                label[train],
                None if sample_weight is None else rows.weight[train],
                rows.classes,
            )
            s = without_dust(scores_of(model, _safe_indexing(features, test)))
            with warnings.catch_warnings():
                few_rows_said()
                step = clone(steering).fit(
                    s, label[test], sensitive_features=group[test], sample_weight=rows.weight[test]
                )
            self.estimators_.append(model)
            self.steerings_.append(step)
            moved.append(step._steered(s, shares[test], levels[test]))
            tested.append(test)
            self._shared |= step._shares_lots(rows.a[test], s, keys[test])
        self._keep_names()
        if self.threshold == "accuracy":
            own = np.concatenate(tested)
            s = without_dust(np.concatenate(moved))
            self.threshold_ = most_accurate(s, rows.y[own], rows.weight[own])
        else:
            self.threshold_ = float(self.threshold)
        return self

    @property
    def _steering(self) -> ScoreSteering:
        return ScoreSteering() if self.steering is None else self.steering

    @property
    def _merged(self) -> Mapping[Any, Any] | None:
        return self._steering.merge_groups if self.merge_groups is None else self.merge_groups

    def _trained(
        self, X: Any, y: NDArray[Any], weight: Array | None, classes: tuple[Any, ...]
    ) -> Any:
        """Return a copy of the estimator, trained; itself where it comes fitted."""
        if isinstance(self.cv, str):
            try:
                check_is_fitted(self.estimator)
            except NotFittedError:
                raise ModelError(
                    "cv='prefit' takes an `estimator` that is fitted already, on other rows than "
                    f"these; {type(self.estimator).__name__} is not. Fit it, or give a number of "
                    "folds.",
                    argument="cv",
                ) from None
            known = np.asarray(getattr(self.estimator, "classes_", classes)).tolist()
            if known != list(classes):
                needed = f"`y` has the classes {list(classes)}"
                if not self.uses_group:
                    cells = product(self.classes_.tolist(), self.groups_.tolist())
                    codes = "; ".join(f"{k}: {c!r} of {g!r}" for k, (c, g) in enumerate(cells))
                    needed = (
                        "With uses_group=False a prefit `estimator` must have learned label and "
                        f"group together, as one number ({codes})"
                    )
                raise DataError(f"{needed}; `estimator` was fitted to {known}.", argument="y")
            return self.estimator
        return trained(self.estimator, X, y, weight)

    def predict_proba(self, X: Any, *, sensitive_features: Any = None, key: Any = None) -> Array:
        """Return the mean steered probabilities of the folds' models, shape (n, 2).

        With a `notion`, shape (n, K): the mean of the adjusted scores whose largest one decides.

        Parameters
        ----------
        X : array_like or data frame, shape (n, d)
        sensitive_features : array_like, shape (n,) or (n, k), or probabilities (n, G), optional
            As for :meth:`ScoreSteering.transform`; not with `sensitive_column`, and not needed
            with ``uses_group=False``.
        key : array_like, shape (n,), optional
            Identifiers of the rows, by which tied scores are split; default the rows of X.

        Raises
        ------
        DataError
            For groups that are missing or were not seen in `fit`.

        Warns
        -----
        FairprogWarning
            Where tied scores are split and most keys are repetitions, those given, or without a
            `key` the rows themselves.
        """
        check_is_fitted(self, "estimators_")
        features, beside, groups = self._read(X, sensitive_features, False, self.uses_group)
        refuse_reordered(X=X, sensitive_features=groups, key=key)
        if self._decides:
            gain, share, law = self._decided(features, groups, _num_samples(features))
            return share * gain + (1.0 - share) * law
        n = _num_samples(features)
        shares = self._shares(groups, n)
        drawing = any(step._draws for step in self.steerings_)
        keys = keys_for(beside, key, n, self._order, "Tied scores" * self._shared, drawing)
        levels = self.steerings_[0]._levels(keys)
        served = self._served(keys)
        p = np.zeros(n)
        for k, (model, step) in enumerate(zip(self.estimators_, self.steerings_, strict=True)):
            if served is None:
                p += step._steered(scores_of(model, features), shares, levels)
            elif (own := np.flatnonzero(served == k)).size:
                s = scores_of(model, _safe_indexing(features, own))
                p[own] = step._steered(s, shares[own], levels[own])
        p = p / len(self.steerings_) if served is None else p
        return np.stack([1.0 - p, p], axis=1)

    def _served(self, keys: Keys) -> Indices | None:
        """Return the fold that serves each row, where scores are drawn; None: all, averaged.

        A mean of fair scores is not fair: scores that are each fair may go together in one group
        and apart in another.
        """
        if not isinstance(self.steerings_[0].solution_, ScoreSolution):
            return None
        lot = lots(self.random_state, "which fold serves", keys)
        return (lot * len(self.steerings_)).astype(np.intp)

    def predict(self, X: Any, *, sensitive_features: Any = None, key: Any = None) -> Any:
        """Return the last class where its probability is at least `threshold_`.

        With a `notion` the class of the largest adjusted score; in groups that are levelled down
        some rows get a class drawn by their lot, see `key` of :meth:`predict_proba`.
        """
        if self._decides:
            check_is_fitted(self, "estimators_")
            features, beside, groups = self._read(X, sensitive_features, False, self.uses_group)
            n = _num_samples(features)
            decided = self._decided(features, groups, n)
            keys = keys_for(beside, key, n, self._order, drawing=bool(decided[1].min() < 1.0))
            return self.classes_[self._drawn(decided, keys)]
        p = self.predict_proba(X, sensitive_features=sensitive_features, key=key)[:, 1]
        return self.classes_[(p >= self.threshold_).astype(int)]

    def score(
        self, X: Any, y: Any, *,
        sensitive_features: Any = None, sample_weight: Any = None, key: Any = None,
    ) -> float:  # fmt: skip
        """Return the accuracy."""
        refuse_reordered(
            X=X, y=y, sensitive_features=sensitive_features, sample_weight=sample_weight
        )
        guess = self.predict(X, sensitive_features=sensitive_features, key=key)
        right = guess == label_vector(y, "y", guess.size)
        return float(np.average(right, weights=check_weights(sample_weight, right.size)))
