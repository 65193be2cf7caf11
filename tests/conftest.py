"""Fixtures and settings shared by all tests."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("MPLBACKEND", "Agg")  # before anything imports matplotlib

for module in Path(__file__).parent.glob("*.py"):  # so that failing asserts show values there, too
    if module.stem != "conftest":
        pytest.register_assert_rewrite(f"tests.{module.stem}")

# The same examples on every run, and no verdict that depends on how busy the machine is.
settings.register_profile(
    "deterministic",
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("thorough", settings.get_profile("deterministic"), max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "deterministic"))


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real data sets, from the environment variable FAIRPROG_DATA."""
    value = os.environ.get("FAIRPROG_DATA")
    if not value:
        pytest.skip("FAIRPROG_DATA is not set: it names the folder of the real data sets")
    folder = Path(value)
    if not folder.is_dir():
        pytest.skip(f"FAIRPROG_DATA names {value}, which is not a folder")
    return folder


@pytest.fixture(autouse=True)
def _close_figures() -> Iterator[None]:
    """Leave no figure open (matplotlib warns past twenty, and warnings are errors here)."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
