"""Hundreds of dimensions: conjugate gradients against dense Newton steps and conic solvers."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm
from scipy.optimize import minimize

import fairprog as fp
from experiments.embeddings import embedding_population
from fairprog.kernels.algebra import blas
from fairprog.kernels.algebra.null_directions import extend, restrict
from fairprog.kernels.multivariate import balanced_cells, cells, mean_span, newton_cg
from fairprog.kernels.multivariate.all_groups import profile_cost
from fairprog.kernels.multivariate.common_map import map_residual
from fairprog.kernels.multivariate.normal import kl
from fairprog.kernels.multivariate.one_class import one_class
from fairprog.kernels.multivariate.one_group import (
    cell_gradients,
    cell_kl,
    decrement,
    newton,
    project_gradient,
)
from fairprog.kernels.multivariate.small_maps import small_map
from fairprog.programs.geometries.frame import Frame
from fairprog.programs.geometries.normal import NormalGeometry
from tests.instances import CONVEX, multivariate, random_matrix, transformed

seeds = st.integers(0, 2**32 - 1)


def arguments(D, s=1, r=0):
    """Weights and cells of one steered group, the metric as root."""
    return (
        np.linalg.inv(D.pooled_cov),
        D.prior[:, s],
        D.location[:, r],
        D.cov_of(r),
        D.location[:, s],
        D.cov_of(s),
    )


def gradient(root, w, m, Gamma, mu, Sigma, S, beta):
    G, g = cell_gradients(S @ root, beta, m, Gamma, mu, Sigma)
    G = project_gradient("symmetric", G, root)
    return np.einsum("i,ijk->jk", w, G), w @ g


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


def test_one_class_has_nothing_to_agree_on():
    D = embedding_population(70, 1)
    sol = fp.NearestIdeal(D, steer=["b"], transport=fp.Monotone("identity")).solve()
    assert sol.kl == pytest.approx(0.0, abs=1e-11)
    assert sol.price["consensus"] == 0.0
    assert sol.certificate.kkt_residual < 1e-9


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


@given(seed=seeds, d=st.integers(2, 9), K=st.integers(1, 3))
@settings(max_examples=20)
def test_streamed_kernels_agree_with_the_stacked_ones(seed, d, K):
    rng = np.random.default_rng(seed)
    D = multivariate(rng, d, K)
    _, _, m, Gamma, mu, Sigma = arguments(D)
    A, b = random_matrix(rng, d), rng.normal(size=d)
    assert np.allclose(cells.stacked_kl(m, Gamma, mu, Sigma), kl(m, Gamma, mu, Sigma))
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


@pytest.mark.parametrize("transport", [*CONVEX, fp.Affine()], ids=repr)
def test_large_programs_give_what_small_ones_give(transport, monkeypatch):
    """The path of many dimensions, taken in few: same KL, maps, multipliers and prices."""
    D = multivariate(np.random.default_rng(3), 7, K=3, G=2)
    small = fp.NearestIdeal(D, steer=["b"], transport=transport).solve(solver="newton")
    monkeypatch.setattr("fairprog.populations.normal_cells.LARGE", 3)
    for module in ("frame", "whitening", "normal"):
        monkeypatch.setattr(f"fairprog.programs.geometries.{module}.LARGE", 3)
    monkeypatch.setattr(NormalGeometry, "kept_features", 3)
    monkeypatch.setattr("fairprog.kernels.multivariate.best_map.LARGE", 3)
    monkeypatch.setattr("fairprog.kernels.multivariate.best_map.DENSE", 3)
    monkeypatch.setattr("fairprog.programs.geometries.frame.DENSE", 3)
    monkeypatch.setattr("fairprog.programs.geometries.whitening.DENSE", 3)
    large = fp.NearestIdeal(D, steer=["b"], transport=transport).solve(solver="newton")
    assert large.certificate.ok
    assert large.certificate.kkt_residual < 1e-7
    assert large.kl == pytest.approx(small.kl, abs=1e-10)
    assert large.price["consensus"] == pytest.approx(small.price["consensus"], rel=1e-6)
    assert np.allclose(large.maps["b"].matrix, small.maps["b"].matrix, atol=1e-6)
    assert np.allclose(large.population.cov, small.population.cov, atol=1e-6)
    assert list(large.duals) == list(small.duals)
    for where, value in small.duals.items():
        assert np.allclose(large.duals[where], value, atol=1e-6)
        assert np.allclose(large.sensitivity[where], -value, atol=1e-6)


def test_wrong_maps_in_many_dimensions_are_noticed(monkeypatch):
    D = embedding_population(70, 3, 1)
    solved = Frame.best
    program = fp.NearestIdeal(D, steer=["b"])
    assert program.solve().certificate.kkt_residual < 1e-6
    monkeypatch.setattr(Frame, "best", lambda f, c: (1.01 * solved(f, c)[0], solved(f, c)[1]))
    with pytest.raises(fp.SolverError, match="fails its certificate"):
        program.solve()
    monkeypatch.setattr(Frame, "best", lambda f, c: (solved(f, c)[0], solved(f, c)[1] + 0.01))
    with pytest.raises(fp.SolverError, match="fails its certificate"):
        program.solve()


@pytest.mark.parametrize("separation", [None, 16.0])
def test_embeddings(separation):
    D = embedding_population(96, 5, 2, separation=separation)
    sol = fp.NearestIdeal(D, steer=["b"]).solve()
    assert sol.solver == "newton"
    assert sol.certificate.ok
    assert sol.certificate.kkt_residual < 1e-7
    args = arguments(D)
    *_, steps, residual = newton_cg.newton_cg(*args)
    assert steps <= 8
    assert residual < 1e-8
    total = sum(sol.sensitivity[f"offset[b,{c}]"] for c in D.classes)
    assert np.abs(total).max() < 1e-6
    assert sum(np.abs(sol.sensitivity[f"offset[b,{c}]"]).max() for c in D.classes) > 1e-3


def test_loading_keeps_what_large_solutions_compute(tmp_path):
    D = embedding_population(66, 2, 4)
    sol = fp.NearestIdeal(D, steer=["b"]).solve()
    sol.save(tmp_path / "large.npz")
    again = fp.load(tmp_path / "large.npz")
    assert again.kl == sol.kl
    assert np.array_equal(again.duals["linear[b,1]"], sol.duals["linear[b,1]"])
    assert "66" not in repr(sol.duals)
    with pytest.raises(ValueError, match="read-only"):
        sol.duals["linear[b,1]"][...] = 0
    with pytest.raises(KeyError):
        sol.duals["linear[b,7]"]


def test_null_directions_in_many_dimensions():
    D = embedding_population(70, 3, 5)
    wide = np.zeros((3, 2, 73, 73))
    wide[..., :70, :70] = D.cov
    mean = np.concatenate([D.location, np.full((3, 2, 3), 7.0)], axis=-1)
    E = fp.Normal(D.prior, mean, cov=wide, groups=D.groups)
    assert E.null_dimension == 3
    with pytest.warns(fp.FairprogWarning, match="constant in every cell"):
        program = fp.NearestIdeal(E, steer=["b"])
    sol, plain = program.solve(), fp.NearestIdeal(D, steer=["b"]).solve()
    assert sol.certificate.ok
    assert sol.kl == pytest.approx(plain.kl, abs=1e-9)
    assert sol.population.support_cov.shape == (3, 2, 70, 70)
    assert np.allclose(sol.population.cov[..., :70, :70], plain.population.cov, atol=1e-7)
    turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(73, 73)))
    with pytest.warns(fp.FairprogWarning, match="constant in every cell"):
        turned = fp.NearestIdeal(
            fp.Normal(D.prior, mean @ turn.T, cov=turn @ wide @ turn.T, groups=D.groups),
            steer=["b"],
        ).solve()
    assert turned.kl == pytest.approx(plain.kl, abs=1e-6)


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


def test_memory_of_a_solve():
    """At most the moments: prices are found while no steered population takes half of that."""
    d, K = 256, 7
    program = fp.NearestIdeal(embedding_population(d, K, 1), steer=["b"])
    tracemalloc.start()
    try:
        sol = program.solve()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sol.certificate.ok
    assert peak <= 2 * K * d * d * 8


def test_tied_covariances():
    """The same answer as with every class's copy, from one matrix per group."""
    D = embedding_population(70, 4, 6, covariance="tied")
    assert D.covariance == "tied"
    assert D.cov.strides[0] == 0
    full = fp.Normal(D.prior, D.location, cov=np.array(D.cov), groups=D.groups)
    sol, other = (fp.NearestIdeal(P, steer=["b"]).solve() for P in (D, full))
    assert sol.certificate.ok
    assert sol.kl == pytest.approx(other.kl, abs=1e-9)
    assert sol.population.covariance == "tied"
    assert sol.population.cov.strides[0] == 0
    assert np.allclose(sol.population.cov, other.population.cov, atol=1e-7)
    for where in ("linear[b,2]", "offset[b,0]"):
        assert np.allclose(sol.duals[where], other.duals[where], atol=1e-5)
    few = multivariate(np.random.default_rng(1), 3, K=3)
    tied = fp.Normal(few.prior, few.location, cov=few.cov[0], covariance="tied", groups=few.groups)
    plain = fp.Normal(few.prior, few.location, cov=np.array(tied.cov), groups=few.groups)
    for transport in [*CONVEX, fp.Affine()]:
        here, there = (
            fp.NearestIdeal(P, steer=["b"], transport=transport).solve() for P in (tied, plain)
        )
        assert here.kl == pytest.approx(there.kl, abs=1e-10)
        assert here.population.covariance == "tied"
    again = fp.NearestIdeal(tied, steer=["b"], map_bound=0.1).solve()
    assert again.certificate.ok


