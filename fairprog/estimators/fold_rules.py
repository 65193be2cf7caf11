"""Decisions that satisfy a notion, one rule per fold: what a `SteeredClassifier` with one keeps.

Scores of a fold's held-out rows are calibrated on them, group by group, by a slope and an offset
per class of log scores. They are then a finite population, and the best fair classifier on it
predicts argmin_j of adjusted costs, sum_ia P(Y=i, A=a | x) costs[a, i, j]. As benefits these are
scores: with notions on true positive rates the benefit of class j is P(Y=j, A=a | x) times a
weight of class and group, an offset of its log.

A group whose classes are told apart better than the notion lets show is levelled down: its costs
are all the same, and no rule of that form has its rates. It gets the best rule on the ray from a
constant law through these rates, and with the chance that is left a class drawn from that law.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, log_softmax, softmax
from sklearn.utils import _safe_indexing

from fairprog.door import Rows
from fairprog.errors import FairprogWarning, ModelError, SolverError
from fairprog.estimators.step import GroupReader
from fairprog.groups import attribute_names
from fairprog.labels import Array, Indices
from fairprog.lots import drawn, lots
from fairprog.populations import Categorical
from fairprog.programs import FairClassifier
from fairprog.programs.classifier.question import ask_classifier
from fairprog.programs.classifier.solve import solve_compiled
from fairprog.tables import (
    Constraint,
    EqualizedOdds,
    ErrorRate,
    Notion,
    OutcomeTable,
    Risk,
    RMSGap,
    Term,
)
from fairprog.tables.notions import rate_in
from fairprog.tables.templates import TableView

LEAST = 1e-9  # of a score, whose log is taken
LEVELLED = 1e-6  # benefits, relative to the largest, below which a group is levelled down


class FoldRules(GroupReader):
    """The part of `SteeredClassifier` that decides: see there."""

    notion: Any
    uses_group: bool
    random_state: int
    _trained: Callable[..., Any]
    sensitive_column: Any

    def _keep_names(self) -> None:
        for name in ("n_features_in_", "feature_names_in_"):
            if self.sensitive_column is None and hasattr(self.estimators_[0], name):
                setattr(self, name, getattr(self.estimators_[0], name))

    @property
    def _decides(self) -> bool:
        return self.notion is not None or not self.uses_group

    def _fit_rules(
        self, X: Any, rows: Rows, splits: Any, weighted: bool, sensitive_features: Any
    ) -> Self:
        """Train a model, calibrate it and decide a rule on every fold."""
        self.notion_ = notion = EqualizedOdds() if self.notion is None else self.notion
        K, G = rows.shape
        label = rows.label if self.uses_group else rows.y * G + rows.a
        classes = rows.classes if self.uses_group else tuple(range(K * G))
        self.estimators_, self.rules_, self._scales = [], [], []
        for k, (train, test) in enumerate(splits):
            weight = rows.weight[train] if weighted else None
            model = self._trained(_safe_indexing(X, train), label[train], weight, classes)
            score = np.log(class_scores(model, _safe_indexing(X, test), classes))
            y, a, own = rows.y[test], rows.a[test], rows.weight[test]
            if self.uses_group:
                parts = [np.flatnonzero(a == g) for g in range(G)]
            else:
                y, parts = y * G + a, [np.arange(len(test))]
            self._scales.append(np.array([calibration(score[p], y[p], own[p]) for p in parts]))
            laws = self._laws(score, self._scales[-1])
            D = Categorical.from_scores(
                laws[np.arange(len(a)), :, a] if self.uses_group else laws,
                sensitive_features=rows.group[test] if self.uses_group else None,
                sample_weight=own if weighted else None,
                classes=rows.classes,
                groups=rows.groups,
            )
            D.attributes = attribute_names(sensitive_features)
            self.estimators_.append(model)
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                self.rules_.append(fold_rule(D, notion, self.uses_group))
            for entry in caught:  # the others may have found more
                own_words = issubclass(entry.category, FairprogWarning) and len(splits) > 1
                where = f"Fold {k + 1} of {len(splits)}: " * own_words
                warnings.warn(f"{where}{entry.message}", entry.category, stacklevel=3)
        offsets = [class_offsets(rule.benefits) for rule in self.rules_]
        self.class_offsets_ = None if any(o is None for o in offsets) else np.array(offsets)
        self.threshold_ = 0.5
        self._keep_names()
        return self

    def _laws(self, score: Array, scales: Array) -> Array:
        """Return P(Y=i | x, a) of every group, or P(Y=i, A=a | x), shape (n, K, G), of logs."""
        laws = softmax(score[:, :, None] * scales[:, 0] + scales[:, 1:].T, axis=1)
        return laws if self.uses_group else laws.reshape(len(score), -1, len(self.groups_))

    def _decided(self, X: Any, sensitive_features: Any, n: int) -> tuple[Array, Array, Array]:
        """Return mean benefits as probabilities, the chance that they decide, what is drawn else.

        Shapes (n, K), (n, 1), (n, K).
        """
        classes = self.classes_ if self.uses_group else range(self._scales[0].shape[1] - 1)
        shares: Array = np.ones((n, len(self.groups_)))
        if self.uses_group:
            shares = self._shares(sensitive_features, n)
        found = []
        for model, scales, rule in zip(self.estimators_, self._scales, self.rules_, strict=True):
            score = np.log(class_scores(model, X, tuple(classes)))
            found.append(rule.chances(self._laws(score, scales) * shares[:, None, :]))
        gain: Array = np.mean(found, axis=0)
        if not self.uses_group:
            return gain, np.ones((n, 1)), gain
        share = np.mean([rule.share for rule in self.rules_], axis=0)
        law = np.mean([rule.law for rule in self.rules_], axis=0)
        return gain, (shares @ share)[:, None], shares @ law

    def _drawn(self, decided: tuple[Array, Array, Array], keys: Any) -> Indices:
        """Return the class of every row: the largest benefit, or one drawn by the row's lot."""
        gain, share, law = decided
        u, share = lots(self.random_state, "levelled down", keys), share[:, 0]
        rest = np.clip((u - share) / np.maximum(1.0 - share, LEAST), 0.0, 1.0)
        return np.where(u < share, gain.argmax(axis=1), drawn(law, rest))


