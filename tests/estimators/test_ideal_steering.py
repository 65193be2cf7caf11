"""`IdealSteering` is a well-behaved scikit-learn step, and does what the solution says."""

import numpy as np
import pandas as pd
import pytest
import sklearn
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import _num_samples

import fairprog as fp
from tests.steered_rows import GROWS, data


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
