"""Everything that pins the comparison with published tables: data, columns, splits, base model.

The protocol is that of the notebooks adult.ipynb and compas.ipynb of rxian/fair-classification
(LinearPost; Xian and Zhao, 2024): one third of the rows trains a logistic model that sees the
group, and five seeds split the rest into rows for post-processing and 30 % test rows. The raw
files are the ones those notebooks download; no row is dropped but by their own filters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fairprog.labels import Array

from .tables import adult_rows

__all__ = ["PUBLISHED", "SEEDS", "Base", "Split", "base_model", "splits", "synthetic"]

SEEDS = (33, 34, 35, 36, 37)  # of the split into post-processing and test rows
SEED_OF_TRAINING = 33
TEST_SHARE = 0.3
TRAINING_SHARE = (1.0 - TEST_SHARE) * 0.5
NOISE = 1e-4  # relative width of the noise LinearPost adds to its risks
INF = float("inf")

# (accuracy, gap) by data set, notion and tolerance; logistic regression, group-aware
PUBLISHED: dict[tuple[str, str, float], tuple[float, float]] = {
    ("adult", "demographic_parity", INF): (0.8519, 0.1787),
    ("adult", "demographic_parity", 0.1): (0.8472, 0.1017),
    ("adult", "demographic_parity", 0.02): (0.8366, 0.0217),
    ("adult", "demographic_parity", 0.001): (0.8338, 0.0132),
    ("adult", "equal_opportunity", 0.001): (0.8503, 0.0208),
    ("adult", "equalized_odds", 0.001): (0.8382, 0.0285),
    ("compas", "demographic_parity", INF): (0.6820, 0.2433),
    ("compas", "demographic_parity", 0.1): (0.6825, 0.0783),
    ("compas", "demographic_parity", 0.02): (0.6792, 0.0369),
    ("compas", "demographic_parity", 0.001): (0.6773, 0.0481),
}

Codes = NDArray[np.integer]


@dataclass(frozen=True)
class Base:
    """A fitted base model on the rows that did not train it, and on those that did."""

    score: Array
    y: Codes
    group: Codes
    training_score: Array
    training_y: Codes
    training_group: Codes
    n_rows: int


@dataclass(frozen=True)
class Split:
    """Row numbers of one seed."""

    seed: int
    fit: Codes
    test: Codes


def adult(folder: Path) -> tuple[pd.DataFrame, Codes, Codes]:
    """Return features (dummies, survey weight dropped), income > 50K, sex (1: male)."""
    raw = adult_rows(folder).drop(columns="fnlwgt")
    y = raw.pop("income").str.rstrip(".").eq(">50K").to_numpy().astype(int)
    return pd.get_dummies(raw), y, (raw["sex"] == "Male").to_numpy().astype(int)


def compas(folder: Path) -> tuple[pd.DataFrame, Codes, Codes]:
    """Return features (dummies), is_recid, race (1: Caucasian) after ProPublica's filters."""
    columns = ["age", "c_charge_degree", "race", "sex", "priors_count"]
    times = ["days_b_screening_arrest", "c_jail_in", "c_jail_out"]
    raw = pd.read_csv(folder / "compas" / "compas-scores-two-years.csv.gz")
    keep = raw["days_b_screening_arrest"].between(-30, 30) & (raw["is_recid"] != -1)
    keep &= (raw["c_charge_degree"] != "O") & raw["race"].isin(["African-American", "Caucasian"])
    raw = raw.loc[keep, [*columns, *times, "is_recid"]].reset_index(drop=True)
    y = raw.pop("is_recid").to_numpy()
    stay = pd.to_datetime(raw["c_jail_out"]) - pd.to_datetime(raw["c_jail_in"])
    features = raw[columns].assign(length_of_stay=stay.dt.days)
    return pd.get_dummies(features), y, (raw["race"] == "Caucasian").to_numpy().astype(int)


LOADERS: dict[str, Callable[[Path], tuple[pd.DataFrame, Codes, Codes]]] = {
    "adult": adult,
    "compas": compas,
}


def base_model(name: str, folder: Path) -> Base:
    """Fit the logistic model on the training third and score every row."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import StandardScaler

    X, y, group = LOADERS[name](folder)
    features = X.to_numpy(dtype=np.float32)
    rest, training, y_rest, y_training, a_rest, a_training = train_test_split(
        features, y, group, test_size=TRAINING_SHARE, random_state=SEED_OF_TRAINING
    )
    scaler = StandardScaler().fit(training)
    model = LogisticRegression(max_iter=10_000, random_state=SEED_OF_TRAINING)
    model.fit(scaler.transform(training), y_training)
    score, own = (
        np.asarray(model.predict_proba(scaler.transform(part))[:, 1], dtype=float)
        for part in (rest, training)
    )
    return Base(score, y_rest, a_rest, own, y_training, a_training, len(features))


def splits(base: Base, seeds: tuple[int, ...] = SEEDS) -> list[Split]:
    """Return the rows for post-processing and the test rows of every seed."""
    rows = np.arange(len(base.y))
    out = []
    for seed in seeds:
        size = int(base.n_rows * TEST_SHARE)
        test = np.random.default_rng(seed).choice(rows, size=size, replace=False)
        out.append(Split(seed, np.setdiff1d(rows, test), test))
    return out


def synthetic(n: int = 100_000, seed: int = 23) -> tuple[Array, Codes, Codes]:
    """Return scores, labels, groups of error-parity's brute-force example (2 groups)."""
    rng = np.random.default_rng(seed)
    noise = [0.1 + 0.3 * rng.random() / (1 + k) for k in range(2)]
    score = rng.random(size=n)
    group = rng.integers(low=0, high=2, size=n)
    y = np.zeros(n, dtype=int)
    for k, scale in enumerate(noise):
        rows = group == k
        y[rows] = score[rows] + rng.normal(size=int(rows.sum()), scale=scale) > 0.75
    return score, y, group
