"""Finite populations: scores as populations, Bayes rules by enumeration, discretisation."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fairprog as fp
from fairprog.populations import population_from_dict
from tests.instances import UNIVARIATE, ideal_categorical, multivariate, random_categorical

seeds = st.integers(0, 2**32 - 1)


@given(seed=seeds, K=st.integers(2, 4), G=st.integers(2, 3))
@settings(max_examples=20)
def test_masses_and_posteriors_are_those_of_the_joint_law(seed, K, G):
    D = random_categorical(np.random.default_rng(seed), K=K, G=G, zeros=True)
    joint = D.joint
    assert np.allclose(D.prior, joint.sum(axis=0))
    assert np.allclose(D.mass, joint.sum(axis=1))
    for x, a in itertools.product(range(D.n_atoms), range(G)):
        mass = joint[x, :, a].sum()
        expected = joint[x, :, a] / mass if mass > 0 else D.base_rates[:, a]
        assert np.allclose(D.eta[x, :, a], expected, atol=1e-14)
    s = D.support
    assert (s.weight > 0).all()
    assert np.allclose(s.posterior.sum(axis=1), 1.0)


@given(seed=seeds, K=st.integers(2, 3))
@settings(max_examples=20)
def test_the_bayes_rule_is_the_best_of_all_rules(seed, K):
    rng = np.random.default_rng(seed)
    D = random_categorical(rng, X=3, K=K, zeros=True)
    C = rng.random((K, K))
    best = min(
        sum(
            C[i, rule[2 * x + a]] * D.joint[x, i, a]
            for x, i, a in itertools.product(range(3), range(K), range(2))
        )
        for rule in itertools.product(range(K), repeat=6)
    )
    assert D.evaluate(C).risk == pytest.approx(best, abs=1e-12)


def test_gap_over_all_costs_is_the_worst_of_many_costs():
    rng = np.random.default_rng(0)
    D = random_categorical(rng, X=12)
    for notion in (fp.DemographicParity(), fp.EqualOpportunity(), fp.EqualizedOdds()):
        worst = D.ideality_gap(notion)
        gaps = [D.evaluate({"fp": t, "fn": 1 - t}).gap(notion) for t in np.linspace(0, 1, 1001)]
        assert max(gaps) == pytest.approx(worst, abs=1e-12)  # atoms are further apart than costs


@given(seed=seeds, K=st.integers(2, 4), G=st.integers(2, 3))
@settings(max_examples=20)
def test_ideal_iff_the_posterior_has_one_law(seed, K, G):
    rng = np.random.default_rng(seed)
    D = ideal_categorical(rng, K=K, G=G)
    assert D.is_ideal()
    assert D.ideality_gap() < 1e-12
    order = rng.permutation(D.n_atoms)  # other atoms in one group, the same posteriors
    moved = D.joint.copy()
    moved[:, :, 0] = moved[order, :, 0]
    assert fp.Categorical(moved).is_ideal()
    biased = D.joint.copy()
    biased[0, 0, 0] += 1e-3
    assert not fp.Categorical(biased / biased.sum()).is_ideal()


def test_kl_by_its_definition_and_where_it_is_infinite():
    rng = np.random.default_rng(1)
    D, E = random_categorical(rng), random_categorical(rng)
    assert D.kl(E) == pytest.approx((D.joint * np.log(D.joint / E.joint)).sum())
    assert D.kl(D) == 0.0
    swapped = fp.Categorical(E.joint[:, ::-1, ::-1], classes=[1, 0], groups="ba")
    assert D.kl(swapped) == pytest.approx(D.kl(E))
    holes = random_categorical(rng, zeros=True)
    assert D.kl(holes) == np.inf
    assert np.isfinite(holes.kl(D))
    with pytest.raises(fp.ModelError, match="other atoms"):
        D.kl(random_categorical(rng, X=9))


def test_samples_come_back_as_the_population():
    D = fp.Categorical(
        random_categorical(np.random.default_rng(2)).joint,
        values=list("stuvwxyz"),
        classes=["no", "yes"],
        groups=["f", "m"],
    )
    X, y, a = D.sample(200_000, random_state=0)
    E = fp.Categorical.fit(X, y, sensitive_features=a)
    assert E.values.tolist() == list("stuvwxyz")
    assert E.effective_rows == 200_000
    assert np.abs(E.joint - D.joint).max() < 4e-3
    again = D.sample(5, random_state=0)[0]
    assert np.array_equal(again, D.sample(5, random_state=0)[0])


def test_scored_rows_as_atoms_share_the_scores():
    rng = np.random.default_rng(3)
    scores, a = rng.random(1000), rng.integers(0, 3, 1000)
    D = fp.Categorical.from_scores(scores, sensitive_features=a)
    assert np.shares_memory(D.support.score, scores)
    scores[0] = scores[0]  # and does not freeze them
    for g in range(3):
        assert D.prior[1, g] == pytest.approx(scores[a == g].sum() / 1000)
    table = D.table(np.eye(2)[(scores > 0.5).astype(int)])
    assert table.Z[1, 1, 1] == pytest.approx(scores[(a == 1) & (scores > 0.5)].sum() / 1000)
    assert D.reveals_group
    both = fp.Categorical.from_scores(np.c_[1 - scores, scores], sensitive_features=a)
    assert np.allclose(both.prior, D.prior)


def test_bins_count_labels_or_average_scores():
    rng = np.random.default_rng(4)
    scores, a = rng.random(4000), rng.choice(["f", "m"], 4000)
    y = (rng.random(4000) < scores**2).astype(int)  # not calibrated
    w = rng.integers(0, 3, 4000).astype(float)
    edges = [0.25, 0.5, 0.75]
    D = fp.Categorical.from_scores(scores, y=y, bins=edges, sensitive_features=a, sample_weight=w)
    E = fp.Categorical.from_scores(scores, bins=edges, sensitive_features=a, sample_weight=w)
    for k, (x, g) in enumerate(itertools.product(range(4), range(2))):
        rows = (np.digitize(scores, edges) == x) & (a == "fm"[g])
        assert D.joint[x, 1, g] == pytest.approx((w * y)[rows].sum() / w.sum()), k
        assert E.eta[x, 1, g] == pytest.approx((w * scores)[rows].sum() / w[rows].sum()), k
    assert not D.reveals_group
    assert fp.Categorical.from_scores(scores, bins=20, sensitive_features=a).n_atoms == 20
    assert D.effective_rows == pytest.approx(w.sum() ** 2 / (w**2).sum(), abs=1)


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"proba": [0.2, 1.4, 0.5, 0.5]}, fp.DataError, "reaches from 0.2 to 1.4"),
        ({"proba": [0.2, np.nan, 0.5, 0.5]}, fp.DataError, "finite; found nan"),
        ({"proba": np.full((4, 3), 0.5)}, fp.DataError, "row 0 sums to 1.5"),
        ({"sensitive_features": list("aab")}, fp.DataError, "3 entries but there are 4"),
        ({"y": [0, 1, 0, 1]}, fp.ModelError, "`y` without `bins`"),
        ({"y": [0, 1, 2, 1], "bins": 2}, fp.DataError, "classes .* but `proba` scores 2"),
        ({"bins": 0}, fp.DataError, "whole number >= 1"),
        ({"bins": [0.5, 0.2]}, fp.DataError, "increasing"),
        ({"proba": [0.2, 0.3, 0.0, 0.0]}, fp.DataError, "class 1, group 'b' has 0"),
    ],
)
def test_scores_that_make_no_population(change, error, match):
    good = {"proba": [0.2, 0.8, 0.4, 0.9], "sensitive_features": list("aabb")}
    fp.Categorical.from_scores(**good)  # control
    with pytest.raises(error, match=match):
        fp.Categorical.from_scores(**{**good, **change})


@pytest.mark.parametrize(
    ("joint", "match"),
    [
        (np.full((2, 2), 0.25), r"shape \(X, K, G\)"),
        (np.full((2, 2, 2), 0.2), "sum"),
        ([[[0.5, 0.5], [0.2, -0.2]]], "nonnegative; found -0.2"),
        ([[[0.5, 0.5], [0.0, 0.0]]], "class 1, group 0 has 0"),
    ],
)
def test_joint_laws_that_are_none(joint, match):
    with pytest.raises(fp.DataError, match=match):
        fp.Categorical(joint)


def test_saving_keeps_the_joint_law_to_the_bit():
    D = random_categorical(np.random.default_rng(5), K=3)
    data = D.to_dict()
    joint = json.loads(json.dumps(data["joint"].tolist()))
    again = population_from_dict(data | {"joint": np.array(joint)})
    assert np.array_equal(again.joint, D.joint)


# -- discretisation --


@pytest.mark.parametrize("n", [16, 128, 1024])
def test_the_stated_error_covers_the_table_of_the_bayes_rule(n):
    for D in (UNIVARIATE, fp.LogNormal(UNIVARIATE.prior, UNIVARIATE.mean, std=UNIVARIATE.std)):
        E = D.discretize(n)
        assert E.n_atoms <= n
        assert np.allclose(E.prior, D.prior, atol=1e-14)
        for cost in ({"fp": 1, "fn": 1}, {"fp": 1, "fn": 3}):
            exact, coarse = D.evaluate(cost), E.evaluate(cost)
            # bins are a garbling: they never do better, and lose at most the error per entry
            assert coarse.risk >= exact.risk - 1e-12
            assert coarse.risk - exact.risk <= 4 * 3 * E.discretization_error
    assert D.discretize(1024).discretization_error < D.discretize(16).discretization_error / 30


@pytest.mark.parametrize("seed", range(2))
def test_a_steered_population_stays_ideal_when_discretised(seed):
    rng = np.random.default_rng(seed)
    for D in (UNIVARIATE, multivariate(rng, 2, K=3)):
        groups = D.groups
        steered = fp.NearestIdeal(D, steer=[groups[-1]]).solve().population
        E = steered.discretize(256)
        assert E.is_ideal()
        assert E.ideality_gap() < 1e-12
        assert np.allclose(E.prior, steered.prior, atol=1e-12)
        assert not D.discretize(256).is_ideal()
        assert D.discretize(256).ideality_gap() > 0.02


def test_several_features_are_sampled_with_a_stated_standard_error():
    D = multivariate(np.random.default_rng(1), 3)
    E = D.discretize(2048)
    difference = np.abs(E.evaluate().table.Z - D.evaluate().table.Z).max()
    assert difference < 5 * E.discretization_error < 0.02
    assert E.values.shape == (2048, 3)
    assert np.array_equal(E.joint, D.discretize(2048).joint)
    assert not np.array_equal(E.joint, D.discretize(2048, random_state=1).joint)
