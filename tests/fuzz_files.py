"""Files as strangers may send them: every kind of file, changed at random, loaded and used.

What may happen is a clean error, the same answer as before, or the answer that follows from a
number, a label or a flag that another could have been. Run ``python -m tests.fuzz_files 10000``
for that many mutations of each kind of file; a fixed part of them is in the tests.
"""

import copy
import json
import signal
import sys
import tempfile
import warnings
from collections import Counter
from contextlib import redirect_stdout
from io import BytesIO, StringIO
from pathlib import Path

import numpy as np

import fairprog as fp
from fairprog.cli import main as command
from fairprog.cli.tabular import TableSteering

STRANGE = (
    None, True, "", "x", "no", -5, -1e-300, 0, 10**40, 10**400, 1e308, float("nan"), float("inf"),
    [], {}, [[]], [5], {"__array__": [[1e9]]}, {"__array__": "x"}, {"__tuple__": []}, "A" * 5000,
    {"__stored__": "header"}, {"__items__": [[1, 2]]}, {"__array__": [float("nan")]},
    "\x1b[31m\x00\ud800",
)  # fmt: skip


def rows():
    rng = np.random.default_rng(0)
    y, a = rng.integers(2, size=240), np.array(["a", "b"])[rng.integers(2, size=240)]
    X = rng.normal(size=(240, 2)) + y[:, None] * [1, 2]
    X += (a == "b")[:, None] * [0.5, 1.0] * (1 + y[:, None])
    return X, y, a, 1 / (1 + np.exp(-X.sum(axis=1)))


def table(folder):
    X, y, a, s = rows()
    path = Path(folder) / "rows.csv"
    word = np.array(["u", "v"])[np.random.default_rng(1).integers(2, size=len(y))]
    columns = zip(X[:, 0], s, word, y, a, strict=True)
    lines = (",".join(map(str, row)) for row in columns)
    path.write_text("\n".join(["x,score,word,y,sex", *lines]))
    return path


