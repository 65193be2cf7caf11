"""Published tables of LinearPost and error-parity on the same data, and ours beside them.

LinearPost is written again here after its description: the linear program over the
post-processing rows with noisy risks, whose multipliers shift the risks of test rows. Ours is
`FairClassifier` on the same scores, and on scores calibrated on the training rows (logistic, one
intercept and slope per group). Needs FAIRPROG_DATA for Adult and COMPAS. Settings:
`peers_settings`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import linprog
from tqdm import tqdm

import fairprog as fp
from fairprog.labels import Array

from .claims import Claim, Unavailable, write_csv
from .peers_settings import INF, NOISE, PUBLISHED, Base, Split, base_model, splits, synthetic

NOTIONS: dict[str, type[fp.Notion]] = {
    "demographic_parity": fp.DemographicParity,
    "equal_opportunity": fp.EqualOpportunity,
    "equalized_odds": fp.EqualizedOdds,
}
METHODS = ("LinearPost", "ours, same scores", "ours, calibrated")
GROUPS = (0, 1)


def run(out: Path, quick: bool) -> list[Claim]:
    """Write peers.csv (one row per cell and method) and claims on every cell."""
    folder = os.environ.get("FAIRPROG_DATA")
    if not folder or not Path(folder).is_dir():
        raise Unavailable("it needs FAIRPROG_DATA, the folder of the real data sets")
    names = ["compas"] if quick else ["adult", "compas"]
    rows: list[list[object]] = []
    claims: list[Claim] = []
    for name in names:
        measured = _measure(name, Path(folder))
        for cell, values in measured.items():
            rows += [_csv_row(name, *cell, method, v) for method, v in values.items()]
        claims += _claims(name, measured)
    header = ["data", "notion", "tolerance", "published accuracy", "published gap", "method"]
    header += ["accuracy", "s.e. of accuracy", "gap", "s.e. of gap"]
    write_csv(out / "peers.csv", header, rows)
    return [*claims, _error_parity()]


Measured = dict[tuple[str, float], dict[str, Array]]  # (seeds, 2): accuracy and gap


def _measure(name: str, folder: Path) -> Measured:
    base = base_model(name, folder)
    cells = [(notion, alpha) for data, notion, alpha in PUBLISHED if data == name]
    every = splits(base)
    tasks = [(cell, split) for cell in cells for split in every]
    found: dict[tuple[str, float], dict[str, list[tuple[float, float]]]] = {
        cell: {method: [] for method in METHODS} for cell in cells
    }
    calibrated = {split.seed: calibrate(base, split) for split in every}
    for (notion, alpha), split in tqdm(tasks, desc=name, disable=None, leave=False):
        selected = {
            "LinearPost": linear_post(base, split, notion, alpha),
            "ours, same scores": ours(base, split, base.score, notion, alpha),
            "ours, calibrated": ours(base, split, calibrated[split.seed], notion, alpha),
        }
        for method, h in selected.items():
            found[notion, alpha][method].append(_outcome(base, split, h, notion))
    return {cell: {m: np.array(v) for m, v in of.items()} for cell, of in found.items()}


def calibrate(base: Base, split: Split) -> Array:
    """Return logistic recalibrations per group, fitted on all rows but the test rows."""
    from sklearn.linear_model import LogisticRegression

    out = base.score.copy()
    for a in GROUPS:
        fit = split.fit[base.group[split.fit] == a]
        own = base.training_group == a
        score = np.concatenate([base.score[fit], base.training_score[own]])
        label = np.concatenate([base.y[fit], base.training_y[own]])
        model = LogisticRegression(C=1e6).fit(_logit(score), label)
        rows = base.group == a
        out[rows] = model.predict_proba(_logit(base.score[rows]))[:, 1]
    return out


def _logit(score: Array) -> Array:
    p = np.clip(score, 1e-6, 1.0 - 1e-6)
    return np.log(p / (1.0 - p))[:, None]


def ours(base: Base, split: Split, score: Array, notion: str, alpha: float) -> Array:
    """Return P(Yhat=1) of the test rows by FairClassifier on the post-processing rows."""
    group = base.group[split.fit]
    D = fp.Categorical.from_scores(score[split.fit], sensitive_features=group, groups=GROUPS)
    constraints = [] if alpha == INF else [NOTIONS[notion](difference_bound=alpha)]
    rule = fp.FairClassifier(D, fp.ErrorRate(), constraints).solve().classifier
    proba = rule.predict_proba_from_scores(
        score[split.test], sensitive_features=base.group[split.test]
    )
    out: Array = proba[:, 1]
    return out


def linear_post(base: Base, split: Split, notion: str, alpha: float) -> Array:
    """Return LinearPost's decisions on the test rows: shifted risks, noise breaks ties."""
    if alpha == INF:
        return (base.score[split.test] > 0.5).astype(float)
    rng = np.random.default_rng(split.seed)
    eta, group = base.score[split.fit], base.group[split.fit]
    n = len(eta)
    mass = np.array([[np.sum((1.0 - eta)[group == a]), np.sum(eta[group == a])] for a in GROUPS])
    extra = _noisy(rng, eta)
    kinds: list[Callable[[Array, Any, int], Array]] = {
        "demographic_parity": [lambda e, g, a: (g == a) / mass[a].sum()],
        "equal_opportunity": [lambda e, g, a: (g == a) * e / mass[a, 1]],
        "equalized_odds": [
            lambda e, g, a: (g == a) * (1 - e) / mass[a, 0],
            lambda e, g, a: (g == a) * e / mass[a, 1],
        ],
    }[notion]
    rates = [kind(eta, group, a) for kind in kinds for a in GROUPS]
    levels = np.repeat(np.eye(len(kinds)), len(GROUPS), axis=0)
    A = np.hstack([np.array(rates), -levels])
    result = linprog(
        np.append(extra / n, np.zeros(len(kinds))),
        A_ub=np.vstack([A, -A]),
        b_ub=np.full(2 * len(A), alpha / 2),
        bounds=(0.0, 1.0),
        method="highs",
    )
    if result.status != 0:
        raise RuntimeError(f"HiGHS: {result.message}")
    psi = result.ineqlin.marginals[: len(A)] - result.ineqlin.marginals[len(A) :]
    eta, group = base.score[split.test], base.group[split.test]
    new = np.array([kind(eta, group, a) for kind in kinds for a in GROUPS])
    decided: Array = (_noisy(rng, eta) / n - psi @ new < 0).astype(float)
    return decided


