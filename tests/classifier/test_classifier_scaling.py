"""Fair classifiers do not depend on the unit of the costs; who clashes is named, nobody else."""

from dataclasses import dataclass

import numpy as np
import pytest

import fairprog as fp
from fairprog.programs.compile.standard_form import StandardForm
from fairprog.testing import check_template
from tests.instances import random_categorical

C = np.array([[0.0, 1.0], [3.0, 0.0]])
SCALES = (1e-9, 1e-6, 1e-3, 1e3, 1e9)


def population():
    return fp.Categorical(np.random.default_rng(0).dirichlet(np.ones(16)).reshape(4, 2, 2))


def tight(bound=0.01):
    return [
        fp.EqualOpportunity(difference_bound=bound),
        fp.DemographicParity(difference_bound=0.02),
    ]


PROGRAMS = {
    "sorted": (lambda s: fp.CostSensitiveRisk(C * s), tight(), "SORT"),
    "bisection": (lambda s: fp.CostSensitiveRisk(C * s), tight()[1:], "SORT"),
    "linear": (lambda s: fp.CostSensitiveRisk(C * s), tight(), "HIGHS"),
    "conic": (lambda s: fp.CostSensitiveRisk(C * s), tight(), "CLARABEL"),
    "worst group": (lambda s: fp.WorstGroupRisk(C * s), tight(), "auto"),
    "tail": (lambda s: fp.CVaR(C * s, level=0.5), tight(), "auto"),
    "chi2": (lambda s: fp.RobustRisk(C * s, radius=0.1, ball="chi2"), tight(), "auto"),
    "kl": (lambda s: fp.RobustRisk(C * s, radius=0.1, ball="kl"), tight(), "auto"),
    "tv": (lambda s: fp.RobustRisk(C * s, radius=0.1, ball="tv"), tight(), "auto"),
    "variance": (
        lambda s: fp.CostSensitiveRisk(C * s) + (5 / s) * fp.GroupRiskVariance(C * s),
        tight(),
        "auto",
    ),
    "weighted": (lambda s: s * (fp.ErrorRate() + 0.3 * fp.RenyiInformation()), tight(), "auto"),
    "robust notion": (
        lambda s: fp.CostSensitiveRisk(C * s),
        [fp.Robust(fp.DemographicParity(difference_bound=0.02), radius=0.01, ball="chi2")],
        "auto",
    ),
}


@pytest.mark.parametrize("case", PROGRAMS)
def test_risk_and_prices_have_the_unit_of_the_costs(case):
    make, constraints, solver = PROGRAMS[case]
    D = population()
    one = fp.FairClassifier(D, make(1.0), constraints).solve(solver)
    assert max(one.price.values()) > 1e-3  # the constraints bind, so that prices say something
    for s in SCALES:
        sol = fp.FairClassifier(D, make(s), constraints).solve(solver)
        assert sol.certificate.ok
        assert sol.risk / s == pytest.approx(one.risk, abs=1e-8)
        for key, price in one.price.items():
            assert sol.price[key] / s == pytest.approx(price, abs=1e-6)
        for key, (low, high) in one.price_interval.items():
            assert np.divide(sol.price_interval[key], s) == pytest.approx((low, high), abs=1e-6)
        for where, value in one.sensitivity.items():
            # rows in the unit of the costs have multipliers without unit
            inner = where.startswith(("worst_group_risk", "robust_risk"))
            own = sol.sensitivity[where] / (1.0 if inner else s)
            assert own == pytest.approx(value, abs=1e-5)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("solver", ["SORT", "HIGHS", "CLARABEL"])
def test_bounds_on_risks_have_their_own_unit(scale, solver):
    D = population()

    def solve(s, upper=0.4):
        bound = fp.RiskBound(fp.CostSensitiveRisk(C.T * s), upper * s)
        return fp.FairClassifier(D, fp.ErrorRate(), [fp.EqualOpportunity(), bound]).solve(solver)

    one, sol = solve(1.0), solve(scale)
    assert sol.risk == pytest.approx(one.risk, abs=1e-8)
    key = "bound_cost_sensitive_risk"
    assert one.price[key] > 1e-3
    assert scale * sol.price[key] == pytest.approx(one.price[key], rel=1e-5)
    assert scale * sol.sensitivity[key] == pytest.approx(one.sensitivity[key], rel=1e-5)
    slope = (solve(1.0, 0.4 - 1e-5).risk - solve(1.0, 0.4 + 1e-5).risk) / 2e-5
    assert one.price[key] == pytest.approx(slope, rel=1e-3)


