"""Moments of float32 rows: no direction is lost, and only what needs it is summed twice."""

import numpy as np
import pytest

import fairprog as fp
from fairprog.kernels.moments import streaming
from tests.gathered_rows import gathered, rows, same_bits


def test_float32_products_do_not_cancel():
    """Means of 1e4 standard deviations: the textbook sum of squares loses everything."""
    X, y, a = rows(4000, dtype=np.float64, loc=1e4)
    single = X.astype(np.float32)
    exact = fp.Normal.fit(single.astype(np.float64), y, sensitive_features=a)
    D = gathered(single, y, a, 7).population()
    assert np.abs(D.cov - exact.cov).max() < 2e-5
    np.testing.assert_allclose(D.mean, exact.mean, rtol=1e-8)
    cell = single[(y == 0) & (a == "a")]
    textbook = cell.T @ cell / len(cell) - np.outer(cell.mean(0), cell.mean(0))
    assert np.abs(textbook - exact.cov[0, 0]).max() > 0.5  # the control: it does matter


def layer_normed(n=1200, d=16, seed=0):
    """Return float32 rows with (x - bias)/gain summing to zero, as BERT returns them."""
    rng = np.random.default_rng(seed)
    y, a = rng.integers(0, 2, n), rng.choice(["a", "b"], n)
    X = rng.standard_normal((n, d)) @ rng.standard_normal((d, d)) / np.sqrt(d)
    X = (X + y[:, None] * rng.standard_normal(d)).astype(np.float32)
    X = (X - X.mean(1, keepdims=True)) / X.std(1, keepdims=True)
    gain, bias = rng.uniform(0.3, 2.0, d), rng.standard_normal(d)
    return X * gain.astype(np.float32) + bias.astype(np.float32), y, a


@pytest.mark.filterwarnings("ignore::fairprog.FairprogWarning")
@pytest.mark.parametrize("d", [16, 48, 96])
def test_float32_rows_of_a_layer_norm_lie_in_a_plane(d, monkeypatch):
    X, y, a = layer_normed(44 * d, d)
    single, double = gathered(X, y, a, 2), gathered(X.astype(np.float64), y, a, 2)
    D, E = single.population(), double.population()
    np.testing.assert_allclose(D.cov, E.cov, atol=3e-6)
    assert D.null_dimension == E.null_dimension == 1
    sol = fp.NearestIdeal(D, steer=["b"]).solve()
    assert sol.certificate.ok and np.isfinite(sol.kl)
    # the control: products in float32 alone see a variance where there is none
    monkeypatch.setattr(streaming, "_resolves", lambda S: True)
    blurred = gathered(X, y, a, 2).to_dict()["scatter"][0]
    scale = 1.0 / np.sqrt(np.diag(blurred))
    least = np.linalg.eigvalsh(blurred * np.outer(scale, scale))[0]
    assert 1e-9 < abs(least) < 1e-5


def test_ordinary_float32_rows_are_multiplied_in_float32():
    X, y, a = rows(3000, d=8, dtype=np.float32)
    single, double = gathered(X, y, a), gathered(X.astype(np.float64), y, a)
    assert not same_bits(single, double)
    np.testing.assert_allclose(single.population().cov, double.population().cov, atol=3e-6)


@pytest.mark.parametrize("gap", [1e-2, 3e-4])
def test_small_directions_of_float32_rows_keep_their_variance(gap, monkeypatch):
    """Two columns all but alike: at unit variances their difference has gap^2 / 2."""
    X, y, a = rows(4000, d=6)
    X[:, 1] = X[:, 0] + gap * np.random.default_rng(1).standard_normal(len(X))
    X = X.astype(np.float32)
    apart = np.eye(6)[0] - np.eye(6)[1]

    def variance(rows):
        D = gathered(rows, y, a, 2).population()
        assert D.null_dimension == 0
        return apart @ D.cov[1, 0] @ apart

    exact = variance(X.astype(np.float64))
    assert variance(X) == pytest.approx(exact, rel=1e-7)
    monkeypatch.setattr(streaming, "_resolves", lambda S: True)  # the control
    control = gathered(X, y, a, 2).to_dict()
    blurred = control["scatter"][control["slots"].index((1, "a"))]
    blurred = apart @ blurred @ apart / control["mass"][control["cells"].index((1, "a"))]
    assert abs(blurred / exact - 1.0) > 1e-5


