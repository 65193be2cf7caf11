"""`audit`: every gap at every threshold, with bands, chance and words."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from fairprog.audit.result import Audit, GapInterval, Leakage, ScoreMovement
from fairprog.audit.words import recommendation_words
from fairprog.errors import DataError, FairprogWarning
from fairprog.groups import check_cells, group_labels, refuse_swapped
from fairprog.kernels.empirical import dkw_half_width, gap_half_width, spearman
from fairprog.kernels.proportions import largest_difference
from fairprog.kernels.ranking import auc, auc_standard_error
from fairprog.kernels.threshold_rates import (
    bootstrap_deviations,
    cumulated,
    permuted_worst_gaps,
    rates_of,
    tie_ends,
    worst_gaps,
)
from fairprog.labels import (
    Array,
    Indices,
    check_finite,
    check_number,
    check_weights,
    encode,
    label_order,
    label_vector,
    sorted_labels,
)
from fairprog.solution.held_out import GapCurve, check_confidence

__all__ = ["audit"]

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
LONG = 5_000_000  # rows times repetitions from which a progress bar is shown
NOTIONS = (
    "equalized odds",
    "equal opportunity",
    "predictive equality",
    "demographic parity",
    "accuracy parity",
)


def audit(
    y_true: ArrayLike,
    y_score: ArrayLike,
    *,
    sensitive_features: ArrayLike,
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
) -> Audit:
    """Measure how unequal groups are treated by every threshold on a score.

    Parameters
    ----------
    y_true : array_like, shape (n,)
        Class of each row; of two classes the last is the positive one.
    y_score : array_like, shape (n,), (n, 1) or (n, K)
        Scores of the last class, or of every class. Of rows the model was NOT trained on, or
        intervals and bands say nothing.
    sensitive_features : array_like, shape (n,) or (n, k), or a data frame
        Group of each row; several columns are crossed.
    confidence : float, default 0.95
        Of every band (at all its thresholds and scores at once) and of every interval.
    sample_weight : array_like, shape (n,), optional
        Bands then come from the bootstrap.
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
        Repetitions behind the noise floor (groups permuted within each class) and the bands of
        weighted rows.
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
        If scores are lower for the positive class.

    Notes
    -----
    The DKW band of a pair of groups is e_a + e_a', e = sqrt(log(2m/delta) / (2n)), n the rows of
    the cell and m the number of distribution functions used at once (theory.md section 1).
    Accuracy is a sum of two such functions per group and has twice the width. The gap at the worst
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
    confidence = check_confidence(confidence)
    y, a, kinds, groups = _cells(y_true, sensitive_features, merge_groups, classes)
    n = y.size
    S = _columns(y_score, "y_score", n, len(kinds))
    scores = {"score": S}
    if y_score_after is not None:
        after = _columns(y_score_after, "y_score_after", n, len(kinds))
        scores = {"before": S, "after": after}
    rows = _Rows(y, a, kinds, groups, check_weights(sample_weight, n), scores, confidence)
    rows.check_weighted()
    if S.shape[1] == 1:
        _warn_of_direction(rows, S[:, 0])
    weighted = sample_weight is not None
    repetitions = int(check_number(n_permutations, "n_permutations", 1))
    draws = int(check_number(n_bootstrap, "n_bootstrap", 50)) if weighted else 0
    curves, worst = _gaps(rows, repetitions, draws, random_state)
    at = _threshold(S, threshold) if S.shape[1] == 1 else float("nan")
    guesses = {name: _predict(s, at) for name, s in scores.items()}
    last = list(scores)[-1]
    rates, support, gaps, rms = _rates(rows, guesses[last], repetitions, random_state)
    return Audit(
        classes=kinds,
        groups=groups,
        counts=rows.counts,
        confidence=confidence,
        band="bootstrap" if weighted else "DKW",
        curves=curves,
        worst=worst,
        rates=rates,
        rate_rows=support,
        rate_gaps=gaps,
        rms_gap=rms,
        threshold=at,
        leakage=_leakage(rows, last),
        movement=_movement(rows, guesses) if len(scores) > 1 else None,
        recommendation=recommendation_words(
            groups=len(groups),
            classes=len(kinds),
            smallest=int(rows.counts.min()),
            unfair=any(
                found.low > 0 or found.beyond_chance
                for (notion, name), found in worst.items()
                if name == last and notion.startswith(("equalized", "class"))
            ),
            distinct=int(np.unique(S[:, -1]).size),
            lattice=_lattice_share(X, n),
            rows=n,
        ),
        _rows=(y, a, rows.weight, scores),
    )


