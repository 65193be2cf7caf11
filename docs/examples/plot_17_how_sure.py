"""
How sure is the answer?
=======================

Intervals for the divergence and its price, and what they become with more rows.
"""

# %%
# Intervals against rows
# ----------------------
# One sample of every size; the dashed line is the truth. Nothing is solved twice: the delta
# method follows the answer by the implicit-function theorem.

import matplotlib.pyplot as plt
import numpy as np

import fairprog as fp
from fairprog.plotting import COLORS, style

D = fp.Normal([[0.3, 0.2], [0.3, 0.2]], [[0.0, 1.0], [2.0, 2.0]], std=[[1.0, 1.0], [1.0, 2.0]])
truth = fp.NearestIdeal(D, steer=[1]).solve()
sizes = [300, 1000, 3000, 10_000, 30_000]
found = []
for n in sizes:
    X, y, a = D.sample(n, random_state=n)
    E = fp.Normal.fit(X, y, sensitive_features=a)
    found.append(fp.NearestIdeal(E, steer=[1]).solve(solver="closed-form").inference())

with style():
    fig, axes = plt.subplots(1, 2, figsize=(7.0, 2.8), layout="constrained")
    for ax, name, true, estimates in (
        (axes[0], "KL divergence (nats)", truth.kl, [f.kl for f in found]),
        (
            axes[1],
            "price of consensus",
            truth.price["consensus"],
            [f.price["consensus"] for f in found],
        ),
    ):
        middle = np.array([0.5 * (e.low + e.high) for e in estimates])
        reach = np.array([0.5 * (e.high - e.low) for e in estimates])
        ax.errorbar(sizes, middle, yerr=reach, fmt="o", color=COLORS[0], capsize=2.5)
        ax.axhline(true, color="0.3", linestyle="--", linewidth=1.0)
        ax.set(xscale="log", xlabel="rows", ylabel=name)
plt.show()

# %%
# The test says whether there is anything to explain at all.

print(found[-1])
print(fp.ideality_test(E, steer=[1]))
