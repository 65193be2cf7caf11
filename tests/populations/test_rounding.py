"""Whether a population is ideal does not depend on units and origins, up to counted rounding."""

import numpy as np
import pytest

import fairprog as fp
from tests.instances import multivariate, random_matrix


def full(rng: np.random.Generator, d: int, K: int = 2) -> fp.Normal:
    """Return an ideal population: group 1 is an affine image of group 0."""
    D, A, b = multivariate(rng, d, K, G=1), random_matrix(rng, d), rng.normal(size=d)
    mean = np.concatenate([D.location, D.location @ A.T + b], axis=1)
    cov = np.concatenate([D.cov, A @ D.cov @ A.T], axis=1)
    return fp.Normal(np.outer(rng.dirichlet(np.full(K, 5.0)), [0.4, 0.6]), mean, cov=cov)


def diagonal(rng: np.random.Generator, d: int, K: int = 2) -> fp.Normal:
    """Return an ideal population of independent features, in another order in group 1."""
    mean, var, order = rng.normal(size=(K, d)), np.exp(rng.normal(size=(K, d))), rng.permutation(d)
    gain = np.exp(rng.normal(size=d))
    return fp.Normal(
        np.outer(rng.dirichlet(np.full(K, 5.0)), [0.4, 0.6]),
        np.stack([mean, gain * mean[:, order] + 1.0], axis=1),
        cov=np.stack([var, gain**2 * var[:, order]], axis=1),
        covariance="diagonal",
    )


def in_units(D: fp.Normal, scale: np.ndarray, origin: float, shift: float = 0.0) -> fp.Normal:
    """Return the population of scale * x + origin, one mean moved by some of its own units."""
    apart = D.covariance == "diagonal"
    mean = D.location.copy()
    mean[1, 1, 0] += shift * np.sqrt(D.variances[1, 1, 0] if apart else D.cov[1, 1, 0, 0])
    cov = D.variances * scale**2 if apart else D.cov * np.outer(scale, scale)
    return fp.Normal(D.prior, mean * scale + origin, cov=cov, covariance=D.covariance)


@pytest.mark.parametrize(
    ("spread", "origin"), [(0.0, 0.0), (0.0, 1e6), (2.0, 1e6), (6.0, 0.0), (6.0, 1e3)]
)
@pytest.mark.parametrize(
    ("make", "d"), [(full, 1), (full, 5), (full, 60), (diagonal, 5), (diagonal, 3000)]
)
@pytest.mark.parametrize("K", [2, 3])
def test_ideal_whatever_the_units(make, d: int, spread: float, origin: float, K: int) -> None:
    rng = np.random.default_rng(d)
    D, scale = make(rng, d, K), 10.0 ** rng.uniform(-spread, spread, size=d)
    assert in_units(D, scale, origin).is_ideal()
    # a mean of 1e3 in units of 1e-6 is known to 1e-7 of them
    known = 1e-6 + 1e-13 * np.sqrt(d) * origin / scale.min()
    assert not in_units(D, scale, origin, 30 * known).is_ideal()


def test_no_more_than_rounding_is_forgiven() -> None:
    """Without an offset 1e-7 is told from ideal, in any units; far from the origin it is not."""
    rng = np.random.default_rng(0)
    for D in (full(rng, 40), diagonal(rng, 40)):
        scale = 10.0 ** rng.uniform(-6, 6, size=40)
        assert not in_units(D, scale, 0.0, 1e-7).is_ideal()
        assert not in_units(D, np.ones(40), 1e4, 1e-7).is_ideal()
        assert in_units(D, np.ones(40), 1e8, 1e-7).is_ideal()
