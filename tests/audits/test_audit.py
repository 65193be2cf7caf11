"""`fp.audit`: gaps at every threshold, bands that cover, words that follow the numbers."""

import json
import re

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics
from scipy import stats
from scipy.stats import norm

import fairprog as fp
from fairprog.audits.gaps import as_unequal
from fairprog.cli import main
from fairprog.evidence.held_out import gap_curves
from fairprog.kernels.statistics import threshold_rates
from fairprog.kernels.statistics.proportions import clopper_pearson
from fairprog.kernels.statistics.ranking import auc, auc_and_error, auc_interval
from fairprog.kernels.statistics.threshold_rates import (
    cumulated,
    permuted_worst_gaps,
    rates_of,
    tie_ends,
    worst_gaps,
)
from fairprog.tables import DemographicParity, EqualizedOdds

MEAN = np.array([[0.0, 0.4], [1.5, 1.3]])  # (class, group)
PRIOR = np.array([[0.35, 0.25], [0.25, 0.15]])


def draw(n, rng, mean=MEAN):
    cell = rng.choice(4, n, p=PRIOR.ravel())
    y, a = np.divmod(cell, 2)
    return rng.standard_normal(n) + mean[y, a], y, np.where(a, "b", "a")


def true_gaps(t):
    """Gap of every notion at thresholds t: normal scores of unit variance."""
    above = norm.sf(t[:, None, None] - MEAN)  # (T, class, group)
    rho = PRIOR / PRIOR.sum(axis=0)
    tpr, fpr = (np.abs(np.diff(above[:, i], axis=1))[:, 0] for i in (1, 0))
    selected = (rho * above).sum(axis=1)
    right = rho[1] * above[:, 1] + rho[0] * (1 - above[:, 0])
    return {
        "equalized odds": np.maximum(tpr, fpr),
        "equal opportunity": tpr,
        "predictive equality": fpr,
        "demographic parity": np.abs(np.diff(selected, axis=1))[:, 0],
        "accuracy parity": np.abs(np.diff(right, axis=1))[:, 0],
    }


def coverage(repetitions, n, weighted, confidence=0.9, shrink=1.0):
    """Return per notion how often the whole band, and the worst gap's interval, cover."""
    fine = true_gaps(np.linspace(-6, 8, 4000))
    band, worst = {}, {}
    for seed in range(repetitions):
        rng = np.random.default_rng([seed, n])
        s, y, a = draw(n, rng)
        w = None
        if weighted:  # rows kept with a probability known, and weighted by its inverse
            chance = np.where(s > 0.5, 0.9, 0.45)
            kept = rng.random(n) < chance
            s, y, a, w = s[kept], y[kept], a[kept], 1 / chance[kept]
        found = fp.audit(
            y, s, sensitive_features=a, confidence=confidence, sample_weight=w,
            n_permutations=40, n_bootstrap=100,
        )  # fmt: skip
        for curve in found.curves:
            truth = true_gaps(curve.thresholds)[curve.title]
            off = np.abs(curve.gaps["score"] - truth).max()
            ok = off <= shrink * curve.half_width
            band.setdefault(curve.title, []).append(ok)
            gap = found.worst[curve.title, "score"]
            worst.setdefault(curve.title, []).append(
                gap.low <= fine[curve.title].max() <= gap.high
            )
    return {k: (np.mean(band[k]), np.mean(worst[k])) for k in band}


@pytest.mark.parametrize("weighted", [False, True])
def test_bands_cover_the_known_gaps(weighted):
    for notion, found in coverage(40, 400, weighted).items():
        assert min(found) >= 0.775, (notion, found)  # 0.9 of 40, less 2.6 standard errors


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n", [200, 1000])
def test_bands_cover_at_least_as_often_as_promised(n, weighted):
    for notion, found in coverage(500, n, weighted).items():
        assert min(found) >= 0.9, (notion, found)


def test_bands_that_are_too_narrow_would_be_found_out():
    found = coverage(40, 400, False, shrink=0.3)
    assert found["equal opportunity"][0] < 0.8 and found["demographic parity"][0] < 0.8


# ------------------------------------------------------------------------- agreement with others


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


# ---------------------------------------------------------------------------- chance and verdicts


def fair(n, seed):
    """Scores that say nothing about the group within a class."""
    return draw(n, np.random.default_rng(seed), np.array([[0.0, 0.0], [1.5, 1.5]]))


