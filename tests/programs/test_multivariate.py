"""d >= 2: certificates, equivariance, independent minimisation, prices, conditions."""

from dataclasses import replace

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

import fairprog as fp
from fairprog.programs.geometries.map_space import MapSpace
from fairprog.programs.geometries.normal_all import free_frames
from fairprog.programs.verified import verified
from tests.instances import CONVEX, multivariate, random_matrix, transformed, univariate

seeds = st.integers(0, 2**32 - 1)


def gaussian_kl(m1, S1, m0, S0):
    """Return KL(N(m1, S1) || N(m0, S0)), written from the textbook."""
    inverse = np.linalg.inv(S0)
    d = len(m1)
    quadratic = (m1 - m0) @ inverse @ (m1 - m0)
    logs = np.linalg.slogdet(S0)[1] - np.linalg.slogdet(S1)[1]
    return 0.5 * (np.trace(inverse @ S1) + quadratic - d + logs)


@given(seed=seeds, d=st.integers(2, 8), K=st.integers(2, 4), G=st.integers(2, 3))
@settings(max_examples=25)
def test_certificates_pass(seed, d, K, G):
    rng = np.random.default_rng(seed)
    D = multivariate(rng, d, K, G)
    for transport in CONVEX:
        program = fp.NearestIdeal(D, steer=D.groups[1:], transport=transport)
        sol = program.solve(second_opinion=True)
        assert sol.certificate.ok
        assert sol.certificate.globally_optimal
        assert sol.certificate.kkt_residual < 1e-10
        assert sol.certificate.conic_gap < 1e-6
        assert sol.population.is_ideal()
        assert sol.kl == pytest.approx(sol.population.kl(D), abs=1e-12)
    assert not D.is_ideal()  # negative control


@pytest.mark.parametrize("transport", [fp.Monotone(), fp.Diagonal(), fp.Whitened()], ids=repr)
def test_rounding_does_not_choose_the_common_coordinates(transport):
    """Populations that differ by rounding have the same maps, whichever start ends lower."""
    D = multivariate(np.random.default_rng(4), 3, prior=np.full((2, 2), 0.25))
    rng = np.random.default_rng(0)
    found = []
    for size in (0.0, 3e-16, 3e-16, 3e-16, 3e-16):
        mean = D.mean * (1.0 + size * rng.choice((-1.0, 1.0), size=D.mean.shape))
        noise = size * rng.choice((-1.0, 1.0), size=D.cov.shape)
        cov = D.cov * (1.0 + noise + np.swapaxes(noise, -1, -2))
        E = fp.Normal(D.prior, mean, cov=cov, classes=D.classes, groups=D.groups)
        found.append(fp.NearestIdeal(E, transport=transport).solve())
    first, *others = found
    for sol in others:
        assert sol.kl == pytest.approx(first.kl, abs=1e-9)
        for g in D.groups:
            assert np.abs(sol.affine[g].matrix - first.affine[g].matrix).max() < 1e-6
            assert np.abs(sol.affine[g].offset - first.affine[g].offset).max() < 1e-6


def test_diagonal_common_coordinates_have_one_factor_per_feature():
    """The gauge: group masses times log|A_a[j, j]| add up to nothing in every feature."""
    D = multivariate(np.random.default_rng(4), 3, G=3)
    sol = fp.NearestIdeal(D, transport=fp.Diagonal()).solve()
    logs = [np.log(np.diag(sol.affine[g].matrix)) for g in D.groups]
    assert np.abs(D.group_mass @ logs).max() < 1e-12
    assert np.abs(logs).max() > 0.05  # the maps are not the identity


