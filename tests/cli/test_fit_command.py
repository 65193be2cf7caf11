"""`fairprog fit` asks the rows before it writes; `fairprog apply` moves new ones."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import fairprog as fp
from fairprog.cli import fitting, main
from fairprog.cli.csv_table import read_table
from fairprog.cli.outputs import for_columns
from fairprog.cli.tabular import TableSteering
from tests.instances import made_comparison


def people(n=1000, seed=0, apart=True) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    g, y = rng.choice(["f", "m"], n, p=[0.4, 0.6]), rng.integers(2, size=n)
    away = (g == "f") * apart
    x = 1.2 * y + (1 + 0.5 * away) * rng.normal(size=n) + 1.5 * away
    p = 1 / (1 + np.exp(-(x - 0.6)))
    town = rng.choice(["north", "south", "west"], n)
    return pd.DataFrame({"id": np.arange(n) + 1000, "x": x.round(3), "town": town,
                         "p": p.round(4), "sex": g, "y": y})  # fmt: skip


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    people().to_csv("data.csv", index=False)
    return tmp_path


COMMAND = ["fit", "data.csv", "--label", "y", "--sensitive", "sex", "--splits", "2", "--quiet"]


def with_whole_numbers(table: pd.DataFrame) -> pd.DataFrame:
    home = np.where(table["x"] > 0, "own", "rented")
    return table.assign(years=np.round(40 + 5 * table["x"]).astype(int), home=home)


def test_from_a_table_to_a_step_and_new_rows(folder, capsys):
    with_whole_numbers(people()).to_csv("data.csv", index=False)
    assert main([*COMMAND, "--out", "step.json", "--report", "fit.html", "--exclude", "p",
                 "--method", "each"]) == 0  # fmt: skip
    said = capsys.readouterr().out
    for part in ("Boosted trees, by methods", "Logistic model", "Method: features, ", "left out"):
        assert part in said
    assert max(map(len, said.splitlines())) <= 88
    page = Path("fit.html").read_text(encoding="utf-8")
    assert page.index("Held-out worst gap") < page.index("this says nothing about your rows")
    assert page.index("Read this first") < page.index("Columns that are moved")
    new = with_whole_numbers(people(200, seed=1).drop(columns="y"))
    new.to_csv("new.csv", index=False)
    assert main(["apply", "step.json", "new.csv", "--out", "out.csv", "--key", "id"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "200 rows as CSV, moved without labels" in said
    assert "0/1" not in said
    new, out = (pd.read_csv(name, dtype=str) for name in ("new.csv", "out.csv"))
    kept = ["id", "p", "town", "sex"]
    pd.testing.assert_frame_equal(new[kept], out[kept])
    assert list(out) == list(new)  # text of two values moves between the two
    assert set(out["home"]) == {"own", "rented"} and (out["home"] != new["home"]).any()
    frame = pd.read_csv("new.csv").astype({"town": "category"})
    frame = fp.load("step.json").transform(frame, key="id")
    assert frame["town"].dtype == "category" and set(frame["home"]) == {"own", "rented"}
    assert out["years"].str.fullmatch(r"-?\d+").all() and (out["years"] != new["years"]).any()
    fitted = fp.load("step.json")
    assert isinstance(fitted.step, fp.IdealSteering)
    assert fitted.solution is fitted.step.solution_ and fitted.solution.certificate.ok


def test_a_score_is_moved_by_the_step_of_a_score(folder, capsys):
    assert main([*COMMAND, "--score", "p", "--out", "step.json"]) == 0
    said = capsys.readouterr().out
    assert "Method: score, " in said
    fitted = TableSteering.load("step.json")
    table = read_table("data.csv")
    s, a = pd.read_csv("data.csv")["p"], table.text("sex")
    want = fitted.step.transform(s, sensitive_features=a)
    np.testing.assert_allclose(fitted.align(table).cells[3].astype(float), want)
    y = pd.read_csv("data.csv")["y"]
    before, after = (fp.audit(y, v, sensitive_features=a) for v in (s, want))
    key = "equalized odds", "score"
    assert after.worst[key].gap < 0.5 * before.worst[key].gap


def test_a_choice_that_may_be_chance_is_said_to_be_one(folder, capsys):
    note = "Note: A change may be chance: another split of the rows (--seed) may decide otherwise."
    for apart, unsure in ((True, False), (False, True)):
        people(apart=apart).to_csv("data.csv", index=False)
        assert main([*COMMAND, "--score", "p", "--method", "quantile", "--force"]) == 0
        said = " ".join(capsys.readouterr().out.split())
        assert ("which may be chance" in said) is (note in said) is unsure


def test_what_exit_code_3_means_is_the_rule_of_choice(folder, capsys):
    """`choose` asks for one standard error, and lets gaps given one outcome grow by up to two."""
    people(apart=False).to_csv("data.csv", index=False)
    for asked in ([*COMMAND, "--score", "p"], ["fit", "--help"]):
        assert main(asked) == (0 if "--help" in asked else 3)
        said = " ".join(capsys.readouterr().out.split())
        assert "by more than one standard error" in said and "given one outcome" in said
        assert "without making another one larger" not in said


def test_where_rows_say_no_nothing_is_written(folder, capsys):
    people(apart=False).to_csv("data.csv", index=False)
    asked = [*COMMAND, "--score", "p", "--out", "step.json", "--report", "fit.html"]
    assert main(asked) == 3
    said = " ".join(capsys.readouterr().out.split())
    assert "No step was written" in said and "--max-loss allows" in said
    assert not Path("step.json").exists()
    page = Path("fit.html").read_text(encoding="utf-8")  # the evidence is the point
    assert "No step was written: the rows say no" in page and "No method lowers" in page
    assert "Methods compared" in page and "The optimisation" not in page


def test_what_forbids_the_winner_is_said():
    found = {"trees": made_comparison(
        channel=(0.885, 0.05, 0.2, 0.6), quantile=(0.895, 0.1, 0.0, 0.6)
    )}  # fmt: skip
    assert fitting.passed_over(found, "quantile", 0.01, lots=False) == []
    assert fitting.passed_over(found, "quantile", 0.01, lots=True) == [
        "channel would win, but loses 0.015 of the accuracy, more than --max-loss 0.01."
    ]
    assert fitting.passed_over(found, "quantile", 0.02, lots=False) == [
        "channel would win, but draws lots, which --no-lots forbids: two draws for one row differ "
        "in 20.00% of decisions."
    ]


def test_notes_speak_the_words_of_the_commands():
    said = for_columns(
        "Rounding to values that occur loses some: column 1: 3 of 9 values of group 'f' are left. "
        "Give snap=False for a learner that is no tree, leave the column out, or steer scores.",
        ["age", "pay"],
    )
    assert said.endswith(
        "pay: 3 of 9 values of group 'f' are left. Leave the column out by --exclude, or move "
        "the score of a model (fit --score)."
    )
    said = for_columns("nothing; name another by `threshold`. method='quantile' does it.")
    assert said == "nothing; name another by --threshold. --method quantile does it."


def test_force_writes_what_rows_refuse(folder, capsys):
    """The population of the README: aligned without labels its gap grows."""
    D = fp.Normal([[0.3, 0.2], [0.3, 0.2]], [[0.0, 1.0], [2.0, 2.0]], std=[[1, 1], [1, 2]])
    X, y, a = D.sample(3000, random_state=0)
    data = pd.DataFrame({"x": X[:, 0], "sex": np.where(a == 1, "f", "m"), "y": y})
    data.to_csv("data.csv", index=False)
    asked = [*COMMAND, "--method", "align", "--out", "step.json"]
    assert main(asked) == 3
    assert "Held-out gaps GROW: " in " ".join(capsys.readouterr().out.split())
    assert main([*asked, "--force"]) == 0
    align = ["steer", "data.csv", "--label", "y", "--sensitive", "sex", "--splits", "0"]
    assert main([*align, "--model", "model.json"]) == 0
    one, other = (
        TableSteering.load(p).align(read_table("data.csv")) for p in ("step.json", "model.json")
    )
    pd.testing.assert_frame_equal(one.cells, other.cells)


def test_help_has_an_example_and_says_where_to_read_on(capsys):
    for command in ("fit", "apply", "steer", "align", "audit"):
        assert main([command, "--help"]) == 0
        said = capsys.readouterr().out
        assert f"  fairprog {command} " in said and "documentation: " in said


def test_a_step_that_draws_lots_says_so_and_has_a_report(folder, capsys):
    asked = [*COMMAND, "--score", "p", "--method", "channel"]
    assert main([*asked, "--out", "step.json", "--no-lots", "--force"]) == 3
    assert "which --no-lots forbids" in " ".join(capsys.readouterr().out.split())
    assert main([*asked, "--out", "step.json", "--report", "fit.html", "--force"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "Method: score, channel" in said and "Wrote fit.html" in said
    assert "draws lots" in said and "--key COLUMN" in said and "--no-lots leaves" in said
    page = Path("fit.html").read_text(encoding="utf-8")
    assert "The answer is verified" in page and "randomised" in page
    people(200, seed=1).to_csv("new.csv", index=False)
    assert main(["apply", "step.json", "new.csv", "--out", "out.csv", "--key", "id"]) == 0
    assert "identifies every row" not in capsys.readouterr().out
    assert main(["apply", "step.json", "new.csv", "--out", "out.csv", "--key", "sex"]) == 0
    assert "holds 2 values in 200 rows" in " ".join(capsys.readouterr().out.split())
    assert main(["apply", "step.json", "new.csv", "--out", "out.csv"]) == 0
    assert capsys.readouterr().out.count("Say `fairprog apply --key`") == 1


@pytest.mark.parametrize("draws", [True, False])
def test_apply_without_a_key_says_where_lots_decide(folder, capsys, draws):
    """Whole numbers are split by lots; numbers without repetitions are moved by the map alone."""
    columns = ["x", "years"] if draws else ["x"]
    with_whole_numbers(people()).to_csv("data.csv", index=False)
    asked = [*COMMAND, "--features", *columns, "--method", "each", "--force"]
    assert main([*asked, "--out", "step.json"]) == 0
    step, said = fp.load("step.json").step, capsys.readouterr().out
    assert step._draws is draws and not step._shared
    assert ("so say `fairprog apply --key COLUMN`" in " ".join(said.split())) is draws
    assert main(["apply", "step.json", "data.csv", "--out", "out.csv"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert said.count("Note: Tied values are told apart by lots, and without a key") == draws
    assert main(["apply", "step.json", "data.csv", "--out", "out.csv", "--key", "id"]) == 0
    assert "told apart by lots" not in capsys.readouterr().out


def test_a_file_that_cannot_be_made_was_not_written(folder, capsys, monkeypatch):
    def fails(*_):
        raise fp.DataError("no page")

    monkeypatch.setattr(fitting, "_page", fails)
    asked = [*COMMAND, "--score", "p", "--out", "step.json", "--report", "fit.html"]
    assert main([*asked, "--force"]) == 1
    assert "Wrote" not in capsys.readouterr().out and not Path("step.json").exists()


def test_unknown_methods_are_named(folder, capsys):
    assert main([*COMMAND, "--method", "magic"]) == 1
    assert "there are each, all, align" in capsys.readouterr().err


def test_numbers_in_the_german_way(folder, capsys):
    data = people(300)
    data["x"] = data["x"].astype(str).str.replace(".", ",")
    data["pay"] = [f"{k % 7 + 1}.{100 + k}" if k % 3 else "900" for k in range(300)]
    data["note"] = "1,5"
    data.to_csv("data.csv", sep=";", index=False)
    assert main(["steer", "data.csv", "--label", "y", "--sensitive", "sex", "--splits", "0",
                 "--features", "x", "--out", "out.csv"]) == 0  # fmt: skip
    said = " ".join(capsys.readouterr().out.split())
    assert "column 'pay' holds" in said and "take them out" in said
    out = pd.read_csv("out.csv", dtype=str)
    assert set(out["note"]) == {"1,5"} and out["x"].astype(float).notna().all()


def test_a_group_called_all_is_no_option(folder, capsys):
    data = people(300)
    data["sex"] = data["sex"].replace("f", "all")
    data.to_csv("data.csv", index=False)
    asked = ["steer", "data.csv", "--label", "y", "--sensitive", "sex", "--splits", "0"]
    assert main([*asked, "--exclude", "town", "--steer", "all"]) == 1
    assert "one group is called 'all'" in capsys.readouterr().err


def test_fit_names_scores_as_the_other_way_and_few_of_many_columns_left_out(folder, capsys):
    many = {f"c{k}": 1 for k in range(40)}
    people().assign(**many).to_csv("data.csv", index=False)
    assert main([*COMMAND, "--method", "each", "--exclude", "p", "id", "town"]) in (0, 3)
    said = " ".join(capsys.readouterr().out.split())
    assert "`--score COL`" in said and "the better one for tables of categories" in said
    assert "left out 43 columns: p (excluded); id (excluded); town (excluded); and 40 more" in said
    assert main([*COMMAND, "--method", "quantile", "--score", "p"]) in (0, 3)
    assert "no score is tried" not in capsys.readouterr().out


def test_the_positive_class_is_called_as_in_the_file_by_steer_too(folder, capsys):
    people().assign(y=lambda t: np.where(t.y == 1, "yes", "no")).to_csv("data.csv", index=False)
    steer = ["steer", *COMMAND[1:], "--features", "x", "--out", "out.csv"]
    assert main(steer) == 0
    assert "Y=1 is 'yes'" in " ".join(capsys.readouterr().out.split())


def test_a_data_frame_is_moved_by_place_whatever_its_index(folder):
    with_whole_numbers(people()).to_csv("data.csv", index=False)
    assert main([*COMMAND, "--out", "step.json", "--exclude", "p", "--method", "each"]) == 0
    step, new = fp.load("step.json"), with_whole_numbers(people(200, seed=1))
    want = step.transform(new, key="id")
    order = np.random.default_rng(0).permutation(len(new))
    found = step.transform(new.iloc[order], key="id")
    pd.testing.assert_frame_equal(found, want.iloc[order])
    named = step.transform(new.set_index("id", drop=False), key="id")
    pd.testing.assert_frame_equal(named.reset_index(drop=True), want)


@pytest.mark.parametrize(("command", "text"), [("fit", ()), ("fit", ("school",)), ("steer", ())])
def test_text_that_says_what_a_moved_number_says_is_named(folder, capsys, command, text):
    """Whether the text is a feature or only stays in the file; `steer` moves no text."""
    table = with_whole_numbers(people())
    table["years"] = table["years"].clip(36, 44)
    table.assign(school="level " + table["years"].astype(str)).to_csv("data.csv", index=False)
    more = ["--method", "each", "--report", "fit.html"] if command == "fit" else ["--splits", "0"]
    main([command, "data.csv", "--label", "y", "--sensitive", "sex", "--quiet", *more,
          "--features", "x", "years", *text])  # fmt: skip
    said = " ".join(capsys.readouterr().out.split())
    shown = "school=level 37" if text else "school)"
    assert "Note: years moves, and what says the same stays (" in said and shown in said
    if command == "fit":
        assert "years moves, and what says the same" in Path("fit.html").read_text("utf-8")


def test_text_that_stays_passes_whatever_it_holds(folder, capsys):
    """`town` is read by nobody who moves rows: no reason to refuse a new town, or none."""
    with_whole_numbers(people()).to_csv("data.csv", index=False)
    assert main([*COMMAND, "--out", "step.json", "--exclude", "p", "--method", "each"]) == 0
    new = with_whole_numbers(people(60, seed=1).drop(columns="y"))
    changed = new.assign(town=["east", None, *new["town"][2:]])
    changed.to_csv("new.csv", index=False)
    assert main(["apply", "step.json", "new.csv", "--out", "out.csv", "--key", "id"]) == 0
    out = pd.read_csv("out.csv")
    pd.testing.assert_series_equal(out["town"], changed["town"])
    step = fp.load("step.json")
    want = step.transform(new, key="id")
    moves = ["x", "years", "home"]
    pd.testing.assert_frame_equal(out[moves], want[moves])
    pd.testing.assert_frame_equal(step.transform(changed, key="id")[moves], want[moves])


def test_a_data_frame_is_refused_in_the_words_of_python(folder, capsys):
    with_whole_numbers(people()).to_csv("data.csv", index=False)
    assert main([*COMMAND, "--out", "step.json", "--exclude", "p", "--method", "each"]) == 0
    step, new = fp.load("step.json"), with_whole_numbers(people(60, seed=1))
    want = step.transform(new, key="id")
    strange = new.assign(home=["leased", *new["home"][1:]])
    holes = new.assign(years=[np.nan, *new["years"][1:]])
    for frame, words in ((strange, r"unseen='drop' .* unseen='zeros'"), (holes, "drop_rows=True")):
        with pytest.raises(fp.DataError, match=words) as said:
            step.transform(frame, key="id")
        assert "--" not in str(said.value)
    for found in (
        step.transform(strange, key="id", unseen="drop"),
        step.transform(holes, key="id", drop_rows=True).astype({"years": int}),
    ):
        pd.testing.assert_frame_equal(found, want.iloc[1:])
    holes.to_csv("new.csv", index=False)
    assert main(["apply", "step.json", "new.csv", "--out", "out.csv"]) == 1
    assert "Give --drop-rows to leave out rows" in " ".join(capsys.readouterr().err.split())