def class_scores(model: Any, X: Any, classes: Sequence[Any]) -> Array:
    """Return probabilities of all classes, of two classes the logistic of a decision function."""
    if hasattr(model, "predict_proba"):
        proba = np.asarray(model.predict_proba(X), dtype=float)
    elif hasattr(model, "decision_function") and len(classes) == 2:
        score = model.decision_function(X)
        proba = np.stack([expit(-score), expit(score)], axis=1)
    else:
        raise ModelError(
            f"{type(model).__name__} has no `predict_proba`; `estimator` must give the "
            "probability of every class.",
            argument="estimator",
        )
    if proba.shape[1] != len(classes):
        raise ModelError(
            f"{type(model).__name__} knows {proba.shape[1]} of {len(classes)} classes; every fold "
            "must train on all of them.",
            argument="cv",
        )
    return np.clip(proba, LEAST, 1.0)


def calibration(score: Array, y: Indices, weight: Array) -> Array:
    """Return slope t and offsets b, shape (1 + K,), of softmax(t log p + b): most likely for y.

    A normal prior of spread one about t = 1, b = 0 keeps classes of few rows at their scores.
    """
    weight = weight * (len(weight) / weight.sum())
    hit = np.eye(score.shape[1])[y]

    def loss(theta: Array) -> tuple[float, Array]:
        log_law = log_softmax(theta[0] * score + theta[1:], axis=1)
        off = weight[:, None] * (np.exp(log_law) - hit)
        slope = np.append(np.sum(off * score), off.sum(axis=0))
        way = theta - start
        return float(-weight @ log_law[hit > 0] + 0.5 * way @ way), slope + way

    start = np.append(1.0, np.zeros(score.shape[1]))
    found = minimize(loss, start, jac=True, method="L-BFGS-B")
    if not found.success:
        raise SolverError(f"Scores were not calibrated: {found.message}.", status="unverified")
    return np.asarray(found.x)


@dataclass(frozen=True, eq=False)
class FoldRule:
    """What a fold decided.

    Attributes
    ----------
    benefits : Array, shape (G, K, K)
        What predicting j is worth where Y=i, A=a; the mean of the wrong classes is 0.
    share : Array, shape (G,)
        Chance with which the largest benefit decides.
    law : Array, shape (G, K)
        What is drawn otherwise.
    """

    benefits: Array
    share: Array
    law: Array

    def chances(self, joint: Array) -> Array:
        """Return benefits as probabilities, (n, K), of rows that say P(Y=i, A=a | x)."""
        gain = np.einsum("nia,aij->nj", joint, self.benefits)
        gain = gain - np.minimum(gain.min(axis=1, keepdims=True), 0.0)
        total = gain.sum(axis=1, keepdims=True)
        even = np.full_like(gain, 1.0 / gain.shape[1])
        return np.divide(gain, total, out=even, where=total > 0)


