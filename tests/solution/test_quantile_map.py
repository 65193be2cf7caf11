"""Quantile maps undo common maps, whatever base rates, weights, ties and units are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fairprog as fp

seeds = st.integers(0, 2**32 - 1)


def balanced_sample(rng, n=20_000, rate_b=0.5):
    """Group 1 sees the exponential of what group 0 sees, with another base rate."""
    a = rng.integers(2, size=n)
    y = (rng.uniform(size=n) < np.where(a == 1, rate_b, 0.5)).astype(int)
    z = rng.normal(size=n) + 2.0 * y
    return np.where(a == 1, np.exp(z), z), y, a, z


def test_the_quantile_map_undoes_a_common_map_whatever_the_base_rates():
    x, y, a, z = balanced_sample(np.random.default_rng(0), rate_b=0.15)
    moved = fp.QuantileMap.fit(x, y, sensitive_features=a, reference=0).transform(
        x, sensitive_features=a
    )
    assert np.allclose(moved[a == 0], z[a == 0], rtol=0, atol=1e-12)
    middle = (a == 1) & (np.abs(z - 1.0) < 2.0)
    balanced_error = np.abs(moved - z)[middle].mean()
    assert balanced_error < 0.06
    # control: one class for all rows is plain quantile matching, which matches base rates too
    plain = fp.QuantileMap.fit(x, np.zeros_like(y), sensitive_features=a, reference=0).transform(
        x, sensitive_features=a
    )
    assert np.abs(plain - z)[middle].mean() > 5 * balanced_error


def test_values_that_hold_many_rows_and_part_are_warned_of():
    x, y, a, _ = balanced_sample(np.random.default_rng(0))
    pay = np.maximum(x - np.where(a == 1, 0.7, 3.0), 0.0)  # more zeros in one group
    with pytest.warns(fp.FairprogWarning, match=r"Values that hold many rows .*: 0 of feature 1"):
        Q = fp.QuantileMap.fit(np.stack([x, pay], 1), y, sensitive_features=a)
    at = [Q.maps[g][1](np.zeros(1))[0] for g in (0, 1)]
    assert abs(at[0] - at[1]) > 0.1


@pytest.mark.filterwarnings("ignore:Values that hold many rows")
@given(seed=seeds)
@settings(max_examples=15)
def test_quantile_maps_take_weights_ties_and_increasing_changes_of_units(seed):
    rng = np.random.default_rng(seed)
    x, y, a, _ = balanced_sample(rng, 400)
    x = np.round(x, 1)
    copies = rng.integers(1, 4, size=400)
    weighted = fp.QuantileMap.fit(x, y, sensitive_features=a, sample_weight=copies)
    repeated = fp.QuantileMap.fit(
        np.repeat(x, copies), np.repeat(y, copies), sensitive_features=np.repeat(a, copies)
    )
    moved = weighted.transform(x, sensitive_features=a)
    assert np.allclose(moved, repeated.transform(x, sensitive_features=a), atol=1e-9)
    for g in (0, 1):
        order = np.unique(x[a == g])
        own = weighted.transform(order, sensitive_features=np.full(len(order), g))
        assert (np.diff(own) > 0).all()
        far = weighted.transform(np.array([-100.0, 1e4]), sensitive_features=[g, g])
        assert far[0] < own[0] < own[-1] < far[1]
    # units of one feature: both groups in thousands
    scaled = fp.QuantileMap.fit(1e3 * x, y, sensitive_features=a, sample_weight=copies)
    again = scaled.transform(1e3 * x, sensitive_features=a)
    assert np.allclose(again, 1e3 * moved, atol=1e-6 * np.abs(again).max())


def test_quantile_maps_of_several_features_are_saved_and_loaded(tmp_path):
    rng = np.random.default_rng(0)
    x, y, a, _ = balanced_sample(rng, 1000)
    X = np.stack([x, -x, x + rng.normal(size=1000)], axis=1)
    names = np.array(["left", "right"])[a]
    Q = fp.QuantileMap.fit(X, y, sensitive_features=names)
    Q.save(tmp_path / "map.json")
    again = fp.load(tmp_path / "map.json")
    moved = Q.transform(X, sensitive_features=names)
    assert moved.shape == X.shape
    assert np.array_equal(again.transform(X, sensitive_features=names), moved)
    assert np.allclose(moved[:, 0], Q.transform(X, sensitive_features=names)[:, 0])
    with pytest.raises(fp.DataError, match="has no rows"):
        fp.QuantileMap.fit(X, np.where(a == 1, 1, y), sensitive_features=names)
    with pytest.raises(fp.DataError, match="constant in group"):
        fp.QuantileMap.fit(np.where(a == 1, 2.0, x), y, sensitive_features=names)
    with pytest.raises(fp.DataError, match="not seen before"):
        Q.transform(X, sensitive_features=np.full(1000, "middle"))


def test_quantile_maps_of_probabilities_stay_probabilities():
    rng = np.random.default_rng(3)
    y, a = rng.integers(2, size=600), rng.integers(2, size=600)
    p = rng.beta(np.where(a == 1, 0.5, 3.0) + y, 2.0)
    p[(p < 0.02) & (a == 0)] = 0.0
    p[(p > 0.98) & (a == 1)] = 1.0  # some rows at the very ends, in one group only
    new = np.tile([0.0, 1e-9, 0.3, 1.0 - 1e-9, 1.0], 2)
    of = np.repeat([0, 1], 5)
    leaves = fp.QuantileMap.fit(p, y, sensitive_features=a)
    assert np.ptp(leaves.transform(new, sensitive_features=of)) > 1.0  # control
    for reference in (None, 0, 1):
        Q = fp.QuantileMap.fit(
            p, y, sensitive_features=a, reference=reference, support=(0, 1), n_quantiles=100
        )
        moved = Q.transform(new, sensitive_features=of).reshape(2, 5)
        assert moved.min() >= 0.0 and moved.max() <= 1.0
        assert np.all(np.diff(moved, axis=1) > 0)
        free = fp.QuantileMap.fit(p, y, sensitive_features=a, reference=reference, n_quantiles=100)
        inner = [np.quantile(p[a == g], [0.2, 0.5, 0.8]) for g in (0, 1)]
        for g in (0, 1):
            there = Q.transform(inner[g], sensitive_features=[g] * 3)
            assert there == pytest.approx(free.transform(inner[g], sensitive_features=[g] * 3))
    with pytest.raises(fp.DataError, match=r"must lie in the `support` \[0, 0.5\]"):
        fp.QuantileMap.fit(p, y, sensitive_features=a, support=(0, 0.5))
    with pytest.raises(fp.DataError, match="two increasing numbers"):
        fp.QuantileMap.fit(p, y, sensitive_features=a, support=(1, 0))
