"""EquiPy's Wasserstein barycentre of scores beside quantile maps: parity and equalized odds.

    python -m experiments.barycentre

Both move the scores of boosted trees on rows that the model has not seen, fitted to held-out
scores, on the splits of `protocol`. Measured on test rows: accuracy at the threshold that is best
on held-out rows, and the worst gaps over all thresholds. Needs FAIRPROG_DATA and ``pip install
equipy`` (measured with 0.0.11a0).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import fairprog as fp
from fairprog.labels import Array

from .baselines import Base
from .protocol import (
    LEARNERS,
    SPLITS,
    Case,
    Codes,
    Rows,
    adult_case,
    compas_case,
    data_folder,
    split_case,
    threshold,
    worst_gaps,
)
from .tabular import standard_error

Move = Callable[[Base], tuple[Array, Array]]


def nothing(base: Base) -> tuple[Array, Array]:
    """Return held-out and test scores as they are."""
    return base.held, base.test


def barycentre(base: Base) -> tuple[Array, Array]:
    """Return the scores moved by EquiPy."""
    from equipy.fairness import FairWasserstein

    step = FairWasserstein()
    held, test = base.split.held.group, base.split.test.group
    step.fit(base.held, held)
    return step.transform(base.held, held), step.transform(base.test, test)


def quantiles(notion: fp.Notion | None = None) -> Move:
    """Return a move by our quantile maps; without a notion for equalized odds."""

    def move(base: Base) -> tuple[Array, Array]:
        held, test = base.split.held, base.split.test
        step = fp.ScoreSteering(notion=notion)
        step.fit(base.held, held.y, sensitive_features=held.group)

        def moved(s: Array, rows: Rows) -> Array:
            key = np.arange(len(s))
            return np.ravel(step.transform(s, sensitive_features=rows.group, key=key))

        return moved(base.held, held), moved(base.test, test)

    return move


MOVES: dict[str, Move] = {
    "nothing": nothing,
    "EquiPy, FairWasserstein": barycentre,
    "ScoreSteering, demographic parity": quantiles(fp.DemographicParity()),
    "ScoreSteering, equalized odds": quantiles(),
}


def parity_gap(group: Codes, score: Array) -> float:
    """Return the largest distance between the groups' distribution functions of the score."""
    values = np.unique(score)
    first, second = (np.sort(score[group == g]) for g in (0, 1))
    shares = [np.searchsorted(s, values, side="right") / len(s) for s in (first, second)]
    return float(np.abs(shares[0] - shares[1]).max())


def measure(case: Case) -> dict[str, Array]:
    """Return accuracy, worst parity gap and worst gaps given Y=1 and Y=0 on every split."""
    found: dict[str, list[list[float]]] = {name: [] for name in MOVES}
    for seed in SPLITS:
        base = Base.fit(split_case(case, seed), LEARNERS["boosted trees"])
        rows = base.split.test
        for name, move in MOVES.items():
            held, test = move(base)
            right = (test > threshold(base.split.held.y, held)) == rows.y
            parity = parity_gap(rows.group, test)
            found[name].append([float(right.mean()), parity, *worst_gaps(rows, test)])
    return {name: np.array(values) for name, values in found.items()}


def main() -> None:
    """Print a table per data set: means and standard errors over the splits."""
    folder = data_folder()
    for case in (compas_case(folder), adult_case(folder)):
        print(f"{case.name}: accuracy, worst gap of parity, worst gap given Y=1, given Y=0")
        for name, values in measure(case).items():
            cells = [f"{v.mean():.4f} ({standard_error(v):.4f})" for v in values.T]
            print(f"  {name:34}", *cells, flush=True)


if __name__ == "__main__":
    main()
