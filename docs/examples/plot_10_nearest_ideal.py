"""
The nearest ideal population
============================

Two groups, two classes, one feature: solve, look, and check that every Bayes rule has become
fair.
"""

# %%
# The population
# --------------
# Rows are classes, columns are groups. The women's class 1 is spread out twice as wide.

import numpy as np

import fairprog as fp
from fairprog.plotting import plot_gaps

D = fp.Normal(
    prior=[[0.3, 0.2], [0.3, 0.2]],
    mean=[[0.0, 1.0], [2.0, 2.0]],
    std=[[1.0, 1.0], [1.0, 2.0]],
    groups=["men", "women"],
)

# %%
# Steer the women
# ---------------
# The men stay as they are; the women's cells become images of the men's under one map. The
# bands below the axis are what the most accurate classifier predicts.

sol = fp.NearestIdeal(D, steer=["women"]).solve()
sol.plot()

# %%
# The summary says what it cost and why you can trust it.

print(sol.summary())

# %%
# Every cost
# ----------
# A cost of false positives and false negatives is a threshold on the posterior. Before, some
# thresholds are fair by accident and most are not. Afterwards all of them are.

odds = fp.EqualizedOdds()
t = np.linspace(0.005, 0.995, 199)
gaps = {
    name: [P.evaluate({"fp": cost, "fn": 1 - cost}).gap(odds) for cost in t]
    for name, P in {"original": D, "women steered": sol.population}.items()
}
plot_gaps(t, gaps, ylabel="equalized odds gap")

# %%
# Mean matching is not enough
# ---------------------------
# Giving the women's group the men's mean and variance, as a whole, moves both classes by one
# map. That leaves every posterior, and with it every gap of a group-aware Bayes rule, exactly
# as it was.

p = D.base_rates
mean = (p * D.mean).sum(axis=0)
var = (p * (D.std**2 + (D.mean - mean) ** 2)).sum(axis=0)
g = np.sqrt(var[0] / var[1])
matched = fp.Normal(
    D.prior,
    np.stack([D.mean[:, 0], mean[0] + g * (D.mean[:, 1] - mean[1])], axis=1),
    std=np.stack([D.std[:, 0], g * D.std[:, 1]], axis=1),
    groups=D.groups,
)
for name, P in {"original": D, "moments matched": matched, "ideal": sol.population}.items():
    print(f"{name:16} worst gap {P.ideality_gap(odds):.6f}, KL to the original {P.kl(D):.4f}")
