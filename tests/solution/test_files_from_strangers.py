"""Files, names and folders as strangers may give them: a clean error, or the same answer."""

import json
import os
import subprocess
import sys
import time
import tracemalloc
import zipfile
from collections import Counter

import numpy as np
import pytest

import fairprog as fp
from fairprog import codec
from fairprog.cli import main as command
from fairprog.labels import address, printable
from tests.fuzz_files import align, fuzz, objects, rows

POSIX = pytest.mark.skipif(os.name != "posix", reason="links and pipes of POSIX")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("files")
    for kind, thing in objects(place).items():
        thing.save(place / f"{kind}.json")
    return place


def changed(folder, kind, change):
    """Write a file of a kind with its data changed, and return where."""
    content = json.loads((folder / f"{kind}.json").read_text())
    change(content["data"])
    path = folder / "changed.json"
    path.write_text(json.dumps(content))
    return path


def put(*path, to):
    def change(data):
        for key in path[:-1]:
            data = data[key]
        data[path[-1]] = to

    return change


def drop(*path):
    def change(data):
        for key in path[:-1]:
            data = data[key]
        del data[path[-1]]

    return change


def swap_groups(data):
    data["population"]["groups"]["__tuple__"].reverse()


SOLUTION = [
    (drop("affine", "b"), "a map of each of the groups"),
    (put("affine", to={}), "a map of each of the groups"),
    (lambda d: d["affine"].update(z=d["affine"]["a"]), "a map of each of the groups"),
    (put("affine", "b", to=[]), "`affine` cannot hold"),
    (put("affine", "b", "__tuple__", 0, to={"__array__": [[-1.0, 0], [0, 1.0]]}), "mirrors"),
    (put("affine", "b", "__tuple__", 0, to={"__array__": [[1.0, 0], [0, 0]]}), "is singular"),
    (put("affine", "b", "__tuple__", 1, to={"__array__": [1.0]}), "has shape"),
    (put("affine", "b", "__tuple__", 1, to={"__array__": [float("nan"), 0]}), "NaN is no number"),
    (put("kl", to="x"), "`solution.kl` cannot be 'x'"),
    (put("kl", to=-5), "`solution.kl` cannot be -5"),
    (put("kl", to=float("inf")), "`solution.kl` cannot be inf"),
    (put("kl", to=10**400), "`solution.kl` cannot be 1000"),
    (put("certificate", "globally_optimal", to="no"), "globally_optimal` cannot be 'no'"),
    (put("certificate", "kkt_residual", to=-1), "kkt_residual` cannot be -1"),
    (put("certificate", "ideality_tolerance", to=1e9), "ideality_tolerance` cannot be"),
    (drop("certificate", "kkt_residual"), "lacks the field 'kkt_residual'"),
    (put("settings", "map_bound", to="x"), "`settings.map_bound` cannot be 'x'"),
    (put("settings", "constraints", to=[5]), r"`settings.constraints` cannot be \[5\]"),
    (put("settings", "steer", to={"__tuple__": ["z"]}), "`settings.steer` cannot be"),
    (put("settings", "transport", to={"template": "ErrorRate"}), "a map of each"),
    (swap_groups, "differ in `groups`"),
    (put("population", "groups", to="ab"), "`population.groups` cannot be 'ab'"),
    (put("more", to=1), "has no field 'more'"),
    (put("duals", to={}), "not of the same addresses"),
]
OTHERS = [
    ("ideal steering", put("solution", to=None), "`ideal_steering.solution` cannot be"),
    ("ideal steering", put("groups", to="A" * 200_000), "`ideal_steering.groups` cannot be"),
    ("ideal steering", put("groups", to={"__tuple__": ["b", "a"]}), "not of its classes"),
    ("ideal steering", put("n_features_in_", to=3), "of other columns or groups"),
    ("ideal steering", put("_order", "__array__", to=[5.0, 9.0]), "`ideal_steering._order`"),
    ("ideal steering", put("ties", to=[0.0]), "`ideal_steering.ties`"),
    ("ideal steering", put("whole", to={"__array__": [0.5, 0.0]}), "of other columns or groups"),
    ("ideal steering", put("_mass", "__array__", to=[2.0, -1.0]), "`ideal_steering._mass`"),
    ("ideal steering", put("params", "unknown_group", to="x"), "`params.unknown_group`"),
    ("ideal steering", put("params", "random_state", to="x"), "`params.random_state`"),
    ("score steering", drop("maps", "b"), "`score_steering.maps` cannot be"),
    ("score steering", put("maps", "b", "low", to=-1.0), "`map.low` cannot be -1.0"),
    ("score steering, normal", put("maps", "b", "left", to=-1.0), "`map.left` cannot be -1.0"),
    ("score steering", put("params", "space", to="probit"), "`params.space` cannot be"),
    ("score steering, normal", put("solution", to=None), "`score_steering.solution` cannot be"),
    ("concept steering", drop("vectors_", "b"), "`concept_steering.vectors_` cannot be"),
    ("concept steering", put("reference_", to="z"), "reference_` cannot be 'z'"),
    ("quantile map", put("maps", "b", to=[]), "maps of the same features"),
    ("solution, bent", put("affine", "b", "left", to=-2.0), "`map.left` cannot be"),
    ("solution, bent", drop("population", "maps", "b"), "fits no population"),
    ("reweighted", drop("affine", "b"), "a map of each of the groups"),
    ("classifier", put("h", "__array__", 0, to=[0.7, 0.7]), "no laws of the prediction"),
    ("classifier", put("settings", "risk", to={"template": "DemographicParity"}), "risk` cannot"),
    ("classifier", put("uses_group", to="no"), "`classifier.uses_group` cannot be 'no'"),
    ("table", put("features", to=[]), "features are not those"),
    ("moments", put("count", "__tuple__", 0, to=float("nan")), "NaN is no number"),
    ("moments", put("count", "__tuple__", 0, to=0), "empty cells"),
    ("moments", put("mass", "__tuple__", 0, to=-1), "`moments.mass` cannot be"),
    ("moments", put("mean", "__tuple__", 0, to=[-1, -2]), "`moments.mean` cannot be"),
    ("moments", put("slots", "__tuple__", 0, to="x"), "scatters of other cells"),
    ("moments", put("n_chunks", to=-3), "`moments.n_chunks` cannot be -3"),
    ("moments", put("n_features", to=7), "`moments.mean` cannot be"),
    (
        "moments",
        put("scatter", "__tuple__", 0, to={"__array__": [[1.0, 5.0], [5.0, 1.0]]}),
        "`moments.scatter` cannot be",
    ),
]


