"""Benchmarks: ratios of processor times measured in one run: a busy machine changes little.

A benchmark is a function that returns rows ``(what, value, unit, target)``; it is registered under
its name by ``@benchmark``. Run ``python -m experiments.benchmark [NAME ...]``, or
``make benchmark``: the table is printed and written to results/benchmark.csv.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

import fairprog as fp
from fairprog.labels import Array

from .benchmark_moments import align_rows, diagonal_100_000_features, moments_of_a_memory_map
from .claims import write_csv

__all__ = ["BENCHMARKS", "benchmark", "main"]

Row = tuple[str, float, str, str]
BENCHMARKS: dict[str, Callable[[], list[Row]]] = {}


def benchmark(function: Callable[[], list[Row]]) -> Callable[[], list[Row]]:
    """Register a benchmark under its function's name."""
    BENCHMARKS[function.__name__] = function
    return function


def best_of(repeats: int, call: Callable[[], Any]) -> tuple[float, Any]:
    """Return the shortest processor time of several calls, in seconds, and the last result."""
    times, result = [], None
    for _ in range(repeats):
        started = time.process_time()
        result = call()
        times.append(time.process_time() - started)
    return min(times), result


def scored_rows(n: int, seed: int = 0) -> tuple[Array, Any]:
    """Return scores and groups (two, 60 : 40, with different laws of the score)."""
    rng = np.random.default_rng(seed)
    group = (rng.random(n) < 0.4).astype(np.int8)
    return rng.beta(1.0 + group, 2.0, n), group


def equal_opportunity_lp(score: Array, group: Any, solver: str, bounds: bool = False) -> float:
    """Solve equal opportunity as a linear program with one variable per row, through CVXPY.

    With `bounds` 0 <= h <= 1 is an attribute of the variable, which spares CVXPY two sparse
    matrices; otherwise it is written as two constraints.
    """
    import cvxpy as cp

    n = len(score)
    h, level = cp.Variable(n, bounds=[0, 1] if bounds else None), cp.Variable()
    constraints = [] if bounds else [h >= 0, h <= 1]
    for a in (0, 1):
        positives = np.where(group == a, score, 0.0)
        constraints.append((positives / positives.sum()) @ h == level)
    risk = cp.sum(score) / n + ((1.0 - 2.0 * score) / n) @ h
    problem = cp.Problem(cp.Minimize(risk), constraints)
    with np.errstate(all="ignore"):  # CVXPY propagates infinite bounds
        problem.solve(solver=solver)
    return float(problem.value)


def sorted_solution(score: Array, group: Any, notion: fp.Notion) -> fp.ClassifierSolution:
    """Check the rows, solve by sorting, return classifier, table and certificate."""
    D = fp.Categorical.from_scores(score, sensitive_features=group)
    return fp.FairClassifier(D, fp.ErrorRate(), [notion]).solve(solver="SORT")


@benchmark
def scores_100_000_rows() -> list[Row]:
    """Equal opportunity: sorting against the linear program, three ways."""
    score, group = scored_rows(100_000)
    fast, solution = best_of(7, lambda: sorted_solution(score, group, fp.EqualOpportunity()))
    rows: list[Row] = [("sorting, from arrays to certificate", 1e3 * fast, "ms", "")]
    for name, solver, bounds, wanted in (
        ("HiGHS", "HIGHS", False, ">= 100"),
        ("Clarabel", "CLARABEL", False, ">= 100"),
        ("HiGHS, bounds as attribute", "HIGHS", True, ""),
    ):
        slow, value = best_of(2, partial(equal_opportunity_lp, score, group, solver, bounds))
        rows += [
            (f"CVXPY, {name}", slow, "s", ""),
            (f"ratio to CVXPY, {name}", slow / fast, "", wanted),
        ]
        if solver == "HIGHS":
            rows.append((f"optimum off, {name}", abs(solution.risk - value), "", "<= 1e-8"))
    return [*rows, ("duality gap", solution.certificate.duality_gap, "", "")]


@benchmark
def scores_5_000_000_rows() -> list[Row]:
    """Equalized odds: time, and peak memory beyond the scores."""
    score, group = scored_rows(5_000_000)
    seconds, solution = best_of(3, lambda: sorted_solution(score, group, fp.EqualizedOdds()))
    sorting, _ = best_of(1, lambda: np.sort(score))
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    sorted_solution(score, group, fp.EqualizedOdds())
    extra = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    return [
        ("from arrays to certificate", seconds, "s", "<= 10"),
        ("the same in sorts of the scores", seconds / sorting, "", ""),
        ("peak extra memory over the scores", extra / score.nbytes, "", "<= 3"),
        ("duality gap", solution.certificate.duality_gap, "", "<= 1e-7"),
        ("violation", solution.certificate.violation, "", ""),
    ]


for measured in (moments_of_a_memory_map, align_rows, diagonal_100_000_features):
    benchmark(measured)


def main(arguments: list[str] | None = None) -> None:
    """Run the named benchmarks (all without names), print and write the table."""
    parser = argparse.ArgumentParser(description="Benchmarks of fairprog.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--out", type=Path, default=Path("results"))
    options = parser.parse_args(arguments)
    unknown = [name for name in options.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"there is no benchmark {unknown}; there are {list(BENCHMARKS)}")
    table = []
    for name in tqdm(options.names or list(BENCHMARKS), disable=None):
        table += [[name, *row] for row in BENCHMARKS[name]()]
    for name, what, value, unit, target in table:
        wanted = f"   wanted {target}" if target else ""
        print(f"{name:22} {what:42} {value:12.4g} {unit:3}{wanted}")
    options.out.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(dir=options.out, suffix=".csv")
    os.close(handle)
    write_csv(Path(part), ["benchmark", "what", "value", "unit", "wanted"], table)
    os.replace(part, options.out / "benchmark.csv")


if __name__ == "__main__":
    main()
