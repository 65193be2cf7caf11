"""Which populations are ideal: images of common laws, and what their classes may differ in."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ks_2samp

import fairprog as fp
from tests.instances import random_matrix, relabelled

seeds = st.integers(0, 2**32 - 1)
QUARTERS = np.full((2, 2), 0.25)


def common_laws(rng, K, d, shape):
    """Return means and covariances of K laws, some of them degenerate."""
    X = rng.normal(size=(K, d, 2 * d + 2))
    cov, mean = X @ np.swapaxes(X, -1, -2) / (2 * d + 2), rng.normal(size=(K, d))
    if shape == "equal covariances":
        cov[:] = cov[0]
    elif shape == "equal means":
        mean[:] = mean[0]
    elif shape == "repeated eigenvalues":
        for i in range(K):
            O = np.linalg.qr(rng.normal(size=(d, d)))[0]
            cov[i] = O @ np.diag(np.where(np.arange(d) < (d + 1) // 2, 2.0, 0.5)) @ O.T
        cov[0] = np.eye(d)
    elif shape == "all alike":
        cov[:], mean[:] = cov[0], mean[0]
    elif shape == "collinear means":
        mean = np.outer(np.arange(K), mean[0])
        cov[:] = cov[0] * np.arange(1.0, K + 1)[:, None, None]
    return mean, cov


SHAPES = [
    "generic",
    "equal covariances",
    "equal means",
    "repeated eigenvalues",
    "collinear means",
    "all alike",
]


def from_common_laws(rng, mean, cov, G=2):
    """Return the population of arbitrary invertible maps of the laws, equal base rates."""
    K, d = mean.shape
    maps = [(random_matrix(rng, d), rng.normal(size=d)) for _ in range(G)]
    prior = np.outer(rng.dirichlet(np.full(K, 5.0)), rng.dirichlet(np.full(G, 5.0)))
    means = np.stack([mean @ A.T + b for A, b in maps], axis=1)
    covs = np.stack([A @ cov @ A.T for A, _ in maps], axis=1)
    return fp.Normal(prior, means, cov=(covs + np.swapaxes(covs, -1, -2)) / 2)


@pytest.mark.parametrize("shape", SHAPES)
@given(seed=seeds, d=st.integers(1, 6), K=st.integers(2, 3), G=st.integers(2, 3))
@settings(max_examples=15)
def test_images_of_common_laws_are_ideal(shape, seed, d, K, G):
    rng = np.random.default_rng(seed)
    D = from_common_laws(rng, *common_laws(rng, K, d, shape), G)
    assert D.is_ideal()
    assert relabelled(D, rng.permutation(K), rng.permutation(G)).is_ideal()
    if shape != "all alike":
        for a in range(1, G):
            mean = D.location.copy()
            mean[1, a] += 1e-4 * np.linalg.cholesky(D.cov[1, a])[:, 0]
            if shape in ("equal means", "repeated eigenvalues", "generic"):
                assert not fp.Normal(D.prior, mean, cov=D.cov).is_ideal()
            cov = D.cov.copy()
            cov[0, a] *= 1 + 1e-4
            assert not fp.Normal(D.prior, D.location, cov=cov).is_ideal()


@given(seed=seeds)
@settings(max_examples=20)
def test_images_of_common_laws_that_commute_with_a_rotation_are_ideal(seed):
    """Three laws whose covariances are complex Hermitian matrices written in real numbers."""
    rng = np.random.default_rng(seed)
    cov = [np.eye(6)]
    for _ in range(2):
        H = rng.normal(size=(3, 3)) + 1j * rng.normal(size=(3, 3))
        H = H @ H.conj().T / 3 + 0.2 * np.eye(3)
        cov.append(np.block([[H.real, -H.imag], [H.imag, H.real]]))
    assert from_common_laws(rng, np.zeros((3, 6)), np.array(cov)).is_ideal()


@pytest.mark.parametrize("shape", ["equal covariances", "collinear means", "all alike"])
@pytest.mark.parametrize("K", [2, 3])
def test_ideality_of_many_features_with_one_large_eigenspace(shape, K):
    """Equal and proportional covariances: all of the space but a few directions is one block."""
    rng = np.random.default_rng(23)
    D = from_common_laws(rng, *common_laws(rng, K, 60, shape))
    assert D.is_ideal()
    mean, cov = D.location.copy(), D.cov.copy()
    mean[1, 1] += 1e-2 * np.linalg.cholesky(cov[1, 1])[:, 0]
    assert not fp.Normal(D.prior, mean, cov=cov).is_ideal()
    cov[0, 1] *= 1 + 1e-6
    assert not fp.Normal(D.prior, D.location, cov=cov).is_ideal()


@pytest.mark.slow
def test_a_steered_tied_population_of_many_features_is_ideal():
    rng = np.random.default_rng(24)
    cov = np.stack([np.cov(rng.normal(size=(60, 300))) for _ in range(2)])
    D = fp.Normal(QUARTERS, rng.normal(size=(2, 2, 60)), cov=cov, covariance="tied")
    assert fp.NearestIdeal(D).solve().population.is_ideal()
    assert not D.is_ideal()


def test_three_laws_that_commute_with_many_rotations_are_ideal():
    """Complex Hermitian matrices, each eigenvalue three times: eigenspaces of dimension six."""
    rng = np.random.default_rng(25)
    cov = [np.eye(60)]
    for _ in range(2):
        H = rng.normal(size=(10, 10)) + 1j * rng.normal(size=(10, 10))
        H = H @ H.conj().T / 10 + 0.2 * np.eye(10)
        cov.append(np.kron(np.block([[H.real, -H.imag], [H.imag, H.real]]), np.eye(3)))
    D = from_common_laws(rng, np.zeros((3, 60)), np.array(cov))
    assert D.is_ideal()
    other = D.cov.copy()
    other[2, 1] = other[1, 1] * 1.1
    assert not fp.Normal(D.prior, D.location, cov=other).is_ideal()


@pytest.mark.parametrize("shape", ["generic", "equal covariances", "collinear means"])
@pytest.mark.parametrize("K", [1, 2, 3])
def test_ideality_does_not_depend_on_units_and_origin(shape, K):
    rng = np.random.default_rng(26)
    D = from_common_laws(rng, *common_laws(rng, K, 8, shape))
    mean, cov = D.location.copy(), D.cov
    mean[-1, 1] += 1e-2 * np.linalg.cholesky(cov[-1, 1])[:, 0]
    for units in (np.full(8, 1e4), np.full(8, 1e-6), 10.0 ** np.tile([4, -6, 0, 2], 2)):
        spread = cov * np.outer(units, units)
        assert fp.Normal(D.prior, D.location * units, cov=spread).is_ideal()
        assert fp.Normal(D.prior, mean * units, cov=spread).is_ideal() is (K == 1)
    assert fp.Normal(D.prior, D.location + 1e6, cov=cov).is_ideal()
    assert fp.Normal(D.prior, mean + 1e6, cov=cov).is_ideal() is (K == 1)


def test_unequal_base_rates_are_not_ideal():
    rng = np.random.default_rng(21)
    for d in (1, 3):
        D = from_common_laws(rng, *common_laws(rng, 2, d, "generic"))
        prior = D.prior + 1e-4 * np.array([[1, -1], [-1, 1]])
        assert D.is_ideal()
        assert not fp.Normal(prior, D.location, cov=D.cov).is_ideal()
        assert fp.Normal(prior, D.location, cov=D.cov).is_ideal(atol=0.01)


def test_mirror_images_are_ideal():
    D = fp.Normal(QUARTERS, [[0.0, 5.0], [1.0, 3.0]], std=[[1.0, 2.0], [0.5, 1.0]])
    assert D.is_ideal()
    assert D.ideality_gap() < 1e-8
    # three classes: one common sign
    prior = np.full((3, 2), 1 / 6)
    mean, std = np.array([0.0, 1.0, 3.0]), np.array([1.0, 0.5, 2.0])
    both = [[m, -m] for m in mean]
    assert fp.Normal(prior, both, std=np.outer(std, [1, 1])).is_ideal()
    both[2][1] *= -1
    assert not fp.Normal(prior, both, std=np.outer(std, [1, 1])).is_ideal()


@given(seed=seeds, d=st.integers(2, 4))
@settings(max_examples=12)
def test_two_classes_are_ideal_iff_spectrum_and_projections_agree(seed, d):
    """theory.md section 2: build the second group from the invariants alone."""
    rng = np.random.default_rng(seed)
    values = np.sort(np.exp(rng.uniform(-1, 1, d)))
    values[1] = values[0]  # an eigenspace of dimension two
    delta = rng.normal(size=d)
    turn = np.linalg.qr(rng.normal(size=(2, 2)))[0]
    other = delta * rng.choice([-1.0, 1.0], d)
    other[:2] = turn @ delta[:2]  # the same length in the eigenspace
    laws = [
        from_common_laws(rng, np.stack([np.zeros(d), m]), np.stack([np.eye(d), np.diag(values)]))
        for m in (delta, other)
    ]
    mean = np.stack([laws[0].location[:, 0], laws[1].location[:, 1]], axis=1)
    cov = np.stack([laws[0].cov[:, 0], laws[1].cov[:, 1]], axis=1)
    assert fp.Normal(QUARTERS, mean, cov=cov).is_ideal()
    S = np.linalg.cholesky(cov[0, 1])
    mean[1, 1] += S @ np.full(d, 1e-3)
    assert not fp.Normal(QUARTERS, mean, cov=cov).is_ideal()


def symmetric(diagonal, off):
    """Return a symmetric 3 x 3 matrix from its diagonal and entries 12, 13, 23."""
    Q = np.diag(np.asarray(diagonal, float))
    Q[0, 1], Q[0, 2], Q[1, 2] = off
    return np.triu(Q) + np.triu(Q, 1).T


Q1 = symmetric([0.5, -0.3, 0.1], [0, 0, 0])
Q2 = [
    symmetric([0.2, -0.25, 0.35], off)
    for off in ([0.15, 0.1, 0.2], [0.03174, 0.14404, -0.22527], [0.5, 0.1, 0.2])
]


def determinants(Q, s):
    """Return det(I - s1 Q1 - s2 Q): it determines the joint law of the log-likelihood ratios."""
    return np.linalg.det(np.eye(3) - s[:, :1, None] * Q1 - s[:, 1:, None] * Q)


def test_three_classes_may_be_ideal_without_a_common_map():
    """theory.md section 2: equal posterior laws, no affine map between the groups."""
    rng = np.random.default_rng(22)
    s = rng.uniform(-1, 1, size=(50, 2))
    assert np.allclose(determinants(Q2[0], s), determinants(Q2[1], s), atol=2e-5)
    assert not np.allclose(determinants(Q2[0], s), determinants(Q2[2], s), atol=1e-3)  # control

    def ratios(Q, cls, n=100_000):
        precision = (np.eye(3), np.eye(3) - Q1, np.eye(3) - Q)
        X = rng.multivariate_normal(np.zeros(3), np.linalg.inv(precision[cls]), size=n)
        return np.stack([np.einsum("nj,jk,nk->n", X, M, X) / 2 for M in (Q1, Q)], axis=1)

    critical = np.sqrt(-np.log(1e-4 / 2) / 100_000)  # two samples of 1e5, level 1e-4
    for cls in range(3):
        laws = [ratios(Q, cls) for Q in Q2]
        for c in ([1, 0], [0, 1], [1, 1], [1, -1], [0.3, 1]):
            projected = [law @ np.array(c) for law in laws]
            assert ks_2samp(projected[0], projected[1]).statistic < critical
        assert ks_2samp(laws[0] @ [0, 1], laws[2] @ [0, 1]).statistic > 2 * critical  # control
    cov = np.stack(
        [
            np.stack([np.eye(3), np.linalg.inv(np.eye(3) - Q1), np.linalg.inv(np.eye(3) - Q)])
            for Q in Q2[:2]
        ],
        axis=1,
    )
    D = fp.Normal(np.full((3, 2), 1 / 6), np.zeros((3, 2, 3)), cov=cov)
    assert not D.is_ideal()  # "no common map found", which for K > 2 is not "unfair"
    rates = D.evaluate(cost=rng.uniform(size=(3, 3)), n_samples=2**14)
    assert rates.gap(fp.EqualizedOdds()) < 6 * rates.standard_error