@pytest.mark.parametrize(
    ("kind", "change", "match"), [("solution", *case) for case in SOLUTION] + OTHERS
)
def test_every_field_is_checked_at_load(folder, kind, change, match):
    path = changed(folder, kind, change)
    with pytest.raises(fp.DataError, match=match) as error:
        fp.load(path)
    assert error.value.argument == "path"
    assert str(error.value).startswith(repr(str(path)))
    assert str(error.value).isprintable()
    (folder / "changed.json").write_text((folder / f"{kind}.json").read_text())
    fp.load(folder / "changed.json")  # control: nothing is wrong with what was changed


def test_maps_are_those_of_their_groups_in_any_order(folder):
    X, _, a, _ = rows()
    right = fp.load(folder / "solution.json").align(X, sensitive_features=a)

    def turned(data):
        data["affine"] = dict(reversed(data["affine"].items()))

    found = fp.load(changed(folder, "solution", turned))
    np.testing.assert_array_equal(found.align(X, sensitive_features=a), right)
    assert list(found.affine) == list(found.original.groups)


def test_random_changes_are_refused_or_harmless():
    counts, wrong = Counter(), []
    for kind, k, outcome, why, _ in fuzz(40):
        counts[outcome] += 1
        if why:
            wrong.append((kind, k, why))
    assert not wrong
    assert counts["refused"] > 300
    assert counts["same answer"] > 10  # the judge can tell