def test_tied_covariances_are_checked_saved_and_fitted(tmp_path):
    few = multivariate(np.random.default_rng(1), 3, K=3)
    with pytest.raises(fp.DataError, match="`cov` has shape"):
        fp.Normal(few.prior, few.location, cov=few.cov, covariance="tied")
    with pytest.raises(fp.ModelError, match="covariance"):
        fp.Normal(few.prior, few.location, cov=few.cov, covariance="banded")
    tied = fp.Normal(few.prior, few.location, cov=few.cov[0], covariance="tied")
    sol = fp.NearestIdeal(tied, steer=[1]).solve()
    sol.save(tmp_path / "tied.json")
    assert fp.load(tmp_path / "tied.json").population.covariance == "tied"


def test_all_groups_in_many_dimensions():
    D = embedding_population(24, 3, 7)
    for transport in (fp.Monotone(), fp.Diagonal()):
        sol = fp.NearestIdeal(D, transport=transport).solve()
        assert sol.certificate.ok
        for group in D.groups:
            one = fp.NearestIdeal(D, steer=[group], transport=transport).solve(solver="newton")
            assert sol.kl <= one.kl + 1e-9


def test_all_groups_from_the_start_that_leads(monkeypatch):
    """In many dimensions one start goes all the way: the same optimum, in fewer evaluations."""
    from fairprog.programs.geometries.map_space import MapSpace

    D = embedding_population(24, 3, 7)
    calls = [0]
    cost = MapSpace.cost

    def counted(self, x):
        calls[0] += 1
        return cost(self, x)

    monkeypatch.setattr(MapSpace, "cost", counted)
    every = fp.NearestIdeal(D).solve()
    full, calls[0] = calls[0], 0
    monkeypatch.setattr("fairprog.programs.geometries.whitening.LARGE", 12)
    leading = fp.NearestIdeal(D).solve()
    assert leading.certificate.ok
    assert leading.kl == pytest.approx(every.kl, abs=1e-9)
    assert calls[0] < full / 2


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


