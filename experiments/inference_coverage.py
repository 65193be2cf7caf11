"""How often intervals of an answer hold the true divergence, price and map.

Populations are drawn as sufficient statistics of n rows of a known one; the truth is the known
one's own answer. Reported: coverage of every quantity (of the entries of maps the mean and where
95 % of them lie), mean width, and that over the width that the estimates' own spread asks for.
The known one is that of the README, or fitted to real rows (needs FAIRPROG_DATA).

    python -m experiments.inference_coverage --samples 1000 --rows 4000
    python -m experiments.inference_coverage --samples 300 --population bios
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import fairprog as fp
from experiments.bios import most_common
from experiments.ideality_size import draw_normal
from experiments.protocol import compas_case, data_folder
from fairprog.labels import Array


def readme() -> fp.Normal:
    """Return the population of the README."""
    return fp.Normal(
        [[0.3, 0.2], [0.3, 0.2]], [[0.0, 1.0], [2.0, 2.0]], std=[[1.0, 1.0], [1.0, 2.0]]
    )


def numbers(answer: fp.Solution, found: fp.Inference | None = None) -> dict[str, tuple[Any, ...]]:
    """Return (low, high) by name, or of the answer alone (value, value)."""
    if found is None:
        out: dict[str, tuple[Any, ...]] = {"KL": (np.array(answer.kl),) * 2}
        out |= {f"price {k}": (np.array(v),) * 2 for k, v in answer.price.items()}
        for g, T in answer.affine.items():
            out |= {f"matrix {g}": (T.matrix,) * 2, f"offset {g}": (T.offset,) * 2}
        return out
    out = {"KL": (np.array(found.kl.low), np.array(found.kl.high))}
    out |= {f"price {k}": (np.array(e.low), np.array(e.high)) for k, e in found.price.items()}
    for name in ("matrix", "offset"):
        out |= {f"{name} {g}": (e.low, e.high) for g, e in getattr(found, name).items()}
    return out


def compas() -> fp.Normal:
    """Return the population fitted to the features of COMPAS, four columns, by class and race."""
    rows = compas_case(data_folder()).rows
    return fp.Normal.fit(rows.X, rows.y, sensitive_features=rows.group)


def bios(components: int = 32) -> fp.Normal:
    """Return the population of six occupations in Bios by gender, principal components."""
    rows = most_common(6)
    X = rows.X - rows.X.mean(axis=0)
    _, V = np.linalg.eigh(X.T @ X)
    return fp.Normal.fit(X @ V[:, -components:], rows.y, sensitive_features=rows.gender)


POPULATIONS: dict[str, tuple[Callable[[], fp.Normal], tuple[Any, ...]]] = {
    "readme": (readme, ([1], "all")),  # population, what is steered
    "compas": (compas, ([0], [1])),
    "bios": (bios, ([1],)),
}


@dataclass(frozen=True)
class Covered:
    """What was found of one quantity, entry by entry.

    Attributes
    ----------
    share : Array
        Of the samples whose interval holds the truth.
    width : Array
        Mean width of the interval.
    ratio : Array
        That over the width of 1.96 standard deviations of the estimates to either side.
    """

    share: Array
    width: Array
    ratio: Array


def coverage(D: fp.Normal, n: int, samples: int, **options: Any) -> dict[str, Covered]:
    """Return coverage and mean width of every quantity, entry by entry."""
    truth = numbers(fp.NearestIdeal(D, **options).solve())
    found: dict[str, list[tuple[Any, Any]]] = {}
    values: dict[str, list[Any]] = {}
    solver = "closed-form" if D.n_features == 1 else "newton"
    for seed in range(samples):
        E = draw_normal(D, n, np.random.default_rng([seed, n]))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            answer = fp.NearestIdeal(E, **options).solve(solver)
            intervals = numbers(answer, answer.inference())
        estimates = numbers(answer)
        for name, ends in intervals.items():
            found.setdefault(name, []).append(ends)
            values.setdefault(name, []).append(estimates[name][0])
    out = {}
    for name, both in found.items():
        low, high = (np.array(side) for side in zip(*both, strict=True))
        width = (high - low).mean(axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = width / (2.0 * 1.96 * np.std(values[name], axis=0, ddof=1))
        share = ((low <= truth[name][0]) & (truth[name][0] <= high)).mean(axis=0)
        out[name] = Covered(share, width, ratio)
    return out


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--rows", type=int, help="default 4000, of fitted populations their own")
    parser.add_argument("--population", choices=POPULATIONS, default="readme")
    args = parser.parse_args()
    make, steered = POPULATIONS[args.population]
    D = make()
    n = args.rows or (4000 if D.n_rows is None else int(D.n_rows.sum()))
    error = np.sqrt(0.95 * 0.05 / args.samples)
    print(f"{args.population}: {n} rows, {args.samples} samples, standard error of a coverage of "
          f"0.95: {error:.4f}")  # fmt: skip
    for steer in steered:
        groups = steer if steer == "all" else [D.groups[a] for a in steer]
        found = coverage(D, n, args.samples, steer=groups)
        for name, own in found.items():
            share = np.ravel(own.share)
            inside = np.mean((share >= 0.93) & (share <= 0.97))
            said = f"{share[0]:.3f}"
            if share.size > 1:
                low, high = np.quantile(share, [0.025, 0.975])
                said = f"{share.mean():.3f} ({low:.3f} to {high:.3f}; {inside:.3f} in .93 to .97)"
            print(f"steer={groups}: {name:22} covers {said}; width {np.mean(own.width):.4f}, over "
                  f"that of its spread {np.nanmean(own.ratio):.3f}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
