"""Checks for what users add themselves, in the manner of scikit-learn's `check_estimator`."""

from fairprog.testing.families import check_family

__all__ = ["check_family"]
