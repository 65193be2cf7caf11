"""Prices of notions are slopes of the risk, and zero on an ideal population."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fairprog as fp
from tests.instances import NOTIONS, UNIVARIATE, random_categorical

seeds = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize("notion", list(NOTIONS.values()))
def test_the_interval_is_the_pair_of_one_sided_slopes_at_a_kink(notion):
    D = random_categorical(np.random.default_rng(11), X=6)

    def value(bound):
        return fp.FairClassifier(D, fp.ErrorRate(), [notion(difference_bound=bound)]).solve()

    kink = notion().gap(D.evaluate().table)  # beyond it the notion costs nothing
    step = 1e-5
    sol, left = value(kink), value(kink - step)
    low, high = sol.price_interval[notion.name]
    assert low == sol.price[notion.name] == 0.0
    assert high == pytest.approx((left.risk - sol.risk) / step, rel=1e-6)
    assert high > 1e-3
    free = value(kink + step)
    assert free.price_interval[notion.name] == (0.0, 0.0)
    # at bound 0 the smallest price is what the first relaxation buys
    tight, relaxed = value(0.0), value(step)
    assert tight.price[notion.name] == pytest.approx((tight.risk - relaxed.risk) / step, rel=1e-5)
    assert tight.price_interval[notion.name] == (tight.price[notion.name], np.inf)


@given(seed=seeds, K=st.integers(2, 3), G=st.integers(2, 3))
@settings(max_examples=5)
def test_prices_of_several_notions_and_signed_sensitivities(seed, K, G):
    rng = np.random.default_rng(seed)
    D = random_categorical(rng, X=8, K=K, G=G)
    bounds = {"demographic_parity": 0.031, "equal_opportunity": 0.017}

    def solve(**moved):
        b = bounds | moved
        notions = [NOTIONS[k](difference_bound=v) for k, v in b.items()]
        return fp.FairClassifier(D, fp.ErrorRate(), notions).solve()

    sol, step = solve(), 1e-6
    for name in bounds:
        up = (sol.risk - solve(**{name: bounds[name] + step}).risk) / step
        down = (solve(**{name: bounds[name] - step}).risk - sol.risk) / step
        low, high = sol.price_interval[name]
        assert low - 1e-6 <= sol.price[name] <= high + 1e-6
        assert low == pytest.approx(up, abs=1e-5)
        assert high == pytest.approx(down, abs=1e-5)
        # theory.md section 8: the price is half the sum of the net multipliers
        net = [float(abs(v)) for w, v in sol.sensitivity.items() if w.startswith(name)]
        assert sum(net) / 2 == pytest.approx(sol.price[name], abs=1e-8)


def test_sensitivity_is_the_slope_in_the_target():
    """Shift the target of one equality by hand and solve the shifted program."""
    D = random_categorical(np.random.default_rng(12), X=9)
    sol = fp.FairClassifier(D, fp.ErrorRate(), [fp.EqualOpportunity()]).solve()

    def shifted(delta):
        @fp.constraint
        def moved(view, population):
            tpr = [view.Z[a, 1, 1] / population.prior[1, a] for a in range(2)]
            return tpr[0] - delta == tpr[1]

        return fp.FairClassifier(D, fp.ErrorRate(), [moved]).solve().risk

    assert shifted(0.0) == pytest.approx(sol.risk, abs=1e-10)
    step = 1e-5
    slope = float(sol.sensitivity["equal_opportunity[a,1,1]"])
    slopes = sorted([(shifted(step) - sol.risk) / step, (sol.risk - shifted(-step)) / step])
    assert slopes[0] - 1e-6 <= slope <= slopes[1] + 1e-6
    assert abs(slope) > 1e-3


COSTS = [
    {"fp": float(u), "fn": float(v)}
    for u, v in np.random.default_rng(20).uniform(0.5, 1.5, size=(20, 2))
]


@pytest.mark.parametrize("notion", [fp.DemographicParity, fp.EqualOpportunity, fp.EqualizedOdds])
def test_on_an_ideal_population_every_price_is_zero_and_said_so(notion):
    """theory.md section 1: zero prices, for 20 random costs, bounds 0 and .01."""
    steered = fp.NearestIdeal(UNIVARIATE, steer=["b"]).solve().population
    ideal, original = steered.discretize(96), UNIVARIATE.discretize(96)
    for k, (cost, bound) in enumerate(itertools.product(COSTS, (0.0, 0.01))):
        if k % 6 != list(NOTIONS.values()).index(notion):
            continue  # every cost and bound with some notion; all of them in the slow test
        check_zero_prices(ideal, original, notion, cost, bound)


@pytest.mark.slow
@pytest.mark.parametrize("notion", [fp.DemographicParity, fp.EqualOpportunity, fp.EqualizedOdds])
def test_on_an_ideal_population_every_price_is_zero_with_2048_atoms(notion):
    steered = fp.NearestIdeal(UNIVARIATE, steer=["b"]).solve().population
    ideal, original = steered.discretize(), UNIVARIATE.discretize()
    for cost, bound in itertools.product(COSTS, (0.0, 0.01)):
        check_zero_prices(ideal, original, notion, cost, bound)


def check_zero_prices(ideal, original, notion, cost, bound):
    risk = fp.CostSensitiveRisk(cost)
    sol = fp.FairClassifier(ideal, risk, [notion(difference_bound=bound)]).solve()
    low, high = sol.price_interval[notion.name]
    assert low == 0.0 == sol.price[notion.name]
    assert high == (np.inf if bound == 0 else 0.0)
    assert all(np.abs(v).max() < 1e-9 for v in sol.sensitivity.values())
    assert sol.risk == pytest.approx(ideal.evaluate(cost).risk, abs=1e-10)
    control = fp.FairClassifier(original, risk, [notion(difference_bound=bound)]).solve()
    assert control.price_interval[notion.name][0] > 1e-3
    assert control.price[notion.name] > 1e-3
