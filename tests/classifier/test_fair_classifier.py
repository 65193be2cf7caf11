"""Programs over classifiers against programs written independently, prices, certificates."""

import itertools

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

import fairprog as fp
from tests.instances import UNIVARIATE, ideal_categorical, random_categorical

seeds = st.integers(0, 2**32 - 1)


# -- an independent linear program: h[x, a, j], all pairs of groups instead of a free level --


def rates(notion, joint):
    """Rates as vectors over (x, a, j), one list of G vectors per event, from the definition."""
    X, K, G = joint.shape
    q = joint.sum(axis=0)

    def vector(a, pairs, mass):
        out = np.zeros((X, G, K))
        for i, j in pairs:
            out[:, a, j] += joint[:, i, a] / mass
        return out.ravel()

    every = range(K)
    predicted = [1] if K == 2 else every  # binary: the rate of positives
    if notion == "demographic_parity":
        events = [
            [vector(a, [(i, j) for i in every], q[:, a].sum()) for a in range(G)]
            for j in predicted
        ]
    elif notion == "equal_opportunity":
        events = [[vector(a, [(K - 1, K - 1)], q[K - 1, a]) for a in range(G)]]
    elif notion == "predictive_equality":
        events = [[vector(a, [(0, 1)], q[0, a]) for a in range(G)]]
    elif notion == "equalized_odds":
        events = [
            [vector(a, [(i, j)], q[i, a]) for a in range(G)]
            for i, j in itertools.product(every, predicted)
        ]
    else:
        events = [[vector(a, [(i, i) for i in every], q[:, a].sum()) for a in range(G)]]
    return events


def scipy_value(joint, C, notion, bound, ratio=None, blind=False):
    X, K, G = joint.shape
    cost = np.einsum("xia,ij->xaj", joint, C).ravel()
    A_ub, b_ub = [], []
    for event in rates(notion, joint) if notion else []:
        for r, s in itertools.permutations(event, 2):
            A_ub.append(r - s if ratio is None else ratio * s - r)
            b_ub.append(bound if ratio is None else 0.0)
    A_eq = [row for row in np.kron(np.eye(X * G), np.ones(K))]
    b_eq = [1.0] * (X * G)
    if blind:
        same = np.kron(np.eye(X), np.kron(np.c_[np.ones(G - 1), -np.eye(G - 1)], np.eye(K)))
        A_eq, b_eq = [*A_eq, *same], [*b_eq, *np.zeros(len(same))]
    result = linprog(cost, A_ub or None, b_ub or None, np.array(A_eq), b_eq, (0, 1))
    assert result.status == 0
    return result.fun


NOTIONS = {
    "demographic_parity": fp.DemographicParity,
    "equal_opportunity": fp.EqualOpportunity,
    "predictive_equality": fp.PredictiveEquality,
    "equalized_odds": fp.EqualizedOdds,
    "accuracy_parity": fp.AccuracyParity,
}


@pytest.mark.parametrize("G", [2, 3, 4])
@pytest.mark.parametrize("K", [2, 3, 4])
@pytest.mark.parametrize("notion", NOTIONS)
def test_values_equal_an_independent_linear_program(notion, K, G):
    if notion == "predictive_equality" and K > 2:  # binary labels only
        with pytest.raises(fp.ModelError, match="needs a binary label"):
            D = random_categorical(np.random.default_rng(0), K=K, G=G)
            fp.FairClassifier(D, fp.ErrorRate(), [fp.PredictiveEquality()]).solve()
        return
    rng = np.random.default_rng([K, G])
    D = random_categorical(rng, X=7, K=K, G=G)
    C = rng.random((K, K)) * (1 - np.eye(K))
    for blind, bound in ((False, 0.0), (False, 0.03), (True, 0.03)):
        fc = fp.FairClassifier(
            D,
            fp.CostSensitiveRisk(C),
            [NOTIONS[notion](difference_bound=bound)],
            uses_group=not blind,
        )
        sol = fc.solve(price_intervals=False)
        expected = scipy_value(D.joint, C, notion, bound, blind=blind)
        assert sol.risk == pytest.approx(expected, abs=1e-7)
        assert sol.certificate.ok
        assert NOTIONS[notion]().gap(sol.table) <= bound + 1e-8
    if G > 2:
        return
    ratio = fp.FairClassifier(D, fp.CostSensitiveRisk(C), [NOTIONS[notion](ratio_bound=0.9)])
    expected = scipy_value(D.joint, C, notion, None, ratio=0.9)
    assert ratio.solve(price_intervals=False).risk == pytest.approx(expected, abs=1e-7)


