"""Two features: cells as ellipses and the border of each group's Bayes rule, before and after.

Steering makes the groups' experiments the same, not their coordinates: the borders of the two
rules may lie anywhere. In common coordinates, where every group is pulled back by its own map,
cells and borders lie on top of each other; there one rule serves all groups, for every cost.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from scipy.special import softmax

import fairprog as fp
from fairprog.labels import Array
from fairprog.plotting import MARKERS, style
from fairprog.plotting.style import class_line, group_color
from fairprog.populations.evaluation import gap_at_thresholds

from .claims import Claim, write_csv
from .measures import log_joint
from .pictures import save_picture

DP, EO, ODDS = fp.DemographicParity(), fp.EqualOpportunity(), fp.EqualizedOdds()
EXACT, AGREE = 1e-9, 1e-8
THRESHOLDS = np.linspace(0.01, 0.99, 99)  # of the posterior of class 1
HALF = np.sqrt(2.0 * np.log(2.0))  # this many standard deviations hold half of a normal law
WIDTH = {"a": 3.4, "b": 1.3}  # of lines: where they coincide, both stay visible
Grid = tuple[Array, Array, Array]
STEER: dict[str, str | list[str]] = {"group b steered": ["b"], "all groups steered": "all"}


def two_classes() -> fp.Normal:
    """Return a population of two classes; base rates 0.6, 0.4 in both groups."""
    return fp.Normal(
        [[0.36, 0.24], [0.24, 0.16]],
        [[[0.0, 0.0], [-1.2, 2.0]], [[2.4, 1.0], [-0.2, 3.1]]],
        cov=[
            [[[1.0, 0.3], [0.3, 0.8]], [[1.5, 0.8], [0.8, 1.1]]],
            [[[0.9, -0.3], [-0.3, 0.7]], [[1.8, -0.4], [-0.4, 0.9]]],
        ],
        groups=["a", "b"],
    )


def three_classes() -> fp.Normal:
    """Return a population of three classes; base rates 0.4, 0.35, 0.25 in both groups."""
    return fp.Normal(
        np.outer([0.40, 0.35, 0.25], [0.6, 0.4]),
        [
            [[0.0, 0.0], [-1.0, 1.5]],
            [[3.0, 0.4], [1.2, 2.6]],
            [[1.4, 2.8], [-0.8, 4.2]],
        ],
        cov=[
            [[[1.0, 0.3], [0.3, 0.8]], [[1.2, 0.6], [0.6, 0.9]]],
            [[[0.8, -0.3], [-0.3, 0.8]], [[1.5, -0.3], [-0.3, 0.7]]],
            [[[0.9, 0.2], [0.2, 0.6]], [[0.8, -0.2], [-0.2, 0.9]]],
        ],
        groups=["a", "b"],
    )


CASES = {"two classes": two_classes, "three classes": three_classes}


def pulled_back(sol: fp.Solution) -> fp.Normal:
    """Return the steered population with every group in common coordinates."""
    D, mean, cov = sol.population, [], []
    for a, g in enumerate(D.groups):
        back = sol.affine[g].inverse()
        mean.append(back(D.location[:, a]))
        cov.append(back.matrix @ D.cov[:, a] @ back.matrix.T)
    return fp.Normal(
        D.prior, np.stack(mean, axis=1), cov=np.stack(cov, axis=1),
        classes=D.classes, groups=D.groups,
    )  # fmt: skip


def disagreement(D: fp.Normal, n: int) -> float:
    """Return the largest difference of P(Y=i | x, a) between groups, on an n x n grid."""
    points = _grid(D, n)[2]
    eta = np.stack([softmax(log_joint(D, a, points), axis=1) for a in range(D.n_groups)])
    return float(np.ptp(eta, axis=0).max())


def run(out: Path, quick: bool) -> list[Claim]:
    """Write rows.csv and one picture per case."""
    claims: list[Claim] = []
    rows: list[list[object]] = []
    for name, make in CASES.items():
        D = make()
        solutions = {who: fp.NearestIdeal(D, steer=s).solve() for who, s in STEER.items()}
        populations = {"original": D} | {who: s.population for who, s in solutions.items()}
        for who, P in populations.items():
            E = P.evaluate(n_samples=2**12 if quick else 2**16)
            figures = [E.error, E.gap(DP), E.gap(EO), E.gap(ODDS), E.standard_error]
            common = pulled_back(solutions[who]) if who in solutions else P
            rows.append([name, who, *figures, P.kl(D), disagreement(common, 60 if quick else 300)])
        claims += _claims(name, rows[-3:], solutions)
        _draw(D, solutions, out / f"{name.replace(' ', '_')}.png", 80 if quick else 300)
    header = [
        "case", "population", "Bayes error", "DP gap", "EO gap", "equalized odds gap",
        "standard error of a rate", "KL (nats)", "largest difference of posteriors",
    ]  # fmt: skip
    write_csv(out / "rows.csv", header, rows)
    return claims


def _claims(name: str, rows: list[list[object]], sols: dict[str, fp.Solution]) -> list[Claim]:
    before, one, everyone = (np.array(row[2:], dtype=float) for row in rows)
    error = max(before[4], one[4], everyone[4])
    after = max(one[1:4].max(), everyone[1:4].max())
    sampled = f" (rates by quasi-Monte Carlo, standard error {error:.1e})" if error else ""
    claims = [
        Claim(
            f"{name}: in common coordinates the groups' posteriors agree everywhere (< 1e-8), "
            "hence so do the Bayes rules of every cost",
            f"largest difference on a grid {max(one[6], everyone[6]):.1e}; before, in the "
            f"features as they are, {before[6]:.3f}",
            max(one[6], everyone[6]) < AGREE < before[6],
        ),
        Claim(
            f"{name}: the gaps of the 0-1 Bayes rule vanish",
            f"DP, EO, equalized odds {before[1]:.3f}, {before[2]:.3f}, {before[3]:.3f} before; "
            f"largest after {after:.1e}{sampled}",
            after < max(EXACT, 6.0 * error),
        ),
        Claim(
            f"{name}: steering all groups costs no more KL than steering one (equal base rates)",
            f"one {one[5]:.4f}, all {everyone[5]:.4f} nats; all certificates ok",
            everyone[5] <= one[5] and all(s.certificate.ok for s in sols.values()),
            "all groups in two features is a local optimum and labelled so",
        ),
    ]
    D = sols["group b steered"].original
    if D.n_classes == 2:
        populations = [D, *(s.population for s in sols.values())]
        gaps = [float(gap_at_thresholds(P, ODDS, THRESHOLDS).max()) for P in populations]
        claims.append(
            Claim(
                f"{name}: no equalized odds gap at any of {len(THRESHOLDS)} thresholds (< 1e-9)",
                f"worst {gaps[0]:.3f} before, {max(gaps[1:]):.1e} after",
                max(gaps[1:]) < EXACT < gaps[0],
            )
        )
    return claims


# -- the picture --


def _grid(D: fp.Normal, n: int) -> Grid:
    """Return the axes of an n x n grid over the cells, and its points."""
    low = (D.location - 2.3 * D.std).min(axis=(0, 1))
    high = (D.location + 2.3 * D.std).max(axis=(0, 1))
    x, y = (np.linspace(float(low[k]), float(high[k]), n) for k in range(2))
    return x, y, np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)


def _draw(D: fp.Normal, sols: dict[str, fp.Solution], path: Path, n: int) -> None:
    one, everyone = sols.values()
    panels = {
        (0, 0): (D, "before"),
        (0, 1): (one.population, f"group b steered, KL = {one.kl:.2f} nats"),
        (0, 2): (everyone.population, f"all steered, KL = {everyone.kl:.2f} nats"),
        (1, 1): (pulled_back(one), "... in common coordinates"),
        (1, 2): (pulled_back(everyone), "... in common coordinates"),
    }
    with style():
        fig, axes = plt.subplots(
            2, 3, figsize=(7.6, 5.4), sharex=True, sharey=True, layout="constrained"
        )
        grid = _grid(D, n)
        for place, (P, title) in panels.items():
            _draw_panel(axes[place], P, grid)
            kind = "common" if place[0] else "feature"
            axes[place].set(title=title, xlabel=f"{kind} 1 (units of the data)")
            axes[place].set(ylabel=f"{kind} 2 (units of the data)")
            axes[place].tick_params(labelbottom=True, labelleft=True)
        for ax in axes[:, 2]:
            ax.set_ylabel("")
        axes[0, 1].set_ylabel("")
        axes[1, 0].axis("off")
        axes[1, 0].legend(handles=_handles(D), loc="center left", fontsize=8)
    save_picture(fig, path)


def _draw_panel(ax: Axes, D: fp.Normal, grid: Grid) -> None:
    x, y, points = grid
    angle = np.linspace(0.0, 2.0 * np.pi, 181)
    circle = HALF * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    for a, g in enumerate(D.groups):
        color, width = group_color(a), WIDTH[str(g)]
        values = log_joint(D, a, points)
        for i in range(D.n_classes):
            root = np.linalg.cholesky(D.cov[i, a])
            line, centre = D.location[i, a] + circle @ root.T, D.location[i, a]
            ax.fill(*line.T, color=color, alpha=0.06 + 0.1 * i, linewidth=0)
            ax.plot(*line.T, color=color, linestyle=class_line(i), linewidth=0.5 * width)
            ax.plot(*centre, color=color, marker=MARKERS[i], markersize=3 + width)
            if D.n_classes == 2 and i == 0:
                continue  # the border of class 1 is that of class 0
            others = np.delete(values, i, axis=1).max(axis=1)
            height = (values[:, i] - others).reshape(len(y), len(x))
            alpha = 0.55 if D.n_classes == 2 else 0.33  # more borders are drawn twice
            ax.contour(x, y, height, [0.0], colors=color, linewidths=width, alpha=alpha)
    ax.set(xlim=(x[0], x[-1]), ylim=(y[0], y[-1]))
    ax.grid(False)


def _handles(D: fp.Normal) -> list[Patch | Line2D]:
    groups = [Patch(color=group_color(a), label=f"group {g}") for a, g in enumerate(D.groups)]
    cells = [
        Line2D([], [], color="0.3", linestyle=class_line(i), marker=MARKERS[i], markersize=4,
               linewidth=1.0, label=f"half of class {c}")
        for i, c in enumerate(D.classes)
    ]  # fmt: skip
    border = [
        Line2D([], [], color=group_color(a), linewidth=WIDTH[str(g)], alpha=0.55,
               label=f"border of {g}'s Bayes rule")
        for a, g in enumerate(D.groups)
    ]  # fmt: skip
    return [*groups, *cells, *border]
