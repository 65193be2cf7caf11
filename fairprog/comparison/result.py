"""What a comparison found: figures of every method on every split, and which one to take."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import clone

from fairprog.comparison.measures import FIGURES
from fairprog.comparison.methods import NOTHING
from fairprog.errors import DataError, ModelError
from fairprog.estimators.group_reading import EASIER
from fairprog.findings import finding
from fairprog.labels import Array, Indices, check_number
from fairprog.pictures import Reported
from fairprog.tables import Notion

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Comparison(Reported):
    """The findings of :func:`fairprog.compare`.

    Attributes
    ----------
    values : dict of method to Array, shape (splits, figures)
        In the order of :attr:`figures`; NaN where a method has none.
    methods : dict of method to estimator
        Not fitted.
    notion : Notion
        Whose gaps these are.
    scoring : str
    classes, groups : tuple of labels
    counts : Array, shape (K, G)
        Rows of every cell.
    failures : dict of method to reason
        What could not run.
    splits : list of (train, test)
        Positions of rows.

    Notes
    -----
    "score" is the scorer's figure; "gap" is that of the notion at the method's own threshold;
    "worst gap, Y=1" and "Y=0" are those of the true and the false positive rate at the worst
    threshold, "worst gap" that of the notion; "chance" is the same with groups permuted within
    the classes, averaged; "randomised" is the probability that two draws for the same row differ;
    "group AUC" is how well boosted trees read the group from the features that the learner sees
    (0.5: not at all); "seconds" count what the method would take alone.

    Examples
    --------
    >>> import fairprog as fp
    >>> from sklearn.linear_model import LogisticRegression
    >>> D = fp.Normal([[.3, .2], [.3, .2]], [[0., 1.], [2., 3.5]], std=[[1., 1.], [1., 1.5]])
    >>> X, y, a = D.sample(900, random_state=0)
    >>> found = fp.compare(LogisticRegression(), X, y, sensitive_features=a, cv=2,
    ...                    methods=["features, each group to the largest"])
    >>> rise, error = found.change("features, each group to the largest", "worst gap")
    >>> rise < 0
    True
    """

    values: Mapping[str, Array]
    methods: Mapping[str, Any]
    notion: Notion
    scoring: str
    classes: tuple[Hashable, ...]
    groups: tuple[Hashable, ...]
    counts: Indices
    failures: Mapping[str, str]
    splits: Sequence[tuple[Indices, Indices]]
    _again: Callable[[Indices, Any], Comparison]

    @property
    def figures(self) -> tuple[str, ...]:
        """Names of the figures."""
        return FIGURES

    @property
    def n_splits(self) -> int:
        """Number of splits."""
        return len(self.values[NOTHING])

    def of(self, method: str, figure: str) -> Array:
        """Return a figure of a method on every split, shape (splits,).

        Raises
        ------
        DataError
            For a method or a figure that there is not.
        """
        if method not in self.values or figure not in FIGURES:
            raise DataError(
                f"There is no {figure!r} of {method!r}; methods are {list(self.values)}, figures "
                f"{list(FIGURES)}.",
                argument="method" if method not in self.values else "figure",
            )
        return np.asarray(self.values[method][:, FIGURES.index(figure)])

    def mean(self, method: str, figure: str) -> tuple[float, float]:
        """Return the mean of a figure over splits, and its standard error."""
        return mean_and_error(self.of(method, figure))

    def change(self, method: str, figure: str) -> tuple[float, float]:
        """Return the mean change of a figure against nothing, split by split, and its error."""
        return mean_and_error(self.of(method, figure) - self.of(NOTHING, figure))

    def best(self, max_loss: float = 0.01, cv: Any = 5, *, lots: bool = True) -> Best:
        """Choose a method on inner splits of every training part, and report the outer ones.

        Parameters
        ----------
        max_loss : float, default 0.01
            Of the score, at most, on average.
        cv : int or splitter, default 5
            The inner splits.
        lots : bool, default True
            Whether a method may be taken two draws of which differ for some row.

        Returns
        -------
        Best
            Its method is that of all rows; its figures are those of what the inner splits chose.
        """
        if not isinstance(lots, bool):
            raise ModelError(f"`lots` must be True or False; found {lots!r}.", argument="lots")
        taken = [choose([self._again(train, cv)], max_loss, lots) for train, _ in self.splits]
        figures = np.stack([self.values[m][k] for k, m in enumerate(taken)])
        own = choose([self], max_loss, lots)
        return Best(self, own, tuple(taken), figures, max_loss, lots)

    def to_frame(self) -> pd.DataFrame:
        """Return means over splits and their standard errors, a row per method."""
        import pandas as pd

        columns = {}
        for figure in FIGURES:
            pairs = [self.mean(name, figure) for name in self.values]
            columns[figure] = [mean for mean, _ in pairs]
            columns[f"{figure}, standard error"] = [error for _, error in pairs]
        return pd.DataFrame(columns, index=pd.Index(list(self.values), name="method"))

    def summary(self) -> str:
        """Return the table and what it says as text."""
        return finding("comparison_summary")(self)

    def __str__(self) -> str:
        return self.summary()

    def __repr__(self) -> str:
        return f"Comparison({len(self.values)} methods, {self.n_splits} splits)"


@dataclass(frozen=True, eq=False)
class Best:
    """The method to take, and what taking methods that way gives on rows not used to choose.

    Attributes
    ----------
    comparison : Comparison
    method : str
        Chosen on all splits; "nothing" where nothing helps beyond chance.
    chosen : tuple of str
        What the inner splits chose for every outer one.
    figures : Array, shape (splits, figures)
        Of these choices, on the outer splits.
    max_loss : float
    lots : bool
        Whether methods that decide at random could be chosen.

    Examples
    --------
    >>> import fairprog as fp
    >>> from sklearn.linear_model import LogisticRegression
    >>> D = fp.Normal([[.3, .2], [.3, .2]], [[0., 1.], [2., 3.5]], std=[[1., 1.], [1., 1.5]])
    >>> X, y, a = D.sample(900, random_state=0)
    >>> found = fp.compare(LogisticRegression(), X, y, sensitive_features=a, cv=2,
    ...                    methods=["features, each group to the largest"])
    >>> found.best(cv=2).method
    'features, each group to the largest'
    """

    comparison: Comparison
    method: str
    chosen: tuple[str, ...]
    figures: Array
    max_loss: float
    lots: bool = True

    @property
    def estimator(self) -> Any:
        """The chosen method, not fitted."""
        return clone(self.comparison.methods[self.method])

    def change(self, figure: str) -> tuple[float, float]:
        """Return the mean change of a figure against nothing, and its standard error."""
        own = self.figures[:, FIGURES.index(figure)]
        return mean_and_error(own - self.comparison.of(NOTHING, figure))

    @property
    def verdict(self) -> str:
        """The finding in words."""
        return finding("best_words")(self)

    def __str__(self) -> str:
        return self.verdict


def mean_and_error(values: Array) -> tuple[float, float]:
    """Return the mean of values and its standard error, NaN for a single one."""
    error = float(values.std(ddof=1) / np.sqrt(values.size)) if values.size > 1 else float("nan")
    return float(values.mean()), error


def grown(found: Comparison, method: str) -> list[str]:
    """Return which worst gaps a method makes larger by more than two standard errors."""
    changes = {figure: found.change(method, figure) for figure in worst_gaps(found)}
    return [f for f, (rise, error) in changes.items() if rise > 2.0 * np.nan_to_num(error)]


def worst_gaps(found: Comparison) -> list[str]:
    """Return the worst gaps that must not grow: the notion's first, and those it is made of."""
    both = found.notion.name == "equalized_odds" and len(found.classes) == 2
    return ["worst gap", *["worst gap, Y=1", "worst gap, Y=0"][: 2 * both]]


