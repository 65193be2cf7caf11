"""Bands and intervals of an audit cover what they promise."""

import numpy as np
import pytest
from scipy import stats
from scipy.stats import norm

import fairprog as fp
from fairprog.kernels.statistics.proportions import clopper_pearson
from fairprog.kernels.statistics.ranking import auc, auc_interval
from tests.scored_rows import MEAN, PRIOR, draw


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


def test_many_small_groups_have_intervals():
    """Forty groups of twenty rows with one positive each."""
    y, a = np.tile(np.eye(20, dtype=int)[0], 40), np.repeat(np.arange(40), 20)
    s = (np.random.default_rng(0).random(800) + 0.3 * y) / 1.3
    found = fp.audit(y, s, sensitive_features=a, n_permutations=2, n_bootstrap=50)
    for gap in found.worst.values():
        assert 0 <= gap.low <= gap.estimate <= gap.high <= 1


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
