"""Kernels of many dimensions are what they say: against numpy, closed forms and definitions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm

from fairprog.kernels.algebra import blas
from fairprog.kernels.algebra.null_directions import extend, restrict
from fairprog.kernels.multivariate import cells
from fairprog.kernels.multivariate.all_groups import profile_cost
from fairprog.kernels.multivariate.common_map import map_residual
from fairprog.kernels.multivariate.normal import kl
from fairprog.kernels.multivariate.one_class import one_class
from fairprog.kernels.multivariate.one_group import (
    best_scale,
    cell_gradients,
    cell_kl,
    newton,
)
from fairprog.kernels.multivariate.small_maps import small_map
from tests.instances import multivariate, random_matrix
from tests.steered_cells import arguments

seeds = st.integers(0, 2**32 - 1)


@given(seed=seeds, d=st.integers(1, 9), n=st.integers(1, 4))
@settings(max_examples=30)
def test_blas_wrappers_are_the_products_they_say(seed, d, n):
    rng = np.random.default_rng(seed)
    X, Y, Z = rng.normal(size=(3, d, d))
    S, R = X @ X.T + np.eye(d), rng.normal(size=(d, n))
    U = blas.cholesky(S)
    assert np.allclose(U.T @ U, S)
    for A in (X, X.T):
        for B in (Y, Y.T):
            assert np.allclose(blas.product(A, B), A @ B)
            held = Z.copy()
            out = blas.product(A, B, held, add=True)
            assert out is held or np.shares_memory(out, held)
            assert np.allclose(held, Z + A @ B)
    assert np.allclose(blas.gram(X), X.T @ X)
    assert np.allclose(blas.solve(U, R), np.linalg.solve(S, R))
    assert np.allclose(blas.solve(U, R[:, 0]), np.linalg.solve(S, R[:, 0]))
    assert np.allclose(blas.solve_lower(U, R), np.linalg.solve(U.T, R))
    assert np.allclose(blas.solve_lower(U, R, transposed=True), np.linalg.solve(U, R))
    assert np.allclose(blas.inverse(U), np.linalg.inv(S))
    assert np.allclose(blas.general_inverse(X) @ X, np.eye(d))
    assert blas.log_abs_det(X) == pytest.approx(np.linalg.slogdet(X)[1])
    with pytest.raises(np.linalg.LinAlgError):
        blas.general_inverse(np.zeros((d, d)))
    assert np.allclose(blas.upper_times(U, X), U @ X)
    assert np.allclose(blas.times_lower(X, U), X @ U.T)
    assert np.allclose(blas.lower_times(U, X), U.T @ X)
    assert np.allclose(blas.over_upper(X, U), X @ np.linalg.inv(U))
    assert np.allclose(blas.over_lower(X, U), X @ np.linalg.inv(U.T))
    assert np.allclose(blas.average(X.copy()), (X + X.T) / 2)
    assert np.allclose(blas.add_outer(X.copy(), R[:, 0], R[:, 0]), X + np.outer(R[:, 0], R[:, 0]))
    assert blas.log_det(U) == pytest.approx(np.linalg.slogdet(S)[1])
    with pytest.raises(np.linalg.LinAlgError):
        blas.cholesky(S - 2 * np.linalg.eigvalsh(S)[-1] * np.eye(d))


@given(seed=seeds, d=st.integers(1, 9))
@settings(max_examples=20)
def test_one_class_is_a_geometric_mean(seed, d):
    """The closed form against its definition, Newton's method and optimal transport."""
    rng = np.random.default_rng(seed)
    root, w, m, Gamma, mu, Sigma = arguments(multivariate(rng, d, 1))
    for R in (root, np.eye(d), random_matrix(rng, d)):
        S, beta = one_class(R, m[0], Gamma[0], mu[0], Sigma[0])
        assert np.allclose(S, S.T)
        assert np.linalg.eigvalsh(S).min() > 0
        assert np.allclose(S @ R @ Gamma[0] @ R.T @ S, Sigma[0])
        assert np.allclose(S @ R @ m[0] + beta, mu[0])
    for R in (root, np.eye(d)):
        S, beta = one_class(R, m[0], Gamma[0], mu[0], Sigma[0])
        by_steps, offset, _ = newton("symmetric", R, w, m, Gamma, mu, Sigma)
        assert np.allclose(S, by_steps, atol=1e-6 * np.abs(S).max())
        assert np.allclose(beta, offset, atol=1e-5 * max(1.0, np.abs(beta).max()))
    half = np.real(sqrtm(Gamma[0]))
    back = np.linalg.inv(half)
    assert np.allclose(S, back @ np.real(sqrtm(half @ Sigma[0] @ half)) @ back)


