"""`fairprog steer`: a table in, a fair table out, and what it reports of rows held out."""

import csv
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import fairprog as fp
from fairprog.cli.columns import read_design
from fairprog.cli.csv_table import read_table
from fairprog.cli.tabular import TableSteering
from tests.command_line import held_out, people, refused, steer, write


@pytest.mark.slow
def test_the_head_of_the_report_is_the_mean_over_the_splits(folder, capsys):
    """One split may contradict the others: it neither heads the page nor raises the alarm."""
    assert steer("--report", "report.html", "--quiet", splits="4") == 0
    printed = capsys.readouterr().out
    page = Path("report.html").read_text(encoding="utf-8")
    found = re.search(r"aligned features +(\S+) ±\S+ +(\S+) ±\S+ +(\S+) ±", printed)
    assert found is not None and f">{found[1]}</span>" in page  # the accuracy, in its card
    assert "Held-out worst gap" in page and "this says nothing about your rows" in page
    assert "Gap on rows, worst threshold" not in page
    assert "logistic models" in page
    assert ("GREW" in page) == ("GREW" in printed)
    assert steer("--report", "one.html", "--quiet", splits="1") == 0
    assert "Gap on rows, worst threshold" in Path("one.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_warning_stands_under_the_table_where_gaps_grow(folder, capsys):
    """The population of the README: aligned without labels the gap is the larger one."""
    D = fp.Normal([[0.3, 0.2], [0.3, 0.2]], [[0.0, 1.0], [2.0, 2.0]], std=[[1, 1], [1, 2]])
    X, y, a = D.sample(4000, random_state=0)
    write(pd.DataFrame({"x": X[:, 0], "g": np.where(a == 1, "b", "a"), "y": y}))
    assert steer("--report", "report.html", "--quiet", splits="4") == 0
    lines = capsys.readouterr().out.splitlines()
    assert any("gaps GREW: aligned features" in line for line in lines)
    page = Path("report.html").read_text(encoding="utf-8")
    assert "gaps GREW: aligned features" in page and 'class="bad"' in page
    assert steer("--quiet", data="data.csv", splits="0") == 0
    assert "GREW" not in capsys.readouterr().out


def test_the_output_is_what_the_library_says(folder):
    data = people()
    D = fp.Normal.fit(data[["x1", "x2"]], data["y"], sensitive_features=data["g"])
    sol = fp.NearestIdeal(D, steer=["b"]).solve()
    want = sol.align(data[["x1", "x2"]], sensitive_features=data["g"])
    assert steer("--out", "steered.csv") == 0
    got = pd.read_csv("steered.csv")
    np.testing.assert_allclose(got[["x1", "x2"]], want, rtol=1e-12)
    stays = (data["g"] == "a").to_numpy()
    np.testing.assert_array_equal(got["x1"][stays], data["x1"][stays])


def test_everything_else_goes_out_as_it_came_in(folder):
    with open("data.csv", newline="") as stream:
        rows = list(csv.reader(stream))
    notes = ["note, quoted"] + [f'a "{k:03d}", 1.50 ' for k in range(len(rows) - 1)]
    with open("odd.csv", "w", newline="") as stream:
        csv.writer(stream).writerows([n, *row] for n, row in zip(notes, rows, strict=True))
    assert steer("--features", "x1", "--out", "out.csv", data="odd.csv") == 0
    with open("out.csv", newline="") as stream:
        out = list(csv.reader(stream))
    assert [r[0] for r in out] == notes
    assert [r[2:] for r in out] == [r[1:] for r in rows]


def test_held_out_gaps_close(folder, capsys):
    write(people(4000))
    found = held_out(capsys)
    (_, gap, worst, *_), (_, after, less, _, chance, *_) = found.values()
    assert gap > 0.1 and after < 0.1
    assert less < 0.5 * worst and less < 2 * chance


def test_the_seed_decides(folder, capsys):
    first, same, other = (held_out(capsys, "--seed", s, splits="2") for s in "001")
    del first["nothing"][-1], same["nothing"][-1]  # seconds
    assert first["nothing"] == same["nothing"] != other["nothing"]


def test_positive_names_the_class_that_counts(folder, capsys):
    data = people()
    data["y"] = data["y"].map({0: "yes", 1: "no"})
    write(data)
    assert steer() == 0
    assert "positive is 'yes', the last" in capsys.readouterr().out
    assert steer("--positive", "no", "--model", "model.json") == 0
    assert "positive is 'no':" in capsys.readouterr().out
    assert TableSteering.load("model.json").solution.original.classes == ("yes", "no")
    assert "does not hold; its values are 'no', 'yes'" in refused(
        capsys, steer("--positive", "maybe")
    )


def test_numeric_labels_are_in_the_order_of_numbers(folder):
    data = people()
    data["y"] = data["y"].map({0: 10, 1: 9})
    write(data)
    design = read_design(read_table("data.csv"), "y", "g")
    assert design.classes == ("9", "10")


def test_steering_all_keeping_rates_and_another_reference(folder, capsys):
    assert steer("--steer", "all", "--transport", "diagonal", "--base-rates", "keep") == 0
    said = capsys.readouterr().out
    assert "every group, by Diagonal(), base rates kept" in said
    assert steer("--reference", "b") == 0
    assert "'a' by Monotone(), base rates equalized; 'b' stays" in capsys.readouterr().out


def test_three_groups_report_the_worst_pair(folder, capsys):
    write(people(900, groups=("a", "b", "c")))
    assert steer(splits="2") == 0
    said = capsys.readouterr().out
    assert "'b', 'c' by Monotone()" in said
    assert "aligned features" in said


def test_three_classes_report_equalized_odds(folder, capsys):
    data = people(900)
    data["y"] = data["y"] + (data["x2"] > 44)
    write(data)
    assert steer(splits="2") == 0
    said = capsys.readouterr().out
    assert "3 classes: '0', '1', '2'" in said
    assert "equalized odds" in said and "Y=1" not in said


def test_small_cells_are_a_note_and_failed_splits_are_counted(folder, capsys):
    write(people(40))
    assert steer(splits="3") == 0
    done = capsys.readouterr()
    assert re.search(r"Note: Cells \(class, group\)\s+with fewer than 5 d = 10 rows", done.out)
    assert done.err == ""
    assert steer("--test-size", "0.9", splits="2") == 0
    assert "aligned features could not run: Class" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--features", "x1", "X2", "nope"], "no column 'X2' (did you mean 'x2'?), 'nope'; its"),
        (["--features", "x1", "y"], "'y' are named by --features and also as --label"),
        (["--label", "why"], "no column 'why'"),
        (["--label", "g"], "'g' is named both as --label and as --sensitive"),
        (["--label", "x1"], "Column 'x1' holds"),
        (["--steer", "z"], "names 'z', which is not one of ['a', 'b']"),
        (["--reference", "z"], "names 'z', which is not one of ['a', 'b']"),
        (["--steer", "b", "--reference", "b"], "`reference` 'b' is steered"),
        (["--out", "data.csv"], "'data.csv' is read from or written to already"),
        (["--out", "./x/../data.csv"], "does not exist"),
        (["--out", "model.json", "--model", "model.json"], "or written to already"),
        (["--model", "model.pkl"], "must end in .json or .npz; found 'model.pkl'"),
        (["--out", "."], "it is a folder"),
        (["--out", "-"], "'-' is no file"),
        (["--out", "/dev/null"], "it is a device"),
        (["--out", "out.parquet"], "--out is a CSV file; found 'out.parquet'"),
    ],
)
def test_questions_that_make_no_sense(folder, capsys, arguments, words):
    before = Path("data.csv").read_bytes()
    assert words in refused(capsys, steer(*arguments))
    assert [p.name for p in folder.iterdir()] == ["data.csv"]
    assert Path("data.csv").read_bytes() == before


