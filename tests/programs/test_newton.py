"""Conjugate gradients against dense Newton steps, conic solvers and direct minimisation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

import fairprog as fp
from experiments.embeddings import embedding_population
from fairprog.kernels.multivariate import balanced_cells, cells, mean_span, newton_cg
from fairprog.kernels.multivariate.one_group import (
    cell_kl,
    decrement,
    newton,
)
from tests.instances import multivariate, random_matrix, transformed
from tests.steered_cells import arguments, gradient

seeds = st.integers(0, 2**32 - 1)


def test_the_span_of_class_means_is_solved_for_beside_the_diagonal(monkeypatch):
    D, Q = embedding_population(96, 5, 2), 1.0
    root, w, *cells_ = arguments(D)
    data = (w / w.sum(), *cells_, cells.distinct_cells(D.cov_of(0), D.cov_of(1)))
    C, lam, *_ = balanced_cells.balancing_basis(root, data)
    tables = balanced_cells.cell_tables(C, root, data, np.float64)
    span = mean_span.mean_span(tables)
    U, V, Binv = span[0], np.random.default_rng(0).normal(size=(96, 96)), np.diag(np.sqrt(lam))
    V, HV = V + V.T, np.empty((96, 96))
    balanced_cells.hessian_product(tables, Binv, Q, V, HV, np.empty_like(V))
    means = np.concatenate(tables[3])
    assert len(U) == 5 and np.allclose(means @ U.T @ U, means)
    assert np.allclose(mean_span._along_means(tables, span, Binv, Q, V), 2.0 * U @ HV)

    def products():
        calls = []
        real = balanced_cells.hessian_product
        with monkeypatch.context() as patch:
            patch.setattr(newton_cg, "hessian_product", lambda *a: calls.append(0) or real(*a))
            S, *_ = newton_cg.newton_cg(root, w, *cells_)
        return len(calls), S

    few, S = products()
    monkeypatch.setattr(newton_cg, "preconditioned", lambda *a: None)
    many, same = products()
    assert few <= 0.7 * many
    assert np.allclose(S, same, atol=1e-7 * np.abs(S).max())


@given(seed=seeds, d=st.integers(2, 14), K=st.integers(1, 4), single=st.booleans())
@settings(max_examples=25)
def test_conjugate_gradients_agree_with_dense_newton(seed, d, K, single):
    """Also with products in float32 at every size."""
    rng = np.random.default_rng(seed)
    args = arguments(multivariate(rng, d, K))
    roots = [args[0], np.eye(d), random_matrix(rng, d)]
    root = roots[2].T @ roots[2] if seed % 3 == 2 else roots[seed % 3]
    S, beta, _ = newton("symmetric", root, *args[1:])
    with pytest.MonkeyPatch.context() as patch:
        if single:
            patch.setattr(newton_cg, "SMALL", 0)
        found, offset, _, residual = newton_cg.newton_cg(root, *args[1:])
    assert residual < 1e-8
    here, there = (
        args[1] @ cell_kl(s @ root, b, *args[2:]) for s, b in ((S, beta), (found, offset))
    )
    assert there == pytest.approx(here, abs=1e-10)
    assert np.allclose(found, S, atol=1e-6 * np.abs(S).max())


@pytest.mark.parametrize("condition", [1.0, 1e2, 1e4])
def test_products_in_float32_are_as_good_at_any_condition(condition):
    """Value and gradient at the start, in the basis, against the cells themselves in float64."""
    rng, d, K = np.random.default_rng(0), 70, 3
    scale = np.sqrt(np.geomspace(1.0, 1.0 / condition, d))

    def cells_(rows):
        Z = rng.standard_normal((K, rows, d)) * scale
        return np.swapaxes(Z, 1, 2) @ Z / rows

    Gamma, Sigma = cells_(4 * d), cells_(3 * d)
    m, mu = rng.standard_normal((2, K, d)) * scale
    w, root = rng.dirichlet(np.ones(K)), np.eye(d)
    parts = cells.distinct_cells(Gamma, Sigma)
    data = (w, m, Gamma, mu, Sigma, parts)
    C, lam, constant, target = balanced_cells.balancing_basis(root, data)
    B = np.diag(lam**-0.5)
    tables = balanced_cells.cell_tables(C, root, data, np.float32)
    value, G, beta = balanced_cells.start_gradient(tables, B, w, target, parts)
    _, exact, n = balanced_cells.exact_gradient(B, beta, C, root, data)
    S = C @ B @ C.T
    direct = w @ cell_kl(S @ root, C @ beta, m, Gamma, mu, Sigma)
    constant += 0.5 * (tables[5] - d)
    assert value + constant - np.linalg.slogdet(B)[1] == pytest.approx(direct, rel=1e-4)
    M = tables[4] + balanced_cells.barrier_diagonal(np.linalg.inv(B), 1.0, np.float64)
    size = np.sqrt(balanced_cells.weighted_square(exact - np.linalg.inv(B), M))
    assert np.sqrt(balanced_cells.weighted_square(G - exact, M)) < 1e-5 * size
    assert np.linalg.norm(n) < 1e-5 * size
    found, offset, _, residual = newton_cg.newton_cg(root, w, m, Gamma, mu, Sigma)
    N, n = gradient(root, w, m, Gamma, mu, Sigma, found, offset)
    value = w @ cell_kl(found @ root, offset, m, Gamma, mu, Sigma)
    true = newton_cg.decrement_cg(root, found, w, m, Gamma, Sigma, N, n)
    assert residual < 1e-8
    assert true < 1e-8 * max(1.0, value)


@given(seed=seeds, d=st.integers(2, 12), K=st.integers(1, 3))
@settings(max_examples=20)
def test_decrement_by_conjugate_gradients_and_its_bound(seed, d, K):
    rng = np.random.default_rng(seed)
    D = multivariate(rng, d, K)
    args = arguments(D)
    root, w, m, Gamma, _, Sigma = args
    S, beta, _ = newton("symmetric", *args)
    S = S + 1e-2 * S @ np.diag(rng.normal(size=d)) @ S / np.linalg.norm(S)
    beta = beta + 1e-2 * rng.normal(size=d)
    N, n = gradient(*args, S, beta)
    exact = decrement("symmetric", root, S, w, m, Gamma, Sigma, (N, n))
    found = newton_cg.decrement_cg(root, S, w, m, Gamma, Sigma, N, n)
    assert exact * (1 - 1e-9) <= found <= 1.02 * exact
    assert cells.decrement_bound(S, N, n, w, m, Gamma, Sigma) >= exact * (1 - 1e-9)
    offset_only = decrement("symmetric", root, S, w, m, Gamma, Sigma, (0 * N, n))
    assert cells.decrement_bound(S, 0 * N, n, w, m, Gamma, Sigma) >= offset_only * (1 - 1e-9)


def conic_agreement(seed):
    """Compare with a conic solver: plain, at condition 1e8, or with null directions."""
    rng = np.random.default_rng(seed)
    d, K = int(rng.integers(2, 17)), int(rng.integers(1, 5))
    D = multivariate(rng, d, K)
    kl = fp.NearestIdeal(D, steer=["b"]).solve(solver="newton").kl
    conic = fp.NearestIdeal(D, steer=["b"]).solve(solver="CLARABEL" if d <= 12 else "SCS")
    assert conic.kl == pytest.approx(kl, abs=1e-6 * max(1.0, kl))
    U, _, V = np.linalg.svd(rng.normal(size=(d, d)))
    own = np.linalg.cond(D.cov).max()
    bad = U @ np.diag(np.geomspace(1.0, 1e-4 * min(np.sqrt(own), 1e4), d)) @ V
    stiffness = np.linalg.cond(bad @ D.cov @ bad.T).max()
    assert stiffness < 2e8
    stiff = fp.NearestIdeal(transformed(D, bad, np.zeros(d)), steer=["b"]).solve(solver="newton")
    assert stiff.kl == pytest.approx(kl, abs=1e-6 * max(1.0, kl))
    root, w, *cells_ = arguments(D)
    found, offset, _, residual = newton_cg.newton_cg(root, w, *cells_)
    assert residual < 1e-8
    prior_kl = fp.NearestIdeal(D, steer=["b"]).prior
    prior_kl = float((prior_kl * np.log(prior_kl / D.prior)).sum())
    program = fp.NearestIdeal(D, steer=["b"], base_rates="keep").solve(solver="newton")
    by_cg = w @ cell_kl(found @ root, offset, *cells_)
    assert by_cg == pytest.approx(program.kl, abs=1e-9 * max(1.0, program.kl))
    T = rng.normal(size=(d + 2, d))
    wide = fp.Normal(D.prior, D.location @ T.T, cov=T @ D.cov @ T.T, groups=D.groups)
    with pytest.warns(fp.FairprogWarning):
        null = fp.NearestIdeal(wide, steer=["b"]).solve(solver="newton")
    assert null.null_dimension == 2
    assert null.kl == pytest.approx(kl, abs=1e-6 * max(1.0, kl))


@pytest.mark.parametrize("seed", range(3))
def test_agreement_with_conic_solvers(seed):
    conic_agreement(seed)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("block", range(4))
def test_agreement_with_conic_solvers_on_a_hundred_instances(block):
    for seed in range(100 + 25 * block, 125 + 25 * block):
        conic_agreement(seed)


def test_one_direct_minimisation_in_twenty_dimensions():
    """L-BFGS on a Cholesky factor of S, gradients from the textbook, reaches the same value."""
    D = multivariate(np.random.default_rng(8), 20, K=2)
    root, w, *args = arguments(D)
    d = 20

    def f(x):
        L, b = np.tril(x[: d * d].reshape(d, d)), x[d * d :]
        S = L @ L.T
        N, n = gradient(root, w, *args, S, b)
        value = w @ cell_kl(S @ root, b, *args)
        return value, np.concatenate([np.tril(2 * N @ L).ravel(), n])

    start = np.concatenate([np.linalg.cholesky(np.linalg.inv(root)).ravel(), np.zeros(d)])
    best = minimize(f, start, jac=True, method="L-BFGS-B", options={"maxiter": 2000, "ftol": 0})
    S, beta, _, _ = newton_cg.newton_cg(root, w, *args)
    assert w @ cell_kl(S @ root, beta, *args) == pytest.approx(best.fun, abs=1e-7)
