"""Near a reference: the answer is an exponential tilt, that of conic solvers and for new rows."""

import numpy as np
import pytest

import fairprog as fp
from tests.scored_people import preferred, scored


@pytest.mark.parametrize("uses_group", [True, False])
@pytest.mark.parametrize("K", [2, 3])
def test_the_tilt_is_the_conic_answer(K, uses_group):
    rng = np.random.default_rng(K)
    joint = rng.dirichlet(np.ones(2 * K), 60).reshape(60, K, 2)
    D = fp.Categorical.from_scores(joint)
    pi = rng.dirichlet(np.ones(K), 60)
    risk = fp.ErrorRate() + 0.2 * fp.Divergence(pi)
    for notions in (
        [fp.DemographicParity()],
        [fp.EqualizedOdds(difference_bound=0.02), fp.RateBound("P(yhat=1)", upper=0.4)],
    ):
        fc = fp.FairClassifier(D, risk, notions, uses_group)
        ours, conic = fc.solve(), fc.solve("CLARABEL")
        assert (ours.solver, conic.solver) == ("tilt", "CLARABEL")
        assert ours.risk == pytest.approx(conic.risk, abs=1e-7)
        assert ours.certificate.duality_gap < 1e-7
        assert np.abs(ours.classifier.h - conic.classifier.h).max() < 1e-5
        if notions[0].difference_bound:
            assert dict(ours.price) == pytest.approx(dict(conic.price), abs=1e-5)


def test_the_tilt_is_an_exponential_one():
    p, a = scored(200)
    D = fp.Categorical.from_scores(p[:, 1], sensitive_features=a)
    sol = fp.FairClassifier(D, fp.Divergence(p), [fp.DemographicParity()]).solve()
    h = sol.classifier.h
    with np.errstate(divide="ignore"):
        tilt = np.log(h[:, 1] / h[:, 0]) - np.log(p[:, 1] / p[:, 0])
    for g in "fm":
        assert np.ptp(tilt[a == g]) < 1e-9  # one constant per group
    assert tilt[a == "f"][0] > 0 > tilt[a == "m"][0]


def test_the_tilt_leaves_what_cannot_be_to_the_explanation():
    p, a = scored(60)
    D = fp.Categorical.from_scores(p[:, 1], sensitive_features=a)
    clash = [fp.RateBound("P(yhat=1)", lower=0.6), fp.RateBound("P(yhat=1)", upper=0.5)]
    with pytest.raises(fp.InfeasibleError, match="rate_bound"):
        fp.FairClassifier(D, fp.Divergence(p), clash).solve()


@pytest.mark.parametrize(
    ("reference", "match"),
    [
        ([[0.0, 1.0]], "positive.*a floor"),
        ([[0.5, 0.6]], "sum to one"),
        ([[0.5, 0.5]], "needed is"),
    ],
)
def test_references_that_do_not_fit(reference, match):
    D = fp.Categorical.from_scores([0.2, 0.8, 0.4], sensitive_features=list("aab"))
    with pytest.raises(fp.DataError, match=match):
        fp.FairClassifier(D, fp.Divergence(reference)).solve()
    with pytest.raises(fp.ModelError, match="kind"):
        fp.Divergence([0.5], "tv")


@pytest.mark.parametrize("seed", range(8))
def test_tilts_settle_where_a_condition_is_slack(seed):
    """The levels are found from all conditions, those that do not bind included."""
    prompts, joint = preferred(seed)
    notion = fp.TruePositiveRateParity(difference_bound=0.03)
    risk = fp.ErrorRate() + 0.3 * fp.Divergence(prompts)
    D = fp.Categorical.from_scores(joint)
    sol = fp.FairClassifier(D, risk, [notion], uses_group=False).solve()
    assert sol.solver == "tilt"
    assert max(sol.certificate.primal_residual, sol.certificate.slackness) < 1e-7


@pytest.mark.parametrize("uses_group", [True, False])
def test_a_tilt_is_a_rule_for_new_rows(uses_group, tmp_path):
    notion = fp.EqualizedOdds(difference_bound=0.02)
    if uses_group:
        p, a = scored(300, 3)
        D = fp.Categorical.from_scores(p, sensitive_features=a)
    else:
        p = preferred(0, 300)[1]
        a, D = None, fp.Categorical.from_scores(p)
    near = np.random.default_rng(1).dirichlet(3 * np.ones(3), 300)
    risk = fp.ErrorRate() + 0.2 * fp.Divergence(near)
    sol = fp.FairClassifier(D, risk, [notion], uses_group=uses_group).solve()
    sol.save(tmp_path / "near.json")
    for rule in (sol.classifier, fp.load(tmp_path / "near.json").classifier):
        h = rule.predict_proba_from_scores(p, sensitive_features=a, reference=near)
        known = sol.classifier.h[:: 1 if uses_group else 3]  # a pair for every group
        np.testing.assert_allclose(h, known, atol=1e-9)
        some = rule.predict_from_scores(
            p[:5], sensitive_features=None if a is None else a[:5], reference=near[:5]
        )
        assert set(some) <= {0, 1, 2}
        assert rule.thresholds is None
    with pytest.raises(fp.ModelError, match="pass that of these rows"):
        rule.predict_proba_from_scores(p, sensitive_features=a)
    with pytest.raises(fp.DataError, match="a law per row"):
        rule.predict_proba_from_scores(p, sensitive_features=a, reference=near[:5])
    plain = fp.FairClassifier(D, fp.ErrorRate(), [notion], uses_group=uses_group).solve()
    with pytest.raises(fp.ModelError, match="that tilt one"):
        plain.classifier.predict_proba_from_scores(p, sensitive_features=a, reference=near)


def test_a_frontier_of_tilts_needs_no_solver():
    p, a = scored(300)
    D = fp.Categorical.from_scores(p[:, 1], sensitive_features=a)
    program = fp.FairClassifier(D, fp.Divergence(p[:, 1]), [fp.DemographicParity()])
    curve = program.frontier([0, 0.02, 0.05])
    assert curve.compilations == 0
    for bound, risk, price in zip(curve.bounds, curve.risks, curve.prices, strict=True):
        at = fp.DemographicParity(difference_bound=float(bound))
        sol = fp.FairClassifier(D, fp.Divergence(p[:, 1]), [at]).solve()
        assert (sol.risk, sol.price["demographic_parity"]) == pytest.approx((risk, price))
    with pytest.raises(fp.ModelError, match="count them in bins"):
        program.frontier([0.02], bootstrap=2, progress=False)
    y = (np.random.default_rng(0).random(300) < p[:, 1]).astype(int)
    B = fp.Categorical.from_scores(p[:, 1], y=y, bins=4, sensitive_features=a)
    bands = fp.FairClassifier(B, fp.Divergence(B.values), [fp.DemographicParity()])
    assert bands.frontier([0.02], bootstrap=2, progress=False).samples.shape == (2, 1)


def test_divergences_are_weighted_from_both_sides_and_print_short():
    p, _ = scored(2000)
    assert fp.Divergence(p) * 0.3 == 0.3 * fp.Divergence(p)
    assert repr(0.5 * fp.Divergence(p)) == "WeightedRisk((Divergence(<2000 rows>),), (0.5,))"
