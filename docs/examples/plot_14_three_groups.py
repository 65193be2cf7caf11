"""
Three groups and three classes
==============================

Nothing in the package is binary. Here three groups with three classes each; two of the groups
are steered to the third, then all three.
"""

# %%
# A low, a middle and a high class. Labels are words. Nine curves on one line cannot be told apart,
# so each group has a line of its own; the band below it is what the group's best rule predicts.

import numpy as np

import fairprog as fp

D = fp.Normal(
    prior=np.outer([0.3, 0.4, 0.3], [0.5, 0.3, 0.2]),
    mean=[[0.0, 0.4, -0.5], [2.5, 1.8, 2.0], [5.0, 4.9, 3.4]],
    std=[[1.0, 0.8, 1.2], [0.8, 1.0, 1.1], [1.0, 1.4, 0.9]],
    classes=["low", "middle", "high"],
    groups=["north", "south", "east"],
)
sol = fp.NearestIdeal(D, steer=["south", "east"]).solve()
sol.plot()

# %%
# The rate of every prediction given every class, by group: after steering, the three groups of a
# class agree.

for name, P in {"before": D, "after": sol.population}.items():
    rates = P.evaluate().table.rates()
    print(name)
    for i, c in enumerate(D.classes):
        for a, g in enumerate(D.groups):
            print(f"  {c:7} {g:6}", "  ".join(f"{r:.3f}" for r in rates[a, i]))

# %%
# Steered groups are separate problems, so their prices add up; each class and group has its
# address.

largest = sorted(sol.price_by_condition.items(), key=lambda kv: -kv[1])[:4]
for address, part in largest:
    print(f"{address:22} {part:.4f} of {sol.price['consensus']:.4f} nats per unit")

# %%
# All three groups at once come out nearer. The program is then not convex: the answer is the
# best of several descents, and says so.

both = fp.NearestIdeal(D).solve()
both.plot()
print(f"KL {sol.kl:.4f} with north staying, {both.kl:.4f} with all moving")
print("global optimum:", sol.certificate.globally_optimal, both.certificate.globally_optimal)