def _cells(
    y_true: ArrayLike,
    sensitive_features: Any,
    merge_groups: Mapping[Any, Any] | None,
    order: Sequence[Any] | None,
) -> tuple[Indices, Indices, tuple[Hashable, ...], tuple[Hashable, ...]]:
    labels = label_vector(y_true, "y_true")
    if not labels.size:
        raise DataError("`y_true` has no rows.", argument="y_true")
    group = group_labels(sensitive_features, labels.size, merge_groups)
    refuse_swapped(labels, group)
    classes = label_order(order, labels, "classes")
    groups = sorted_labels(group.tolist())
    if len(classes) > max(20, labels.size // 4):
        raise DataError(
            f"`y_true` has {len(classes)} distinct values in {labels.size} rows: it must hold "
            "classes. Were scores passed first? The order is audit(y_true, y_score).",
            argument="y_true",
        )
    known = (("y_true", classes, "class"), ("sensitive_features", groups, "group"))
    for name, found, what in known:
        if len(found) < 2:
            raise DataError(
                f"`{name}` holds the one {what} {found[0]!r}; at least two are needed for a gap.",
                argument=name,
            )
    check_cells(labels, group, 1, classes)
    return encode(labels, classes, "y_true"), encode(group, groups, "groups"), classes, groups


def _warn_of_direction(rows: _Rows, s: Array) -> None:
    told = auc(s, rows.y == 1, rows.weight)
    if told < 0.5:
        warnings.warn(
            f"Scores are lower for class {rows.classes[1]!r}, the last and so the positive one, "
            f"than for {rows.classes[0]!r} (AUC {told:.3f}): pass the score of the last class, or "
            "name the order by classes=.",
            FairprogWarning,
            stacklevel=3,
        )


def _columns(scores: ArrayLike, name: str, n: int, n_classes: int) -> Array:
    """Return (n, 1) scores of the last of two classes, or (n, K)."""
    array = check_finite(scores, name)
    array = array[:, None] if array.ndim == 1 else array
    known = (1, 2) if n_classes == 2 else (n_classes,)
    if array.ndim != 2 or len(array) != n or array.shape[1] not in known:
        wanted = f"({n},) or ({n}, 2)" if n_classes == 2 else f"({n}, {n_classes})"
        hint = "" if n_classes == 2 else f" (a column for each of the {n_classes} classes, sorted)"
        raise DataError(
            f"`{name}` has shape {np.shape(scores)}; needed is {wanted}{hint}.", argument=name
        )
    return array[:, -1:] if n_classes == 2 else array


@dataclass(frozen=True, eq=False)
class _Rows:
    """The rows, checked."""

    y: Indices
    a: Indices
    classes: tuple[Hashable, ...]
    groups: tuple[Hashable, ...]
    weight: Array
    scores: Mapping[str, Array]
    confidence: float

    @property
    def counts(self) -> Indices:
        out = np.zeros((len(self.classes), len(self.groups)), dtype=np.intp)
        np.add.at(out, (self.y, self.a), 1)
        return out

    def check_weighted(self) -> None:
        """Refuse cells whose rows all weigh nothing."""
        mass = np.zeros(self.counts.shape)
        np.add.at(mass, (self.y, self.a), self.weight)
        if not mass.all():
            i, a = (int(k) for k in np.argwhere(mass == 0)[0])
            raise DataError(
                f"Class {self.classes[i]!r}, group {self.groups[a]!r} has rows of weight zero "
                "only: its rates are unknown. Leave the group out or merge it with another.",
                argument="sample_weight",
                cell=(self.classes[i], self.groups[a]),
            )

    def problems(self) -> Iterator[tuple[int, NDArray[np.bool_], dict[str, Array]]]:
        """Yield (class, positive rows, scores): one problem, or each class against the rest."""
        single = len(self.classes) == 2
        for k in (1,) if single else range(len(self.classes)):
            columns = {name: S[:, 0 if single else k] for name, S in self.scores.items()}
            yield k, self.y == k, columns


def _gaps(
    rows: _Rows, repetitions: int, draws: int, random_state: int
) -> tuple[tuple[GapCurve, ...], dict[tuple[str, str], GapInterval]]:
    """Return curves and worst gaps of every notion."""
    curves: list[GapCurve] = []
    worst: dict[tuple[str, str], GapInterval] = {}
    G = len(rows.groups)
    binary = len(rows.classes) == 2
    for k, positive, columns in rows.problems():
        code = 2 * rows.a + positive
        width = _dkw(rows, positive)
        gaps: dict[str, tuple[Array, Array]] = {}
        floors: dict[str, Array] = {}
        grid = _grid(columns.values())
        for name, s in columns.items():
            order = np.argsort(s, kind="stable")
            sorted_code, w = code[order], rows.weight[order]
            ends = tie_ends(s[order])
            rates = rates_of(cumulated(sorted_code, w, ends, G))
            rng = np.random.default_rng(random_state)
            shuffled = permuted_worst_gaps(sorted_code, w, ends, G, repetitions, rng)
            floors[name] = np.array(list(_progress(shuffled, repetitions, s.size)))
            if draws:
                again = bootstrap_deviations(sorted_code, w, ends, G, draws, rng)
                off = _with_odds(np.array(list(_progress(again, draws, s.size))))
                level = 1.0 - (1.0 - rows.confidence) / len(columns)
                found = np.minimum(np.quantile(off, level, axis=0), 1.0)
                width = np.maximum(width, found) if gaps else found
            gaps[name] = (s[order][ends], rates)
        for q, notion in enumerate(NOTIONS):
            if not binary and notion not in ("equal opportunity", "predictive equality"):
                continue
            title = _title(notion, rows.classes, k)
            drawn, peak = {}, {}
            for name, (values, rates) in gaps.items():
                curve = _with_odds(np.ptp(rates, axis=2).T)[:, q]
                drawn[name] = _at(curve, values, q, grid)
                peak[name] = float(_with_odds(worst_gaps(rates))[q])
                chance = _with_odds(floors[name])[:, q]
                worst[title, name] = GapInterval(
                    peak[name],
                    max(0.0, peak[name] - float(width[q])),
                    min(1.0, peak[name] + float(width[q])),
                    float(np.median(chance)),
                    float(np.quantile(chance, 0.95)),
                )
            counts = _cell_counts(rows, positive, q)
            curves.append(GapCurve(title, grid, drawn, peak, float(width[q]), counts))
    return tuple(curves), worst


def _with_odds(four: Array) -> Array:
    """Return (..., 5) in the order of NOTIONS from (..., 4) in the order of RATES."""
    odds = np.maximum(four[..., :1], four[..., 1:2])
    return np.concatenate([odds, four], axis=-1)


def _at(curve: Array, values: Array, q: int, grid: Array) -> Array:
    """Return a step function of the threshold on a grid.

    Below all scores rates are one, and accuracies the base rates: as far apart as above all.
    """
    k = np.searchsorted(values, grid, side="right") - 1
    below = curve[-1] if NOTIONS[q] == "accuracy parity" else 0.0
    return np.where(k >= 0, curve[np.maximum(k, 0)], below)


def _dkw(rows: _Rows, positive: NDArray[np.bool_]) -> Array:
    """Return half widths in the order of NOTIONS."""
    G, m = len(rows.groups), len(rows.scores)
    n1 = np.bincount(rows.a[positive], minlength=G)
    n0 = np.bincount(rows.a[~positive], minlength=G)
    level = rows.confidence
    odds = max(gap_half_width(n, 2 * G * m, level) for n in (n1, n0))
    # accuracy is a sum of two (sub)distribution functions of each group
    e = np.sort(2.0 * dkw_half_width(n0 + n1, 2 * G * m, level))
    return np.array(
        [
            odds,
            gap_half_width(n1, G * m, level),
            gap_half_width(n0, G * m, level),
            gap_half_width(n0 + n1, G * m, level),
            min(1.0, float(e[-2:].sum())),
        ]
    )


def _cell_counts(rows: _Rows, positive: NDArray[np.bool_], q: int) -> Indices:
    wanted = {1: positive, 2: ~positive}.get(q, np.ones(rows.y.size, dtype=bool))
    return np.bincount(rows.a[wanted], minlength=len(rows.groups))


def _title(notion: str, classes: tuple[Hashable, ...], k: int) -> str:
    if len(classes) == 2:
        return notion
    return f"class {classes[k]}: {notion} against the rest"


def _grid(columns: Any) -> Array:
    low = min(float(s.min()) for s in columns)
    high = max(float(s.max()) for s in columns)
    if low >= 0.0 and high <= 1.0:
        low, high = 0.0, 1.0
    return np.linspace(low, high, 301)


def _progress(found: Iterator[Array], count: int, n: int) -> Iterator[Array]:
    if count * n < LONG:
        return found
    from tqdm import tqdm

    out: Iterator[Array] = iter(tqdm(found, total=count, desc="audit", leave=False))
    return out


def _threshold(S: Array, threshold: float | None) -> float:
    if threshold is not None:
        return check_number(threshold, "threshold", -np.inf)
    return 0.5 if S.min() >= 0 and S.max() <= 1 else 0.0


def _predict(S: Array, threshold: float) -> Indices:
    if S.shape[1] > 1:
        return np.asarray(S.argmax(axis=1))
    return (S[:, 0] >= threshold).astype(np.intp)


def _rates(
    rows: _Rows, guess: Indices, repetitions: int, random_state: int
) -> tuple[Array, Array, dict[Hashable, GapInterval], GapInterval]:
    """Return P(Yhat = i | Y = i, A = a), the rows behind each, their gaps, and the RMS gap."""
    right = guess == rows.y
    rates, support = _true_rates(rows, right, rows.a)
    rng = np.random.default_rng(random_state)
    shuffled, chance = rows.a.copy(), []
    members = [np.flatnonzero(rows.y == i) for i in range(len(rows.classes))]
    for _ in range(repetitions):
        for own in members:
            shuffled[own] = rows.a[rng.permutation(own)]
        found = _true_rates(rows, right, shuffled)[0]
        chance.append(np.ptp(found, axis=1))
    floor = np.array(chance)
    gaps = {}
    for i, c in enumerate(rows.classes):
        gap, low, high = largest_difference(rates[i], support[i], rows.confidence)
        gaps[c] = GapInterval(
            gap, low, high, float(np.median(floor[:, i])), float(np.quantile(floor[:, i], 0.95))
        )
    overall = np.sqrt((floor**2).mean(axis=1))
    # all classes' intervals at once: the mean over classes lies between those of the ends
    ends = np.array(
        [
            largest_difference(p, m, 1.0 - (1.0 - rows.confidence) / len(rows.classes))
            for p, m in zip(rates, support, strict=True)
        ]
    )
    gap, low, high = np.sqrt((ends**2).mean(axis=0))
    rms = GapInterval(
        float(gap),
        float(low),
        float(high),
        float(np.median(overall)),
        float(np.quantile(overall, 0.95)),
    )
    return rates, support, gaps, rms


def _true_rates(rows: _Rows, right: NDArray[np.bool_], group: Indices) -> tuple[Array, Array]:
    K, G = len(rows.classes), len(rows.groups)
    cell = G * rows.y + group
    w = rows.weight
    mass = np.bincount(cell, weights=w, minlength=K * G)
    square = np.bincount(cell, weights=w**2, minlength=K * G)
    hit = np.bincount(cell, weights=w * right, minlength=K * G)
    with np.errstate(invalid="ignore", divide="ignore"):
        rate, worth = hit / mass, mass**2 / square
    return np.nan_to_num(rate).reshape(K, G), worth.reshape(K, G)


def _leakage(rows: _Rows, name: str) -> tuple[Leakage, ...]:
    """Return the area under the curve of each group against the others, within each class."""
    z = float(ndtri(0.5 + 0.5 * rows.confidence))
    S, out = rows.scores[name], []
    told = range(1, 2) if len(rows.groups) == 2 else range(len(rows.groups))
    for i, c in enumerate(rows.classes):
        own = (rows.y == i) & (rows.weight > 0)
        s = S[own, 0 if S.shape[1] == 1 else i]
        for g in told:
            member = rows.a[own] == g
            found = auc(s, member, rows.weight[own])
            reach = z * auc_standard_error(s, member, rows.weight[own])
            out.append(
                Leakage(c, rows.groups[g], found, max(0.0, found - reach), min(1.0, found + reach))
            )
    return tuple(out)


def _movement(rows: _Rows, guesses: Mapping[str, Indices]) -> ScoreMovement:
    """Return how far scores moved; of more than two classes each row's own class's score."""
    before, after = rows.scores["before"], rows.scores["after"]
    column = np.zeros(rows.y.size, dtype=np.intp) if before.shape[1] == 1 else rows.y
    take = np.arange(rows.y.size)
    s, t = before[take, column], after[take, column]
    K, G = len(rows.classes), len(rows.groups)
    quantiles, rms, flipped = np.zeros((5, K, G)), np.zeros((K, G)), np.zeros((K, G))
    changed = guesses["before"] != guesses["after"]
    for i in range(K):
        for g in range(G):
            own = (rows.y == i) & (rows.a == g)
            step = t[own] - s[own]
            quantiles[:, i, g] = np.quantile(step, LEVELS)
            rms[i, g] = np.sqrt((step**2).mean())
            flipped[i, g] = changed[own].mean()
    rank = np.array([spearman(s[rows.a == g], t[rows.a == g]) for g in range(G)])
    return ScoreMovement(quantiles, rms, flipped, rank)


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