@pytest.mark.slow
def test_chance_is_exceeded_as_rarely_as_it_should():
    beyond = []
    for seed in range(60):
        s, y, a = fair(300, seed)
        found = fp.audit(y, s, sensitive_features=a, n_permutations=60)
        beyond.append(found.worst["equalized odds", "score"].beyond_chance)
    assert np.mean(beyond) < 0.17  # 5% in the mean; three standard errors above


def test_verdicts_and_recommendations():
    s, y, a = fair(400, 0)
    none = fp.audit(y, s, sensitive_features=a)
    assert "No unequal treatment beyond chance" in none.verdict
    assert none.recommendation.startswith("No tool is called for")
    s, y, a = draw(4000, np.random.default_rng(0))
    far = np.where(a == "b", s + 1, s)
    found = fp.audit(y, far, sensitive_features=a)
    assert "Groups are treated unequally" in found.verdict
    assert found.recommendation.startswith("ScoreSteering: it takes any score")
    assert "equal" in repr(found)
    X = np.random.default_rng(0).standard_normal((4000, 3))
    features = fp.audit(y, far, sensitive_features=a, X=X, n_permutations=5).recommendation
    assert features.startswith("IdealSteering, since 100%")
    table = fp.audit(y, far, sensitive_features=a, X=np.round(X), n_permutations=5).recommendation
    assert table.startswith("ScoreSteering: 100% of the features take few values")
    coarse = fp.audit(y, np.round(far), sensitive_features=a, n_permutations=5).recommendation
    assert coarse.startswith("FairClassifier for one cost, since the score takes")
    small = fp.audit(y[:200], far[:200], sensitive_features=a[:200], n_permutations=50)
    assert "The smallest cell" in small.recommendation
    weak = fp.audit(y[:300], s[:300], sensitive_features=a[:300], confidence=0.9999)
    assert "0.000" in weak.summary()


def test_before_and_after_steering():
    s, y, a = draw(4000, np.random.default_rng(0))
    p = 1 / (1 + np.exp(-np.where(a == "b", s - 1, s)))
    t = fp.ScoreSteering(steer=["b"]).fit(p, y, sensitive_features=a)
    after = t.transform(p, sensitive_features=a)
    found = fp.audit(y, p, sensitive_features=a, y_score_after=after)
    key = "equalized odds"
    assert found.worst[key, "after"].gap < 0.7 * found.worst[key, "before"].gap
    assert found.scores == ("before", "after")
    move = found.movement
    np.testing.assert_array_equal(move.rms[:, 0], 0.0)
    own = (y == 1) & (a == "b")
    assert move.quantiles[2, 1, 1] == pytest.approx(np.median((after - p)[own]))
    assert move.flipped[1, 1] == pytest.approx(((after >= 0.5) != (p >= 0.5))[own].mean())
    np.testing.assert_allclose(move.rank, 1.0)
    assert "How far scores moved" in found.summary()


def test_more_than_two_classes():
    rng = np.random.default_rng(0)
    n = 3000
    y, a = rng.integers(0, 3, n), rng.integers(0, 3, n)
    S = rng.standard_normal((n, 3)) + 1.5 * np.eye(3)[y]
    S[:, 2] -= 1.2 * (a == 1)
    names = np.array(["nurse", "pilot", "surgeon"])
    found = fp.audit(names[y], S, sensitive_features=a, n_permutations=50)
    assert len(found.curves) == 6 and found.classes == ("nurse", "pilot", "surgeon")
    guess = S.argmax(axis=1)
    rate = np.array([[(guess == i)[(y == i) & (a == g)].mean() for g in range(3)]
                     for i in range(3)])  # fmt: skip
    np.testing.assert_allclose(found.rates, rate)
    np.testing.assert_allclose(found.rms_gap.gap, np.sqrt((np.ptp(rate, axis=1) ** 2).mean()))
    assert found.rms_gap.low <= found.rms_gap.gap <= found.rms_gap.high
    assert found.rms_gap.beyond_chance
    key = "class surgeon: equal opportunity against the rest", "score"
    one = fp.audit(names[y] == "surgeon", S[:, 2], sensitive_features=a, n_permutations=5)
    assert found.worst[key].gap == pytest.approx(one.worst["equal opportunity", "score"].gap)
    assert found.recommendation.startswith("IdealSteering, on the features or the embeddings")
    assert "surgeon" in found.verdict and "rms" not in found.to_frame().columns
    assert len(found.leakage) == 9
    assert "<svg" in found.to_html()


