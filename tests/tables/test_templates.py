"""Every template satisfies `check_template`; broken ones do not."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog, minimize_scalar

import fairprog as fp
from fairprog.tables.worst_case import worst_case
from fairprog.testing import check_template
from tests.instances import random_categorical, univariate

seeds = st.integers(0, 2**32 - 1)

TEMPLATES = [
    fp.DemographicParity(),
    fp.DemographicParity(ratio_bound=0.8),
    fp.EqualOpportunity(difference_bound=0.1, positive=0),
    fp.EqualOpportunity(positive="hired"),
    fp.PredictiveEquality(),
    fp.EqualizedOdds(),
    fp.AccuracyParity(),
    fp.Parity("P(yhat=1 | y!=0)"),
    fp.PredictiveParity(),
    fp.PredictiveParity(level=(0.5, 0.4, 0.5), difference_bound=0.1),
    fp.FalseOmissionRateParity(level=0.4),
    fp.F1Parity(level=0.6),
    fp.IndividualFairness([[0, 1], [2, 2]], [0.2, 0.1]),
    fp.RiskBound(fp.WorstGroupRisk(), 0.3),
    fp.Robust(fp.EqualOpportunity(difference_bound=0.2), 0.05),
    fp.ErrorRate(),
    fp.CostSensitiveRisk([[0, 1], [2, 0]]),
    fp.WorstGroupRisk({"fp": 1, "fn": 3}),
    fp.ErrorRate() + 0.5 * fp.GroupRiskVariance(),
    fp.ErrorRate() + 0.1 * fp.RenyiInformation(),
    fp.CVaR(level=0.8),
    fp.CVaR(level=0.6, over="groups"),
    fp.RobustRisk(ball="tv"),
    fp.RobustRisk(ball="kl", over="groups"),
    fp.RobustRisk(ball="kl"),
    fp.RobustRisk(ball="chi2"),
    # two risks of a kind: each with free scalars and addresses of its own
    fp.CVaR(level=0.2) + fp.CVaR(level=0.9),
    fp.RobustRisk(radius=0.05, over="groups") + fp.RobustRisk({"fp": 1, "fn": 4}, over="groups"),
    fp.WorstGroupRisk() + 0.5 * fp.WorstGroupRisk({"fp": 1, "fn": 4}),
    fp.RiskBound(fp.CVaR(level=0.2) + fp.CVaR(level=0.9), 0.3),
]


@pytest.mark.parametrize("template", TEMPLATES, ids=repr)
def test_our_templates(template):
    check_template(template)


@pytest.mark.slow
@pytest.mark.parametrize("ball", ["kl", "chi2"])
@pytest.mark.parametrize("notion", [fp.EqualOpportunity, fp.DemographicParity])
def test_our_robust_templates(ball, notion):
    check_template(fp.Robust(notion(difference_bound=0.2), 0.05, ball))


def test_the_small_class_is_a_users_own():
    check_template(PositiveRateBound(0.4))
    D = random_categorical(np.random.default_rng(0))
    sol = fp.FairClassifier(D, fp.ErrorRate(), [PositiveRateBound(0.2)]).solve()
    assert sol.table.Z[:, :, 1].sum(axis=1) / D.group_mass == pytest.approx([0.2, 0.2], abs=1e-9)
    assert sol.price["positive_rate_bound"] > 0


@dataclass(frozen=True, repr=False)
class PositiveRateBound(fp.Constraint):
    """P(Yhat = last class | A=a) <= upper in every group."""

    upper: float = 0.5
    name: ClassVar[str] = "positive_rate_bound"

    @property
    def bound_field(self):
        return "upper"

    def violation(self, table):
        return float((table.Z[:, :, -1].sum(axis=1) / table.group_mass).max()) - self.upper

    def express(self, view):
        bound, j = view.parameter("bound", self.upper), len(view.classes) - 1
        return [
            fp.Term(
                sum(view.Z[a, i, j] for i in range(j + 1)) / view.mass[a].sum() - bound,
                "<=",
                0.0,
                f"{self.name}[{group}]",
            )
            for a, group in enumerate(view.groups)
        ]


@dataclass(frozen=True, repr=False)
class OtherFace(PositiveRateBound):
    def violation(self, table):
        return float((table.Z[:, :, -1].sum(axis=1) / table.group_mass).max()) - 0.9 * self.upper


@dataclass(frozen=True, repr=False)
class BiasedNotion(fp.DemographicParity):
    def evaluate(self, table):
        return super().evaluate(table) + 0.01 * np.arange(len(table.groups))


@dataclass(frozen=True, repr=False)
class NotConvex(PositiveRateBound):
    def express(self, view):
        return [replace(t, expression=-(t.expression**2)) for t in super().express(view)]


@dataclass(frozen=True, repr=False)
class HalfRisk(fp.ErrorRate):
    def evaluate(self, table):
        return 0.5 * super().evaluate(table)


@dataclass(frozen=True)
class OwnRepr(fp.ErrorRate):
    def __repr__(self):
        return "OwnRepr(cost=3)"


@pytest.mark.parametrize(
    ("template", "match"),
    [
        (OtherFace(0.4), "faces of OtherFace.* differ"),
        (BiasedNotion(), "faces of BiasedNotion|on an ideal population"),
        (NotConvex(0.4), "suits no population.*not convex"),
        (HalfRisk(), "faces of HalfRisk.*differ"),
    ],
    ids=lambda v: type(v).__name__,
)
def test_controls_broken_templates_are_found(template, match):
    with pytest.raises(AssertionError, match=match):
        check_template(template)


def test_controls_data():
    with pytest.raises((AssertionError, TypeError)):
        check_template(OwnRepr())
    with pytest.raises(fp.ModelError, match="neither a constraint"):
        check_template("P(yhat=1)")


# -- the worst case over a ball, by programs of their own --


@given(seed=seeds, ball=st.sampled_from(["tv", "kl", "chi2"]))
@settings(max_examples=60)
def test_worst_cases(seed, ball):
    rng = np.random.default_rng(seed)
    m = int(rng.integers(1, 9))
    p, f = rng.dirichlet(np.full(m, 0.7)), np.round(rng.normal(size=m), int(rng.integers(0, 4)))
    radius = float(rng.choice([0.0, 0.01, 0.2, 0.7, 3.0]))
    value, q = worst_case(f, p, radius, ball)
    assert value == pytest.approx(q @ f, abs=1e-12)
    assert q.min() >= 0
    assert q.sum() == pytest.approx(1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = {
            "tv": 0.5 * np.abs(q - p).sum(),
            "kl": np.where(q > 0, q * np.log(q / p), 0.0).sum(),
            "chi2": (q**2 / p).sum() - 1,
        }[ball]
    assert distance <= radius + 1e-9  # a law in the ball
    if ball == "tv":
        eye = np.eye(m)
        A = [*np.c_[eye, -eye], *np.c_[-eye, -eye], [*np.zeros(m), *np.full(m, 0.5)]]
        total = [[*np.ones(m), *np.zeros(m)]]
        bound = linprog([*-f, *np.zeros(m)], A, [*p, *-p, radius], total, [1])
        assert -bound.fun == pytest.approx(value, abs=1e-9)
        return

    if radius == 0:
        assert value == pytest.approx(p @ f, abs=1e-9)
        return

    def dual(t):
        if ball == "chi2":
            return t + np.sqrt(1 + radius) * np.sqrt(p @ np.maximum(f - t, 0) ** 2)
        scale = np.exp(t)
        top = f.max()
        return radius * scale + top + scale * np.log(p @ np.exp((f - top) / scale))

    ends = (-30, 12) if ball == "kl" else (f.min() - 50, f.max())
    grid = np.linspace(*ends, 400)
    k = int(np.argmin([dual(t) for t in grid]))
    near = (grid[max(k - 1, 0)], grid[min(k + 1, 399)])
    bound = minimize_scalar(dual, bounds=near, method="bounded", options={"xatol": 1e-12}).fun
    assert value <= min(bound, dual(grid[k])) + 1e-9  # weak duality
    assert value == pytest.approx(min(bound, dual(grid[k])), abs=2e-6)


def test_ideal_populations_have_no_renyi_information_but_biased_tables_do():
    even = fp.OutcomeTable(np.full((2, 2, 2), 1 / 8))
    assert fp.RenyiInformation().evaluate(even) == pytest.approx(0.0, abs=1e-15)
    Z = np.array([[[0.3, 0.1], [0.05, 0.05]], [[0.1, 0.2], [0.1, 0.1]]])
    joint, total = Z.sum(axis=1), 0.0
    for a in range(2):
        for j in range(2):
            total += joint[a, j] ** 2 / (joint[:, j].sum() * joint[a].sum())
    assert fp.RenyiInformation().evaluate(fp.OutcomeTable(Z)) == pytest.approx(total - 1)


def test_templates_about_individuals_refuse_plain_tables():
    table = fp.OutcomeTable(np.full((2, 2, 2), 1 / 8))
    for template in (fp.IndividualFairness([[0, 1]], 0.1), fp.CVaR(), fp.RobustRisk()):
        with pytest.raises(fp.DataError, match="single individuals"):
            template.evaluate(table)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: fp.IndividualFairness([[0, 1, 2]], 0.1), "shape"),
        (lambda: fp.IndividualFairness([[0, 1]], -0.1), "nonnegative"),
        (lambda: fp.CVaR(level=1.0), r"in \[0, 1\)"),
        (lambda: fp.CVaR(over="people"), "individuals"),
        (lambda: fp.RobustRisk(ball="l2"), "one of"),
        (lambda: fp.Robust(fp.PredictiveParity(), 0.1), "linear rates"),
        (lambda: fp.Robust(fp.EqualOpportunity(ratio_bound=0.8), 0.1), "difference bound"),
        (lambda: fp.PredictiveParity(level=1.5), r"in \[0, 1\]"),
        (lambda: fp.PredictiveParity(level="high"), "array of numbers"),
        (lambda: fp.PredictiveParity(ratio_bound=0.5), "difference_bound"),
        (lambda: fp.RiskBound(fp.EqualOpportunity(), 0.1), "must be a risk"),
        (lambda: fp.ErrorRate() + 1, "Only risks can be added"),
        (lambda: -1.0 * fp.ErrorRate(), "weights"),
    ],
)
def test_templates_that_are_none(make, match):
    with pytest.raises((fp.DataError, fp.ModelError), match=match):
        make()


def test_pairs_join_all_groups_in_which_they_have_mass():
    joint = random_categorical(np.random.default_rng(1), X=4, G=3).joint.copy()
    joint[1, :, 0] = 0.0  # atom 1 has no mass in group a
    D = fp.Categorical(joint / joint.sum())
    h = np.random.default_rng(2).dirichlet([1.0, 1.0], size=len(D.support.atom))
    template = fp.IndividualFairness([[0, 1], [2, 2], [1, 3]], [0.1, 0.0, 0.3], constant=2.0)
    expected, worst, s = [], -np.inf, D.support
    for (x, y), d in zip(template.pairs, template.distance, strict=True):
        for p in np.flatnonzero(s.atom == x):
            for q in np.flatnonzero(s.atom == y):
                if p != q:
                    expected.append(abs(h[p, 1] - h[q, 1]))
                    worst = max(worst, expected[-1] - 2.0 * d)
    table = D.table(h)
    assert len(expected) == 6 + 6 + 6
    assert sorted(template.evaluate(table)) == pytest.approx(sorted(expected))
    assert template.violation(table) == pytest.approx(worst)


def test_every_event_has_its_own_level():
    D = random_categorical(np.random.default_rng(3), X=15, K=3)
    levels = (0.7, 0.5, 0.6)
    sol = fp.FairClassifier(D, fp.ErrorRate(), [fp.PredictiveParity(level=levels)]).solve()
    rates = fp.PredictiveParity().evaluate(sol.table)
    happens = ~np.isnan(rates)  # a class that is never predicted has any precision
    assert happens.sum() >= 4
    assert rates[happens] == pytest.approx(np.transpose([levels, levels])[happens], abs=1e-8)


def test_a_class_that_nobody_is_predicted_has_no_say():
    one = [[0.2, 0.1, 0], [0.1, 0.05, 0], [0.05, 0, 0]]
    two = [[0.1, 0.1, 0], [0.1, 0.1, 0], [0.1, 0, 0]]
    table = fp.OutcomeTable([one, two])  # precision .571 and .333, .333 and .5, none
    assert fp.PredictiveParity().violation(table) == pytest.approx(5 / 21)
    assert fp.PredictiveParity(level=(0.5,) * 3).violation(table) == pytest.approx(1 / 6)


def test_a_sum_of_sums_is_a_sum():
    one, two = fp.CVaR(level=0.2), fp.WorstGroupRisk()
    nested = fp.WeightedRisk((one, fp.WeightedRisk((one, two), (0.5, 2.0))), (1.0, 3.0))
    assert nested == fp.WeightedRisk((one, one, two), (1.0, 1.5, 6.0))
    assert nested == one + 3.0 * (0.5 * one + 2.0 * two)


def test_one_group_has_no_gap_even_in_the_worst_case():
    rng = np.random.default_rng(0)
    D = random_categorical(rng, X=8, G=1)
    table = D.table(rng.dirichlet(np.ones(2), size=8))
    assert fp.Robust(fp.EqualOpportunity(), 0.1).gap(table) == 0.0
    # control: the rate itself does move
    low, high = fp.Robust(fp.EqualOpportunity(), 0.1).evaluate(table)[0, 0]
    assert high - low > 0.05


def test_a_sum_of_expected_costs_is_one_and_has_its_bayes_rule():
    D = random_categorical(np.random.default_rng(5))
    C = np.array([[0.0, 1.0], [5.0, 0.0]])
    both = fp.ErrorRate() + 2.0 * fp.CostSensitiveRisk(C)
    whole = 1.0 - np.eye(2) + 2.0 * C
    assert both.matrix(D.classes) == pytest.approx(whole)
    for population in (D, univariate(np.random.default_rng(5))):
        answer = population.evaluate(both)
        assert answer.risk == pytest.approx(population.evaluate(whole).risk)
        assert answer.risk == pytest.approx(both.evaluate(answer.table))
        assert answer.risk != pytest.approx(population.evaluate().risk)  # control: not 0-1
    sorted_rule = fp.FairClassifier(D, both, [fp.EqualOpportunity()]).solve(solver="SORT")
    assert sorted_rule.classifier.costs[0, :, 0] == pytest.approx([0.0, 11.0])


@pytest.mark.parametrize(
    "risk",
    [
        fp.WorstGroupRisk(),
        fp.CVaR(),
        fp.RenyiInformation(),
        fp.ErrorRate() + fp.GroupRiskVariance(),
    ],
    ids=repr,
)
def test_risks_that_are_no_expected_costs_have_no_bayes_rule(risk):
    for population in (
        random_categorical(np.random.default_rng(6)),
        univariate(np.random.default_rng(6)),
    ):
        with pytest.raises(fp.ModelError, match="no expected cost"):
            population.evaluate(risk)
