"""True-positive rates of the groups in every class, their gaps, and what chance gives."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
from numpy.typing import NDArray

from fairprog.audits.audit_rows import AuditRows
from fairprog.audits.result import GapInterval
from fairprog.kernels.statistics.proportions import largest_difference
from fairprog.labels import Array, Indices


def rate_gaps(
    rows: AuditRows, guess: Indices, repetitions: int, random_state: int
) -> tuple[Array, Array, dict[Hashable, GapInterval], GapInterval]:
    """Return P(Yhat = i | Y = i, A = a), the rows behind each, their gaps, and the RMS gap."""
    right = guess == rows.y
    rates, support = _true_rates(rows, right)
    floor = _chance(rows, right, repetitions, np.random.default_rng(random_state))
    gaps = {}
    for i, c in enumerate(rows.classes):
        gap, low, high = largest_difference(rates[i], support[i], rows.confidence)
        gaps[c] = _interval(gap, low, high, floor[:, i])
    overall = np.sqrt((floor**2).mean(axis=1))
    # all classes' intervals at once: the mean over classes lies between those of the ends
    ends = np.array(
        [
            largest_difference(p, m, 1.0 - (1.0 - rows.confidence) / len(rows.classes))
            for p, m in zip(rates, support, strict=True)
        ]
    )
    gap, low, high = np.sqrt((ends**2).mean(axis=0))
    rms = _interval(float(gap), float(low), float(high), overall)
    return rates, support, gaps, rms


def _interval(gap: float, low: float, high: float, chance: Array) -> GapInterval:
    beyond = float(np.mean(chance >= gap * (1.0 - 1e-12)))
    middle, top = np.quantile(chance, (0.5, 0.95))
    return GapInterval(gap, low, high, float(middle), float(top), beyond)


def _true_rates(rows: AuditRows, right: NDArray[np.bool_]) -> tuple[Array, Array]:
    K, G = len(rows.classes), len(rows.groups)
    cell = G * rows.y + rows.a
    w = rows.weight
    mass = np.bincount(cell, weights=w, minlength=K * G)
    square = np.bincount(cell, weights=w**2, minlength=K * G)
    hit = np.bincount(cell, weights=w * right, minlength=K * G)
    with np.errstate(invalid="ignore", divide="ignore"):
        rate, worth = hit / mass, mass**2 / square
    return np.nan_to_num(rate).reshape(K, G), worth.reshape(K, G)


def _chance(
    rows: AuditRows, right: NDArray[np.bool_], repetitions: int, rng: np.random.Generator
) -> Array:
    """Return gaps of every class with groups permuted within it, shape (repetitions, K).

    Of rows that all weigh the same the hits of the permuted groups are draws without
    replacement: multivariate hypergeometric.
    """
    G = len(rows.groups)
    out = np.empty((repetitions, len(rows.classes)))
    same = np.ptp(rows.weight) == 0
    for i, count in enumerate(rows.counts):
        own = rows.y == i
        hit = right[own]
        if same:
            hits = rng.multivariate_hypergeometric(count, int(hit.sum()), size=repetitions)
            out[:, i] = np.ptp(hits / count, axis=1)
            continue
        group, w = rows.a[own], rows.weight[own]
        for k in range(repetitions):
            mixed = rng.permutation(group)
            mass = np.bincount(mixed, weights=w, minlength=G)
            weighted = np.bincount(mixed, weights=w * hit, minlength=G)
            # a group that is left with rows of weight zero has no rate
            out[k, i] = np.ptp(np.divide(weighted, mass, out=np.zeros(G), where=mass > 0))
    return out
