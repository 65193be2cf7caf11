"""Pictures of the concept pages: drawn when the documentation is built, by the package itself."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import FancyArrowPatch

import fairprog as fp
from fairprog.plotting import COLORS, style
from fairprog.populations.evaluation import gap_at_thresholds

PRIOR = [[0.3, 0.2], [0.3, 0.2]]
D = fp.Normal(
    PRIOR,
    mean=[[0.0, 1.0], [2.0, 2.0]],
    std=[[1.0, 1.0], [1.0, 2.0]],
    groups=["men", "women"],
)
GROUPS = dict(zip(D.groups, COLORS, strict=False))


def steered():
    return fp.NearestIdeal(D, steer=["women"]).solve()


def densities(P, x):
    """Base rate times density, shape (K, G, n)."""
    z = (x - P.mean[..., None]) / P.std[..., None]
    return P.base_rates[..., None] * np.exp(-0.5 * z**2) / (np.sqrt(2 * np.pi) * P.std[..., None])


def posterior(P, x):
    """P(Y=1 | x, a), shape (G, n)."""
    f = densities(P, x)
    return f[1] / f.sum(axis=0)


def posterior_rule():
    """Posteriors of two groups and one threshold."""
    x = np.linspace(-5, 9, 1200)
    eta = posterior(D, x)
    with style():
        fig, axes = plt.subplots(
            2, 1, figsize=(6.4, 4.6), sharex=True, layout="constrained", height_ratios=(1, 1.15)
        )
        for a, g in enumerate(D.groups):
            for i, dash in enumerate(("--", "-")):
                axes[0].plot(x, densities(D, x)[i, a], color=COLORS[a], linestyle=dash)
            axes[0].plot([], [], color=COLORS[a], label=g)
        axes[0].plot([], [], color="0.3", linestyle="--", label="class 0")
        axes[0].plot([], [], color="0.3", linestyle="-", label="class 1")
        axes[0].set_ylabel("base rate × density")
        axes[0].legend(ncols=2, loc="upper right")
        for a in range(2):
            axes[1].plot(x, eta[a], color=COLORS[a])
            accepted = eta[a] > 0.5
            level = -0.09 - 0.1 * a
            axes[1].fill_between(
                x, level - 0.035, level + 0.035, where=accepted, color=COLORS[a], linewidth=0
            )
        axes[1].axhline(0.5, color="0.3", linewidth=1, linestyle=":")
        axes[1].text(8.9, 0.52, "threshold 0.5", ha="right", va="bottom", color="0.3")
        axes[1].set(
            xlabel="feature x",
            ylabel="posterior P(Y=1 | x, group)",
            xlim=(-5, 9),
            ylim=(-0.26, 1.05),
        )
        axes[1].set_yticks(
            [0, 0.5, 1, -0.09, -0.19], ["0", "0.5", "1", "predict 1, men", "predict 1, women"]
        )
    return fig


def gaps():
    """The gap of the Bayes rule at every threshold."""
    t = np.linspace(0.002, 0.998, 4000)  # fine enough for notches to reach zero
    notions = {
        "demographic parity": fp.DemographicParity(),
        "equal opportunity": fp.EqualOpportunity(),
        "predictive equality": fp.PredictiveEquality(),
    }
    with style():
        fig, ax = plt.subplots(figsize=(6.4, 3.0), layout="constrained")
        for k, (name, notion) in enumerate(notions.items()):
            dash, gap = ("-", "--", "-.")[k], gap_at_thresholds(D, notion, t)
            ax.plot(t, gap, color=COLORS[k + 2], linestyle=dash, label=name)
        ax.axvline(0.5, color="0.4", linewidth=1, linestyle=":")
        ax.text(0.51, 0.66, "0-1 loss", color="0.4", ha="left")
        ax.set(
            xlabel="threshold of the Bayes rule (one per cost)",
            ylabel="gap between groups",
            xlim=(0, 1),
            ylim=(0, 0.75),
        )
        ax.legend(loc="upper right")
    return fig


def posterior_laws():
    """Distribution functions of the posterior, by group, before and after."""
    sol = steered()
    x = np.linspace(-14, 18, 60_000)
    with style():
        fig, axes = plt.subplots(1, 2, figsize=(6.8, 3.0), sharey=True, layout="constrained")
        for ax, P, title in zip(
            axes, (D, sol.population), ("before", "after steering women"), strict=True
        ):
            eta, mass = posterior(P, x), densities(P, x).sum(axis=0) * (x[1] - x[0])
            for a, g in enumerate(P.groups):
                order = np.argsort(eta[a])
                ax.plot(
                    eta[a][order],
                    np.cumsum(mass[a][order]),
                    color=COLORS[a],
                    linestyle=("-", (0, (4, 3)))[a],
                    linewidth=(2.6, 1.6)[a],
                    label=g,
                )
            ax.set(xlabel="posterior P(Y=1 | x, group)", title=title, xlim=(0, 1), ylim=(0, 1))
        axes[0].set_ylabel("share of the group below")
        axes[0].legend(loc="upper left")
    return fig


def before_after():
    """Solution.plot of the running example."""
    return steered().plot()[0]


def transports():
    """What each class of maps can do to one ellipse and the grid it lives on."""
    t = np.linspace(0, 2 * np.pi, 200)
    circle = np.stack([np.cos(t), np.sin(t)])
    ellipse = np.array([[1.0, 0.35], [0.0, 0.55]]) @ circle
    turn = np.array([[np.cos(0.9), -np.sin(0.9)], [np.sin(0.9), np.cos(0.9)]])
    maps = {
        "Translation\nx + b": np.eye(2),
        "Scaling\ng x + b": 1.5 * np.eye(2),
        "Diagonal\ndiag(g) x + b": np.diag([0.7, 1.8]),
        "Monotone\nS M x + b": np.array([[1.3, 0.5], [0.5, 0.9]]),
        "any invertible\n(not convex)": turn @ np.diag([1.3, 0.8]),
    }
    lines = np.linspace(-1.2, 1.2, 7)
    with style():
        fig, axes = plt.subplots(1, 5, figsize=(7.8, 2.1), layout="constrained")
        for ax, (name, A) in zip(axes, maps.items(), strict=True):
            b = np.array([[0.9], [0.7]])
            for c in lines:
                for seg in (np.array([[c, c], [-1.2, 1.2]]), np.array([[-1.2, 1.2], [c, c]])):
                    ax.plot(*(A @ seg + b), color="0.85", linewidth=0.6, zorder=0)
            ax.plot(*ellipse, color="0.45", linestyle="--")
            ax.plot(*(A @ ellipse + b), color=COLORS[1 if name.startswith("any") else 0])
            ax.add_patch(
                FancyArrowPatch(
                    (0, 0),
                    tuple(b[:, 0]),
                    arrowstyle="-|>",
                    mutation_scale=8,
                    color="0.3",
                    linewidth=0.8,
                )
            )
            ax.set_title(name, fontsize=9)
            ax.set(xlim=(-1.4, 3.1), ylim=(-1.5, 2.95), aspect="equal", xticks=[], yticks=[])
            for spine in ax.spines.values():
                spine.set_visible(False)
            ax.grid(False)
    return fig


def price():
    """The frontier of KL over map_bound, and its slope at zero."""
    sol = steered()
    bounds = np.linspace(0, 0.62, 9)
    kl = [sol.kl] + [
        fp.NearestIdeal(D, steer=["women"], map_bound=e).solve().kl for e in bounds[1:]
    ]
    with style():
        fig, axes = plt.subplots(
            1, 2, figsize=(7.0, 3.0), layout="constrained", width_ratios=(1.25, 1)
        )
        axes[0].plot(bounds, kl, color=COLORS[0], marker="o", markersize=3)
        slope = sol.price["consensus"]
        ends = np.array([0, sol.kl / slope])
        axes[0].plot(ends, sol.kl - slope * ends, color=COLORS[1], linestyle="--")
        axes[0].annotate(
            f"slope = −price = −{slope:.3f}",
            (ends[1] * 0.35, sol.kl * 0.65),
            (0.2, sol.kl * 0.82),
            arrowprops={"arrowstyle": "-", "color": "0.5"},
            color=COLORS[1],
        )
        axes[0].set(
            xlabel="map_bound (pooled s.d.)",
            ylabel="KL to the original (nats)",
            ylim=(-0.003, None),
            xlim=(0, None),
        )
        axes[0].set_title("the price of one freedom")
        names = list(sol.sensitivity)[::-1]
        values = [float(sol.sensitivity[name]) for name in names]
        bars = axes[1].barh(names, values, color=COLORS[0], height=0.6)
        axes[1].bar_label(bars, [f"{v:+.3f}" for v in values], padding=3, fontsize=8)
        axes[1].axvline(0, color="0.3", linewidth=0.8)
        axes[1].set(title="which condition costs", xlabel="nats per unit of its target")
        axes[1].set_xlim(-0.09, 0.09)
        axes[1].locator_params(axis="x", nbins=4)
        axes[1].grid(False)
    return fig


def population():
    """The population of the concept page: ellipses that hold half of each cell."""
    P = fp.Normal(
        prior=[[0.25, 0.15], [0.25, 0.35]],
        mean=[[[0.0, 0.0], [1.0, 0.0]], [[2.0, 1.0], [2.0, 2.0]]],
        cov=[[np.eye(2), np.eye(2)], [np.eye(2), 2 * np.eye(2)]],
        classes=["no", "yes"],
        groups=["north", "south"],
    )
    return P.plot()[0]


def consensus():
    """One map for each class, and the one map that both have to use."""
    x = np.array([-2.0, 4.0])
    one = steered().maps["women"]
    with style():
        fig, ax = plt.subplots(figsize=(5.2, 2.9), layout="constrained")
        for i in range(2):
            scale = D.std[i, 1] / D.std[i, 0]
            y = D.mean[i, 1] + scale * (x - D.mean[i, 0])
            ax.plot(x, y, color=COLORS[i], linestyle="--")
            ax.plot(D.mean[i, 0], D.mean[i, 1], "o", color=COLORS[i], markersize=5)
        ax.plot(x, one.matrix[0, 0] * x + one.offset[0], color="0.15", linewidth=2)
        ax.text(-1.9, 0.75, "own map of class 0", color=COLORS[0])
        ax.text(0.55, -2.6, "own map of class 1", color=COLORS[1])
        ax.text(2.9, 5.3, "one map for both", color="0.15", ha="right")
        ax.set(xlabel="where a man stands", ylabel="where the woman goes")
        ax.set(xlim=(-2, 4), ylim=(-5, 7))
    return fig


def score_steering():
    """The map of one group's scores, and the laws of both groups' scores before and after."""
    y, before, after, a = steered_scores()
    women, order = a == "women", np.argsort(before[a == "women"])
    with style():
        fig, axes = plt.subplots(1, 3, figsize=(8.4, 2.7), layout="constrained")
        axes[0].plot([0, 1], [0, 1], color="0.75", linewidth=1)
        axes[0].plot(before[women][order], after[women][order], color=COLORS[1])
        axes[0].text(0.38, 0.13, "unchanged: men", color="0.5")
        axes[0].text(0.05, 0.85, "the women's map", color=COLORS[1])
        axes[0].set(xlabel="score before", ylabel="score after", title="one map for a group")
        for ax, s, name in ((axes[1], before, "before"), (axes[2], after, "after")):
            for k, group in enumerate(("men", "women")):
                for i, dash in enumerate(("--", "-")):
                    own = np.sort(s[(a == group) & (y == i)])
                    share = np.linspace(0, 1, len(own))
                    ax.plot(own, share, color=COLORS[k], linestyle=dash, linewidth=2.2 - k)
            ax.set(xlabel="score", title=name, xlim=(0, 1), ylim=(0, 1))
        axes[1].set_ylabel("share of the cell below")
        for k, group in enumerate(("men", "women")):
            axes[1].plot([], [], color=COLORS[k], label=group)
        axes[1].plot([], [], color="0.3", linestyle="--", label="class 0")
        axes[1].plot([], [], color="0.3", label="class 1")
        axes[1].legend(loc="lower right", handlelength=1.5)
    return fig


def fair_classifier():
    """The best fair rule of the running example, and what every bound costs."""
    program = fp.FairClassifier(
        D.discretize(2048, random_state=0),
        fp.CostSensitiveRisk({"fp": 1, "fn": 2}),
        [fp.EqualOpportunity(difference_bound=0.02)],
    )
    with style():
        fig, axes = plt.subplots(1, 2, figsize=(7.6, 3.2), layout="constrained")
    program.solve().plot(ax=axes[0])
    program.frontier(np.linspace(0, 0.14, 8)).plot(ax=axes[1])
    return fig


def align_steer():
    """Class-1 rows of both groups: raw, steered, steered and aligned."""
    sol = steered()
    X, y, a = D.sample(40_000, random_state=0)
    moved = sol.steer(X, y, sensitive_features=a)
    panels = {
        "raw": X,
        "align only": sol.align(X, sensitive_features=a),
        "steer": moved,
        "steer, then align": sol.align(moved, sensitive_features=a),
    }
    edges = np.linspace(-5, 9, 71)
    with style():
        fig, axes = plt.subplots(
            1, 4, figsize=(9.0, 2.6), sharex=True, sharey=True, layout="constrained"
        )
        for ax, (name, Z) in zip(axes, panels.items(), strict=True):
            for k, g in enumerate(D.groups):
                ax.hist(
                    Z[(a == g) & (y == 1), 0],
                    edges,
                    density=True,
                    color=COLORS[k],
                    alpha=0.35,
                    linewidth=0,
                )
                ax.hist(
                    Z[(a == g) & (y == 1), 0],
                    edges,
                    density=True,
                    color=COLORS[k],
                    histtype="step",
                    label=g,
                )
            ax.set(title=name, xlabel="feature x", yticks=[])
        axes[0].set_ylabel("density given Y = 1")
        axes[0].legend(loc="upper left")
    return fig


def applicants():
    """Labels, group and both scores of the rows of README's example that are judged."""
    from sklearn.linear_model import LogisticRegression

    table = fp.datasets.load_applicants()
    X, y, group = table[["score", "log_years"]], table["good"], table["group"]
    old, new = slice(0, 6000), slice(6000, 12_000)
    step = fp.IdealSteering(steer=["b"]).fit(X[old], y[old], sensitive_features=group[old])
    scores, accuracies = [], []
    for Z in (X, step.transform(X, sensitive_features=group)):
        model = LogisticRegression(max_iter=1000).fit(Z[old], y[old])
        scores.append(model.predict_proba(Z[new])[:, 1])
        accuracies.append(model.score(Z[new], y[new]))
    return y[new], group[new], scores, accuracies


