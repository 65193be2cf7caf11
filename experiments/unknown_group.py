"""LinearPost's published tables where the group is not seen, and ours beside them.

The protocol is that of `peers_settings`: one third of the rows trains a logistic model, now
without the sensitive columns and for label and group together, five seeds split the rest. The best
classifier is decided on the post-processing rows (`Categorical.from_scores` of P(Y, A | x),
``uses_group=False``) and judged on the test rows' true groups. Needs FAIRPROG_DATA.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from tqdm import tqdm

import fairprog as fp
from fairprog.labels import Array

from .claims import Claim, Unavailable, write_csv
from .peers import GROUPS, _outcome, _summary
from .peers_settings import (
    INF,
    LOADERS,
    SEED_OF_TRAINING,
    TRAINING_SHARE,
    Base,
    Split,
    base_model,
    splits,
)

# demographic parity, (accuracy, gap) by data set and tolerance; logistic regression, group-blind
PUBLISHED: dict[tuple[str, float], tuple[float, float]] = {
    ("adult", INF): (0.8511, 0.1802),
    ("adult", 0.1): (0.8466, 0.1028),
    ("adult", 0.02): (0.8355, 0.0248),
    ("adult", 0.001): (0.8324, 0.0098),
    ("compas", INF): (0.6849, 0.2594),
    ("compas", 0.1): (0.6052, 0.0914),
    ("compas", 0.02): (0.5463, 0.0169),
    ("compas", 0.001): (0.5342, 0.0182),
}
SENSITIVE = {"adult": "sex_", "compas": "race_"}  # how the columns of the group start


def joint_scores(name: str, folder: Path) -> Array:
    """Return P(Y=i, A=a | x) of the rows that did not train the model, shape (n, 2, 2)."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import StandardScaler

    X, y, group = LOADERS[name](folder)
    seen = X.loc[:, ~X.columns.str.startswith(SENSITIVE[name])].to_numpy(dtype=np.float32)
    rest, training, _, both = train_test_split(
        seen, 2 * group + y, test_size=TRAINING_SHARE, random_state=SEED_OF_TRAINING
    )
    scaler = StandardScaler().fit(training)
    model = LogisticRegression(max_iter=10_000, random_state=SEED_OF_TRAINING)
    model.fit(scaler.transform(training), both)
    proba = model.predict_proba(scaler.transform(rest)).reshape(-1, 2, 2)
    out: Array = np.swapaxes(proba, 1, 2).astype(float)
    return out


def decide(joint: Array, split: Split, alpha: float) -> Array:
    """Return P(Yhat=1) of the test rows by the classifier that is best without the group."""
    D = fp.Categorical.from_scores(joint[split.fit], groups=GROUPS)
    constraints = [] if alpha == INF else [fp.DemographicParity(difference_bound=alpha)]
    fc = fp.FairClassifier(D, fp.ErrorRate(), constraints, uses_group=False)
    rule = fc.solve(price_intervals=False).classifier
    out: Array = rule.predict_proba_from_scores(joint[split.test])[:, 1]
    return out


def _measure(base: Base, joint: Array, name: str) -> dict[float, Array]:
    cells = [alpha for data, alpha in PUBLISHED if data == name]
    tasks = [(alpha, split) for alpha in cells for split in splits(base)]
    found: dict[float, list[tuple[float, float]]] = {alpha: [] for alpha in cells}
    for alpha, split in tqdm(tasks, desc=f"{name}, group unknown", disable=None, leave=False):
        outcome = _outcome(base, split, decide(joint, split, alpha), "demographic_parity")
        found[alpha].append(outcome)
    return {alpha: np.array(v) for alpha, v in found.items()}


def run(out: Path, quick: bool) -> list[Claim]:
    """Write unknown_group.csv and a claim on every cell."""
    folder = os.environ.get("FAIRPROG_DATA")
    if not folder or not Path(folder).is_dir():
        raise Unavailable("it needs FAIRPROG_DATA, the folder of the real data sets")
    rows: list[list[object]] = []
    claims: list[Claim] = []
    for name in ["compas"] if quick else ["adult", "compas"]:
        base = base_model(name, Path(folder))
        for alpha, values in _measure(base, joint_scores(name, Path(folder)), name).items():
            accuracy, gap = PUBLISHED[name, alpha]
            a, a_error, g, g_error = _summary(values)
            rows.append([name, alpha, accuracy, gap, a, a_error, g, g_error])
            claims.append(
                Claim(
                    f"{name}, group unknown, demographic parity {alpha:g}: LinearPost's published "
                    f"{accuracy:.4f} / {gap:.4f} within one standard error",
                    f"{a:.4f} ({a_error:.4f}) / {g:.4f} ({g_error:.4f})",
                    abs(a - accuracy) <= a_error and abs(g - gap) <= g_error,
                )
            )
    header = ["data", "tolerance", "published accuracy", "published gap"]
    header += ["accuracy", "s.e. of accuracy", "gap", "s.e. of gap"]
    write_csv(out / "unknown_group.csv", header, rows)
    return claims
