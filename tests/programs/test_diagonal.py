"""Independent features: the answers of the full matrices, without the matrices."""

import itertools
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fairprog as fp
from fairprog.kernels.independent import diagonal_all
from fairprog.kernels.line.scale_ratio_polynomial import best_scale_ratio, scale_ratio_cost

TRANSPORTS = [fp.Translation(), fp.Scaling(), fp.Diagonal()]


def population(K=2, G=2, d=4, seed=0, null=(), family=fp.Normal, spread=1.5):
    rng = np.random.default_rng(seed)
    prior = rng.dirichlet(np.full(K * G, 5.0)).reshape(K, G)
    mean = spread * rng.normal(size=(K, G, d))
    var = rng.uniform(0.3, 2.0, size=(K, G, d)) * np.exp(rng.normal(size=d))
    mean[..., list(null)], var[..., list(null)] = 3.0, 0.0
    groups = [f"g{a}" for a in range(G)]
    return family(prior, mean, cov=var, covariance="diagonal", groups=groups)


def agree(one, other, atol):
    assert one.kl == pytest.approx(other.kl, abs=1e-12, rel=1e-12)
    for g in one.original.groups:
        np.testing.assert_allclose(one.maps[g].matrix, other.maps[g].matrix, atol=atol)
        np.testing.assert_allclose(one.maps[g].offset, other.maps[g].offset, atol=atol)
    assert set(one.sensitivity) == set(other.sensitivity)
    for where, value in other.sensitivity.items():
        assert one.sensitivity[where].shape == value.shape
        np.testing.assert_allclose(one.sensitivity[where], value, atol=atol)
        np.testing.assert_allclose(one.duals[where], -value, atol=atol)
    assert one.price["consensus"] == pytest.approx(other.price["consensus"], abs=atol)
    for where, value in other.price_by_condition.items():
        assert one.price_by_condition[where] == pytest.approx(value, abs=atol)


@pytest.mark.parametrize("transport", TRANSPORTS, ids=repr)
@pytest.mark.parametrize(("K", "G", "d"), [(2, 2, 4), (3, 3, 5), (2, 2, 1)])
@pytest.mark.parametrize("steer", ["some", "all"])
def test_answers_are_those_of_the_full_matrices(transport, K, G, d, steer):
    D = population(K, G, d, seed=K + d)
    chosen = "all" if steer == "all" else list(D.groups[1:])
    one = fp.NearestIdeal(D, chosen, transport).solve(second_opinion=steer == "some")
    other = fp.NearestIdeal(D.full(), chosen, transport).solve()
    agree(one, other, 1e-6 if steer == "all" else 1e-10)
    assert one.population.covariance == "diagonal" and one.population.is_ideal()
    assert one.certificate.ok and one.certificate.kkt_residual < 1e-10
    if steer == "some":
        assert one.certificate.conic_gap is not None and one.certificate.globally_optimal


@pytest.mark.filterwarnings("ignore::fairprog.FairprogWarning")
@pytest.mark.parametrize("steer", [["g1"], "all"])
def test_constant_features_stay(steer):
    D = population(d=5, null=(1, 3))
    assert D.null_dimension == 2 and list(np.flatnonzero(~D.varies)) == [1, 3]
    with pytest.warns(fp.FairprogWarning, match="2 feature\\(s\\) are constant"):
        program = fp.NearestIdeal(D, steer)
    one = program.solve()
    agree(one, fp.NearestIdeal(D.full(), steer, fp.Diagonal()).solve(), 1e-6)
    for T in one.maps.values():
        assert T.diagonal[[1, 3]].tolist() == [1.0, 1.0] and not T.offset[[1, 3]].any()
    X, y, a = D.sample(200, 0)
    assert (X[:, [1, 3]] == 3.0).all()
    np.testing.assert_array_equal(one.steer(X, y, sensitive_features=a)[:, 1], X[:, 1])