def test_align_says_one_sentence_about_a_damaged_model(folder):
    for text in ("{" * 5000, "[" * 100_000, "null", '{"fairprog": 1, "kind": "table_steering"}'):
        (folder / "model.json").write_text(text)
        code, said = align(folder / "model.json", folder)
        assert code in (1, 2)
        assert "Traceback" not in said


# -- memory --


def test_arrays_that_nobody_refers_to_are_not_read(tmp_path):
    moments = fp.Moments().partial_fit(
        np.arange(8.0)[:, None], [0, 1] * 4, sensitive_features=[0, 0, 1, 1] * 2
    )
    moments.save(tmp_path / "a.npz")
    packed = zipfile.ZipFile(tmp_path / "a.npz", "a", zipfile.ZIP_DEFLATED)
    with packed as archive, archive.open("bomb.npy", "w") as stream:
        np.lib.format.write_array(stream, np.zeros(2**22))
    tracemalloc.start()
    again = fp.load(tmp_path / "a.npz")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**24
    assert str(again.to_dict()) == str(moments.to_dict())


def test_arrays_may_not_claim_more_than_a_file_can_hold(tmp_path, monkeypatch):
    moments = fp.Moments("diagonal").partial_fit(
        np.zeros((8, 2**16)), [0, 1] * 4, sensitive_features=[0, 0, 1, 1] * 2
    )
    moments.save(tmp_path / "a.npz")  # 4 MiB of zeros in a few KiB
    fp.load(tmp_path / "a.npz")
    monkeypatch.setattr(codec, "ROOM", 2**20)
    with pytest.raises(fp.DataError, match="claim far more memory than the file is long"):
        fp.load(tmp_path / "a.npz")


# -- paths and disks --


@POSIX
@pytest.mark.parametrize("suffix", [".json", ".npz"])
def test_odd_paths_are_named_and_nothing_waits(tmp_path, folder, suffix):
    loop, pipe = tmp_path / f"loop{suffix}", tmp_path / f"pipe{suffix}"
    loop.symlink_to(loop)
    os.mkfifo(pipe)
    solution = fp.load(folder / "solution.json")
    for path in (loop, pipe, f"x\0{suffix}", tmp_path / "none" / f"x{suffix}", tmp_path):
        with pytest.raises(fp.FairprogError):
            solution.save(path)
        with pytest.raises(fp.DataError, match="cannot be read"):
            fp.load(path)
    with pytest.raises(fp.DataError, match="cannot be written: Too many levels"):
        solution.save(loop)


