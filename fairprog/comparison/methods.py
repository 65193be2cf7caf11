"""The methods that are compared: estimators that may see the group, in one table.

Each has ``fit(X, y, sensitive_features=)``, ``predict`` and ``predict_proba``. A new one is a line
of :func:`methods_for`; one that is no step of this package but decides at random has ``decide``,
the probabilities of the classes, beside.
"""

from __future__ import annotations

import importlib.util
import time
import warnings
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import joblib
import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.model_selection import train_test_split
from sklearn.utils import _safe_indexing

from fairprog.errors import DataError
from fairprog.estimators import IdealSteering, ScoreSteering, SteeredClassifier
from fairprog.estimators.fold_rules import most_accurate
from fairprog.estimators.score_maps import OPTIONS
from fairprog.labels import Array, label_array
from fairprog.populations import Categorical
from fairprog.programs import FairClassifier
from fairprog.tables import ErrorRate, Notion

NOTHING = "nothing"
HELD = 0.4  # of the rows: for rules that must not see rows of their model
BINS = 30  # of scores, in which labels are counted


class OnFeatures(ClassifierMixin, BaseEstimator):
    """A learner on features as they are, or as a step leaves them."""

    def __init__(self, estimator: Any, step: Any = None) -> None:
        self.estimator = estimator
        self.step = step

    def fit(self, X: Any, y: Any, *, sensitive_features: Any) -> Self:
        """Fit the step, then the learner on what it returns."""
        self.step_ = None
        if self.step is not None:
            self.step_ = clone(self.step).fit(X, y, sensitive_features=sensitive_features)
        few = getattr(self.step_, "coarse_", False)
        key = np.arange(len(y)) if few else None  # lots of their own, as those held out have
        self.model_ = clone(self.estimator).fit(self.seen(X, sensitive_features, key), y)
        self.classes_ = self.model_.classes_
        return self

    def seen(self, X: Any, sensitive_features: Any, key: Any = None) -> Any:
        """Return what the learner sees."""
        if self.step_ is None:
            return X
        return self.step_.transform(X, sensitive_features=sensitive_features, key=key)

    def predict_proba(self, X: Any, *, sensitive_features: Any, key: Any = None) -> Any:
        """Return the learner's probabilities."""
        return self.model_.predict_proba(self.seen(X, sensitive_features, key))

    def predict(self, X: Any, *, sensitive_features: Any, key: Any = None) -> Any:
        """Return the learner's classes."""
        return self.model_.predict(self.seen(X, sensitive_features, key))


class OnScore(ClassifierMixin, BaseEstimator):
    """A score that is given, the one column of X, as it is or steered; best threshold."""

    def __init__(self, step: Any = None) -> None:
        self.step = step

    def fit(self, X: Any, y: Any, *, sensitive_features: Any) -> Self:
        """Fit the step, and find the threshold of highest accuracy."""
        self.classes_, code = np.unique(y, return_inverse=True)
        if self.step is not None:
            self.step_ = clone(self.step).fit(X, y, sensitive_features=sensitive_features)
        score = self.predict_proba(X, sensitive_features=sensitive_features)[:, 1]
        self.threshold_ = most_accurate(score, code, np.ones(len(code)))
        return self

    def predict_proba(self, X: Any, *, sensitive_features: Any, key: Any = None) -> Array:
        """Return minus the score and the score: what is thresholded, probabilities or not."""
        if self.step is not None:
            X = self.step_.transform(X, sensitive_features=sensitive_features, key=key)
        s = np.asarray(X, dtype=float)[:, 0]
        return np.stack([-s, s], axis=1)

    def predict(self, X: Any, *, sensitive_features: Any, key: Any = None) -> Any:
        """Return the last class where the score is at least the threshold."""
        s = self.predict_proba(X, sensitive_features=sensitive_features, key=key)[:, 1]
        return self.classes_[(s >= self.threshold_).astype(int)]


class HeldOutRule(ClassifierMixin, BaseEstimator):
    """A rule for ONE cost, fitted to scores of rows that its model has not seen."""

    def __init__(self, estimator: Any, notion: Notion, random_state: int = 0) -> None:
        self.estimator = estimator
        self.notion = notion
        self.random_state = random_state

    def fit(self, X: Any, y: Any, *, sensitive_features: Any) -> Self:
        """Fit the learner to 60 % of the rows, the rule to the others."""
        y, a = np.asarray(y), np.asarray(sensitive_features)
        cell = np.unique(y, return_inverse=True)[1] * len(a) + np.unique(a, return_inverse=True)[1]
        own, held = train_test_split(
            np.arange(len(y)), test_size=HELD, random_state=self.random_state, stratify=cell
        )
        self.model_ = clone(self.estimator).fit(_safe_indexing(X, own), y[own])
        self.classes_ = self.model_.classes_
        self._fit_rule(_safe_indexing(X, held), y[held], a[held])
        return self

    def _fit_rule(self, X: Any, y: Any, a: Any) -> None:
        s = self.model_.predict_proba(X)[:, 1]
        D = Categorical.from_scores(s, y=y, bins=BINS, sensitive_features=a)
        self.rule_: Any = FairClassifier(D, ErrorRate(), [self.notion]).solve().classifier

    def decide(self, X: Any, *, sensitive_features: Any) -> Array:
        """Return the probability of deciding each class, shape (n, 2)."""
        s = self.model_.predict_proba(X)[:, 1]
        return np.asarray(
            self.rule_.predict_proba_from_scores(s, sensitive_features=sensitive_features)
        )


