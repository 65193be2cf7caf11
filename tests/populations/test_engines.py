"""Counts and moments out of engines: Arrow, SQL, dask; files; the same bits in any order."""

import itertools

import numpy as np
import pytest

import fairprog as fp

RNG = np.random.default_rng(3)
N = 3000
S = np.round(RNG.beta(2, 2, N), 3)
Y, A = (RNG.uniform(size=N) < S).astype(int), RNG.choice(["f", "m", "x"], N)
BINS = [None, 20]


def counted(bins, rows=slice(None), weight=None):
    counts = fp.ScoreCounts(bins)
    w = None if weight is None else weight[rows]
    return counts.partial_fit(S[rows], Y[rows], sensitive_features=A[rows], sample_weight=w)


def same(one, other):
    """Whether two populations of counts agree to the bit."""
    arrays = ("joint", "prior", "values", "n_rows")
    return all(np.array_equal(getattr(one, k), getattr(other, k)) for k in arrays) and (
        one.effective_rows == other.effective_rows
    )


def test_scores_are_sorted_by_cells_only(monkeypatch):
    """Whether scores and labels were exchanged shows in a few rows; places come of the merge."""
    unique, search = np.unique, np.searchsorted
    sizes = []

    def note(x, size):
        sizes.append(size * (np.asarray(x).dtype.kind == "f"))
        return x

    monkeypatch.setattr(np, "unique", lambda x, *a, **k: unique(note(x, np.size(x)), *a, **k))
    monkeypatch.setattr(np, "searchsorted", lambda x, v, *a: search(note(x, np.size(v)), v, *a))
    population = counted(None).population()
    assert max(sizes) <= 1000 < N
    assert np.array_equal(population.values, unique(S))
    with pytest.raises(fp.DataError, match="scores and labels swapped"):
        fp.ScoreCounts().partial_fit(np.sort(Y), S, sensitive_features=A)


@pytest.mark.parametrize("bins", BINS)
def test_pieces_merge_to_the_same_bits_in_any_order(bins):
    """Sums of scores in bins too: plain sums of float64 depend on their order."""
    whole = counted(bins).population()
    cuts = [slice(0, 700), slice(700, 800), slice(800, 2999), slice(2999, N)]
    for order in itertools.permutations(cuts):
        merged = fp.ScoreCounts(bins)
        for rows in order:
            merged.merge(counted(bins, rows))
        assert same(merged.population(), whole)
    assert not bins or whole.values == pytest.approx(
        [S[(S * 20).astype(int) == k].mean() for k in range(20)], abs=1e-12
    )


@pytest.mark.parametrize("bins", BINS)
@pytest.mark.parametrize("weighted", [False, True])
def test_files_and_arrow_lose_nothing(tmp_path, bins, weighted):
    pytest.importorskip("pyarrow")
    counts = counted(bins, weight=RNG.uniform(0.5, 2.0, N) if weighted else None)
    counts.save(tmp_path / "counts.npz")
    again = fp.load(tmp_path / "counts.npz")
    table = fp.ScoreCounts.from_arrow(counts.to_arrow(), bins=bins)
    for other in (again, table):
        assert same(other.population(), counts.population()) and repr(other) == repr(counts)
    rest = counted(bins, slice(0, 10))
    assert same(again.merge(rest).population(), counts.merge(rest).population())


def test_tables_of_pieces_are_concatenated():
    pa = pytest.importorskip("pyarrow")
    pieces = [counted(20, slice(k, k + 1000)).to_arrow() for k in (0, 1000, 2000)]
    table = pa.concat_tables(pieces[::-1])
    assert same(fp.ScoreCounts.from_arrow(table, bins=20).population(), counted(20).population())


