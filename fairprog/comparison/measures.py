"""What is measured of a fitted method on rows that nothing was fitted to."""

from __future__ import annotations

import inspect
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fairprog.estimators.group_reading import as_table, group_auc
from fairprog.kernels.statistics.threshold_rates import permuted_worst_gaps, tie_ends
from fairprog.labels import Array, Indices, encode
from fairprog.tables import Notion, OutcomeTable

FIGURES = (
    "score",
    "gap",
    "worst gap, Y=1",
    "worst gap, Y=0",
    "worst gap",
    "chance",
    "randomised",
    "group AUC",
    "seconds",
)
CURVES = {  # of notions: which rates the gap at the worst threshold is of
    "equalized_odds": (0, 1),
    "equal_opportunity": (0,),
    "predictive_equality": (1,),
    "demographic_parity": (2,),
    "accuracy_parity": (3,),
}
PERMUTATIONS = 20
READ, TREES = 2000, 30  # rows that trees learn from, and are judged on, and how many trees


@dataclass(frozen=True, eq=False)
class Judged:
    """The rows a method is judged on, and what it says of them.

    Attributes
    ----------
    y, a : Indices, shape (n,)
    classes, groups : tuple of labels
    decided : Array, shape (n, K)
        Probability of deciding each class.
    score : Array, shape (n, K), or None
        None: the method decides at one threshold only.
    lot : float
        Probability that two draws for one row differ.
    """

    y: Indices
    a: Indices
    classes: tuple[Hashable, ...]
    groups: tuple[Hashable, ...]
    decided: Array
    score: Array | None
    lot: float

    @classmethod
    def of(cls, method: Any, X: Any, y: Indices, a: Indices, labels: Any, group: Any) -> Judged:
        """Ask a fitted method about rows."""
        classes, groups = labels
        n, K = len(y), len(classes)
        if hasattr(method, "decide"):
            p = method.decide(X, sensitive_features=group)
            return cls(y, a, classes, groups, p, None, float(1.0 - (p**2).sum(axis=1).mean()))
        asked = [passing(method.predict, X, sensitive_features=group, key=np.arange(n) + k * n)
                 for k in (0, 1)]  # fmt: skip
        first, second = (encode(guess, classes, "y") for guess in asked)
        score = passing(method.predict_proba, X, sensitive_features=group, key=np.arange(n))
        score = np.asarray(score, dtype=float)
        return cls(y, a, classes, groups, np.eye(K)[first], score, float(np.mean(first != second)))

    @property
    def table(self) -> OutcomeTable:
        """The outcome table of the decisions, lots counted by their probability."""
        Z = np.zeros((len(self.groups), len(self.classes), len(self.classes)))
        np.add.at(Z, (self.a, self.y), self.decided / len(self.y))
        return OutcomeTable(Z, classes=self.classes, groups=self.groups)

    def worst(self, notion: Notion, rng: np.random.Generator) -> tuple[float, float, float, float]:
        """Return the worst gap given Y=1, given Y=0, of the notion, and its level by chance.

        Of more than two classes: the largest, over classes, of the gap of the rows of the class at
        every threshold of its score, and nothing for the others.
        """
        if self.score is None:
            return (float("nan"),) * 4
        K = len(self.classes)
        draws = [
            _gaps(self.score[:, k], self.y == k, self.a, len(self.groups), rng)
            for k in ((1,) if K == 2 else range(K))
        ]
        if K > 2:
            own = np.max([d[:, 0] for d in draws], axis=0)
            return float("nan"), float("nan"), float(own[0]), float(own[1:].mean())
        curves = list(CURVES.get(notion.name, (0, 1)))
        own = draws[0][:, curves].max(axis=1)
        return float(draws[0][0, 0]), float(draws[0][0, 1]), float(own[0]), float(own[1:].mean())


def _gaps(s: Array, positive: Any, a: Indices, G: int, rng: np.random.Generator) -> Array:
    """Return worst gaps of four rates: of rows as they are, then with groups permuted."""
    order = np.argsort(s, kind="stable")
    code = (2 * a + positive)[order]
    found = permuted_worst_gaps(code, np.ones(s.size), tie_ends(s[order]), G, PERMUTATIONS, rng)
    return np.array([gaps[0] for gaps in found])


def passing(call: Any, *rows: Any, **beside: Any) -> Any:
    """Call with rows and those of the other arguments that it takes."""
    known = inspect.signature(call).parameters
    return call(*rows, **{name: v for name, v in beside.items() if name in known})


def group_reading(train: tuple[Any, Indices], test: tuple[Any, Indices]) -> float:
    """Return how well trees that learnt on training rows read the group of test rows."""
    rng = np.random.default_rng(0)
    parts = []
    for X, a in (train, test):
        own = rng.permutation(len(a))[:READ]
        parts.append((as_table(X)[own], a[own]))
    return group_auc(*parts[0], *parts[1], TREES)
