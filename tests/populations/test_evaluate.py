"""The rates of one population's Bayes rule on another, and the costs that shape the rule."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

import fairprog as fp
from tests.instances import multivariate, posterior, relabelled, univariate

seeds = st.integers(0, 2**32 - 1)
QUARTERS = np.full((2, 2), 0.25)


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
