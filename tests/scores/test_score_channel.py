"""`ScoreSteering(method="channel")`, one-sided quantile maps, folds that serve one row each."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

import fairprog as fp
from fairprog.kernels.statistics.gap_bands import worst_gap


def rows(n: int = 4000, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores that tell group 1 apart less well; base rates differ."""
    rng = np.random.default_rng(seed)
    a = rng.integers(2, size=n)
    y = (rng.random(n) < np.where(a == 1, 0.3, 0.6)).astype(int)
    z = rng.normal(size=n) + (2 * y - 1) * np.where(a == 1, 0.5, 1.2) - 0.4 * a
    return 1 / (1 + np.exp(-1.5 * z)), y, a


def gaps(s: np.ndarray, y: np.ndarray, a: np.ndarray) -> list[float]:
    return [worst_gap([s[(y == i) & (a == g)] for g in (0, 1)]) for i in (0, 1)]


OLD, NEW = rows(seed=0), rows(seed=1)


def test_a_channel_makes_new_rows_fair_where_no_map_can() -> None:
    s, y, a = OLD
    mapped = fp.ScoreSteering().fit(s, y, sensitive_features=a)
    exact = fp.ScoreSteering(method="channel").fit(s, y, sensitive_features=a)
    t, u, g = NEW
    worst = max(gaps(mapped.transform(t, sensitive_features=g), u, g))
    released = exact.transform(t, sensitive_features=g, key=np.arange(len(t)))
    assert worst > 0.1 > 0.07 > max(gaps(released, u, g))
    loose = fp.ScoreSteering(method="channel", notion=fp.EqualizedOdds(difference_bound=0.1))
    loose.fit(s, y, sensitive_features=a)
    risks = [step.solution_.risk for step in (exact, loose)]
    assert risks[1] < risks[0] and loose.solution_.gap <= 0.1 + 1e-9


def test_a_draw_hangs_on_the_key_alone() -> None:
    s, y, a = OLD
    step = fp.ScoreSteering(method="channel").fit(s, y, sensitive_features=a)
    key = np.array([f"row {k}" for k in range(len(s))])
    whole = step.transform(s, sensitive_features=a, key=key)
    mix = np.random.default_rng(0).permutation(len(s))[:100]
    assert (step.transform(s[mix], sensitive_features=a[mix], key=key[mix]) == whole[mix]).all()
    alone = step.transform(s[7:8], sensitive_features=a[7:8], key=key[7:8])
    assert alone[0] == whole[7] and step.transform(s[:, None], sensitive_features=a).shape[1] == 1


def test_with_one_lot_a_higher_score_is_never_released_lower() -> None:
    s, y, a = OLD
    step = fp.ScoreSteering(method="channel").fit(s, y, sensitive_features=a)
    grid = np.linspace(0.0, 1.0, 500)
    for channel in step.maps_.values():
        for lot in np.random.default_rng(0).random(40):
            drawn = channel.at(grid, np.full(500, lot))
            assert (np.diff(drawn) >= 0).all()
        shares = channel.exceedance(grid, 0.5)
        assert (np.diff(shares) >= -1e-12).all()
        draws = channel.draw(np.full(20_000, 3), (np.arange(20_000) + 0.5) / 20_000)
        law = [(draws == level).mean() for level in channel.levels]
        assert np.allclose(law, channel.chance[3], 0, 1e-3)


def test_group_probabilities_draw_a_group() -> None:
    s, y, a = OLD
    step = fp.ScoreSteering(method="channel").fit(s, y, sensitive_features=a)
    sure = step.transform(s, sensitive_features=a, key=np.arange(len(s)))
    shares = np.tile([0.25, 0.75], (len(s), 1))
    drawn = step.transform(s, sensitive_features=shares, key=np.arange(len(s)))
    levels = step.solution_.levels
    assert np.isin(drawn, levels).all() and (drawn != sure).any()
    mean = [step.maps_[g].mean(s) for g in (0, 1)]
    assert drawn.mean() == pytest.approx(0.25 * mean[0].mean() + 0.75 * mean[1].mean(), abs=0.02)


