"""Data moved by the answer: groups cannot be told apart, moments agree, frames stay frames."""

import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ks_2samp

import fairprog as fp
from fairprog.labels import label_array
from tests.instances import log_normal, multivariate, univariate
from tests.solutions import SOLUTIONS

seeds = st.integers(0, 2**32 - 1)
TOO_FAR = 3.0  # two-sample KS statistics beyond this many 1/sqrt(n_harmonic) are no chance: 6e-8


def scaled_ks(x, y):
    """Return the two-sample KS statistic in units of its standard deviation under equality."""
    return ks_2samp(x, y).statistic * np.sqrt(len(x) * len(y) / (len(x) + len(y)))


@pytest.mark.parametrize("base_rates", ["equalize", "keep"])
@pytest.mark.parametrize("d", [1, 3])
def test_aligned_data_of_the_steered_population_do_not_tell_the_group(d, base_rates):
    """theory.md section 1: (X', Y) independent of A; given Y alone with base rates kept."""
    rng = np.random.default_rng([1, d])
    D = univariate(rng) if d == 1 else multivariate(rng, d)
    sol = fp.NearestIdeal(D, steer=["b"], base_rates=base_rates).solve()
    X, y, a = sol.population.sample(20_000, random_state=0)
    aligned = sol.align(X, sensitive_features=a)
    assert aligned.shape == X.shape
    raw = 0.0
    for c in D.classes:
        for direction in np.concatenate([np.eye(d), rng.normal(size=(3, d))]):
            before, after = (
                scaled_ks(*(Z[(y == c) & (a == g)] @ direction for g in "ab"))
                for Z in (X, aligned)
            )
            assert after < TOO_FAR
            raw = max(raw, before)
    assert raw > 2 * TOO_FAR  # control: before alignment they do
    tells = scaled_ks(*(aligned[a == g, 0] + 0.0 for g in "ab"))
    p = [np.mean(y[a == g] == 1) for g in "ab"]
    if base_rates == "equalize":  # then without Y as well
        assert tells < TOO_FAR
        assert abs(p[0] - p[1]) < 5 * np.sqrt(0.5 / 4000)
    else:
        assert abs(p[0] - p[1]) > 0.02  # control


def test_a_group_blind_classifier_on_aligned_data_has_equal_rates():
    """Any classifier, however bad: here a fixed one that knows nothing of the population."""
    D = multivariate(np.random.default_rng(2), 2)
    sol = fp.NearestIdeal(D, steer=["b"], base_rates="keep").solve()
    X, y, a = sol.population.sample(40_000, random_state=1)

    def gaps(Z):
        prediction = (np.sin(Z[:, 0]) > Z[:, 1] ** 2 - 0.5).astype(int)
        table = fp.OutcomeTable.from_predictions(y, prediction, sensitive_features=a)
        return fp.EqualizedOdds().gap(table)

    assert gaps(sol.align(X, sensitive_features=a)) < 5 * np.sqrt(0.25 / 4000)
    assert gaps(X) > 0.1  # control


