"""Rates of Bayes rules against brute force, simulation and closed forms."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr
from scipy.stats import norm

from fairprog.kernels.line.univariate_regions import _compared_in_pairs, bayes_decisions
from fairprog.kernels.rates.bayes_rates import (
    decision_rates,
    decision_regions,
    log_odds_cdf,
    log_odds_nodes,
)
from fairprog.kernels.rates.quadratic_form import spectral_cdf
from tests.quadratic_forms import spectral_form

ZERO_ONE = np.array([[0.0, 1.0], [1.0, 0.0]])


def population(K, G, d, seed, tied=False, spread=1.0):
    rng = np.random.default_rng(seed)
    prior = rng.dirichlet(np.full(K * G, 3.0)).reshape(K, G)
    root = rng.normal(size=(1 if tied else K, G, d, d)) * 0.4 + np.eye(d)
    cov = np.broadcast_to(root @ np.swapaxes(root, -1, -2), (K, G, d, d))
    return prior, spread * rng.normal(size=(K, G, d)), cov


def log_joint(X, prior, mean, cov):
    """(n, K), straight from the definition."""
    out = []
    for q, m, S in zip(prior, mean, cov, strict=True):
        white = np.linalg.solve(np.linalg.cholesky(S), (X - m).T)
        out.append(np.log(q) - np.linalg.slogdet(S)[1] / 2 - np.sum(white**2, axis=0) / 2)
    return np.stack(out, axis=1)


def simulated_rates(cost, rule, mean, cov, n, seed):
    rng = np.random.default_rng(seed)
    K, G, d = mean.shape
    rates = np.empty((K, G, K))
    for i, a in np.ndindex(K, G):
        X = mean[i, a] + rng.standard_normal((n, d)) @ np.linalg.cholesky(cov[i, a]).T
        terms = log_joint(X, *(part[:, a] for part in rule))
        costs = np.exp(terms - terms.max(axis=1, keepdims=True)) @ cost
        rates[i, a] = np.bincount(np.argmin(costs, axis=1), minlength=K) / n
    return rates


@pytest.mark.parametrize("K", [2, 3, 4])
@pytest.mark.parametrize("seed", range(6))
def test_univariate_rates_match_a_fine_grid(K, seed):
    prior, mean, cov = population(K, 1, 1, seed)
    cost = np.random.default_rng(seed).normal(size=(K, K))
    x = np.linspace(-40, 40, 2_000_001)
    terms = log_joint(x[:, None], prior[:, 0], mean[:, 0], cov[:, 0])
    costs = np.exp(terms - terms.max(axis=1, keepdims=True)) @ cost
    action = np.argmin(costs, axis=1)
    other = population(K, 1, 1, seed + 100)  # the rule applied to another population
    rates, error = decision_rates(cost, prior, mean, cov, *other[1:])
    assert error == 0
    for i in range(K):
        density = norm.pdf(x, other[1][i, 0, 0], np.sqrt(other[2][i, 0, 0, 0])) * (x[1] - x[0])
        expected = np.bincount(action, density, minlength=K)
        np.testing.assert_allclose(rates[i, 0], expected, atol=1e-4)
    np.testing.assert_allclose(rates.sum(axis=-1), 1, atol=1e-14)


@pytest.mark.parametrize("seed", range(40))
def test_regions_agree_with_pointwise_decisions_far_into_the_tails(seed):
    rng = np.random.default_rng(seed)
    K = int(rng.integers(2, 6))
    prior, mean = rng.dirichlet(np.ones(K)), rng.normal(size=K) * rng.choice([0, 0.1, 1, 5])
    std = np.exp(rng.normal(size=K) * rng.choice([0, 0.01, 0.3, 1.5]))
    cost = rng.normal(size=(K, K)) if seed % 2 else rng.integers(-1, 3, (K, K))
    breakpoints, decisions = decision_regions(cost, prior, mean, std)
    x = np.append((mean[:, None] + std[:, None] * np.linspace(-13, 13, 801)), np.arange(-3e2, 3e2))
    terms = np.log(prior / std) - ((x[:, None] - mean) / std) ** 2 / 2
    clear = np.all(np.abs(x[:, None] - breakpoints) > 1e-9 * (1 + np.abs(x[:, None])), axis=1)
    found = decisions[np.searchsorted(breakpoints, x)]
    np.testing.assert_array_equal(found[clear], bayes_decisions(terms, cost)[clear])
    assert np.all(np.diff(decisions) != 0) and np.all(np.diff(breakpoints) > 0)


@pytest.mark.parametrize("factor", [0.999, 1 - 1e-9, 1 + 1e-9, 1.001, 3.0])
def test_nearly_double_root_is_isolated(factor):
    # Action 1 iff q_1 p_1 > q_0 p_0 + q_2 p_2, that is, iff factor > cosh(2 (x - centre)).
    cost = np.array([[0.0, 1.0, 9.0], [1.0, 0.0, 9.0], [0.0, 1.0, 9.0]])
    prior = np.array([1.0, 2 * np.sqrt(1.3) * np.exp(-2) * factor, 1.3])
    breakpoints, decisions = decision_regions(cost, prior, [-2.0, 0.0, 2.0], np.ones(3))
    if factor < 1:
        assert decisions.tolist() == [0] and breakpoints.size == 0
    else:
        half = np.arccosh(factor) / 2
        assert decisions.tolist() == [0, 1, 0]
        expected = -np.log(1.3) / 4 + np.array([-half, half])
        np.testing.assert_allclose(breakpoints, expected, atol=1e-10)


def test_ties_take_the_lowest_action():
    mean, std = np.zeros(3), np.ones(3)
    regions = decision_regions(1 - np.eye(3), [1 / 3, 1 / 3, 1 / 3], mean, std)
    assert regions[0].size == 0 and regions[1].tolist() == [0]
    assert decision_regions(np.ones((3, 3)), [0.2, 0.3, 0.5], [0, 1, 2], std)[1].tolist() == [0]
    twins = np.array([[0.0, 1.0, 1.0], [1.0, 0.1 + 0.2, 0.3]])  # actions 1 and 2 are the same
    twins = np.vstack([twins, twins[1:]])
    assert 2 not in decision_regions(twins, [0.2, 0.3, 0.5], [0.0, 1.0, 2.0], std)[1]


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10**6), st.integers(2, 4), st.floats(0.01, 100), st.booleans(), st.floats(-9, 9)
)
def test_regions_are_equivariant(seed, K, scale, flip, move):
    rng = np.random.default_rng(seed)
    prior, mean = rng.dirichlet(np.full(K, 2.0)), rng.normal(size=K)
    std, cost = rng.uniform(0.5, 2, K), rng.normal(size=(K, K))
    slope = -scale if flip else scale
    breakpoints, decisions = decision_regions(cost, prior, mean, std)
    moved, moved_decisions = decision_regions(cost, prior, slope * mean + move, scale * std)
    back = (moved - move) / slope
    keep = np.abs(breakpoints) < 30  # farther out the boundary itself is ill conditioned
    step = -1 if flip else 1
    np.testing.assert_array_equal(moved_decisions[::step], decisions)
    tolerance = 1e-12 * (1 + abs(move) / scale) * 100
    np.testing.assert_allclose(back[::step][keep], breakpoints[keep], rtol=1e-9, atol=tolerance)


def test_lda_error_is_phi_of_minus_half_delta():
    _, mean, cov = population(2, 2, 4, 0, tied=True)
    rates, error = decision_rates(ZERO_ONE, np.full((2, 2), 0.25), mean, cov, mean, cov)
    for a in range(2):
        delta = mean[1, a] - mean[0, a]
        distance = np.sqrt(delta @ np.linalg.solve(cov[0, a], delta))
        np.testing.assert_allclose(
            [rates[0, a, 1], rates[1, a, 0]], ndtr(-distance / 2), atol=1e-14
        )
    assert error == 0


@pytest.mark.parametrize("d", [2, 3, 5])
@pytest.mark.parametrize("cost", [ZERO_ONE, [[0.0, 3.0], [1.0, 0.5]], [[2.0, 0.0], [0.0, 1.0]]])
def test_binary_rates_match_simulation(d, cost):
    rule, (_, mean, cov) = population(2, 2, d, d), population(2, 2, d, d + 50)
    rates, _ = decision_rates(cost, *rule, mean, cov)
    expected = simulated_rates(np.asarray(cost), rule, mean, cov, 200_000, 0)
    np.testing.assert_allclose(rates, expected, atol=5e-3)


def test_one_dimension_and_two_coordinates_agree():
    prior, mean, cov = population(2, 2, 1, 3)
    padded_mean = np.concatenate([mean, np.zeros_like(mean)], axis=-1)
    padded_cov = np.zeros((2, 2, 2, 2))
    padded_cov[..., 0, 0], padded_cov[..., 1, 1] = cov[..., 0, 0], 2.0
    for cost in (ZERO_ONE, -ZERO_ONE, [[0.0, 5.0], [1.0, 0.0]]):
        line = decision_rates(cost, prior, mean, cov, mean, cov)[0]
        plane = decision_rates(cost, prior, padded_mean, padded_cov, padded_mean, padded_cov)[0]
        np.testing.assert_allclose(line, plane, atol=1e-10)


@pytest.mark.parametrize(
    ("cost", "action"),
    [
        ([[0, 0], [0, 0]], 0),
        ([[0, 1], [0, 1]], 0),
        ([[1, 0], [1, 0]], 1),
        ([[0, 0], [1, 0]], 1),
        ([[0, 0], [0, 1]], 0),
        ([[0, 1], [0, 0]], 0),
        ([[1, 0], [0, 0]], 1),
    ],
)
@pytest.mark.parametrize("d", [1, 2])
def test_constant_rules(cost, action, d):
    rule = population(2, 2, d, 4)
    rates, _ = decision_rates(cost, *rule, *rule[1:])
    np.testing.assert_allclose(rates[..., action], 1, atol=1e-15)


@pytest.mark.parametrize("d", [1, 3])
def test_identical_cells_have_constant_log_odds(d):
    _, mean, cov = population(1, 1, d, 5)
    mean, cov = np.repeat(mean, 2, axis=0), np.repeat(cov, 2, axis=0)
    for prior, signed in (([[0.3], [0.7]], 1), ([[0.5], [0.5]], 0)):
        t = np.log(prior[1][0] / prior[0][0])
        H = log_odds_cdf([t - 1e-9, t, t + 1e-9], prior, mean, cov, mean, cov)
        np.testing.assert_array_equal(H[:, :, 0], [[0, 0], [1, 1], [1, 1]])
        assert log_odds_nodes(prior, mean, cov, mean, cov).size == 2
        for cost in (ZERO_ONE, -ZERO_ONE):
            rates, _ = decision_rates(cost, prior, mean, cov, mean, cov)
            expected = signed if cost is ZERO_ONE else 0
            np.testing.assert_allclose(rates[..., 1], expected)


@pytest.mark.parametrize("d", [1, 2, 4])
def test_log_odds_cdf_matches_simulation(d):
    rule, (_, mean, cov) = population(2, 2, d, d + 7), population(2, 2, d, d + 70)
    t = np.array([-3.0, -0.5, 0.0, 1.0, 4.0])
    H = log_odds_cdf(t, *rule, mean, cov)
    rng = np.random.default_rng(0)
    for i, a in np.ndindex(2, 2):
        X = mean[i, a] + rng.standard_normal((200_000, d)) @ np.linalg.cholesky(cov[i, a]).T
        terms = log_joint(X, *(part[:, a] for part in rule))
        odds = terms[:, 1] - terms[:, 0]
        np.testing.assert_allclose(H[:, i, a], np.mean(odds[:, None] <= t, axis=0), atol=5e-3)


def test_log_odds_cdf_matches_the_textbook_quadratic_form():
    rule, (_, mean, cov) = population(2, 1, 3, 11), population(2, 1, 3, 12)
    prior, centre, scatter = (part[:, 0] for part in rule)
    P = np.linalg.inv(scatter)
    A = (P[0] - P[1]) / 2
    b = P[1] @ centre[1] - P[0] @ centre[0]
    c = (centre[0] @ P[0] @ centre[0] - centre[1] @ P[1] @ centre[1]) / 2
    c += (
        np.log(prior[1] / prior[0])
        + np.log(np.linalg.det(scatter[0]) / np.linalg.det(scatter[1])) / 2
    )
    t = np.linspace(-20, 20, 101)
    for i in range(2):
        expected = spectral_cdf(t, *spectral_form(A, b, c, mean[i, 0], cov[i, 0]))[0]
        H = log_odds_cdf(t, *rule, mean, cov)[:, i, 0]
        np.testing.assert_allclose(H, expected, atol=1e-10)


def test_equal_covariances_are_the_limit_of_unequal_ones():
    prior, mean, cov = population(2, 2, 3, 13, tied=True)
    t = np.linspace(-10, 10, 101)
    exact = log_odds_cdf(t, prior, mean, cov, mean, cov)
    for change in (1e-4, 1e-7, 1e-10, 1e-13):
        near = cov * np.array([1.0, 1 + change])[:, None, None, None]
        H = log_odds_cdf(t, prior, mean, near, mean, near)
        np.testing.assert_allclose(H, exact, atol=20 * change + 1e-11)


@pytest.mark.parametrize("d", [1, 2, 4])
@pytest.mark.slow
def test_nodes_find_the_largest_gap_between_groups(d):
    rule = population(2, 2, d, d + 20)
    nodes = log_odds_nodes(*rule, *rule[1:])
    assert 400 <= nodes.size <= 1000 and np.all(np.diff(nodes) > 0)
    H = log_odds_cdf(nodes, *rule, *rule[1:])
    dense = np.linspace(-30, 30, 20_001)
    reference = log_odds_cdf(dense, *rule, *rule[1:])
    gap = np.abs(np.diff(H, axis=2)).max(axis=0)
    np.testing.assert_allclose(gap, np.abs(np.diff(reference, axis=2)).max(axis=0), atol=2e-4)
    assert H[0].max() < 1e-3 and H[-1].min() > 1 - 1e-3


def test_sampled_rates_have_an_honest_error():
    rule = population(3, 2, 3, 30)
    cost = np.array([[0.0, 1.0, 2.0], [1.0, 0.0, 1.0], [3.0, 1.0, -0.5]])
    rates, error = decision_rates(cost, *rule, *rule[1:], n_samples=2**12, random_state=1)
    finer, fine_error = decision_rates(cost, *rule, *rule[1:], n_samples=2**17, random_state=2)
    assert 0 < fine_error < error < 5e-3
    assert np.abs(rates - finer).max() < 5 * np.hypot(error, fine_error)
    np.testing.assert_allclose(rates.sum(axis=-1), 1, atol=1e-12)


def test_sampled_rates_repeat_for_the_same_seed():
    rule = population(3, 1, 2, 31)
    draw = [decision_rates(1 - np.eye(3), *rule, *rule[1:], 2**8, s)[0] for s in (0, 0, 1)]
    again = decision_rates(1 - np.eye(3), *rule, *rule[1:], 2**8, np.random.default_rng(0))[0]
    np.testing.assert_array_equal(draw[0], draw[1])
    np.testing.assert_array_equal(draw[0], again)
    assert np.any(draw[0] != draw[2])


@pytest.mark.parametrize("d", [3, 1500])
def test_several_costs_are_answered_by_the_same_points(d):
    rng = np.random.default_rng(d)
    mean, cov = 0.3 * rng.normal(size=(3, 2, d)) / d**0.5, rng.uniform(0.9, 1.1, size=(3, 2, d))
    if d < 10:
        cov = cov[..., None] * np.eye(d)
    prior, costs = np.full((3, 2), 1 / 6), rng.normal(size=(4, 3, 3))
    args = prior, mean, cov, mean, cov
    together, _ = decision_rates(costs, *args, n_samples=512)
    alone = [decision_rates(C, *args, n_samples=512)[0] for C in costs]
    assert (together == np.stack(alone)).all()


def test_points_of_single_precision_decide_as_those_of_double_do():
    """Beyond 1,024 features: rates agree within their standard error with the exact ones."""
    d = 2000
    mean = np.zeros((3, 1, d))
    mean[1, 0, :100], mean[2, 0, 100:200] = 0.2, 0.2  # two standard deviations, orthogonal
    cov, prior = np.ones((3, 1, d)), np.full((3, 1), 1 / 3)
    cost = 1.0 - np.eye(3)
    many, error = decision_rates(cost, prior, mean, cov, mean, cov, n_samples=2**13)
    few = mean[..., [0, 100]] * 10.0
    exact, _ = decision_rates(
        cost, prior, few, np.broadcast_to(np.eye(2), (3, 1, 2, 2)), few,
        np.broadcast_to(np.eye(2), (3, 1, 2, 2)), n_samples=2**16,
    )  # fmt: skip
    assert np.abs(many - exact).max() < 4.0 * error < 0.05


@pytest.mark.parametrize("scale", [1.0, 30.0, 800.0])
@pytest.mark.parametrize("whole", [True, False], ids=["ties", "no ties"])
def test_actions_of_many_costs_are_those_of_comparing_in_pairs(scale, whole):
    rng, K = np.random.default_rng(0), 4
    terms = scale * rng.normal(size=(300, K))
    terms[rng.random((300, K)) < 0.1] = -np.inf
    costs = rng.integers(0, 3, (8, K, K)).astype(float) if whole else rng.normal(size=(8, K, K))
    found = bayes_decisions(terms, costs)
    for each, cost in zip(found, costs, strict=True):
        np.testing.assert_array_equal(each, bayes_decisions(terms, cost))
        np.testing.assert_array_equal(each, _compared_in_pairs(terms, cost))
