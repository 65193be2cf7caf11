"""Commands run in a folder of their own that holds a table."""

import pytest

from tests.command_line import people


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    people().to_csv("data.csv", index=False)
    return tmp_path