# -------------------------------------------------------------------- text, table, picture, page


def test_text_table_picture_and_page(tmp_path):
    s, y, a = draw(600, np.random.default_rng(0))
    found = fp.audit(y, s, sensitive_features=a, n_permutations=20)
    text = found.summary()
    assert found.verdict in text and found.recommendation in text
    frame = found.to_frame()
    assert len(frame) == 5 and {"gap", "low", "high", "floor"} <= set(frame.columns)
    fig, ax = found.plot(notion="accuracy")
    assert ax.get_title() == "accuracy parity"
    import matplotlib.pyplot as plt

    plt.close(fig)
    with pytest.raises(fp.DataError, match="`notion` is 'calibration'; measured are"):
        found.plot(notion="calibration")
    page = found.to_html(tmp_path / "audit.html", title="Scores <of> May")
    assert "is known to within" in page and "half the width of its band" in page
    assert (tmp_path / "audit.html").read_text(encoding="utf-8") == page
    assert "Scores &lt;of&gt; May" in page and "http" not in page.replace("http://www.w3.org", "")
    assert page.count("<svg") == 6


@pytest.fixture
def file(tmp_path):
    s, y, a = draw(800, np.random.default_rng(0))
    p = 1 / (1 + np.exp(-s))
    frame = pd.DataFrame({"score": p, "steered": p**2, "label": np.where(y, "yes", "no"),
                          "sex": a, "age": np.arange(800) % 2, "w": 1 + y,
                          "three": np.arange(800) % 3})  # fmt: skip
    frame.to_csv(tmp_path / "scores.csv", index=False)
    return tmp_path / "scores.csv"


def run(file, *more):
    usual = {"--label": "label", "--score": "score", "--sensitive": "sex"}
    asked = [part for pair in usual.items() if pair[0] not in more for part in pair]
    return main(["audit", str(file), *asked, *map(str, more)])


def test_the_command_prints_and_writes(file, capsys):
    report = file.parent / "audit.html"
    assert run(file, "--report", report, "--after", "steered", "--weight", "w") == 0
    out = capsys.readouterr().out
    assert "bootstrap interval" in out and "after" in out and f"Wrote {report}" in out
    assert "<svg" in report.read_text(encoding="utf-8")
    assert run(file, "--sensitive", "sex", "age") == 0
    crossed = capsys.readouterr().out
    assert "group a & 0" in crossed
    assert run(file, "--sensitive", "sex", "--sensitive", "age") == 0
    assert capsys.readouterr().out == crossed  # a second one is not read instead of the first


def test_the_command_says_what_is_wrong(file, capsys):
    for more, message in (
        (["--positive", "no"], None),
        (["--positive", "maybe"], "the values of 'label' are 'no', 'yes'"),
        (["--score", "scor"], "did you mean 'score'"),
        (["--report", "x.pdf"], "must end in .html"),
        (["--score", "sex"], "must hold finite numbers"),
        (["--score", "score", "w"], "needed is one, the score of the positive class 'yes'"),
        (["--label", "three"], "each of the 3 classes of 'three', in this order: '0', '1', '2'"),
    ):
        code = run(file, *more)
        caught = capsys.readouterr()
        if message is None:
            assert code == 0 and "lower for class 'no'" in caught.out
        else:
            assert code == 1 and message in caught.err
    assert main(["audit", "nowhere.csv", "--label", "y", "--score", "s", "--sensitive", "a"]) == 1


# ------------------------------------------------------------------------------ careless users


