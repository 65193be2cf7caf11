"""Common laws R_i and the maps that carry them to groups: what every family answers itself."""

import numpy as np
import pytest

import fairprog as fp
from tests.family_laws import FAMILIES, Power15
from tests.instances import multivariate, univariate

pytestmark = pytest.mark.filterwarnings("ignore:.* constant in every cell")
PRIOR = np.array([[0.2, 0.3], [0.3, 0.2]])
MEAN = np.array([[[0.0, 1.0, 2.0], [1.0, 1.0, 2.0]], [[1.0, 3.0, 2.0], [2.0, 4.0, 2.0]]])
VARIANCES = np.array([[[1.0, 2.0, 0.0], [2.0, 1.0, 0.0]], [[1.0, 1.0, 0.0], [3.0, 1.0, 0.0]]])


def constant_feature(covariance):
    """Return a population of three features, the last of them constant."""
    if covariance == "diagonal":
        return fp.Normal(PRIOR, MEAN, cov=VARIANCES, covariance="diagonal")
    cov = VARIANCES[..., None] * np.eye(3)
    cov[..., 0, 1] = cov[..., 1, 0] = 0.3
    if covariance == "tied":
        return fp.Normal(PRIOR, MEAN, cov=cov[0], covariance="tied")
    return fp.Normal(PRIOR, MEAN, cov=cov)


def line(family):
    first, second = np.array([[0.5, 1.0], [2.0, 2.5]]), np.array([[1.0, 1.5], [1.2, 2.0]])
    return family(PRIOR, first, second)


POPULATIONS = {
    "one feature": univariate(np.random.default_rng(0)),
    "three classes and groups": univariate(np.random.default_rng(1), 3, 3),
    "four features": multivariate(np.random.default_rng(2), 4),
    "full": constant_feature("full"),
    "tied": constant_feature("tied"),
    "diagonal": constant_feature("diagonal"),
    "log-normal": fp.LogNormal(PRIOR, MEAN[..., 0], std=np.sqrt(VARIANCES[..., 0])),
    "transformed": fp.Transformed(constant_feature("diagonal"), fp.Power(0.5)),
    "exponential": fp.Exponential(PRIOR, [[0.5, 1.0], [2.0, 2.5]]),
    **{family.__name__: line(family) for family in FAMILIES},
}
SHIFTS = {"Gamma", "exponential"}  # closed under shifts of log x only


@pytest.fixture(params=POPULATIONS)
def solved(request):
    D = POPULATIONS[request.param]
    if request.param == "Gamma":  # ideal only where the shapes of a class agree
        D = fp.Gamma(PRIOR, [[0.5, 0.5], [2.0, 2.0]], [[1.0, 1.5], [1.2, 2.0]])
    return D, fp.NearestIdeal(D, steer=list(D.groups[1:])).solve()


def assert_same(D, E):
    core, other = D.core, E.core
    for name in ("prior", "location", "cov", "base_loc", "base_scale", "joint"):
        if hasattr(core, name):
            got, want = getattr(core, name), getattr(other, name)
            np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12, err_msg=name)


def test_the_answer_is_the_reference_pushed_by_its_maps(solved):
    D, sol = solved
    moved = {g: T for g, T in sol.affine.items() if g != D.groups[0]}
    E = D.pushed(sol.population.prior, D.laws_of(0), moved)
    assert type(E) is type(sol.population)
    assert_same(E, sol.population)
    for a, g in enumerate(D.groups):
        assert E.map_residual(sol.affine[g], D.laws_of(0), a) < 1e-10
        other = 1 if a != 1 else 0  # and against another group's laws it is not
        assert D.map_residual(sol.affine[D.groups[0]], D.laws_of(other), a) > 1e-3


def test_groups_of_an_ideal_population_have_a_common_map(solved):
    E = solved[1].population
    for a in range(E.n_groups):
        assert E.map_residual(E.common_map(0, a), E.laws_of(0), a) < 1e-7
    assert E.common_map(1, 1).is_identity()


def test_groups_of_another_population_have_none(solved):
    D, _ = solved
    T = D.common_map(0, 1)
    assert T is None or D.map_residual(T, D.laws_of(0), 1) > 1e-3


def test_groups_that_are_not_named_stay_to_the_bit():
    D = POPULATIONS["three classes and groups"]
    E = D.pushed(D.prior, D.laws_of(0), {D.groups[1]: fp.AffineMap([[2.0]], [1.0])})
    np.testing.assert_array_equal(E.mean[:, [0, 2]], D.mean[:, [0, 2]])
    np.testing.assert_array_equal(E.std[:, [0, 2]], D.std[:, [0, 2]])
    np.testing.assert_allclose(E.mean[:, 1], 2 * D.mean[:, 0] + 1)