@pytest.mark.parametrize("steer", [["g1"], "all"])
def test_mirror_images(steer):
    D = population(d=3, seed=4)
    flipped = D.location.copy()
    flipped[:, 1] *= -1.0
    D = D.with_cells(D.prior, flipped, D.variances)
    kind = {"transport": fp.Scaling(), "orientation": "any"}
    one = fp.NearestIdeal(D, steer, **kind).solve()
    agree(one, fp.NearestIdeal(D.full(), steer, **kind).solve(), 1e-6)
    assert one.kl <= fp.NearestIdeal(D, steer, fp.Scaling()).solve().kl + 1e-12


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.booleans())
def test_the_polynomials_of_all_features_are_those_of_each(seed, mirror):
    rng = np.random.default_rng(seed)
    w = rng.dirichlet(np.full(4, 5.0)).reshape(2, 2)
    mean, var = 3.0 * rng.normal(size=(2, 2, 40)), rng.uniform(0.05, 5.0, size=(2, 2, 40))
    ratio, excess = diagonal_all.best_ratios(w, mean, var, mirror)
    assert excess.max() <= 1e-12
    for j in range(40):
        std = np.sqrt(var[..., j])
        one = best_scale_ratio(w, mean[..., j], std, mirror)[0]
        F = scale_ratio_cost(np.array([one, ratio[j]]), w, mean[..., j], std)
        assert abs(F[1] - F[0]) <= 1e-11 * max(1.0, abs(F[0]))


def test_descent_ends_where_the_polynomial_does_and_its_gradient_is_right():
    rng = np.random.default_rng(1)
    w = rng.dirichlet(np.full(6, 5.0)).reshape(3, 2)
    mean, var = rng.normal(size=(3, 2, 7)), rng.uniform(0.3, 2.0, size=(3, 2, 7))
    x = 0.3 * rng.normal(size=(2, 7))
    _, slope = diagonal_all.gain_cost(np.exp(x), w, mean, var)
    for a in range(2):
        h = np.zeros((2, 1))
        h[a] = 1e-6
        up, down = (diagonal_all.gain_cost(np.exp(x + s * h), w, mean, var)[0] for s in (1, -1))
        np.testing.assert_allclose((up - down) / 2e-6, slope[a], atol=1e-8)
    two = w[:2] / w[:2].sum(), mean[:2], var[:2]
    gain, _ = diagonal_all.best_gains(*two, np.ones(2))
    ratio, _ = diagonal_all.best_ratios(*two)
    best, _ = diagonal_all.gain_cost(np.stack([ratio, np.ones(7)]), *two)
    again, _ = diagonal_all.gain_cost(gain, *two)
    assert (again >= best - 1e-12).all() and np.median(again - best) < 1e-12


# ------------------------------------------------------------------------------ the population


@pytest.mark.parametrize("K", [2, 3])
def test_the_population_is_the_full_one(K):
    D, E = population(K, seed=1), population(K, seed=2)
    F = D.full()
    assert D.covariance == "diagonal" and type(F) is fp.Normal
    np.testing.assert_array_equal(D.cov, F.cov)
    assert D.kl(E) == pytest.approx(F.kl(E.full()), rel=1e-12)
    error = D.evaluate().standard_error + 1e-12
    assert D.evaluate().error == pytest.approx(F.evaluate().error, abs=4 * error)
    assert E.evaluate(rule_of=D).risk == pytest.approx(
        E.full().evaluate(rule_of=F).risk, abs=4 * error
    )
    if K == 2:
        assert D.ideality_gap() == pytest.approx(F.ideality_gap(), abs=1e-9)
    X, _, a = D.sample(500, random_state=3)
    code = np.array([D.groups.index(g) for g in a])
    np.testing.assert_allclose(D.log_posterior(X, code), F.log_posterior(X, code), atol=1e-10)
    for cell, T in D.cell_maps(E).items():
        np.testing.assert_allclose(T(X), F.cell_maps(E.full())[cell](X), atol=1e-9)
    assert "diagonal" in repr(D) and D.std.shape == D.location.shape