def test_every_careless_mistake_gets_a_sentence():
    s, y, a = draw(400, np.random.default_rng(0))

    def fails(message, y=y, s=s, a=a, **kwargs):
        with pytest.raises(fp.DataError, match=message):
            fp.audit(y, s, sensitive_features=a, **kwargs)

    fails("maps are one per group|`sensitive_features` is required", a=None)
    fails("the same as `y`", a=y)
    fails("Were features or labels passed", a=s)
    fails("Were scores passed first", y=s, s=y)
    fails("the one class", y=np.zeros(400, int))
    fails("the one group", a=np.full(400, "a"))
    fails("Class 1, group 'b' has 0 row.*merge_groups", y=np.where(a == "b", 0, y))
    fails("must be finite", s=np.where(s > 1, np.nan, s))
    fails("must be an array of numbers", s=np.full(400, "high"))
    fails("such as `predict_proba.*not predicted classes", s=np.where(s > 0, "high", "low"))
    fails("two columns of `y_score` do not add up", s=np.stack([-(s**2), s], axis=1))
    fails(r"has shape \(399,\); needed is", s=s[1:])
    fails("a column for each of the 3 classes", y=np.arange(400) % 3)
    fails(r"`y_score_after` has shape \(399,\); needed is", y_score_after=s[1:])
    fails("strictly between 0 and 1", confidence=95)
    fails("rows of weight zero", sample_weight=((a == "a") | (y == 0)).astype(float))
    fails("`X` has shape", X=np.ones((3, 2)))
    fails("has 0 row", y=y[:3], s=s[:3], a=np.array(["a", "b", "b"]))
    with pytest.warns(fp.FairprogWarning, match="lower for class 1, the last"):
        fp.audit(y, -s, sensitive_features=a, n_permutations=2)


def test_the_same_rows_give_the_same_audit():
    s, y, a = draw(300, np.random.default_rng(0))
    one, two = (fp.audit(y, s, sensitive_features=a).to_frame() for _ in range(2))
    assert json.loads(one.to_json()) == json.loads(two.to_json())


# ------------------------------------------------------------------------------------- by chance


class Unmoved:
    """A generator whose permutations change nothing."""

    def permutation(self, values):
        return values


@pytest.mark.parametrize("n_groups", [2, 3])
@pytest.mark.parametrize("weighted", [False, True])
def test_worst_gaps_of_permuted_groups_are_those_of_the_rows_as_permuted(n_groups, weighted):
    rng = np.random.default_rng(n_groups)
    s = np.sort(np.round(rng.normal(size=400), 1))  # with ties
    code = 2 * rng.integers(n_groups, size=400) + rng.integers(2, size=400)
    weight = rng.uniform(0.5, 2.0, 400) if weighted else np.ones(400)
    ends = tie_ends(s)
    direct = worst_gaps(rates_of(cumulated(code, weight, ends, n_groups)))
    for found in permuted_worst_gaps(code, weight, ends, n_groups, 1, Unmoved()):
        np.testing.assert_allclose(found[0], direct, atol=1e-12)
    cells = np.zeros((400, 2 * n_groups))
    cells[np.arange(400), code] = weight
    np.testing.assert_allclose(
        cumulated(code, weight, ends, n_groups).reshape(ends.size, -1),
        np.cumsum(cells, axis=0)[ends],
    )


@pytest.mark.parametrize("weighted", [False, True])
def test_many_rows_are_permuted_as_counts_in_bins(weighted, monkeypatch):
    rng = np.random.default_rng(0)
    s, a = np.sort(rng.standard_normal(6000)), rng.choice(3, 6000, p=[0.6, 0.37, 0.03])
    code = 2 * a + (rng.random(6000) < 1 / (1 + np.exp(-s)))
    weight = rng.exponential(size=6000) ** 2 if weighted else np.ones(6000)
    drawn = []
    for many in (10**9, 0):
        monkeypatch.setattr(threshold_rates, "MANY_ROWS", many)
        found = permuted_worst_gaps(code, weight, tie_ends(s), 3, 300, np.random.default_rng(1))
        drawn.append(np.array(list(found)))
    rows, bins = drawn
    np.testing.assert_array_equal(rows[0, 0], bins[0, 0])
    np.testing.assert_allclose(rows[0, 1], bins[0, 1], rtol=0.05)
    for level in (0.5, 0.95):
        here, there = (np.quantile(x[1:], level, axis=0) for x in drawn)
        np.testing.assert_allclose(here, there, rtol=0.15)


def test_chance_of_rates_is_that_of_permuted_groups():
    rng = np.random.default_rng(0)
    y, a = rng.integers(2, size=600), rng.integers(3, size=600)
    s = np.clip(rng.normal(0.5, 0.3, 600) + 0.2 * y - 0.1, 0, 1)
    direct = []
    for _ in range(4000):
        mixed = a.copy()
        for i in (0, 1):
            mixed[y == i] = rng.permutation(a[y == i])
        hit = (s >= 0.5) == y
        direct.append(
            [np.ptp([hit[(y == i) & (mixed == g)].mean() for g in range(3)]) for i in (0, 1)]
        )
    plain = fp.audit(y, s, sensitive_features=a, n_permutations=4000)
    weighted = fp.audit(  # the same weights, but for one row: groups are permuted one by one
        y, s, sensitive_features=a, sample_weight=1 + 1e-9 * np.eye(600)[0], n_permutations=4000,
        n_bootstrap=50,
    )  # fmt: skip
    for found in (plain, weighted):
        for i, gap in found.rate_gaps.items():
            chance = np.array(direct)[:, i]
            assert gap.floor == pytest.approx(np.median(chance), rel=0.05)
            assert gap.floor_high == pytest.approx(np.quantile(chance, 0.95), rel=0.05)