@given(seed=seeds, d=st.integers(2, 4), K=st.integers(2, 3), G=st.integers(2, 3))
@settings(max_examples=6)
def test_all_groups_never_worse_than_some_staying(seed, d, K, G):
    rng = np.random.default_rng(seed)
    prior = np.outer(rng.dirichlet(np.full(K, 4.0)), rng.dirichlet(np.full(G, 4.0)))
    D = multivariate(rng, d, K, G, prior)
    for transport in (fp.Diagonal(), fp.Monotone(), fp.Whitened()):
        everyone = fp.NearestIdeal(D, transport=transport).solve()
        assert everyone.certificate.ok
        assert not everyone.certificate.globally_optimal
        assert everyone.population.is_ideal()
        for stay in D.groups:
            steer = [g for g in D.groups if g != stay]
            one = fp.NearestIdeal(D, steer=steer, transport=transport).solve(solver="newton")
            assert everyone.kl <= one.kl + 1e-9


def test_descents_from_all_starts_find_nothing_better():
    """Classes far apart have many local optima; most starts are left out, not the best one."""
    D = multivariate(np.random.default_rng(71), 2, 4, 3)
    D = fp.Normal(D.prior, 6.0 * D.mean, cov=D.cov)
    frames, fixed = free_frames(D, D.prior, fp.Monotone())
    spaces = [MapSpace(frames, fixed, anchor) for anchor in range(3)]
    ends = [space.descend(x, 60)[0] for space in spaces for x in spaces[0].starts()]
    assert min(ends[k] for k in (0, 7, 14)) > min(ends) + 1.0  # groups' own laws do not do
    assert fp.NearestIdeal(D, base_rates="keep").solve().kl <= min(ends) + 1e-9


def test_work_for_all_groups_is_linear_in_their_number(monkeypatch):
    taken = []
    cost = MapSpace.cost
    monkeypatch.setattr(MapSpace, "cost", lambda self, x: taken.append(1) or cost(self, x))
    counts = []
    for G in (3, 6):
        taken.clear()
        fp.NearestIdeal(multivariate(np.random.default_rng(2), 2, 2, G)).solve()
        counts.append(len(taken))
    assert counts[1] <= 2.5 * counts[0]  # of every start as seen from every group: 3 times


@given(seed=seeds, d=st.integers(2, 8), steer=st.sampled_from(["one", "all"]))
@settings(max_examples=12)
def test_affine_equivariance(seed, d, steer):
    """KL and the steered population move along under every affine change of coordinates."""
    rng = np.random.default_rng(seed)
    D = multivariate(rng, d)
    A, b = random_matrix(rng, d), rng.normal(size=d)
    E = transformed(D, A, b)
    groups = ["b"] if steer == "one" else "all"
    for transport in (fp.Translation(), fp.Scaling(), fp.Monotone()):
        if steer == "all" and d > 4:
            continue
        here = fp.NearestIdeal(D, steer=groups, transport=transport).solve()
        there = fp.NearestIdeal(E, steer=groups, transport=transport).solve()
        assert there.kl == pytest.approx(here.kl, abs=1e-6)
        expected = transformed(here.population, A, b)
        if steer == "one":
            assert expected.kl(there.population) == pytest.approx(0.0, abs=1e-8)


def test_diagonal_is_equivariant_under_rescaling_only():
    rng = np.random.default_rng(4)
    D = multivariate(rng, 3)
    kl = fp.NearestIdeal(D, steer=["b"], transport=fp.Diagonal()).solve().kl
    scaled = transformed(D, np.diag([1e-3, 1.0, 50.0]), np.ones(3))
    turned = transformed(D, random_matrix(rng, 3), np.zeros(3))
    assert fp.NearestIdeal(
        scaled, steer=["b"], transport=fp.Diagonal()
    ).solve().kl == pytest.approx(kl, abs=1e-9)
    other = fp.NearestIdeal(turned, steer=["b"], transport=fp.Diagonal()).solve().kl
    assert abs(other - kl) > 1e-3  # negative control
    for transport in (fp.Monotone("identity"), fp.Whitened()):
        here = fp.NearestIdeal(D, steer=["b"], transport=transport).solve().kl
        there = fp.NearestIdeal(turned, steer=["b"], transport=transport).solve().kl
        assert abs(here - there) > 1e-5


