"""scikit-learn steps that move real data to an ideal population."""

from fairprog.estimators.ideal_steering import IdealSteering

__all__ = ["IdealSteering"]
