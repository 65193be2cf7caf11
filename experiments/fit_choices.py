"""What ``fairprog fit`` chooses, on ten splits that are not used for choosing.

Of every table half of the rows choose (five folds, as the command does) and are fitted to, the
other half judges: what was chosen, every method, and nothing. Four tables are real (they need
FAIRPROG_DATA), four are made up: lattices, point masses, skew, tied scores. Each is asked twice,
for its features and for a score of boosted trees that were trained on other rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import StratifiedShuffleSplit

from fairprog.cli.columns import Design, Feature
from fairprog.cli.fitting import ALIGN, measured, steps_for
from fairprog.comparison.methods import NOTHING
from fairprog.comparison.result import choose, mean_and_error
from fairprog.labels import Array

from . import tables
from .claims import Claim, judged, rst_table, write_csv
from .protocol import data_folder

__all__ = ["chosen_and_judged", "design_of", "made_up", "real", "run"]

SPLITS = 10
MOST = 0.01  # of the accuracy may be lost
Table = tuple[Any, Any, Any]  # X, y in {0, 1}, group


def made_up(name: str, n: int = 8000, seed: int = 0) -> Table:
    """Return a made-up table: "lattices", "atoms", "skew" or "tied scores"."""
    rng = np.random.default_rng(seed)
    a = rng.choice(["f", "m"], n, p=[0.4, 0.6])
    m = a == "m"
    y = (rng.random(n) < 0.4 + 0.1 * m).astype(int)
    low = rng.normal(1.2 * y + 0.6 * m, 1 + 0.3 * m)
    high = rng.normal(0.8 * y - 0.4 * m, 1.0)
    if name == "lattices":
        X = [np.round(2 * low + 10), np.round(high + 3), rng.random(n) < 0.2 + 0.3 * y + 0.1 * m]
    elif name == "atoms":
        zero = rng.random(n) < np.where(m, 0.5, 0.6) - 0.15 * y
        amount = np.where(zero, 0.0, np.exp(rng.normal(6 + 0.5 * y + 0.3 * m, 1 + 0.2 * m)))
        hours = np.round(rng.normal(38 + 4 * y + 5 * m, 8)).clip(1, 80)
        X = [amount, np.where(rng.random(n) < 0.45, 40, hours), low]
    elif name == "skew":
        X = [np.exp(low), rng.gamma(2 + y, 1 + 0.5 * m), high]
    elif name == "tied scores":
        X = [np.digitize(low, [-1, 0, 0.5, 1, 2]), np.digitize(high, [-0.5, 0.5])]
    else:
        raise ValueError(name)
    return np.column_stack(X).astype(float), y, a


def real(folder: Path) -> Iterator[tuple[str, Table]]:
    """Yield COMPAS, Adult (its five numeric columns, amounts as they are) and Law, twice."""
    compas = tables.compas(folder)
    columns = ["age", "log_priors", "log_juvenile", "felony"]
    y, a = compas["no_recid"].to_numpy(), compas["race"].to_numpy()
    yield "compas, race", (compas[columns].to_numpy(float), y, a)
    adult = tables.adult_rows(folder)
    columns = ["age", "education_num", "capital_gain", "capital_loss", "hours_per_week"]
    rich = adult["income"].str.startswith(">").to_numpy(int)
    yield "adult, sex", (adult[columns].to_numpy(float), rich, adult["sex"].to_numpy())
    law = pd.read_csv(folder / "law" / "law_school_clean.csv.gz").dropna()
    columns = ["lsat", "ugpa", "zfygpa", "zgpa", "fulltime", "fam_inc", "tier"]
    for name, group in (("race", law["race"]), ("sex", law["male"].map({0: "women", 1: "men"}))):
        yield (
            f"law school, {name}",
            (law[columns].to_numpy(float), law["pass_bar"].to_numpy(int), group.to_numpy()),
        )


def design_of(table: Table, score: bool, seed: int = 0) -> Design:
    """Return what the command reads from a table; with `score` 40 % of the rows train trees."""
    X, y, a = table
    if score:
        train = np.random.default_rng([seed, 1]).random(len(y)) < 0.4
        trees = HistGradientBoostingClassifier(max_iter=60, random_state=seed)
        s = trees.fit(X[train], y[train]).predict_proba(X[~train])[:, 1:]
        if len(np.unique(X, axis=0)) < 100:  # tied scores are written with two digits
            s = s.round(2)
        X, y, a = s, y[~train], a[~train]
    names = [f"x{j}" for j in range(X.shape[1])]
    features = tuple(Feature(name) for name in names)
    label, group = y.astype(str).astype(object), a.astype(str).astype(object)
    groups = tuple(np.unique(group).tolist())
    rows = np.ones(len(y), dtype=bool)
    return Design("y", ("a",), features, X, label, group, ("0", "1"), groups, rows)


def chosen_and_judged(
    design: Design, score: bool, splits: int = SPLITS
) -> tuple[dict[str, Array], list[str]]:
    """Return (worst gap, accuracy) of every method on every split, and what was chosen.

    Arrays have shape (splits, 2); figures are means over the learners.
    """
    steps = {m: step for m, step in steps_for(design, score).items() if m != ALIGN}
    outer = StratifiedShuffleSplit(splits, test_size=0.5, random_state=1)
    found = measured(design, steps, score, cv=outer, progress=False)
    train = [own for own, _ in next(iter(found.values())).splits]
    chosen = [choose([c._again(own, 5) for c in found.values()], MOST) for own in train]
    figures = {
        m: np.mean(
            [np.stack([c.of(m, f) for f in ("worst gap", "score")], 1) for c in found.values()], 0
        )
        for m in (NOTHING, *steps)
        if all(m in c.values for c in found.values())
    }
    figures["chosen"] = np.stack([figures[m][k] for k, m in enumerate(chosen)])
    return figures, chosen


def run(out: Path, quick: bool) -> list[Claim]:
    """Write choices.csv and choices.inc, a table of the guide; two claims per table and step."""
    made = ("lattices", "atoms", "skew", "tied scores")
    named = {name: made_up(name, 2000 if quick else 8000) for name in made}
    if not quick:
        named |= dict(real(data_folder()))
    rows: list[list[object]] = []
    claims: list[Claim] = []
    lines = [["table", "moves", "nothing", "chosen", "most", "accuracy lost", "chosen (times)"]]
    for name, table in named.items():
        for score in (True, False):
            kind = "a score" if score else "features"
            design = design_of(table, score)
            figures, chosen = chosen_and_judged(design, score, 3 if quick else SPLITS)
            for method, values in figures.items():
                rows += [
                    [name, kind, method, k, gap, accuracy,
                     chosen[k] if method == "chosen" else ""]
                    for k, (gap, accuracy) in enumerate(values)
                ]  # fmt: skip
            claims += _claims(f"{name}, {kind}", figures, chosen)
            lines.append([name, kind, *_line(figures, chosen)])
            (out / "choices.inc").write_text(rst_table(lines), encoding="utf-8")
            write_csv(
                out / "choices.csv",
                ["table", "moves", "method", "split", "worst gap", "accuracy", "chosen"],
                rows,
            )
            print(
                *(f"{c.holds} {c.text}: {c.measured}" for c in claims[-2:]), sep="\n", flush=True
            )
    return claims


def most_gained(figures: dict[str, Array]) -> float:
    """Return the fall of the worst gap of the best method that may be chosen, 0 if none falls.

    It must fall by two standard errors, at a mean loss of at most `MOST`.
    """
    nothing = figures[NOTHING]
    falls = [0.0]
    for method, values in figures.items():
        fall, error = mean_and_error(nothing[:, 0] - values[:, 0])
        if method != "chosen" and fall > 2 * error and (nothing - values)[:, 1].mean() <= MOST:
            falls.append(fall)
    return max(falls)


def _line(figures: dict[str, Array], chosen: list[str]) -> list[str]:
    before, after = figures[NOTHING].mean(axis=0), figures["chosen"].mean(axis=0)
    error = mean_and_error(figures["chosen"][:, 0] - figures[NOTHING][:, 0])[1]
    most = most_gained(figures)
    times = ((chosen.count(m), m) for m in dict.fromkeys(chosen))
    return [
        f"{before[0]:.3f}",
        f"{after[0]:.3f} ({error:.3f})",
        f"{before[0] - most:.3f}" if most else "–",
        f"{before[1] - after[1]:.4f}",
        ", ".join(f"{m.partition(', ')[2] or m} {n}" for n, m in sorted(times, reverse=True)),
    ]


def _claims(name: str, figures: dict[str, Array], chosen: list[str]) -> list[Claim]:
    rise, error = mean_and_error(figures["chosen"][:, 0] - figures[NOTHING][:, 0])
    most = most_gained(figures)
    before, after, _, lost, counts = _line(figures, chosen)
    measured_ = f"{before} -> {after}, accuracy lost {lost}; chosen: {counts}"
    return [
        judged(
            f"{name}: the worst gap is larger than nothing's by at most one standard error",
            measured_,
            bool(rise <= 1e-9 + (0.0 if np.isnan(error) else error)),
            "half of the rows mislead",
        ),
        judged(
            f"{name}: at least half of what the best method gains is recovered",
            f"{-rise:.3f} of {most:.3f}" if most else "no method gains",
            bool(-rise >= 0.5 * most),
            "the gain is too small to be seen in five folds of half of the rows",
        ),
    ]
