"""Rows of three classes in two groups, and their moments gathered in pieces."""

import numpy as np

import fairprog as fp


def rows(n=900, d=5, seed=0, dtype=np.float64, loc=0.0):
    rng = np.random.default_rng(seed)
    X = (rng.standard_normal((n, d)) * np.linspace(1.0, 2.0, d) + loc).astype(dtype)
    y, a = rng.integers(0, 3, n), rng.choice(["a", "b"], n)
    return X + y[:, None].astype(dtype), y, a


def gathered(X, y, a, pieces=1, weight=None, **options):
    out = fp.Moments(**options)
    for part in np.array_split(np.arange(len(X)), pieces):
        w = None if weight is None else weight[part]
        out.partial_fit(X[part], y[part], sensitive_features=a[part], sample_weight=w)
    return out


def same_bits(one, other):
    left, right = one.to_dict(), other.to_dict()
    for key in ("mean", "scatter", "mass", "count"):
        order = [
            right["slots" if key == "scatter" else "cells"].index(c)
            for c in left["slots" if key == "scatter" else "cells"]
        ]
        for x, k in zip(left[key], order, strict=True):
            if not np.array_equal(x, right[key][k]):
                return False
    return True


def chunks(X, y, a, pieces=12, stop=None):
    for k, part in enumerate(np.array_split(np.arange(len(X)), pieces)):
        if k == stop:
            raise KeyboardInterrupt
        yield X[part], y[part], a[part]
