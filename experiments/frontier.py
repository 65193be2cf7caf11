"""Between what is and what is exactly fair: divergence and remaining gap against `map_bound`.

`map_bound` = eps lets the map of each class be eps away from the group's common one, in the pooled
metric. The divergence falls convexly from that of exact fairness to that of the base rates alone;
it leaves eps = 0 with the slope -price["consensus"]. How far the rates of any cost differ in
between is not what the program bounds; it is measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from scipy.special import expit

import fairprog as fp
from fairprog.labels import Array
from fairprog.plotting import COLORS, MARKERS, style
from fairprog.populations.evaluation import gap_at_thresholds

from .claims import Claim, write_csv
from .pictures import save_picture
from .random_populations import steps, two_groups

NOTIONS = {"DP": fp.DemographicParity(), "EO": fp.EqualOpportunity()}
STEP = 2e-3  # of map_bound, for the slope at zero
SLOPE, SOLVER = 1e-3, 1e-6  # allowed: relative error of slopes, errors of the conic answers


def univariate() -> fp.Normal:
    """Return a population with one feature, base rates equal."""
    return two_groups(
        [[0.30, 0.20], [0.30, 0.20]], [[0.0, -0.4], [2.2, 1.0]], [[1.0, 1.1], [1.2, 1.8]]
    )


def multivariate() -> fp.Normal:
    """Return a population with three features, base rates equal."""
    mean = np.zeros((2, 2, 3))
    mean[1] = [[1.8, 0.6, 0.0], [0.6, 1.0, -0.4]]
    mean[0, 1] = [-0.3, 0.2, 0.3]
    root = np.zeros((2, 2, 3, 3))  # lower triangles, row by row
    root[..., *np.tril_indices(3)] = [
        [[1.0, 0.2, 0.9, 0.1, 0.0, 1.1], [1.2, -0.3, 1.0, 0.0, 0.0, 1.0]],
        [[1.1, -0.2, 1.0, 0.0, 0.0, 0.9], [1.4, 0.4, 0.8, 0.2, 0.0, 1.0]],
    ]
    cov = root @ np.swapaxes(root, -1, -2)
    return fp.Normal([[0.30, 0.20], [0.30, 0.20]], mean, cov=cov, groups=["a", "b"])


CASES = {"d = 1": univariate, "d = 3": multivariate}
THRESHOLDS = {"d = 1": 1201, "d = 3": 161}  # how many; in one dimension the rates have kinks
END = 0.8  # of map_bound: in both cases it allows the original population


@dataclass(frozen=True)
class Curve:
    """KL, price (per unit of map_bound) and remaining gaps at increasing bounds."""

    bounds: Array
    kl: Array
    price: Array
    gaps: Array


def solve(D: fp.Normal, bound: float) -> fp.Solution:
    """Return the nearest population at one bound."""
    return fp.NearestIdeal(D, steer=["b"], map_bound=bound).solve()


def trace(D: fp.Normal, bounds: Array, name: str, n: int) -> Curve:
    """Return the frontier of a population; gaps at n thresholds."""
    sols = [solve(D, float(bound)) for bound in steps(bounds, name)]
    return Curve(
        bounds,
        np.array([s.kl for s in sols]),
        np.array([s.price["consensus"] for s in sols]),
        np.array([worst_gaps(s.population, n) for s in sols]),
    )


def worst_gaps(P: fp.Normal, n: int) -> list[float]:
    """Return the worst gap over n thresholds, by notion."""
    thresholds = expit(np.linspace(-8.0, 8.0, n))
    return [float(gap_at_thresholds(P, m, thresholds).max()) for m in NOTIONS.values()]


def run(out: Path, quick: bool) -> list[Claim]:
    """Write frontier.csv and frontier.png."""
    size = 9 if quick else 33
    curves, claims = {}, []
    for name, make in CASES.items():
        D, n = make(), THRESHOLDS[name]
        curve = trace(D, np.linspace(0.0, END, size), f"frontier, {name}", n)
        fall = [curve.kl[0] - solve(D, h).kl for h in (STEP / 2.0, STEP)]
        slope = (4.0 * fall[0] - fall[1]) / STEP  # Richardson: the curvature drops out
        curves[name] = curve
        claims += _claims(name, curve, slope, np.array(worst_gaps(D, n)))
    write_csv(
        out / "frontier.csv",
        ["case", "map_bound (pooled s.d.)", "KL (nats)", "price (nats per unit)",
         *(f"worst {m} gap over thresholds" for m in NOTIONS)],
        [
            [name, *row]
            for name, c in curves.items()
            for row in np.column_stack([c.bounds, c.kl, c.price, c.gaps]).tolist()
        ],
    )  # fmt: skip
    _draw(curves, out / "frontier.png")
    return claims


def _claims(name: str, c: Curve, slope: float, original: Array) -> list[Claim]:
    h = c.bounds[1]
    bend = float(np.diff(c.kl, 2).min()) / h**2
    # convex: every chord's slope lies between the derivatives at its ends
    chord = np.diff(c.kl) / h
    outside = max(float((-c.price[:-1] - chord).max()), float((chord + c.price[1:]).max()))
    relative = abs(slope / c.price[0] - 1.0)
    falls = [abs(min(0.0, float(np.diff(g).min()))) for g in c.gaps.T]
    free = np.flatnonzero(c.kl < SOLVER)
    shown = (0, len(c.bounds) // 4, len(c.bounds) // 2)
    return [
        Claim(
            f"{name}: the frontier starts with slope -price['consensus'] (to 0.1 %)",
            f"price {c.price[0]:.5f}, measured {slope:.5f} nats per unit: relative "
            f"difference {relative:.1e}",
            relative < SLOPE,
        ),
        Claim(
            f"{name}: KL is convex in the bound and never rises",
            "KL "
            + ", ".join(f"{c.kl[k]:.4f} at {c.bounds[k]:.2f}" for k in shown)
            + f"; smallest second difference {bend:+.1e} nats per unit^2",
            bend > -SOLVER / h**2 and float(np.diff(c.kl).max()) < SOLVER,
        ),
        Claim(
            f"{name}: the price is minus the slope at every bound",
            f"every chord's slope lies between the prices at its ends; worst excess {outside:.1e}",
            outside < SOLVER / h,
        ),
        Claim(
            f"{name}: no gap at bound 0, the original's where the bound allows the original",
            ", ".join(
                f"worst {m} gap {c.gaps[0, k]:.1e} at 0, {c.gaps[-1, k]:.4f} at {c.bounds[-1]:g} "
                f"(original {original[k]:.4f})"
                for k, m in enumerate(NOTIONS)
            )
            + (f"; KL = 0 from {c.bounds[free[0]]:.2f} on" if free.size else ""),
            bool(c.gaps[0].max() < 1e-6 and np.abs(c.gaps[-1] - original).max() < 1e-3),
        ),
        Claim(
            f"{name}: a larger bound never means a smaller gap",
            ", ".join(f"{m}: largest fall {r:.4f}" for m, r in zip(NOTIONS, falls, strict=True)),
            max(falls) < 1e-5,
            ""
            if max(falls) < 1e-5
            else "`map_bound` bounds how far maps differ, not how far rates do",
        ),
    ]


def _draw(curves: dict[str, Curve], path: Path) -> None:
    with style():
        fig, axes = plt.subplots(2, 2, figsize=(7.0, 4.8), sharex="col", layout="constrained")
        for column, (name, c) in enumerate(curves.items()):
            upper, lower = axes[0, column], axes[1, column]
            upper.plot(c.bounds, c.kl, color="0.2", label="nearest population")
            reach = np.array([0.0, min(c.kl[0] / c.price[0], c.bounds[-1])])
            upper.plot(
                reach, c.kl[0] - c.price[0] * reach, "--", color=COLORS[1],
                label=f"tangent: price {c.price[0]:.3f} per unit",
            )  # fmt: skip
            upper.set(title=name)
            upper.set_ylim(bottom=-0.03 * c.kl[0])
            upper.legend()
            for k, notion in enumerate(NOTIONS):
                lower.plot(
                    c.bounds, c.gaps[:, k], color=COLORS[(0, 2)[k]], linestyle="-" if k else "--",
                    marker=MARKERS[k], markevery=4, markersize=3.5, label=notion,
                )  # fmt: skip
            lower.set(xlabel="map_bound (pooled s.d.)")
            lower.legend()
        axes[0, 0].set_ylabel("KL (nats)")
        axes[1, 0].set_ylabel("worst gap over thresholds\n(probability)")
    save_picture(fig, path)
