"""Programs over classifiers against programs written independently, and certificates."""

import itertools

import cvxpy as cp
import numpy as np
import pytest
from scipy.optimize import linprog

import fairprog as fp
from tests.instances import NOTIONS, ideal_categorical, random_categorical

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


# -- solvers --


@pytest.mark.parametrize("solver", ["HIGHS", "CLARABEL", "SCS"])
def test_solvers_agree(solver):
    D = random_categorical(np.random.default_rng(21), X=10, K=3)
    fc = fp.FairClassifier(D, fp.ErrorRate(), [fp.EqualizedOdds(difference_bound=0.05)])
    exact = fc.solve()
    other = fc.solve(solver=solver, price_intervals=False)
    assert other.solver == solver
    assert other.risk == pytest.approx(exact.risk, abs=1e-6)
    assert other.price["equalized_odds"] == pytest.approx(exact.price["equalized_odds"], abs=1e-3)


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
