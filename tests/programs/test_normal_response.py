"""Analytic derivatives of answers on normal laws, against answers of populations nearby."""

import copy
import pickle

import numpy as np
import pytest

import fairprog as fp
from experiments.ideality_size import ideal_normal
from experiments.inference_coverage import readme
from fairprog.programs import inference
from fairprog.programs.estimation_error import estimation_error
from fairprog.programs.inference import _values
from fairprog.programs.responses import normal_response
from fairprog.programs.responses.normal_response import NormalResponse
from fairprog.programs.responses.steered_weights import SteeredWeights

H = 0.05  # standard deviations
BIASED = ("kl", None), ("price", "consensus")


def near_ideal(d, K=2, G=2, covariance="full"):
    D, rng = ideal_normal(d, K, G, seed=3), np.random.default_rng(2)
    mean = D.location + 0.4 * rng.standard_normal(D.location.shape)
    rows = rng.integers(700, 1500, (K, G))
    if d == 1 and G == 2:  # the bounds of the two classes are well apart
        mean, std = np.array([[0.0, 1.0], [2.0, 2.5]]), [[1.0, 1.1], [1.2, 2.0]]
        return fp.Normal([[0.3, 0.18], [0.31, 0.21]], mean, std=std).with_rows(rows)
    if d == 1:
        return fp.Normal(D.prior, mean[..., 0], std=D.std[..., 0]).with_rows(rows)
    cov = D.cov[0] if covariance == "tied" else D.cov
    return fp.Normal(D.prior, mean, cov=cov, covariance=covariance).with_rows(rows)


def refitted(D, **options):
    """Return, by name, errors from refits along every direction, and biases."""
    error = estimation_error(D, np.random.default_rng(0), most=10**6)
    solver = "closed-form" if D.n_features == 1 else "newton"

    def at(E):
        return _values(fp.NearestIdeal(E, **options).solve(solver), E)

    here, squares = at(D), {}
    biased = [key for key in here if key in BIASED or key[0] in ("matrix", "offset")]
    bias = dict.fromkeys(biased, 0.0)
    for move in error.moves:
        up, down = (at(error.moved(move, sign * H)) for sign in (1, -1))
        for key in up:
            squares[key] = squares.get(key, 0.0) + ((up[key] - down[key]) / (2 * H)) ** 2
        for key in biased:
            bias[key] += 0.5 * (up[key] + down[key] - 2 * here[key]) / H**2
    up, down = (at(error.moved(error.bias, sign * H)) for sign in (1, -1))
    for key in biased:
        bias[key] += (up[key] - down[key]) / (2 * H)
    return {key: np.sqrt(square) for key, square in squares.items()}, bias


def compare(D, rtol=3e-3, **options):
    """Every standard error, and the bias, of `inference` against those of refits."""
    solver = "closed-form" if D.n_features == 1 else "newton"
    found = fp.NearestIdeal(D, **options).solve(solver).inference()
    wanted, bias = refitted(D, **options)
    for (what, name), se in wanted.items():
        own = getattr(found, what)
        ours = (own if name is None else own[name]).se
        np.testing.assert_allclose(
            ours, se, rtol=rtol, atol=rtol * np.max(se) + 1e-12, err_msg=what
        )
    assert found.kl.bias == pytest.approx(bias["kl", None], rel=0.02)
    assert found.price["consensus"].bias == pytest.approx(bias["price", "consensus"], rel=0.02)


@pytest.mark.parametrize(
    "options",
    [
        {"steer": [1]},
        {"steer": [0], "base_rates": "keep"},
        {"steer": [1], "transport": fp.Translation()},
    ],
    ids=str,
)
def test_errors_of_one_feature_are_those_of_refits(options):
    compare(near_ideal(1), **options)


def test_errors_of_the_gap_are_those_of_refits_at_a_kink():
    """The largest gap of the README is where the log odds of the wider group end."""
    compare(readme().with_rows([[1200, 800]] * 2), steer=[1], rtol=6e-3)


@pytest.mark.parametrize(
    "transport",
    [
        fp.Monotone(), fp.Monotone("identity"), fp.Whitened(), fp.Diagonal(), fp.Scaling(),
        fp.Translation(),
    ],
    ids=repr,
)  # fmt: skip
def test_errors_of_two_features_are_those_of_refits(transport):
    compare(near_ideal(2), steer=[1], transport=transport)


def test_one_class_agrees_with_itself():
    D = near_ideal(2)
    E = fp.Normal([[0.6, 0.4]], D.location[:1], cov=D.cov[:1]).with_rows([[900, 700]])
    found = fp.NearestIdeal(E, steer=[1]).solve("newton").inference()
    price = found.price["consensus"]
    assert (price.value, price.se, price.bias) == (0.0, 0.0, 0.0)
    assert found.matrix[1].se.min() > 0


@pytest.mark.slow
def test_errors_are_those_of_refits_with_any_map():
    compare(near_ideal(2), steer=[1], transport=fp.Affine())