@dataclass(frozen=True, repr=False, eq=False)
class Reach(Risk):
    """Minus how far a group's rates can go on the ray from `base` through `target`."""

    events: Any = ()
    base: Any = ()
    target: Any = ()
    a: int = 0
    name: ClassVar[str] = "reach"

    def express(self, view: TableView) -> list[Term]:
        """Return the distance to maximise, and one equation per event."""
        far = view.level("reach")
        terms = [Term(-far, "minimize", 0.0, "reach")]
        for k, (_, outcomes, inside) in enumerate(self.events):
            rate = rate_in(view, self, self.a, outcomes, inside)
            there = self.base[k] + far * (self.target[k] - self.base[k])
            terms.append(Term(rate - there, "==", 0.0, f"reach[{k}]"))
        return terms


def fold_rule(D: Categorical, notion: Any, uses_group: bool) -> FoldRule:
    """Return the most accurate rule that satisfies the notion on a population."""
    if not isinstance(notion, Constraint):
        raise ModelError(
            f"`notion` must be one notion, such as fp.EqualizedOdds(); found {notion!r}. "
            "FairClassifier takes several, on scores of held-out rows.",
            argument="notion",
        )
    sol = FairClassifier(D, ErrorRate(), [notion], uses_group).solve(price_intervals=False)
    if sol.classifier.costs is None:
        raise ModelError(
            f"{notion!r} speaks about single individuals, so that there is no rule for others.",
            argument="notion",
        )
    benefits, share = _benefits(sol.classifier.costs), np.ones(D.n_groups)
    law = sol.table.Z.sum(axis=1) / D.group_mass[:, None]
    constant = OutcomeTable(D.prior.T[:, :, None] * law[:, None], D.classes, D.groups)
    size = np.abs(benefits).max(axis=(1, 2))
    rates = notion.notion if isinstance(notion, RMSGap) else notion
    for a in np.flatnonzero(size < LEVELLED * size.max()) if uses_group else ():
        if not isinstance(rates, Notion):
            raise ModelError(
                f"Under {notion!r} nothing tells the rows of group {D.groups[a]!r} apart. Ask for "
                "a notion, or decide by FairClassifier.",
                argument="notion",
            )
        target, base = rates.evaluate(sol.table)[:, a], rates.evaluate(constant)[:, a]
        share[a] = 0.0
        if np.abs(target - base).max() > LEVELLED:
            reach = Reach(rates.events(D.classes), base, target, int(a))
            question = ask_classifier(D, reach, (), True)
            compiled = question.compile(scaled=False)
            solve_compiled(question, compiled.problem, ("auto", None, False, {}))
            costs = compiled.adjusted_costs().reshape(benefits.shape)
            benefits[a] = _benefits(costs)[a]
            share[a] = 1.0 / max(1.0, -float(compiled.problem.value))
    return FoldRule(benefits, share, law)


def _benefits(costs: Array) -> Array:
    wrong = (costs.sum(axis=2) - np.einsum("aii->ai", costs)) / (costs.shape[1] - 1)
    out: Array = wrong[:, :, None] - costs
    return out


def class_offsets(benefits: Array) -> Array | None:
    """Return the offset of every class's log score by group, (G, K), where rules are such."""
    right = np.einsum("aii->ai", benefits)
    wrong = benefits[:, ~np.eye(benefits.shape[1], dtype=bool)]
    if np.abs(wrong).max(initial=0.0) > 1e-6 or right.min() <= 0:
        return None
    out: Array = np.log(right)
    return out


def most_accurate(score: Array, y: Indices, weight: Array) -> float:
    """Return the threshold of highest accuracy: 1/2 if it is one, else midway between scores."""
    order = np.argsort(score, kind="stable")
    s, gain = score[order], np.where(y[order] == 1, -weight[order], weight[order])
    change = np.concatenate([[0.0], np.cumsum(gain)])  # of rows called negative, from below
    new = np.concatenate([[True], np.diff(s) > 0, [True]])
    cuts, change = np.flatnonzero(new), change[new]
    best = cuts[change >= change.max() - 1e-12 * weight.sum()]
    low = np.concatenate([[-np.inf], s])[best]  # a threshold in (low, high]
    high = np.concatenate([s, [np.inf]])[best]
    if ((low < 0.5) & (high >= 0.5)).any():
        return 0.5
    if best[0] in (0, len(s)):
        return float(s[0]) if best[0] == 0 else float(np.nextafter(s[-1], np.inf))
    return float(0.5 * (low[0] + high[0]))


def is_probability(value: Any) -> bool:
    """Return whether a value is a number in [0, 1]."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1
