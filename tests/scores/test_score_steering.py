"""`ScoreSteering`: one label-free map, equalized odds at every threshold; `SteeredClassifier`."""

import numpy as np
import pandas as pd
import pytest
import sklearn
from scipy.special import expit, logit
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import GridSearchCV, ShuffleSplit
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import _num_samples, validate_data

import fairprog as fp
from fairprog.estimators.fold_rules import most_accurate
from fairprog.kernels.statistics.gap_bands import worst_gap

METHODS = ("quantile", "monotone", "normal")


def one(X):
    return np.zeros(_num_samples(X))


class OneGroup(fp.ScoreSteering):
    """One group, and the first of however many columns: scikit-learn's own signature."""

    def __init__(self, method="quantile", n_quantiles="auto"):
        super().__init__(method=method, space="identity", n_quantiles=n_quantiles)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.one_d_array, tags.input_tags.two_d_array = False, True
        return tags

    def get_params(self, deep=True):
        return {"method": self.method, "n_quantiles": self.n_quantiles}

    def fit(self, X, y, sample_weight=None):
        X = validate_data(self, X, dtype=float, ensure_min_samples=2)
        width = self.n_features_in_
        positive = np.asarray(y) == np.asarray(y).max() if y is not None else None
        super().fit(X[:, 0], positive, sensitive_features=one(X), sample_weight=sample_weight)
        self.n_features_in_ = width
        return self

    def transform(self, X):
        from sklearn.utils.validation import check_is_fitted

        check_is_fitted(self)
        X = validate_data(self, X, dtype=float, reset=False)
        return super().transform(X[:, :1], sensitive_features=one(X))

    def fit_transform(self, X, y, sample_weight=None):
        return self.fit(X, y, sample_weight).transform(X)


def scores(n=6000, seed=0, curved=True):
    """Scores of two groups that ONE increasing map per group makes fair, whatever the label."""
    rng = np.random.default_rng(seed)
    a = rng.random(n) < 0.4
    y = rng.random(n) < np.where(a, 0.3, 0.5)
    z = rng.standard_normal(n) + 1.5 * y - 0.75
    own = 0.6 * np.sinh(z) - 1.0 if curved else 0.6 * z - 1.0
    return expit(np.where(a, own, z)), y.astype(int), np.where(a, "b", "a"), z


def gaps(s, y, a):
    return [worst_gap([s[(y == i) & (a == g)] for g in np.unique(a)]) for i in (1, 0)]


# --------------------------------------------------------------------------------- what it does


@pytest.mark.parametrize("steer", ["all", ["b"], ["a"]])
@pytest.mark.parametrize("method", METHODS)
def test_every_threshold_gets_equalized_odds_on_new_rows(method, steer):
    curved = method == "quantile"
    s, y, a, _ = scores(8000, 0, curved)
    new, y_new, a_new, _ = scores(20_000, 1, curved)
    step = fp.ScoreSteering(steer, method)
    step.fit(s, y, sensitive_features=a)
    moved = step.transform(new, sensitive_features=a_new)
    assert max(gaps(new, y_new, a_new)) > 0.4 and max(gaps(moved, y_new, a_new)) < 0.06
    if steer != "all":
        stays = a_new != steer[0]
        np.testing.assert_array_equal(moved[stays], new[stays])
    for g in "ab":  # one increasing map, that never saw the label
        own = np.argsort(new[a_new == g])
        assert (np.diff(moved[a_new == g][own]) >= 0).all()
    assert moved.min() >= 0 and moved.max() <= 1


def test_a_method_whose_maps_need_a_home_finds_one(tmp_path):
    s, y, a, _ = scores(600)
    step, same = (fp.ScoreSteering(x, "monotone").fit(s, y, sensitive_features=a)
                  for x in ("all", ["b"]))  # fmt: skip
    assert list(step.maps_) == ["b"]
    want = same.transform(s, sensitive_features=a)
    np.testing.assert_array_equal(step.transform(s, sensitive_features=a), want)
    step.save(tmp_path / "step.json")
    again = fp.load(tmp_path / "step.json")
    np.testing.assert_array_equal(again.transform(s, sensitive_features=a), want)


