"""The command line as a program: exit codes, `python -m`, `reproduce`, a closed pipe."""

import subprocess
import sys
from pathlib import Path

import pytest

import fairprog as fp
from fairprog.cli import main, reproduce
from tests.command_line import refused


def test_exit_codes(folder, capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"fairprog {fp.__version__}\n"
    assert main(["steer", "--help"]) == 0
    assert "--drop-rows" in capsys.readouterr().out
    assert main([]) == 2
    assert main(["steer", "data.csv"]) == 2
    assert main(["steer", "data.csv", "--label", "y", "--sensitive", "g", "--splits", "-1"]) == 2
    assert main(["steer", "data.csv", "--label", "y", "--sensitive", "g", "--test-size", "2"]) == 2
    assert main(["steer", "none.csv", "--label", "y", "--sensitive", "g"]) == 1


def test_python_m_fairprog():
    done = subprocess.run(
        [sys.executable, "-m", "fairprog", "--version"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, f"fairprog {fp.__version__}\n")


RUNNER = """\
import pathlib
from experiments import parts
from .parts import NAMES

GROUPS = {}

def names():
    return NAMES

def run(only, out, quick):
    out.mkdir(parents=True, exist_ok=True)
    (out / "done.txt").write_text(f"{only} {quick} {parts.NAMES}")
    return 0
"""


@pytest.fixture
def experiments(folder, monkeypatch):
    """A small folder of experiments, found where an installed wheel would have it."""
    place = folder / "installed" / "experiments"
    place.mkdir(parents=True)
    (place / "__init__.py").write_text("")
    (place / "parts.py").write_text("NAMES = ['one', 'two']")
    (place / "runner.py").write_text(RUNNER)
    monkeypatch.setattr(reproduce, "PLACES", (folder / "nowhere", place))
    return place


def test_reproduce_runs_the_experiments_it_finds(experiments, capsys):
    path, others = list(sys.path), sorted(n for n in sys.modules if n.startswith("experiments"))
    assert main(["reproduce", "--list"]) == 0
    assert capsys.readouterr().out == "one\ntwo\n"
    assert main(["reproduce", "--only", "two", "--quick", "--out", "results"]) == 0
    assert Path("results/done.txt").read_text() == "['two'] True ['one', 'two']"
    assert main(["reproduce", "--out", "more"]) == 0
    assert Path("more/done.txt").read_text() == "None False ['one', 'two']"
    said = refused(capsys, main(["reproduce", "--only", "three"]))
    assert "no experiment 'three'; there are 'one', 'two'" in said
    assert sys.path == path
    assert sorted(n for n in sys.modules if n.startswith("experiments")) == others


def test_reproduce_says_when_there_is_nothing(folder, capsys, monkeypatch):
    monkeypatch.setattr(reproduce, "PLACES", (folder,))
    assert "has no experiments" in refused(capsys, main(["reproduce"]))


@pytest.mark.slow
def test_a_closed_pipe_ends_silently(folder):
    line = (
        f"{sys.executable} -m fairprog steer data.csv --label y --sensitive g --out o.csv --quiet"
    )
    done = subprocess.run(
        f"set -o pipefail; {line} | head -1", shell=True, capture_output=True, text=True,
        executable="/bin/bash", check=False,
    )  # fmt: skip
    assert done.returncode == 0 and done.stderr == "" and "600 rows" in done.stdout
    assert Path("o.csv").exists()
