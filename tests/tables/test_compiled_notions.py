"""Both faces of a notion agree, and multipliers are prices of a linear program."""

import itertools
from dataclasses import dataclass
from typing import ClassVar

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fairprog as fp
from fairprog.programs.compile.terms import TableVariables, compile_terms
from fairprog.tables.templates import Term
from tests.outcome_tables import SHAPES, constant_view, notions_for, random_table

seeds = st.integers(0, 2**32 - 1)


def feasible(notion, table):
    """Return whether levels exist that satisfy the compiled constraints at this table."""
    objective, constraints = compile_terms(notion.express(constant_view(table)))
    assert objective == 0.0
    problem = cp.Problem(cp.Minimize(0), list(constraints.values()))
    problem.solve(solver="HIGHS")
    assert problem.status in ("optimal", "infeasible")
    return problem.status == "optimal"


@pytest.mark.parametrize(("K", "G"), SHAPES)
def test_compiled_difference_is_feasible_iff_the_gap_is_within_the_bound(K, G):
    rng = np.random.default_rng([7, K, G])
    for kind in [*notions_for(K), lambda **b: fp.Parity("P(yhat!=0 | y!=1)", **b)]:
        table = random_table(rng, K, G)
        gap = kind().gap(table)
        assert feasible(kind(difference_bound=gap + 1e-5), table)
        assert not feasible(kind(difference_bound=gap - 1e-5), table)


@pytest.mark.parametrize(("K", "G"), SHAPES)
def test_compiled_ratio_is_feasible_iff_smallest_over_largest_reaches_it(K, G):
    rng = np.random.default_rng([8, K, G])
    for kind in notions_for(K):
        table = random_table(rng, K, G)
        rates = kind().evaluate(table)
        ratio = float((rates.min(axis=1) / rates.max(axis=1)).min())
        assert feasible(kind(ratio_bound=ratio - 1e-5), table)
        assert not feasible(kind(ratio_bound=ratio + 1e-5), table)


@pytest.mark.parametrize(("K", "G"), SHAPES)
def test_total_slack_is_what_the_gap_lacks(K, G):
    """Least sum over groups of max(0, |rate - level| - bound / 2), one event: by midpoints."""
    table = random_table(np.random.default_rng([9, K, G]), K, G)
    for kind in (fp.EqualOpportunity, fp.AccuracyParity):
        for share in (0.3, 0.9, 1.5):
            gap = kind().gap(table)
            notion = kind(difference_bound=min(1.0, share * gap))
            _, constraints = compile_terms(notion.express(constant_view(table)))
            slack = sum(cp.pos(c.args[0] - c.args[1]) for c in constraints.values())
            least = cp.Problem(cp.Minimize(slack)).solve(solver="HIGHS")
            if G == 2:
                assert least == pytest.approx(max(0.0, gap - notion.difference_bound), abs=1e-8)
            else:
                assert (least > 1e-8) == (share < 1)


def test_bound_zero_compiles_to_equalities_and_drops_what_follows():
    rng = np.random.default_rng(10)
    one = rng.dirichlet(np.ones(9)).reshape(3, 3)
    alike = fp.OutcomeTable(np.stack([0.3 * one, 0.7 * one]))
    for kind, events in [
        (fp.DemographicParity, 2),  # the third rate is what is left of one
        (fp.EqualOpportunity, 1),
        (fp.EqualizedOdds, 6),
        (fp.AccuracyParity, 1),
    ]:
        _, constraints = compile_terms(kind().express(constant_view(alike)))
        assert len(constraints) == 2 * events
        equalities = (cp.constraints.Equality, cp.constraints.Zero)
        assert all(isinstance(c, equalities) for c in constraints.values())
        assert feasible(kind(), alike)
        assert not feasible(kind(), random_table(rng, 3))  # control
        # with a bound nothing is redundant: every rate must be within it
        _, constraints = compile_terms(kind(difference_bound=0.1).express(constant_view(alike)))
        assert len(constraints) == 2 * len(kind().evaluate(alike))
        assert not any(isinstance(c, equalities) for c in constraints.values())