def front_narrow():
    """The picture of the front page for narrow screens."""
    return front((4.2, 3.4))


def front(size=(6.8, 3.1)):
    """The picture of the front page: the held-out gap at every threshold, before and after."""
    y, group, (before, after), accuracies = applicants()
    found = fp.audit(y, before, sensitive_features=group, y_score_after=after)
    curve = found.curves[0]
    (raw, moved), t = curve.gaps.values(), curve.thresholds
    floor = max(found.worst[curve.title, name].floor_high for name in curve.gaps)
    with style():
        fig, ax = plt.subplots(figsize=size, layout="constrained")
        lows, highs = zip(*curve.bands().values(), strict=True)
        for gap, low, high, color in zip(
            (raw, moved), lows, highs, (COLORS[1], COLORS[0]), strict=True
        ):
            ax.fill_between(t, low, high, color=color, alpha=0.15, linewidth=0)
            ax.plot(t, gap, color=color, linewidth=2)
        ax.axhline(floor, color="0.35", linewidth=1, linestyle=":")
        ax.text(0.6, floor + 0.01, "by chance, 95%", color="0.35", fontsize=8)
        k = int(np.argmax(raw))
        ax.text(
            0.4,
            raw[k] + 0.065,
            f"before: accuracy {accuracies[0]:.3f}",
            color=COLORS[1],
            ha="center",
            fontsize=10,
        )
        ax.text(
            *(0.4, 0.135, f"after: accuracy {accuracies[1]:.3f}"),
            **{"color": COLORS[0], "ha": "center", "fontsize": 10},
        )
        ax.set(
            xlabel="threshold of the score",
            ylabel="gap between the groups",
            title="6,000 held-out rows, equalized odds",
            xlim=(0, 1),
            ylim=(0, 0.62),
        )
    return fig


