"""Rules that do not see the group: scores of label and group, and when constants are left."""

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array
from sklearn.linear_model import LogisticRegression

import fairprog as fp
from tests.scored_people import preferred, written_out


def unknown(n=200, seed=1):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2))
    m = 1 / (1 + np.exp(-1.5 * x[:, 0]))
    joint = np.empty((n, 2, 2))
    for a, share in enumerate((1 - m, m)):
        p = 1 / (1 + np.exp(-(x[:, 1] + 0.8 * x[:, 0] + a - 0.5)))
        joint[:, 0, a], joint[:, 1, a] = share * (1 - p), share * p
    return joint


def test_without_the_group_it_is_the_written_out_program():
    joint = unknown()
    D = fp.Categorical.from_scores(joint, groups=["f", "m"])
    assert np.allclose(D.prior, joint.mean(axis=0))
    notion = fp.DemographicParity(difference_bound=0.1)
    sol = fp.FairClassifier(D, fp.ErrorRate(), [notion], uses_group=False).solve()
    level = sol.table.Z[:, :, 1].sum(axis=1) / D.group_mass
    parts = [joint[:, :, a] / len(joint) for a in range(2)]
    ends = level.min() - 1e-9, level.max() + 1e-9
    wanted = written_out(
        joint.sum(axis=2), np.zeros(200), [([(0, 1), (1, 1)], [0, 1], *ends)], joint=parts
    )
    assert sol.risk == pytest.approx(wanted, abs=1e-7)
    assert notion.gap(sol.table) == pytest.approx(0.1, abs=1e-9)
    first = np.unique(D.support.atom, return_index=True)[1]
    again = sol.classifier.predict_proba_from_scores(joint)
    assert np.abs(again - sol.classifier.h[first]).max() < 1e-9
    new = sol.classifier.predict_from_scores(unknown(5000, 2))
    assert new.mean() == pytest.approx(sol.table.Z[:, :, 1].sum(), abs=0.1)
    drawn = D.resampled(300, np.random.default_rng(0))
    assert drawn.support.weight.sum() == pytest.approx(1)
    assert not drawn.reveals_group


def test_where_only_constants_are_fair_it_says_so():
    joint = np.array([[[0.1, 0.4], [0.3, 0.2]], [[0.3, 0.2], [0.1, 0.4]]])
    D = fp.Categorical.from_scores(joint)
    with pytest.warns(fp.FairprogWarning, match="only constant classifiers"):
        fp.FairClassifier(D, fp.ErrorRate(), [fp.EqualizedOdds()], uses_group=False).solve()
    with warnings.catch_warnings():  # a constant that is best, not the only one
        warnings.simplefilter("error")
        E = fp.Categorical.from_scores(0.1 * joint + 0.9 * np.array([[0.6, 0.3], [0.06, 0.04]]))
        wide = fp.EqualizedOdds(difference_bound=0.9)
        sol = fp.FairClassifier(E, fp.ErrorRate(), [wide], uses_group=False).solve()
    assert np.ptp(sol.classifier.h, axis=0).max() == 0


def test_where_hardly_more_than_constants_is_left_it_says_so():
    """Features that tell the group: parity without it has next to nothing to decide by."""
    x = np.linspace(-2.0, 2.0, 60)
    group, label = (1 / (1 + np.exp(-4 * u)) for u in (x, x + 0.3))
    joint = np.stack([1 - label, label], 1)[:, :, None] * np.stack([1 - group, group], 1)[:, None]
    D = fp.Categorical.from_scores(joint)

    def solved(bound):
        notion = fp.DemographicParity(difference_bound=bound)
        return fp.FairClassifier(D, fp.ErrorRate(), [notion], uses_group=False).solve()

    with pytest.warns(fp.FairprogWarning, match="leave hardly more than constants: the risk is"):
        sol = solved(0.0)  # others are fair, and no better
    assert np.ptp(sol.classifier.h, axis=0).max() < 1e-6
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        solved(0.4)


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"sensitive_features": ["a"] * 200}, fp.ModelError, "sensitive_features.*not used"),
        ({"y": [0, 1] * 100}, fp.ModelError, "`y` is not used"),
        ({"bins": 3}, fp.ModelError, "`bins` is not used"),
        ({"proba": -unknown()}, fp.DataError, "nonnegative"),
        ({"proba": 0.5 * unknown()}, fp.DataError, "must sum to one"),
    ],
    ids=["groups", "y", "bins", "negative", "sum"],
)
def test_what_scores_of_label_and_group_may_be(change, error, match):
    with pytest.raises(error, match=match):
        fp.Categorical.from_scores(**({"proba": unknown()} | change))