def test_no_equality_that_matters_is_dropped():
    """A gap in any one rate, whichever, makes the equalities infeasible."""
    base = np.full((3, 3), 1 / 9)
    for i, j in itertools.product(range(3), range(3)):
        other = base.copy()
        other[i, j] += 0.05
        other[i, (j + 1) % 3] -= 0.05
        table = fp.OutcomeTable(np.stack([base, other]) / 2)
        assert not feasible(fp.EqualizedOdds(), table)
        assert not feasible(fp.DemographicParity(), table)


def test_events_that_do_not_split_all_outcomes_are_all_kept():
    """Two rates that share a condition need not add up to one: neither follows from the other."""

    @dataclass(frozen=True, repr=False)
    class Wrongs(fp.Notion):
        name: ClassVar[str] = "wrongs"

        def events(self, classes):
            return [((i,), [(i, 0)], [0, 1]) for i in (0, 1)]

    rng = np.random.default_rng(12)
    _, constraints = compile_terms(Wrongs().express(constant_view(random_table(rng, 2))))
    assert set(constraints) == {f"wrongs[{a},{i}]" for a in (0, 1) for i in (0, 1)}


def test_addresses():
    binary = random_table(np.random.default_rng(11), 2, 2, groups=["a", "b"])
    multi = random_table(np.random.default_rng(11), 3, 2, groups=["a", "b"], classes="xyz")

    def addresses(notion, table):
        _, constraints = compile_terms(notion.express(constant_view(table)))
        assert all(c.label == where for where, c in constraints.items())
        return list(constraints)

    assert addresses(fp.DemographicParity(), binary) == [
        "demographic_parity[a,1]",
        "demographic_parity[b,1]",
    ]
    assert addresses(fp.EqualizedOdds(difference_bound=0.1), binary) == [
        "equalized_odds[a,0,1]",
        "equalized_odds[b,0,1]",
        "equalized_odds[a,1,1]",
        "equalized_odds[b,1,1]",
    ]
    assert addresses(fp.EqualOpportunity(positive=0), binary) == [
        "equal_opportunity[a,0,0]",
        "equal_opportunity[b,0,0]",
    ]
    assert addresses(fp.PredictiveEquality(), binary) == [
        "predictive_equality[a,0,1]",
        "predictive_equality[b,0,1]",
    ]
    assert addresses(fp.AccuracyParity(), binary) == ["accuracy_parity[a]", "accuracy_parity[b]"]
    assert addresses(fp.Parity("P(yhat=1)"), binary) == [
        "parity[a,P(yhat=1)]",
        "parity[b,P(yhat=1)]",
    ]
    assert addresses(fp.DemographicParity(ratio_bound=0.8), binary) == [
        "demographic_parity[a,1]:upper",
        "demographic_parity[a,1]:lower",
        "demographic_parity[b,1]:upper",
        "demographic_parity[b,1]:lower",
    ]
    assert set(addresses(fp.EqualizedOdds(), multi)) == {
        f"equalized_odds[{g},{i},{j}]" for g in "ab" for i in "xyz" for j in "yz"
    }


def test_terms_that_cannot_be_compiled_name_their_address():
    x = cp.Variable()
    with pytest.raises(fp.ModelError, match=r"'square\[a\]' is not convex"):
        compile_terms([Term(x**2, "==", 1.0, "square[a]")])
    with pytest.raises(fp.ModelError, match=r"Two terms share the address 'same\[a\]'"):
        compile_terms([Term(x, "<=", 1.0, "same[a]"), Term(x, "<=", 2.0, "same[a]")])


# -- a program over classifiers --


