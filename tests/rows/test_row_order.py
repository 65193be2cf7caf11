"""Rows are matched by position: pandas objects of the same rows in another order are refused."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

import fairprog as fp

D = fp.Normal(
    [[0.3, 0.2], [0.3, 0.2]], [[0.0, 1.0], [2.0, 2.0]], std=[[1.0, 1.0], [1.0, 2.0]], groups="ab"
)


def frame(n=400):
    x, y, a = D.sample(n, random_state=0)
    index = [f"person {k}" for k in range(n)]
    return pd.DataFrame({"x": x[:, 0]}, index), pd.Series(y, index), pd.Series(a, index)


SOLVED = fp.NearestIdeal(D, steer=["b"]).solve()
USES = {
    "fit": lambda X, y, a: fp.Normal.fit(X, y, sensitive_features=a),
    "Laplace": lambda X, y, a: fp.Laplace.fit(X, y, sensitive_features=a),
    "moments": lambda X, y, a: fp.Moments().partial_fit(X, y, sensitive_features=a),
    "align": lambda X, y, a: SOLVED.align(X, sensitive_features=a),
    "steer": lambda X, y, a: SOLVED.steer(X, y, sensitive_features=a),
    "quantiles": lambda X, y, a: fp.QuantileMap.fit(X, y, sensitive_features=a),
    "ideal": lambda X, y, a: fp.IdealSteering().fit(X, y, sensitive_features=a),
    "concepts": lambda X, y, a: fp.ConceptSteering(n_probes=10).fit(X, y, sensitive_features=a),
    "scores": lambda X, y, a: fp.ScoreSteering(space="identity").fit(X, y, sensitive_features=a),
    "classifier": lambda X, y, a: fp.SteeredClassifier(LogisticRegression(), cv=2).fit(
        X, y, sensitive_features=a
    ),
    "audit": lambda X, y, a: fp.audit(y, X["x"], sensitive_features=a),
}


@pytest.mark.filterwarnings("ignore:The group is EASIER")
@pytest.mark.parametrize("use", USES)
def test_the_same_rows_in_another_order_are_refused(use):
    X, y, a = frame()
    USES[use](X, y, a)
    USES[use](X, y, a.to_numpy()[::-1])  # no index: taken as it lies
    USES[use](X, y, a.set_axis(np.arange(400)))  # numbered rows: nothing to compare
    with pytest.raises(fp.DataError, match="indexes without a label in common: row 0 is"):
        USES[use](X, y, a.set_axis(np.arange(400) + 7))
    with pytest.raises(fp.DataError, match="the same index in another order") as caught:
        USES[use](X, y, a.iloc[::-1])
    assert caught.value.argument == "sensitive_features"
    assert "row 0 is 'person 0' in one and 'person 399' in the other" in str(caught.value)


@pytest.mark.filterwarnings("ignore:The group is EASIER")
def test_every_step_that_moves_rows_looks():
    X, y, a = frame()
    for step in (
        fp.IdealSteering(),
        fp.ScoreSteering(space="identity"),
        fp.SteeredClassifier(LogisticRegression(), cv=2),
    ):
        step.fit(X, y, sensitive_features=a)
        move = getattr(step, "transform", None) or step.predict_proba
        move(X, sensitive_features=a)
        with pytest.raises(fp.DataError, match=r"sensitive_features\.loc\[X\.index\]"):
            move(X.iloc[::-1], sensitive_features=a)


def test_repeated_labels_must_stand_in_the_same_order_too():
    X, y, a = frame()
    twice = np.repeat(np.arange(200), 2)
    fp.Normal.fit(X.set_axis(twice), y.to_numpy(), sensitive_features=a.set_axis(twice))
    with pytest.raises(fp.DataError, match="the same index in another order"):
        fp.Normal.fit(X.set_axis(twice), y.to_numpy(), sensitive_features=a.set_axis(twice[::-1]))
