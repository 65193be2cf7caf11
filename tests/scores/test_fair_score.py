"""Theorems D, E and F: hulls, the pool, the path of all costs, and the program made of them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.optimize import linprog

import fairprog as fp
from fairprog.kernels.scores.pool_channel import pool_channel
from fairprog.kernels.scores.roc_hulls import height, joined, least_curve, roc_curve, roc_hull
from fairprog.programs.compile.score_program import least_movement
from fairprog.programs.scores.fair_path import both_rates_path, common_path, one_rate_path
from fairprog.programs.scores.question import ask_score

NOTIONS = (
    fp.EqualizedOdds,
    fp.EqualOpportunity,
    fp.PredictiveEquality,
    fp.DemographicParity,
)


def random_population(
    rng: np.random.Generator, G: int, n: int, monotone: bool = False
) -> fp.Categorical:
    """Binned scores: ties, zero cells, posteriors that may fall."""
    joint = rng.gamma(rng.choice([0.2, 1.0]), size=(n, 2, G))
    if monotone:
        eta, weight = np.sort(rng.random((n, G)), axis=0), rng.random((n, G))
        joint = np.stack([weight * (1 - eta), weight * eta], axis=1)
    else:
        joint[rng.random(joint.shape) < 0.2] = 0.0
        if rng.random() < 0.5:
            joint = np.round(3.0 * joint)  # equal slopes
    joint[rng.integers(n, size=G), 0, range(G)] += 0.05
    joint[rng.integers(n, size=G), 1, range(G)] += 0.05
    return fp.Categorical(joint / joint.sum(), values=np.sort(rng.random(n)))


def curves_of(D: fp.Categorical) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray]:
    question = ask_score(D, None, "all", "uniform", ())
    return list(question.mass), [roc_hull(m)[1] for m in question.mass], question.q


def events_of(D: fp.Categorical, notion: fp.Notion) -> np.ndarray:
    return ask_score(D, notion, "all", "uniform", ()).events


def best_fair_rule(
    curves: list[np.ndarray], q: np.ndarray, events: np.ndarray, bound: float, cost: float
) -> float:
    """The written-out LP: mixtures of thresholds, all pairs of groups within the bound."""
    sizes = [len(c) for c in curves]
    start = np.concatenate([[0], np.cumsum(sizes)])
    objective = np.concatenate(
        [c @ [cost * q[0, a], -(1 - cost) * q[1, a]] for a, c in enumerate(curves)]
    )
    A_eq = np.zeros((len(curves), start[-1]))
    for a in range(len(curves)):
        A_eq[a, start[a] : start[a + 1]] = 1.0
    A_ub = []
    for event, (a, b) in itertools.product(events, itertools.permutations(range(len(curves)), 2)):
        row = np.zeros(start[-1])
        row[start[a] : start[a + 1]] = curves[a] @ event[a]
        row[start[b] : start[b + 1]] -= curves[b] @ event[b]
        A_ub.append(row)
    found = linprog(
        objective,
        A_ub=A_ub,
        b_ub=np.full(len(A_ub), bound),
        A_eq=A_eq,
        b_eq=np.ones(len(curves)),
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )
    assert found.status == 0
    return float(found.fun + (1 - cost) * q[1].sum())


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


# ----------------------------------------------------------------------------------- theorem F


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


# ------------------------------------------------------------------------ groups that stay, files


def test_groups_that_stay_may_have_as_many_scores_as_rows() -> None:
    """Unbinned counts: neighbours among scores that stay are joined to about a hundred levels."""
    rng = np.random.default_rng(0)
    y, a = rng.integers(2, size=8000), rng.choice(["strong", "weak"], 8000)
    z = rng.normal(size=8000) + (2 * y - 1) * np.where(a == "weak", 0.5, 1.1)
    s, old, new = 1 / (1 + np.exp(-2 * z)), slice(0, 4000), slice(4000, None)
    counts = fp.ScoreCounts().partial_fit(s[old], y[old], sensitive_features=a[old])
    notion = fp.EqualizedOdds(difference_bound=0.02)
    sol = fp.FairScore(counts.population(), notion, steer=["strong"]).solve()
    assert sol.certificate.ok and sol.gap <= 0.02 + 1e-9 and 95 <= len(sol.levels) <= 101
    before, after = sol.auc["weak"]
    assert before - after < 1e-3
    stays = np.flatnonzero(a[old] == "weak")
    levels = sol.channels["weak"](s[old][stays])
    assert np.abs(levels - s[old][stays]).max() < 0.05  # its own score, but for joining
    assert (np.diff(levels[np.argsort(s[old][stays])]) >= 0).all()
    bands = sol.band(s[new], y[new], sensitive_features=a[new])
    assert max(gap for gap, _, _ in bands.values()) < 0.07


def test_groups_that_stay_keep_their_scores() -> None:
    rng = np.random.default_rng(6)
    eta = np.linspace(0.05, 0.95, 12)
    weak = np.stack([1 - eta, eta], axis=1) * 0.5 + 0.25 / 2  # less can be told of this group
    strong = np.stack([1 - eta, eta], axis=1)
    joint = np.stack([weak / weak.sum(), strong / strong.sum()], axis=2) / 2
    D = fp.Categorical(joint, values=eta, groups=["weak", "strong"])
    sol = fp.FairScore(D, steer=["strong"]).solve()
    assert sol.gap <= 1e-9 and (sol.channels["weak"](eta) == eta).all()
    with pytest.raises(fp.InfeasibleError, match=r"\['strong'\] stay.*least bound") as caught:
        fp.FairScore(D, steer=["weak"]).solve()
    least = caught.value.details["least_bound"]
    notion = fp.EqualizedOdds(difference_bound=least + 1e-6)
    assert fp.FairScore(D, notion, steer=["weak"]).solve().gap <= least + 2e-6
    tight = fp.EqualizedOdds(difference_bound=least - 1e-3)
    with pytest.raises(fp.InfeasibleError):
        fp.FairScore(D, tight, steer=["weak"]).solve()
    assert rng is not None


def test_constraints_of_ones_own() -> None:
    D = random_population(np.random.default_rng(9), 2, 10)

    def few_positives(view, population):
        return view.rates[0, 0] <= 0.2

    free = fp.FairScore(D, cost_weight=[0.3]).solve("HIGHS")
    tied = fp.FairScore(D, cost_weight=[0.3], constraints=[few_positives]).solve()
    assert tied.exceedances[0][0, 1] <= 0.2 + 1e-8 and tied.risk >= free.risk - 1e-9
    assert "few_positives" in [c.label for c in fp.FairScore(
        D, constraints=[few_positives], cost_weight=[0.5]).problem.constraints]  # fmt: skip


def test_a_solution_is_saved_and_read(tmp_path) -> None:
    D = random_population(np.random.default_rng(0), 3, 30)
    sol = fp.FairScore(D).solve()
    for suffix in (".json", ".npz"):
        sol.save(tmp_path / f"score{suffix}")
        again = fp.load(tmp_path / f"score{suffix}")
        assert again.risk == sol.risk and again.gap == sol.gap and again.price == dict(sol.price)
        assert again.certificate == sol.certificate and again.notion == sol.notion
        s = np.linspace(0, 1, 50)
        assert (again.channels[1](s) == sol.channels[1](s)).all()
        with pytest.raises(fp.ModelError, match="FairScore"):
            again.frontier([0.1])
    assert sol.frontier([0.1]).risks.shape == (1,)


def test_summary_says_what_must_be_said() -> None:
    D = random_population(np.random.default_rng(0), 2, 30)
    text = fp.FairScore(D).solve().summary()
    said = ("levels down", "ONE common threshold", "AUC", "randomised", "price", "certificate")
    for words in said:
        assert words in text


def test_pictures_and_pages_are_made() -> None:
    D = random_population(np.random.default_rng(0), 3, 30)
    for bound in (0.0, 0.1):
        sol = fp.FairScore(D, fp.EqualOpportunity(difference_bound=bound)).solve()
        _, axes = sol.plot()
        assert len(axes) == 2 and axes[0].get_xlabel() == "false positive rate"
        page = sol.to_html()
        assert "levels down" in page and "ONE common threshold" in page and "<svg" in page
        assert "AUC before" in sol._repr_html_()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"notion": fp.AccuracyParity()}, "`notion` must be"),
        ({"notion": fp.EqualizedOdds(ratio_bound=0.8)}, "`notion` must be"),
        ({"steer": "women"}, "`steer` must be"),
        ({"steer": ["nobody"]}, "names 'nobody'"),
        ({"cost_weight": [0.0, 0.5]}, "between 0 and 1"),
        ({"cost_weight": [0.5], "steer": [0]}, "steer='all' only"),
    ],
)
def test_bad_questions_are_refused(options: dict, words: str) -> None:
    D = random_population(np.random.default_rng(0), 2, 5)
    with pytest.raises(fp.FairprogError, match=words):
        fp.FairScore(D, **options)
    with pytest.raises(fp.ModelError, match="ScoreCounts"):
        fp.FairScore(fp.Normal([[0.5, 0.5]], [[0.0, 1.0]], std=[[1.0, 1.0]]))
    with pytest.raises(fp.ModelError, match="solver"):
        fp.FairScore(D).solve("SIMPLEX")


# -------------------------------------------------------------------------------- invariances


def test_nothing_hangs_on_units_labels_or_order() -> None:
    rng = np.random.default_rng(11)
    y, a = rng.integers(2, size=600), rng.integers(3, size=600)
    s = np.round(10 * (rng.normal(size=600) + 0.8 * y - 0.3 * a)) / 16  # exact, with ties
    base = fp.FairScore(fp.ScoreCounts().partial_fit(s, y, sensitive_features=a).population())
    sol = base.solve()
    mix = rng.permutation(600)
    names = np.array(["x", "a", "m"])[a]
    counts = fp.ScoreCounts().partial_fit((8 * s + 3)[mix], y[mix], sensitive_features=names[mix])
    other = fp.FairScore(counts.population()).solve()
    assert other.risk == pytest.approx(sol.risk, abs=1e-12)
    assert other.auc["x"] == pytest.approx(sol.auc[0], abs=1e-12)
    heavy = fp.ScoreCounts().partial_fit(s, y, sensitive_features=a, sample_weight=np.full(600, 3))
    assert fp.FairScore(heavy.population()).solve().risk == pytest.approx(sol.risk, abs=1e-12)


def test_counts_are_merged_and_binned() -> None:
    rng = np.random.default_rng(0)
    s, y, a = rng.random(300).round(2), rng.integers(2, size=300), rng.integers(2, size=300)
    whole = fp.ScoreCounts().partial_fit(s, y, sensitive_features=a).population()
    first = fp.ScoreCounts().partial_fit(s[:100], y[:100], sensitive_features=a[:100])
    rest = fp.ScoreCounts().partial_fit(s[100:], y[100:], sensitive_features=a[100:])
    both = rest.merge(first).population()
    assert np.allclose(both.joint, whole.joint, 0, 1e-15) and both.effective_rows == 300
    assert np.allclose(whole.joint, fp.Categorical.fit(s, y, sensitive_features=a).joint)
    binned = fp.ScoreCounts(bins=10).partial_fit(s, y, sensitive_features=a).population()
    theirs = fp.Categorical.from_scores(s, y=y, sensitive_features=a, bins=np.arange(1, 10) / 10)
    assert np.allclose(binned.joint, theirs.joint) and np.allclose(binned.values, theirs.values)
    with pytest.raises(fp.ModelError, match="same bins"):
        first.merge(fp.ScoreCounts(bins=10))
    with pytest.raises(fp.DataError, match="has no rows"):
        fp.ScoreCounts(groups=[0, 1, 2]).partial_fit(s, y, sensitive_features=a).population()


def test_a_hull_has_no_curve_above_it() -> None:
    rng = np.random.default_rng(0)
    for most in (5, 2000):
        mass = rng.random((300, 2))
        starts, curve = joined(*roc_hull(mass), most)
        raw = roc_curve(mass)
        if most == 2000:
            assert (raw[:, 1] <= height(curve, raw[:, 0]) + 1e-12).all()
        assert len(starts) == len(curve) - 1 <= most + 1


def test_bands_hold_on_rows_not_fitted() -> None:
    rng = np.random.default_rng(0)
    y, a = rng.integers(2, size=8000), rng.integers(2, size=8000)
    s = rng.normal(size=8000) + y * (1 + a) - 0.5 * a
    old, new = slice(0, 4000), slice(4000, None)
    counts = fp.ScoreCounts().partial_fit(s[old], y[old], sensitive_features=a[old])
    sol = fp.FairScore(counts.population()).solve()
    before = fp.FairScore(counts.population(), fp.EqualizedOdds(difference_bound=1)).solve()
    for name, (gap, low, high) in sol.band(s[new], y[new], sensitive_features=a[new]).items():
        assert low <= gap <= high and low < 0.02
        assert gap < before.band(s[new], y[new], sensitive_features=a[new])[name][0]


def test_what_is_impossible_is_said_without_a_solver_banner(capfd):
    rng = np.random.default_rng(0)
    s, a = rng.random(400), rng.choice(["a", "b", "c"], 400)
    y = (rng.random(400) < s).astype(int)
    with pytest.raises(fp.InfeasibleError, match=r"least bound that can be met is 0\.\d+"):
        fp.ScoreSteering(method="channel", steer=["b"]).fit(s, y, sensitive_features=a)
    assert capfd.readouterr().out == ""
