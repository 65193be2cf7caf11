"""Univariate families: steered samples have equal laws, and maps are fitted to samples."""

import numpy as np
import pytest
from scipy.stats import ks_2samp

import fairprog as fp
from tests.family_laws import Power15, instance, scipy_law


@pytest.mark.parametrize("family", [fp.Laplace, fp.Gumbel, fp.Gamma, Power15])
def test_steered_samples_have_equal_posterior_laws(family):
    """KS over groups of the posterior: accepted after steering, refused before."""
    rng = np.random.default_rng(5)
    q = np.array([[0.3, 0.3], [0.2, 0.2]])
    first, second = np.array([[0.5, 1.0], [3.0, 2.0]]), np.array([[1.0, 1.5], [1.2, 0.7]])
    D = family(q, first, second)
    sol = fp.NearestIdeal(D, steer=[1]).solve()
    n = 20_000

    def pvalue(P):
        X, _, a = P.sample(n, rng)
        z = P._forward(X)[:, 0]
        posterior = np.empty(n)
        for g in range(2):
            rows = a == g
            logs = [
                np.log(P.prior[i, g] / P.base_scale[i, g])
                - P.law(i, g).phi((z[rows] - P.base_loc[i, g]) / P.base_scale[i, g])
                for i in range(2)
            ]
            posterior[rows] = 1.0 / (1.0 + np.exp(logs[0] - logs[1]))
        # posteriors of a Laplace population have atoms: round what is equal up to rounding
        posterior = np.round(posterior, 9)
        return ks_2samp(posterior[a == 0], posterior[a == 1]).pvalue

    assert pvalue(D) < 1e-10
    assert pvalue(sol.population) > 1e-3
    assert D.ideality_gap() > 0.02 and sol.population.ideality_gap() < 1e-9


@pytest.mark.parametrize("family", [fp.Laplace, fp.Gumbel, fp.Weibull, fp.Gamma])
def test_empirical_reference(family):
    """The criterion is the cross-entropy by hand, at its minimum, and tends to the program's."""
    D = instance(family, np.random.default_rng(3))
    X, y, a = D.sample(60_000, 0)
    sample = fp.Empirical(X[a == "a"], y[a == "a"])
    fit = sample.fit_map(D, "b")
    z = D._forward(X[a == "a"])[:, 0]

    def criterion(A, b):
        total = 0.0
        for i in range(2):
            logs = scipy_law(D, i, 1).logpdf(A * z[y[a == "a"] == i] + b)
            total -= D.prior[i, 1] * (logs.mean() + np.log(A))
        return total

    A, b = fit.map.matrix[0, 0], fit.map.offset[0]
    assert fit.criterion == pytest.approx(criterion(A, b), rel=1e-9)
    for dA, db in ((0.01, 0.0), (-0.01, 0.0), (0.0, 0.01), (0.0, -0.01)):
        if D.moves_scale or dA == 0.0:
            assert criterion(A + dA, b + db) > fit.criterion
    exact = fp.NearestIdeal(D, steer=["b"], base_rates="keep").solve().affine["b"]
    assert exact.matrix[0, 0] == pytest.approx(A, rel=0.03)
    assert exact.offset[0] == pytest.approx(b, abs=0.05 * D.base_scale.max())
    assert fit.user_map(X[:3]) == pytest.approx(D._backward(A * D._forward(X[:3]) + b))
    shifted = sample.fit_map(D, "b", transport=fp.Translation())
    assert shifted.map.matrix[0, 0] == 1.0 and shifted.criterion >= fit.criterion - 1e-12
    with pytest.raises(fp.ModelError, match=r"Normal\.fit and NearestIdeal"):
        sample.fit_map(fp.Normal(D.prior, D.base_loc, std=D.base_scale), 1)
    with pytest.raises(fp.DataError, match="no scatter"):
        fp.Empirical([1.0, 1.0], [0, 1]).fit_map(D, "b")
