"""Columns with ties move by ranks: laws, whole numbers, categories and point masses."""

from contextlib import nullcontext

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.tree import DecisionTreeClassifier

import fairprog as fp
from experiments.fit_choices import made_up
from fairprog.estimators.group_reading import group_auc
from fairprog.estimators.lattice import rounded
from fairprog.kernels.statistics.gap_bands import worst_gap
from tests.steered_rows import KEYED, data


def test_rounding_keeps_the_mean_and_lands_on_values_that_occur():
    lot = np.random.default_rng(0).random(40_000)
    z = rounded(np.full(40_000, 2.5), np.array([0.0, 1.0, 4.0]), lot)
    assert set(z) == {1.0, 4.0} and abs(z.mean() - 2.5) < 0.03
    assert rounded(np.array([-3.0, 9.0]), np.array([0.0, 4.0]), lot[:2]).tolist() == [0.0, 4.0]


def tied(step: fp.IdealSteering) -> list[bool]:
    return [bool(maps) for maps in step.to_dict()["ties"]]


@pytest.mark.parametrize("steer", ["all", ["b"]])
def test_only_tied_columns_are_moved_by_ranks(steer):
    X, y, a = data(900)
    X[:, 1] = np.round(2 * X[:, 1])
    X[np.random.default_rng(0).random(900) < 0.2, 2] = 1.0
    found = {
        snap: fp.IdealSteering(steer, snap=snap).fit(X, y, sensitive_features=a)
        for snap in ("auto", False, True)
    }
    assert {snap: tied(step) for snap, step in found.items()} == {
        "auto": [False, True, True], False: [False] * 3, True: [True] * 3,
    }  # fmt: skip
    Z, plain = (found[s].transform(X, sensitive_features=a) for s in ("auto", False))
    np.testing.assert_array_equal(Z[:, 0], plain[:, 0])
    assert set(Z[:, 1]) <= set(X[:, 1])


@KEYED
@pytest.mark.parametrize("K", [2, 3])
def test_a_tied_column_has_the_law_of_the_group_that_stays_every_class_weighing_the_same(K):
    rng = np.random.default_rng(0)
    n = 60_000
    y, a = rng.integers(0, K, n), rng.choice(["f", "m"], n, p=[0.4, 0.6])
    x = np.clip(np.round(rng.normal(y + 2 * (a == "f"), 1 + (a == "f"))), -1, 5)
    step = fp.IdealSteering(["f"]).fit(x[:, None], y, sensitive_features=a)
    z = step.transform(x[:, None], sensitive_features=a, key=np.arange(n))[:, 0]
    laws = [
        np.mean([np.mean((z[(y == i) & (a == g)][:, None] == np.arange(-1, 6)), axis=0)
                 for i in range(K)], axis=0)
        for g in "fm"
    ]  # fmt: skip
    assert np.abs(laws[0] - laws[1]).max() < 0.012  # lots of 24,000 rows
    np.testing.assert_array_equal(z[a == "m"], x[a == "m"])
    order = np.lexsort((z, x))  # increasing: a higher value is never moved below a lower one
    own = order[a[order] == "f"]
    top = np.array([z[own][x[own] == v].max() for v in np.unique(x[own])])
    low = np.array([z[own][x[own] == v].min() for v in np.unique(x[own])])
    assert (low[1:] >= top[:-1]).all()


@KEYED
@pytest.mark.parametrize("kind", ["lattices", "tied scores", "atoms"])
@pytest.mark.parametrize("steer", ["all", ["f"]])
def test_trees_read_the_group_no_better_and_gaps_fall(kind, steer):
    X, y, a = made_up(kind, 6000)
    h, code = 3000, (a == "m").astype(int)
    step = fp.IdealSteering(steer).fit(X[:h], y[:h], sensitive_features=a[:h])
    Z = step.transform(X, sensitive_features=a, key=np.arange(6000))
    raw, aligned = (group_auc(V[:h], code[:h], V[h:], code[h:], 30) for V in (X, Z))
    assert aligned < raw - 0.05

    def gap(V):
        trees = HistGradientBoostingClassifier(max_iter=40, random_state=0).fit(V[:h], y[:h])
        said = trees.predict_proba(V[h:])[:, 1]
        return max(
            worst_gap([said[(y[h:] == i) & (code[h:] == g)] for g in (0, 1)]) for i in (0, 1)
        )

    assert gap(Z) < 0.65 * gap(X) + 0.02  # chance


