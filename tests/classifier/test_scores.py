"""The fast path for scores against a linear program over the rows, written independently."""

import numpy as np
import pytest
from scipy.optimize import linprog

import fairprog as fp
from fairprog.kernels.scores.one_rate import balanced_slopes, rule_at_rate, solve_one_rate
from fairprog.kernels.scores.score_cuts import solve_with_cuts
from fairprog.kernels.scores.score_rules import apply_rule, boundary, prove_rules, rule_at_point
from fairprog.kernels.scores.sorted_scores import best_response, locate, prefix, sort_scores, total
from fairprog.programs.classifier.score_path import solve_scores

NOTIONS = {
    "dp": (fp.DemographicParity, lambda s: [np.ones_like(s)]),
    "eo": (fp.EqualOpportunity, lambda s: [s]),
    "pe": (fp.PredictiveEquality, lambda s: [1 - s]),
    "eodds": (fp.EqualizedOdds, lambda s: [s, 1 - s]),
}


def population(rng, G, n, *, ties=False, weights=False, ends=False):
    group = np.concatenate([np.repeat(np.arange(G), 2), rng.integers(0, G, n - 2 * G)])
    score = rng.random(n)
    if ties:
        score = np.round(4 * score) / 4
    if ends:
        score[rng.random(n) < 0.3] = 0.0
        score[rng.random(n) < 0.3] = 1.0
    score[: 2 * G : 2] = 0.3  # every cell has mass
    weight = rng.random(n) * (rng.random(n) < 0.9) + 1e-3 if weights else None
    return fp.Categorical.from_scores(
        score, sensitive_features=np.array(list("abcd"))[group], sample_weight=weight
    )


def row_lp(D, C, constraints):
    """Solve over h per row by HiGHS."""
    s = D.support
    w, eta = np.asarray(s.weight), s.score
    extra = (1 - eta) * (C[0, 1] - C[0, 0]) + eta * (C[1, 1] - C[1, 0])
    constant = float(w @ ((1 - eta) * C[0, 0] + eta * C[1, 0]))
    events = [(notion, m) for notion, of in constraints for m in of(eta)]
    rows, bounds = [], []
    for e, (notion, mass) in enumerate(events):
        level = np.eye(len(events))[e]
        for a in range(D.n_groups):
            own = w * mass * (s.group == a)
            rate = own / own.sum()
            if notion.ratio_bound is not None:
                rows += [np.append(rate, -level), np.append(-rate, notion.ratio_bound * level)]
                bounds += [0.0, 0.0]
            else:
                rows += [np.append(rate, -level), np.append(-rate, level)]
                bounds += [notion.difference_bound / 2] * 2
    result = linprog(
        np.append(w * extra, np.zeros(len(events))),
        A_ub=np.array(rows),
        b_ub=bounds,
        bounds=(0, 1),
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )
    assert result.status == 0
    return float(result.fun) + constant


@pytest.mark.parametrize("kind", range(4))
def test_sorting_equals_the_linear_program_over_the_rows(kind):
    rng = np.random.default_rng(kind)
    for trial in range(4):
        G = int(rng.integers(2, 5))
        flags = {"ties": kind == 1, "weights": kind >= 2, "ends": kind == 3}
        D = population(rng, G, int(rng.integers(4 * G, 60)), **flags)
        C = rng.normal(size=(2, 2)) if trial == 1 else np.array([[0, 1], [1.0 + trial, 0]])
        for bound in (0.0, 0.1):
            for name, (Notion, masses) in NOTIONS.items():
                notion = Notion(difference_bound=bound)
                risk = fp.CostSensitiveRisk(C)
                sol = fp.FairClassifier(D, risk, [notion]).solve(solver="SORT")
                assert sol.solver == ("cutting-planes" if name == "eodds" else "bisection")
                assert abs(sol.risk - row_lp(D, C, [(notion, masses)])) < 1e-8
                assert sol.certificate.duality_gap < 1e-9
                # what the classifier does to the rows is what the solution says
                table = D.table(sol.classifier.h)
                assert np.abs(table.Z - sol.table.Z).max() < 1e-12
                assert notion.gap(table) <= bound + 1e-10
                assert abs(risk.evaluate(table) - sol.risk) < 1e-12