def test_sampled_rates_of_many_features_agree_with_quasi_monte_carlo(monkeypatch):
    from fairprog.kernels.independent import diagonal_rates

    D = population(3, d=6, seed=5)
    exact = D.evaluate(n_samples=2**14)
    monkeypatch.setattr(diagonal_rates, "SOBOL_DIMENSIONS", 5)
    monkeypatch.setattr(diagonal_rates, "BLOCK", 2**12)  # several blocks of features
    sampled = D.evaluate(n_samples=2**14)
    assert abs(sampled.error - exact.error) < 5 * sampled.standard_error


def moved(D, order, sign, gain=2.0):
    """The population whose second group is the first, its features reordered and reflected."""
    mean, var = D.location.copy(), D.variances.copy()
    mean[:, 1] = gain * sign * mean[:, 0][:, order] + 1.0
    var[:, 1] = gain**2 * var[:, 0][:, order]
    prior = np.outer(np.arange(1.0, 1.0 + D.n_classes), [0.4, 0.6])
    return D.with_cells(prior / prior.sum(), mean, var)


@pytest.mark.parametrize("K", [1, 2, 3])
def test_ideal_is_told_as_by_the_full_matrices(K):
    D = population(K, d=5, seed=K)
    for order, sign in (
        (np.arange(5), np.ones(5)),
        (np.array([3, 0, 4, 1, 2]), np.array([1, -1, 1, 1, -1])),
    ):
        ideal = moved(D, order, sign)
        assert ideal.is_ideal() and ideal.full().is_ideal()
        if K > 1:
            mean = ideal.location.copy()
            mean[1, 1, 2] += 1e-3
            off = ideal.with_cells(ideal.prior, mean, ideal.variances)
            assert not off.is_ideal() and not off.full().is_ideal()


def test_rotations_within_equal_ratios_are_found():
    """Equal class covariances: only the length of the mean difference counts (K = 2)."""
    D = population(2, d=6, seed=3)
    var, mean = D.variances.copy(), D.location.copy()
    var[1, :], var[0, :] = 1.0, 1.0
    mean[0, :] = 0.0
    mean[1, 0] = [3.0, 0, 0, 0, 0, 4.0]
    mean[1, 1] = [0.0, 5.0, 0, 0, 0, 0]
    prior = np.full((2, 2), 0.25)
    D = D.with_cells(prior, mean, var)
    assert D.is_ideal() and D.full().is_ideal()
    mean = D.location.copy()
    mean[1, 1, 1] = 5.001
    assert not D.with_cells(prior, mean, var).is_ideal()


@pytest.mark.parametrize("family", [fp.Normal, fp.LogNormal])
def test_rows_fitted_moved_and_saved(family, tmp_path):
    D = population(2, d=3, seed=6, family=family, spread=0.5)
    X, y, a = D.sample(4000, random_state=0)
    E = family.fit(X, y, sensitive_features=a, covariance="diagonal")
    full = family.fit(X, y, sensitive_features=a)
    assert isinstance(E, family) and E.covariance == "diagonal" and E.family == family.family
    np.testing.assert_allclose(E.variances, np.diagonal(full.cov, axis1=2, axis2=3), rtol=1e-10)
    half = family.fit(X, y, sensitive_features=a, covariance="diagonal", shrinkage=1.0)
    np.testing.assert_allclose(half.variances[0], half.variances[1], rtol=1e-12)
    sol = fp.NearestIdeal(E, ["g1"]).solve()
    Z = sol.align(X, sensitive_features=a)
    np.testing.assert_array_equal(Z[a == "g0"], X[a == "g0"])
    np.testing.assert_allclose(sol.maps["g1"](Z[a == "g1"]), X[a == "g1"], rtol=1e-12)
    moved = sol.steer(X, y, sensitive_features=a)
    again = family.fit(moved, y, sensitive_features=a, covariance="diagonal")
    np.testing.assert_allclose(again.location, sol.population.location, atol=1e-10)
    np.testing.assert_allclose(again.variances, sol.population.variances, rtol=1e-10)
    assert sol.aligned.is_ideal()
    for suffix in ("json", "npz"):
        sol.save(tmp_path / f"answer.{suffix}")
        back = fp.load(tmp_path / f"answer.{suffix}")
        assert back.kl == sol.kl and type(back.population) is type(sol.population)
        assert isinstance(back.affine["g1"], fp.DiagonalMap)
        np.testing.assert_array_equal(back.align(X, sensitive_features=a), Z)
    assert pickle.loads(pickle.dumps(D)).kl(D) == 0.0
    assert "global optimum" in sol.summary()


