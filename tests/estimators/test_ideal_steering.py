"""`IdealSteering` is a well-behaved scikit-learn step, and does what the solution says."""

import ast
import re
import warnings
from contextlib import nullcontext

import numpy as np
import pandas as pd
import pytest
import sklearn
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, ParameterGrid
from sklearn.pipeline import Pipeline
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import _num_samples

import fairprog as fp
from experiments.fit_choices import made_up
from fairprog.estimators.group_reading import group_auc
from fairprog.estimators.lattice import rounded
from fairprog.kernels.statistics.gap_bands import worst_gap
from tests.instances import multivariate


def one(X):
    """Everybody's group."""
    return np.zeros(_num_samples(X))


class OneGroup(fp.IdealSteering):
    """Everybody in one group: the identity, with scikit-learn's own signature."""

    def fit(self, X, y, sample_weight=None):
        return super().fit(X, y, sensitive_features=one(X), sample_weight=sample_weight)

    def fit_transform(self, X, y, sample_weight=None):
        return self.fit(X, y, sample_weight).transform(X)

    def transform(self, X):
        return super().transform(X, sensitive_features=one(X))

    def inverse_transform(self, X):
        return super().inverse_transform(X, sensitive_features=one(X))


@parametrize_with_checks([OneGroup()])  # no expected failures
@pytest.mark.filterwarnings("ignore")
def test_scikit_learn_checks(estimator, check):
    check(estimator)


# classes of the two groups that no one map brings together
GROWS = pytest.mark.filterwarnings("ignore:The worst gap of a linear model GREW")


def data(n=3000, seed=0, d=3, G=2):
    D = multivariate(np.random.default_rng(seed), d, K=2, G=G)
    X, y, a = D.sample(n, random_state=seed)
    return X, y, np.array(list("abcd"))[[D.groups.index(g) for g in a.tolist()]]


# ------------------------------------------------------------------------- what it does to rows


@pytest.mark.parametrize("steer", ["all", ["b"]])
def test_transform_is_align_of_the_solution(steer):
    X, y, a = data()
    step = fp.IdealSteering(steer, shrinkage=0.0).fit(X, y, sensitive_features=a)
    Z = step.transform(X, sensitive_features=a)
    D = fp.Normal.fit(X, y, sensitive_features=a)
    sol = fp.NearestIdeal(D, steer).solve()
    np.testing.assert_allclose(step.solution_.kl, sol.kl, rtol=1e-9)
    np.testing.assert_array_equal(Z, step.solution_.align(X, sensitive_features=a))
    np.testing.assert_allclose(step.inverse_transform(Z, sensitive_features=a), X, atol=1e-8)
    np.testing.assert_allclose(step.sample_weight_, sol.sample_weight(y, sensitive_features=a))
    assert step.solution_.certificate.ok


def test_rows_of_the_ideal_population_become_fair_to_any_classifier():
    X, y, a = data(20_000)
    step = fp.IdealSteering(["b"]).fit(X, y, sensitive_features=a)
    X = step.solution_.steer(X, y, sensitive_features=a)
    gaps = {}
    for name, Z in (("before", X), ("after", step.transform(X, sensitive_features=a))):
        guess = DecisionTreeClassifier(max_depth=4, random_state=0).fit(Z, y).predict(Z)
        table = fp.OutcomeTable.from_predictions(y, guess, sensitive_features=a)
        gaps[name] = fp.EqualizedOdds().gap(table)
    assert gaps["after"] < 0.01 and gaps["before"] > 0.03, gaps


def test_a_group_known_by_probabilities_gets_the_mean_of_the_maps():
    X, y, a = data()
    step = fp.IdealSteering(snap=False).fit(X, y, sensitive_features=a)
    sure = np.stack([a == "a", a == "b"], axis=1).astype(float)
    by_label = step.transform(X, sensitive_features=a)
    np.testing.assert_allclose(step.transform(X, sensitive_features=sure), by_label, rtol=1e-13)
    half = step.transform(X, sensitive_features=np.full((len(X), 2), 0.5))
    each = [step.transform(X, sensitive_features=np.full(len(X), g)) for g in "ab"]
    np.testing.assert_allclose(half, 0.5 * (each[0] + each[1]), rtol=1e-12, atol=1e-13)
    with pytest.raises(fp.DataError, match="sum to one in every row; row 0"):
        step.transform(X, sensitive_features=np.full((len(X), 2), 0.4))