def test_several_notions_and_ratios_at_once():
    rng = np.random.default_rng(5)
    cases = [
        [("dp", {"difference_bound": 0.05}), ("eo", {"difference_bound": 0.1})],
        [("eodds", {"difference_bound": 0.02}), ("dp", {"difference_bound": 0.3})],
        [("dp", {"ratio_bound": 0.8})],
        [("eodds", {"ratio_bound": 0.9}), ("pe", {"difference_bound": 0.01})],
    ]
    C = np.array([[0.0, 1.0], [2.0, 0.0]])
    for case in cases:
        D = population(rng, 3, 50, weights=True)
        chosen = [(NOTIONS[name][0](**kw), NOTIONS[name][1]) for name, kw in case]
        sol = fp.FairClassifier(D, fp.CostSensitiveRisk(C), [n for n, _ in chosen]).solve("SORT")
        assert sol.solver == "cutting-planes"
        assert abs(sol.risk - row_lp(D, C, chosen)) < 1e-8
        assert sol.certificate.ok


@pytest.mark.parametrize("bound", [0.0, 0.05])
@pytest.mark.parametrize("name", sorted(NOTIONS))
def test_prices_and_multipliers_are_those_of_the_compiled_program(name, bound):
    rng = np.random.default_rng(11)
    D = population(rng, 3, 80)
    program = fp.FairClassifier(D, fp.ErrorRate(), [NOTIONS[name][0](difference_bound=bound)])
    fast, slow = program.solve("SORT"), program.solve("HIGHS")
    (key,) = fast.price
    assert abs(fast.risk - slow.risk) < 1e-8
    assert abs(fast.price[key] - slow.price[key]) < 1e-6
    assert np.allclose(fast.price_interval[key], slow.price_interval[key], atol=1e-6)
    assert set(fast.duals) == set(slow.duals)
    for where in fast.duals:  # signs agree, whichever multipliers were chosen
        assert fast.sensitivity[where] * slow.sensitivity[where] >= -1e-9
    assert abs(sum(fast.sensitivity.values())) < 1e-9 or name == "eodds"


def test_prices_are_one_sided_derivatives():
    rng = np.random.default_rng(3)
    for name, (Notion, _) in NOTIONS.items():
        D = population(rng, 3, 120, weights=name == "pe")
        for bound in (0.0, 0.03, 0.11):

            def risk(b, D=D, Notion=Notion):
                return fp.FairClassifier(D, None, [Notion(difference_bound=b)]).solve("SORT").risk

            sol = fp.FairClassifier(D, None, [Notion(difference_bound=bound)]).solve("SORT")
            (low, high), step = next(iter(sol.price_interval.values())), 1e-7
            right = (risk(bound) - risk(bound + step)) / step
            assert abs(right - low) < 1e-6
            if bound > 0:
                left = (risk(bound - step) - risk(bound)) / step
                assert abs(left - high) < 1e-6
            else:
                assert high == np.inf


def test_the_price_of_an_ideal_population_is_zero_and_of_another_it_is_not():
    rng = np.random.default_rng(7)
    law = rng.dirichlet(np.ones(12)).reshape(6, 2)
    ideal = fp.Categorical(law[:, :, None] * np.array([0.3, 0.7]))
    biased = fp.Categorical(
        np.stack([0.3 * law, 0.7 * law[::-1] * [0.5, 1.5]], axis=2)
        / (0.3 * law + 0.7 * law[::-1] * [0.5, 1.5]).sum()
    )
    for k in range(10):
        risk = fp.CostSensitiveRisk({"fp": rng.random() + 0.1, "fn": rng.random() + 0.1})
        for bound in (0.0, 0.01):
            for Notion, _ in NOTIONS.values():
                sol = fp.FairClassifier(ideal, risk, [Notion(difference_bound=bound)]).solve()
                assert sol.solver in ("bisection", "cutting-planes")
                assert next(iter(sol.price.values())) == 0.0, (k, bound, Notion)
    notion = fp.EqualizedOdds(difference_bound=0.01)
    assert fp.FairClassifier(biased, None, [notion]).solve().price["equalized_odds"] > 0.01