def test_rules_on_scores_and_frontiers_have_the_unit_of_the_costs():
    D = population()
    answers, scores = [], np.tile(np.linspace(0.01, 0.99, 50), 2)
    for s in (1.0, 1e-9, 1e9):
        fc = fp.FairClassifier(D, fp.CostSensitiveRisk(C * s), tight())
        rule = fc.solve("HIGHS").classifier
        proba = rule.predict_proba_from_scores(scores, sensitive_features=[0] * 50 + [1] * 50)
        assert np.isin(proba, [0.0, 1.0]).sum() >= 100  # not everything is a tie
        frontier = fc.frontier([0.0, 0.01, 0.05], "equal_opportunity")
        answers.append(np.concatenate([frontier.risks / s, frontier.prices / s, proba[:, 1]]))
    assert answers[1] == pytest.approx(answers[0], abs=1e-6)
    assert answers[2] == pytest.approx(answers[0], abs=1e-6)


@pytest.mark.parametrize("solver", ["SORT", "HIGHS", "CLARABEL"])
def test_costs_that_no_decision_changes_change_no_answer(solver):
    D = population()
    base = np.array([7e8, -3e9])  # what each class pays, whatever is predicted
    paid = float(D.prior.sum(axis=1) @ base)
    one = fp.FairClassifier(D, fp.CostSensitiveRisk(C), tight()).solve(solver)
    risk = fp.CostSensitiveRisk(C + base[:, None])
    sol = fp.FairClassifier(D, risk, tight()).solve(solver)
    assert pytest.approx(one.table.Z, abs=1e-8) == sol.table.Z
    assert sol.price == pytest.approx(one.price, abs=1e-6)
    assert sol.classifier.costs == pytest.approx(one.classifier.costs, abs=1e-6)
    assert sol.risk - paid == pytest.approx(one.risk, abs=1e-5)  # rounding of 1e9
    # certified in the unit of what a decision changes
    assert risk.unit(D.classes) == pytest.approx(3.0)
    for name, value in vars(one.certificate).items():
        assert getattr(sol.certificate, name) == pytest.approx(value, abs=1e-7)
    both = fp.FairClassifier(D, risk + 0.5 * fp.ErrorRate(), tight()).solve(solver)
    plain = fp.CostSensitiveRisk(C) + 0.5 * fp.ErrorRate()
    plain = fp.FairClassifier(D, plain, tight()).solve(solver)
    assert pytest.approx(plain.table.Z, abs=1e-8) == both.table.Z
    # as a bound: upper and offset cancel
    bound = fp.RiskBound(fp.CostSensitiveRisk(C.T + base[:, None]), 0.4 + paid)
    held = fp.FairClassifier(D, fp.ErrorRate(), [fp.EqualOpportunity(), bound]).solve(solver)
    plain = fp.RiskBound(fp.CostSensitiveRisk(C.T), 0.4)
    plain = fp.FairClassifier(D, fp.ErrorRate(), [fp.EqualOpportunity(), plain]).solve(solver)
    assert held.risk == pytest.approx(plain.risk, abs=1e-6)
    frontier = fp.FairClassifier(D, risk, tight()).frontier([0.01], "equal_opportunity")
    assert frontier.risks[0] == pytest.approx(sol.risk, rel=1e-14)


def test_the_costs_of_the_worst_group_keep_what_no_decision_changes():
    D = population()  # base rates differ, so that the base decides which group is the worst
    risk = fp.WorstGroupRisk(C + np.array([[0.0], [5.0]]))
    assert risk.unit(D.classes) == 8.0
    sol = fp.FairClassifier(D, risk).solve()
    assert sol.risk == pytest.approx(risk.evaluate(sol.table), abs=1e-9)
    worst = int(np.argmax(risk.group_risks(sol.table)))
    assert worst == int(np.argmax(D.base_rates[1]))


