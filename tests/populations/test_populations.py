"""Populations: estimation, sampling, divergence, Bayes rules, the ideality gap, ideality."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import ks_2samp, multivariate_normal, norm

import fairprog as fp
from fairprog.populations import population_from_dict
from tests.instances import multivariate, random_matrix, transformed, univariate

seeds = st.integers(0, 2**32 - 1)
QUARTERS = np.full((2, 2), 0.25)


def relabelled(D, i, a):
    """Return the same population with its axes permuted; labels travel along."""
    cells = np.ix_(i, a)
    spread = {"std": D.std[cells]} if D.is_univariate else {"cov": D.cov[cells]}
    classes, groups = [D.classes[k] for k in i], [D.groups[k] for k in a]
    return type(D)(D.prior[cells], D.mean[cells], **spread, classes=classes, groups=groups)


def moved(D, maps):
    """Return the population of T_a(X), one affine map (A, b) per group."""
    mean, cov = D.location.copy(), D.cov.copy()
    for a, (A, b) in enumerate(maps):
        mean[:, a], cov[:, a] = mean[:, a] @ A.T + b, A @ cov[:, a] @ A.T
    cov = (cov + np.swapaxes(cov, -1, -2)) / 2
    return fp.Normal(D.prior, mean, cov=cov, classes=D.classes, groups=D.groups)


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


# -- kl --


def test_kl_equals_numerical_integration_in_one_dimension():
    rng = np.random.default_rng(9)
    for _ in range(5):
        D, E = univariate(rng, 2, 2), univariate(rng, 2, 2)
        value = 0.0
        for i, a in np.ndindex(2, 2):
            p, q = norm(D.mean[i, a], D.std[i, a]), norm(E.mean[i, a], E.std[i, a])

            def density(x, p=p, q=q, w=D.prior[i, a], v=E.prior[i, a]):
                return w * p.pdf(x) * (np.log(w) + p.logpdf(x) - np.log(v) - q.logpdf(x))

            low, high = p.mean() - 12 * p.std(), p.mean() + 12 * p.std()
            value += quad(density, low, high, epsabs=1e-12, limit=200)[0]
        assert D.kl(E) == pytest.approx(value, rel=1e-8)


def test_kl_equals_monte_carlo_in_three_dimensions():
    rng = np.random.default_rng(10)
    D, E = multivariate(rng, 3), multivariate(rng, 3)
    X, y, a = D.sample(100_000, random_state=3)
    ratio = np.empty(len(X))
    for i, g in np.ndindex(2, 2):
        rows = (y == D.classes[i]) & (a == D.groups[g])
        logs = [
            np.log(P.prior[i, g]) + multivariate_normal(P.mean[i, g], P.cov[i, g]).logpdf(X[rows])
            for P in (D, E)
        ]
        ratio[rows] = logs[0] - logs[1]
    assert abs(D.kl(E) - ratio.mean()) < 5 * ratio.std() / np.sqrt(len(X))
    assert abs(D.kl(E) - E.kl(D)) > 0.1  # control: not symmetric


@given(seed=seeds, d=st.integers(1, 4), K=st.integers(2, 3), G=st.integers(2, 3))
@settings(max_examples=15)
def test_kl_is_invariant(seed, d, K, G):
    """Under permutations of labels and affine changes of coordinates; zero iff equal."""
    rng = np.random.default_rng(seed)
    D, E = multivariate(rng, d, K, G), multivariate(rng, d, K, G)
    value = D.kl(E)
    assert value > 0
    assert D.kl(D) == pytest.approx(0, abs=1e-13)
    i, a = rng.permutation(K), rng.permutation(G)
    assert relabelled(D, i, a).kl(E) == pytest.approx(value)
    assert D.kl(relabelled(E, i, a)) == pytest.approx(value)
    assert D.kl(relabelled(D, i, a)) == pytest.approx(0, abs=1e-13)
    T = random_matrix(rng, d), rng.normal(size=d)
    assert transformed(D, *T).kl(transformed(E, *T)) == pytest.approx(value, rel=1e-6)


def test_kl_of_log_normals_is_that_of_the_logs():
    rng = np.random.default_rng(11)
    D, E = univariate(rng), univariate(rng)
    logs = [fp.LogNormal(P.prior, P.mean, std=P.std, groups=P.groups) for P in (D, E)]
    assert logs[0].kl(logs[1]) == D.kl(E)
    with pytest.raises(fp.ModelError, match="is a Normal; needed is a LogNormal") as error:
        logs[0].kl(E)
    assert error.value.argument == "other"
    with pytest.raises(fp.ModelError, match=r"has 2 features; needed are 1"):
        D.kl(multivariate(rng, 2))
    with pytest.raises(fp.ModelError, match=r"groups \['a', 'b', 'c'\]; needed are \['a', 'b'\]"):
        D.kl(univariate(rng, 2, 3))


def test_cell_divergences_are_the_parts_of_kl():
    rng = np.random.default_rng(12)
    D, E = multivariate(rng, 2, 3, 2), multivariate(rng, 2, 3, 2)
    V = D.cell_divergences(E)
    prior = (D.prior * np.log(D.prior / E.prior)).sum()
    assert D.kl(E) == pytest.approx(prior + (D.prior * V).sum())


# -- evaluate --


def posterior(R, X, a):
    """Return P(Y=i | X=x, A=a) under the population R, shape (n, K)."""
    logs = np.stack(
        [
            np.log(R.prior[i, a]) + multivariate_normal(R.location[i, a], R.cov[i, a]).logpdf(X)
            for i in range(R.n_classes)
        ],
        axis=-1,
    )
    out = np.exp(logs - logs.max(axis=-1, keepdims=True))
    return out / out.sum(axis=-1, keepdims=True)


def brute_rates(D, R, cost, n, seed=0):
    """Return P(Yhat=j | i, a) by simulation of R's Bayes rule on D, shape (G, K, K)."""
    rng = np.random.default_rng(seed)
    K, G = D.prior.shape
    rates = np.zeros((G, K, K))
    for i, a in np.ndindex(K, G):
        X = rng.multivariate_normal(D.location[i, a], D.cov[i, a], size=n)
        choice = np.argmin(posterior(R, X, a).reshape(n, K) @ cost, axis=1)
        rates[a, i] = np.bincount(choice, minlength=K) / n
    return rates


