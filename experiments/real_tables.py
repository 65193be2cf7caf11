"""COMPAS and Adult through `fairprog steer`'s own machinery: held-out gaps before and after.

Needs the environment variable FAIRPROG_DATA, the folder of the data sets; see `tables.py` for the
columns. Twenty random splits, a logistic model that never sees the group.
"""

from __future__ import annotations

import os
from pathlib import Path

from sklearn.model_selection import StratifiedShuffleSplit

import fairprog as fp
from fairprog.cli.columns import read_design
from fairprog.cli.csv_table import read_table
from fairprog.cli.fitting import ALIGN, codes_of, learners, steps_for
from fairprog.comparison.methods import NOTHING, OnFeatures

from . import tables
from .claims import Claim, Unavailable, write_csv

CASES = {
    "compas": (tables.compas, "no_recid", "race"),
    "adult": (tables.adult, "income", "sex"),
}
FIGURES = ("score", "gap", "worst gap, Y=1", "worst gap, Y=0")


def run(out: Path, quick: bool) -> list[Claim]:
    """Write held_out.csv; claims on COMPAS, figures on Adult."""
    folder = os.environ.get("FAIRPROG_DATA")
    if not folder or not Path(folder).is_dir():
        raise Unavailable("it needs FAIRPROG_DATA, the folder of the real data sets")
    claims: list[Claim] = []
    rows: list[list[object]] = []
    learner = learners()["logistic model"]
    for name, (load, label, sensitive) in CASES.items():
        path = out / f"{name}.csv"
        load(Path(folder)).to_csv(path, index=False)
        design = read_design(read_table(str(path)), label, sensitive)
        path.unlink()  # results hold figures, not data
        found = fp.compare(
            learner,
            design.X,
            codes_of(design),
            sensitive_features=design.group,
            methods={ALIGN: OnFeatures(learner, steps_for(design, False)[ALIGN])},
            cv=StratifiedShuffleSplit(5 if quick else 20, test_size=0.4, random_state=0),
            notion=fp.EqualOpportunity(),
            progress=False,
        )
        for figure in FIGURES:
            before, after = found.of(NOTHING, figure), found.of(ALIGN, figure)
            rows += [
                [name, figure, k, b, a]
                for k, (b, a) in enumerate(zip(before.tolist(), after.tolist(), strict=True))
            ]
        claims += _claims(name, found)
    write_csv(out / "held_out.csv", ["data", "measure", "split", "before", "after"], rows)
    return claims


def _claims(name: str, found: fp.Comparison) -> list[Claim]:
    """Return what is said about one data set."""
    before, after = found.mean(NOTHING, "gap")[0], found.mean(ALIGN, "gap")[0]
    error, lost = found.mean(ALIGN, "gap")[1], -found.change(ALIGN, "score")[0]
    measured = (
        f"gap {before:.3f} -> {after:.3f} (s.e. {error:.3f}), accuracy "
        f"{found.mean(NOTHING, 'score')[0]:.3f} -> {found.mean(ALIGN, 'score')[0]:.3f}, "
        f"{found.n_splits} splits"
    )
    if name == "compas":
        text = "compas: mean EO gap at most 0.03 after steering, accuracy within 0.012"
        holds = after <= 0.03 and lost <= 0.012
        note = "" if holds else "the normal law fits these features only roughly"
        return [Claim(text, measured, holds, note)]
    text = f"{name}: steering brings the mean EO gap nearer to zero"
    holds = after < before
    why = "the features are counts and lattices, which no normal law fits well"
    return [Claim(text, measured, holds, why)]
