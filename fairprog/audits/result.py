"""What an audit found: frozen numbers, and their words, tables and pictures."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from fairprog.audits.who import WorstThreshold, group_frame, worst_threshold
from fairprog.errors import DataError
from fairprog.evidence.held_out import GapCurve
from fairprog.findings import finding
from fairprog.labels import Array, Indices, check_number
from fairprog.pictures import Reported, picture
from fairprog.tables import OutcomeTable

if TYPE_CHECKING:
    import pandas as pd


EVENTS = ("equal opportunity", "predictive equality")  # of equalized odds
CHANCE = 0.05  # share of permutations as unequal, below which groups are treated unequally


@dataclass(frozen=True)
class GapInterval:
    """A gap between groups, its interval, and what chance alone gives.

    Attributes
    ----------
    gap : float
        Largest minus smallest rate of a group, as measured: too high on average.
    low, high : float
        Its interval, pairs of groups being compared in units of what their rows leave open, so
        that a small group hides nothing about large ones. From 0 unless `beyond_chance`.
    floor, floor_high : float
        Median and 95% quantile of the gap with groups permuted within each class.
    chance : float
        Share of those permutations that are as unequal, every group's deviation from all rows
        being measured in units of what chance exceeds in 5% of cases. Equal opportunity and
        predictive equality are compared with the larger of the two: they are the events of
        equalized odds, and one of them is beyond chance exactly if equalized odds are.
    between : tuple of two groups
        The pair that is surest to differ.
    estimate : float or None
        The gap corrected for the upward bias of a maximum over thresholds and pairs: as often too
        high as too low.
    at_least, at_most : float or None
        One-sided bounds, each with the confidence of the audit by itself.
    """

    gap: float
    low: float
    high: float
    floor: float
    floor_high: float
    chance: float
    between: tuple[Hashable, Hashable] | None = None
    estimate: float | None = None
    at_least: float | None = None
    at_most: float | None = None

    @property
    def beyond_chance(self) -> bool:
        """Whether less than 5% of the permutations are as unequal."""
        return self.chance < CHANCE


class Gaps(dict[tuple[str, str], GapInterval]):
    """Worst gaps by (notion, score); asked for another one, it names those that there are."""

    def __missing__(self, key: object) -> GapInterval:
        notions = list(dict.fromkeys(notion for notion, _ in self))
        scores = list(dict.fromkeys(score for _, score in self))
        raise KeyError(
            f"{key!r}: gaps are named by a notion and a score, such as {next(iter(self))!r}; "
            f"notions are {notions}, scores {scores}"
        )


def titled(notion: str, classes: tuple[Hashable, ...], k: int) -> str:
    """Return the name of a notion, of more than two classes of class k against the rest."""
    return notion if len(classes) == 2 else f"class {classes[k]}: {notion} against the rest"


def chance_level(n_classes: int) -> float:
    """Return the share of permutations below which a gap is beyond chance, among all classes."""
    return CHANCE if n_classes == 2 else CHANCE / n_classes


def decided(
    worst: Mapping[tuple[str, str], GapInterval], score: str, n_classes: int
) -> tuple[str, GapInterval, bool]:
    """Return which gap decides of a score's, and whether it is beyond chance.

    It is the largest of those that are. Of two classes it is that of an event, or, where none is
    beyond chance, of equalized odds, which are exactly if an event is.
    """
    events = [
        (notion, gap)
        for (notion, name), gap in worst.items()
        if name == score and (n_classes > 2 or notion in EVENTS)
    ]
    beyond = [item for item in events if item[1].chance < chance_level(n_classes)]
    if beyond:
        return *max(beyond, key=lambda item: item[1].gap), True
    if n_classes == 2:
        return "equalized odds", worst["equalized odds", score], False
    surest = min(events, key=lambda item: (item[1].chance, -item[1].low, -item[1].gap))
    return *surest, False


@dataclass(frozen=True)
class Leakage:
    """How well the score tells one group from the others among rows of one class.

    Attributes
    ----------
    class_, group : hashable
    auc, low, high : float
        P(score of the group > score of the others), ties half, and DeLong's interval (Newcombe's
        where one side has fewer than 50 rows); 0.5 tells nothing, 0 and 1 everything.
    """

    class_: Hashable
    group: Hashable
    auc: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class ScoreMovement:
    """How far the scores of every cell moved.

    Attributes
    ----------
    quantiles : Array, shape (5, K, G)
        Of after - before, at the levels 0.05, 0.25, 0.5, 0.75, 0.95.
    rms : Array, shape (K, G)
    flipped : Array, shape (K, G)
        Share of the cell's rows whose prediction changed.
    rank : Array, shape (G,)
        Spearman's correlation of before and after within a group.
    """

    quantiles: Array
    rms: Array
    flipped: Array
    rank: Array


@dataclass(frozen=True, eq=False)
class Audit(Reported):
    """The findings of :func:`fairprog.audit`.

    Attributes
    ----------
    classes, groups : tuple of labels
        The last class is the positive one.
    counts : Array, shape (K, G)
        Rows of every cell.
    confidence : float
    band : {"bootstrap"}
        Where the bands come from: the multiplier bootstrap of all rates at once.
    curves : tuple of GapCurve
        Gaps at every threshold, one per notion (of more than two classes: per class).
    worst : dict of (notion, score) to GapInterval
        At the worst threshold: for two classes and calibrated scores the ideality gap.
    rates, rate_rows : Array, shape (K, G)
        P(Yhat = i | Y = i, A = a) at `threshold` (more classes: of the largest score), and the
        rows behind each (effective ones, of weighted rows).
    rate_gaps : dict of class to GapInterval
        Gaps of those rates.
    rms_gap : GapInterval
        Root mean square of the rate gaps over classes (low and high: of their ends).
    threshold : float
        NaN for more than two classes.
    leakage : tuple of Leakage
    movement : ScoreMovement or None
        Where scores after steering were given.
    recommendation : str
        Which tool fits, and why.
    n_permutations : int
        Behind what chance gives.

    Examples
    --------
    >>> import fairprog as fp
    >>> y, score, sex = [0, 0, 1, 1] * 50, [.1, .6, .4, .9] * 50, ["f", "f", "m", "m"] * 50
    >>> fp.audit(y[::2] + y, score[::2] + score, sensitive_features=sex + sex[::2]).groups
    ('f', 'm')
    """

    classes: tuple[Hashable, ...]
    groups: tuple[Hashable, ...]
    counts: Indices
    confidence: float
    band: str
    curves: tuple[GapCurve, ...]
    worst: Mapping[tuple[str, str], GapInterval]
    rates: Array
    rate_rows: Array
    rate_gaps: Mapping[Hashable, GapInterval]
    rms_gap: GapInterval
    threshold: float
    leakage: tuple[Leakage, ...]
    movement: ScoreMovement | None
    recommendation: str
    n_permutations: int
    _rows: tuple[Any, ...]

    @property
    def scores(self) -> tuple[str, ...]:
        """Names of the scores: one, or before and after."""
        return tuple(self.curves[0].gaps)

    @property
    def decision(self) -> tuple[str, GapInterval, bool]:
        """The event (and class) with the largest gap beyond chance, that gap, and if there is one.

        There is if less than 5% of the permutations are as unequal; of several classes, 5% over
        their number. Else the gap is that of equalized odds, of several classes that of the event
        surest to be unequal. Verdict, recommendation and the lower ends of intervals go by this
        alone.

        Examples
        --------
        >>> import fairprog as fp
        >>> y, s, a = [0, 1] * 60, [.2, .7, .4, .9] * 30, ["f"] * 60 + ["m"] * 60
        >>> fp.audit(y, s, sensitive_features=a).decision[2]
        False
        """
        return decided(self.worst, self.scores[-1], len(self.classes))

    @property
    def verdict(self) -> str:
        """The main finding in words."""
        return finding("verdict_words")(self)

    def table(self, threshold: float | None = None, *, score: str | None = None) -> OutcomeTable:
        """Return the outcome table of "the last class where score >= threshold".

        Parameters
        ----------
        threshold : float, optional
            Default that of the audit; with more classes the largest score decides.
        score : str, optional
            Which of `scores`; default the last.
        """
        y, group, weight, columns = self._rows
        S: Array = columns[self.scores[-1] if score is None else score]
        if S.shape[1] > 1:
            j = S.argmax(axis=1)
        else:
            t = self.threshold if threshold is None else threshold
            j = (S[:, 0] >= check_number(t, "threshold", -np.inf)).astype(int)
        Z = np.zeros((len(self.groups), len(self.classes), len(self.classes)))
        np.add.at(Z, (group, y, j), weight / weight.sum())
        return OutcomeTable(Z, classes=self.classes, groups=self.groups)

    def worst_threshold(
        self, notion: str | None = None, *, score: str | None = None, groups: Any = None
    ) -> WorstThreshold:
        """Return where groups are treated most differently: the threshold, who, how often.

        Parameters
        ----------
        notion : str, optional
            Beginning of a curve's title; default the one whose gap is largest.
        score : str, optional
            Which of `scores`; default the last.
        groups : sequence of two groups, optional
            Default: all of them.

        Raises
        ------
        DataError
            For a notion that compares no rates of being predicted positive.
        """
        name = self.scores[-1] if score is None else score
        y, a, weight, columns = self._rows
        binary, found = len(self.classes) == 2, []
        among = sorted(map(self.groups.index, self.groups if groups is None else groups))
        order = [self.groups[g] for g in among]
        asked = "" if notion is None or notion.startswith("equalized") else notion
        for k, event in product((1,) if binary else range(len(self.classes)), EVENTS):
            if not titled(event, self.classes, k).startswith(asked):
                continue
            rest = event == "predictive equality"
            own = ((y == k) != rest) & (weight > 0) & np.isin(a, among)
            s, place = columns[name][own, 0 if binary else k], np.searchsorted(among, a[own])
            given, positive = self.classes[0 if binary and rest else k], self.classes[k]
            others = rest and not binary
            found.append(worst_threshold(s, place, weight[own], order, given, positive, others))
        if not found:
            raise DataError(
                f"`notion` is {notion!r}; named can be 'equal opportunity', 'predictive equality' "
                "or, of more than two classes, 'class ...'.",
                argument="notion",
            )
        return max(found, key=lambda w: w.rates[1] - w.rates[0])

    def by_group(
        self, metrics: Mapping[str, Any] | None = None, *, threshold: float | None = None,
        score: str | None = None, random_state: int = 0,
    ) -> pd.DataFrame:  # fmt: skip
        """Return metrics group by group with their intervals, as fairlearn's MetricFrame does.

        Parameters
        ----------
        metrics : dict of name to function of (y_true, y_pred), optional
            Default: accuracy, base and selection rate, true and false positive rate, precision,
            area under the curve (of more classes: accuracy, recall of each). Intervals of these
            are exact (Clopper and Pearson; areas: Newcombe), of yours from 200 bootstrap samples.
        threshold : float, optional
            Default that of the audit.
        score : str, optional
            Which of `scores`; default the last.
        random_state : int
            Of the bootstrap.

        Examples
        --------
        >>> import fairprog as fp
        >>> y, s, a = [0, 1, 1, 0, 1, 1] * 9, [.1, .8, .6, .6, .4, .9] * 9, list("aaabbb") * 9
        >>> found = fp.audit(y, s, sensitive_features=a).by_group()
        >>> found["true positive rate"].round(2).to_dict()
        {'a': 1.0, 'b': 0.5}
        """
        y, a, weight, columns = self._rows
        S = columns[self.scores[-1] if score is None else score]
        t = self.threshold if threshold is None else check_number(threshold, "threshold", -np.inf)
        several = S.shape[1] > 1
        guess = S.argmax(axis=1) if several else (S[:, 0] >= t).astype(np.intp)
        return group_frame(
            y, a, weight, guess, None if several else S[:, 0], (self.classes, self.groups),
            metrics, self.confidence, random_state,
        )  # fmt: skip

    def summary(self) -> str:
        """Return the findings as text."""
        return finding("audit_summary")(self)

    def to_frame(self) -> pd.DataFrame:
        """Return the worst gaps as a data frame: notion, score, gap, interval, floor."""
        import pandas as pd

        rows = [
            {"notion": notion, "score": score, **vars(found)}
            for (notion, score), found in self.worst.items()
        ]
        return pd.DataFrame(rows)

    def plot(self, ax: Any = None, *, notion: str | None = None) -> Any:
        """Draw the gap at every threshold with its band and the noise floor.

        Parameters
        ----------
        ax : Axes, optional
        notion : str, optional
            Beginning of a curve's title, such as "predictive equality"; default the first.
        """
        return picture("plot_audit")(self, ax, notion=notion)

    def __repr__(self) -> str:
        return f"Audit({int(self.counts.sum())} rows: {self.verdict})"
