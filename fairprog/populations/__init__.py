"""Populations: joint laws of features, class and group."""

from fairprog.populations.base import Population, population_from_dict
from fairprog.populations.evaluation import Evaluation
from fairprog.populations.lognormal import LogNormal
from fairprog.populations.normal import Normal
from fairprog.populations.pushforward import Pushforward

__all__ = [
    "Evaluation",
    "LogNormal",
    "Normal",
    "Population",
    "Pushforward",
    "population_from_dict",
]
