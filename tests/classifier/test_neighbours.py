"""What users of other packages ask for: against written-out programs, brute force and theorems."""

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import linprog, minimize
from sklearn.linear_model import LogisticRegression

import fairprog as fp
from fairprog.testing import check_template

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


def scored(n=400, K=2, seed=0):
    """Return posteriors and groups, the second of which is scored higher."""
    rng = np.random.default_rng(seed)
    a = rng.choice(["f", "m"], n)
    p = rng.dirichlet(np.ones(K), n)
    p[a == "m", -1] += 0.3
    return p / p.sum(axis=1, keepdims=True), a


def written_out(p, a, conditions, uses_group=True, joint=None):
    """Minimise the error over h: conditions are (outcomes, inside, low, high) by group level."""
    n, K = p.shape[:2]
    w = [p * (a == g)[:, None] / n for g in sorted(set(a))] if joint is None else joint
    cost = sum(w).sum(axis=1, keepdims=True) - sum(w)
    A, b = [], []
    for outcomes, inside, low, high in conditions:
        for wa in w:
            row = np.zeros((n, K))
            for i, j in outcomes:
                row[:, j] += wa[:, i]
            row = row.ravel() / wa[:, inside].sum()
            A += [row, -row]
            b += [high, -low]
    one = np.kron(np.eye(n), np.ones(K))
    found = linprog(cost.ravel(), A_ub=np.array(A), b_ub=b, A_eq=one, b_eq=np.ones(n))
    assert found.status == 0
    return found.fun


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


# -- several attributes --


@pytest.fixture(scope="module")
def crossed():
    rng = np.random.default_rng(3)
    n = 900
    frame = pd.DataFrame({
        "sex": rng.choice(["f", "m"], n),
        "race": rng.choice(["x", "y", "z"], n, p=[0.5, 0.3, 0.2]),
    })  # fmt: skip
    odd = (frame.sex == "f") & (frame.race == "x")
    score = rng.beta(1 + odd + 0.5 * (frame.sex == "m"), 2)
    return score, frame, fp.Categorical.from_scores(score, sensitive_features=frame)


def test_a_constraint_per_attribute_without_their_cross(crossed):
    """fairlearn#237: sex and race each, where crossing them is another, dearer question."""
    _, frame, D = crossed
    per = [
        fp.DemographicParity(difference_bound=0.01, on="sex"),
        fp.DemographicParity(difference_bound=0.02, on="race"),
    ]
    sol = fp.FairClassifier(D, fp.ErrorRate(), per).solve()
    both = fp.FairClassifier(D, fp.ErrorRate(), [fp.DemographicParity(difference_bound=0.01)])
    assert [n.gap(sol.table) for n in per] == pytest.approx([0.01, 0.02], abs=1e-6)
    assert fp.DemographicParity().gap(sol.table) > 0.08  # the cross was not asked for
    assert sol.risk < both.solve().risk - 0.001
    assert set(sol.price) == {"demographic_parity_on_sex", "demographic_parity_on_race"}
    linear = fp.FairClassifier(D, fp.ErrorRate(), per).solve("HIGHS")
    assert linear.risk == pytest.approx(sol.risk, abs=1e-9)
    draws = sol.classifier.predict(np.arange(len(frame)), sensitive_features=frame)
    table = fp.OutcomeTable.from_predictions(
        (np.arange(len(frame)) % 2), draws, sensitive_features=frame
    )
    assert fp.DemographicParity(on="sex").evaluate(table).shape == (1, 2)
    assert table.attributes == ("sex", "race")


def test_inside_strata_the_program_falls_apart_into_theirs(crossed):
    score, frame, D = crossed
    notion = fp.EqualOpportunity(difference_bound=0.02, on="sex", within="race")
    sol = fp.FairClassifier(D, fp.ErrorRate(), [notion]).solve()
    alone = 0.0
    for race in "xyz":
        rows = (frame.race == race).to_numpy()
        E = fp.Categorical.from_scores(score[rows], sensitive_features=frame.sex[rows])
        plain = fp.EqualOpportunity(difference_bound=0.02)
        alone += rows.mean() * fp.FairClassifier(E, fp.ErrorRate(), [plain]).solve().risk
    assert sol.risk == pytest.approx(alone, abs=1e-9)
    assert notion.evaluate(sol.table).shape == (3, 2)
    assert "equal_opportunity_on_sex_within_race[x,f,1,1]" in sol.sensitivity
    again = fp.EqualOpportunity(difference_bound=0.02, within=1)  # by position, all others
    assert again.gap(sol.table) == pytest.approx(notion.gap(sol.table))