@pytest.mark.parametrize(("d", "K"), [(1, 2), (1, 4), (2, 2), (3, 2), (2, 3)])
def test_rates_of_anothers_rule_against_simulation(d, K):
    rng = np.random.default_rng([13, d, K])
    D, R = (multivariate(rng, d, K) for _ in range(2))
    n = 40_000
    for cost in (1 - np.eye(K), rng.uniform(0, 3, (K, K)) * (1 - np.eye(K))):
        answer = D.evaluate(cost=cost, rule_of=R)
        rates = brute_rates(D, R, cost, n)
        assert (answer.standard_error == 0) == (d == 1 or K == 2)
        tolerance = 5 * np.sqrt(np.maximum(rates * (1 - rates), 1 / n) / n)
        off = np.abs(answer.table.rates() - rates)
        assert (off < tolerance + 5 * answer.standard_error).all()
        assert np.allclose(answer.table.cell_mass, D.prior.T)
        own = D.evaluate(cost=cost).table.rates()
        assert np.abs(own - rates).max() > 0.02  # control: its own rule is another


@given(seed=seeds, K=st.integers(2, 4))
@settings(max_examples=30)
def test_no_rule_beats_the_bayes_rule(seed, K):
    rng = np.random.default_rng(seed)
    D, R = univariate(rng, K, 3), univariate(rng, K, 3)
    cost = rng.normal(size=(K, K))
    mine, theirs = D.evaluate(cost), D.evaluate(cost, rule_of=R)
    assert mine.risk <= theirs.risk + 1e-12
    for answer in (mine, theirs):
        assert answer.risk == pytest.approx(fp.CostSensitiveRisk(cost).evaluate(answer.table))
        assert answer.error == pytest.approx(1 - answer.table.accuracy)
        for notion in (fp.DemographicParity(), fp.EqualOpportunity(), fp.EqualizedOdds()):
            assert answer.gap(notion) == notion.gap(answer.table)
    constant = min((D.prior.sum(axis=1) @ cost[:, j]) for j in range(K))
    assert mine.risk <= constant + 1e-12