def drawn(found: Sequence[Comparison], method: str) -> float:
    """Return in which share of decisions two draws of a method differ, at most."""
    return max(float(np.nan_to_num(c.mean(method, "randomised")[0])) for c in found)


def told(found: Comparison, method: str) -> tuple[float, float] | None:
    """Return the group's AUC before and after a method that makes it easier to read, or None."""
    raw, now = (found.mean(m, "group AUC")[0] for m in (NOTHING, method))
    return (raw, now) if now > raw + EASIER else None


def choose(found: Sequence[Comparison], max_loss: float = 0.01, lots: bool = True) -> str:
    """Return the method that lowers the worst gap most, or "nothing".

    Of learners that are compared side by side the mean counts. A method is taken only if doing
    nothing has a gap beyond chance, if the method loses at most `max_loss` of the score on average
    (and with no learner more than that by one standard error), lowers the worst gap by more than
    one standard error of the difference to nothing, and makes none larger with any learner
    (:func:`grown`). Without `lots` no method is taken that decides at random (:func:`drawn`).
    """
    check_number(max_loss, "max_loss", -np.inf)
    best, most = NOTHING, 0.0
    excess = np.mean([c.of(NOTHING, "worst gap") - c.of(NOTHING, "chance") for c in found], axis=0)
    beyond, its = mean_and_error(excess)
    if beyond <= np.nan_to_num(its):
        return NOTHING
    for name in found[0].values:
        if name == NOTHING or any(name not in c.values for c in found):
            continue
        falls = np.stack([c.of(NOTHING, "worst gap") - c.of(name, "worst gap") for c in found])
        losses = np.array([c.change(name, "score") for c in found]) * (-1.0, 1.0)
        beyond_noise = (losses[:, 0] > max_loss + np.nan_to_num(losses[:, 1])).any()
        cheap = losses[:, 0].mean() <= max_loss and not beyond_noise
        fall, error = mean_and_error(falls.mean(axis=0))
        allowed = cheap and not any(grown(c, name) for c in found)
        allowed &= lots or not drawn(found, name)
        if allowed and fall > max(most, float(np.nan_to_num(error))):
            best, most = name, fall
    return best