def test_every_group_named_one_by_one(folder, capsys):
    assert steer("--steer", "a", "--steer", "b") == 0
    said = capsys.readouterr().out
    assert "steered     'a', 'b' by Monotone(), base rates equalized\n" in said


def test_weights_are_a_column_on_request(folder, capsys):
    data = people()
    write(data)
    assert steer("--out", "out.csv", "--weights", "w", "--model", "model.json") == 0
    out = pd.read_csv("out.csv")
    assert list(out.columns) == [*data.columns, "w"]
    solution = fp.load("model.json").solution
    want = solution.sample_weight(data["y"].astype(str), sensitive_features=data["g"])
    assert np.allclose(out["w"], want)
    # they carry the base rates of the ideal population
    rates = [np.average(out["y"][out["g"] == g], weights=out["w"][out["g"] == g]) for g in "ab"]
    assert rates[0] == pytest.approx(rates[1], abs=1e-9)
    assert abs(np.diff(data.groupby("g")["y"].mean())[0]) > 0.02  # control
    assert "give --out" in refused(capsys, steer("--weights", "w"))
    assert "already has a column 'x1'" in refused(
        capsys, steer("--out", "o.csv", "--weights", "x1")
    )


# ------------------------------------------------------------------------------------- real data


@pytest.mark.slow
def test_compas(folder, capsys, data_dir):
    """Both worst gaps fall to less than .45 of what they were, accuracy within .012."""
    from experiments.tables import compas

    data = compas(data_dir)
    assert len(data) == 6150
    write(data, "compas.csv")
    options = {"data": "compas.csv", "label": "no_recid", "sensitive": "race"}
    before, after = held_out(capsys, "--out", "out.csv", splits="8", **options).values()
    assert before[0] == pytest.approx(0.667, abs=0.006)
    assert before[0] - after[0] <= 0.012
    for worst, less in zip(before[2:4], after[2:4], strict=True):
        assert less < 0.45 * worst
    assert len(pd.read_csv("out.csv")) == 6150


def test_adult_has_the_known_counts(data_dir):
    from experiments.tables import adult

    data = adult(data_dir)
    assert len(data) == 48842
    assert data["income"].groupby(data["sex"]).mean().round(4).to_dict() == {
        "Female": 0.1093,
        "Male": 0.3038,
    }
    assert not data.isna().any(axis=None)