class FairlearnRule(HeldOutRule):
    """fairlearn's ThresholdOptimizer: thresholds and lots by group, most accurate."""

    def _fit_rule(self, X: Any, y: Any, a: Any) -> None:
        from fairlearn.postprocessing import ThresholdOptimizer

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its own deprecations are not ours to raise
            self.rule_ = ThresholdOptimizer(
                estimator=self.model_, constraints=FAIRLEARN[self.notion.name],
                prefit=True, predict_method="predict_proba",
            ).fit(X, np.searchsorted(self.classes_, y), sensitive_features=a)  # fmt: skip

    def decide(self, X: Any, *, sensitive_features: Any) -> Array:
        """Return the probability of deciding each class, shape (n, 2)."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return np.asarray(self.rule_._pmf_predict(X, sensitive_features=sensitive_features))


FAIRLEARN = {  # our notion, fairlearn's word
    "equalized_odds": "equalized_odds",
    "equal_opportunity": "true_positive_rate_parity",
    "predictive_equality": "false_positive_rate_parity",
    "demographic_parity": "demographic_parity",
}


def steps_on_features(others: Sequence[Hashable]) -> dict[str, IdealSteering]:
    """Return the steps that move features; `others` move to the largest group."""
    return {
        "features, each group to the largest": IdealSteering(others),
        "features, all groups": IdealSteering(),
    }


def steps_on_scores(others: Sequence[Hashable], **options: Any) -> dict[str, ScoreSteering]:
    """Return the steps that move a score, one for every method of `ScoreSteering`."""
    return {
        f"score, {method}": ScoreSteering(
            others if method == "monotone" else "all", method=method, **options
        )
        for method in OPTIONS["method"]
    }


def methods_for(
    estimator: Any, groups: Sequence[Hashable], notion: Notion, binary: bool = True
) -> dict[str, Any]:
    """Return every method there is for a learner.

    Parameters
    ----------
    estimator : classifier
    groups : sequence
        The largest one last: it stays where others move.
    notion : Notion
    binary : bool
        Whether there are two classes: else features alone can be moved.
    """
    others = list(groups[:-1])
    moved = {name: OnFeatures(estimator, step) for name, step in steps_on_features(others).items()}
    found = {NOTHING: OnFeatures(estimator), **moved}
    if not binary:
        return found
    found |= {
        name: SteeredClassifier(estimator, step) for name, step in steps_on_scores(others).items()
    }
    found["one threshold: FairClassifier"] = HeldOutRule(estimator, notion)
    if importlib.util.find_spec("fairlearn") is not None and notion.name in FAIRLEARN:
        found["one threshold: fairlearn"] = FairlearnRule(estimator, notion)
    return found


@dataclass(eq=False)
class Fits:
    """What learners were fitted to already, so that methods share models of the same rows."""

    models: dict[str, tuple[Any, float]] = field(default_factory=dict, repr=False)
    spared: float = 0.0  # seconds

    def of(self, estimator: Any, *rows: Any, **beside: Any) -> Any:
        """Return a copy of an estimator fitted to these rows, now or before."""
        key = joblib.hash((repr(estimator), rows, beside))
        if key in self.models:
            self.spared += self.models[key][1]
        else:
            start = time.perf_counter()
            model = clone(estimator).fit(*rows, **beside)
            self.models[key] = model, time.perf_counter() - start
        return self.models[key][0]


class RememberedStep(BaseEstimator):
    """A step that is fitted to the same rows only once, whatever learner comes after it."""

    def __init__(self, step: Any, fits: Fits) -> None:
        self.step = step
        self.fits = fits

    def __sklearn_clone__(self) -> RememberedStep:
        return RememberedStep(self.step, self.fits)

    def fit(self, X: Any, y: Any, *, sensitive_features: Any) -> Self:
        """Fit, or take what was fitted to these rows."""
        self.step_ = self.fits.of(self.step, X, y, sensitive_features=sensitive_features)
        return self

    @property
    def coarse_(self) -> bool:
        """Whether copies of rows need keys."""
        return bool(getattr(self.step_, "coarse_", False))

    def transform(self, X: Any, *, sensitive_features: Any, key: Any = None) -> Any:
        """Return what the step does."""
        return self.step_.transform(X, sensitive_features=sensitive_features, key=key)


class Remembered(ClassifierMixin, BaseEstimator):
    """A learner that is fitted to the same rows only once."""

    def __init__(self, estimator: Any, fits: Fits) -> None:
        self.estimator = estimator
        self.fits = fits

    def __sklearn_clone__(self) -> Remembered:
        return Remembered(self.estimator, self.fits)

    def fit(self, X: Any, y: Any) -> Self:
        """Fit, or take what was fitted to these rows."""
        self.model_ = self.fits.of(self.estimator, X, y)
        if not hasattr(self.model_, "predict_proba"):
            raise DataError(
                f"{type(self.estimator).__name__} has no `predict_proba`; `estimator` must give "
                "probabilities.",
                argument="estimator",
            )
        self.classes_ = label_array(self.model_.classes_)
        return self

    def predict_proba(self, X: Any) -> Any:
        """Return the model's probabilities."""
        return self.model_.predict_proba(X)

    def predict(self, X: Any) -> Any:
        """Return the model's classes."""
        return self.model_.predict(X)