def test_names_travel_and_fit(crossed, tmp_path):
    _, _, D = crossed
    counted = fp.Categorical.from_scores(
        crossed[0], sensitive_features=crossed[1], bins=4, groups=D.groups
    )
    notion = fp.DemographicParity(difference_bound=0.05, on="sex")
    check_template(notion, counted)
    sol = fp.FairClassifier(counted, fp.ErrorRate(), [notion]).solve()
    sol.save(tmp_path / "sol.json")
    again = fp.load(tmp_path / "sol.json")
    assert notion.gap(again.table) == pytest.approx(notion.gap(sol.table), abs=1e-12)
    assert again.settings["constraints"]["demographic_parity_on_sex"] == notion
    assert counted.resampled(500, np.random.default_rng(0)).attributes == ("sex", "race")


@pytest.mark.parametrize(
    ("notion", "match"),
    [
        (fp.DemographicParity(on="age"), "names 'age'.*'sex', 'race'"),
        (fp.DemographicParity(on=2), "names 2"),
        (fp.DemographicParity(on="sex", within=("sex", "race")), "compares nothing"),
    ],
    ids=repr,
)
def test_attributes_that_are_not_there(crossed, notion, match):
    with pytest.raises(fp.ModelError, match=match):
        fp.FairClassifier(crossed[2], fp.ErrorRate(), [notion]).solve()


def test_where_one_attribute_cannot_be_asked_for(crossed):
    notion = fp.DemographicParity(on="sex")
    with pytest.raises(fp.ModelError, match="all its groups at once"):
        crossed[2].ideality_gap(notion)
    with pytest.raises(fp.ModelError, match="is a matter for"):
        fp.NearestIdeal(crossed[2], constraints=[notion])
    with pytest.raises(fp.ModelError, match="between all groups"):
        fp.Robust(notion, 0.1)
    for one in (notion, fp.DemographicParity(within="sex")):
        with pytest.raises(fp.ModelError, match=r"sensitive_features=frame\['sex'\]"):
            fp.FairScore(crossed[2], one)
        with pytest.raises(fp.ModelError, match="NearestFair compares all groups"):
            fp.NearestFair(crossed[2], 0.5, notion=one)


# -- the group is not known --


def unknown(n=200, seed=1):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2))
    m = 1 / (1 + np.exp(-1.5 * x[:, 0]))
    joint = np.empty((n, 2, 2))
    for a, share in enumerate((1 - m, m)):
        p = 1 / (1 + np.exp(-(x[:, 1] + 0.8 * x[:, 0] + a - 0.5)))
        joint[:, 0, a], joint[:, 1, a] = share * (1 - p), share * p
    return joint


def test_without_the_group_it_is_the_written_out_program():
    joint = unknown()
    D = fp.Categorical.from_scores(joint, groups=["f", "m"])
    assert np.allclose(D.prior, joint.mean(axis=0))
    notion = fp.DemographicParity(difference_bound=0.1)
    sol = fp.FairClassifier(D, fp.ErrorRate(), [notion], uses_group=False).solve()
    level = sol.table.Z[:, :, 1].sum(axis=1) / D.group_mass
    parts = [joint[:, :, a] / len(joint) for a in range(2)]
    ends = level.min() - 1e-9, level.max() + 1e-9
    wanted = written_out(
        joint.sum(axis=2), np.zeros(200), [([(0, 1), (1, 1)], [0, 1], *ends)], joint=parts
    )
    assert sol.risk == pytest.approx(wanted, abs=1e-7)
    assert notion.gap(sol.table) == pytest.approx(0.1, abs=1e-9)
    first = np.unique(D.support.atom, return_index=True)[1]
    again = sol.classifier.predict_proba_from_scores(joint)
    assert np.abs(again - sol.classifier.h[first]).max() < 1e-9
    new = sol.classifier.predict_from_scores(unknown(5000, 2))
    assert new.mean() == pytest.approx(sol.table.Z[:, :, 1].sum(), abs=0.1)
    drawn = D.resampled(300, np.random.default_rng(0))
    assert drawn.support.weight.sum() == pytest.approx(1)
    assert not drawn.reveals_group


