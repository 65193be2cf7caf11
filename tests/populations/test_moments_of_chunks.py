"""Moments of chunks: checkpoints, data frames, Arrow, Parquet and Dask give the same bits."""

import numpy as np
import pytest

import fairprog as fp
from tests.gathered_rows import chunks, gathered, rows, same_bits


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


def test_a_checkpoint_of_other_work_is_refused(tmp_path):
    rng = np.random.default_rng(0)
    chunks = [(rng.normal(size=(20, 2)), rng.integers(2, size=20), [0, 1] * 10) for _ in range(4)]
    path = tmp_path / "moments.npz"
    fp.Moments().update(chunks, checkpoint=path, progress=False)
    again = fp.Moments().update(chunks, checkpoint=path, progress=False)
    assert again.n_rows == 80
    with pytest.raises(fp.DataError, match="has seen 4 chunks, and here are 2"):
        fp.Moments().update(chunks[:2], checkpoint=path, progress=False)
