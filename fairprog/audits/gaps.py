"""Gaps of every notion at every threshold, with bands and with what chance alone gives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairprog.audits.audit_rows import AuditRows
from fairprog.audits.result import GapInterval, Gaps, chance_level, titled
from fairprog.evidence.held_out import GapCurve
from fairprog.evidence.worst_gap import Rate, WorstGap, WorstGapLaw, thinned, thresholds_for
from fairprog.kernels.statistics.threshold_rates import (
    cumulated,
    permuted_worst_gaps,
    rates_of,
    tie_ends,
)
from fairprog.labels import Array, Indices

LONG = 20_000_000  # rows times repetitions from which a progress bar is shown
NOTIONS = (
    "equalized odds",
    "equal opportunity",
    "predictive equality",
    "demographic parity",
    "accuracy parity",
)
PARTS = ((0, 1), (0,), (1,), (2,), (3,))  # which of RATES a notion compares


def gaps_at_thresholds(
    rows: AuditRows, repetitions: int, draws: int, random_state: int
) -> tuple[tuple[GapCurve, ...], dict[tuple[str, str], GapInterval]]:
    """Return curves and worst gaps of every notion."""
    curves: list[GapCurve] = []
    worst: dict[tuple[str, str], GapInterval] = {}
    G = len(rows.groups)
    binary = len(rows.classes) == 2
    asked = range(5) if binary else (1, 2)
    for k, positive, columns in rows.problems():
        code = 2 * rows.a + positive
        found: dict[str, tuple[Array, Array]] = {}
        reach = np.zeros(5)
        for name, s in columns.items():
            order = np.argsort(s, kind="stable")
            sorted_code, w = code[order], rows.weight[order]
            ends = tie_ends(s[order])
            rng = np.random.default_rng(random_state)
            shuffled = permuted_worst_gaps(sorted_code, w, ends, G, repetitions, rng)
            drawn_gaps = np.array(list(_progress(shuffled, repetitions + 1, s.size)))
            chance, by_chance = _with_odds(drawn_gaps[:, 0]), as_unequal(drawn_gaps[:, 1:])
            mass = cumulated(sorted_code, w, ends, G)
            found[name] = s[order][ends], rates_of(mass)
            square = cumulated(sorted_code, w**2, ends, G)
            level = 1.0 - (1.0 - rows.confidence) / len(columns)  # of bands of all scores
            for q in asked:
                law = _law(q, mass, square, draws, rng)
                reach[q] = max(reach[q], law.half_width(level))
                gap = law.interval(float(chance[0, q]), rows.confidence)
                key = titled(NOTIONS[q], rows.classes, k), name
                worst[key] = _interval(gap, chance[1:, q], float(by_chance[q]), rows)
            if binary:
                _include_members(worst, name)
        grid = _grid(columns.values())
        for q in asked:
            title = titled(NOTIONS[q], rows.classes, k)
            drawn = {
                name: _at(_with_odds(np.ptp(rates, axis=2).T)[:, q], values, q, grid)
                for name, (values, rates) in found.items()
            }
            peak = {name: worst[title, name].gap for name in found}
            counts = _cell_counts(rows, positive, q)
            curves.append(GapCurve(title, grid, drawn, peak, float(reach[q]), counts))
    return tuple(curves), Gaps(worst)


def _law(q: int, mass: Array, square: Array, draws: int, rng: np.random.Generator) -> WorstGapLaw:
    """Return how the worst gap of a notion varies; weights and their squares are (T, G, 2)."""
    G, parts = mass.shape[1], PARTS[q]
    few = thinned(mass.sum(axis=2).T, thresholds_for(G, len(parts), draws))
    (m0, m1), (s0, s1) = (np.moveaxis(x[few], (0, 2), (2, 0)) for x in (mass, square))
    rates = (
        lambda: Rate.of(m1, s1),
        lambda: Rate.of(m0, s0),
        lambda: Rate.of(m0 + m1, s0 + s1),
        lambda: Rate.of(m1, s1, below=(m0, s0)),
    )
    return WorstGapLaw([rates[r]() for r in parts], draws, rng)


def as_unequal(off: Array) -> Array:
    """Return the share of permutations that are as unequal, of each of NOTIONS.

    Deviations are taken in units of what chance exceeds in 5% of cases, for every group and rate
    its own, so that the noise of few rows hides nothing; the unit is read off permutations and
    rows alike, which keeps the level exact. Both events of equalized odds are compared with the
    larger of the two, so that one is beyond chance exactly if equalized odds are (Westfall and
    Young's adjustment).

    Parameters
    ----------
    off : Array, shape (1 + permutations, G, 4)
        Largest deviation of each group from all rows, of the rows as they are first.

    Examples
    --------
    >>> import numpy as np
    >>> off = np.random.default_rng(0).random((201, 2, 4)) * [9, 1, 1, 1]  # rates of few rows
    >>> off[0, :, 1] = 3
    >>> as_unequal(off)[[0, 2]]
    array([0., 0.])
    """
    unit = np.maximum(np.quantile(off, 0.95, axis=0), 1e-9)
    scores = _with_odds((off / unit).max(axis=1))
    against = scores.copy()
    against[:, 1:3] = scores[:, :1]
    return np.asarray(np.mean(against[1:] >= scores[0] * (1.0 - 1e-12), axis=0))


def _include_members(worst: dict[tuple[str, str], GapInterval], name: str) -> None:
    """Let the interval of the larger of two gaps reach as high as that of either."""
    odds, *events = (worst[notion, name] for notion in NOTIONS[:3])
    high, at_most = (max(getattr(g, end) for g in (odds, *events)) for end in ("high", "at_most"))
    worst[NOTIONS[0], name] = replace(odds, high=high, at_most=at_most)


def _interval(found: WorstGap, raw: Array, chance: float, rows: AuditRows) -> GapInterval:
    """Return a worst gap with its interval and with what permutations give."""
    # no interval excludes what the permutations leave open
    sure = chance < chance_level(len(rows.classes))
    a, b = found.between
    return GapInterval(
        found.gap,
        found.low if sure else 0.0,
        found.high,
        float(np.median(raw)),
        float(np.quantile(raw, 0.95)),
        chance,
        (rows.groups[a], rows.groups[b]),
        found.estimate,
        found.at_least if sure else 0.0,
        found.at_most,
    )


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


def _cell_counts(rows: AuditRows, positive: NDArray[np.bool_], q: int) -> Indices:
    wanted = {1: positive, 2: ~positive}.get(q, np.ones(rows.y.size, dtype=bool))
    return np.bincount(rows.a[wanted], minlength=len(rows.groups))


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

    return iter(tqdm(found, total=count, desc="audit", leave=False, disable=None))
