"""The largest gap over thresholds: corrected, with an interval that holds it."""

import numpy as np
import pytest
from scipy import stats
from scipy.special import ndtri

import fairprog as fp
from experiments.audit_coverage import one
from fairprog.evidence.worst_gap import Rate, WorstGapLaw, thinned


def law_of(samples, draws=2000):
    values = np.unique(np.concatenate(samples))
    mass = np.stack([np.searchsorted(np.sort(s), values, side="right") for s in samples])
    few = mass[:, thinned(mass, 256)].astype(float)
    return WorstGapLaw([Rate.of(few, few)], draws, np.random.default_rng(0))


def test_without_a_gap_the_law_is_smirnovs():
    """Where both groups have the same rows the half width is the quantile of Smirnov's law."""
    x = np.random.default_rng(0).random(400)
    width = law_of([x, x]).half_width(0.95)
    assert width == pytest.approx(stats.kstwobign.ppf(0.95) * np.sqrt(2 / 400), rel=0.05)


def test_the_lower_end_rejects_as_smirnovs_test_does():
    """low > 0 at level alpha/2 where the two-sample test has a smaller p-value."""
    agree = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        a, b = rng.standard_normal(150), rng.standard_normal(120) + 0.3
        gap, p = stats.ks_2samp(a, b)
        low = law_of([a, b], 1000).interval(gap, 0.95).low
        agree += (low > 0) == (p < 0.025)
    assert agree >= 36


def test_small_groups_do_not_hide_gaps_between_large_ones():
    rng = np.random.default_rng(1)
    two = [rng.standard_normal(2000), rng.standard_normal(2000) + 0.8]
    gap = stats.ks_2samp(*two).statistic
    alone = law_of(two, 400).interval(gap, 0.95)
    found = law_of([*two, rng.standard_normal(5)], 400).interval(gap, 0.95)
    assert found.between == (0, 1) and found.low > 0.8 * alone.low


def test_ends_are_in_order_and_relabelling_changes_nothing_but_the_draws():
    rng = np.random.default_rng(2)
    samples = [rng.standard_normal(n) + 0.1 * k for k, n in enumerate((80, 200, 50))]
    gap = max(stats.ks_2samp(a, b).statistic for a in samples for b in samples)
    first = law_of(samples).interval(gap, 0.9)
    again = law_of(samples[::-1]).interval(gap, 0.9)
    assert 0 <= first.low <= first.at_least <= first.estimate <= first.at_most <= first.high
    assert first.estimate < first.gap
    for name in ("low", "estimate", "high"):
        assert getattr(first, name) == pytest.approx(getattr(again, name), abs=0.02)
    assert {2 - k for k in again.between} == set(first.between)


def test_monotone_changes_of_the_score_change_nothing():
    rng = np.random.default_rng(3)
    s, y, a = rng.random(300), rng.integers(0, 2, 300), rng.integers(0, 2, 300)
    s = s + 0.3 * y
    kinds = [
        fp.audit(y, f(s), sensitive_features=a, n_permutations=1, threshold=float(f(0.6)))
        for f in (np.exp, np.sqrt)
    ]
    for key, gap in kinds[0].worst.items():
        assert gap == kinds[1].worst[key]


def test_weights_that_are_all_the_same_count_for_nothing():
    x, w = np.random.default_rng(4).random((2, 90)).cumsum(axis=1), np.full((2, 90), 3.0)
    mass = np.cumsum(w, axis=1)
    plain, heavy = Rate.of(mass / 3, mass / 3), Rate.of(mass, 3 * mass)
    assert x.shape == (2, 90)
    np.testing.assert_allclose(plain.spread, heavy.spread)
    np.testing.assert_allclose(heavy.count, 90)


def test_the_raw_maximum_is_too_large_and_the_estimate_is_not():
    found = np.array([one(1000, 5, 1, 0.06, 0.0, False, seed) for seed in range(12)])
    raw, corrected = found[:, 7].mean(), found[:, 8].mean()
    assert raw > 0.06 and abs(corrected) < 0.04
    assert found[:, 0].mean() > 0.6 and (found[:, 5] < 0.75 * found[:, 6]).all()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("groups", "ratio"), [(2, 1), (3, 20), (5, 1)])
def test_intervals_cover_as_often_as_promised(groups, ratio):
    for gap in (0.0, 0.06, 0.3):
        found = np.array([one(1500, groups, ratio, gap, 0.0, False, k) for k in range(300)])
        assert 0.91 <= found[:, 0].mean() <= 1.0, (groups, ratio, gap)


def test_true_gaps_of_shifted_normals_are_what_the_experiment_says():
    shift = 2 * ndtri(0.6)
    t = np.linspace(-6, 6, 20001)
    assert (stats.norm.cdf(t) - stats.norm.cdf(t - shift)).max() == pytest.approx(0.2, abs=1e-6)
