"""Rows aligned block by block are the rows aligned at once, wherever they lie and go."""

import numpy as np
import pytest

import fairprog as fp
from fairprog import row_blocks
from tests.instances import multivariate


@pytest.fixture(scope="module")
def solved():
    rng = np.random.default_rng(0)
    d = 5
    cov = np.stack([[A @ A.T + np.eye(d) for A in rng.normal(size=(2, d, d))] for _ in range(2)])
    D = fp.Normal(np.full((2, 2), 0.25), rng.normal(size=(2, 2, d)), cov=cov, groups=["a", "b"])
    X, _, a = D.sample(1000, random_state=1)
    return fp.NearestIdeal(D, ["b"]).solve(), X, a


def by_hand(sol, X, a):
    out = X.astype(float)
    T = sol.maps["b"].inverse()
    out[a == "b"] = out[a == "b"] @ T.matrix.T + T.offset
    return out


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(row_blocks, "BLOCK_BYTES", 7 * 8 * 5)


def test_blocks_change_nothing(solved, small_blocks):
    sol, X, a = solved
    found = sol.align(X, sensitive_features=a)
    np.testing.assert_allclose(found, by_hand(sol, X, a), rtol=1e-13, atol=1e-13)
    np.testing.assert_array_equal(found[a == "a"], X[a == "a"])
    np.testing.assert_allclose(sol.maps["b"](found[a == "b"]), X[a == "b"], atol=1e-12)
    lists = sol.align(X.tolist(), sensitive_features=a)
    np.testing.assert_allclose(lists, found, atol=1e-13)
    whole = sol.align(np.round(X).astype(int), sensitive_features=a)
    np.testing.assert_allclose(whole, by_hand(sol, np.round(X), a), atol=1e-12)


def test_types_are_those_asked_for(solved):
    sol, X, a = solved
    single = X.astype(np.float32)
    assert sol.align(single, sensitive_features=a).dtype == np.float64
    fast = sol.align(single, sensitive_features=a, dtype=np.float32)
    assert fast.dtype == np.float32
    np.testing.assert_allclose(fast, by_hand(sol, X, a), atol=1e-4)
    out = np.empty_like(single)
    assert sol.align(single, sensitive_features=a, out=out) is out
    np.testing.assert_array_equal(out, fast)
    T = sol.maps["b"]
    assert T(single, dtype=np.float32).dtype == np.float32 and T(single).dtype == np.float64
    with pytest.raises(fp.DataError, match="float32 or float64"):
        sol.align(X, sensitive_features=a, dtype=np.int64)
    with pytest.raises(fp.DataError, match="that of `out`"):
        sol.align(X, sensitive_features=a, dtype=np.float64, out=out)
    with pytest.raises(fp.DataError, match="writable array of shape"):
        sol.align(X, sensitive_features=a, out=np.empty((3, 5)))


def test_in_place(solved, small_blocks):
    sol, X, a = solved
    rows = X.copy()
    assert sol.align(rows, sensitive_features=a, out=rows) is rows
    np.testing.assert_allclose(rows, by_hand(sol, X, a), atol=1e-13)
    rows = X.copy()
    sol.maps["b"](rows, out=rows)
    np.testing.assert_allclose(rows, sol.maps["b"](X), atol=1e-13)


def test_an_out_that_overlaps_is_refused_but_the_rows_themselves_are_not(solved):
    sol, X, a = solved
    rows = np.vstack([X, X[:1]])
    whole = sol.align(X, sensitive_features=a)
    with pytest.raises(fp.DataError, match="overlaps"):
        sol.align(rows[:-1], sensitive_features=a, out=rows[1:])
    assert np.array_equal(rows[:-1], X)
    sol.align(rows[:-1], sensitive_features=a, out=rows[:-1])  # another view of the same rows
    assert np.allclose(rows[:-1], whole)


def test_from_a_memory_map_to_a_file(solved, small_blocks, tmp_path):
    sol, X, a = solved
    np.save(tmp_path / "rows.npy", X.astype(np.float32))
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    target = tmp_path / "aligned.npy"
    found = sol.align(mapped, sensitive_features=a, dtype=np.float32, out=target)
    assert isinstance(found, np.memmap) and not found.flags.writeable
    np.testing.assert_array_equal(
        np.load(target), sol.align(mapped, sensitive_features=a, dtype="f4")
    )
    before = target.read_bytes()
    broken = X.copy()
    broken[700, 2] = np.nan
    with pytest.raises(fp.DataError, match=r"found nan at position \(700, 2\)"):
        sol.align(broken, sensitive_features=a, out=target)
    assert target.read_bytes() == before and sorted(p.name for p in tmp_path.iterdir()) == [
        "aligned.npy",
        "rows.npy",
    ]
    with pytest.raises(fp.DataError, match=r"ends in \.npy"):
        sol.align(X, sensitive_features=a, out=tmp_path / "rows.csv")


def test_chunks_are_asked_for_one_by_one(solved):
    sol, X, a = solved
    asked = []

    def chunks():
        for k in range(4):
            asked.append(k)
            yield X[250 * k : 250 * k + 250], a[250 * k : 250 * k + 250]

    aligned = sol.align_chunks(chunks())
    assert not asked
    first = next(aligned)
    assert asked == [0] and first.shape == (250, 5)
    np.testing.assert_allclose(
        np.concatenate([first, *aligned]), sol.align(X, sensitive_features=a), atol=1e-13
    )


