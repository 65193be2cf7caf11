"""Every baseline on every split of a table: accuracy, gaps, and the worst gap over thresholds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.lines import Line2D
from tqdm import tqdm

from fairprog.errors import FairprogError
from fairprog.labels import Array
from fairprog.plotting import COLORS, style

from .baselines import FRONTIER, METHODS, Base, missing
from .claims import Claim, judged, write_csv
from .measured import Measured
from .pictures import mark_chance, save_picture
from .protocol import (
    LEARNERS,
    Case,
    gaps,
    permutation_floor,
    split_case,
    worst_gaps,
)

__all__ = ["QUICK", "Run", "draw", "measure", "promises", "write"]

FIGURES = (
    "accuracy",
    "equalized odds gap at its own threshold",
    "worst gap given Y=1",
    "worst gap given Y=0",
    "permutation floor given Y=1",
    "permutation floor given Y=0",
    "signed gap given Y=1",
    "signed gap given Y=0",
    "randomisation",
)
QUICK = ("none", "LEACE", "ideal steering", "threshold optimizer", "score steering")
OURS = ("ideal steering", "score steering", "score steering, five folds", "score steering, normal")


@dataclass(frozen=True)
class Run:
    """What one method gave with one learner: `values[split, figure]`, or why there is nothing."""

    case: str
    learner: str
    method: str
    values: Array
    reason: str = ""

    def mean(self, figure: str) -> float:
        """Return the mean over splits."""
        return float(self.values[:, FIGURES.index(figure)].mean())

    def error(self, figure: str) -> float:
        """Return the standard error of the mean; NaN for a single split."""
        return standard_error(self.values[:, FIGURES.index(figure)])

    @property
    def excess(self) -> Array:
        """Mean worst gaps over their permutation floors, given Y=1 and Y=0."""
        mean: Array = self.values.mean(axis=0)
        return mean[2:4] - mean[4:6]


def standard_error(values: Array) -> float:
    """Return the standard error of a mean; NaN for a single value."""
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")


def measure(
    case: Case,
    seeds: Mapping[str, Sequence[int]],
    *,
    fewer: Mapping[tuple[str, str], int] | None = None,
    methods: Iterable[str] = tuple(METHODS),
    measured: Measured | None = None,
) -> list[Run]:
    """Run methods with every learner on its splits.

    Parameters
    ----------
    case : Case
    seeds : mapping of learner to splits
    fewer : mapping of (learner, method) to int, optional
        On how many splits only; 0 leaves the method out.
    methods : iterable of str
    measured : Measured, optional
        What is known already, and where to write down what is new.
    """
    fewer = fewer or {}
    measured = Measured() if measured is None else measured
    methods = tuple(methods)
    tasks = [
        (learner, seed, method)
        for learner, own in seeds.items()
        for seed in own
        for method in methods
        if seed in own[: fewer.get((learner, method), len(own))] and not missing(method)
    ]
    found: dict[tuple[str, str], list[list[float]]] = {}
    reasons: dict[tuple[str, str], str] = {}
    prepared = lru_cache(maxsize=1)(partial(_prepare, case))
    for learner, seed, method in tqdm(tasks, desc=case.name, disable=None, leave=False):
        figures = partial(_figures, prepared, learner, seed, method)
        value = measured.get((case.name, learner, seed, method), figures)
        if isinstance(value, str):
            reasons[learner, method] = value
        else:
            found.setdefault((learner, method), []).append(value)
    for learner in seeds:
        for method in methods:
            if reason := missing(method):
                reasons[learner, method] = reason
            elif fewer.get((learner, method)) == 0:
                reasons[learner, method] = "left out: too much processor time"
    return [
        Run(
            case.name,
            learner,
            method,
            np.array(found.get((learner, method), np.empty((0, len(FIGURES))))),
            reasons.get((learner, method), ""),
        )
        for learner in seeds
        for method in methods
    ]


def _prepare(case: Case, learner: str, seed: int) -> tuple[Base, tuple[float, float]]:
    """Return a split with its fitted model, and its permutation floors."""
    base = Base.fit(split_case(case, seed), LEARNERS[learner])
    return base, permutation_floor(base.split.test, base.test, seed)


def _figures(
    prepared: Callable[[str, int], tuple[Base, tuple[float, float]]],
    learner: str,
    seed: int,
    method: str,
) -> list[float] | str:
    """Return FIGURES of one method on one split, or why there are none."""
    base, floor = prepared(learner, seed)
    try:
        outcome = (METHODS | FRONTIER)[method](base)
    except FairprogError as error:  # what a method cannot do is a finding, not a crash
        return str(error)
    test = base.split.test
    signed = gaps(test, outcome.chance)
    return [
        outcome.accuracy(test.y),
        max(abs(g) for g in signed),
        *worst_gaps(test, outcome.score),
        *floor,
        *signed,
        outcome.randomisation,
    ]


def write(runs: Sequence[Run], path: Path) -> None:
    """Write means and standard errors, one line per case, learner and method."""
    header = ["case", "learner", "method", "splits"]
    header += [part for f in FIGURES for part in (f, f"standard error of {f}")]
    rows: list[list[object]] = []
    for run in runs:
        row: list[object] = [run.case, run.learner, run.method, len(run.values)]
        if len(run.values):
            row += [part for f in FIGURES for part in (run.mean(f), run.error(f))]
        else:
            row += [""] * (2 * len(FIGURES))
        rows.append([*row, run.reason])
    write_csv(path, [*header, "why not"], rows)


def select(runs: Sequence[Run], case: str, learner: str, method: str) -> Run:
    """Return the run of one method."""
    (run,) = (r for r in runs if (r.case, r.learner, r.method) == (case, learner, method))
    return run


# -- claims --


def promises(
    runs: Sequence[Run], case: str, fall: tuple[float, float], loss: float
) -> list[Claim]:
    """Return what is promised of score steering with boosted trees, and how rivals do."""
    trees = {r.method: r for r in runs if (r.case, r.learner) == (case, "boosted trees")}
    before, after = trees["none"], trees["score steering"]
    fallen = 1.0 - after.excess / before.excess
    lost = before.values[:, 0] - after.values[:, 0]
    error = standard_error(lost)
    worst = [
        f"{before.mean(f):.3f} -> {after.mean(f):.3f} (floor {before.mean(g):.3f})"
        for f, g in zip(FIGURES[2:4], FIGURES[4:6], strict=True)
    ]
    claims = [
        judged(
            f"{case}: score steering takes at least {fall[0]:.0%} / {fall[1]:.0%} off the excess "
            "of the worst gap over its permutation floor given Y=1 / Y=0",
            f"{fallen[0]:.0%} / {fallen[1]:.0%}; {worst[0]}, {worst[1]}; {len(lost)} splits",
            bool(fallen[0] >= fall[0] and fallen[1] >= fall[1]),
            "the groups' scores differ in shape within the classes, and one increasing map serves "
            "both classes",
        ),
        judged(
            f"{case}: it costs at most {loss:.3f} of accuracy plus one standard error",
            f"{lost.mean():.4f} (s.e. {error:.4f}), from {before.mean('accuracy'):.4f}",
            bool(lost.mean() <= loss + (0.0 if np.isnan(error) else error)),
            "a fair threshold rule of the same score loses about as much",
        ),
    ]
    rival = trees.get("threshold optimizer")
    if rival is not None and len(rival.values):
        own = FIGURES[1]
        claims.append(
            judged(
                f"{case}: at its own threshold score steering's equalized odds gap is no larger "
                "than fairlearn's ThresholdOptimizer's, by more than two standard errors",
                f"{after.mean(own):.3f} ({after.error(own):.3f}) against {rival.mean(own):.3f} "
                f"({rival.error(own):.3f}), accuracy {after.mean('accuracy'):.4f} against "
                f"{rival.mean('accuracy'):.4f}, randomisation 0 against "
                f"{rival.mean('randomisation'):.3f}; worst gaps of the score it thresholds "
                f"{rival.mean(FIGURES[2]):.3f} / {rival.mean(FIGURES[3]):.3f}",
                after.mean(own)
                <= rival.mean(own) + 2.0 * np.hypot(after.error(own), rival.error(own)),
                "a rule made for one threshold can be fairer there; it has no score for others",
            )
        )
    return claims


# -- the picture --


WHITE: dict[str, Any] = {"markerfacecolor": "white"}  # a gap at one threshold is hollow


def draw(runs: Sequence[Run], path: Path, learner: str = "boosted trees") -> None:
    """Draw both gaps of every method and its accuracy beside them, a block of rows per case.

    Rows are sorted by the worst gap; ours are blue, doing nothing is black, the others are grey.
    """
    cases = list(dict.fromkeys(run.case for run in runs))
    blocks = {
        case: sorted(
            (r for r in runs if (r.case, r.learner) == (case, learner) and len(r.values)),
            key=lambda run: -_worst(run).mean(),
        )
        for case in cases
    }
    rows = sum(map(len, blocks.values()))
    with style():
        fig, axes = plt.subplots(
            len(cases),
            2,
            figsize=(7.2, 0.6 + 0.5 * len(cases) + 0.2 * rows),
            layout="constrained",
            squeeze=False,
            sharey="row",
            width_ratios=(1.7, 1.0),
        )
        for row, (case, own) in zip(axes, blocks.items(), strict=True):
            for k, run in enumerate(own):
                look: dict[str, Any] = {"color": _color(run.method), "marker": "o"}
                look |= {"linestyle": "none", "elinewidth": 1.0, "markersize": 5.0}
                worst, single = _worst(run), run.mean(FIGURES[1])
                row[0].plot([single, worst.mean()], [k, k], color="0.85", zorder=0)
                row[0].errorbar(worst.mean(), k, xerr=standard_error(worst), **look)
                row[0].errorbar(single, k, xerr=run.error(FIGURES[1]), **look | WHITE)
                row[1].errorbar(run.mean("accuracy"), k, xerr=run.error("accuracy"), **look)
            mark_chance(row[0], float(own[0].values[:, 4:6].max(axis=1).mean()))
            row[0].set_yticks(range(len(own)), [run.method for run in own])
            for tick, run in zip(row[0].get_yticklabels(), own, strict=True):
                tick.set_color(_color(run.method))
            row[0].set_ylim(len(own) - 0.4, -0.6)
            row[0].set_xlim(left=0.0)
            row[0].set_title(f"{case}: equalized odds gap")
            row[1].set_title("accuracy")
            row[1].tick_params(axis="y", length=0)
            row[1].locator_params(axis="x", nbins=4)
        axes[-1, 0].set_xlabel("difference of rates")
        axes[-1, 1].set_xlabel("share of test rows")
        names: Any = {"at the worst threshold": {}, "at its own threshold": WHITE}
        handles = [
            Line2D([], [], color="0.4", marker="o", markersize=5.0, linestyle="none", label=n, **w)
            for n, w in names.items()
        ]
        fig.legend(handles=handles, loc="outside lower center", ncols=2)
    save_picture(fig, path)


def _worst(run: Run) -> Array:
    """Return the worst gap of every split, given either class."""
    worst: Array = run.values[:, 2:4].max(axis=1)
    return worst


def _color(method: str) -> str:
    return COLORS[0] if method in OURS else "0.1" if method == "none" else "0.5"
