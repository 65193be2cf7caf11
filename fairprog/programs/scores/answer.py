"""From paths, or the linear program, to channels; and the proof, made from all atoms."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from fairprog.errors import DataError, InfeasibleError, SolverError
from fairprog.kernels.scores.pool_channel import pool_channel
from fairprog.kernels.scores.roc_hulls import area, height, least_value, roc_curve
from fairprog.labels import Array
from fairprog.programs.scores.fair_path import both_rates_path, common_path, one_rate_path
from fairprog.programs.scores.question import ScoreQuestion
from fairprog.solution.channel import Channel
from fairprog.solution.score_solution import ScoreCertificate, ScoreSolution

GRID = 20  # thresholds of the linear program where all costs count
FEW = 1600  # entries of a channel up to which that of least movement is found
NEXT_TO_ZERO = 1e-7  # a bound at which prices are those at 0
SMALL = 1e-9  # mass of a block that HiGHS would take for rounding


def path_of(question: ScoreQuestion, curves: Sequence[Array]) -> Any:
    """Return the path of the question."""
    events, bound, q = question.events, question.bound, question.q
    if len(events) == 1:
        return one_rate_path(curves, q, events[0], bound)
    if bound == 0.0 or len(curves) == 1:
        return common_path(curves, q)
    return both_rates_path(curves, q, bound)


def solve_by_path(question: ScoreQuestion, started: float) -> ScoreSolution:
    """Return the answer of the closed ways: hulls, path, pool."""
    blocks = [question.blocks(a) for a in range(len(question.mass))]
    curves = [curve for _, curve in blocks]
    points, cost, K = path_of(question, curves)
    price = 0.5 * np.abs(K).sum(axis=(1, 2))
    node = _nodes(cost)
    at_price, value = _price_at(question, curves, cost, price)
    lowest = np.concatenate([[0.0], _dual(question, cost, K, price)[::-1], [0.0]])
    levels = cost
    if question.costs is not None:  # of the path only what serves these costs
        wanted = question.costs[::-1]
        at = [0, *(np.searchsorted(-cost, -wanted, side="left")), len(points) - 1]
        points, levels = points[at], 0.5 * (np.append(1.0, wanted) + np.append(wanted, 0.0))
    chance = []
    for a, curve in enumerate(curves):
        pool = pool_channel(curve, points[:, a])[::-1, ::-1]
        chance.append(_of_least_movement(pool, np.diff(curve, axis=0)[::-1]))
    rising = _strictly(levels[::-1])
    if question.costs is None:
        dual = float(np.trapezoid(lowest, node))
        parts, total = (at_price, value), float(np.trapezoid(value, at_price))
    else:
        served = np.interp(question.costs, node, lowest)
        parts = question.costs, np.interp(question.costs, at_price, value)
        dual, total = float(served.mean()), float(parts[1].mean())
    starts = [s for s, _ in blocks]
    return _solution(question, starts, rising, chance, parts, total, dual, "path", started)


def _price_at(
    question: ScoreQuestion, curves: Sequence[Array], cost: Array, price: Array
) -> tuple[Array, Array]:
    """Return costs and the price there.

    At bound 0 every larger price is valid, too; for two groups it is the least one, that of a
    bound next to 0.
    """
    if len(question.events) == len(curves) == 2 and question.bound == 0.0:
        _, cost, K = both_rates_path(curves, question.q, NEXT_TO_ZERO)
        price = 0.5 * np.abs(K).sum(axis=(1, 2))
    return _nodes(cost), np.concatenate([[0.0], price[::-1], [0.0]])


def _nodes(cost: Array) -> Array:
    return np.concatenate([[0.0], cost[::-1], [1.0]])


def _strictly(levels: Array) -> Array:
    """Return levels that rise strictly: equal ones are moved apart by a digit."""
    out = levels.copy()
    for k in range(1, len(out)):
        if out[k] <= out[k - 1]:
            out[k] = np.nextafter(out[k - 1], np.inf)
    return out


def _dual(question: ScoreQuestion, cost: Array, K: Array, price: Array) -> Array:
    """Return the Lagrangian's minimum at every cost, over hulls of all atoms: a lower bound."""
    q, events = question.q, question.events
    out = (1.0 - cost) * q[1].sum() - question.bound * price
    for a, (_, hull) in enumerate(question.hulls):
        w = cost * q[0, a] - K[:, :, a] @ events[:, a, 0]
        u = (1.0 - cost) * q[1, a] + K[:, :, a] @ events[:, a, 1]
        out += least_value(hull, w, u)
    return out


def _solution(
    question: ScoreQuestion,
    starts: Sequence[Any],
    levels: Array,
    chance: Sequence[Array],
    parts: tuple[Array, Array],
    price: float,
    dual: float,
    solver: str,
    started: float,
    weights: Array | None = None,
) -> ScoreSolution:
    """Return the solution with its certificate."""
    D, groups = question.population, question.population.groups
    channels, mass, auc, hull = {}, {}, {}, 0.0
    for a, g in enumerate(groups):
        s, m = question.scores[a], question.mass[a]
        first = starts[a]
        cuts = s[first[1:] - 1] + 0.5 * (s[first[1:]] - s[first[1:] - 1])
        cuts = np.where(cuts > s[first[1:] - 1], cuts, s[first[1:]])
        channels[g] = Channel(cuts, levels, np.ascontiguousarray(chance[a]))
        mass[g] = np.add.reduceat(m, first, axis=0)
        raw = roc_curve(m)
        auc[g] = (area(raw), area(roc_curve((mass[g].T @ chance[a]).T)))
        hull = max(hull, float((raw[:, 1] - height(question.hulls[a][1], raw[:, 0])).max()))
    settings = {
        "notion": question.notion,
        "staying": tuple(groups[a] for a in question.staying),
        "constraints": tuple(c.name for c in question.conditions),
        "costs": question.costs if solver == "path" else parts[0],
        "thresholds": levels[1:] if question.staying else None,
        "weights": weights,
    }
    out = ScoreSolution(
        channels=channels,
        mass=mass,
        classes=D.classes,
        auc=auc,
        price={question.notion.name: price},
        price_at=parts,
        certificate=ScoreCertificate(0.0, dual, 0.0, 0.0, 0.0, hull),
        settings=settings,
        effective_rows=D.effective_rows,
        solver=solver,
        seconds=time.perf_counter() - started,
    )
    return out.certified(question.scores, question.mass)


