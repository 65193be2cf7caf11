"""Steps on scores beside those of other packages: fit and transform of many rows.

Processor time in seconds, once each. What a step promises differs: ThresholdOptimizer and
FairClassifier are fair in their decisions, EquiPy and ScoreSteering at every threshold.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin

import fairprog as fp
from fairprog.labels import Array

from .timing import Row, benchmark, best_of

__all__ = ["labelled_scores"]

Calls = tuple[Callable[[], Any], Callable[[Any], Any]]  # fit; what moves rows by what was fitted


def labelled_scores(n: int, seed: int = 0) -> tuple[Array, Any, Any]:
    """Return scores, classes and groups (two, with different laws of the score)."""
    rng = np.random.default_rng(seed)
    group = rng.integers(2, size=n)
    y = (rng.random(n) < np.where(group == 1, 0.3, 0.6)).astype(int)
    strength = np.where(group == 1, 0.75, 1.8)
    return 1 / (1 + np.exp(-1.5 * rng.normal(size=n) - (2 * y - 1) * strength)), y, group


class Given(ClassifierMixin, BaseEstimator):
    """A model whose probabilities are the one feature: what ThresholdOptimizer asks for."""

    classes_ = np.array([0, 1])

    def fit(self, X: Array, y: Any) -> Given:
        """Change nothing."""
        return self

    def predict_proba(self, X: Array) -> Array:
        """Return the feature as probabilities of the last class."""
        return np.column_stack([1 - X[:, 0], X[:, 0]])


def ours(method: str, s: Array, y: Any, group: Any) -> Calls:
    """Return fit and transform of `ScoreSteering`."""
    who, key = {"sensitive_features": group}, np.arange(s.size)
    fit = partial(fp.ScoreSteering(method=method).fit, s, y, **who)
    return fit, lambda step: step.transform(s, key=key, **who)


def fair_classifier(s: Array, y: Any, group: Any) -> Calls:
    """Return fit and decisions of `FairClassifier` with equalized odds, counting included."""

    def fit() -> Any:
        counts = fp.ScoreCounts().partial_fit(s, y, sensitive_features=group)
        return fp.FairClassifier(counts, fp.ErrorRate(), [fp.EqualizedOdds()]).solve().classifier

    return fit, lambda rule: rule.predict_proba_from_scores(s, sensitive_features=group)


def threshold_optimizer(s: Array, y: Any, group: Any) -> Calls:
    """Return fit and decisions of fairlearn's ThresholdOptimizer with equalized odds."""
    from fairlearn.postprocessing import ThresholdOptimizer

    rule = ThresholdOptimizer(
        estimator=Given(), constraints="equalized_odds", prefit=True,
        predict_method="predict_proba",
    )  # fmt: skip
    X = s[:, None]
    fit = partial(rule.fit, X, y, sensitive_features=group)
    return fit, lambda fitted: fitted._pmf_predict(X, sensitive_features=group)


def barycentre(s: Array, y: Any, group: Any) -> Calls:
    """Return fit and transform of EquiPy's FairWasserstein (demographic parity)."""
    from equipy.fairness import FairWasserstein

    step = FairWasserstein()

    def fit() -> Any:
        step.fit(s, group)
        return step

    return fit, lambda fitted: fitted.transform(s, group)


NAMED: dict[str, tuple[str, Callable[[Array, Any, Any], Calls]]] = {
    "ScoreSteering, quantile": ("", partial(ours, "quantile")),
    "ScoreSteering, channel": ("", partial(ours, "channel")),
    "FairClassifier": ("", fair_classifier),
    "fairlearn, ThresholdOptimizer": ("fairlearn", threshold_optimizer),
    "EquiPy, FairWasserstein": ("equipy", barycentre),
}
SIZES = (100_000, 1_000_000)


@benchmark
def peers_on_scores() -> list[Row]:
    """Fit and move 100,000 and 1,000,000 rows of two groups."""
    rows: list[Row] = []
    for n in SIZES:
        scores = labelled_scores(n)
        for name, (needs, make) in NAMED.items():
            if needs and importlib.util.find_spec(needs) is None:
                rows.append((f"{name}: not installed (pip install {needs})", np.nan, "", ""))
                continue
            fit, move = make(*scores)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # deprecations inside peers
                fitted, step = best_of(1, fit)
                moved, _ = best_of(1, partial(move, step))
            rows += [
                (f"{n:,} rows: {name}, fit", fitted, "s", ""),
                (f"{n:,} rows: {name}, transform", moved, "s", ""),
            ]
    return rows