def test_families_with_a_bijection_keep_the_group_that_stays(small_blocks):
    D = fp.LogNormal([[0.3, 0.2], [0.3, 0.2]], [[0.0, 1.0], [2.0, 2.0]], std=[[1, 1], [1, 2.0]])
    sol = fp.NearestIdeal(D, [1]).solve()
    X, _, a = D.sample(300, random_state=0)
    found = sol.align(X[:, 0], sensitive_features=a)
    assert found.shape == (300,)
    np.testing.assert_array_equal(found[a == 0], X[a == 0, 0])  # to the bit
    np.testing.assert_allclose(found[a == 1], sol.maps[1].inverse()(X[a == 1, 0]), rtol=1e-13)
    X[200] = -1.0
    with pytest.raises(
        fp.DataError, match=r"Counting rows from 175: `X` must be positive.*row 25"
    ):
        sol.align(X, sensitive_features=a)


def test_bad_rows_are_named(solved):
    sol, X, a = solved
    with pytest.raises(fp.DataError, match="has 4 features"):
        sol.align(X[:, :4], sensitive_features=a)
    with pytest.raises(fp.DataError, match="shape"):
        sol.align(X[None], sensitive_features=a)
    with pytest.raises(fp.DataError, match="not seen before"):
        sol.align(X, sensitive_features=np.repeat("c", len(X)))
    huge = np.full((2, 5), 1e308)  # a sum that overflows is not a missing value
    assert sol.align(huge, sensitive_features=["a", "a"]).shape == (2, 5)


@pytest.mark.parametrize("d", [30, 80])
def test_float32_keeps_its_digits_far_from_the_origin(d, monkeypatch):
    """Products are taken about the group's mean: what is lost is the rounding of the result."""
    rng = np.random.default_rng(0)
    D = multivariate(rng, d)
    D = fp.Normal(D.prior, D.location + 1e4, cov=D.cov, groups=D.groups)
    sol = fp.NearestIdeal(D, steer=["b"]).solve()
    X, _, _ = D.sample(500, random_state=0)
    X, a = X.astype(np.float32), np.repeat("b", 500)

    def lost():
        exact = sol.align(X.astype(np.float64), sensitive_features=a)
        return np.abs(sol.align(X, sensitive_features=a, dtype=np.float32) - exact).max()

    last_place = 2.0 * np.spacing(np.float32(1e4))
    assert lost() < last_place
    monkeypatch.setattr("fairprog.solution.moved_rows.FAR", np.inf)  # control
    assert lost() > 2 * last_place


@pytest.mark.parametrize("family", ["normal", "lognormal", "yeo-johnson"])
def test_the_solution_of_a_step_knows_its_columns_by_name(family, tmp_path):
    table = fp.datasets.load_applicants(400).assign(kind=lambda t: t.index % 2)
    X, y, a = table[["score", "kind", "log_years"]].abs() + 1.0, table["good"], table["group"]
    step = fp.IdealSteering(["b"], family=family, snap=False).fit(X, y, sensitive_features=a)
    step.save(tmp_path / "step.json")
    for own in (step, fp.load(tmp_path / "step.json")):
        sol = own.solution_
        assert own.population_.feature_names == sol.population.feature_names == tuple(X.columns)
        moved = sol.align(X, sensitive_features=a)
        np.testing.assert_array_equal(moved, own.transform(X, sensitive_features=a))
        for other in (X[["log_years", "kind", "score"]], X.rename(columns={"score": "points"})):
            with pytest.raises(fp.DataError, match="the population was fitted on"):
                sol.align(other, sensitive_features=a)
            with pytest.raises(fp.DataError, match="the population was fitted on"):
                sol.drift(other, y, sensitive_features=a)


def test_the_names_are_those_of_the_columns_that_move():
    table = fp.datasets.load_applicants(400)
    table = table.assign(x=table.index % 3 == 0, y=table.index % 3 == 1, z=table.index % 3 == 2)
    X, y, a = table[["score", *"xyz", "log_years"]].astype(float), table["good"], table["group"]
    step = fp.IdealSteering(["b"], sensitive_column="group")
    step.fit(X.assign(group=a)[["group", *X.columns]], y)
    assert step.solution_.original.feature_names == ("score", "log_years")
    step = fp.IdealSteering(["b"]).fit(X.to_numpy(), y, sensitive_features=a)
    assert step.solution_.original.feature_names is None


def test_align_of_a_step_is_its_transform_but_for_tied_columns():
    table = fp.datasets.load_applicants(400)
    X = table[["score", "log_years"]].assign(points=table["score"].round())
    y, a = table["good"], table["group"]
    step = fp.IdealSteering(["b"]).fit(X, y, sensitive_features=a)
    moved = step.transform(X, sensitive_features=a)
    aligned = step.solution_.align(X, sensitive_features=a).to_numpy()
    np.testing.assert_array_equal(moved[:, :2], aligned[:, :2])
    assert (moved[:, 2] == np.rint(moved[:, 2])).all()
    assert (aligned[a == "b", 2] != np.rint(aligned[a == "b", 2])).all()
    assert "where columns are tied" in step.__doc__