def test_without_constraints_it_is_the_bayes_rule():
    rng = np.random.default_rng(0)
    for K in (2, 3):
        D = random_categorical(rng, X=20, K=K, zeros=True)
        C = rng.random((K, K))
        sol = fp.FairClassifier(D, fp.CostSensitiveRisk(C)).solve()
        assert sol.risk == pytest.approx(D.evaluate(C).risk, abs=1e-12)
        assert np.allclose(sol.classifier.costs, C - C.min(axis=1, keepdims=True), atol=1e-9)


def barycentre(joint):
    """min over laws Q on the vertices e_j of sum_a p_a OT(F_a, Q), cost 1 - eta_j."""
    X, K, G = joint.shape
    p = joint.sum(axis=(0, 1))
    cost, A, b = [], [], []
    n = G * X * K
    for a, x in itertools.product(range(G), range(X)):
        mass = joint[x, :, a].sum()
        cost += list(p[a] * (1 - joint[x, :, a] / mass))
        row = np.zeros(n + K)
        row[(a * X + x) * K : (a * X + x + 1) * K] = 1
        A.append(row)
        b.append(mass / p[a])
    for a, j in itertools.product(range(G), range(K)):
        row = np.zeros(n + K)
        row[a * X * K + j : (a + 1) * X * K : K] = 1
        row[n + j] = -1
        A.append(row)
        b.append(0.0)
    return linprog([*cost, *np.zeros(K)], None, None, np.array(A), b, (0, None)).fun


def sorted_barycentre(joint):
    """The same for two classes: every group accepts its best fraction q, q common."""
    p = joint.sum(axis=(0, 1))
    curves, breaks = [], [0.0, 1.0]
    for a, mass in enumerate(p):
        m = joint[:, :, a].sum(axis=1) / mass
        eta = joint[:, 1, a] / joint[:, :, a].sum(axis=1)
        order = np.argsort(-eta)
        q = np.r_[0, np.cumsum(m[order])]
        # error at acceptance rate q: reject all costs E eta, accepting x adds 1 - 2 eta
        error = (m @ eta) + np.r_[0, np.cumsum((m * (1 - 2 * eta))[order])]
        curves.append((q, error))
        breaks += list(q)
    return min(
        sum(mass * np.interp(t, *curve) for mass, curve in zip(p, curves, strict=True))
        for t in breaks
    )


@pytest.mark.parametrize("K", [2, 3, 4])
@pytest.mark.parametrize("G", [2, 3])
def test_demographic_parity_is_the_vertex_barycentre(K, G):
    D = random_categorical(np.random.default_rng([7, K, G]), X=12, K=K, G=G)
    value = fp.FairClassifier(D, fp.ErrorRate(), [fp.DemographicParity()]).solve().risk
    assert value == pytest.approx(barycentre(D.joint), abs=1e-9)
    assert value > D.evaluate().error + 1e-4  # the notion binds
    if K == 2:
        assert value == pytest.approx(sorted_barycentre(D.joint), abs=1e-12)


# -- prices --


@pytest.mark.parametrize("notion", list(NOTIONS.values()))
def test_the_interval_is_the_pair_of_one_sided_slopes_at_a_kink(notion):
    D = random_categorical(np.random.default_rng(11), X=6)

    def value(bound):
        return fp.FairClassifier(D, fp.ErrorRate(), [notion(difference_bound=bound)]).solve()

    kink = notion().gap(D.evaluate().table)  # beyond it the notion costs nothing
    step = 1e-5
    sol, left = value(kink), value(kink - step)
    low, high = sol.price_interval[notion.name]
    assert low == sol.price[notion.name] == 0.0
    assert high == pytest.approx((left.risk - sol.risk) / step, rel=1e-6)
    assert high > 1e-3
    free = value(kink + step)
    assert free.price_interval[notion.name] == (0.0, 0.0)
    # at bound 0 the smallest price is what the first relaxation buys
    tight, relaxed = value(0.0), value(step)
    assert tight.price[notion.name] == pytest.approx((tight.risk - relaxed.risk) / step, rel=1e-5)
    assert tight.price_interval[notion.name] == (tight.price[notion.name], np.inf)


