"""The command line: a table in, a fair table out, and clear words where it cannot be done."""

import csv
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import fairprog as fp
from fairprog.cli import main, reproduce
from fairprog.cli.columns import read_design
from fairprog.cli.csv_table import read_table
from fairprog.cli.tabular import TableSteering


def people(n=600, seed=0, groups=("a", "b")) -> pd.DataFrame:
    """Two numeric features that favour the last group, in cells that are normal."""
    rng = np.random.default_rng(seed)
    g = rng.choice(groups, n, p=[0.6] + [0.4 / (len(groups) - 1)] * (len(groups) - 1))
    y = (rng.random(n) < np.where(g == groups[0], 0.45, 0.55)).astype(int)
    later = g != groups[0]
    x1 = 1.5 * y + 1.2 * later + (1 + 0.4 * later) * rng.normal(size=n)
    x2 = 40 + 3 * y + later + 0.5 * x1 + rng.normal(size=n)
    return pd.DataFrame({"x1": x1.round(4), "x2": x2.round(3), "g": g, "y": y})


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    people().to_csv("data.csv", index=False)
    return tmp_path


def steer(*extra: str, data="data.csv", label="y", sensitive="g", splits="0") -> int:
    return main(
        ["steer", data, "--label", label, "--sensitive", sensitive, "--splits", splits, *extra]
    )


def write(data: pd.DataFrame, name="data.csv") -> None:
    data.to_csv(name, index=False)


def refused(capsys, code: int) -> str:
    """What stderr says of a refusal: one line, no traceback."""
    assert code == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "Traceback" not in said
    return said


# ------------------------------------------------------------------------------ the happy path


def test_align_repeats_what_steer_wrote(folder, capsys):
    assert steer("--out", "steered.csv", "--model", "model.json", splits="3") == 0
    said = capsys.readouterr().out
    for part in ("KL divergence", "price of consensus", "linear[b,", "certificate", "by chance"):
        assert part in said
    assert "positive is '1', the last in order" in said
    assert re.search(r"the\s+largest\s+group\)\s+stays", said)
    assert max(map(len, said.splitlines())) <= 88
    assert main(["align", "--model", "model.json", "data.csv", "--out", "again.csv"]) == 0
    assert Path("again.csv").read_bytes() == Path("steered.csv").read_bytes()


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


@pytest.mark.parametrize("suffix", ["json", "npz"])
def test_a_saved_model_needs_no_label_and_aligns_to_the_bit(folder, suffix):
    assert steer("--out", "steered.csv", "--model", f"model.{suffix}") == 0
    write(people().drop(columns="y"), "new.csv")
    assert main(["align", "--model", f"model.{suffix}", "new.csv", "--out", "out.csv"]) == 0
    want = pd.read_csv("steered.csv").drop(columns="y")
    pd.testing.assert_frame_equal(pd.read_csv("out.csv"), want)


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


def held_out(capsys, *extra: str, splits="4", **options: str) -> dict[str, list[float]]:
    """What is printed of rows held out, by method: score, gap, worst gaps, chance, ..."""
    assert steer("--quiet", *extra, splits=splits, **options) == 0
    said = capsys.readouterr().out
    rows = re.findall(r"^(nothing|aligned features) +(.*)$", said, flags=re.MULTILINE)
    found: dict[str, list[float]] = {}
    for name, text in rows:  # of the several tables a narrow terminal gets
        found.setdefault(name, []).extend(map(float, re.sub("±\\S+", "", text).split()))
    return found


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


# -------------------------------------------------------------------------- columns that cannot be


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


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "data.csv is empty"),
        ("x,g,y\n", "has a header but no rows"),
        ("x;g;y\n1,5;a;0\n1,5,7;b;1\n", "'x' (not numeric: '1,5,7')"),
        ("x\tg\ty\n1\ta\t0\n2\tb\t1\t7\n4\ta\t1\n", "cannot be read as a CSV file"),
        ("x,g,y\n1,a,0,9\n", "cannot be read as a CSV file"),
        ("x,g,y\n1,a,0\n2,a,1\n", "'g' holds 1 different value(s) ('a')"),
        ("x,x,g,y\n1,1,a,0\n2,3,b,1\n", "'x' (its name occurs twice)"),
        ("x,g,y\n1,a,0\n2,b,1\n4,a,\n5,,1\n", "missing values in 'y' (1 rows), 'g' (1 rows)"),
        ("x,g,y\n1,a,0\n2,b,1\n3,b,1\n4,a,0\n", "Class '0', group 'b' has 0 row(s)"),
        ("x,g,y\ninf,a,0\n2,b,1\n3,b,1\n4,a,0\n", "'x' (infinite in 1 rows)"),
    ],
)
def test_tables_that_cannot_be_used(folder, capsys, text, words):
    Path("data.csv").write_text(text)
    said = refused(capsys, steer("--out", "out.csv"))
    assert words in said
    assert not Path("out.csv").exists()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"PAR1\x15\x04\x80\xff", "cannot be read as a Parquet file"),
        (b"PK\x03\x04\x14\x00\x06\x80\xff\n", "a workbook or a zip archive; write it as a CSV"),
    ],
)
def test_files_of_another_kind_are_named(folder, capsys, data, words):
    Path("data.csv").write_bytes(data)
    assert words in refused(capsys, steer())


def test_a_folder_is_no_table(folder, capsys):
    assert "'.' is a folder; a CSV file is needed" in refused(capsys, steer(data="."))


def test_every_group_named_one_by_one(folder, capsys):
    assert steer("--steer", "a", "--steer", "b") == 0
    said = capsys.readouterr().out
    assert "steered     'a', 'b' by Monotone(), base rates equalized\n" in said


