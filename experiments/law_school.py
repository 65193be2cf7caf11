"""Law School (LSAC) by race and by sex: a large gap of scores, and one that is hardly there.

Needs FAIRPROG_DATA.
"""

from __future__ import annotations

from pathlib import Path

from . import tabular
from .baselines import METHODS
from .claims import Claim, judged
from .measured import Measured
from .protocol import LEARNERS, SPLITS, data_folder, law_case

FEWER = {("small network", "exponentiated gradient"): 2}  # fifty networks each


def run(out: Path, quick: bool) -> list[Claim]:
    """Write methods.csv and methods.png; claims on score steering by race, a figure by sex."""
    folder = data_folder()
    seeds = {"boosted trees": SPLITS[:2]} if quick else dict.fromkeys(LEARNERS, SPLITS)
    methods = tabular.QUICK if quick else tuple(METHODS)
    measured = Measured(out)
    runs: list[tabular.Run] = []
    for sensitive in ("race", "sex"):
        case = law_case(folder, sensitive)
        runs += tabular.measure(case, seeds, fewer=FEWER, methods=methods, measured=measured)
    tabular.write(runs, out / "methods.csv")
    tabular.draw(runs, out / "methods.png")
    sex = tabular.select(runs, "law school, sex", "boosted trees", "none")
    return [
        *tabular.promises(runs, "law school, race", (0.85, 0.85), 0.008),
        judged(
            "law school, sex: there is little to fix (worst gaps within 0.04 of their floors)",
            f"excess {sex.excess[0]:.3f} / {sex.excess[1]:.3f} given Y=1 / Y=0",
            bool(sex.excess.max() <= 0.04),
            "steering what chance alone explains adds noise: audit first",
        ),
    ]
