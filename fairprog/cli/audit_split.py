"""Held-out gaps of a logistic model before and after steering, over random splits."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fairprog.cli.columns import Design
from fairprog.cli.csv_table import Text
from fairprog.cli.tabular import Plan
from fairprog.errors import DataError, FairprogError, FairprogWarning
from fairprog.kernels.gap_bands import worst_gap
from fairprog.labels import Array, Indices
from fairprog.tables import DemographicParity, EqualizedOdds, OutcomeTable


@dataclass(frozen=True, eq=False)
class Measure:
    """One figure on every split.

    Attributes
    ----------
    name : str
    before, after : Array, shape (splits,)
    signed : bool
        Whether its sign says which group is favoured.
    by_chance : Array, shape (splits,) or None
        `after` with the groups of the held-out rows shuffled within each class: what sampling
        alone gives. None where chance gives zero on average.
    """

    name: str
    before: Array
    after: Array
    signed: bool = False
    by_chance: Array | None = None


@dataclass(frozen=True, eq=False)
class Comparison:
    """Held-out figures of a logistic model on raw and on aligned features.

    Attributes
    ----------
    measures : tuple of Measure
    splits : int
        Number of splits that worked.
    failures : tuple of str
        Why the others did not.
    """

    measures: tuple[Measure, ...]
    splits: int
    failures: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Measure:
        return next(m for m in self.measures if m.name == name)


def compare_held_out(
    design: Design,
    plan: Plan,
    *,
    splits: int = 20,
    test_size: float = 0.4,
    seed: int = 0,
    progress: bool = True,
) -> Comparison:
    """Measure a logistic model before and after steering on rows it was not fitted to.

    For every split: fit the population on the training rows, solve, align training and test
    rows WITHOUT their labels, train one logistic model on raw and one on aligned features (the
    group is no feature), and measure both on the test rows.

    Parameters
    ----------
    design : Design
    plan : Plan
    splits : int
        Number of random splits, stratified by class and group.
    test_size : float
        Share of the rows that is held out, in (0, 1).
    seed : int
        Split k is drawn with random state ``seed + k``.
    progress : bool
        Show a progress bar on a terminal.

    Returns
    -------
    Comparison
        Binary labels: accuracy, signed gaps (last group minus first; more than two groups: the
        worst pair) of equal opportunity and demographic parity at threshold 1/2, and the
        absolute gap of P(Yhat=1 | Y=y) at the worst threshold (Kolmogorov-Smirnov). More
        classes: accuracy, equalized odds and demographic parity of the most probable class.
    """
    from tqdm import tqdm

    measure = _binary if len(design.classes) == 2 else _multiclass
    results: list[tuple[dict[str, float], ...]] = []
    failures: list[str] = []
    seeds = range(seed, seed + splits)
    hide = None if progress else True  # None: shown on a terminal only
    for state in tqdm(seeds, desc="held-out splits", unit="split", disable=hide, leave=False):
        try:
            train, test = _split(design, test_size, state)
            results.append(_one_split(design, plan, train, test, state, measure))
        except FairprogError as error:
            failures.append(str(error))
    if not results:
        return Comparison((), 0, tuple(failures))
    before, after, chance = (
        {name: np.array([r[k][name] for r in results]) for name in results[0][k]} for k in range(3)
    )
    pair = len(design.groups) == 2 and len(design.classes) == 2
    measures = []
    for name in before:
        signed = pair and name.endswith("at .5")
        by_chance = None if signed or name == "accuracy" else chance[name]
        measures.append(Measure(name, before[name], after[name], signed, by_chance))
    return Comparison(tuple(measures), len(results), tuple(failures))


def held_out_scores(
    design: Design, plan: Plan, *, test_size: float = 0.4, seed: int = 0
) -> tuple[dict[str, Array], Indices]:
    """Score the rows of one random split by logistic models they were not used for.

    Parameters
    ----------
    design, plan, test_size, seed
        See :func:`compare_held_out`; this is its first split.

    Returns
    -------
    scores : dict of str to Array, shape (m, K)
        Class probabilities on raw and on aligned features.
    test : Indices, shape (m,)
        The rows that were held out.
    """
    train, test = _split(design, test_size, seed)
    before, after = _scores(design, plan, train, test)
    return {"raw features": before, "aligned features": after}, test


def _split(design: Design, test_size: float, state: int) -> tuple[Indices, Indices]:
    """Return training and test rows, stratified by class and group."""
    from sklearn.model_selection import train_test_split

    cell = np.array([f"{y}\n{g}" for y, g in zip(design.y, design.group, strict=True)])
    try:
        train, test = train_test_split(
            np.arange(len(cell)), test_size=test_size, random_state=state, stratify=cell
        )
    except ValueError as error:
        raise DataError(str(error)) from error
    return train, test


Measures = Callable[[Array, Text, Text, Design], dict[str, float]]


def _one_split(
    design: Design, plan: Plan, train: Indices, test: Indices, state: int, measure: Measures
) -> tuple[dict[str, float], ...]:
    """Return the figures before, after, and after with shuffled groups."""
    y, group = design.y[test], design.group[test]
    both = _scores(design, plan, train, test)
    out = [measure(scores, y, group, design) for scores in both]
    rng = np.random.default_rng(state)
    shuffled = group.copy()
    for c in design.classes:
        rows = np.flatnonzero(y == c)
        shuffled[rows] = rng.permutation(group[rows])
    return (*out, measure(both[1], y, shuffled, design))


def _scores(design: Design, plan: Plan, train: Indices, test: Indices) -> tuple[Array, Array]:
    """Return class probabilities of the test rows by a model on raw and on aligned features."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FairprogWarning)  # said once, of the whole table
        solution = plan.solve(design, train, solver="newton")
    aligned = solution.align(design.X, sensitive_features=design.group)
    # No sample weights, though `solution.sample_weight` carries the steered base rates. Where
    # the class conditionals agree, X' is independent of A given Y, and EVERY classifier on X'
    # has equal rates whatever weights it was trained with (theory.md section 1): weights buy
    # no equality. They would train it for base rates that the held-out rows do not have, and
    # so cost accuracy there.
    before, after = (
        _logistic(X[train], design.y[train], X[test], design.classes) for X in (design.X, aligned)
    )
    return before, after


