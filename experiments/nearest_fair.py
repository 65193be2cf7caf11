"""How near fair populations are: one cost, a range, all of them, and any ideal one.

Over all populations with the same group masses, whatever their family, the nearest on which the
Bayes rules of a set of costs are fair; the set grows from one threshold to all. The exact bounds
from both sides stand beside what a family and a class of maps reach (theory.md section 12).
"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import fairprog as fp
from fairprog.plotting import COLORS, style

from . import univariate_table
from .claims import Claim, judged, write_csv
from .pictures import save_picture
from .random_populations import random_population, steps

CELLS = 4_000
WIDTHS = (0.1, 0.2, 0.4, 0.6, 0.8, 0.9)  # of ranges of thresholds about 0.5
SEED = 12
COUNT = 200


def readme_population() -> fp.Normal:
    """Return the population of the README."""
    prior, mean, std = [[0.3, 0.2], [0.3, 0.2]], [[0.0, 1.0], [2.0, 2.0]], [[1.0, 1.0], [1.0, 2.0]]
    return fp.Normal(prior, mean, std=std, groups=["men", "women"])


def run(out: Path, quick: bool) -> list[Claim]:
    """Write costs.csv, populations.csv, random.csv and nearest_fair.png."""
    D = readme_population()
    E = D.discretize(400 if quick else CELLS)
    rows: list[list[object]] = []
    one = fp.NearestFair(E, 0.5).solve()
    rows.append([0.0, one.kl, one.certificate.lower_bound])
    for width in steps(WIDTHS[1::2] if quick else WIDTHS, "ranges of thresholds"):
        span = (0.5 - width / 2, 0.5 + width / 2)
        sol = fp.NearestFair(E, threshold_range=span).solve()
        rows.append([width, sol.kl, sol.certificate.lower_bound])
    every = fp.NearestFair(E, "all", levels=24 if quick else 40).solve()
    ours = fp.NearestIdeal(D).solve()
    bound = ours.family_free_bound(60)
    rows.append([1.0, every.kl, max(bound, every.certificate.lower_bound)])
    write_csv(out / "costs.csv", ["width of the range", "KL, nats", "lower bound, nats"], rows)
    named = _populations(D, quick)
    write_csv(
        out / "populations.csv", ["population", "steered", "KL", "bound", "bound / KL"], named
    )
    drawn = _random(5 if quick else COUNT)
    write_csv(out / "random.csv", ["steered", "transport", "KL", "bound"], drawn)
    _draw(rows, ours.kl, out / "nearest_fair.png")
    low, high = float(rows[-1][2]), float(rows[-1][1])  # type: ignore[arg-type]
    ratio = np.array([float(r[3]) / float(r[2]) for r in drawn])  # type: ignore[arg-type]
    found = [float(r[1]) for r in rows]  # type: ignore[arg-type]
    return [
        judged(
            "README population: fair for one cost it is a hundredth as far as fair for all",
            f"KL {found[0]:.5f} at 0.5, {high:.4f} for all",
            found[0] <= 0.02 * high,
            "the nearest population for one cost is not that near",
        ),
        judged(
            "all costs: lower and upper bound within a tenth of their middle",
            f"{low:.4f} to {high:.4f} nats",
            high - low <= 0.05 * (high + low),
            "more levels are needed",
        ),
        judged(
            "KL grows with the set of costs",
            ", ".join(f"{v:.4f}" for v in found),
            bool(np.all(np.diff(found) >= -1e-6)),
            "a wider range was found nearer: the grid is too coarse",
        ),
        judged(
            "no ideal population is nearer than the family-free bound (random populations)",
            f"{len(ratio)} programs: largest bound / KL {ratio.max():.3f}, median "
            f"{np.median(ratio):.3f}",
            bool(ratio.max() <= 1.0 + 1e-6),
            "the bound is no bound",
        ),
        judged(
            "README population, all groups: the bound is at least 0.4 of KL",
            f"KL {ours.kl:.4f}, bound {bound:.4f}: ratio {bound / ours.kl:.3f}",
            bound >= 0.4 * ours.kl,
            "another family could be much nearer",
        ),
    ]


def _populations(D: fp.Normal, quick: bool) -> list[list[object]]:
    """Return KL and the bound of the populations of README and of the univariate table."""
    rows: list[list[object]] = []
    for name, P in (("README", D), ("univariate table", univariate_table.population())):
        for steer in ("all", [P.groups[0]], [P.groups[1]]):
            sol = fp.NearestIdeal(P, steer=steer).solve()
            bound = sol.family_free_bound(24 if quick else 40)
            who = steer if isinstance(steer, str) else steer[0]
            rows.append([name, who, sol.kl, bound, bound / sol.kl])
    return rows


def _random(count: int) -> list[list[object]]:
    """Return KL and the bound for random normal populations: one group, all, general maps."""
    rng, rows = np.random.default_rng(SEED), []
    for k in steps(range(count), "random populations"):
        D = random_population(rng, 1 if k % 4 else 2, equal_rates=bool(k % 2))
        kinds = [("b", "Monotone", ["b"], None), ("all", "Monotone", "all", None)]
        name, transport, steer, T = [*kinds, ("b", "Affine", ["b"], fp.Affine())][k % 3]
        sol = fp.NearestIdeal(D, steer=steer, transport=T).solve()
        rows.append([name, transport, sol.kl, sol.family_free_bound(12)])
    return rows


def _draw(rows: list[list[object]], ours: float, path: Path) -> None:
    """Draw the sandwich: both bounds against the set of costs, and what a family reaches."""
    table = np.array(rows, dtype=float)
    with style():
        fig, ax = plt.subplots(figsize=(5.4, 3.6), layout="constrained")
        ax.fill_between(table[:, 0], table[:, 2], table[:, 1], color=COLORS[0], alpha=0.35)
        ax.plot(table[:, 0], table[:, 1], "o-", color=COLORS[0], markersize=3)
        ax.axhline(ours, color=COLORS[1])
        ax.set(yscale="log", xlabel="thresholds for which it is fair: 0.5 ± width / 2",
               ylabel="KL from the population, nats", xlim=(-0.02, 1.02))  # fmt: skip
        ticks = [0.0003, 0.001, 0.003, 0.01, 0.03, 0.1]
        ax.set_yticks(ticks, [f"{t:g}" for t in ticks])
        ax.set_ylim(0.0002, 0.12)
        ax.minorticks_off()
        first, last = table[0], table[-1]
        ax.annotate(f"one cost: {first[1]:.5f}", first[:2], xytext=(8, -10),
                    textcoords="offset points", color=COLORS[0])  # fmt: skip
        ax.annotate(
            f"all costs: between {last[2]:.4f} and {last[1]:.4f},\nwhatever the family",
            last[:2], xytext=(-2, -112), textcoords="offset points", ha="right", color=COLORS[0],
            arrowprops={"arrowstyle": "-", "color": COLORS[0], "linewidth": 0.8},
        )  # fmt: skip
        ax.annotate(f"ideal, normal family, one map per group: {ours:.4f}", (0.02, ours),
                    xytext=(0, 4), textcoords="offset points", color=COLORS[1])  # fmt: skip
        save_picture(fig, path)
