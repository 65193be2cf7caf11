"""Good input that bad input is made from, and what an error must say."""

import cvxpy as cp
import numpy as np
import pytest

import fairprog as fp
from tests.instances import univariate

PRIOR = [[0.3, 0.2], [0.3, 0.2]]
MEAN = [[0.0, 1.0], [2.0, 2.0]]
STD = [[1.0, 1.0], [1.0, 2.0]]
LABELS = {"classes": ["no", "yes"], "groups": ["a", "b"]}
COV = np.broadcast_to(np.eye(2), (2, 2, 2, 2))
MEAN2 = np.arange(8.0).reshape(2, 2, 2)


def normal(**change):
    """Return a univariate population, arguments changed."""
    return fp.Normal(**({"prior": PRIOR, "mean": MEAN, "std": STD} | LABELS | change))


def normal2(**change):
    """Return a population of two features, arguments changed."""
    return fp.Normal(**({"prior": PRIOR, "mean": MEAN2, "cov": COV} | LABELS | change))


def cell(array, at, value):
    """Return a copy with one entry (or block) replaced."""
    out = np.array(array, dtype=float)
    out[at] = value
    return out


D1, D2 = normal(), normal2(cov=COV * np.array([[1, 2], [3, 1]])[..., None, None])
D3 = univariate(np.random.default_rng(0), 2, 3)
SOLUTION = fp.NearestIdeal(D1, steer=["b"]).solve()
SOLUTION2 = fp.NearestIdeal(D2, steer=["b"]).solve()

DATA, MODEL = fp.DataError, fp.ModelError
EITHER = DATA, MODEL  # a matter of taste


def check(call, kind, match, argument=None, where=None):
    """Assert the error's class (or one of several) and roots, message, argument and cell."""
    with pytest.raises(fp.FairprogError, match=match) as caught:
        call()
    error = caught.value
    assert type(error) in (kind if isinstance(kind, tuple) else (kind,))
    assert isinstance(error, ValueError) == (type(error) in (fp.DataError, fp.ModelError))
    assert isinstance(error, RuntimeError) == (type(error) in (fp.InfeasibleError, fp.SolverError))
    assert argument is ... or error.argument == argument
    assert error.cell == where
    return error


def cases(*rows):
    """Parametrise by (name, call, kind, match, argument[, cell])."""
    return pytest.mark.parametrize("row", [r[1:] for r in rows], ids=[r[0] for r in rows])


def program(D=D1, steer=("b",), **options):
    """Return a program, options changed."""
    return fp.NearestIdeal(D, steer=list(steer), **options)


@fp.constraint
def small_shift(view, population):
    return cp.abs(view.mean["yes", "b"] - population.mean["yes", "b"]) <= 0.1