def test_where_only_constants_are_fair_it_says_so():
    joint = np.array([[[0.1, 0.4], [0.3, 0.2]], [[0.3, 0.2], [0.1, 0.4]]])
    D = fp.Categorical.from_scores(joint)
    with pytest.warns(fp.FairprogWarning, match="only constant classifiers"):
        fp.FairClassifier(D, fp.ErrorRate(), [fp.EqualizedOdds()], uses_group=False).solve()
    with warnings.catch_warnings():  # a constant that is best, not the only one
        warnings.simplefilter("error")
        E = fp.Categorical.from_scores(0.1 * joint + 0.9 * np.array([[0.6, 0.3], [0.06, 0.04]]))
        wide = fp.EqualizedOdds(difference_bound=0.9)
        sol = fp.FairClassifier(E, fp.ErrorRate(), [wide], uses_group=False).solve()
    assert np.ptp(sol.classifier.h, axis=0).max() == 0


def test_where_hardly_more_than_constants_is_left_it_says_so():
    """Features that tell the group: parity without it has next to nothing to decide by."""
    x = np.linspace(-2.0, 2.0, 60)
    group, label = (1 / (1 + np.exp(-4 * u)) for u in (x, x + 0.3))
    joint = np.stack([1 - label, label], 1)[:, :, None] * np.stack([1 - group, group], 1)[:, None]
    D = fp.Categorical.from_scores(joint)

    def solved(bound):
        notion = fp.DemographicParity(difference_bound=bound)
        return fp.FairClassifier(D, fp.ErrorRate(), [notion], uses_group=False).solve()

    with pytest.warns(fp.FairprogWarning, match="leave hardly more than constants: the risk is"):
        sol = solved(0.0)  # others are fair, and no better
    assert np.ptp(sol.classifier.h, axis=0).max() < 1e-6
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        solved(0.4)


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"sensitive_features": ["a"] * 200}, fp.ModelError, "sensitive_features.*not used"),
        ({"y": [0, 1] * 100}, fp.ModelError, "`y` is not used"),
        ({"bins": 3}, fp.ModelError, "`bins` is not used"),
        ({"proba": -unknown()}, fp.DataError, "nonnegative"),
        ({"proba": 0.5 * unknown()}, fp.DataError, "must sum to one"),
    ],
    ids=["groups", "y", "bins", "negative", "sum"],
)
def test_what_scores_of_label_and_group_may_be(change, error, match):
    with pytest.raises(error, match=match):
        fp.Categorical.from_scores(**({"proba": unknown()} | change))


# -- more than two classes --


def test_parity_of_every_true_positive_rate_is_the_written_out_program():
    p, a = scored(120, 3)
    D = fp.Categorical.from_scores(p, sensitive_features=a)
    notion = fp.TruePositiveRateParity(difference_bound=0.02)
    sol = fp.FairClassifier(D, fp.ErrorRate(), [notion]).solve()
    rates = notion.evaluate(sol.table)
    conditions = [
        ([(i, i)], [i], rates[i].min() - 1e-10, rates[i].max() + 1e-10) for i in range(3)
    ]
    assert sol.risk == pytest.approx(written_out(p, a, conditions), abs=1e-7)
    assert notion.gap(sol.table) <= 0.02 + 1e-9
    spread = fp.RMSGap(notion, 0.02)
    loose = fp.FairClassifier(D, fp.ErrorRate(), [spread]).solve()
    assert spread.gap(loose.table) == pytest.approx(0.02, abs=1e-6)
    assert loose.risk <= sol.risk + 1e-8


def people(n=2500, seed=0):
    rng = np.random.default_rng(seed)
    a, y = rng.choice(["f", "m"], n), rng.choice(["i", "j", "k"], n)
    X = rng.normal(size=(n, 3))
    X[np.arange(n), np.searchsorted(["i", "j", "k"], y)] += 1.2
    X[:, 1] += 0.8 * ((a == "m") & (y == "j"))
    X[:, 0] += 0.7 * (a == "f")
    return X, y, a