def test_a_byte_order_mark_and_blanks_in_the_header(folder):
    text = Path("data.csv").read_text().replace("x1,x2,g,y", "x1, x2 ,g, y")
    Path("data.csv").write_text(text, encoding="utf-8-sig")
    assert steer("--out", "out.csv") == 0
    assert Path("out.csv").read_text(encoding="utf-8").startswith("x1, x2 ,g, y\n")


# ----------------------------------------------------------------------------------------- align


def test_align_refuses_what_the_model_does_not_know(folder, capsys):
    assert steer("--model", "model.json") == 0
    capsys.readouterr()

    def align(data, *extra):
        write(data, "new.csv")
        return main(["align", "--model", "model.json", "new.csv", "--out", "out.csv", *extra])

    data = people()
    said = refused(capsys, align(data.replace({"g": {"b": "c"}})))
    assert "holds group(s) ['c'], which the model does not know; it knows ['a', 'b']" in said
    said = refused(capsys, align(data.rename(columns={"x1": "x_1"})))
    assert "no column 'x1' (did you mean 'x_1'" in said
    words = data.astype({"x1": object})
    words.loc[2, "x1"] = "many"
    assert "'x1' of new.csv must hold finite numbers; found 'many' in data row 3" in refused(
        capsys, align(words)
    )
    holes = data.copy()
    holes.loc[2, "x1"] = np.nan
    assert "missing values in 'x1' (1 rows). Give --drop-rows" in refused(capsys, align(holes))
    assert not Path("out.csv").exists()
    assert align(holes, "--drop-rows") == 0
    assert "1 rows with missing values were left out" in capsys.readouterr().out
    assert len(pd.read_csv("out.csv")) == 599


def test_align_wants_one_of_our_models(folder, capsys):
    def align(model):
        return refused(capsys, main(["align", "--model", model, "data.csv", "--out", "out.csv"]))

    assert "There is no model file 'none.json'" in align("none.json")
    Path("broken.json").write_text("{")
    assert "not a file written by fairprog" in align("broken.json")
    Path("half.json").write_text('{"fairprog": 1, "kind": "table_steering", "data": {}}')
    assert "or damaged" in align("half.json")
    data = people()
    D = fp.Normal.fit(data[["x1", "x2"]], data["y"], sensitive_features=data["g"])
    fp.NearestIdeal(D, steer=["b"]).solve().save("bare.json")
    assert (
        "holds a Solution; needed is a model written by `fairprog fit` or `fairprog steer"
        in align("bare.json")
    )
    assert steer("--model", "model.json") == 0
    assert "read from or written to" in refused(
        capsys, main(["align", "--model", "model.json", "data.csv", "--out", "data.csv"])
    )


# ------------------------------------------------------------------------- the program as a whole


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


# ------------------------------------------------------------------ identifiers, levels, weights


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


def test_models_of_the_command_line_are_read_by_load(folder):
    write(people())
    assert steer("--model", "model.json") == 0
    code = (
        "import fairprog as fp; model = fp.load('model.json'); "
        "print(type(model).__name__, model.solution.certificate.ok)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["TableSteering", "True"], done.stderr


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


# -------------------------------------------------------------------- files in the usual hands


def to_semicolons(data, path):
    data.to_csv(path, index=False, sep=";", decimal=",")


HANDS = {
    "semicolons": (to_semicolons, "its columns are separated by semicolons"),
    "tabs": (lambda d, p: d.to_csv(p, index=False, sep="\t"), "separated by tabs"),
    "latin-1": (lambda d, p: d.to_csv(p, index=False, encoding="latin-1"), "text is latin-1"),
    "UTF-16": (lambda d, p: d.to_csv(p, index=False, encoding="utf-16"), "text is UTF-16"),
    "both": (
        lambda d, p: d.to_csv(p, index=False, sep="\t", encoding="utf-16"),
        "its text is UTF-16 and its columns are separated by tabs",
    ),
    "Parquet": (lambda d, p: d.to_parquet(p), "it is a Parquet file"),
    "Feather": (lambda d, p: d.to_feather(p), "it is a Feather file"),
    "row names": (
        lambda d, p: Path(p).write_text(
            d.to_csv(header=False).join([",".join(d.columns) + "\n", ""])
        ),
        "its first column, which the header does not name, is an index",
    ),
}


@pytest.mark.parametrize("hand", HANDS)
def test_files_of_other_hands_are_read_and_said(folder, capsys, hand):
    data = people().replace({"g": {"a": "möwe", "b": "spatz"}})
    write(data)
    assert steer("--out", "plain.csv") == 0
    capsys.readouterr()
    save, words = HANDS[hand]
    save(data, "other.csv")
    assert steer("--out", "out.csv", data="other.csv") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "other.csv was read as it is:" in said and words in said
    found, expected = pd.read_csv("out.csv"), pd.read_csv("plain.csv")
    if hand == "row names":
        found = found.iloc[:, 1:]
    pd.testing.assert_frame_equal(found, expected, rtol=1e-12)


def test_an_index_column_without_a_name_is_set_aside(folder, capsys):
    people().to_csv("indexed.csv")
    assert steer("--out", "out.csv", data="indexed.csv") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "features 2: x1, x2" in said and "left out (whole numbers, every one different" in said
    assert pd.read_csv("out.csv").iloc[:, 0].tolist() == list(range(600))


def test_a_question_mark_is_no_value(folder, capsys):
    data = people().astype({"x1": object})
    data.loc[:4, "x1"] = "?"
    write(data)
    assert "missing values in 'x1' (5 rows)" in refused(capsys, steer())
    assert steer("--drop-rows", "--out", "out.csv") == 0
    assert len(pd.read_csv("out.csv")) == 595


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