def test_a_tiny_group_hides_no_gap_between_large_ones():
    s, y, a = draw(3000, np.random.default_rng(1), mean=np.array([[0.0, 0.8], [1.5, 2.3]]))
    two = fp.audit(y, s, sensitive_features=a)
    tiny = np.array(a, dtype=object)
    for i in (0, 1):
        tiny[np.flatnonzero(y == i)[:5]] = "tiny"
    found = fp.audit(y, s, sensitive_features=tiny)
    weighted = fp.audit(
        y, s, sensitive_features=tiny, sample_weight=np.random.default_rng(0).uniform(1, 2, 3000)
    )
    for three in (found, weighted):
        gap = three.worst["equalized odds", "score"]
        assert gap.low > 0.1 and gap.chance == 0.0 and gap.beyond_chance
        assert gap.between == ("a", "b")
        assert "surest between a and b" in three.verdict
    assert "group tiny) has 5 rows" in found.recommendation
    assert not found.recommendation.startswith("No tool")
    plain = two.worst["equalized odds", "score"]
    assert found.worst["equalized odds", "score"].low > 0.8 * plain.low


@pytest.mark.slow
def test_a_tiny_group_alone_is_not_taken_for_a_finding():
    verdicts = []
    for seed in range(40):
        s, y, a = draw(600, np.random.default_rng(seed), mean=np.array([[0.0, 0.0], [1.5, 1.5]]))
        a = np.array(a, dtype=object)
        for i in (0, 1):
            a[np.flatnonzero(y == i)[:5]] = "tiny"
        found = fp.audit(y, s, sensitive_features=a, n_permutations=60)
        verdicts.append(found.worst["equal opportunity", "score"].beyond_chance)
    assert np.mean(verdicts) <= 0.175  # 5% of 40, by chance less than 8


def test_labels_and_scores_or_groups_that_were_swapped_are_noticed():
    s, y, a = draw(600, np.random.default_rng(0))
    with pytest.raises(fp.DataError, match=r"The order is audit\(y_true, y_score\)"):
        fp.audit(np.round(s).clip(0, 2), y, sensitive_features=a)
    told = s + 3.0 * (a == "b")
    with pytest.warns(fp.FairprogWarning, match="were labels and `sensitive_features` swapped"):
        fp.audit(a, s, sensitive_features=y)
    assert fp.audit(y, told, sensitive_features=a).worst  # leaks, and tells the classes too
    with pytest.raises(fp.DataError, match="Drop these rows everywhere"):
        fp.audit(y, np.where(s > 1, np.nan, s), sensitive_features=a)
    few = fp.audit([0, 1, 0, 1], [0.1, 0.6, 0.3, 0.4], sensitive_features=list("abba"))
    assert "too few to say anything" in few.verdict


def test_a_threshold_that_no_score_passes_is_noticed():
    s, y, a = draw(400, np.random.default_rng(0))
    with pytest.warns(fp.FairprogWarning, match="the threshold 99 predicts 0 for every row"):
        fp.audit(y, s, sensitive_features=a, threshold=99, n_permutations=2)


def test_two_columns_of_probabilities_are_one_score():
    s, y, a = draw(400, np.random.default_rng(0))
    p = 1 / (1 + np.exp(-s))
    both = np.stack([1 - p, p], axis=1)
    one = fp.audit(y, p, sensitive_features=a, n_permutations=2)
    for dtype in (np.float64, np.float32):
        two = fp.audit(y, both.astype(dtype), sensitive_features=a, n_permutations=2)
        assert two.worst["equalized odds", "score"].gap == pytest.approx(
            one.worst["equalized odds", "score"].gap, abs=1e-12
        )


