"""More than two classes: parity of all true positive rates, in programs and on new rows."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

import fairprog as fp
from tests.scored_people import scored, written_out


def test_parity_of_every_true_positive_rate_is_the_written_out_program():
    p, a = scored(120, 3)
    D = fp.Categorical.from_scores(p, sensitive_features=a)
    notion = fp.TruePositiveRateParity(difference_bound=0.02)
    sol = fp.FairClassifier(D, fp.ErrorRate(), [notion]).solve()
    rates = notion.evaluate(sol.table)
    conditions = [
        ([(i, i)], [i], rates[i].min() - 1e-10, rates[i].max() + 1e-10) for i in range(3)
    ]
    assert sol.risk == pytest.approx(written_out(p, a, conditions), abs=1e-7)
    assert notion.gap(sol.table) <= 0.02 + 1e-9
    spread = fp.RMSGap(notion, 0.02)
    loose = fp.FairClassifier(D, fp.ErrorRate(), [spread]).solve()
    assert spread.gap(loose.table) == pytest.approx(0.02, abs=1e-6)
    assert loose.risk <= sol.risk + 1e-8


def people(n=2500, seed=0):
    rng = np.random.default_rng(seed)
    a, y = rng.choice(["f", "m"], n), rng.choice(["i", "j", "k"], n)
    X = rng.normal(size=(n, 3))
    X[np.arange(n), np.searchsorted(["i", "j", "k"], y)] += 1.2
    X[:, 1] += 0.8 * ((a == "m") & (y == "j"))
    X[:, 0] += 0.7 * (a == "f")
    return X, y, a


@pytest.fixture(scope="module")
def decided():
    X, y, a = people()
    notion = fp.TruePositiveRateParity()
    return {
        known: fp.SteeredClassifier(
            LogisticRegression(), cv=2, notion=notion, uses_group=known
        ).fit(X, y, sensitive_features=a)
        for known in (True, False)
    }


@pytest.mark.parametrize("known", [True, False])
def test_decisions_on_new_rows(decided, known):
    X, y, a = people(20_000, 1)
    groups = {"sensitive_features": a} if known else {}
    model = decided[known]
    table = fp.OutcomeTable.from_predictions(y, model.predict(X, **groups), sensitive_features=a)
    free = LogisticRegression().fit(*people()[:2]).predict(X)
    before = fp.OutcomeTable.from_predictions(y, free, sensitive_features=a)
    notion = fp.TruePositiveRateParity()
    assert notion.gap(before) > 0.2
    assert notion.gap(table) < 0.09
    proba = model.predict_proba(X, **groups)
    assert np.allclose(proba.sum(axis=1), 1)
    assert (model.class_offsets_ is None) or model.class_offsets_.shape == (2, 2, 3)
    alone = model.predict(X[:1], **({"sensitive_features": a[:1]} if known else {}))
    assert alone[0] == model.predict(X[:50], **{k: v[:50] for k, v in groups.items()})[0]


@pytest.mark.filterwarnings("ignore:The smallest cell")
def test_decisions_say_what_they_need(decided):
    X, y, a = people(300)
    with pytest.raises(fp.DataError, match="sensitive_features"):
        decided[True].predict(X)
    with pytest.raises(fp.DataError, match="Only binary"):
        fp.SteeredClassifier(LogisticRegression()).fit(X, y, sensitive_features=a)
    pairs = fp.IndividualFairness([[0, 1]], 0.1)
    with pytest.raises(fp.ModelError, match="single individuals"):
        fp.SteeredClassifier(LogisticRegression(), cv=2, notion=pairs).fit(
            X, y, sensitive_features=a
        )


def test_a_root_mean_square_gap_levels_down_what_its_notion_does():
    rng = np.random.default_rng(0)
    n = 1500
    a, y = rng.choice(["f", "m"], n), rng.integers(0, 3, n)
    apart = np.where(a == "m", 4.0, 0.5)[:, None]
    X = rng.normal(size=(n, 3)) + np.eye(3)[y] * apart
    X = np.c_[X, a == "m", X * (a == "m")[:, None]]
    notion = fp.RMSGap(fp.TruePositiveRateParity(), 0.005)
    model = fp.SteeredClassifier(LogisticRegression(), cv=2, notion=notion)
    guess = model.fit(X, y, sensitive_features=a).predict(X, sensitive_features=a)
    assert all(rule.share[1] < 0.5 for rule in model.rules_)
    table = fp.OutcomeTable.from_predictions(y, guess, sensitive_features=a)
    assert notion.gap(table) < 0.08
    with pytest.raises(fp.ModelError, match="one notion"):
        fp.SteeredClassifier(LogisticRegression(), cv=2, notion=[notion]).fit(
            X, y, sensitive_features=a
        )