@pytest.fixture(scope="module")
def decided():
    X, y, a = people()
    notion = fp.TruePositiveRateParity()
    return {
        known: fp.SteeredClassifier(
            LogisticRegression(), cv=2, notion=notion, uses_group=known
        ).fit(X, y, sensitive_features=a)
        for known in (True, False)
    }


@pytest.mark.parametrize("known", [True, False])
def test_decisions_on_new_rows(decided, known):
    X, y, a = people(20_000, 1)
    groups = {"sensitive_features": a} if known else {}
    model = decided[known]
    table = fp.OutcomeTable.from_predictions(y, model.predict(X, **groups), sensitive_features=a)
    free = LogisticRegression().fit(*people()[:2]).predict(X)
    before = fp.OutcomeTable.from_predictions(y, free, sensitive_features=a)
    notion = fp.TruePositiveRateParity()
    assert notion.gap(before) > 0.2
    assert notion.gap(table) < 0.09
    proba = model.predict_proba(X, **groups)
    assert np.allclose(proba.sum(axis=1), 1)
    assert (model.class_offsets_ is None) or model.class_offsets_.shape == (2, 2, 3)
    alone = model.predict(X[:1], **({"sensitive_features": a[:1]} if known else {}))
    assert alone[0] == model.predict(X[:50], **{k: v[:50] for k, v in groups.items()})[0]


def test_decisions_say_what_they_need(decided):
    X, y, a = people(300)
    with pytest.raises(fp.DataError, match="sensitive_features"):
        decided[True].predict(X)
    with pytest.raises(fp.DataError, match="Only binary"):
        fp.SteeredClassifier(LogisticRegression()).fit(X, y, sensitive_features=a)
    pairs = fp.IndividualFairness([[0, 1]], 0.1)
    with pytest.raises(fp.ModelError, match="single individuals"):
        fp.SteeredClassifier(LogisticRegression(), cv=2, notion=pairs).fit(
            X, y, sensitive_features=a
        )


# -- divergence from a reference --


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


# -- as users of other packages would --


def preferred(seed, n=200, K=3, G=3):
    """Return a reference, and what people of several groups prefer."""
    rng = np.random.default_rng(seed)
    prompts = rng.dirichlet(2 * np.ones(K), n)
    joint = rng.dirichlet(np.ones(K * G), n).reshape(n, K, G) * np.exp(rng.normal(size=(1, K, G)))
    return prompts, joint / joint.sum(axis=(1, 2), keepdims=True)


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


def test_axes_and_rules_in_each_others_place():
    _, joint = preferred(0, 50, 2, 3)
    with pytest.raises(fp.DataError, match=r"transpose\(0, 2, 1\)"):
        fp.Categorical.from_scores(joint.transpose(0, 2, 1), groups=["a", "b", "c"])
    D = fp.Categorical.from_scores(joint, groups=["a", "b", "c"])
    aware = fp.FairClassifier(D, fp.ErrorRate()).solve().classifier
    with pytest.raises(fp.ModelError, match="uses_group=False"):
        aware.predict_from_scores(joint)
    blind = fp.FairClassifier(D, fp.ErrorRate(), uses_group=False).solve().classifier
    with pytest.raises(fp.ModelError, match="pass scores of label and group"):
        blind.predict_from_scores(joint.sum(axis=2))


def test_columns_of_attributes_go_by_their_names():
    p, _ = scored(200)
    rng = np.random.default_rng(2)
    who = pd.DataFrame(
        {"veteran": rng.choice(["no", "yes"], 200), "old": rng.choice(["no", "yes"], 200)}
    )
    D = fp.Categorical.from_scores(p[:, 1], sensitive_features=who)
    each = [fp.DemographicParity(difference_bound=0.01, on=name) for name in who]
    rule = fp.FairClassifier(D, fp.ErrorRate(), each).solve().classifier
    ours, theirs = (
        rule.predict_proba_from_scores(p[:, 1], sensitive_features=frame)
        for frame in (who, who[["old", "veteran"]])
    )
    np.testing.assert_array_equal(ours, theirs)