def test_moments_and_the_scikit_learn_step_keep_variances():
    D = population(3, d=6, seed=7)
    X, y, a = D.sample(3000, random_state=0)
    moments = fp.Moments("diagonal").partial_fit(X, y, sensitive_features=a)
    E = moments.population()
    assert E.covariance == "diagonal" and E.variances.shape == (3, 2, 6)
    from_full = fp.Moments().partial_fit(X, y, sensitive_features=a)
    F = from_full.population("normal", covariance="diagonal")
    np.testing.assert_allclose(F.variances, E.variances, rtol=1e-11)
    step = fp.IdealSteering(["g1"], covariance="diagonal", shrinkage=0.0)
    Z = step.fit_transform(X, y, sensitive_features=a)
    sol = step.solution_
    assert sol.settings["transport"] == fp.Diagonal() and sol.original.covariance == "diagonal"
    np.testing.assert_array_equal(Z, sol.align(X, sensitive_features=a))


@pytest.mark.filterwarnings("ignore::fairprog.FairprogWarning")
@pytest.mark.parametrize("null", [(), (1,), (0, 1, 2)])
def test_movement_and_pictures_are_those_of_the_full_matrices(null):
    from fairprog.evidence.movement import population_movement

    D = population(d=4, null=null, seed=2)
    one = fp.NearestIdeal(D, ["g1"]).solve()
    other = fp.NearestIdeal(D.full(), ["g1"], fp.Diagonal()).solve()
    here, there = population_movement(one), population_movement(other)
    np.testing.assert_allclose(here.quantiles, there.quantiles, atol=1e-9)
    np.testing.assert_allclose(here.rms, there.rms, atol=1e-9)
    np.testing.assert_allclose(here.rank, there.rank, atol=1e-6)
    V = np.random.default_rng(0).normal(size=(4, 2))
    np.testing.assert_allclose(D.cov_along(V), D.full().cov_along(V), atol=1e-12)
    first, second = D.discriminants()[:, 0], D.full().discriminants()[:, 0]
    assert min(np.abs(first - second).max(), np.abs(first + second).max()) < 1e-10
    assert one.plot()[0] is not None


def test_transformed_populations_are_solved_by_their_base():
    base = population(2, d=3, seed=8)
    sol = fp.NearestIdeal(fp.Transformed(base, "log"), ["g1"]).solve()
    assert sol.kl == pytest.approx(fp.NearestIdeal(base, ["g1"]).solve().kl, rel=1e-12)


# --------------------------------------------------------- what needs matrices, what is refused


def test_maps_that_mix_features_conditions_and_bounds_take_the_matrices():
    D = population(2, d=3, seed=9)
    mixed = fp.NearestIdeal(D, ["g1"], fp.Monotone()).solve()
    assert mixed.kl == pytest.approx(
        fp.NearestIdeal(D.full(), ["g1"], fp.Monotone()).solve().kl, rel=1e-12
    )
    one = fp.NearestIdeal(D, ["g1"]).solve()
    assert mixed.kl < one.kl  # off-diagonal entries do help, so the maps are not diagonal
    A = mixed.maps["g1"].matrix
    assert np.abs(A - np.diag(np.diag(A))).max() > 1e-3
    bounded = fp.NearestIdeal(D, ["g1"], map_bound=0.05).solve()
    assert bounded.kl < one.kl
    slope = (one.kl - fp.NearestIdeal(D, ["g1"], map_bound=1e-3).solve().kl) / 1e-3
    assert one.price["consensus"] == pytest.approx(slope, rel=0.02)
    near = population(2, d=3, seed=9, spread=0.3)
    joint = fp.NearestIdeal(near, base_rates="joint").solve()
    assert joint.certificate.globally_optimal
    assert joint.kl <= fp.NearestIdeal(near).solve().kl + 1e-12


