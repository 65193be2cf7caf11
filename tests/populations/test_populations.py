"""Populations as they are made: by hand, from rows, from a dictionary; and what they draw."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

import fairprog as fp
from fairprog.populations import population_from_dict
from tests.instances import multivariate, univariate

seeds = st.integers(0, 2**32 - 1)
QUARTERS = np.full((2, 2), 0.25)


# -- construction --


def test_axes_labels_and_masses():
    prior = np.array([[0.1, 0.2, 0.1], [0.3, 0.2, 0.1]])
    mean, std = np.arange(6.0).reshape(2, 3), np.arange(1.0, 7.0).reshape(2, 3)
    labels = {"classes": ["no", ("yes", 1)], "groups": [frozenset("x"), None, 2.5]}
    for family in (fp.Normal, fp.LogNormal):
        D = family(prior, mean, std=std, **labels)
        assert (D.n_classes, D.n_groups, D.n_features) == (2, 3, 1)
        assert D.classes == ("no", ("yes", 1))
        assert D.groups == (frozenset("x"), None, 2.5)
        for a in range(3):
            mass = prior[0, a] + prior[1, a]
            assert D.group_mass[a] == pytest.approx(mass)
            for i in range(2):
                assert D.base_rates[i, a] == pytest.approx(prior[i, a] / mass)
        assert np.array_equal(D.mean, mean)
        assert np.allclose(D.std, std, rtol=1e-15)
        assert D.cov.shape == (2, 3, 1, 1)
    assert fp.Normal(prior, mean, std=std).classes == (0, 1)
    assert fp.Normal(prior, mean, std=std, groups=np.array(["a", "b", "c"])).groups[0] == "a"


def test_one_feature_in_either_spelling_is_the_same_population():
    D = univariate(np.random.default_rng(0))
    E = fp.Normal(D.prior, D.location, cov=D.cov, groups=D.groups)
    assert E.mean.shape == (2, 2, 1)
    assert D.mean.shape == (2, 2)
    assert D.kl(E) == pytest.approx(0, abs=1e-15)
    assert D.ideality_gap() == pytest.approx(E.ideality_gap(), abs=1e-12)


def test_arrays_are_read_only_copies():
    prior, mean = QUARTERS.copy(), np.zeros((2, 2, 2))
    cov = np.broadcast_to(np.eye(2), (2, 2, 2, 2)).copy()
    D = fp.Normal(prior, mean, cov=cov)
    prior[0, 0] = mean[0, 0, 0] = cov[0, 0, 0, 0] = 7.0
    assert D.prior[0, 0] == 0.25
    assert D.mean[0, 0, 0] == 0.0
    assert D.cov[0, 0, 0, 0] == 1.0
    for array in (D.prior, D.mean, D.location, D.cov):
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 7.0


def test_dictionary_rebuilds_the_population():
    rng = np.random.default_rng(1)
    log_normal = fp.LogNormal(QUARTERS, [[0.0, 1], [2, 3]], std=np.ones((2, 2)), groups="ab")
    for D in (univariate(rng, 3), multivariate(rng, 3, 3), log_normal):
        E = population_from_dict(D.to_dict())
        assert type(E) is type(D)
        assert E.classes == D.classes
        assert E.groups == D.groups
        assert np.array_equal(E.mean, D.mean)
        assert np.allclose(E.prior, D.prior, rtol=1e-15)
        assert E.kl(D) == pytest.approx(0, abs=1e-15)
    with pytest.raises(fp.ModelError, match="Unknown population 'Cauchy'"):
        population_from_dict({"population": "Cauchy"})


def test_dictionary_rebuilds_every_prior_to_the_bit():
    for seed in range(50):
        D = univariate(np.random.default_rng(seed))
        assert np.array_equal(population_from_dict(D.to_dict()).prior, D.prior)


def test_standard_deviations_that_are_tied_must_agree():
    prior, mean = [[0.3, 0.2], [0.3, 0.2]], [[0.0, 1.0], [2.0, 2.0]]
    with pytest.raises(fp.DataError, match="`std` differs between classes"):
        fp.Normal(prior, mean, std=[[1.0, 1.0], [1.0, 2.0]], covariance="tied")
    D = fp.Normal(prior, mean, std=[[1.0, 2.0], [1.0, 2.0]], covariance="tied")
    assert D.kl(fp.Normal(prior, mean, std=[[1.0, 2.0], [1.0, 2.0]])) == 0.0


def test_a_finite_population_takes_other_base_rates():
    D = fp.Categorical(np.random.default_rng(0).dirichlet(np.ones(12)).reshape(3, 2, 2))
    E = D.with_prior(np.full((2, 2), 0.25))
    np.testing.assert_allclose(E.prior, 0.25)
    np.testing.assert_allclose(E.joint / E.prior, D.joint / D.prior)


# -- fit --


def data(rng, n=400, d=2, K=2, G=2):
    """Return features, class and group labels with every cell well filled."""
    y, a = rng.integers(0, K, n), rng.integers(0, G, n)
    X = rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + y[:, None] - 0.5 * a[:, None]
    return X, np.array(["no", "yes", "maybe"])[y], np.array(["m", "f", "x"])[a]


def test_fit_is_the_hand_formula_in_the_order_of_the_labels():
    rng = np.random.default_rng(2)
    X, y, a = data(rng, K=3, G=3)
    w = rng.uniform(0.1, 3.0, len(X))
    D = fp.Normal.fit(X, y, sensitive_features=a, sample_weight=w)
    assert D.classes == ("maybe", "no", "yes")
    assert D.groups == ("f", "m", "x")
    for (i, c), (h, g) in itertools.product(enumerate(D.classes), enumerate(D.groups)):
        rows = [r for r in range(len(X)) if (y[r], a[r]) == (c, g)]
        total = sum(w[r] for r in rows)
        mean = sum(w[r] * X[r] for r in rows) / total
        cov = sum(w[r] * np.outer(X[r] - mean, X[r] - mean) for r in rows) / total
        assert D.prior[i, h] == pytest.approx(total / w.sum())
        assert np.allclose(D.mean[i, h], mean)
        assert np.allclose(D.cov[i, h], cov)
    order = {"classes": ["no", "yes", "maybe"], "groups": ["m", "x", "f"]}
    E = fp.Normal.fit(X, list(y), sensitive_features=list(a), sample_weight=w, **order)
    assert E.classes == ("no", "yes", "maybe")
    assert E.groups == ("m", "x", "f")
    assert E.kl(D) == pytest.approx(0, abs=1e-14)


def log_likelihood(prior, mean, cov, X, i, g, w):
    """Return the weighted log-likelihood of the joint law of (X, Y, A)."""
    total = 0.0
    for k, h in np.ndindex(*prior.shape):
        rows = (i == k) & (g == h)
        density = multivariate_normal(mean[k, h], cov[k, h]).logpdf(X[rows])
        total += w[rows] @ (np.log(prior[k, h]) + density)
    return total


@given(seed=seeds, d=st.integers(1, 3))
@settings(max_examples=10)
def test_fit_is_maximum_likelihood(seed, d):
    """Every small step away from the estimate lowers the weighted likelihood."""
    rng = np.random.default_rng(seed)
    X, y, a = data(rng, d=d)
    w = rng.uniform(0.1, 3.0, len(X))
    D = fp.Normal.fit(X, y, sensitive_features=a, sample_weight=w)
    i, g = (y == "yes").astype(int), (a == "m").astype(int)
    best = log_likelihood(D.prior, D.location, D.cov, X, i, g, w)
    for _ in range(5):
        prior = D.prior * np.exp(rng.normal(scale=0.02, size=D.prior.shape))
        mean = D.location + rng.normal(scale=0.02, size=D.location.shape)
        T = np.eye(d) + rng.normal(scale=0.02, size=(d, d))
        for step in (
            (prior / prior.sum(), D.location, D.cov),
            (D.prior, mean, D.cov),
            (D.prior, D.location, T @ D.cov @ T.T),
        ):
            assert log_likelihood(*step, X, i, g, w) < best


def test_weights_are_counts_and_zero_weight_is_absence():
    rng = np.random.default_rng(3)
    X, y, a = data(rng)
    w = rng.integers(0, 4, len(X))
    D = fp.Normal.fit(X, y, sensitive_features=a, sample_weight=w)
    copies = [np.repeat(v, w, axis=0) for v in (X, y, a)]
    E = fp.Normal.fit(copies[0], copies[1], sensitive_features=copies[2])
    assert D.kl(E) == pytest.approx(0, abs=1e-14)
    scaled = fp.Normal.fit(X, y, sensitive_features=a, sample_weight=w * 1e-3)
    assert scaled.kl(D) == pytest.approx(0, abs=1e-14)
    unweighted = fp.Normal.fit(X, y, sensitive_features=a)
    assert unweighted.kl(D) > 1e-4  # control


def test_log_normal_fit_is_the_normal_fit_of_logs():
    X, y, a = data(np.random.default_rng(4))
    D = fp.LogNormal.fit(np.exp(X), y, sensitive_features=a)
    E = fp.Normal.fit(X, y, sensitive_features=a)
    assert isinstance(D, fp.LogNormal)
    assert np.allclose(D.mean, E.mean)
    assert np.allclose(D.cov, E.cov)
    X[7, 1] = -0.5
    with pytest.raises(fp.DataError, match=r"positive.*row 7, feature 1 is -0\.5"):
        fp.LogNormal.fit(np.where(X[7, 1] == X, X, np.exp(X)), y, sensitive_features=a)


def test_vectors_are_one_feature():
    X, y, a = data(np.random.default_rng(5), d=1)
    flat = fp.Normal.fit(X[:, 0], y, sensitive_features=a)
    assert flat.is_univariate
    assert flat.kl(fp.Normal.fit(X, y, sensitive_features=a)) == 0.0


def test_small_cells_are_warned_about_by_name():
    rng = np.random.default_rng(6)
    y = np.repeat([0, 0, 1, 1], [9, 30, 30, 30])
    a = np.repeat(["a", "b", "a", "b"], [9, 30, 30, 30])
    X = rng.normal(size=(99, 2))
    with pytest.warns(fp.FairprogWarning, match=r"fewer than 5 d = 10 rows: \(0, 'a'\): 9\."):
        fp.Normal.fit(X, y, sensitive_features=a)
    X, y, a = (np.concatenate([v, v[:1]]) for v in (X, y, a))
    fp.Normal.fit(X, y, sensitive_features=a)  # ten rows are enough: no warning


# -- sample --


def test_samples_obey_the_law_of_large_numbers():
    rng = np.random.default_rng(7)
    D, n = multivariate(rng, 2, 3, 2), 40_000
    X, y, a = D.sample(n, random_state=1)
    for (i, c), (h, g) in itertools.product(enumerate(D.classes), enumerate(D.groups)):
        rows = X[(y == c) & (a == g)]
        q, m, S = D.prior[i, h], D.mean[i, h], D.cov[i, h]
        assert abs(len(rows) / n - q) < 5 * np.sqrt(q * (1 - q) / n)
        assert (np.abs(rows.mean(axis=0) - m) < 5 * np.sqrt(np.diag(S) / len(rows))).all()
        error = np.sqrt((S**2 + np.outer(np.diag(S), np.diag(S))) / len(rows))
        assert (np.abs(np.cov(rows.T) - S) < 5 * error).all()


def test_samples_of_log_normals_are_exponentials_of_normals():
    D = fp.LogNormal(QUARTERS, [[0.0, 1.0], [2.0, 3.0]], std=[[1.0, 2.0], [0.5, 1.0]])
    E = fp.Normal(D.prior, D.mean, std=D.std)
    (X, y, a), (log_X, y_, a_) = (P.sample(500, random_state=2) for P in (D, E))
    assert np.array_equal(X, np.exp(log_X))
    assert np.array_equal(y, y_)
    assert np.array_equal(a, a_)


def test_same_random_state_same_bits():
    D = multivariate(np.random.default_rng(8), 3)
    for draw in (lambda: 5, lambda: np.random.default_rng(5)):
        for u, v in zip(D.sample(50, draw()), D.sample(50, random_state=draw()), strict=True):
            assert np.array_equal(u, v)
    assert np.array_equal(D.sample(50, 5)[0], D.sample(50, np.random.default_rng(5))[0])
    assert not np.array_equal(D.sample(50, 5)[0], D.sample(50, 6)[0])


@pytest.mark.parametrize(
    ("classes", "groups"),
    [
        ([0, 1], ["a", "b"]),
        (["x", 1], ["a", 2.5]),
        ([("x", 1), ("y", 2)], [("a", 1), ("b", 1, 2)]),
        ([False, True], [None, "b"]),
    ],
)
def test_sampled_labels_are_those_of_the_population(classes, groups):
    D = fp.Normal(
        QUARTERS, [[0.0, 1.0], [2.0, 3.0]], std=np.ones((2, 2)), classes=classes, groups=groups
    )
    _, y, a = D.sample(200, random_state=0)
    assert y.shape == a.shape == (200,)
    assert set(y.tolist()) == set(classes)
    assert set(a.tolist()) == set(groups)


@pytest.mark.parametrize(
    ("classes", "groups"), [([0, 1], ["a", "b"]), (["x", 1], ["a", 2.5]), ([("x", 1), "y"], "ab")]
)
def test_what_is_sampled_can_be_fitted(classes, groups):
    labels = {"classes": classes, "groups": groups}
    D = fp.Normal(QUARTERS, [[0.0, 1.0], [2.0, 3.0]], std=np.ones((2, 2)), **labels)
    X, y, a = D.sample(2000, random_state=0)
    E = fp.Normal.fit(X, y, sensitive_features=a, classes=D.classes, groups=D.groups)
    assert 0 < E.kl(D) < 0.02