@pytest.mark.filterwarnings("ignore:1 direction")
def test_whole_numbers_stay_whole_and_related_columns_agree():
    rng = np.random.default_rng(0)
    n = 4000
    a, y = rng.choice(["f", "m"], n), rng.integers(2, size=n)
    years = np.clip(np.round(rng.normal(10 + 2 * y - 2 * (a == "f"), 2)), 1, 16)
    amount = np.where(rng.random(n) < 0.6, 0, np.round(rng.lognormal(7 - 0.3 * (a == "f"), 1)))
    ident = rng.permutation(10 * n)[:n] + 1000 * (a == "f")  # hardly a tie
    X = np.column_stack([years, 12 * years, amount, ident]).astype(float)
    for steer in ("all", ["f"]):
        step = fp.IdealSteering(steer).fit(X, y, sensitive_features=a)
        Z = step.transform(X, sensitive_features=a, key=np.arange(n))
        assert (np.rint(Z) == Z).all() and (Z[a == "f"] != X[a == "f"]).any(axis=0).all()
        np.testing.assert_array_equal(Z[:, 1], 12 * Z[:, 0])  # a row has one lot for all columns


def test_indicators_of_a_category_stay_as_they_are():
    rng = np.random.default_rng(0)
    a, y = rng.choice(["f", "m"], 3000), rng.integers(2, size=3000)
    job = np.where(
        a == "f", rng.choice(4, 3000, p=[0.4, 0.3, 0.2, 0.1]), rng.integers(4, size=3000)
    )
    owner = rng.random(3000) < 0.3 + 0.2 * y + 0.2 * (a == "f")
    blocks = (job[:, None] == np.arange(1, 4)).astype(float)  # all levels but the first
    X = np.column_stack([rng.normal(y + (a == "f")), blocks, owner])
    X[:, 3] *= a == "f"  # a category that one group does not have
    step = fp.IdealSteering(["f"])
    with pytest.warns(fp.FairprogWarning, match="3 columns are indicators .* alone reveal"):
        step.fit(X, y, sensitive_features=a)
    assert step.solution_.original.n_features == 2  # the others are no features of the program
    Z = step.transform(X, sensitive_features=a, key=np.arange(3000))
    np.testing.assert_array_equal(Z[:, 1:4], X[:, 1:4])
    scaled = (X - X.mean(axis=0)) / X.std(axis=0)
    with pytest.warns(fp.FairprogWarning, match="alone reveal"):
        Z_scaled = fp.IdealSteering(["f"]).fit(scaled, y, sensitive_features=a).transform(
            scaled, sensitive_features=a, key=np.arange(3000)
        )  # fmt: skip
    np.testing.assert_allclose(Z_scaled * X.std(axis=0) + X.mean(axis=0), Z, atol=1e-9)
    with pytest.raises(fp.DataError, match="indicator of a category"):
        fp.IdealSteering(["f"]).fit(X[:, 1:4], y, sensitive_features=a)
    with pytest.raises(fp.DataError, match="Constant in every class of group 'm'"):
        fp.IdealSteering(["f"], snap=False).fit(X, y, sensitive_features=a)
    again = fp.IdealSteering.from_dict(step.to_dict())
    np.testing.assert_array_equal(again.transform(X, sensitive_features=a, key=np.arange(3000)), Z)
    assert (Z[:, 4] != X[:, 4]).any() and set(Z[:, 4]) == {0.0, 1.0}
    np.testing.assert_array_equal(
        step.inverse_transform(Z, sensitive_features=a)[:, 1:4], X[:, 1:4]
    )