@given(seed=seeds, K=st.integers(2, 3), G=st.integers(2, 3))
@settings(max_examples=5)
def test_prices_of_several_notions_and_signed_sensitivities(seed, K, G):
    rng = np.random.default_rng(seed)
    D = random_categorical(rng, X=8, K=K, G=G)
    bounds = {"demographic_parity": 0.031, "equal_opportunity": 0.017}

    def solve(**moved):
        b = bounds | moved
        notions = [NOTIONS[k](difference_bound=v) for k, v in b.items()]
        return fp.FairClassifier(D, fp.ErrorRate(), notions).solve()

    sol, step = solve(), 1e-6
    for name in bounds:
        up = (sol.risk - solve(**{name: bounds[name] + step}).risk) / step
        down = (solve(**{name: bounds[name] - step}).risk - sol.risk) / step
        low, high = sol.price_interval[name]
        assert low - 1e-6 <= sol.price[name] <= high + 1e-6
        assert low == pytest.approx(up, abs=1e-5)
        assert high == pytest.approx(down, abs=1e-5)
        # theory.md section 8: the price is half the sum of the net multipliers
        net = [float(abs(v)) for w, v in sol.sensitivity.items() if w.startswith(name)]
        assert sum(net) / 2 == pytest.approx(sol.price[name], abs=1e-8)


def test_sensitivity_is_the_slope_in_the_target():
    """Shift the target of one equality by hand and solve the shifted program."""
    D = random_categorical(np.random.default_rng(12), X=9)
    sol = fp.FairClassifier(D, fp.ErrorRate(), [fp.EqualOpportunity()]).solve()

    def shifted(delta):
        @fp.constraint
        def moved(view, population):
            tpr = [view.Z[a, 1, 1] / population.prior[1, a] for a in range(2)]
            return tpr[0] - delta == tpr[1]

        return fp.FairClassifier(D, fp.ErrorRate(), [moved]).solve().risk

    assert shifted(0.0) == pytest.approx(sol.risk, abs=1e-10)
    step = 1e-5
    slope = float(sol.sensitivity["equal_opportunity[a,1,1]"])
    slopes = sorted([(shifted(step) - sol.risk) / step, (sol.risk - shifted(-step)) / step])
    assert slopes[0] - 1e-6 <= slope <= slopes[1] + 1e-6
    assert abs(slope) > 1e-3


COSTS = [
    {"fp": float(u), "fn": float(v)}
    for u, v in np.random.default_rng(20).uniform(0.5, 1.5, size=(20, 2))
]


@pytest.mark.parametrize("notion", [fp.DemographicParity, fp.EqualOpportunity, fp.EqualizedOdds])
def test_on_an_ideal_population_every_price_is_zero_and_said_so(notion):
    """theory.md section 1: zero prices, for 20 random costs, bounds 0 and .01."""
    steered = fp.NearestIdeal(UNIVARIATE, steer=["b"]).solve().population
    ideal, original = steered.discretize(96), UNIVARIATE.discretize(96)
    for k, (cost, bound) in enumerate(itertools.product(COSTS, (0.0, 0.01))):
        if k % 6 != list(NOTIONS.values()).index(notion):
            continue  # every cost and bound with some notion; all of them in the slow test
        check_zero_prices(ideal, original, notion, cost, bound)


@pytest.mark.slow
@pytest.mark.parametrize("notion", [fp.DemographicParity, fp.EqualOpportunity, fp.EqualizedOdds])
def test_on_an_ideal_population_every_price_is_zero_with_2048_atoms(notion):
    steered = fp.NearestIdeal(UNIVARIATE, steer=["b"]).solve().population
    ideal, original = steered.discretize(), UNIVARIATE.discretize()
    for cost, bound in itertools.product(COSTS, (0.0, 0.01)):
        check_zero_prices(ideal, original, notion, cost, bound)


def check_zero_prices(ideal, original, notion, cost, bound):
    risk = fp.CostSensitiveRisk(cost)
    sol = fp.FairClassifier(ideal, risk, [notion(difference_bound=bound)]).solve()
    low, high = sol.price_interval[notion.name]
    assert low == 0.0 == sol.price[notion.name]
    assert high == (np.inf if bound == 0 else 0.0)
    assert all(np.abs(v).max() < 1e-9 for v in sol.sensitivity.values())
    assert sol.risk == pytest.approx(ideal.evaluate(cost).risk, abs=1e-10)
    control = fp.FairClassifier(original, risk, [notion(difference_bound=bound)]).solve()
    assert control.price_interval[notion.name][0] > 1e-3
    assert control.price[notion.name] > 1e-3


# -- other templates --


