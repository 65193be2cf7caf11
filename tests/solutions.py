"""One solution of every kind, and how answers are compared."""

from collections.abc import Mapping

import cvxpy as cp
import numpy as np

import fairprog as fp
from tests.instances import log_normal, multivariate, univariate


@fp.constraint
def small_shift(view, population):
    """A condition that can be imported by its name."""
    return cp.abs(view.mean[1, "b"] - population.mean[1, "b"]) <= 0.5


def solutions():
    """Return one solution of every kind, with a name."""
    rng = np.random.default_rng(0)
    D, E = univariate(rng), multivariate(rng, 3, 3, 3)
    labels = {"classes": [("no", 0), ("yes", 1)], "groups": [3, (4, "x")]}
    odd = fp.Normal(D.prior, D.mean, std=D.std, **labels)
    logical = fp.Normal(D.prior, D.mean, std=D.std, classes=[False, True], groups=["ä β", 0.5])
    steer_b = {"steer": ["b"]}
    yield "univariate", fp.NearestIdeal(D, **steer_b).solve()
    yield "two groups", fp.NearestIdeal(D).solve()
    yield "bound", fp.NearestIdeal(D, **steer_b, map_bound=0.1).solve()
    yield "custom", fp.NearestIdeal(D, **steer_b, constraints=[small_shift]).solve()
    yield "rates", fp.NearestIdeal(D, base_rates=[0.3, 0.7]).solve()
    yield "mirror", fp.NearestIdeal(D, **steer_b, orientation="any", base_rates="keep").solve()
    yield "tuples", fp.NearestIdeal(odd, steer=[(4, "x")]).solve()
    yield "logical", fp.NearestIdeal(logical, steer=[0.5]).solve()
    metric = fp.Monotone(np.eye(3) + 0.1)
    yield "multivariate", fp.NearestIdeal(E, steer=["c", "b"], transport=metric).solve()
    yield "whitened", fp.NearestIdeal(E, steer=["a", "b"], transport=fp.Whitened(0)).solve()
    yield "diagonal", fp.NearestIdeal(E, steer=["a", "b"], transport=fp.Diagonal()).solve()
    yield "log-normal", fp.NearestIdeal(log_normal(rng, 2), **steer_b).solve()


SOLUTIONS = dict(solutions())


def assert_same_bits(x, y):
    """Compare nested answers: keys and order, every bit of every array."""
    if isinstance(x, Mapping):
        assert isinstance(y, Mapping)
        assert list(x) == list(y)
        for key in x:
            assert_same_bits(x[key], y[key])
    elif isinstance(x, (np.ndarray, np.generic)):
        assert np.shape(x) == np.shape(y)
        assert np.array_equal(x, y)
    elif isinstance(x, fp.AffineMap):
        assert_same_bits(x.matrix, y.matrix)
        assert_same_bits(x.offset, y.offset)
    else:
        assert x == y
