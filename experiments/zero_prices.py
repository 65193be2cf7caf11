"""On an ideal population fairness costs nothing: prices before and after steering.

A univariate normal population and the ideal one nearest to it, both made finite. For a grid of
bounds and several notions the picture shows the risk and the price of the optimal fair classifier;
the claims go over random costs.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

import fairprog as fp
from fairprog.labels import Array
from fairprog.plotting import COLORS, save_figure, style

from .claims import Claim, write_csv

NOTIONS: dict[str, type[fp.Notion]] = {
    "demographic parity": fp.DemographicParity,
    "equal opportunity": fp.EqualOpportunity,
    "equalized odds": fp.EqualizedOdds,
}
ATOMS = 2048


def population() -> fp.Normal:
    """Return two groups whose class 1 lies at different distances."""
    return fp.Normal(
        [[0.35, 0.20], [0.25, 0.20]],
        [[0.0, 0.4], [2.0, 1.5]],
        std=[[1.0, 1.1], [1.0, 0.8]],
        groups=["a", "b"],
    )


def run(out: Path, quick: bool) -> list[Claim]:
    """Write zero_prices.csv and zero_prices.png; claims on random costs."""
    D = population()
    before, after = D.discretize(ATOMS), fp.NearestIdeal(D).solve().population.discretize(ATOMS)
    bounds = np.linspace(0.0, 0.3, 7 if quick else 31)
    rows: list[list[object]] = []
    curves: dict[str, dict[str, Array]] = {}
    for name, Notion in NOTIONS.items():
        curves[name] = {}
        for what, P in (("original", before), ("ideal", after)):
            values = [_optimum(P, Notion(difference_bound=float(b))) for b in bounds]
            curves[name][what] = np.array(values)
            rows += [[name, what, float(b), *v] for b, v in zip(bounds, values, strict=True)]
    header = ["notion", "population", "difference bound", "error (probability)", "price"]
    write_csv(out / "zero_prices.csv", header, rows)
    save_figure(_draw(bounds, curves), out / "zero_prices.png")
    return _claims(before, after, 5 if quick else 20)


def _optimum(P: fp.Categorical, notion: fp.Notion) -> tuple[float, float]:
    """Return risk and price."""
    sol = fp.FairClassifier(P, fp.ErrorRate(), [notion]).solve()
    return sol.risk, next(iter(sol.price.values()))


def _claims(before: fp.Categorical, after: fp.Categorical, count: int) -> list[Claim]:
    rng = np.random.default_rng(0)
    worst, lowest, positive, total = 0.0, 0.0, 0, 0
    for _ in range(count):
        fp_cost, fn_cost = rng.uniform(0.2, 1.0, size=2)
        risk = fp.CostSensitiveRisk({"fp": float(fp_cost), "fn": float(fn_cost)})
        for Notion in NOTIONS.values():
            for bound in (0.0, 0.01):
                sol = fp.FairClassifier(after, risk, [Notion(difference_bound=bound)]).solve()
                ((key, price),) = sol.price.items()
                worst = max(worst, price)
                lowest = max(lowest, sol.price_interval[key][0])
            sol = fp.FairClassifier(before, risk, [Notion(difference_bound=0.01)]).solve()
            positive += next(iter(sol.price.values())) > 0.0
            total += 1
    return [
        Claim(
            f"ideal population: 0 is a valid price, and the one reported, for {count} random "
            "costs, three notions, bounds 0 and 0.01",
            f"largest reported price {worst:.1e}, largest lower end of an interval {lowest:.1e}",
            worst == 0.0 and lowest == 0.0,
        ),
        Claim(
            "original population: the price at bound 0.01 is positive for the same costs and "
            "notions",
            f"{positive} of {total}",
            positive == total,
            "" if positive == total else "for some costs the Bayes rule happens to be that fair",
        ),
    ]


def _draw(bounds: Array, curves: dict[str, dict[str, Array]]) -> Figure:
    with style():
        fig, axes = plt.subplots(1, 2, figsize=(7.2, 3.0), layout="constrained")
        for k, (name, of) in enumerate(curves.items()):
            for column, ax in enumerate(axes):
                ax.plot(bounds, of["original"][:, column], color=COLORS[k], label=name)
        for column, ax in enumerate(axes):
            for of in curves.values():  # the three coincide
                ax.plot(bounds, of["ideal"][:, column], color="black", linestyle="--")
            ax.lines[-1].set_label("all three, ideal population")
        axes[0].set_ylabel("error of the optimal fair classifier")
        axes[1].set_ylabel("price (error per unit of bound)")
        for ax in axes:
            ax.set_xlabel("bound on the gap")
        axes[0].legend()
    return fig