@pytest.mark.parametrize("name", SOLUTIONS)
def test_alignment_undoes_the_maps(name):
    sol = SOLUTIONS[name]
    D = sol.original
    rng = np.random.default_rng(3)
    X = rng.normal(size=(40, D.n_features))
    X = np.exp(X) if isinstance(D, fp.LogNormal) else X
    group = np.empty(40, dtype=object)
    for k in range(40):
        group[k] = D.groups[k % D.n_groups]
    aligned = sol.align(X, sensitive_features=group)
    back = np.empty_like(X)
    for k in range(40):
        back[k] = sol.maps[group[k]](aligned[k : k + 1])[0]
    assert np.allclose(back, X, rtol=1e-9, atol=1e-9)
    for g in D.groups:
        T = sol.maps[g]
        assert np.allclose(T.inverse()(T(X)), X, rtol=1e-9, atol=1e-9)
        assert np.allclose(T(T.inverse()(X)), X, rtol=1e-9, atol=1e-9)
    reference = sol.settings["reference"]
    if reference is not None:
        assert np.array_equal(sol.affine[reference].matrix, np.eye(D.n_features))
        rows = np.array([g == reference for g in group])
        assert np.allclose(aligned[rows], X[rows], rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", [n for n in SOLUTIONS if n != "bound"])
def test_alignment_carries_every_steered_cell_to_the_common_law(name):
    sol = SOLUTIONS[name]
    E = sol.population
    for i in range(E.n_classes):
        laws = []
        for a, g in enumerate(E.groups):
            T = sol.affine[g].inverse()
            mean = T.matrix @ E.location[i, a] + T.offset
            laws.append((mean, T.matrix @ E.cov[i, a] @ T.matrix.T))
        for mean, cov in laws[1:]:
            assert np.allclose(mean, laws[0][0], rtol=1e-7, atol=1e-7)
            assert np.allclose(cov, laws[0][1], rtol=1e-7, atol=1e-7)


@given(seed=seeds, d=st.integers(1, 3), K=st.integers(2, 3))
@settings(max_examples=10)
def test_moments_of_steered_samples_are_those_of_the_steered_population(seed, d, K):
    """Exactly, where the population was fitted to the same sample."""
    rng = np.random.default_rng(seed)
    X, y, a = multivariate(rng, d, K, 3).sample(900, random_state=rng)
    D = fp.Normal.fit(X, y, sensitive_features=a)
    sol = fp.NearestIdeal(D, steer=["b", "c"]).solve(solver="newton")
    given = {"sensitive_features": a}
    moved, weight = sol.steer(X, y, **given), sol.sample_weight(y, **given)
    E = sol.population
    for i, c in enumerate(D.classes):
        for h, g in enumerate(D.groups):
            rows = moved[(y == c) & (a == g)]
            assert np.allclose(rows.mean(axis=0), E.location[i, h], atol=1e-9)
            cov = np.cov(rows.T, bias=True).reshape(d, d)
            assert np.allclose(cov, E.cov[i, h], rtol=1e-8, atol=1e-9)
            ratio = E.prior[i, h] / D.prior[i, h]
            assert np.allclose(weight[(y == c) & (a == g)], ratio, rtol=1e-14)
    again = fp.Normal.fit(moved, y, sensitive_features=a, sample_weight=weight)
    assert again.kl(E) == pytest.approx(0, abs=1e-10)
    assert again.is_ideal(atol=1e-6)
    assert not D.is_ideal(atol=1e-3)  # control
    # the group that stays is not touched
    stays = a == "a"
    assert np.allclose(moved[stays], X[stays], rtol=1e-9, atol=1e-9)
    assert np.abs(moved[~stays] - X[~stays]).max() > 1e-2


def test_steering_is_monotone_in_the_pooled_metric():
    """(T(x) - T(z))' M (x - z) > 0 within a cell."""
    rng = np.random.default_rng(4)
    D = multivariate(rng, 3)
    sol = fp.NearestIdeal(D, steer=["b"]).solve()
    M = np.linalg.inv(np.einsum("ia,iajk->jk", D.prior, D.cov))
    X = rng.normal(size=(200, 3))
    for c in D.classes:
        moved = sol.steer(X, np.full(200, c), sensitive_features=np.full(200, "b"))
        dx, dt = np.diff(X, axis=0), np.diff(moved, axis=0)
        assert (np.einsum("nj,jk,nk->n", dt, M, dx) > 0).all()


def test_vectors_stay_vectors_and_groups_may_be_absent():
    sol = SOLUTIONS["univariate"]
    x, y, a = np.array([0.0, 1.0, 2.0]), [0, 1, 1], ["b", "b", "b"]
    assert sol.align(x, sensitive_features=a).shape == (3,)
    assert sol.steer(x, y, sensitive_features=a).shape == (3,)
    assert sol.align(x[:, None], sensitive_features=a).shape == (3, 1)
    assert sol.align([0.0, 1.0, 2.0], sensitive_features=a).tolist() == pytest.approx(
        sol.maps["b"].inverse()(x).tolist()
    )
    assert sol.align(np.zeros((0, 1)), sensitive_features=[]).shape == (0, 1)


def test_log_normal_maps_are_powers():
    """x -> exp(b) x^gamma; with several features and a diagonal map, feature by feature."""
    rng = np.random.default_rng(5)
    D = log_normal(rng)
    sol = fp.NearestIdeal(D, steer=["b"]).solve()
    normal = fp.Normal(D.prior, D.mean, std=D.std, groups=D.groups)
    twin = fp.NearestIdeal(normal, steer=["b"]).solve()
    assert sol.kl == pytest.approx(twin.kl, abs=1e-12)
    T, x = sol.maps["b"], np.array([0.1, 1.0, 7.0])
    gamma, b = T.affine.matrix[0, 0], T.affine.offset[0]
    assert np.allclose(T(x), np.exp(b) * x**gamma, rtol=1e-13)
    assert np.allclose(T.inverse()(x), (x * np.exp(-b)) ** (1 / gamma), rtol=1e-12)
    a = ["a", "b", "b"]
    logs = twin.align(np.log(x), sensitive_features=a)
    assert np.allclose(sol.align(x, sensitive_features=a), np.exp(logs), rtol=1e-9)
    moved = sol.steer(x, [0, 1, 0], sensitive_features=a)
    assert np.allclose(np.log(moved), twin.steer(np.log(x), [0, 1, 0], sensitive_features=a))
    E = log_normal(rng, 2)
    T = fp.NearestIdeal(E, steer=["b"], transport=fp.Diagonal()).solve().maps["b"]
    X = np.exp(rng.normal(size=(5, 2)))
    expected = np.exp(T.affine.offset) * X ** np.diag(T.affine.matrix)
    assert np.allclose(T(X), expected, rtol=1e-12)


def test_a_log_normal_sample_that_is_not_positive_names_the_row():
    sol = SOLUTIONS["log-normal"]
    X = np.ones((6, 2))
    X[4, 1] = -2.0
    a = ["a", "b", "a", "a", "b", "b"]
    for move in (
        lambda: sol.align(X, sensitive_features=a),
        lambda: sol.steer(X, [0, 1, 0, 1, 0, 1], sensitive_features=a),
    ):
        with pytest.raises(fp.DataError, match="row 4, feature 1 is -2") as error:
            move()
        assert error.value.argument == "X"


def test_data_frames_must_have_the_columns_of_the_fit(tmp_path):
    """Columns in another order would be moved by each other's maps."""
    rng = np.random.default_rng(12)
    X = pd.DataFrame(rng.normal(size=(200, 2)), columns=["age", "score"])
    y, a = rng.integers(0, 2, 200), rng.integers(0, 2, 200)
    sol = fp.NearestIdeal(fp.Normal.fit(X, y, sensitive_features=a), steer=[1]).solve()
    sol.save(tmp_path / "a.json")
    for answer in (sol, fp.load(tmp_path / "a.json")):
        moved = answer.align(X, sensitive_features=a)
        assert np.array_equal(moved, answer.align(X.to_numpy(), sensitive_features=a))
        with pytest.raises(fp.DataError, match="in this order"):
            answer.align(X[["score", "age"]], sensitive_features=a)
        with pytest.raises(fp.DataError, match="in this order"):
            answer.steer(X[["score", "age"]], y, sensitive_features=a)


def test_frames_go_in_and_come_out_with_index_and_names():
    rng = np.random.default_rng(0)
    columns = pd.Index(["age", "score"], name="feature")
    rows = pd.Index(range(300, 500), name="id")
    X = pd.DataFrame(rng.normal(size=(200, 2)), columns=columns, index=rows)
    y, a = rng.integers(2, size=200), pd.Series(rng.choice(["a", "b"], 200), index=range(200))
    sol = fp.NearestIdeal(fp.Normal.fit(X, y, sensitive_features=a), steer=["b"]).solve()
    mapped = fp.QuantileMap.fit(X, y, sensitive_features=a)
    for move in (
        lambda Z: sol.align(Z, sensitive_features=a),
        lambda Z: sol.steer(Z, y, sensitive_features=a),
        lambda Z: mapped.transform(Z, sensitive_features=a),
    ):
        out = move(X)
        assert isinstance(out, pd.DataFrame)
        assert out.index.equals(rows) and out.columns.equals(columns)
        assert out.columns.name == "feature" and not np.array_equal(out, X)
        # position by position, where the groups are numbered; arrays stay arrays
        assert np.array_equal(out.to_numpy(), move(X.to_numpy()))
        assert type(move(X.to_numpy())) is np.ndarray
    D = fp.Normal.fit(X["age"], y, sensitive_features=a)
    one = fp.NearestIdeal(D, steer=["b"]).solve().align(X["age"], sensitive_features=a)
    assert isinstance(one, pd.Series) and one.name == "age" and one.index.equals(rows)
    atoms = fp.Categorical.fit(["u", "v"] * 100, y, sensitive_features=a)
    values = pd.Series(["u", "v"] * 100, index=rows)
    same = fp.NearestIdeal(atoms).solve().align(values, sensitive_features=a)
    assert same.equals(values) and same is not values


def test_transports_of_steer_are_computed_once(monkeypatch):
    from concurrent.futures import ThreadPoolExecutor

    from fairprog.populations import normal_maps

    computed = []

    def counted(*args):
        computed.append(args)
        return transport(*args)

    transport = normal_maps.gaussian_map
    monkeypatch.setattr(normal_maps, "gaussian_map", counted)
    D = multivariate(np.random.default_rng(3), 3)
    sol = fp.NearestIdeal(D, steer=["b"]).solve()
    X, y, a = D.sample(400, random_state=0)
    first = sol.steer(X[:200], y[:200], sensitive_features=a[:200])
    assert len(computed) == D.n_classes  # of the group that moves
    again = sol.steer(X, y, sensitive_features=a)
    assert len(computed) == D.n_classes and np.array_equal(again[:200], first)
    assert np.array_equal(again[a == "a"], X[a == "a"])
    copied = pickle.loads(pickle.dumps(sol))
    with ThreadPoolExecutor(4) as pool:
        found = pool.map(lambda _: copied.steer(X, y, sensitive_features=a), range(8))
        assert all(np.array_equal(Z, again) for Z in found)


def test_two_sensitive_columns_are_taken_as_the_step_took_them():
    rng = np.random.default_rng(0)
    a = pd.DataFrame({"sex": rng.choice(["f", "m"], 800), "race": rng.choice(["b", "w"], 800)})
    y = rng.integers(2, size=800)
    X = rng.normal(size=(800, 2)) + y[:, None] + (a["sex"] == "f").to_numpy()[:, None]
    step = fp.IdealSteering().fit(X, y, sensitive_features=a)
    sol = step.solution_
    Z = step.transform(X, sensitive_features=a)
    rows = [tuple(v) for v in a.to_numpy()]
    for groups in (a, a.to_numpy(), rows, label_array(rows)):
        np.testing.assert_array_equal(sol.align(X, sensitive_features=groups), Z)
        for labels in (y, None):
            assert not sol.drift(X, labels, sensitive_features=groups).drifted
        weight = sol.sample_weight(y, sensitive_features=groups)
        np.testing.assert_allclose(weight, step.sample_weight_)
    with pytest.raises(fp.DataError, match="not seen before"):  # columns in another order
        sol.align(X, sensitive_features=a[["race", "sex"]])
    both = pd.DataFrame(rng.choice(["no", "yes"], (800, 2)), columns=["young", "poor"])
    sol = fp.IdealSteering().fit(X, y, sensitive_features=both).solution_
    with pytest.raises(fp.DataError, match=r"hold the same labels \(\['poor', 'young'\]\)"):
        sol.align(X, sensitive_features=both[["poor", "young"]])
    sol.align(X, sensitive_features=both.to_numpy())
    with pytest.raises(fp.DataError, match="not seen before"):
        sol.align(X, sensitive_features=[("no",), *[("no", "yes")] * 799])