@pytest.mark.parametrize("step", [fp.IdealSteering(["b"]), fp.ScoreSteering(space="identity")])
def test_what_was_moved_by_several_maps_cannot_be_moved_back(step):
    X, y, a = data()
    X = X if isinstance(step, fp.IdealSteering) else -X[:, 0]
    step.fit(X, y, sensitive_features=a)
    sure = np.stack([a == "a", a == "b"], axis=1).astype(float)
    back = step.inverse_transform(
        step.transform(X, sensitive_features=sure), sensitive_features=sure
    )
    np.testing.assert_allclose(back, X, atol=1e-8)
    with pytest.raises(fp.DataError, match="cannot be moved back"):
        step.inverse_transform(X, sensitive_features=np.full((len(X), 2), 0.5))


def test_as_many_crossed_columns_as_groups_are_no_probabilities():
    X, y, a = data()
    columns = np.stack([a == "b", a == "a"], axis=1).astype(float)  # groups (0, 1) and (1, 0)
    step = fp.IdealSteering([(1.0, 0.0)]).fit(X, y, sensitive_features=columns)
    assert step.groups_.tolist() == [(0.0, 1.0), (1.0, 0.0)]
    moved = step.transform(X, sensitive_features=columns)
    np.testing.assert_array_equal(moved[a == "a"], X[a == "a"])
    assert np.abs(moved[a == "b"] - X[a == "b"]).max() > 0.1
    half = step.transform(X, sensitive_features=np.full((len(X), 2), 0.5))
    assert np.abs(half[a == "a"] - X[a == "a"]).max() > 0.1


def test_several_columns_are_crossed():
    X, y, a = data(4000, G=4)
    columns = np.stack([np.isin(a, ["a", "b"]), np.isin(a, ["a", "c"])], axis=1)
    step = fp.IdealSteering("all").fit(X, y, sensitive_features=columns)
    assert len(step.groups_) == 4 and (True, False) in step.groups_.tolist()
    crossed = step.transform(X, sensitive_features=columns)
    frame = pd.DataFrame(columns, columns=["sex", "race"])
    np.testing.assert_array_equal(crossed, step.transform(X, sensitive_features=frame))
    by_name = fp.IdealSteering("all").fit(X, y, sensitive_features=a)
    np.testing.assert_allclose(  # a local optimum, found in another order of the groups
        by_name.solution_.kl, step.solution_.kl, rtol=1e-6
    )


def test_small_cells_are_refused_and_merged_only_on_request():
    X, y, a = data()
    a = a.astype(object)
    a[np.flatnonzero(y == 1)[:3]] = "c"
    with pytest.raises(fp.DataError, match=r"Class 0, group 'c' has 0 row.*merge_groups") as info:
        fp.IdealSteering().fit(X, y, sensitive_features=a)
    assert info.value.cell == (0, "c")
    with pytest.raises(fp.DataError, match="at least 5000 are needed"):
        fp.IdealSteering(min_cell=5000).fit(X, y, sensitive_features=a)
    step = fp.IdealSteering(merge_groups={"c": "b"}).fit(X, y, sensitive_features=a)
    assert step.groups_.tolist() == ["a", "b"]
    merged = np.where(a == "c", "b", a)
    np.testing.assert_array_equal(
        step.transform(X, sensitive_features=a), step.transform(X, sensitive_features=merged)
    )


@GROWS
def test_uniform_class_weights_weigh_every_class_the_same():
    X, y, a = data()
    keep = (y == 0) | (np.arange(len(y)) % 5 == 0)
    X, y, a = X[keep], y[keep], a[keep]
    step = fp.IdealSteering(["b"], class_weight="uniform", shrinkage=0.0)
    step.fit(X, y, sensitive_features=a)
    np.testing.assert_allclose(np.ptp(step.solution_.population.prior, axis=0), 0.0, atol=1e-15)
    plain = fp.IdealSteering(["b"], shrinkage=0.0).fit(X, y, sensitive_features=a)
    assert np.abs(plain.solution_.maps["b"].matrix - step.solution_.maps["b"].matrix).max() > 1e-3


