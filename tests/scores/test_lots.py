"""Lots: uniform, independent, and a function of the row alone."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest

import fairprog as fp
from fairprog.lots import column_order, keys_of, lots, row_keys, shared_too_widely

RNG = np.random.default_rng(0)
X = RNG.normal(size=(20_000, 5))


def test_they_are_written_down_and_the_same_on_every_machine():
    rows = np.array([[0.0, 1.0], [-0.0, 1.0], [1.0, 0.0], [0.1, 1e300]])
    assert row_keys(rows).tolist() == row_keys(rows.astype(object)).tolist()
    assert lots(0, "a", row_keys(rows)).round(12).tolist() == WRITTEN
    assert lots(7, "b", keys_of(["Ann", 3, 10**17 + 1])).round(12).tolist() == OF_IDENTIFIERS


WRITTEN = [0.610876236871, 0.610876236871, 0.874544030153, 0.036531254862]
OF_IDENTIFIERS = [0.774822424164, 0.744954085091, 0.004297776305]


def test_they_are_uniform_and_independent_over_rows_seeds_and_purposes():
    keys = row_keys(X)
    assert len(set(keys.tolist())) == len(X)
    some = {(s, p): lots(s, p, keys) for s in (0, 1) for p in ("a", "b")}
    for u in some.values():
        assert kstest(u, "uniform").pvalue > 0.001 and u.min() >= 0 and u.max() < 1
    pairs = np.corrcoef(np.array(list(some.values())))
    assert np.abs(pairs - np.eye(4)).max() < 0.03
    near = lots(0, "a", row_keys(X + 1e-12))  # another row, however near
    assert abs(np.corrcoef(near, some[0, "a"])[0, 1]) < 0.03


@given(st.lists(st.integers(0, 19_999), max_size=30), st.integers(0, 2**63))
@settings(deadline=None, max_examples=50)
def test_a_row_has_its_lot_alone_and_in_any_batch(rows, seed):
    whole = lots(seed, "a", row_keys(X))
    np.testing.assert_array_equal(lots(seed, "a", row_keys(X[rows])), whole[rows])


@pytest.mark.parametrize("make", [sp.csr_matrix, sp.coo_matrix, sp.csc_array, pd.DataFrame])
def test_a_row_is_the_same_in_every_container(make):
    Z = np.where(np.abs(X[:50]) < 0.7, 0.0, X[:50])
    np.testing.assert_array_equal(row_keys(make(Z)), row_keys(Z))


def test_text_and_numbers_side_by_side():
    frame = pd.DataFrame({"n": [1, 2, 1], "t": ["u", None, "u"], "c": pd.Categorical(list("aba"))})
    keys = row_keys(frame)
    assert keys[0] == keys[2] != keys[1]
    np.testing.assert_array_equal(row_keys(frame.iloc[[1]]), keys[1:2])
    mixed = np.array([["1", 2.0], [1, 2.0]], dtype=object)  # text is no number, alone or not
    np.testing.assert_array_equal(row_keys(mixed[:1]), row_keys(mixed)[:1])
    assert row_keys(mixed)[0] != row_keys(mixed)[1]


def test_identifiers_count_by_value():
    same = [[1, 2], [1.0, 2.0], np.array([1, 2], np.uint8), pd.Series([1, 2]), [np.int64(1), 2]]
    for key in same:
        np.testing.assert_array_equal(keys_of(key), keys_of([1, 2]))
    written = [["1", "2"], ["1.0", "2.0"], np.array(["1", "2.0"]), [1.0, "2"], pd.Series([1, "2"])]
    for key in written:  # what files and columns with missing values make of each other
        np.testing.assert_array_equal(keys_of(key), keys_of([1, 2]))
    rng = np.random.default_rng(0)
    ids = rng.integers(-(10**6), 10**6, 1000)
    gaps = pd.Series(ids).astype(float)
    for key in (gaps, gaps.astype(str), ids.astype(str), pd.Series(ids, dtype="Int64")):
        np.testing.assert_array_equal(keys_of(key), keys_of(ids))
    others = ["1", "01", "1.", "1.00", "+1", " 1", "1e0", "1.5", "0", "-0", "-1", "A1", "\u0661"]
    assert len(set(keys_of(others).tolist())) == len(others)
    assert keys_of(["1", "x"])[0] == keys_of(["1"])[0] == keys_of([1])[0]  # alone as in a batch
    huge = ["1" * 25, "1" * 17]
    np.testing.assert_array_equal(keys_of(huge), keys_of([int(v) for v in huge]))
    np.testing.assert_array_equal(keys_of(huge[1:]), keys_of([int(huge[1])]))
    large = 10**17 + np.arange(1000)  # no float64 has them apart
    assert len(set(keys_of(large).tolist())) == 1000
    np.testing.assert_array_equal(keys_of(large.astype(object)), keys_of(large))
    with pytest.raises(fp.DataError, match="`key` has 1 missing"):
        keys_of(["a", None])
    with pytest.raises(fp.DataError, match="2 entries but there are 3 rows"):
        keys_of([1, 2], 3)


def test_columns_are_known_by_what_they_hold():
    frame = pd.DataFrame(X[:500], columns=list("abcde")).assign(t=RNG.choice(["u", "v"], 500))
    mixed = RNG.permutation(frame.columns)
    w = RNG.random(500)
    rows = RNG.permutation(500)
    order, again = column_order(frame, w), column_order(frame[mixed].iloc[rows], w[rows])
    np.testing.assert_array_equal(
        row_keys(frame, order)[rows], row_keys(frame[mixed].iloc[rows], again)
    )
    assert (row_keys(frame) != row_keys(frame[mixed])).any()  # control: by position


def test_rows_that_share_lots_are_noticed():
    n = np.zeros(1000, int)
    cell = np.arange(1000) % 5
    assert not shared_too_widely(n, cell, np.arange(1000).astype(np.uint64))
    assert shared_too_widely(n, cell, cell.astype(np.uint64))
    few = np.where(np.arange(1000) < 990, np.arange(1000), 0)
    assert not shared_too_widely(n, cell, few.astype(np.uint64))
    assert not shared_too_widely(n[:1], cell[:1], np.zeros(1, np.uint64))  # one row says nothing
