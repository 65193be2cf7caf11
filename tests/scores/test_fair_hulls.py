"""Theorems D and E: the least of the hulls is best, and the pool carries scores to it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.optimize import linprog

import fairprog as fp
from fairprog.kernels.scores.pool_channel import pool_channel
from fairprog.kernels.scores.roc_hulls import height, joined, least_curve, roc_curve, roc_hull
from fairprog.programs.compile.score_program import least_movement
from tests.binned_scores import best_fair_rule, curves_of, events_of, random_population

# ----------------------------------------------------------------------------------- theorem D


@pytest.mark.parametrize("seed", range(6))
def test_theorem_d_the_roc_curve_is_the_least_of_the_hulls(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(6):
        D = random_population(rng, int(rng.integers(2, 5)), int(rng.integers(2, 200)))
        _, curves, q = curves_of(D)
        sol = fp.FairScore(D).solve()
        F, T = next(iter(sol.exceedances.values()))
        assert sol.gap <= 1e-9
        least = np.min([height(c, F) for c in curves], axis=0)
        assert np.all(np.abs(T - least)[F > 0] <= 1e-9)
        grid = np.linspace(0.0, 1.0, 400)
        own = least_curve(curves)
        assert np.allclose(
            height(own, grid), np.min([height(c, grid) for c in curves], 0), 0, 1e-9
        )
        for cost in rng.random(3):
            rule = best_fair_rule(curves, q, events_of(D, fp.EqualizedOdds()), 0.0, cost)
            assert sol.risk_at(cost) == pytest.approx(rule, abs=1e-8)


@pytest.mark.parametrize("seed", range(2))
def test_theorem_d_every_cost_has_the_risk_of_its_own_fair_classifier(seed: int) -> None:
    """Where posteriors rise with the score, thresholds lose nothing."""
    rng = np.random.default_rng(seed)
    D = random_population(rng, 2 + seed, 40, monotone=True)
    sol = fp.FairScore(D).solve()
    for cost in rng.random(20):
        risk = fp.CostSensitiveRisk([[0.0, cost], [1.0 - cost, 0.0]])
        rule = fp.FairClassifier(D, risk, [fp.EqualizedOdds()])
        rule = rule.solve(solver="HIGHS", price_intervals=False)
        assert sol.risk_at(cost) == pytest.approx(rule.risk, abs=1e-8)


@pytest.mark.parametrize("actions", [3, 4, 5])
def test_theorem_d_no_fair_score_is_better_for_any_decision_problem(actions: int) -> None:
    """Blackwell: random fair S'' of the groups' scores lose, whatever there is to decide."""
    rng = np.random.default_rng(actions)
    D = random_population(rng, 2, 12, monotone=True)
    sol = fp.FairScore(D).solve()
    best = sol._laws.sum(axis=1)  # (class, level)
    mass, _, _ = curves_of(D)
    P = [m / m.sum(axis=0) for m in mass]
    worse = 0.0
    for _ in range(20):
        V = int(rng.integers(2, 6))
        # a random vertex among channels (n_0, V) and (n_1, V) with the same laws given a class
        sizes = [len(p) for p in P]
        rows = sum(sizes)
        A = np.zeros((2 * V + rows, rows * V))
        for i, v in itertools.product(range(2), range(V)):
            for a, start in ((0, 0), (1, sizes[0])):
                sign = 1.0 if a == 0 else -1.0
                for b in range(sizes[a]):
                    A[i * V + v, (start + b) * V + v] = sign * P[a][b, i]
        for b in range(rows):
            A[2 * V + b, b * V : (b + 1) * V] = 1.0
        right = np.concatenate([np.zeros(2 * V), np.ones(rows)])
        M = linprog(rng.normal(size=rows * V), A_eq=A, b_eq=right).x.reshape(rows, V)
        other = sum(
            mass[a].T @ M[start : start + sizes[a]] for a, start in ((0, 0), (1, sizes[0]))
        )
        for _ in range(10):
            loss = rng.random((2, actions))
            own, theirs = (
                np.einsum("iv,ij->vj", law, loss).min(axis=1).sum() for law in (best, other)
            )
            worse = max(worse, own - theirs)
    assert worse <= 1e-9


def test_group_wise_bayes_rules_on_the_fair_score_are_not_fair() -> None:
    """The negative control: only ONE common threshold is."""
    rng = np.random.default_rng(3)
    D = random_population(rng, 2, 30, monotone=True)
    sol = fp.FairScore(D).solve()
    law = sol._laws
    positive = law[1] > law[0]  # (group, level): the Bayes rule of every group
    rates = [(law[1, a] * positive[a]).sum() / law[1, a].sum() for a in (0, 1)]
    assert sol.gap < 1e-9 and abs(rates[0] - rates[1]) > 0.01


# ----------------------------------------------------------------------------------- theorem E


@pytest.mark.parametrize("seed", range(4))
def test_theorem_e_the_pool_carries_the_laws_and_keeps_ranks(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(20):
        D = random_population(rng, int(rng.integers(2, 5)), int(rng.integers(2, 150)))
        _, curves, _ = curves_of(D)
        goal = least_curve(curves)
        for curve in curves:
            M = pool_channel(curve, goal)
            assert M.min() >= -1e-12 and np.allclose(M.sum(axis=1), 1.0, 0, 1e-10)
            assert np.abs(np.diff(curve, axis=0).T @ M - np.diff(goal, axis=0).T).max() <= 1e-9
            assert np.diff(np.cumsum(M, axis=1), axis=0).max(initial=0.0) <= 1e-9


def test_theorem_e_the_channel_of_least_movement_moves_no_more_than_the_pool() -> None:
    rng = np.random.default_rng(5)
    for _ in range(5):
        _, curves, _ = curves_of(random_population(rng, 2, 25, monotone=True))
        goal = least_curve(curves)
        for curve in curves:
            P, R = (np.diff(c, axis=0)[::-1] for c in (curve, goal))
            pool, best = pool_channel(curve, goal)[::-1, ::-1], least_movement(P, R)
            ranks = [np.cumsum(x.mean(1)) - 0.5 * x.mean(1) for x in (P, R)]
            cost = P.mean(1)[:, None] * np.abs(ranks[0][:, None] - ranks[1])
            assert np.abs(P.T @ best - R.T).max() <= 1e-8
            assert (cost * best).sum() <= (cost * pool).sum() + 1e-8


# --------------------------------------------------------------------------------------- hulls


def test_a_hull_has_no_curve_above_it() -> None:
    rng = np.random.default_rng(0)
    for most in (5, 2000):
        mass = rng.random((300, 2))
        starts, curve = joined(*roc_hull(mass), most)
        raw = roc_curve(mass)
        if most == 2000:
            assert (raw[:, 1] <= height(curve, raw[:, 0]) + 1e-12).all()
        assert len(starts) == len(curve) - 1 <= most + 1
