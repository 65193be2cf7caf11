"""Finite alphabets: pools in closed form against the relative-entropy program and brute force."""

import cvxpy as cp
import numpy as np
import pytest
from scipy.optimize import minimize

import fairprog as fp
from fairprog.kernels.atoms.log_linear_pool import divergence, pool, pool_residual
from fairprog.programs.geometries import finite


def population(rng, X=4, K=2, G=2, **kw):
    joint = rng.dirichlet(np.ones(X * K * G)).reshape(X, K, G)
    return fp.Categorical(joint, groups="abc"[:G], **kw)


OPTIONS = [
    {},
    {"base_rates": "keep"},
    {"base_rates": "joint"},
    {"base_rates": "uniform"},
    {"steer": ["b"]},
    {"steer": ["b"], "base_rates": "keep"},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_closed_form_equals_the_conic_program(options):
    rng = np.random.default_rng(0)
    for X, K in ((3, 2), (6, 3)):
        D = population(rng, X, K)
        rates = options.get("base_rates")
        chosen = {**options, "base_rates": np.full(K, 1 / K)} if rates == "uniform" else options
        exact = fp.NearestIdeal(D, **chosen).solve("closed-form")
        conic = fp.NearestIdeal(D, **chosen).solve("CLARABEL")
        assert abs(exact.kl - conic.kl) < 1e-7
        assert np.abs(exact.population.joint - conic.population.joint).max() < 1e-5
        assert abs(exact.kl - exact.population.kl(D)) < 1e-12
        laws = exact.population.joint / exact.population.prior
        assert np.abs(laws[:, :, 0] - laws[:, :, 1]).max() < 1e-12
        assert exact.population.is_ideal() is not (rates == "keep")
        assert exact.certificate.ok
        assert exact.certificate.globally_optimal


def test_the_pool_is_the_minimum_over_the_simplex():
    rng = np.random.default_rng(1)
    laws, w = rng.dirichlet(np.ones(4), size=3).T, np.array([0.5, 0.3, 0.2])

    def objective(t):
        R = np.exp(t - t.max())
        R /= R.sum()
        return sum(w[a] * divergence(R, laws[:, a]) for a in range(3))

    R, value = pool(laws, w)
    assert abs(objective(np.log(R)) - value) < 1e-14
    assert abs(minimize(objective, np.zeros(4), method="BFGS").fun - value) < 1e-9
    assert pool_residual(R, laws, w) < 1e-14
    assert pool_residual(np.full(4, 0.25), laws, w) > 0.01  # a control


def test_freeing_the_base_rates_is_never_worse_and_never_below_any_choice():
    rng = np.random.default_rng(2)
    D = population(rng, 5)
    joint = fp.NearestIdeal(D, base_rates="joint").solve()
    for rate in np.linspace(0.1, 0.9, 9):
        assert joint.kl <= fp.NearestIdeal(D, base_rates=[1 - rate, rate]).solve().kl + 1e-12
    rates = joint.population.base_rates[:, 0]
    assert abs(fp.NearestIdeal(D, base_rates=rates).solve().kl - joint.kl) < 1e-12


def test_kamiran_and_calders_reweighing_ignores_x():
    rng = np.random.default_rng(3)
    D = population(rng, 5)
    P_y, P_a, P_ya = D.prior.sum(axis=1), D.group_mass, D.prior
    y, a = np.array([0, 0, 1, 1]), np.array(["a", "b", "a", "b"])
    expected = (P_y[:, None] * P_a / P_ya)[y, [0, 1, 0, 1]]
    sol = fp.NearestIdeal(D, base_rates=P_y).solve()
    assert np.allclose(sol.sample_weight(y, sensitive_features=a), expected, rtol=1e-12)
    # with a single atom there is nothing but base rates, and the weights are the same
    blind = fp.Categorical(P_ya[None], groups="ab")
    one = fp.NearestIdeal(blind, base_rates=P_y).solve()
    again = one.sample_weight(y, sensitive_features=a, X=np.zeros(4, int))
    assert np.allclose(again, expected, rtol=1e-12)
    # while weights that see X differ
    seen = sol.sample_weight(y, sensitive_features=a, X=np.zeros(4, int))
    assert np.abs(seen - expected).max() > 0.01


def test_weights_carry_a_sample_to_the_steered_population():
    rng = np.random.default_rng(4)
    D = population(rng, 3, values=["u", "v", "w"])
    sol = fp.NearestIdeal(D).solve()
    X, y, a = D.sample(200_000, random_state=0)
    w = sol.sample_weight(y, sensitive_features=a, X=X)
    assert abs(w.mean() - 1) < 0.02
    for x, i, g in (("u", 0, "a"), ("w", 1, "b")):
        rows = (x == X) & (y == i) & (a == g)
        target = sol.population.joint["uvw".index(x), i, "ab".index(g)]
        assert abs(w[rows].sum() / len(w) - target) < 0.005
    assert np.array_equal(sol.align(X, sensitive_features=a), X)
    with pytest.raises(fp.ModelError, match="weights"):
        sol.steer(X, y, sensitive_features=a)
    with pytest.raises(fp.DataError, match="no atom"):
        sol.sample_weight(y[:1], sensitive_features=a[:1], X=["z"])


@pytest.mark.parametrize("options", [{}, {"steer": ["b"]}], ids=str)
def test_a_bound_caps_every_classifiers_gap_and_its_price_is_the_derivative(options):
    rng = np.random.default_rng(5)
    D = population(rng, 5)

    def kl(bound):
        return fp.NearestIdeal(D, map_bound=bound, **options).solve().kl

    sol = fp.NearestIdeal(D, map_bound=0.1, **options).solve()
    laws = sol.population.joint / sol.population.prior
    # the worst classifier accepts where one law exceeds the other: its gap is their distance
    gap = 0.5 * np.abs(laws[:, :, 0] - laws[:, :, 1]).sum(axis=0).max()
    assert gap <= 0.1 + 1e-6
    assert sol.kl < fp.NearestIdeal(D, **options).solve().kl
    slope = (kl(0.099) - kl(0.101)) / 0.002
    assert abs(sol.price["consensus"] - slope) < 1e-3 * max(1.0, slope)
    assert sol.certificate.kkt_residual < 1e-4


@fp.constraint
def heavy(view, population):
    return view.law[1, "a"][0] >= 0.4


@fp.constraint
def moment(view, population):
    values = np.arange(5.0)
    return values @ view.joint[0, "b"] == values @ population.joint[0, "b"]


def test_linear_conditions_hold_are_priced_and_certified():
    rng = np.random.default_rng(6)
    D = population(rng, 5)
    free = fp.NearestIdeal(D).solve()
    sol = fp.NearestIdeal(D, constraints=[heavy, moment]).solve()
    laws = sol.population.joint / sol.population.prior
    assert laws[0, 1, 0] >= 0.4 - 1e-7
    values = np.arange(5.0)
    assert abs(values @ (sol.population.joint - D.joint)[:, 0, 1]) < 1e-7
    assert sol.kl >= free.kl - 1e-9
    assert sol.certificate.ok
    # independently, over the common laws alone
    q = sol.population.prior
    R = [cp.Variable(5), cp.Variable(5)]
    base = D.joint / D.prior
    cost = sum(
        q[i, a] * cp.sum(cp.rel_entr(R[i], base[:, i, a])) for i in range(2) for a in range(2)
    )
    target = values @ D.joint[:, 0, 1] / q[0, 1]
    rules = [cp.sum(r) == 1 for r in R] + [R[1][0] >= 0.4, values @ R[0] == target]
    problem = cp.Problem(cp.Minimize(cost), rules)
    problem.solve(solver="CLARABEL")
    prior_kl = float(np.sum(q * np.log(q / D.prior)))
    assert abs(problem.value + prior_kl - sol.kl) < 1e-6


def test_clashing_conditions_are_infeasible():
    @fp.constraint
    def impossible(view, population):
        return view.law[1, "a"][0] >= 1.5

    rng = np.random.default_rng(7)
    with pytest.raises(fp.InfeasibleError, match="impossible"):
        fp.NearestIdeal(population(rng), constraints=[impossible]).solve()


def test_zero_cells_are_handled_or_named():
    joint = np.full((3, 2, 2), 1.0)
    joint[0, 1, 1] = 0.0  # group b, class 1 never shows atom 0
    D = fp.Categorical(joint / joint.sum(), groups="ab", values=["u", "v", "w"])
    sol = fp.NearestIdeal(D).solve()
    assert np.all(sol.population.joint[0, 1] == 0.0)
    assert np.isfinite(sol.kl)
    assert np.isfinite(fp.NearestIdeal(D, steer=["a"]).solve().kl)
    with pytest.raises(fp.DataError, match=r"class 1 of group 'b' has no mass at 'u'"):
        fp.NearestIdeal(D, steer=["b"])
    apart = np.zeros((2, 2, 2))
    apart[0, :, 0] = apart[1, :, 1] = 0.25
    with pytest.raises(fp.DataError, match="no atom has mass in class 0 of every group"):
        fp.NearestIdeal(fp.Categorical(apart))


def test_options_that_do_not_apply_say_why():
    D = population(np.random.default_rng(8), G=3)
    with pytest.raises(fp.ModelError, match="Identity"):
        fp.NearestIdeal(D, transport=fp.Monotone())
    with pytest.raises(fp.ModelError, match="steer='all'"):
        fp.NearestIdeal(D, steer=["b"], base_rates="joint")
    with pytest.raises(fp.InfeasibleError, match="both stay"):
        fp.NearestIdeal(D, steer=["b"], base_rates="keep")
    with pytest.raises(fp.ModelError, match="knows neither"):
        fp.NearestIdeal(D, map_bound=0.1).solve("closed-form")
    with pytest.raises(fp.ModelError, match="newton"):
        fp.NearestIdeal(D).solve("newton")


def test_solutions_survive_saving(tmp_path):
    D = population(np.random.default_rng(9), values=["u", "v", "w", "x"])
    sol = fp.NearestIdeal(D, steer=["b"]).solve()
    sol.save(tmp_path / "weights.json")
    again = fp.load(tmp_path / "weights.json")
    assert again.kl == sol.kl
    assert np.array_equal(again.weights(), sol.weights())
    assert "b reweighted" in sol.summary()
    assert sol.bounds.total_variation <= 1.0


def test_the_picture_shows_every_cell_before_and_after():
    D = population(np.random.default_rng(10), values=["u", "v", "w", "x"])
    _, (before, after) = fp.NearestIdeal(D).solve().plot()
    assert len(before.lines) == len(after.lines) == 4
    first, second = (line.get_ydata() for line in (after.lines[0], after.lines[2]))
    assert np.allclose(first, second)  # the two groups agree after steering
    assert [t.get_text() for t in after.get_xticklabels()] == ["u", "v", "w", "x"]


def test_the_frontier_over_the_bound_is_convex_and_falling():
    D = population(np.random.default_rng(11))
    bounds = np.linspace(0.0, 0.2, 5)
    found = fp.NearestIdeal(D).frontier(bounds)
    assert np.all(np.diff(found.risks) < 0)
    assert np.all(np.diff(found.risks, 2) > -1e-7)
    chords = -np.diff(found.risks) / 0.05
    assert np.all(found.prices[1:-1] <= chords[:-1] + 1e-6)
    assert np.all(found.prices[1:-1] >= chords[1:] - 1e-6)


@pytest.mark.parametrize("suffix", [".json", ".npz"])
def test_bounded_solutions_survive_saving(tmp_path, suffix):
    D = population(np.random.default_rng(3), values=["u", "v", "w", "x"])
    sol = fp.NearestIdeal(D, map_bound=0.05).solve()
    sol.save(tmp_path / f"bounded{suffix}")
    again = fp.load(tmp_path / f"bounded{suffix}")
    assert again.kl == sol.kl and again.price == sol.price
    assert all(np.array_equal(again.duals[k], v) for k, v in sol.duals.items())


def test_atoms_that_one_cell_hardly_has_leave_a_proof():
    """Steered masses of such atoms are thousands of times the original ones."""
    for seed in (33, 34, 35, 36, 37):
        rng = np.random.default_rng(seed)
        J = rng.dirichlet(np.full(20, 0.7)).reshape(5, 2, 2)
        J[rng.integers(5), rng.integers(2), rng.integers(2)] = 1e-6
        J[rng.integers(5), rng.integers(2), rng.integers(2)] = 1e-7
        D = fp.Categorical(J / J.sum())
        exact = fp.NearestIdeal(D).solve().kl
        last = exact
        for eps in (0.01, 0.1):
            sol = fp.NearestIdeal(D, map_bound=eps).solve()
            assert sol.certificate.ok
            assert 0 < sol.kl < last
            # the price is minus the slope of a convex curve: its line stays below the end at 0
            assert exact >= sol.kl + eps * sol.price["consensus"] - 1e-6
            last = sol.kl


@pytest.mark.parametrize("seed", [23, 31])
def test_atoms_of_hardly_any_mass(monkeypatch, seed):
    """Cells of 1e-7 under a bound: proven once Clarabel adds less to its linear systems."""
    rng = np.random.default_rng(seed)
    n = rng.integers(3, 13)
    joint = rng.dirichlet(np.ones(4 * n)).reshape(n, 2, 2)
    for _ in range(rng.integers(2, n + 2)):
        joint[rng.integers(n), rng.integers(2), rng.integers(2)] = 1e-7 * rng.uniform(0.5, 2)
    D = fp.Categorical(joint / joint.sum())
    program = fp.NearestIdeal(D, map_bound=[0.05, 0.1, 0.3, 0.01][seed % 4])
    assert program.solve().certificate.ok
    if seed == 31:
        return  # newer tolerances take it without
    monkeypatch.setattr(finite, "REFINEMENTS", [])  # control
    with pytest.raises(fp.SolverError, match="fails its certificate"):
        program.solve()
