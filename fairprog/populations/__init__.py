"""Populations: joint laws of features, class and group."""

from fairprog.populations.base import Population, population_from_dict
from fairprog.populations.categorical import Categorical, Support
from fairprog.populations.evaluation import Evaluation
from fairprog.populations.lognormal import LogNormal
from fairprog.populations.normal import Normal

__all__ = [
    "Categorical",
    "Evaluation",
    "LogNormal",
    "Normal",
    "Population",
    "Support",
    "population_from_dict",
]
