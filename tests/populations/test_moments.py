"""Moments gathered in pieces, anywhere, are the moments of all rows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fairprog as fp
from fairprog.kernels.moments import streaming


def rows(n=900, d=5, seed=0, dtype=np.float64, loc=0.0):
    rng = np.random.default_rng(seed)
    X = (rng.standard_normal((n, d)) * np.linspace(1.0, 2.0, d) + loc).astype(dtype)
    y, a = rng.integers(0, 3, n), rng.choice(["a", "b"], n)
    return X + y[:, None].astype(dtype), y, a


def gathered(X, y, a, pieces=1, weight=None, **options):
    out = fp.Moments(**options)
    for part in np.array_split(np.arange(len(X)), pieces):
        w = None if weight is None else weight[part]
        out.partial_fit(X[part], y[part], sensitive_features=a[part], sample_weight=w)
    return out


def same_bits(one, other):
    left, right = one.to_dict(), other.to_dict()
    for key in ("mean", "scatter", "mass", "count"):
        order = [
            right["slots" if key == "scatter" else "cells"].index(c)
            for c in left["slots" if key == "scatter" else "cells"]
        ]
        for x, k in zip(left[key], order, strict=True):
            if not np.array_equal(x, right[key][k]):
                return False
    return True


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


def test_float32_products_do_not_cancel():
    """Means of 1e4 standard deviations: the textbook sum of squares loses everything."""
    X, y, a = rows(4000, dtype=np.float64, loc=1e4)
    single = X.astype(np.float32)
    exact = fp.Normal.fit(single.astype(np.float64), y, sensitive_features=a)
    D = gathered(single, y, a, 7).population()
    assert np.abs(D.cov - exact.cov).max() < 2e-5
    np.testing.assert_allclose(D.mean, exact.mean, rtol=1e-8)
    cell = single[(y == 0) & (a == "a")]
    textbook = cell.T @ cell / len(cell) - np.outer(cell.mean(0), cell.mean(0))
    assert np.abs(textbook - exact.cov[0, 0]).max() > 0.5  # the control: it does matter


def layer_normed(n=1200, d=16, seed=0):
    """Return float32 rows with (x - bias)/gain summing to zero, as BERT returns them."""
    rng = np.random.default_rng(seed)
    y, a = rng.integers(0, 2, n), rng.choice(["a", "b"], n)
    X = rng.standard_normal((n, d)) @ rng.standard_normal((d, d)) / np.sqrt(d)
    X = (X + y[:, None] * rng.standard_normal(d)).astype(np.float32)
    X = (X - X.mean(1, keepdims=True)) / X.std(1, keepdims=True)
    gain, bias = rng.uniform(0.3, 2.0, d), rng.standard_normal(d)
    return X * gain.astype(np.float32) + bias.astype(np.float32), y, a


@pytest.mark.filterwarnings("ignore::fairprog.FairprogWarning")
@pytest.mark.parametrize("d", [16, 48, 96])
def test_float32_rows_of_a_layer_norm_lie_in_a_plane(d, monkeypatch):
    X, y, a = layer_normed(44 * d, d)
    single, double = gathered(X, y, a, 2), gathered(X.astype(np.float64), y, a, 2)
    D, E = single.population(), double.population()
    np.testing.assert_allclose(D.cov, E.cov, atol=3e-6)
    assert D.null_dimension == E.null_dimension == 1
    sol = fp.NearestIdeal(D, steer=["b"]).solve()
    assert sol.certificate.ok and np.isfinite(sol.kl)
    # the control: products in float32 alone see a variance where there is none
    monkeypatch.setattr(streaming, "_resolves", lambda S: True)
    blurred = gathered(X, y, a, 2).to_dict()["scatter"][0]
    scale = 1.0 / np.sqrt(np.diag(blurred))
    least = np.linalg.eigvalsh(blurred * np.outer(scale, scale))[0]
    assert 1e-9 < abs(least) < 1e-5


def test_ordinary_float32_rows_are_multiplied_in_float32():
    X, y, a = rows(3000, d=8, dtype=np.float32)
    single, double = gathered(X, y, a), gathered(X.astype(np.float64), y, a)
    assert not same_bits(single, double)
    np.testing.assert_allclose(single.population().cov, double.population().cov, atol=3e-6)


@pytest.mark.parametrize("gap", [1e-2, 3e-4])
def test_small_directions_of_float32_rows_keep_their_variance(gap, monkeypatch):
    """Two columns all but alike: at unit variances their difference has gap^2 / 2."""
    X, y, a = rows(4000, d=6)
    X[:, 1] = X[:, 0] + gap * np.random.default_rng(1).standard_normal(len(X))
    X = X.astype(np.float32)
    apart = np.eye(6)[0] - np.eye(6)[1]

    def variance(rows):
        D = gathered(rows, y, a, 2).population()
        assert D.null_dimension == 0
        return apart @ D.cov[1, 0] @ apart

    exact = variance(X.astype(np.float64))
    assert variance(X) == pytest.approx(exact, rel=1e-7)
    monkeypatch.setattr(streaming, "_resolves", lambda S: True)  # the control
    control = gathered(X, y, a, 2).to_dict()
    blurred = control["scatter"][control["slots"].index((1, "a"))]
    blurred = apart @ blurred @ apart / control["mass"][control["cells"].index((1, "a"))]
    assert abs(blurred / exact - 1.0) > 1e-5


@pytest.mark.parametrize("condition", [1e4, 1e8])
def test_ill_conditioned_float64_rows_lose_no_direction(condition):
    """A ratio of variances of 1e8 at unit variances is kept; one of 1e14 is rounding."""
    X, y, a = rows(4000, d=6)
    noise = np.random.default_rng(1).standard_normal(len(X))
    X[:, 1] = X[:, 0] + noise * 2.0 / np.sqrt(condition)
    assert gathered(X, y, a).population().null_dimension == 0
    X[:, 1] = X[:, 0] + noise * 1e-7
    assert gathered(X, y, a).population().null_dimension == 1


@pytest.mark.parametrize("covariance", ["full", "tied"])
def test_only_the_cells_that_need_it_are_summed_in_float64(covariance, monkeypatch):
    X, y, a = rows(4000, d=6, dtype=np.float32)
    X[a == "b", 1] = X[a == "b", 0]
    weight = np.random.default_rng(2).uniform(0.0, 2.0, len(X)) * (np.arange(len(X)) % 5 > 0)
    found = gathered(X, y, a, 2, weight, covariance=covariance).to_dict()
    exact = gathered(X.astype(np.float64), y, a, 2, weight, covariance=covariance).to_dict()
    assert found["count"] == exact["count"] and found["mass"] == exact["mass"]
    for slot, S, E in zip(found["slots"], found["scatter"], exact["scatter"], strict=True):
        assert np.array_equal(S, E) == ("b" in slot)
        np.testing.assert_allclose(S, E, atol=1e-5 * E.max())
    np.testing.assert_allclose(found["mean"], exact["mean"], atol=1e-6)


def test_squares_that_overflow_float32_are_taken_in_float64():
    X, y, a = rows(900, dtype=np.float32)
    small, large = gathered(X, y, a).population(), gathered(X * np.float32(2.0**80), y, a)
    np.testing.assert_allclose(large.population().cov / 2.0**160, small.cov, rtol=1e-4, atol=1e-5)


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


# ------------------------------------------------------------------------- files, interruptions


@pytest.mark.parametrize("suffix", [".npz", ".json"])
def test_saved_and_loaded_to_the_bit(tmp_path, suffix):
    X, y, a = rows()
    moments = gathered(X, y, a, 3)
    moments.save(tmp_path / f"moments{suffix}")
    again = fp.load(tmp_path / f"moments{suffix}")
    assert same_bits(moments, again) and again.n_chunks == 3
    assert same_bits(
        moments.partial_fit(X, y, sensitive_features=a),
        again.partial_fit(X, y, sensitive_features=a),
    )


def chunks(X, y, a, pieces=12, stop=None):
    for k, part in enumerate(np.array_split(np.arange(len(X)), pieces)):
        if k == stop:
            raise KeyboardInterrupt
        yield X[part], y[part], a[part]


def test_interrupted_and_resumed_ends_with_the_same_bits(tmp_path):
    X, y, a = rows()
    whole = fp.Moments().update(chunks(X, y, a), progress=False)
    path = tmp_path / "moments.npz"
    with pytest.raises(KeyboardInterrupt):
        fp.Moments().update(chunks(X, y, a, stop=8), checkpoint=path, every=3, progress=False)
    assert fp.load(path).n_chunks == 6
    resumed = fp.Moments().update(chunks(X, y, a), checkpoint=path, every=3, progress=False)
    assert same_bits(whole, resumed) and resumed.n_chunks == 12
    again = fp.Moments().update(chunks(X, y, a), checkpoint=path, progress=False)
    assert same_bits(whole, again)  # finished work is not done twice
    with pytest.raises(fp.ModelError, match="start from empty"):
        resumed.update(chunks(X, y, a), checkpoint=path, progress=False)
    with pytest.raises(fp.DataError, match="not a checkpoint"):
        fp.Moments("tied").update(chunks(X, y, a), checkpoint=path, progress=False)


def test_chunks_after_earlier_rows_are_all_added():
    """Only what a checkpoint holds is skipped."""
    X, y, a = rows()
    before = gathered(X, y, a)
    both = gathered(X, y, a).update(chunks(X, y, a), progress=False)
    assert both.n_rows == 2 * before.n_rows and both.n_chunks == 13
    with pytest.raises(fp.ModelError, match="start from empty"):
        both.update(chunks(X, y, a), checkpoint="none.npz", progress=False)


def tables(X, y, a, kind, pieces=4):
    import pandas as pd

    for part in np.array_split(np.arange(len(X)), pieces):
        frame = pd.DataFrame(X[part], columns=[f"x{j}" for j in range(X.shape[1])])
        frame = frame.assign(job=y[part], sex=a[part], weight=1.0 + (part % 3))
        if kind == "frame":
            yield frame
        else:
            pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
            yield getattr(pa, kind).from_pandas(frame)


@pytest.mark.parametrize("kind", ["frame", "RecordBatch", "Table"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_data_frames_and_arrow_batches_are_chunks(kind, dtype):
    X, y, a = rows(dtype=dtype)
    names = {"y": "job", "sensitive_features": "sex", "sample_weight": "weight"}
    found = fp.Moments().update(tables(X, y, a, kind), **names, progress=False)
    weight = 1.0 + np.arange(len(X)) % 3
    assert same_bits(found, gathered(X, y, a, 4, weight))
    assert found.feature_names == ("x0", "x1", "x2", "x3", "x4")


def test_parquet_row_groups_and_columns_of_lists(tmp_path):
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    from pyarrow import parquet

    X, y, a = rows(dtype=np.float32)
    flat = pa.array(X.ravel())
    table = pa.table({"embedding": pa.FixedSizeListArray.from_arrays(flat, 5), "job": y, "sex": a})
    parquet.write_table(table, tmp_path / "rows.parquet", row_group_size=300)
    batches = parquet.ParquetFile(tmp_path / "rows.parquet").iter_batches(batch_size=300)
    found = fp.Moments().update(batches, y="job", sensitive_features="sex", progress=False)
    assert same_bits(found, gathered(X, y, a, 3)) and found.n_chunks == 3


def test_tables_say_which_column_is_missing():
    X, y, a = rows()
    with pytest.raises(fp.DataError, match="Chunk 0 is a table; say which"):
        fp.Moments().update(tables(X, y, a, "frame"), progress=False)
    with pytest.raises(fp.DataError, match="`sensitive_features` names the column 'gender'"):
        fp.Moments().update(
            tables(X, y, a, "frame"), y="job", sensitive_features="gender", progress=False
        )


@pytest.mark.filterwarnings("ignore")
def test_a_dask_cluster_of_two_gathers_the_same_bits():
    distributed = pytest.importorskip("distributed", reason="dask is not installed")
    da = pytest.importorskip("dask.array", reason="dask is not installed")
    X, y, a = rows(1200, dtype=np.float32)
    groups = (a == "b").astype(int)
    alone = fp.Moments()
    for part in np.split(np.arange(1200), 6):
        alone.partial_fit(X[part], y[part], sensitive_features=groups[part])
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster),
    ):
        together = fp.Moments.from_dask(
            da.from_array(X, chunks=(200, 3)),
            da.from_array(y, chunks=300),
            sensitive_features=da.from_array(groups, chunks=200),
        )
    assert same_bits(alone, together) and together.n_chunks == 6


# ------------------------------------------------------------------------------------ shrinkage


def test_shrinkage_is_towards_the_own_groups_pooled_covariance():
    X, y, a = rows()
    moments = gathered(X, y, a)
    D, tied = moments.population(), moments.population(covariance="tied")
    half = moments.population(shrinkage=0.5)
    np.testing.assert_allclose(half.cov, 0.5 * (D.cov + tied.cov), rtol=1e-12)
    np.testing.assert_allclose(moments.population(shrinkage=1.0).cov, tied.cov, rtol=1e-12)


def test_automatic_shrinkage_is_near_the_best_and_vanishes_with_n():
    rng = np.random.default_rng(0)
    d = 8
    roots = [np.diag(np.linspace(1.0, s, d)) for s in (0.6, 1.8)]
    truth = np.stack([R @ R.T for R in roots])
    losses = {"auto": [], 0.0: [], 1.0: []}
    used = []
    for n in (30, 30, 30, 30, 30, 30, 3000):
        X = np.concatenate([rng.standard_normal((n, d)) @ R for R in (*roots, *roots)])
        y, a = np.repeat([0, 1, 0, 1], n), np.repeat([0, 0, 1, 1], n)
        moments = gathered(X, y, a)
        with pytest.warns(fp.FairprogWarning) if n < 5 * d else _quiet():
            covs = {s: moments.population(shrinkage=s).cov for s in ("auto", 1.0)}
        with pytest.warns(fp.FairprogWarning) if n < 5 * d else _quiet():
            covs[0.0] = moments.population().cov
        for s, cov in covs.items():
            if n == 30:
                losses[s].append(np.sum((cov[:, 0] - truth) ** 2))
        used.append(np.abs(covs["auto"] - covs[0.0]).max() / np.abs(covs[0.0]).max())
    assert np.mean(losses["auto"]) < 0.9 * min(np.mean(losses[0.0]), np.mean(losses[1.0]))
    assert used[-1] < 0.05 < used[0]


def _quiet():
    from contextlib import nullcontext

    return nullcontext()


# ------------------------------------------------------------------------------------ bad input


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


def test_a_checkpoint_of_other_work_is_refused(tmp_path):
    rng = np.random.default_rng(0)
    chunks = [(rng.normal(size=(20, 2)), rng.integers(2, size=20), [0, 1] * 10) for _ in range(4)]
    path = tmp_path / "moments.npz"
    fp.Moments().update(chunks, checkpoint=path, progress=False)
    again = fp.Moments().update(chunks, checkpoint=path, progress=False)
    assert again.n_rows == 80
    with pytest.raises(fp.DataError, match="has seen 4 chunks, and here are 2"):
        fp.Moments().update(chunks[:2], checkpoint=path, progress=False)


@pytest.mark.parametrize("shrinkage", [0.0, 0.5, "auto"])
def test_a_cell_of_one_row_has_no_covariance(shrinkage):
    rng = np.random.default_rng(0)
    y, a = np.array([0] * 20 + [1] * 20), np.array([0, 1] * 20)
    y[39] = 2
    y[38] = 2
    moments = fp.Moments().partial_fit(rng.normal(size=(40, 2)), y, sensitive_features=a)
    with pytest.raises(fp.DataError, match="at least 2"):
        moments.population(shrinkage=shrinkage)


def test_a_wide_layer_is_told_of_shrinkage():
    """What a hook can use: shrunk covariances, which solve; not principal components."""
    rng = np.random.default_rng(0)
    n, d = 400, 120
    y, a = rng.integers(0, 4, n), rng.integers(0, 2, n)
    X = rng.normal(size=(n, d))
    X[:, 0] += y
    moments = fp.Moments()
    moments.partial_fit(X, y, sensitive_features=a)
    with pytest.raises(fp.DataError, match="shrinkage='auto'"):
        moments.population()
    with pytest.warns(fp.FairprogWarning, match="shrunk"):
        D = moments.population(shrinkage="auto")
    assert fp.NearestIdeal(D, steer=[1]).solve().certificate.ok


@pytest.mark.parametrize("covariance", ["full", "tied"])
@pytest.mark.parametrize("weighted", [False, True])
def test_weak_directions_alone_are_summed_in_float64(covariance, weighted, monkeypatch):
    """After a layer norm: the constant direction to float64's digits, all others to float32's."""
    from fairprog.kernels.moments import streaming

    rng = np.random.default_rng(0)
    n, d = 6000, 48
    X = rng.normal(size=(n, d)) @ (np.eye(d) + 0.1 * rng.normal(size=(d, d))) + 2.0
    X = (X - X.mean(axis=1, keepdims=True)) / X.std(axis=1, keepdims=True)
    X = (X * rng.uniform(0.5, 2.0, d) + rng.normal(size=d)).astype(np.float32)
    y, a = rng.integers(2, size=n), rng.integers(3, size=n)
    w = rng.uniform(0.5, 2.0, n) if weighted else None
    passes = []
    whole = streaming._add
    monkeypatch.setattr(streaming, "_add", lambda *args: passes.append(1) or whole(*args))
    rows = {"sensitive_features": a, "sample_weight": w}
    found = fp.Moments(covariance).partial_fit(X, y, **rows)
    assert len(passes) == 1  # control: nothing was summed whole again
    exact = fp.Moments(covariance).partial_fit(X.astype(float), y, **rows)
    for cell, mean in exact._sums.mean.items():
        assert np.abs(found._sums.mean[cell] - mean).max() < 1e-12
    for slot, S in exact._sums.scatter.items():
        unit = 1.0 / np.sqrt(np.diag(S))
        one, other = (M * np.outer(unit, unit) for M in (found._sums.scatter[slot], S))
        null = np.linalg.eigh(other)[1][:, 0]
        assert np.abs(one - other).max() < 1e-5
        assert np.abs((one - other) @ null).max() < 1e-11
        assert abs(null @ one @ null) < 1e-12


def test_one_amount_of_shrinkage_is_no_range():
    """It was said that covariances were shrunk by 0.2 to 0.2."""
    rng = np.random.default_rng(0)
    X, y, a = rng.normal(size=(40, 3)), np.arange(40) % 2, np.arange(40) // 20
    with pytest.warns(fp.FairprogWarning, match=r"pooled one by 0\.2\.$"):
        fp.IdealSteering(steer=[1], shrinkage=0.2).fit(X, y, sensitive_features=a)
