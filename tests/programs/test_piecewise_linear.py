"""Piecewise-linear maps: exact moments, and programs against cones, brute force, samples."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.optimize import minimize
from scipy.stats import ks_1samp, norm

import fairprog as fp
from fairprog.kernels.line import piecewise_linear as kernel
from tests.instances import random_map, univariate

seeds = st.integers(0, 2**32 - 1)
KEEP = {"base_rates": "keep"}


# ------------------------------------------------------------------------------------ moments


@given(seed=seeds)
@settings(max_examples=15)
def test_normal_moments_on_segments_are_those_of_quadrature(seed):
    rng = np.random.default_rng(seed)
    knots = np.sort(rng.normal(scale=2.0, size=5))
    mean, std = rng.normal(), np.exp(rng.uniform(-1, 1))
    moments = kernel.normal_moments(knots, mean, std)
    ends = np.concatenate([[mean - 12 * std], knots, [mean + 12 * std]])
    anchors = np.concatenate([knots[:1], knots])
    for k in range(6):
        for j in range(3):
            exact, _ = quad(
                lambda x, k=k, j=j: (x - anchors[k]) ** j * norm.pdf(x, mean, std),
                min(ends[k], ends[k + 1]) if k in (0, 5) else ends[k],
                ends[k + 1],
                epsabs=1e-14,
                limit=200,
            )
            if ends[k] < ends[k + 1]:
                assert moments[j, k] == pytest.approx(exact, abs=1e-10 * max(1.0, std**2))
    assert moments[0].sum() == pytest.approx(1.0, abs=1e-14)


def test_sample_moments_reproduce_the_mean_and_the_square():
    rng = np.random.default_rng(0)
    T, x, w = random_map(rng), rng.normal(size=500), rng.exponential(size=500)
    M, b = kernel.quadratic_forms(T.knots, kernel.sample_moments(T.knots, x, w))
    w = w / w.sum()
    assert b @ T.theta == pytest.approx(w @ T(x), abs=1e-12)
    assert T.theta @ M @ T.theta == pytest.approx(w @ T(x) ** 2, abs=1e-12)
    slopes = kernel.slope_matrix(T.knots) @ T.theta
    assert np.allclose(slopes[[0, -1]], [T.left, T.right])


# ------------------------------------------------------------------------------------ the map


@given(seed=seeds)
@settings(max_examples=30)
def test_maps_increase_compose_and_have_inverses(seed):
    rng = np.random.default_rng(seed)
    T, S = random_map(rng), random_map(rng, 4)
    x = np.sort(rng.normal(scale=4.0, size=200))
    assert (np.diff(T(x)) > 0).all()
    assert np.allclose(T.inverse()(T(x)), x, atol=1e-10)
    assert np.allclose((S @ T)(x), S(T(x)), atol=1e-10)
    assert T(x[:, None]).shape == (200, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0.0, 0.0], [0.0, 1.0]), "`knots` must be at least two strictly increasing"),
        (([0.0, 1.0], [1.0, 0.0]), "`values` must be at least two strictly increasing"),
        (([0.0], [1.0]), "at least two"),
        (([0.0, 1.0], [0.0, np.nan]), "finite"),
        (([0.0, 1.0], [0.0, 1.0], -1.0), "`left` must be a finite number"),
    ],
)
def test_bad_maps_are_refused(arguments, message):
    with pytest.raises(fp.DataError, match=message):
        fp.PiecewiseLinearMap(*arguments)


# --------------------------------------------------------------------------------- the program


@pytest.mark.slow
@given(seed=seeds, K=st.integers(2, 3))
@settings(max_examples=5)
def test_newton_and_exponential_cones_agree_and_beat_the_affine_map(seed, K):
    D = univariate(np.random.default_rng(seed), K=K)
    affine = fp.NearestIdeal(D, steer=["b"]).solve()
    last = affine.kl
    program = fp.NearestIdeal(D, steer=["b"], transport=fp.PiecewiseLinear(12))
    sol = program.solve(second_opinion=True)
    assert sol.kl <= last + 1e-12
    assert sol.certificate.ok
    assert sol.certificate.globally_optimal
    assert sol.certificate.conic_gap < 1e-8
    assert sol.population.is_ideal()
    assert sol.population.ideality_gap() < 1e-8


def test_the_problem_itself_has_the_value_kl_and_labelled_constraints():
    D = univariate(np.random.default_rng(4))
    prog = fp.NearestIdeal(D, steer=["b"], transport=fp.PiecewiseLinear(8))
    problem = prog.problem
    problem.solve(solver="CLARABEL")
    assert problem.value == pytest.approx(prog.solve().kl, abs=1e-6)
    assert [c.label for c in problem.constraints] == ["map[b,0]", "map[b,1]"]


def test_brute_force_finds_nothing_nearer():
    """BFGS over logs of slopes on the divergence by quadrature: no kernel of ours."""
    D = univariate(np.random.default_rng(4))
    sol = fp.NearestIdeal(D, steer=["b"], transport=fp.PiecewiseLinear(4), **KEEP).solve()
    knots = sol.maps["b"].knots
    nodes, weights = np.polynomial.legendre.leggauss(60)
    ends = np.concatenate([[-30.0], knots, [30.0]])
    half = 0.5 * np.diff(ends)[:, None]
    x = 0.5 * (ends[1:] + ends[:-1])[:, None] + half * nodes

    def f(params):
        slopes, b = np.exp(np.clip(params[:-1], -20, 20)), params[-1]
        values = np.concatenate([[b], b + np.cumsum(slopes[1:-1] * np.diff(knots))])
        start = np.concatenate([[values[0]], values])
        anchor = np.concatenate([[knots[0]], knots])
        T = start[:, None] + slopes[:, None] * (x - anchor[:, None])
        total = 0.0
        for i in range(2):
            p = norm.pdf(x, D.mean[i, 0], D.std[i, 0])
            log_p = norm.logpdf(x, D.mean[i, 0], D.std[i, 0])
            ratio = log_p - np.log(slopes)[:, None] - norm.logpdf(T, D.mean[i, 1], D.std[i, 1])
            total += D.prior[i, 1] * float((half * weights * p * ratio).sum())
        return total

    best = min(
        minimize(f, np.append(np.full(5, s), D.mean[:, 1].min()), method="BFGS").fun
        for s in (-0.5, 0.0, 0.5)
    )
    assert sol.kl == pytest.approx(best, rel=1e-5)
    assert sol.kl <= best + 1e-6


def test_nested_knots_never_hurt_and_an_exact_affine_map_is_found():
    D = univariate(np.random.default_rng(4), base_rates="equal")
    w, kl = D.prior[:, 1], []
    fine = kernel.mixture_quantiles(w, D.mean[:, 0], D.std[:, 0], (np.arange(31) + 0.5) / 31)
    for step in (10, 5, 2, 1):
        knots = fine[::step]
        moments = np.stack(
            [kernel.normal_moments(knots, D.mean[i, 0], D.std[i, 0]) for i in range(2)]
        )
        kl.append(kernel.nearest(knots, w, moments, D.mean[:, 1], D.std[:, 1])[1])
    assert (np.diff([kl[0], kl[1], kl[3]]) <= 1e-12).all()
    assert kl[3] <= kl[2] + 1e-12
    copy = fp.Normal(
        [[0.2, 0.3], [0.2, 0.3]], [[0.0, 1.0], [2.0, 7.0]], std=[[1.0, 3.0], [0.5, 1.5]]
    )
    sol = fp.NearestIdeal(copy, steer=[1], transport=fp.PiecewiseLinear()).solve()
    assert sol.kl == pytest.approx(0.0, abs=1e-12)
    x = np.linspace(-3, 5, 20)
    assert np.allclose(sol.maps[1](x), 3.0 * x + 1.0, atol=1e-6)


def test_sensitivities_are_finite_differences_and_sum_to_zero():
    D = univariate(np.random.default_rng(4))
    sol = fp.NearestIdeal(D, steer=["b"], transport=fp.PiecewiseLinear(3), **KEEP).solve()
    T = sol.maps["b"]
    total = sol.sensitivity["map[b,0]"] + sol.sensitivity["map[b,1]"]
    assert np.abs(total).max() < 1e-10
    assert np.abs(sol.sensitivity["map[b,0]"]).max() > 1e-3

    def optimum(delta):
        def f(theta):
            if (kernel.slope_matrix(T.knots) @ theta).min() <= 0:
                return 1e6
            return sum(
                D.prior[i, 1]
                * kernel.map_divergence(
                    T.knots,
                    theta + (delta if i == 1 else 0.0),
                    (D.mean[i, 0], D.std[i, 0]),
                    (D.mean[i, 1], D.std[i, 1]),
                )
                for i in range(2)
            )

        return minimize(f, T.theta, method="BFGS", options={"gtol": 1e-9}).fun

    h = 1e-3
    for k in range(5):
        e = h * np.eye(5)[k]
        with np.errstate(all="ignore"):
            slope = (optimum(e) - optimum(-e)) / (2 * h)
        assert slope == pytest.approx(sol.sensitivity["map[b,1]"][k], abs=2e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "takes no `steer`"),
        ({"steer": ["b"], "orientation": "any"}, "takes no `orientation`"),
        ({"steer": ["b"], "map_bound": 0.1}, "takes no `map_bound`"),
    ],
)
def test_what_the_program_does_not_cover_is_refused(settings, message):
    D = univariate(np.random.default_rng(0))
    with pytest.raises(fp.ModelError, match=message):
        fp.NearestIdeal(D, transport=fp.PiecewiseLinear(), **settings)
    with pytest.raises(fp.ModelError, match="a single normal feature"):
        fp.NearestIdeal(
            fp.LogNormal(D.prior, D.mean, std=D.std, groups=D.groups),
            steer=["b"],
            transport=fp.PiecewiseLinear(),
        )
    with pytest.raises(fp.DataError, match="whole number"):
        fp.PiecewiseLinear(2.5)


def test_unknown_solver_options_are_refused_by_name():
    program = fp.NearestIdeal(univariate(np.random.default_rng(0)), ["b"], fp.PiecewiseLinear())
    with pytest.raises(fp.ModelError, match=r"solver options \{'nonsense': 1\}"):
        program.solve(solver="CLARABEL", nonsense=1)


# -------------------------------------------------------------------------------- the solution


def test_a_solution_moves_data_and_is_saved_and_loaded(tmp_path):
    D = univariate(np.random.default_rng(4))
    sol = fp.NearestIdeal(D, steer=["b"], transport=fp.PiecewiseLinear(8)).solve()
    X, y, a = D.sample(40_000, random_state=1)
    moved = sol.steer(X, y, sensitive_features=a)
    aligned = sol.align(moved, sensitive_features=a)
    assert np.array_equal(moved[a == "a"], X[a == "a"])
    for i in range(2):
        rows = aligned[(y == i) & (a == "b"), 0]
        law = norm(D.mean[i, 0], D.std[i, 0]).cdf
        assert ks_1samp(rows, law).pvalue > 1e-3
        before = X[(y == i) & (a == "b"), 0]
        assert ks_1samp(before, law).pvalue < 1e-3
    assert "PiecewiseLinear(8)" in sol.summary()
    for name in ("answer.json", "answer.npz"):
        sol.save(tmp_path / name)
        again = fp.load(tmp_path / name)
        assert again.kl == sol.kl
        assert np.array_equal(
            again.align(X, sensitive_features=a), sol.align(X, sensitive_features=a)
        )
        assert again.population.kl(D) == pytest.approx(sol.population.kl(D), abs=1e-15)


def test_a_solution_is_drawn():
    D = univariate(np.random.default_rng(4))
    sol = fp.NearestIdeal(D, steer=["b"], transport=fp.PiecewiseLinear(8)).solve()
    figure, (left, right) = sol.plot()
    assert "KL" in left.get_title()
    assert len(right.get_lines()) == 2
    assert len(left.get_lines()) == 4
    figure.canvas.draw()


def test_through_a_bijection_it_is_the_same_program():
    D = univariate(np.random.default_rng(4))
    E = fp.Transformed(D, fp.Log())
    settings = {"steer": ["b"], "transport": fp.PiecewiseLinear(8)}
    inner, outer = (fp.NearestIdeal(P, **settings).solve() for P in (D, E))
    assert outer.kl == pytest.approx(inner.kl, abs=1e-14)
    X, y, a = E.sample(200, random_state=0)
    for move in ("align", "steer"):
        labels = () if move == "align" else (y,)
        moved = getattr(outer, move)(X, *labels, sensitive_features=a)
        same = getattr(inner, move)(np.log(X), *labels, sensitive_features=a)
        assert np.allclose(np.log(moved), same, atol=1e-9)


# -------------------------------------------------------------------------------------- samples


def test_the_fit_on_a_large_sample_approaches_the_exact_program():
    D = univariate(np.random.default_rng(4), base_rates="equal")
    exact = fp.NearestIdeal(D, steer=["b"], transport=fp.PiecewiseLinear(16)).solve()
    X, y, a = D.sample(400_000, random_state=0)
    own = a == "a"
    T = fp.fit_piecewise_linear(
        X[own], y[own], D.mean[:, 1], D.std[:, 1], n_knots=16, class_weight=D.prior[:, 1]
    )
    x = np.quantile(X[own], np.linspace(0.02, 0.98, 50))
    spread = np.std(exact.maps["b"](x))
    assert np.abs(T(x) - exact.maps["b"](x)).max() < 0.03 * spread


def test_the_fit_is_stationary_and_takes_ties_and_weights():
    rng = np.random.default_rng(0)
    y = rng.integers(2, size=300)
    x = np.round(2 * (rng.normal(size=300) + 2 * y)) / 2
    copies = rng.integers(1, 4, size=300)
    T = fp.fit_piecewise_linear(x, y, [0.0, 2.0], [1.0, 1.0], n_knots=8, sample_weight=copies)
    repeated = fp.fit_piecewise_linear(
        np.repeat(x, copies), np.repeat(y, copies), [0.0, 2.0], [1.0, 1.0], n_knots=8
    )
    grid = np.linspace(-3, 5, 30)
    assert np.allclose(T(grid), repeated(grid), atol=0.05)
    moments = np.stack(
        [kernel.sample_moments(T.knots, x[y == i], copies[y == i]) for i in range(2)]
    )
    args = T.knots, np.full(2, 0.5), moments, np.array([0.0, 2.0]), np.ones(2)
    assert kernel.decrement(T.theta, *args) < 1e-6
    for wrong, message in (
        ((np.ones(5), [0, 1, 0, 1, 0], [0, 1], [1, 1]), "constant"),
        ((np.arange(3.0), [0, 1, 0], [0, 1], [1, 1]), "distinct values"),
        ((np.arange(9.0), [0] * 8 + [1], [0, 1], [1, 0]), "`std` must be positive"),
        ((np.arange(9.0), [0] * 8 + [1], [0, 1, 2], [1, 1, 1]), "`mean` has shape"),
    ):
        with pytest.raises(fp.DataError, match=message):
            fp.fit_piecewise_linear(*wrong)
