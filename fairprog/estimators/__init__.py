"""scikit-learn steps that move real data to an ideal population."""

from fairprog.estimators.concept_steering import ConceptSteering
from fairprog.estimators.ideal_steering import IdealSteering
from fairprog.estimators.reweighted_classifier import ReweightedClassifier
from fairprog.estimators.score_steering import ScoreSteering
from fairprog.estimators.steered_classifier import SteeredClassifier

__all__ = [
    "ConceptSteering",
    "IdealSteering",
    "ReweightedClassifier",
    "ScoreSteering",
    "SteeredClassifier",
]