def _logistic(X: Array, y: Text, X_new: Array, classes: Sequence[str]) -> Array:
    """Train on standardised features and return class probabilities of new rows, (n, K)."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    code = np.array([classes.index(label) for label in y])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, code)
    return np.asarray(model.predict_proba(X_new))


def _binary(scores: Array, y: Text, group: Text, design: Design) -> dict[str, float]:
    score = scores[:, 1]
    positive = y == design.classes[1]
    members = [group == g for g in design.groups]
    accepted = score > 0.5
    cells = {
        c: [_some(score[m & (positive == c)], design) for m in members] for c in (True, False)
    }
    return {
        "accuracy": float(np.mean(accepted == positive)),
        "equal opportunity gap at .5": _spread([float(np.mean(s > 0.5)) for s in cells[True]]),
        "demographic parity gap at .5": _spread([float(np.mean(accepted[m])) for m in members]),
        "gap at worst threshold, Y=1": worst_gap(cells[True]),
        "gap at worst threshold, Y=0": worst_gap(cells[False]),
    }


def _some(values: Array, design: Design) -> Array:
    if values.size == 0:
        raise DataError(f"A class of {design.label!r} has no held-out row in some group.")
    return values


def _spread(rates: Sequence[float]) -> float:
    """Return the last rate minus the first; of more than two, the largest minus the smallest."""
    return rates[1] - rates[0] if len(rates) == 2 else max(rates) - min(rates)


def _multiclass(scores: Array, y: Text, group: Text, design: Design) -> dict[str, float]:
    for c in design.classes:
        for g in design.groups:
            _some(scores[(y == c) & (group == g)], design)
    predicted: NDArray[np.object_] = np.array(design.classes, dtype=object)[scores.argmax(axis=1)]
    table = OutcomeTable.from_predictions(
        y, predicted, sensitive_features=group, classes=design.classes, groups=design.groups
    )
    return {
        "accuracy": float(np.mean(predicted == y)),
        "equalized odds gap": EqualizedOdds().gap(table),
        "demographic parity gap": DemographicParity().gap(table),
    }
