"""Affine(): never worse than the convex classes, exact where a map exists, its prices local."""

import numpy as np
import pytest
from scipy.optimize import minimize

import fairprog as fp
from fairprog.kernels.multivariate.affine_search import (
    best_offset,
    cost,
    quadratic_form,
    search,
    sweep_rows,
)
from fairprog.kernels.multivariate.one_group import cell_kl
from tests.instances import multivariate, problems, random_matrix, transformed

CONVEX = [
    fp.Monotone(),
    fp.Monotone("identity"),
    fp.Diagonal(),
    fp.Whitened(0),
    fp.Whitened(1),
]


def instance(number):
    """Return one of 50 instances: d = 2..6, K = 2 or 3, two groups."""
    d = 2 + number % 5
    return multivariate(np.random.default_rng(7000 + number), d, K=2 + number % 2)


def check_not_worse(numbers, steer):
    """Return the ratios KL(Affine) / min(KL(Monotone), KL(Whitened)), base rates left out."""
    ratios = []
    for number in numbers:
        D = instance(number)
        prog = fp.NearestIdeal(D, steer=steer, transport=fp.Affine())
        sol = prog.solve()
        rates = float((prog.prior * np.log(prog.prior / D.prior)).sum())
        others = [fp.NearestIdeal(D, steer=steer, transport=t).solve().kl for t in CONVEX]
        assert sol.certificate.ok
        assert sol.population.is_ideal()
        assert sol.kl <= min(others) + 1e-12
        ratios.append((sol.kl - rates) / (min(others[0], *others[3:]) - rates))
    return np.array(ratios)


def test_one_group_is_never_worse_and_mostly_far_nearer():
    ratios = check_not_worse(range(6), ["b"])
    assert np.median(ratios) < 0.6


def test_all_groups_is_never_worse():
    D = instance(0)
    sol = fp.NearestIdeal(D, transport=fp.Affine(), base_rates="keep").solve()
    for t in (fp.Monotone(), fp.Whitened(0), fp.Whitened(1)):
        assert sol.kl <= fp.NearestIdeal(D, transport=t, base_rates="keep").solve().kl + 1e-12
    one = fp.NearestIdeal(D, steer=["b"], transport=fp.Affine(), base_rates="keep").solve()
    assert sol.kl <= one.kl + 1e-12
    assert sol.certificate.ok
    assert not sol.certificate.globally_optimal


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_fifty_instances_one_group_and_all():
    for steer in (["b"], "all"):
        ratios = check_not_worse(range(50), steer)
        print(f"{steer}: median {np.median(ratios):.3f}, worst {ratios.max():.3f}")
        assert ratios.max() <= 1.0 + 1e-12
        assert np.median(ratios) < 0.5


def test_a_rotated_copy_is_found_exactly_and_called_global():
    rng = np.random.default_rng(3)
    D = multivariate(rng, 4)
    for side in (1.0, -1.0):
        A = random_matrix(rng, 4)
        A[0] *= side * np.linalg.slogdet(A)[0]
        mean, cov = D.location.copy(), D.cov.copy()
        mean[:, 1], cov[:, 1] = mean[:, 0] @ A.T + 1.0, A @ cov[:, 0] @ A.T
        copy = fp.Normal(np.full((2, 2), 0.25), mean, cov=cov)
        for steer in ([1], "all"):
            sol = fp.NearestIdeal(
                copy, steer=steer, transport=fp.Affine(), orientation="any"
            ).solve()
            assert sol.kl < 1e-14
            assert sol.certificate.globally_optimal
            between = sol.affine[1].matrix @ np.linalg.inv(sol.affine[0].matrix)
            assert np.abs(between - A).max() < 1e-7 * np.abs(A).max()
        # one side of det = 0 is not enough where the copy is a mirror image
        kept = fp.NearestIdeal(copy, steer=[1], transport=fp.Affine()).solve()
        assert (kept.kl < 1e-14) == (side > 0)
        assert np.linalg.det(kept.affine[1].matrix) > 0


def test_in_one_dimension_it_is_the_closed_form_and_the_polynomial():
    rng = np.random.default_rng(5)
    D = fp.Normal(
        rng.dirichlet(np.full(4, 5.0)).reshape(2, 2), rng.normal(size=(2, 2)), std=np.ones((2, 2))
    )
    for steer in ([1], "all"):
        for orientation in ("preserve", "any"):
            settings = {"steer": steer, "orientation": orientation}
            affine = fp.NearestIdeal(D, transport=fp.Affine(), **settings).solve()
            scalar = fp.NearestIdeal(D, transport=fp.Scaling(), **settings).solve()
            assert affine.kl == pytest.approx(scalar.kl, abs=1e-14)
            assert affine.certificate.globally_optimal


