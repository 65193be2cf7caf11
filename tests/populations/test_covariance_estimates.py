"""Covariances that classes share: tied, shrunk, estimated from few rows, saved and loaded."""

import numpy as np
import pytest

import fairprog as fp
from tests.instances import multivariate, random_matrix


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
