"""Populations pushed forward by piecewise-linear maps: divergences, moments, Bayes rules."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

import fairprog as fp
from fairprog.kernels.line import piecewise_linear as kernel
from tests.instances import random_map, univariate


def test_divergences_of_pushforwards_are_those_of_quadrature():
    rng = np.random.default_rng(1)
    D = univariate(rng)
    T, S = random_map(rng), random_map(rng)
    E, F = fp.Pushforward(D, {"b": T}), fp.Pushforward(univariate(rng), {"b": S, "a": T})

    def log_density(x, base, i, a, M):
        inverse = M.inverse()
        slopes = kernel.slope_matrix(inverse.knots) @ inverse.theta
        slope = slopes[np.searchsorted(inverse.knots, x)]
        return norm.logpdf(inverse(np.atleast_1d(x))[0], base.mean[i, a], base.std[i, a]) + np.log(
            slope
        )

    for other, there in ((D, None), (F, S)):
        V = E.cell_divergences(other)
        base = other.base if there is not None else other
        for i in range(2):

            def integrand(z, i=i, base=base, there=there):
                y = float(T(np.atleast_1d(z))[0])
                own = log_density(y, D, i, 1, T)
                if there is None:
                    theirs = norm.logpdf(y, base.mean[i, 1], base.std[i, 1])
                else:
                    theirs = log_density(y, base, i, 1, there)
                return norm.pdf(z, D.mean[i, 1], D.std[i, 1]) * (own - theirs)

            m, s = D.mean[i, 1], D.std[i, 1]
            breaks = [T.knots, (there.inverse() @ T).knots if there is not None else []]
            points = [p for p in np.concatenate(breaks) if m - 10 * s < p < m + 10 * s]
            exact, _ = quad(integrand, m - 10 * s, m + 10 * s, points=points, limit=500)
            assert V[i, 1] == pytest.approx(exact, rel=1e-6)
    assert E.kl(E) == pytest.approx(0.0, abs=1e-14)


def test_moments_samples_and_bayes_rules_of_a_pushforward():
    rng = np.random.default_rng(1)
    D = univariate(rng)
    E = fp.Pushforward(D, {"b": random_map(rng)})
    X, y, a = E.sample(200_000, random_state=0)
    for i in range(2):
        rows = X[(y == i) & (a == "b"), 0]
        assert rows.mean() == pytest.approx(E.mean[i, 1], abs=5 * E.std[i, 1] / len(rows) ** 0.5)
        assert rows.std() == pytest.approx(E.std[i, 1], rel=0.02)
    assert E.evaluate().error == D.evaluate().error
    assert E.ideality_gap() == D.ideality_gap()
    with pytest.raises(fp.ModelError, match="own Bayes rule only"):
        E.evaluate(rule_of=D)
    with pytest.raises(fp.ModelError, match="not among the groups"):
        fp.Pushforward(D, {"z": random_map(rng)})
