"""Prices of consensus and sensitivities are slopes, and zero on ideal populations."""

import cvxpy as cp
import numpy as np
import pytest

import fairprog as fp
from tests.instances import CONVEX, multivariate, pooled, univariate


@pytest.mark.parametrize("transport", CONVEX, ids=repr)
def test_price_of_consensus_is_the_slope_of_the_frontier(transport):
    D = multivariate(np.random.default_rng(6), 3, K=3)
    steer = ["b"]

    def kl(eps):
        return fp.NearestIdeal(D, steer=steer, transport=transport, map_bound=eps).solve()

    at0 = fp.NearestIdeal(D, steer=steer, transport=transport).solve()
    # second-order one-sided difference at 0: the frontier starts there
    h = 1e-3
    slope0 = (-3 * at0.kl + 4 * kl(h).kl - kl(2 * h).kl) / (2 * h)
    assert at0.price["consensus"] == pytest.approx(-slope0, rel=0.02)
    mid = kl(0.2)
    slope = (kl(0.2 + h).kl - kl(0.2 - h).kl) / (2 * h)
    assert mid.price["consensus"] == pytest.approx(-slope, rel=0.02)


def test_frontier_is_convex_and_decreasing_and_reaches_the_relaxed_optimum():
    D = univariate(np.random.default_rng(7), base_rates="equal")
    eps = np.linspace(0.0, 2.0, 15)
    kl = np.array([fp.NearestIdeal(D, steer=["b"], map_bound=e).solve().kl for e in eps])
    assert np.all(np.diff(kl) <= 1e-9)
    assert np.all(np.diff(kl, 2) >= -1e-8)
    assert kl[0] > 0.01
    assert fp.NearestIdeal(D, steer=["b"], map_bound=50.0).solve().kl == pytest.approx(0, abs=1e-7)


@pytest.mark.parametrize("transport", CONVEX, ids=repr)
def test_sensitivity_is_the_derivative_in_each_single_condition(transport):
    """Shift one condition's target in the user's units, re-solve by CVXPY, compare."""
    D = multivariate(np.random.default_rng(9), 2, K=3)
    sol = fp.NearestIdeal(D, steer=["b"], transport=transport).solve()
    rng = np.random.default_rng(0)
    for where, value in sol.sensitivity.items():
        name, rest = where.split("[")
        cls = int(rest.split(",")[1][:-1])
        direction = rng.normal(size=np.shape(value))
        if name == "linear" and direction.ndim == 2:
            direction = direction + direction.T
        h = 1e-3
        up, down = (shifted_kl(D, transport, name, cls, s * h * direction) for s in (1, -1))
        predicted = float(np.sum(value * direction))
        assert (up - down) / (2 * h) == pytest.approx(predicted, rel=0.02, abs=1e-4)
    for name in ("linear", "offset"):
        parts = [v for w, v in sol.sensitivity.items() if w.startswith(name)]
        if parts:
            assert np.abs(sum(parts)).max() < 1e-9
            assert max(np.abs(p).max() for p in parts) > 1e-3  # not vacuously zero


def shifted_kl(D, transport, name, cls, delta):
    """Minimise KL with A_i = A, b_i = b but for one shifted condition, in the user's units."""
    d, K = D.n_features, D.n_classes
    prior = fp.NearestIdeal(D, steer=["b"], transport=transport).prior
    pooled = np.einsum("ia,iajk->jk", D.prior, D.cov)
    R = np.eye(d)
    S, b, constraints = np.eye(d), cp.Variable(d), []
    if isinstance(transport, fp.Scaling):
        S = cp.Variable() * np.eye(d)
        delta = delta * np.eye(d) if name == "linear" else delta
    elif isinstance(transport, fp.Diagonal):
        S = cp.diag(cp.Variable(d))
        delta = np.diag(delta) if name == "linear" else delta
    elif not isinstance(transport, fp.Translation):
        S = cp.Variable((d, d), symmetric=True)
        if isinstance(transport, fp.Whitened):
            values, V = np.linalg.eigh(D.cov[-1, 0])
            R = V @ np.diag(values**-0.5) @ V.T
        elif transport.metric == "pooled":
            R = np.linalg.inv(pooled)
    objective = float((prior * np.log(prior / D.prior)).sum())
    for i in range(K):
        S_i = S + delta if name == "linear" and i == cls else S
        b_i = b + delta if name == "offset" and i == cls else b
        A = S_i @ R
        P = np.linalg.inv(D.cov[i, 1])
        L = np.linalg.cholesky(P).T
        quadratic = cp.sum_squares(L @ A @ np.linalg.cholesky(D.cov[i, 0]))
        quadratic += cp.sum_squares(L @ (A @ D.location[i, 0] + b_i - D.location[i, 1]))
        logs = np.linalg.slogdet(D.cov[i, 1])[1] - np.linalg.slogdet(D.cov[i, 0])[1]
        logs -= 2 * np.linalg.slogdet(R)[1]
        log_det = cp.log_det(S_i) if isinstance(S_i, cp.Expression) else np.linalg.slogdet(S_i)[1]
        objective = objective + prior[i, 1] * (0.5 * (quadratic - d + logs) - log_det)
    problem = cp.Problem(cp.Minimize(objective), constraints)
    tight = {"tol_gap_abs": 1e-10, "tol_gap_rel": 1e-10, "tol_feas": 1e-10}
    return problem.solve(solver="CLARABEL", **tight)


def test_conic_duals_equal_the_exact_ones():
    D = multivariate(np.random.default_rng(12), 3, K=3, G=3)
    for transport in CONVEX:
        prog = fp.NearestIdeal(D, steer=["b", "c"], transport=transport)
        exact, conic = prog.solve(solver="newton"), prog.solve(solver="CLARABEL")
        assert exact.duals.keys() == conic.duals.keys()
        for where in exact.duals:
            assert np.allclose(exact.duals[where], conic.duals[where], atol=1e-5)
            assert np.allclose(exact.duals[where], -exact.sensitivity[where])


def test_prices_vanish_on_an_ideal_population():
    """In a fixed metric the nearest ideal population of an ideal one is itself."""
    D = multivariate(np.random.default_rng(13), 2)
    for transport in (fp.Scaling(), fp.Diagonal(), fp.Monotone("identity"), fp.Whitened()):
        ideal = fp.NearestIdeal(D, steer=["b"], transport=transport).solve().population
        again = fp.NearestIdeal(ideal, steer=["b"], transport=transport).solve()
        assert again.kl == pytest.approx(0.0, abs=1e-12)
        assert again.price["consensus"] == pytest.approx(0.0, abs=1e-6)
    # the pooled metric is that of the population at hand, so it moves a little along with it
    ideal = fp.NearestIdeal(D, steer=["b"]).solve().population
    again = fp.NearestIdeal(ideal, steer=["b"], transport=fp.Monotone(np.linalg.inv(pooled(D))))
    assert again.solve().kl == pytest.approx(0.0, abs=1e-12)
