"""Programs assemble templates into one optimisation problem and prove its answer.

`NearestIdeal` decides the population within a family, `NearestFair` among all, `FairClassifier`
the classifier, `FairScore` the score.
"""

from fairprog.programs.conditions import Condition, constraint
from fairprog.programs.fair_classifier import FairClassifier
from fairprog.programs.fair_score import FairScore
from fairprog.programs.ideality import IdealityTest, ideality_test
from fairprog.programs.nearest_fair import NearestFair
from fairprog.programs.nearest_ideal import NearestIdeal
from fairprog.programs.rows_needed import RowsNeeded, rows_needed

__all__ = [
    "Condition",
    "FairClassifier",
    "FairScore",
    "IdealityTest",
    "NearestFair",
    "NearestIdeal",
    "RowsNeeded",
    "constraint",
    "ideality_test",
    "rows_needed",
]