def test_worst_group_risk_and_cvar_equal_independent_programs():
    D = random_categorical(np.random.default_rng(13), X=9, G=3)
    X, K, G = D.joint.shape
    cost = np.einsum("xia,ij->xaj", D.joint, 1 - np.eye(K))
    simplex = np.c_[np.kron(np.eye(X * G), np.ones(K)), np.zeros((X * G, 1))]
    p = D.group_mass
    rows = []
    for a in range(G):
        own = np.zeros_like(cost)
        own[:, a] = cost[:, a] / p[a]
        rows.append([*own.ravel(), -1.0])
    n = X * G * K
    result = linprog([*np.zeros(n), 1.0], rows, np.zeros(G), simplex, np.ones(X * G))
    sol = fp.FairClassifier(D, fp.WorstGroupRisk()).solve()
    assert sol.risk == pytest.approx(result.fun, abs=1e-9)
    assert sum(float(-v) for w, v in sol.sensitivity.items()) == pytest.approx(1.0)
    # CVaR: t + sum_r w_r u_r / (1 - level), u_r >= loss_r - t
    level, mass = 0.7, D.mass.ravel()
    loss = np.zeros((X * G, n))
    for r in range(X * G):
        loss[r, r * K : (r + 1) * K] = cost.reshape(X * G, K)[r] / mass[r]
    m = X * G
    objective = [*np.zeros(n), 1.0, *(mass / (1 - level))]
    A = np.c_[loss, -np.ones(m), -np.eye(m)]
    simplex = np.c_[np.kron(np.eye(m), np.ones(K)), np.zeros((m, 1 + m))]
    bounds = [(0, 1)] * n + [(None, None)] + [(0, None)] * m
    result = linprog(objective, A, np.zeros(m), simplex, np.ones(m), bounds)
    sol = fp.FairClassifier(D, fp.CVaR(level=level)).solve()
    assert sol.risk == pytest.approx(result.fun, abs=1e-9)
    assert sol.classifier.costs is None  # no rule on posteriors


@pytest.mark.parametrize("ball", ["tv", "kl", "chi2"])
def test_robust_means_for_every_population_in_the_ball(ball):
    """The inner maximisation by a convex program of its own, and by populations in the ball."""
    rng = np.random.default_rng(14)
    D = random_categorical(rng, X=7)
    notion, radius = fp.EqualOpportunity(difference_bound=0.25), 0.03
    sol = fp.FairClassifier(D, fp.ErrorRate(), [fp.Robust(notion, radius, ball)]).solve()
    plain = fp.FairClassifier(D, fp.ErrorRate(), [notion]).solve()
    robust = fp.Robust(notion, radius, ball)
    assert robust.gap(sol.table) <= 0.25 + 1e-7
    assert robust.gap(plain.table) > 0.25  # control: the notion itself is not robust
    ends = []
    for a in range(2):
        P = D.joint[:, 1, a] / D.prior[1, a]
        h = sol.table.h.reshape(7, 2, 2)[:, a, 1]
        Q = cp.Variable(7, nonneg=True)
        distance = {
            "tv": 0.5 * cp.norm1(Q - P),
            "kl": cp.sum(cp.rel_entr(Q, P)),
            "chi2": cp.sum(cp.multiply(1 / P, cp.square(Q - P))),
        }[ball]
        inside = [cp.sum(Q) == 1, distance <= radius]
        ends.append(
            [
                cp.Problem(sense(h @ Q), inside).solve(solver="CLARABEL")
                for sense in (cp.Minimize, cp.Maximize)
            ]
        )
    assert np.allclose(robust.evaluate(sol.table)[0], ends, atol=1e-6)
    worst = max(ends[0][1] - ends[1][0], ends[1][1] - ends[0][0])
    assert robust.gap(sol.table) == pytest.approx(worst, abs=1e-6)


def test_rates_given_the_prediction_at_a_fixed_and_at_a_free_level():
    D = random_categorical(np.random.default_rng(15), X=12)
    X, K, G = D.joint.shape
    cost = np.einsum("xia,ij->xaj", D.joint, 1 - np.eye(K))
    simplex = np.kron(np.eye(X * G), np.ones(K))

    def at(level):
        rows = []
        for a in range(G):
            row = np.zeros((X, G, K))
            row[:, a, 1] = D.joint[:, 1, a] - level * D.joint[:, :, a].sum(axis=1)
            rows.append(row.ravel())
        A, b = np.vstack([simplex, rows]), np.r_[np.ones(X * G), np.zeros(G)]
        return linprog(cost.ravel(), None, None, A, b, (0, 1)).fun

    fixed = fp.FairClassifier(D, fp.ErrorRate(), [fp.PredictiveParity(level=0.7)]).solve()
    assert fixed.risk == pytest.approx(at(0.7), abs=1e-9)
    assert np.allclose(fp.PredictiveParity().evaluate(fixed.table), 0.7, atol=1e-8)
    free = fp.FairClassifier(D, fp.ErrorRate(), [fp.PredictiveParity()]).solve()
    assert free.risk <= min(at(t) for t in np.linspace(0, 1, 201)) + 1e-9
    assert fp.PredictiveParity().gap(free.table) < 1e-8
    assert not free.certificate.globally_optimal
    level = free.settings["constraints"]["predictive_parity"].level
    assert free.risk == pytest.approx(at(level), abs=1e-9)


