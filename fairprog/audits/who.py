"""Who it is: the groups at the worst threshold, and figures group by group with intervals."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fairprog.errors import DataError
from fairprog.kernels.statistics.proportions import clopper_pearson
from fairprog.kernels.statistics.ranking import auc, auc_interval
from fairprog.labels import Array, Indices, label_array

if TYPE_CHECKING:
    import pandas as pd

DRAWS = 200  # of the bootstrap
Metric = Callable[..., float]


@dataclass(frozen=True)
class WorstThreshold:
    """The threshold at which two groups are treated most differently, and how.

    Attributes
    ----------
    threshold : float
        Rows whose score is above it are predicted `positive`.
    given : hashable
        The true class of the rows that are compared; where `rest`, they are those of all others.
    positive : hashable
    less, more : hashable
        The group that is predicted positive least often there, and most often.
    rates : (float, float)
        How often.
    rest : bool
    """

    threshold: float
    given: Hashable
    positive: Hashable
    less: Hashable
    more: Hashable
    rates: tuple[float, float]
    rest: bool = False

    def __str__(self) -> str:
        rows = f"rows of {'classes other than' if self.rest else 'class'} {self.given!r}"
        return (
            f"Group {self.less!r} is predicted {self.positive!r} less often: above "
            f"{self.threshold:.3g} for {self.rates[0]:.1%} of its {rows}, against "
            f"{self.rates[1]:.1%} of group {self.more!r}; it is the one worse off where "
            f"{self.positive!r} is the good outcome"
        )


def worst_threshold(
    s: Array, a: Indices, weight: Array, groups: Sequence[Hashable],
    given: Hashable, positive: Hashable, rest: bool,
) -> WorstThreshold:  # fmt: skip
    """Return where, over all thresholds, the shares above it differ most between groups."""
    values, place = np.unique(s, return_inverse=True)
    G = len(groups)
    mass = np.bincount(G * place + a, weight, G * values.size).reshape(-1, G)
    above = 1.0 - np.cumsum(mass, axis=0) / mass.sum(axis=0)
    t = int(np.argmax(np.ptp(above, axis=1)))
    least, most = int(above[t].argmin()), int(above[t].argmax())
    rates = float(above[t, least]), float(above[t, most])
    upper = values[min(t + 1, values.size - 1)]
    at = 0.5 * float(values[t] + upper)
    return WorstThreshold(at, given, positive, groups[least], groups[most], rates, rest)


def group_frame(
    y: Indices, a: Indices, weight: Array, guess: Indices, score: Array | None,
    labels: tuple[Sequence[Hashable], Sequence[Hashable]], metrics: Mapping[str, Metric] | None,
    confidence: float, random_state: int,
) -> pd.DataFrame:  # fmt: skip
    """Return a row per group: rows, and every metric with the ends of its interval.

    Shares have Clopper and Pearson's exact interval, areas Newcombe's, metrics of the user's the
    bootstrap's percentiles.
    """
    import pandas as pd

    classes, groups = labels
    table: list[dict[str, float]] = []
    for k in range(len(groups)):
        own = a == k
        row: dict[str, float] = {"rows": float(own.sum())}
        if metrics is None:
            found = _usual(y[own], weight[own], guess[own], score[own] if score is not None else
                           None, classes, confidence)  # fmt: skip
        else:
            rng = np.random.default_rng([random_state, k])
            names = label_array(tuple(classes))
            found = _own(names[y[own]], names[guess[own]], metrics, confidence, rng)
        for name, (value, low, high) in found.items():
            row |= {name: value, f"{name}, low": low, f"{name}, high": high}
        table.append(row)
    out = pd.DataFrame(table, index=pd.Index(list(groups), name="group", tupleize_cols=False))
    return out.astype({"rows": int})


Found = dict[str, tuple[float, float, float]]


def _usual(
    y: Indices, w: Array, guess: Indices, s: Array | None, classes: Sequence[Hashable],
    confidence: float,
) -> Found:  # fmt: skip
    last = len(classes) - 1
    shares: dict[str, tuple[Any, Any]] = {
        "accuracy": (guess == y, np.ones(y.size, bool)),
    }
    if len(classes) == 2:
        shares |= {
            "base rate": (y == last, np.ones(y.size, bool)),
            "selection rate": (guess == last, np.ones(y.size, bool)),
            "true positive rate": (guess == last, y == last),
            "false positive rate": (guess == last, y != last),
            "precision": (y == last, guess == last),
        }
    else:
        shares |= {f"recall of {c}": (guess == i, y == i) for i, c in enumerate(classes)}
    out = {name: _share(hit, among, w, confidence) for name, (hit, among) in shares.items()}
    if s is not None and 0 < (y == last).sum() < y.size:
        area = auc(s, y == last, w)
        low, high = auc_interval(area, int((y == last).sum()), int((y != last).sum()), confidence)
        out["AUC"] = area, low, high
    return out


def _share(hit: Any, among: Any, w: Array, confidence: float) -> tuple[float, float, float]:
    mass = float(w[among].sum())
    if not mass > 0:
        return float("nan"), 0.0, 1.0
    p = float(w[among & hit].sum()) / mass
    n = mass**2 / float((w[among] ** 2).sum())  # rows, or as many as the weights are worth
    low, high = clopper_pearson(np.array([p]), np.array([n]), confidence)
    return p, float(low[0]), float(high[0])


def _own(
    y: Any, guess: Any, metrics: Mapping[str, Metric], confidence: float, rng: np.random.Generator
) -> Found:
    draws = [rng.integers(len(y), size=len(y)) for _ in range(DRAWS)]
    tail = 0.5 * (1.0 - confidence)
    out = {}
    for name, metric in metrics.items():
        if not callable(metric):
            raise DataError(
                f"`metrics` holds {name!r}: {metric!r}; needed are functions of (y_true, y_pred).",
                argument="metrics",
            )
        again = [float(metric(y[k], guess[k])) for k in draws]
        low, high = np.quantile(again, (tail, 1.0 - tail))
        out[name] = float(metric(y, guess)), float(low), float(high)
    return out
