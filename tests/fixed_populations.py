"""Populations with the same numbers on every machine: the inputs of programs written down."""

import math
import random

import numpy as np

import fairprog as fp


def uniform(seed, *shape, low=0.0, high=1.0):
    """Return numbers in (low, high), the same on every machine."""
    rng = random.Random(seed)
    values = [low + (high - low) * rng.random() for _ in range(math.prod(shape))]
    return np.array(values).reshape(shape)


def prior(seed, K=2, G=2):
    mass = uniform(seed, K, G, low=0.5, high=1.5)
    return mass / mass.sum()


def labels(K=2, G=2):
    return {"classes": ["no", "maybe", "yes"][:K] if K > 2 else [0, 1], "groups": "abcd"[:G]}


def positive(seed, K=2, G=2):
    return uniform(seed, K, G, low=0.8, high=3.0)


def line(family, seed=1, K=2, G=2, one_scale=False):
    """Return a univariate population of (loc, scale), with one scale per class if asked."""
    loc = uniform(seed + 100, K, G, low=-1.0, high=0.2)
    loc[-1] += 1.0 if family is not fp.ShiftedExponential else -0.3  # all rows in its domain
    scale = uniform(seed + 200, K, G, low=0.4, high=1.2)
    if one_scale:
        scale[:] = scale[:, :1]
    return family(prior(seed, K, G), loc, scale, **labels(K, G))


def normal1(seed=1, K=2, G=2, family=fp.Normal):
    mean = uniform(seed + 100, K, G, low=-1.5, high=1.5)
    mean[-1] += 1.0
    std = uniform(seed + 200, K, G, low=0.4, high=1.6)
    return family(prior(seed, K, G), mean, std=std, **labels(K, G))


def normal(d, seed=1, K=2, G=2, family=fp.Normal):
    mean = uniform(seed + 100, K, G, d, low=-1.0, high=1.0)
    rows = uniform(seed + 200, K, G, d, d + 2, low=-1.0, high=1.0)
    cov = np.einsum("iajk,ialk->iajl", rows, rows) + 0.2 * np.eye(d)
    return family(prior(seed, K, G), mean, cov=cov, **labels(K, G))


def tied(d, seed=1, K=2, G=2):
    D = normal(d, seed, K, G)
    cov = np.broadcast_to(D.cov[:1], D.cov.shape)
    return fp.Normal(D.prior, D.mean, cov=cov[0], covariance="tied", **labels(K, G))


def diagonal(d, seed=1, K=2, G=2, family=fp.Normal):
    mean = uniform(seed + 100, K, G, d, low=-1.0, high=1.0)
    var = uniform(seed + 200, K, G, d, low=0.3, high=2.0)
    return family(prior(seed, K, G), mean, cov=var, covariance="diagonal", **labels(K, G))


def two_that_agree(seed=1):
    """Return three groups, of which "b" is the image of "a" under 2 x + 1: both may stay."""
    D = normal1(seed, 2, 3)
    q, mean, std = D.prior.copy(), D.mean.copy(), D.std.copy()
    q[:, 1], mean[:, 1], std[:, 1] = 0.7 * q[:, 0], 2.0 * mean[:, 0] + 1.0, 2.0 * std[:, 0]
    return fp.Normal(q / q.sum(), mean, std=std, **labels(2, 3))


def with_constant_feature(D):
    """Return D with one more feature, which is 3 in every cell."""
    K, G, d = D.mean.shape
    mean = np.concatenate([D.mean, np.full((K, G, 1), 3.0)], axis=-1)
    cov = np.zeros((K, G, d + 1, d + 1))
    cov[..., :d, :d] = D.cov
    return fp.Normal(D.prior, mean, cov=cov, **labels(K, G))


def finite(X=4, seed=1, K=2, G=2):
    joint = uniform(seed, X, K, G, low=0.2, high=1.0)
    joint += np.arange(X)[:, None, None] * np.arange(K)[:, None] / X
    return fp.Categorical(joint / joint.sum(), **labels(K, G))


def scores(n=12, seed=1):
    a = ["a", "b"] * (n // 2)
    weight = uniform(seed + 9, n, low=0.5, high=1.5)
    return fp.Categorical.from_scores(
        uniform(seed, n, low=0.05, high=0.95), sensitive_features=a, sample_weight=weight
    )