def test_individual_fairness_ties_what_it_names():
    D = random_categorical(np.random.default_rng(16), X=8, K=3)
    pairs = [[x, x] for x in range(8)]
    same = fp.FairClassifier(D, fp.ErrorRate(), [fp.IndividualFairness(pairs, 0.0)]).solve()
    blind = fp.FairClassifier(D, fp.ErrorRate(), uses_group=False).solve()
    assert same.risk == pytest.approx(blind.risk, abs=1e-9)  # the same at x in every group
    chain = fp.IndividualFairness([[x, x + 1] for x in range(7)], 0.1)
    sol = fp.FairClassifier(D, fp.ErrorRate(), [chain]).solve()
    assert chain.evaluate(sol.table).max() == pytest.approx(0.1, abs=1e-9)


def test_custom_conditions_see_the_table():
    D = random_categorical(np.random.default_rng(17), X=9)

    @fp.constraint
    def few_positives(view, population):
        return sum(view.Z[a, i, 1] for a in range(2) for i in range(2)) <= 0.2

    sol = fp.FairClassifier(D, fp.ErrorRate(), [few_positives, fp.DemographicParity()]).solve()
    assert sol.table.Z[:, :, 1].sum() == pytest.approx(0.2, abs=1e-9)
    assert sol.price["few_positives"] > 0
    assert sol.certificate.ok


# -- what is refused, and what clashes --


def test_clashing_templates_are_named():
    D = random_categorical(np.random.default_rng(18), X=10)
    free = fp.FairClassifier(D, fp.ErrorRate()).solve().risk
    fair = fp.FairClassifier(D, fp.ErrorRate(), [fp.EqualizedOdds()]).solve().risk
    between = fp.RiskBound(fp.ErrorRate(), 0.5 * (free + fair))
    loose = fp.AccuracyParity(difference_bound=1.0)
    with pytest.raises(fp.InfeasibleError) as error:
        fp.FairClassifier(D, fp.ErrorRate(), [loose, fp.EqualizedOdds(), between]).solve()
    assert error.value.details["conditions"] == ["equalized_odds", "bound_error_rate"]
    assert "accuracy_parity" not in str(error.value)
    enough = fp.RiskBound(fp.ErrorRate(), fair + 1e-6)
    fp.FairClassifier(D, fp.ErrorRate(), [loose, fp.EqualizedOdds(), enough]).solve()


def test_what_is_no_program():
    D = random_categorical(np.random.default_rng(19))
    with pytest.raises(fp.ModelError, match=r"must be Categorical; found Normal.*discretize"):
        fp.FairClassifier(UNIVARIATE)
    with pytest.raises(fp.ModelError, match="must be a risk"):
        fp.FairClassifier(D, fp.EqualOpportunity())
    with pytest.raises(fp.ModelError, match="neither a notion"):
        fp.FairClassifier(D, fp.ErrorRate(), [0.1])
    with pytest.raises(fp.ModelError, match="must be a list"):
        fp.FairClassifier(D, fp.ErrorRate(), fp.EqualOpportunity())
    rows = fp.Categorical.from_scores([0.2, 0.8, 0.4, 0.9], sensitive_features=list("aabb"))
    with pytest.raises(fp.ModelError, match="group-blind classifier is no restriction"):
        fp.FairClassifier(rows, uses_group=False)
    with pytest.raises(fp.ModelError, match="Only one notion may leave its level free"):
        fp.FairClassifier(D, fp.ErrorRate(), [fp.PredictiveParity(), fp.F1Parity()])
    with pytest.raises(fp.ModelError, match="share the address"):
        twice = [fp.DemographicParity(), fp.DemographicParity(difference_bound=0.1)]
        fp.FairClassifier(D, fp.ErrorRate(), twice).solve()
    with pytest.raises(fp.ModelError, match="linear programs only"):
        fp.FairClassifier(D, fp.RobustRisk()).solve(solver="HIGHS")
    with pytest.raises(fp.ModelError, match="does not accept the solver options"):
        fp.FairClassifier(D).solve(colour="red")
    with pytest.raises(fp.ModelError, match="not convex"):

        @fp.constraint
        def concave(view, population):
            return cp.square(view.Z[0, 0, 0]) >= 0.01

        fp.FairClassifier(D, fp.ErrorRate(), [concave]).solve()


