"""The answer saved and loaded is the same to the bit; what cannot be, is refused in words."""

import copy
import json
import os
import pickle
import sys
import types

import numpy as np
import pytest

import fairprog as fp
from fairprog import codec
from tests.solutions import SOLUTIONS, assert_same_bits


@pytest.mark.parametrize("suffix", [".json", ".npz"])
@pytest.mark.parametrize("name", SOLUTIONS)
def test_what_is_loaded_is_what_was_saved_to_the_bit(tmp_path, name, suffix):
    sol = SOLUTIONS[name]
    sol.save(tmp_path / f"answer{suffix}")
    again = fp.load(tmp_path / f"answer{suffix}")
    assert os.listdir(tmp_path) == [f"answer{suffix}"]  # no temporary file is left
    for part in (
        "kl",
        "duals",
        "sensitivity",
        "price",
        "price_interval",
        "certificate",
        "solver",
        "seconds",
        "affine",
    ):
        assert_same_bits(getattr(again, part), getattr(sol, part))
    for here, there in ((sol.original, again.original), (sol.population, again.population)):
        assert type(here) is type(there)
        assert here.classes == there.classes
        assert here.groups == there.groups
        assert [type(g) for g in here.groups] == [type(g) for g in there.groups]
        for part in ("mean", "cov", "std", "prior"):
            assert_same_bits(getattr(there, part), getattr(here, part))
    assert list(again.settings) == list(sol.settings)
    for key, value in sol.settings.items():
        if key == "constraints":  # stay names: loading runs no code
            assert again.settings[key] == tuple(c.qualified_name() for c in value)
        else:
            assert again.settings[key] == value
    assert again.population.kl(again.original) == again.kl
    assert again.summary().splitlines()[2:] == sol.summary().splitlines()[2:]
    again.save(tmp_path / f"copy{suffix}")
    assert (tmp_path / f"copy{suffix}").exists()


@pytest.mark.parametrize("name", SOLUTIONS)
def test_numbers_keep_their_types(tmp_path, name):
    """Duals and sensitivities are arrays, prices are floats, before and after."""
    sol = SOLUTIONS[name]
    sol.save(tmp_path / "a.npz")
    for answer in (sol, fp.load(tmp_path / "a.npz")):
        assert type(answer.kl) is float
        assert all(type(p) is float for p in answer.price.values())
        assert all(isinstance(v, np.ndarray) for v in answer.sensitivity.values())
        assert all(isinstance(v, np.ndarray) for v in answer.duals.values())