def test_costs_of_mistakes_move_the_threshold():
    """N(0,1) against N(2,1): predict 1 iff x exceeds 1 + log(fp/fn) / 2."""
    D = fp.Normal(QUARTERS, [[0.0, 0.0], [2.0, 2.0]], std=np.ones((2, 2)))
    for fp_cost, fn_cost in [(1, 1), (1, 5), (4, 0.5)]:
        t = 1 + np.log(fp_cost / fn_cost) / 2
        answer = D.evaluate(cost={"fp": fp_cost, "fn": fn_cost})
        assert answer.table.rates()[0, 0, 1] == pytest.approx(norm.sf(t), abs=1e-12)
        assert answer.table.rates()[1, 1, 1] == pytest.approx(norm.sf(t - 2), abs=1e-12)
        expected = 0.5 * fp_cost * norm.sf(t) + 0.5 * fn_cost * norm.cdf(t - 2)
        assert answer.risk == pytest.approx(expected, abs=1e-12)
        assert D.evaluate(cost=[[0, fp_cost], [fn_cost, 0]]).risk == answer.risk


def test_sampled_rates_are_reproducible_and_converge():
    D = multivariate(np.random.default_rng(14), 2, 3)
    few, again = D.evaluate(n_samples=2**10), D.evaluate(n_samples=2**10)
    assert np.array_equal(few.table.Z, again.table.Z)
    assert not np.array_equal(few.table.Z, D.evaluate(n_samples=2**10, random_state=1).table.Z)
    many = D.evaluate()
    assert 0 < many.standard_error < few.standard_error / 4
    assert np.abs(many.table.rates() - few.table.rates()).max() < 6 * few.standard_error


def test_label_order_of_the_rule_does_not_matter():
    rng = np.random.default_rng(15)
    D, R = univariate(rng, 3, 3), univariate(rng, 3, 3)
    S = relabelled(R, [2, 0, 1], [1, 2, 0])
    assert np.allclose(D.evaluate(rule_of=R).table.Z, D.evaluate(rule_of=S).table.Z, atol=1e-14)


def test_after_optimal_alignment_raw_data_are_only_as_fair_as_the_populations_are_close():
    """theory.md section 1: N(0,1), N(2,1) against N(0,1), N(1,1): TPR .841 against .691."""
    D = fp.Normal(QUARTERS, [[0.0, 0.0], [2.0, 1.0]], std=np.ones((2, 2)), groups=["a", "b"])
    steered = fp.NearestIdeal(D, steer=["b"]).solve().population
    assert steered.evaluate().gap(fp.EqualOpportunity()) < 1e-12
    tpr = D.evaluate(rule_of=steered).table.rates()[:, 1, 1]
    assert tpr == pytest.approx([norm.cdf(1), norm.cdf(0.5)], abs=1e-9)
    assert tpr.round(3).tolist() == [0.841, 0.691]


# -- the ideality gap --


def curve(D, i, a, grid):
    """Return masses of cell (i, a) on a grid of x, and the posterior at its midpoints."""
    cell = norm(D.mean[i, a], D.std[i, a])
    mass = np.diff(cell.cdf(np.concatenate([[-np.inf], grid, [np.inf]])))
    inner = (grid[1:] + grid[:-1]) / 2
    points = np.concatenate([grid[:1], inner, grid[-1:]])
    logs = [np.log(D.prior[k, a]) + norm(D.mean[k, a], D.std[k, a]).logpdf(points) for k in (0, 1)]
    return mass, logs[1] - logs[0]