@given(seed=seeds)
@settings(max_examples=8)
def test_relabelling_changes_nothing(seed):
    """Permuting classes and groups, and renaming them, leaves KL and sensitivities alone."""
    rng = np.random.default_rng(seed)
    D = multivariate(rng, 2, K=3, G=3)
    i, a = [2, 0, 1], [1, 2, 0]
    E = fp.Normal(
        D.prior[np.ix_(i, a)],
        D.location[np.ix_(i, a)],
        cov=D.cov[np.ix_(i, a)],
        classes=i,
        groups=[D.groups[k] for k in a],
    )
    here = fp.NearestIdeal(D, steer=["b", "c"]).solve(solver="newton")
    there = fp.NearestIdeal(E, steer=["c", "b"]).solve(solver="newton")
    assert there.kl == pytest.approx(here.kl, abs=1e-10)
    for where, value in here.sensitivity.items():
        assert np.allclose(there.sensitivity[where], value, atol=1e-9)


def independent_minimum(D, transport, prior):
    """Minimise KL over each class of maps with scipy, parametrised from its definition."""
    d = D.n_features
    mean, cov = D.location, D.cov
    pooled = np.einsum("ia,iajk->jk", D.prior, cov)
    if isinstance(transport, fp.Monotone):
        M = np.linalg.inv(pooled) if transport.metric == "pooled" else np.eye(d)
    elif isinstance(transport, fp.Whitened):
        values, V = np.linalg.eigh(cov[-1, 0])
        M = V @ np.diag(values**-0.5) @ V.T
    tril = np.tril_indices(d)

    def matrix(x):
        if isinstance(transport, fp.Translation):
            return np.eye(d)
        if isinstance(transport, fp.Scaling):
            return np.exp(x[0]) * np.eye(d)
        if isinstance(transport, fp.Diagonal):
            return np.diag(np.exp(x[:d]))
        L = np.zeros((d, d))
        L[tril] = x[: len(tril[0])]
        return L @ L.T @ M

    size = {fp.Translation: 0, fp.Scaling: 1, fp.Diagonal: d}.get(type(transport), len(tril[0]))

    def f(x):
        A, b = matrix(x), x[size:]
        if abs(np.linalg.det(A)) < 1e-12:
            return 1e6
        return sum(
            prior[i, 1]
            * gaussian_kl(A @ mean[i, 0] + b, A @ cov[i, 0] @ A.T, mean[i, 1], cov[i, 1])
            for i in range(D.n_classes)
        )

    start = np.zeros(size + d)
    if size == len(tril[0]):
        start[:size] = np.linalg.cholesky(np.linalg.inv(M))[tril]
    result = minimize(f, start, method="BFGS", options={"gtol": 1e-8, "maxiter": 2000})
    return result.fun + float((prior * np.log(prior / D.prior)).sum())


@pytest.mark.parametrize("transport", CONVEX, ids=repr)
@pytest.mark.parametrize(("d", "K"), [(2, 2), (3, 3)])
def test_against_an_independent_minimisation(transport, d, K):
    D = multivariate(np.random.default_rng(10 * d + K), d, K)
    prog = fp.NearestIdeal(D, steer=["b"], transport=transport)
    expected = independent_minimum(D, transport, prog.prior)
    assert prog.solve().kl == pytest.approx(expected, abs=1e-7)
    for solver in ("CLARABEL", "SCS"):
        assert prog.solve(solver=solver).kl == pytest.approx(expected, abs=1e-6)


def test_metric_given_as_a_matrix():
    D = multivariate(np.random.default_rng(2), 3)
    pooled = np.einsum("ia,iajk->jk", D.prior, D.cov)
    named = fp.NearestIdeal(D, steer=["b"]).solve()
    given_ = fp.NearestIdeal(D, steer=["b"], transport=fp.Monotone(np.linalg.inv(pooled))).solve()
    assert given_.kl == pytest.approx(named.kl, abs=1e-10)


