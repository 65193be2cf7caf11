"""
Two features, and the common coordinates
========================================

Ellipses that hold half of each cell: the population, the steered one, and both groups in the
common coordinates.
"""

# %%
# Group b is tilted and its classes stand elsewhere. Steer it.

import matplotlib.pyplot as plt
import numpy as np

import fairprog as fp
from fairprog.plotting import COLORS, style

cov = np.array(
    [
        [[[1.0, 0.5], [0.5, 0.8]], [[1.2, -0.6], [-0.6, 0.9]]],
        [[[0.7, 0.0], [0.0, 1.0]], [[1.6, -0.5], [-0.5, 0.5]]],
    ]
)
mean = np.array([[[0.0, 0.0], [-1.0, 2.2]], [[2.6, 1.4], [2.4, 3.4]]])
D = fp.Normal(np.full((2, 2), 0.25), mean, cov=cov, groups=["a", "b"])
sol = fp.NearestIdeal(D, steer=["b"]).solve()
sol.plot()

# %%
# One map carries group a's cells to group b's steered ones. Its inverse brings group b into
# the coordinates of group a, where the groups coincide, class by class.

T = sol.maps["b"]
print("A =", T.matrix.round(3).tolist(), " b =", T.offset.round(3).tolist())

t = np.linspace(0, 2 * np.pi, 200)
circle = np.sqrt(2 * np.log(2)) * np.stack([np.cos(t), np.sin(t)])


def ellipse(m, S):
    return m[:, None] + np.linalg.cholesky(S) @ circle


with style():
    fig, axes = plt.subplots(1, 3, figsize=(9, 3.2), layout="constrained")
    inverse = T.inverse()
    panels = {
        "original": (D, fp.AffineMap.identity(2)),
        "steered": (sol.population, fp.AffineMap.identity(2)),
        "steered, in common coordinates": (sol.population, inverse),
    }
    for ax, (name, (P, pull)) in zip(axes, panels.items(), strict=True):
        for i, dash in enumerate(("--", "-")):
            a = ellipse(P.mean[i, 0], P.cov[i, 0])
            b = pull(ellipse(P.mean[i, 1], P.cov[i, 1]).T).T
            ax.plot(*a, color=COLORS[0], linestyle=dash, linewidth=2.6, alpha=0.6)
            ax.plot(*b, color=COLORS[1], linestyle=dash)
        ax.set(title=name, xlabel="feature 1", aspect="equal", xlim=(-3, 5), ylim=(-2, 5.2))
    axes[0].set_ylabel("feature 2")
    handles = [
        plt.Line2D([], [], color=COLORS[0], label="group a"),
        plt.Line2D([], [], color=COLORS[1], label="group b"),
        plt.Line2D([], [], color="0.3", linestyle="--", label="class 0"),
        plt.Line2D([], [], color="0.3", label="class 1"),
    ]
    fig.legend(handles=handles, loc="outside lower center", ncols=4)

# %%
# The divergence does not depend on the coordinates in which the features are given: the
# default transport is monotone in the pooled metric.

C = np.array([[3.0, 1.0], [0.2, 0.05]])
changed = fp.Normal(D.prior, mean @ C.T, cov=C @ cov @ C.T, groups=D.groups)
for name, transport in {"Monotone()": fp.Monotone(), "Whitened()": fp.Whitened()}.items():
    here, there = (
        fp.NearestIdeal(P, steer=["b"], transport=transport).solve().kl for P in (D, changed)
    )
    print(f"{name}  KL {here:.6f}, in other coordinates {there:.6f}")