def brute_gaps(D):
    """Return the worst gaps over thresholds of the posterior, by sorting a fine grid of x."""
    low = (D.mean - 9 * D.std).min()
    high = (D.mean + 9 * D.std).max()
    grid = np.unique(
        np.concatenate(
            [np.linspace(low, high, 4001)]
            + [D.mean[i, a] + D.std[i, a] * np.linspace(-9, 9, 20001) for i, a in np.ndindex(2, 2)]
        )
    )
    thresholds = np.sort(np.concatenate([curve(D, 0, a, grid)[1] for a in (0, 1)]))
    thresholds = thresholds[::3]
    rates = np.empty((2, 2, len(thresholds)))  # P(log odds > t | i, a)
    for i, a in np.ndindex(2, 2):
        mass, odds = curve(D, i, a, grid)
        order = np.argsort(odds)
        tail = np.concatenate([np.cumsum(mass[order][::-1])[::-1], [0.0]])
        rates[i, a] = tail[np.searchsorted(odds[order], thresholds, side="right")]
    rho = D.base_rates
    accuracy = rho[1][:, None] * rates[1] + rho[0][:, None] * (1 - rates[0])
    positive = (rho[:, :, None] * rates).sum(axis=0)
    return {
        fp.DemographicParity(): np.ptp(positive, axis=0).max(),
        fp.EqualOpportunity(): np.ptp(rates[1], axis=0).max(),
        fp.PredictiveEquality(): np.ptp(rates[0], axis=0).max(),
        fp.EqualizedOdds(): np.ptp(rates, axis=1).max(),
        fp.AccuracyParity(): np.ptp(accuracy, axis=0).max(),
    }


@given(seed=seeds)
@settings(max_examples=3)
def test_gap_equals_brute_force_over_thresholds_in_one_dimension(seed):
    D = univariate(np.random.default_rng(seed))
    for notion, expected in brute_gaps(D).items():
        assert D.ideality_gap(notion) == pytest.approx(expected, abs=5e-4)


@given(seed=seeds)
@settings(max_examples=3)
def test_gap_bounds_the_gap_of_every_cost_and_equalized_odds_is_the_larger(seed):
    rng = np.random.default_rng(seed)
    D = univariate(rng)
    notions = [fp.DemographicParity(), fp.EqualOpportunity(), fp.PredictiveEquality()]
    notions += [fp.EqualizedOdds(), fp.AccuracyParity()]
    worst = {n: D.ideality_gap(n) for n in notions}
    for _ in range(40):
        answer = D.evaluate(cost=rng.normal(size=(2, 2)))
        for n in notions:
            assert answer.gap(n) <= worst[n] + 1e-8
    both = worst[fp.EqualOpportunity()], worst[fp.PredictiveEquality()]
    assert worst[fp.EqualizedOdds()] == pytest.approx(max(both), abs=1e-9)


def test_gap_equals_the_ks_distance_of_simulated_posteriors_in_three_dimensions():
    rng = np.random.default_rng(16)
    D, n = multivariate(rng, 3), 100_000
    laws = []
    for a in range(2):
        count = rng.binomial(n, D.base_rates[1, a])
        X = np.concatenate(
            [
                rng.multivariate_normal(D.mean[i, a], D.cov[i, a], size=m)
                for i, m in enumerate((n - count, count))
            ]
        )
        laws.append(posterior(D, X, a)[:, 1])
    band = 2 * np.sqrt(np.log(2 / 1e-6) / (2 * n))  # DKW, both samples
    assert abs(ks_2samp(*laws).statistic - D.ideality_gap()) < band


@pytest.mark.parametrize("cls", [0, 1])
def test_conditional_gap_equals_the_ks_distance_given_the_class(cls):
    rng = np.random.default_rng([17, cls])
    D, n = multivariate(rng, 3), 100_000
    laws = [
        posterior(D, rng.multivariate_normal(D.mean[cls, a], D.cov[cls, a], size=n), a)[:, 1]
        for a in range(2)
    ]
    notion = (fp.PredictiveEquality(), fp.EqualOpportunity())[cls]
    band = 2 * np.sqrt(np.log(2 / 1e-6) / (2 * n))
    assert abs(ks_2samp(*laws).statistic - D.ideality_gap(notion)) < band


