"""Gaps of scores at every threshold on rows they were not fitted to, with bands."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from fairprog.errors import DataError
from fairprog.evidence.worst_gap import Rate, WorstGap, WorstGapLaw, thinned, thresholds_for
from fairprog.kernels.statistics.gap_bands import acceptance_gaps, worst_gap
from fairprog.labels import Array, Indices, check_finite, check_number, encode
from fairprog.populations.base import Population

MAX_CLASSES = 8  # of more, the largest ones are shown
DRAWS = 400  # behind bands and intervals


@dataclass(frozen=True, eq=False)
class GapCurve:
    """The gap between groups of one rate at every threshold of one or more scores.

    Attributes
    ----------
    title : str
        Which rate.
    thresholds : Array, shape (T,)
        A grid to draw on.
    gaps : dict of name to Array, shape (T,)
        Largest minus smallest share of a group above the threshold, per score.
    worst : dict of name to float
        Over ALL thresholds (a Kolmogorov-Smirnov distance), not only those of the grid.
    half_width : float
        Every gap of every score is within this of the population's, at all thresholds at once,
        with the confidence asked for.
    counts : Array, shape (G,)
        Rows of the cell the rate conditions on.
    intervals : dict of name to WorstGap
        The worst gap of each score, corrected, with its interval.
    """

    title: str
    thresholds: Array
    gaps: Mapping[str, Array]
    worst: Mapping[str, float]
    half_width: float
    counts: Indices
    intervals: Mapping[str, WorstGap] = field(default_factory=dict)

    def bands(self) -> dict[str, tuple[Array, Array]]:
        """Return (low, high) per score, within [0, 1]."""
        return {
            name: (np.maximum(g - self.half_width, 0.0), np.minimum(g + self.half_width, 1.0))
            for name, g in self.gaps.items()
        }


def gap_curves(
    scores: Mapping[str, ArrayLike],
    y: ArrayLike,
    *,
    sensitive_features: ArrayLike,
    classes: Sequence[Hashable],
    groups: Sequence[Hashable],
    confidence: float = 0.95,
) -> tuple[GapCurve, ...]:
    """Measure gaps between groups at every threshold of scores of the same rows.

    Parameters
    ----------
    scores : mapping of name to array_like, shape (n,) or (n, K)
        Scores of the last class, or of every class. They must NOT be fitted to these rows, or the
        bands do not hold.
    y, sensitive_features : array_like, shape (n,)
    classes, groups : sequence
        Labels in order.
    confidence : float
        That all bands of one curve hold at once, at every threshold and for every score.

    Returns
    -------
    tuple of GapCurve
        Two classes: equal opportunity, predictive equality, demographic parity of "predict the
        last class above the threshold". More: for each class (of more than eight: the largest),
        the share of its rows whose score of that class is above the threshold.

    Raises
    ------
    DataError
        For scores of another shape, unknown labels, or a cell without a row.

    Notes
    -----
    Bands hold for all pairs of groups at once by their joint law (multiplier bootstrap,
    :mod:`fairprog.evidence.worst_gap`), and for all scores by Bonferroni's inequality.
    """
    delta = 1.0 - check_confidence(confidence)
    i = encode(y, classes, "y")
    a = encode(sensitive_features, groups, "sensitive_features", len(i))
    columns = {name: _columns(s, len(i), len(classes)) for name, s in scores.items()}
    if len(classes) == 2:
        labels, last = [str(c) for c in classes], len(classes) - 1
        events = [
            (f"equal opportunity: rows of class {labels[1]}", i == 1, last),
            (f"predictive equality: rows of class {labels[0]}", i == 0, last),
            ("demographic parity: all rows", np.ones(len(i), dtype=bool), last),
        ]
    else:
        if any(s.shape[1] != len(classes) for s in columns.values()):
            raise DataError(
                f"With {len(classes)} classes `scores` must have a column for each of them.",
                argument="scores",
            )
        largest = np.argsort(-np.bincount(i, minlength=len(classes)), kind="stable")
        shown = sorted(int(k) for k in largest[:MAX_CLASSES])
        events = [(f"class {classes[k]} against the rest: its rows", i == k, k) for k in shown]
    return tuple(
        _curve(title, rows, {n: s[:, k] for n, s in columns.items()}, a, groups, 1.0 - delta)
        for title, rows, k in events
    )


def _curve(
    title: str,
    rows: np.ndarray[tuple[int, ...], np.dtype[np.bool_]],
    scores: Mapping[str, Array],
    group: Indices,
    groups: Sequence[Hashable],
    confidence: float,
) -> GapCurve:
    members = [np.flatnonzero(rows & (group == g)) for g in range(len(groups))]
    empty = [g for g, m in zip(groups, members, strict=True) if not m.size]
    if empty:
        raise DataError(f"Group {empty[0]!r} has no row for {title!r}.", argument="y")
    counts = np.array([m.size for m in members])
    grid = _grid([s for s in scores.values()])
    samples = {name: [s[m] for m in members] for name, s in scores.items()}
    laws = {name: gap_law(own) for name, own in samples.items()}
    worst = {name: worst_gap(own) for name, own in samples.items()}
    level = 1.0 - (1.0 - confidence) / len(scores)
    return GapCurve(
        title=title,
        thresholds=grid,
        gaps={name: acceptance_gaps(own, grid) for name, own in samples.items()},
        worst=worst,
        half_width=max(law.half_width(level) for law in laws.values()),
        counts=counts,
        intervals={name: law.interval(worst[name], confidence) for name, law in laws.items()},
    )


def gap_law(samples: Sequence[Array]) -> WorstGapLaw:
    """Return how the gap at the worst threshold of the groups' scores varies; the same every time.

    Examples
    --------
    >>> import numpy as np
    >>> from fairprog.evidence.held_out import gap_law
    >>> law = gap_law([np.arange(100.0), np.arange(100.0)])
    >>> law.interval(0.0, 0.95).low
    0.0
    """
    values = np.unique(np.concatenate(samples))
    mass = np.stack([np.searchsorted(np.sort(s), values, side="right") for s in samples])
    counts: Array = mass.astype(float)
    few: Array = np.take(counts, thinned(counts, thresholds_for(len(samples), 1, DRAWS)), axis=1)
    return WorstGapLaw([Rate.of(few, few)], DRAWS, np.random.default_rng(0))


def _grid(scores: Sequence[Array]) -> Array:
    """Return thresholds to draw on: [0, 1] for probabilities, else the range of the scores."""
    low = min(float(s.min()) for s in scores)
    high = max(float(s.max()) for s in scores)
    if low >= 0.0 and high <= 1.0:
        low, high = 0.0, 1.0
    return np.linspace(low, high, 301)


def _columns(scores: ArrayLike, n: int, n_classes: int) -> Array:
    """Return scores as (n, 1 or K) with the last class last."""
    array = check_finite(scores, "scores")
    array = array[:, None] if array.ndim == 1 else array
    if array.ndim != 2 or len(array) != n or array.shape[1] not in (1, n_classes):
        raise DataError(
            f"`scores` has shape {np.shape(scores)}; needed is ({n},) or ({n}, {n_classes}).",
            argument="scores",
        )
    if n_classes == 2 and array.shape[1] == 1:
        array = np.hstack([-array, array])
    return array


def check_confidence(confidence: float) -> float:
    """Return a confidence in (0, 1)."""
    value = check_number(confidence, "confidence")
    if not 0.0 < value < 1.0:
        raise DataError(
            f"`confidence` must lie strictly between 0 and 1; found {confidence!r}.",
            argument="confidence",
        )
    return value


def posterior(population: Population, X: ArrayLike, *, sensitive_features: ArrayLike) -> Array:
    """Return P(Y=i | X=x, A=a) of every row under a population, shape (n, K).

    Parameters
    ----------
    population : Population
    X : array_like, shape (n, d) or (n,), in the user's units
    sensitive_features : array_like, shape (n,)

    Examples
    --------
    >>> import fairprog as fp
    >>> from fairprog.evidence.held_out import posterior
    >>> D = fp.Normal([[.25, .25], [.25, .25]], [[-1., 0.], [1., 2.]], std=[[1., 1.], [1., 1.]])
    >>> posterior(D, [0., 1.], sensitive_features=[0, 1])
    array([[0.5, 0.5],
           [0.5, 0.5]])
    """
    Z = population.to_coordinates(X)
    group = encode(sensitive_features, population.groups, "sensitive_features", len(Z))
    return np.exp(population.log_posterior(Z, group))
