"""How often intervals of the worst gap hold the true one, and how wide and biased they are.

Scores are normal, of groups whose means are equally spaced, so that the largest Kolmogorov-Smirnov
distance is the gap asked for. "Today" are the DKW bands of every group's distribution function
that these intervals replace. Equal opportunity alone is judged, and errors of the other notions,
which do not enter it, are not drawn: they would take most of the time.

    python -m experiments.audit_coverage --samples 1000 --rows 500 2500 50000 --groups 2 3 5 8
"""

from __future__ import annotations

import argparse
import itertools
import warnings
from typing import Any
from unittest.mock import patch

import numpy as np
from scipy.special import ndtr, ndtri

import fairprog as fp
from fairprog.audits import gaps
from fairprog.evidence.worst_gap import WorstGap
from fairprog.kernels.statistics.gap_bands import dkw_half_width
from fairprog.labels import Array

LEAST, MOST = 0.94, 0.98  # coverage of a nominal 0.95
NAMES = ("covers", "above", "below", "at least", "at most", "width", "DKW width",
         "raw bias", "bias", "band", "DKW band")  # fmt: skip


LAW = gaps._law


class NotDrawn:
    """The law of a notion that is not judged."""

    def half_width(self, confidence: float) -> float:
        """Return no band."""
        return 0.0

    def interval(self, gap: float, confidence: float) -> WorstGap:
        """Return no interval."""
        return WorstGap(gap, gap, gap, gap, gap, gap, (0, 1))


def _one_law(q: int, *rows: Any) -> Any:
    return LAW(q, *rows) if gaps.NOTIONS[q] == "equal opportunity" else NotDrawn()


def one(n: int, G: int, ratio: float, gap: float, step: float, weighted: bool, seed: int) -> Array:
    """Return what one audit found, in the order of NAMES; half of the rows are of either class."""
    rng = np.random.default_rng([seed, n, G, int(ratio), int(1000 * gap)])
    shift = 2.0 * ndtri((1.0 + gap) / 2.0) * np.linspace(0.0, 1.0, G)
    mass = np.append(ratio, np.ones(G - 1))
    a = np.append(np.arange(G), rng.choice(G, n, p=mass / mass.sum()))
    s, w = rng.standard_normal(a.size) + shift[a], None
    truth = gap
    if weighted:  # rows kept with a known probability, and weighted by its inverse
        chance = np.where(s > 0.3, 1.0, 0.4)
        kept = rng.random(s.size) < chance
        kept[:G] = True
        s, a, w = s[kept], a[kept], 1.0 / chance[kept]
    if step:
        s = np.round(s / step) * step
        at = (np.arange(-40, 40) + 0.5) * step
        truth = float(np.ptp(ndtr(at[:, None] - shift), axis=1).max())
    # the class is a coin; its rows alone are judged by equal opportunity
    y, s2 = np.append(np.ones(s.size), np.zeros(2 * G)), np.append(s, np.full(2 * G, -9.0))
    a2 = np.append(a, np.tile(np.arange(G), 2))
    w2 = None if w is None else np.append(w, np.ones(2 * G))
    with warnings.catch_warnings(), patch.object(gaps, "_law", _one_law):
        warnings.simplefilter("ignore")
        found = fp.audit(y, s2, sensitive_features=a2, sample_weight=w2, n_permutations=99)
    g: Any = found.worst["equal opportunity", "score"]
    band = next(c for c in found.curves if c.title == "equal opportunity").half_width
    e = float(np.sort(dkw_half_width(np.bincount(a, minlength=G), G))[-2:].sum())
    return np.array([
        g.low <= truth <= g.high, truth > g.high, truth < g.low, g.at_least <= truth,
        truth <= g.at_most, g.high - g.low, min(g.gap + e, 1.0) - max(g.gap - e, 0.0),
        g.gap - truth, g.estimate - truth, band, e,
    ])  # fmt: skip


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--rows", type=int, nargs="+", default=[500, 2500, 50000])
    parser.add_argument("--groups", type=int, nargs="+", default=[2, 3, 5, 8])
    parser.add_argument("--ratios", type=float, nargs="+", default=[1, 20])
    parser.add_argument("--gaps", type=float, nargs="+", default=[0.0, 0.06, 0.15, 0.3])
    parser.add_argument("--step", type=float, default=0.0, help="scores are multiples of it")
    parser.add_argument("--weighted", action="store_true")
    args = parser.parse_args()
    head = ("rows", "groups", "ratio", "gap", "samples", *NAMES)
    print("  ".join(f"{name:>9}" for name in head))
    cases = list(itertools.product(args.rows, args.groups, args.ratios, args.gaps))
    inside, error = 0, np.sqrt(0.95 * 0.05 / args.samples)
    for n, G, ratio, gap in cases:
        found = [one(n, G, ratio, gap, args.step, args.weighted, k) for k in range(args.samples)]
        mean = np.mean(found, axis=0)
        inside += LEAST <= mean[0] <= MOST
        row = (f"{n}", f"{G}", f"{ratio:g}", f"{gap:.2f}", f"{args.samples}",
               *(f"{x:.3f}" for x in mean))  # fmt: skip
        print("  ".join(f"{cell:>9}" for cell in row), flush=True)
    print(f"{inside} of {len(cases)} cases are covered in {LEAST} to {MOST} of the samples; the "
          f"standard error of a coverage of 0.95 is {error:.4f}")  # fmt: skip


if __name__ == "__main__":
    main()
