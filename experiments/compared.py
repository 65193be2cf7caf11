"""`fp.compare` on COMPAS, Adult and Law School by both attributes: every method, five folds.

Boosted trees on the columns of `fit_choices`. Needs FAIRPROG_DATA.
"""

from __future__ import annotations

from pathlib import Path

from sklearn.ensemble import HistGradientBoostingClassifier

import fairprog as fp

from .claims import Claim, judged
from .fit_choices import real
from .protocol import data_folder

__all__ = ["run"]


def run(out: Path, quick: bool) -> list[Claim]:
    """Write a table and a page per data set; one claim each: some method helps."""
    claims = []
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
        found.to_frame().to_csv(out / f"{stem}.csv")
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
                f"{name}: a method lowers the held-out worst gap at a loss of at most .01",
                f"{best}: {before:.3f} -> {before - falls[best]:.3f}",
                bool(falls[best] > 0),
                "there is little to mend",
            )
        )
    return claims