@pytest.mark.parametrize("class_weight", [None, "uniform"])
@pytest.mark.parametrize("steer", ["all", ["b"]])
def test_weights_of_rows_carry_base_rates_whatever_classes_weigh(class_weight, steer):
    X, y, a = data()
    keep = (a == "a") | (y == 1) | (np.arange(len(y)) % 3 == 0)
    X, y, a = X[keep], y[keep], a[keep]
    own = np.random.default_rng(0).uniform(0.5, 2.0, len(y))
    step = fp.IdealSteering(steer, class_weight=class_weight)
    step.fit(X, y, sensitive_features=a, sample_weight=own)
    rate = {}
    for name, w in (("before", own), ("after", step.sample_weight_)):
        rate[name] = [np.average(y[a == g], weights=w[a == g]) for g in "ab"]
        mass = [w[a == g].sum() / own[a == g].sum() for g in "ab"]
        np.testing.assert_allclose(mass, 1.0)  # groups keep their masses
    assert abs(np.subtract(*rate["before"])) > 0.1
    assert rate["after"][0] == pytest.approx(rate["after"][1], abs=1e-12)
    if steer != "all":
        assert rate["after"][0] == pytest.approx(rate["before"][0], abs=1e-12)


def test_partial_steering_lies_between_nothing_and_all():
    X, y, a = data()
    kl = [
        fp.IdealSteering(["b"], map_bound=bound).fit(X, y, sensitive_features=a).solution_.kl
        for bound in (0.0, 0.2, 100.0)
    ]
    assert kl[0] > 1.1 * kl[1] > 1.2 * kl[2]


def test_lognormal_steering_moves_logarithms():
    X, y, a = data()
    kind = fp.IdealSteering(["b"], family="lognormal").fit(np.exp(X), y, sensitive_features=a)
    plain = fp.IdealSteering(["b"]).fit(X, y, sensitive_features=a)
    np.testing.assert_allclose(
        np.log(kind.transform(np.exp(X), sensitive_features=a)),
        plain.transform(X, sensitive_features=a),
        atol=1e-8,
    )
    with pytest.raises(fp.DataError, match="positive"):
        fp.IdealSteering(family="lognormal").fit(X, y, sensitive_features=a)


@pytest.mark.parametrize("family", ["yeo-johnson", "quantile", fp.Power(0.5)])
def test_features_that_are_normal_under_a_bijection(family, tmp_path):
    Z, y, a = data()
    X = np.sinh(Z)  # heavy tails
    step = fp.IdealSteering(["b"], family=family, class_weight="uniform")
    moved = step.fit_transform(X, y, sensitive_features=a)
    assert isinstance(step.population_, fp.Transformed) and step.solution_.certificate.ok
    np.testing.assert_array_equal(moved[a == "a"], X[a == "a"])
    g, inner = step.population_.bijection, step.solution_.affine["b"].inverse()
    expected = inner(g.forward(X[a == "b"]))
    np.testing.assert_allclose(g.forward(moved[a == "b"]), expected, atol=1e-8)
    np.testing.assert_allclose(
        step.inverse_transform(moved, sensitive_features=a), X, rtol=1e-6, atol=1e-7
    )
    step.save(tmp_path / "step.json")
    again = fp.IdealSteering.load(tmp_path / "step.json")
    np.testing.assert_array_equal(again.transform(X, sensitive_features=a), moved)
    clone(again).fit(X, y, sensitive_features=a)


# ------------------------------------------------------------------------------ tied columns


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


KEYED = pytest.mark.filterwarnings("ignore:Tied values are told apart")  # a key comes later


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


# -------------------------------------------------------------- zeros, units, and point masses

TRANSPORTS = {
    "translation": (fp.Translation(), "full"),
    "scaling": (fp.Scaling(), "full"),
    "diagonal": (fp.Diagonal(), "full"),
    "independent": (fp.Diagonal(), "diagonal"),
    "monotone": (fp.Monotone(), "full"),
    "identity metric": (fp.Monotone("identity"), "full"),
    "whitened": (fp.Whitened(), "full"),
    "affine": (fp.Affine(), "full"),
}
METRIC_BY_UNITS = ("identity metric", "whitened")  # they ask for one unit of all columns


