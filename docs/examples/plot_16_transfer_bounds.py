"""
What a nearby ideal population guarantees
=========================================

A classifier that is fair on the steered population is nearly fair on the original one if the
two are near, cell by cell. The joint divergence is not enough.
"""

# %%
# Bounds against truth
# --------------------
# Populations that come closer and closer to ideal; for each the Bayes rules of the steered
# population (every threshold) are tried on the original, and the worst gap is compared with
# the bound.

import matplotlib.pyplot as plt
import numpy as np

import fairprog as fp
from fairprog.plotting import COLORS, style


def population(distance):
    return fp.Normal(
        [[0.3, 0.2], [0.3, 0.2]],
        [[0.0, distance], [2.0, 2.0]],
        std=[[1.0, 1.0], [1.0, 1.0 + distance]],
    )


distances = np.linspace(0.02, 1.0, 10)
truth, bound = [], []
for distance in distances:
    D = population(distance)
    sol = fp.NearestIdeal(D, steer=[1]).solve()
    gaps = [
        D.evaluate({"fp": t, "fn": 1 - t}, rule_of=sol.population).gap(fp.EqualOpportunity())
        for t in np.linspace(0.03, 0.97, 31)
    ]
    truth.append(max(gaps))
    bound.append(sol.bounds.equal_opportunity())

with style():
    fig, ax = plt.subplots(figsize=(5.6, 3.1), layout="constrained")
    ax.plot(distances, bound, color=COLORS[0], label="bound, cell by cell")
    ax.plot(distances, truth, color=COLORS[1], linestyle="--", label="worst Bayes rule")
    ax.fill_between(distances, truth, bound, color="0.93")
    ax.set(xlabel="distance from ideal (parameter)", ylabel="gap on the original population")
    ax.set(xlim=(0, 1), ylim=(0, None))
    ax.legend(loc="upper left")

# %%
# The joint divergence is not enough
# ----------------------------------
# Class 1 of one group has probability q and is one nat away. Its share in the joint divergence
# is q, so a bound by the joint divergence alone, such as the square root of 8 KL quoted for
# the paper, falls below the gap as q becomes small.

q = np.geomspace(0.002, 0.3, 60)
shift = np.sqrt(2.0)
joint, gap, cell = [], [], []
for mass in q:
    prior = [[0.5 - mass, 0.5 - mass], [mass, mass]]
    ideal = fp.Normal(prior, [[0.0, 0.0], [3.0, 3.0]], std=np.ones((2, 2)))
    D = fp.Normal(prior, [[0.0, 0.0], [3.0, 3.0 - shift]], std=np.ones((2, 2)))
    t = 3.0 - shift / 2  # the Bayes rule of this cost on `ideal` predicts 1 above t
    odds = mass / (0.5 - mass) * np.exp(3 * t - 4.5)
    answer = D.evaluate({"fp": odds, "fn": 1.0}, rule_of=ideal)
    gap.append(answer.gap(fp.EqualOpportunity()))
    joint.append(np.sqrt(8 * ideal.kl(D)))
    bounds = fp.Bounds(ideal.kl(D), ideal.cell_divergences(D), np.zeros(2), ideal.base_rates)
    cell.append(bounds.equal_opportunity())

with style():
    fig, ax = plt.subplots(figsize=(5.6, 3.1), layout="constrained")
    ax.semilogx(q, cell, color=COLORS[0], label="bound, cell by cell")
    ax.semilogx(q, gap, color=COLORS[1], linestyle="--", label="gap")
    ax.semilogx(q, joint, color=COLORS[2], linestyle="-.", label="√(8 KL) (false)")
    ax.set(xlabel="probability of the cell", ylabel="equal opportunity gap", ylim=(0, 1.6))
    ax.legend(loc="upper left")
