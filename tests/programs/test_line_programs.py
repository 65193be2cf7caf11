"""Univariate families, one group steered: exact against conic, brute force and slopes."""

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

import fairprog as fp
from tests.family_laws import FAMILIES, Power15, instance, scipy_law
from tests.instances import problems

NODES = 60_001
LINE = [fp.Laplace, fp.Logistic, fp.Gumbel, fp.GumbelMin, Power15]


def brute_force(D, program):
    """KL of the population steered by x -> A x + b, as a function of (A, b) or (b,).

    By scipy's densities and the trapezoidal rule.
    """
    constant = float((program.prior * np.log(program.prior / D.prior)).sum())
    cells = []
    for i in range(D.n_classes):
        p, q = scipy_law(D, i, 0), scipy_law(D, i, 1)
        bounded = type(D) is fp.ShiftedExponential
        low = D.base_loc[i, 0] + 1e-9 if bounded else p.ppf(1e-16)
        y = np.linspace(low, p.isf(1e-16), NODES)
        cells.append((program.prior[i, 1], y, p.pdf(y), p.logpdf(y), q))

    def kl(x):
        A, b = x if len(x) == 2 else (1.0, x[0])
        if A <= 0:
            return np.inf
        total = constant
        for w, y, density, log_density, q in cells:
            values = density * (log_density - np.log(A) - q.logpdf(A * y + b))
            total += w * np.trapezoid(np.where(density > 0, values, 0.0), y)
        return total

    return kl


@pytest.mark.parametrize("family", [*FAMILIES, fp.Exponential])
def test_one_group_against_brute_force(family):
    D = instance(family, np.random.default_rng(21))
    program = fp.NearestIdeal(D, steer=["b"])
    sol = program.solve()
    assert sol.certificate.ok and sol.certificate.globally_optimal
    T = sol.affine["b"]
    start = np.array([T.matrix[0, 0], T.offset[0]]) if D.moves_scale else T.offset
    brute = brute_force(D, program)
    ours = brute(start)
    assert sol.kl == pytest.approx(ours, rel=3e-6)
    if family is fp.ShiftedExponential:  # brute force may not leave the supports: along them

        def along(A):
            return brute([A, (D.loc[:, 1] - A * D.loc[:, 0]).max()])

        grid = start[0] * np.geomspace(0.5, 2.0, 41)
        assert min(along(A) for A in grid) >= along(start[0]) * (1 - 1e-9)
        assert along(start[0]) == pytest.approx(sol.kl, rel=1e-5)
        return
    options = {"xatol": 1e-4, "fatol": 1e-8, "maxiter": 90}
    rough = minimize(
        brute,
        start * 1.05 + 0.03,
        method="Nelder-Mead",
        options=options,
    )
    assert rough.fun == pytest.approx(sol.kl, rel=1e-5)
    assert rough.fun >= ours * (1 - 1e-6)


@pytest.mark.parametrize("family", LINE)
@pytest.mark.parametrize("transport", [fp.Translation(), fp.Scaling(), fp.Monotone()])
@pytest.mark.parametrize("K", [2, 3])
def test_newton_and_conic_agree(family, transport, K):
    D = instance(family, np.random.default_rng(K), K=K, G=2)
    sol = fp.NearestIdeal(D, steer=["b"], transport=transport).solve(second_opinion=True)
    assert sol.certificate.ok and sol.solver == "newton"
    assert sol.certificate.conic_gap < 1e-7
    assert sol.population.is_ideal() and not D.is_ideal()
    assert sol.population.kl(D) == sol.kl
    conic = fp.NearestIdeal(D, steer=["b"], transport=transport).solve("CLARABEL")
    assert conic.kl == pytest.approx(sol.kl, rel=1e-7)


@pytest.mark.filterwarnings("ignore:Solution may be inaccurate")
def test_laplace_is_exact_in_the_cone():
    for seed in range(5):
        D = instance(fp.Laplace, np.random.default_rng(seed), K=3)
        program = fp.NearestIdeal(D, steer=["b"])
        problem = program.problem
        problem.solve(solver="CLARABEL", tol_gap_abs=1e-12, tol_gap_rel=1e-12, tol_feas=1e-12)
        assert problem.value == pytest.approx(program.solve().kl, abs=1e-9)