@pytest.mark.parametrize("scale", [1e6, 1e9])
def test_large_costs_make_nothing_infeasible(scale):
    for seed in range(3):
        D = random_categorical(np.random.default_rng(seed), X=6, K=3)
        cost = scale * np.random.default_rng(seed).uniform(0, 1, (3, 3))
        for risk in (fp.CostSensitiveRisk(cost), fp.RobustRisk(cost, radius=0.2)):
            sol = fp.FairClassifier(D, risk, [fp.DemographicParity(difference_bound=0.3)]).solve()
            assert sol.certificate.ok


CLASHING = fp.Categorical([[[0.3, 0.05], [0.1, 0.1]], [[0.1, 0.1], [0.05, 0.2]]])


def test_only_those_who_clash_are_named():
    parities = [fp.DemographicParity(), fp.EqualizedOdds(), fp.AccuracyParity()]
    alone = fp.RiskBound(fp.ErrorRate(), 0.1)
    for solver in ("auto", "HIGHS", "CLARABEL"):
        with pytest.raises(fp.InfeasibleError) as error:
            fp.FairClassifier(CLASHING, fp.ErrorRate(), [*parities, alone]).solve(solver)
        assert error.value.details["conditions"] == ["bound_error_rate"]
        best = fp.FairClassifier(CLASHING, fp.ErrorRate()).solve().risk
        assert error.value.details["missed"] == pytest.approx(best - 0.1, abs=1e-8)
    # two that only clash together are both named
    between = fp.RiskBound(fp.ErrorRate(), best + 1e-3)
    with pytest.raises(fp.InfeasibleError) as error:
        fp.FairClassifier(CLASHING, fp.ErrorRate(), [fp.DemographicParity(), between]).solve()
    assert error.value.details["conditions"] == ["demographic_parity", "bound_error_rate"]


def test_no_clash_is_reported_without_a_proof(monkeypatch):
    solve, rungs = StandardForm.solve, []

    def mistaken(self, solver, *rest):
        status = solve(self, solver, *rest)
        relaxed = any(v.name().startswith("miss:") for v in self.problem.variables())
        rungs.append((solver, relaxed))
        return "infeasible" if not relaxed and solver in wrong else status

    monkeypatch.setattr(StandardForm, "solve", mistaken)
    fc = fp.FairClassifier(population(), fp.GroupRiskVariance(), [fp.EqualOpportunity()])
    wrong = ("auto", "CLARABEL")
    assert fc.solve().certificate.ok  # the next solver decides
    assert ("SCS", False) in rungs
    wrong = ("auto", "CLARABEL", "SCS")
    with pytest.raises(fp.SolverError, match="missed by at least") as error:
        fc.solve()
    assert not isinstance(error.value, fp.InfeasibleError)


def test_a_failed_master_leaves_the_scores_to_the_linear_program(monkeypatch):
    fc = fp.FairClassifier(population(), fp.ErrorRate(), tight())
    expected = fc.solve("HIGHS")
    monkeypatch.setattr(
        "fairprog.programs.classifier.score_path.solve_with_cuts",
        lambda curves, objective, A, *rest: ("iteration limit", objective, A[:, 0], 1),
    )
    assert fc.solve().solver == "HIGHS"
    assert fc.solve().risk == pytest.approx(expected.risk, abs=1e-12)
    with pytest.raises(fp.SolverError, match="iteration limit"):
        fc.solve("SORT")


def test_atoms_without_mass_do_not_disturb_group_blind_classifiers():
    J = np.array([[[0.2, 0.1], [0.1, 0.1]], [[0.1, 0.1], [0.1, 0.2]]])
    empty = np.zeros((1, 2, 2))
    constraints = [fp.DemographicParity(difference_bound=0.01)]
    risks = [
        fp.FairClassifier(fp.Categorical(joint), fp.ErrorRate(), constraints, uses_group=False)
        .solve()
        .risk
        for joint in (J, np.concatenate([J, empty]), np.concatenate([empty, J]))
    ]
    assert risks[1:] == pytest.approx([risks[0]] * 2, abs=1e-9)


