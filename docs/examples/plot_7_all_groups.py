"""
All groups at once: three stationary points
===========================================

When every group may move, one feature, two classes and two groups come down to one number, the
ratio of the groups' scales. The cost may have several local minima, and all of them are roots
of one polynomial.
"""

# %%
# The classes stand in opposite order in the two groups, and the orientation is to be
# preserved.

import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import minimize

import fairprog as fp
from fairprog.kernels.scale_ratio_polynomial import best_scale_ratio, scale_ratio_cost
from fairprog.plotting import COLORS, style

prior = np.array([[0.1872, 0.5928], [0.0528, 0.1672]])
mean = np.array([[0.0, 0.0], [-2.52, 7.98]])
std = np.array([[0.29, 2.59], [0.28, 0.25]])

best, stationary = best_scale_ratio(prior, mean, std)
search = np.exp(
    minimize(lambda t: float(scale_ratio_cost(np.exp(t[0]), prior, mean, std)), [0.0]).x[0]
)
print("stationary points:", stationary.round(4))
print(f"a local search from equal scales ends at {search:.4f}, the best is {best:.4f}")

# %%
# The reduced cost F over the ratio, all its stationary points, and where a local search ends.

gamma = np.geomspace(0.004, 12, 800)
F = lambda g: scale_ratio_cost(np.asarray(g), prior, mean, std)  # noqa: E731
with style():
    fig, ax = plt.subplots(figsize=(6.2, 3.2), layout="constrained")
    ax.semilogx(gamma, F(gamma) - F(best), color=COLORS[0])
    ax.plot(stationary, F(stationary) - F(best), "o", color=COLORS[0], markersize=4)
    for text, x, color, shift in (
        ("a local search ends here", search, COLORS[1], (0, -34)),
        ("global optimum", best, COLORS[2], (0, 34)),
    ):
        ax.annotate(
            text,
            (x, F(x) - F(best)),
            shift,
            textcoords="offset points",
            ha="center",
            color=color,
            arrowprops={"arrowstyle": "-", "color": color},
        )
    ax.set(xlabel="ratio of the groups' scales", ylabel="KL above the optimum (nats)")
    ax.set_ylim(-0.4, 5)

# %%
# The program finds it, certified. A mirror image of one group would be nearer still.

D = fp.Normal(prior / prior.sum(), mean, std=std, groups=["a", "b"])
for orientation in ("preserve", "any"):
    sol = fp.NearestIdeal(D, orientation=orientation).solve()
    print(f"{orientation:8} KL {sol.kl:.4f}, global: {sol.certificate.globally_optimal}")
sol.plot()