def classifier_program(joint, notion, risk):
    """Return (optimal risk, constraints by address) over randomised classifiers h(j | x, a)."""
    n, K, G = joint.shape
    # bounded: CVXPY 1.9 multiplies infinite bounds by zeros, which warns
    h = [cp.Variable((n, K), bounds=[0, 1]) for _ in range(G)]
    Z = {(a, i, j): joint[:, i, a] @ h[a][:, j] for a, i, j in np.ndindex(G, K, K)}
    view = TableVariables(Z, joint.sum(axis=0).T, range(K), "ab"[:G] if G == 2 else "abc")
    objective, constraints = compile_terms([*risk.express(view), *notion.express(view)])
    rows = [cp.sum(h_a, axis=1) == 1 for h_a in h]
    problem = cp.Problem(cp.Minimize(objective), [*rows, *constraints.values()])
    value = problem.solve(solver="HIGHS")
    numbers = np.zeros((G, K, K))
    for cell, expression in Z.items():
        numbers[cell] = expression.value
    table = fp.OutcomeTable(numbers)
    assert risk.evaluate(table) == pytest.approx(value, abs=1e-9)
    return value, constraints, table


@pytest.mark.parametrize("G", [2, 3])
@given(seed=seeds)
@settings(max_examples=5)
def test_slope_of_the_risk_in_the_bound_is_minus_half_the_sum_of_multipliers(G, seed):
    """theory.md section 8: d risk / d eps = -(1/2) sum_a |net multiplier_a|."""
    rng = np.random.default_rng(seed)
    joint = rng.dirichlet(np.full(12 * 2 * G, 0.4)).reshape(12, 2, G)
    risk = fp.CostSensitiveRisk({"fp": 1.0, "fn": 0.7})

    def solve(eps):
        return classifier_program(joint, fp.EqualOpportunity(difference_bound=eps), risk)

    free = solve(1.0)
    gap = fp.EqualOpportunity().gap(free[2])
    assert all(abs(c.dual_value) < 1e-9 for c in free[1].values())  # not binding: no price
    if gap < 1e-3:
        return
    eps, h = 0.6180339887 * gap, 1e-6 * gap
    value, constraints, table = solve(eps)
    assert fp.EqualOpportunity().gap(table) == pytest.approx(eps, abs=1e-8)  # it binds
    low, high = solve(eps - h)[0], solve(eps + h)[0]
    slope = (high - low) / (2 * h)
    assert (high - value) / h == pytest.approx((value - low) / h, abs=1e-5)  # not at a kink
    net = np.array([float(c.dual_value) for c in constraints.values()])
    assert list(constraints) == [f"equal_opportunity[{g},1,1]" for g in "abc"[:G]]
    assert (net >= -1e-10).all()
    assert slope == pytest.approx(-0.5 * net.sum(), abs=1e-5)
    assert slope < -1e-6
    # the level is free: multipliers pull up as much as they push down
    rates = fp.EqualOpportunity().evaluate(table)[0]
    level = (rates.max() + rates.min()) / 2
    assert net @ np.sign(np.round(rates - level, 9)) == pytest.approx(0, abs=1e-9)


def test_equalities_price_every_group_and_sum_to_zero():
    rng = np.random.default_rng(14)
    joint = rng.dirichlet(np.full(60, 0.5)).reshape(15, 2, 2)
    for notion in (fp.DemographicParity(), fp.EqualizedOdds()):
        free = classifier_program(joint, type(notion)(difference_bound=1.0), fp.ErrorRate())
        value, constraints, table = classifier_program(joint, notion, fp.ErrorRate())
        assert value > free[0] + 1e-6
        assert notion.gap(table) < 1e-9 < notion.gap(free[2])
        for event in {where.split(",", 1)[1] for where in constraints}:
            net = [float(constraints[f"{notion.name}[{g},{event}"].dual_value) for g in "ab"]
            assert net[0] == pytest.approx(-net[1], abs=1e-9)
            assert abs(net[0]) > 1e-9
