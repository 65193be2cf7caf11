"""Rows at the door: their order, names, weights and repetitions change nothing but themselves."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

import fairprog as fp
from fairprog.door import counted, refuse_reordered
from fairprog.numeric import without_dust

seeds = st.integers(0, 10_000)
few = settings(deadline=None, max_examples=8)


def rows(seed, n=400, whole=False):
    """Two classes, two groups, three features that tell both."""
    rng = np.random.default_rng(seed)
    y, a = rng.integers(0, 2, n), rng.integers(0, 2, n)
    X = rng.normal(size=(n, 3)) * (1 + 0.5 * a[:, None]) + np.outer(y, [1.0, 0.5, 0.0])
    X += np.outer(a, [0.5, 0.0, 0.3])
    if whole:
        X[:, :2] = np.round(2 * X[:, :2])
    return rng, X, y, np.array(["a", "b"])[a]


def score(X):
    return 1 / (1 + np.exp(-X[:, 0]))


def population(D):
    return {"prior": D.prior} | {
        k: np.asarray(v) for k, v in D.to_dict().items() if k in ("mean", "cov", "std", "scale")
    }


def bins(s, y, a, w):
    D = fp.Categorical.from_scores(s, y=y, bins=4, sensitive_features=a, sample_weight=w)
    return {"joint": D.joint, "values": D.values}


def audited(X, y, a, w):
    found = fp.audit(y, score(X), sensitive_features=a, sample_weight=w, n_permutations=5)
    worst = {
        "/".join(k): [v.gap, v.low, v.high, v.floor, v.chance] for k, v in found.worst.items()
    }
    return worst | {"rates": found.rates}


def counts(D):
    return {"joint": D.joint, "values": D.values}


# What each answers about rows, their labels, groups and weights. All but bands are of the rows'
# law, so that they know no difference between a repetition and a weight.
LAWS = {
    "Normal": lambda X, y, a, w: population(
        fp.Normal.fit(X, y, sensitive_features=a, sample_weight=w, shrinkage="auto")
    ),
    "diagonal": lambda X, y, a, w: population(
        fp.Normal.fit(X, y, sensitive_features=a, sample_weight=w, covariance="diagonal")
    ),
    "LogNormal": lambda X, y, a, w: population(
        fp.LogNormal.fit(np.exp(X), y, sensitive_features=a, sample_weight=w)
    ),
    "Laplace": lambda X, y, a, w: population(
        fp.Laplace.fit(X[:, 0], y, sensitive_features=a, sample_weight=w)
    ),
    "Logistic": lambda X, y, a, w: population(
        fp.Logistic.fit(X[:, 0], y, sensitive_features=a, sample_weight=w)
    ),
    "Gumbel": lambda X, y, a, w: population(
        fp.Gumbel.fit(X[:, 0], y, sensitive_features=a, sample_weight=w)
    ),
    "Exponential": lambda X, y, a, w: population(
        fp.Exponential.fit(np.exp(X[:, 0]), y, sensitive_features=a, sample_weight=w)
    ),
    "Gamma": lambda X, y, a, w: population(
        fp.Gamma.fit(np.exp(X[:, 0] / 2), y, sensitive_features=a, sample_weight=w)
    ),
    "Weibull": lambda X, y, a, w: population(
        fp.Weibull.fit(np.exp(X[:, 0] / 2), y, sensitive_features=a, sample_weight=w)
    ),
    "Moments": lambda X, y, a, w: population(
        fp.Moments().partial_fit(X, y, sensitive_features=a, sample_weight=w)
        .population(shrinkage="auto")
    ),
    "Categorical": lambda X, y, a, w: counts(
        fp.Categorical.fit(np.round(X[:, 0]), y, sensitive_features=a, sample_weight=w)
    ),
    "bins": lambda X, y, a, w: bins(score(X), y, a, w),
    "OutcomeTable": lambda X, y, a, w: {
        "Z": fp.OutcomeTable.from_predictions(
            y, (X[:, 0] > 0.3).astype(int), sensitive_features=a, sample_weight=w
        ).Z
    },
    "QuantileMap": lambda X, y, a, w: {
        g: maps[0].theta
        for g, maps in fp.QuantileMap.fit(
            X, y, sensitive_features=a, sample_weight=w, n_quantiles=20
        ).maps.items()
    },
}  # fmt: skip
STEPS = {
    "ideal": lambda: fp.IdealSteering(),
    "one group": lambda: fp.IdealSteering(["b"], family="quantile"),
    "powers": lambda: fp.IdealSteering(["b"], family="yeo-johnson"),
}


def agree(found, expected, **tolerance):
    assert found.keys() == expected.keys()
    tolerance = {"rtol": 1e-7, "atol": 1e-9} | tolerance
    for name, value in expected.items():
        np.testing.assert_allclose(
            np.asarray(found[name], float), np.asarray(value, float), err_msg=name, **tolerance
        )


def transformed(make, X, y, a, w, Z, b):
    return (
        make()
        .fit(X, y, sensitive_features=a, sample_weight=w)
        .transform(Z, sensitive_features=b, key=np.arange(len(Z)))
    )


# ------------------------------------------------------------------------------ laws of the rows


@pytest.mark.parametrize("law", [*LAWS, "audit"])
@given(seeds)
@few
def test_permuting_rows_changes_nothing(law, seed):
    rng, X, y, a = rows(seed)
    w, p = rng.integers(1, 3, len(y)) + 0.0, rng.permutation(len(y))
    of = audited if law == "audit" else LAWS[law]
    agree(of(X[p], y[p], a[p], w[p]), of(X, y, a, w), atol=1e-6)


@pytest.mark.parametrize("law", [*LAWS, "audit"])
@given(seeds)
@few
def test_weight_zero_is_leaving_out(law, seed):
    rng, X, y, a = rows(seed)
    w = rng.integers(0, 2, len(y)) + 0.0
    X[w == 0] += 100.0  # would be seen
    of, kept = audited if law == "audit" else LAWS[law], w > 0
    agree(of(X, y, a, w), of(X[kept], y[kept], a[kept], None), atol=1e-6)


@pytest.mark.parametrize("law", LAWS)
@given(seeds)
@few
def test_a_whole_weight_is_that_many_rows(law, seed):
    rng, X, y, a = rows(seed)
    w = rng.integers(0, 4, len(y))
    k = np.repeat(np.arange(len(y)), w)
    agree(LAWS[law](X, y, a, w + 0.0), LAWS[law](X[k], y[k], a[k], None), rtol=1e-5, atol=1e-6)


def test_gaps_of_an_audit_count_repetitions():
    _, X, y, a = rows(0)
    k = np.repeat(np.arange(len(y)), 2)
    s = score(X)
    weighted = fp.audit(y, s, sensitive_features=a, sample_weight=np.full(len(y), 2.0))
    repeated = fp.audit(y[k], s[k], sensitive_features=a[k])
    for notion, found in repeated.worst.items():
        np.testing.assert_allclose(weighted.worst[notion].gap, found.gap, rtol=1e-12)
    # a weight is no second witness: bands are as wide as the rows there are
    name = "equalized odds", "score"
    assert weighted.worst[name].low < repeated.worst[name].low


@pytest.mark.parametrize("law", [k for k in LAWS if k not in ("QuantileMap", "OutcomeTable")])
@given(seeds)
@few
def test_labels_are_names_only(law, seed):
    _, X, y, a = rows(seed)
    named = np.where(a == "a", "zoe", "adam")  # the other way round
    other = np.where(y == 1, "yes", "no")
    found, expected = LAWS[law](X, other, named, None), LAWS[law](X, y, a, None)
    for name, value in expected.items():
        if value.ndim >= 2 and name != "values":
            axis = 2 if name == "joint" else 1
            value = np.flip(value, axis)  # groups, sorted, stand the other way round
        np.testing.assert_allclose(found[name], value, rtol=1e-7, atol=1e-9)


# ------------------------------------------------------------------------------------ estimators


SEVERAL = [pytest.param(k, marks=pytest.mark.slow) if k == "ideal" else k for k in STEPS]


@pytest.mark.parametrize("step", SEVERAL)
@given(seeds)
@few
def test_a_step_answers_row_by_row(step, seed):
    rng, X, y, a = rows(seed, whole=step == "ideal")
    w = rng.integers(0, 3, len(y)) + 0.0
    Z, b = X[rng.permutation(len(X))[:50]], a[rng.permutation(len(a))[:50]]
    whole = transformed(STEPS[step], X, y, a, w, Z, b)
    p, kept = rng.permutation(len(y)), w > 0
    near = {"rtol": 1e-6, "atol": 1e-6}
    permuted = transformed(STEPS[step], X[p], y[p], a[p], w[p], Z, b)
    np.testing.assert_allclose(permuted, whole, **near)
    left_out = transformed(STEPS[step], X[kept], y[kept], a[kept], w[kept], Z, b)
    np.testing.assert_allclose(left_out, whole, **near)
    k = np.repeat(np.arange(len(y)), w.astype(int))
    repeated = transformed(STEPS[step], X[k], y[k], a[k], None, Z, b)
    np.testing.assert_allclose(repeated, whole, **near)
    fitted = STEPS[step]().fit(X, y, sensitive_features=a)
    rows_, key = rng.permutation(50)[:20], np.arange(50)
    part = fitted.transform(Z[rows_], sensitive_features=b[rows_], key=key[rows_])
    everyone = fitted.transform(Z, sensitive_features=b, key=key)
    np.testing.assert_allclose(part, everyone[rows_], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("step", SEVERAL)
@given(seeds)
@few
@pytest.mark.filterwarnings("ignore:Rounded values")
def test_columns_and_labels_are_names_only(step, seed):
    rng, X, y, a = rows(seed, whole=step == "ideal")
    frame = pd.DataFrame(X, columns=list("uvw"))
    c = rng.permutation(3)
    other = frame.iloc[:, c].set_axis(["x", "y", "z"], axis=1)
    expected = STEPS[step]().fit_transform(frame, y, sensitive_features=a)
    found = STEPS[step]().fit_transform(other, y, sensitive_features=a)
    np.testing.assert_allclose(found, expected[:, c], rtol=1e-6, atol=1e-6)
    renamed = np.where(a == "a", "m", "n"), np.where(y == 1, "good", "bad")
    make = STEPS[step]()
    make.set_params(steer="all" if make.steer == "all" else ["n"])
    found = make.fit_transform(X, renamed[1], sensitive_features=renamed[0])
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("ties", ["auto", "keep"])
@pytest.mark.parametrize("digits", [1, 9])
@given(seeds)
@few
def test_a_score_step_answers_row_by_row(ties, digits, seed):
    rng, X, y, a = rows(seed)
    s, w = np.round(score(X), digits), rng.integers(0, 3, len(y)) + 0.0
    key, p, kept = np.arange(len(s)), rng.permutation(len(s)), w > 0

    def fitted(k, weight):
        return fp.ScoreSteering(ties=ties).fit(
            s[k], y[k], sensitive_features=a[k], sample_weight=weight
        )

    step = fitted(key, w)
    whole = step.transform(s, sensitive_features=a, key=key)
    repeated = np.repeat(key, w.astype(int))
    for again in (fitted(p, w[p]), fitted(key[kept], w[kept]), fitted(repeated, None)):
        found = again.transform(s, sensitive_features=a, key=key)
        assert np.mean(np.abs(found - whole) > 1e-6) < 0.01  # a level may lie on an edge
    part = p[:30]
    alone = [step.transform(s[[i]], sensitive_features=a[[i]], key=[i])[0] for i in part]
    np.testing.assert_array_equal(alone, whole[part])
    batch = step.transform(s[part], sensitive_features=a[part], key=part)
    np.testing.assert_array_equal(batch, whole[part])


def test_a_classifier_answers_row_by_row():
    for seed in range(4):
        rng, X, y, a = rows(seed, 600)
        p = rng.permutation(len(y))
        model = fp.SteeredClassifier(LogisticRegression(), cv=3)
        whole = model.fit(X, y, sensitive_features=a).predict_proba(X, sensitive_features=a)
        alone = [model.predict_proba(X[[i]], sensitive_features=a[[i]])[0] for i in range(40)]
        np.testing.assert_allclose(alone, whole[:40], rtol=1e-12, atol=1e-13)
        threshold = model.threshold_
        again = model.fit(X[p], y[p], sensitive_features=a[p])
        np.testing.assert_allclose(again.predict_proba(X, sensitive_features=a), whole, atol=1e-9)
        assert abs(again.threshold_ - threshold) < 1e-9
        w = (np.arange(len(y)) % 5 > 0) * 1.0
        X2, y2 = X + 50.0 * (w == 0)[:, None], y  # would be seen
        model.fit(X2, y2, sensitive_features=a, sample_weight=w)
        zero = model.predict_proba(X, sensitive_features=a)
        kept = w > 0
        model.fit(X[kept], y[kept], sensitive_features=a[kept], sample_weight=w[kept])
        np.testing.assert_allclose(model.predict_proba(X, sensitive_features=a), zero, atol=1e-9)
        c = [2, 0, 1]
        frame = pd.DataFrame(X, columns=list("uvw"))
        model.fit(frame, y, sensitive_features=np.where(a == "a", "x", "y"))
        by_name = model.predict_proba(frame, sensitive_features=np.where(a == "a", "x", "y"))
        model.fit(frame.iloc[:, c], np.where(y, "T", "F"), sensitive_features=a)
        mixed = model.predict_proba(frame.iloc[:, c], sensitive_features=a)
        np.testing.assert_allclose(by_name, whole, atol=1e-9)
        np.testing.assert_allclose(mixed, whole, atol=1e-5)  # the learner's own tolerance


@pytest.mark.filterwarnings("ignore:4 cell")
def test_concept_vectors_do_not_depend_on_the_order_of_texts():
    rng, X, y, a = rows(1, 800)
    p = rng.permutation(len(y))
    make = fp.ConceptSteering(n_probes=12, n_components=2)
    whole = make.fit(X, y, sensitive_features=a).vectors_
    again = make.fit(X[p], y[p], sensitive_features=a[p]).vectors_
    merged = make.set_params(merge_groups={"c": "b"})
    merged.fit(X, y, sensitive_features=np.where((a == "b") & (X[:, 0] > 0), "c", a))
    for g, v in whole.items():
        np.testing.assert_allclose(again[g], v, rtol=1e-6)
        np.testing.assert_allclose(merged.vectors_[g], v, rtol=1e-6)


# ------------------------------------------------------------------------------------- the order


def test_other_rows_are_refused_and_numbered_ones_are_taken():
    one = pd.Series(range(10))
    for other in (one.set_axis(range(5, 15)), one.iloc[::-1], one.set_axis([0] * 10)):
        with pytest.raises(fp.DataError, match="rows are matched by position"):
            refuse_reordered(X=one, y=other)
        with pytest.raises(fp.DataError):  # also where something else stands first
            refuse_reordered(X=one.set_axis(list("abcdefghij")), y=one, sample_weight=other)
    other = one.set_axis(range(20, 30))  # another part of the same table
    refuse_reordered(X=one, y=other, key=np.arange(10), w=None)
    refuse_reordered(X=other, y=other.reset_index(drop=True))
    for index in (range(40, 50), list("abcdefghij"), pd.date_range("2020", periods=10)):
        with pytest.raises(fp.DataError, match="`X` and `y` have indexes without a label") as said:
            refuse_reordered(X=other, y=one.set_axis(index))
        assert "y.reset_index(drop=True)" in str(said.value) and ".loc[" in str(said.value)


def test_indexes_of_several_levels_are_indexes():
    one = pd.Series(range(4))
    two, three = (
        pd.MultiIndex.from_product(p) for p in ([[0, 1], ["a", "b"]], [[0, 1], ["a"], [2, 3]])
    )
    refuse_reordered(X=one, y=one.set_axis(two))
    refuse_reordered(X=one.set_axis(two), y=one.set_axis(two))
    for other, how in ((two[::-1], "the same index in another order"), (three, "without a label")):
        with pytest.raises(fp.DataError, match=how):
            refuse_reordered(X=one.set_axis(two), y=one.set_axis(other))


D = fp.Normal([[0.3, 0.2], [0.3, 0.2]], [[0.0, 1.0], [2.0, 2.0]], std=[[1.0, 1.0], [1.0, 2.0]])


def test_everything_that_takes_two_series_looks_at_their_order():
    _, X, y, a = rows(0)
    s, y, a = pd.Series(score(X)), pd.Series(y), pd.Series(a)
    w = pd.Series(np.ones(len(y)))
    back = w.index[::-1]
    frame, guess = pd.DataFrame(X), (s > 0.5).astype(int)
    table = fp.OutcomeTable.from_predictions
    model = fp.SteeredClassifier(LogisticRegression(), cv=2)
    model.fit(frame, y, sensitive_features=a)
    step = fp.ScoreSteering().fit(s, y, sensitive_features=a)
    rule = (
        fp.FairClassifier(
            fp.Categorical.from_scores(s, y=y, bins=4, sensitive_features=a), fp.ErrorRate()
        )
        .solve()
        .classifier
    )
    solved = fp.NearestIdeal(D, [1]).solve()
    code = (a == "b").astype(int)
    uses = [
        lambda: table(y, guess[back], sensitive_features=a),
        lambda: table(y, guess, sensitive_features=a, sample_weight=w[back]),
        lambda: fp.audit(y, s, y_score_after=s[back], sensitive_features=a),
        lambda: fp.audit(y, s, sample_weight=w[back], sensitive_features=a),
        lambda: fp.audit(y, s, sensitive_features=a, X=frame.loc[back]),
        lambda: fp.Normal.fit(frame, y, sensitive_features=a, sample_weight=w[back]),
        lambda: fp.Laplace.fit(s, y, sensitive_features=a, sample_weight=w[back]),
        lambda: fp.Moments().partial_fit(frame, y, sensitive_features=a, sample_weight=w[back]),
        lambda: fp.Categorical.fit(s, y[back], sensitive_features=a),
        lambda: fp.Categorical.from_scores(s, y=y[back], bins=3, sensitive_features=a),
        lambda: fp.Categorical.from_scores(s, sensitive_features=a, sample_weight=w[back]),
        lambda: fp.QuantileMap.fit(s, y, sensitive_features=a, sample_weight=w[back]),
        lambda: fp.Empirical(s, y[back]),
        lambda: fp.fit_piecewise_linear(s, y[back], [0.0, 1.0], [1.0, 1.0]),
        lambda: solved.sample_weight(y, sensitive_features=code[back]),
        lambda: rule.predict_proba_from_scores(s, sensitive_features=a[back]),
        lambda: fp.Moments().update([(frame, y, a[back])], progress=False),
        lambda: solved.to_html(X=s, y=y, sensitive_features=code[back]),
        lambda: rule.predict_from_scores(s, sensitive_features=a, key=w[back]),
        lambda: step.transform(s, sensitive_features=a, key=w[back]),
        lambda: model.score(frame, y[back], sensitive_features=a),
        lambda: model.score(frame, y, sensitive_features=a, sample_weight=w[back]),
        lambda: model.predict(frame, sensitive_features=a, key=w[back]),
    ]  # fmt: skip
    for k, use in enumerate(uses):
        with pytest.raises(fp.DataError, match="the same index in another order"):
            use()
            pytest.fail(f"use {k} took the rows as they lay")


@pytest.mark.parametrize("columns", [["b", "a"], ["a", "b"]])
def test_probabilities_in_a_frame_are_read_by_name(columns):
    _, X, y, a = rows(0)
    step = fp.ScoreSteering().fit(score(X), y, sensitive_features=a)
    p = np.random.default_rng(0).random(len(y))
    frame = pd.DataFrame({"a": p, "b": 1 - p})[columns]
    expected = step.transform(score(X), sensitive_features=np.stack([p, 1 - p], axis=1))
    np.testing.assert_array_equal(step.transform(score(X), sensitive_features=frame), expected)
    plain = pd.DataFrame(np.stack([p, 1 - p], axis=1))  # numbered: by position
    np.testing.assert_array_equal(step.transform(score(X), sensitive_features=plain), expected)
    with pytest.raises(fp.DataError, match=r"has the columns .*'z'"):
        step.transform(score(X), sensitive_features=frame.rename(columns={"b": "z"}))
    with pytest.raises(fp.DataError, match="found nan in row 3"):
        step.transform(score(X), sensitive_features=frame.assign(a=np.where(p != p[3], p, np.nan)))


# ------------------------------------------------------------------------------- missing values


def missing_labels(n):
    a = pd.Series(np.where(np.arange(n) % 2, "x", "y"))
    hole = np.arange(n) == 3
    days = pd.Series(np.where(np.arange(n) % 2, pd.Timestamp("2020"), pd.Timestamp("2021")))
    return {
        "NaT": days.mask(hole),
        "numpy NaT": days.mask(hole).to_numpy(),
        "durations": (days - days[0]).mask(hole),
        "None": a.mask(hole, None),
        "pandas.NA": a.astype("string").mask(hole),
        "category": a.astype("category").mask(hole),
        "whole numbers": pd.Series(np.arange(n) % 2, dtype="Int64").mask(hole),
        "truth": pd.Series(np.arange(n) % 2 == 0, dtype="boolean").mask(hole),
        "masked": np.ma.masked_array(np.arange(n) % 2, hole),
        "masked text": np.ma.masked_array(a.to_numpy(str), hole),
        "numpy's text": np.array(
            a.mask(hole, np.nan).tolist(), dtype=np.dtypes.StringDType(na_object=np.nan)
        ),
        "NaN": pd.Series(np.arange(n) % 2 + 0.0).mask(hole),
        "two columns": pd.DataFrame({"s": a, "t": days.mask(hole)}),
    }


@pytest.mark.parametrize("kind", missing_labels(8))
def test_no_missing_label_becomes_a_group(kind):
    _, X, y, _ = rows(0)
    a = missing_labels(len(y))[kind]
    s = score(X)
    uses = [
        lambda: fp.IdealSteering().fit(X, y, sensitive_features=a),
        lambda: fp.ScoreSteering().fit(s, y, sensitive_features=a),
        lambda: fp.audit(y, s, sensitive_features=a),
        lambda: fp.SteeredClassifier(LogisticRegression()).fit(X, y, sensitive_features=a),
    ]
    if kind != "two columns":
        uses += [
            lambda: fp.OutcomeTable.from_predictions(y, y, sensitive_features=a),
            lambda: fp.Normal.fit(X, y, sensitive_features=a),
            lambda: fp.Moments().partial_fit(X, y, sensitive_features=a),
            lambda: fp.audit(a, s, sensitive_features=y),
            lambda: fp.Categorical.fit(a, y, sensitive_features=y),
        ]
    for use in uses:
        with pytest.raises(fp.DataError, match=r"1 missing value\(s\), the first in row 3"):
            use()


def test_no_missing_number_is_read_as_one():
    _, X, y, a = rows(0)
    hole = np.arange(len(y)) == 3
    s = score(X)
    kinds = [
        np.where(hole, np.nan, s),
        np.ma.masked_array(s, hole),
        pd.Series(s, dtype="Float64").mask(hole),
        pd.Series(s, dtype=object).mask(hole, None),
    ]
    uses = [
        lambda bad: fp.ScoreSteering().fit(bad, y, sensitive_features=a),
        lambda bad: fp.audit(y, bad, sensitive_features=a),
        lambda bad: fp.Categorical.from_scores(bad, sensitive_features=a),
        lambda bad: fp.Normal.fit(bad, y, sensitive_features=a),
        lambda bad: fp.Laplace.fit(bad, y, sensitive_features=a),
        lambda bad: fp.Moments().partial_fit(bad, y, sensitive_features=a),
        lambda bad: fp.Normal.fit(X, y, sensitive_features=a, sample_weight=bad),
        lambda bad: fp.ScoreSteering().fit(s, y, sensitive_features=a, sample_weight=bad),
    ]
    for bad in kinds:
        for use in uses:
            with pytest.raises(fp.DataError, match="must be finite; found nan"):
                use(bad)
    with pytest.raises(fp.DataError, match="found nan at row 3, column 'u'"):
        frame = pd.DataFrame(X, columns=list("uvw"))
        fp.IdealSteering().fit(frame.where(frame["u"] != frame["u"][3]), y, sensitive_features=a)


# ------------------------------------------------------------------------------ weights and dust


def test_a_class_or_group_of_weight_zero_is_named():
    _, X, y, a = rows(0)
    s = score(X)
    uses = [
        lambda w: fp.ScoreSteering().fit(s, y, sensitive_features=a, sample_weight=w),
        lambda w: fp.IdealSteering().fit(X, y, sensitive_features=a, sample_weight=w),
        lambda w: fp.Normal.fit(X, y, sensitive_features=a, sample_weight=w),
        lambda w: fp.audit(y, s, sensitive_features=a, sample_weight=w),
        lambda w: fp.OutcomeTable.from_predictions(y, y, sensitive_features=a, sample_weight=w),
    ]
    for use in uses:
        with pytest.raises(fp.DataError, match="All rows of class 1 have weight zero") as caught:
            use((y == 0) * 1.0)
        assert caught.value.argument == "sample_weight"
        with pytest.raises(fp.DataError, match="All rows of group 'b' have weight zero"):
            use((a == "a") * 1.0)


def test_whole_weights_count_and_others_are_relative():
    assert counted(np.array([0.0, 2.0, 3.0])).tolist() == [0.0, 2.0, 3.0]
    assert counted(np.array([0.0, 0.5, 3.0])).tolist() == [0.0, 1.0, 1.0]


def test_numbers_that_differ_by_rounding_are_one():
    x = np.array([1.0, 1.0 - 2.2e-16, 0.0, 2.2e-16, 0.3, 0.1 + 0.2, 0.5])
    merged = without_dust(x)
    assert np.unique(merged).size == 4
    assert without_dust(x, x == 1.0)[1] == 1.0  # what is preferred stands for the others
    ranks = np.random.default_rng(0).random(10_000)
    np.testing.assert_array_equal(without_dust(ranks), ranks)  # nothing else is touched
    small = 10.0 ** -np.arange(14.0)
    np.testing.assert_array_equal(without_dust(small), small)


@pytest.mark.parametrize("steer", ["all", ["b"]])
def test_scores_of_exactly_zero_and_one_stay_tied_across_groups(steer):
    """A staying 1.0 and a moved 1 - 2e-16 are one score to every threshold."""
    rng = np.random.default_rng(0)
    n = 4000
    y, a = rng.integers(2, size=n), rng.choice(["a", "b"], n)
    sure = np.where(rng.random(n) < np.where(a == "a", 0.1, 0.2), 1 - y, y)
    key = np.arange(n)
    for s in (sure + 0.0, np.where(rng.random(n) < 0.3, rng.random(n), sure)):
        for ties in ("auto", "keep"):
            step = fp.ScoreSteering(steer, ties=ties).fit(s, y, sensitive_features=a)
            t = step.transform(s, sensitive_features=a, key=key)
            gap = fp.audit(y, t, sensitive_features=a).worst["equalized odds", "score"].gap
            assert gap < 0.2
            for edge in (t > 1 - 1e-9, t < 1e-9):
                assert np.unique(t[edge]).size <= 1
                assert steer == "all" or set(t[edge]) <= {0.0, 1.0}


def test_a_score_next_to_an_edge_of_bins_is_on_it():
    s, a = np.repeat([0.1, 0.3, 0.7, 0.9], 50), np.tile(["a", "b"], 100)
    y = (np.arange(200) % 3 == 0).astype(int)
    clean, dusty = (
        fp.Categorical.from_scores(t, y=y, bins=[0.3, 0.7], sensitive_features=a)
        for t in (s, np.where(a == "a", s, s * (1 - 1e-16)))
    )
    np.testing.assert_array_equal(clean.joint, dusty.joint)


def test_an_audit_sees_no_threshold_between_roundings():
    _, X, y, a = rows(0)
    s = np.round(score(X), 1)
    dusty = np.where(a == "a", s, s * (1 + 2e-16) + 1e-17)
    found = [fp.audit(y, t, sensitive_features=a).worst["equalized odds", "score"].gap
             for t in (s, dusty)]  # fmt: skip
    assert found[0] == found[1]