@KEYED
def test_a_tree_cannot_read_the_group_from_rounded_values():
    rng = np.random.default_rng(1)
    n = 8000
    y, a = rng.integers(0, 2, n), rng.integers(0, 2, n)
    X = np.round(3 * rng.standard_normal((n, 2)) + 4 * y[:, None] + 2 * a[:, None])
    leaks = {}
    for snap in (False, "auto"):
        step = fp.IdealSteering([1], snap=snap)
        warned = pytest.warns(fp.FairprogWarning, match="EASIER") if not snap else nullcontext()
        with warned:
            step.fit(X, y, sensitive_features=a)
        Z = step.transform(X, sensitive_features=a, key=np.arange(n))
        leaks[snap] = (
            DecisionTreeClassifier(random_state=0).fit(Z[::2], a[::2]).score(Z[1::2], a[1::2])
        )
    assert leaks[False] > 0.95 and leaks["auto"] < 0.55


@KEYED
def test_whole_numbers_far_from_zero_keep_their_values():
    rng = np.random.default_rng(0)
    a, y = rng.choice(["f", "m"], 4000), rng.integers(2, size=4000)
    x = np.round(rng.normal(2 * y, np.where(a == "f", 1.5, 3.0)))
    X = np.column_stack([x, np.round(rng.normal(y + (a == "f"), 2.0) + 0.5 * x * (a == "f"))])
    left = []
    for shift in (0, 100):
        step = fp.IdealSteering().fit(X + shift, y, sensitive_features=a)
        Z = step.transform(X + shift, sensitive_features=a, key=np.arange(4000))
        left.append([np.unique(z).size for z in Z.T])
        assert np.abs(Z.mean(axis=0) - X.mean(axis=0) - shift).max() < 0.1
    np.testing.assert_allclose(*left, atol=2)
    assert min(left[0]) > 0.6 * min(np.unique(x).size for x in X.T)


@pytest.mark.parametrize("steer", ["all", ["f"]])
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_point_masses_stay_together_and_tell_no_group(steer, share):
    rng = np.random.default_rng(3)
    n, h = 6000, 3000
    a, y = rng.choice(["f", "m"], n, p=[0.4, 0.6]), rng.integers(2, size=n)
    m = a == "m"
    zero = rng.random(n) < share - 0.1 * y + 0.05 * m
    amount = np.where(zero, 0.0, np.exp(rng.normal(6 + 0.5 * y + 0.3 * m, 1.0)))
    hours = np.where(rng.random(n) < 0.45, 40, np.round(rng.normal(38 + 4 * y + 5 * m, 8)))
    X = np.column_stack([amount, hours, rng.normal(y + m)])
    step = fp.IdealSteering(steer).fit(X[:h], y[:h], sensitive_features=a[:h])
    Z = step.transform(X, sensitive_features=a, key=np.arange(n))
    assert ((Z[:, 0] == 0) == zero).all() and (Z[~zero, 0] > 0).all()
    assert (Z[X[:, 1] == 40, 1] == 40).mean() > 0.7  # split where the groups' shares differ
    code = m.astype(int)
    raw, aligned = (group_auc(V[:h], code[:h], V[h:], code[h:], 30) for V in (X, Z))
    assert aligned < raw + 0.03
    back = step.inverse_transform(Z[:h], sensitive_features=a[:h])
    np.testing.assert_allclose(back[:, 0], X[:h, 0], rtol=1e-9)


def test_point_masses_go_through_files(tmp_path):
    X, y, a = data(900)
    X[::3, 0] = 7.0
    step = fp.IdealSteering(["b"]).fit(X, y, sensitive_features=a)
    step.save(tmp_path / "step.json")
    again = fp.IdealSteering.load(tmp_path / "step.json")
    Z = again.transform(X, sensitive_features=a)
    assert (Z[::3, 0] == 7.0).all()
    np.testing.assert_array_equal(Z, step.transform(X, sensitive_features=a))
