"""Answers that were written down once: what a restructuring must not change.

A difference that is meant is written down anew, ``python -m tests.golden --write``, in the commit
that means it. FAIRPROG_GOLDEN=strict compares as is right on the machine that wrote; without it
tolerances are ten times as wide and at least 1e-7, for other processors and builds of BLAS.
"""

import copy
import json
import os

import numpy as np
import pytest

import fairprog as fp
from tests import golden

STRICT = os.environ.get("FAIRPROG_GOLDEN") == "strict"
OPTIMUM = {"kl", "risk", "risks"}
MULTIPLIERS = {"duals", "sensitivity", "price", "price_interval", "price_by_condition", "prices"}

TO_THE_BIT = (0.0, 0.0, 0.0)
WRITTEN = golden.read()
# Exact answers that were compared with a conic one once, and are proven without it now.
UNCOMPARED = ["Laplace all", "Logistic all", "Gamma all", "Logistic 3 groups", "Logistic joint"]


def leaves(value, path=""):
    """Yield (path, leaf) of what a saved file holds; None says nothing and is left out."""
    if isinstance(value, dict):
        if "__array__" in value:
            yield path, np.array(value["__array__"], dtype=float)
        elif "__tuple__" in value:
            yield from leaves(value["__tuple__"], path)
        else:
            for key, inner in value.get("__items__", value.items()):
                yield from leaves(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        try:
            yield path, np.array(value, dtype=float)
        except (TypeError, ValueError):  # labels, or lists of lists
            for k, inner in enumerate(value):
                yield from leaves(inner, f"{path}[{k}]")
    elif value is not None:
        yield path, value


def today(name):
    """Return a record with the names of today: `n_rows` of finite populations counts cells now."""
    out = copy.deepcopy(WRITTEN[name])
    data = out.get("saved", {}).get("data", {})
    if "n_rows" in data.get("population", {}):
        data["population"]["effective_rows"] = data["population"].pop("n_rows")
    return out


def certificate(record):
    """Return the certificate of a record, or an empty one."""
    return record.get("saved", {}).get("data", {}).get("certificate", {})


def is_number(value):
    return isinstance(value, (int, float, np.ndarray)) and not isinstance(value, bool)


def allowed(path, tolerances):
    """Return the tolerance of a leaf by what it is part of."""
    optimum, answer, multipliers = tolerances
    names = set(path.split("."))
    return optimum if names & OPTIMUM else multipliers if names & MULTIPLIERS else answer


def difference(path, was, found, tolerances):
    """Return what is wrong with a leaf in words, or None."""
    if not (is_number(was) and is_number(found)):
        return None if was == found else f"{path} was {was!r}, is {found!r}"
    a, b = np.asarray(was, dtype=float), np.asarray(found, dtype=float)
    if a.shape != b.shape:
        return f"{path} had shape {a.shape}, has {b.shape}"
    if ".certificate." in path:  # noise: no larger than it was; `ok` bounds the gaps of solvers
        limit = np.inf if path.endswith("_gap") else max(10.0 * float(a), 1e-9, tolerances[1])
        return None if b <= limit else f"{path} was {a:.3g}, is {b:.3g}; allowed is {limit:.3g}"
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore"):  # infinities
        off = np.where(same, 0.0, np.abs(a - b))
    scale = max(1.0, float(np.max(np.abs(a), where=np.isfinite(a), initial=0.0)))
    tolerance = allowed(path, tolerances)
    if (off <= tolerance * scale).all():
        return None
    at = np.unravel_index(int(np.argmax(np.nan_to_num(off, nan=np.inf))), off.shape)
    where = path + (f"[{', '.join(map(str, at))}]" if at else "")
    return (
        f"{where} was {float(a[at])!r}, is {float(b[at])!r}: off by {off[at] / scale:.2g} of "
        f"{scale:.3g}; allowed is {tolerance:g}"
    )


def differences(was, found, tolerances):
    """Return every difference between two records, in words with path and both numbers."""
    was, found = dict(leaves(was)), dict(leaves(found))
    gone = [f"{path} was {was[path]!r}, is gone" for path in was if path not in found]
    new = [f"{path} is new: {found[path]!r}" for path in found if path not in was]
    both = (difference(p, was[p], found[p], tolerances) for p in was if p in found)
    return gone + new + [text for text in both if text]


@pytest.mark.filterwarnings("ignore:Without the group only constant classifiers")
@pytest.mark.parametrize("name", golden.PROGRAMS)
def test_the_answer_is_the_one_written_down(name):
    kind, _ = golden.PROGRAMS[name]
    tolerances = golden.TOLERANCES[kind]
    if not STRICT:
        tolerances = [max(10.0 * t, 1e-7) for t in tolerances]
    was, record = today(name), golden.record(name)
    if name in UNCOMPARED:
        certificate(was).update(conic_gap=None, parameter_gap=None)
    gap = certificate(record).pop("optimality_gap", None)  # newer than the file
    assert gap is None or gap <= 1e-8
    found = differences(was, record, tolerances)
    assert not found, f"{name} ({kind}):\n" + "\n".join(found)


def test_every_answer_has_its_program():
    assert list(WRITTEN) == list(golden.PROGRAMS)


@pytest.mark.parametrize("name", [n for n in WRITTEN if "saved" in WRITTEN[n]])
def test_files_of_the_first_version_are_read_and_written_again(tmp_path, name):
    """To the bit: what is read says everything that was written."""
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    old.write_text(json.dumps(WRITTEN[name]["saved"]), encoding="utf-8")
    fp.load(old).save(new)
    again = json.loads(new.read_text(encoding="utf-8"))
    assert differences(today(name)["saved"], again, TO_THE_BIT) == []


# ------------------------------------------------------ controls: what is found, what is not

RECORD = {
    "saved": {
        "kl": 0.25,
        "solver": "newton",
        "affine": {"__items__": [[3, {"__tuple__": [{"__array__": [[2.0, -1e6]]}, None]}]]},
        "certificate": {"kkt_residual": 1e-15, "conic_gap": None, "globally_optimal": True},
    }
}


def changed(change):
    other = copy.deepcopy(RECORD)
    change(other["saved"])
    return differences(RECORD, other, golden.TOLERANCES[golden.EXACT])


def test_control_what_is_the_same_passes():
    assert differences(RECORD, copy.deepcopy(RECORD), TO_THE_BIT) == []
    assert changed(lambda s: s.update(kl=0.25 + 1e-14)) == []
    assert changed(lambda s: s.update(n_rows=None)) == []
    assert changed(lambda s: s["certificate"].update(kkt_residual=3e-15)) == []


CHANGES = {
    "a number": (lambda s: s.update(kl=0.2500001), "kl was 0.25, is 0.2500001: off by 1e-07 of 1"),
    "a word": (lambda s: s.update(solver="descent"), "solver was 'newton', is 'descent'"),
    "a verdict": (lambda s: s["certificate"].update(globally_optimal=False), "was True, is False"),
    "a residual": (lambda s: s["certificate"].update(kkt_residual=1e-8), "was 1e-15, is 1e-08"),
    "nan": (lambda s: s.update(kl=float("nan")), "kl was 0.25, is nan"),
    "gone": (lambda s: s.pop("kl"), "kl was 0.25, is gone"),
    "new": (lambda s: s["certificate"].update(conic_gap=0.0), "certificate.conic_gap is new: 0.0"),
    "a shape": (
        lambda s: s["affine"].update({"__items__": [[3, {"__array__": [2.0, -1e6]}]]}),
        "saved.affine.3 is new",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_control_a_change_is_found_and_named(change):
    make, message = CHANGES[change]
    assert message in "\n".join(changed(make))
