"""`fairprog align` repeats what a saved model does, and refuses what the model does not know."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import fairprog as fp
from fairprog.cli import main
from tests.command_line import people, refused, steer, write


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


@pytest.mark.parametrize("suffix", ["json", "npz"])
def test_a_saved_model_needs_no_label_and_aligns_to_the_bit(folder, suffix):
    assert steer("--out", "steered.csv", "--model", f"model.{suffix}") == 0
    write(people().drop(columns="y"), "new.csv")
    assert main(["align", "--model", f"model.{suffix}", "new.csv", "--out", "out.csv"]) == 0
    want = pd.read_csv("steered.csv").drop(columns="y")
    pd.testing.assert_frame_equal(pd.read_csv("out.csv"), want)


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


def test_models_of_the_command_line_are_read_by_load(folder):
    write(people())
    assert steer("--model", "model.json") == 0
    code = (
        "import fairprog as fp; model = fp.load('model.json'); "
        "print(type(model).__name__, model.solution.certificate.ok)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["TableSteering", "True"], done.stderr
