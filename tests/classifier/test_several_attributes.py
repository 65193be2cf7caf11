"""Several sensitive attributes: a condition on each, or inside strata, without their cross."""

import numpy as np
import pandas as pd
import pytest

import fairprog as fp
from fairprog.testing import check_template
from tests.scored_people import scored


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