def test_every_class_may_have_a_map_of_its_own():
    D = constant_feature("tied")
    T = [fp.AffineMap(np.eye(3), [float(i), 0.0, 0.0]) for i in range(2)]
    E = D.pushed(D.prior, D.laws_of(0), {1: T})
    np.testing.assert_allclose(E.mean[:, 1, 0], D.mean[:, 0, 0] + [0.0, 1.0])
    assert E.covariance == "full"
    bounded = fp.NearestIdeal(POPULATIONS["four features"], steer=["b"], map_bound=0.2).solve()
    common = POPULATIONS["four features"].laws_of(0)
    assert bounded.population.map_residual(bounded.affine["b"], common, 1) > 1e-3


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
def test_laws_of_what_varies_are_lifted_to_all_features(covariance):
    D = constant_feature(covariance)
    sol = fp.NearestIdeal(D, transport=fp.Diagonal()).solve()
    m, S = sol.aligned.laws_of(0)
    keep = [0, 1]
    inner = S[:, keep] if covariance == "diagonal" else S[:, keep][..., keep]
    lifted = D.lifted_laws(m[:, keep], inner)
    np.testing.assert_allclose(lifted[0], m, atol=1e-12)
    np.testing.assert_allclose(lifted[1], S, atol=1e-12)


def test_many_features_are_pushed_one_cell_at_a_time():
    D = multivariate(np.random.default_rng(3), 70)
    T = fp.AffineMap(np.eye(70) + 0.1, np.arange(70.0))
    E = D.pushed(D.prior, D.laws_of(0), {"b": T})
    assert E.cov_of(0) is D.cov_of(0)
    assert E.map_residual(T, D.laws_of(0), 1) < 1e-10
    assert D.map_residual(T, D.laws_of(0), 1) > 1e-3


def test_a_finite_population_is_reweighted():
    D = fp.Categorical(np.random.default_rng(0).dirichlet(np.ones(12)).reshape(3, 2, 2))
    E = D.pushed(D.prior, D.laws_of(0), {1: D.common_map(0, 1)})
    assert E.is_ideal(atol=1e-1) == bool(np.ptp(D.base_rates, axis=1).max() < 1e-1)
    np.testing.assert_allclose(E.joint[:, :, 1] / E.prior[:, 1], D.laws_of(0))
    np.testing.assert_array_equal(E.joint[:, :, 0], D.joint[:, :, 0])
    assert E.map_residual(E.common_map(0, 1), D.laws_of(0), 1) < 1e-15
    assert D.map_residual(D.common_map(0, 1), D.laws_of(0), 1) > 0.05
    sol = fp.NearestIdeal(D, steer=[1]).solve()
    assert_same(D.pushed(sol.population.prior, D.laws_of(0), {1: None}), sol.population)


def test_pieces_push_a_normal_population_forward():
    D = POPULATIONS["one feature"]
    sol = fp.NearestIdeal(D, steer=["b"], transport=fp.PiecewiseLinear(8)).solve()
    E = fp.Pushforward.of_laws(D, sol.population.prior, D.laws_of(0), {"b": sol.affine["b"]})
    assert E.kl(D) == pytest.approx(sol.kl, rel=1e-12)
    assert E.map_residual(sol.affine["b"], D.laws_of(0), 1) < 1e-10
    assert E.map_residual(fp.AffineMap.identity(1), D.laws_of(0), 1) == np.inf


def test_other_shapes_have_no_common_map():
    D = POPULATIONS["Gamma"]
    assert D.common_map(0, 1) is None
    assert D.map_residual(fp.AffineMap.identity(1), D.laws_of(0), 1) == np.inf


def test_a_mirror_image_is_found_where_the_density_is_symmetric():
    loc, scale = np.array([[0.0, 0.0], [1.0, -1.0]]), np.ones((2, 2))
    for family in (fp.Laplace, Power15):
        assert family(PRIOR, loc, scale).common_map(0, 1).matrix.item() == -1.0
    T = fp.Gumbel(PRIOR, loc, scale).common_map(0, 1)
    assert T.matrix.item() == 1.0


def test_starts_of_one_space_may_end_apart_and_the_best_end_is_found():
    """Classes far apart: leaving a group's coordinates after one start cost more than a nat."""
    rng = np.random.default_rng(21)
    d, K, G = (int(rng.integers(*ends)) for ends in ((1, 5), (2, 4), (2, 6)))
    rng = np.random.default_rng(21)
    F = rng.normal(size=(K, G, d, 3 * d))
    cov = F @ np.swapaxes(F, -1, -2) / (3 * d)
    D = fp.Normal(np.full((K, G), 1 / (K * G)), 5.0 * rng.normal(size=(K, G, d)), cov=cov)
    assert fp.NearestIdeal(D).solve().kl == pytest.approx(8.051087649, abs=1e-8)
