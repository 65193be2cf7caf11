"""A line search over the scale ratio can end in the wrong minimum; the polynomial cannot.

With two classes, two groups and one feature, steering all groups comes down to minimising F over
the ratio gamma of the groups' scales. F may have three positive stationary points. All of
them are roots of a polynomial of degree 8 (theory.md section 5, Theorem C); a local search sees
one. They come where the classes stand in opposite order in the two groups and orientation must
be preserved. The search judged here is scipy's BFGS over log gamma, started where both groups
have the same scale, gamma = 1 (the summary we know says no more than "line search").
"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import minimize

import fairprog as fp
from fairprog.kernels.line.scale_ratio_polynomial import (
    best_scale_ratio,
    scale_ratio_cost,
    two_group_cells,
)
from fairprog.labels import Array
from fairprog.plotting import COLORS, style

from .claims import Claim, write_csv
from .pictures import plain_ticks, save_picture

# Found by `find_case(seed=0)`: of 20,000 random instances the one that loses most, rounded.
PRIOR = ((0.1872, 0.5928), (0.0528, 0.1672))  # P(A=b) = 0.76, P(Y=1) = 0.22 in both groups
MEAN = ((0.00, 0.00), (-2.52, 7.98))
STD = ((0.29, 2.59), (0.28, 0.25))
SEED = 2025


def random_instance(rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Return prior (equal base rates), means and standard deviations, (2, 2) each.

    Share of b and base rate uniform in (0.2, 0.8), mean differences normal with s.d. 3, standard
    deviations log-uniform between 1/4 and 4.
    """
    share, rate = rng.uniform(0.2, 0.8, size=2)
    prior = np.outer([1.0 - rate, rate], [1.0 - share, share])
    mean = np.stack([np.zeros(2), rng.normal(scale=3.0, size=2)])
    return prior, mean, np.exp(rng.uniform(-1.0, 1.0, size=(2, 2)) * np.log(4.0))


def line_search(prior: Array, mean: Array, std: Array) -> float:
    """Return where BFGS over log gamma ends, from gamma = 1."""

    def cost(t: Array) -> float:
        return float(scale_ratio_cost(np.exp(t[0]), prior, mean, std))

    return float(np.exp(minimize(cost, np.zeros(1), method="BFGS").x[0]))


def excess(gamma: float, prior: Array, mean: Array, std: Array) -> tuple[float, Array]:
    """Return F(gamma) minus its global minimum, and the positive stationary points."""
    best, stationary = best_scale_ratio(prior, mean, std)
    values = scale_ratio_cost(np.array([gamma, best]), prior, mean, std)
    return float(values[0] - values[1]), stationary


def find_case(seed: int = 0, n: int = 20_000) -> tuple[float, tuple[Array, Array, Array]]:
    """Return the random instance in which the line search loses most."""
    rng = np.random.default_rng(seed)
    worst: tuple[float, tuple[Array, Array, Array]] | None = None
    for _ in range(n):
        instance = random_instance(rng)
        if len(best_scale_ratio(*instance)[1]) < 3:
            continue
        loss = excess(line_search(*instance), *instance)[0]
        if worst is None or loss > worst[0]:
            worst = loss, instance
    assert worst is not None
    return worst


def population(prior: Array, mean: Array, std: Array, gamma: float) -> fp.Normal:
    """Return the steered population at a scale ratio."""
    return fp.Normal(prior, (cells := two_group_cells(gamma, prior, mean, std))[0], std=cells[1])


def run(out: Path, quick: bool) -> list[Claim]:
    """Write case.csv, random.csv and the picture of F."""
    case = np.array(PRIOR), np.array(MEAN), np.array(STD)
    D = fp.Normal(case[0], case[1], std=case[2])
    sol = fp.NearestIdeal(D, steer="all").solve()
    best, stationary = best_scale_ratio(*case)
    found = line_search(*case)
    local_kl = population(*case, found).kl(D)
    kl = [population(*case, float(g)).kl(D) for g in stationary]
    write_csv(
        out / "case.csv",
        ["gamma", "KL (nats)", "what"],
        [[float(g), v, "stationary point"] for g, v in zip(stationary, kl, strict=True)]
        + [[best, sol.kl, "polynomial"], [found, local_kl, "line search from 1"]],
    )
    _draw(D, case, stationary, best, found, out / "stationary_points.png")
    return [*_case_claims(sol, stationary, best, found, local_kl), *_count(out, quick)]


