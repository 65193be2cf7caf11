"""Columns that cannot be features, or are several: each is listed, with the option that helps."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import fairprog as fp
from fairprog.cli import main
from fairprog.cli.tabular import TableSteering
from tests.command_line import people, refused, steer, write


def spoilt() -> pd.DataFrame:
    """Every kind of column that cannot be a feature."""
    data = people()
    n = len(data)
    data.insert(0, "name", [f"p{k}" for k in range(n)])
    data.insert(1, "colour", np.where(data["x2"] % 1 > 0.5, "red", "blue"))
    data["flag"] = 7
    data["rare"] = np.where(np.arange(n) < 9, "3.5", "")
    data["holes"] = [["NA", ""][k % 2] if k < 6 else str(k % 11) for k in range(n)]
    return data


def test_every_unusable_column_is_listed_at_once(folder, capsys):
    write(spoilt())
    said = refused(capsys, steer("--out", "out.csv", "--model", "model.json"))
    for part in (
        "'name' (not numeric: 'p0')",
        "'colour' (not numeric: ",
        "'flag' (constant: '7')",
        "'rare' (missing in 591 of 600 rows)",
        "missing values in 'holes' (6 rows)",
        "--onehot",
        "--drop to",
        "--drop-rows",
        "--features",
        "For the missing values also give --drop-rows",
    ):
        assert part in said
    assert "'x1'" not in said
    assert sorted(p.name for p in folder.iterdir()) == ["data.csv"]


def test_each_option_mends_its_kind(folder, capsys):
    write(spoilt())
    said = refused(capsys, steer("--onehot"))
    assert "'name' (not numeric, and 600 different values)" in said
    assert "colour" not in said
    said = refused(capsys, steer("--drop"))
    assert "missing values in 'holes' (6 rows). Give --drop-rows" in said
    assert steer("--drop", "--drop-rows", "--out", "out.csv") == 0
    said = capsys.readouterr().out
    assert "600 rows, of which 6 left out" in said
    assert "features    3: x1, x2, holes" in said
    out, data = pd.read_csv("out.csv"), pd.read_csv("data.csv")
    assert list(out.columns) == list(data.columns)
    assert out["name"].tolist() == data["name"][6:].tolist()
    assert steer("--features", "x1", "x2", "--out", "all.csv") == 0
    assert len(pd.read_csv("all.csv")) == 600


def test_onehot_columns_stand_where_the_text_stood(folder, capsys):
    data = people()
    rng = np.random.default_rng(3)
    data.insert(1, "colour", rng.choice(["green", "blue", "red"], len(data)))
    write(data)
    assert steer("--onehot", "--out", "out.csv", "--model", "model.json") == 0
    out = pd.read_csv("out.csv")
    assert list(out.columns) == ["x1", "colour=green", "colour=red", "x2", "g", "y"]
    assert "Note: 'colour=green', 'colour=red' take(s) two values only" in capsys.readouterr().out
    stays = data["g"] == "a"
    assert (out["colour=red"][stays] == (data["colour"] == "red")[stays]).all()
    assert main(["align", "--model", "model.json", "data.csv", "--out", "again.csv"]) == 0
    assert Path("again.csv").read_bytes() == Path("out.csv").read_bytes()

    # few rows that do not hold every level are encoded by the levels the model remembers
    write(data[data["colour"] == "red"].head(5), "few.csv")
    assert main(["align", "--model", "model.json", "few.csv", "--out", "few_out.csv"]) == 0
    want = out[(data["colour"] == "red").to_numpy()].head(5).reset_index(drop=True)
    pd.testing.assert_frame_equal(pd.read_csv("few_out.csv"), want)

    data.loc[4, "colour"] = "pink"
    write(data, "new.csv")
    code = main(["align", "--model", "model.json", "new.csv", "--out", "new_out.csv"])
    said = refused(capsys, code)
    assert "'colour' of new.csv has the value(s) 'pink' (1 rows)" in said
    assert "known are 'blue', 'green', 'red'" in said
    assert not Path("new_out.csv").exists()


def test_a_feature_constant_in_one_cell(folder, capsys):
    data = people()
    rng = np.random.default_rng(5)
    cell = (data["g"] == "b") & (data["y"] == 1)
    data["late"] = np.where(cell, 2.0, rng.normal(size=len(data)))
    write(data)
    said = refused(capsys, steer())
    assert "'late' (constant in class '1' of group 'b')" in said
    assert "--drop" in said
    assert steer("--drop") == 0
    assert "late (constant in class '1' of group 'b')" in capsys.readouterr().out


def test_features_that_depend_on_each_other(folder, capsys):
    data = people()
    data["double"] = 2 * data["x1"] + 1
    write(data)
    assert steer("--out", "out.csv") == 0  # everywhere the same way: set aside, with a note
    assert "1 direction(s) of the features are constant" in capsys.readouterr().out
    rng = np.random.default_rng(5)
    cell = (data["g"] == "b") & (data["y"] == 1)
    data["double"] = np.where(cell, data["double"], rng.normal(size=len(data)))
    write(data)
    said = refused(capsys, steer())
    assert "class '1', group 'b': the features ['x1', 'double'] depend on each other" in said


# -------------------------------------------------------- identifiers, levels, crossed columns


def test_identifiers_are_left_out_with_a_sentence_unless_named(folder, capsys):
    data = people()
    data.insert(0, "id", np.random.default_rng(0).permutation(len(data)) + 10_000)
    write(data)
    assert steer("--out", "out.csv") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "features 2: x1, x2" in said
    assert "left out id (whole numbers, every one different: an identifier)" in said
    assert "Note: 'id': whole numbers" in said and "taken for identifiers and left out" in said
    assert (pd.read_csv("out.csv")["id"] == data["id"]).all()
    assert steer("--features", "id", "x1", "x2", "--out", "named.csv") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "features 3: id, x1, x2" in said and "moved like any other feature" in said
    assert not np.allclose(pd.read_csv("named.csv")["id"], data["id"])
    # control: few rows may differ by chance, and repeated numbers are features
    data["id"] = data["id"] // 2
    write(data)
    assert steer() == 0
    assert "features    3: id, x1, x2" in capsys.readouterr().out


def test_levels_that_are_new_are_dropped_or_encoded_as_none_on_request(folder, capsys):
    data = people()
    data.insert(1, "colour", np.random.default_rng(3).choice(["blue", "green", "red"], len(data)))
    write(data)
    assert steer("--onehot", "--out", "out.csv", "--model", "model.json") == 0
    new = data.copy()
    new.loc[4, "colour"] = "pink"
    write(new, "new.csv")
    align = ["align", "--model", "model.json", "new.csv", "--out", "new_out.csv"]
    said = refused(capsys, main(align))
    assert "--unseen drop" in said and "--unseen zeros" in said
    out = pd.read_csv("out.csv")
    assert main([*align, "--unseen", "drop"]) == 0
    assert "1 rows with missing values or values the model does" in capsys.readouterr().out
    want = out.drop(index=4).reset_index(drop=True)
    pd.testing.assert_frame_equal(pd.read_csv("new_out.csv"), want)
    assert main([*align, "--unseen", "zeros"]) == 0
    # as the first level, which has no column of its own
    blue = data.copy()
    blue.loc[4, "colour"] = "blue"
    write(blue, "blue.csv")
    assert main(["align", "--model", "model.json", "blue.csv", "--out", "blue_out.csv"]) == 0
    assert Path("new_out.csv").read_bytes() == Path("blue_out.csv").read_bytes()


def test_several_sensitive_columns_are_crossed(folder, capsys):
    data = people(2000)
    data.insert(2, "h", np.random.default_rng(1).choice(["young", "old"], 2000))
    write(data)
    options = ["--label", "y", "--sensitive", "g", "h", "--splits", "2"]
    written = ["--out", "steered.csv", "--model", "model.json"]
    assert main(["steer", "data.csv", *options, "--steer", "b & old", "b & young", *written]) == 1
    assert "Groups ['a & old', 'a & young'] stay" in refused(capsys, 1)
    moved = [f"{g} & {h}" for g in "ab" for h in ("old", "young")][1:]
    assert main(["steer", "data.csv", *options, "--steer", *moved, *written]) == 0
    said = capsys.readouterr().out
    assert re.search(r"g & h: 'a & old' [\d,]+, 'a & young' [\d,]+, 'b & old'", said)
    before, after = pd.read_csv("data.csv"), pd.read_csv("steered.csv")
    assert list(before) == list(after) and before[["g", "h"]].equals(after[["g", "h"]])
    still = (before.g == "a") & (before.h == "old")
    assert np.array_equal(before.x1 != after.x1, ~still)
    assert main(["align", "--model", "model.json", "data.csv", "--out", "again.csv"]) == 0
    assert Path("again.csv").read_bytes() == Path("steered.csv").read_bytes()
    model = fp.load("model.json")
    assert model.sensitive == ("g", "h")
    features = [(f.name, f.levels, f.kept) for f in model.features]
    kept = {"label": "y", "features": features, "solution": model.solution.to_dict()}
    old = TableSteering._from_dict({**kept, "sensitive": "g"})
    assert old.sensitive == ("g",)  # files of one column hold its name


def test_crossed_columns_must_tell_their_groups_apart(folder, capsys):
    data = people(400)
    data["h"] = np.where(np.arange(400) % 2, "c", "b & c")
    data["g"] = np.where(np.arange(400) % 2, "a & b", "a")
    write(data)
    said = refused(capsys, main(["steer", "data.csv", "--label", "y", "--sensitive", "g", "h"]))
    assert "read alike" in said
    said = refused(capsys, main(["steer", "data.csv", "--label", "y", "--sensitive", "g", "g"]))
    assert "names a column twice" in said
    said = refused(capsys, main(["steer", "data.csv", "--label", "y", "--sensitive", "g", "y"]))
    assert "both as --label and as --sensitive" in said


def test_columns_are_excluded_by_name(folder, capsys):
    assert steer("--exclude", "x2") == 0
    said = capsys.readouterr().out
    assert "features    1: x1" in said and "x2 (excluded)" in said
    assert "has no column 'x3'" in refused(capsys, steer("--exclude", "x3"))


@pytest.mark.parametrize("base", [0, 10**17])
@pytest.mark.parametrize(("name", "repeats"), [("acct", 0), ("acct", 40), ("id_student", 40)])
def test_identifiers_of_any_length_and_nearly_unique(folder, capsys, base, name, repeats):
    data = people()
    number = np.arange(600)
    number[:repeats] = number[-repeats:] if repeats else number[:repeats]
    data.insert(0, name, [str(base + int(k)) for k in number])
    write(data)
    assert steer("--out", "out.csv") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "features 2: x1, x2" in said and f"left out {name} (whole numbers" in said
    assert f"Note: '{name}'" in said
    # control: an amount that hardly repeats is a feature
    data = data.rename(columns={name: "credit amount"})
    data["credit amount"] = np.random.default_rng(0).integers(250, 18_000, 600)
    assert data["credit amount"].nunique() > 540
    write(data)
    assert steer() == 0
    assert "features    3: credit amount, x1, x2" in capsys.readouterr().out


def test_codes_of_categories_are_noted(folder, capsys):
    data = people()
    data["race"] = np.random.default_rng(0).integers(1, 6, 600)
    write(data)
    assert steer() == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "Note: 'race': a few whole numbers, read as amounts." in said and "--exclude" in said


def test_an_encoded_column_may_be_dropped(folder, capsys):
    data = people()
    rare = (data["g"] == "b") & (data["x1"] > data["x1"].median()) & (data["y"] == 1)
    data["job"] = np.where(rare, "rare", np.where(data["x2"] > 42, "one", "other"))
    write(data)
    assert steer("--onehot", "--drop", "--out", "out.csv") == 0
    assert "job=rare (constant in class '0' of group 'a')" in capsys.readouterr().out