def _noisy(rng: np.random.Generator, eta: Array) -> Array:
    """Return risk of predicting 1 minus risk of predicting 0, both with noise."""
    risk = np.stack([eta, 1.0 - eta], axis=1)
    risk = risk + risk.mean() * rng.uniform(-NOISE, NOISE, size=risk.shape)
    out: Array = risk[:, 1] - risk[:, 0]
    return out


def _outcome(base: Base, split: Split, h: Array, notion: str) -> tuple[float, float]:
    """Return expected accuracy and gap on the test rows."""
    y, group = base.y[split.test], base.group[split.test]
    Z = np.zeros((2, 2, 2))
    np.add.at(Z[:, :, 1], (group, y), h)
    np.add.at(Z[:, :, 0], (group, y), 1.0 - h)
    table = fp.OutcomeTable(Z / len(y))
    return table.accuracy, NOTIONS[notion]().gap(table)


def _summary(values: Array) -> tuple[float, float, float, float]:
    mean = values.mean(axis=0)
    error = values.std(axis=0, ddof=1) / np.sqrt(len(values))
    return float(mean[0]), float(error[0]), float(mean[1]), float(error[1])


def _csv_row(name: str, notion: str, alpha: float, method: str, values: Array) -> list[object]:
    return [name, notion, alpha, *PUBLISHED[name, notion, alpha], method, *_summary(values)]


def _claims(name: str, measured: Measured) -> list[Claim]:
    out = []
    for (notion, alpha), of in measured.items():
        accuracy, gap = PUBLISHED[name, notion, alpha]
        a, a_error, g, g_error = _summary(of["LinearPost"])
        out.append(
            Claim(
                f"{name}, {notion} {alpha:g}: LinearPost's published {accuracy:.4f} / {gap:.4f} "
                "within one standard error",
                f"{a:.4f} ({a_error:.4f}) / {g:.4f} ({g_error:.4f})",
                abs(a - accuracy) <= a_error and abs(g - gap) <= g_error,
            )
        )
        for method in METHODS[1:]:
            a, a_error, g, g_error = _summary(of[method])
            accurate, fair = a >= accuracy - a_error, g <= gap + g_error
            note = ""
            if not (accurate and fair):
                note = "calibration moves along the trade-off: " + (
                    "fairer and less accurate" if fair else "more accurate and less fair"
                )
            out.append(
                Claim(
                    f"{name}, {notion} {alpha:g}: {method}, not worse than published by more "
                    "than one standard error",
                    f"{a:.4f} ({a_error:.4f}) / {g:.4f} ({g_error:.4f})",
                    accurate and fair,
                    note if method == "ours, calibrated" else "",
                )
            )
    return out


def _error_parity() -> Claim:
    """Return the claim on error-parity's synthetic example: accuracy 0.822, violation 0.050."""
    from sklearn.isotonic import IsotonicRegression

    score, y, group = synthetic()
    calibrated = np.empty_like(score)
    for a in GROUPS:  # pooled adjacent violators: the scores of the ROC curve's convex hull
        rows = group == a
        calibrated[rows] = IsotonicRegression().fit_transform(score[rows], y[rows])
    D = fp.Categorical.from_scores(calibrated, sensitive_features=group)
    sol = fp.FairClassifier(D, fp.ErrorRate(), [fp.EqualizedOdds(difference_bound=0.05)]).solve()
    Z = np.zeros((2, 2, 2))
    h = sol.classifier.h
    for j in (0, 1):
        np.add.at(Z[:, :, j], (group, y), h[:, j])
    table = fp.OutcomeTable(Z / len(y))
    gap = fp.EqualizedOdds().gap(table)
    return Claim(
        "error-parity's synthetic example, equalized odds 0.05: published accuracy 0.822 at a "
        "violation of 0.050",
        f"accuracy {table.accuracy:.4f}, violation {gap:.4f}, {sol.seconds:.3f} s",
        round(table.accuracy, 3) == 0.822 and gap <= 0.05 + 1e-9,
    )