@pytest.mark.filterwarnings("ignore:The smallest cell")
def test_frames_go_out_as_frames(tmp_path):
    s, y, a, _ = scores(300)
    frame = pd.DataFrame({"p": s}, index=np.arange(300) + 7)
    step = fp.ScoreSteering().set_output(transform="pandas").fit(frame, y, sensitive_features=a)
    out = step.transform(frame, sensitive_features=a)
    assert list(out.columns) == ["p"] == list(step.get_feature_names_out())
    assert out.index.equals(frame.index)
    step.save(tmp_path / "step.json")
    assert list(fp.load(tmp_path / "step.json").get_feature_names_out()) == ["p"]
    assert list(step.fit(s, y, sensitive_features=a).get_feature_names_out()) == ["x0"]


def test_quantiles_make_the_two_gaps_opposite():
    s, y, a, _ = scores(20_000)
    t = fp.ScoreSteering(n_quantiles=1000).fit_transform(s, y, sensitive_features=a)
    grid = np.linspace(0.05, 0.95, 50)
    below = {(i, g): np.array([(t[(y == i) & (a == g)] <= x).mean() for x in grid])
             for i in (0, 1) for g in "ab"}  # fmt: skip
    total = below[0, "a"] - below[0, "b"] + below[1, "a"] - below[1, "b"]
    assert np.abs(total).max() < 2e-3
    base = {g: np.array([(t[a == g] <= x).mean() for x in grid]) for g in "ab"}
    assert np.abs(base["a"] - base["b"]).max() > 0.1  # base rates are not matched


def test_normal_and_monotone_recover_an_affine_map():
    s, y, a, z = scores(40_000, curved=False)
    for method in ("normal", "monotone"):
        step = fp.ScoreSteering(["b"], method).fit(s, y, sensitive_features=a)
        moved = logit(step.transform(s, sensitive_features=a))
        middle = np.abs(z) < 2
        assert np.abs(moved - z)[middle].max() < 0.15
        assert step.solution_.certificate.ok


@pytest.mark.parametrize("method", METHODS)
def test_inverse_transform_undoes_transform(method):
    s, y, a, _ = scores(3000)
    step = fp.ScoreSteering(["b"], method).fit(s, y, sensitive_features=a)
    again = step.inverse_transform(step.transform(s, sensitive_features=a), sensitive_features=a)
    np.testing.assert_allclose(logit(again), logit(s), atol=1e-7)


def test_weights_count_rows():
    s, y, a, _ = scores(2000)
    w = np.random.default_rng(0).integers(1, 4, s.size)
    k = np.repeat(np.arange(s.size), w)
    weighted = fp.ScoreSteering(n_quantiles=40, ties="keep").fit(
        s, y, sensitive_features=a, sample_weight=w
    )
    counted = clone(weighted).fit(s[k], y[k], sensitive_features=a[k])
    for g in "ab":
        np.testing.assert_allclose(weighted.maps_[g].theta, counted.maps_[g].theta, rtol=1e-9)


@pytest.mark.filterwarnings("ignore:The smallest cell")
def test_fewer_quantiles_are_better_on_small_samples():
    test, y_t, a_t, _ = scores(20_000, 99)
    worst = {"auto": [], 1000: []}
    for count in worst:
        for seed in range(12):
            s, y, a, _ = scores(400, seed)
            step = fp.ScoreSteering(steer=["b"], n_quantiles=count).fit(s, y, sensitive_features=a)
            worst[count].append(max(gaps(step.transform(test, sensitive_features=a_t), y_t, a_t)))
    assert np.mean(worst["auto"]) < 0.97 * np.mean(worst[1000])


def test_any_real_scores_and_groups_by_probability():
    s, y, a, _ = scores(3000)
    z = 30 * logit(s) + 7
    step = fp.ScoreSteering(method="normal", space="identity").fit(z, y, sensitive_features=a)
    moved = step.transform(z, sensitive_features=a)
    assert max(gaps(moved, y, a)) < max(gaps(z, y, a))
    sure = np.stack([a == "a", a == "b"], axis=1).astype(float)
    np.testing.assert_allclose(step.transform(z, sensitive_features=sure), moved, rtol=1e-12)
    half = step.transform(z, sensitive_features=np.full((z.size, 2), 0.5))
    each = [step.transform(z, sensitive_features=np.full(z.size, g)) for g in "ab"]
    np.testing.assert_allclose(half, 0.5 * (each[0] + each[1]), rtol=1e-12)


