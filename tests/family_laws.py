"""Univariate families, one of them a user's, and the same laws as scipy has them."""

import cvxpy as cp
import numpy as np
from scipy import stats
from scipy.special import gammaln

import fairprog as fp


class Power15(fp.LocationScale):
    """exp(-|z|^1.5 / 1.5) up to a constant: no closed forms, a kink in the second derivative."""

    kinks = (0.0,)
    symmetric = True
    constant = np.log(2.0 / 1.5 * 1.5 ** (2.0 / 3.0)) + gammaln(2.0 / 3.0)

    @staticmethod
    def neg_log_density(z):
        return np.abs(z) ** 1.5 / 1.5 + Power15.constant

    @staticmethod
    def atom(z):
        return cp.power(cp.abs(z), 1.5) / 1.5 + Power15.constant

    @staticmethod
    def draw(rng, size):
        return rng.choice([-1.0, 1.0], size) * (1.5 * rng.gamma(2 / 3, size=size)) ** (2 / 3)


# a population's cells as scipy's laws: (loc, scale) or the family's own two arrays
SCIPY = {
    fp.Laplace: lambda p, s: stats.laplace(p, s),
    fp.Logistic: lambda p, s: stats.logistic(p, s),
    fp.Gumbel: lambda p, s: stats.gumbel_r(p, s),
    fp.GumbelMin: lambda p, s: stats.gumbel_l(p, s),
    fp.ShiftedExponential: lambda p, s: stats.expon(p, s),
    fp.Gamma: lambda k, m: stats.gamma(k, scale=m / k),
    fp.Weibull: lambda k, s: stats.weibull_min(k, scale=s),
    Power15: lambda p, s: stats.gennorm(1.5, p, s * 1.5 ** (2 / 3)),
}
FAMILIES = list(SCIPY)
POSITIVE = (fp.Gamma, fp.Weibull)


def instance(family, rng, K=2, G=2):
    """Return a random population of a family."""
    q = rng.dirichlet(np.full(K * G, 5.0)).reshape(K, G)
    first = rng.normal(scale=1.5, size=(K, G))
    second = np.exp(rng.uniform(-0.6, 0.6, (K, G)))
    if family in (fp.Gamma, fp.Weibull):
        first = np.exp(rng.uniform(-0.3, 1.0, (K, G)))
    if family is fp.Exponential:
        return family(q, second, groups="abc"[:G])
    return family(q, first, second, groups="abc"[:G])


def scipy_law(D, i, a):
    """The cell's law in the family's own coordinates, as (scipy law, transform of x)."""
    family = type(D)
    if family is fp.Weibull:
        return SCIPY[fp.GumbelMin](D.base_loc[i, a], D.base_scale[i, a])
    if isinstance(D, fp.Gamma):
        return stats.loggamma(D.shape[i, a], D.base_loc[i, a])
    return SCIPY[family](D.base_loc[i, a], D.base_scale[i, a])