def test_several_columns_of_text_are_atoms():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"u": rng.choice(["p", "q"], 200), "v": rng.choice(["r", "s"], 200)})
    a, y = rng.choice(["f", "m"], 200), rng.integers(0, 2, 200)
    D = fp.Categorical.fit(X, y, sensitive_features=a)
    assert D.values.tolist() == [["p", "r"], ["p", "s"], ["q", "r"], ["q", "s"]]
    rule = fp.FairClassifier(D, fp.WorstGroupRisk(), uses_group=False).solve().classifier
    assert rule.predict_proba(X).shape == (200, 2)
    with pytest.raises(fp.DataError, match="of int, str"):
        fp.Categorical.fit(X.assign(v=1), y, sensitive_features=a)


def test_a_minimum_rate_per_attribute(crossed):
    _, frame, D = crossed
    each = [fp.RateBound("P(yhat=1 | y=1)", lower=0.7, on=name) for name in frame]
    sol = fp.FairClassifier(D, fp.ErrorRate(), each).solve()
    assert [b.evaluate(sol.table).shape for b in each] == [(2,), (3,)]
    assert min(b.evaluate(sol.table).min() for b in each) == pytest.approx(0.7, abs=1e-9)
    every = fp.RateBound("P(yhat=1 | y=1)", lower=0.7)  # of the cells of their cross
    assert every.evaluate(sol.table).min() < 0.69
    assert sol.risk < fp.FairClassifier(D, fp.ErrorRate(), [every]).solve().risk - 1e-4
    linear = fp.FairClassifier(D, fp.ErrorRate(), each).solve("HIGHS")
    assert linear.risk == pytest.approx(sol.risk, abs=1e-9)
    assert set(sol.price) == {"rate_bound_on_sex", "rate_bound_on_race"}
    assert fp.template_from_dict(each[0].to_dict()) == each[0]
    assert "rate_bound_on_sex[f,P(yhat=1 | y=1)]:lower" in sol.sensitivity


def test_templates_on_and_within_attributes(crossed):
    counted = fp.Categorical.from_scores(
        crossed[0], sensitive_features=crossed[1], bins=3, groups=crossed[2].groups
    )
    for template in (
        fp.RateBound("P(yhat=1)", upper=0.4, on="sex"),
        fp.DemographicParity(difference_bound=0.02, on="sex", within="race"),
    ):
        check_template(template, counted)


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


def test_a_root_mean_square_gap_levels_down_what_its_notion_does():
    rng = np.random.default_rng(0)
    n = 1500
    a, y = rng.choice(["f", "m"], n), rng.integers(0, 3, n)
    apart = np.where(a == "m", 4.0, 0.5)[:, None]
    X = rng.normal(size=(n, 3)) + np.eye(3)[y] * apart
    X = np.c_[X, a == "m", X * (a == "m")[:, None]]
    notion = fp.RMSGap(fp.TruePositiveRateParity(), 0.005)
    model = fp.SteeredClassifier(LogisticRegression(), cv=2, notion=notion)
    guess = model.fit(X, y, sensitive_features=a).predict(X, sensitive_features=a)
    assert all(rule.share[1] < 0.5 for rule in model.rules_)
    table = fp.OutcomeTable.from_predictions(y, guess, sensitive_features=a)
    assert notion.gap(table) < 0.08
    with pytest.raises(fp.ModelError, match="one notion"):
        fp.SteeredClassifier(LogisticRegression(), cv=2, notion=[notion]).fit(
            X, y, sensitive_features=a
        )


def test_what_is_asked_in_the_wrong_place():
    p, a = scored(50)
    D = fp.Categorical.from_scores(p[:, 1], sensitive_features=a)
    with pytest.raises(fp.ModelError, match="RiskBound"):
        fp.FairClassifier(D, fp.ErrorRate(), [fp.RenyiInformation()])
    with pytest.raises(fp.ModelError, match="ScoreSteering compares all groups"):
        fp.ScoreSteering(notion=fp.DemographicParity(on="sex")).fit(p[:, 1], sensitive_features=a)
