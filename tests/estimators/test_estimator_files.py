"""Fitted estimators are kept like any other of scikit-learn: by joblib, or a copy by pickle."""

import pickle

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression

import fairprog as fp


def rows(seed: int = 0, n: int = 2000, width: int = 2):
    D = fp.Normal(
        [[0.3, 0.2], [0.3, 0.2]],
        [[[0.0, 1.0], [1.0, 1.0]], [[2.0, 0.0], [2.0, 3.0]]],
        cov=np.array([[1.0, 2.0], [1.0, 0.5]])[..., None, None] * np.eye(2),
        groups=["a", "b"],
    )
    X, y, a = D.sample(n, random_state=seed)
    return X[:, :width], y, a


def moved(step, X, a):
    return step.transform(X, sensitive_features=a)


def probabilities(step, X, a):
    return step.predict_proba(X, sensitive_features=a)


def effects(step, X, a):
    return step.effect_curve([0.5, 1.0]).to_numpy()


@pytest.mark.parametrize(
    ("make", "answer", "width"),
    [
        (fp.IdealSteering, moved, 2),
        (lambda: fp.IdealSteering(covariance="diagonal"), moved, 2),
        (lambda: fp.ScoreSteering(space="identity"), moved, 1),
        (lambda: fp.SteeredClassifier(LogisticRegression(), cv=2), probabilities, 2),
        (lambda: fp.ConceptSteering(n_probes=10), effects, 2),
    ],
    ids=["ideal", "diagonal", "scores", "classifier", "concept"],
)
@pytest.mark.parametrize("how", ["joblib", "pickle"])
def test_a_kept_estimator_answers_the_same_to_the_bit(make, answer, width, how, tmp_path):
    X, y, a = rows(width=width)
    step = make().fit(X, y, sensitive_features=a)
    if how == "joblib":
        joblib.dump(step, tmp_path / "step.joblib")
        again = joblib.load(tmp_path / "step.joblib")
    else:
        again = pickle.loads(pickle.dumps(step))
    new, z, b = rows(seed=1, width=width)
    found = answer(step, new, b)
    np.testing.assert_array_equal(answer(again, new, b), found)
    assert again.get_params().keys() == step.get_params().keys()
    other = make().fit(new, z, sensitive_features=b)
    assert np.abs(answer(other, new, b) - found).max() > 1e-3  # control


@pytest.mark.parametrize("step", [
    fp.IdealSteering(), fp.ScoreSteering(),
    fp.SteeredClassifier(LogisticRegression(), cv=2, random_state=0),
    fp.SteeredClassifier(LogisticRegression(), cv=2, notion=fp.EqualOpportunity()),
])  # fmt: skip
def test_columns_of_sensitive_features_go_by_name(step):
    rng = np.random.default_rng(0)
    n = 1200
    columns = pd.DataFrame({"old": rng.random(n) < 0.5, "woman": rng.random(n) < 0.5})
    y = rng.integers(2, size=n)
    X = (rng.normal(size=n) + y + columns["old"] - 0.3 * columns["woman"]).to_numpy()[:, None]
    X = 1.0 / (1.0 + np.exp(-X)) if isinstance(step, fp.ScoreSteering) else X
    step = clone(step).fit(X, y, sensitive_features=columns)
    if hasattr(step, "save"):
        step = type(step).from_dict(step.to_dict())
    act = step.transform if hasattr(step, "transform") else step.predict_proba
    want = act(X, sensitive_features=columns)
    other_order = columns[["woman", "old"]]
    np.testing.assert_array_equal(act(X, sensitive_features=other_order), want)
    assert (act(X, sensitive_features=other_order.to_numpy()) != want).any()  # no names: by place
