"""UCI Adult by sex, all columns: every baseline on a large, mostly categorical table.

Indicators are no normal variables, so steering features is refused or poor here, and scores are
steered. Needs FAIRPROG_DATA.
"""

from __future__ import annotations

from pathlib import Path

from . import tabular
from .baselines import METHODS
from .claims import Claim
from .protocol import SPLITS, adult_case, data_folder


def run(out: Path, quick: bool) -> list[Claim]:
    """Write methods.csv and methods.png; claims on score steering."""
    case = adult_case(data_folder())
    if quick:
        seeds = {"boosted trees": SPLITS[:2]}
        fewer: dict[tuple[str, str], int] = {}
    else:
        seeds = {"boosted trees": SPLITS, "logistic": SPLITS[:2]}
        fewer = {
            ("boosted trees", "exponentiated gradient"): 1,
            ("logistic", "exponentiated gradient"): 0,
            ("boosted trees", "score steering, five folds"): 3,
        }
    methods = tabular.QUICK if quick else tuple(METHODS)
    runs = tabular.measure(case, seeds, fewer=fewer, methods=methods)
    tabular.write(runs, out / "methods.csv")
    tabular.draw(runs, out / "methods.png")
    return tabular.promises(runs, case.name, (0.45, 0.65), 0.005)
