"""Moments gathered in pieces, anywhere, are the moments of all rows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fairprog as fp
from fairprog.kernels.moments import streaming
from tests.gathered_rows import gathered, rows, same_bits


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 9), st.booleans())
def test_pieces_make_the_population_of_all_rows(seed, pieces, weighted):
    X, y, a = rows(seed=seed)
    w = np.random.default_rng(seed).uniform(0.0, 2.0, len(X)) if weighted else None
    if weighted:
        w[::7] = 0.0
    D = gathered(X, y, a, pieces, w).population()
    E = fp.Normal.fit(X, y, sensitive_features=a, sample_weight=w)
    np.testing.assert_allclose(D.prior, E.prior, rtol=1e-12)
    np.testing.assert_allclose(D.mean, E.mean, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(D.cov, E.cov, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("covariance", ["full", "tied", "diagonal"])
def test_merging_in_any_order_gives_the_same(covariance):
    X, y, a = rows()
    parts = np.array_split(np.arange(len(X)), 4)
    pieces = [gathered(X[p], y[p], a[p], covariance=covariance) for p in parts]
    forth, back = fp.Moments(covariance), fp.Moments(covariance)
    for piece in pieces:
        forth.merge(piece)
    for piece in pieces[::-1]:
        back.merge(piece)
    once = gathered(X, y, a, covariance=covariance).population()
    for D in (forth.population(), back.population()):
        np.testing.assert_allclose(D.mean, once.mean, rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(D.cov, once.cov, rtol=1e-11, atol=1e-13)
    assert forth.n_rows == back.n_rows == len(X)


def test_what_is_kept_agrees_with_what_can_be_derived():
    X, y, a = rows()
    full = gathered(X, y, a, 3)
    for form in ("tied", "diagonal"):
        D, E = full.population(covariance=form), gathered(X, y, a, 5, covariance=form).population()
        np.testing.assert_allclose(D.cov, E.cov, rtol=1e-11, atol=1e-13)
    tied = full.population(covariance="tied").cov
    by_hand = (
        sum(
            (X[(y == i) & (a == "b")] - X[(y == i) & (a == "b")].mean(0)).T
            @ (X[(y == i) & (a == "b")] - X[(y == i) & (a == "b")].mean(0))
            for i in range(3)
        )
        / (a == "b").sum()
    )
    np.testing.assert_allclose(tied[0, 1], by_hand, rtol=1e-11)
    assert np.array_equal(tied[0], tied[2])


@pytest.mark.parametrize("covariance", ["full", "tied"])
def test_too_many_features_for_memory_are_refused_with_a_way_out(covariance):
    d = 3_000_000
    X, y, a = np.zeros((4, d), np.float32), [0, 0, 1, 1], [0, 1, 0, 1]
    size = 8.0 * d**2 / 2**30 * (2 if covariance == "tied" else 4)
    with pytest.raises(fp.DataError, match="covariance='diagonal' keeps variances only") as caught:
        fp.Moments(covariance).partial_fit(X, y, sensitive_features=a)
    assert f"{size:.3g} GiB" in str(caught.value) and isinstance(
        caught.value.__cause__, MemoryError
    )
    assert fp.Moments("diagonal").partial_fit(X, y, sensitive_features=a).n_rows == 4


def test_drifting_and_sorted_streams_stay_stable():
    X, y, a = rows(6000)
    X = X + np.linspace(0.0, 1e6, len(X))[:, None]  # the first rows say nothing about the last
    D = gathered(X, y, a, 60).population()
    E = fp.Normal.fit(X, y, sensitive_features=a)
    np.testing.assert_allclose(D.cov, E.cov, rtol=1e-10)


def test_blocks_and_windows_change_nothing_but_rounding(monkeypatch):
    X, y, a = rows(3000, d=4)
    before = gathered(X, y, a).population()
    monkeypatch.setattr(streaming, "BLOCK_BYTES", 64 * 8 * 4)
    monkeypatch.setattr(streaming, "WINDOW_BYTES", 200 * 8 * 4)
    np.testing.assert_allclose(gathered(X, y, a).population().cov, before.cov, rtol=1e-12)


def test_a_memory_map_is_read_as_it_lies(tmp_path):
    X, y, a = rows(dtype=np.float32)
    X.tofile(tmp_path / "rows.f32")
    mapped = np.memmap(tmp_path / "rows.f32", dtype=np.float32, mode="r", shape=X.shape)
    assert same_bits(gathered(mapped, y, a), gathered(X, y, a))


def test_labels_may_appear_late_and_are_sorted():
    moments = fp.Moments()
    X, y, a = rows()
    for label in ("b", "a"):
        here = a == label
        moments.partial_fit(X[here], y[here], sensitive_features=a[here])
    D = moments.population()
    assert D.groups == ("a", "b") and D.classes == (0, 1, 2)
    given_order = gathered(X, y, a, groups=["b", "a"], classes=[2, 0, 1]).population()
    assert given_order.groups == ("b", "a") and given_order.classes == (2, 0, 1)
    np.testing.assert_allclose(given_order.mean[1, 1], D.mean[0, 0], rtol=1e-12)


# -- bad input --


def test_an_error_leaves_everything_as_it_was():
    X, y, a = rows()
    moments = gathered(X, y, a)
    before = gathered(X, y, a)
    broken = X.copy()
    broken[17, 2] = np.nan
    with pytest.raises(fp.DataError, match="found nan in row 17, column 2"):
        moments.partial_fit(broken, y, sensitive_features=a)
    with pytest.raises(fp.DataError, match="has 4 features; the rows before had 5"):
        moments.partial_fit(X[:, :4], y, sensitive_features=a)
    with pytest.raises(fp.DataError, match="`y` has 3 entries"):
        moments.partial_fit(X, y[:3], sensitive_features=a)
    with pytest.raises(fp.DataError, match="`sensitive_features` is required"):
        moments.partial_fit(X, y, sensitive_features=None)
    assert same_bits(moments, before) and moments.n_chunks == 1


def test_messages_say_what_is_wrong():
    X, y, a = rows()
    with pytest.raises(fp.ModelError, match="must be one of"):
        fp.Moments("sparse")
    with pytest.raises(fp.DataError, match="No rows have been gathered"):
        fp.Moments().population()
    with pytest.raises(fp.DataError, match="not seen before"):
        gathered(X, y, a, classes=[0, 1])
    hole = ~((y == 2) & (a == "b"))
    with pytest.raises(fp.DataError, match="Class 2, group 'b' has no rows"):
        gathered(X[hole], y[hole], a[hole]).population()
    with pytest.raises(fp.ModelError, match="'tied' ones were gathered"):
        gathered(X, y, a, covariance="tied").population(covariance="full")
    with pytest.raises(fp.ModelError, match="lie in"):
        gathered(X, y, a).population(shrinkage=2.0)
    with pytest.raises(fp.ModelError, match="moments of log X"):
        gathered(X, y, a).population("lognormal")
    with pytest.raises(fp.ModelError, match="must be Moments"):
        gathered(X, y, a).merge(gathered(X, y, a, covariance="tied"))
    with pytest.raises(fp.DataError, match="known are"):
        fp.Moments(classes=[0, 1]).merge(gathered(X, y, a))
    with pytest.raises(fp.DataError, match="Chunk 0 must be"):
        fp.Moments().update([X], progress=False)
    with pytest.raises(fp.DataError, match="numbers"):
        fp.Moments().partial_fit([["x"]], [0], sensitive_features=[0])
    with pytest.raises(fp.DataError, match="overflow"):
        gathered(np.array([1e300, -1e300, 1e300, 0.0]), np.zeros(4), np.zeros(4))
