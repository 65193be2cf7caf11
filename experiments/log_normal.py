"""Log-normal features: the same claims in the user's units, and maps x -> exp(b) x^gamma.

A feature such as an income in thousand euros, and whether a loan is repaid (class 1). Divergence,
posteriors and ideality do not see the logarithm, so everything is solved in log space. To check
that on the user's own scale, divergence and rates are computed here once more by quadrature of
the log-normal densities in x, without the package.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from scipy.integrate import quad
from scipy.stats import lognorm

import fairprog as fp
from fairprog.plotting import COLORS, LINES, plot_solution, style

from .claims import Claim, write_csv
from .pictures import plain_ticks, save_picture

EXACT, QUADRATURE, ROUNDING = 1e-9, 1e-8, 1e-12
NOTIONS = {
    "DP": fp.DemographicParity(),
    "EO": fp.EqualOpportunity(),
    "equalized odds": fp.EqualizedOdds(),
}
UNIT = "thousand euros"
TICKS = (5, 10, 20, 50, 100, 200)


def population() -> fp.LogNormal:
    """Return the population; medians of the cells 20, 45 (group a) and 15, 24 thousand euros."""
    return fp.LogNormal(
        [[0.30, 0.22], [0.30, 0.18]],
        np.log([[20.0, 15.0], [45.0, 24.0]]),
        std=[[0.45, 0.40], [0.50, 0.70]],
        groups=["a", "b"],
    )


def logarithm(D: fp.LogNormal) -> fp.Normal:
    """Return the law of log X."""
    return fp.Normal(D.prior, D.mean, std=D.std, classes=D.classes, groups=D.groups)


def kl_by_quadrature(P: fp.LogNormal, Q: fp.LogNormal) -> float:
    """Return KL(P || Q) of the joint laws by integrals over x, in nats."""
    total = float((P.prior * np.log(P.prior / Q.prior)).sum())
    for i, a in np.ndindex(P.prior.shape):
        p, q = (lognorm(s=D.std[i, a], scale=np.exp(D.mean[i, a])) for D in (P, Q))
        ends = p.ppf([1e-14, 1e-6, 0.01, 0.5, 0.99, 1.0 - 1e-6, 1.0 - 1e-14])
        for low, high in pairwise(ends):
            value = quad(
                lambda x, p=p, q=q: p.pdf(x) * (p.logpdf(x) - q.logpdf(x)), low, high, epsrel=1e-10
            )[0]
            total += float(P.prior[i, a]) * value
    return total


def rate_by_grid(D: fp.LogNormal, i: int, a: int, n: int) -> float:
    """Return P(Yhat=1 | Y=i, A=a) of the 0-1 Bayes rule: `n` equal-probability points in x."""
    laws = [lognorm(s=D.std[k, a], scale=np.exp(D.mean[k, a])) for k in (0, 1)]
    x = laws[i].ppf((np.arange(n) + 0.5) / n)
    ones = D.prior[1, a] * laws[1].pdf(x) > D.prior[0, a] * laws[0].pdf(x)
    return float(ones.mean())


def run(out: Path, quick: bool) -> list[Claim]:
    """Write table.csv, cells.csv and log_normal.png."""
    D = population()
    one = fp.NearestIdeal(D, steer=["b"]).solve()
    everyone = fp.NearestIdeal(D, steer="all").solve()
    populations = {"original": D, "one group": one.population, "all groups": everyone.population}
    table = [
        [name, P.evaluate().error, P.kl(D)]
        + [g for m in NOTIONS.values() for g in (P.evaluate().gap(m), P.ideality_gap(m))]
        for name, P in populations.items()
    ]
    gaps = [c for name in NOTIONS for c in (f"{name} gap", f"worst {name} gap, any threshold")]
    write_csv(out / "table.csv", ["row", "Bayes error", "KL (nats)", *gaps], table)
    write_csv(
        out / "cells.csv",
        ["population", "class", "group", f"median ({UNIT})", "s.d. of log x"],
        [
            [name, i, D.groups[a], float(np.exp(P.mean[i, a])), float(P.std[i, a])]
            for name, P in populations.items()
            for i, a in np.ndindex(P.prior.shape)
        ],
    )
    _draw(one, out / "log_normal.png")
    return [*_claims(D, table, [one, everyone]), *_in_units(D, one, 2**14 if quick else 2**18)]


def _claims(D: fp.LogNormal, table: list[list[object]], sols: list[fp.Solution]) -> list[Claim]:
    before, *after = (np.array(row[1:], dtype=float) for row in table)
    largest = max(row[2:].max() for row in after)
    log = logarithm(D)
    same = [abs(s.kl - fp.NearestIdeal(log, steer=s.settings["steer"]).solve().kl) for s in sols]
    return [
        Claim(
            "one group or all steered: DP, EO, equalized odds are exact for every cost (< 1e-9)",
            f"worst gaps {before[3]:.3f}, {before[5]:.3f}, {before[7]:.3f} before; largest after "
            f"{largest:.1e}; error {before[0]:.3f} before, {after[0][0]:.3f} (one), "
            f"{after[1][0]:.3f} (all)",
            largest < EXACT < min(before[3], before[5], before[7]),
        ),
        Claim(
            "the divergence is that of the logarithms",
            f"one {sols[0].kl:.6f}, all {sols[1].kl:.6f} nats; largest difference {max(same):.1e}",
            max(same) < ROUNDING,
        ),
    ]


def _in_units(D: fp.LogNormal, sol: fp.Solution, n: int) -> list[Claim]:
    """Return what is checked in x itself."""
    T, P = sol.affine["b"], sol.population
    assert isinstance(P, fp.LogNormal)
    gamma, b = float(T.matrix[0, 0]), float(T.offset[0])
    x = np.geomspace(1.0, 1000.0, 400)
    power = float(np.max(np.abs(np.asarray(sol.maps["b"](x)) / (np.exp(b) * x**gamma) - 1.0)))
    medians = np.exp(D.mean[:, 1]), np.exp(P.mean[:, 1])
    exact = D.evaluate().gap(NOTIONS["EO"])
    by_quadrature = kl_by_quadrature(P, D)
    before, after = (abs(rate_by_grid(Q, 1, 0, n) - rate_by_grid(Q, 1, 1, n)) for Q in (D, P))
    return [
        Claim(
            "the map of group b is x -> exp(b) x^gamma in the user's units",
            f"exp(b) = {np.exp(b):.4f}, gamma = {gamma:.4f}, largest relative difference "
            f"{power:.1e} between 1 and 1000 {UNIT}; medians of b {medians[0][0]:.1f}, "
            f"{medians[0][1]:.1f} -> {medians[1][0]:.1f}, {medians[1][1]:.1f} {UNIT}",
            power < ROUNDING,
        ),
        Claim(
            "quadrature of the densities in x finds the same divergence (to 1e-8)",
            f"{by_quadrature:.9f} against {sol.kl:.9f} nats",
            abs(by_quadrature - sol.kl) < QUADRATURE,
        ),
        Claim(
            f"... and {n} equal-probability points in x the same vanishing EO gap (to 4 / n)",
            f"{before:.5f} before (exact {exact:.5f}), {after:.1e} after",
            after <= 4.0 / n < before,
        ),
    ]


def _draw(sol: fp.Solution, path: Path) -> None:
    with style():
        fig, axes = plt.subplots(
            1, 3, figsize=(7.6, 3.2), width_ratios=(1.15, 1.15, 1.0), layout="constrained"
        )
        plot_solution(sol, ax=axes[:2])
        for ax in axes[:2]:
            plain_ticks(ax, "x", TICKS)
            ax.set_xlabel(f"x ({UNIT}, log scale)")
        axes[1].set_ylabel("")
        for ax in axes[:2]:
            ax.set_ylim(top=1.2 * ax.get_ylim()[1])
        D, P = sol.original, sol.population
        axes[2].plot([4.0, 400.0], [4.0, 400.0], color="0.7", linewidth=1.0, label="no change")
        x = np.geomspace(4.0, 400.0, 100)
        for i in range(D.n_classes):
            moved = sol.steer(x, np.full(100, D.classes[i]), sensitive_features=["b"] * 100)
            axes[2].plot(
                x, moved, color=COLORS[1], linestyle=LINES[i], label=f"b, class {D.classes[i]}"
            )
            axes[2].plot(np.exp(D.mean[i, 1]), np.exp(P.mean[i, 1]), "o", color=COLORS[1])
        axes[2].set(
            xscale="log", yscale="log", xlabel=f"x before ({UNIT})", ylabel=f"x after ({UNIT})",
            title="how group b moves\n(dots: medians)",
        )  # fmt: skip
        plain_ticks(axes[2], "x", TICKS)
        plain_ticks(axes[2], "y", TICKS)
        axes[2].legend()
    save_picture(fig, path)