def test_one_class_gives_mean_and_covariance_matching():
    """K = 1: KL = 0, and the identity metric gives the Euclidean Gaussian transport map."""
    D = multivariate(np.random.default_rng(3), 4, K=1)
    sol = fp.NearestIdeal(D, steer=["b"], transport=fp.Monotone("identity")).solve()
    assert sol.kl == pytest.approx(0.0, abs=1e-12)
    A = sol.maps["b"].matrix
    assert np.allclose(A, A.T, atol=1e-9)
    assert np.allclose(A @ D.cov[0, 0] @ A.T, D.cov[0, 1], atol=1e-9)


# -- prices --


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


# -- conditions --


@fp.constraint
def small_shift(view, population):
    """The mean of class 1 in group b moves by at most .1 in every feature."""
    return cp.abs(view.mean[1, "b"] - population.mean[1, "b"]) <= 0.1


@fp.constraint
def keep_spread(view, population):
    """Two conditions at once: an equality and a semidefinite one."""
    A = view.matrix[0, "b"]
    return [view.offset[0, "b"] == 0, 5 * np.eye(2) >> (A + A.T) / 2]


def test_custom_constraints_bind_and_have_prices():
    D = multivariate(np.random.default_rng(14), 2)
    free = fp.NearestIdeal(D, steer=["b"]).solve()
    tied = fp.NearestIdeal(D, steer=["b"], constraints=[small_shift]).solve()
    moved = np.abs(tied.population.mean[1, 1] - D.mean[1, 1])
    assert moved.max() <= 0.1 + 1e-6
    assert np.abs(free.population.mean[1, 1] - D.mean[1, 1]).max() > 0.1
    assert tied.kl > free.kl + 1e-4
    assert tied.certificate.ok
    assert tied.population.is_ideal()

    def kl(bound):
        @fp.constraint
        def shift(view, population):
            return cp.abs(view.mean[1, "b"] - population.mean[1, "b"]) <= bound

        return fp.NearestIdeal(D, steer=["b"], constraints=[shift]).solve().kl

    h = 1e-3
    assert tied.price["small_shift"] == pytest.approx(
        (kl(0.1 - h) - kl(0.1 + h)) / 2 / h, rel=0.02
    )
    both = fp.NearestIdeal(D, steer=["b"], constraints=[keep_spread], map_bound=0.1).solve()
    assert both.certificate.ok
    assert {"keep_spread[0]", "keep_spread[1]"} <= both.duals.keys()


def test_conditions_through_steered_parameters_agree_with_the_population():
    """The view's expressions, at the optimum, are the parameters of the steered population."""
    seen = {}

    def record(view, population):
        seen.update(mean=view.mean[1, "b"], factor=view.factor[1, "b"], stay=view.mean[0, "a"])
        seen.update(matrix=view.matrix[1, "b"], offset=view.offset[1, "b"])
        return view.mean[1, "b"] <= population.mean[1, "b"] + 100

    D = multivariate(np.random.default_rng(15), 3)
    for transport in CONVEX:
        prog = fp.NearestIdeal(D, steer=["b"], transport=transport, constraints=[record])
        sol = prog.solve()
        E = sol.population
        assert np.allclose(seen["mean"].value, E.mean[1, 1], atol=1e-5)
        F = getattr(seen["factor"], "value", seen["factor"])
        assert np.allclose(F @ F.T, E.cov[1, 1], atol=1e-5)
        assert np.allclose(np.asarray(seen["stay"]), D.mean[0, 0])
        A = getattr(seen["matrix"], "value", seen["matrix"])
        assert np.allclose(A, sol.maps["b"].matrix, atol=1e-5)
        assert np.allclose(seen["offset"].value, sol.maps["b"].offset, atol=1e-5)


def test_the_problem_can_be_looked_at_and_extended():
    D = multivariate(np.random.default_rng(16), 2)
    prog = fp.NearestIdeal(D, steer=["b"])
    problem = prog.problem
    labels = [c.label for c in problem.constraints]
    assert labels == ["linear[b,0]", "offset[b,0]", "linear[b,1]", "offset[b,1]"]
    value = problem.solve(solver="CLARABEL")
    assert value == pytest.approx(prog.solve().kl, abs=1e-6)
    offset = next(v for v in problem.variables() if v.name() == "offset[b]")
    more = cp.Problem(problem.objective, [*problem.constraints, offset == 0])
    assert more.solve(solver="CLARABEL") > value + 1e-4
    with pytest.raises(fp.ModelError, match="not one convex problem"):
        _ = fp.NearestIdeal(D).problem