def test_who_may_use_it_and_who_may_not():
    rng = np.random.default_rng(0)
    D = population(rng, 2, 40)
    blind = fp.Categorical(rng.dirichlet(np.ones(16)).reshape(4, 2, 2))
    three = fp.Categorical(rng.dirichlet(np.ones(18)).reshape(3, 3, 2))
    refused = [
        fp.FairClassifier(blind, None, [fp.DemographicParity()], uses_group=False),
        fp.FairClassifier(three, None, [fp.DemographicParity()]),
        fp.FairClassifier(D, fp.WorstGroupRisk(), [fp.DemographicParity()]),
        fp.FairClassifier(D, None, [fp.PredictiveParity()]),
    ]
    for program, reason in zip(
        refused, ["group-blind", "not binary", "not linear", "level free"], strict=True
    ):
        with pytest.raises(fp.ModelError, match=reason):
            program.solve(solver="SORT")
    assert fp.FairClassifier(D, fp.WorstGroupRisk()).solve().solver == "HIGHS"
    # user's one-line notions and accuracy parity are linear, too
    for notion in (fp.Parity("P(yhat=1 | y=0)"), fp.AccuracyParity(difference_bound=0.01)):
        program = fp.FairClassifier(D, None, [notion])
        assert abs(program.solve("SORT").risk - program.solve("HIGHS").risk) < 1e-8


def test_clashing_notions_are_named():
    D = fp.Categorical.from_scores([0.9, 0.8, 0.1, 0.2], sensitive_features=list("aabb"))
    clash = [fp.AccuracyParity(), fp.RiskBound(fp.ErrorRate(), 0.01), fp.DemographicParity()]
    with pytest.raises(fp.InfeasibleError, match=r"error_rate|risk"):
        fp.FairClassifier(D, None, clash).solve()


def test_new_scores_get_the_rule_and_copies_keep_it(tmp_path):
    import pickle

    rng = np.random.default_rng(2)
    D = population(rng, 2, 60)
    sol = fp.FairClassifier(D, None, [fp.EqualizedOdds()]).solve()
    s = D.support
    again = sol.classifier.predict_proba_from_scores(
        s.score, sensitive_features=np.array(D.groups)[s.group]
    )
    assert np.array_equal(again, sol.classifier.h)
    assert np.array_equal(pickle.loads(pickle.dumps(sol)).classifier.h, sol.classifier.h)
    sol.save(tmp_path / "rule.npz")
    loaded = fp.load(tmp_path / "rule.npz")
    assert np.array_equal(loaded.classifier.h, sol.classifier.h)
    assert loaded.risk == sol.risk


@pytest.mark.parametrize("notion", [None, fp.EqualOpportunity(), fp.DemographicParity()])
def test_between_atoms_new_scores_are_compared_with_the_threshold(notion):
    D = fp.Categorical.from_scores(
        [0.2, 0.45, 0.8, 0.1, 0.4, 0.9], sensitive_features=list("aaabbb")
    )
    rule = fp.FairClassifier(D, None, [notion] if notion else []).solve().classifier
    grid = np.setdiff1d(np.linspace(0.005, 0.995, 100), D.support.score)
    for g, t in rule.thresholds.items():
        far = grid[np.abs(grid - t) > 1e-6]
        proba = rule.predict_proba_from_scores(far, sensitive_features=[g] * len(far))
        assert np.array_equal(proba[:, 1], far > t)


# ------------------------------------------------------------------------------- the kernels


def test_prefix_sums_across_blocks_are_exact():
    rng = np.random.default_rng(0)
    n = 3000
    eta, w = rng.random(n), rng.random(n)
    for weight in (None, w):
        curve = sort_scores(eta, weight, 1 / n, np.ones(n, bool))
        order = np.argsort(eta)
        mass = np.full(n, 1 / n) if weight is None else w[order]
        for k in (0, 1, 511, 512, 513, 2999, 3000):
            expected = np.sum(mass[:k] * (1 - eta[order][:k])), np.sum((mass * eta[order])[:k])
            assert np.allclose(prefix(curve, k), expected, rtol=1e-13)
            k_back = locate(curve, np.ones(2), float(mass[:k].sum()) - 1e-13, "left")
            assert k_back == k
        assert locate(curve, np.ones(2), 1e9, "left") == n + 1
        assert np.allclose(total(curve), prefix(curve, n))


