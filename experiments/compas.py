"""COMPAS by race: every baseline, and what steering FEATURES leaves of the signed gap.

Four lattice-valued columns and 6,150 rows; positive is no recidivism. Needs FAIRPROG_DATA.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

import fairprog as fp
from fairprog.labels import Array

from . import tabular
from .baselines import METHODS, CovarianceMatching, MeanMatching, Step
from .claims import Claim, judged, write_csv
from .measured import Measured
from .protocol import LEARNERS, SPLITS, Case, compas_case, data_folder, gaps, split_case

LEARNERS_OF_GAP = ("logistic", "boosted trees")
STEPS: dict[str, Callable[[], Step] | None] = {
    "none": None,
    "mean matching": MeanMatching,
    "MiMiC": CovarianceMatching,
    "ideal steering, African-American moved": lambda: fp.IdealSteering(steer=[1]),
    "ideal steering, Caucasian moved": lambda: fp.IdealSteering(steer=[0]),
    "ideal steering, both moved": lambda: fp.IdealSteering(),
    "the same without rounding to the lattice": lambda: fp.IdealSteering(snap=False),
}
GAP, LOSS = 0.02, 0.012


def run(out: Path, quick: bool) -> list[Claim]:
    """Write methods.csv, methods.png, features.csv; claims on both."""
    case = compas_case(data_folder())
    seeds = {"boosted trees": SPLITS[:2]} if quick else dict.fromkeys(LEARNERS, SPLITS)
    methods = tabular.QUICK if quick else tuple(METHODS)
    measured = Measured(out)
    runs = tabular.measure(case, seeds, methods=methods, measured=measured)
    tabular.write(runs, out / "methods.csv")
    tabular.draw(runs, out / "methods.png")
    return [
        *tabular.promises(runs, case.name, (0.60, 0.75), 0.008),
        *_features(case, out, range(2 if quick else 20), measured),
    ]


def _features(case: Case, out: Path, seeds: range, measured: Measured) -> list[Claim]:
    """Measure signed equal-opportunity gaps at 0.5 with steps on features."""
    found: dict[tuple[str, str], list[list[float]]] = {}
    tasks = [(seed, name) for seed in seeds for name in STEPS]
    for seed, name in tqdm(tasks, desc="features", disable=None, leave=False):
        both = measured.get(("features", seed, name), partial(_one, case, seed, STEPS[name]))
        for learner, value in both.items():
            found.setdefault((learner, name), []).append(value)
    values = {key: np.array(v) for key, v in found.items()}
    header = ["learner", "step", "splits", "signed EO gap", "standard error of gap"]
    write_csv(
        out / "features.csv",
        [*header, "accuracy", "standard error of accuracy"],
        [[*key, len(v), *_summary(v[:, 0]), *_summary(v[:, 1])] for key, v in values.items()],
    )
    steered = list(STEPS)[3:6]
    return [_claim(learner, values, step) for step in steered for learner in LEARNERS_OF_GAP]


def _one(case: Case, seed: int, make: Callable[[], Step] | None) -> dict[str, list[float]]:
    """Return the signed equal-opportunity gap at 0.5 and the accuracy of every learner."""
    split = split_case(case, seed, held_share=0.0)
    fit, test = split.fit, split.test
    X, Z = fit.X, test.X
    if make is not None:
        step = make()
        step.fit(X, fit.y, sensitive_features=fit.group)
        X = step.transform(X, sensitive_features=fit.group)
        Z = step.transform(Z, sensitive_features=test.group)
    out = {}
    for learner in LEARNERS_OF_GAP:
        h = (LEARNERS[learner]().fit(X, fit.y).predict_proba(Z)[:, 1] > 0.5).astype(float)
        out[learner] = [gaps(test, h)[0], float(np.mean(h == test.y))]
    return out


def _summary(values: Array) -> tuple[float, float]:
    return float(values.mean()), tabular.standard_error(values)


def _claim(learner: str, values: dict[tuple[str, str], Array], step: str) -> Claim:
    before, after = values[learner, "none"], values[learner, step]
    gap, error = _summary(after[:, 0])
    lost, lost_error = _summary(before[:, 1] - after[:, 1])
    return judged(
        f"compas features, {learner}, {step}: mean signed EO gap at most {GAP} at an accuracy "
        f"loss of at most {LOSS}",
        f"{before[:, 0].mean():+.4f} -> {gap:+.4f} (s.e. {error:.4f}), accuracy "
        f"{before[:, 1].mean():.4f} -> {after[:, 1].mean():.4f} (loss {lost:.4f}, s.e. "
        f"{lost_error:.4f}), {len(after)} splits",
        abs(gap) <= GAP and lost <= LOSS,
        "columns are matched one by one, and what two of them say together is not",
    )
