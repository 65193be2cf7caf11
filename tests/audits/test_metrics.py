"""The numbers of an audit are those of fairlearn, scikit-learn and the outcome table."""

import numpy as np
import pytest
import sklearn.metrics

import fairprog as fp
from fairprog.evidence.held_out import gap_curves
from fairprog.kernels.statistics.ranking import auc, auc_and_error
from fairprog.tables import DemographicParity, EqualizedOdds
from tests.scored_rows import draw


def test_metrics_agree_with_fairlearn():
    metrics = pytest.importorskip("fairlearn.metrics", reason="fairlearn is not installed")
    from sklearn.metrics import accuracy_score, recall_score

    s, y, a = draw(3000, np.random.default_rng(1))
    w = np.random.default_rng(2).random(3000)
    found = fp.audit(y, s, sensitive_features=a, sample_weight=w, threshold=0.7, n_bootstrap=50)
    guess = (s >= 0.7).astype(int)
    table = found.table()
    ours = {
        "dp": DemographicParity().gap(table),
        "eo": EqualizedOdds().gap(table),
    }
    args = {"sensitive_features": a, "sample_weight": w}
    np.testing.assert_allclose(
        ours["dp"], metrics.demographic_parity_difference(y, guess, **args), rtol=1e-10
    )
    np.testing.assert_allclose(
        ours["eo"], metrics.equalized_odds_difference(y, guess, **args), rtol=1e-10
    )
    frame = metrics.MetricFrame(
        metrics={
            "tpr": recall_score,
            "fpr": metrics.false_positive_rate,
            "accuracy": accuracy_score,
            "rate": metrics.selection_rate,
        },
        y_true=y,
        y_pred=guess,
        sensitive_features=a,
        sample_params={k: {"sample_weight": w} for k in ("tpr", "fpr", "accuracy", "rate")},
    )
    difference = frame.difference(method="between_groups")
    np.testing.assert_allclose(found.rate_gaps[1].gap, difference["tpr"], rtol=1e-10)
    np.testing.assert_allclose(found.rate_gaps[0].gap, difference["fpr"], rtol=1e-10)
    for title, key in (("equal opportunity", "tpr"), ("accuracy parity", "accuracy")):
        assert found.worst[title, "score"].gap >= difference[key] - 1e-12


def test_every_threshold_agrees_with_the_outcome_table():
    s, y, a = draw(500, np.random.default_rng(3))
    s = np.round(s, 1)
    found = fp.audit(y, s, sensitive_features=a, n_permutations=5)
    notions = {
        "equalized odds": fp.EqualizedOdds(),
        "equal opportunity": fp.EqualOpportunity(),
        "predictive equality": fp.PredictiveEquality(),
        "demographic parity": fp.DemographicParity(),
        "accuracy parity": fp.AccuracyParity(),
    }
    between = np.concatenate([np.unique(s) + 0.05, [s.min() - 1]])
    for curve in found.curves:
        gap = [notions[curve.title].gap(found.table(t)) for t in between]
        np.testing.assert_allclose(max(gap), curve.worst["score"], atol=1e-12)
        drawn = [notions[curve.title].gap(found.table(t + 1e-9)) for t in curve.thresholds]
        np.testing.assert_allclose(drawn, curve.gaps["score"], atol=1e-12)


def test_curves_agree_with_those_of_the_reports():
    s, y, a = draw(800, np.random.default_rng(4))
    found = {c.title: c for c in fp.audit(y, s, sensitive_features=a, n_permutations=1).curves}
    for other in gap_curves(
        {"score": s}, y, sensitive_features=a, classes=(0, 1), groups=("a", "b")
    ):
        ours = found[other.title.split(":")[0]]
        np.testing.assert_allclose(ours.gaps["score"], other.gaps["score"], atol=1e-12)
        assert ours.half_width == pytest.approx(other.half_width, rel=0.1)  # other draws
        np.testing.assert_array_equal(ours.counts, other.counts)


def test_weights_count_rows():
    s, y, a = draw(300, np.random.default_rng(5))
    w = np.random.default_rng(0).integers(1, 4, 300)
    k = np.repeat(np.arange(300), w)
    weighted = fp.audit(y, s, sensitive_features=a, sample_weight=w, n_bootstrap=50)
    counted = fp.audit(y[k], s[k], sensitive_features=a[k])
    for key, gap in counted.worst.items():
        assert weighted.worst[key].gap == pytest.approx(gap.gap)
    np.testing.assert_allclose(weighted.rates, counted.rates)
    np.testing.assert_allclose([k.auc for k in weighted.leakage], [k.auc for k in counted.leakage])


def test_the_area_under_the_curve_and_its_error():
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(6)
    x, positive, w = np.round(rng.random(400), 1), rng.random(400) < 0.4, rng.random(400)
    assert auc(x, positive, w) == pytest.approx(roc_auc_score(positive, x, sample_weight=w))
    again, said = [], []
    for seed in range(300):
        r = np.random.default_rng(seed)
        x = r.standard_normal(120) + np.repeat([0.0, 0.8], 60)
        member = np.repeat([False, True], 60)
        again.append(auc(x, member))
        area, error = auc_and_error(x, member)
        assert area == pytest.approx(again[-1])
        said.append(error)
    assert 0.85 < np.mean(said) / np.std(again) < 1.15
    assert np.isinf(auc_and_error(x, np.arange(120) == 0)[1])


def test_metrics_by_group_agree_with_fairlearn():
    frame = pytest.importorskip("fairlearn.metrics")
    rng = np.random.default_rng(0)
    a, y = rng.choice(["a", "b"], 500), rng.integers(2, size=500)
    s = rng.uniform(size=500) * 0.6 + 0.4 * y * rng.uniform(size=500)
    found = fp.audit(y, s, sensitive_features=a)
    mine = found.by_group()
    theirs = frame.MetricFrame(
        metrics={
            "accuracy": sklearn.metrics.accuracy_score,
            "selection rate": frame.selection_rate,
            "true positive rate": frame.true_positive_rate,
            "false positive rate": frame.false_positive_rate,
            "precision": sklearn.metrics.precision_score,
        },
        y_true=y, y_pred=(s >= 0.5).astype(int), sensitive_features=a,
    ).by_group  # fmt: skip
    for name in theirs:
        np.testing.assert_allclose(mine[name], theirs[name])
        assert (mine[f"{name}, low"] < mine[name]).all()
        assert (mine[name] < mine[f"{name}, high"]).all()
    own = found.by_group({"f1": sklearn.metrics.f1_score})
    want = [sklearn.metrics.f1_score(y[a == g], s[a == g] >= 0.5) for g in "ab"]
    np.testing.assert_allclose(own["f1"], want)
    assert (own["f1, low"] < own["f1"]).all() and (own["f1"] < own["f1, high"]).all()
