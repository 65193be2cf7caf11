"""Law School (LSAC) by race and by sex: a large gap of scores, and one that is hardly there.

Needs FAIRPROG_DATA.
"""

from __future__ import annotations

from pathlib import Path

from . import tabular
from .baselines import METHODS
from .claims import Claim
from .protocol import SPLITS, data_folder, law_case


def run(out: Path, quick: bool) -> list[Claim]:
    """Write methods.csv and methods.png; claims on score steering by race, a figure by sex."""
    folder = data_folder()
    many, few = (SPLITS[:2], SPLITS[:0]) if quick else (SPLITS, SPLITS[:3])
    methods = tabular.QUICK if quick else tuple(METHODS)
    runs: list[tabular.Run] = []
    for sensitive in ("race", "sex"):
        seeds = {"boosted trees": many}
        if not quick:
            seeds |= {"logistic": few, "small network": few[:2]}
        fewer = {(name, "exponentiated gradient"): len(few[:2]) for name in seeds}
        runs += tabular.measure(law_case(folder, sensitive), seeds, fewer=fewer, methods=methods)
    tabular.write(runs, out / "methods.csv")
    tabular.draw(runs, out / "methods.png")
    sex = tabular.select(runs, "law school, sex", "boosted trees", "none")
    return [
        *tabular.promises(runs, "law school, race", (0.85, 0.85), 0.008),
        Claim(
            "law school, sex: there is little to mend (worst gaps within .04 of their floors)",
            f"excess {sex.excess[0]:.3f} / {sex.excess[1]:.3f} given Y=1 / Y=0",
            bool(sex.excess.max() <= 0.04),
            "steering what chance alone explains adds noise: audit first",
        ),
    ]
