"""Populations: joint laws of features, class and group."""

from fairprog.populations.base import Population, population_from_dict
from fairprog.populations.bijections import (
    Bijection,
    Log,
    Logit,
    Power,
    QuantileNormal,
    YeoJohnson,
)
from fairprog.populations.categorical import Categorical, Support
from fairprog.populations.diagonal_normal import DiagonalNormal
from fairprog.populations.empirical import Empirical, EmpiricalFit
from fairprog.populations.evaluation import Evaluation
from fairprog.populations.laws import Gumbel, GumbelMin, Laplace, Logistic, ShiftedExponential
from fairprog.populations.location_scale import LocationScale
from fairprog.populations.lognormal import LogNormal
from fairprog.populations.moments import Moments
from fairprog.populations.monotone_fit import fit_piecewise_linear
from fairprog.populations.normal import Normal
from fairprog.populations.positive import Exponential, Gamma, Weibull
from fairprog.populations.pushforward import Pushforward
from fairprog.populations.score_counts import ScoreCounts
from fairprog.populations.transformed import Transformed

__all__ = [
    "Bijection",
    "Categorical",
    "DiagonalNormal",
    "Empirical",
    "EmpiricalFit",
    "Evaluation",
    "Exponential",
    "Gamma",
    "Gumbel",
    "GumbelMin",
    "Laplace",
    "LocationScale",
    "Log",
    "LogNormal",
    "Logistic",
    "Logit",
    "Moments",
    "Normal",
    "Population",
    "Power",
    "Pushforward",
    "QuantileNormal",
    "ScoreCounts",
    "ShiftedExponential",
    "Support",
    "Transformed",
    "Weibull",
    "YeoJohnson",
    "fit_piecewise_linear",
    "population_from_dict",
]