def test_it_does_not_depend_on_the_coordinates():
    rng = np.random.default_rng(11)
    D = multivariate(rng, 3)
    E = transformed(D, random_matrix(rng, 3), rng.normal(size=3))
    kl = [
        fp.NearestIdeal(X, steer=["b"], transport=fp.Affine(), orientation="any").solve().kl
        for X in (D, E)
    ]
    assert kl[0] == pytest.approx(kl[1], rel=1e-9)


def test_row_sweeps_never_raise_the_cost_and_find_the_best_row():
    rng = np.random.default_rng(2)
    D = multivariate(rng, 3)
    frame = problems(fp.NearestIdeal(D, steer=["b"], transport=fp.Affine()))[0]
    args = frame.w, *frame.args
    H, L = quadratic_form(*args)
    B = rng.normal(size=(20, 3, 3))
    for mirror in (False, True):
        last, current = np.array([cost(X, *args) for X in B]), B
        for _ in range(5):
            current = sweep_rows(current, H, L, float(frame.w.sum()), mirror, 1)
            now = np.array([cost(X, *args) for X in current])
            assert (now <= last + 1e-12).all()
            last = now
    kept = sweep_rows(B, H, L, float(frame.w.sum()), False, 5)
    assert (np.linalg.slogdet(kept)[0] == np.linalg.slogdet(B)[0]).all()


def brute_force(frame, mirror, rng, starts=60):
    """Minimise over (B, beta) by BFGS from random matrices, written without the kernels."""
    K, d = frame.m.shape
    inverse = np.linalg.inv(frame.Sigma)
    log_det = np.linalg.slogdet(frame.Sigma)[1] - np.linalg.slogdet(frame.Gamma)[1]

    def f(x):
        B, b = x[: d * d].reshape(d, d), x[d * d :]
        sign, size = np.linalg.slogdet(B)
        if sign == 0 or (sign < 0 and not mirror):
            return 1e10
        total = 0.0
        for i in range(K):
            r = B @ frame.m[i] + b - frame.mu[i]
            trace = np.trace(inverse[i] @ B @ frame.Gamma[i] @ B.T)
            total += frame.w[i] * 0.5 * (trace - d + r @ inverse[i] @ r + log_det[i] - 2 * size)
        return total

    return min(
        minimize(f, rng.normal(size=d * d + d), method="BFGS", options={"gtol": 1e-7}).fun
        for _ in range(starts)
    )


@pytest.mark.parametrize("seed", range(3))
def test_brute_force_finds_nothing_nearer(seed):
    rng = np.random.default_rng(seed)
    D = multivariate(rng, 2, K=2 + seed % 2)
    frame = problems(fp.NearestIdeal(D, steer=["b"], transport=fp.Affine()))[0]
    for mirror in (False, True):
        found, _ = search(frame.w, *frame.args, [], mirror)
        assert found == pytest.approx(brute_force(frame, mirror, rng), abs=1e-7)


@pytest.mark.slow
def test_sensitivities_are_local_finite_differences():
    D = multivariate(np.random.default_rng(8), 2, K=3)
    sol = fp.NearestIdeal(D, steer=["b"], transport=fp.Affine(), base_rates="keep").solve()
    T, w = sol.affine["b"], D.prior[:, 1]
    m, M, mu, S = D.location[:, 0], D.cov[:, 0], D.location[:, 1], D.cov[:, 1]

    def optimum(shifts, start):
        """The local optimum with class i's map shifted by (dA_i, db_i)."""

        def f(x):
            A, b = x[:4].reshape(2, 2), x[4:]
            maps = np.stack([A + dA for dA, _ in shifts])
            offsets = np.stack([b + db for _, db in shifts])
            return float(w @ cell_kl(maps, offsets, m, M, mu, S))

        best = minimize(f, start, method="BFGS", options={"gtol": 1e-9})
        return minimize(f, best.x, method="Nelder-Mead", options={"xatol": 1e-10, "fatol": 1e-15})

    start, h = np.concatenate([T.matrix.ravel(), T.offset]), 1e-4
    zero = [(np.zeros((2, 2)), np.zeros(2)) for _ in range(3)]
    for i in (0, 2):
        slopes = []
        for k in range(6):
            values = []
            for sign in (h, -h):
                e = sign * np.eye(6)[k]
                shifts = list(zero)
                shifts[i] = e[:4].reshape(2, 2), e[4:]
                values.append(optimum(shifts, start).fun)
            slopes.append((values[0] - values[1]) / (2 * h))
        linear, offset = sol.sensitivity[f"linear[b,{i}]"], sol.sensitivity[f"offset[b,{i}]"]
        assert linear.shape == (2, 2)
        assert np.allclose(slopes[:4], linear.ravel(), atol=1e-5)
        assert np.allclose(slopes[4:], offset, atol=1e-5)
    for name in ("linear", "offset"):
        total = sum(sol.sensitivity[f"{name}[b,{i}]"] for i in range(3))
        assert np.abs(total).max() < 1e-8


