"""The gap between groups at EVERY threshold, before and after steering.

With binary labels every cost matrix is a threshold on the posterior, so a curve at zero is
fairness for every cost. Two populations: that of the univariate table, and a plainer one with
class 1 above class 0 in both groups, which makes the overview picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

import fairprog as fp
from fairprog.labels import Array
from fairprog.plotting import plot_gaps, plot_solution, style
from fairprog.populations.evaluation import gap_at_thresholds

from . import univariate_table
from .claims import Claim, write_csv
from .pictures import save_picture
from .random_populations import two_groups

NOTIONS = {"DP": fp.DemographicParity(), "EO": fp.EqualOpportunity()}
TITLES = {"DP": "demographic parity, every threshold", "EO": "equal opportunity, every threshold"}
TOLERANCE = 1e-7


def example() -> fp.Normal:
    """Return the plain population."""
    return two_groups(
        [[0.30, 0.24], [0.30, 0.16]], [[0.0, -0.4], [2.6, 1.2]], [[1.0, 1.1], [1.2, 1.5]]
    )


def curves(D: fp.Normal, thresholds: Array) -> dict[str, dict[str, Array]]:
    """Return the gap curves by notion and by who was steered."""
    populations = {
        "before": D,
        "group b steered": fp.NearestIdeal(D, steer=["b"]).solve(solver="closed-form").population,
        "all groups steered": fp.NearestIdeal(D, steer="all").solve().population,
    }
    return {
        name: {k: gap_at_thresholds(P, notion, thresholds) for k, P in populations.items()}
        for name, notion in NOTIONS.items()
    }


def run(out: Path, quick: bool) -> list[Claim]:
    """Write thresholds.csv, thresholds.png and overview.png."""
    t = np.linspace(0.01, 0.99, 99 if quick else 981)
    populations = {"table": univariate_table.population(), "example": example()}
    found = {where: curves(D, t) for where, D in populations.items()}
    header = ["threshold"]
    columns: list[Array] = [t]
    for where, by_notion in found.items():
        for notion, by_steer in by_notion.items():
            for who, values in by_steer.items():
                header.append(f"{where}: {notion} gap, {who}")
                columns.append(np.asarray(values, dtype=float))
    write_csv(out / "thresholds.csv", header, np.stack(columns, axis=1).tolist())
    _draw(t, found["table"], out / "thresholds.png")
    _draw_overview(t, populations["example"], found["example"], out / "overview.png")
    claims = []
    for where, by_notion in found.items():
        for notion, by_steer in by_notion.items():
            before = by_steer["before"]
            worst = max(float(v.max()) for k, v in by_steer.items() if k != "before")
            peak = int(np.argmax(before))
            claims.append(
                Claim(
                    f"{where}: after steering the {notion} gap is below 1e-7 at every threshold",
                    f"largest {worst:.1e}; before up to {before[peak]:.3f} (at {t[peak]:.2f}), "
                    f"{np.interp(0.5, t, before):.3f} at 0.50",
                    worst < TOLERANCE,
                    "" if worst < TOLERANCE else "rates at different roundings of one threshold",
                )
            )
    return claims


def _draw(t: Array, by_notion: dict[str, dict[str, Array]], path: Path) -> None:
    with style():
        fig, axes = plt.subplots(1, 2, figsize=(7.0, 2.8), sharey=True, layout="constrained")
        _draw_gaps(t, by_notion, axes)
    save_picture(fig, path)


def _draw_gaps(t: Array, by_notion: dict[str, dict[str, Array]], axes: Sequence[Axes]) -> None:
    """Draw one panel per notion, on one scale, with one legend."""
    top = 1.12 * max(float(v.max()) for d in by_notion.values() for v in d.values())
    for ax, (notion, by_steer) in zip(axes, by_notion.items(), strict=True):
        plot_gaps(t, by_steer, ax=ax)
        ax.set_title(TITLES[notion])
        ax.set_ylim(-0.03 * top, top)
    axes[0].legend().remove()
    axes[1].set_ylabel("")


def _draw_overview(t: Array, D: fp.Normal, gaps: dict[str, dict[str, Array]], path: Path) -> None:
    """Draw densities with decision regions before and after, and the gap at every threshold."""
    sol = fp.NearestIdeal(D, steer=["b"]).solve(solver="closed-form")
    with style():
        fig, axes = plt.subplots(2, 2, figsize=(7.0, 5.6), sharey="row", layout="constrained")
        plot_solution(sol, ax=axes[0])
        axes[0, 1].set_ylabel("")
        two = {
            notion: {"before": d["before"], "after": d["group b steered"]}
            for notion, d in gaps.items()
        }
        _draw_gaps(t, two, axes[1])
    save_picture(fig, path)
