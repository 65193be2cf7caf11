"""
The paper's table
=================

One feature, two groups: what steering one group, steering all, and matching moments without labels
do to the Bayes error and to the gaps.
"""

# %%
# The paper's parameters are not published; these come from a search that reproduces the reported
# first row (error 0.15, gaps 0.25 and 0.18).

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import fairprog as fp
from fairprog.plotting import COLORS, style

share, rate = np.array([0.61, 0.39]), np.array([0.62, 0.31])
D = fp.Normal(
    np.stack([share * (1 - rate), share * rate]),
    mean=[[0.00, 0.00], [5.48, 3.34]],
    std=[[1.00, 2.32], [4.68, 1.78]],
    groups=["a", "b"],
)

# %%
# Matching without labels moves both classes of group b by one map: mean matching gives the whole
# group the mean of group a, covariance matching its variance as well.

centre = (D.base_rates * D.mean).sum(axis=0)
spread = np.sqrt((D.base_rates * (D.std**2 + (D.mean - centre) ** 2)).sum(axis=0))


def matched(scale):
    factor = np.array([1.0, scale])
    mean = factor * (D.mean - centre) + centre[0]
    return fp.Normal(D.prior, mean, std=factor * D.std, groups=D.groups)


populations = {
    "original": D,
    "one group steered": fp.NearestIdeal(D, steer=["b"]).solve().population,
    "all groups steered": fp.NearestIdeal(D).solve().population,
    "mean matching": matched(1.0),
    "mean and covariance": matched(spread[0] / spread[1]),
}

# %%
# The table
# ---------

rows = {}
for name, P in populations.items():
    rule = P.evaluate()
    rows[name] = {
        "Bayes error": rule.error,
        "DP gap": rule.gap(fp.DemographicParity()),
        "EO gap": rule.gap(fp.EqualOpportunity()),
        "worst EO gap": P.ideality_gap(fp.EqualOpportunity()),
        "KL (nats)": P.kl(D),
    }
frame = pd.DataFrame(rows).T
print(frame.round(3).abs().to_string())

# %%
# Steering takes every gap to zero and lowers the error. Matching without labels changes none of
# them: one invertible map per group leaves every posterior as it was.

with style():
    fig, axes = plt.subplots(1, 4, figsize=(8.0, 2.6), sharey=True, layout="constrained")
    for ax, column in zip(axes, ["Bayes error", "DP gap", "EO gap", "KL (nats)"], strict=True):
        values = frame[column].to_numpy()[::-1]
        bars = ax.barh(list(frame.index)[::-1], values, color=COLORS[0], height=0.6)
        ax.bar_label(bars, [f"{abs(v):.3f}" for v in values], padding=3, fontsize=8)
        ax.set(title=column, xlim=(0, 1.4 * values.max()))
        ax.grid(False)