@pytest.mark.parametrize("solver", ["HIGHS", "CLARABEL", "SCS"])
def test_solvers_agree(solver):
    D = random_categorical(np.random.default_rng(21), X=10, K=3)
    fc = fp.FairClassifier(D, fp.ErrorRate(), [fp.EqualizedOdds(difference_bound=0.05)])
    exact = fc.solve()
    other = fc.solve(solver=solver, price_intervals=False)
    assert other.solver == solver
    assert other.risk == pytest.approx(exact.risk, abs=1e-6)
    assert other.price["equalized_odds"] == pytest.approx(exact.price["equalized_odds"], abs=1e-3)


# -- the classifier as an object --


def test_thresholds_reproduce_the_classifier_and_its_rates():
    rng = np.random.default_rng(22)
    scores, a = rng.beta(2, 3, 400), rng.choice(["f", "m"], 400)
    scores[a == "f"] **= 1.5
    D = fp.Categorical.from_scores(scores, sensitive_features=a)
    sol = fp.FairClassifier(D, fp.ErrorRate(), [fp.EqualOpportunity()]).solve()
    t = sol.classifier.thresholds
    assert t["f"] < t["m"]
    above = scores > np.array([t[g] for g in a])
    at = np.isclose(scores, [t[g] for g in a], atol=1e-9)
    proba = sol.classifier.predict_proba(np.arange(400), sensitive_features=a)
    assert np.array_equal(proba[~at, 1] > 0.5, above[~at])
    assert at.sum() <= 2  # one randomised row per group at most
    # the rule on scores is the classifier on its own rows, and applies to new ones
    rule = sol.classifier.predict_proba_from_scores(scores, sensitive_features=a)
    assert np.allclose(rule, proba, atol=1e-9)
    new = sol.classifier.predict_proba_from_scores([0.0, 1.0], sensitive_features=["f", "m"])
    assert np.array_equal(new, np.eye(2))
    draws = sol.classifier.predict(np.arange(400), sensitive_features=a, random_state=0)
    assert np.array_equal(draws[~at], above[~at].astype(int))


def test_predictions_follow_their_probabilities():
    D = fp.Categorical(
        random_categorical(np.random.default_rng(23), X=5).joint,
        values=list("vwxyz"),
        classes=["no", "yes"],
        groups=["f", "m"],
    )
    sol = fp.FairClassifier(D, fp.ErrorRate(), [fp.EqualizedOdds()]).solve()
    X, _, a = D.sample(100_000, random_state=0)
    proba = sol.classifier.predict_proba(X, sensitive_features=a)
    draw = {"sensitive_features": a, "random_state": 1}
    draws = sol.classifier.predict(X, **draw, key=np.arange(len(X)))
    assert set(draws) <= {"no", "yes"}
    assert np.array_equal(draws, sol.classifier.predict(X, **draw, key=np.arange(len(X))))
    some = np.random.default_rng(0).permutation(len(X))[:100]  # alone or not: the same answer
    alone = [
        sol.classifier.predict(X[[i]], sensitive_features=a[[i]], random_state=1, key=[i])[0]
        for i in some
    ]
    assert alone == draws[some].tolist()
    with pytest.warns(fp.FairprogWarning, match="Pass key="):  # rows that are the same share a lot
        shared = sol.classifier.predict(X, **draw)
    assert len({(x, g, j) for x, g, j in zip(X, a, shared, strict=True)}) <= 10
    for value, g in itertools.product("vwxyz", ["f", "m"]):
        rows = (value == X) & (a == g)
        p = proba[rows][0, 1]
        spread = 5 * np.sqrt(p * (1 - p) / rows.sum())
        assert np.mean(draws[rows] == "yes") == pytest.approx(p, abs=spread + 1e-12)
    with pytest.raises(fp.DataError, match="'q' in row 1, which is no atom"):
        sol.classifier.predict_proba(["v", "q"], sensitive_features=["f", "f"])
    with pytest.raises(fp.DataError, match="sensitive_features"):
        sol.classifier.predict_proba(["v"])
    blind = fp.FairClassifier(D, uses_group=False).solve().classifier
    assert blind.thresholds is None
    assert blind.predict_proba(["v"]).shape == (1, 2)
    with pytest.raises(fp.ModelError, match="not a rule on posteriors"):
        blind.predict_proba_from_scores([0.5], sensitive_features=["f"])