def objects(folder):
    """Return one object of every kind of file, by name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of small cells
        return _objects(folder)


def _objects(folder):
    X, y, a, s = rows()
    D = fp.Normal.fit(X, y, sensitive_features=a)
    line = fp.Normal.fit(X[:, 0], y, sensitive_features=a)
    flat = fp.Normal.fit(X, y, sensitive_features=a, covariance="diagonal")
    gamma = fp.Gamma.fit(np.exp(X[:, 0]), y, sensitive_features=a)
    finite = fp.Categorical(
        [[[0.3, 0.1], [0.1, 0.1]], [[0.1, 0.1], [0.1, 0.1]]], groups=["a", "b"]
    )
    scores = fp.Categorical.from_scores(s[:40], sensitive_features=a[:40])
    parity = fp.EqualOpportunity(difference_bound=0.05)
    curved = fp.Transformed(line, fp.YeoJohnson([0.5]))
    model = Path(folder) / "model.json"
    words = [
        "steer",
        str(table(folder)),
        "--label",
        "y",
        "--sensitive",
        "sex",
        "--splits",
        "0",
        "--onehot",
    ]
    with redirect_stdout(StringIO()):
        command([*words, "--quiet", "--model", str(model), "--out", str(Path(folder) / "out.csv")])
    return {
        "solution": fp.NearestIdeal(D, steer=["b"]).solve(),
        "solution, bounded": fp.NearestIdeal(D, steer=["b"], map_bound=0.1).solve(),
        "solution, one feature": fp.NearestIdeal(curved, steer=["b"]).solve(),
        "solution, bent": fp.NearestIdeal(
            line, steer=["b"], transport=fp.PiecewiseLinear(6)
        ).solve(),
        "solution, diagonal": fp.NearestIdeal(flat, steer=["b"], transport=fp.Diagonal()).solve(),
        "solution, gamma": fp.NearestIdeal(gamma, steer=["b"]).solve(),
        "reweighted": fp.NearestIdeal(finite).solve(),
        "classifier": fp.FairClassifier(scores, fp.ErrorRate(), [parity]).solve(),
        "quantile map": fp.QuantileMap.fit(s, y, sensitive_features=a, n_quantiles=12),
        "ideal steering": fp.IdealSteering(steer=["b"]).fit(X, y, sensitive_features=a),
        "ideal steering, ties": fp.IdealSteering(steer=["b"]).fit(
            np.round(2 * X), y, sensitive_features=a
        ),
        "score steering": fp.ScoreSteering().fit(s.round(1), y, sensitive_features=a),
        "score steering, normal": fp.ScoreSteering(method="normal").fit(
            s, y, sensitive_features=a
        ),
        "concept steering": fp.ConceptSteering(n_probes=4).fit(X, y, sensitive_features=a),
        "moments": fp.Moments().partial_fit(X, y, sensitive_features=a),
        "moments, tied": fp.Moments("tied").partial_fit(X, y, sensitive_features=a),
        "table": TableSteering.load(model),
    }


def answer(found):
    """Return the numbers that something loaded gives for new rows."""
    X, y, a, s = rows()
    repr(found)
    if isinstance(found, fp.Moments):
        return [found.population(shrinkage=0.1).cov, found.population().mean]
    if isinstance(found, TableSteering):
        return answer(found.solution)
    if isinstance(found, fp.QuantileMap):
        return [found.transform(s, sensitive_features=a)]
    if isinstance(found, fp.ConceptSteering):
        return [found.effect_curve([0.5, 1.0]).to_numpy()]
    if isinstance(found, fp.ScoreSteering):
        return [found.transform(s, sensitive_features=a)]
    if isinstance(found, fp.IdealSteering):
        return [found.transform(X, sensitive_features=a)]
    found.summary()
    if hasattr(found, "classifier"):
        atoms = found.classifier.population.values
        return [found.classifier.predict_proba(atoms, sensitive_features=a[: len(atoms)])]
    if isinstance(found.original, fp.Categorical):
        return [found.sample_weight(y, sensitive_features=a, X=y), found.kl]
    D = found.original
    x = np.abs(X[:, [0, 1, 1][: D.n_features]]) + 0.1
    y = y.astype(type(D.classes[0]))
    moved = found.steer(x, y, sensitive_features=a)
    return [found.align(x, sensitive_features=a), moved, found.population.kl(D), found.kl]


def places(node, path=()):
    """Yield the path of everything in a tree of lists and records."""
    yield path
    inner = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in inner:
        if isinstance(value, (dict, list)):
            yield from places(value, (*path, key))
        else:
            yield (*path, key)


def mutated(data, rng):
    """Return changed data, and whether nothing but a value was replaced by one of its kind."""
    data = copy.deepcopy(data)
    where = [p for p in places(data) if p]
    path = where[rng.integers(len(where))]
    if rng.random() < 0.7:  # fields rather than numbers deep in arrays
        short = [p for p in where if len(p) <= 5 and "__array__" not in p]
        path = short[rng.integers(len(short))]
    parent = data
    for key in path[:-1]:
        parent = parent[key]
    key, value = path[-1], parent[path[-1]]
    how = rng.integers(7)
    if how == 0:
        del parent[key]
    elif how == 1 and isinstance(parent, dict):
        parent[f"{key}z"] = parent.pop(key)
    elif how == 2 and isinstance(parent, dict):  # two fields change places
        other = list(parent)[rng.integers(len(parent))]
        parent[key], parent[other] = parent[other], parent[key]
    elif how == 3 and isinstance(parent, list):
        parent.insert(key, value)
    elif how == 4 and isinstance(value, (int, float)) and not isinstance(value, bool):
        parent[key] = value * float(rng.normal(1, 1)) + float(rng.normal())
    elif how == 5 and isinstance(value, bool):
        parent[key] = not value
    else:
        parent[key] = STRANGE[rng.integers(len(STRANGE))]
    return data


def shape_of(node):
    """Return a tree with every value replaced by its kind: what a legal change leaves as it is."""
    if isinstance(node, dict) and "__array__" in node:
        return "array"
    if isinstance(node, dict):
        return {k: shape_of(v) for k, v in node.items()}
    if isinstance(node, list):
        return [shape_of(v) for v in node]
    return "number" if type(node) in (int, float) else type(node).__name__


def corrupted(content, rng):
    """Return bytes of which some were changed, left out or put in."""
    content = bytearray(content)
    for _ in range(int(rng.integers(1, 4))):
        k = int(rng.integers(len(content)))
        how = rng.integers(4)
        if how == 0:
            content[k] ^= 1 << int(rng.integers(8))
        elif how == 1:
            del content[k : k + int(rng.integers(1, 40))]
        elif how == 2:
            content[k:k] = bytes(
                rng.integers(0, 256, size=int(rng.integers(1, 20)), dtype=np.uint8)
            )
        else:
            del content[k + 1 :]
    return bytes(content)


def same(first, second):
    return len(first) == len(second) and all(
        np.shape(p) == np.shape(q) and np.array_equal(p, q, equal_nan=True)
        for p, q in zip(first, second, strict=True)
    )


class Slow(BaseException):
    """Loading or using a file takes for ever."""


def judge(path, right, legal):
    """Return what a file does: an outcome in a word, and "" or what is wrong with it."""
    try:
        found = fp.load(path)
    except fp.DataError as error:
        return "refused", "" if str(error).isprintable() else f"unprintable message {error}"
    except Exception as error:
        return "foreign", f"load: {type(error).__name__}: {error}"
    try:
        value = answer(found)
    except fp.FairprogError:
        return "refused when used", ""
    except Exception as error:
        return "foreign", f"use: {type(error).__name__}: {error}"
    if same(value, right):
        return "same answer", ""
    return ("legal change", "") if legal else ("wrong answer", "accepted, with another answer")


def fuzz(count, seed=0, kinds=None):
    """Yield (kind, seed of the mutation, outcome, what is wrong, path) of every mutation."""

    def stop(signum, frame):
        raise Slow

    signal.signal(signal.SIGALRM, stop)
    with (
        tempfile.TemporaryDirectory() as folder,
        warnings.catch_warnings(),
        np.errstate(all="ignore"),
    ):
        warnings.simplefilter("ignore")
        for kind, thing in objects(folder).items():
            if kinds and kind not in kinds:
                continue
            right = answer(thing)
            whole, packed = Path(folder) / "whole.json", Path(folder) / "whole.npz"
            thing.save(whole)
            thing.save(packed)
            text, packed_bytes = whole.read_text(), packed.read_bytes()
            data = json.loads(text)
            for k in range(count):
                rng = np.random.default_rng([seed, k])
                path, legal = Path(folder) / "changed.json", False
                way = k % 8
                if way < 5:
                    changed = mutated(data, rng)
                    legal = shape_of(changed) == shape_of(data)
                    path.write_text(json.dumps(changed))
                elif way < 7:
                    content = corrupted(text.encode(), rng)
                    path.write_bytes(content)
                    legal = _reads_alike(content, data)
                elif rng.random() < 0.5:
                    path = path.with_suffix(".npz")
                    path.write_bytes(corrupted(packed_bytes, rng))
                else:
                    path = path.with_suffix(".npz")
                    _swap_arrays(packed_bytes, path, rng)
                    legal = True
                signal.alarm(20)
                try:
                    outcome, wrong = judge(path, right, legal)
                except Slow:
                    outcome, wrong = "slow", "takes more than 20 s"
                finally:
                    signal.alarm(0)
                yield kind, k, outcome, wrong, path


def _reads_alike(content, data):
    try:
        return shape_of(json.loads(content.decode())) == shape_of(data)
    except ValueError:
        return False


def _swap_arrays(content, path, rng):
    """Write an archive in which one array has the place of another, or another form."""
    stored = dict(np.load(BytesIO(content)))
    names = [n for n in stored if n != "header"]
    one, two = rng.choice(names, 2)
    strange = [stored[two], stored[two] * np.nan, stored[two][None], np.array("x"), np.zeros(0)]
    stored[one] = strange[rng.integers(len(strange))]
    if rng.random() < 0.2:
        del stored[two]
    np.savez_compressed(path, **stored)


def align(path, folder):
    """Return the exit code of ``fairprog align`` with a model, and what it printed on errors."""
    out, err = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = StringIO(), StringIO()
    try:
        code = command(["align", str(Path(folder) / "rows.csv"), "--model", str(path)])
        return code, sys.stderr.getvalue()
    finally:
        sys.stdout, sys.stderr = out, err


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    counts, bad = Counter(), 0
    for kind, k, outcome, wrong, path in fuzz(count, kinds=sys.argv[2:]):
        counts[kind, outcome] += 1
        if wrong:
            bad += 1
            kept = Path(tempfile.gettempdir()) / f"fuzz-{kind.replace(', ', '-')}-{k}{path.suffix}"
            kept.write_bytes(path.read_bytes())
            print(f"{kind} {k}: {outcome}: {wrong:.200} ({kept})")
    for (kind, outcome), n in sorted(counts.items()):
        print(f"{kind:24} {outcome:18} {n:7}")
    print(f"{sum(counts.values())} mutations, {bad} wrong")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
