"""`ConceptSteering`: equal effect per unit of strength, where a shared vector's is not."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression

import fairprog as fp
from experiments import reviews
from fairprog.kernels.statistics.concept_vectors import (
    concept_basis,
    concept_vectors,
    logistic_probe,
)
from fairprog.kernels.statistics.matched_effects import least_strength

STRENGTHS = np.array([-1.0, 0.0, 0.5, 1.0, 3.0])


def texts(n=1200, d=6, seed=0, weak=1.0, against=-0.8):
    """States in which group b says the concept in another direction, weaker, partly reversed."""
    rng = np.random.default_rng(seed)
    y = np.where(rng.random(n) < 0.5, "praise", "pan")
    a = np.where(rng.random(n) < 0.7, "a", "b")
    said = (y == "praise") - 0.5
    X = rng.normal(size=(n, d))
    X[:, 0] += said * np.where(a == "a", 2.5, against)
    X[:, 1] += said * np.where(a == "a", 0.0, weak)
    X[:, 2] += 2.0 * (a == "b")
    return X, y, a


def fitted(*, data=None, **options):
    X, y, a = data or texts()
    return fp.ConceptSteering(**{"n_probes": 30} | options).fit(X, y, sensitive_features=a)


@pytest.fixture(scope="module")
def step():
    return fitted()


# ------------------------------------------------------------------------------------- theorems


def test_effect_per_unit_of_strength_is_equal(step):
    curve = step.effect_curve(STRENGTHS)
    np.testing.assert_allclose(curve["a"], curve["b"], rtol=1e-12)
    assert curve.loc[1.0, "a"] > 0.5


def test_control_neither_shared_nor_own_vectors_have_equal_effect(step):
    for vectors in ("shared", "own"):
        at_one = step.effect_curve([1.0], vectors=vectors).loc[1.0]
        assert at_one["a"] > 1.5 * at_one["b"]


def test_the_reference_responds_best_and_keeps_its_vector(step):
    assert step.reference_ == "a"
    np.testing.assert_array_equal(step.vectors_["a"], step.concept_vectors_["a"])
    assert np.abs(step.vectors_["b"] - step.concept_vectors_["b"]).max() > 0.1


def test_concept_vectors_are_steered_to_an_ideal_population(step):
    assert not step.population_.is_ideal()
    assert step.solution_.population.is_ideal()
    assert step.solution_.certificate.ok
    mean = step.solution_.population.mean[:, list(step.population_.groups).index("b")]
    steered = step.basis_ @ (mean[1] - mean[0]) / 2.0
    along = step.vectors_["b"] / np.linalg.norm(step.vectors_["b"])
    np.testing.assert_allclose(along, steered / np.linalg.norm(steered), atol=1e-10)


def test_on_the_ideal_population_posteriors_agree_at_every_strength(step):
    D = step.solution_.population
    paths = []
    for k in range(2):
        middle = (D.mean[0, k] + D.mean[1, k]) / 2.0
        along = (D.mean[1, k] - D.mean[0, k]) / 2.0
        Z = middle + STRENGTHS[:, None] * along
        paths.append(D.log_posterior(Z, np.full(len(Z), k)))
    np.testing.assert_allclose(paths[0], paths[1], atol=1e-5)


def test_strength_zero_is_the_identity(step):
    for unit in ("log-odds", "probability"):
        assert (step.effect_curve([0.0], unit=unit).to_numpy() == 0.0).all()


def test_probability_is_the_mean_over_the_fitted_states(step):
    X, _, a = texts()
    got = step.effect_curve([2.0], unit="probability")
    for g in "ab":
        w, c = step.probes_[g]
        H = X[a == g]
        by_hand = expit((H + 2.0 * step.vectors_[g]) @ w + c).mean() - expit(H @ w + c).mean()
        assert got.loc[2.0, g] == pytest.approx(by_hand, abs=1e-12)


def test_a_probe_is_logistic_regression():
    X, y, _ = texts(d=4)
    code = (y == "praise").astype(int)
    w = logistic_probe(X, code, 0.02)
    model = LogisticRegression(C=1.0 / (0.02 * len(X)), tol=1e-10, max_iter=5000).fit(X, code)
    np.testing.assert_allclose(w[:-1], model.coef_[0], atol=1e-5)
    assert w[-1] == pytest.approx(model.intercept_[0], abs=1e-5)


def test_a_feature_of_large_scale_does_not_hide_the_others():
    X, y, a = texts(d=6)
    wide = np.column_stack([X, 1e3 * np.random.default_rng(1).normal(size=len(X))])
    found = [
        fitted(data=(Z, y, a), n_probes=60).effect_curve([1.0], vectors="own").loc[1.0]
        for Z in (X, wide)
    ]
    np.testing.assert_allclose(found[1], found[0], rtol=0.1)


def test_concept_vectors_lie_along_their_probes_and_point_to_their_class():
    X, y, _ = texts()
    code = (y == "praise").astype(int)
    V, W, check = concept_vectors(X, code, 100, 12, 0.01, np.random.default_rng(0))
    again, cells = np.random.default_rng(0), [np.flatnonzero(code == i) for i in (0, 1)]
    drawn = np.concatenate([again.choice(cell, 100, replace=False) for cell in cells])
    kept = np.isin(np.arange(len(X)), drawn)
    for k, rows in enumerate((kept, ~kept)):
        gap = X[rows & (code == 1)].mean(axis=0) - X[rows & (code == 0)].mean(axis=0)
        assert check[0, k] == pytest.approx(0.5 * W[0, :-1] @ gap, rel=1e-10)
    unit = W[:, :-1] / np.linalg.norm(W[:, :-1], axis=1, keepdims=True)
    along = np.einsum("kd,kid->ki", unit, V)
    np.testing.assert_allclose(V, along[..., None] * unit[:, None], atol=1e-12)
    assert (along[:, 1] > 0).all() and (along[:, 0] < 0).all()


def test_the_basis_holds_the_means_and_is_orthonormal():
    V = np.random.default_rng(0).normal(size=(3, 40, 2, 12))
    B = concept_basis(V, 8)
    np.testing.assert_allclose(B.T @ B, np.eye(8), atol=1e-12)
    means = V.mean(axis=1).reshape(-1, 12)
    np.testing.assert_allclose(means @ B @ B.T, means, atol=1e-12)


# ----------------------------------------------------------------------------------- invariance


def test_relabelling_the_groups_changes_nothing_but_their_names(step):
    X, y, a = texts()
    other = fitted(data=(X, y, np.where(a == "a", "x", "z")))  # the same order
    for old, new in zip("ab", "xz", strict=True):
        np.testing.assert_allclose(other.vectors_[new], step.vectors_[old], rtol=1e-12)


def test_swapping_the_order_of_the_groups_changes_chance_only(step):
    X, y, a = texts(6000)
    one = fitted(data=(X, y, a), n_probes=60)
    two = fitted(data=(X, y, np.where(a == "a", "z", "x")), n_probes=60)
    assert (one.reference_, two.reference_) == ("a", "z")
    for old, new in (("a", "z"), ("b", "x")):
        u, v = one.vectors_[old], two.vectors_[new]
        assert np.linalg.norm(u - v) < 0.1 * np.linalg.norm(u)


def test_units_and_origin_of_the_states_do_not_matter(step):
    X, y, a = texts()
    moved = fitted(data=(7.0 * X + 3.0, y, a))
    for g in "ab":
        np.testing.assert_allclose(moved.vectors_[g], 7.0 * step.vectors_[g], rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(
        moved.effect_curve(STRENGTHS), step.effect_curve(STRENGTHS), rtol=1e-3
    )


def test_the_other_class_as_desired_turns_every_vector():
    X, y, a = texts(6000)
    up, down = (fitted(data=(X, y, a), desired=c, n_probes=60).vectors_ for c in ("praise", "pan"))
    for g in "ab":
        assert np.linalg.norm(up[g] + down[g]) < 0.15 * np.linalg.norm(up[g])


def test_equal_groups_get_nearly_equal_vectors():
    X, y, _ = texts(8000)
    rng = np.random.default_rng(5)
    X = X[:, [0, 3, 4, 5]]
    X[:, 0] = rng.normal(size=8000) + 2.0 * (y == "praise")
    same = fitted(data=(X, y, rng.choice(["a", "b"], 8000)))
    u, v = same.vectors_["a"], same.vectors_["b"]
    assert np.linalg.norm(u - v) < 0.15 * np.linalg.norm(u)


def test_monotone_maps_compromise_where_affine_ones_turn(step):
    along = fitted(transport=fp.Monotone())
    own = step.concept_vectors_["b"]

    def cosine(v):
        return v @ own / np.linalg.norm(v) / np.linalg.norm(own)

    assert cosine(step.vectors_["b"]) > 0.95 > cosine(along.vectors_["b"]) > 0.0
    curve = along.effect_curve([1.0]).loc[1.0]  # equal all the same
    assert curve["a"] == pytest.approx(curve["b"], rel=1e-12)


def test_three_groups_and_those_that_are_listed():
    X, y, a = texts(3000)
    rng = np.random.default_rng(3)
    a = np.where(rng.random(3000) < 0.25, "c", a)
    X[a == "c", 3] += 1.5 * (y[a == "c"] == "praise")
    every = fitted(data=(X, y, a))
    at_one = every.effect_curve([1.0]).loc[1.0]
    np.testing.assert_allclose(at_one, at_one["a"], rtol=1e-12)
    some = fitted(data=(X, y, a), steer=["b"])
    np.testing.assert_array_equal(some.vectors_["c"], some.concept_vectors_["c"])
    assert not np.array_equal(some.vectors_["b"], some.concept_vectors_["b"])


def test_one_group_keeps_its_concept_vector():
    X, y, _ = texts()
    step = fitted(data=(X, y, np.full(len(y), "a")))
    assert step.solution_ is None
    np.testing.assert_array_equal(step.vectors_["a"], step.concept_vectors_["a"])


@pytest.mark.parametrize("d", [1, 6])
def test_one_feature_or_one_component_is_enough(d):
    X, y, a = texts(against=1.0)
    step = fitted(data=(X[:, :d], y, a), n_components=1)
    assert step.solution_.population.is_ideal()
    curve = step.effect_curve([1.0]).loc[1.0]
    assert curve["a"] == pytest.approx(curve["b"], rel=1e-12)


def test_same_seed_same_bits_and_another_seed_other_subsets(step):
    again, other = fitted(), fitted(random_state=1)
    np.testing.assert_array_equal(again.vectors_["b"], step.vectors_["b"])
    assert not np.array_equal(other.vectors_["b"], step.vectors_["b"])
    assert clone(other).get_params() == other.get_params()


# ---------------------------------------------------------------------------------- calibration


def test_calibration_makes_measured_curves_equal():
    step = fitted()
    t = np.linspace(0.25, 4.0, 16)

    def measured(vectors):  # a model that answers group b three times as weakly, and saturates
        gain = {"a": 1.0, "b": 1.0 / 3.0}
        w = {g: step.probes_[g][0] for g in "ab"}
        return {g: np.tanh(gain[g] * t * (w[g] @ vectors[g]) / 4.0) for g in "ab"}

    before = dict(step.vectors_)
    control = measured(before)
    assert np.abs(control["a"] - control["b"]).max() > 0.3
    factors = step.calibrate(t, control)
    assert factors["a"] == 1.0
    assert factors["b"] == pytest.approx(3.0, rel=0.02)
    np.testing.assert_allclose(step.vectors_["b"], factors["b"] * before["b"])
    after = measured(step.vectors_)
    assert np.abs(after["a"] - after["b"]).max() < 0.01


def test_calibration_at_one_strength_is_a_ratio():
    step = fitted()
    assert step.matched_strength_ is None
    assert step.calibrate([2.0], {"a": [0.4], "b": [0.1]}) == {"a": 1.0, "b": pytest.approx(4.0)}
    assert step.matched_strength_ == pytest.approx(0.5)  # b reaches 0.1, a at a quarter of 2


def test_calibration_matches_at_the_target():
    step, t = fitted(), np.array([1.0, 2.0, 3.0])
    effects = {"a": [0.1, 0.2, 0.3], "b": [0.02, 0.1, 0.25]}
    factors = step.calibrate(t, effects, target=0.1)
    assert (step.matched_strength_, step.matched_effect_) == (1.0, 0.1)
    assert factors == {"a": 1.0, "b": pytest.approx(2.0)}
    again = fitted()
    with pytest.warns(fp.FairprogWarning, match=r"at most 0.25 .* that were measured, not 0.28"):
        factors = again.calibrate(t, effects, target=0.28)
    assert again.matched_effect_ == 0.25
    assert factors["b"] == pytest.approx(3.0 / 2.5)


def test_calibration_stops_where_texts_are_not_fluent_any_more():
    t = np.array([1.0, 2.0, 3.0, 4.0])
    effects = {"a": [0.1, 0.2, 0.3, 0.4], "b": [0.05, 0.1, 0.3, 0.4]}
    control = fitted()
    assert control.calibrate(t, effects)["b"] == pytest.approx(1.0)
    step = fitted()
    ratio = {
        "a": [1.0] * 4,
        "b": [1.0, 1.02, 1.6, 1.01],
    }  # fluent again at 4 is no help: it is beyond 3
    assert step.calibrate(t, effects, perplexity_ratio=ratio)["b"] == pytest.approx(2.0)
    assert step.matched_effect_ == 0.1
    wide = fitted()
    assert wide.calibrate(t, effects, perplexity_ratio=ratio, tolerance=0.7)["b"] == 1.0
    with pytest.raises(fp.DataError, match=r"of group 'b' is above 1.03 at the first strength"):
        step.calibrate(t, effects, perplexity_ratio=ratio | {"b": [30.1, 31, 33, 90]})
    refitted = step.fit(*texts()[:2], sensitive_features=texts()[2])
    assert refitted.matched_effect_ is None


def test_factors_that_may_be_noise_and_a_second_calibration_are_told():
    step = fitted()
    noise = {"a": [0.1, 0.2], "b": [-0.01, 1e-6]}
    with pytest.warns(fp.FairprogWarning, match="group 'b' is multiplied by 2e"):
        step.calibrate([1.0, 2.0], noise)
    with pytest.warns(fp.FairprogWarning, match="calibrated before"):
        step.calibrate([1.0], {"a": [0.1], "b": [0.1]})


def test_a_concept_that_is_only_in_the_fitted_rows_is_told():
    X, y, a = texts()
    fitted(data=(X, y, a))  # control: no warning
    rng = np.random.default_rng(0)
    X[a == "b"] = rng.normal(size=(int((a == "b").sum()), 6))
    with pytest.warns(fp.FairprogWarning, match="Between the classes of group 'b'"):
        fitted(data=(X, y, a))
    wide = rng.normal(size=(200, 300))
    wide[:, 0] += 2.0 * (y[:200] == "praise")
    with pytest.warns(fp.FairprogWarning, match="rows are too few"):
        fitted(data=(wide, y[:200], a[:200]), n_components=4)


@given(
    rise=st.lists(st.floats(0.01, 1.0), min_size=2, max_size=8),
    share=st.floats(0.05, 1.0),
)
def test_the_least_strength_has_the_effect(rise, share):
    t = np.arange(1.0, len(rise) + 1.0)
    curve = np.cumsum(rise)
    effect = share * curve[-1]
    found = least_strength(t, curve, effect)
    assert np.interp(found, np.append(0.0, t), np.append(0.0, curve)) == pytest.approx(effect)
    falling = np.append(curve, 0.0)  # what comes later does not matter
    assert least_strength(np.append(t, t[-1] + 1.0), falling, effect) == found


# ----------------------------------------------------------------------------------------- files


@pytest.mark.parametrize("suffix", [".json", ".npz"])
def test_a_step_is_read_as_it_was_written(tmp_path, suffix):
    step = fitted(steer=["b"], transport=fp.Affine(), desired="praise")
    step.calibrate([1.0, 2.0], {"a": [0.1, 0.2], "b": [0.1, 0.15]})
    path = tmp_path / f"step{suffix}"
    step.save(path)
    again = fp.load(path)
    assert isinstance(again, fp.ConceptSteering)
    assert str(again.get_params()) == str(step.get_params())
    assert list(again.classes_) == ["pan", "praise"] and again.reference_ == "a"
    assert (again.matched_strength_, again.matched_effect_) == (1.5, 0.15)
    np.testing.assert_array_equal(again.vectors_["b"], step.vectors_["b"])
    for unit in ("log-odds", "probability"):
        for vectors in ("steered", "own", "shared"):
            pd.testing.assert_frame_equal(
                again.effect_curve(STRENGTHS, vectors=vectors, unit=unit),
                step.effect_curve(STRENGTHS, vectors=vectors, unit=unit),
            )
    assert again.solution_.kl == step.solution_.kl
    assert again.population_.groups == step.population_.groups
    with pytest.raises(fp.DataError, match="needed is a IdealSteering"):
        fp.IdealSteering.load(path)


def test_one_group_and_numbers_as_labels_can_be_saved(tmp_path):
    X, y, _ = texts()
    step = fitted(data=(X, (y == "praise").astype(int), np.zeros(len(y), int)), steer="auto")
    step.save(tmp_path / "step.npz")
    again = fp.ConceptSteering.load(tmp_path / "step.npz")
    assert again.solution_ is None and again.population_ is None
    assert list(again.vectors_) == [0] and again.classes_.dtype.kind == "i"
    with pytest.raises(NotFittedError):
        fp.ConceptSteering().save(tmp_path / "no.npz")


# -------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"steer": "all"}, fp.ModelError, "`steer` must be 'auto'"),
        ({"steer": ["a", "b"]}, fp.ModelError, "one must stay"),
        ({"steer": ["q"]}, fp.DataError, "`steer` names 'q'"),
        ({"desired": "good"}, fp.ModelError, "`desired` is 'good'"),
        ({"subset": 100000}, fp.DataError, "`subset` = 100000 asks for 100000 rows"),
        ({"subset": 0.0}, fp.DataError, "`subset`"),
        ({"n_probes": 1}, fp.DataError, "`n_probes`"),
        ({"n_probes": 6}, fp.DataError, "`n_probes` = 6 probes leave no covariance"),
        ({"n_probes": 20.5}, fp.DataError, "`n_probes` must be a whole number"),
        ({"steer": 0}, fp.ModelError, "`steer` must be 'auto'"),
        ({"penalty": 0.0}, fp.DataError, "`penalty` must be positive"),
        ({"penalty": -1.0}, fp.DataError, "`penalty`"),
        ({"n_components": 0}, fp.DataError, "`n_components`"),
    ],
)
def test_bad_options_are_named(options, error, says):
    with pytest.raises(error, match=says):
        fitted(**options)


def test_bad_data_is_named():
    X, y, a = texts()
    with pytest.raises(fp.DataError, match="`y` must have two classes"):
        fitted(data=(X, np.where(np.arange(len(y)) < 9, "fine", y), a))
    with pytest.raises(fp.DataError, match="`y` must have two classes"):
        fitted(data=(X, np.full(len(y), "pan"), a))
    with pytest.raises(fp.DataError, match="`X` must be finite"):
        fitted(data=(np.where(X > 3, np.nan, X), y, a))
    with pytest.raises(fp.DataError, match="required"):
        fp.ConceptSteering().fit(X, y, sensitive_features=None)
    with pytest.raises(fp.DataError, match="Class 'praise', group 'c' has 0 row"):
        few = np.where((y == "pan") & (np.arange(len(y)) < 30), "c", a)
        fitted(data=(X, y, few))
    flat = X.copy()
    flat[a == "b"] = 1.0
    with pytest.raises(fp.DataError, match="of group 'b' find no direction"):
        fitted(data=(flat, y, a))
    with pytest.raises(fp.DataError, match="does not vary"):
        fitted(data=(np.zeros_like(X), y, a))


def test_bad_questions_are_named(step):
    with pytest.raises(fp.ModelError, match="`unit` must be one of"):
        step.effect_curve([1.0], unit="percent")
    with pytest.raises(fp.ModelError, match="`vectors` must be one of"):
        step.effect_curve([1.0], vectors="mine")
    with pytest.raises(fp.DataError, match="`vectors` has none for group 'b'"):
        step.effect_curve([1.0], vectors={"a": np.ones(6)})
    with pytest.raises(fp.DataError, match="`vectors` has shape"):
        step.effect_curve([1.0], vectors={"a": np.ones(5), "b": np.ones(6)})
    with pytest.raises(fp.DataError, match="`strengths` must be finite"):
        step.effect_curve([np.nan])
    with pytest.raises(fp.DataError, match="`strengths` must be positive"):
        step.calibrate([0.0, 1.0], {"a": [0, 1], "b": [0, 1]})
    with pytest.raises(fp.DataError, match="`effects` has none of group 'a'"):
        step.calibrate([1.0], {"b": [1.0]})
    with pytest.raises(fp.DataError, match="'q'"):
        step.calibrate([1.0], {"a": [1.0], "q": [1.0]})
    with pytest.raises(fp.DataError, match="Group 'b' has no positive effect"):
        step.calibrate([1.0], {"a": [1.0], "b": [-0.1]})
    both = {"a": [1.0], "b": [1.0]}
    with pytest.raises(fp.DataError, match="`target` must be positive"):
        step.calibrate([1.0], both, target=0.0)
    with pytest.raises(fp.DataError, match="`tolerance`"):
        step.calibrate([1.0], both, tolerance=-0.1)
    with pytest.raises(fp.DataError, match=r"`tolerance` must be in \[0, 1\]"):
        step.calibrate([1.0], both, tolerance=3)
    with pytest.raises(fp.DataError, match="`effects` has none of group 'b'"):
        step.calibrate([1.0], {"a": [1.0]})
    with pytest.raises(fp.DataError, match="`perplexity_ratio` has none of group 'a'"):
        step.calibrate([1.0], both, perplexity_ratio={"b": [1.0]})
    with pytest.raises(fp.DataError, match="of group 'b' must be positive"):
        step.calibrate([1.0], both, perplexity_ratio={"a": [1.0], "b": [0.0]})
    with pytest.raises(fp.DataError, match="must map every group to an array; found list"):
        step.calibrate([1.0], [[1.0], [1.0]])
    with pytest.raises(fp.DataError, match="`strengths` must be positive"):
        step.calibrate([], both)
    with pytest.raises(fp.ModelError, match="must be a name or map every group"):
        step.effect_curve([1.0], vectors=np.ones(6))
    with pytest.raises(fp.DataError, match=r"`perplexity_ratio\['b'\]` has shape"):
        step.calibrate([1.0], both, perplexity_ratio={"b": [1.0, 1.0]})
    with pytest.raises(fp.DataError, match="`perplexity_ratio` names 'q'"):
        step.calibrate([1.0], both, perplexity_ratio={"q": [1.0]})


def test_vectors_of_ones_own(step):
    mine = {"a": np.ones(6), "b": np.zeros(6)}
    curve = step.effect_curve(STRENGTHS, vectors=mine)
    assert isinstance(curve, pd.DataFrame)
    assert (curve["b"] == 0.0).all()
    np.testing.assert_allclose(curve["a"], STRENGTHS * step.probes_["a"][0].sum())


# --------------------------------------------------------------------------------- the test bed


def test_prompts_to_calibrate_and_to_evaluate_are_disjoint_and_tell_no_sentiment():
    said = {w for words in reviews.WORDS.values() for w in words}
    said |= {w for words in reviews.COMMON.values() for w in words}
    for genre in reviews.GENRES:
        first, second = (reviews.prompts(genre, p) for p in ("calibrate", "evaluate"))
        assert len(set(first)) == len(set(second)) == 32
        assert not set(first) & set(second)
        assert not said & {w for text in first + second for w in text.split()}


def test_reviews_are_seeded_and_the_scorer_reads_sentiment():
    one, two = reviews.write_reviews(500, 0), reviews.write_reviews(500, 0)
    assert one.text == two.text and (one.y == two.y).all()
    assert reviews.write_reviews(500, 1).text != one.text
    scorer = reviews.Scorer(reviews.write_reviews(3000, 2))
    for genre in reviews.GENRES:
        part = one.take(one.genre == genre)
        score = scorer(part.text, genre)
        assert ((score > 0.5) == (part.y == reviews.PRAISE)).mean() > 0.85
    # the same word praises one kind of film and pans the other
    grim = ["the plot was grim ."]
    assert scorer(grim, "comedy")[0] < 0.4 < 0.6 < scorer(grim, "horror")[0]
