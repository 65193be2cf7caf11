"""The fair score on five tables: worst gaps of rows as they come, beside what others reach.

The frontier of bounds on the gap over ALL thresholds, the quantile map, and rules made for one
threshold, whose score stays what it was. Needs FAIRPROG_DATA.

``python -m experiments.fair_score --splits 10`` has fairlearn's ExponentiatedGradient on as many
splits as the others, which takes minutes per split; interrupted, it goes on where it was.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from fairprog.plotting import COLORS, style

from . import tabular
from .baselines import BOUNDS, FRONTIER
from .claims import Claim, judged
from .measured import Measured
from .pictures import mark_chance, save_picture
from .protocol import SPLITS, Case, adult_case, compas_case, data_folder, law_case
from .tabular import Run, select, standard_error

TREES = "boosted trees"
OTHERS = ("none", "score steering", "threshold optimizer", "exponentiated gradient")
GRADIENT = (
    *OTHERS,
    "fair score, 0",
    "fair score, 0.02",
)  # with ExponentiatedGradient, every split
LOOKS = {
    "none": ("k", "o", "as they are"),
    "score steering": (COLORS[1], "*", "quantile map"),
    "threshold optimizer": (COLORS[3], "P", "ThresholdOptimizer"),
    "exponentiated gradient": (COLORS[2], "D", "ExponentiatedGradient"),
    "fair classifier": (COLORS[4], "s", "FairClassifier"),
}


def cases() -> list[Case]:
    """Return the five tables."""
    folder = data_folder()
    return [
        adult_case(folder),
        adult_case(folder, "race"),
        compas_case(folder),
        law_case(folder, "race"),
        law_case(folder, "sex"),
    ]


def run(out: Path, quick: bool) -> list[Claim]:
    """Write methods.csv and frontier.png; claims on the promise, on rivals, on the map."""
    seeds, measured = {TREES: SPLITS[:2] if quick else SPLITS}, Measured(out)
    methods = (*OTHERS[:3], *FRONTIER) if quick else (*OTHERS, *FRONTIER)
    fewer = {(TREES, "exponentiated gradient"): 2}
    found = cases()
    runs: list[Run] = []
    for case in found:
        runs += tabular.measure(case, seeds, fewer=fewer, methods=methods, measured=measured)
    tabular.write(runs, out / "methods.csv")
    draw(runs, out / "frontier.png")
    claims = [_near_chance(runs), _at_its_threshold(runs), _one_cost(runs)]
    return claims + [_beside_the_map(runs, case.name) for case in found]


def _near_chance(runs: Sequence[Run]) -> Claim:
    exact = select(runs, "adult, sex", TREES, "fair score, 0")
    worst = [exact.mean(f) for f in tabular.FIGURES[2:6]]
    return judged(
        "adult, sex: with bound 0 the worst gaps of new rows given Y=1 and Y=0 are within 0.01 of "
        "chance",
        f"{worst[0]:.3f} / {worst[1]:.3f}, chance {worst[2]:.3f} / {worst[3]:.3f}; accuracy "
        f"{exact.mean('accuracy'):.4f} (s.e. {exact.error('accuracy'):.4f})",
        bool((exact.excess <= 0.01).all()),
        "hulls and laws are estimated from the held-out rows, whose own error adds to chance",
    )


def _at_its_threshold(runs: Sequence[Run]) -> Claim:
    exact, rival = (
        select(runs, "adult, sex", TREES, m) for m in ("fair score, 0", "threshold optimizer")
    )
    own, n = tabular.FIGURES[1], min(len(exact.values), len(rival.values))
    if not n:
        return Claim("adult, sex: beside ThresholdOptimizer", rival.reason, False, rival.reason)
    less = [exact.values[:n, k] - rival.values[:n, k] for k in (0, 1)]
    error = [standard_error(d) for d in less]
    return judged(
        "adult, sex: at its own threshold as accurate and as fair as ThresholdOptimizer, within "
        "one standard error of the difference",
        f"accuracy {exact.mean('accuracy'):.4f} against {rival.mean('accuracy'):.4f} (difference "
        f"{less[0].mean():+.4f}, s.e. {error[0]:.4f}); gap {exact.mean(own):.4f} against "
        f"{rival.mean(own):.4f} (difference {less[1].mean():+.4f}, s.e. {error[1]:.4f})",
        less[0].mean() >= -error[0] and less[1].mean() <= error[1],
        "the released score is drawn level by level, and its threshold chosen on drawn scores",
    )


def _one_cost(runs: Sequence[Run]) -> Claim:
    whole, one = (
        select(runs, "adult, sex", TREES, f"fair score, 0{m}") for m in ("", ", cost 0.5")
    )
    less = one.values[:, 0] - whole.values[:, 0]
    return judged(
        "adult, sex: a score for the one cost 0.5 is not more accurate than that for all costs",
        f"difference {less.mean():+.4f} (s.e. {standard_error(less):.4f})",
        bool(less.mean() <= 2.0 * standard_error(less)),
        "in the rows fitted the two are equal",
    )


def _beside_the_map(runs: Sequence[Run], case: str) -> Claim:
    """Compare accuracies at the worst gap that the quantile map leaves."""
    steered = select(runs, case, TREES, "score steering")
    own = [select(runs, case, TREES, f"fair score, {b:g}") for b in BOUNDS]
    loss = []
    for k, goal in enumerate(steered.values):
        worst = np.array([r.values[k, 2:4].max() for r in own])
        accuracy = np.array([r.values[k, 0] for r in own])
        within = accuracy[worst <= goal[2:4].max()]
        loss.append(goal[0] - (within.max() if within.size else accuracy[0]))
    lost = np.array(loss)
    error = standard_error(lost)
    exact = own[0]
    return judged(
        f"{case}: where, in hindsight, the frontier is no less fair than the quantile map, it "
        "loses at most two standard errors of accuracy",
        f"{lost.mean():+.4f} (s.e. {error:.4f}); map "
        f"{steered.values[:, 2:4].max(axis=1).mean():.3f} at {steered.mean('accuracy'):.4f}, "
        f"bound 0 {exact.values[:, 2:4].max(axis=1).mean():.3f} at "
        f"{exact.mean('accuracy'):.4f}, chance "
        f"{exact.values[:, 4:6].max(axis=1).mean():.3f}",
        bool(lost.mean() <= 2.0 * error),
        "bounds are promised for every threshold and class, the map's worst gap is met in one "
        "place; lots cost accuracy where the gap is near chance already",
    )


def beside_gradient(case: Case, splits: Sequence[int], out: Path, learner: str) -> list[Claim]:
    """Write gradient.csv; compare the fair score with ExponentiatedGradient split by split."""
    out.mkdir(parents=True, exist_ok=True)
    measured = Measured(out)
    runs = tabular.measure(case, {learner: splits}, methods=GRADIENT, measured=measured)
    tabular.write(runs, out / "gradient.csv")
    rival = select(runs, case.name, learner, "exponentiated gradient")
    if not len(rival.values):
        return [Claim(f"{case.name}: ExponentiatedGradient", rival.reason, False, rival.reason)]
    claims = []
    for method in GRADIENT[-2:]:
        own = select(runs, case.name, learner, method)
        gain = own.values - rival.values
        worst = own.values[:, 2:4].max(axis=1) - rival.values[:, 2:4].max(axis=1)
        errors = standard_error(gain[:, 0]), standard_error(worst)
        claims.append(
            judged(
                f"{case.name}: the worst gap over thresholds of '{method}' is smaller than that "
                "of ExponentiatedGradient's score, by more than two standard errors",
                f"{worst.mean():+.4f} (s.e. {errors[1]:.4f}), accuracy {gain[:, 0].mean():+.4f} "
                f"(s.e. {errors[0]:.4f}), {len(worst)} splits",
                bool(worst.mean() < -2.0 * errors[1]),
                "a mixture of models is made for one threshold; its score promises nothing",
            )
        )
    return claims


def main(arguments: list[str] | None = None) -> None:
    """Run ExponentiatedGradient beside the fair score on Adult, and print what was found."""
    parser = argparse.ArgumentParser(description="ExponentiatedGradient beside the fair score.")
    parser.add_argument("--splits", type=int, default=len(SPLITS), help="how many, at most 10")
    parser.add_argument("--out", type=Path, default=Path("results/fair_score_gradient"))
    options = parser.parse_args(arguments)
    case = adult_case(data_folder())
    for claim in beside_gradient(case, SPLITS[: options.splits], options.out, TREES):
        print(f"{claim.text}: {claim.measured}")


def draw(runs: Sequence[Run], path: Path) -> None:
    """Draw accuracy against the worst gap over thresholds and classes, one panel per table."""
    names = list(dict.fromkeys(run.case for run in runs))
    with style():
        fig, axes = plt.subplots(2, 3, figsize=(8.4, 5.4), layout="constrained")
        for ax, case in zip(axes.flat, names, strict=False):
            own = [select(runs, case, TREES, f"fair score, {b:g}") for b in BOUNDS]
            x = [float(r.values[:, 2:4].max(axis=1).mean()) for r in own]
            y = [r.mean("accuracy") for r in own]
            ax.plot(x, y, color=COLORS[0], marker="o", markersize=4, label="fair score, by bound")
            ax.annotate("bound 0", (x[0], y[0]), (4, -9), textcoords="offset points", fontsize=7.5)
            for method, (color, marker, label) in LOOKS.items():
                found = [r for r in runs if (r.case, r.method) == (case, method) and len(r.values)]
                for r in found:
                    n = len(r.values)
                    if n < len(own[0].values):
                        label += f", {n} split" + "s" * (n > 1)
                    worst = r.values[:, 2:4].max(axis=1).mean()
                    size = 10 if marker == "*" else 6
                    ax.plot(worst, r.mean("accuracy"), marker, color=color, ms=size, label=label)
            mark_chance(ax, float(own[0].values[:, 4:6].max(axis=1).mean()))
            ax.set(title=case, xlabel="worst gap over all thresholds", ylabel="accuracy, new rows")
            ax.set_xlim(left=0.0)
        handles, labels = axes.flat[0].get_legend_handles_labels()
        axes.flat[-1].axis("off")
        axes.flat[-1].legend(handles, labels, loc="center", fontsize=9)
    save_picture(fig, path)


if __name__ == "__main__":
    main()
