"""What becomes numbers, what does not, and what is said of it."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import fairprog as fp
from fairprog.numeric import as_numbers

N = 8
Y, A = [0, 1] * 4, [0, 0, 1, 1] * 2
FRAME = pd.DataFrame({"income": np.arange(N) ** 1.5, "years": np.arange(N) % 5})


def refused(X, words):
    with pytest.raises(fp.DataError, match=words) as caught:
        fp.Normal.fit(X, Y, sensitive_features=A)
    assert caught.value.argument == "X"


def test_columns_without_numbers_are_named():
    days = pd.date_range("2020", periods=N)
    refused(FRAME.assign(city="Paris", code="x"), r"column\(s\) 'city', 'code' hold none \(could")
    refused(FRAME.assign(since=days), r"column\(s\) 'since' hold none")
    refused(FRAME.assign(city=pd.Categorical(["a", "b"] * 4)), r"column\(s\) 'city' hold none")


def test_what_numpy_would_make_numbers_of_silently():
    """Nanoseconds since 1970, real parts, values under a mask."""
    days = pd.DataFrame({"since": pd.date_range("2020", periods=N)})
    refused(days, r"column\(s\) 'since' hold none \(its dtype is datetime64")
    refused(np.arange(N).astype("m8[s]"), "its dtype is timedelta64")
    refused(np.ones((N, 2)) + 1j, "its dtype is complex128")
    refused(np.ma.masked_less(np.arange(N), 3), r"found nan at position \(0,\) \(3 such")
    refused(sparse.eye_array(N, format="csr"), "it is sparse; pass its `toarray")


def test_missing_values_are_found_whatever_stands_for_them():
    holes = FRAME.where(FRAME["years"] != 2)
    for X in (holes, holes.convert_dtypes(), holes.astype(object)):
        refused(X, r"found nan at row 2, column 'income' \(4 such entries\). Drop these rows")
    refused(holes["years"].convert_dtypes(), r"found nan at position \(2,\)")


def test_numbers_stay_what_they_are():
    expected = FRAME.to_numpy(dtype=float)
    for X in (FRAME, FRAME.convert_dtypes(), FRAME.astype(object), FRAME.astype(str), expected):
        found = as_numbers(X, "X")
        assert found.dtype == np.float64
        np.testing.assert_array_equal(found, expected)
        assert not np.shares_memory(found, X)
    np.testing.assert_array_equal(as_numbers([True, False, None], "X"), [1, 0, np.nan])


def test_several_sensitive_columns_are_told_how_to_be_crossed():
    two = pd.DataFrame({"sex": ["f", "m"] * 4, "race": ["a", "a", "b", "b"] * 2})
    with pytest.raises(fp.DataError, match=r"Cross its columns first, such as by frame\.astype"):
        fp.Normal.fit(FRAME, Y, sensitive_features=two)
    one = two.astype(str).agg(" & ".join, axis=1)
    y = [0, 0, 0, 0, 1, 1, 1, 1]
    with pytest.raises(fp.DataError, match="group 'f & a' has 1 row"):  # read, and too few
        fp.Normal.fit(FRAME, y, sensitive_features=one)
