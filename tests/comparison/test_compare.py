"""`compare` is honest: one set of splits, chance beside; inner splits choose, outer ones judge."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

import fairprog as fp
from fairprog.cli.fitting import _gains
from fairprog.comparison.comparison_words import cards
from fairprog.comparison.measures import FIGURES
from fairprog.comparison.methods import NOTHING, OnFeatures, methods_for
from fairprog.comparison.result import choose
from fairprog.estimators.score_maps import OPTIONS
from fairprog.plotting.comparison_picture import comparison_report, fit_report
from tests.instances import made_comparison

EACH = "features, each group to the largest"


def rows(n=1500, seed=0, away=1.5):
    """Features whose law of group b lies elsewhere and is wider: one map mends it."""
    rng = np.random.default_rng(seed)
    a, y = rng.choice(["a", "b"], n, p=[0.6, 0.4]), rng.integers(2, size=n)
    X = rng.normal(size=(n, 2)) + 1.2 * y[:, None]
    return np.where((a == "b")[:, None], 1.5 * X + away, X), y, a


@pytest.fixture(scope="module")
def found():
    X, y, a = rows(900)
    return fp.compare(LogisticRegression(), X, y, sensitive_features=a, cv=3, progress=False)


def test_every_method_there_is_has_its_row(found):
    wanted = {NOTHING, EACH, "features, all groups", "one threshold: FairClassifier"}
    assert wanted | {f"score, {m}" for m in OPTIONS["method"]} <= set(found.values)
    assert all(v.shape == (3, len(FIGURES)) for v in found.values.values())
    frame = found.to_frame()
    assert frame.index.name == "method" and "worst gap, standard error" in frame
    text = found.summary()
    assert "by chance" in text and "Y=1 is 1" in text and "3 splits of 900 rows" in text


def test_steering_helps_and_nothing_is_what_it_is(found):
    assert found.mean(EACH, "worst gap")[0] < 0.6 * found.mean(NOTHING, "worst gap")[0]
    assert found.mean(EACH, "group AUC")[0] < found.mean(NOTHING, "group AUC")[0] - 0.1
    assert np.isnan(found.of("one threshold: FairClassifier", "worst gap")).all()
    assert found.of("one threshold: FairClassifier", "randomised").max() > 0
    assert (found.of(NOTHING, "randomised") == 0).all()
    assert choose([found]) != NOTHING


def test_figures_are_those_of_an_audit(found):
    X, y, a = rows(900)
    train, test = found.splits[0]
    p = LogisticRegression().fit(X[train], y[train]).predict_proba(X[test])[:, 1]
    audit = fp.audit(y[test], p, sensitive_features=a[test])
    for figure, notion in (
        ("worst gap, Y=1", "equal opportunity"),
        ("worst gap", "equalized odds"),
    ):
        assert found.of(NOTHING, figure)[0] == pytest.approx(audit.worst[notion, "score"].gap)
    table = fp.OutcomeTable.from_predictions(
        y[test], p > 0.5, sensitive_features=a[test], classes=[0, 1]
    )
    assert found.of(NOTHING, "gap")[0] == pytest.approx(fp.EqualizedOdds().gap(table))
    assert found.of(NOTHING, "score")[0] == pytest.approx(np.mean((p > 0.5) == y[test]))
    assert len(np.intersect1d(train, test)) == 0


def test_chance_is_what_shuffled_groups_give():
    X, y, _ = rows()
    blind = np.random.default_rng(1).choice(["a", "b"], len(y))
    found = fp.compare(
        LogisticRegression(), X, y, sensitive_features=blind, cv=3, methods=[EACH], progress=False
    )
    worst, chance = found.mean(NOTHING, "worst gap")[0], found.mean(NOTHING, "chance")[0]
    assert 0.5 * chance < worst < 2 * chance
    best = found.best(cv=3)
    assert best.method == NOTHING or best.change("worst gap")[0] < 2 * best.change("worst gap")[1]


def test_inner_splits_choose_and_outer_ones_judge():
    X, y, a = rows()
    found = fp.compare(
        LogisticRegression(), X, y, sensitive_features=a, cv=3, methods=[EACH], progress=False
    )
    best = found.best(cv=2)
    assert len(best.chosen) == 3 and best.method == EACH
    own = [found.values[m][k] for k, m in enumerate(best.chosen)]
    np.testing.assert_array_equal(best.figures, own)
    assert "Take" in best.verdict
    model = best.estimator.fit(X, y, sensitive_features=a)
    assert model.predict(X, sensitive_features=a).shape == y.shape


def test_what_loses_too_much_is_not_chosen():
    X, y, a = rows()
    found = fp.compare(
        LogisticRegression(), X, y, sensitive_features=a, cv=3, progress=False,
        methods={"fair and useless": DummyClassifier(strategy="prior")},
    )  # fmt: skip
    assert found.mean("fair and useless", "worst gap")[0] == 0
    assert choose([found]) == NOTHING and choose([found], max_loss=1.0) == "fair and useless"
    assert (
        "Nothing helps beyond chance"
        in fp.Best(found, NOTHING, (NOTHING,) * 3, found.values[NOTHING], 0.01).verdict
    )


def test_the_loss_is_the_mean_over_learners_and_one_may_exceed_it_within_its_noise(found):
    own = found.values[EACH].copy()
    noise = np.array([-0.004, 0.0, 0.004])

    def losing(loss):
        values = own.copy()
        values[:, FIGURES.index("score")] = found.of(NOTHING, "score") - loss - noise
        return dataclasses.replace(found, values={NOTHING: found.values[NOTHING], EACH: values})

    assert choose([losing(0.0085), losing(0.0105)]) == EACH
    assert choose([losing(0.0085), losing(0.0125)]) == NOTHING  # the mean is too large
    assert choose([losing(0.002), losing(0.016)]) == NOTHING  # one learner loses far more


def test_lots_are_a_matter_of_choice():
    found = made_comparison(channel=(0.895, 0.05, 0.2, 0.6), quantile=(0.895, 0.1, 0.0, 0.6))
    best = found.best()
    assert best.method == "channel" and "draws lots" in best.verdict
    assert "lots=False" in best.verdict and "20.00%" in best.verdict
    best = found.best(lots=False)
    assert best.method == "quantile" and set(best.chosen) == {"quantile"}
    assert "lots" not in best.verdict
    alone = made_comparison(channel=(0.895, 0.05, 0.2, 0.6)).best(lots=False)
    assert alone.method == NOTHING and "without lots" in alone.verdict
    with pytest.raises(fp.ModelError, match="`lots` must be True or False"):
        found.best(lots="no")


def test_a_choice_that_tells_the_group_says_so():
    found = made_comparison(aligned=(0.895, 0.1, 0.0, 0.72))
    assert "EASIER to read from the features (AUC of boosted trees 0.60 -> 0.72)" in (
        found.best().verdict
    )
    assert "EASIER" not in made_comparison(aligned=(0.895, 0.1, 0.0, 0.62)).best().verdict


def test_methods_of_ones_own_may_see_the_group_or_not():
    X, y, a = rows(400)

    class Aware(LogisticRegression):
        def fit(self, X, y, sensitive_features):
            self.seen_ = set(sensitive_features)
            return super().fit(X, y)

    step = OnFeatures(LogisticRegression(), fp.IdealSteering(["b"]))
    found = fp.compare(
        LogisticRegression(), pd.DataFrame(X, columns=["u", "v"]), y, sensitive_features=a, cv=2,
        methods={"aware": Aware(), "step": step}, progress=False, scoring="balanced_accuracy",
        notion=fp.DemographicParity(),
    )  # fmt: skip
    assert list(found.values) == [NOTHING, "aware", "step"]
    np.testing.assert_array_equal(found.of("aware", "gap"), found.of(NOTHING, "gap"))


def test_three_classes_and_three_groups():
    rng = np.random.default_rng(0)
    y, a = rng.integers(3, size=900), rng.choice(list("abc"), 900)
    X = rng.normal(size=(900, 2)) + np.eye(3)[y][:, :2] * 2 + (a == "c")[:, None]
    known = methods_for(LogisticRegression(), list("abc"), fp.EqualizedOdds(), binary=False)
    assert set(known) == {NOTHING, EACH, "features, all groups"}
    found = fp.compare(
        LogisticRegression(), X, y, sensitive_features=a, cv=2, methods=[EACH], progress=False
    )
    assert np.isnan(found.of(NOTHING, "worst gap, Y=1")).all()
    assert found.mean(EACH, "worst gap")[0] < found.mean(NOTHING, "worst gap")[0]


def test_what_cannot_run_is_said_and_left_out():
    X, y, a = rows(300)
    X[:, 1] = np.where(a == "b", 1.0, X[:, 1])  # constant in a group: no map moves it
    with pytest.warns(
        fp.FairprogWarning, match="each group to the largest' is left out: Constant"
    ):
        found = fp.compare(
            LogisticRegression(), X, y, sensitive_features=a, cv=2, methods=[EACH], progress=False
        )
    assert list(found.values) == [NOTHING] and EACH in found.failures


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"methods": ["no such"]}, "`methods` holds 'no such'"),
        ({"methods": "all"}, "must be 'auto'"),
        ({"cv": 1}, "`cv` must be at least 2"),
        ({"cv": 400}, "400"),
        ({"sensitive_features": np.zeros(300)}, "All rows are of group"),
    ],
)
def test_careless_questions_get_a_sentence(options, words):
    X, y, a = rows(300)
    with pytest.raises((fp.DataError, fp.ModelError), match=words):
        fp.compare(
            LogisticRegression(), X, y, **({"sensitive_features": a} | options), progress=False
        )


def test_few_rows_have_one_rule_everywhere():
    X, y, a = rows(200)
    few = np.concatenate([np.flatnonzero(a == "a"), np.flatnonzero((a == "b") & (y == 1))])
    few = np.concatenate([few, np.flatnonzero((a == "b") & (y == 0))[:9]])
    X, y, a = X[few], y[few], a[few]
    model = LogisticRegression()
    short = r"has 9 row\(s\); at least 10 are needed .* 2 in each of 5 folds \(fewer folds: `cv`\)"
    for asked in (fp.SteeredClassifier(model).fit, lambda X, y, **a: fp.compare(model, X, y, **a)):
        with pytest.raises(fp.DataError, match=short):
            asked(X, y, sensitive_features=a)
    found = fp.compare(model, X, y, sensitive_features=a, cv=2, methods=[EACH], progress=False)
    said = "The smallest cell (class 0, group b) has 9 rows, and a gap of 0.1 needs 633"
    assert said in found.summary().replace("\n", " ")
    assert said in fp.audit(y, X[:, 0], sensitive_features=a).recommendation


def test_pictures_and_pages(found, tmp_path):
    _, ax = found.plot()
    said = " ".join(t.get_text() for t in ax.texts)
    assert all(name in said for name in found.values) and "by chance" in said
    page = found.to_html(tmp_path / "c.html")
    assert "Held-out worst gap" in page and 'class="good"' in page
    assert "fairprog notebook" in found._repr_html_()


def test_what_cannot_be_compared_is_refused_by_name():
    X, y, a = np.zeros((40, 1)), np.tile([0, 1], 20), np.repeat([0, 1], 20)
    for estimator in (LinearSVC(), LogisticRegression):
        with pytest.raises(fp.ModelError, match="`estimator` must be a classifier"):
            fp.compare(estimator, X, y, sensitive_features=a)
    with pytest.raises(fp.ModelError, match=r"found DataFrame. It comes first: compare") as caught:
        fp.compare(pd.DataFrame(X), y, LogisticRegression(), sensitive_features=a)
    assert len(str(caught.value)) < 200
    with pytest.raises(fp.ModelError, match="`notion` must be a notion"):
        fp.compare(LogisticRegression(), X, y, sensitive_features=a, notion="demographic_parity")


def test_a_fall_within_its_noise_and_a_gap_that_grew_are_in_the_headline():
    """A worst gap that falls is no success if that may be chance, or one it is made of grew."""
    found = made_comparison(sure=(0.9, 0.3, 0.0, 0.6), mixed=(0.9, 0.38, 0.0, 0.6))
    noise = np.array([-0.03, 0.0, 0.03])
    for figure, change in (("worst gap", -0.02), ("worst gap, Y=1", 0.03)):
        found.values["mixed"][:, FIGURES.index(figure)] = 0.4 + change + noise
    sure = "worst gap 0.400 -> 0.300 (-0.100 ± 0.000)"
    mixed = (
        "worst gap 0.400 -> 0.380 (-0.020 ± 0.017, which may be chance), "
        "but that given Y=1 GREW 0.400 -> 0.430 (+0.030 ± 0.017, which may be chance)"
    )
    for method, words in (("sure", sure), ("mixed", mixed)):
        best = fp.Best(found, method, (method,) * 3, found.values[method], 0.01)
        pages = [fit_report({"trees": found}, method, [], [], None)]
        if method == choose([found]):
            pages.append(comparison_report(found))
        for text in (best.verdict, _gains({"trees": found}, method), *(p.headline for p in pages)):
            assert f"{words}" in text.replace("\u00a0", " ")
            assert ("GREW" in text) == (method == "mixed")
    said = {card.title: card.note for card in cards(found, "mixed")}
    assert "may be chance" in said["Held-out worst gap"] and "Held-out worst gap, Y=1" in said
    assert "Held-out worst gap, Y=1" not in {card.title for card in cards(found, "sure")}
