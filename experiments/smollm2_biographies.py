"""Part A of `smollm2`: jobs predicted from hidden states of biographies, and gaps by gender."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

import fairprog as fp
from fairprog.errors import FairprogError, FairprogWarning
from fairprog.labels import Array

from .baselines import LEACE, CovarianceMatching, MeanMatching, Step
from .bios import floor, tpr_gaps
from .claims import Claim, judged
from .instruct_texts import MEN, WOMEN, biographies
from .intervals import interval
from .language_model import LanguageModel
from .smollm2_states import hidden_states

COMPONENTS = 64
WEIGHTS = (0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.97, 0.99, 1.0)  # of the whole law
COLUMNS = ("method", "draws", "accuracy", "low", "high", "RMS TPR gap", "low", "high", "chance")


def steps(weights: Sequence[float]) -> dict[str, Callable[[], Step] | None]:
    """Return makers of every method."""

    def ideal(weight: float) -> Callable[[], Step]:
        return lambda: fp.IdealSteering(
            steer=[WOMEN],
            transport=fp.Monotone(metric="identity"),
            class_weight="uniform",
            shrinkage=0.5,
            snap=False,
            marginal_weight=weight,
        )

    return {
        "none": None,
        "mean matching": lambda: MeanMatching(MEN),
        "MiMiC": lambda: CovarianceMatching(MEN),
        "LEACE": LEACE,
    } | {f"ideal, weight {weight:g}": ideal(weight) for weight in weights}


def biography_states(speaker: LanguageModel, draw: int, n: int) -> tuple[Array, Any, Any]:
    """Return mean hidden states of one draw of biographies, jobs and genders."""
    texts, y, a = biographies(n, 100 + draw)
    X, y, a = hidden_states(speaker, texts, y, a, pooling="mean")
    return X.astype(float), y, a


def told(
    make: Callable[[], Step] | None, states: Callable[[int], Any], draw: int
) -> dict[str, Any] | str:
    """Return accuracy and gaps on the second half of a draw, or why there are none."""
    from sklearn.linear_model import LogisticRegression

    X, y, a = states(draw)
    order = np.random.default_rng(draw).permutation(len(X))
    train, test = np.array_split(order, 2)
    centre = X[train].mean(axis=0)
    _, axes = np.linalg.eigh(np.cov(X[train], rowvar=False))
    Z = (X - centre) @ axes[:, ::-1][:, :COMPONENTS]
    if make is not None:
        try:
            step = make()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FairprogWarning)
                step.fit(Z[train], y[train], sensitive_features=a[train])
            Z = np.asarray(step.transform(Z, sensitive_features=a))
        except FairprogError as error:  # what a method cannot do is a finding
            return str(error)
    unit = Z[train].std(axis=0)
    unit[unit == 0] = 1.0
    model = LogisticRegression(C=0.02, max_iter=300, tol=1e-3).fit(Z[train] / unit, y[train])
    predicted = model.predict(Z[test] / unit)
    out = {
        "accuracy": float(np.mean(predicted == y[test])),
        "gaps": tpr_gaps(y[test], predicted, a[test]).tolist(),
    }
    return out if make is not None else out | {"floor": floor(y[test], predicted, a[test], draw)}


def rows_of(found: Mapping[Any, Any]) -> list[list[object]]:
    """Return the rows of the table, in the order of `COLUMNS`."""
    return [
        [method, row["draws"], *row["accuracy"], *row["gap"], row["chance"]]
        for method, row in table_of(found).items()
    ]


def claims_of(found: Mapping[Any, Any]) -> list[Claim]:
    """Return what was set out for, and what was found."""
    table = table_of(found)
    if "none" not in table:
        return []
    none, mimic = table["none"], table["MiMiC"]
    ours = {name: row for name, row in table.items() if name.startswith("ideal")}
    best = min(ours, key=lambda name: ours[name]["gap"][0])
    kept = {n: r for n, r in ours.items() if r["accuracy"][0] >= none["accuracy"][0] - 0.005}
    half = min(kept, key=lambda name: kept[name]["gap"][0], default=best)
    better = [
        name
        for name, row in ours.items()
        if row["gap"][0] <= mimic["gap"][0] and row["accuracy"][0] >= mimic["accuracy"][0] + 0.01
    ]
    return [
        judged(
            "smollm2, A: accuracy within 0.005 of none's at half its gap",
            f"none {_figures(none)}; {half} {_figures(ours[half])}",
            half in kept and ours[half]["gap"][0] <= 0.5 * none["gap"][0],
            "as measured; the guide says what it means",
        ),
        judged(
            "smollm2, A: some weight has a gap not above MiMiC's and a point more accuracy",
            f"MiMiC {_figures(mimic)}; {better[0] if better else best} "
            f"{_figures(ours[better[0] if better else best])}",
            bool(better),
            "as measured; the guide says what it means",
        ),
    ]


def table_of(found: Mapping[Any, Any]) -> dict[str, dict[str, Any]]:
    """Return accuracy, RMS gap and chance of every method, with intervals over the draws."""
    out: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys(name for _, name in found):
        rows = [v for (_, n), v in found.items() if n == name and not isinstance(v, str)]
        if rows:
            out[name] = {
                "draws": len(rows),
                "accuracy": interval([row["accuracy"] for row in rows]),
                "gap": interval([np.sqrt(np.mean(np.square(row["gaps"]))) for row in rows]),
                "chance": float(np.mean([row.get("floor", np.nan) for row in rows])),
            }
    return out


def _figures(row: Mapping[str, Any]) -> str:
    (a, low, high), (g, small, large) = row["accuracy"], row["gap"]
    return f"{a:.4f} [{low:.4f}, {high:.4f}] / {g:.4f} [{small:.4f}, {large:.4f}]"