@pytest.mark.parametrize("family", [*LINE[:-1], pytest.param(Power15, marks=pytest.mark.slow)])
def test_multipliers_against_finite_differences(family):
    """d KL / d target of each condition: the class map is moved by delta, the rest re-solved."""
    D = instance(family, np.random.default_rng(4))
    program = fp.NearestIdeal(D, steer=["b"])
    sol = program.solve()
    (frame,) = problems(program)
    h = 1e-4

    def optimum(i, dA, db):
        def cost(x):
            total = 0.0
            for k in range(2):
                A, b = x[0] + (dA if k == i else 0.0), x[1] + (db if k == i else 0.0)
                S = A
                beta = (b - frame.target_center + A * frame.center) / frame.C
                total += frame.only(k).cost((S, beta))
            return total

        T = sol.affine["b"]
        start = [T.matrix[0, 0], T.offset[0]]
        options = {"xatol": 1e-10, "fatol": 1e-16, "maxiter": 2000}
        return minimize(cost, start, method="Nelder-Mead", options=options).fun

    for i in range(2):
        linear = (optimum(i, h, 0.0) - optimum(i, -h, 0.0)) / (2 * h)
        offset = (optimum(i, 0.0, h) - optimum(i, 0.0, -h)) / (2 * h)
        assert sol.sensitivity[f"linear[b,{i}]"] == pytest.approx(linear, abs=1e-6)
        assert sol.sensitivity[f"offset[b,{i}]"] == pytest.approx(offset, abs=1e-6)
    for name in ("linear", "offset"):
        total = sum(sol.sensitivity[f"{name}[b,{i}]"] for i in range(2))
        assert total == pytest.approx(0.0, abs=1e-9)
    assert all((sol.duals[k] == -v).all() for k, v in sol.sensitivity.items())


@pytest.mark.parametrize("family", [fp.Laplace, fp.Logistic, Power15])
def test_mirror_images_of_symmetric_densities(family):
    D = family(
        [[0.3, 0.2], [0.25, 0.25]], [[0.0, 2.0], [2.0, 0.1]], [[1.0, 1.5], [1.0, 1.4]],
        groups=["a", "b"],
    )  # fmt: skip
    kept = fp.NearestIdeal(D, steer=["b"]).solve()
    free = fp.NearestIdeal(D, steer=["b"], orientation="any").solve()
    assert free.kl < 0.2 * kept.kl and free.affine["b"].matrix[0, 0] < 0
    assert free.population.is_ideal() and free.certificate.ok
    conic = fp.NearestIdeal(D, steer=["b"], orientation="any").solve("CLARABEL")
    assert conic.kl == pytest.approx(free.kl, rel=1e-7)
    assert free.population.ideality_gap() < 1e-8


def test_custom_conditions():
    D = instance(fp.Logistic, np.random.default_rng(1))
    free = fp.NearestIdeal(D, steer=["b"]).solve()
    target = float(D.scale[1, 1])

    @fp.constraint
    def keep_scale(view, population):
        return view.scale[1, "b"] <= bound

    @fp.constraint
    def near(view, population):
        return cp.abs(view.mean[0, "b"] - population.mean[0, "b"]) <= 0.01

    bound = float(free.population.scale[1, 1]) * 0.8
    tied = fp.NearestIdeal(D, steer=["b"], constraints=[keep_scale]).solve()
    assert tied.population.scale[1, 1] <= bound + 1e-7 and tied.kl > free.kl and target > 0
    price, step = tied.price["keep_scale"], 1e-4
    bound += step
    looser = fp.NearestIdeal(D, steer=["b"], constraints=[keep_scale]).solve()
    assert price == pytest.approx((tied.kl - looser.kl) / step, rel=2e-3)
    both = fp.NearestIdeal(D, steer=["b"], constraints=[keep_scale, near]).solve()
    assert abs(both.population.base_mean[0, 1] - D.base_mean[0, 1]) <= 0.01 + 1e-7
    for name in ("linear", "offset"):
        assert sum(both.sensitivity[f"{name}[b,{i}]"] for i in range(2)) == pytest.approx(
            0, abs=1e-6
        )

    @fp.constraint
    def bent(view, population):
        return view.scale[1, "b"] ** 2 >= 1.0

    with pytest.raises(fp.ModelError, match=r"bent.*not convex"):
        _ = fp.NearestIdeal(D, steer=["b"], constraints=[bent]).problem


@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    gain=st.floats(0.05, 50.0),
    shift=st.floats(-100.0, 100.0),
    family=st.sampled_from([fp.Laplace, fp.Logistic, fp.Gumbel]),
)
def test_optimum_is_equivariant(seed, gain, shift, family):
    D = instance(family, np.random.default_rng(seed))
    E = D.with_cells(D.prior, gain * D.loc + shift, gain * D.scale)
    turned = family(
        D.prior[::-1, ::-1],
        D.loc[::-1, ::-1],
        D.scale[::-1, ::-1],
        classes=[1, 0],
        groups=["b", "a"],
    )
    here, there, other = (fp.NearestIdeal(P, steer=["b"]).solve("newton") for P in (D, E, turned))
    assert there.kl == pytest.approx(here.kl, rel=1e-9)
    assert there.population.loc == pytest.approx(
        gain * here.population.loc + shift, rel=1e-6, abs=1e-6 * gain
    )
    assert other.kl == pytest.approx(here.kl, rel=1e-9)
    assert other.price["consensus"] == pytest.approx(here.price["consensus"], rel=1e-5, abs=1e-7)


# -- options that clash, hard cases --