def miscalibrated(n=4000, seed=31):
    """Scores that mean something else in each group."""
    rng = np.random.default_rng(seed)
    a, score = rng.choice(["f", "m"], n), rng.beta(2, 2, n)
    y = (rng.random(n) < np.where(a == "f", score**2, np.sqrt(score))).astype(int)
    return score, y, a


def realised(proba, y, a, classes=(0, 1), groups=("f", "m")):
    """The outcome table that predictions have on rows."""
    Z = np.zeros((len(groups), len(classes), len(classes)))
    np.add.at(Z, ([groups.index(g) for g in a], [classes.index(c) for c in y]), proba / len(y))
    return fp.OutcomeTable(Z, classes, groups)


@pytest.mark.parametrize("suffix", ["json", "npz"])
@pytest.mark.parametrize("counted", [True, False])
@pytest.mark.parametrize("uses_group", [True, False])
def test_new_scores_fall_into_the_bins_of_the_population(tmp_path, suffix, counted, uses_group):
    score, y, a = miscalibrated()
    labels = {"y": y} if counted else {}
    D = fp.Categorical.from_scores(score, bins=50, sensitive_features=a, **labels)
    notion = fp.EqualOpportunity(difference_bound=0.02)
    sol = fp.FairClassifier(D, fp.ErrorRate(), [notion], uses_group=uses_group).solve()
    proba = sol.classifier.predict_proba_from_scores(score, sensitive_features=a)
    if counted:  # on the rows that were counted the promise holds exactly
        assert np.allclose(realised(proba, y, a).Z, sol.table.Z, atol=1e-12)
        assert notion.gap(realised(proba, y, a)) == pytest.approx(0.02, abs=1e-7)
        # control: the same thresholds read off raw scores break it
        if uses_group:
            t = sol.classifier.thresholds
            raw = np.eye(2)[(score > np.array([t[g] for g in a])).astype(int)]
            assert notion.gap(realised(raw, y, a)) > 0.05
    else:
        truth = np.stack([1 - score, score], 1)
        for k, g in enumerate("fm"):
            Z = np.einsum("ni,nj->ij", truth[a == g], proba[a == g]) / len(a)
            assert np.allclose(Z, sol.table.Z[k], atol=1e-12)
    if not uses_group:
        assert np.array_equal(sol.classifier.predict_proba_from_scores(score), proba)
    sol.save(tmp_path / f"rule.{suffix}")
    again = fp.load(tmp_path / f"rule.{suffix}").classifier
    assert np.array_equal(again.predict_proba_from_scores(score, sensitive_features=a), proba)


def test_class_labels_are_drawn_for_new_scores():
    score, y, a = miscalibrated()
    D = fp.Categorical.from_scores(
        score, y=np.array(["no", "yes"])[y], bins=3, sensitive_features=a
    )
    rule = fp.FairClassifier(D, None, [fp.DemographicParity()]).solve().classifier
    proba = rule.predict_proba_from_scores(score, sensitive_features=a)
    mixed = np.flatnonzero((proba[:, 1] > 0.05) & (proba[:, 1] < 0.95))
    assert mixed.size  # some bin is randomised
    many, f = np.full(20_000, score[mixed[0]]), np.full(20_000, a[mixed[0]])
    key = np.arange(len(many))
    drawn = rule.predict_from_scores(many, sensitive_features=f, random_state=0, key=key)
    assert set(drawn) == {"no", "yes"}
    assert np.mean(drawn == "yes") == pytest.approx(proba[mixed[0], 1], abs=0.02)
    again = rule.predict_from_scores(many, sensitive_features=f, random_state=0, key=key)
    assert np.array_equal(drawn, again)
    E = fp.Categorical.from_scores(score, sensitive_features=a, classes=["no", "yes"])
    sharp = fp.FairClassifier(E).solve().classifier
    assert sharp.predict_from_scores([0.2, 0.8], sensitive_features=["f", "m"]).tolist() == [
        "no",
        "yes",
    ]


