"""Rows of classes and groups for steps that steer features, and warnings they expect."""

import numpy as np
import pytest

from tests.instances import multivariate

# classes of the two groups that no one map brings together
GROWS = pytest.mark.filterwarnings("ignore:The worst gap of a linear model GREW")


KEYED = pytest.mark.filterwarnings("ignore:Tied values are told apart")  # a key comes later


def data(n=3000, seed=0, d=3, G=2):
    D = multivariate(np.random.default_rng(seed), d, K=2, G=G)
    X, y, a = D.sample(n, random_state=seed)
    return X, y, np.array(list("abcd"))[[D.groups.index(g) for g in a.tolist()]]
