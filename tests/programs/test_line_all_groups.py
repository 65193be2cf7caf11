"""Univariate families, all groups steered: against conic solvers and closed forms."""

import numpy as np
import pytest
from scipy.optimize import linprog

import fairprog as fp
from tests.family_laws import SCIPY


def all_groups(family, rng, K, G):
    q = rng.dirichlet(np.full(K * G, 4.0)).reshape(K, G)
    m = np.exp(rng.normal(size=(K, G)))
    k = np.exp(rng.uniform(-1.0, 1.5, size=(K, 1))) * np.ones((K, G))
    groups = "abcd"[:G]
    if family is fp.Exponential:
        return family(q, m, groups=groups)
    if family in (fp.Gamma, fp.Weibull):
        return family(q, k, m, groups=groups)
    return family(q, np.log(m), k, groups=groups)


@pytest.mark.parametrize("family", [fp.Exponential, fp.Gamma, fp.Weibull, fp.Logistic, fp.Laplace])
@pytest.mark.parametrize("K, G", [(2, 2), (3, 3), (2, 4)])
def test_all_groups_against_conic(family, K, G):
    D = all_groups(family, np.random.default_rng(K + G), K, G)
    program = fp.NearestIdeal(D, transport=fp.Translation())
    sol = program.solve(second_opinion=True)
    assert sol.certificate.ok and sol.certificate.globally_optimal
    assert sol.certificate.conic_gap < 1e-7
    if family in (fp.Exponential, fp.Gamma, fp.Weibull):  # no quadrature in these problems
        problem = program.problem
        problem.solve(solver="CLARABEL", tol_gap_abs=1e-10, tol_gap_rel=1e-10, tol_feas=1e-10)
        assert problem.value == pytest.approx(sol.kl, rel=1e-7)
    assert sol.population.is_ideal() and not D.is_ideal()
    offsets = np.array([sol.affine[g].offset[0] for g in D.groups])
    assert D.group_mass @ offsets == pytest.approx(0.0, abs=1e-12)
    newton = program.solve("newton")
    assert newton.kl == pytest.approx(sol.kl, rel=1e-9)
    if family in (fp.Exponential, fp.Gamma):
        assert sol.solver == "sinkhorn" and newton.solver == "newton"


def test_steering_all_groups_is_nearer_than_steering_one():
    rng = np.random.default_rng(0)
    for _ in range(10):
        q = np.outer(rng.dirichlet([4, 4]), rng.dirichlet([4, 4]))
        D = fp.Exponential(q, np.exp(rng.normal(size=(2, 2))))
        everyone = fp.NearestIdeal(D).solve("newton").kl
        assert everyone <= min(fp.NearestIdeal(D, steer=[a]).solve("newton").kl for a in (0, 1))


def test_sinkhorn_is_stationary():
    """theory.md section 5: the matrix q k / m, scaled, has the marginals of q k."""
    D = all_groups(fp.Gamma, np.random.default_rng(3), 3, 3)
    sol = fp.NearestIdeal(D).solve()
    E = sol.population
    weight = E.prior * D.shape
    scaled = weight * E.mean / D.mean
    assert scaled.sum(axis=0) == pytest.approx(weight.sum(axis=0), rel=1e-12)
    assert scaled.sum(axis=1) == pytest.approx(weight.sum(axis=1), rel=1e-12)
    ratio = E.mean[1:] / E.mean[:1]
    assert ratio == pytest.approx(np.repeat(ratio[:, :1], 3, axis=1), rel=1e-12)


