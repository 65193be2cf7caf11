"""Populations: joint laws of features, class and group."""

from fairprog.populations.base import Population, population_from_dict
from fairprog.populations.categorical import Categorical, Support
from fairprog.populations.evaluation import Evaluation
from fairprog.populations.laws import Gumbel, GumbelMin, Laplace, Logistic, ShiftedExponential
from fairprog.populations.location_scale import LocationScale
from fairprog.populations.lognormal import LogNormal
from fairprog.populations.normal import Normal
from fairprog.populations.positive import Exponential, Gamma, Weibull

__all__ = [
    "Categorical",
    "Evaluation",
    "Exponential",
    "Gamma",
    "Gumbel",
    "GumbelMin",
    "Laplace",
    "LocationScale",
    "LogNormal",
    "Logistic",
    "Normal",
    "Population",
    "ShiftedExponential",
    "Support",
    "Weibull",
    "population_from_dict",
]
