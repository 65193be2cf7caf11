"""base_rates="joint": never worse than "equalize", a proof for two classes, brute force agrees."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

import fairprog as fp
from fairprog.kernels.multivariate.common_rates import best_rates, chord_minimum, rates_cost
from tests.instances import multivariate, univariate

seeds = st.integers(0, 2**32 - 1)
JOINT = {"base_rates": "joint"}


@given(seed=seeds, K=st.integers(2, 4), G=st.integers(2, 3))
@settings(max_examples=40)
def test_best_rates_are_the_minimum(seed, K, G):
    rng = np.random.default_rng(seed)
    V, mass = rng.exponential(size=(K, G)), rng.dirichlet(np.ones(G))
    log_rates = np.log(rng.dirichlet(np.ones(K), size=G).T)
    rho, value = best_rates(V, mass, log_rates)
    assert value == pytest.approx(rates_cost(rho, mass, log_rates) + rho @ V @ mass, abs=1e-12)
    for other in rng.dirichlet(np.ones(K), size=50):
        assert rates_cost(other, mass, log_rates) + other @ V @ mass >= value - 1e-12


@given(seed=seeds)
@settings(max_examples=40)
def test_the_chord_is_a_lower_bound_of_the_whole_divergence(seed):
    """The maps' cost, a minimum of linear functions of the rates, is above its chords."""
    rng = np.random.default_rng(seed)
    lines = rng.exponential(size=(5, 2))
    mass, log_rates = np.array([0.4, 0.6]), np.log(rng.dirichlet(np.ones(2), size=2).T)

    def maps(r):
        return float((lines @ np.array([1 - r, r])).min())

    a, b = np.sort(rng.uniform(0.01, 0.99, size=2))
    if b - a < 1e-3:
        return
    r, bound = chord_minimum((a, maps(a)), (b, maps(b)), mass, log_rates)
    assert a <= r <= b
    for t in np.linspace(a, b, 50):
        assert rates_cost(np.array([1 - t, t]), mass, log_rates) + maps(t) >= bound - 1e-12


def brute_force(D, mirror=False):
    """Minimise over common laws, maps and rates by BFGS from many starts, from the textbook."""
    rng = np.random.default_rng(0)
    p, rates = D.group_mass, D.base_rates

    def f(x):
        x = np.clip(x, -30.0, 30.0)
        m, s = np.array([0.0, x[0]]), np.exp([0.0, x[1]])
        rho = np.array([1.0, np.exp(x[2])]) / (1.0 + np.exp(x[2]))
        total = 0.0
        for a in range(2):
            g, b = np.exp(x[3 + 2 * a]), x[4 + 2 * a]
            s1, m1 = g * s, g * m + b
            V = np.log(D.std[:, a] / s1) - 0.5
            V = V + (s1**2 + (m1 - D.mean[:, a]) ** 2) / (2 * D.std[:, a] ** 2)
            total += p[a] * float(rho @ (V + np.log(rho / rates[:, a])))
        return total

    return min(minimize(f, rng.normal(size=7), method="BFGS").fun for _ in range(12))


@pytest.mark.parametrize("seed", [0, 3, 5, 9])
def test_two_classes_one_feature_the_answer_is_proven_and_brute_force_agrees(seed):
    D = univariate(np.random.default_rng(seed))
    joint = fp.NearestIdeal(D, **JOINT).solve()
    assert joint.certificate.globally_optimal
    assert joint.certificate.ok
    assert joint.population.is_ideal()
    assert joint.settings["base_rates"] == "joint"
    assert joint.kl <= fp.NearestIdeal(D).solve().kl
    assert joint.kl == pytest.approx(brute_force(D), abs=1e-6)
    for r in np.linspace(0.05, 0.95, 10):
        assert joint.kl <= fp.NearestIdeal(D, base_rates=[1 - r, r]).solve().kl + 1e-9