def test_gap_of_several_groups_is_that_of_the_worst_pair():
    D = univariate(np.random.default_rng(18), 2, 3)
    pairs = []
    for pair in itertools.combinations(range(3), 2):
        cells = np.ix_([0, 1], pair)
        prior = D.prior[cells] / D.prior[cells].sum()
        pairs.append(fp.Normal(prior, D.mean[cells], std=D.std[cells]).ideality_gap())
    assert D.ideality_gap() == pytest.approx(max(pairs), abs=1e-8)


def tied(rng, d):
    """Return a population whose classes share a covariance within each group: fast rates."""
    D = multivariate(rng, d)
    cov = np.broadcast_to(D.cov[:1], D.cov.shape)
    return fp.Normal(D.prior, D.location, cov=cov, groups=D.groups)


@given(seed=seeds, d=st.integers(1, 4))
@settings(max_examples=6)
def test_gap_and_ideality_do_not_depend_on_coordinates_chosen_per_group(seed, d):
    """Any invertible map per group leaves the posteriors as they are."""
    rng = np.random.default_rng(seed)
    D = univariate(rng) if d == 1 else tied(rng, d)
    E = moved(D, [(random_matrix(rng, d), rng.normal(size=d)) for _ in D.groups])
    notions = [fp.DemographicParity(), fp.EqualOpportunity(), fp.AccuracyParity()]
    for notion in notions[: 3 if d == 1 else 1]:
        assert E.ideality_gap(notion) == pytest.approx(D.ideality_gap(notion), abs=1e-7)
    assert not D.is_ideal()
    assert not E.is_ideal()


@pytest.mark.slow
@given(seed=seeds)
@settings(max_examples=2)
def test_gap_does_not_depend_on_names_and_order(seed):
    D = univariate(np.random.default_rng(seed), 2, 3)
    E = relabelled(D, [1, 0], [2, 0, 1])
    for kind in (fp.DemographicParity, fp.EqualOpportunity, fp.PredictiveEquality):
        notion = kind(positive=1)
        assert E.ideality_gap(notion) == pytest.approx(D.ideality_gap(notion), abs=1e-8)
    F = fp.Normal(D.prior, D.mean, std=D.std, classes=["n", "y"], groups=["u", "v", "w"])
    logs = fp.LogNormal(D.prior, D.mean, std=D.std)
    assert F.ideality_gap() == logs.ideality_gap()
    assert F.ideality_gap() == pytest.approx(D.ideality_gap(), abs=1e-12)


def test_gap_in_three_dimensions_does_not_depend_on_coordinates_chosen_per_group():
    rng = np.random.default_rng(19)
    D = multivariate(rng, 3)
    E = moved(D, [(random_matrix(rng, 3), rng.normal(size=3)) for _ in D.groups])
    assert E.ideality_gap() == pytest.approx(D.ideality_gap(), abs=1e-6)


def test_gap_of_more_classes_is_a_lower_bound_that_sees_bias():
    rng = np.random.default_rng(20)
    D = univariate(rng, 3, base_rates="equal")
    assert D.ideality_gap() > 0.05
    ideal = fp.NearestIdeal(D, steer=["b"]).solve().population
    assert ideal.ideality_gap() < 1e-7


def test_equalized_odds_can_hold_by_accident_where_supports_hardly_meet():
    """Theorem A needs overlap: almost disjoint cells, unequal base rates, DP gap .4."""
    prior = np.array([[0.35, 0.15], [0.15, 0.35]])
    D = fp.Normal(prior, [[0.0, 0.0], [1e6, 1e6]], std=np.ones((2, 2)))
    assert D.ideality_gap(fp.EqualizedOdds()) < 1e-6
    assert D.ideality_gap(fp.DemographicParity()) == pytest.approx(0.4, abs=1e-6)
    assert not D.is_ideal()


# -- is_ideal: theory.md section 2 --