def test_one_group_of_a_gamma_population_in_closed_form():
    rng = np.random.default_rng(8)
    q = rng.dirichlet(np.ones(4)).reshape(2, 2)
    k, m = np.exp(rng.normal(size=(2, 2))), np.exp(rng.normal(size=(2, 2)))
    program = fp.NearestIdeal(fp.Gamma(q, k, m), steer=[1])
    w = program.prior[:, 1]
    r, s = k[:, 0] / m[:, 0], k[:, 1] / m[:, 1]  # rates; shapes differ between the groups
    factor = (w * k[:, 1]).sum() / (w * k[:, 0] * s / r).sum()
    sol = program.solve()
    assert np.exp(sol.affine[1].offset[0]) == pytest.approx(factor, rel=1e-11)
    assert sol.population.shape[:, 1] == pytest.approx(k[:, 0])
    X, y, a = sol.original.sample(4000, 0)
    moved = sol.steer(X, y, sensitive_features=a)[:, 0]
    for i in range(2):
        law = SCIPY[fp.Gamma](k[i, 0], sol.population.mean[i, 1])
        from scipy.stats import kstest

        assert kstest(moved[(y == i) & (a == 1)], law.cdf).pvalue > 1e-3


def test_identity_averages_natural_parameters():
    rng = np.random.default_rng(1)
    for family in (fp.Exponential, fp.Gamma, fp.Weibull):
        D = all_groups(family, rng, 2, 3)
        sol = fp.NearestIdeal(D, transport=fp.Identity()).solve()
        E = sol.population
        assert np.ptp(E.base_loc, axis=1) == pytest.approx(0.0, abs=1e-12)
        assert E.is_ideal() and sol.certificate.ok
        shift = fp.NearestIdeal(D, transport=fp.Translation()).solve()
        assert shift.kl < sol.kl

        def cost(x, D=D, E=E):
            P = D.with_cells(
                E.prior, E.base_loc + x[:, None], E.base_scale, getattr(E, "shape", None)
            )
            return P.kl(D)

        for x in 0.01 * rng.normal(size=(6, 2)):
            assert cost(x) > sol.kl
    v = E.prior / E.prior.sum(axis=1, keepdims=True)
    D = fp.Exponential(E.prior, np.exp(rng.normal(size=(2, 3))))
    sol = fp.NearestIdeal(D, transport=fp.Identity()).solve()
    v = sol.population.prior / sol.population.prior.sum(axis=1, keepdims=True)
    assert 1 / sol.population.mean[:, 0] == pytest.approx((v / D.mean).sum(axis=1), rel=1e-12)


@pytest.mark.parametrize("seed", range(6))
def test_half_lines_of_all_groups_are_a_linear_program(seed):
    """KL of exponential densities is the distance of their ends: against a written-out LP."""
    rng = np.random.default_rng(seed)
    K, G = int(rng.integers(2, 4)), int(rng.integers(2, 4))
    q = rng.dirichlet(np.ones(K * G)).reshape(K, G)
    loc, scale = rng.normal(size=(K, G)), np.repeat(rng.uniform(0.3, 3.0, (K, 1)), G, axis=1)
    D = fp.ShiftedExponential(q, loc, scale)
    sol = fp.NearestIdeal(D, transport=fp.Translation(), base_rates="keep").solve()
    assert sol.certificate.ok and sol.certificate.globally_optimal
    pairs = np.indices((K, G)).reshape(2, -1).T
    rows = [-np.eye(K + G)[i] - np.eye(K + G)[K + a] for i, a in pairs]
    c = q / scale
    best = linprog(
        np.concatenate([c.sum(1), c.sum(0)]), rows, -loc.ravel(), bounds=[(None, None)] * (K + G)
    )
    assert sol.kl == pytest.approx(best.fun - (c * loc).sum(), abs=1e-9)


@pytest.mark.parametrize("unit", [1e-9, 1e-4, 1e5, 1e9])
@pytest.mark.parametrize("family", [fp.Gumbel, fp.Laplace, fp.Logistic, fp.ShiftedExponential])
def test_units_do_not_matter_to_all_groups(family, unit):
    loc = np.array([[0.0, 1.0, 3.0], [2.0, 2.5, -1.0], [4.0, 1.0, 1.0]])
    q, one = np.full((3, 3), 1 / 9), np.ones((3, 3))
    kl = [
        fp.NearestIdeal(family(q, u * loc, u * one), transport=fp.Translation()).solve().kl
        for u in (1.0, unit)
    ]
    assert kl[0] == pytest.approx(kl[1], rel=1e-9)
