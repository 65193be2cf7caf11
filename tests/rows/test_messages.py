"""What steps and streams say of rows they cannot use, and that what they advise can be done."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

import fairprog as fp
from fairprog.cli import main
from fairprog.solution.inferred import Inference


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


@pytest.mark.filterwarnings("ignore:The smallest cell")
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


@pytest.mark.parametrize("kind", ["series", "array", "objects", "frame", "periods"])
def test_dates_are_no_labels(kind):
    rng, X, y, _ = told()
    days = pd.Series(pd.to_datetime(["2020-01-01", "2021-06-01"])[rng.integers(2, size=400)])
    of = {
        "series": days,
        "array": days.to_numpy(),
        "objects": days.astype(object).to_numpy(),
        "frame": pd.DataFrame({"day": days, "sex": rng.choice(["f", "m"], 400)}),
        "periods": days.dt.to_period("Y"),
    }[kind]
    with pytest.raises(fp.DataError, match=r"`sensitive_features` holds dates, .*\.astype\(str\)"):
        fp.IdealSteering().fit(X, y, sensitive_features=of)
    if kind == "series":
        with pytest.raises(fp.DataError, match="`y` holds dates"):
            fp.Normal.fit(X, of, sensitive_features=y)
        fp.IdealSteering(min_cell=2).fit(X, y, sensitive_features=of.dt.year)


def test_scores_and_labels_in_each_others_place_are_refused():
    _, X, y, a = told()
    s = 1 / (1 + np.exp(-X[:, 0]))
    for classes in (None, [0, 1]):
        with pytest.raises(fp.DataError, match="were scores and labels swapped"):
            fp.ScoreCounts(classes=classes).partial_fit(y, s, sensitive_features=a)
    fp.ScoreCounts().partial_fit(y * 1.0, y, sensitive_features=a)  # two scores, two classes


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
    "no path": (lambda: fp.load(None), "the name of a file"),
    "no place": (lambda: fp.NearestIdeal(_two_by_two(), [1]).solve().save(None), "name of a file"),
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


# ------------------------------------------------------------------- mistakes of new users


def rows(n=400, seed=0):
    D = fp.Normal([[0.3, 0.2], [0.3, 0.2]], [[0.0, 1.0], [2.0, 2.0]], std=[[1.0, 1.0], [1.0, 2.0]])
    return D.sample(n, random_state=seed)


class FiveFolds(LogisticRegression):
    """A learner that splits its rows once more, and whose error is scikit-learn's."""

    def fit(self, X, y, sample_weight=None):
        if np.bincount(y).min() < 10:
            raise ValueError("n_splits=10 cannot be greater than the number of members")
        return super().fit(X, y, sample_weight)


def test_rows_too_few_for_a_learner_are_said_to_be():
    y, a = np.array([0] * 10 + [1] * 10), np.tile([0, 1], 10)
    X = np.random.default_rng(0).standard_normal((20, 2))
    with pytest.raises(fp.DataError, match=r"smallest cell .class, group. 5 in all.*fewer"):
        fp.compare(FiveFolds(), X, y, sensitive_features=a, methods=[], cv=2, progress=False)


def test_an_audit_says_how_its_notions_are_named():
    X, y, a = rows()
    s = X[:, 0]
    with pytest.raises(fp.ModelError, match=r"measures every notion.*found.worst"):
        fp.audit(y, s, sensitive_features=a, notion=fp.EqualizedOdds())
    with pytest.raises(TypeError, match="unexpected keyword argument 'notions'"):
        fp.audit(y, s, sensitive_features=a, notions=1)
    found = fp.audit(y, s, sensitive_features=a, n_permutations=2, n_bootstrap=50)
    with pytest.raises(KeyError, match=r"notions are .'equalized odds', .*scores .'score'"):
        found.worst["equal opportunity"]
    assert found.worst.get("equal opportunity") is None


def test_a_bootstrap_without_moments_says_that_it_is_parametric():
    X, y, a = rows()
    D = fp.Normal.fit(X, y, sensitive_features=a)
    found = fp.NearestIdeal(D, steer=[1]).solve("closed-form").inference(
        method="bootstrap", n_bootstrap=4
    )  # fmt: skip
    assert "(parametric bootstrap)" in str(found)
    assert Inference.from_dict(found.to_dict()).method == "parametric bootstrap"


def test_a_threshold_beside_a_range_is_refused():
    X, y, a = rows()
    p = 1 / (1 + np.exp(-X[:, 0]))
    C = fp.Categorical.from_scores(p, y=y, sensitive_features=a, bins=10)
    with pytest.raises(fp.ModelError, match="Give one of `thresholds`"):
        fp.NearestFair(C, 0.5, threshold_range=(0.2, 0.4))
    assert fp.NearestFair(C).solve().settings["thresholds"] == (0.5,)
    sol = fp.NearestFair(C).solve()
    with pytest.raises(fp.DataError, match="scores that the population counted in bins"):
        sol.sample_weight(y, sensitive_features=a, X=X)
    atoms = fp.Categorical.fit(np.round(X[:, 0]), y, sensitive_features=a)
    with pytest.raises(fp.DataError, match="Atoms are `population"):
        fp.NearestFair(atoms).solve().sample_weight(y, sensitive_features=a, X=X[:, 0])


