"""Audit of scores: how unequal can any threshold on them get, and how sure is that."""

from fairprog.audit.measure import audit
from fairprog.audit.result import Audit, GapInterval, Leakage, ScoreMovement
from fairprog.audit.who import WorstThreshold

__all__ = ["Audit", "GapInterval", "Leakage", "ScoreMovement", "WorstThreshold", "audit"]