@GROWS
@pytest.mark.parametrize("steer", ["all", ["b"]])
@pytest.mark.parametrize("name", TRANSPORTS)
@settings(max_examples=3, deadline=None, derandomize=True)
@given(
    shift=st.lists(st.floats(-50, 50), min_size=2, max_size=2),
    unit=st.lists(st.floats(0.1, 10), min_size=2, max_size=2),
)
def test_zeros_and_units_of_columns_are_arbitrary(name, steer, shift, unit):
    X, y, a = data(600, d=2)
    unit = unit[:1] * 2 if name in METRIC_BY_UNITS else unit
    transport, covariance = TRANSPORTS[name]

    def aligned(X):
        step = fp.IdealSteering(steer, transport=transport, covariance=covariance, snap=False)
        return step.fit(X, y, sensitive_features=a).transform(X, sensitive_features=a)

    Z = aligned(X)
    moved = aligned(X * unit + shift)
    assert np.abs(moved - (Z * unit + shift)).max() < 1e-4 * (1 + np.abs(unit).max())
    if steer == "all":
        np.testing.assert_allclose(Z.mean(axis=0), X.mean(axis=0), atol=1e-9)


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


@pytest.mark.parametrize("steer", ["all", ["b"]])
def test_copies_without_a_key_do_not_widen_gaps_and_fit_says_so(steer):
    """Three columns of two values: eight rows, and eight lots that throw a group about."""
    X, y, a = three_questions(6000)
    with pytest.warns(fp.FairprogWarning, match="told apart by lots, and without a key"):
        step = fp.IdealSteering(steer).fit(X, y, sensitive_features=a)
    with pytest.warns(fp.FairprogWarning, match="told apart by lots, and without a key"):
        together = step.transform(X, sensitive_features=a)
    apart = step.transform(X, sensitive_features=a, key=np.arange(6000))

    def gap(Z):
        code = Z @ [1, 2, 4]
        score = np.array([np.mean(y[code == v]) if (code == v).any() else 0 for v in range(8)])
        return (
            fp.audit(y, score[code.astype(int)], sensitive_features=a)
            .worst["equalized odds", "score"]
            .gap
        )

    assert gap(together) <= gap(X) + 1e-9 and gap(apart) < 0.6 * gap(X)
    step.fit_transform(X, y, sensitive_features=a, key=np.arange(6000))  # nothing to say
    again = fp.IdealSteering.from_dict(step.to_dict())
    with pytest.warns(fp.FairprogWarning, match="told apart by lots"):
        np.testing.assert_array_equal(again.transform(X, sensitive_features=a), together)


@KEYED
@pytest.mark.filterwarnings("ignore:.* columns are indicators", "ignore:The group is EASIER")
def test_a_category_that_says_what_a_moved_number_says_is_named():
    """Years of school move; "bachelor" and the like stay: rows contradict themselves."""
    rng = np.random.default_rng(0)
    a, y = rng.choice(["a", "b"], 2000), rng.integers(2, size=2000)
    years = np.clip(np.round(rng.normal(11 + y + 1.5 * (a == "b"), 1.5)), 9, 14)
    frame = pd.DataFrame({"age": rng.normal(size=2000), "years": years})
    said = pd.get_dummies(pd.Series([f"level {v:.0f}" for v in years]), dtype=float)
    other = pd.get_dummies(pd.Series(rng.choice(list("uvw"), 2000)), dtype=float)
    with pytest.warns(fp.FairprogWarning, match="years moves, and what says the same") as warned:
        step = fp.IdealSteering(["b"]).set_output(transform="pandas")
        step.fit(frame.join(said).join(other), y, sensitive_features=a)
    text = next(str(w.message) for w in warned if "says the same" in str(w.message))
    assert "(level 10, level 11, level 12 and 3 more)" in text and "Leave years out" in text
    X = frame.join(said).join(other)
    Z = step.transform(X, sensitive_features=a, key=np.arange(2000))
    wrong = np.mean(Z["years"] != [float(v[6:]) for v in Z[said.columns].idxmax(axis=1)])
    share = float(re.search(r"(\d+)% of the rows contradict themselves", text)[1]) / 100
    assert wrong == pytest.approx(share, abs=0.03)  # other lots
    with warnings.catch_warnings():  # another category says nothing of the number
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "Tied values are told apart")
        fp.IdealSteering(["b"]).fit(frame.join(other), y, sensitive_features=a)


