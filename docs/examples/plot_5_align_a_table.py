"""
Align a table, end to end
=========================

A CSV-like table with two features, a label and a group: fit, steer, align, train, and judge by
rows that were never seen.
"""

# %%
# The table
# ---------
# Made up, so that the example needs no download: applicants with a test score and years of
# experience, whether they turned out to do well, and their group. The score reads lower and
# noisier in group b.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

import fairprog as fp
from fairprog.plotting import COLORS, style

rng = np.random.default_rng(7)
n = 12_000
group = rng.choice(["a", "b"], p=[0.6, 0.4], size=n)
good = rng.random(n) < 0.45
score = 60 + 9 * good + rng.normal(scale=7, size=n)
score = np.where(group == "b", 0.9 * score - 3 + rng.normal(scale=2.0, size=n), score)
log_years = 1.1 + 0.35 * good + rng.normal(scale=0.4, size=n) - 0.22 * (group == "b")
table = pd.DataFrame(
    {"score": score, "log_years": log_years, "group": group, "good": good.astype(int)}
)
print(table.head().round(2).to_string(index=False))

train, test = train_test_split(table, test_size=0.5, random_state=0)
features = ["score", "log_years"]

# %%
# Fit, steer, align
# -----------------
# The population is fitted on the training rows. Group a stays, group b is steered.

population = fp.Normal.fit(train[features], train["good"], sensitive_features=train["group"])
sol = fp.NearestIdeal(population, steer=["b"]).solve()
print(sol.summary())

# %%
# The bounds are honest rather than tight. What counts are the gaps on the held-out half. A
# model trained on aligned rows needs no label of the new rows, only their group.


def held_out(name, prepare):
    Z, Y = prepare(train), train["good"]
    model = LogisticRegression(max_iter=1000).fit(Z, Y)
    p = model.predict_proba(prepare(test))[:, 1]
    outcome = fp.OutcomeTable.from_predictions(
        test["good"], (p > 0.5).astype(int), sensitive_features=test["group"]
    )
    rows.append(
        {
            "features": name,
            "accuracy": outcome.accuracy,
            "equal opportunity gap": fp.EqualOpportunity().gap(outcome),
            "predictive equality gap": fp.PredictiveEquality().gap(outcome),
        }
    )
    return p


rows = []
align = lambda frame: sol.align(frame[features], sensitive_features=frame["group"])  # noqa: E731
probability = {
    "raw": held_out("raw", lambda frame: frame[features].to_numpy()),
    "aligned": held_out("aligned", align),
}
print(pd.DataFrame(rows).round(3).to_string(index=False))

# %%
# Every threshold
# ---------------
# The gap of true positive rates at every threshold of the model's probability, with the 95 %
# band of Dvoretzky, Kiefer and Wolfowitz: below it nothing can be told from sampling noise.

t = np.linspace(0, 1, 301)
positive = test["good"].to_numpy() == 1
is_b = test["group"].to_numpy() == "b"
with style():
    fig, ax = plt.subplots(figsize=(6.0, 3.1), layout="constrained")
    for k, (name, p) in enumerate(probability.items()):
        rate = [(p[positive & g][:, None] > t).mean(axis=0) for g in (~is_b, is_b)]
        ax.plot(t, np.abs(rate[0] - rate[1]), color=COLORS[k], label=name)
    counts = [(positive & g).sum() for g in (~is_b, is_b)]
    band = sum(np.sqrt(np.log(2 * 2 / 0.05) / (2 * m)) for m in counts)
    ax.axhspan(0, band, color="0.92", zorder=0)
    ax.text(0.5, 0.93 * band, "noise, 95 %", ha="center", va="top", color="0.45", fontsize=8)
    ax.set(xlabel="threshold on predict_proba", ylabel="true positive rate gap")
    ax.set(xlim=(0, 1), ylim=(0, None))
    ax.legend(loc="upper left")
