"""scikit-learn steps that move real data to an ideal population."""

from fairprog.estimators.ideal_steering import IdealSteering
from fairprog.estimators.score_steering import ScoreSteering

__all__ = ["IdealSteering", "ScoreSteering"]
