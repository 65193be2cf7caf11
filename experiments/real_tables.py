"""COMPAS and Adult through `fairprog steer`'s own machinery: held-out gaps before and after.

Needs the environment variable FAIRPROG_DATA, the folder of the data sets; see `tables.py` for the
columns. Twenty random splits, a logistic model that never sees the group.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from fairprog.cli.audit_split import Comparison, compare_held_out
from fairprog.cli.columns import read_design
from fairprog.cli.csv_table import read_table
from fairprog.cli.tabular import Plan

from . import tables
from .claims import Claim, Unavailable, write_csv

CASES = {
    "compas": (tables.compas, "no_recid", "race"),
    "adult": (tables.adult, "income", "sex"),
}
EO, ACCURACY = "equal opportunity gap at .5", "accuracy"


def run(out: Path, quick: bool) -> list[Claim]:
    """Write held_out.csv; claims on COMPAS, figures on Adult."""
    folder = os.environ.get("FAIRPROG_DATA")
    if not folder or not Path(folder).is_dir():
        raise Unavailable("it needs FAIRPROG_DATA, the folder of the real data sets")
    splits = 5 if quick else 20
    claims: list[Claim] = []
    rows: list[list[object]] = []
    for name, (load, label, sensitive) in CASES.items():
        path = out / f"{name}.csv"
        load(Path(folder)).to_csv(path, index=False)
        design = read_design(read_table(str(path)), label, sensitive)
        path.unlink()  # results hold figures, not data
        found = compare_held_out(design, Plan.choose(design), splits=splits, progress=False)
        for m in found.measures:
            rows += [
                [name, m.name, k, b, a]
                for k, (b, a) in enumerate(zip(m.before, m.after, strict=True))
            ]
        claims += _claims(name, found)
    write_csv(out / "held_out.csv", ["data", "measure", "split", "before", "after"], rows)
    return claims


def _claims(name: str, found: Comparison) -> list[Claim]:
    """Return what is said about one data set."""
    gap, accuracy = found[EO], found[ACCURACY]
    before, after = float(np.mean(gap.before)), float(np.mean(gap.after))
    error = float(np.std(gap.after, ddof=1) / np.sqrt(found.splits))
    lost = float(np.mean(accuracy.before) - np.mean(accuracy.after))
    measured = (
        f"gap {before:+.3f} -> {after:+.3f} (s.e. {error:.3f}), accuracy "
        f"{np.mean(accuracy.before):.3f} -> {np.mean(accuracy.after):.3f}, {found.splits} splits"
    )
    if name == "compas":
        text = "compas: mean signed EO gap at most .02 after steering, accuracy within .012"
        holds = abs(after) <= 0.02 and lost <= 0.012
        note = "" if holds else "the normal law fits these features only roughly"
        return [Claim(text, measured, holds, note)]
    text = f"{name}: steering brings the mean signed EO gap nearer to zero"
    holds = abs(after) < abs(before)
    why = "the features are counts and lattices, which no normal law fits well"
    return [Claim(text, measured, holds, why)]