def three_questions(n, seed=0):
    """Answers of yes and no that group b gives more rarely."""
    rng = np.random.default_rng(seed)
    a, y = rng.choice(["a", "b"], n, p=[0.6, 0.4]), rng.integers(2, size=n)
    logit = (2 * y[:, None] - 1) * [0.5, 0.4, 0.3] - (a == "b")[:, None] * [1.0, 0.2, -0.4]
    return (rng.random((n, 3)) < 1 / (1 + np.exp(-logit))).astype(float), y, a


@KEYED
def test_values_that_run_together_are_warned_of():
    rng = np.random.default_rng(0)
    a, y = rng.choice(["f", "m"], 2000), rng.integers(2, size=2000)
    x = np.where(a == "f", np.round(rng.normal(y, 20)), np.round(rng.normal(y, 0.7)))
    with pytest.warns(fp.FairprogWarning, match=r"column 0: \d+ of \d+ values of group 'f'"):
        fp.IdealSteering(["f"]).fit(x[:, None], y, sensitive_features=a)


@pytest.mark.parametrize(
    "step", [fp.IdealSteering(), fp.ScoreSteering(space="identity"),
             fp.SteeredClassifier(LogisticRegression(), cv=3),
             fp.SteeredClassifier(LogisticRegression(), cv=3, uses_group=False)]
)  # fmt: skip
def test_cells_of_few_rows_are_named_once(step):
    rng = np.random.default_rng(0)
    y, a = np.tile([0, 1], 80), np.repeat(["b", "a"], [30, 130])
    X = rng.normal(size=(160, 1)) + y[:, None]
    with pytest.warns(fp.FairprogWarning) as warned:
        step.fit(X, y, sensitive_features=a)
    said = [str(w.message) for w in warned if "smallest cell" in str(w.message)]
    assert len(said) == 1 and said[0].startswith(
        "The smallest cell (class 0, group b) has 15 rows, and a gap of 0.1 needs 633 in each cell"
    )
    if isinstance(step, fp.SteeredClassifier):  # by which notion it decides
        assert step.notion_ == (None if step.uses_group else fp.EqualizedOdds())


def test_one_group_is_said_to_be_one():
    X, y, _ = data(200)
    with pytest.warns(fp.FairprogWarning, match="nobody to be equal to"):
        fp.IdealSteering().fit(X, y, sensitive_features=np.zeros(200))


# ------------------------------------------------------------------------------ as scikit-learn


def test_data_frames_keep_their_names():
    X, y, a = data()
    frame = pd.DataFrame(X, columns=["u", "v", "w"])
    step = fp.IdealSteering(["b"]).set_output(transform="pandas")
    out = step.fit_transform(frame, y, sensitive_features=pd.Series(a))
    assert list(out.columns) == ["u", "v", "w"] and isinstance(out, pd.DataFrame)
    with pytest.raises(ValueError, match="feature names"):
        step.transform(frame[["v", "u", "w"]], sensitive_features=a)


def test_the_same_input_gives_the_same_bits():
    X, y, a = data()
    X = np.round(X, 1)
    step = fp.IdealSteering(["b"]).fit(X, y, sensitive_features=a)
    again = clone(step).fit(X, y, sensitive_features=a)
    np.testing.assert_array_equal(
        step.transform(X, sensitive_features=a), again.transform(X, sensitive_features=a)
    )


