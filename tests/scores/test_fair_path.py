"""Theorem F: the path of all costs is optimal, and so are the programs made of it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.optimize import linprog

import fairprog as fp
from fairprog.programs.scores.fair_path import both_rates_path, common_path, one_rate_path
from tests.binned_scores import best_fair_rule, curves_of, events_of, random_population

NOTIONS = (
    fp.EqualizedOdds,
    fp.EqualOpportunity,
    fp.PredictiveEquality,
    fp.DemographicParity,
)


@pytest.mark.parametrize("notion", NOTIONS)
@pytest.mark.parametrize("seed", range(3))
def test_theorem_f_the_path_is_optimal_at_every_cost(seed: int, notion: type[fp.Notion]) -> None:
    rng = np.random.default_rng(seed)
    for bound in (0.0, 0.003, 0.05, 0.4):
        for _ in range(4):
            both = notion is fp.EqualizedOdds
            G = 2 if both and bound else int(rng.integers(2, 5))
            D = random_population(rng, G, int(rng.integers(2, 60)))
            _, curves, q = curves_of(D)
            events = events_of(D, notion())
            if both:
                walked = both_rates_path(curves, q, bound) if bound else common_path(curves, q)
            else:
                walked = one_rate_path(curves, q, events[0], bound)
            points, cost, K = walked
            assert (np.diff(points, axis=0) >= -1e-10).all()  # nested
            assert (np.diff(cost) <= 1e-9).all()
            assert np.abs(K.sum(axis=2)).max() <= 1e-8  # multipliers are of differences
            rates = np.einsum("vge,nge->nvg", points, events)
            assert np.ptp(rates, axis=2).max() <= bound + 1e-9
            for c in rng.random(2):
                F, T = points[(cost > c).sum()].T
                found = c * q[0] @ F + (1 - c) * q[1] @ (1 - T)
                rule = best_fair_rule(curves, q, events, bound, c)
                assert found == pytest.approx(rule, abs=1e-9)


@pytest.mark.parametrize("notion", NOTIONS)
@pytest.mark.parametrize("seed", range(3))
def test_solutions_prove_themselves(seed: int, notion: type[fp.Notion]) -> None:
    rng = np.random.default_rng(10 + seed)
    for bound in (0.0, 0.02, 0.2):
        G = 2 if notion is fp.EqualizedOdds and bound else int(rng.integers(2, 5))
        D = random_population(rng, G, int(rng.integers(2, 200)))
        sol = fp.FairScore(D, notion(difference_bound=bound)).solve()
        proof = sol.certificate
        assert sol.solver == "path" and abs(proof.duality_gap) <= 1e-8
        assert sol.gap <= bound + 1e-9 and proof.violation <= 1e-9
        assert max(proof.rank_keeping, proof.law_residual, proof.hull_residual) <= 1e-9
        for threshold in rng.random(5):
            assert notion().gap(sol.table(threshold)) <= bound + 1e-9


def test_price_is_minus_the_slope_of_the_risk() -> None:
    rng = np.random.default_rng(1)
    for notion in NOTIONS:
        D = random_population(rng, 2, 40)
        program = fp.FairScore(D, notion())
        for bound in (0.0, 0.03):
            risks = program.frontier([bound, bound + 1e-6]).risks
            price = program.frontier([bound]).prices[0]
            slope = (risks[0] - risks[1]) / 1e-6
            if bound == 0.0 and notion is not fp.EqualizedOdds:
                assert price >= slope - 1e-4
            else:
                assert price == pytest.approx(slope, abs=1e-4)


def test_the_linear_program_agrees_with_the_path() -> None:
    rng = np.random.default_rng(2)
    for notion, bound in itertools.product(NOTIONS, (0.0, 0.05)):
        D = random_population(rng, 2, 25)
        program = fp.FairScore(D, notion(difference_bound=bound), cost_weight=[0.2, 0.5, 0.7])
        walked, solved = program.solve("path"), program.solve("HIGHS")
        assert solved.risk == pytest.approx(walked.risk, abs=1e-8)
        assert solved.gap <= bound + 1e-9 and solved.certificate.rank_keeping <= 1e-9
        assert abs(solved.certificate.duality_gap) <= 1e-8


def test_three_groups_under_equalized_odds_take_the_joint_program() -> None:
    """Its optimum is no less than every cost's own one, which scipy finds."""
    rng = np.random.default_rng(4)
    D = random_population(rng, 3, 20)
    _, curves, q = curves_of(D)
    notion, costs = fp.EqualizedOdds(difference_bound=0.05), [0.3, 0.6]
    program = fp.FairScore(D, notion, cost_weight=costs)
    sol = program.solve()
    assert sol.solver == "HIGHS" and sol.gap <= 0.05 + 1e-9
    events = events_of(D, notion)
    separate = [best_fair_rule(curves, q, events, 0.05, c) for c in costs]
    assert sol.risk >= np.mean(separate) - 1e-8
    one = fp.FairScore(D, notion, cost_weight=[0.3]).solve()
    assert one.risk == pytest.approx(separate[0], abs=1e-8)
    frontier = program.frontier([0.0, 0.05, 0.2])
    assert frontier.compilations <= 1 and (np.diff(frontier.risks) <= 1e-9).all()


