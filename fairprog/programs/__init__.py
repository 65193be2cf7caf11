"""Programs assemble templates into one optimisation problem and prove its answer.

`NearestIdeal` decides the population within a family, `NearestFair` among all, `FairClassifier`
the classifier, `FairScore` the score.
"""

from fairprog.programs.conditions import Condition, constraint
from fairprog.programs.fair_classifier import FairClassifier
from fairprog.programs.fair_score import FairScore
from fairprog.programs.nearest_fair import NearestFair
from fairprog.programs.nearest_ideal import NearestIdeal

__all__ = [
    "Condition",
    "FairClassifier",
    "FairScore",
    "NearestFair",
    "NearestIdeal",
    "constraint",
]