def test_a_grid_search_routes_the_groups():
    X, y, a = data(1200)
    with sklearn.config_context(enable_metadata_routing=True):
        step = (
            fp.IdealSteering(["b"])
            .set_fit_request(sensitive_features=True)
            .set_transform_request(sensitive_features=True)
        )
        pipe = Pipeline([("steer", step), ("model", LogisticRegression())])
        search = GridSearchCV(
            pipe,
            {
                "steer__transport": [fp.Monotone(), fp.Diagonal()],
                "steer__shrinkage": ["auto", 0.0, 0.5],
            },
            cv=3,
        ).fit(X, y, sensitive_features=a)
        assert search.best_estimator_.predict(X, sensitive_features=a).shape == y.shape
        assert np.isfinite(search.cv_results_["mean_test_score"]).all()
        assert search.score(X, y, sensitive_features=a) > 0.6


@pytest.mark.filterwarnings("ignore:The group is EASIER")
@pytest.mark.parametrize("suffix", [".json", ".npz"])
def test_saved_and_loaded_it_moves_rows_the_same(tmp_path, suffix):
    X, y, a = data()
    X[:, 0] = np.round(X[:, 0])
    step = fp.IdealSteering(["b"], transport=fp.Diagonal()).fit(X, y, sensitive_features=a)
    step.save(tmp_path / f"step{suffix}")
    again = fp.IdealSteering.load(tmp_path / f"step{suffix}")
    np.testing.assert_array_equal(
        step.transform(X, sensitive_features=a), again.transform(X, sensitive_features=a)
    )
    assert again.get_params()["transport"] == fp.Diagonal()
    fp.Moments().save(tmp_path / "moments.npz")
    with pytest.raises(fp.DataError, match="holds a Moments"):
        fp.IdealSteering.load(tmp_path / "moments.npz")


# ------------------------------------------------------------------------------ careless users


def test_every_careless_mistake_gets_a_sentence():
    X, y, a = data(400)
    step = fp.IdealSteering()
    with pytest.raises(fp.DataError, match="maps are one per group"):
        step.fit(X, y, sensitive_features=None)
    fitted = fp.IdealSteering().fit(X, y, sensitive_features=a)
    with pytest.raises(fp.DataError, match=r"maps are one per group.*metadata routing") as told:
        fitted.transform(X)
    for way in ("sensitive_column='sex'", "set_fit_request", "set_transform_request"):
        assert way in str(told.value)
    with pytest.raises(fp.DataError, match="maps are one per group"):
        fitted.transform(X, sensitive_features=None)
    frame = pd.DataFrame(X, columns=["u", "v", "w"]).assign(sector="text", kept=True)
    with pytest.raises(fp.DataError, match=r"Columns \['sector'\] of `X` hold no numbers"):
        step.fit(frame, y, sensitive_features=a)
    with pytest.raises(fp.DataError, match=r"first in row 0\. Drop these rows"):
        step.fit(X, y, sensitive_features=np.where(np.arange(400) < 2, None, a))
    with pytest.raises(fp.DataError, match="the same as `y`"):
        step.fit(X, y, sensitive_features=y)
    with pytest.raises(fp.DataError, match="Were features or labels passed"):
        step.fit(X, y, sensitive_features=X[:, 0])
    with pytest.raises(fp.DataError, match="Class 1, group 'b' has 0"):
        step.fit(X, np.where(a == "b", 0, y), sensitive_features=a)
    with pytest.raises(fp.DataError, match="at least two classes"):
        step.fit(X, np.zeros(400), sensitive_features=a)
    with pytest.raises(ValueError, match="NaN"):
        step.fit(np.where(X > 2, np.nan, X), y, sensitive_features=a)
    with pytest.raises(fp.DataError, match="at least 2 are needed"):
        step.fit(X[:3], y[:3], sensitive_features=a[:3])
    with pytest.raises(fp.DataError, match="not seen before"):
        fitted.transform(X, sensitive_features=np.full(400, "z"))
    with pytest.raises(fp.ModelError, match="`family`"):
        fp.IdealSteering(family="cauchy").fit(X, y, sensitive_features=a)
    with pytest.raises(fp.ModelError, match="`class_weight`"):
        fp.IdealSteering(class_weight="balanced").fit(X, y, sensitive_features=a)