def test_best_responses_and_boundaries_enclose_every_rule():
    rng = np.random.default_rng(1)
    n = 700
    eta = np.round(rng.random(n), 2)
    curve = sort_scores(eta, None, 1 / n, np.ones(n, bool))
    everything = total(curve)
    for _ in range(50):
        h = rng.random(n) < rng.random()
        point = np.array([np.sum((1 - eta) * h), np.sum(eta * h)]) / n
        cost = rng.normal(size=2)
        value, best = best_response(curve, cost)
        assert value <= point @ cost + 1e-12
        assert abs(best @ cost - value) < 1e-15
        top, bottom = boundary(curve, float(point.sum()))
        assert bottom[2] - 1e-12 <= point[1] <= top[2] + 1e-12
        rule = rule_at_point(curve, point)
        chosen, slackness = prove_rules([curve], rule[None], np.zeros((1, 2)))
        assert np.allclose(chosen[0], point, atol=1e-12)
        assert slackness == 0.0
        assert np.all((apply_rule(rule, eta) >= 0) & (apply_rule(rule, eta) <= 1 + 1e-15))
    assert np.allclose(everything.sum(), 1.0)


def test_the_proof_rejects_a_wrong_rule():
    rng = np.random.default_rng(4)
    eta = rng.random(200)
    curve = sort_scores(eta, None, 1 / 200, np.ones(200, bool))
    cost = np.array([[1.0, -1.0]])
    good = rule_at_point(curve, best_response(curve, cost[0])[1])
    bad = good.copy()
    bad[1] += 0.1
    assert prove_rules([curve], good[None], cost)[1] < 1e-15
    assert prove_rules([curve], bad[None], cost)[1] > 1e-4


def test_both_methods_give_the_same_answer_to_one_rate():
    rng = np.random.default_rng(9)
    n, G = 4000, 3
    group, eta = rng.integers(0, G, n), rng.beta(2, 3, n)
    curves = [sort_scores(eta, None, 1 / n, group == a) for a in range(G)]
    mass = np.array([total(c) for c in curves])
    cost = np.tile([1.0, -1.5], (G, 1))
    rate = np.stack([np.zeros(G), 1 / mass[:, 1]], axis=1)
    for d in (0.0, 0.01):
        rates, slopes, _ = solve_one_rate(curves, cost, rate, d)
        slope = balanced_slopes(slopes)
        assert abs(slope.sum()) < 1e-12
        rules = [rule_at_rate(*x) for x in zip(curves, cost, rate, rates, strict=True)]
        points, _ = prove_rules(curves, np.array(rules), cost - slope[:, None] * rate)
        A = np.zeros((G, 2 * G + 1))
        A[np.arange(G), 2 * np.arange(G) + 1] = 1.0
        A[:, -1] = -1.0
        objective = np.append((cost * mass).ravel(), 0.0)
        bound = np.full(G, d)
        status, v, _, rounds = solve_with_cuts(curves, objective, A, -bound, bound)
        assert status == "optimal"
        assert rounds < 40
        assert abs(objective @ v - np.sum(points * cost)) < 1e-12


def test_a_master_without_solution_says_so():
    curve = sort_scores(np.array([0.2, 0.6]), None, 0.5, np.ones(2, bool))
    A = np.array([[1.0, 1.0]])
    low, high = np.array([3.0]), np.array([np.inf])
    assert solve_with_cuts([curve], np.ones(2), A, low, high)[0] == "infeasible"


def test_columns_of_the_answer_for_no_constraint_are_the_bayes_rule():
    rng = np.random.default_rng(8)
    D = population(rng, 2, 50)
    answer = solve_scores(D, fp.ErrorRate(), [])
    assert abs(answer.risk - D.evaluate().error) < 1e-14
    assert answer.method == "closed-form"
