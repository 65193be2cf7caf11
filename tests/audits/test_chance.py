"""What chance alone gives: groups permuted, in bins too, and what tiny groups may do to it."""

import numpy as np
import pytest

import fairprog as fp
from fairprog.kernels.statistics import threshold_rates
from fairprog.kernels.statistics.threshold_rates import (
    cumulated,
    permuted_worst_gaps,
    rates_of,
    tie_ends,
    worst_gaps,
)
from tests.scored_rows import draw


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
