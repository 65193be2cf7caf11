"""The comparison with published tables: its parts, without the real data sets."""

import numpy as np
import pytest

from experiments import peers
from experiments.peers_settings import PUBLISHED, Base, Split, compas, splits, synthetic


@pytest.fixture(scope="module")
def base():
    rng = np.random.default_rng(0)
    n = 3000
    group = (rng.random(n) < 0.4).astype(int)
    score = rng.beta(1 + group, 2, n)
    y = (rng.random(n) < score).astype(int)
    return Base(score, y, group, score[:900], y[:900], group[:900], n)


def test_splits_are_disjoint_and_seeded(base):
    first, again = splits(base)[0], splits(base)[0]
    assert np.array_equal(first.test, again.test)
    assert len(first.test) == 900
    assert not set(first.test) & set(first.fit)
    assert len({tuple(s.test) for s in splits(base)}) == 5


@pytest.mark.parametrize("notion", sorted(peers.NOTIONS))
def test_the_peers_linear_program_and_ours_decide_alike(base, notion):
    split = splits(base)[0]
    theirs = peers.linear_post(base, split, notion, 0.05)
    mine = peers.ours(base, split, base.score, notion, 0.05)
    a, b = (peers._outcome(base, split, h, notion) for h in (theirs, mine))
    assert np.abs(np.array(a) - b).max() < 0.02
    free = peers.linear_post(base, split, notion, peers.INF)
    assert peers._outcome(base, split, free, notion)[1] > a[1] + 0.03  # a control


def test_recalibration_repairs_scores_that_are_off_and_leaves_good_ones(base):
    split = splits(base)[0]
    assert np.abs(peers.calibrate(base, split) - base.score).mean() < 0.03
    odds = 3.0 * base.score / (1.0 - base.score)
    wrong = Base(
        odds / (1 + odds),
        *list(vars(base).values())[1:3],
        odds[:900] / (1 + odds[:900]),
        *list(vars(base).values())[4:],
    )
    assert np.abs(wrong.score - base.score).mean() > 0.1
    assert np.abs(peers.calibrate(wrong, split) - base.score).mean() < 0.03


def test_error_paritys_example_is_reproduced():
    claim = peers._error_parity()
    assert claim.holds, claim.measured
    score, y, group = synthetic(2000)
    assert set(y) == set(group) == {0, 1}
    assert score.min() >= 0


def test_compas_has_the_rows_of_the_published_table(data_dir):
    X, y, race = compas(data_dir)
    counts = [[int(np.sum((y == i) & (race == a))) for a in (0, 1)] for i in (0, 1)]
    assert counts == [[1402, 1229], [1773, 874]]
    assert X.shape == (5278, 9)


def test_the_published_figures_of_compas_within_one_standard_error(data_dir):
    measured = peers._measure("compas", data_dir)
    assert set(measured) == {(n, a) for data, n, a in PUBLISHED if data == "compas"}
    for claim in peers._claims("compas", measured):
        assert claim.holds or claim.note, claim
        if "calibrated" not in claim.text:
            assert claim.holds, claim


def test_a_split_without_test_rows_is_the_whole_data(base):
    every = np.arange(len(base.y))
    score = peers.calibrate(base, Split(0, every, every[:0]))
    assert score.shape == base.score.shape
