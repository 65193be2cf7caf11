"""The classifier as an object: thresholds, predictions on new scores, files, pictures."""

import itertools

import numpy as np
import pytest

import fairprog as fp
from tests.instances import random_categorical


def test_thresholds_reproduce_the_classifier_and_its_rates():
    rng = np.random.default_rng(22)
    scores, a = rng.beta(2, 3, 400), rng.choice(["f", "m"], 400)
    scores[a == "f"] **= 1.5
    D = fp.Categorical.from_scores(scores, sensitive_features=a)
    sol = fp.FairClassifier(D, fp.ErrorRate(), [fp.EqualOpportunity()]).solve()
    t = sol.classifier.thresholds
    assert t["f"] < t["m"]
    above = scores > np.array([t[g] for g in a])
    at = np.isclose(scores, [t[g] for g in a], atol=1e-9)
    proba = sol.classifier.predict_proba(np.arange(400), sensitive_features=a)
    assert np.array_equal(proba[~at, 1] > 0.5, above[~at])
    assert at.sum() <= 2  # one randomised row per group at most
    # the rule on scores is the classifier on its own rows, and applies to new ones
    rule = sol.classifier.predict_proba_from_scores(scores, sensitive_features=a)
    assert np.allclose(rule, proba, atol=1e-9)
    new = sol.classifier.predict_proba_from_scores([0.0, 1.0], sensitive_features=["f", "m"])
    assert np.array_equal(new, np.eye(2))
    draws = sol.classifier.predict(np.arange(400), sensitive_features=a, random_state=0)
    assert np.array_equal(draws[~at], above[~at].astype(int))


def test_predictions_follow_their_probabilities():
    D = fp.Categorical(
        random_categorical(np.random.default_rng(23), X=5).joint,
        values=list("vwxyz"),
        classes=["no", "yes"],
        groups=["f", "m"],
    )
    sol = fp.FairClassifier(D, fp.ErrorRate(), [fp.EqualizedOdds()]).solve()
    X, _, a = D.sample(100_000, random_state=0)
    proba = sol.classifier.predict_proba(X, sensitive_features=a)
    draw = {"sensitive_features": a, "random_state": 1}
    draws = sol.classifier.predict(X, **draw, key=np.arange(len(X)))
    assert set(draws) <= {"no", "yes"}
    assert np.array_equal(draws, sol.classifier.predict(X, **draw, key=np.arange(len(X))))
    some = np.random.default_rng(0).permutation(len(X))[:100]  # alone or not: the same answer
    alone = [
        sol.classifier.predict(X[[i]], sensitive_features=a[[i]], random_state=1, key=[i])[0]
        for i in some
    ]
    assert alone == draws[some].tolist()
    with pytest.warns(fp.FairprogWarning, match="Pass key="):  # rows that are the same share a lot
        shared = sol.classifier.predict(X, **draw)
    assert len({(x, g, j) for x, g, j in zip(X, a, shared, strict=True)}) <= 10
    for value, g in itertools.product("vwxyz", ["f", "m"]):
        rows = (value == X) & (a == g)
        p = proba[rows][0, 1]
        spread = 5 * np.sqrt(p * (1 - p) / rows.sum())
        assert np.mean(draws[rows] == "yes") == pytest.approx(p, abs=spread + 1e-12)
    with pytest.raises(fp.DataError, match="'q' in row 1, which is no atom"):
        sol.classifier.predict_proba(["v", "q"], sensitive_features=["f", "f"])
    with pytest.raises(fp.DataError, match="sensitive_features"):
        sol.classifier.predict_proba(["v"])
    blind = fp.FairClassifier(D, uses_group=False).solve().classifier
    assert blind.thresholds is None
    assert blind.predict_proba(["v"]).shape == (1, 2)
    with pytest.raises(fp.ModelError, match="not a rule on posteriors"):
        blind.predict_proba_from_scores([0.5], sensitive_features=["f"])


def miscalibrated(n=4000, seed=31):
    """Scores that mean something else in each group."""
    rng = np.random.default_rng(seed)
    a, score = rng.choice(["f", "m"], n), rng.beta(2, 2, n)
    y = (rng.random(n) < np.where(a == "f", score**2, np.sqrt(score))).astype(int)
    return score, y, a


def realised(proba, y, a, classes=(0, 1), groups=("f", "m")):
    """The outcome table that predictions have on rows."""
    Z = np.zeros((len(groups), len(classes), len(classes)))
    np.add.at(Z, ([groups.index(g) for g in a], [classes.index(c) for c in y]), proba / len(y))
    return fp.OutcomeTable(Z, classes, groups)


@pytest.mark.parametrize("suffix", ["json", "npz"])
@pytest.mark.parametrize("counted", [True, False])
@pytest.mark.parametrize("uses_group", [True, False])
def test_new_scores_fall_into_the_bins_of_the_population(tmp_path, suffix, counted, uses_group):
    score, y, a = miscalibrated()
    labels = {"y": y} if counted else {}
    D = fp.Categorical.from_scores(score, bins=50, sensitive_features=a, **labels)
    notion = fp.EqualOpportunity(difference_bound=0.02)
    sol = fp.FairClassifier(D, fp.ErrorRate(), [notion], uses_group=uses_group).solve()
    proba = sol.classifier.predict_proba_from_scores(score, sensitive_features=a)
    if counted:  # on the rows that were counted the promise holds exactly
        assert np.allclose(realised(proba, y, a).Z, sol.table.Z, atol=1e-12)
        assert notion.gap(realised(proba, y, a)) == pytest.approx(0.02, abs=1e-7)
        # control: the same thresholds read off raw scores break it
        if uses_group:
            t = sol.classifier.thresholds
            raw = np.eye(2)[(score > np.array([t[g] for g in a])).astype(int)]
            assert notion.gap(realised(raw, y, a)) > 0.05
    else:
        truth = np.stack([1 - score, score], 1)
        for k, g in enumerate("fm"):
            Z = np.einsum("ni,nj->ij", truth[a == g], proba[a == g]) / len(a)
            assert np.allclose(Z, sol.table.Z[k], atol=1e-12)
    if not uses_group:
        assert np.array_equal(sol.classifier.predict_proba_from_scores(score), proba)
    sol.save(tmp_path / f"rule.{suffix}")
    again = fp.load(tmp_path / f"rule.{suffix}").classifier
    assert np.array_equal(again.predict_proba_from_scores(score, sensitive_features=a), proba)