@given(seed=seeds, d=st.integers(2, 9), K=st.integers(1, 3))
@settings(max_examples=20)
def test_streamed_kernels_agree_with_the_stacked_ones(seed, d, K):
    rng = np.random.default_rng(seed)
    D = multivariate(rng, d, K)
    _, _, m, Gamma, mu, Sigma = arguments(D)
    A, b = random_matrix(rng, d), rng.normal(size=d)
    assert np.allclose(cells.stacked_kl(m, Gamma, mu, Sigma), kl(m, Gamma, mu, Sigma))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(cells, "factor", None)  # of cells that stay nothing is decomposed
        assert cells.stacked_kl(m, Gamma, m, Gamma).tolist() == [0.0] * K
    streamed = list(cells.raw_gradients(A, b, m, Gamma, mu, Sigma))
    stacked = cell_gradients(A, b, m, Gamma, mu, Sigma)
    for mine, theirs in zip(zip(*streamed, strict=True), stacked, strict=True):
        assert np.allclose(np.stack(mine), theirs)
    to = m @ A.T + b, A @ Gamma @ A.T
    assert cells.map_residuals(A, b, m, Gamma, *to) < 1e-9
    off = to[0] + 1e-3, to[1] * 1.01
    exact = map_residual(A, b, m, Gamma, *off)
    assert exact <= cells.map_residuals(A, b, m, Gamma, *off) <= np.sqrt(d) * exact * 1.001


@given(seed=seeds, d=st.integers(2, 9), K=st.integers(1, 3), sign=st.sampled_from([1.0, -1.0]))
@settings(max_examples=20)
def test_small_maps_agree_with_dense_newton(seed, d, K, sign):
    _, w, *rest = arguments(multivariate(np.random.default_rng(seed), d, K))
    for kind in ("fixed", "scalar", "diagonal"):
        S, beta, _ = newton(kind, sign * np.eye(d), w, *rest)
        scale, offset = small_map(kind, sign, w, *rest)
        assert np.allclose(np.diag(S), scale, rtol=1e-7)
        assert np.allclose(beta, offset, atol=1e-7)


@given(seed=seeds, d=st.integers(2, 5), K=st.integers(1, 3), G=st.integers(2, 3))
@settings(max_examples=20)
def test_the_cost_of_maps_with_common_cells_at_their_best(seed, d, K, G):
    """Value and gradient against the definition and finite differences."""
    rng = np.random.default_rng(seed)
    D = multivariate(rng, d, K, G)
    A, b = np.stack([random_matrix(rng, d) for _ in range(G)]), rng.normal(size=(G, d))
    given_ = D.location, np.linalg.inv(D.cov), np.linalg.slogdet(D.cov)[1]
    for fixed in (None, (0, np.cov(rng.normal(size=(d, 3 * d))).reshape(d, d))):
        _, N, n = profile_cost(D.prior, A, b, *given_, fixed)
        dA, db = rng.normal(size=A.shape), rng.normal(size=b.shape)
        h = 1e-6
        up, down = (
            profile_cost(D.prior, A + t * dA, b + t * db, *given_, fixed)[0] for t in (h, -h)
        )
        slope = float(np.sum(N * dA) + np.sum(n * db))
        assert (up - down) / (2 * h) == pytest.approx(slope, rel=1e-4, abs=1e-5)
    from fairprog.kernels.multivariate.all_groups import pull_back

    m, M = pull_back(D.prior, A, b, D.location, D.cov)
    direct = sum(
        D.prior[:, a] @ cell_kl(A[a], b[a], m, M, D.location[:, a], D.cov[:, a]) for a in range(G)
    )
    assert profile_cost(D.prior, A, b, *given_)[0] == pytest.approx(direct, abs=1e-9)


def test_matrices_on_the_support_and_back():
    rng = np.random.default_rng(1)
    A, turn = rng.normal(size=(3, 3)), np.linalg.qr(rng.normal(size=(5, 5)))[0]
    for U in (np.eye(5)[:, [0, 2, 3]], turn[:, :3]):
        B = extend(A, U)
        assert np.allclose(restrict(B, U), A)
        assert np.allclose(B @ (np.eye(5) - U @ U.T), np.eye(5) - U @ U.T)
    assert extend(A, np.eye(3)) is A
    S, varies = np.zeros((5, 5)), [0, 2, 3]
    S[np.ix_(varies, varies)] = A @ A.T
    assert np.allclose(cells.push_cov(turn, S), turn @ S @ turn.T)


@pytest.mark.parametrize(("d", "K"), [(1, 2), (2, 4), (12, 3)])
@pytest.mark.parametrize("far", [0.1, 1.0, 300.0])
def test_best_scale_is_that_of_newton(d, K, far):
    rng = np.random.default_rng(d)
    B = rng.standard_normal((d, d)) + 2.0 * np.eye(d)
    L = rng.standard_normal((2, K, d, d)) + 2.0 * np.eye(d)
    Gamma, Sigma = L @ np.swapaxes(L, -1, -2)
    m, mu = far * rng.standard_normal((2, K, d))
    args = rng.random(K), m, Gamma, mu, Sigma
    s, beta = best_scale(B, *args)
    S, best, _ = newton("scalar", B, *args)
    assert s == pytest.approx(S[0, 0], rel=1e-8)
    np.testing.assert_allclose(beta, best, rtol=1e-7, atol=1e-8 * far)