# -- estimating them --


def sample(rng, n=900, d=4):
    D = multivariate(rng, d, K=3)
    return D.sample(n, random_state=0)


def test_tied_and_shrunk_estimates_are_what_they_say():
    X, y, a = sample(np.random.default_rng(0))
    full = fp.Normal.fit(X, y, sensitive_features=a)
    tied = fp.Normal.fit(X, y, sensitive_features=a, covariance="tied")
    pooled = np.einsum("ia,iajk->ajk", full.prior, full.cov) / full.group_mass[:, None, None]
    assert np.allclose(tied.cov, pooled)
    assert np.allclose(tied.mean, full.mean)
    for s in (0.0, 0.3, 1.0):
        D = fp.Normal.fit(X, y, sensitive_features=a, shrinkage=s)
        assert np.allclose(D.cov, (1 - s) * full.cov + s * pooled)
    auto = fp.Normal.fit(X, y, sensitive_features=a, shrinkage="auto")
    part = [
        np.linalg.norm(auto.cov[c] - full.cov[c]) / np.linalg.norm(pooled[c[1]] - full.cov[c])
        for c in np.ndindex(3, 2)
    ]
    assert 0 < min(part) < max(part) < 1


@pytest.mark.filterwarnings("ignore:Cells")
def test_automatic_shrinkage_is_equivariant_and_lowers_the_error():
    rng = np.random.default_rng(1)
    errors = {"auto": 0.0, None: 0.0}
    for trial in range(10):
        D = multivariate(rng, 6, K=4)
        X, y, a = D.sample(400, random_state=trial)
        found = {s: fp.Normal.fit(X, y, sensitive_features=a, shrinkage=s) for s in errors}
        for s, E in found.items():
            errors[s] += float(np.log(D.cell_divergences(E)).mean())
        A = random_matrix(rng, 6)
        moved = fp.Normal.fit(X @ A.T, y, sensitive_features=a, shrinkage="auto")
        assert np.allclose(moved.cov, A @ found["auto"].cov @ A.T, rtol=1e-6, atol=1e-8)
    assert errors["auto"] < errors[None]