@pytest.mark.parametrize("bins", BINS)
def test_one_group_by_gives_the_counts(bins):
    duckdb, pd = pytest.importorskip("duckdb"), pytest.importorskip("pandas")
    rows = pd.DataFrame({"p": S, "hired": Y, "sex": A})  # noqa: F841 - DuckDB sees it
    score = "p" if bins is None else "AVG(p) AS p"
    by = "p" if bins is None else f"floor(p * {bins})"
    lines = duckdb.sql(
        f"SELECT {score}, hired, sex, COUNT(*) AS n FROM rows GROUP BY {by}, hired, sex"
    ).df()
    found = fp.ScoreCounts.from_arrow(
        lines, bins=bins, score="p", y="hired", sensitive_features="sex", rows="n"
    ).population()
    whole = counted(bins).population()
    assert np.array_equal(found.joint, whole.joint) and np.array_equal(found.n_rows, whole.n_rows)
    assert found.values == pytest.approx(whole.values, abs=1e-12)


def test_dask_counts_where_the_chunks_are():
    da = pytest.importorskip("dask.array")
    s, y, a = (da.from_array(x, chunks=700) for x in (S, Y, A))
    for bins in BINS:
        found = fp.ScoreCounts.from_dask(s, y, sensitive_features=a, bins=bins)
        assert same(found.population(), counted(bins).population())


def test_programs_take_counts():
    counts = counted(20)
    assert fp.FairScore(counts).solve().gap == fp.FairScore(counts.population()).solve().gap
    one, other = (
        fp.FairClassifier(D, fp.ErrorRate(), [fp.EqualOpportunity()]).solve()
        for D in (counts, counts.population())
    )
    assert one.risk == other.risk and one.certificate.ok


def test_wrong_tables_are_refused():
    pd = pytest.importorskip("pandas")
    lines = pd.DataFrame({"score": [0.5], "class": [1], "group": ["f"], "rows": [-1]})
    with pytest.raises(fp.DataError, match="must not be negative"):
        fp.ScoreCounts.from_arrow(lines)
    with pytest.raises(fp.DataError, match="`rows` names the column 'n'"):
        fp.ScoreCounts.from_arrow(lines, rows="n")


@pytest.mark.parametrize("covariance", ["full", "tied", "diagonal"])
def test_moments_travel_as_lines(covariance):
    pa = pytest.importorskip("pyarrow")
    X = RNG.normal(size=(N, 3))
    pieces = [
        fp.Moments(covariance).partial_fit(X[k], Y[k], sensitive_features=A[k])
        for k in (slice(0, 1000), slice(1000, N))
    ]
    table = pa.concat_tables([piece.to_arrow() for piece in pieces])
    found = fp.Moments.from_arrow(table, covariance=covariance)
    here = fp.Moments(covariance).merge(pieces[0]).merge(pieces[1])
    assert found.n_rows == N and found.n_chunks == 2
    assert (found.population().mean == here.population().mean).all()
    assert (np.asarray(found.population().cov) == np.asarray(here.population().cov)).all()
    with pytest.raises(fp.DataError, match="needed is 'moments'"):
        fp.Moments.from_arrow(counted(None).to_arrow())


@pytest.mark.parametrize("bins", BINS)
def test_audits_and_steps_take_counts(bins):
    counts = counted(bins)
    values = counts.population().values
    s = S if bins is None else values[(S * bins).astype(int)]
    few = {"n_permutations": 40, "n_bootstrap": 50}
    rows = fp.audit(Y, s, sensitive_features=A, **few)
    for given in (counts, counts.population()):
        found = fp.audit(given, **few)
        assert found.worst == rows.worst and found.summary() == rows.summary()
    for method in ("quantile", "channel"):
        step = fp.ScoreSteering(method=method)
        from_rows = step.fit(s, Y, sensitive_features=A).transform(
            s, sensitive_features=A, key=np.arange(N)
        )
        step.fit(counts)
        moved = step.transform(s, sensitive_features=A, key=np.arange(N))
        np.testing.assert_allclose(moved, from_rows, atol=1e-12)


def test_counts_that_do_not_say_the_rows_are_refused():
    weighted = counted(None, weight=RNG.uniform(0.5, 2.0, N))
    shares = fp.Categorical(np.full((2, 2, 2), 0.125), values=[0.2, 0.8])
    for given in (weighted, weighted.population(), shares):
        with pytest.raises(fp.ModelError, match="rows without weights"):
            fp.audit(given)
    with pytest.raises(fp.ModelError, match="takes no others"):
        fp.audit(counted(None), S)
    with pytest.raises(fp.DataError, match="sensitive_features"):
        fp.audit(Y, S)