def test_errors_of_several_groups_are_those_of_refits():
    compare(near_ideal(1, K=3, G=3), steer=[0, 2])


def test_errors_of_shared_covariances_are_those_of_refits():
    compare(near_ideal(2, covariance="tied"), steer=[1], rtol=5e-3)


@pytest.mark.parametrize("rates", ["equalize", "keep", [0.4, 0.6]], ids=str)
def test_weights_follow_proportions(rates):
    rng = np.random.default_rng(0)
    q, dq = rng.dirichlet(np.full(6, 20.0)).reshape(2, 3), 1e-3 * rng.random((2, 3))
    g = rng.random(2)
    at = SteeredWeights(q, rates, 0)

    def moved(t):
        there = SteeredWeights(q + t * dq, rates, 0)
        w = there.weights(2)
        return w, float((w * np.log(w / there.prior[:, 2])).sum())

    (here, own), (up, above), (down, below) = (moved(t) for t in (0.0, 1.0, -1.0))
    first, second, bent = at.moved(2, dq)
    np.testing.assert_allclose(first, (up - down) / 2, rtol=1e-4)
    np.testing.assert_allclose(second, up + down - 2 * here, rtol=1e-3, atol=1e-12)
    assert bent == pytest.approx(above + below - 2 * own, rel=1e-3)
    assert (at.pulled(2, g) * dq).sum() == pytest.approx(g @ first, rel=1e-12)
    assert (at.divergence_slopes([2]) * dq).sum() == pytest.approx((above - below) / 2, rel=1e-4)


def test_mirror_images_have_errors_too():
    D = fp.Normal(
        [[0.3, 0.2], [0.3, 0.2]], [[0.0, 2.0], [2.0, -0.5]], std=[[1.0, 1.2], [1.5, 2.0]]
    )
    compare(D.with_rows([[1200, 800]] * 2), steer=[1], orientation="any")


def test_a_constant_feature_changes_nothing():
    D = near_ideal(2)
    mean = np.concatenate([D.location, np.ones((2, 2, 1))], axis=2)
    cov = np.zeros((2, 2, 3, 3))
    cov[..., :2, :2] = D.cov
    with pytest.warns(fp.FairprogWarning, match="constant"):
        E = fp.Normal(D.prior, mean, cov=cov).with_rows(D.n_rows)
        found = fp.NearestIdeal(E, steer=[1]).solve("newton").inference()
    plain = fp.NearestIdeal(D, steer=[1]).solve("newton").inference()
    assert found.kl.se == pytest.approx(plain.kl.se, rel=1e-9)
    np.testing.assert_allclose(found.matrix[1].se[:2, :2], plain.matrix[1].se, rtol=1e-7)
    np.testing.assert_allclose(found.matrix[1].se[2], 0.0, atol=1e-12)


def test_errors_do_not_depend_on_units():
    D, C = near_ideal(3), np.array([[1e3, 0.0, 0.0], [2.0, 1.0, 0.0], [0.0, 3e-3, 1e-3]])
    E = fp.Normal(D.prior, D.location @ C.T, cov=C @ D.cov @ C.T).with_rows(D.n_rows)
    first, second = (fp.NearestIdeal(P, steer=[1]).solve("newton").inference() for P in (D, E))
    for name, e in first.named.items():
        assert second.named[name].se == pytest.approx(e.se, rel=1e-5), name
    assert second.kl.bias == pytest.approx(first.kl.bias, rel=1e-5)


def test_conjugate_gradients_solve_what_factors_solve():
    D = near_ideal(14)
    program = fp.NearestIdeal(D, steer=[1])
    response = NormalResponse(program.geometry, program.solve("newton").affine)
    group, rng = response.groups[0], np.random.default_rng(0)
    N, n = rng.standard_normal((3, 14, 14)), rng.standard_normal((3, 14))
    sides = N + np.swapaxes(N, 1, 2), n
    X, x = group.solve(*sides)
    Y, y = group.solve(*sides, many=True)
    np.testing.assert_allclose(X, Y, atol=1e-4 * np.abs(Y).max())
    np.testing.assert_allclose(x, y, atol=1e-4 * np.abs(y).max())
    M, m = group.product(X[:, None], x[:, None])
    np.testing.assert_allclose(M, sides[0], atol=1e-3 * np.abs(N).max())
    np.testing.assert_allclose(m, n, atol=1e-3 * np.abs(n).max())


def test_random_directions_leave_little_of_the_bias_to_chance(monkeypatch):
    D = near_ideal(6)
    program = fp.NearestIdeal(D, steer=[1])
    response = NormalResponse(program.geometry, program.solve("newton").affine)
    none = np.zeros((0, 2, 2))
    monkeypatch.setattr(normal_response, "WORK", 10**6)
    exact = response.numbers(none, np.random.default_rng(0))[2]
    monkeypatch.setattr(normal_response, "WORK", 3000)
    drawn = [response.numbers(none, np.random.default_rng(k))[2] for k in range(20)]
    assert np.mean(drawn) == pytest.approx(exact, rel=0.03)
    assert np.std(drawn) < 0.1 * exact


