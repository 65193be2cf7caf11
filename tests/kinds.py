"""Kinds of populations, and the programs that the matrix of test_matrix.py asks about."""

from dataclasses import dataclass, field
from functools import cache, cached_property

import numpy as np

import fairprog as fp
from tests import fixed_populations as fixed
from tests.family_laws import Power15

BOUND = 0.1  # on the distance between maps


@dataclass(frozen=True)
class Kind:
    """How populations of a kind are made, and the options its programs need."""

    population: object  # (K, G) -> population
    options: dict = field(default_factory=dict)
    free: dict | None = field(default_factory=dict)  # besides, with all groups steered; or refused


def one_shape(seed, K, G):
    """Return parameters that are the same in all groups: closed under what programs move."""
    return np.repeat(fixed.positive(seed, K, G)[:, :1], G, axis=1)


def gamma(family):
    return lambda K, G: family(
        fixed.prior(7, K, G), one_shape(300, K, G), fixed.positive(301, K, G), **fixed.labels(K, G)
    )


def location_scale(family):
    return Kind(lambda K, G: fixed.line(family, 1, K, G, one_scale=True), free=SHIFT)


SHIFT = {"transport": fp.Translation()}
PIECEWISE = {"transport": fp.PiecewiseLinear(8)}
MONOTONE = {"transport": fp.Monotone()}
AFFINE = {"transport": fp.Affine()}

KINDS = {
    "normal-1": Kind(lambda K, G: fixed.normal1(1, K, G)),
    "log-normal-1": Kind(lambda K, G: fixed.normal1(1, K, G, fp.LogNormal)),
    "Laplace": location_scale(fp.Laplace),
    "Logistic": location_scale(fp.Logistic),
    "Gumbel": location_scale(fp.Gumbel),
    "GumbelMin": location_scale(fp.GumbelMin),
    "ShiftedExponential": location_scale(fp.ShiftedExponential),
    "a user's family": location_scale(Power15),
    "Exponential": Kind(
        lambda K, G: fp.Exponential(
            fixed.prior(7, K, G), fixed.positive(301, K, G), **fixed.labels(K, G)
        )
    ),
    "Gamma": Kind(gamma(fp.Gamma)),
    "Weibull": Kind(gamma(fp.Weibull), free=SHIFT),
    "normal-2": Kind(lambda K, G: fixed.normal(2, 1, K, G)),
    "affine-2": Kind(lambda K, G: fixed.normal(2, 1, K, G), AFFINE),
    "tied-2": Kind(lambda K, G: fixed.tied(2, 1, K, G)),
    "constant feature": Kind(lambda K, G: fixed.with_constant_feature(fixed.normal(2, 1, K, G))),
    "log-normal-2": Kind(lambda K, G: fixed.normal(2, 1, K, G, fp.LogNormal)),
    "diagonal-2": Kind(lambda K, G: fixed.diagonal(2, 1, K, G)),
    "diagonal-1": Kind(lambda K, G: fixed.diagonal(1, 1, K, G)),
    "diagonal monotone": Kind(lambda K, G: fixed.diagonal(2, 1, K, G), MONOTONE),
    "log-normal diagonal": Kind(lambda K, G: fixed.diagonal(2, 1, K, G, fp.LogNormal)),
    "log of normal-1": Kind(lambda K, G: fp.Transformed(fixed.normal1(1, K, G), "log")),
    "Yeo-Johnson of normal-2": Kind(
        lambda K, G: fp.Transformed(fixed.normal(2, 1, K, G), fp.YeoJohnson([0.5, 1.5]))
    ),
    "log of Logistic": Kind(
        lambda K, G: fp.Transformed(fixed.line(fp.Logistic, 1, K, G, one_scale=True), "log"),
        free=SHIFT,
    ),
    "log of diagonal": Kind(lambda K, G: fp.Transformed(fixed.diagonal(2, 1, K, G), fp.Log())),
    "log of diagonal monotone": Kind(
        lambda K, G: fp.Transformed(fixed.diagonal(2, 1, K, G), fp.Log()), MONOTONE
    ),
    "log of power of normal-1": Kind(
        lambda K, G: fp.Transformed(
            fp.Transformed(fixed.normal1(1, K, G), fp.Power(0.5)), fp.Log()
        )
    ),
    "finite": Kind(lambda K, G: fixed.finite(4, 1, K, G)),
    "piecewise": Kind(lambda K, G: fixed.normal1(1, K, G), PIECEWISE, free=None),
    "log of piecewise": Kind(
        lambda K, G: fp.Transformed(fixed.normal1(1, K, G), "log"), PIECEWISE, free=None
    ),
}
LINES = [
    "Laplace",
    "Logistic",
    "Gumbel",
    "GumbelMin",
    "ShiftedExponential",
    "a user's family",
    "Exponential",
    "Gamma",
    "Weibull",
    "log of Logistic",
]
CONVEX_FREE = [*LINES, "finite"]  # kinds whose programs with all groups steered are convex
DIAGONALS = ["diagonal-2", "diagonal-1", "diagonal monotone", "log-normal diagonal"]
ONE_MAP = ["piecewise", "log of piecewise"]
MATRICES = ["log of diagonal", "log of diagonal monotone"]  # with a bound, with Monotone()
TRANSFORMED = [kind for kind in KINDS if " of " in kind]


class Case:
    """Programs of one kind and their answers, solved once; the first group stays."""

    def __init__(self, name, K, G):
        self.name, self.kind = name, KINDS[name]
        self.D = self.kind.population(K, G)
        self.steer = list(self.D.groups[1:])
        n, D = 6, self.D
        self.y = [D.classes[k % K] for k in range(n)]
        self.group = [D.groups[k // 2 % G] for k in range(n)]
        self.X = np.outer([0.25, 0.5, 0.75, 0.75, 0.25, 0.5], np.ones(D.n_features))
        if name == "finite":
            self.X = np.array([D.values[k % D.n_atoms] for k in range(n)])

    def program(self, steer=None, **options):
        chosen = {**self.kind.options, **options}
        return fp.NearestIdeal(self.D, self.steer if steer is None else steer, **chosen)

    def free(self, **options):
        """Return the program with every group steered."""
        return self.program("all", **{**(self.kind.free or {}), **options})

    @cached_property
    def answer(self):
        return self.program().solve()

    @cached_property
    def free_answer(self):
        return self.free().solve()

    @cached_property
    def bounded_answer(self):
        return self.program(map_bound=BOUND).solve()


case = cache(Case)
