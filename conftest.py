"""Which modules have doctests that can run here."""

from importlib.util import find_spec

# Its tests, tests/test_torch*.py, are skipped where the extra is missing, and say so.
collect_ignore = [] if find_spec("torch") else ["fairprog/torch"]