def test_bins_of_several_classes_and_bins_without_rows():
    rng = np.random.default_rng(32)
    p, a = rng.dirichlet([1, 1, 1], 3000), rng.choice(["f", "m"], 3000)
    y = (rng.random(3000)[:, None] > np.cumsum(p**2 / (p**2).sum(1, keepdims=True), 1)).sum(1)
    D = fp.Categorical.from_scores(p, y=y, bins=4, sensitive_features=a)
    sol = fp.FairClassifier(D, fp.ErrorRate(), [fp.DemographicParity()]).solve()
    proba = sol.classifier.predict_proba_from_scores(p, sensitive_features=a)
    assert np.allclose(realised(proba, y, a, (0, 1, 2)).Z, sol.table.Z, atol=1e-12)
    corner = sol.classifier.predict_proba_from_scores(np.eye(3), sensitive_features=list("ffm"))
    assert np.allclose(corner.sum(axis=1), 1)
    # group b has no rows in the middle bin: the nearest of its own bins decides
    D = fp.Categorical.from_scores(
        [0.1, 0.5, 0.5, 0.9, 0.2, 0.8],
        y=[0, 0, 1, 1, 0, 1],
        bins=[0.3, 0.6, 0.95],
        sensitive_features=list("aaaabb"),
    )
    rule = fp.FairClassifier(D).solve().classifier
    new = rule.predict_proba_from_scores([0.45, 0.55, 0.97], sensitive_features=["b"] * 3)
    assert new[:, 1].tolist() == [0, 1, 1]
    moved = (
        fp.NearestIdeal(
            fp.Categorical.from_scores(
                [0.1, 0.9, 0.2, 0.8] * 3,
                y=[0, 1, 1, 0, 1, 0, 0, 1, 0, 1, 0, 1],
                bins=[0.5],
                sensitive_features=list("aabb") * 3,
            )
        )
        .solve()
        .population
    )
    assert moved.score_bins is not None


@pytest.mark.parametrize("suffix", ["json", "npz"])
def test_saved_solutions_come_back(tmp_path, suffix):
    D = random_categorical(np.random.default_rng(24), X=6, K=3)
    templates = [
        fp.EqualizedOdds(difference_bound=0.05),
        fp.Robust(fp.EqualOpportunity(difference_bound=0.3), 0.02),
        fp.IndividualFairness([[0, 1]], [0.4]),
    ]
    risk = fp.ErrorRate() + 0.1 * fp.WorstGroupRisk()
    sol = fp.FairClassifier(D, risk, templates).solve()
    sol.save(tmp_path / f"answer.{suffix}")
    again = fp.load(tmp_path / f"answer.{suffix}")
    assert again.risk == sol.risk
    assert again.price == sol.price
    assert again.price_interval == sol.price_interval
    assert again.certificate == sol.certificate
    assert again.settings == sol.settings
    assert np.array_equal(again.classifier.h, sol.classifier.h)
    assert np.allclose(again.table.Z, sol.table.Z, atol=1e-15)
    assert again.summary() == sol.summary()


def test_summaries_and_pictures():
    D = random_categorical(np.random.default_rng(25), X=9)
    fc = fp.FairClassifier(D, fp.ErrorRate(), [fp.EqualOpportunity()])
    text = fc.solve().summary()
    assert "certificate: ok, global" in text
    assert "equal_opportunity" in text
    _, ax = fc.solve().plot()
    assert "P(Y=1 | x, a)" in ax.get_xlabel()
    assert max(len(line) for line in text.splitlines()) <= 100


def test_a_false_answer_fails_its_certificate(monkeypatch):
    """Perturb the solver's answer: the certificate must say no."""
    from fairprog.programs.compile.standard_form import StandardForm

    D = random_categorical(np.random.default_rng(26), X=9)
    fc = fp.FairClassifier(D, fp.ErrorRate(), [fp.EqualOpportunity()])
    honest = StandardForm.accept

    def false(self, x, y):
        honest(self, x, 1.05 * y)

    monkeypatch.setattr(StandardForm, "accept", false)
    with pytest.raises(fp.SolverError):
        fc.solve(solver="HIGHS", price_intervals=False)


def test_ideal_populations_need_no_steering():
    D = ideal_categorical(np.random.default_rng(27), K=3, G=3)
    C = np.random.default_rng(28).random((3, 3))
    notions = [fp.EqualizedOdds(), fp.DemographicParity(), fp.AccuracyParity()]
    sol = fp.FairClassifier(D, fp.CostSensitiveRisk(C), notions).solve()
    assert sol.risk == pytest.approx(D.evaluate(C).risk, abs=1e-12)
    assert dict(sol.price) == dict.fromkeys(sol.price, 0.0)
