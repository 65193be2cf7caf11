"""Files of version 0.1.0 are read by every later one, and answer what they answered then."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

import fairprog as fp
from tests.first_version import FILES, answers

pytestmark = pytest.mark.filterwarnings("ignore:.*fewer than 5 d rows")

with zipfile.ZipFile(FILES) as archive:
    ANSWERS = json.loads(archive.read("answers.json"))


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("first_version")
    with zipfile.ZipFile(FILES) as archive:
        archive.extractall(folder)
    return folder


def assert_alike(found, wanted):
    assert type(found) is type(wanted)
    if isinstance(wanted, dict):
        assert list(found) == list(wanted)
        for key in wanted:
            assert_alike(found[key], wanted[key])
    else:
        np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ANSWERS)
def test_a_file_of_the_first_version_answers_as_it_did(name, files, tmp_path):
    kept = fp.load(files / f"{name}.json")
    found = answers(kept.solution if name == "table" else kept)
    assert_alike(json.loads(json.dumps(found, sort_keys=True)), ANSWERS[name])
    for suffix in ("json", "npz"):  # and goes on doing so when it is written anew
        kept.save(tmp_path / f"again.{suffix}")
        again = fp.load(tmp_path / f"again.{suffix}")
        assert type(again) is type(kept)
        assert_alike(answers(again.solution if name == "table" else again), found)


@pytest.mark.parametrize("name", ["normal", "full", "categorical"])
def test_nothing_is_known_of_the_rows_behind_the_first_files(name, files):
    assert fp.load(files / f"{name}.json").original.n_rows is None


def test_the_effective_rows_of_scored_populations_are_read(files):
    D = fp.load(files / "scores.json").original
    assert (D.effective_rows, D.n_rows, D.scores_given) == (40, None, True)
    assert fp.load(files / "classifier.json").classifier.population.effective_rows == 40


def test_every_kind_of_file_is_among_them():
    kinds = set()
    with zipfile.ZipFile(FILES) as archive:
        for name in archive.namelist():
            if name != "answers.json":
                kinds.add(json.loads(archive.read(name))["kind"])
    assert kinds == {
        "classifier_solution",
        "concept_steering",
        "ideal_steering",
        "moments",
        "quantile_map",
        "reweighted_solution",
        "score_steering",
        "solution",
        "table_steering",
    }
