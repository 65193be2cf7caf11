"""
A constraint of your own, and its price
=======================================

The women's class-0 mean may move by no more than a given amount. Sweep the amount and read the
price.
"""

# %%
# A condition is a function of the steered parameters (CVXPY expressions) and the original ones
# (numbers).

import cvxpy as cp
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


def solve(bound):
    @fp.constraint
    def shift(view, population):
        return cp.abs(view.mean[0, "women"] - population.mean[0, "women"]) <= bound

    return fp.NearestIdeal(D, steer=["women"], constraints=[shift]).solve()


bounds = np.linspace(0.02, 0.32, 11)
solutions = [solve(b) for b in bounds]
kl = np.array([s.kl for s in solutions])
price = np.array([s.price["shift"] for s in solutions])

# %%
# Every answer is ideal; what the condition costs is divergence. Once the free optimum fits
# inside the bound (it moves by 0.236), the price is zero.

with style():
    fig, axes = plt.subplots(2, 1, figsize=(5.6, 4.4), sharex=True, layout="constrained")
    axes[0].plot(bounds, kl, color=COLORS[0], marker="o", markersize=3)
    axes[0].set_ylabel("KL (nats)")
    axes[1].plot(bounds, price, color=COLORS[1], marker="o", markersize=3, label="price")
    middle = 0.5 * (bounds[1:] + bounds[:-1])
    axes[1].plot(
        middle, -np.diff(kl) / np.diff(bounds), "+", color="0.3", label="finite difference of KL"
    )
    axes[1].set(xlabel="how far the mean may move", ylabel="nats per unit")
    axes[1].legend()
    for ax in axes:
        ax.axvline(0.236, color="0.5", linewidth=0.8, linestyle=":")

print("all ideal:", all(s.population.is_ideal() for s in solutions))
print("largest certificate residual:", f"{max(s.certificate.kkt_residual for s in solutions):.1e}")