def best_fair_score(D: fp.Categorical, notion: fp.Notion, costs: list[float]) -> float:
    """The joint LP over atoms, written out: exceedances rise and nest, all pairs of groups."""
    mass, _, q = curves_of(D)
    P, V = [m / m.sum(axis=0) for m in mass], len(costs)
    start = np.concatenate([[0], np.cumsum([len(p) * V for p in P])])
    objective, rows, right = np.zeros(start[-1]), [], []

    def at_most(bound: float, entries: list[tuple[int, float]]) -> None:
        rows.append(np.bincount(*zip(*entries, strict=True), minlength=start[-1]))
        right.append(bound)

    for a, p in enumerate(P):
        for b, v in itertools.product(range(len(p)), range(V)):
            k = start[a] + b * V + v
            objective[k] = costs[v] * q[0, a] * p[b, 0] - (1 - costs[v]) * q[1, a] * p[b, 1]
            if b:
                at_most(0.0, [(k - V, 1.0), (k, -1.0)])
            if v:
                at_most(0.0, [(k, 1.0), (k - 1, -1.0)])
    pairs = itertools.permutations(range(len(P)), 2)
    for e, v, (a, g) in itertools.product(events_of(D, notion), range(V), pairs):
        own, other = (
            [(start[k] + b * V + v, sign * (x @ e[k])) for b, x in enumerate(P[k])]
            for k, sign in ((a, 1.0), (g, -1.0))
        )
        at_most(notion.difference_bound, own + other)
    exact = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}
    found = linprog(objective, np.array(rows), right, bounds=(0, 1), options=exact)
    return float(np.mean([(1 - c) * q[1].sum() for c in costs]) + found.fun / V)


@pytest.mark.parametrize("G", [2, 3])
def test_above_bound_zero_the_joint_program_agrees_with_scipy(G: int) -> None:
    rng = np.random.default_rng(G)
    for bound in (0.003, 0.05, 0.3):
        D = random_population(rng, G, int(rng.integers(3, 16)))
        costs = sorted(rng.uniform(0.05, 0.95, size=3))
        notion = fp.EqualizedOdds(difference_bound=bound)
        program = fp.FairScore(D, notion, cost_weight=costs)
        expected = best_fair_score(D, notion, costs)
        for solver in ("path", "HIGHS")[G - 2 :]:
            assert program.solve(solver).risk == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("notion", "claimed", "not_claimed"),
    [
        (fp.EqualOpportunity, [(1.0, 0.5), (0.3, 2.0), (0.2, -1.0)], (-1.0, -0.8)),
        (fp.PredictiveEquality, [(0.5, 1.0), (2.0, 0.3), (-1.0, 0.2)], (-0.8, -1.0)),
        (fp.DemographicParity, [(0.7, 0.6), (-0.2, 0.9), (0.9, -0.2)], (-0.9, -0.9)),
    ],
)
def test_one_sided_notions_serve_costs_of_the_stated_sign_and_no_others(
    notion: type[fp.Notion], claimed: list[tuple[float, float]], not_claimed: tuple[float, float]
) -> None:
    """Cost c0 of predicting positive given Y=0, c1 of predicting negative given Y=1.

    Equal opportunity needs c0 >= 0, predictive equality c1 >= 0, demographic parity c0 + c1 >= 0:
    else the best fair rules predict positive BELOW thresholds.
    """
    rng = np.random.default_rng(8)
    for _ in range(3):
        D = random_population(rng, 2, 20, monotone=True)
        _, curves, q = curves_of(D)
        sol = fp.FairScore(D, notion()).solve()
        rules = [np.concatenate([c, 1.0 - c]) for c in curves]  # thresholds in both directions
        event = events_of(D, notion())[0]
        thresholds = [np.append(sol.exceedances[a], [[0.0], [0.0]], axis=1) for a in (0, 1)]
        for k, (c0, c1) in enumerate([*claimed, not_claimed]):
            weight = [np.array([c0 * q[0, a], -c1 * q[1, a]]) for a in (0, 1)]
            found = linprog(
                np.concatenate([r @ w for r, w in zip(rules, weight, strict=True)]),
                A_eq=[
                    np.repeat([1.0, 0.0], [len(r) for r in rules]),
                    np.repeat([0.0, 1.0], [len(r) for r in rules]),
                    np.concatenate([rules[0] @ event[0], -rules[1] @ event[1]]),
                ],
                b_eq=[1.0, 1.0, 0.0],
            )
            ours = sum(w @ t for w, t in zip(weight, thresholds, strict=True)).min()
            if k < len(claimed):
                assert ours == pytest.approx(found.fun, abs=1e-8)
            else:
                assert ours > found.fun + 0.01