def test_scores_of_the_population_get_back_its_table_though_a_whole_group_ties():
    ties = 0
    for seed in range(6):
        D = random_categorical(np.random.default_rng(seed), X=7, K=2 + seed % 2)
        sol = fp.FairClassifier(D, fp.ErrorRate(), [fp.EqualizedOdds()]).solve("HIGHS")
        s = D.support
        labels = np.asarray(D.groups)[s.group]
        proba = sol.classifier.predict_proba_from_scores(s.posterior, sensitive_features=labels)
        assert pytest.approx(sol.table.Z, abs=1e-7) == D.table(proba).Z
        ties += int(((proba > 1e-9) & (proba < 1 - 1e-9)).any())
    assert ties


@dataclass(frozen=True, repr=False)
class SpreadOfCosts(fp.Risk):
    """Largest minus smallest expected cost of a group plus the mean, in cents or in millions."""

    scale: float = 1.0
    says_so: bool = True
    name = "spread_of_costs"

    def _numbers(self, Z, mass):
        K = range(len(C))
        paid = [
            sum(self.scale * C[i, j] * Z[a, i, j] for i in K for j in K) for a in range(len(mass))
        ]
        return sum(paid), [p / m for p, m in zip(paid, mass, strict=True)]

    def unit(self, classes):
        return 3.0 * self.scale if self.says_so else 1.0

    def evaluate(self, table):
        mean, groups = self._numbers(table.Z, table.group_mass)
        return float(mean + np.ptp(groups))

    def express(self, view):
        high, low = view.level("high"), view.level("low")
        mean, groups = self._numbers(view.Z, np.sum(view.mass, axis=1))
        rows = []
        for a, r in enumerate(groups):
            rows.append(fp.Term(r - high, "<=", 0.0, f"high[{a}]"))
            rows.append(fp.Term(low - r, "<=", 0.0, f"low[{a}]"))
        return [fp.Term(mean + high - low, "minimize", 0.0, self.name), *rows]


class OwnCosts(SpreadOfCosts):
    """The same risk, which says its size by the matrix of its costs."""

    def unit(self, classes):
        return fp.Risk.unit(self, classes)

    def matrix(self, classes):
        return self.scale * C


@pytest.mark.parametrize("solver", ["auto", "CLARABEL"])
@pytest.mark.parametrize("risk", [SpreadOfCosts, OwnCosts])
def test_a_risk_of_your_own_is_solved_and_certified_in_its_own_unit(risk, solver):
    D = population()
    one = fp.FairClassifier(D, risk(), tight()).solve(solver)
    assert max(one.price.values()) > 1e-3
    for s in SCALES:
        assert risk(s).unit(D.classes) == pytest.approx(3.0 * s)
        sol = fp.FairClassifier(D, risk(s), tight()).solve(solver)
        assert sol.certificate.ok
        assert sol.certificate.risk_gap < 1e-7
        assert sol.risk / s == pytest.approx(one.risk, abs=1e-8)
        for key, price in one.price.items():
            assert sol.price[key] / s == pytest.approx(price, abs=1e-5)
        mixed = fp.FairClassifier(D, risk(s) + s * fp.ErrorRate(), tight()).solve()
        assert mixed.certificate.ok
        bounded = fp.FairClassifier(D, None, [fp.RiskBound(risk(s), 1.5 * one.risk * s)]).solve()
        assert bounded.certificate.ok
        assert risk(s).evaluate(bounded.table) <= 1.5 * one.risk * s * (1 + 1e-6)


def test_control_without_its_unit_the_prices_of_a_risk_in_billionths_are_lost():
    D = population()
    one = fp.FairClassifier(D, SpreadOfCosts(), tight()).solve()
    sol = fp.FairClassifier(D, SpreadOfCosts(1e-9, says_so=False), tight()).solve()
    assert max(abs(1e9 * sol.price[key] - one.price[key]) for key in one.price) > 0.1


def test_check_template_finds_a_risk_without_its_unit():
    check_template(SpreadOfCosts(1e6))
    with pytest.raises(AssertionError, match="define its method `unit"):
        check_template(SpreadOfCosts(1e6, says_so=False))