def test_many_small_groups_have_intervals():
    """Forty groups of twenty rows with one positive each."""
    y, a = np.tile(np.eye(20, dtype=int)[0], 40), np.repeat(np.arange(40), 20)
    s = (np.random.default_rng(0).random(800) + 0.3 * y) / 1.3
    found = fp.audit(y, s, sensitive_features=a, n_permutations=2, n_bootstrap=50)
    for gap in found.worst.values():
        assert 0 <= gap.low <= gap.estimate <= gap.high <= 1


# -------------------------------------------------------------------------- sentences and numbers


def contradictions(found):
    """Return what the verdict of an audit says against its numbers."""
    said, words = [], found.verdict
    notion, gap, unequal = found.decision
    numbers = [float(x) for x in re.findall(r"\d\.\d{3}", words)]
    for entry in found.worst.values():
        inside = 0 <= entry.low <= entry.at_least <= entry.at_most <= entry.high <= 1
        if not (inside and entry.low <= entry.estimate <= min(entry.high, entry.gap)):
            said.append(f"intervals are not in order: {entry}")
        if entry.low > 0 and not entry.beyond_chance:
            said.append("an interval excludes what the permutations leave open")
    events = [g for (of, _), g in found.worst.items() if "parity" not in of]
    if not unequal and any(g.low > 0 or g.at_least > 0 for g in events):
        said.append("an interval excludes no gap where the decision does not")
    if len(found.classes) == 2:
        odds, *events = events
        if odds.beyond_chance != any(g.beyond_chance for g in events):
            said.append("equalized odds and their events are decided apart")
        if any(odds.high < g.high or odds.at_most < g.at_most for g in events):
            said.append("an event's gap reaches above the larger of both")
    if f"{gap.gap:.3f}" not in words or f"({notion})" not in words:
        said.append("the gap that decided is not shown")
    if f"{gap.chance:.1%} of cases" not in words and "less than" not in words:
        said.append("the share that decided is not shown")
    tool = found.recommendation
    if words.startswith("Groups are treated unequally"):
        if not unequal or tool.startswith(("No tool", "None")):
            said.append("unequal, and yet not")
        if gap.low > 0 and not numbers[2] <= numbers[1] <= numbers[3]:
            said.append("the corrected gap is not within the interval shown")
        who = found.worst_threshold(notion, groups=gap.between)
        if len(found.groups) == 2 and f"{who.rates[1] - who.rates[0]:.3f}" != f"{gap.gap:.3f}":
            said.append("the rates shown are not of the gap that decided")
        if not who.rates[0] < who.rates[1]:
            said.append("the group said to be predicted positive less often is not")
    elif words.startswith("No unequal treatment"):
        if unequal or not tool.startswith("No tool"):
            said.append("not unequal, and yet it is")
        if numbers[2] < numbers[1]:
            said.append("a corrected gap above what is excluded")
        if numbers[2] < numbers[0] and "measures more than there is" not in words:
            said.append("a gap above what is excluded, without the reason")
    elif not words.startswith("The rows are too few") or not tool.startswith("None"):
        said.append("no finding")
    return said


def random_audit(seed):
    rng = np.random.default_rng(seed)
    n, G = int(np.exp(rng.uniform(np.log(6), np.log(5000)))), int(rng.integers(2, 7))
    share = rng.dirichlet(np.full(G, 2.0))
    K = 3 if seed % 7 == 0 else 2
    y = np.append(np.tile(np.arange(K), G), rng.integers(K, size=n))
    a = np.append(np.repeat(np.arange(G), K), rng.choice(G, n, p=share))
    s = rng.standard_normal((y.size, K)) + np.eye(K)[y] + rng.choice([0.0, 0.1, 0.5]) * a[:, None]
    s = np.round(s) if seed % 3 == 0 else s
    w = rng.exponential(size=y.size) + 0.1 if seed % 4 == 0 else None
    return fp.audit(
        y, s if K > 2 else s[:, 1], sensitive_features=a, sample_weight=w, n_permutations=99,
        n_bootstrap=100,
    )  # fmt: skip


@pytest.mark.filterwarnings("ignore::fairprog.FairprogWarning")
@pytest.mark.parametrize("seeds", [range(0, 8), range(8, 16), range(16, 24)])
def test_no_sentence_contradicts_its_numbers(seeds):
    for seed in seeds:
        found = random_audit(seed)
        assert contradictions(found) == [], (seed, found.verdict)


