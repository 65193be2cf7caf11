"""Training on the nearest fair population, on real rows: Adult, COMPAS, Law School, ten splits.

A learner that sees the group is trained with the weights of `NearestFair`: for one cost, for a
range and for all, beside reweighing (Kamiran and Calders, 2012), the best fair classifier on
held-out scores, fairlearn's ThresholdOptimizer and steered scores. Judged on rows nobody used:
accuracy and the demographic parity gap at threshold 0.5, and the worst gap over all thresholds.
Needs FAIRPROG_DATA.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

import fairprog as fp
from fairprog.labels import Array
from fairprog.plotting import COLORS, style

from .baselines import kamiran_calders_weights
from .claims import Claim, judged, write_csv
from .measured import Measured
from .pictures import save_picture
from .protocol import (
    LEARNERS,
    SPLITS,
    Case,
    Codes,
    Rows,
    Split,
    adult_case,
    compas_case,
    data_folder,
    law_case,
    split_case,
)

LEARNER = LEARNERS["boosted trees"]
FOLDS = 3
BINS = 60  # of held-out scores, for the fair classifier
HEADER = ["data", "method", "split", "accuracy", "gap at 0.5", "worst gap", "KL, nats"]
Measure = Callable[[Split, int], tuple[Array, Array, float]]  # chance, score, KL


def _all_training(split: Split) -> Rows:
    parts = (split.fit, split.held)
    X, y, group = (np.concatenate([getattr(r, k) for r in parts]) for k in ("X", "y", "group"))
    return Rows(X, y, group)


def _with(X: Array, group: Codes) -> Array:
    """Return features with the group as a column."""
    return np.column_stack([X, group])


def _plain(weighted: bool) -> Measure:
    def measure(split: Split, seed: int) -> tuple[Array, Array, float]:
        rows = _all_training(split)
        weight = kamiran_calders_weights(rows.y, rows.group) if weighted else None
        model = LEARNER().fit(_with(rows.X, rows.group), rows.y, sample_weight=weight)
        score = model.predict_proba(_with(split.test.X, split.test.group))[:, 1]
        return (score > 0.5).astype(float), score, float("nan")

    return measure


def _nearest(**options: Any) -> Measure:
    def measure(split: Split, seed: int) -> tuple[Array, Array, float]:
        rows = _all_training(split)
        step = fp.ReweightedClassifier(LEARNER(), uses_group=True, cv=FOLDS, **options)
        step.fit(_with(rows.X, rows.group), rows.y, sensitive_features=rows.group)
        score = step.predict_proba(_with(split.test.X, split.test.group))[:, 1]
        return (score > 0.5).astype(float), score, step.solution_.kl

    return measure


def _held_out(split: Split) -> tuple[object, Array, Array]:
    """Return a model of the rows of the fit, and its scores of those held out and of the test."""
    model = LEARNER().fit(_with(split.fit.X, split.fit.group), split.fit.y)
    held, test = (model.predict_proba(_with(r.X, r.group))[:, 1] for r in (split.held, split.test))
    return model, held, test


def _fair_classifier(split: Split, seed: int) -> tuple[Array, Array, float]:
    _, held, test = _held_out(split)
    D = fp.Categorical.from_scores(
        held, y=split.held.y, sensitive_features=split.held.group, bins=BINS
    )
    rule = fp.FairClassifier(D, fp.ErrorRate(), [fp.DemographicParity()]).solve().classifier
    chance = rule.predict_proba_from_scores(test, sensitive_features=split.test.group)[:, 1]
    return chance, test, float("nan")


def _threshold_optimizer(split: Split, seed: int) -> tuple[Array, Array, float]:
    from fairlearn.postprocessing import ThresholdOptimizer

    model, _, test = _held_out(split)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own deprecations are not ours to raise
        rule = ThresholdOptimizer(
            estimator=model, constraints="demographic_parity", prefit=True,
            predict_method="predict_proba",
        )  # fmt: skip
        rule.fit(_with(split.held.X, split.held.group), split.held.y,
                 sensitive_features=split.held.group)  # fmt: skip
        chance = rule._pmf_predict(
            _with(split.test.X, split.test.group), sensitive_features=split.test.group
        )[:, 1]
    return np.asarray(chance, dtype=float), test, float("nan")


def _steered_scores(split: Split, seed: int) -> tuple[Array, Array, float]:
    _, held, test = _held_out(split)
    step = fp.ScoreSteering().fit(held, split.held.y, sensitive_features=split.held.group)
    score = step.transform(test, sensitive_features=split.test.group)
    score = np.asarray(score, dtype=float).ravel()
    return (score > 0.5).astype(float), score, float("nan")


METHODS: dict[str, Measure] = {
    "none": _plain(False),
    "reweighing": _plain(True),
    "nearest fair, one cost": _nearest(),
    "nearest fair, one cost, masses too": _nearest(move="both"),
    "nearest fair, 0.3 to 0.7": _nearest(threshold_range=(0.3, 0.7)),
    "nearest fair, all costs": _nearest(thresholds="all"),
    "fair classifier": _fair_classifier,
    "threshold optimizer": _threshold_optimizer,
    "steered scores (equalized odds)": _steered_scores,
}


def run(out: Path, quick: bool) -> list[Claim]:
    """Write methods.csv and training.png; claims on gaps and accuracy."""
    folder = data_folder()
    cases = [compas_case(folder)]
    if not quick:
        cases += [law_case(folder, "race"), adult_case(folder)]
    measured = Measured(out)
    rows: list[list[object]] = []
    for case in cases:
        for seed in SPLITS[:2] if quick else SPLITS:
            split = split_case(case, seed)
            for name in METHODS:
                figures = measured.get(
                    (case.name, name, seed), partial(_figures, name, split, seed)
                )
                rows.append([case.name, name, seed, *figures])
    write_csv(out / "methods.csv", HEADER, rows)
    _draw(cases, rows, out / "training.png")
    return [claim for case in cases for claim in _claims(case, rows)]


def _figures(name: str, split: Split, seed: int) -> list[float]:
    chance, score, kl = METHODS[name](split, seed)
    test = split.test
    means = [chance[test.group == a].mean() for a in (0, 1)]
    accuracy = float(np.mean(np.where(test.y == 1, chance, 1.0 - chance)))
    return [accuracy, float(means[1] - means[0]), _worst(score, test.group), float(kl)]


def _worst(score: Array, group: Codes) -> float:
    """Return the largest difference of shares above a threshold, over thresholds."""
    grid = np.unique(score)
    below = [np.searchsorted(np.sort(score[group == a]), grid, side="right") for a in (0, 1)]
    shares = [b / (group == a).sum() for a, b in enumerate(below)]
    return float(np.abs(shares[0] - shares[1]).max())


def _mean(rows: list[list[object]], data: str, method: str) -> Array:
    """Return means over splits of accuracy, |gap at 0.5| and the worst gap."""
    own = np.array([r[3:6] for r in rows if r[0] == data and r[1] == method], dtype=float)
    own[:, 1] = np.abs(own[:, 1])
    return own.mean(axis=0)


def _claims(case: Case, rows: list[list[object]]) -> list[Claim]:
    none = _mean(rows, case.name, "none")
    single = _mean(rows, case.name, "nearest fair, one cost")
    one = _mean(rows, case.name, "nearest fair, 0.3 to 0.7")
    every = _mean(rows, case.name, "nearest fair, all costs")
    post = _mean(rows, case.name, "fair classifier")
    weighed = _mean(rows, case.name, "reweighing")
    lead = f"{case.name}: "
    return [
        judged(
            lead + "trained on the population fair from 0.3 to 0.7 the gap at 0.5 halves",
            f"|gap| {none[1]:.3f} -> {one[1]:.3f} (one cost: {single[1]:.3f}), accuracy "
            f"{none[0]:.4f} -> {one[0]:.4f}",
            bool(one[1] <= 0.5 * none[1]),
            "the learner does not come near enough to the Bayes rule of the weighted rows",
        ),
        judged(
            lead + "all costs: the worst gap over thresholds is smaller than by a range",
            f"{none[2]:.3f} untreated, {one[2]:.3f} by the range, {every[2]:.3f} by all",
            bool(every[2] <= one[2]),
            "weights of all costs are spread too thin for the learner",
        ),
        judged(
            lead + "nearer to parity at 0.5 than reweighing by label and group",
            f"|gap| {one[1]:.3f} against {weighed[1]:.3f}, accuracy {one[0]:.4f} against "
            f"{weighed[0]:.4f}",
            bool(one[1] <= weighed[1]),
            "reweighing by (Y, A) does as well here",
        ),
        judged(
            lead + "as near to parity as the fair classifier that sees the group when it decides",
            f"|gap| {one[1]:.3f} against {post[1]:.3f}, accuracy {one[0]:.4f} against "
            f"{post[0]:.4f}",
            bool(one[1] <= post[1] + 0.01),
            "where scores can be post-processed with the group, that is the better tool",
        ),
    ]


def _draw(cases: list[Case], rows: list[list[object]], path: Path) -> None:
    with style():
        fig, axes = plt.subplots(
            1, len(cases), figsize=(3.6 * len(cases), 3.4), layout="constrained", squeeze=False
        )
        for ax, case in zip(axes[0], cases, strict=True):
            for k, name in enumerate(METHODS):
                accuracy, gap, _ = _mean(rows, case.name, name)
                ax.plot(gap, accuracy, "o", color=COLORS[1 if "nearest" in name else 0])
                ax.annotate(str(k + 1), (gap, accuracy), xytext=(4, 3), textcoords="offset points")
            ax.set(xlabel="|demographic parity gap| at 0.5", title=case.name, xlim=(0, None))
        axes[0][0].set_ylabel("accuracy on held-out rows")
        numbered = "   ".join(f"{k + 1} {name}" for k, name in enumerate(METHODS))
        half = numbered.find("   5 ")
        fig.supxlabel(numbered[:half] + "\n" + numbered[half:].strip(), fontsize=7)
        save_picture(fig, path)
