"""Audit of scores: how unequal can any threshold on them get, and how sure is that."""

from fairprog.audits.measure import audit
from fairprog.audits.result import Audit, GapInterval, Leakage, ScoreMovement
from fairprog.audits.who import WorstThreshold

__all__ = ["Audit", "GapInterval", "Leakage", "ScoreMovement", "WorstThreshold", "audit"]
