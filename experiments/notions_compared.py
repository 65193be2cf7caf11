"""What each notion costs on COMPAS: frontiers of three notions on one picture.

The population is made of the base model's scores on the rows that did not train it, recalibrated
per group (see `peers`); every point is an exact optimum. Needs FAIRPROG_DATA.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

import fairprog as fp
from fairprog.labels import Array
from fairprog.plotting import COLORS, save_figure, style

from .claims import Claim, Unavailable, write_csv
from .peers import NOTIONS, calibrate
from .peers_settings import Split, base_model

HEADER = ["notion", "bound", "error (probability)", "price", *(f"gap: {name}" for name in NOTIONS)]


def run(out: Path, quick: bool) -> list[Claim]:
    """Write notions_compared.csv and .png; claims on the shape of the frontiers."""
    folder = os.environ.get("FAIRPROG_DATA")
    if not folder or not Path(folder).is_dir():
        raise Unavailable("it needs FAIRPROG_DATA, the folder of the real data sets")
    base = base_model("compas", Path(folder))
    every = np.arange(len(base.y))
    score = calibrate(base, Split(0, every, every[:0]))
    names = np.array(["African-American", "Caucasian"])[base.group]
    D = fp.Categorical.from_scores(score, sensitive_features=names)
    bounds = 0.34 * np.linspace(0.0, 1.0, 9 if quick else 41) ** 2  # denser near zero
    rows: list[list[object]] = []
    found: dict[str, Array] = {}
    for name, Notion in NOTIONS.items():
        values = []
        for bound in bounds:
            sol = fp.FairClassifier(D, None, [Notion(difference_bound=float(bound))]).solve()
            gaps = [other().gap(sol.table) for other in NOTIONS.values()]
            values.append([sol.risk, sol.price[name], *gaps])
        found[name] = np.array(values)
        rows += [[name, float(b), *v] for b, v in zip(bounds, values, strict=True)]
    write_csv(out / "notions_compared.csv", HEADER, rows)
    save_figure(_draw(bounds, found), out / "notions_compared.png")
    return _claims(bounds, found)


def _claims(bounds: Array, found: dict[str, Array]) -> list[Claim]:
    chords = {name: -np.diff(v[:, 0]) / np.diff(bounds) for name, v in found.items()}
    convex = min(float(-np.diff(c).max()) for c in chords.values())
    odds, opportunity = found["equalized_odds"][:, 0], found["equal_opportunity"][:, 0]
    # a price lies between the slopes of the chords beside it
    between = True
    for name, v in found.items():
        between &= bool(np.all(v[1:-1, 1] <= chords[name][:-1] + 1e-9))
        between &= bool(np.all(v[1:-1, 1] >= chords[name][1:] - 1e-9))
    costs = ", ".join(f"{name} {v[0, 0] - v[-1, 0]:.4f}" for name, v in found.items())
    return [
        Claim(
            "frontiers are convex and falling",
            f"chords flatten by at least {convex:.1e}; error added at bound 0: {costs}",
            convex >= -1e-9 and all(np.diff(v[:, 0]).max() <= 1e-12 for v in found.values()),
        ),
        Claim(
            "equalized odds never costs less than equal opportunity",
            f"smallest difference {float((odds - opportunity).min()):.1e}",
            bool(np.all(odds >= opportunity - 1e-12)),
        ),
        Claim("prices lie between the slopes of the neighbouring chords", "all bounds", between),
    ]


def _draw(bounds: Array, found: dict[str, Array]) -> Figure:
    with style():
        fig, axes = plt.subplots(1, 2, figsize=(7.2, 3.0), layout="constrained")
        for k, (name, v) in enumerate(found.items()):
            look: dict[str, Any] = {"color": COLORS[k]}
            if name == "equalized_odds":  # on top of equal opportunity but for the tightest bounds
                look |= {"linewidth": 5.0, "alpha": 0.35, "solid_capstyle": "butt", "zorder": 1}
            axes[0].plot(bounds, v[:, 0], label=name.replace("_", " "), **look)
            axes[1].plot(bounds, v[:, 1], **look)
        axes[0].set_ylabel("error of the optimal classifier")
        axes[1].set_ylabel("price (error per unit of bound)")
        steepest = max(found, key=lambda name: found[name][0, 1])
        others = max(v[0, 1] for name, v in found.items() if name != steepest)
        axes[1].set_ylim(0.0, 2.0 * others)
        axes[1].annotate(
            f"{steepest.replace('_', ' ')}: {found[steepest][0, 1]:.2f} at 0",
            (0.0, 2.0 * others),
            xytext=(14, -4),
            textcoords="offset points",
            va="top",
            color=COLORS[list(found).index(steepest)],
            fontsize=8,
        )
        for ax in axes:
            ax.set_xlabel("bound on the notion's gap")
        axes[0].legend()
    return fig
