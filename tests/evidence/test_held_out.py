"""Gaps on rows with their bands, ranks, displacements: numbers behind the report."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedShuffleSplit

import fairprog as fp
from fairprog.cli.columns import Design, Feature
from fairprog.cli.steering_page import ALIGNED, first_split
from fairprog.comparison.methods import OnFeatures
from fairprog.evidence.held_out import gap_curves, posterior
from fairprog.evidence.movement import LEVELS, movement_of_rows, population_movement
from fairprog.evidence.rows import _posteriors, evidence_of_rows, score_ranks
from fairprog.kernels.statistics.binormal import binormal_cdf, mixture_spearman
from fairprog.kernels.statistics.gap_bands import (
    acceptance_gaps,
    dkw_half_width,
    spearman,
    worst_gap,
)
from tests.instances import multivariate, univariate

# ------------------------------------------------------------------------------------ the bands


def test_the_width_of_a_distribution_function_is_the_formula():
    """Written out with math: sqrt(log(2 m / delta) / (2 n))."""
    e = math.sqrt(math.log(2 * 6 / 0.1) / (2 * 40))
    assert float(dkw_half_width(40, 6, 0.9)) == pytest.approx(e, rel=1e-12)


def test_the_curve_counts_the_cells_and_not_the_groups():
    rng = np.random.default_rng(0)
    y = np.array([1] * 30 + [0] * 170 + [1] * 100 + [0] * 20)
    a = np.array(["x"] * 200 + ["z"] * 120)
    scores = {"before": rng.random(320), "after": rng.random(320)}
    found = gap_curves(scores, y, sensitive_features=a, classes=(0, 1), groups=("x", "z"))
    counts = {"equal": (30, 100), "predictive": (170, 20), "demographic": (200, 120)}
    for curve in found:
        want = counts[curve.title.split()[0]]
        assert tuple(curve.counts) == want
        # two scores share .05; Smirnov's law of two samples, by its first two terms
        unit = math.sqrt(1 / want[0] + 1 / want[1])
        assert curve.half_width == pytest.approx(
            math.sqrt(math.log(2 / 0.025) / 2) * unit, rel=0.1
        )
        for name, (low, high) in curve.bands().items():
            np.testing.assert_allclose(low, np.maximum(curve.gaps[name] - curve.half_width, 0))
            np.testing.assert_allclose(high, np.minimum(curve.gaps[name] + curve.half_width, 1))


def test_gaps_are_those_of_counting():
    rng = np.random.default_rng(1)
    y, a = rng.integers(0, 2, 200), rng.integers(0, 3, 200)
    s = rng.integers(0, 12, 200) / 11.0  # with ties
    curve = gap_curves({"s": s}, y, sensitive_features=a, classes=(0, 1), groups=(0, 1, 2))[0]
    for k in (0, 40, 150, 299):
        t = curve.thresholds[k]
        rates = [np.mean(s[(y == 1) & (a == g)] > t) for g in range(3)]
        assert curve.gaps["s"][k] == pytest.approx(max(rates) - min(rates), abs=1e-12)
    samples = [s[(y == 1) & (a == g)] for g in range(3)]
    pairs = [(0, 1), (0, 2), (1, 2)]
    ks = max(stats.ks_2samp(samples[i], samples[j]).statistic for i, j in pairs)
    assert curve.worst["s"] == pytest.approx(ks, abs=1e-12)
    assert curve.worst["s"] >= curve.gaps["s"].max() - 1e-12


@pytest.mark.slow
def test_the_band_covers():
    """On simulated data the whole true curve lies in the band in at least 95 of 100 runs."""
    D = univariate(np.random.default_rng(3), 2, 2)
    t = np.linspace(0.0, 1.0, 301)
    big, y, a = D.sample(200_000, random_state=0)
    score = posterior(D, big, sensitive_features=a)[:, 1]
    truth = acceptance_gaps([score[(y == 1) & (a == g)] for g in D.groups], t)
    inside, tight = 0, 0
    for seed in range(100):
        X, y, a = D.sample(500, random_state=1000 + seed)
        scores = {"s": posterior(D, X, sensitive_features=a)}
        curve = gap_curves(
            scores, y, sensitive_features=a, classes=D.classes, groups=D.groups, confidence=0.95
        )[0]
        off = np.abs(curve.gaps["s"] - truth).max()
        inside += off <= curve.half_width
        tight += off <= curve.half_width / 4
    assert inside >= 90
    assert tight < 95  # the control: a quarter of the band would not do


def test_more_than_two_classes_are_one_against_the_rest():
    rng = np.random.default_rng(2)
    y, a = rng.integers(0, 3, 300), rng.integers(0, 2, 300)
    s = rng.dirichlet(np.ones(3), 300)
    found = gap_curves({"s": s}, y, sensitive_features=a, classes=(0, 1, 2), groups=(0, 1))
    assert len(found) == 3
    samples = [s[(y == 2) & (a == g), 2] for g in (0, 1)]
    assert found[2].worst["s"] == worst_gap(samples)
    with pytest.raises(fp.DataError, match="a column for each"):
        gap_curves({"s": s[:, 0]}, y, sensitive_features=a, classes=(0, 1, 2), groups=(0, 1))


def test_of_many_classes_the_largest_are_shown():
    y = np.repeat(np.arange(12), np.arange(12) * 2 + 2)
    a = np.tile([0, 1], len(y) // 2)
    s = np.random.default_rng(0).random((len(y), 12))
    found = gap_curves({"s": s}, y, sensitive_features=a, classes=range(12), groups=(0, 1))
    assert [c.title.split()[1] for c in found] == [str(k) for k in range(4, 12)]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"scores": {"s": np.zeros((4, 3))}}, "needed is"),
        ({"scores": {"s": [0.1, np.nan, 0.2, 0.3]}}, "finite"),
        ({"confidence": 1.0}, "between 0 and 1"),
        ({"y": [1, 1, 1, 1]}, "no row"),
        ({"sensitive_features": None}, "required"),
    ],
)
def test_bad_scores_are_refused(change, said):
    given = {
        "scores": {"s": [0.1, 0.2, 0.3, 0.4]},
        "y": [0, 1, 0, 1],
        "sensitive_features": ["a", "a", "b", "b"],
        "confidence": 0.95,
    }
    given.update(change)
    with pytest.raises(fp.DataError, match=said):
        gap_curves(**given, classes=(0, 1), groups=("a", "b"))


def test_thresholds_are_in_the_unit_of_the_score():
    scores = {"points": [300.0, 500.0, 700.0, 850.0]}
    found = gap_curves(
        scores, [0, 1, 0, 1], sensitive_features=[0, 0, 1, 1], classes=(0, 1), groups=(0, 1)
    )
    assert (found[0].thresholds[0], found[0].thresholds[-1]) == (300.0, 850.0)


# ------------------------------------------------------------------------------------ posteriors


@pytest.mark.parametrize("family", [fp.Normal, fp.LogNormal])
def test_the_posterior_is_bayes(family):
    D = multivariate(np.random.default_rng(5), 3, 3, 2)
    D = family(D.prior, D.location, cov=D.cov, groups=D.groups)
    X, _, a = D.sample(50, random_state=0)
    Z = np.log(X) if family is fp.LogNormal else X
    g = np.array([D.groups.index(v) for v in a])
    joint = np.array(
        [
            [
                D.prior[i, k] * stats.multivariate_normal(D.location[i, k], D.cov[i, k]).pdf(z)
                for i in range(3)
            ]
            for z, k in zip(Z, g, strict=True)
        ]
    )
    want = joint / joint.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(posterior(D, X, sensitive_features=a), want, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(np.exp(D.log_posterior(Z, g)), want, atol=1e-12)


@pytest.mark.parametrize("base_rates", ["equalize", "keep"])
def test_the_score_of_aligned_rows_is_blind_to_the_group(base_rates):
    """Rows that agree once aligned have the same score, whatever their groups."""
    D = multivariate(np.random.default_rng(6), 2, 2, 2)
    sol = fp.NearestIdeal(D, steer=["b"], base_rates=base_rates).solve()
    assert np.ptp(D.base_rates, axis=1).max() > 0.01
    X = np.random.default_rng(0).normal(size=(60, 2))
    twins = np.vstack([X, sol.maps["b"](X)])  # group a stays: its coordinates are the common ones
    a, y = np.repeat(["a", "b"], 60), np.tile([0, 1], 60)
    np.testing.assert_allclose(sol.align(twins, sensitive_features=a)[60:], X, atol=1e-9)
    score = _posteriors(sol, twins, y, a)["aligned"]
    np.testing.assert_allclose(score[:60], score[60:], atol=1e-8)
    aware = posterior(sol.population, twins, sensitive_features=a)
    assert (np.abs(aware[:60] - aware[60:]).max() > 0.01) == (base_rates == "keep")  # the control


@pytest.mark.parametrize("base_rates", ["equalize", "keep"])
def test_steered_rows_are_fair_at_every_threshold(base_rates):
    D = multivariate(np.random.default_rng(6), 2, 2, 2)
    sol = fp.NearestIdeal(D, steer=["b"], base_rates=base_rates).solve()
    X, y, a = D.sample(20_000, random_state=1)
    curves = evidence_of_rows(sol, X, y, a, None, 0.95).curves
    for curve in curves[:2]:  # rates given the class
        assert curve.worst["steered"] <= curve.half_width
        assert curve.worst["as they are"] > curve.half_width  # the control


# ----------------------------------------------------------------------------------------- ranks


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=3, max_size=40))
def test_spearman_is_scipys(pairs):
    x, y = np.array(pairs, dtype=float).T
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        assert np.isnan(spearman(x, y))
    else:
        assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)


@pytest.mark.parametrize("r", [-0.99, -0.5, 0.0, 0.3, 0.95])
def test_bivariate_probabilities_are_scipys(r):
    law = stats.multivariate_normal([0, 0], [[1, r], [r, 1]])
    for h, k in [(0.0, 0.0), (1.2, -0.4), (-2.0, 3.0), (0.7, 0.7)]:
        got = float(binormal_cdf(np.array(h), np.array(k), np.array(r)))
        assert got == pytest.approx(law.cdf([h, k]), abs=1e-6)


def test_rank_correlation_of_a_mixture_is_that_of_its_sample():
    rng = np.random.default_rng(0)
    w, mean = np.array([0.3, 0.7]), np.array([[0.0, 1.0], [2.0, -0.5]])
    cov = np.array([[[1.0, 0.6], [0.6, 1.0]], [[0.5, -0.2], [-0.2, 2.0]]])
    k = rng.choice(2, p=w, size=200_000)
    z = mean[k] + np.einsum("nij,nj->ni", np.linalg.cholesky(cov)[k], rng.normal(size=(k.size, 2)))
    sampled = stats.spearmanr(*z.T).statistic
    assert mixture_spearman(w, mean, cov) == pytest.approx(sampled, abs=0.006)


def test_score_ranks_by_group():
    s = {"one": [0.1, 0.2, 0.3, 0.9, 0.8, 0.7], "two": [1.0, 2.0, 3.0, 1.0, 2.0, 3.0]}
    assert score_ranks(s, list("aaabbb"), ("a", "b")) == {"a": 1.0, "b": -1.0}
    assert score_ranks({"one": s["one"]}, list("aaabbb"), ("a", "b")) is None


# ------------------------------------------------------------------------------------- movement


@pytest.mark.parametrize(
    "D",
    [
        univariate(np.random.default_rng(0), 3, 2),
        multivariate(np.random.default_rng(1), 3, 2, 3),
        fp.LogNormal([[0.25] * 2] * 2, [[0.0, 0.5], [1.0, 1.0]], std=[[1, 1], [1, 2]]),
    ],
    ids=["univariate", "multivariate", "log-normal"],
)
def test_movement_of_the_population_is_that_of_its_rows(D):
    sol = fp.NearestIdeal(D, steer=list(D.groups[1:])).solve()
    X, y, a = D.sample(60_000, random_state=0)
    exact, counted = population_movement(sol), movement_of_rows(sol, X, y, sensitive_features=a)
    spread = np.maximum(exact.quantiles[-1] - exact.quantiles[0], 0.1)
    assert (np.abs(exact.quantiles - counted.quantiles) / spread).max() < 0.06
    np.testing.assert_allclose(exact.rms, counted.rms, rtol=0.05)
    np.testing.assert_allclose(exact.rank, counted.rank, atol=0.01)
    assert exact.counts is None
    assert counted.counts.sum() == 60_000


def test_movement_is_what_align_does():
    D = multivariate(np.random.default_rng(2), 2, 2, 2)
    sol = fp.NearestIdeal(D, steer=["b"]).solve()
    X, y, a = D.sample(500, random_state=0)
    move = movement_of_rows(sol, X, y, sensitive_features=a)
    pooled = np.sqrt(np.einsum("ia,iadd->d", D.prior, D.cov))
    step = (sol.align(X, sensitive_features=a) - X) / pooled
    cell = (y == 1) & (a == "b")
    want = np.quantile(step[cell], LEVELS, axis=0)
    np.testing.assert_allclose(move.quantiles[:, 1, 1], want, atol=1e-10)
    assert move.rms[1, 1] == pytest.approx(np.sqrt((step[cell] ** 2).mean()))
    assert np.all(move.quantiles[:, :, 0] == 0)  # group a stays
    np.testing.assert_array_equal(move.rank[0], 1.0)


def test_of_many_features_those_that_move_most_are_described():
    d = 15
    mean = np.zeros((2, 2, d))
    mean[1] += 1.0
    mean[:, 1] += np.arange(d)
    D = fp.Normal(np.full((2, 2), 0.25), mean, cov=np.broadcast_to(np.eye(d), (2, 2, d, d)))
    move = population_movement(fp.NearestIdeal(D, steer=[1]).solve())
    assert move.features == tuple(f"feature {k + 1}" for k in range(3, 15))
    np.testing.assert_allclose(move.quantiles[2, 0, 1], -np.arange(3, 15), atol=1e-6)
    assert move.n_features == d


# ------------------------------------------------------------------------- of the command line


def test_the_scores_of_the_report_are_those_of_the_first_split(tmp_path):
    X, y, a = univariate(np.random.default_rng(4), 2, 2).sample(900, random_state=0)
    learner = LogisticRegression()
    step = fp.IdealSteering(["b"], snap=False)
    group = np.where(a == a[0], "a", "b")
    found = fp.compare(
        learner, X, y, sensitive_features=group, progress=False,
        methods={ALIGNED: OnFeatures(learner, step)},
        cv=StratifiedShuffleSplit(1, test_size=0.4, random_state=7),
    )  # fmt: skip
    features, classes = (Feature("x"),), ("0", "1")
    label = y.astype(str).astype(object)
    design = Design(
        "y", ("g",), features, X, label, group, classes, ("a", "b"), np.ones(900, dtype=bool)
    )
    scores, test = first_split(found, design)
    curves = gap_curves(
        scores, label[test], sensitive_features=group[test], classes=classes, groups=("a", "b")
    )
    for curve, figure in zip(curves, ("worst gap, Y=1", "worst gap, Y=0"), strict=False):
        want = [found.mean(name, figure)[0] for name in ("nothing", ALIGNED)]
        np.testing.assert_allclose(list(curve.worst.values()), want, atol=1e-12)
    assert len(test) == 360