# -- several groups, orientation, base rates, null directions --


def test_several_groups_are_separate_problems():
    D = multivariate(np.random.default_rng(17), 2, K=2, G=3)
    both = fp.NearestIdeal(D, steer=["b", "c"]).solve()
    for g in ("b", "c"):
        keep = [D.groups.index(h) for h in ("a", g)]
        share = D.prior[:, keep].sum()
        pair = fp.Normal(
            D.prior[:, keep] / share, D.location[:, keep], cov=D.cov[:, keep], groups=["a", g]
        )
        alone = fp.NearestIdeal(
            pair, steer=[g], transport=fp.Monotone(np.linalg.inv(pooled(D)))
        ).solve()
        assert np.allclose(alone.maps[g].matrix, both.maps[g].matrix, atol=1e-8)


def pooled(D):
    return np.einsum("ia,iajk->jk", D.prior, D.cov)


def test_groups_that_stay_keep_their_maps():
    """Two ideal groups stay, a third is steered: maps of all three carry the common laws."""
    rng = np.random.default_rng(18)
    base = multivariate(rng, 3, K=2, G=1)
    A, b = random_matrix(rng, 3), rng.normal(size=3)
    other = multivariate(rng, 3, K=2, G=1)
    mean = np.concatenate([base.location, base.location @ A.T + b, other.location], axis=1)
    cov = np.concatenate([base.cov, A @ base.cov @ A.T, other.cov], axis=1)
    prior = np.outer([0.4, 0.6], [0.3, 0.3, 0.4])
    D = fp.Normal(prior, mean, cov=cov, groups=["a", "b", "c"])
    sol = fp.NearestIdeal(D, steer=["c"], reference="b").solve()
    assert sol.certificate.ok
    assert sol.population.is_ideal()
    assert np.array_equal(sol.population.cov[:, :2], D.cov[:, :2])
    assert np.allclose(sol.maps["b"].matrix, np.eye(3))
    assert set(sol.maps) == {"a", "b", "c"}
    with pytest.raises(fp.InfeasibleError, match="not ideal among themselves") as caught:
        fp.NearestIdeal(D, steer=["a"])
    assert caught.value.details["groups"] == ["b", "c"]


def test_scaling_mirror_images():
    rng = np.random.default_rng(19)
    D = multivariate(rng, 3)
    flipped = fp.Normal(
        np.full((2, 2), 0.25),
        np.stack([D.location[:, 0], 5.0 - 2.0 * D.location[:, 0]], axis=1),
        cov=np.stack([D.cov[:, 0], 4.0 * D.cov[:, 0]], axis=1),
        groups=["a", "b"],
    )
    for steer in (["b"], "all"):
        prog = fp.NearestIdeal(flipped, steer, fp.Scaling(), orientation="any")
        assert prog.solve().kl == pytest.approx(0.0, abs=1e-10)
        keep = fp.NearestIdeal(flipped, steer, fp.Scaling()).solve()
        assert keep.kl > 0.1
    with pytest.raises(fp.ModelError, match="mirror images"):
        fp.NearestIdeal(flipped, ["b"], fp.Monotone(), orientation="any")


