"""
What fairness costs: the frontier and its price
===============================================

``map_bound`` lets the maps of a group's classes differ a little. The divergence falls, the
worst gap grows, and the price is the slope.
"""

# %%
# Two frontiers
# -------------
# One program per bound. The optimal divergence is a convex function of it.

import matplotlib.pyplot as plt
import numpy as np

import fairprog as fp
from fairprog.plotting import COLORS, style

D = fp.Normal(
    prior=[[0.3, 0.2], [0.3, 0.2]],
    mean=[[0.0, 1.0], [2.0, 2.0]],
    std=[[1.0, 1.0], [1.0, 2.0]],
    groups=["men", "women"],
)
bounds = np.concatenate([[0.0], np.linspace(0.05, 0.7, 9)])
solutions = [fp.NearestIdeal(D, steer=["women"], map_bound=e).solve() for e in bounds]
kl = np.array([s.kl for s in solutions])
price = np.array([s.price["consensus"] for s in solutions])
gap = np.array([s.population.ideality_gap(fp.EqualOpportunity()) for s in solutions])

with style():
    fig, axes = plt.subplots(1, 2, figsize=(7.2, 3.1), layout="constrained")
    axes[0].plot(bounds, kl, color=COLORS[0])
    for k in (0, 2, 5):
        ends = bounds[k] + np.array([-0.1, 0.16])
        ends = np.clip(ends, 0, None)
        axes[0].plot(ends, kl[k] - price[k] * (ends - bounds[k]), color=COLORS[1], linewidth=1)
        axes[0].plot(bounds[k], kl[k], "o", color=COLORS[1], markersize=4)
        axes[0].annotate(
            f"price {price[k]:.2f}",
            (bounds[k], kl[k]),
            (9, 5),
            textcoords="offset points",
            color=COLORS[1],
        )
    axes[0].set(xlabel="map_bound", ylabel="KL to the original (nats)", ylim=(-0.004, 0.093))
    axes[1].plot(kl, gap, color=COLORS[0], marker="o", markersize=3)
    axes[1].annotate("ideal", (kl[0], gap[0]), (-10, -2), textcoords="offset points", ha="right")
    axes[1].set(xlabel="KL to the original (nats)", ylabel="worst equal opportunity gap")

# %%
# The tangents are not fitted: their slopes are the multipliers of the program.
#
# Prices against finite differences
# ---------------------------------

h = 1e-4
for e in (0.1, 0.4):
    low, at, high = (
        fp.NearestIdeal(D, steer=["women"], map_bound=b).solve() for b in (e - h, e, e + h)
    )
    slope = (low.kl - high.kl) / (2 * h)
    print(f"bound {e:.1f}: price {at.price['consensus']:.5f}, measured {slope:.5f}")

# %%
# Which condition costs most
# --------------------------
# At bound 0 every class has its own address. Parts of the price have no units of features, so they
# can be ranked; the signs of the sensitivities say where each class would like to go.

exact = solutions[0]
for address, part in sorted(exact.price_by_condition.items(), key=lambda kv: -kv[1]):
    print(f"{address:16} {part:.4f} of the price, sensitivity {exact.sensitivity[address]:+.4f}")
