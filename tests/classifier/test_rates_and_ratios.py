"""Bounds on rates, risks that are ratios, and their templates: against programs written out."""

import numpy as np
import pytest
from scipy.optimize import minimize

import fairprog as fp
from fairprog.testing import check_template
from tests.scored_people import scored, written_out

rng = np.random.default_rng(0)
LAW = rng.dirichlet(np.ones(2), 20)
TEMPLATES = [
    fp.RateBound("P(yhat=1 | y=1)", lower=0.8),
    fp.RateBound("P(yhat!=0)", upper=0.6),
    fp.BalancedErrorRate(),
    fp.F1Risk(),
    fp.MatthewsRisk(),
    fp.TruePositiveRateParity(difference_bound=0.05),
    fp.RMSGap(fp.TruePositiveRateParity(), 0.1),
    fp.Divergence(LAW),
    fp.ErrorRate() + 0.3 * fp.Divergence(LAW, "chi2"),
]


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda t: type(t).__name__)
def test_templates(template):
    check_template(template)


@pytest.mark.slow
@pytest.mark.parametrize(
    "template", [fp.F1Risk(positive=0), fp.RMSGap(fp.EqualizedOdds(), 0.05)], ids=repr
)
def test_more_templates(template):
    check_template(template)


@pytest.mark.parametrize("K", [2, 3])
def test_minimum_rates_are_those_of_the_written_out_program(K):
    p, a = scored(150, K)
    D = fp.Categorical.from_scores(p, sensitive_features=a)
    bound = fp.RateBound("P(yhat=0 | y=0)", lower=0.85, upper=0.9)
    sol = fp.FairClassifier(D, fp.ErrorRate(), [bound]).solve()
    assert sol.risk == pytest.approx(written_out(p, a, [([(0, 0)], [0], 0.85, 0.9)]), abs=1e-9)
    assert (bound.evaluate(sol.table) >= 0.85 - 1e-9).all()
    step = 1e-5
    ends = [
        fp.FairClassifier(D, fp.ErrorRate(), [bound.with_bound(0.85 + s)]).solve().risk
        for s in (step, -step)
    ]
    assert sol.price["rate_bound"] == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=0.05)
    rising = fp.FairClassifier(D, fp.ErrorRate(), [bound]).frontier([0.5, 0.7, 0.85])
    assert rising.upward
    assert (np.diff(rising.risks) >= -1e-12).all()


@pytest.mark.parametrize("ends", [(None, None), (0.9, 0.8), (1.2, None), (None, -0.1)], ids=str)
def test_impossible_bounds(ends):
    with pytest.raises(fp.DataError, match=r"upper|lower"):
        fp.RateBound("P(yhat=1)", *ends)


def test_the_best_f1_threshold_is_half_the_best_f1():
    p, a = scored()
    D = fp.Categorical.from_scores(p[:, 1], sensitive_features=a)
    sol = fp.FairClassifier(D, fp.F1Risk()).solve()
    brute = [
        fp.F1Risk().evaluate(D.table(np.stack([p[:, 1] <= t, p[:, 1] > t], 1).astype(float)))
        for t in np.sort(p[:, 1])
    ]
    assert sol.risk == pytest.approx(min(brute), abs=1e-12)
    for t in sol.classifier.thresholds.values():
        assert t == pytest.approx(0.5 * (1 - sol.risk), abs=1e-9)
    assert sol.certificate.globally_optimal


@pytest.mark.parametrize("risk", [fp.F1Risk(), fp.MatthewsRisk()], ids=repr)
def test_ratios_are_the_best_over_levels(risk):
    """Of the classifiers with equal opportunity, those of least error at each selection rate."""
    p, a = scored(120)
    D = fp.Categorical.from_scores(p[:, 1], sensitive_features=a)
    fair = fp.EqualOpportunity(difference_bound=0.05)
    sol = fp.FairClassifier(D, risk, [fair]).solve()
    tried = []
    for weight in np.linspace(0.02, 0.98, 97):
        cost = {"fp": weight, "fn": 1 - weight}
        table = fp.FairClassifier(D, fp.CostSensitiveRisk(cost), [fair]).solve().table
        tried.append(risk.evaluate(table))
    assert min(tried) - 2e-3 <= sol.risk <= min(tried) + 1e-9
    assert sol.settings["risk"] == risk


def test_ratios_stand_alone():
    D = fp.Categorical.from_scores([0.2, 0.8, 0.4, 0.9], sensitive_features=list("aabb"))
    for program in (
        fp.FairClassifier(D, fp.ErrorRate() + fp.F1Risk()),
        fp.FairClassifier(D, fp.ErrorRate(), [fp.RiskBound(fp.F1Risk(), 0.3)]),
    ):
        with pytest.raises(fp.ModelError, match="stands alone"):
            program.solve()
    three = fp.Categorical.from_scores(scored(50, 3)[0], sensitive_features=scored(50, 3)[1])
    with pytest.raises(fp.ModelError, match="binary"):
        fp.FairClassifier(three, fp.MatthewsRisk()).solve()


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda t: type(t).__name__)
def test_primal_is_dual_and_files_keep_the_answer(template, tmp_path):
    p, a = scored(20)
    D = fp.Categorical.from_scores(p[:, 1], sensitive_features=a)
    parity = fp.DemographicParity(difference_bound=0.05)
    program = (
        fp.FairClassifier(D, template, [parity])
        if isinstance(template, fp.Risk)
        else fp.FairClassifier(D, fp.ErrorRate(), [template])
    )
    sol = program.solve()
    assert sol.certificate.duality_gap < 1e-7
    sol.save(tmp_path / "sol.json")
    again = fp.load(tmp_path / "sol.json")
    assert (again.risk, again.price, again.settings) == (sol.risk, sol.price, sol.settings)
    np.testing.assert_array_equal(again.classifier.h, sol.classifier.h)


def test_balanced_error_and_chi_square_are_the_written_out_programs():
    p, a = scored(12)
    D = fp.Categorical.from_scores(p[:, 1], sensitive_features=a)
    notion = fp.DemographicParity()
    low, high = D.prior.sum(axis=1)
    cost = fp.CostSensitiveRisk({"fp": 0.5 / low, "fn": 0.5 / high})
    balanced, same = (
        fp.FairClassifier(D, risk, [notion]).solve() for risk in (fp.BalancedErrorRate(), cost)
    )
    assert balanced.risk == pytest.approx(same.risk, abs=1e-9)
    near, s = np.linspace(0.2, 0.9, 12), a == "f"
    sol = fp.FairClassifier(D, fp.Divergence(near, "chi2"), [notion]).solve()
    variance = near * (1 - near)  # (h - near)^2 (1 / near + 1 / (1 - near)): one quadratic form
    found = minimize(
        lambda h: ((h - near) ** 2 / variance).mean(),
        near,
        jac=lambda h: 2 * (h - near) / variance / 12,
        bounds=[(0, 1)] * 12,
        constraints={"type": "eq", "fun": lambda h: h[s].mean() - h[~s].mean()},
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )
    assert sol.risk == pytest.approx(found.fun, abs=1e-7)


def test_what_is_asked_in_the_wrong_place():
    p, a = scored(50)
    D = fp.Categorical.from_scores(p[:, 1], sensitive_features=a)
    with pytest.raises(fp.ModelError, match="RiskBound"):
        fp.FairClassifier(D, fp.ErrorRate(), [fp.RenyiInformation()])
    with pytest.raises(fp.ModelError, match="ScoreSteering compares all groups"):
        fp.ScoreSteering(notion=fp.DemographicParity(on="sex")).fit(p[:, 1], sensitive_features=a)
