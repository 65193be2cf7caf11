"""
Embeddings, chunk by chunk
==========================

Sixty-four features, three classes, rows that arrive in chunks: gather moments, solve, align, and
compare a classifier before and after.
"""

# %%
# Rows in chunks
# --------------
# Made-up embeddings of biographies. Gender shifts and stretches them, differently for each job.
# Only sums are kept, so the rows need not fit in memory.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import LogisticRegression

import fairprog as fp
from fairprog.plotting import plot_rates

JOBS = np.array(["nurse", "surgeon", "teacher"])
basis = np.linalg.qr(np.random.default_rng(1).normal(size=(64, 64)))[0]


def chunk(seed, n=2000):
    rng = np.random.default_rng(seed)
    job, gender = rng.integers(3, size=n), rng.choice(["f", "m"], n)
    X = rng.normal(size=(n, 64))
    X[np.arange(n), job] += 2.2
    men = gender == "m"
    X[men, 0] -= 1.3
    X[men, 1] += 1.1
    X[men] *= 1.2
    return X @ basis, JOBS[job], gender


moments = fp.Moments()
for seed in range(6):
    X, y, gender = chunk(seed)
    moments.partial_fit(X, y, sensitive_features=gender)
population = moments.population("normal", shrinkage="auto")
print(population)

# %%
# Solve and align
# ---------------
# Embeddings have a common scale, so the map is kept near the identity in plain distance.

sol = fp.NearestIdeal(population, steer=["m"], transport=fp.Monotone("identity")).solve()
print(f"KL {sol.kl:.3f} nats by {sol.solver}, global optimum: {sol.certificate.globally_optimal}")

# %%
# True positive rates of a classifier
# -----------------------------------
# Trained on raw and on aligned rows; both are judged on rows that no fit has seen. Grey bars are
# the gaps between men and women.

X, y, gender = chunk(100)
X_new, y_new, gender_new = chunk(101, 20_000)
with plt.rc_context({"figure.figsize": (7.5, 3.2)}):
    fig, axes = plt.subplots(1, 2, sharey=True, layout="constrained")
for ax, name in zip(axes, ("raw", "aligned"), strict=True):
    if name == "aligned":
        X = sol.align(X, sensitive_features=gender)
        X_new = sol.align(X_new, sensitive_features=gender_new)
    model = LogisticRegression(max_iter=1000).fit(X, y)
    outcome = fp.OutcomeTable.from_predictions(
        y_new, model.predict(X_new), sensitive_features=gender_new
    )
    plot_rates(outcome, ax)
    ax.set_title(name, pad=30)
    gap = fp.RMSGap(fp.TruePositiveRateParity()).gap(outcome)
    print(f"{name:8} accuracy {outcome.accuracy:.3f}, root mean square gap {gap:.3f}")