def common_laws(rng, K, d, shape):
    """Return means and covariances of K laws, some of them degenerate."""
    X = rng.normal(size=(K, d, 2 * d + 2))
    cov, mean = X @ np.swapaxes(X, -1, -2) / (2 * d + 2), rng.normal(size=(K, d))
    if shape == "equal covariances":
        cov[:] = cov[0]
    elif shape == "equal means":
        mean[:] = mean[0]
    elif shape == "repeated eigenvalues":
        for i in range(K):
            O = np.linalg.qr(rng.normal(size=(d, d)))[0]
            cov[i] = O @ np.diag(np.where(np.arange(d) < (d + 1) // 2, 2.0, 0.5)) @ O.T
        cov[0] = np.eye(d)
    elif shape == "all alike":
        cov[:], mean[:] = cov[0], mean[0]
    elif shape == "collinear means":
        mean = np.outer(np.arange(K), mean[0])
        cov[:] = cov[0] * np.arange(1.0, K + 1)[:, None, None]
    return mean, cov


SHAPES = [
    "generic",
    "equal covariances",
    "equal means",
    "repeated eigenvalues",
    "collinear means",
    "all alike",
]


def from_common_laws(rng, mean, cov, G=2):
    """Return the population of arbitrary invertible maps of the laws, equal base rates."""
    K, d = mean.shape
    maps = [(random_matrix(rng, d), rng.normal(size=d)) for _ in range(G)]
    prior = np.outer(rng.dirichlet(np.full(K, 5.0)), rng.dirichlet(np.full(G, 5.0)))
    means = np.stack([mean @ A.T + b for A, b in maps], axis=1)
    covs = np.stack([A @ cov @ A.T for A, _ in maps], axis=1)
    return fp.Normal(prior, means, cov=(covs + np.swapaxes(covs, -1, -2)) / 2)


@pytest.mark.parametrize("shape", SHAPES)
@given(seed=seeds, d=st.integers(1, 6), K=st.integers(2, 3), G=st.integers(2, 3))
@settings(max_examples=15)
def test_images_of_common_laws_are_ideal(shape, seed, d, K, G):
    rng = np.random.default_rng(seed)
    D = from_common_laws(rng, *common_laws(rng, K, d, shape), G)
    assert D.is_ideal()
    assert relabelled(D, rng.permutation(K), rng.permutation(G)).is_ideal()
    if shape != "all alike":
        for a in range(1, G):
            mean = D.location.copy()
            mean[1, a] += 1e-4 * np.linalg.cholesky(D.cov[1, a])[:, 0]
            if shape in ("equal means", "repeated eigenvalues", "generic"):
                assert not fp.Normal(D.prior, mean, cov=D.cov).is_ideal()
            cov = D.cov.copy()
            cov[0, a] *= 1 + 1e-4
            assert not fp.Normal(D.prior, D.location, cov=cov).is_ideal()


@given(seed=seeds)
@settings(max_examples=20)
def test_images_of_common_laws_that_commute_with_a_rotation_are_ideal(seed):
    """Three laws whose covariances are complex Hermitian matrices written in real numbers."""
    rng = np.random.default_rng(seed)
    cov = [np.eye(6)]
    for _ in range(2):
        H = rng.normal(size=(3, 3)) + 1j * rng.normal(size=(3, 3))
        H = H @ H.conj().T / 3 + 0.2 * np.eye(3)
        cov.append(np.block([[H.real, -H.imag], [H.imag, H.real]]))
    assert from_common_laws(rng, np.zeros((3, 6)), np.array(cov)).is_ideal()


@pytest.mark.parametrize("shape", ["equal covariances", "collinear means", "all alike"])
@pytest.mark.parametrize("K", [2, 3])
def test_ideality_of_many_features_with_one_large_eigenspace(shape, K):
    """Equal and proportional covariances: all of the space but a few directions is one block."""
    rng = np.random.default_rng(23)
    D = from_common_laws(rng, *common_laws(rng, K, 60, shape))
    assert D.is_ideal()
    mean, cov = D.location.copy(), D.cov.copy()
    mean[1, 1] += 1e-2 * np.linalg.cholesky(cov[1, 1])[:, 0]
    assert not fp.Normal(D.prior, mean, cov=cov).is_ideal()
    cov[0, 1] *= 1 + 1e-6
    assert not fp.Normal(D.prior, D.location, cov=cov).is_ideal()


@pytest.mark.slow
def test_a_steered_tied_population_of_many_features_is_ideal():
    rng = np.random.default_rng(24)
    cov = np.stack([np.cov(rng.normal(size=(60, 300))) for _ in range(2)])
    D = fp.Normal(QUARTERS, rng.normal(size=(2, 2, 60)), cov=cov, covariance="tied")
    assert fp.NearestIdeal(D).solve().population.is_ideal()
    assert not D.is_ideal()


def test_three_laws_that_commute_with_many_rotations_are_ideal():
    """Complex Hermitian matrices, each eigenvalue three times: eigenspaces of dimension six."""
    rng = np.random.default_rng(25)
    cov = [np.eye(60)]
    for _ in range(2):
        H = rng.normal(size=(10, 10)) + 1j * rng.normal(size=(10, 10))
        H = H @ H.conj().T / 10 + 0.2 * np.eye(10)
        cov.append(np.kron(np.block([[H.real, -H.imag], [H.imag, H.real]]), np.eye(3)))
    D = from_common_laws(rng, np.zeros((3, 60)), np.array(cov))
    assert D.is_ideal()
    other = D.cov.copy()
    other[2, 1] = other[1, 1] * 1.1
    assert not fp.Normal(D.prior, D.location, cov=other).is_ideal()


@pytest.mark.parametrize("shape", ["generic", "equal covariances", "collinear means"])
@pytest.mark.parametrize("K", [1, 2, 3])
def test_ideality_does_not_depend_on_units_and_origin(shape, K):
    rng = np.random.default_rng(26)
    D = from_common_laws(rng, *common_laws(rng, K, 8, shape))
    mean, cov = D.location.copy(), D.cov
    mean[-1, 1] += 1e-2 * np.linalg.cholesky(cov[-1, 1])[:, 0]
    for units in (np.full(8, 1e4), np.full(8, 1e-6), 10.0 ** np.tile([4, -6, 0, 2], 2)):
        spread = cov * np.outer(units, units)
        assert fp.Normal(D.prior, D.location * units, cov=spread).is_ideal()
        assert fp.Normal(D.prior, mean * units, cov=spread).is_ideal() is (K == 1)
    assert fp.Normal(D.prior, D.location + 1e6, cov=cov).is_ideal()
    assert fp.Normal(D.prior, mean + 1e6, cov=cov).is_ideal() is (K == 1)


def test_unequal_base_rates_are_not_ideal():
    rng = np.random.default_rng(21)
    for d in (1, 3):
        D = from_common_laws(rng, *common_laws(rng, 2, d, "generic"))
        prior = D.prior + 1e-4 * np.array([[1, -1], [-1, 1]])
        assert D.is_ideal()
        assert not fp.Normal(prior, D.location, cov=D.cov).is_ideal()
        assert fp.Normal(prior, D.location, cov=D.cov).is_ideal(atol=0.01)


def test_mirror_images_are_ideal():
    D = fp.Normal(QUARTERS, [[0.0, 5.0], [1.0, 3.0]], std=[[1.0, 2.0], [0.5, 1.0]])
    assert D.is_ideal()
    assert D.ideality_gap() < 1e-8
    # three classes: one common sign
    prior = np.full((3, 2), 1 / 6)
    mean, std = np.array([0.0, 1.0, 3.0]), np.array([1.0, 0.5, 2.0])
    both = [[m, -m] for m in mean]
    assert fp.Normal(prior, both, std=np.outer(std, [1, 1])).is_ideal()
    both[2][1] *= -1
    assert not fp.Normal(prior, both, std=np.outer(std, [1, 1])).is_ideal()


@given(seed=seeds, d=st.integers(2, 4))
@settings(max_examples=12)
def test_two_classes_are_ideal_iff_spectrum_and_projections_agree(seed, d):
    """theory.md section 2: build the second group from the invariants alone."""
    rng = np.random.default_rng(seed)
    values = np.sort(np.exp(rng.uniform(-1, 1, d)))
    values[1] = values[0]  # an eigenspace of dimension two
    delta = rng.normal(size=d)
    turn = np.linalg.qr(rng.normal(size=(2, 2)))[0]
    other = delta * rng.choice([-1.0, 1.0], d)
    other[:2] = turn @ delta[:2]  # the same length in the eigenspace
    laws = [
        from_common_laws(rng, np.stack([np.zeros(d), m]), np.stack([np.eye(d), np.diag(values)]))
        for m in (delta, other)
    ]
    mean = np.stack([laws[0].location[:, 0], laws[1].location[:, 1]], axis=1)
    cov = np.stack([laws[0].cov[:, 0], laws[1].cov[:, 1]], axis=1)
    assert fp.Normal(QUARTERS, mean, cov=cov).is_ideal()
    S = np.linalg.cholesky(cov[0, 1])
    mean[1, 1] += S @ np.full(d, 1e-3)
    assert not fp.Normal(QUARTERS, mean, cov=cov).is_ideal()


def symmetric(diagonal, off):
    """Return a symmetric 3 x 3 matrix from its diagonal and entries 12, 13, 23."""
    Q = np.diag(np.asarray(diagonal, float))
    Q[0, 1], Q[0, 2], Q[1, 2] = off
    return np.triu(Q) + np.triu(Q, 1).T


Q1 = symmetric([0.5, -0.3, 0.1], [0, 0, 0])
Q2 = [
    symmetric([0.2, -0.25, 0.35], off)
    for off in ([0.15, 0.1, 0.2], [0.03174, 0.14404, -0.22527], [0.5, 0.1, 0.2])
]


def determinants(Q, s):
    """Return det(I - s1 Q1 - s2 Q): it determines the joint law of the log-likelihood ratios."""
    return np.linalg.det(np.eye(3) - s[:, :1, None] * Q1 - s[:, 1:, None] * Q)


def test_three_classes_may_be_ideal_without_a_common_map():
    """theory.md section 2: equal posterior laws, no affine map between the groups."""
    rng = np.random.default_rng(22)
    s = rng.uniform(-1, 1, size=(50, 2))
    assert np.allclose(determinants(Q2[0], s), determinants(Q2[1], s), atol=2e-5)
    assert not np.allclose(determinants(Q2[0], s), determinants(Q2[2], s), atol=1e-3)  # control

    def ratios(Q, cls, n=100_000):
        precision = (np.eye(3), np.eye(3) - Q1, np.eye(3) - Q)
        X = rng.multivariate_normal(np.zeros(3), np.linalg.inv(precision[cls]), size=n)
        return np.stack([np.einsum("nj,jk,nk->n", X, M, X) / 2 for M in (Q1, Q)], axis=1)

    critical = np.sqrt(-np.log(1e-4 / 2) / 100_000)  # two samples of 1e5, level 1e-4
    for cls in range(3):
        laws = [ratios(Q, cls) for Q in Q2]
        for c in ([1, 0], [0, 1], [1, 1], [1, -1], [0.3, 1]):
            projected = [law @ np.array(c) for law in laws]
            assert ks_2samp(projected[0], projected[1]).statistic < critical
        assert ks_2samp(laws[0] @ [0, 1], laws[2] @ [0, 1]).statistic > 2 * critical  # control
    cov = np.stack(
        [
            np.stack([np.eye(3), np.linalg.inv(np.eye(3) - Q1), np.linalg.inv(np.eye(3) - Q)])
            for Q in Q2[:2]
        ],
        axis=1,
    )
    D = fp.Normal(np.full((3, 2), 1 / 6), np.zeros((3, 2, 3)), cov=cov)
    assert not D.is_ideal()  # "no common map found", which for K > 2 is not "unfair"
    rates = D.evaluate(cost=rng.uniform(size=(3, 3)), n_samples=2**14)
    assert rates.gap(fp.EqualizedOdds()) < 6 * rates.standard_error


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
