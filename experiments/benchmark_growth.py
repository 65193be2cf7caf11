"""Benchmarks of what everybody waits for: small programs, many groups, wide tables, the import.

Processor time in seconds.
"""

from __future__ import annotations

import subprocess
import sys
import warnings
from functools import partial
from typing import Any

import numpy as np

import fairprog as fp

from .timing import Row, benchmark, best_of, growth, point


def matrices(d: int, K: int = 2, G: int = 2, seed: int = 0) -> fp.Normal:
    """Return a random normal population with full covariances."""
    rng = np.random.default_rng(seed)
    F = rng.normal(size=(K, G, d, 3 * d))
    cov = F @ np.swapaxes(F, -1, -2) / (3 * d)
    return fp.Normal(np.full((K, G), 1 / (K * G)), rng.normal(size=(K, G, d)), cov=cov)


def quietly(call: Any) -> Any:
    """Call without the warnings of few rows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return call()


@benchmark
def small_programs() -> list[Row]:
    """One group to the other, exact and proven without a solver."""
    rows: list[Row] = []
    for d, wanted in ((2, ""), (8, "<= 0.02"), (12, "<= 0.02"), (16, "")):
        solve = fp.NearestIdeal(matrices(d), steer=[1]).solve
        quietly(solve)
        seconds, sol = best_of(3, solve)
        rows.append((f"d = {d}, K = 2: solve", seconds, "s", wanted))
        assert sol.certificate.globally_optimal
    return rows


@benchmark
def many_groups() -> list[Row]:
    """All groups steered."""
    sizes = [3.0, 6.0, 8.0]
    seconds = [
        point("groups G (d = 4, K = 2)", "all groups", G, best_of(1, solve)[0])
        for G in sizes
        for solve in [fp.NearestIdeal(matrices(4, 2, int(G))).solve]
    ]
    rows: list[Row] = [
        (f"G = {int(G)}, d = 4, K = 2", t, "s", "<= 2")
        for G, t in zip(sizes, seconds, strict=True)
    ]
    rows.append(("exponent in G, 3 to 8", growth(sizes, seconds), "", "<= 1.1"))
    bank, _ = best_of(1, fp.NearestIdeal(matrices(33, 2, 12)).solve)
    return [*rows, ("G = 12, d = 33, K = 2", bank, "s", "<= 60")]


@benchmark
def wide_reports() -> list[Row]:
    """Measure what is said about 100,000 independent features of three classes."""
    rng, d = np.random.default_rng(0), 100_000
    mean, var = 0.1 * rng.normal(size=(3, 2, d)), rng.uniform(0.5, 2.0, size=(3, 2, d))
    D = fp.Normal(np.full((3, 2), 1 / 6), mean, cov=var, covariance="diagonal")
    solved, sol = best_of(1, fp.NearestIdeal(D, steer=[1]).solve)
    summary, _ = best_of(1, sol.summary)
    gap, _ = best_of(1, matrices(3, 3).ideality_gap)
    return [
        ("100,000 features, K = 3: solve", solved, "s", ""),
        ("100,000 features, K = 3: summary", summary, "s", "<= 5"),
        ("ideality_gap, d = 3, K = 3", gap, "s", "<= 0.5"),
    ]


@benchmark
def streams() -> list[Row]:
    """Rows that end in a layer norm against others; scores counted in bins."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60_000, 384), dtype=np.float32)
    normed = (X - X.mean(axis=1, keepdims=True)) / X.std(axis=1, keepdims=True)
    y, a = rng.integers(3, size=len(X)), rng.integers(2, size=len(X))
    plain, layer = (
        best_of(3, partial(fp.Moments().partial_fit, Z, y, sensitive_features=a))[0]
        for Z in (X, normed)
    )
    n = 10_000_000
    s, y, a = rng.random(n), rng.integers(2, size=n), rng.integers(3, size=n)
    counted, _ = best_of(1, partial(fp.ScoreCounts(1000).partial_fit, s, y, sensitive_features=a))
    return [
        ("moments: rows of a layer norm over ordinary ones", layer / plain, "", "<= 1.5"),
        ("counting scores in 1,000 bins, a billion of them", 1e9 * counted / n, "s", ""),
    ]


COUNTING = """
import resource, sys
import numpy as np
import fairprog as fp

counts, rng = fp.ScoreCounts(1000), np.random.default_rng(0)
started, drawing = resource.getrusage(resource.RUSAGE_SELF).ru_utime, 0.0
for start in range(0, int(sys.argv[1]), 1_000_000):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    s, y, a = rng.random(10**6), rng.integers(2, size=10**6), rng.integers(3, size=10**6)
    drawing += resource.getrusage(resource.RUSAGE_SELF).ru_utime - before
    counts.partial_fit(s, y, sensitive_features=a)
used = resource.getrusage(resource.RUSAGE_SELF)
assert counts.population().n_rows.sum() == int(sys.argv[1])
print(used.ru_utime - started - drawing, used.ru_maxrss / 1024)
"""


@benchmark(long=True)
def counts_of_100_000_000_scores() -> list[Row]:
    """Scores in 1,000 bins, a million rows at a time, in a process of its own."""
    found = {}
    for n in (1_000_000, 100_000_000):
        command = [sys.executable, "-c", COUNTING, str(n)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found[n] = [float(x) for x in done.stdout.split()]
    (_, first), (seconds, peak) = found.values()
    return [
        ("one core, without drawing them", seconds, "s", ""),
        ("peak memory of the process", peak, "MB", ""),
        ("of that beyond the first million", peak - first, "MB", "<= 20"),
    ]


@benchmark
def starting() -> list[Row]:
    """Measure fresh interpreters; of the import, less what one takes by itself."""

    def fresh(*arguments: str) -> float:
        import resource

        def used() -> float:
            own = resource.getrusage(resource.RUSAGE_CHILDREN)
            return own.ru_utime + own.ru_stime

        best = np.inf
        for _ in range(5):
            before = used()
            subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
            best = min(best, used() - before)
        return float(best)

    empty = fresh("-c", "pass")
    return [
        ("import fairprog", fresh("-c", "import fairprog") - empty, "s", "<= 0.25"),
        ("fairprog --help", fresh("-m", "fairprog", "--help"), "s", "<= 0.3"),
    ]
