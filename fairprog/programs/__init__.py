"""Programs assemble templates into one optimisation problem and prove its answer.

`NearestIdeal` is the front door; importing a module with a subclass of it makes the family known.
"""

from fairprog.programs import (
    nearest_categorical,
    nearest_diagonal,
    nearest_line,
    nearest_normal,
    nearest_transformed,
)
from fairprog.programs.conditions import Condition, constraint
from fairprog.programs.fair_classifier import FairClassifier
from fairprog.programs.nearest_ideal import NearestIdeal

__all__ = [
    "Condition",
    "FairClassifier",
    "NearestIdeal",
    "constraint",
    "nearest_categorical",
    "nearest_diagonal",
    "nearest_line",
    "nearest_normal",
    "nearest_transformed",
]