def test_four_groups_by_chance_alone_are_decided_once():
    """The measured gap was above what the sentence said chance gives, and not a finding."""
    for seed in range(4):
        rng = np.random.default_rng(seed)
        y, a = rng.integers(0, 2, 400), rng.integers(0, 4, 400)
        found = fp.audit(y, rng.normal(y), sensitive_features=a, n_bootstrap=50)
        assert contradictions(found) == [] and "chance gives up to" not in found.verdict


def rare_class(seed, groups=2, shift=0.0, n=4000):
    """Positives are 4% of the rows; negatives of the second group score higher by the shift."""
    rng = np.random.default_rng(seed)
    g, y = rng.choice(list("abcd"[:groups]), n), (rng.random(n) < 0.04).astype(int)
    z = rng.normal(size=n) + 1.5 * y + shift * ((g == "b") & (y == 0))
    return fp.audit(y, 1 / (1 + np.exp(-z)), sensitive_features=g, n_bootstrap=50)


@pytest.mark.parametrize("groups", [2, 4])
def test_the_noise_of_a_rare_class_hides_no_gap_of_the_large_one(groups):
    """The raw maximum over both classes was called chance, beside a share of 0.0%."""
    for seed in range(4):
        found = rare_class(seed, groups, 0.4)
        notion, gap, unequal = found.decision
        assert unequal and notion == "predictive equality" and "b" in gap.between
        assert gap == found.worst["predictive equality", "score"] and gap.low > 0
        assert "the worst threshold the gap (predictive equality) is" in found.verdict
        assert "of its rows of class 0" in found.verdict and contradictions(found) == []


def rarer_event_larger(seed):
    """300 of 6300 rows are positive, and their scores are further apart than the others'."""
    rng = np.random.default_rng(seed)
    y, a = np.repeat([1, 0], [300, 6000]), rng.choice(list("ab"), 6300)
    s = rng.normal(size=6300) + 1.5 * y + (a == "b") * np.where(y == 1, -0.5, 0.35)
    return fp.audit(y, s, sensitive_features=a, n_bootstrap=50)


def test_the_verdict_names_the_largest_gap_beyond_chance_and_the_other_event():
    """The gap with the strongest evidence was called the worst, and the larger one not named."""
    found = rarer_event_larger(0)
    rare, large = (found.worst[of, "score"] for of in ("equal opportunity", "predictive equality"))
    assert rare.chance > large.chance and rare.low < large.low and rare.gap > large.gap + 0.05
    assert rare.beyond_chance and found.decision == ("equal opportunity", rare, True)
    assert f"threshold the gap (equal opportunity) is {rare.gap:.3f}" in found.verdict
    assert found.verdict.endswith(f"gap of predictive equality is {large.gap:.3f}.")
    assert found.worst["equalized odds", "score"].gap == rare.gap and contradictions(found) == []


def test_a_larger_gap_that_chance_may_have_made_is_named_as_such():
    found = rarer_event_larger(3)
    rare = found.worst["equal opportunity", "score"]
    notion, gap, unequal = found.decision
    assert unequal and notion == "predictive equality" and rare.gap > gap.gap
    end = f"gap of equal opportunity is {rare.gap:.3f}, which is not beyond chance."
    assert found.verdict.endswith(end) and contradictions(found) == []


def test_of_several_classes_the_rows_shown_are_those_of_the_event():
    """Rates given the class were shown for a gap among the rows of the other classes."""
    rng = np.random.default_rng(0)
    y, a = rng.choice(3, 3000, p=[0.48, 0.48, 0.04]), rng.choice(list("ab"), 3000)
    S = rng.standard_normal((3000, 3)) + 1.5 * np.eye(3)[y]
    S[:, 2] += 0.5 * ((a == "b") & (y != 2))
    found = fp.audit(y, S, sensitive_features=a, n_bootstrap=50)
    notion, gap, unequal = found.decision
    assert unequal and notion == "class 2: predictive equality against the rest"
    who = found.worst_threshold(notion)
    assert (who.given, who.rest, who.positive, who.less) == (2, True, 2, "a")
    assert who.rates[1] - who.rates[0] == pytest.approx(gap.gap)
    assert "of its rows of classes other than 2" in found.verdict


