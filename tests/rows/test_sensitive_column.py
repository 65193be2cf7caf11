"""The group as a column of X: scikit-learn's tools work with nothing but X and y."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import sklearn
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import RandomForestClassifier, VotingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, KFold, StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import fairprog as fp
from fairprog.kernels.statistics.gap_bands import worst_gap


def people(n=3000, seed=0):
    rng = np.random.default_rng(seed)
    sex = rng.choice(["f", "m"], n)
    y = (rng.random(n) < 0.45).astype(int)
    x = rng.normal(size=(n, 3)) + np.outer(y, [1.2, 0.6, 0.0])
    x[:, 0] += 1.2 * (sex == "f")
    x[:, 1] *= np.where(sex == "f", 2.0, 1.0)
    return pd.DataFrame(x, columns=["u", "v", "w"]).assign(sex=sex)[["u", "sex", "v", "w"]], y


def gap(p, y, a):
    return max(worst_gap([p[(y == i) & (a == g)] for g in np.unique(a)]) for i in (0, 1))


FRAME, Y = people()
NEW, Y_NEW = people(6000, 1)
RAW = LogisticRegression().fit(FRAME.drop(columns="sex"), Y)
UNFAIR = gap(RAW.predict_proba(NEW.drop(columns="sex"))[:, 1], Y_NEW, NEW["sex"])


def model(**options):
    return fp.SteeredClassifier(LogisticRegression(), cv=3, sensitive_column="sex", **options)


def numbered(frame):
    return frame.assign(sex=(frame["sex"] == "m").astype(float)).to_numpy()


class Everyone(dict):
    """Everybody is of one group, whatever the column holds."""

    def get(self, key, default=None):
        return 0

    def __bool__(self):
        return True


@parametrize_with_checks(
    [
        fp.SteeredClassifier(
            LogisticRegression(),
            sensitive_column=0,
            merge_groups=Everyone(),
            cv=2,
            threshold=0.5,  # the class of the larger probability, as scikit-learn wants it
        )
    ],
    expected_failed_checks=lambda _: {
        "check_dtype_object": "the column may hold groups of any kind",
    },
)
@pytest.mark.filterwarnings("ignore")
def test_scikit_learn_checks(estimator, check):
    check(estimator)


# ----------------------------------------------------------------------------- what is read, kept


def test_the_column_is_read_and_is_no_feature():
    named = model().fit(FRAME, Y)
    apart = fp.SteeredClassifier(LogisticRegression(), cv=3)
    apart.fit(FRAME.drop(columns="sex"), Y, sensitive_features=FRAME["sex"])
    expected = apart.predict_proba(NEW.drop(columns="sex"), sensitive_features=NEW["sex"])
    np.testing.assert_array_equal(named.predict_proba(NEW), expected)
    assert named.n_features_in_ == 4 and named.estimators_[0].n_features_in_ == 3
    assert list(named.feature_names_in_) == ["u", "sex", "v", "w"]
    assert gap(expected[:, 1], Y_NEW, NEW["sex"]) < 0.3 * UNFAIR
    for column, X, Z in (
        (1, numbered(FRAME), numbered(NEW)),
        (-3, numbered(FRAME), numbered(NEW)),
        (1, sp.coo_matrix(numbered(FRAME)), sp.coo_matrix(numbered(NEW))),
        (1, FRAME, NEW),
    ):
        by_place = fp.SteeredClassifier(LogisticRegression(), cv=3, sensitive_column=column)
        found = by_place.fit(X, Y).predict_proba(Z)
        np.testing.assert_allclose(found, expected, atol=2e-3)


def test_it_may_be_a_feature_as_well():
    X, Z = (f.assign(sex=(f["sex"] == "m").astype(int)) for f in (FRAME, NEW))
    kept = model(keep_sensitive=True).fit(X, Y)
    assert kept.estimators_[0].n_features_in_ == 4
    assert gap(kept.predict_proba(Z)[:, 1], Y_NEW, NEW["sex"]) < 0.3 * UNFAIR


def test_a_step_reads_and_drops_or_keeps_it():
    plain = fp.IdealSteering().fit(FRAME.drop(columns="sex"), Y, sensitive_features=FRAME["sex"])
    expected = plain.transform(NEW.drop(columns="sex"), sensitive_features=NEW["sex"])
    step = fp.IdealSteering(sensitive_column="sex").set_output(transform="pandas").fit(FRAME, Y)
    found = step.transform(NEW)
    assert list(found.columns) == ["u", "v", "w"] == list(step.get_feature_names_out())
    np.testing.assert_allclose(found, expected, atol=1e-12)
    back = step.inverse_transform(found, sensitive_features=NEW["sex"])
    np.testing.assert_allclose(back, NEW.drop(columns="sex"), atol=1e-9)
    kept = fp.IdealSteering(sensitive_column="sex", keep_sensitive=True)
    with_it = kept.set_output(transform="pandas").fit(FRAME, Y).transform(NEW)
    assert list(with_it.columns) == ["u", "sex", "v", "w"] == list(kept.get_feature_names_out())
    assert (with_it["sex"] == NEW["sex"]).all()
    array = fp.IdealSteering(sensitive_column=1, keep_sensitive=True).fit(numbered(FRAME), Y)
    moved = array.transform(numbered(NEW))
    assert moved.dtype == float and (moved[:, 1] == numbered(NEW)[:, 1]).all()
    np.testing.assert_allclose(moved[:, [0, 2, 3]], expected, atol=1e-12)
    pipe = make_pipeline(fp.IdealSteering(sensitive_column="sex"), LogisticRegression())
    pipe.fit(FRAME, Y)  # nothing is routed
    assert gap(pipe.predict_proba(NEW)[:, 1], Y_NEW, NEW["sex"]) < 0.5 * UNFAIR


def test_a_step_with_a_column_is_saved_and_loaded(tmp_path):
    step = fp.IdealSteering(sensitive_column="sex").fit(FRAME, Y)
    step.save(tmp_path / "step.json")
    again = fp.IdealSteering.load(tmp_path / "step.json")
    np.testing.assert_array_equal(again.transform(NEW), step.transform(NEW))


def test_the_column_must_be_there_and_groups_are_given_once():
    for make in (model, lambda: fp.IdealSteering(sensitive_column="sex")):
        with pytest.raises(fp.DataError, match="names 'sex', which X does not have"):
            make().fit(FRAME.drop(columns="sex"), Y)
        with pytest.raises(fp.DataError, match="a name needs a data frame"):
            make().fit(numbered(FRAME), Y)
        with pytest.raises(fp.ModelError, match="give one of the two"):
            make().fit(FRAME, Y, sensitive_features=FRAME["sex"])
        fitted = make().fit(FRAME, Y)
        move = getattr(fitted, "predict_proba", None) or fitted.transform
        with pytest.raises(fp.ModelError, match="give one of the two"):
            move(FRAME, sensitive_features=FRAME["sex"])
    with pytest.raises(fp.DataError, match="`sensitive_column` is 7, but X has 4"):
        fp.SteeredClassifier(LogisticRegression(), sensitive_column=7).fit(numbered(FRAME), Y)


# ---------------------------------------------------------------------------------- the five tools


def test_a_grid_search_scores_by_any_scorer():
    grid = {"estimator__C": [1e-5, 1.0], "steering": [None, fp.ScoreSteering(method="normal")]}
    folds = StratifiedKFold(3)
    search = GridSearchCV(model(), grid, cv=folds, scoring="roc_auc").fit(FRAME, Y)
    by_hand = []
    for params in search.cv_results_["params"]:
        scores = []
        for train, test in folds.split(FRAME, Y):
            fitted = sklearn.clone(model()).set_params(**params)
            fitted.fit(FRAME.iloc[train], Y[train])
            p = fitted.predict_proba(FRAME.iloc[test])[:, 1]
            scores.append(roc_auc_score(Y[test], p))
        by_hand.append(np.mean(scores))
    np.testing.assert_allclose(search.cv_results_["mean_test_score"], by_hand)
    assert search.best_score_ == max(by_hand) > 0.7
    assert gap(search.predict_proba(NEW)[:, 1], Y_NEW, NEW["sex"]) < 0.4 * UNFAIR


def test_cross_val_predict_gives_steered_scores_of_rows_left_out():
    p = cross_val_predict(model(), FRAME, Y, cv=3, method="predict_proba")[:, 1]
    raw = cross_val_predict(
        LogisticRegression(), FRAME.drop(columns="sex"), Y, cv=3, method="predict_proba"
    )[:, 1]
    assert gap(p, Y, FRAME["sex"]) < 0.4 * gap(raw, Y, FRAME["sex"])
    train, test = next(StratifiedKFold(3).split(FRAME, Y))
    own = model().fit(FRAME.iloc[train], Y[train]).predict_proba(FRAME.iloc[test])[:, 1]
    np.testing.assert_array_equal(p[test], own)


def test_calibration_keeps_what_steering_did():
    found = CalibratedClassifierCV(model(), cv=3).fit(FRAME, Y)
    p = found.predict_proba(NEW)[:, 1]
    assert gap(p, Y_NEW, NEW["sex"]) < 0.4 * UNFAIR
    assert abs(p.mean() - Y_NEW.mean()) < 0.02  # calibrated in the large
    frozen = model().fit(FRAME, Y)
    again = CalibratedClassifierCV(FrozenEstimator(frozen)).fit(NEW[:2000], Y_NEW[:2000])
    late = again.predict_proba(NEW[2000:])[:, 1]
    assert gap(late, Y_NEW[2000:], NEW["sex"][2000:]) < 0.4 * UNFAIR


def test_permutation_importance_knows_the_columns():
    fitted = model().fit(FRAME, Y)
    found = permutation_importance(fitted, NEW, Y_NEW, scoring="roc_auc", random_state=0)
    weight = dict(zip(NEW.columns, found.importances_mean, strict=True))
    assert weight["u"] > weight["v"] > abs(weight["w"]) and abs(weight["w"]) < 0.01
    assert weight["sex"] > 0.01  # whoever is moved by another group's map is moved wrongly


def test_votes_are_steered_votes():
    frame, new = (f.assign(sex=(f["sex"] == "m").astype(int)) for f in (FRAME, NEW))
    twice = [("one", model()), ("two", model(random_state=1))]
    found = VotingClassifier(twice, voting="soft").fit(frame, Y)
    each = [m.predict_proba(new) for m in found.estimators_]
    np.testing.assert_allclose(found.predict_proba(new), np.mean(each, axis=0))
    assert gap(found.predict_proba(new)[:, 1], Y_NEW, NEW["sex"]) < 0.3 * UNFAIR


# ------------------------------------------------------------------------------- what else is new


def test_a_fitted_model_is_steered_by_rows_it_has_not_seen():
    X, Z = FRAME.drop(columns="sex"), NEW.drop(columns="sex")
    steered = fp.SteeredClassifier(RAW, cv="prefit")
    steered.fit(Z[:3000], Y_NEW[:3000], sensitive_features=NEW["sex"][:3000])
    assert steered.estimators_ == [RAW]
    p = steered.predict_proba(Z[3000:], sensitive_features=NEW["sex"][3000:])[:, 1]
    assert gap(p, Y_NEW[3000:], NEW["sex"][3000:]) < 0.4 * UNFAIR
    with pytest.raises(fp.ModelError, match="cv='prefit' takes an `estimator` that is fitted"):
        fp.SteeredClassifier(LogisticRegression(), cv="prefit").fit(
            X, Y, sensitive_features=FRAME["sex"]
        )
    with pytest.raises(fp.DataError, match=r"`y` has the classes \['n', 'y'\]"):
        steered.fit(X, np.where(Y, "y", "n"), sensitive_features=FRAME["sex"])


@pytest.mark.parametrize("routing", [False, True])
def test_weights_reach_the_last_step_of_pipelines(routing):
    X, a = FRAME.drop(columns="sex"), FRAME["sex"]
    w = np.random.default_rng(0).random(len(Y)) + 0.1
    deep = make_pipeline(StandardScaler(), make_pipeline(StandardScaler(), LogisticRegression()))
    with sklearn.config_context(enable_metadata_routing=routing):
        weighted = fp.SteeredClassifier(deep, cv=2)
        weighted.fit(X, Y, sensitive_features=a, sample_weight=w)
        flat = fp.SteeredClassifier(LogisticRegression(), cv=2)
        flat.fit(X, Y, sensitive_features=a, sample_weight=w)
    one, two = (m.predict_proba(X, sensitive_features=a) for m in (weighted, flat))
    assert np.corrcoef(one[:, 1], two[:, 1])[0, 1] > 0.999
    with pytest.raises(fp.ModelError, match="KNeighborsClassifier takes no `sample_weight`"):
        from sklearn.neighbors import KNeighborsClassifier

        fp.SteeredClassifier(make_pipeline(KNeighborsClassifier()), cv=2).fit(
            X, Y, sensitive_features=a, sample_weight=w
        )


def test_groups_are_merged_and_unknown_ones_pooled():
    X, sex = FRAME.drop(columns="sex"), FRAME["sex"].to_numpy()
    third = np.where(np.arange(len(Y)) < 6, "x", sex)
    stranger = np.full(50, "z")
    s = RAW.predict_proba(X)[:, 1]
    for make, data in (
        (fp.IdealSteering, X),
        (fp.ScoreSteering, s),
        (lambda **k: fp.SteeredClassifier(LogisticRegression(), cv=2, **k), X),
    ):
        merged = make(merge_groups={"x": "f"}).fit(data, Y, sensitive_features=third)
        assert merged.groups_.tolist() == ["f", "m"]
        part = data[:50]
        move = getattr(merged, "transform", None) or merged.predict_proba
        with pytest.raises(fp.DataError, match=r"label\(s\) \['z'\] not seen before"):
            move(part, sensitive_features=stranger)
        pooled = make(merge_groups={"x": "f"}, unknown_group="pooled")
        pooled.fit(data, Y, sensitive_features=third)
        move = getattr(pooled, "transform", None) or pooled.predict_proba
        share = np.mean(np.where(third == "x", "f", third) == "f")
        mass = np.tile([share, 1 - share], (50, 1))
        found = move(part, sensitive_features=stranger)
        np.testing.assert_allclose(found, move(part, sensitive_features=mass), rtol=1e-12)
        with pytest.raises(fp.ModelError, match="`unknown_group` must be 'error' or 'pooled'"):
            make(unknown_group="guess").fit(data, Y, sensitive_features=sex)
    concept = fp.ConceptSteering(n_probes=12, n_components=2, merge_groups={"x": "f"})
    with pytest.warns(fp.FairprogWarning):
        concept.fit(X.to_numpy(), Y, sensitive_features=third)
    assert concept.groups_.tolist() == ["f", "m"]


def test_both_steps_take_the_groups_to_steer_first():
    s, a = RAW.predict_proba(FRAME.drop(columns="sex"))[:, 1], FRAME["sex"]
    assert list(fp.ScoreSteering(["f"]).fit(s, Y, sensitive_features=a).maps_) == ["f"]
    new = fp.ScoreSteering(["f"], "normal").fit(s, Y, sensitive_features=a)
    for old in (fp.ScoreSteering("normal", ["f"]), fp.ScoreSteering("normal")):
        with pytest.warns(FutureWarning, match="takes `steer` first, as IdealSteering does"):
            old.fit(s, Y, sensitive_features=a)
    old = fp.ScoreSteering("normal", ["f"])
    with pytest.warns(FutureWarning):
        old.fit(s, Y, sensitive_features=a)
    np.testing.assert_array_equal(new.maps_["f"].theta, old.maps_["f"].theta)


def test_folds_that_lack_a_group_are_named():
    order = np.argsort(FRAME["sex"].to_numpy(), kind="stable")
    X, y = FRAME.iloc[order], Y[order]
    bad = fp.SteeredClassifier(LogisticRegression(), cv=KFold(5), sensitive_column="sex")
    with pytest.raises(fp.DataError, match=r"Fold 0 of `cv` has 0 row.*group 'm' held out") as e:
        bad.fit(X, y)
    assert e.value.argument == "cv" and e.value.cell == (0, "m")
    assert "KFold(5, shuffle=True)" in str(e.value)
    shuffled = KFold(5, shuffle=True, random_state=0)
    found = sklearn.clone(bad).set_params(cv=shuffled).fit(X, y)
    assert gap(found.predict_proba(NEW)[:, 1], Y_NEW, NEW["sex"]) < 0.4 * UNFAIR


def test_rows_that_are_few_and_often_repeated_want_identifiers():
    rng = np.random.default_rng(0)
    X = rng.integers(0, 3, (3000, 2)).astype(float)
    y = (rng.random(3000) < 0.2 + 0.2 * X[:, 0]).astype(int)
    a = np.where(rng.random(3000) < 0.2 + 0.25 * X[:, 1], "f", "m")
    fitted = fp.SteeredClassifier(LogisticRegression(), cv=2).fit(X, y, sensitive_features=a)
    with pytest.warns(fp.FairprogWarning, match="Pass key="):
        fitted.predict(X, sensitive_features=a)
    key = np.arange(3000)
    p = fitted.predict_proba(X, sensitive_features=a, key=key)
    one = fitted.predict_proba(X[[7]], sensitive_features=a[[7]], key=key[[7]])
    np.testing.assert_array_equal(one[0], p[7])


def test_repeated_rows_are_dealt_out_to_all_folds():
    """Held-out scores must be those of rows as they come: of combinations the model has seen."""
    rng = np.random.default_rng(0)
    n = 4000
    a, y = rng.choice(["f", "m"], n), rng.integers(2, size=n)
    X = np.c_[rng.integers(0, 4, n) + y, rng.integers(0, 3, n) + (a == "f")].astype(float)
    model = fp.SteeredClassifier(RandomForestClassifier(20, random_state=0), cv=3)
    p = model.fit(X, y, sensitive_features=a).predict_proba(
        X, sensitive_features=a, key=np.arange(n)
    )
    raw = RandomForestClassifier(20, random_state=0).fit(X, y).predict_proba(X)[:, 1]
    assert gap(p[:, 1], y, a) < 1.2 * gap(raw, y, a)
    again = model.fit(X[::-1], y[::-1], sensitive_features=a[::-1])
    found = again.predict_proba(X, sensitive_features=a, key=np.arange(n))
    np.testing.assert_allclose(found, p)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"steering": "channel"}, r"ScoreSteering\(method='channel'\); found 'channel'"),
        ({"steering": fp.ScoreSteering(), "uses_group": False}, "leave `steering` out"),
        ({"threshold": 0.9, "uses_group": False}, "leave `threshold` out"),
    ],
)
def test_steering_that_cannot_be_used_is_refused(options, match):
    X, y, a = np.arange(40.0)[:, None], [0, 1] * 20, [0, 0, 1, 1] * 10
    step = fp.SteeredClassifier(LogisticRegression(), **options)
    with pytest.raises(fp.ModelError, match=match):
        step.fit(X, y, sensitive_features=a)


def test_several_sensitive_columns_are_told_that_it_is_one():
    frame = pd.DataFrame({"x": [0.0, 1.0] * 10, "sex": [0, 1] * 10, "race": [0, 0, 1, 1] * 5})
    with pytest.raises(fp.DataError, match="It is one column: cross several"):
        fp.IdealSteering(sensitive_column=["sex", "race"]).fit(frame, frame["sex"])