@pytest.mark.parametrize("name", ["multivariate", "log-normal", "tuples"])
def test_a_loaded_solution_moves_data_alike(tmp_path, name):
    sol = SOLUTIONS[name]
    sol.save(str(tmp_path / "a.json"))
    again = fp.load(str(tmp_path / "a.json"))
    D = sol.original
    X = D.sample(60, random_state=0)[0]
    y = np.empty(60, dtype=object)
    a = np.empty(60, dtype=object)
    for k in range(60):
        y[k], a[k] = D.classes[k % D.n_classes], D.groups[k // 2 % D.n_groups]
    given = {"sensitive_features": a}
    assert np.array_equal(again.align(X, **given), sol.align(X, **given))
    assert np.array_equal(again.steer(X, y, **given), sol.steer(X, y, **given))
    assert np.array_equal(again.sample_weight(y, **given), sol.sample_weight(y, **given))


def test_json_is_plain_and_npz_has_no_pickle(tmp_path):
    sol = SOLUTIONS["univariate"]
    sol.save(tmp_path / "a.json")
    text = json.loads((tmp_path / "a.json").read_text())
    assert text["fairprog"] == 1
    assert text["kind"] == "solution"
    sol.save(tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz", allow_pickle=False) as stored:
        assert all(stored[key].dtype != object for key in stored.files)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", b""),
        ("a.json", b"{"),
        ("a.json", b"5"),
        ("a.json", b"[1, 2]"),
        ("a.json", b'{"hello": "world"}'),
        ("a.json", b"\xff\xfe\x00binary"),
        ("a.json", b'{"fairprog": null, "kind": "solution", "data": {}}'),
        ("a.json", b'{"fairprog": 1, "kind": "solution", "data": {}}'),
        ("a.json", b'{"fairprog": 1, "kind": "solution"}'),
        ("a.json", b'{"fairprog": 1, "kind": "solution", "data": {"kl": 1.0, "settings": 5}}'),
        ("a.json", b'{"fairprog": 1, "kind": ["solution"], "data": {}}'),
        ("a.npz", b""),
        ("a.npz", b"no archive at all"),
        ("a.npz", b"PK\x03\x04 cut off"),
    ],
)
def test_a_file_that_is_not_ours(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(fp.DataError, match=f"{name}.*not a file written by fairprog") as error:
        fp.load(tmp_path / name)
    assert error.value.argument == "path"


def test_a_damaged_archive_is_refused_or_holds_the_same(tmp_path):
    """Bits that fall over: in the numbers, where sums tell, or in what nobody reads."""
    path, rng = tmp_path / "moments.npz", np.random.default_rng(0)
    X, y, a = rng.normal(size=(40, 2)), np.arange(40) % 2, np.arange(40) // 2 % 2
    fp.Moments().partial_fit(X, y, sensitive_features=a).save(path)
    whole, truth = path.read_bytes(), str(fp.load(path).to_dict())
    same = 0
    for _ in range(500):
        content = bytearray(whole)
        content[rng.integers(len(content))] ^= 1 << rng.integers(8)
        path.write_bytes(content)
        try:
            assert str(fp.load(path).to_dict()) == truth
            same += 1
        except fp.DataError as error:
            assert error.argument == "path"
    assert same < 250


def test_archives_that_are_not_ours(tmp_path):
    np.savez(tmp_path / "other.npz", x=np.arange(3))
    np.savez(tmp_path / "pickled.npz", header=np.array({"kind": "solution"}, dtype=object))
    SOLUTIONS["univariate"].save(tmp_path / "cut.npz")
    whole = (tmp_path / "cut.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    for name in ("other.npz", "pickled.npz", "cut.npz"):
        with pytest.raises(fp.DataError, match=r"not a file written by fairprog"):
            fp.load(tmp_path / name)


def test_a_file_of_a_newer_format_or_another_kind(tmp_path):
    SOLUTIONS["univariate"].save(tmp_path / "a.json")
    content = json.loads((tmp_path / "a.json").read_text())
    for change, match in [
        ({"fairprog": 99}, "format 99; this version reads .* up to format 1"),
        ({"kind": "spectrum"}, "holds a 'spectrum'"),
    ]:
        (tmp_path / "b.json").write_text(json.dumps(content | change))
        with pytest.raises(fp.DataError, match=match) as error:
            fp.load(tmp_path / "b.json")
        assert error.value.argument == "path"


@pytest.mark.parametrize("name", ["a.pkl", "a", "a.JSON5", "a.json.gz"])
def test_another_suffix(tmp_path, name):
    with pytest.raises(fp.ModelError, match=r"must end in \.json or \.npz; found") as error:
        SOLUTIONS["univariate"].save(tmp_path / name)
    assert error.value.argument == "path"
    assert not list(tmp_path.iterdir())


def test_a_missing_file_says_so(tmp_path):
    with pytest.raises(fp.DataError, match="there is no such file"):
        fp.load(tmp_path / "nowhere.json")


def test_conditions_must_be_importable_to_be_saved(tmp_path):
    D = SOLUTIONS["univariate"].original

    @fp.constraint
    def local(view, population):
        return view.mean[1, "b"] <= population.mean[1, "b"] + 10

    for condition in (local, lambda v, p: v.mean[1, "b"] <= 100):
        sol = fp.NearestIdeal(D, steer=["b"], constraints=[condition]).solve()
        for name in ("a.json", "a.npz"):
            with pytest.raises(fp.ModelError, match=r"cannot be saved.*top level") as error:
                sol.save(tmp_path / name)
            assert error.value.argument == "constraints"
    assert not list(tmp_path.iterdir())
    # one of an importable module is written by its name
    module = types.ModuleType("fairprog_test_conditions")
    code = (
        "import fairprog as fp\n@fp.constraint\ndef cap(v, p):\n    return v.mean[1, 'b'] <= 100"
    )
    exec(code, module.__dict__)
    sys.modules[module.__name__] = module
    try:
        sol = fp.NearestIdeal(D, steer=["b"], constraints=[module.cap]).solve()
        sol.save(tmp_path / "a.json")
    finally:
        del sys.modules[module.__name__]
    again = fp.load(tmp_path / "a.json")  # needs no import
    assert again.settings["constraints"] == ("fairprog_test_conditions:cap",)
    assert again.price == sol.price


def test_labels_json_cannot_hold(tmp_path):
    D = SOLUTIONS["univariate"].original
    E = fp.Normal(D.prior, D.mean, std=D.std, groups=[frozenset("a"), frozenset("b")])
    sol = fp.NearestIdeal(E, steer=[frozenset("b")]).solve()
    for name in ("a.json", "a.npz"):
        with pytest.raises(fp.ModelError, match=r"frozenset.*text, numbers or tuples"):
            sol.save(tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a.json", "a.npz"])
@pytest.mark.parametrize("step", ["write", "move"])
def test_a_failure_leaves_the_old_file_intact(tmp_path, monkeypatch, name, step):
    SOLUTIONS["univariate"].save(tmp_path / name)
    before = (tmp_path / name).read_bytes()

    def fail(*args, **kwargs):
        if hasattr(args[0], "write"):
            args[0].write(b"half")
        raise KeyboardInterrupt

    if step == "move":
        monkeypatch.setattr(codec.os, "replace", fail)
    elif name.endswith("npz"):
        monkeypatch.setattr(codec.np, "savez_compressed", fail)
    else:
        monkeypatch.setattr(codec.Path, "write_text", fail)
    with pytest.raises(KeyboardInterrupt):
        SOLUTIONS["multivariate"].save(tmp_path / name)
    assert (tmp_path / name).read_bytes() == before
    assert os.listdir(tmp_path) == [name]
    monkeypatch.undo()
    SOLUTIONS["multivariate"].save(tmp_path / name)
    assert fp.load(tmp_path / name).kl == SOLUTIONS["multivariate"].kl


def test_solutions_can_be_copied_and_pickled():
    sol = SOLUTIONS["univariate"]
    for again in (copy.deepcopy(sol), pickle.loads(pickle.dumps(sol))):
        assert again.kl == sol.kl
        assert again.summary() == sol.summary()
        with pytest.raises(TypeError):
            again.price["consensus"] = 0.0
