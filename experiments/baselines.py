"""What others do, behind one interface, beside what we do.

A `Method` takes a `Base`, a split with a fitted model, and says what it decides on test rows.
Methods that change features are steps with ``fit(X, y, sensitive_features=)`` and
``transform(X, sensitive_features=)``, like `IdealSteering`; the model is fitted on what they
return. Methods on scores get scores of held-out rows, from the model fitted without these rows.

Moment matching and LEACE are written here in a few lines each after their papers; fairlearn's
three come from the package, where it is installed.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

import numpy as np

import fairprog as fp
from fairprog.labels import Array

from .protocol import Codes, Outcome, Rows, Split, threshold

__all__ = [
    "BOUNDS",
    "FAIRLEARN",
    "FRONTIER",
    "LEACE",
    "METHODS",
    "Base",
    "CorrelationRemover",
    "CovarianceMatching",
    "MeanMatching",
    "Method",
    "Step",
    "feature_step",
    "kamiran_calders_weights",
    "missing",
    "score_step",
]

NULL = 1e-9  # directions with less than this share of the largest variance are left alone


class Step(Protocol):
    """A step that changes features and may see the group, never the label, when it does."""

    def fit(self, X: Array, y: Any, *, sensitive_features: Any) -> Any:
        """Learn from rows with labels and groups."""

    def transform(self, X: Array, *, sensitive_features: Any) -> Any:
        """Return the features of rows, changed."""


Learner = Callable[[], Any]
Method = Callable[["Base"], Outcome]


# ------------------------------------------------------------------------- steps on features


@dataclass
class MeanMatching:
    """Move the mean of every group to that of one: x - mean_a + mean_reference."""

    reference: Any = 1
    shift: dict[Any, Array] = field(default_factory=dict, init=False)

    def fit(self, X: Array, y: Any, *, sensitive_features: Any) -> Self:
        a = np.asarray(sensitive_features)
        goal = X[a == self.reference].mean(axis=0)
        self.shift = {g: goal - X[a == g].mean(axis=0) for g in np.unique(a).tolist()}
        return self

    def transform(self, X: Array, *, sensitive_features: Any) -> Array:
        return X + np.stack([self.shift[g] for g in np.asarray(sensitive_features).tolist()])


@dataclass
class CovarianceMatching:
    """Match mean and covariance of every group to those of one (MiMiC; Singh et al., 2024).

    The Euclidean optimal transport between the normal laws fitted to the groups, without labels:
    x -> m_r + A (x - m_a), A = S_a^{-1/2} (S_a^{1/2} S_r S_a^{1/2})^{1/2} S_a^{-1/2}.
    """

    reference: Any = 1
    maps: dict[Any, tuple[Array, Array]] = field(default_factory=dict, init=False)

    def fit(self, X: Array, y: Any, *, sensitive_features: Any) -> Self:
        a = np.asarray(sensitive_features)
        goal = X[a == self.reference]
        S = np.atleast_2d(np.cov(goal, rowvar=False, bias=True))
        for g in np.unique(a).tolist():
            own = X[a == g]
            root, inverse = _roots(np.atleast_2d(np.cov(own, rowvar=False, bias=True)))
            A = inverse @ _roots(root @ S @ root)[0] @ inverse
            if g == self.reference:
                A = np.eye(X.shape[1])
            self.maps[g] = A, goal.mean(axis=0) - A @ own.mean(axis=0)
        return self

    def transform(self, X: Array, *, sensitive_features: Any) -> Array:
        a, out = np.asarray(sensitive_features), X.copy()
        for g, (A, b) in self.maps.items():
            out[a == g] = X[a == g] @ A.T + b
        return out


@dataclass
class LEACE:
    """Least-squares concept erasure (Belrose et al., 2023): the group cannot be read linearly.

    r(x) = x - W^+ P W (x - E x), W = (S_XX^{1/2})^+ and P the orthogonal projection onto the
    columns of W S_XZ, Z the indicators of the groups. Among all affine maps whose image has no
    covariance with Z, the one that moves least. It never needs the group to transform.
    """

    mean: Array = field(default_factory=lambda: np.zeros(0), init=False)
    eraser: Array = field(default_factory=lambda: np.zeros((0, 0)), init=False)

    def fit(self, X: Array, y: Any, *, sensitive_features: Any) -> Self:
        a = np.asarray(sensitive_features)
        Z = (a[:, None] == np.unique(a)[1:]).astype(float)
        self.mean = X.mean(axis=0)
        centred = X - self.mean
        root, inverse = _roots(centred.T @ centred / len(X))
        U, s, _ = np.linalg.svd(inverse @ (centred.T @ (Z - Z.mean(axis=0))) / len(X), False)
        U = U[:, s > NULL]
        self.eraser = np.eye(X.shape[1]) - root @ U @ U.T @ inverse
        return self

    def transform(self, X: Array, *, sensitive_features: Any = None) -> Array:
        out: Array = self.mean + (X - self.mean) @ self.eraser.T
        return out


@dataclass
class CorrelationRemover:
    """fairlearn's: residuals of a regression on the centred group."""

    remover: Any = field(default=None, init=False)

    def fit(self, X: Array, y: Any, *, sensitive_features: Any) -> Self:
        from fairlearn.preprocessing import CorrelationRemover as Remover

        table = np.column_stack([X, _indicator(sensitive_features)])
        self.remover = Remover(sensitive_feature_ids=[X.shape[1]]).fit(table)
        return self

    def transform(self, X: Array, *, sensitive_features: Any) -> Array:
        table = np.column_stack([X, _indicator(sensitive_features)])
        return np.asarray(self.remover.transform(table), dtype=float)