@pytest.mark.parametrize(
    "step",
    [
        fp.IdealSteering([1], keep_sensitive="x"),
        fp.SteeredClassifier(LogisticRegression(), keep_sensitive="x"),
        fp.ReweightedClassifier(LogisticRegression(), keep_sensitive="x"),
    ],
)
def test_whether_a_column_is_kept_is_yes_or_no(step):
    X, y, a = rows()
    with pytest.raises(fp.ModelError, match="`keep_sensitive` must be True or False"):
        step.fit(X, y, sensitive_features=a)


def test_a_file_needs_a_name():
    X, y, a = rows()
    D = fp.Normal.fit(X, y, sensitive_features=a)
    sol = fp.NearestIdeal(D, steer=[1]).solve("closed-form")
    for wrong in (None, 3):
        with pytest.raises(fp.DataError, match="`path` must be the name of a file"):
            sol.save(wrong)
        with pytest.raises(fp.DataError, match="`path` must be the name of a file"):
            fp.load(wrong)


def test_the_command_line_advises_what_it_has(tmp_path, capsys):
    X, y, a = rows(300)
    said, sex = np.where(y == 1, "yes", "no"), np.where(a == 1, "f", "m")
    table = pd.DataFrame({"p": 1 / (1 + np.exp(-X[:, 0])), "job": sex, "hired": said, "sex": sex})
    path = str(tmp_path / "t.csv")
    table.to_csv(path, index=False)
    fit = ["fit", path, "--label", "hired", "--sensitive", "sex", "--splits", "2", "--quiet"]
    assert main([*fit, "--score", "job"]) == 1
    text = capsys.readouterr().err
    assert "A score is a column of numbers" in text and "--onehot" not in text
    assert main([*fit, "--score", "p", "--max-loss", "-1"]) == 2
    capsys.readouterr()
    step = str(tmp_path / "step.json")
    main([*fit, "--score", "p", "--method", "quantile", "--force", "--out", step])
    assert "Y=1 is 'yes'" in " ".join(capsys.readouterr().out.split())
    out = str(tmp_path / "new.csv")
    assert main(["apply", step, path, "--out", out]) == 0
    assert "Move rows once" in capsys.readouterr().out
    moved = fp.load(step).transform(table.set_index(np.arange(300) + 7))
    np.testing.assert_allclose(moved["p"], pd.read_csv(out)["p"], rtol=1e-12)
    assert list(moved.index[:2]) == [7, 8] and list(moved["hired"]) == list(table["hired"])
    with pytest.raises(fp.ModelError, match="must be a data frame with the columns"):
        fp.load(step).transform(table.to_numpy())
    table.loc[0, "sex"] = "rare"
    table.to_csv(path, index=False)
    assert main(["audit", path, "--label", "hired", "--score", "p", "--sensitive", "sex"]) == 1
    assert main([*fit, "--score", "p"]) == 1
    text = capsys.readouterr()
    assert "merge_groups" not in text.err + text.out and "in that column" in text.err


@pytest.mark.parametrize(
    "use",
    [
        fp.IdealSteering().fit,
        fp.IdealSteering(sensitive_column="a").fit,
        fp.SteeredClassifier(LogisticRegression(), cv=2).fit,
        fp.SteeredClassifier(LogisticRegression(), cv=2, sensitive_column="a").fit,
        fp.ReweightedClassifier(LogisticRegression()).fit,
        fp.Normal.fit,
        lambda X, y, **named: fp.compare(
            LogisticRegression(), X, y, cv=2, methods=["score, normal"], **named
        ),
    ],
)
def test_columns_of_one_name_are_refused_by_name(use):
    """They were an error of the package that scikit-learn reads data frames by."""
    _, X, y, a = told()
    frame = pd.DataFrame(np.column_stack([X, X[:, 0]]), columns=["x", "z", "x"]).assign(a=a)
    column = "a" if getattr(getattr(use, "__self__", None), "sensitive_column", None) else None
    groups = {} if column else {"sensitive_features": frame.pop("a")}
    with pytest.raises(
        fp.DataError, match=r"`X` has several columns of one name: \['x'\]"
    ) as said:
        use(frame, y, **groups)
    assert "X.loc[:, ~X.columns.duplicated()]" in str(said.value)
    once = frame.loc[:, ~frame.columns.duplicated()]
    assert use(once, y, **groups) is not None