def test_what_the_disk_says_names_the_target(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device", "/somewhere/hidden")

    with pytest.raises(fp.DataError) as error:
        codec.write_atomically(tmp_path / "rows.csv", full)
    target = str(tmp_path / "rows.csv")
    assert str(error.value) == f"{target!r} cannot be written: No space left on device."
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(fp.DataError, match="cannot be written: its folder is read-only"):
        codec.check_folder(target)


def test_files_of_one_run_appear_together_or_not_at_all(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(ZeroDivisionError), codec.together():
        codec.write_text(tmp_path / "a.txt", "new")
        codec.write_text(tmp_path / "b.txt", "new")
        assert (tmp_path / "a.txt").read_text() == "old"
        raise ZeroDivisionError
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"
    with codec.together():
        codec.write_text(tmp_path / "a.txt", "new")
        codec.write_text(tmp_path / "b.txt", "new")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.txt", "b.txt"]
    assert (tmp_path / "a.txt").read_text() == "new"


def test_what_a_killed_process_left_is_recognised_and_swept(tmp_path):
    script = (
        "import os, sys; from fairprog import codec\n"
        "codec.write_atomically(sys.argv[1], lambda p: (p.write_text('half'), os._exit(9)))"
    )
    killed = subprocess.run([sys.executable, "-c", script, str(tmp_path / "a.txt")], check=False)
    left = list(tmp_path.iterdir())
    assert killed.returncode == 9
    assert len(left) == 1 and left[0].name.startswith(codec.HIDDEN)
    codec.write_text(tmp_path / "a.txt", "whole")
    assert left[0].exists()  # somebody may be writing there
    old = time.time() - 2 * codec.STALE
    os.utime(left[0], (old, old))
    codec.write_text(tmp_path / "a.txt", "whole")
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


# -- names that a terminal would obey --


@pytest.mark.parametrize(
    "name", ["\x1b[31mX", "a\0b", "\ud800", "two\nlines", "\u202eabc", "\x9b"]
)
def test_control_characters_of_names_are_shown_and_not_obeyed(name, tmp_path):
    X, y, a, s = rows()
    a = np.where(a == "b", name, a)
    D = fp.Normal.fit(X[:, :1], y, sensitive_features=a)
    sol = fp.NearestIdeal(D, steer=[name]).solve()
    audit = fp.audit(y, s, sensitive_features=a)
    scores = fp.Categorical.from_scores(s[:40], sensitive_features=a[:40])
    rule = fp.FairClassifier(scores, fp.ErrorRate(), [fp.EqualOpportunity()]).solve()
    shown = printable(name, [name])
    assert shown.isprintable() and shown != name
    texts = [sol.summary(), audit.summary(), rule.summary(), repr(D), sol.to_html()]
    texts += [sol._repr_html_(), audit.to_html()]
    for text in texts:
        assert printable(text) == text
    assert all(name not in text for text in texts[:4])  # in a page a line end is a space
    assert shown in texts[0] and shown in texts[1]
    assert address("offset", name, 0) in sol.duals
    sol.save(tmp_path / "a.json")
    assert fp.load(tmp_path / "a.json").original.groups == D.groups
    assert printable("plain é 中 text\n", ["é"]) == "plain é 中 text\n"


def test_the_command_line_shows_what_a_table_calls_its_groups(folder, tmp_path, capsys):
    text = ((folder / "rows.csv").read_text() + "\n").replace(",b\n", ',"b\x1b[2J\nforged"\n')
    (tmp_path / "rows.csv").write_text(text.replace("score", "sc\x07ore"))
    words = ["steer", str(tmp_path / "rows.csv"), "--label", "y", "--sensitive", "sex"]
    assert command([*words, "--onehot", "--quiet", "--splits", "2"]) == 0
    said = capsys.readouterr()
    assert not any(c in said.out + said.err for c in "\x1b\x07")
    assert "b\\x1b[2J" in said.out and "\nforged" not in said.out
    assert command([*words, "--features", "none\x1b[2J"]) == 1
    assert "\x1b" not in capsys.readouterr().err


def test_reproduce_says_in_one_sentence_where_it_cannot_write(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    words = ["reproduce", "--quick", "--only", "zero_prices", "--out"]
    assert command([*words, str(tmp_path / "file" / "out")]) == 1
    said = capsys.readouterr().err
    assert said.endswith("cannot be written: Not a directory.\n") and said.count("\n") == 1


def test_swapped_populations_and_prices_without_their_names_are_refused(tmp_path):
    D = fp.Normal([[0.3, 0.2], [0.3, 0.2]], [[0.0, 1.0], [2.0, 2.0]], std=[[1, 1], [1, 2]])
    path = tmp_path / "solution.json"
    fp.NearestIdeal(D, steer=[1]).solve().save(path)
    whole = json.loads(path.read_text())
    data = whole["data"]
    swapped = data | {"original": data["population"], "population": data["original"]}
    renamed = data | {"price": {"consenses": data["price"]["consensus"]}}
    for changed, match in ((swapped, "that of its populations"), (renamed, "intervals of prices")):
        path.write_text(json.dumps(whole | {"data": changed}))
        with pytest.raises(fp.DataError, match=match):
            fp.load(path)
