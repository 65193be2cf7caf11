"""How often `Solution.drift` raises an alarm: rows of the same population, and of moved ones.

Normal populations are fitted to rows that are normal, skew, heavy-tailed or hold a point mass, and
then asked about as many new ones: from the same laws, with one cell shifted by 0.4 or stretched by
1.4. The family is wrong in all but the first; alarms on unmoved rows should be at most 5 %.

    python -m experiments.drift_alarms --samples 200 --rows 500 4000
"""

from __future__ import annotations

import argparse
import itertools
from typing import Any

import numpy as np

import fairprog as fp

LAWS = ("normal", "skew", "point mass", "heavy tails")


def draw(
    law: str, n: int, rng: np.random.Generator, shift: float = 0.0, stretch: float = 1.0
) -> Any:
    """Return rows x, y, a of two classes and groups; class 1 of group 1 may have moved."""
    y, a = rng.integers(0, 2, n), rng.integers(0, 2, n)
    x = {
        "normal": lambda: rng.standard_normal(n),
        "skew": lambda: rng.exponential(size=n),
        "point mass": lambda: rng.exponential(size=n) + 0.5,
        "heavy tails": lambda: rng.standard_t(4, n),
    }[law]()
    cell = (a == 1) & (y == 1)
    x = np.where(cell, stretch, 1.0) * x + 0.5 * y + 0.3 * a * y
    if law == "point mass":
        x = np.where(rng.random(n) < 0.4, 0.0, x)
    return x + shift * cell, y, a


def alarms(law: str, n: int, labelled: bool, samples: int, **move: float) -> float:
    """Return the share of samples that raise an alarm."""
    found = 0
    for seed in range(samples):
        rng = np.random.default_rng([seed, n])
        x, y, a = draw(law, n, rng)
        sol = fp.NearestIdeal(fp.Normal.fit(x, y, sensitive_features=a), steer=[1]).solve(
            "closed-form"
        )
        x, y, a = draw(law, n, rng, **move)
        found += sol.drift(x, y if labelled else None, sensitive_features=a).drifted
    return found / samples


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--rows", type=int, nargs="+", default=[500, 4000])
    args = parser.parse_args()
    print(f"{'rows':>6} {'law':12} {'labels':6} {'same':>7} {'shifted':>8} {'stretched':>10}"
          f"   of {args.samples} samples")  # fmt: skip
    for n, law, labelled in itertools.product(args.rows, LAWS, (True, False)):
        same, shifted, stretched = (
            alarms(law, n, labelled, args.samples, **move)
            for move in ({}, {"shift": 0.4}, {"stretch": 1.4})
        )
        word = "yes" if labelled else "no"
        print(f"{n:6} {law:12} {word:6} {same:7.3f} {shifted:8.3f} {stretched:10.3f}", flush=True)


if __name__ == "__main__":
    main()