def _indicator(group: Any) -> Array:
    return np.asarray(group, dtype=float)


def _roots(S: Array) -> tuple[Array, Array]:
    """Return the symmetric root of a covariance and its pseudo-inverse."""
    values, vectors = np.linalg.eigh(S)
    kept = values > NULL * values[-1]
    root = np.sqrt(np.where(kept, values, 0.0))
    inverse = np.divide(1.0, root, out=np.zeros_like(root), where=kept)
    return (vectors * root) @ vectors.T, (vectors * inverse) @ vectors.T


# ------------------------------------------------------------------------------------ methods


@dataclass(frozen=True)
class Base:
    """A split, a learner, and the model it fits on the split's rows as they are."""

    split: Split
    learner: Learner
    model: Any
    held: Array  # scores of held-out rows
    test: Array  # scores of test rows

    @classmethod
    def fit(cls, split: Split, learner: Learner) -> Base:
        """Fit the model."""
        model = learner().fit(split.fit.X, split.fit.y)
        return cls(split, learner, model, *(_score(model, r.X) for r in (split.held, split.test)))


def _score(model: Any, X: Array) -> Array:
    return np.asarray(model.predict_proba(X)[:, 1], dtype=float)


def _decided(held: Rows, held_score: Array, score: Array) -> Outcome:
    """Decide by the threshold that is best on held-out rows."""
    cut = threshold(held.y, held_score)
    return Outcome((score > cut).astype(float), score)


def none(base: Base) -> Outcome:
    """Do nothing."""
    return _decided(base.split.held, base.held, base.test)


def feature_step(make: Callable[[], Step] | None) -> Method:
    """Return the method that fits the model on changed features; None: on all but the group."""

    def method(base: Base) -> Outcome:
        split = base.split
        parts = [r.X[:, split.blind] for r in (split.fit, split.held, split.test)]
        groups = [r.group for r in (split.fit, split.held, split.test)]
        if make is not None:
            step = make()
            step.fit(parts[0], split.fit.y, sensitive_features=groups[0])
            parts = [
                step.transform(X, sensitive_features=g) for X, g in zip(parts, groups, strict=True)
            ]
        model = base.learner().fit(parts[0], split.fit.y)
        return _decided(split.held, _score(model, parts[1]), _score(model, parts[2]))

    return method


def score_step(**options: Any) -> Method:
    """Return the method that moves the model's scores by `ScoreSteering`."""

    def method(base: Base) -> Outcome:
        held, test = base.split.held, base.split.test
        step = fp.ScoreSteering(**options)
        step.fit(base.held, held.y, sensitive_features=held.group)
        return _decided(
            held,
            step.transform(base.held, sensitive_features=held.group),
            step.transform(base.test, sensitive_features=test.group),
        )

    return method


def fair_score(bound: float, **options: Any) -> Method:
    """Return the method that releases the model's scores by `FairScore` within a bound.

    Isotonic hulls of held-out rows; every row draws its own lots.
    """

    def method(base: Base) -> Outcome:
        held, test = base.split.held, base.split.test
        counts = fp.ScoreCounts().partial_fit(base.held, held.y, sensitive_features=held.group)
        notion = fp.EqualizedOdds(difference_bound=bound)
        sol = fp.FairScore(counts.population(), notion, **options).solve()
        released = []
        for rows, score in ((held, base.held), (test, base.test)):
            out = np.empty(len(score))
            for g, channel in sol.channels.items():
                own = np.flatnonzero(rows.group == g)
                out[own] = channel(score[own], key=own, random_state=base.split.seed)
            released.append(out)
        return _decided(held, *released)

    return method


def fair_classifier(base: Base) -> Outcome:
    """Decide by `FairClassifier`, equalized odds where accuracy is best, scores in 50 bins."""
    held, test = base.split.held, base.split.test
    D = fp.Categorical.from_scores(
        base.held, y=held.y, sensitive_features=held.group, bins=50, groups=[0, 1]
    )
    rule = fp.FairClassifier(D, fp.ErrorRate(), [fp.EqualizedOdds()]).solve().classifier
    chance = rule.predict_proba_from_scores(base.test, sensitive_features=test.group)[:, 1]
    return Outcome(np.asarray(chance, dtype=float), base.test)