def test_many_features_never_meet_a_matrix():
    D = population(2, d=12_000, seed=10, spread=0.01)
    for steer, transport in itertools.product((["g1"], "all"), TRANSPORTS):
        sol = fp.NearestIdeal(D, steer, transport).solve()
        assert sol.certificate.ok and sol.population.is_ideal()
        assert sol.sensitivity["offset[g1,0]"].shape == (12_000,)
    assert sol.plot()[0] is not None
    T = sol.maps["g1"]
    rows, group = D.sample(4, 0)[0], np.repeat("g1", 4)
    np.testing.assert_allclose(T(sol.align(rows, sensitive_features=group)), rows, rtol=1e-12)
    for ask in (
        lambda: T.matrix,
        lambda: D.cov,
        lambda: D.pooled_cov,
        lambda: D.support_basis,
        D.full,
        lambda: fp.NearestIdeal(D, ["g1"], fp.Monotone()),
    ):
        with pytest.raises(fp.ModelError, match=r"GiB|needs covariance matrices, too large"):
            ask()


def test_bad_input_is_named():
    D = population(2, d=3)
    data = {"covariance": "diagonal", "groups": D.groups}
    var = D.variances.copy()
    with pytest.raises(fp.DataError, match=r"`cov` has shape \(2, 2, 3, 3\)"):
        fp.Normal(D.prior, D.mean, cov=D.cov, **data)
    for value, needed in ((-1.0, "must not be negative"), (0.0, "must be positive")):
        var[1, 0, 2] = value
        with pytest.raises(fp.DataError, match=f"class 1, group 'g0' {needed}.*feature 2"):
            fp.Normal(D.prior, D.mean, cov=var, **data)
    var[1, 0, 2] = np.nan
    with pytest.raises(fp.DataError, match="finite"):
        fp.Normal(D.prior, D.mean, cov=var, **data)
    with pytest.raises(fp.DataError, match="no feature with positive variance"):
        fp.Normal(D.prior, 0 * D.mean, cov=0 * D.variances, **data)
    var = D.variances.copy()
    var[..., 1] = 0.0
    with pytest.raises(fp.DataError, match="Feature 1 is constant within every cell but differs"):
        fp.Normal(D.prior, D.mean, cov=var, **data)
    with pytest.raises(fp.ModelError, match="takes the cells' variances as `cov`"):
        fp.Normal(D.prior, D.mean, covariance="diagonal")
    with pytest.raises(fp.InfeasibleError, match="no map of each feature"):
        fp.NearestIdeal(population(2, 3, 2), ["g2"], base_rates="keep")
    with pytest.raises(fp.ModelError, match="does not apply to steer='all'"):
        fp.NearestIdeal(population(3, 2, 2)).solve("closed-form")
    with pytest.raises(fp.DataError, match="at least 2 are needed"):
        fp.Normal.fit(
            np.eye(5),
            [0, 0, 1, 1, 1],
            sensitive_features=list("aabbb"),
            covariance="diagonal",
            classes=[0, 1],
            groups=["a", "b"],
        )
    one = fp.Normal([[0.5, 0.5]], [[0.0, 1.0]], std=[[1.0, 2.0]], covariance="diagonal")
    assert one.is_univariate and one.covariance == "full"


def test_diagonal_maps():
    T = fp.DiagonalMap([2.0, -1.0], [1.0, 0.0])
    S = fp.AffineMap([[1.0, 2.0], [0.0, 1.0]], [0.0, 1.0])
    X = np.arange(6.0).reshape(3, 2)
    np.testing.assert_allclose((S @ T)(X), S(T(X)))
    np.testing.assert_allclose((T @ S)(X), T(S(X)))
    assert isinstance(T @ T, fp.DiagonalMap) and (T @ T.inverse()).is_identity()
    assert fp.DiagonalMap.identity(3).is_identity() and not T.is_identity()
    assert fp.AffineMap.identity(2).is_identity() and not S.is_identity()
    with pytest.raises(fp.DataError, match="no inverse"):
        fp.DiagonalMap([0.0], [1.0]).inverse()
    with pytest.raises(fp.DataError, match="`diagonal` has shape"):
        fp.DiagonalMap([1.0], [1.0, 2.0])
