"""One small picture per term of the glossary, drawn by the package when the pages are built."""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import LogisticRegression

import fairprog as fp
from fairprog.plotting import COLORS, style
from fairprog.populations.evaluation import gap_at_thresholds

D = fp.Normal(
    [[0.3, 0.2], [0.3, 0.2]],
    mean=[[0.0, 1.0], [2.0, 2.0]],
    std=[[1.0, 1.0], [1.0, 2.0]],
    groups=["men", "women"],
)
BLUE, ORANGE, GREEN = COLORS[:3]
SIZE = (3.2, 1.9)


def small():
    return plt.subplots(figsize=SIZE, layout="constrained")


def nat():
    """Evidence grows by KL per row: one nat after 1 / KL rows."""
    kl = fp.NearestIdeal(D, steer=["women"]).solve().kl
    rows = 1 / kl
    n = np.linspace(0, 25, 2)
    with style():
        fig, ax = small()
        ax.plot(n, n * kl, color=BLUE)
        ax.plot([rows, rows, 0], [0, 1, 1], color="0.5", linestyle=":", linewidth=1)
        ax.plot(rows, 1, "o", color=ORANGE)
        ax.text(rows + 0.8, 0.87, f"{rows:.0f} rows:\n1 nat", color=ORANGE, va="top")
        ax.set(xlabel="rows seen", ylabel="evidence in nats", xlim=(0, 25), ylim=(0, 2))
    return fig


def price():
    """The slope of KL at zero freedom."""
    program = fp.NearestIdeal(D, steer=["women"])
    sol, bounds = program.solve(), np.linspace(0, 0.6, 13)
    kl = [sol.kl] + [
        fp.NearestIdeal(D, steer=["women"], map_bound=float(b)).solve().kl for b in bounds[1:]
    ]
    slope = sol.price["consensus"]
    with style():
        fig, ax = small()
        ax.plot(bounds, kl, color=BLUE)
        line = np.array([0, 0.24])
        ax.plot(line, sol.kl - slope * line, color=ORANGE, linestyle="--")
        ax.text(0.2, 0.058, f"slope at 0:\nthe price, {slope:.2f}", color=ORANGE, va="bottom")
        ax.set(xlabel="freedom of the maps (map_bound)", ylabel="KL in nats")
        ax.set(xlim=(0, 0.6), ylim=(0, 0.1))
    return fig


def _maps(ax):
    """Where the map of each class of the women sends the common coordinates."""
    x = np.array([-2.0, 4.0])
    sol = fp.NearestIdeal(D, steer=["women"]).solve()
    one = sol.maps["women"]
    for i, color in enumerate((BLUE, ORANGE)):
        scale = D.std[i, 1] / D.std[i, 0]
        ax.plot(x, D.mean[i, 1] + scale * (x - D.mean[i, 0]), color=color, linestyle="--")
    ax.plot(x, one.matrix[0, 0] * x + one.offset[0], color="0.15", linewidth=2)
    ax.set(xlabel="men's coordinate", ylabel="women's", xlim=(-2, 4), ylim=(-5, 8))


def consensus():
    """Both classes have to use one map."""
    with style():
        fig, ax = small()
        _maps(ax)
        ax.text(-1.8, 1.7, "class 0 alone", color=BLUE)
        ax.text(0.1, -3.6, "class 1 alone", color=ORANGE)
        ax.text(3.3, 6.2, "both: one map", color="0.15", ha="right")
    return fig


def address():
    """A condition has a name: part, group, class."""
    with style():
        fig, ax = small()
        ax.axis("off")
        ax.set(xlim=(0, 1), ylim=(0, 1))
        start, step = 0.18, 0.041  # the width of a letter of a monospaced face
        for skip, word, color in (
            (0, "offset", BLUE),
            (6, "[", "0.4"),
            (7, "women", ORANGE),
            (12, ",", "0.4"),
            (13, "1", GREEN),
            (14, "]", "0.4"),
        ):
            ax.text(start + step * skip, 0.62, word, size=15, family="monospace", color=color)
        for middle, word, color in (
            (3, "which part\nof the map", BLUE),
            (9.5, "which\ngroup", ORANGE),
            (13.6, "which\nclass", GREEN),
        ):
            x = start + step * middle
            ax.plot([x, x], [0.46, 0.58], color=color, linewidth=1)
            ax.text(x, 0.42, word, ha="center", va="top", color=color)
    return fig


def ideality_gap():
    """The peak of the gap over all thresholds."""
    t = np.linspace(0.002, 0.998, 4000)  # fine enough for notches to reach zero
    gap = gap_at_thresholds(D, fp.EqualOpportunity(), t)
    k = int(np.argmax(gap))
    with style():
        fig, ax = small()
        ax.plot(t, gap, color=BLUE)
        ax.plot(t[k], gap[k], "o", color=ORANGE)
        ax.text(t[k], gap[k] + 0.02, f"the worst: {gap[k]:.2f}", color=ORANGE, ha="center")
        ax.set(xlabel="threshold, one per cost", ylabel="gap", xlim=(0, 1), ylim=(0, 0.45))
    return fig


def two_befores():
    """The gap of the population's best rule, and that of one model on its rows."""
    X, y, a = D.sample(20_000, random_state=0)
    table = fp.OutcomeTable.from_predictions(
        y, LogisticRegression().fit(X, y).predict(X), sensitive_features=a
    )
    notion = fp.EqualOpportunity()
    values = [D.evaluate().gap(notion), notion.gap(table)]
    with style():
        fig, ax = small()
        bars = ax.barh([1, 0], values, color=[BLUE, ORANGE], height=0.55)
        ax.bar_label(bars, [f"{v:.2f}" for v in values], padding=3)
        ax.set_yticks([1, 0], ["population:\nits best rule", "model: one\nline for all"])
        ax.set(xlim=(0, 0.4), xlabel="equal opportunity gap, same rows")
        ax.grid(False)
    return fig