def _training(split: Split) -> Rows:
    """Return all training rows, those of the fit and those held out."""
    parts = (split.fit, split.held)
    X, y, group = (np.concatenate([getattr(r, k) for r in parts]) for k in ("X", "y", "group"))
    return Rows(X, y, group)


def none_on_all_rows(base: Base) -> Outcome:
    """Fit the model on all training rows, threshold 0.5: what holding rows out costs."""
    rows = _training(base.split)
    score = _score(base.learner().fit(rows.X, rows.y), base.split.test.X)
    return Outcome((score > 0.5).astype(float), score)


def folded_score_step(base: Base) -> Outcome:
    """Train a model and a map per fold on all training rows: `SteeredClassifier`, five folds."""
    rows, test = _training(base.split), base.split.test
    rule = fp.SteeredClassifier(base.learner())
    rule.fit(rows.X, rows.y, sensitive_features=rows.group)
    score = rule.predict_proba(test.X, sensitive_features=test.group)[:, 1]
    decided = rule.predict(test.X, sensitive_features=test.group) == rule.classes_[1]
    return Outcome(np.asarray(decided, dtype=float), score)


def reweighing(base: Base) -> Outcome:
    """Fit with the weights of Kamiran and Calders (2012)."""
    fit = base.split.fit
    weight = kamiran_calders_weights(fit.y, fit.group)
    model = base.learner().fit(fit.X, fit.y, sample_weight=weight)
    return _decided(
        base.split.held, _score(model, base.split.held.X), _score(model, base.split.test.X)
    )


def kamiran_calders_weights(y: Codes, group: Codes) -> Array:
    """Return P(Y=y) P(A=a) / P(Y=y, A=a) of every row: label and group become independent."""
    joint = np.zeros((2, 2))
    np.add.at(joint, (y, group), 1.0 / len(y))
    goal = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0)
    out: Array = (goal / joint)[y, group]
    return out


def threshold_optimizer(base: Base) -> Outcome:
    """fairlearn's: thresholds and lots by group, equalized odds where accuracy is best.

    The score stays the model's: whoever has other costs thresholds that.
    """
    from fairlearn.postprocessing import ThresholdOptimizer

    held, test = base.split.held, base.split.test
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own deprecations are not ours to raise
        rule = ThresholdOptimizer(
            estimator=base.model,
            constraints="equalized_odds",
            prefit=True,
            predict_method="predict_proba",
        ).fit(held.X, held.y, sensitive_features=held.group)
        chance = rule._pmf_predict(test.X, sensitive_features=test.group)[:, 1]
    return Outcome(np.asarray(chance, dtype=float), base.test)


def exponentiated_gradient(base: Base) -> Outcome:
    """fairlearn's: a random mixture of models, equalized odds to 0.01 in the training rows.

    Its score is the probability with which the mixture decides 1.
    """
    from fairlearn.reductions import EqualizedOdds, ExponentiatedGradient

    fit = base.split.fit
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own deprecations are not ours to raise
        mixture = ExponentiatedGradient(base.learner(), EqualizedOdds(difference_bound=0.01))
        mixture.fit(fit.X, fit.y, sensitive_features=fit.group)
        chance = np.asarray(mixture._pmf_predict(base.split.test.X)[:, 1], dtype=float)
    return Outcome(chance, chance)


FAIRLEARN = ("correlation remover", "threshold optimizer", "exponentiated gradient")
METHODS: dict[str, Method] = {
    "none": none,
    "none, without the group": feature_step(None),
    "none, all training rows": none_on_all_rows,
    "mean matching": feature_step(MeanMatching),
    "MiMiC": feature_step(CovarianceMatching),
    "LEACE": feature_step(LEACE),
    "correlation remover": feature_step(CorrelationRemover),
    "reweighing": reweighing,
    "exponentiated gradient": exponentiated_gradient,
    "threshold optimizer": threshold_optimizer,
    "ideal steering": feature_step(fp.IdealSteering),
    "score steering": score_step(),
    "score steering, five folds": folded_score_step,
    "score steering, normal": score_step(method="normal"),
}
BOUNDS = (0.0, 0.01, 0.02, 0.03, 0.05, 0.08)
FRONTIER: dict[str, Method] = {  # beside the fair score; others of it are METHODS
    **{f"fair score, {bound:g}": fair_score(bound) for bound in BOUNDS},
    "fair score, 0, cost 0.5": fair_score(0.0, cost_weight=[0.5]),
    "fair classifier": fair_classifier,
}


def missing(method: str) -> str:
    """Return why a method cannot run here, or the empty string."""
    if method in FAIRLEARN and importlib.util.find_spec("fairlearn") is None:
        return "needs fairlearn: pip install 'fairprog[experiments]'"
    return ""
