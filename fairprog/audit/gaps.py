"""Gaps of every notion at every threshold, with bands and with what chance alone gives."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairprog.audit.audit_rows import AuditRows
from fairprog.audit.result import GapInterval
from fairprog.evidence.held_out import GapCurve
from fairprog.kernels.gap_bands import dkw_half_width
from fairprog.kernels.threshold_rates import (
    bootstrap_deviations,
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
    for k, positive, columns in rows.problems():
        code = 2 * rows.a + positive
        found: dict[str, tuple[Array, Array, Array]] = {}
        reach = np.zeros((5, 2, G)) if draws else _dkw(rows, positive)
        for name, s in columns.items():
            order = np.argsort(s, kind="stable")
            sorted_code, w = code[order], rows.weight[order]
            ends = tie_ends(s[order])
            rng = np.random.default_rng(random_state)
            shuffled = permuted_worst_gaps(sorted_code, w, ends, G, repetitions, rng)
            chance = np.array(list(_progress(shuffled, repetitions + 1, s.size)))
            if draws:
                again = bootstrap_deviations(sorted_code, w, ends, G, draws, rng)
                off = np.array(list(_progress(again, draws, s.size)))
                level = 1.0 - (1.0 - rows.confidence) / len(columns)
                reach = np.maximum(reach, _bootstrap(off, level))
            rates = rates_of(cumulated(sorted_code, w, ends, G))
            found[name] = s[order][ends], rates, _with_odds(chance)
        grid = _grid(columns.values())
        for q, notion in enumerate(NOTIONS):
            if not binary and notion not in ("equal opportunity", "predictive equality"):
                continue
            title = _title(notion, rows.classes, k)
            drawn, peak = {}, {}
            for name, (values, rates, chance) in found.items():
                curve = _with_odds(np.ptp(rates, axis=2).T)[:, q]
                drawn[name] = _at(curve, values, q, grid)
                worst[title, name] = _interval(
                    [(rates[r], e) for r, e in zip(PARTS[q], reach[q], strict=False)],
                    chance[:, :, q],
                    rows,
                )
                peak[name] = worst[title, name].gap
            width = min(1.0, float(np.sort(reach[q], axis=1)[:, -2:].sum(axis=1).max()))
            counts = _cell_counts(rows, positive, q)
            curves.append(GapCurve(title, grid, drawn, peak, width, counts))
    return tuple(curves), worst


def _interval(parts: list[tuple[Array, Array]], chance: Array, rows: AuditRows) -> GapInterval:
    """Return the worst gap over thresholds and pairs, every pair with its own half width."""
    best = (-np.inf, -np.inf, 0, 0)
    high = 0.0
    for a, b in combinations(range(len(rows.groups)), 2):
        for rates, e in parts:
            gap = float(np.abs(rates[:, a] - rates[:, b]).max())
            best = max(best, (gap - e[a] - e[b], gap, a, b))
            high = max(high, gap + float(e[a] + e[b]))
    raw, standard = chance[1:, 0], chance[:, 1]
    return GapInterval(
        float(chance[0, 0]),
        max(0.0, float(best[0])),
        min(1.0, high),
        float(np.median(raw)),
        float(np.quantile(raw, 0.95)),
        float(np.mean(standard[1:] >= standard[0] * (1.0 - 1e-12))),
        (rows.groups[best[2]], rows.groups[best[3]]),
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


def _dkw(rows: AuditRows, positive: NDArray[np.bool_]) -> Array:
    """Return how far each group's rates can be off, shape (5, 2, G): per notion, its PARTS."""
    G, m = len(rows.groups), len(rows.scores)
    n1 = np.bincount(rows.a[positive], minlength=G)
    n0 = np.bincount(rows.a[~positive], minlength=G)

    def e(n: Indices, classes: int = 1) -> Array:
        return dkw_half_width(n, classes * G * m, rows.confidence)

    accuracy = 2.0 * e(n0 + n1, 2)  # a sum of two (sub)distribution functions of each group
    return np.array(
        [
            [e(n1, 2), e(n0, 2)],
            [e(n1), e(n1)],
            [e(n0), e(n0)],
            [e(n0 + n1), e(n0 + n1)],
            [accuracy, accuracy],
        ]
    )


def _bootstrap(off: Array, level: float) -> Array:
    """Return the same from deviations (draws, 4, G): all groups at once, each in its own unit."""
    off = np.concatenate([np.maximum(off[:, :1], off[:, 1:2]), off], axis=1)
    unit = np.quantile(off, level, axis=0)
    ratio = np.divide(off, unit, out=np.zeros_like(off), where=unit > 0).max(axis=2)
    reach = unit * np.quantile(ratio, level, axis=0)[:, None]
    return np.stack([reach, reach], axis=1)


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

    return iter(tqdm(found, total=count, desc="audit", leave=False, disable=None))