@pytest.mark.parametrize("condition", [1e4, 1e8])
def test_ill_conditioned_float64_rows_lose_no_direction(condition):
    """A ratio of variances of 1e8 at unit variances is kept; one of 1e14 is rounding."""
    X, y, a = rows(4000, d=6)
    noise = np.random.default_rng(1).standard_normal(len(X))
    X[:, 1] = X[:, 0] + noise * 2.0 / np.sqrt(condition)
    assert gathered(X, y, a).population().null_dimension == 0
    X[:, 1] = X[:, 0] + noise * 1e-7
    assert gathered(X, y, a).population().null_dimension == 1


@pytest.mark.parametrize("covariance", ["full", "tied"])
def test_only_the_cells_that_need_it_are_summed_in_float64(covariance, monkeypatch):
    X, y, a = rows(4000, d=6, dtype=np.float32)
    X[a == "b", 1] = X[a == "b", 0]
    weight = np.random.default_rng(2).uniform(0.0, 2.0, len(X)) * (np.arange(len(X)) % 5 > 0)
    found = gathered(X, y, a, 2, weight, covariance=covariance).to_dict()
    exact = gathered(X.astype(np.float64), y, a, 2, weight, covariance=covariance).to_dict()
    assert found["count"] == exact["count"] and found["mass"] == exact["mass"]
    for slot, S, E in zip(found["slots"], found["scatter"], exact["scatter"], strict=True):
        assert np.array_equal(S, E) == ("b" in slot)
        np.testing.assert_allclose(S, E, atol=1e-5 * E.max())
    np.testing.assert_allclose(found["mean"], exact["mean"], atol=1e-6)


def test_squares_that_overflow_float32_are_taken_in_float64():
    X, y, a = rows(900, dtype=np.float32)
    small, large = gathered(X, y, a).population(), gathered(X * np.float32(2.0**80), y, a)
    np.testing.assert_allclose(large.population().cov / 2.0**160, small.cov, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("covariance", ["full", "tied"])
@pytest.mark.parametrize("weighted", [False, True])
def test_weak_directions_alone_are_summed_in_float64(covariance, weighted, monkeypatch):
    """After a layer norm: the constant direction to float64's digits, all others to float32's."""
    from fairprog.kernels.moments import streaming

    rng = np.random.default_rng(0)
    n, d = 6000, 48
    X = rng.normal(size=(n, d)) @ (np.eye(d) + 0.1 * rng.normal(size=(d, d))) + 2.0
    X = (X - X.mean(axis=1, keepdims=True)) / X.std(axis=1, keepdims=True)
    X = (X * rng.uniform(0.5, 2.0, d) + rng.normal(size=d)).astype(np.float32)
    y, a = rng.integers(2, size=n), rng.integers(3, size=n)
    w = rng.uniform(0.5, 2.0, n) if weighted else None
    passes = []
    whole = streaming._add
    monkeypatch.setattr(streaming, "_add", lambda *args: passes.append(1) or whole(*args))
    rows = {"sensitive_features": a, "sample_weight": w}
    found = fp.Moments(covariance).partial_fit(X, y, **rows)
    assert len(passes) == 1  # control: nothing was summed whole again
    exact = fp.Moments(covariance).partial_fit(X.astype(float), y, **rows)
    for cell, mean in exact._sums.mean.items():
        assert np.abs(found._sums.mean[cell] - mean).max() < 1e-12
    for slot, S in exact._sums.scatter.items():
        unit = 1.0 / np.sqrt(np.diag(S))
        one, other = (M * np.outer(unit, unit) for M in (found._sums.scatter[slot], S))
        null = np.linalg.eigh(other)[1][:, 0]
        assert np.abs(one - other).max() < 1e-5
        assert np.abs((one - other) @ null).max() < 1e-11
        assert abs(null @ one @ null) < 1e-12