def test_few_rows_per_cell_are_enough_for_shared_covariances():
    rng = np.random.default_rng(2)
    d, K = 6, 4
    X, y, a = rng.normal(size=(40, d)), np.tile(range(K), 10), np.repeat([0, 1], 20)
    with pytest.raises(fp.DataError, match="needs at least 7"):
        fp.Normal.fit(X, y, sensitive_features=a)
    for said, options in (
        ("shrinkage=0.5", {"shrinkage": 0.5}),
        ("shrinkage='auto'", {"shrinkage": "auto"}),
    ):
        with pytest.warns(fp.FairprogWarning, match=said):
            D = fp.Normal.fit(X, y, sensitive_features=a, **options)
        assert np.linalg.eigvalsh(D.cov).min() > 0
    tied = fp.Normal.fit(X, y, sensitive_features=a, covariance="tied")
    assert np.linalg.eigvalsh(tied.cov).min() > 0
    few = slice(12, 28)
    with pytest.raises(fp.DataError, match="Group 0 has 8 rows for 6 features"):
        fp.Normal.fit(X[few], y[few], sensitive_features=a[few], covariance="tied")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"shrinkage": 1.5}, fp.DataError, "at most 1"),
        ({"shrinkage": -0.5}, fp.DataError, "finite number >= 0"),
        ({"shrinkage": "ledoit"}, fp.ModelError, "'auto' or a number"),
        ({"shrinkage": 0.5, "covariance": "tied"}, fp.ModelError, "is that one already"),
        ({"covariance": "banded"}, fp.ModelError, "must be one of"),
    ],
)
def test_bad_options_of_an_estimate(options, error, message):
    X, y, a = sample(np.random.default_rng(0))
    with pytest.raises(error, match=message):
        fp.Normal.fit(X, y, sensitive_features=a, **options)


@pytest.mark.parametrize("varying", [60, 66])
def test_a_steered_population_with_null_directions_is_steered_again(varying):
    """Its covariances are restricted to the support when they are asked for."""
    B = multivariate(np.random.default_rng(5), varying)
    mean = np.concatenate([B.mean, np.ones((2, 2, 67 - varying))], axis=2)
    cov = np.zeros((2, 2, 67, 67))
    cov[..., :varying, :varying] = B.cov
    D = fp.Normal(B.prior, mean, cov=cov)
    with pytest.warns(fp.FairprogWarning, match="set aside"):
        # the metric "pooled" would be another one for the steered population
        settings = {"steer": [1], "transport": fp.Monotone("identity")}
        first = fp.NearestIdeal(D, **settings).solve()
        again = fp.NearestIdeal(first.population, **settings).solve()
    assert first.kl > 0.1
    assert again.kl < 1e-10
    assert again.certificate.ok
    assert np.abs(again.maps[1].matrix - first.maps[1].matrix).max() < 1e-4
    assert first.aligned.is_ideal()


def test_large_programs_leave_the_cores_to_one_pool_of_threads(monkeypatch):
    """While a large program is solved numpy's own BLAS is held to one thread; then as before."""
    from threadpoolctl import threadpool_info, threadpool_limits

    from fairprog.kernels.algebra.threads import OF_NUMPY, OF_SCIPY
    from fairprog.programs import prove as module

    def pools():
        return {p["filepath"]: p["num_threads"] for p in threadpool_info()}

    seen = []
    find = module.find_answer

    def spy(*args):
        seen.append(pools())
        return find(*args)

    small, large = (fp.NearestIdeal(embedding_population(d, 2), steer=["b"]) for d in (3, 70))
    small.solve()  # loads what solvers bring along
    monkeypatch.setattr(module, "find_answer", spy)
    with threadpool_limits(limits=2, user_api="blas"):
        before = pools()
        small.solve()
        large.solve()
        assert pools() == before
    assert seen[0] == before
    if not all(any(name in path for path in before) for name in (OF_NUMPY, OF_SCIPY)):
        pytest.skip("numpy and scipy do not come with a BLAS each here")
    for path, threads in seen[1].items():
        assert threads == (1 if OF_NUMPY in path else before[path])