@pytest.mark.filterwarnings("ignore:The smallest cell")
def test_what_a_channel_cannot_do_is_said(tmp_path) -> None:
    s, y, a = OLD
    step = fp.ScoreSteering(method="channel").fit(s, y, sensitive_features=a)
    with pytest.raises(fp.ModelError, match="no inverse"):
        step.inverse_transform(s, sensitive_features=a)
    with pytest.raises(fp.ModelError, match="does not take notion"):
        fp.ScoreSteering(notion=fp.EqualizedOdds()).fit(s, y, sensitive_features=a)
    with pytest.raises(fp.ModelError, match="requires y"):
        fp.ScoreSteering(method="channel").fit(s, None, sensitive_features=a)
    with pytest.warns(fp.FairprogWarning, match="by chance alone"):
        fp.ScoreSteering(method="channel").fit(s[:60], y[:60], sensitive_features=a[:60])
    step.save(tmp_path / "step.json")
    again = fp.ScoreSteering.load(tmp_path / "step.json")
    assert (
        again.transform(s, sensitive_features=a) == step.transform(s, sensitive_features=a)
    ).all()
    notion = fp.EqualOpportunity(difference_bound=0.1)
    other = fp.ScoreSteering(method="channel", notion=notion, steer=[1], n_quantiles=30)
    other.fit(s, y, sensitive_features=a).save(tmp_path / "step.npz")
    again = fp.ScoreSteering.load(tmp_path / "step.npz")
    moved = again.transform(s, sensitive_features=a)
    assert again.notion == notion and (moved[a == 0] == s[a == 0]).all()


def test_steered_groups_come_to_a_group_that_stays() -> None:
    s, y, a = OLD
    t, u, g = NEW
    step = fp.ScoreSteering(method="channel", steer=[0], n_quantiles=40)
    step.fit(s, y, sensitive_features=a)
    moved = step.transform(t, sensitive_features=g, key=np.arange(len(t)))
    assert (moved[g == 1] == t[g == 1]).all()
    assert max(gaps(moved, u, g)) < 0.5 * max(gaps(t, u, g))


@pytest.mark.parametrize(
    ("notion", "condition"),
    [(fp.DemographicParity(), None), (fp.EqualOpportunity(), 1), (fp.PredictiveEquality(), 0)],
)
@pytest.mark.parametrize("method", ["quantile", "channel"])
def test_one_sided_notions_hold_at_every_threshold(notion, condition, method) -> None:
    s, y, a = OLD
    t, u, g = NEW
    step = fp.ScoreSteering(method=method, notion=notion).fit(s, y, sensitive_features=a)
    moved = step.transform(t, sensitive_features=g, key=np.arange(len(t)))
    own = np.ones(len(u), bool) if condition is None else u == condition
    before, after = (worst_gap([x[own & (g == k)] for k in (0, 1)]) for x in (t, moved))
    assert after < 0.08 and after < 0.5 * before


def test_demographic_parity_of_real_values_needs_no_labels(tmp_path) -> None:
    rng = np.random.default_rng(0)
    a = rng.integers(3, size=3000)
    s = rng.gamma(2.0 + a, size=3000) * 10 - 4
    step = fp.ScoreSteering(space="identity", notion=fp.DemographicParity())
    moved = step.fit(s, None, sensitive_features=a).transform(s, sensitive_features=a)
    assert worst_gap([moved[a == g] for g in range(3)]) < 0.05
    assert worst_gap([s[a == g] for g in range(3)]) > 0.3
    step.save(tmp_path / "step.json")
    again = fp.ScoreSteering.load(tmp_path / "step.json")
    assert (again.transform(s, sensitive_features=a) == moved).all()
    back = step.inverse_transform(moved, sensitive_features=a)
    assert np.allclose(back, s)


def test_every_row_is_served_by_one_fold() -> None:
    rng = np.random.default_rng(0)
    n = 6000
    a, y = rng.integers(2, size=n), rng.integers(2, size=n)
    X = rng.normal(size=(n, 3)) + y[:, None] * np.where(a == 1, 0.3, 0.9)[:, None]
    old, new = slice(0, n // 2), slice(n // 2, n)
    steering = fp.ScoreSteering(method="channel")
    model = fp.SteeredClassifier(LogisticRegression(), steering, cv=3)
    model.fit(X[old], y[old], sensitive_features=a[old])
    p = model.predict_proba(X[new], sensitive_features=a[new])[:, 1]
    levels = [step.solution_.levels for step in model.steerings_]
    assert np.isin(p, np.concatenate(levels)).all()  # no averages
    assert 0.05 < np.isin(p, levels[0]).mean() < 0.95  # and not one fold for all
    assert max(gaps(p, y[new], a[new])) < 0.09
    alone = model.predict_proba(X[new][5:6], sensitive_features=a[new][5:6])[:, 1]
    assert alone[0] == p[5]


def test_no_warning_without_ties() -> None:
    s, y, a = OLD
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        step = fp.ScoreSteering(method="channel").fit(s, y, sensitive_features=a)
        step.transform(s, sensitive_features=a)
    with pytest.warns(fp.FairprogWarning, match="share one"):
        coarse = fp.ScoreSteering(method="channel").fit(s.round(1), y, sensitive_features=a)
        coarse.transform(s.round(1), sensitive_features=a)
