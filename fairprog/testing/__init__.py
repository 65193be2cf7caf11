"""Checks for what users bring along: families and templates of their own."""

from fairprog.testing.families import check_family
from fairprog.testing.templates import check_template

__all__ = ["check_family", "check_template"]
