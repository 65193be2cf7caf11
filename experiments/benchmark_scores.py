"""Fair classifiers over scores: sorting against the linear program."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

import fairprog as fp
from fairprog.labels import Array

from .benchmark_peers import labelled_scores
from .timing import Row, benchmark, best_of, growth, peak_memory, point

__all__ = ["equal_opportunity_lp", "scored_rows", "sorted_solution"]


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
    extra = peak_memory(lambda: sorted_solution(score, group, fp.EqualizedOdds()))
    return [
        ("from arrays to certificate", seconds, "s", "<= 10"),
        ("the same in sorts of the scores", seconds / sorting, "", ""),
        ("peak extra memory over the scores", extra / score.nbytes, "", "<= 3"),
        ("duality gap", solution.certificate.duality_gap, "", "<= 1e-7"),
        ("violation", solution.certificate.violation, "", ""),
    ]


@benchmark
def rows_growth() -> list[Row]:
    """Measure how time grows with rows: sorting scores, gathering moments of 64 features."""
    sizes = [1e4, 3e4, 1e5, 3e5, 1e6]
    panel = "rows n"
    X = np.random.default_rng(0).standard_normal((int(sizes[-1]), 64), dtype=np.float32)
    sorting: list[float] = []
    gathering: list[float] = []
    for size in sizes:
        n = int(size)
        score, group = scored_rows(n)
        y = (score > 0.5).astype(int)
        solve = partial(sorted_solution, score, group, fp.EqualizedOdds())
        gather = partial(fp.Moments().partial_fit, X[:n], y, sensitive_features=group)
        for name, times, call in (
            ("equalized odds by sorting", sorting, solve),
            ("moments, 64 features", gathering, gather),
        ):
            times.append(point(panel, name, size, best_of(3, call)[0]))
    return [
        ("exponent in n, equalized odds by sorting", growth(sizes, sorting), "", ""),
        ("exponent in n, moments of 64 features", growth(sizes, gathering), "", ""),
    ]


@benchmark
def fair_score_1_000_000_rows() -> list[Row]:
    """Measure fair scores and quantile maps of unweighted rows in sorts of the scores."""
    score, y, group = labelled_scores(1_000_000)
    who, key = {"sensitive_features": group}, np.arange(group.size)
    sorting, _ = best_of(3, lambda: np.argsort(score))

    def fair_score() -> Any:
        counts = fp.ScoreCounts().partial_fit(score, y, **who)
        return fp.FairScore(counts.population()).solve()

    fair, solution = best_of(3, fair_score)
    rows: list[Row] = [
        ("FairScore, bound 0, counting too, in argsorts", fair / sorting, "", "<= 5"),
        ("its duality gap", solution.certificate.duality_gap, "", "<= 1e-8"),
    ]
    for method, wanted in (("channel", ""), ("quantile", "<= 8")):
        fitted, step = best_of(3, partial(fp.ScoreSteering(method=method).fit, score, y, **who))
        moved, _ = best_of(3, partial(step.transform, score, key=key, **who))
        rows += [
            (f"ScoreSteering, {method}: fit, in argsorts", fitted / sorting, "", wanted),
            (f"ScoreSteering, {method}: transform", moved, "s", "<= 0.2"),
        ]
    return rows
