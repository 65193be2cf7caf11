"""Shrinkage of gathered covariances, and who is told of it."""

import numpy as np
import pytest

import fairprog as fp
from tests.gathered_rows import gathered, rows


def test_shrinkage_is_towards_the_own_groups_pooled_covariance():
    X, y, a = rows()
    moments = gathered(X, y, a)
    D, tied = moments.population(), moments.population(covariance="tied")
    half = moments.population(shrinkage=0.5)
    np.testing.assert_allclose(half.cov, 0.5 * (D.cov + tied.cov), rtol=1e-12)
    np.testing.assert_allclose(moments.population(shrinkage=1.0).cov, tied.cov, rtol=1e-12)


def test_automatic_shrinkage_is_near_the_best_and_vanishes_with_n():
    rng = np.random.default_rng(0)
    d = 8
    roots = [np.diag(np.linspace(1.0, s, d)) for s in (0.6, 1.8)]
    truth = np.stack([R @ R.T for R in roots])
    losses = {"auto": [], 0.0: [], 1.0: []}
    used = []
    for n in (30, 30, 30, 30, 30, 30, 3000):
        X = np.concatenate([rng.standard_normal((n, d)) @ R for R in (*roots, *roots)])
        y, a = np.repeat([0, 1, 0, 1], n), np.repeat([0, 0, 1, 1], n)
        moments = gathered(X, y, a)
        with pytest.warns(fp.FairprogWarning) if n < 5 * d else _quiet():
            covs = {s: moments.population(shrinkage=s).cov for s in ("auto", 1.0)}
        with pytest.warns(fp.FairprogWarning) if n < 5 * d else _quiet():
            covs[0.0] = moments.population().cov
        for s, cov in covs.items():
            if n == 30:
                losses[s].append(np.sum((cov[:, 0] - truth) ** 2))
        used.append(np.abs(covs["auto"] - covs[0.0]).max() / np.abs(covs[0.0]).max())
    assert np.mean(losses["auto"]) < 0.9 * min(np.mean(losses[0.0]), np.mean(losses[1.0]))
    assert used[-1] < 0.05 < used[0]


def _quiet():
    from contextlib import nullcontext

    return nullcontext()


@pytest.mark.parametrize("shrinkage", [0.0, 0.5, "auto"])
def test_a_cell_of_one_row_has_no_covariance(shrinkage):
    rng = np.random.default_rng(0)
    y, a = np.array([0] * 20 + [1] * 20), np.array([0, 1] * 20)
    y[39] = 2
    y[38] = 2
    moments = fp.Moments().partial_fit(rng.normal(size=(40, 2)), y, sensitive_features=a)
    with pytest.raises(fp.DataError, match="at least 2"):
        moments.population(shrinkage=shrinkage)


def test_a_wide_layer_is_told_of_shrinkage():
    """What a hook can use: shrunk covariances, which solve; not principal components."""
    rng = np.random.default_rng(0)
    n, d = 400, 120
    y, a = rng.integers(0, 4, n), rng.integers(0, 2, n)
    X = rng.normal(size=(n, d))
    X[:, 0] += y
    moments = fp.Moments()
    moments.partial_fit(X, y, sensitive_features=a)
    with pytest.raises(fp.DataError, match="shrinkage='auto'"):
        moments.population()
    with pytest.warns(fp.FairprogWarning, match="shrunk"):
        D = moments.population(shrinkage="auto")
    assert fp.NearestIdeal(D, steer=[1]).solve().certificate.ok


@pytest.mark.filterwarnings("ignore:The smallest cell")
def test_one_amount_of_shrinkage_is_no_range():
    """It was said that covariances were shrunk by 0.2 to 0.2."""
    rng = np.random.default_rng(0)
    X, y, a = rng.normal(size=(40, 3)), np.arange(40) % 2, np.arange(40) // 20
    with pytest.warns(fp.FairprogWarning, match=r"pooled one by 0\.2\.$"):
        fp.IdealSteering(steer=[1], shrinkage=0.2).fit(X, y, sensitive_features=a)