def test_scores_of_zero_and_one_stay_in_the_unit_interval():
    s, y, a, _ = scores(2000)
    s = np.where(s < 0.1, 0.0, np.where(s > 0.9, 1.0, s))
    t = fp.ScoreSteering().fit_transform(s, y, sensitive_features=a, key=np.arange(2000))
    assert np.isfinite(t).all() and t.min() >= 0 and t.max() <= 1


def test_one_group_is_left_alone():
    s, y, _, _ = scores(300)
    with pytest.warns(fp.FairprogWarning, match="All rows are of one group"):
        left = fp.ScoreSteering().fit_transform(s, y, sensitive_features=one(s))
    np.testing.assert_array_equal(left, s)


# ------------------------------------------------------------------------------ as scikit-learn


@parametrize_with_checks([OneGroup()])
@pytest.mark.filterwarnings("ignore")
def test_scikit_learn_checks(estimator, check):
    check(estimator)


def test_columns_stay_columns_and_pandas_comes_in():
    s, y, a, _ = scores(1000)
    step = fp.ScoreSteering().fit(s[:, None], y, sensitive_features=a)
    column = step.transform(s[:, None], sensitive_features=a)
    series = step.transform(pd.Series(s), sensitive_features=pd.Series(a))
    assert column.shape == (1000, 1)
    np.testing.assert_array_equal(column[:, 0], series)


@pytest.mark.parametrize("suffix", [".json", ".npz"])
@pytest.mark.parametrize("method", METHODS)
def test_saved_and_loaded_it_moves_scores_the_same(tmp_path, suffix, method):
    s, y, a, _ = scores(1500)
    s = np.round(s, 2) if method == "quantile" else s
    step = fp.ScoreSteering(["b"], method).fit(s, y, sensitive_features=a)
    step.save(tmp_path / f"step{suffix}")
    again = fp.ScoreSteering.load(tmp_path / f"step{suffix}")
    np.testing.assert_array_equal(
        step.transform(s, sensitive_features=a), again.transform(s, sensitive_features=a)
    )
    fp.Moments().save(tmp_path / "moments.npz")
    with pytest.raises(fp.DataError, match="holds a Moments"):
        fp.ScoreSteering.load(tmp_path / "moments.npz")


# ---------------------------------------------------------------------------- SteeredClassifier


def rows(n=4000, seed=0):
    rng = np.random.default_rng(seed)
    a = rng.random(n) < 0.4
    y = rng.random(n) < np.where(a, 0.35, 0.5)
    X = rng.standard_normal((n, 3)) + 0.9 * y[:, None] + 0.7 * a[:, None]
    return X, np.where(y, "yes", "no"), np.where(a, "b", "a")


@pytest.mark.parametrize(
    ("model", "cv"),
    [
        (LogisticRegression(), 5),
        (LogisticRegression(), 0.4),
        (DecisionTreeClassifier(max_depth=4, random_state=0), 3),
        (RandomForestClassifier(20, min_samples_leaf=5, random_state=0), 2),
        (KNeighborsClassifier(50), ShuffleSplit(2, random_state=0)),
        (RidgeClassifier(), 2),
    ],
)
def test_any_learner_is_fairer_on_new_rows_at_every_threshold(model, cv):
    X, y, a = rows()
    new, y_new, a_new = rows(seed=1)
    steered = fp.SteeredClassifier(model, cv=cv).fit(X, y, sensitive_features=a)
    p = steered.predict_proba(new, sensitive_features=a_new)
    np.testing.assert_allclose(p.sum(axis=1), 1.0)
    if hasattr(model, "predict_proba"):
        raw = clone(model).fit(X, y).predict_proba(new)[:, 1]
    else:
        raw = clone(model).fit(X, y).decision_function(new)
    truth = (y_new == "yes").astype(int)
    assert max(gaps(p[:, 1], truth, a_new)) < 0.55 * max(gaps(raw, truth, a_new))
    guess = steered.predict(new, sensitive_features=a_new)
    assert set(guess) == {"yes", "no"}
    accuracy = steered.score(new, y_new, sensitive_features=a_new)
    assert accuracy == (guess == y_new).mean() > 0.7
    count = {5: 5, 3: 3, 0.4: 1}.get(cv, 2)
    assert len(steered.estimators_) == len(steered.steerings_) == count