def test_base_rates():
    rng = np.random.default_rng(20)
    D = multivariate(rng, 2)
    equal = fp.NearestIdeal(D, steer=["b"]).solve()
    assert np.allclose(equal.population.base_rates, D.base_rates[:, [0]])
    assert np.allclose(equal.population.group_mass, D.group_mass)
    keep = fp.NearestIdeal(D, steer=["b"], base_rates="keep").solve()
    assert np.allclose(keep.population.prior, D.prior)
    assert not keep.population.is_ideal()
    assert keep.certificate.ok
    vector = fp.NearestIdeal(D, base_rates=[0.3, 0.7]).solve()
    assert np.allclose(vector.population.base_rates.T, [0.3, 0.7])
    assert vector.population.is_ideal()
    # the KL-nearest common rate at V = 0, by brute force over rho(1)
    common = fp.NearestIdeal(D).prior.sum(axis=1)
    grid = np.linspace(0.001, 0.999, 9981)
    p, rates = D.group_mass, D.base_rates
    cost = sum(
        p[a] * (grid * np.log(grid / rates[1, a]) + (1 - grid) * np.log((1 - grid) / rates[0, a]))
        for a in range(2)
    )
    assert common[1] == pytest.approx(grid[np.argmin(cost)], abs=2e-4)
    with pytest.raises(fp.InfeasibleError, match="base rates"):
        fp.NearestIdeal(D, steer=["b"], base_rates=[0.3, 0.7])


def tilted_plane(scale=1.0, slope=3e-6):
    """Return cells whose null direction, where 1e-15 is left, leans a little, by cell."""
    rng = np.random.default_rng(0)
    cov, mean = np.empty((2, 2, 4, 4)), np.zeros((2, 2, 4))
    Q = np.linalg.qr(rng.standard_normal((4, 4)))[0]
    for i, a in np.ndindex(2, 2):
        V = np.eye(4)
        V[3, 2] = slope * (1 + i - 3 * a)  # along the direction of least variance
        V[:2, :2] += 0.2 * rng.standard_normal((2, 2))
        V[2, 2] += 0.2 * rng.standard_normal()
        mean[i, a, :3] = rng.standard_normal(3) * [1.0, 1.0, 3e-3]
        mean[i, a, 3] = 1e-7 * rng.standard_normal()
        V = Q @ V * np.sqrt([1.0, 0.5, 1e-5, 1e-15]) * scale
        cov[i, a], mean[i, a] = V @ V.T, scale * (Q @ mean[i, a])
    return fp.Normal(np.full((2, 2), 0.25), mean, cov=cov)


@pytest.mark.filterwarnings("ignore::fairprog.FairprogWarning")
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_null_directions_may_lean_by_what_is_left_of_their_variance(scale):
    """As the mean of tokens after a layer norm, saved in float32, makes them."""
    D = tilted_plane(scale)
    assert D.null_dimension == 1
    sol = fp.NearestIdeal(D, steer=[1]).solve()
    P = fp.Normal(sol.population.prior, sol.population.mean, cov=sol.population.cov)  # as of rows
    lean = np.abs(D._null.T @ P.support_basis).max()
    assert lean > 1e-6 and P._same_support(D) and D._same_support(P)
    on_the_same = D._moved(P.prior, P.location, [P.cov_of(a) for a in range(2)]).kl(D)
    assert sol.kl == pytest.approx(on_the_same, rel=1e-6) and sol.certificate.ok
    assert sol.kl == pytest.approx(fp.NearestIdeal(tilted_plane(), steer=[1]).solve().kl, rel=1e-4)
    # the controls: another plane, and the same one elsewhere
    turn = fp.AffineMap(np.linalg.qr(np.eye(4) + 1e-2 * np.eye(4, k=-1))[0], np.zeros(4))
    shift = fp.AffineMap(np.eye(4), 1e-3 * scale * D._null[:, 0])
    for T in (turn, shift):
        assert D.mapped({0: T, 1: T}).kl(D) == np.inf


def test_an_infinite_divergence_is_never_returned():
    D = tilted_plane(slope=0.0)
    with pytest.warns(fp.FairprogWarning, match="1 direction.*they are set aside"):
        sol = fp.NearestIdeal(D, steer=[1]).solve()
    assert verified(sol, advice=pytest.fail) is sol  # nobody asks
    with pytest.raises(fp.SolverError, match="infinitely far from the population"):
        verified(replace(sol, kl=np.inf), advice="Pray.")


@pytest.mark.filterwarnings("ignore::fairprog.FairprogWarning")
def advice(population, **options):
    """What the program would say of an answer that it cannot prove."""
    return fp.NearestIdeal(population, **options)._geometry.advice()