def test_the_share_as_unequal_is_a_p_value_whatever_the_units():
    """Of equal laws in units that differ by 100 the decision keeps its level."""
    rng = np.random.default_rng(0)
    units = np.array([100.0, 1.0, 1.0, 1.0]) * np.array([[1.0], [5.0], [0.1]])
    found = np.array([as_unequal(units * rng.gumbel(3, size=(101, 3, 4))) for _ in range(1000)])
    assert 0.03 <= np.mean(found[:, 0] < 0.05) <= 0.07  # 0.05 +- three standard errors
    np.testing.assert_array_equal(found[:, 0], found[:, 1:3].min(axis=1))


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("groups", [2, 4])
def test_the_decision_keeps_its_level_with_a_rare_class(groups):
    unequal = [rare_class([seed, groups], groups, n=1500).decision[2] for seed in range(400)]
    assert 0.025 <= np.mean(unequal) <= 0.075


def test_six_rows_say_nothing_and_the_audit_says_so():
    found = fp.audit([0, 1, 0, 1, 0, 1], [0.1, 0.6, 0.3, 0.4, 0.2, 0.9],
                     sensitive_features=list("abbaab"))  # fmt: skip
    assert found.verdict.startswith("The rows are too few to say anything: 6, of which 1 in")
    assert found.recommendation.startswith("None can be chosen on these rows")


# ------------------------------------------------------------------------------------ who it is


def test_the_verdict_names_the_group_and_the_direction():
    rng = np.random.default_rng(0)
    n = 4000
    a, y = rng.choice(["a", "b"], n), rng.integers(2, size=n)
    s = rng.normal(1.5 * y - 1.0 * (a == "b"))
    found = fp.audit(y, s, sensitive_features=a)
    where = found.worst_threshold()
    assert (where.less, where.more) == ("b", "a")
    assert f"Group 'b' is predicted 1 less often: above {where.threshold:.3g}" in found.verdict
    own = (y == where.given) & (a == "b")
    assert np.mean(s[own] > where.threshold) == pytest.approx(where.rates[0])
    gap = where.rates[1] - where.rates[0]
    assert gap == pytest.approx(found.worst["equalized odds", "score"].gap)
    assert "Positive is class 1" in found.summary()
    with pytest.raises(fp.DataError, match="equal opportunity"):
        found.worst_threshold("accuracy parity")


def test_no_sentence_of_many_groups_contradicts_itself():
    rng = np.random.default_rng(0)
    n = 4000
    a = rng.choice(list("abc"), n, p=[0.6, 0.395, 0.005])
    y = rng.integers(2, size=n)
    found = fp.audit(y, rng.normal(1.5 * y - 0.7 * (a == "b")), sensitive_features=a)
    gap = found.worst["equalized odds", "score"]
    assert (
        gap.low > 0 and gap.gap <= gap.floor_high
    )  # a group of a few rows sets what chance gives
    assert "as unequal in less than 0.5% of cases" in found.verdict
    assert "chance alone gives" not in found.verdict and contradictions(found) == []
    assert "surest between a and b" in found.verdict and "group 'c'" not in found.verdict


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


@pytest.mark.filterwarnings("ignore::fairprog.FairprogWarning")  # the score tells the groups
def test_few_rows_are_known_to_be_few():
    y, a = np.array([0, 1] * 40), np.array(["a"] * 74 + ["b"] * 6)
    s = np.where(a == "b", 2.0, np.random.default_rng(0).uniform(size=80))
    leak = fp.audit(y, s, sensitive_features=a, n_permutations=20).leakage[0]
    assert leak.auc == 1.0 and leak.low < 0.75 and leak.high == 1.0


@pytest.mark.parametrize(("p", "n"), [(0.0, 5), (1.0, 3), (0.3, 10)])
def test_exact_intervals_are_those_of_scipy(p, n):
    want = stats.binomtest(round(p * n), n).proportion_ci(0.9, "exact")
    low, high = clopper_pearson(np.array([p]), np.array([float(n)]), 0.9)
    assert (low[0], high[0]) == pytest.approx((want.low, want.high), abs=1e-12)


def test_intervals_of_areas_cover():
    rng = np.random.default_rng(0)
    truth = stats.norm.cdf(1.5 / np.sqrt(2))
    positive = np.arange(20) < 6
    hits = 0
    for _ in range(400):
        area = auc(rng.normal(1.5 * positive), positive)
        low, high = auc_interval(area, 6, 14)
        hits += low <= truth <= high
        assert low <= area <= high
    assert hits >= 0.92 * 400
    assert auc_interval(0.0, 3, 40)[1] == pytest.approx(1 - auc_interval(1.0, 3, 40)[0])
