"""Scores in which many rows tie: ties are split at random, and no gap grows in silence."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression

import fairprog as fp
from fairprog.estimators.lattice import edges, over_cells
from fairprog.kernels.statistics.gap_bands import worst_gap
from fairprog.solution import SplitMap

N = 8000


def rows(kind: str, seed: int, G: int = 2, n: int = N) -> tuple[np.ndarray, ...]:
    """Scores, labels, groups: who has many scores of zero, or of some other values."""
    rng = np.random.default_rng(seed)
    a = rng.integers(G, size=n)
    y = (rng.random(n) < 0.3 + 0.1 * a).astype(int)
    s = 1 / (1 + np.exp(-(rng.standard_normal(n) + 1.2 * y + 0.5 * a * (1 + 0.2 * y))))
    zeros = {
        "30 %": [0.3, 0.3, 0.3],
        "70 %": [0.7, 0.7, 0.7],
        "90 %": [0.9, 0.9, 0.9],
        "other shares": [0.8, 0.5, 0.65],
        "one group": [0.0, 0.6, 0.0],
    }
    if kind in zeros:
        tied = rng.random(n) < np.array(zeros[kind])[a] * (1.1 - 0.35 * y)
        return np.where(tied, 0.0, s), y, a
    if kind == "three atoms":
        u = rng.random(n)
        s = np.where(u < 0.3, 0.0, np.where(u < 0.5, 0.5, np.where(u < 0.55 + 0.1 * a, 1.0, s)))
    elif kind == "atoms apart":
        s = np.where(rng.random(n) < 0.5, 0.01 * (1 + a), s)
    elif kind in ("tenths", "tenths among others"):
        tenths = np.clip(np.ceil(10 * s), 1, 10) / 11
        s = tenths if kind == "tenths" else np.where(rng.random(n) < 0.5, tenths, s)
    return s, y, a


def gap(s: np.ndarray, y: np.ndarray, a: np.ndarray) -> float:
    return max(worst_gap([s[(y == i) & (a == g)] for g in np.unique(a)]) for i in (0, 1))


KINDS = [
    "30 %", "70 %", "90 %", "other shares", "one group", "three atoms", "atoms apart", "tenths",
    "tenths among others", "no ties",
]  # fmt: skip


@pytest.mark.filterwarnings("ignore:Scores tell the groups")
@pytest.mark.parametrize("G", [2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_no_gap_of_new_rows_grows_by_matching_quantiles(kind: str, G: int) -> None:
    s, y, a = rows(kind, 0, G)
    t, z, b = rows(kind, 1, G)
    for steer in ("all", list(range(1, G))):
        step = fp.ScoreSteering(steer).fit(s, y, sensitive_features=a)
        moved = step.transform(t, sensitive_features=b, key=np.arange(N))
        before, after, chance = gap(t, z, b), gap(moved, z, b), 1.5 / np.sqrt(N / G * 0.3)
        assert after < before + 0.5 * chance
        if kind != "one group":  # there no increasing map can do much
            assert after < 0.6 * before + chance
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            together = step.transform(t, sensitive_features=b)
        assert gap(together, z, b) < before + 0.5 * chance
        if steer != "all":
            np.testing.assert_array_equal(moved[b == 0], t[b == 0])


def test_zeros_of_all_groups_stay_zero() -> None:
    s, y, a = rows("70 %", 0)
    step = fp.ScoreSteering().fit(s, y, sensitive_features=a)
    moved = step.transform(s, sensitive_features=a, key=np.arange(N))
    zeros = [(moved[(s == 0) & (a == g)] == 0).mean() for g in (0, 1)]
    assert min(zeros) > 0.95 and max(zeros) == 1.0
    for g in (0, 1):  # with one lot a higher score is never moved below a lower one
        rising = np.sort(s[a == g])
        for lot in (0.0, 0.3, 0.99):
            assert (np.diff(step.maps_[g].at(rising, lot)) >= 0).all()


@pytest.mark.filterwarnings("ignore::fairprog.FairprogWarning")
@pytest.mark.parametrize("G", [2, 3])
def test_quantile_matching_is_never_worse_than_raw_scores_on_the_rows_fitted(G: int) -> None:
    """On any finite laws: at every vertex of a ROC curve raw scores are as far apart."""
    rng = np.random.default_rng(G)
    gained = []
    for _ in range(40):
        m, n = int(rng.integers(2, 7)), 1000
        count = np.array([rng.multinomial(n, rng.dirichlet(np.ones(m))) for _ in range(2 * G)])
        s = np.concatenate([np.repeat(np.arange(m) / 10, c) for c in count])
        y, a = np.repeat(np.arange(2 * G) % 2, n), np.repeat(np.arange(2 * G) // 2, n)
        if any(np.ptp(s[a == g]) == 0 for g in range(G)):
            continue
        step = fp.ScoreSteering(space="identity").fit(s, y, sensitive_features=a)
        lot = np.concatenate([(np.arange(c) + 0.5) / c for c in count.ravel() if c])
        moved = step._steered(s, np.eye(G)[a], lot)
        gained.append(gap(s, y, a) - gap(moved, y, a))
    assert min(gained) > -3.0 / n and max(gained) > 0.3


@pytest.mark.parametrize("method", ["normal", "monotone"])
def test_a_program_that_makes_gaps_grow_says_so_and_names_the_channel(method: str) -> None:
    s, y, a = rows("70 %", 0)
    step = fp.ScoreSteering([1], method)
    with pytest.warns(fp.FairprogWarning, match=r"grew from 0\.1\d to 0\.\d\d on the rows fitted"):
        step.fit(s, y, sensitive_features=a)
    with pytest.warns(fp.FairprogWarning, match="method='channel' closes it"):
        clone(step).fit(s, y, sensitive_features=a)
    s, y, a = rows("no ties", 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        step.fit(s, y, sensitive_features=a)
        fp.ScoreSteering().fit(s, y, sensitive_features=a).transform(s, sensitive_features=a)


def test_gaps_to_a_group_that_stays_elsewhere_are_watched() -> None:
    rng = np.random.default_rng(0)
    a, y = rng.integers(3, size=6000), rng.integers(2, size=6000)
    center = np.where(a == 0, 3.0 * y - 1.5, np.array([0.0, -0.7, 0.7])[a] + 0.1 * y)
    s = 1 / (1 + np.exp(-(rng.standard_normal(6000) + center)))
    with pytest.warns(fp.FairprogWarning, match=r"grew from 0\.\d\d to 0\.\d\d on the rows"):
        step = fp.ScoreSteering([0]).fit(s, y, sensitive_features=a)
    assert gap(step.transform(s, sensitive_features=a), y, a) > gap(s, y, a)
    with warnings.catch_warnings():  # other gaps than those of the notion are not its affair
        warnings.simplefilter("error")
        one_sided = fp.ScoreSteering([0], notion=fp.DemographicParity())
        one_sided.fit(s, None, sensitive_features=a)


def test_ties_are_spread_and_collected() -> None:
    s, y, a = rows("no ties", 0, n=20_000)
    a = np.where(a == 1, "b", "a")
    coarse = np.round(s, 1)
    worst = {}
    for ties in ("auto", "keep"):
        step = fp.ScoreSteering(steer=["b"], ties=ties).fit(coarse, y, sensitive_features=a)
        t = step.transform(coarse, sensitive_features=a, key=np.arange(a.size))
        worst[ties] = gap(t, y, a)
        np.testing.assert_array_equal(t[a == "a"], coarse[a == "a"])
        assert np.isin(t[a == "b"], coarse[a == "a"]).all()
        again = clone(step).fit(coarse, y, sensitive_features=a)
        u = again.transform(coarse, sensitive_features=a, key=np.arange(a.size))
        np.testing.assert_array_equal(u, t)
        back = step.inverse_transform(t, sensitive_features=a)
        assert np.abs(back - coarse).max() < 0.11
    assert worst["auto"] < 0.7 * worst["keep"]
    every = fp.ScoreSteering().fit(coarse, y, sensitive_features=a)
    key = np.arange(a.size)
    assert np.isin(every.transform(coarse, sensitive_features=a, key=key), coarse).all()


@pytest.mark.parametrize(
    ("notion", "of"), [(fp.DemographicParity(), (0, 1)), (fp.EqualOpportunity(), (1,))]
)
def test_one_sided_notions_of_amounts_that_are_mostly_zero(notion, of) -> None:
    def amounts(seed: int) -> tuple[np.ndarray, ...]:
        s, y, a = rows("other shares", seed)
        return np.where(s > 0, 100.0 * (s + a), 0.0), y, a

    (s, y, a), (t, z, b) = amounts(0), amounts(1)
    step = fp.ScoreSteering(space="identity", notion=notion)
    step.fit(s, None if len(of) == 2 else y, sensitive_features=a)
    moved = step.transform(t, sensitive_features=b, key=np.arange(N))
    before, after = (worst_gap([x[np.isin(z, of) & (b == g)] for g in (0, 1)]) for x in (t, moved))
    assert before > 0.2 and after < 0.06


def test_without_identifiers_a_tie_moves_together_to_its_middle() -> None:
    s, y, a = rows("tenths", 0)
    step = fp.ScoreSteering().fit(s, y, sensitive_features=a)
    kept = fp.ScoreSteering(ties="keep").fit(s, y, sensitive_features=a)
    with pytest.warns(fp.FairprogWarning, match="share one"):
        together = step.transform(s, sensitive_features=a)
    np.testing.assert_array_equal(together, kept.transform(s, sensitive_features=a))
    assert gap(together, y, a) < gap(s, y, a)


def test_cells_of_a_lattice() -> None:
    x = np.array([0.0, 1.0, 3.0])
    assert edges(x).tolist() == [-0.5, 0.5, 2.0, 4.0]
    T = over_cells(fp.PiecewiseLinearMap([0.0, 1.0], [0.0, 1.0]), x, x, "identity")
    level = np.random.default_rng(0).random(3)
    np.testing.assert_array_equal(T.at(x + 1e-15, level), x)  # a last digit makes no other value
    assert T.at(np.array([-9.0, 9.0]), 0.5).tolist() == [0.0, 3.0]
    T = over_cells(fp.PiecewiseLinearMap([0.0, 1.0], [0.25, 1.25]), x, x, "identity")
    lot = (np.arange(1000) + 0.5) / 1000
    assert (T.at(np.zeros(1000), lot) == 1.0).mean() == pytest.approx(0.25, abs=1e-3)


@pytest.mark.parametrize("suffix", [".json", ".npz"])
def test_split_maps_are_saved_and_loaded(tmp_path, suffix: str) -> None:
    s, y, a = rows("three atoms", 0)
    step = fp.ScoreSteering([1]).fit(s, y, sensitive_features=a)
    step.save(tmp_path / f"step{suffix}")
    again = fp.ScoreSteering.load(tmp_path / f"step{suffix}")
    assert isinstance(again.maps_[1], SplitMap)
    moved = (t.transform(s, sensitive_features=a, key=np.arange(N)) for t in (step, again))
    np.testing.assert_array_equal(*moved)
    data = step.maps_[1].to_dict()
    for name, value in {
        "low": data["high"][::-1],
        "levels": data["levels"][1:],
        "high": "no",
    }.items():
        with pytest.raises(fp.DataError, match="map"):
            SplitMap.from_dict(data | {name: value})


def warned(step, *args, **named):
    """Return what is said of the key when rows are moved."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        step(*args, **named)
    return [str(w.message) for w in caught if "`key` holds" in str(w.message)]


