"""The protocol of the experiments on real data: rows, columns, learners, splits, what is measured.

Everything a figure could hang on is pinned here. Splits are numbered 0-9. 60 % of the rows train,
40 % test; of the training rows 60 % fit the model and 40 % are held out, for whatever must not
see rows the model was fitted on: maps of scores, thresholds. Columns are standardised by the rows
of the fit. The threshold of a score is the one with the best accuracy on held-out rows.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fairprog.labels import Array

from .claims import Unavailable
from .tables import adult_rows, compas

__all__ = [
    "LEARNERS",
    "SPLITS",
    "Case",
    "Outcome",
    "Rows",
    "Split",
    "adult_case",
    "compas_case",
    "data_folder",
    "gaps",
    "law_case",
    "permutation_floor",
    "split_case",
    "threshold",
    "worst_gaps",
]

SPLITS = tuple(range(10))
TEST_SHARE = 0.4
HELD_SHARE = 0.4  # of the training rows
PERMUTATIONS = 50
LAW_POSITIVE = "passed the bar"

Codes = NDArray[np.integer]


# -- learners --


def logistic() -> Any:
    """Return logistic regression, scikit-learn's default penalty."""
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=2000)


def boosted_trees() -> Any:
    """Return gradient-boosted trees."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(max_iter=60, random_state=0)


def small_network() -> Any:
    """Return a network with one hidden layer of 32 units, stopped early."""
    from sklearn.neural_network import MLPClassifier

    return MLPClassifier((32,), early_stopping=True, max_iter=60, random_state=0)


LEARNERS: dict[str, Callable[[], Any]] = {
    "logistic": logistic,
    "boosted trees": boosted_trees,
    "small network": small_network,
}


# -- rows --


@dataclass(frozen=True)
class Rows:
    """Features, labels (0, 1) and groups (0, 1) of some rows."""

    X: Array
    y: Codes
    group: Codes

    def take(self, rows: Codes) -> Rows:
        """Return some of the rows."""
        return Rows(self.X[rows], self.y[rows], self.group[rows])


@dataclass(frozen=True)
class Case:
    """A data set with its columns, its label and its two groups.

    Attributes
    ----------
    name : str
    rows : Rows
        All of them; group 1 is the larger one.
    columns : tuple of str
    positive : str
        What y = 1 means.
    groups : tuple of str
        Names of groups 0 and 1.
    sensitive : tuple of int
        The columns that hold the group: steps that change features get the others only, so that
        no model reads there what the step takes away.
    """

    name: str
    rows: Rows
    columns: tuple[str, ...]
    positive: str
    groups: tuple[str, str]
    sensitive: tuple[int, ...] = ()


@dataclass(frozen=True)
class Split:
    """One random split, columns standardised by the rows of the fit."""

    seed: int
    fit: Rows
    held: Rows
    test: Rows
    blind: Codes  # the columns that do not hold the group


def split_case(case: Case, seed: int, held_share: float = HELD_SHARE) -> Split:
    """Return split number `seed`; ``held_share=0`` fits on every training row."""
    from sklearn.model_selection import train_test_split

    every = np.arange(len(case.rows.y))
    train, test = train_test_split(every, test_size=TEST_SHARE, random_state=seed)
    fit, held = train, train[:0]
    if held_share:
        fit, held = train_test_split(train, test_size=held_share, random_state=seed)
    X = case.rows.X
    centre, scale = X[fit].mean(axis=0), X[fit].std(axis=0)
    X = (X - centre) / np.where(scale > 0, scale, 1.0)
    rows = replace(case.rows, X=X)
    blind = np.setdiff1d(np.arange(X.shape[1]), case.sensitive)
    return Split(seed, rows.take(fit), rows.take(held), rows.take(test), blind)


def data_folder() -> Path:
    """Return the folder of the data sets; Unavailable without FAIRPROG_DATA."""
    folder = os.environ.get("FAIRPROG_DATA")
    if not folder or not Path(folder).is_dir():
        raise Unavailable("it needs FAIRPROG_DATA, the folder of the real data sets")
    return Path(folder)


def compas_case(folder: Path) -> Case:
    """Return COMPAS by race: 6,150 rows, the four columns of `tables.compas` without the race."""
    table = compas(folder)
    columns = ("age", "log_priors", "log_juvenile", "felony")
    group = (table["race"] == "African-American").to_numpy().astype(int)
    rows = Rows(table[list(columns)].to_numpy(dtype=float), table["no_recid"].to_numpy(), group)
    return Case("compas, race", rows, columns, "no recidivism", ("Caucasian", "African-American"))


def adult_case(folder: Path, sensitive: str = "sex") -> Case:
    """Return Adult by sex, or by race: all 14 columns as indicators; by race two of five."""
    raw = adult_rows(folder)
    names = ("Female", "Male") if sensitive == "sex" else ("Black", "White")
    raw = raw[raw[sensitive].isin(names)]
    y = raw.pop("income").str.rstrip(".").eq(">50K").to_numpy().astype(int)
    group = (raw[sensitive] == names[1]).to_numpy().astype(int)
    table = pd.get_dummies(raw)
    rows = Rows(table.to_numpy(dtype=float), y, group)
    own = tuple(k for k, c in enumerate(table.columns) if c.startswith(f"{sensitive}_"))
    return Case(f"adult, {sensitive}", rows, tuple(table.columns), "more than 50K", names, own)


def law_case(folder: Path, sensitive: str) -> Case:
    """Return the cleaned Law School table by race or sex: 20,798 rows, all columns."""
    raw = pd.read_csv(folder / "law" / "law_school_clean.csv.gz")
    y = raw.pop("pass_bar").to_numpy().astype(int)
    raw["race"] = (raw["race"] == "White").astype(int)
    column = "race" if sensitive == "race" else "male"
    names = ("Non-White", "White") if sensitive == "race" else ("women", "men")
    rows = Rows(raw.to_numpy(dtype=float), y, raw[column].to_numpy().astype(int))
    own = (list(raw.columns).index(column),)
    return Case(f"law school, {sensitive}", rows, tuple(raw.columns), LAW_POSITIVE, names, own)


# -- what is measured --


@dataclass(frozen=True)
class Outcome:
    """What a method says of the test rows.

    Attributes
    ----------
    chance : Array, shape (n,)
        Probability of deciding 1; 0 or 1 where nothing is drawn at random.
    score : Array, shape (n,)
        The score that is thresholded, by this method or by anyone with other costs.
    """

    chance: Array
    score: Array

    @property
    def randomisation(self) -> float:
        """Chance that two draws for the same person differ."""
        return float(np.mean(2.0 * self.chance * (1.0 - self.chance)))

    def accuracy(self, y: Codes) -> float:
        """Return the expected accuracy."""
        return float(np.mean(np.where(y == 1, self.chance, 1.0 - self.chance)))


def threshold(y: Codes, score: Array) -> float:
    """Return the threshold with the best accuracy of `score > threshold`, between two scores."""
    order = np.argsort(score)
    s, hits = score[order], np.cumsum(1 - 2 * y[order])
    ends = np.flatnonzero(np.diff(s) > 0)  # a cut after position k: rows up to k decide 0
    if not ends.size:
        return float(s[0] - 1.0 if y.mean() >= 0.5 else s[0])
    gain = np.concatenate([[0], hits[ends], [hits[-1]]])
    cuts = np.concatenate([[s[0] - 1.0], (s[ends] + s[ends + 1]) / 2.0, [s[-1]]])
    return float(cuts[int(np.argmax(gain))])


def gaps(rows: Rows, chance: Array) -> tuple[float, float]:
    """Return the signed gaps, group 1 minus group 0, of P(decide 1) given Y = 1 and Y = 0."""
    rate = {
        (i, a): chance[(rows.y == i) & (rows.group == a)].mean() for i in (0, 1) for a in (0, 1)
    }
    return float(rate[1, 1] - rate[1, 0]), float(rate[0, 1] - rate[0, 0])


def worst_gaps(rows: Rows, score: Array) -> tuple[float, float]:
    """Return the worst gap over all thresholds given Y = 1 and given Y = 0."""
    first, second = (_kolmogorov(score[rows.y == i], rows.group[rows.y == i]) for i in (1, 0))
    return first, second


def permutation_floor(rows: Rows, score: Array, seed: int) -> tuple[float, float]:
    """Return the mean worst gaps when groups are permuted within the classes: pure chance."""
    rng = np.random.default_rng(seed)
    found = []
    for i in (1, 0):
        s, a = score[rows.y == i], rows.group[rows.y == i]
        draws = [_kolmogorov(s, rng.permutation(a)) for _ in range(PERMUTATIONS)]
        found.append(float(np.mean(draws)))
    return found[0], found[1]


def _kolmogorov(score: Array, group: Codes) -> float:
    """Return the largest distance between the groups' distribution functions."""
    order = np.argsort(score)
    s, a = score[order], group[order]
    last = np.append(np.diff(s) > 0, True)  # ties count together
    distance = np.abs(np.cumsum(a) / a.sum() - np.cumsum(1 - a) / (1 - a).sum())
    return float(distance[last].max())