def test_maps_of_the_same_model_and_not_of_others():
    """What must never be done: cross-validated scores, then a refitted model."""
    from sklearn.model_selection import cross_val_predict

    honest, wrong = [], []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        n, b = 6000, rng.random(6000) < 0.2
        a, half = np.where(b, "b", "a"), np.arange(n) < 1500
        y = (rng.random(n) < np.where(b, 0.25, 0.5)).astype(int)
        X = rng.standard_normal((n, 60))
        X[:, 0] += y
        X[:, 1] += 0.8 * b
        X = np.column_stack([X, b, X[:, :20] * b[:, None]])
        model = LogisticRegression(C=1e6, max_iter=2000)  # learns the training rows by heart
        s = cross_val_predict(model, X[half], y[half], cv=2, method="predict_proba")[:, 1]
        step = fp.ScoreSteering().fit(s, y[half], sensitive_features=a[half])
        refitted = model.fit(X[half], y[half]).predict_proba(X[~half])[:, 1]
        t = step.transform(refitted, sensitive_features=a[~half])
        wrong.append(max(gaps(t, y[~half], a[~half])))
        ours = fp.SteeredClassifier(model, cv=2).fit(X[half], y[half], sensitive_features=a[half])
        p = ours.predict_proba(X[~half], sensitive_features=a[~half])[:, 1]
        honest.append(max(gaps(p, y[~half], a[~half])))
    assert np.mean(honest) < 0.85 * np.mean(wrong)


def test_the_most_accurate_threshold_is_found():
    rng = np.random.default_rng(0)
    for _ in range(20):
        s, y, w = rng.integers(0, 9, 30) / 8, rng.integers(0, 2, 30), rng.random(30)
        t = most_accurate(s, y, w)
        found = np.average((s >= t) == y, weights=w)
        best = max(np.average((s >= x) == y, weights=w) for x in [*np.unique(s), 2.0])
        np.testing.assert_allclose(found, best)


def test_a_grid_search_routes_the_groups():
    X, y, a = rows(800)
    with sklearn.config_context(enable_metadata_routing=True):
        model = (
            fp.SteeredClassifier(LogisticRegression(), cv=2)
            .set_fit_request(sensitive_features=True)
            .set_score_request(sensitive_features=True)
        )
        grid = {"estimator__C": [0.01, 1.0], "steering": [None, fp.ScoreSteering(method="normal")]}
        search = GridSearchCV(model, grid, cv=2).fit(X, y, sensitive_features=a)
        assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_weights_reach_the_learner_and_frames_stay_frames():
    X, y, a = rows(600)
    frame = pd.DataFrame(X, columns=list("uvw"))
    w = np.ones(600)
    one_ = fp.SteeredClassifier(LogisticRegression(), cv=2)
    one_.fit(frame, y, sensitive_features=a, sample_weight=w)
    plain = fp.SteeredClassifier(LogisticRegression(), cv=2).fit(X, y, sensitive_features=a)
    by_name = one_.predict_proba(frame, sensitive_features=a)
    np.testing.assert_allclose(by_name, plain.predict_proba(X, sensitive_features=a))
    assert list(one_.feature_names_in_) == list("uvw")
    with pytest.raises(fp.ModelError, match="takes no `sample_weight`"):
        fp.SteeredClassifier(KNeighborsClassifier()).fit(
            X, y, sensitive_features=a, sample_weight=w
        )


# ------------------------------------------------------------------------------ careless users


class NoScores(ClassifierMixin, BaseEstimator):
    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self


