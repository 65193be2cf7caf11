"""Checks for what users bring along: families and templates of their own."""

from fairprog.testing.family_checks import check_family
from fairprog.testing.template_checks import check_template

__all__ = ["check_family", "check_template"]
