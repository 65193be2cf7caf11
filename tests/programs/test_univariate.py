"""d = 1: closed form, polynomial, conic program and brute force agree; steered is ideal."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

import fairprog as fp
from fairprog.kernels.line.scale_ratio_polynomial import (
    best_scale_ratio,
    polynomial,
    scale_ratio_cost,
    two_group_cells,
)
from tests.instances import univariate

seeds = st.integers(0, 2**32 - 1)


def normal_kl(m1, s1, m0, s0):
    """Return KL(N(m1, s1) || N(m0, s0)), written from the textbook."""
    return np.log(s0 / s1) + (s1**2 + (m1 - m0) ** 2) / (2 * s0**2) - 0.5


def brute_one_group(D, prior, r, s):
    """Minimise KL over (log gamma, b) by Nelder-Mead from several starts, then BFGS."""
    q = prior[:, s]

    def f(x):
        g, b = np.exp(x[0]), x[1]
        cells = normal_kl(g * D.mean[:, r] + b, g * D.std[:, r], D.mean[:, s], D.std[:, s])
        return float(q @ cells)

    best = min(
        (minimize(f, [t, u], method="Nelder-Mead") for t in (-1.0, 0.0, 1.0) for u in (-2.0, 2.0)),
        key=lambda r: r.fun,
    )
    return minimize(f, best.x, method="BFGS", options={"gtol": 1e-10}).fun


@given(seed=seeds, K=st.integers(2, 4))
@settings(max_examples=80)
def test_one_group_closed_form_conic_and_brute_force(seed, K):
    rng = np.random.default_rng(seed)
    D = univariate(rng, K=K)
    prog = fp.NearestIdeal(D, steer=["b"])
    exact, conic = prog.solve(solver="closed-form"), prog.solve(solver="CLARABEL")
    assert exact.kl == pytest.approx(conic.kl, abs=1e-7)
    prior_kl = float((prog.prior * np.log(prog.prior / D.prior)).sum())
    brute = prior_kl + brute_one_group(D, prog.prior, 0, 1)
    assert exact.kl <= brute + 1e-10
    assert exact.kl == pytest.approx(brute, abs=1e-6)
    assert exact.population.is_ideal()
    # the reference has not moved
    assert np.array_equal(exact.population.mean[:, 0], D.mean[:, 0])
    assert np.array_equal(exact.population.std[:, 0], D.std[:, 0])


def brute_all_groups(w, mean, std, mirror):
    """Minimise over (gamma, sigma_i, delta, offsets) directly, many starts."""
    sign = -1.0 if mirror else 1.0

    def f(x):
        gamma, b = sign * np.exp(x[0]), x[1]
        m, s = x[2:4], np.exp(x[4:6])
        cost = w[:, 1] @ normal_kl(m, s, mean[:, 1], std[:, 1])
        return cost + w[:, 0] @ normal_kl(gamma * m + b, abs(gamma) * s, mean[:, 0], std[:, 0])

    best = np.inf
    for t in (-2.0, -0.7, 0.0, 0.7, 2.0):
        x0 = np.concatenate([[t, 0.0], mean.mean(axis=1), np.log(std.mean(axis=1))])
        best = min(best, minimize(f, x0, method="BFGS", options={"gtol": 1e-9}).fun)
    return best


@given(seed=seeds)
@settings(max_examples=40)
def test_all_groups_polynomial_is_never_worse_than_brute_force(seed):
    D = univariate(np.random.default_rng(seed))
    prog = fp.NearestIdeal(D)
    sol = prog.solve(solver="closed-form")
    prior_kl = float((prog.prior * np.log(prog.prior / D.prior)).sum())
    brute = prior_kl + brute_all_groups(prog.prior, D.mean, D.std, mirror=False)
    assert sol.kl <= brute + 1e-8
    assert sol.certificate.globally_optimal
    assert sol.population.is_ideal()
    # at the same base rates no one-group answer is nearer
    for a, g in enumerate(D.groups):
        rates = D.base_rates[:, 1 - a]
        both = fp.NearestIdeal(D, base_rates=rates).solve(solver="closed-form")
        assert both.kl <= fp.NearestIdeal(D, steer=[g]).solve(solver="closed-form").kl + 1e-12


@given(seed=seeds)
@settings(max_examples=60)
@pytest.mark.slow
def test_all_groups_with_mirror_images(seed):
    D = univariate(np.random.default_rng(seed))
    prog = fp.NearestIdeal(D, orientation="any")
    sol = prog.solve()
    prior_kl = float((prog.prior * np.log(prog.prior / D.prior)).sum())
    brute = min(brute_all_groups(prog.prior, D.mean, D.std, m) for m in (False, True))
    assert sol.kl <= prior_kl + brute + 1e-8
    assert sol.population.is_ideal()


@given(seed=seeds)
@settings(max_examples=80)
def test_steered_populations_are_fair_for_every_cost(seed):
    rng = np.random.default_rng(seed)
    D = univariate(rng, base_rates="equal")
    notions = [fp.DemographicParity(), fp.EqualOpportunity(), fp.EqualizedOdds()]
    for steer in (["b"], "all"):
        E = fp.NearestIdeal(D, steer=steer).solve(solver="closed-form").population
        assert E.is_ideal()
        for _ in range(20):
            evaluation = E.evaluate(cost=rng.normal(size=(2, 2)))
            assert max(evaluation.gap(n) for n in notions) < 1e-7


@given(seed=seeds)
@settings(max_examples=25)
@pytest.mark.slow
def test_ideality_gap_vanishes_exactly_on_steered_populations(seed):
    D = univariate(np.random.default_rng(seed))
    assert D.ideality_gap() > 1e-3  # negative control: random populations are not ideal
    assert not D.is_ideal()
    for steer in (["b"], "all"):
        E = fp.NearestIdeal(D, steer=steer).solve(solver="closed-form").population
        for notion in (fp.DemographicParity(), fp.EqualOpportunity(), fp.EqualizedOdds()):
            assert E.ideality_gap(notion) < 1e-7


def test_polynomial_has_the_signs_of_theorem_c():
    rng = np.random.default_rng(0)
    for _ in range(50):
        D = univariate(rng)
        w, std = D.prior, D.std
        p = polynomial(w, D.mean, std)
        a, c = (w / std**2)[:, 0], (w / std**2)[:, 1]
        W = (w / std**2).prod(axis=0) / (w / std**2).sum(axis=0)
        assert p.degree() == 8
        assert p.coef[8] == pytest.approx(w[:, 1].sum() * a[0] * a[1] / W[1] ** 2)
        assert p.coef[0] == pytest.approx(-w[:, 0].sum() * c[0] * c[1] / W[0] ** 2)


def test_scale_ratio_cost_is_the_reduced_objective():
    """F(gamma) + const is the KL of the cells that `two_group_cells` returns for gamma."""
    D = univariate(np.random.default_rng(3))
    w = D.prior

    def kl(gamma):
        mean, std = two_group_cells(gamma, w, D.mean, D.std)
        return float((w * normal_kl(mean, std, D.mean, D.std)).sum())

    gammas = np.array([-2.0, -0.5, 0.3, 1.0, 4.0])
    F = scale_ratio_cost(gammas, w, D.mean, D.std)
    values = np.array([kl(g) for g in gammas])
    assert np.allclose(F - F[0], values - values[0], atol=1e-12)


@pytest.mark.parametrize("factor", [1e-6, 1.0, 1e6])
def test_best_scale_ratio_does_not_depend_on_units(factor):
    D = univariate(np.random.default_rng(5))
    best, stationary = best_scale_ratio(D.prior, D.mean, D.std)
    scaled, others = best_scale_ratio(D.prior, D.mean * [factor, 1], D.std * [factor, 1])
    assert scaled == pytest.approx(best * factor, rel=1e-9)
    assert np.allclose(others, stationary * factor, rtol=1e-9)


def test_mirror_image_is_nearer_iff_the_covariance_of_means_is_negative():
    prior = np.full((2, 2), 0.25)
    D = fp.Normal(prior, [[0.0, 1.0], [1.0, 0.0]], std=[[1.0, 1.0], [1.0, 1.0]])
    keep = fp.NearestIdeal(D, steer=[1]).solve()
    any_ = fp.NearestIdeal(D, steer=[1], orientation="any").solve()
    assert any_.kl == pytest.approx(0.0, abs=1e-12)
    assert any_.maps[1].matrix[0, 0] == pytest.approx(-1.0)
    assert keep.kl > 0.05
    same = fp.Normal(prior, [[0.0, 0.0], [1.0, 2.0]], std=np.ones((2, 2)))
    assert fp.NearestIdeal(same, steer=[1], orientation="any").solve().maps[1].matrix[0, 0] > 0


def test_descent_agrees_with_the_polynomial():
    rng = np.random.default_rng(8)
    for _ in range(10):
        prog = fp.NearestIdeal(univariate(rng))
        exact, descent = prog.solve(), prog.solve(solver="newton")
        assert descent.kl >= exact.kl - 1e-10
        assert not descent.certificate.globally_optimal


def test_well_separated_and_tiny_cells():
    """Extreme but valid: priors of 1e-6, spreads of 1e-4 and 1e4, means 1e6 apart."""
    prior = np.array([[1e-6, 0.5], [0.3, 0.199999]])
    D = fp.Normal(prior, [[0.0, 1e6], [1e-3, -1e6]], std=[[1e-4, 1e4], [1e-3, 1.0]])
    for steer in ([1], "all"):
        sol = fp.NearestIdeal(D, steer=steer).solve(solver="closed-form")
        assert sol.certificate.ok
        assert sol.population.is_ideal(1e-7)  # means of 1e6 beside spreads of 1e-4
