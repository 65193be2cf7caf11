"""`ReweightedClassifier`: a learner trained on the nearest fair population."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fairprog as fp
from tests.instances import README

X, Y, A = README.sample(6000, random_state=0)
WOMEN = A == "women"


def with_group(X, women):
    x = X.ravel()
    return np.column_stack([x, x**2, women, x * women, x**2 * women])


Z = with_group(X, WOMEN)


def gap(model, rows=Z, **given):
    table = fp.OutcomeTable.from_predictions(Y, model.predict(rows, **given), sensitive_features=A)
    return fp.DemographicParity().gap(table)


def learner():
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))


def test_gap_falls_on_fresh_rows():
    trees = HistGradientBoostingClassifier(max_iter=40, max_leaf_nodes=8, random_state=0)
    raw = clone(trees).fit(Z, Y)
    model = fp.ReweightedClassifier(trees, threshold_range=(0.3, 0.7), uses_group=True)
    model.fit(Z, Y, sensitive_features=A)
    assert model.solution_.certificate.ok and gap(model) < 0.5 * gap(raw)
    fresh, y, a = README.sample(6000, random_state=1)
    decided = model.predict(with_group(fresh, a == "women"))
    table = fp.OutcomeTable.from_predictions(y, decided, sensitive_features=a)
    assert fp.DemographicParity().gap(table) < 0.5 * gap(raw)
    assert model.sample_weight_.shape == (6000,)
    assert model.sample_weight_.mean() == pytest.approx(1, abs=1e-3)  # the margin's share


@pytest.mark.parametrize("move", ["both", "labels", "masses"])
def test_every_move_and_blind(move):
    model = fp.ReweightedClassifier(LogisticRegression(), move=move, cv=2, bins=12)
    model.fit(X[:, None] if X.ndim == 1 else X, Y, sensitive_features=A)
    assert not model.solution_.settings["uses_group"] and model.solution_.certificate.ok


def test_sensitive_column_and_search():
    frame = pd.DataFrame({"x": X.ravel(), "sex": WOMEN.astype(int)})
    model = fp.ReweightedClassifier(
        LogisticRegression(), sensitive_column="sex", keep_sensitive=True, uses_group=True, cv=2
    )
    found = GridSearchCV(model, {"estimator__C": [0.1, 1.0]}, cv=2).fit(frame, Y)
    assert found.best_estimator_.predict_proba(frame).shape == (6000, 2)
    apart = clone(model).set_params(sensitive_column=None)
    apart.fit(frame[["x", "sex"]], Y, sensitive_features=frame["sex"])
    with_column = clone(model).fit(frame, Y)
    assert np.allclose(apart.predict_proba(frame), with_column.predict_proba(frame), atol=0.05)
    blind = clone(model).set_params(keep_sensitive=False).fit(frame, Y)
    assert (blind.predict(frame[["x"]]) == blind.predict(frame)).all()


def test_weights_of_zero_do_not_count():
    weight = np.r_[np.ones(3000), np.zeros(3000)]
    model = fp.ReweightedClassifier(learner(), cv=KFold(2), bins=8)
    model.fit(Z, Y, sensitive_features=A, sample_weight=weight)
    assert (model.sample_weight_[3000:] == 0).all() and (model.sample_weight_[:3000] > 0).all()


def test_refusals():
    with pytest.raises(fp.ModelError, match="sample_weight"):
        fp.ReweightedClassifier(KNeighborsClassifier()).fit(Z, Y, sensitive_features=A)
    with pytest.raises(fp.ModelError, match="`cv`"):
        fp.ReweightedClassifier(LogisticRegression(), cv="prefit").fit(Z, Y, sensitive_features=A)
    with pytest.raises(fp.DataError, match="one class"):
        fp.ReweightedClassifier(LogisticRegression()).fit(Z, 0 * Y, sensitive_features=A)
