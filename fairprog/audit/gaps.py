"""Gaps of every notion at every threshold, with bands and with what chance alone gives."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairprog.audit.result import GapInterval
from fairprog.audit.rows import AuditRows
from fairprog.kernels.empirical import dkw_half_width, gap_half_width
from fairprog.kernels.threshold_rates import (
    bootstrap_deviations,
    cumulated,
    permuted_worst_gaps,
    rates_of,
    tie_ends,
    worst_gaps,
)
from fairprog.labels import Array, Indices
from fairprog.solution.held_out import GapCurve

__all__ = ["gaps_at_thresholds"]

LONG = 20_000_000  # rows times repetitions from which a progress bar is shown
NOTIONS = (
    "equalized odds",
    "equal opportunity",
    "predictive equality",
    "demographic parity",
    "accuracy parity",
)


def gaps_at_thresholds(
    rows: AuditRows, repetitions: int, draws: int, random_state: int
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


def _dkw(rows: AuditRows, positive: NDArray[np.bool_]) -> Array:
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


def _cell_counts(rows: AuditRows, positive: NDArray[np.bool_], q: int) -> Indices:
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

    out: Iterator[Array] = iter(tqdm(found, total=count, desc="audit", leave=False, disable=None))
    return out
