"""The examples of the page on language models are true (`make docs` runs them only with torch)."""

import doctest
from pathlib import Path

import numpy as np
import pytest

import fairprog as fp

pytest.importorskip("transformers", reason="transformers is not installed: make test-torch")
pytest.importorskip("torch", reason="torch is not installed: make test-torch")

PAGE = Path(__file__).resolve().parents[1] / "docs" / "guides" / "language_models.rst"


def test_examples_of_the_page():
    done = doctest.testfile(
        str(PAGE),
        module_relative=False,
        globs={"fp": fp, "np": np},
        optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE,
    )
    assert done.failed == 0 and done.attempted >= 25