def test_the_price_is_the_slope_of_the_best_relaxation():
    D = multivariate(np.random.default_rng(8), 2)
    sol = fp.NearestIdeal(D, steer=["b"], transport=fp.Affine(), base_rates="keep").solve()
    frame = problems(fp.NearestIdeal(D, steer=["b"], transport=fp.Affine(), base_rates="keep"))[0]
    _, B = search(frame.w, *frame.args, [])
    beta = best_offset(B, frame.w, frame.m, frame.mu, frame.Sigma)
    eps = 1e-5
    # the metric of the frame is the identity: the best use of a ball is against its gradient
    moved = [
        (B - eps * N / np.linalg.norm(N), beta - eps * n / np.linalg.norm(n))
        for N, n in frame.class_gradients((B, beta))
    ]
    relaxed = sum(frame.only(i).cost(theta) for i, theta in enumerate(moved))
    gained = frame.cost((B, beta)) - relaxed
    assert gained / eps == pytest.approx(sol.price["consensus"], rel=1e-3)


def test_flat_directions_and_null_directions_do_no_harm():
    mean = np.random.default_rng(0).normal(size=(2, 2, 4))
    cov = np.broadcast_to(np.eye(4), (2, 2, 4, 4)) * np.array([1.0, 2.0])[:, None, None, None]
    D = fp.Normal(np.full((2, 2), 0.25), mean, cov=cov)
    for steer in ([1], "all"):
        sol = fp.NearestIdeal(D, steer=steer, transport=fp.Affine()).solve()
        assert sol.kl < fp.NearestIdeal(D, steer=steer).solve().kl
    padded_mean = np.concatenate([mean, np.ones((2, 2, 1))], axis=-1)
    padded_cov = np.zeros((2, 2, 5, 5))
    padded_cov[..., :4, :4] = D.cov
    padded = fp.Normal(np.full((2, 2), 0.25), padded_mean, cov=padded_cov)
    with pytest.warns(fp.FairprogWarning, match="constant"):
        prog = fp.NearestIdeal(padded, steer=[1], transport=fp.Affine())
    small = fp.NearestIdeal(D, steer=[1], transport=fp.Affine()).solve()
    assert prog.solve().kl == pytest.approx(small.kl, rel=1e-9)


@pytest.mark.parametrize(
    ("settings", "solver", "message"),
    [
        ({"map_bound": 0.1}, "auto", "not a convex program"),
        ({}, "CLARABEL", "not a convex problem"),
        ({}, "closed-form", "exists for one feature"),
    ],
)
def test_what_is_not_convex_is_refused_with_the_reason(settings, solver, message):
    D = multivariate(np.random.default_rng(1), 2)
    with pytest.raises(fp.ModelError, match=message):
        fp.NearestIdeal(D, steer=["b"], transport=fp.Affine(), **settings).solve(solver=solver)
    with pytest.raises(fp.ModelError, match="not a convex problem"):
        _ = fp.NearestIdeal(D, steer=["b"], transport=fp.Affine()).problem


def test_it_is_saved_and_loaded(tmp_path):
    D = multivariate(np.random.default_rng(1), 2)
    sol = fp.NearestIdeal(D, steer=["b"], transport=fp.Affine()).solve()
    sol.save(tmp_path / "answer.json")
    again = fp.load(tmp_path / "answer.json")
    assert again.settings["transport"] == fp.Affine()
    assert np.array_equal(again.affine["b"].matrix, sol.affine["b"].matrix)