def solve_by_program(
    question: ScoreQuestion, program: Any, how: Any, started: float
) -> ScoreSolution:
    """Return the answer of the linear program."""
    compiled, blocks, cost, weight, levels = program
    H, K, solver = compiled.solve(question.bound, how)
    P = [np.diff(curve, axis=0)[::-1] for _, curve in blocks]
    chance = []
    for a, h in enumerate(H):
        h = np.concatenate([np.ones((len(h), 1)), h, np.zeros((len(h), 1))], axis=1)
        M = _cleaned(-np.diff(h, axis=1))
        chance.append(M if a in question.staying else _of_least_movement(M, P[a]))
    parts = 0.5 * np.abs(K).sum(axis=(1, 2)) / weight
    scale = max(1.0, abs(float(compiled.problem.value)))
    gap = scale * max(compiled.form.residuals().values())
    dual = float(compiled.problem.value) + float(weight @ (1.0 - cost)) * question.q[1].sum() - gap
    starts = [s for s, _ in blocks]
    return _solution(
        question,
        starts,
        levels,
        chance,
        (cost, parts),
        float(weight @ parts),
        dual,
        solver,
        started,
        weight,
    )


def _of_least_movement(M: Array, P: Array) -> Array:
    """Return the channel of least movement with the laws of M, or M where it is large."""
    from fairprog.programs.compile.score_program import least_movement

    if M.size > FEW:
        return M
    try:
        better = _cleaned(least_movement(P, (P.T @ M).T))
    except SolverError:
        return M
    return better if np.abs(P.T @ (better - M)).max() <= 1e-10 else M


def _cleaned(M: Array) -> Array:
    """Return a channel without a solver's rounding: laws, whose exceedances rise."""
    above = np.cumsum(np.maximum(M, 0.0)[:, ::-1], axis=1)
    above = np.maximum.accumulate(above / above[:, -1:], axis=0)
    return np.diff(above, axis=1, prepend=0.0)[:, ::-1]


def compile_program(question: ScoreQuestion) -> Any:
    """Return the compiled program, the blocks, the thresholds' costs and weights, the levels."""
    from fairprog.programs.compile.score_program import compile_score

    G = len(question.mass)
    blocks = [
        _without_small(*question.blocks(a)) if a not in question.staying else question.blocks(a)
        for a in range(G)
    ]
    fixed: dict[int, Array] = {}
    if question.staying:
        levels = question.levels[1]
        if len(levels) < 2:
            raise DataError(
                "The scores of the groups that stay are all the same.", argument="steer"
            )
        for a in question.staying:
            at = question.level_of(question.scores[a][blocks[a][0]])
            fixed[a] = (at[:, None] >= np.arange(1, len(levels))).astype(float)
        cost = _posterior_between(question)
        ends = 0.5 * (cost[1:] + cost[:-1])
        weight = np.diff(np.concatenate([[0.0], ends, [1.0]])) + 1e-6
    else:
        cost = (np.arange(GRID) + 0.5) / GRID if question.costs is None else question.costs
        weight = np.ones(len(cost))
        levels = 0.5 * (np.append(0.0, cost) + np.append(cost, 1.0))
    weight = weight / weight.sum()
    P = [np.diff(curve, axis=0)[::-1] for _, curve in blocks]
    return compile_score(question, P, cost, weight, fixed), blocks, cost, weight, levels


def _without_small(starts: Any, curve: Array) -> Any:
    """Join blocks of next to no mass to their neighbours below."""
    mass = np.diff(curve, axis=0)[::-1].sum(axis=1)
    kept = np.append(True, np.diff(np.floor(np.cumsum(mass) / SMALL)) > 0)
    joined = np.add.reduceat(np.diff(curve, axis=0)[::-1], np.flatnonzero(kept), axis=0)
    return starts[kept], roc_curve(joined)


def _posterior_between(question: ScoreQuestion) -> Array:
    """Return the cost that every threshold between levels serves: isotonic posteriors, midway."""
    from scipy.optimize import isotonic_regression

    total = np.zeros((len(question.levels[1]), 2))
    for a in question.staying:
        np.add.at(total, question.level_of(question.scores[a]), question.mass[a])
    eta = isotonic_regression(total[:, 1] / total.sum(axis=1), weights=total.sum(axis=1)).x
    return np.clip(0.5 * (eta[1:] + eta[:-1]), 1e-3, 1.0 - 1e-3)


def explain(question: ScoreQuestion, error: InfeasibleError) -> InfeasibleError:
    """Return the error with the groups that stay and the least feasible bound."""
    least = error.details.get("least_bound", math.nan)
    names = [question.population.groups[a] for a in question.staying]
    who = f"Groups {names} stay" if names else "The constraints hold"
    least_said = math.ceil(least * 1e6) / 1e6
    return InfeasibleError(
        f"{who}, and no scores of the others are within difference_bound={question.bound:g} of "
        f"{question.notion.name} at every threshold. The least bound that can be met is "
        f"{least_said:.6f}; or steer all groups.",
        argument="notion",
        status="infeasible",
        details={"least_bound": least, "groups": names},
    )
