"""
Incomes: log-normal features
============================

Incomes are skewed, and a map that adds euros makes no sense for them. In the log-normal family the
maps multiply and bend, and everything is said in euros.
"""

# %%
# The population
# --------------
# Parameters are those of the logarithm: medians of 20 and 45 thousand euros in group a, 15 and 24
# in group b.

import numpy as np

import fairprog as fp

D = fp.LogNormal(
    prior=[[0.30, 0.22], [0.30, 0.18]],
    mean=np.log([[20.0, 15.0], [45.0, 24.0]]),
    std=[[0.45, 0.40], [0.50, 0.70]],
    groups=["a", "b"],
)
sol = fp.NearestIdeal(D, steer=["b"]).solve()
sol.plot()

# %%
# The map in euros
# ----------------
# A straight line in the logarithm is a power in euros. It carries incomes of group a to those of
# the steered group b; its inverse aligns members of group b.

T = sol.maps["b"]
for income in (10.0, 20.0, 45.0, 90.0):
    there = float(np.ravel(T(np.array([[income]])))[0])
    print(f"{income:5.0f} thousand in group a corresponds to {there:5.1f} in group b")

# %%
# Nothing depends on the logarithm: divergence and gaps are those of the incomes themselves.

for name, P in {"before": D, "after": sol.population}.items():
    print(f"{name:7} worst equalized odds gap {P.ideality_gap(fp.EqualizedOdds()):.4f}")
print(f"KL {sol.kl:.4f} nats: some {1 / sol.kl:.0f} rows give one nat of evidence")

# %%
# On rows
# -------

X, y, group = D.sample(20_000, random_state=0)
fitted = fp.LogNormal.fit(X, y, sensitive_features=group)
aligned = fp.NearestIdeal(fitted, steer=["b"]).solve().align(X, sensitive_features=group)
for g in ("a", "b"):
    raw, moved = (np.median(Z[group == g]) for Z in (X, aligned))
    print(f"group {g}: median income {raw:.1f}, aligned {moved:.1f}")
