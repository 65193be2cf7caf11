"""Comparison: every way of making a learner fair, on one set of splits, beside doing nothing."""

from fairprog.comparison.judge import compare
from fairprog.comparison.result import Best, Comparison

__all__ = ["Best", "Comparison", "compare"]