def steered_scores(n=6000):
    """Scores of two groups, one of which sees them squashed and shifted; before and after."""
    rng = np.random.default_rng(0)
    a = np.where(rng.random(2 * n) < 0.4, "women", "men")
    y = (rng.random(2 * n) < np.where(a == "women", 0.3, 0.5)).astype(int)
    z = rng.standard_normal(2 * n) + 1.5 * y - 0.75
    s = 1 / (1 + np.exp(-np.where(a == "women", 0.6 * np.sinh(z) - 0.7, z)))
    step = fp.ScoreSteering(steer=["women"]).fit(s[:n], y[:n], sensitive_features=a[:n])
    after = step.transform(s[n:], sensitive_features=a[n:])
    return y[n:], s[n:], after, a[n:]


def audit():
    """Gaps at every threshold of held-out rows, before and after score steering."""
    y, before, after, a = steered_scores()
    found = fp.audit(y, before, sensitive_features=a, y_score_after=after)
    with style():
        fig, axes = plt.subplots(1, 2, figsize=(8.2, 3.0), layout="constrained", sharey=True)
        found.plot(axes[0], notion="equal opportunity")
        found.plot(axes[1], notion="predictive equality")
        axes[1].set_ylabel("")
    return fig


def fair_score():
    """ROC curves of two groups, what both can reach, the price and what is randomised."""
    z = np.linspace(-4, 4, 120)
    cells = [
        [(-0.6, 0.6), (0.9, 1.3)],
        [(-0.9, 1.2), (0.9, 0.7)],
    ]  # (mean, std) by group and class
    laws = [[np.exp(-0.5 * ((z - m) / s) ** 2) for m, s in pair] for pair in cells]
    joint = np.moveaxis([[p / p.sum() for p in pair] for pair in laws], -1, 0).transpose(0, 2, 1)
    prior = np.array([[0.35, 0.25], [0.15, 0.25]])
    population = fp.Categorical(joint * prior, values=z, groups=["women", "men"])
    fp.FairScore(population).solve().plot()