def _case_claims(
    sol: fp.Solution, stationary: Array, best: float, found: float, local_kl: float
) -> list[Claim]:
    return [
        Claim(
            "F has three positive stationary points in the recorded case",
            "gamma = " + ", ".join(f"{g:.4f}" for g in stationary),
            len(stationary) == 3,
        ),
        Claim(
            "the polynomial finds the best of them, and the solution is labelled global",
            f"gamma {best:.4f}, KL {sol.kl:.6f} nats",
            sol.certificate.globally_optimal and sol.kl <= local_kl,
        ),
        Claim(
            "the line search from gamma = 1 ends in the worse minimum",
            f"gamma {found:.4f}, KL {local_kl:.6f} nats: {local_kl - sol.kl:.4f} nats above",
            local_kl - sol.kl > 1e-3,
        ),
    ]


def _count(out: Path, quick: bool) -> list[Claim]:
    """Count, over random instances, three stationary points and wrong ends."""
    n = 200 if quick else 2000
    rng = np.random.default_rng(SEED)
    rows = []
    for k in range(n):
        instance = random_instance(rng)
        loss, stationary = excess(line_search(*instance), *instance)
        rows.append((k, len(stationary), loss))
    write_csv(out / "random.csv", ["instance", "stationary points", "KL above best (nats)"], rows)
    three = sum(count == 3 for _, count, _ in rows)
    wrong = [loss for _, _, loss in rows if loss > 1e-6]
    below = min(loss for _, _, loss in rows)
    return [
        Claim(
            "one or three positive stationary points, nothing else",
            f"three in {three} of {n} random instances ({100 * three / n:.1f} %)",
            all(count in (1, 3) for _, count, _ in rows),
        ),
        Claim(
            "the line search sometimes ends wrong, and only where there are three",
            f"in {len(wrong)} of {n} instances ({100 * len(wrong) / n:.1f} %), by up to "
            f"{max(wrong, default=0.0):.3f} nats",
            bool(wrong) and all(count == 3 for _, count, loss in rows if loss > 1e-6),
            "" if wrong else "too few instances were drawn to meet one",
        ),
        Claim(
            "the line search never ends below the polynomial's optimum",
            f"smallest difference {below:.1e} nats",
            below > -1e-12,
        ),
    ]


def _draw(
    D: fp.Normal,
    case: tuple[Array, Array, Array],
    stationary: Array,
    best: float,
    found: float,
    path: Path,
) -> None:
    # F is the KL divergence up to a constant: draw the divergence
    constant = population(*case, best).kl(D) - float(scale_ratio_cost(np.array(best), *case))
    low, high = min(stationary.min(), 1.0), max(stationary.max(), 1.0)
    gamma = np.geomspace(low / 1.8, high * 1.8, 600)

    def kl(g: Array | float) -> Array:
        return scale_ratio_cost(np.asarray(g, dtype=float), *case) + constant

    with style():
        fig, ax = plt.subplots(figsize=(4.6, 3.1), layout="constrained")
        ax.plot(gamma, kl(gamma), color="0.35")
        ax.plot(1.0, kl(1.0), "|", color=COLORS[1], markersize=10, mew=2, label="start, γ = 1")
        ax.plot(
            found, kl(found), "s", color=COLORS[1], markersize=5, label="line search ends here"
        )
        ax.plot(
            best, kl(best), "*", color=COLORS[0], markersize=9, label="best root of the polynomial"
        )
        ax.plot(
            stationary, kl(stationary), "o", color="0.2", markersize=12, mfc="none",
            label="stationary point",
        )  # fmt: skip
        ax.set(
            xscale="log", xlabel="scale ratio γ of the groups (no unit)", ylabel="KL(D̃ ‖ D) (nats)"
        )
        plain_ticks(ax, "x", [0.01, 0.1, 1.0])
        ax.legend()
    save_picture(fig, path)