def test_advice_follows_the_condition_of_the_cells():
    rng = np.random.default_rng(0)
    prior, mean = np.full((2, 2), 0.25), rng.standard_normal((2, 2, 3))
    plain = np.broadcast_to(np.eye(3), (2, 2, 3, 3)).copy()
    assert advice(fp.Normal(prior, mean, cov=plain)).startswith("Try another solver")
    alike, once = plain.copy(), plain.copy()
    alike[..., :2, :2] = once[0, 0, :2, :2] = np.array([[1.0, 1.0 - 1e-8], [1.0 - 1e-8, 1.0]])
    said = advice(fp.Normal(prior, mean, cov=alike))
    assert "number 2e+08" in said and "principal components" in said and "all groups but" in said
    said = advice(fp.Normal(prior, mean, cov=once), steer=[1])
    assert "raise `shrinkage`" in said and "all groups but" not in said
    wide = fp.Normal(
        prior, np.zeros((2, 2, 50_000)), cov=np.ones((2, 2, 50_000)), covariance="diagonal"
    )
    assert advice(wide, transport=fp.Diagonal()).startswith("Try another solver")
    lifted = fp.Transformed(fp.Normal(prior, mean, cov=alike), fp.Power(0.5))
    assert "number 2e+08" in advice(lifted)


def test_null_directions_are_set_aside():
    """A constant column and an exact linear dependence change nothing but their own rows."""
    rng = np.random.default_rng(21)
    D = multivariate(rng, 3)
    T = np.vstack([np.eye(3), np.zeros((1, 3)), [[1.0, -2.0, 0.5]]])  # x4 constant, x5 dependent
    mean = D.location @ T.T + np.array([0, 0, 0, 7.0, 1.0])
    wide = fp.Normal(D.prior, mean, cov=T @ D.cov @ T.T, groups=D.groups)
    assert wide.null_dimension == 2
    with pytest.warns(fp.FairprogWarning, match=r"2 direction\(s\)"):
        prog = fp.NearestIdeal(wide, steer=["b"])
    sol, plain = prog.solve(), fp.NearestIdeal(D, steer=["b"]).solve()
    assert sol.null_dimension == 2
    assert sol.kl == pytest.approx(plain.kl, abs=1e-8)
    assert sol.population.is_ideal()
    x = rng.normal(size=(50, 3)) @ T.T + np.array([0, 0, 0, 7.0, 1.0])
    aligned = sol.align(x, sensitive_features=["b"] * 50)
    assert np.allclose(aligned[:, 3], 7.0, atol=1e-8)
    assert np.allclose(
        aligned[:, :3], plain.align(x[:, :3], sensitive_features=["b"] * 50), atol=1e-6
    )
    with pytest.raises(fp.ModelError, match="dependence"):
        fp.NearestIdeal(wide, steer=["b"], transport=fp.Diagonal())
    with pytest.warns(fp.FairprogWarning):
        diagonal = fp.Normal(
            D.prior, mean[..., :4], cov=(T @ D.cov @ T.T)[..., :4, :4], groups=D.groups
        )
        sol = fp.NearestIdeal(diagonal, steer=["b"], transport=fp.Diagonal()).solve()
    assert sol.certificate.ok
    bad = mean.copy()
    bad[1, 1, 3] += 0.1
    with pytest.raises(fp.DataError, match="constant within every cell but differs"):
        fp.Normal(D.prior, bad, cov=T @ D.cov @ T.T)


def test_ill_conditioned_features():
    """Columns from 1e-5 to 1e5 and correlations of .999999."""
    rng = np.random.default_rng(22)
    D = multivariate(rng, 4)
    A = np.diag([1e-5, 1.0, 10.0, 1e5]) @ (np.ones((4, 4)) + 1e-3 * np.eye(4))
    E = transformed(D, A, np.zeros(4))
    here, there = (fp.NearestIdeal(P, steer=["b"]).solve() for P in (D, E))
    assert there.kl == pytest.approx(here.kl, abs=1e-6)
    assert there.certificate.ok