@pytest.mark.filterwarnings("ignore:The smallest cell")
def test_every_careless_mistake_gets_a_sentence():
    s, y, a, z = scores(400)
    step = fp.ScoreSteering()

    def fails(message, *args, kind=fp.DataError, step=step, **kwargs):
        with pytest.raises(kind, match=message):
            step.fit(*args, **{"sensitive_features": a} | kwargs)

    fails("maps are one per group", s, y, sensitive_features=None)
    fails("Was the right column passed", np.full(400, 0.5), y)
    fails("the same as `y`", s, y, sensitive_features=y)
    fails("Were features or labels passed", s, y, sensitive_features=s)
    fails("Class 1, group 'b' has 0 row", s, np.where(a == "b", 0, y))
    fails("holds the one class 0", s, np.zeros(400, int))
    fails("each class against the rest", s, np.arange(400) % 3)
    fails("must be finite", np.where(s > 0.5, np.nan, s), y)
    fails("at least 2 are needed", s[:3], y[:3], sensitive_features=a[:3])
    fails("in \\[0, 1\\]; row 0 is .*space='identity'", 3 * s + 1, y)
    fails("predict_proba\\(...\\)\\[:, 1\\]", np.stack([1 - s, s], axis=1), y)
    fails("shape is \\(400, 3\\)", np.stack([s, s, s], axis=1), y)
    fails("`y` has 399 entries", s, y[1:])
    fails("missing value", s, np.where(y == 1, None, y))
    for name in ("method", "space", "ties", "steer"):
        wrong = fp.ScoreSteering(**{name: "best"})
        fails(f"`{name}`", s, y, kind=fp.ModelError, step=wrong)
    fails("not one of", s, y, step=fp.ScoreSteering(steer=["z"]))
    fails("is to be steered", s, y, kind=fp.ModelError,
          step=fp.ScoreSteering(steer=["b"], reference="b"))  # fmt: skip
    step.fit(s, y, sensitive_features=a)
    with pytest.raises(fp.DataError, match="maps are one per group"):
        step.transform(s, sensitive_features=None)
    with pytest.raises(fp.DataError, match="not seen before"):
        step.transform(s, sensitive_features=np.full(400, "z"))
    with pytest.warns(fp.FairprogWarning, match="lower for class 1, the last"):
        fp.ScoreSteering().fit(1 - s, y, sensitive_features=a)
    with pytest.warns(fp.FairprogWarning, match="were labels and `sensitive_features` swapped"):
        fp.ScoreSteering().fit(expit(z), (a == "a").astype(int), sensitive_features=y)


@pytest.mark.filterwarnings("ignore:The smallest cell")
def test_careless_mistakes_with_the_classifier():
    X, y, a = rows(200)
    with pytest.raises(fp.DataError, match="the one class"):
        fp.SteeredClassifier(LogisticRegression()).fit(X, np.ones(200), sensitive_features=a)
    with pytest.raises(fp.DataError, match="at least 80 are needed"):
        fp.SteeredClassifier(LogisticRegression(), cv=40).fit(X, y, sensitive_features=a)
    for wrong in ({"cv": 1}, {"cv": 1.5}, {"threshold": 2}, {"threshold": "best"},
                  {"steering": fp.ScoreSteering(space="identity")}):  # fmt: skip
        with pytest.raises(fp.ModelError, match=f"`{next(iter(wrong))}`"):
            fp.SteeredClassifier(LogisticRegression(), **wrong).fit(X, y, sensitive_features=a)
    with pytest.raises(fp.ModelError, match="neither `predict_proba`"):
        fp.SteeredClassifier(NoScores()).fit(X, y, sensitive_features=a)
    fitted = fp.SteeredClassifier(LogisticRegression(), cv=2).fit(X, y, sensitive_features=a)
    with pytest.raises(fp.DataError, match="maps are one per group"):
        fitted.predict(X, sensitive_features=None)
    with pytest.raises(fp.DataError, match="each class against the rest"):
        fp.SteeredClassifier(LogisticRegression(), cv=2).fit(
            X, np.arange(200) % 3, sensitive_features=a
        )
