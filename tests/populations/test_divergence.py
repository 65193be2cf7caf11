"""The divergence between populations: integrals, simulation, invariance, its parts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import multivariate_normal, norm

import fairprog as fp
from tests.instances import multivariate, random_matrix, relabelled, transformed, univariate

seeds = st.integers(0, 2**32 - 1)


def test_kl_equals_numerical_integration_in_one_dimension():
    rng = np.random.default_rng(9)
    for _ in range(5):
        D, E = univariate(rng, 2, 2), univariate(rng, 2, 2)
        value = 0.0
        for i, a in np.ndindex(2, 2):
            p, q = norm(D.mean[i, a], D.std[i, a]), norm(E.mean[i, a], E.std[i, a])

            def density(x, p=p, q=q, w=D.prior[i, a], v=E.prior[i, a]):
                return w * p.pdf(x) * (np.log(w) + p.logpdf(x) - np.log(v) - q.logpdf(x))

            low, high = p.mean() - 12 * p.std(), p.mean() + 12 * p.std()
            value += quad(density, low, high, epsabs=1e-12, limit=200)[0]
        assert D.kl(E) == pytest.approx(value, rel=1e-8)


def test_kl_equals_monte_carlo_in_three_dimensions():
    rng = np.random.default_rng(10)
    D, E = multivariate(rng, 3), multivariate(rng, 3)
    X, y, a = D.sample(100_000, random_state=3)
    ratio = np.empty(len(X))
    for i, g in np.ndindex(2, 2):
        rows = (y == D.classes[i]) & (a == D.groups[g])
        logs = [
            np.log(P.prior[i, g]) + multivariate_normal(P.mean[i, g], P.cov[i, g]).logpdf(X[rows])
            for P in (D, E)
        ]
        ratio[rows] = logs[0] - logs[1]
    assert abs(D.kl(E) - ratio.mean()) < 5 * ratio.std() / np.sqrt(len(X))
    assert abs(D.kl(E) - E.kl(D)) > 0.1  # control: not symmetric


@given(seed=seeds, d=st.integers(1, 4), K=st.integers(2, 3), G=st.integers(2, 3))
@settings(max_examples=15)
def test_kl_is_invariant(seed, d, K, G):
    """Under permutations of labels and affine changes of coordinates; zero iff equal."""
    rng = np.random.default_rng(seed)
    D, E = multivariate(rng, d, K, G), multivariate(rng, d, K, G)
    value = D.kl(E)
    assert value > 0
    assert D.kl(D) == pytest.approx(0, abs=1e-13)
    i, a = rng.permutation(K), rng.permutation(G)
    assert relabelled(D, i, a).kl(E) == pytest.approx(value)
    assert D.kl(relabelled(E, i, a)) == pytest.approx(value)
    assert D.kl(relabelled(D, i, a)) == pytest.approx(0, abs=1e-13)
    T = random_matrix(rng, d), rng.normal(size=d)
    assert transformed(D, *T).kl(transformed(E, *T)) == pytest.approx(value, rel=1e-6)


def test_kl_of_log_normals_is_that_of_the_logs():
    rng = np.random.default_rng(11)
    D, E = univariate(rng), univariate(rng)
    logs = [fp.LogNormal(P.prior, P.mean, std=P.std, groups=P.groups) for P in (D, E)]
    assert logs[0].kl(logs[1]) == D.kl(E)
    with pytest.raises(fp.ModelError, match="is a Normal; needed is a LogNormal") as error:
        logs[0].kl(E)
    assert error.value.argument == "other"
    with pytest.raises(fp.ModelError, match=r"has 2 features; needed are 1"):
        D.kl(multivariate(rng, 2))
    with pytest.raises(fp.ModelError, match=r"groups \['a', 'b', 'c'\]; needed are \['a', 'b'\]"):
        D.kl(univariate(rng, 2, 3))


def test_cell_divergences_are_the_parts_of_kl():
    rng = np.random.default_rng(12)
    D, E = multivariate(rng, 2, 3, 2), multivariate(rng, 2, 3, 2)
    V = D.cell_divergences(E)
    prior = (D.prior * np.log(D.prior / E.prior)).sum()
    assert D.kl(E) == pytest.approx(prior + (D.prior * V).sum())
