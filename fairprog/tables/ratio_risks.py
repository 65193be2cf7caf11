"""Risks of machine learning's other scores: balanced accuracy, F1, Matthews' correlation."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from fairprog.errors import ModelError
from fairprog.labels import Array, index_of, plain
from fairprog.tables.outcome import OutcomeTable
from fairprog.tables.risks import Risk
from fairprog.tables.templates import TableView, Term


@dataclass(frozen=True, repr=False)
class BalancedErrorRate(Risk):
    """1 - balanced accuracy: the mean over classes of P(Yhat != i | Y=i).

    Linear in the outcome table, since the classes' masses are given.

    Examples
    --------
    >>> import fairprog as fp
    >>> table = fp.OutcomeTable([[[.3, .1], [.1, .1]], [[.1, .1], [.1, .1]]])
    >>> round(fp.BalancedErrorRate().evaluate(table), 4)
    0.4167
    """

    name: ClassVar[str] = "balanced_error_rate"

    def evaluate(self, table: OutcomeTable) -> float:
        """Return 1 minus the mean recall."""
        Z = table.Z.sum(axis=0)
        return float(1.0 - np.mean(np.diag(Z) / Z.sum(axis=1)))

    def express(self, view: TableView) -> list[Term]:
        """Return the one term to minimise."""
        mass, K = np.sum(view.mass, axis=0), len(view.classes)
        missed = sum(
            view.Z[a, i, j] / float(K * mass[i])
            for a in range(len(view.groups))
            for i in range(K)
            for j in range(K)
            if i != j
        )
        return [Term(missed, "minimize", 0.0, self.name)]


@dataclass(frozen=True, repr=False)
class RatioRisk(Risk):
    """Base of risks that are ratios of the table, summed over groups.

    ``evaluate`` is the risk itself, ``tangent`` its gradient: the expected cost that touches it,
    which is what a program minimises again and again. It is minimised alone, not in sums.

    Parameters
    ----------
    positive : hashable, optional
        The class label that counts as positive; default the last of ``classes``.

    Examples
    --------
    >>> import fairprog as fp
    >>> issubclass(fp.F1Risk, fp.RatioRisk)
    True
    """

    positive: Any = None
    linear_fractional: ClassVar[bool] = True  # the search proves its optimum

    def __post_init__(self) -> None:
        object.__setattr__(self, "positive", plain(self.positive))

    def _counts(self, table: OutcomeTable) -> tuple[int, Array, float, float, float]:
        """Return the positive class, Z summed over groups, and its TP, P(Y=1), P(Yhat=1)."""
        classes = table.classes
        k = len(classes) - 1
        if self.positive is not None:
            k = index_of(classes, self.positive, "positive")
        Z = table.Z.sum(axis=0)
        return k, Z, float(Z[k, k]), float(Z[k].sum()), float(Z[:, k].sum())

    def tangent(self, table: OutcomeTable) -> Array | None:
        """Return d risk / d Z[a, i, j], shape (K, K), in any group; None where there is none."""
        raise ModelError(f"{type(self).__name__} defines no `tangent`.")

    def start(self, weight: float, classes: tuple[Hashable, ...]) -> Array:
        """Return a cost to begin with: false positives cost `weight`, false negatives the rest."""
        K = len(classes)
        k = K - 1 if self.positive is None else index_of(classes, self.positive, "positive")
        C = np.zeros((K, K))
        C[:, k] += weight
        C[k, :] += 1.0 - weight
        C[k, k] = 0.0
        return C

    def express(self, view: TableView) -> list[Term]:
        """Refuse: it is no convex function of the table."""
        raise ModelError(
            f"{self!r} is a ratio: FairClassifier minimises it by a search over expected costs, "
            "so it stands alone as `risk`, not in a sum or a bound.",
            argument="risk",
        )


@dataclass(frozen=True, repr=False)
class F1Risk(RatioRisk):
    """1 - F1 of the positive class: (FP + FN) / (2 TP + FP + FN).

    A ratio of linear functions: Dinkelbach's method finds the optimum, and proves it.

    Parameters: see :class:`RatioRisk`. Source: Dinkelbach, *On nonlinear
    fractional programming*, 1967.

    Examples
    --------
    >>> import fairprog as fp
    >>> D = fp.Categorical.from_scores([.1, .4, .3, .9], sensitive_features=list("aabb"))
    >>> sol = fp.FairClassifier(D, fp.F1Risk(), [fp.EqualOpportunity()]).solve()
    >>> f"F1 {1 - sol.risk:.4f}", sol.certificate.globally_optimal
    ('F1 0.7010', True)
    """

    name: ClassVar[str] = "f1_risk"

    def evaluate(self, table: OutcomeTable) -> float:
        """Return (FP + FN) / (2 TP + FP + FN)."""
        _, _, hit, true, said = self._counts(table)
        return 1.0 - 2.0 * hit / (true + said)

    def tangent(self, table: OutcomeTable) -> Array:
        """Return the gradient, true positives against what is predicted positive."""
        k, Z, hit, true, said = self._counts(table)
        C = np.zeros_like(Z)
        C[:, k] = 2.0 * hit / (true + said) ** 2
        C[k, k] -= 2.0 / (true + said)
        return C


@dataclass(frozen=True, repr=False)
class MatthewsRisk(RatioRisk):
    """1 - Matthews' correlation coefficient (MCC) of prediction and label; binary labels only.

    MCC = (TP - P(Y=1) P(Yhat=1)) / sqrt(P(Y=1) P(Y=0) P(Yhat=1) P(Yhat=0)), 0 where everybody gets
    the same prediction. The answer is the best of descents from many costs, and says so.

    Parameters: see :class:`RatioRisk`.

    Examples
    --------
    >>> import fairprog as fp
    >>> D = fp.Categorical.from_scores([.1, .4, .3, .9], sensitive_features=list("aabb"))
    >>> sol = fp.FairClassifier(D, fp.MatthewsRisk(), [fp.EqualOpportunity()]).solve()
    >>> f"MCC {1 - sol.risk:.4f}"
    'MCC 0.4570'
    """

    name: ClassVar[str] = "matthews_risk"
    linear_fractional: ClassVar[bool] = False

    def evaluate(self, table: OutcomeTable) -> float:
        """Return 1 - MCC."""
        if len(table.classes) != 2:
            raise ModelError(
                f"{type(self).__name__} needs a binary label; the classes are "
                f"{list(table.classes)}.",
                argument="risk",
            )
        _, _, hit, true, said = self._counts(table)
        spread = true * (1.0 - true) * said * (1.0 - said)
        return 1.0 if spread <= 1e-18 else 1.0 - (hit - true * said) / np.sqrt(spread)

    def tangent(self, table: OutcomeTable) -> Array | None:
        """Return the gradient; None where everybody gets the same prediction."""
        k, Z, hit, true, said = self._counts(table)
        vary = said * (1.0 - said)
        if vary <= 1e-9:
            return None
        scale = np.sqrt(true * (1.0 - true) * vary)
        C = np.zeros_like(Z)
        C[:, k] = (true + (hit - true * said) * (1.0 - 2.0 * said) / (2.0 * vary)) / scale
        C[k, k] -= 1.0 / scale
        return C
