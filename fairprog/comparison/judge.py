"""`compare`: methods on one set of splits, one by one, measured on rows held out."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import get_scorer
from sklearn.model_selection import StratifiedKFold
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _num_samples

from fairprog.comparison.measures import Judged, group_reading, passing
from fairprog.comparison.methods import NOTHING, Fits, OnFeatures, Remembered, methods_for
from fairprog.comparison.result import Comparison
from fairprog.door import Rows
from fairprog.errors import DataError, FairprogError, FairprogWarning, ModelError
from fairprog.labels import Array, Indices, column_names
from fairprog.tables import EqualizedOdds, Notion

EACH = 2  # rows of every cell in each fold, as `SteeredClassifier` needs them
Splits = list[tuple[Indices, Indices]]


def compare(
    estimator: Any,
    X: Any,
    y: ArrayLike,
    *,
    sensitive_features: Any,
    methods: str | Mapping[str, Any] | Iterable[str] = "auto",
    cv: Any = 5,
    notion: Notion | None = None,
    scoring: str = "accuracy",
    random_state: int = 0,
    progress: bool = True,
) -> Comparison:
    """Measure every way of making a learner fair on the same held-out rows, beside doing nothing.

    Parameters
    ----------
    estimator : classifier
        With `predict_proba`; it never sees the group unless X holds it.
    X : array_like or data frame, shape (n, d)
    y : array_like, shape (n,)
        Classes; of two the last is the positive one.
    sensitive_features : array_like, shape (n,) or (n, k), or a data frame
        Group of each row; several columns are crossed.
    methods : "auto", names of these, or dict of name to estimator
        "auto": features moved by :class:`IdealSteering` (each group to the largest, all groups),
        scores by :class:`SteeredClassifier` with every method of :class:`ScoreSteering`, rules
        for one threshold by :class:`FairClassifier` and fairlearn's ThresholdOptimizer, where it
        is installed. Your own: anything with ``fit``, ``predict`` and ``predict_proba``, which
        are given `sensitive_features` where they take it. "nothing" is always among them.
    cv : int, splitter or iterable of (train, test), default 5
        A number of folds: drawn at random, a share of every class and group in each.
    notion : Notion, default EqualizedOdds()
        Of the gap at the method's own threshold, and of the gap at the worst one.
    scoring : str
        A scorer of scikit-learn by name: what may be lost. The accuracy counts lots by their
        probability.
    random_state : int
        Seed of the folds, of chance, and of rules that hold rows out.
    progress : bool
        Show a progress bar on a terminal.

    Returns
    -------
    Comparison
        ``.best(max_loss=)`` chooses; ``.summary()``, ``.to_frame()``, ``.plot()``, ``.to_html()``.

    Raises
    ------
    DataError
        For missing values, one class or group, a cell (class, group) with fewer rows than
        two in every fold.
    ModelError
        For a method that is not known.

    Warns
    -----
    FairprogWarning
        Naming methods that could not run, and why.

    Examples
    --------
    >>> import fairprog as fp
    >>> from sklearn.linear_model import LogisticRegression
    >>> D = fp.Normal([[.3, .2], [.3, .2]], [[0., 1.], [2., 3.5]], std=[[1., 1.], [1., 1.5]])
    >>> X, y, a = D.sample(2000, random_state=0)
    >>> found = fp.compare(LogisticRegression(), X, y, sensitive_features=a, cv=3,
    ...                    methods=["features, each group to the largest", "score, quantile"])
    >>> list(found.values)
    ['nothing', 'features, each group to the largest', 'score, quantile']
    """
    learns = hasattr(estimator, "predict_proba") and not isinstance(estimator, type)
    if estimator is not None and not learns:  # None: all methods are the user's own
        kind = type(estimator).__name__
        advice = "Without one, wrap it: sklearn.calibration.CalibratedClassifierCV(estimator)."
        if not hasattr(estimator, "fit"):
            advice = "It comes first: compare(estimator, X, y, sensitive_features=...)."
        elif isinstance(estimator, type):
            kind, advice = "a class", f"Make one of it: {estimator.__name__}()."
        raise ModelError(
            f"`estimator` must be a classifier with `predict_proba`; found {kind}. {advice}",
            argument="estimator",
        )
    if notion is not None and not isinstance(notion, Notion):
        raise ModelError(
            f"`notion` must be a notion such as fp.EqualizedOdds(); found {notion!r}.",
            argument="notion",
        )
    asked = methods, cv, notion, scoring, random_state, progress
    return _compare(estimator, X, y, sensitive_features, *asked)


def _compare(
    estimator: Any, X: Any, y: Any, sensitive_features: Any, methods: Any, cv: Any,
    notion: Notion | None, scoring: str, random_state: int, progress: bool, reads: bool = True,
) -> Comparison:  # fmt: skip
    """Compare; `reads` is whether the group is read from features, which takes its time."""
    column_names(X)
    n = _num_samples(X)
    rows = Rows.check(y, sensitive_features, None, n, cross=True, X=X)
    rows.require(1)
    for what, labels in (("class", rows.classes), ("group", rows.groups)):
        if len(labels) < 2:
            raise DataError(
                f"All rows are of {what} {labels[0]!r}; at least two are needed to compare.",
                argument="y" if what == "class" else "sensitive_features",
            )
    wanted = EqualizedOdds() if notion is None else notion
    sizes = np.bincount(rows.a)
    order = [rows.groups[k] for k in np.argsort(sizes, kind="stable")]
    known = methods_for(estimator, order, wanted, binary=len(rows.classes) == 2)
    chosen = _chosen(methods, known, estimator)
    splits = splits_of(cv, rows, random_state)
    values: dict[str, list[list[float]]] = {name: [] for name in chosen}
    why: dict[str, str] = {}
    judge = _Judge(X, rows, wanted, scoring, random_state, reads)
    for k, (name, measured) in enumerate(judge.measured(chosen, splits, progress)):
        if isinstance(measured, str):
            why.setdefault(name, f"{measured} (split {k // len(chosen) + 1})")
        else:
            values[name].append(measured)
    for name, reason in why.items():
        values.pop(name)
        warnings.warn(f"{name!r} is left out: {reason}", FairprogWarning, stacklevel=2)

    def again(own: Indices, cv: Any) -> Comparison:
        those = {name: chosen[name] for name in values}
        return _compare(
            estimator, _safe_indexing(X, own), rows.label[own], rows.group[own], those, cv,
            wanted, scoring, random_state, progress, reads=False,
        )  # fmt: skip

    return Comparison(
        values={name: np.array(found) for name, found in values.items()},
        methods={name: chosen[name] for name in values},
        notion=wanted,
        scoring=scoring,
        classes=rows.classes,
        groups=rows.groups,
        counts=rows.cells,
        failures=why,
        splits=splits,
        _again=again,
    )


def _chosen(methods: Any, known: dict[str, Any], estimator: Any) -> dict[str, Any]:
    if isinstance(methods, Mapping):
        return {NOTHING: OnFeatures(estimator)} | dict(methods)
    if isinstance(methods, str):
        if methods != "auto":
            raise ModelError(
                f"`methods` must be 'auto', a list of {list(known)}, or a dict of estimators; "
                f"found {methods!r}.",
                argument="methods",
            )
        return known
    wanted = [NOTHING, *(name for name in methods if name != NOTHING)]
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise ModelError(
            f"`methods` holds {unknown[0]!r}; known are {list(known)}.", argument="methods"
        )
    return {name: known[name] for name in wanted}


def splits_of(cv: Any, rows: Rows, random_state: int) -> Splits:
    """Return (train, test) of every split; a number of folds is drawn cell by cell."""
    cell = len(rows.groups) * rows.y + rows.a
    if isinstance(cv, (int, np.integer)) and not isinstance(cv, bool):
        if cv < 2:
            raise ModelError(f"`cv` must be at least 2; found {cv}.", argument="cv")
        rows.require_folds(int(cv), EACH)
        cv = StratifiedKFold(int(cv), shuffle=True, random_state=random_state)
    try:
        if hasattr(cv, "split"):
            cv = cv.split(np.zeros((cell.size, 1)), cell)
        return [(np.asarray(train), np.asarray(test)) for train, test in cv]
    except ValueError as error:  # of scikit-learn, about cells that are too small
        raise DataError(f"`cv` cannot split these rows: {error}", argument="cv") from error


@dataclass(frozen=True, eq=False)
class _Judge:
    """What all methods are asked, on the same rows."""

    X: Any
    rows: Rows
    notion: Notion
    scoring: str
    random_state: int
    reads: bool

    def measured(
        self, methods: Mapping[str, Any], splits: Splits, progress: bool
    ) -> Iterator[tuple[str, list[float] | str]]:
        """Yield (method, its figures, or why there are none), split by split."""
        from tqdm import tqdm

        total = len(splits) * len(methods)
        hide = None if progress else True  # None: shown on a terminal only
        with tqdm(total=total, desc="comparing", unit="fit", disable=hide, leave=False) as bar:
            for train, test in splits:
                fits, read = Fits(), dict[str, float]()
                for name, method in methods.items():
                    bar.set_postfix_str(name, refresh=False)
                    try:
                        yield name, self.figures(method, train, test, fits, read)
                    except FairprogError as error:  # what a method cannot do is a finding
                        yield name, str(error)
                    except ValueError as error:  # of a learner: some rows, or all, it cannot take
                        said = (
                            f"{str(error).rstrip('.')}. The split has {len(train)} training rows, "
                            f"and the smallest cell (class, group) {self.rows.cells.min()} in "
                            "all: if that is too few, gather more, join groups, or take fewer "
                            "folds (`cv`)"
                        )
                        if name == NOTHING:
                            raise DataError(f"The learner cannot be trained: {said}.") from error
                        yield name, said
                    bar.update()

    def figures(
        self, method: Any, train: Indices, test: Indices, fits: Fits, read: dict[str, float]
    ) -> list[float]:
        """Fit a copy of a method to training rows and return FIGURES of test rows."""
        rows, group = self.rows, self.rows.group
        X_train, X_test = (_safe_indexing(self.X, own) for own in (train, test))
        fitted = _remembering(method, fits)
        start, spared = time.perf_counter(), fits.spared
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FairprogWarning)  # the table says what they would
            warnings.simplefilter("ignore", ConvergenceWarning)
            passing(fitted.fit, X_train, rows.label[train], sensitive_features=group[train])
            seconds = time.perf_counter() - start + fits.spared - spared
            labels = rows.classes, rows.groups
            found = Judged.of(fitted, X_test, rows.y[test], rows.a[test], labels, group[test])
            told = float("nan")
            if self.reads:
                step = fitted.step_ if hasattr(fitted, "seen") else None
                which = "raw" if step is None else repr(step)
                if which not in read:
                    parts = [(X_train, train), (X_test, test)]
                    if step is not None:
                        parts = [(fitted.seen(Z, group[k], k), k) for Z, k in parts]
                    read[which] = group_reading(*((Z, rows.a[k]) for Z, k in parts))
                told = read[which]
        score = found.table.accuracy
        if self.scoring != "accuracy":
            score = get_scorer(self.scoring)(_Said(found), X_test, rows.label[test])
        worst = found.worst(self.notion, np.random.default_rng(self.random_state))
        figures = (score, self.notion.gap(found.table), *worst, found.lot, told, seconds)
        return list(map(float, figures))


def _remembering(method: Any, fits: Fits) -> Any:
    """Return a copy of a method whose learner is fitted to the same rows once."""
    out = clone(method)
    if hasattr(out, "estimator"):
        out.set_params(estimator=Remembered(out.estimator, fits))
    return out


class _Said(ClassifierMixin, BaseEstimator):
    """What a method said of test rows, as a fitted classifier that scorers can ask."""

    def __init__(self, found: Judged) -> None:
        self.found, self.classes_ = found, np.array(found.classes)

    def predict(self, X: Any) -> Any:
        return self.classes_[self.found.decided.argmax(axis=1)]

    def predict_proba(self, X: Any) -> Array:
        return self.found.decided if self.found.score is None else self.found.score
