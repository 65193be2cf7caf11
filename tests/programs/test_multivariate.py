"""d >= 2: certificates, independent minimisation, who is steered and at which base rates."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

import fairprog as fp
from fairprog.programs.geometries.map_space import MapSpace
from fairprog.programs.geometries.normal_all import free_frames
from tests.instances import CONVEX, multivariate, pooled, random_matrix

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


@pytest.mark.parametrize(("seed", "K"), [(71, 4), (1048, 3)])
def test_descents_from_all_starts_find_nothing_better(seed, K):
    """Classes far apart have many local optima; starts are left out, not the best one."""
    D = multivariate(np.random.default_rng(seed), 2, K, 3)
    D = fp.Normal(D.prior, 6.0 * D.mean, cov=D.cov)
    frames, fixed = free_frames(D, D.prior, fp.Monotone())
    spaces = [MapSpace(frames, fixed, anchor) for anchor in range(3)]
    ends = [space.descend(x, 60)[0] for space in spaces for x in spaces[0].starts()]
    assert min(ends[k] for k in (0, 7, 14)) > min(ends) + 0.4  # groups' own laws do not do
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


# -- several groups, base rates --


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
