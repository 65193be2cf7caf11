"""How often intervals of an answer hold the true divergence, price and map.

Populations are drawn as sufficient statistics of n rows of a known one; the truth is the known
one's own answer. Reported: coverage of every quantity, and mean width.

    python -m experiments.inference_coverage --samples 1000 --rows 4000
"""

from __future__ import annotations

import argparse
import warnings
from typing import Any

import numpy as np

import fairprog as fp
from experiments.ideality_size import draw_normal
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


def coverage(D: fp.Normal, n: int, samples: int, **options: Any) -> dict[str, tuple[Array, Array]]:
    """Return coverage and mean width of every quantity, entry by entry."""
    truth = numbers(fp.NearestIdeal(D, **options).solve())
    hits: dict[str, list[Any]] = {}
    widths: dict[str, list[Array]] = {}
    solver = "closed-form" if D.n_features == 1 else "newton"
    for seed in range(samples):
        E = draw_normal(D, n, np.random.default_rng([seed, n]))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            answer = fp.NearestIdeal(E, **options).solve(solver)
            found = numbers(answer, answer.inference())
        for name, (low, high) in found.items():
            hits.setdefault(name, []).append((low <= truth[name][0]) & (truth[name][0] <= high))
            widths.setdefault(name, []).append(high - low)
    return {k: (np.mean(v, axis=0), np.mean(widths[k], axis=0)) for k, v in hits.items()}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--rows", type=int, default=4000)
    args = parser.parse_args()
    for steer in ([1], "all"):
        found = coverage(readme(), args.rows, args.samples, steer=steer)
        for name, (share, width) in found.items():
            entries = " ".join(f"{x:.3f}" for x in np.ravel(share))
            print(f"steer={steer}: {name:18} covers {entries}; width {np.mean(width):.4f}",
                  flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