def test_columns_that_vary_in_some_cells_only_are_named():
    X, y, a = data(400)
    table = pd.DataFrame(X, columns=["u", "v", "w"])
    table["rare"] = ((a == "b") & (y == 1) & (X[:, 0] > 0)).astype(float)
    with pytest.raises(fp.DataError, match=r"group 'a': rare\. .* ScoreSteering") as info:
        fp.IdealSteering(shrinkage=0.0).fit(table, y, sensitive_features=a)
    assert info.value.cell[1] in ("a", "b") and info.value.argument == "X"
    with pytest.raises(fp.DataError, match="group 'a': column 3"):
        fp.IdealSteering(shrinkage=0.0).fit(table.to_numpy(), y, sensitive_features=a)
    table["rare"] = np.where((a == "a") & (y == 1), X[:, 0] + X[:, 1], X[:, 2])
    table["w"] = np.random.default_rng(0).normal(size=400)
    with pytest.raises(fp.DataError, match="depend linearly on others there"):
        fp.IdealSteering(shrinkage=0.0).fit(table, y, sensitive_features=a)


def test_a_search_over_both_is_two_grids_and_the_error_says_so():
    """All groups under a bound are refused before anything is estimated, with what to write."""
    X, y, a = data(600)
    step = fp.IdealSteering("all", map_bound=0.1)
    with pytest.raises(fp.ModelError, match="takes no `map_bound`") as caught:
        step.fit(X, y, sensitive_features=a)
    assert caught.value.argument == "map_bound" and not hasattr(step, "population_")
    grids = ast.literal_eval(re.search(r"\[\{.*\}\]", str(caught.value)).group())
    kept = []
    for params in ParameterGrid(grids):
        fitted = fp.IdealSteering(**params).fit(X, y, sensitive_features=a)
        kept.append((params.get("map_bound", 0.0), fitted.solution_.kl))
    assert len(kept) == 3
    bounded = dict(kept[1:])
    assert bounded[0.1] < bounded[0.0] and kept[0][1] <= bounded[0.0] + 1e-9


@pytest.mark.parametrize("scale", [1e-160, 1e-200])
def test_features_whose_squares_underflow_are_refused(scale):
    rng = np.random.default_rng(0)
    a, y = rng.integers(2, size=200), rng.integers(2, size=200)
    X = scale * (rng.normal(size=(200, 2)) + y[:, None])
    with pytest.raises(fp.DataError, match="largest standard deviation"):
        fp.IdealSteering([1]).fit(X, y, sensitive_features=a)


def test_sensitive_columns_of_other_names_are_refused():
    rng = np.random.default_rng(0)
    columns = pd.DataFrame(rng.integers(2, size=(800, 2)), columns=["sex", "race"])
    y = rng.integers(2, size=800)
    X = rng.normal(size=(800, 1)) + y[:, None] + columns[["sex"]].to_numpy()
    step = fp.IdealSteering().fit(X, y, sensitive_features=columns)
    for names in (["race", "gender"], ["SEX", "RACE"], ["sex", "age"]):
        with pytest.raises(fp.DataError, match="those of the fit were"):
            step.transform(X, sensitive_features=columns.set_axis(names, axis=1))
    shares = pd.DataFrame(np.full((800, 4), 0.25), columns=[str(g) for g in step.groups_])
    assert step.transform(X, sensitive_features=shares).shape == X.shape


@pytest.mark.parametrize("steer", ["all", ["b"]])
def test_gaps_of_a_linear_model_that_grew_are_said_at_fit(steer):
    """Classes that no one map brings together: what is proven is the program's answer."""
    X, y, a = data(600, d=2)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        step = fp.IdealSteering(steer, snap=False).fit(X, y, sensitive_features=a)
    assert step.solution_.certificate.ok
    new, y_new, a_new = data(20_000, d=2)
    worst = []
    for old, rows in (
        (X, new),
        (step.transform(X, sensitive_features=a), step.transform(new, sensitive_features=a_new)),
    ):
        score = LogisticRegression().fit(old, y).decision_function(rows)
        cells = [[score[(y_new == i) & (a_new == g)] for g in "ab"] for i in (0, 1)]
        worst.append(max(worst_gap(own) for own in cells))
    grew = any("GREW" in str(one.message) for one in said)
    assert grew == (worst[1] > worst[0] + 0.1)