TOOLS = [  # what you have, what to take, and what it gives
    ("a score or a classifier", "SteeredClassifier", "every threshold; exact if randomised"),
    ("features, embeddings", "IdealSteering", "one map per group, no label needed"),
    ("one cost that will not change", "FairClassifier", "the best fair rule, and its price"),
    ("a question: is there a gap?", "audit", "every threshold, with intervals"),
    ("a population", "NearestIdeal", "how far from ideal, what costs most"),
    ("not sure", "compare", "all of them on your rows"),
]
BOX = {"boxstyle": "round,pad=0.35", "linewidth": 1.2}


def tool_name(ax, x, y, name):
    """Write the name of a tool in white on blue."""
    look = {"va": "center", "color": "white", "weight": "bold", "family": "monospace"}
    ax.text(x, y, name, **look, bbox={**BOX, "fc": COLORS[0], "ec": COLORS[0]})


def flow():
    """What you have, and which tool that asks for."""
    with style():
        fig, ax = plt.subplots(figsize=(7.4, 2.9), layout="constrained")
        ax.axis("off")
        ax.set(xlim=(0, 10), ylim=(-0.6, len(TOOLS) - 0.4))
        for k, (have, tool, what) in enumerate(TOOLS[::-1]):
            ax.text(0.1, k, have, va="center", bbox={**BOX, "fc": "0.96", "ec": "0.7"})
            tool_name(ax, 4.1, k, tool)
            ax.text(6.75, k, what, va="center", color="0.25")
            arrow = {"arrowstyle": "-|>", "mutation_scale": 10, "color": "0.45"}
            ax.add_patch(FancyArrowPatch((3.05, k), (3.95, k), **arrow))
    return fig


def flow_narrow():
    """The same for narrow screens: two lines for each."""
    with style():
        fig, ax = plt.subplots(figsize=(4.2, 4.4), layout="constrained")
        ax.axis("off")
        ax.set(xlim=(0, 10), ylim=(-0.9, len(TOOLS) - 0.3))
        for k, (have, tool, what) in enumerate(TOOLS[::-1]):
            ax.text(0.2, k, have, va="center", bbox={**BOX, "fc": "0.96", "ec": "0.7"})
            tool_name(ax, 6.0, k, tool)
            ax.text(0.3, k - 0.45, what, va="center", color="0.35", fontsize=8)
    return fig