def test_more_features_than_are_solved_for_have_the_divergence_alone(monkeypatch):
    d = 66
    D, rng = near_ideal(2), np.random.default_rng(0)
    mean, cov = rng.standard_normal((2, 2, d)), np.broadcast_to(np.eye(d), (2, 2, d, d)).copy()
    mean[..., :2], cov[..., :2, :2] = D.location, D.cov
    E = fp.Normal(D.prior, mean, cov=cov).with_rows(10 * D.n_rows)
    found = fp.NearestIdeal(E, steer=[1]).solve("newton").inference()
    assert found.kl.bias > 0 and found.price and found.bounds and not found.matrix
    monkeypatch.setattr(inference, "MOST_FEATURES", 65)
    alone = fp.NearestIdeal(E, steer=[1]).solve("newton").inference()
    assert alone.kl.se == found.kl.se and not (alone.matrix or alone.price or alone.bounds)


def test_entries_of_maps_wait_until_they_are_read(monkeypatch):
    calls = []
    entries = NormalResponse.entries
    monkeypatch.setattr(
        NormalResponse, "entries", lambda self, k, rng: calls.append(k) or entries(self, k, rng)
    )
    found = fp.NearestIdeal(near_ideal(2), steer=[1]).solve("newton").inference()
    assert list(found.matrix) == [1] and len(found.offset) == 1 and not calls
    se = found.matrix[1].se
    assert found.offset[1].se.shape == (2,) and calls == [0]
    for again in (copy.deepcopy(found), pickle.loads(pickle.dumps(found))):
        np.testing.assert_array_equal(again.matrix[1].se, se)
    with pytest.raises(KeyError):
        found.matrix["b"]


class Corners:
    """Every standardised error alone, as long as random ones are."""

    def __init__(self, size):
        self.size = size

    def standard_normal(self, shape):
        return np.sqrt(self.size) * np.eye(self.size)


@pytest.mark.parametrize(
    ("transport", "base_rates", "covariance"),
    [
        (fp.Monotone(), "equalize", "full"),
        (fp.Monotone(), "keep", "tied"),
        (fp.Whitened(), "equalize", "tied"),
        (fp.Affine(), "keep", "full"),
        (fp.Translation(), "equalize", "full"),
    ],
    ids=str,
)
def test_biases_of_maps_are_those_of_refits(transport, base_rates, covariance):
    D = near_ideal(2, covariance=covariance)
    options = {"steer": [1], "transport": transport, "base_rates": base_rates}
    sol = fp.NearestIdeal(D, **options).solve("newton")
    response = NormalResponse(fp.NearestIdeal(D, **sol.settings).geometry, sol.affine)
    ours = [bias for _, bias in response.entries(0, Corners(response._size))]
    wanted = refitted(D, **options)[1]
    scale = np.abs(wanted["matrix", 1]).max() + np.abs(wanted["offset", 1]).max()
    for name, bias in zip(("matrix", "offset"), ours, strict=True):
        np.testing.assert_allclose(bias, wanted[name, 1], rtol=0.01, atol=1e-3 * scale)


def test_errors_of_maps_have_their_second_order():
    def shares(rows):
        D = near_ideal(2).with_rows(np.full((2, 2), rows))
        sol = fp.NearestIdeal(D, steer=[1]).solve("newton")
        response = NormalResponse(fp.NearestIdeal(D, **sol.settings).geometry, sol.affine)
        first = refitted(D, steer=[1])[0]["matrix", 1]
        (se, _), _ = response.entries(0, np.random.default_rng(0))
        return (se / first) ** 2 - 1.0

    few, many = shares(100), shares(10_000)  # in proportion to 1 / rows
    assert np.all(few > 0.005)
    np.testing.assert_allclose(many, few / 100.0, rtol=0.1, atol=1e-4)


@pytest.mark.parametrize(
    "transport",
    [
        fp.Translation(),
        pytest.param(fp.Diagonal(), marks=pytest.mark.slow),
        pytest.param(fp.Monotone(), marks=pytest.mark.slow),
        pytest.param(fp.Whitened(), marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_bias_of_all_groups_is_that_of_refits(transport):
    D = near_ideal(2)

    def least(E):
        return fp.NearestIdeal(E, transport=transport).solve().kl

    error = estimation_error(D, np.random.default_rng(0), most=10**6)
    here, bias = least(D), 0.0
    for move in error.moves:
        up, down = (least(error.moved(move, sign * H)) for sign in (1, -1))
        bias += 0.5 * (up + down - 2 * here) / H**2
    up, down = (least(error.moved(error.bias, sign * H)) for sign in (1, -1))
    bias += (up - down) / (2 * H)
    found = fp.NearestIdeal(D, transport=transport).solve().inference().kl
    assert found.bias == pytest.approx(bias, rel=0.01)
