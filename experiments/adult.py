"""UCI Adult by sex, all columns: every baseline on a large, mostly categorical table.

Indicators stay as they are and tell the group, so steering features does little here, and scores
are steered. Needs FAIRPROG_DATA.
"""

from __future__ import annotations

from pathlib import Path

from . import tabular
from .baselines import METHODS
from .claims import Claim
from .measured import Measured
from .protocol import LEARNERS, SPLITS, adult_case, data_folder

FEWER = {("small network", "exponentiated gradient"): 2}  # fifty networks each


def run(out: Path, quick: bool) -> list[Claim]:
    """Write methods.csv and methods.png; claims on score steering."""
    case = adult_case(data_folder())
    seeds = {"boosted trees": SPLITS[:2]} if quick else dict.fromkeys(LEARNERS, SPLITS)
    methods = tabular.QUICK if quick else tuple(METHODS)
    runs = tabular.measure(case, seeds, fewer=FEWER, methods=methods, measured=Measured(out))
    tabular.write(runs, out / "methods.csv")
    tabular.draw(runs, out / "methods.png")
    return tabular.promises(runs, case.name, (0.45, 0.65), 0.005)
