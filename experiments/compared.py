"""`fp.compare` on COMPAS, Adult and Law School by both attributes: every method, five folds.

Boosted trees on the columns of `fit_choices`. Writes `compared.inc`, the tables of the guide, too.
Needs FAIRPROG_DATA.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier

import fairprog as fp

from .claims import Claim, judged, rst_table
from .fit_choices import real
from .protocol import data_folder

__all__ = ["page", "run"]

CAPTIONS = {
    "compas, race": "COMPAS, African-American and Caucasian; Y = 1: no recidivism within two "
    "years. Age, priors, juvenile counts, felony.",
    "adult, sex": "Adult, by sex; Y = 1: more than 50,000 dollars. Age, years of education, "
    "capital gains and losses, hours.",
    "law school, race": "Law School, by race; Y = 1: bar passed. All numeric columns but the "
    "attributes.",
    "law school, sex": "Law School, by sex.",
}
FIGURES = {  # column of the guide: figure, and whether its standard error is shown
    "accuracy": ("score", True),
    "gap": ("gap", True),
    "worst, Y=1": ("worst gap, Y=1", True),
    "worst, Y=0": ("worst gap, Y=0", True),
    "chance": ("chance", False),
    "randomised": ("randomised", False),
    "group AUC": ("group AUC", False),
}


def page(tables: Mapping[str, pd.DataFrame]) -> str:
    """Return the tables of the guide in reStructuredText, from `Comparison.to_frame()` by name."""
    parts = []
    for name, frame in tables.items():
        rows = [["method", *FIGURES]]
        for method in frame.index:
            row = [str(method)]
            for figure, erring in FIGURES.values():
                value, error = frame.loc[method, [figure, f"{figure}, standard error"]]
                text = "–" if pd.isna(value) else f"{value:.3f}"
                row.append(f"{text} ({error:.3f})" if erring and not pd.isna(value) else text)
            rows.append(row)
        parts.append(f"{CAPTIONS[name]}\n\n{rst_table(rows)}")
    return "\n".join(parts)


def run(out: Path, quick: bool) -> list[Claim]:
    """Write a table and a page per data set; one claim each: some method helps."""
    claims, frames = [], {}
    for name, (X, y, a) in real(data_folder()):
        found = fp.compare(
            HistGradientBoostingClassifier(max_iter=60, random_state=0),
            X,
            y,
            sensitive_features=a,
            cv=2 if quick else 5,
            progress=False,
        )
        stem = name.replace(", ", "-").replace(" ", "-")
        frames[name] = found.to_frame()
        frames[name].to_csv(out / f"{stem}.csv")
        found.to_html(out / f"{stem}.html", title=name)
        (out / f"{stem}.txt").write_text(found.summary() + "\n", encoding="utf-8")
        falls = {
            m: -found.change(m, "worst gap")[0]
            for m in found.values
            if found.change(m, "score")[0] >= -0.01
        }
        best = max(falls, key=lambda m: falls[m])
        before = found.mean("nothing", "worst gap")[0]
        claims.append(
            judged(
                f"{name}: a method lowers the held-out worst gap at a loss of at most 0.01",
                f"{best}: {before:.3f} -> {before - falls[best]:.3f}",
                bool(falls[best] > 0),
                "there is little to fix",
            )
        )
    (out / "compared.inc").write_text(page(frames), encoding="utf-8")
    return claims
