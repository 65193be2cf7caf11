"""Checks for what users bring along, like scikit-learn's ``check_estimator``."""

from fairprog.testing.templates import check_template

__all__ = ["check_template"]