def test_axes_and_rules_in_each_others_place():
    _, joint = preferred(0, 50, 2, 3)
    with pytest.raises(fp.DataError, match=r"transpose\(0, 2, 1\)"):
        fp.Categorical.from_scores(joint.transpose(0, 2, 1), groups=["a", "b", "c"])
    D = fp.Categorical.from_scores(joint, groups=["a", "b", "c"])
    aware = fp.FairClassifier(D, fp.ErrorRate()).solve().classifier
    with pytest.raises(fp.ModelError, match="uses_group=False"):
        aware.predict_from_scores(joint)
    blind = fp.FairClassifier(D, fp.ErrorRate(), uses_group=False).solve().classifier
    with pytest.raises(fp.ModelError, match="pass scores of label and group"):
        blind.predict_from_scores(joint.sum(axis=2))


def test_several_columns_of_text_are_atoms():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"u": rng.choice(["p", "q"], 200), "v": rng.choice(["r", "s"], 200)})
    a, y = rng.choice(["f", "m"], 200), rng.integers(0, 2, 200)
    D = fp.Categorical.fit(X, y, sensitive_features=a)
    assert D.values.tolist() == [["p", "r"], ["p", "s"], ["q", "r"], ["q", "s"]]
    rule = fp.FairClassifier(D, fp.WorstGroupRisk(), uses_group=False).solve().classifier
    assert rule.predict_proba(X).shape == (200, 2)
    with pytest.raises(fp.DataError, match="of int, str"):
        fp.Categorical.fit(X.assign(v=1), y, sensitive_features=a)


def shifted_rows(n=1500):
    rng = np.random.default_rng(3)
    group = rng.choice(["f", "m"], n)
    X = rng.normal(size=(n, 3)) + 0.7 * (group == "m")[:, None]
    return X, (X.sum(1) + rng.normal(size=n) > 1) * 1, group


def test_what_a_prefit_estimator_must_have_learned_is_said():
    X, y, group = shifted_rows()
    half = slice(None, 750), slice(750, None)
    learner = LogisticRegression().fit(X[half[0]], y[half[0]])
    model = fp.SteeredClassifier(learner, cv="prefit", uses_group=False)
    said = (
        r"must have learned label and group together, as one number \(0: 0 of 'f'; 1: 0 of 'm'; "
        r"2: 1 of 'f'; 3: 1 of 'm'\); `estimator` was fitted to \[0, 1\]\.$"
    )
    with pytest.raises(fp.DataError, match=said):
        model.fit(X[half[1]], y[half[1]], sensitive_features=group[half[1]])
    learner.fit(X[half[0]], (2 * y + (group == "m"))[half[0]])
    model.fit(X[half[1]], y[half[1]], sensitive_features=group[half[1]])
    assert np.mean(model.predict(X) == y) > 0.7
    seen = fp.SteeredClassifier(learner, cv="prefit")
    with pytest.raises(fp.DataError, match=r"the classes \[0, 1\].* to \[0, 1, 2, 3\]\.$"):
        seen.fit(X[half[1]], y[half[1]], sensitive_features=group[half[1]])


@pytest.mark.parametrize("column", ["g", 1, -1])
def test_rows_may_come_without_the_column_of_a_group_that_is_not_used(column):
    X, y, group = shifted_rows(600)
    table = pd.DataFrame(X, columns=["u", "v", "w"])
    at = {"g": 2, 1: 1, -1: 3}[column]
    table.insert(at, "g", (group == "m") * 1)
    rest = table.drop(columns="g")
    learner = LogisticRegression()
    model = fp.SteeredClassifier(learner, cv=2, uses_group=False, sensitive_column=column)
    want = model.fit(table, y).predict_proba(table)
    np.testing.assert_array_equal(model.predict_proba(rest), want)
    np.testing.assert_array_equal(model.predict(rest), model.predict(table))
    assert model.score(rest, y) == model.score(table, y)
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(rest[["w", "v", "u"]])
    with pytest.raises(ValueError, match=r"feature names|features"):
        model.predict(rest[["u", "v"]])
    if column != "g":
        for own in (np.asarray, csr_array):
            model.fit(own(table.to_numpy()), y)
            want = model.predict_proba(own(table.to_numpy()))
            np.testing.assert_array_equal(model.predict_proba(own(rest.to_numpy())), want)
    for options in ({"uses_group": True}, {"keep_sensitive": True}):  # there it is needed
        model.set_params(**options).fit(table, y)
        with pytest.raises(ValueError, match=r"does not have|feature names|4 features"):
            model.predict(rest)
        model.set_params(uses_group=False, keep_sensitive=False)


@pytest.mark.parametrize("folds", [2, 3])
def test_a_level_that_is_searched_is_held_against_constants(folds):
    """Without constraints there is no level to search; a fold speaks for itself alone."""
    X, y, group = shifted_rows()
    model = fp.SteeredClassifier(
        LogisticRegression(), cv=folds, uses_group=False, notion=fp.PredictiveParity()
    )
    said = f"^Fold 1 of {folds}: Without the group .* leave hardly more than constants"
    with pytest.warns(fp.FairprogWarning, match=said) as caught:
        model.fit(X, y, sensitive_features=group)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert 0 < model.predict(X).mean() < 0.1
