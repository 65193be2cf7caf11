"""Tables and claims of `concept_steering`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .claims import Claim, write_csv
from .concept_steering_generated import RELATIVE, Measured
from .concept_steering_vectors import (
    IDEAL,
    IDEAL_CALIBRATED,
    METHODS,
    RESCALED,
    SHARED,
    SHARED_MEANS,
)
from .intervals import geometric, interval

__all__ = ["by_method", "claims_of", "write_tables"]


def by_method(found: Sequence[Measured]) -> dict[str, list[Measured]]:
    """Return the seeds of every method, those without a matched strength left out."""
    out: dict[str, list[Measured]] = {method: [] for method in METHODS}
    for one in found:
        if np.isfinite(one.strength) and np.isfinite(list(one.effect.values())).all():
            out[one.method].append(one)
    return out


def write_tables(found: Sequence[Measured], out: Path) -> None:
    """Write seeds.csv, curves.csv and summary.csv."""
    header = ["method", "seed", "matched effect", "matched strength", "reference"]
    header += ["effect of reference", "effect of other topic", "gap", "perplexity"]
    header += ["perplexity of other topic", "cosine to own vector"]
    rows: list[list[object]] = []
    for m in found:
        (reference, first), (_, second) = m.effect.items()
        row: list[object] = [m.method, m.seed, m.target, m.strength, reference, first, second]
        fluency = list(m.perplexity.values())[-1]
        rows.append([*row, m.gap, m.mean_perplexity, fluency, m.cosine])
    write_csv(out / "seeds.csv", header, rows)
    header = ["method", "seed", "topic", "strength, in matched ones", "effect", "perplexity"]
    write_csv(
        out / "curves.csv",
        header,
        [
            [m.method, m.seed, g, share, effect, perplexity]
            for m in found
            for g, points in m.curve.items()
            for share, (effect, perplexity) in zip(RELATIVE, points, strict=True)
        ],
    )
    header = ["method", "seeds", "size of gap", "low", "high", "signed gap", "low", "high"]
    header += ["perplexity", "low", "high", "median perplexity", "worst perplexity"]
    header += ["effect of other topic", "cosine to own vector"]
    lines: list[list[object]] = []
    for method, seeds in by_method(found).items():
        if not seeds:
            lines.append([method, 0, *[""] * 13])
            continue
        row = [method, len(seeds), *interval([abs(m.gap) for m in seeds])]
        row += [*interval([m.gap for m in seeds]), *geometric([m.mean_perplexity for m in seeds])]
        each = [m.mean_perplexity for m in seeds]
        row += [float(np.median(each)), max(each)]
        row += [float(np.mean([list(m.effect.values())[-1] for m in seeds]))]
        lines.append([*row, float(np.mean([m.cosine for m in seeds]))])
    write_csv(out / "summary.csv", header, lines)


def compared(
    found: Sequence[Measured], ours: str, baseline: str
) -> tuple[tuple[float, float, float], tuple[float, float, float]] | None:
    """Return gap and perplexity of ours against a baseline's, with intervals over the seeds.

    The size of the gap as a share of the baseline's, and the perplexity as a ratio, paired by
    seed; None without a seed that has both.
    """
    methods = by_method(found)
    there = {m.seed: m for m in methods[baseline]}
    pairs = [(m, there[m.seed]) for m in methods[ours] if m.seed in there]
    if not pairs:
        return None
    base = float(np.mean([abs(b.gap) for _, b in pairs]))
    return (
        interval([abs(m.gap) / base for m, _ in pairs]),
        geometric([m.mean_perplexity / b.mean_perplexity for m, b in pairs]),
    )


def claims_of(found: Sequence[Measured]) -> list[Claim]:
    """Return the negative control and the comparisons with the shared and the rescaled vectors."""
    methods = by_method(found)
    out = []
    for shared in (SHARED_MEANS, SHARED):
        seeds = methods[shared]
        if seeds:
            gap = interval([m.gap for m in seeds])
            out.append(
                Claim(
                    f"concept steering, control: a {shared} does less for one of the topics",
                    f"effect of the reference minus the other's {_ratio(gap)}",
                    len(seeds) < 2 or gap[1] > 0.0,
                    "the interval of five seeds holds zero" if gap[1] <= 0.0 else "",
                )
            )
    for ours in (IDEAL, IDEAL_CALIBRATED):
        for shared in (SHARED_MEANS, SHARED):
            against = compared(found, ours, shared)
            if against is None:
                continue
            share, ratio = against
            holds = share[0] <= 0.2 and ratio[0] <= 1.03
            out.append(
                Claim(
                    f"{ours}: gap at least 80 % below that of a {shared}, perplexity at most 3 % "
                    "higher",
                    f"{_percent(share)} of its gap, {_ratio(ratio)} times its perplexity",
                    holds,
                    "" if holds else "as measured; the guide says what it means",
                )
            )
    against = compared(found, IDEAL_CALIBRATED, RESCALED)
    if against is not None:
        share, ratio = against
        better = share[0] <= 1.1 and ratio[2] < 1.0
        out.append(
            Claim(
                f"{IDEAL_CALIBRATED}: the gap of rescaled own vectors at lower perplexity",
                f"{_percent(share)} of their gap, {_ratio(ratio)} times their perplexity",
                better,
                "" if better else "own vectors rescaled on calibration texts suffice here",
            )
        )
    return out


def _percent(x: tuple[float, float, float]) -> str:
    return f"{100 * x[0]:.0f} % [{100 * x[1]:.0f}, {100 * x[2]:.0f}]"


def _ratio(x: tuple[float, float, float]) -> str:
    return f"{x[0]:.3f} [{x[1]:.3f}, {x[2]:.3f}]"