def test_messages_name_what_is_wrong():
    D = instance(fp.Gumbel, np.random.default_rng(0), G=3)
    P = instance(fp.Gamma, np.random.default_rng(0))
    with pytest.raises(fp.ModelError, match=r"does not keep the family Gamma.*Translation"):
        fp.NearestIdeal(P, steer=["b"], transport=fp.Monotone())
    with pytest.raises(fp.ModelError, match=r"needs a symmetric density"):
        fp.NearestIdeal(D, steer=["b", "c"], orientation="any")
    with pytest.raises(fp.ModelError, match=r"`map_bound` exists for normal"):
        fp.NearestIdeal(D, steer=["b", "c"], map_bound=0.1)
    with pytest.raises(fp.InfeasibleError, match=r"'a', 'b'\] both stay"):
        fp.NearestIdeal(D, steer=["c"], base_rates="keep")
    with pytest.raises(fp.ModelError, match=r"steer='all' on the family Gumbel takes"):
        fp.NearestIdeal(D).solve()
    with pytest.raises(fp.ModelError, match=r"scales of each class .* class 0 differ"):
        fp.NearestIdeal(D, transport=fp.Translation()).solve()
    with pytest.raises(fp.ModelError, match=r"shapes of each class .* Gamma"):
        fp.NearestIdeal(P).solve()
    with pytest.raises(fp.ModelError, match="is for exponential families"):
        fp.NearestIdeal(D, transport=fp.Identity()).solve()
    with pytest.raises(fp.ModelError, match="Identity"):
        fp.NearestIdeal(fp.Normal(D.prior, D.loc, std=D.scale), transport=fp.Identity())
    with pytest.raises(fp.ModelError, match="'closed-form' exists for normal"):
        fp.NearestIdeal(D, steer=["b", "c"]).solve("closed-form")


def test_groups_that_stay_may_be_images_of_each_other():
    loc, scale = (
        np.array([[0.0, 1.0, 3.0], [2.0, 5.0, 4.0]]),
        np.array([[1.0, 2.0, 1.0], [0.5, 1.0, 2.0]]),
    )
    q = np.outer([0.4, 0.6], [0.3, 0.3, 0.4])
    D = fp.Logistic(q, loc, scale, groups=["a", "b", "c"])
    sol = fp.NearestIdeal(D, steer=["c"]).solve()
    assert sol.population.is_ideal() and sol.affine["b"].matrix[0, 0] == pytest.approx(2.0)
    assert (sol.population.loc[:, :2] == loc[:, :2]).all()
    X, _, a = D.sample(100, 0)
    assert sol.align(X, sensitive_features=a)[a == "b"] == pytest.approx((X[a == "b"] - 1.0) / 2.0)


def test_the_last_resort_ends_in_bounded_time():
    """Clarabel gives up here; SCS is slow: it must neither hang nor be believed unproven."""
    prior = [
        [0.09895637307815021, 0.230799834772617],
        [0.24232542329410048, 0.4279183688551323],
    ]
    loc = [[-5.422570874869545, 0.08340517205462514], [-3.2349349990473764, 2.219275998497046]]
    scale = [[1.2143151428775034, 2.0624780317397153], [1.6707868374827806, 2.2086600380526877]]
    D = fp.Logistic(prior, loc, scale)

    @fp.constraint
    def narrow(view, population):
        return view.scale[0, 1] <= 1.1661294197009169

    try:
        sol = fp.NearestIdeal(D, steer=[1], constraints=[narrow]).solve()
    except fp.SolverError as error:
        assert "certificate" in error.details or "log" in error.details
    else:
        assert sol.certificate.ok and abs(sol.kl - 0.0714) < 1e-3


@pytest.mark.parametrize("ratio", [1e3, 1e4, 1e6])
@pytest.mark.parametrize("family", [fp.Laplace, fp.Logistic, fp.Gumbel, fp.GumbelMin])
def test_scales_may_differ_by_orders_of_magnitude(family, ratio):
    """Within a group, between groups, between classes: differences are in each cell's own unit."""
    prior = [[0.3, 0.2], [0.25, 0.25]]
    shapes = [
        [[1.0, 1.0], [1.0, ratio]],
        [[1.0, ratio], [1.0, 2 * ratio]],
        [[1.0, 1.0], [ratio, 1.0]],
        [[1.0, 1.0], [ratio, 2 * ratio]],
    ]
    for scale in shapes:
        D = family(prior, [[0.0, 1.0], [2.0, 2.0]], scale)
        program = fp.NearestIdeal(D, steer=[1])
        sol = program.solve(solver="newton")
        assert sol.certificate.ok
        # convex, so a minimum among neighbours is the minimum
        (frame,) = problems(program)
        S, beta = frame.optimum
        best = frame.cost((S, beta))
        rates = (program.prior * np.log(program.prior / D.prior)).sum()
        assert best + rates == pytest.approx(sol.kl, rel=1e-8)
        step = 0.03 * frame.unit
        for dS, db in ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, -1)):
            assert frame.cost((S + dS * step[0], beta + db * step[1])) > best
