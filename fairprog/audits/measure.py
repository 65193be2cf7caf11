"""`audit`: every gap at every threshold, with bands, chance and words."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fairprog.audits.audit_rows import AuditRows
from fairprog.audits.audit_words import NOTHING, recommendation_words
from fairprog.audits.gaps import gaps_at_thresholds
from fairprog.audits.rate_gaps import rate_gaps
from fairprog.audits.result import Audit, decided
from fairprog.audits.score_movement import leakage, movement
from fairprog.door import refuse_reordered
from fairprog.errors import DataError, FairprogWarning, ModelError
from fairprog.evidence.few_rows import few_rows_words
from fairprog.evidence.held_out import check_confidence
from fairprog.labels import Array, Indices, check_number
from fairprog.populations import Categorical, ScoreCounts
from fairprog.populations.score_counts import counted_rows


def audit(
    y_true: ArrayLike | ScoreCounts | Categorical,
    y_score: ArrayLike | None = None,
    *,
    sensitive_features: ArrayLike | None = None,
    confidence: float = 0.95,
    sample_weight: ArrayLike | None = None,
    y_score_after: ArrayLike | None = None,
    threshold: float | None = None,
    X: ArrayLike | None = None,
    classes: Sequence[Any] | None = None,
    merge_groups: Mapping[Any, Any] | None = None,
    n_permutations: int = 200,
    n_bootstrap: int = 400,
    random_state: int = 0,
    **unknown: Any,
) -> Audit:
    """Measure how unequal groups are treated by every threshold on a score.

    Parameters
    ----------
    y_true : array_like, shape (n,)
        Class of each row; of two classes the last is the positive one. Or all three at once:
        :class:`ScoreCounts` of unweighted rows, or their population, read as the rows counted.
    y_score : array_like, shape (n,), (n, 1) or (n, K)
        Scores of the last class, or of every class (those of two classes add up to one). Of rows
        the model was NOT trained on, or intervals and bands say nothing.
    sensitive_features : array_like, shape (n,) or (n, k), or a data frame
        Group of each row; several columns are crossed.
    confidence : float, default 0.95
        Of every band (at all its thresholds and scores at once) and of every interval.
    sample_weight : array_like, shape (n,), optional
        Of each row.
    y_score_after : array_like, shape of y_score, optional
        Scores of the same rows after steering: compared with the others.
    threshold : float, optional
        At which predictions are made (score >= threshold) for the rates; default 0.5 for scores
        in [0, 1], else 0. More than two classes: the largest score decides.
    X : array_like, shape (n, d), optional
        Features the score was made from; read by the recommendation only.
    classes : sequence, optional
        Labels in order, the positive one last; default sorted.
    merge_groups : mapping, optional
        Which groups are to be read as which others.
    n_permutations, n_bootstrap : int
        Repetitions behind the noise floor (groups permuted within each class), and behind bands
        and intervals (multiplier bootstrap).
    random_state : int

    Returns
    -------
    Audit

    Raises
    ------
    DataError
        For missing values, shapes that differ, one class or one group, a cell (class, group)
        without rows, labels passed as groups.

    Warns
    -----
    FairprogWarning
        If scores are lower for the positive class, tell two groups and hardly the classes, or lie
        all on one side of the threshold.

    Notes
    -----
    Bands and intervals hold for all pairs of groups and events at once, by their joint law: see
    :mod:`fairprog.evidence.worst_gap`. The measured worst gap is too high on average;
    ``GapInterval.estimate`` is corrected for that. The gap at the worst
    threshold of a calibrated score is the ideality gap; of any other it is that of THIS score.

    Examples
    --------
    >>> import fairprog as fp
    >>> D = fp.Normal([[.3, .2], [.3, .2]], [[0., 1.], [2., 2.]], std=[[1., 1.], [1., 2.]])
    >>> X, y, a = D.sample(4000, random_state=0)
    >>> found = fp.audit(y, X[:, 0], sensitive_features=a)
    >>> eo = found.worst["equal opportunity", "score"]
    >>> eo.low <= eo.gap <= eo.high, eo.beyond_chance
    (True, True)
    """
    if "notion" in unknown:
        raise ModelError(
            "An audit measures every notion, so that there is no `notion` to choose: read "
            'found.worst["equal opportunity", "score"], found.plot(notion="equal opportunity"), '
            "or ask a notion of your own: notion.gap(found.table(threshold)).",
            argument="notion",
        )
    if unknown:
        raise TypeError(f"audit() got an unexpected keyword argument {next(iter(unknown))!r}")
    if isinstance(y_true, (ScoreCounts, Categorical)):
        if y_score is not None or sensitive_features is not None:
            raise ModelError(
                "Counts hold scores, classes and groups: audit(counts) takes no others.",
                argument="y_true",
            )
        y_score, y_true, sensitive_features = counted_rows(y_true)
    refuse_reordered(y_true=y_true, X=X)
    rows = AuditRows.check(
        y_true,
        y_score,
        y_score_after,
        sensitive_features,
        sample_weight,
        merge_groups,
        classes,
        check_confidence(confidence),
    )
    repetitions = int(check_number(n_permutations, "n_permutations", 1))
    draws = int(check_number(n_bootstrap, "n_bootstrap", 50))
    curves, worst = gaps_at_thresholds(rows, repetitions, draws, random_state)
    S, n = next(iter(rows.scores.values())), rows.y.size
    at = _threshold(S, threshold) if S.shape[1] == 1 else float("nan")
    guesses = {name: _predict(s, at) for name, s in rows.scores.items()}
    last = list(rows.scores)[-1]
    if S.shape[1] == 1 and np.ptp(guesses[last]) == 0:
        low, high = rows.scores[last].min(), rows.scores[last].max()
        warnings.warn(
            f"Scores reach from {low:.3g} to {high:.3g}, so that the threshold {at:g} predicts "
            f"{rows.classes[guesses[last][0]]!r} for every row and the rates at it say nothing; "
            "name another by `threshold`. The gaps at the worst threshold do not depend on it.",
            FairprogWarning,
            stacklevel=2,
        )
    _, gap, unequal = decided(worst, last, len(rows.classes))
    rates, support, gaps, rms = rate_gaps(rows, guesses[last], repetitions, random_state)
    return Audit(
        classes=rows.classes,
        groups=rows.groups,
        counts=rows.counts,
        confidence=rows.confidence,
        band="bootstrap",
        curves=curves,
        worst=worst,
        rates=rates,
        rate_rows=support,
        rate_gaps=gaps,
        rms_gap=rms,
        threshold=at,
        leakage=leakage(rows, last),
        movement=movement(rows, guesses) if len(rows.scores) > 1 else None,
        recommendation=recommendation_words(
            groups=len(rows.groups),
            classes=len(rows.classes),
            few=few_rows_words(rows.counts, rows.classes, rows.groups),
            unequal=unequal,
            knows=gap.high < NOTHING,
            distinct=int(np.unique(S[:, -1]).size),
            lattice=_lattice_share(X, len(np.asarray(y_score))),
            rows=n,
        ),
        n_permutations=repetitions,
        _rows=(rows.y, rows.a, rows.weight, rows.scores),
    )


def _threshold(S: Array, threshold: float | None) -> float:
    if threshold is not None:
        return check_number(threshold, "threshold", -np.inf)
    return 0.5 if S.min() >= 0 and S.max() <= 1 else 0.0


def _predict(S: Array, threshold: float) -> Indices:
    if S.shape[1] > 1:
        return np.asarray(S.argmax(axis=1))
    return (S[:, 0] >= threshold).astype(np.intp)


def _lattice_share(X: ArrayLike | None, n: int) -> float | None:
    """Return the share of columns with fewer distinct values than a tenth of the rows."""
    if X is None:
        return None
    columns = np.asarray(X, dtype=object)
    if columns.ndim != 2 or len(columns) != n:
        raise DataError(
            f"`X` has shape {np.shape(X)}; needed are {n} rows of features.", argument="X"
        )
    few = [len(set(chain(map(str, column)))) < max(2, 0.1 * n) for column in columns.T]
    return float(np.mean(few))
