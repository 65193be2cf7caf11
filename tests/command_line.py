"""A table of people, and `fairprog steer` on it: what is printed, what is refused."""

import re

import numpy as np
import pandas as pd

from fairprog.cli import main


def people(n=600, seed=0, groups=("a", "b")) -> pd.DataFrame:
    """Two numeric features that favour the last group, in cells that are normal."""
    rng = np.random.default_rng(seed)
    g = rng.choice(groups, n, p=[0.6] + [0.4 / (len(groups) - 1)] * (len(groups) - 1))
    y = (rng.random(n) < np.where(g == groups[0], 0.45, 0.55)).astype(int)
    later = g != groups[0]
    x1 = 1.5 * y + 1.2 * later + (1 + 0.4 * later) * rng.normal(size=n)
    x2 = 40 + 3 * y + later + 0.5 * x1 + rng.normal(size=n)
    return pd.DataFrame({"x1": x1.round(4), "x2": x2.round(3), "g": g, "y": y})


def steer(*extra: str, data="data.csv", label="y", sensitive="g", splits="0") -> int:
    return main(
        ["steer", data, "--label", label, "--sensitive", sensitive, "--splits", splits, *extra]
    )


def write(data: pd.DataFrame, name="data.csv") -> None:
    data.to_csv(name, index=False)


def refused(capsys, code: int) -> str:
    """What stderr says of a refusal: one line, no traceback."""
    assert code == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "Traceback" not in said
    return said


def held_out(capsys, *extra: str, splits="4", **options: str) -> dict[str, list[float]]:
    """What is printed of rows held out, by method: score, gap, worst gaps, chance, ..."""
    assert steer("--quiet", *extra, splits=splits, **options) == 0
    said = capsys.readouterr().out
    rows = re.findall(r"^(nothing|aligned features) +(.*)$", said, flags=re.MULTILINE)
    found: dict[str, list[float]] = {}
    for name, text in rows:  # of the several tables a narrow terminal gets
        found.setdefault(name, []).extend(map(float, re.sub("±\\S+", "", text).split()))
    return found
