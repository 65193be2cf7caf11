"""What `IdealSteering` warns of at fit, and what it refuses in a sentence."""

import ast
import re
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import ParameterGrid

import fairprog as fp
from fairprog.kernels.statistics.gap_bands import worst_gap
from tests.steered_rows import KEYED, data


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
