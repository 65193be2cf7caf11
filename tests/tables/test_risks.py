"""Risks are sums over the table on both faces, and what is no cost is refused."""

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fairprog as fp
from fairprog.programs.compile.terms import TableVariables, compile_terms
from tests.outcome_tables import random_table

seeds = st.integers(0, 2**32 - 1)


@given(seed=seeds, K=st.integers(2, 4), G=st.integers(2, 3))
@settings(max_examples=25)
def test_risk_is_the_sum_over_the_table_on_both_faces(seed, K, G):
    rng = np.random.default_rng(seed)
    table, C = random_table(rng, K, G), rng.normal(size=(K, K))
    for risk, cost in [(fp.CostSensitiveRisk(C), C), (fp.ErrorRate(), 1 - np.eye(K))]:
        expected = sum(
            cost[i, j] * table.Z[a, i, j] for a in range(G) for i in range(K) for j in range(K)
        )
        assert risk.evaluate(table) == pytest.approx(expected, abs=1e-14)
        Z = cp.Variable((G * K, K))
        Z.value = table.Z.reshape(G * K, K)
        entries = {(a, i, j): Z[a * K + i, j] for a, i, j in np.ndindex(G, K, K)}
        view = TableVariables(entries, table.cell_mass, table.classes, table.groups)
        objective, constraints = compile_terms(risk.express(view))
        assert objective.value == pytest.approx(expected, abs=1e-14)
        assert constraints == {}


def test_cost_as_a_mapping():
    table = random_table(np.random.default_rng(12))
    fp_mass, fn_mass = table.Z[:, 0, 1].sum(), table.Z[:, 1, 0].sum()
    risk = fp.CostSensitiveRisk({"fp": 2, "fn": 0.5})
    assert risk.evaluate(table) == pytest.approx(2 * fp_mass + 0.5 * fn_mass)
    assert risk == fp.CostSensitiveRisk([[0, 2], [0.5, 0]])
    assert fp.CostSensitiveRisk({"fn": 1, "fp": 0}).evaluate(table) == pytest.approx(fn_mass)


@pytest.mark.parametrize(
    ("cost", "match"),
    [
        (None, "required; for the 0-1 cost use ErrorRate"),
        ({"fp": 1}, r"keys 'fp' and 'fn'.*\['fp'\]"),
        ({"fp": 1, "fn": 1, "tp": 0}, "keys 'fp' and 'fn'"),
        ({"fp": -1, "fn": 1}, "nonnegative"),
        ({"fp": 0, "fn": 0}, "not both zero"),
        ({"fp": np.nan, "fn": 1}, "finite|nonnegative"),
        ({"fp": 1, "fn": np.inf}, "finite"),
        ({"fp": "one", "fn": 1}, "number"),
        ([[0, 1], [1, np.nan]], r"finite; found nan at position \(1, 1\)"),
        ([[0, 1, 2], [1, 0, 2]], r"square matrix.*\(2, 3\)"),
        ([0, 1], r"square matrix.*\(2,\)"),
        ([[0, 1], [1]], "array of numbers"),
        (5, "shape|matrix"),
    ],
)
def test_costs_that_are_none(cost, match):
    with pytest.raises(fp.DataError, match=match) as error:
        fp.CostSensitiveRisk(cost)
    assert error.value.argument == "cost"


def test_a_cost_of_another_size_is_refused():
    table = random_table(np.random.default_rng(13), 3)
    for cost in ([[0, 1], [1, 0]], {"fp": 1, "fn": 1}):
        with pytest.raises(fp.DataError, match=r"shape \(2, 2\); needed is \(3, 3\)"):
            fp.CostSensitiveRisk(cost).evaluate(table)
