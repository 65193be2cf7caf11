"""Populations: joint laws of features, class and group."""

from fairprog.populations.base import Population, population_from_dict
from fairprog.populations.evaluation import Evaluation
from fairprog.populations.lognormal import LogNormal
from fairprog.populations.moments import Moments
from fairprog.populations.normal import Normal

__all__ = ["Evaluation", "LogNormal", "Moments", "Normal", "Population", "population_from_dict"]
