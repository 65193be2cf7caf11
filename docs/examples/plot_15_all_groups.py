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
from fairprog.plotting import COLORS, style

prior = np.array([[0.1872, 0.5928], [0.0528, 0.1672]])
mean = np.array([[0.0, 0.0], [-2.52, 7.98]])
std = np.array([[0.29, 2.59], [0.28, 0.25]])

# %%
# Given the ratio, the rest of the program is easy: group b's map is ratio times x plus an offset,
# the spread of each class's common law is a weighted mean, and centres and offset solve a
# least-squares problem. What is left is a function of the ratio.


def divergence(ratio):
    scale = np.array([1.0, ratio])
    weight = prior / std**2
    spread = np.sqrt(prior.sum(axis=1) / (weight * scale**2).sum(axis=1))[:, None]
    # rows: cells; columns: the common centres of both classes, and the offset of group b
    design = np.array([[1, 0, 0], [ratio, 0, 1], [0, 1, 0], [0, ratio, 1]], dtype=float)
    root = np.sqrt(weight).ravel()
    answer = np.linalg.lstsq(root[:, None] * design, root * mean.ravel(), rcond=None)[0]
    miss = ((design @ answer - mean.ravel()) ** 2).reshape(2, 2)
    new = scale * spread
    return float((prior * (np.log(std / new) + (new**2 + miss) / (2 * std**2) - 0.5)).sum())


gamma = np.geomspace(0.08, 250, 4000)
F = np.array([divergence(g) for g in gamma])
turns = np.flatnonzero(np.diff(np.sign(np.diff(F)))) + 1
stationary, best = gamma[turns], gamma[np.argmin(F)]
search = np.exp(minimize(lambda t: divergence(np.exp(t[0])), [0.0]).x[0])
print("stationary points:", stationary.round(3))
print(f"a local search from equal scales ends at {search:.3f}, the best is {best:.3f}")

# %%
# The divergence over the ratio, its stationary points, and where a local search ends.

with style():
    fig, ax = plt.subplots(figsize=(6.2, 3.2), layout="constrained")
    ax.semilogx(gamma, F - F.min(), color=COLORS[0])
    ax.plot(stationary, F[turns] - F.min(), "o", color=COLORS[0], markersize=4)
    for text, x, color, shift in (
        ("a local search ends here", search, COLORS[1], (0, -34)),
        ("global optimum", best, COLORS[2], (0, 34)),
    ):
        ax.annotate(
            text,
            (x, divergence(x) - F.min()),
            shift,
            textcoords="offset points",
            ha="center",
            color=color,
            arrowprops={"arrowstyle": "-", "color": color},
        )
    ax.set(xlabel="ratio of the groups' scales", ylabel="KL above the optimum (nats)")
    ax.set_ylim(-0.4, 5)

# %%
# The program computes all of them as the roots of one polynomial, so the answer is certified as
# global. A mirror image of one group would be nearer still.

D = fp.Normal(prior / prior.sum(), mean, std=std, groups=["a", "b"])
for orientation in ("preserve", "any"):
    sol = fp.NearestIdeal(D, orientation=orientation).solve()
    print(f"{orientation:8} KL {sol.kl:.4f}, global: {sol.certificate.globally_optimal}")
sol.plot()