def test_the_scan_leaves_the_basin_in_which_alternation_stays():
    """Two optima in the rates: alternating from "equalize" ends in the worse one."""
    rng = np.random.default_rng(19)
    prior = np.array([[0.3, 0.2], [0.2, 0.3]])
    mean = np.array([[0.0, 0.0], rng.uniform(-6.0, 6.0, size=2)])
    D = fp.Normal(prior, mean, std=np.exp(rng.uniform(-1.5, 1.5, size=(2, 2))))
    sol = fp.NearestIdeal(D).solve()
    for _ in range(40):
        V = sol.population.cell_divergences(D)
        rho, _ = best_rates(V, D.group_mass, np.log(D.base_rates))
        sol = fp.NearestIdeal(D, base_rates=rho).solve()
    joint = fp.NearestIdeal(D, **JOINT).solve()
    assert joint.certificate.globally_optimal
    assert joint.kl < sol.kl - 0.05


@pytest.mark.parametrize("transport", [fp.Monotone(), fp.Translation()])
def test_several_features_never_worse_and_labelled_local(transport):
    D = multivariate(np.random.default_rng(2), 2, K=3)
    joint = fp.NearestIdeal(D, transport=transport, **JOINT).solve()
    equal = fp.NearestIdeal(D, transport=transport).solve()
    assert joint.kl < equal.kl
    assert not joint.certificate.globally_optimal
    assert joint.certificate.ok
    assert joint.population.is_ideal()
    V = joint.population.cell_divergences(D)
    rho, value = best_rates(V, D.group_mass, np.log(D.base_rates))
    assert value == pytest.approx(joint.kl, abs=1e-9)
    assert np.allclose(rho, joint.population.base_rates[:, 0], atol=1e-5)


@pytest.mark.slow
def test_affine_maps_and_joint_rates():
    for seed in range(3):
        D = multivariate(np.random.default_rng(seed), 3)
        joint = fp.NearestIdeal(D, transport=fp.Affine(), **JOINT).solve()
        assert joint.kl <= fp.NearestIdeal(D, transport=fp.Affine()).solve().kl
        assert joint.kl <= fp.NearestIdeal(D, **JOINT).solve().kl + 1e-9
        assert joint.certificate.ok


@pytest.mark.parametrize("log", [False, True])
def test_the_proof_holds_for_other_families_and_through_bijections(log):
    rng = np.random.default_rng(0)
    prior, mean = rng.dirichlet(np.full(4, 4.0)).reshape(2, 2), np.exp(rng.normal(size=(2, 2)))
    D = fp.Exponential(prior, mean)
    if log:
        D = fp.Transformed(fp.Normal(prior, mean, std=mean), fp.Log())
    joint = fp.NearestIdeal(D, **JOINT).solve()
    assert joint.certificate.globally_optimal
    for r in (0.3, 0.45, 0.5, 0.55, 0.7):
        assert joint.kl <= fp.NearestIdeal(D, base_rates=[1 - r, r]).solve().kl + 1e-9


def test_a_class_that_is_given_up_is_named():
    D = fp.Normal(
        [[0.49, 0.49], [0.01, 0.01]],
        [[0.0, 0.0], [30.0, -30.0]],
        std=[[1.0, 1.0], [1.0, 1.0]],
    )
    with pytest.warns(fp.FairprogWarning, match="Class 1 shrinks from 2 %"):
        joint = fp.NearestIdeal(D, **JOINT).solve()
    # no dearer than giving the class up altogether
    assert joint.kl <= -np.log(0.98) + 1e-9
    assert fp.NearestIdeal(D).solve().kl > joint.kl


def test_groups_that_stay_leave_nothing_to_choose():
    D = univariate(np.random.default_rng(0), base_rates="equal")
    with pytest.raises(fp.ModelError, match="needs steer='all'"):
        fp.NearestIdeal(D, steer=["b"], **JOINT)


def test_it_is_saved_and_loaded(tmp_path):
    sol = fp.NearestIdeal(univariate(np.random.default_rng(0)), **JOINT).solve()
    sol.save(tmp_path / "answer.json")
    assert fp.load(tmp_path / "answer.json").settings["base_rates"] == "joint"