@pytest.mark.parametrize("method", ["quantile", "channel"])
def test_a_key_that_tells_nobody_apart_is_noticed(method):
    """One key for all split ties as coarsely as none, without a word."""
    s, y, a = rows("other shares", 0)
    step = fp.ScoreSteering(method=method).fit(s, y, sensitive_features=a)
    said = warned(step.transform, s, sensitive_features=a, key=np.zeros(N))
    assert said and said[0].startswith(f"`key` holds 1 value in {N:,} rows: rows of one value")
    for key in (None, np.arange(N), np.arange(N) // 2):
        assert not warned(step.transform, s, sensitive_features=a, key=key)


def test_where_nothing_is_drawn_any_key_will_do():
    key = np.zeros(N)
    s, y, a = rows("no ties", 0)
    for step in (fp.ScoreSteering(), fp.ScoreSteering(method="monotone")):
        step.fit(s, y, sensitive_features=a)
        assert not warned(step.transform, s, sensitive_features=a, key=key)
    s, y, a = rows("other shares", 0)
    step = fp.ScoreSteering(ties="keep").fit(s, y, sensitive_features=a)
    assert not warned(step.transform, s, sensitive_features=a, key=key)


def test_classifiers_notice_a_key_that_tells_nobody_apart():
    s, y, a = rows("tenths", 0, n=2000)
    key, X = np.zeros(2000), s[:, None]
    model = fp.SteeredClassifier(LogisticRegression(), cv=2).fit(X, y, sensitive_features=a)
    assert warned(model.predict_proba, X, sensitive_features=a, key=key)
    D = fp.Categorical.from_scores(s[:200], sensitive_features=a[:200])
    rule = fp.FairClassifier(D, constraints=[fp.EqualizedOdds()]).solve().classifier
    assert warned(rule.predict_from_scores, s, sensitive_features=a, key=key)
    free = fp.FairClassifier(D).solve().classifier
    assert not warned(free.predict_from_scores, s, sensitive_features=a, key=key)