def test_class_labels_are_drawn_for_new_scores():
    score, y, a = miscalibrated()
    D = fp.Categorical.from_scores(
        score, y=np.array(["no", "yes"])[y], bins=3, sensitive_features=a
    )
    rule = fp.FairClassifier(D, None, [fp.DemographicParity()]).solve().classifier
    proba = rule.predict_proba_from_scores(score, sensitive_features=a)
    mixed = np.flatnonzero((proba[:, 1] > 0.05) & (proba[:, 1] < 0.95))
    assert mixed.size  # some bin is randomised
    many, f = np.full(20_000, score[mixed[0]]), np.full(20_000, a[mixed[0]])
    key = np.arange(len(many))
    drawn = rule.predict_from_scores(many, sensitive_features=f, random_state=0, key=key)
    assert set(drawn) == {"no", "yes"}
    assert np.mean(drawn == "yes") == pytest.approx(proba[mixed[0], 1], abs=0.02)
    again = rule.predict_from_scores(many, sensitive_features=f, random_state=0, key=key)
    assert np.array_equal(drawn, again)
    E = fp.Categorical.from_scores(score, sensitive_features=a, classes=["no", "yes"])
    sharp = fp.FairClassifier(E).solve().classifier
    assert sharp.predict_from_scores([0.2, 0.8], sensitive_features=["f", "m"]).tolist() == [
        "no",
        "yes",
    ]


def test_bins_of_several_classes_and_bins_without_rows():
    rng = np.random.default_rng(32)
    p, a = rng.dirichlet([1, 1, 1], 3000), rng.choice(["f", "m"], 3000)
    y = (rng.random(3000)[:, None] > np.cumsum(p**2 / (p**2).sum(1, keepdims=True), 1)).sum(1)
    D = fp.Categorical.from_scores(p, y=y, bins=4, sensitive_features=a)
    sol = fp.FairClassifier(D, fp.ErrorRate(), [fp.DemographicParity()]).solve()
    proba = sol.classifier.predict_proba_from_scores(p, sensitive_features=a)
    assert np.allclose(realised(proba, y, a, (0, 1, 2)).Z, sol.table.Z, atol=1e-12)
    corner = sol.classifier.predict_proba_from_scores(np.eye(3), sensitive_features=list("ffm"))
    assert np.allclose(corner.sum(axis=1), 1)
    # group b has no rows in the middle bin: the nearest of its own bins decides
    D = fp.Categorical.from_scores(
        [0.1, 0.5, 0.5, 0.9, 0.2, 0.8],
        y=[0, 0, 1, 1, 0, 1],
        bins=[0.3, 0.6, 0.95],
        sensitive_features=list("aaaabb"),
    )
    rule = fp.FairClassifier(D).solve().classifier
    new = rule.predict_proba_from_scores([0.45, 0.55, 0.97], sensitive_features=["b"] * 3)
    assert new[:, 1].tolist() == [0, 1, 1]
    moved = (
        fp.NearestIdeal(
            fp.Categorical.from_scores(
                [0.1, 0.9, 0.2, 0.8] * 3,
                y=[0, 1, 1, 0, 1, 0, 0, 1, 0, 1, 0, 1],
                bins=[0.5],
                sensitive_features=list("aabb") * 3,
            )
        )
        .solve()
        .population
    )
    assert moved.score_bins is not None


@pytest.mark.parametrize("suffix", ["json", "npz"])
def test_saved_solutions_come_back(tmp_path, suffix):
    D = random_categorical(np.random.default_rng(24), X=6, K=3)
    templates = [
        fp.EqualizedOdds(difference_bound=0.05),
        fp.Robust(fp.EqualOpportunity(difference_bound=0.3), 0.02),
        fp.IndividualFairness([[0, 1]], [0.4]),
    ]
    risk = fp.ErrorRate() + 0.1 * fp.WorstGroupRisk()
    sol = fp.FairClassifier(D, risk, templates).solve()
    sol.save(tmp_path / f"answer.{suffix}")
    again = fp.load(tmp_path / f"answer.{suffix}")
    assert again.risk == sol.risk
    assert again.price == sol.price
    assert again.price_interval == sol.price_interval
    assert again.certificate == sol.certificate
    assert again.settings == sol.settings
    assert np.array_equal(again.classifier.h, sol.classifier.h)
    assert np.allclose(again.table.Z, sol.table.Z, atol=1e-15)
    assert again.summary() == sol.summary()


def test_summaries_and_pictures():
    D = random_categorical(np.random.default_rng(25), X=9)
    fc = fp.FairClassifier(D, fp.ErrorRate(), [fp.EqualOpportunity()])
    text = fc.solve().summary()
    assert "certificate: ok, global" in text
    assert "equal_opportunity" in text
    _, ax = fc.solve().plot()
    assert "P(Y=1 | x, a)" in ax.get_xlabel()
    assert max(len(line) for line in text.splitlines()) <= 100
