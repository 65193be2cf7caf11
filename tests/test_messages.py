"""What steps and streams say of rows they cannot use, and that what they advise can be done."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

import fairprog as fp


def told(rows=400, seed=0):
    rng = np.random.default_rng(seed)
    y, a = rng.integers(2, size=rows), rng.choice(["N", "Y"], rows)
    return rng, rng.normal(size=(rows, 2)) + y[:, None], y, a


@pytest.mark.parametrize("shrinkage", ["auto", 1.0])
def test_a_column_without_variance_in_a_group_is_dropped_and_not_shrunk(shrinkage):
    rng, X, y, a = told()
    X[:, 1] = (rng.random(400) < 0.3) & (a == "N")
    with pytest.raises(fp.DataError, match="Constant in every class of group 'Y'") as caught:
        fp.IdealSteering(shrinkage=shrinkage).fit(X, y, sensitive_features=a)
    assert "column 1" in str(caught.value) and "shrinkage" not in str(caught.value)
    X[:, 1] = (rng.random(400) < 0.3) & ((a == "N") | (y == 1))  # in one class only
    with pytest.raises(fp.DataError, match="Constant in class 0, group 'Y' but not elsewhere"):
        fp.IdealSteering(shrinkage=0.0).fit(X, y, sensitive_features=a)


@pytest.mark.filterwarnings("ignore:4 cell")
@pytest.mark.parametrize("options", [{}, {"shrinkage": 0.5}, {"shrinkage": 0.0}])
def test_more_features_than_rows_are_told_in_one_sentence(options):
    rng, _, y, a = told(80)
    X = rng.normal(size=(80, 200))
    with pytest.raises(fp.DataError, match="covariance='diagonal'") as caught:
        fp.IdealSteering(**options).fit(X, y, sensitive_features=a)
    assert len(str(caught.value)) < 400
    diagonal = fp.IdealSteering(covariance="diagonal")
    found = diagonal.fit(X, y, sensitive_features=a)
    assert found.solution_.certificate.ok


def test_scores_that_leave_the_unit_interval_by_little_are_shown_in_full():
    _, X, y, a = told()
    s = 1 / (1 + np.exp(-X[:, 0]))
    s[3] = 1.0000001
    with pytest.raises(fp.DataError, match=r"row 3 is 1\.0000001 "):
        fp.ScoreSteering().fit(s, y, sensitive_features=a)
    s[3] = 1 + 1e-12  # rounding is no mistake
    fp.ScoreSteering().fit(s, y, sensitive_features=a)


def test_groups_as_a_mapping_are_refused_with_what_to_pass():
    _, X, y, a = told()
    for use in (fp.IdealSteering().fit, fp.SteeredClassifier(LogisticRegression()).fit):
        with pytest.raises(fp.DataError, match="`sensitive_features` is a mapping"):
            use(X, y, sensitive_features={"sex": a})
    with pytest.raises(fp.DataError, match=r"pandas\.DataFrame\(sensitive_features\)"):
        fp.audit(y, X[:, 0], sensitive_features={"sex": a})


def test_hints_of_the_classifier_can_be_followed():
    _, X, y, a = told()
    small = np.where(np.arange(400) < 5, "n", a)
    with pytest.raises(fp.DataError, match=r"merge_groups=\{'n': \.\.\.\}"):
        fp.SteeredClassifier(LogisticRegression()).fit(X, y, sensitive_features=small)
    merged = fp.SteeredClassifier(LogisticRegression(), merge_groups={"n": "N"})
    assert merged.fit(X, y, sensitive_features=small).groups_.tolist() == ["N", "Y"]


def test_moments_of_tables_say_what_is_wrong_with_a_column():
    pa = pytest.importorskip("pyarrow")
    _, X, y, a = told(40)
    table = pd.DataFrame({"x": X[:, 0], "born": pd.Timestamp("2020"), "y": y, "a": a})
    use = {"y": "y", "sensitive_features": "a", "progress": False}
    for chunk in (table, pa.Table.from_pandas(table)):
        with pytest.raises(fp.DataError, match=r"`born` must be an array of numbers"):
            fp.Moments().update([chunk], **use)
    dask = pytest.importorskip("dask.array")
    with pytest.raises(fp.DataError, match=r"`y` has shape \(39,\); needed is \(40,\)"):
        fp.Moments.from_dask(
            dask.from_array(X), dask.from_array(y[1:]), sensitive_features=dask.from_array(y)
        )
    one = fp.Moments.from_dask(
        dask.from_array(X[:, 0]), dask.from_array(y), sensitive_features=dask.from_array(a)
    )
    assert one.n_features == 1


class Schema(dict):
    """A polars schema, as far as it matters: its names are a method."""

    def names(self):
        return list(self)


class PolarsLike:
    """What `Moments.update` sees of a polars frame."""

    def __init__(self, frame):
        self.frame, self.columns = frame, list(frame)
        self.schema = Schema(dict.fromkeys(frame))

    def __getitem__(self, name):
        return self.frame[name]


def test_moments_take_polars_frames():
    _, X, y, a = told(40)
    frame = pd.DataFrame({"u": X[:, 0], "v": X[:, 1], "y": y, "a": a})
    found = fp.Moments().update([PolarsLike(frame)], y="y", sensitive_features="a", progress=False)
    assert found.n_rows == 40 and found.feature_names == ("u", "v")


def _two_by_two():
    return fp.Normal([[0.3, 0.2], [0.3, 0.2]], [[0.0, 1.0], [2.0, 2.0]], std=np.ones((2, 2)))


class _Unstatic(fp.LocationScale):
    def neg_log_density(self, z):
        return 0.5 * z**2 + 0.5 * np.log(2 * np.pi)


WORDS = {
    "no path": (lambda: fp.load(None), "cannot be read"),
    "no place": (lambda: fp.NearestIdeal(_two_by_two(), [1]).solve().save(None), "be written"),
    "a seed in words": (lambda: _two_by_two().sample(3, random_state="x"), "whole number or"),
    "half a seed": (
        lambda: fp.Categorical(np.full((2, 2, 2), 0.125)).sample(3, random_state=0.5),
        "`random_state`",
    ),
    "a bound that is true": (
        lambda: fp.NearestIdeal(_two_by_two(), [1], map_bound=True),
        "`map_bound` must be a finite number",
    ),
    "a method of an object": (
        lambda: _Unstatic(np.full((2, 2), 0.25), np.eye(2), np.ones((2, 2))).sample(3),
        "write @staticmethod above it",
    ),
    "huge": (
        lambda: fp.Normal.fit(
            1e300 * np.arange(40.0), [0, 1] * 20, sensitive_features=[0, 0, 1, 1] * 10
        ),
        "change their units",
    ),
}


@pytest.mark.parametrize("case", WORDS)
def test_slips_are_answered_in_words(case):
    call, words = WORDS[case]
    with pytest.raises(fp.FairprogError, match=words):
        call()


def test_an_unknown_argument_names_the_class_of_the_user():
    with pytest.raises(TypeError, match=r"Normal\(\) has no argument 'sd'; standard deviations"):
        fp.Normal(np.full((2, 2), 0.25), np.eye(2), sd=np.ones((2, 2)))
