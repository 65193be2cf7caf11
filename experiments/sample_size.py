"""How much of the gap is left when the population is estimated from n rows.

Fit a normal population on n rows, steer group b by it, and apply the estimated maps and weights to
the TRUE population: the remaining gap is exact, no test sample comes in. It should fall like
n^{-1/2}, as the error of the moments does. Beside it stands the width of the Dvoretzky-Kiefer-
Wolfowitz band that an audit on n held-out rows would have: a smaller gap cannot be told from zero.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from scipy.special import expit

import fairprog as fp
from fairprog.labels import Array
from fairprog.plotting import COLORS, style
from fairprog.populations.evaluation import gap_at_thresholds

from .claims import Claim, write_csv
from .pictures import plain_ticks, save_picture
from .random_populations import steps, two_groups

SEED = 11
NOTIONS = {"DP": fp.DemographicParity(), "EO": fp.EqualOpportunity()}
THRESHOLDS = expit(np.linspace(-6.0, 6.0, 61))
CONFIDENCE = 0.95


def univariate() -> fp.Normal:
    """Return a population with one feature."""
    return two_groups(
        [[0.30, 0.24], [0.30, 0.16]], [[0.0, -0.4], [2.2, 1.2]], [[1.0, 1.1], [1.2, 1.4]]
    )


def multivariate(d: int = 4) -> fp.Normal:
    """Return a population with d features of which the first carries the difference of means."""
    mean = np.zeros((2, 2, d))
    mean[..., 0] = [[0.0, -0.4], [2.0, 1.1]]
    scale = np.array([[1.0, 1.2], [1.1, 1.5]])[..., None, None]
    correlation = np.array([0.0, 0.4, 0.3, -0.2]).reshape(2, 2, 1, 1)
    cov = scale**2 * ((1.0 - correlation) * np.eye(d) + correlation * np.ones((d, d)))
    return fp.Normal([[0.30, 0.24], [0.30, 0.16]], mean, cov=cov, groups=["a", "b"])


CASES = {"d = 1": univariate, "d = 4": multivariate}


def cell_map(sol: fp.Solution, i: int, a: int) -> fp.AffineMap:
    """Return the map of one cell, read off from where `sol.steer` sends d + 1 points."""
    D = sol.original
    points = np.vstack([np.zeros(D.n_features), np.eye(D.n_features)])
    y, group = (np.full(len(points), label) for label in (D.classes[i], D.groups[a]))
    moved = sol.steer(points, y, sensitive_features=group)
    return fp.AffineMap((moved[1:] - moved[0]).T, moved[0])


def moved_truth(truth: fp.Normal, sol: fp.Solution) -> fp.Normal:
    """Return the law of `sol.steer(X, y)`, weighted by `sol.sample_weight(y)`, X from `truth`."""
    K, G = truth.prior.shape
    classes, groups = (np.array(x) for x in (truth.classes, truth.groups))
    weight = np.stack(
        [sol.sample_weight(classes, sensitive_features=np.repeat(g, K)) for g in groups], axis=1
    )
    prior = truth.prior * weight
    mean, cov = np.empty_like(truth.location), np.empty_like(truth.cov)
    for i, a in np.ndindex(K, G):
        T = cell_map(sol, i, a)
        mean[i, a] = T.matrix @ truth.location[i, a] + T.offset
        cov[i, a] = T.matrix @ truth.cov[i, a] @ T.matrix.T
    return fp.Normal(
        prior / prior.sum(), mean, cov=cov, classes=truth.classes, groups=truth.groups
    )


def worst_gaps(P: fp.Normal) -> list[float]:
    """Return the worst gap over the thresholds, by notion."""
    return [float(gap_at_thresholds(P, notion, THRESHOLDS).max()) for notion in NOTIONS.values()]


def remaining(truth: fp.Normal, n: int, rng: np.random.Generator) -> list[float]:
    """Return what is left, by notion, after one fit on n rows."""
    X, y, a = truth.sample(n, rng)
    with warnings.catch_warnings():  # cells of fewer than 5 d rows are part of the question
        warnings.simplefilter("ignore", fp.FairprogWarning)
        fitted = fp.Normal.fit(X, y, sensitive_features=a)
    solver = "closed-form" if truth.n_features == 1 else "newton"
    return worst_gaps(moved_truth(truth, fp.NearestIdeal(fitted, steer=["b"]).solve(solver)))


def dkw_width(truth: fp.Normal, n: float) -> list[float]:
    """Return the half-width of the band of an audit on n held-out rows, by notion.

    Massart's constant; G cdfs at once (theory.md section 1). n_a rows per group for DP, those of
    class 1 for EO, at their expected number.
    """
    G = truth.n_groups
    log = np.log(2.0 * G / (1.0 - CONFIDENCE))
    counts = {"DP": n * truth.group_mass, "EO": n * truth.prior[1]}
    return [float(np.sqrt(log / (2.0 * counts[name])).sum()) for name in NOTIONS]


def run(out: Path, quick: bool) -> list[Claim]:
    """Write repetitions.csv, summary.csv and sample_size.png."""
    powers = np.arange(2.0, 5.01, 1.0 if quick else 0.5)
    sizes = [round(10.0 ** float(p)) for p in powers]
    count = 6 if quick else 40
    rng = np.random.default_rng(SEED)
    tasks = [(c, k, s) for c in range(len(CASES)) for k in range(len(sizes)) for s in range(count)]
    truths = [make() for make in CASES.values()]
    gaps = np.empty((len(CASES), len(sizes), count, len(NOTIONS)))
    for c, k, s in steps(tasks, "sample size"):
        gaps[c, k, s] = remaining(truths[c], sizes[k], rng)
    names = list(CASES)
    write_csv(
        out / "repetitions.csv",
        ["case", "n (rows)", "repetition", *(f"remaining {m} gap" for m in NOTIONS)],
        [[names[c], sizes[k], s, *gaps[c, k, s].tolist()] for c, k, s in tasks],
    )
    before = np.array([worst_gaps(truth) for truth in truths])
    width = np.array([[dkw_width(truth, n) for n in sizes] for truth in truths])
    header = ["case", "notion", "n (rows)", "gap before", "remaining gap, median",
              "10 % quantile", "90 % quantile", "half-width of the DKW band"]  # fmt: skip
    rows: list[list[object]] = []
    for c, case in enumerate(names):
        for m, notion in enumerate(NOTIONS):
            for k, n in enumerate(sizes):
                middle, low, high = np.quantile(gaps[c, k, :, m], [0.5, 0.1, 0.9]).tolist()
                rows.append(
                    [case, notion, n, before[c, m], middle, low, high, float(width[c, k, m])]
                )
    write_csv(out / "summary.csv", header, rows)
    _draw(sizes, gaps, before, truths, out / "sample_size.png")
    return [
        claim
        for c, case in enumerate(names)
        for m, notion in enumerate(NOTIONS)
        for claim in _claims(
            f"{case}, {notion}", sizes, gaps[c, :, :, m], float(before[c, m]), width[c, :, m]
        )
    ]


def slope(sizes: list[int], gaps: Array) -> tuple[float, float]:
    """Return the least-squares slope of log mean gap on log n, and its bootstrap error."""
    x = np.log(sizes)
    rng = np.random.default_rng(0)
    count = gaps.shape[1]

    def fit(values: Array) -> float:
        return float(np.polyfit(x, np.log(values.mean(axis=1)), 1)[0])

    again = [fit(gaps[:, rng.integers(count, size=count)]) for _ in range(200)]
    return fit(gaps), float(np.std(again, ddof=1))


def _claims(name: str, sizes: list[int], gaps: Array, before: float, width: Array) -> list[Claim]:
    value, error = slope(sizes, gaps)
    median, high = np.median(gaps, axis=1), np.quantile(gaps, 0.9, axis=1)
    helps = [n for k, n in enumerate(sizes) if (high[k:] < before).all()]
    claims = [
        Claim(
            f"{name}: the remaining gap falls like n^(-1/2)",
            f"slope {value:+.3f} (s.e. {error:.3f}); median {median[0]:.3f} at n = {sizes[0]}, "
            f"{median[-1]:.4f} at n = {sizes[-1]}",
            abs(value + 0.5) < max(0.05, 3.0 * error),
        ),
        Claim(
            f"{name}: with enough rows (10,000 do) nine fits in ten leave less than there was",
            f"before {before:.3f}; 90 % quantile "
            + ", ".join(f"{h:.3f} (n = {n})" for n, h in zip(sizes, high, strict=True))
            + (f"; below it from n = {helps[0]} on" if helps else ""),
            bool(helps) and helps[0] <= 10_000,
            "on fewer rows steering can make the gap larger",
        ),
    ]
    ratio = median / width
    claims.append(
        Claim(
            f"{name}: what is left is smaller than the DKW band of an audit on as many rows",
            f"median gap over half-width {ratio.min():.2f} to {ratio.max():.2f}",
            bool((ratio < 1.0).all()),
            "an audit on n rows cannot tell what a fit on n rows has left"
            if (ratio < 1.0).all()
            else "an audit on as many rows can see what is left",
        )
    )
    return claims


def _draw(
    sizes: list[int], gaps: Array, before: Array, truths: list[fp.Normal], path: Path
) -> None:
    fine = np.geomspace(sizes[0], sizes[-1], 50)
    with style():
        fig, axes = plt.subplots(
            1, 2, figsize=(7.2, 3.4), sharex=True, sharey=True, layout="constrained"
        )
        for c, (ax, case) in enumerate(zip(axes, CASES, strict=True)):
            bands = np.array([dkw_width(truths[c], n) for n in fine])
            for m, notion in enumerate(NOTIONS):
                color = COLORS[m]
                low, middle, high = np.quantile(gaps[c, :, :, m], [0.1, 0.5, 0.9], axis=1)
                ax.fill_between(sizes, low, high, color=color, alpha=0.18, linewidth=0)
                ax.plot(
                    sizes, middle, "os"[m] + "-", color=color, markersize=4,
                    label=f"{notion}, left after steering",
                )  # fmt: skip
                ax.axhline(before[c, m], color=color, linestyle=":", label=f"{notion}, before")
                ax.plot(
                    fine, bands[:, m], color=color, linestyle="--", linewidth=1.0,
                    label=f"{notion}, DKW half-width",
                )  # fmt: skip
            ax.set(xscale="log", yscale="log", title=case, xlabel="rows n of the fit or audit")
            plain_ticks(ax, "x", [10.0**k for k in range(2, 6)])
        plain_ticks(axes[0], "y", [0.003, 0.01, 0.03, 0.1, 0.3])
        axes[0].set_ylabel("worst gap over thresholds (probability)")
        handles, labels = axes[0].get_legend_handles_labels()
        fig.legend(handles, labels, loc="outside lower center", ncols=2)
    save_picture(fig, path)
