"""Outcome tables: every rate from its definition, both faces of a notion, prices of an LP."""

import itertools
import json
import re
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

seeds = st.integers(0, 2**32 - 1)
SHAPES = [(2, 2), (2, 3), (3, 2), (3, 3), (4, 2), (4, 3)]  # (K, G)
ANY_K = [fp.DemographicParity, fp.EqualOpportunity, fp.EqualizedOdds, fp.AccuracyParity]


def random_table(rng, K=2, G=2, **labels):
    """Return a table with every entry positive."""
    return fp.OutcomeTable(rng.dirichlet(np.full(G * K * K, 2.0)).reshape(G, K, K), **labels)


def notions_for(K):
    """Return the classes of notions that are defined for K classes."""
    return [*ANY_K, fp.PredictiveEquality] if K == 2 else ANY_K


# -- the table --


def test_from_predictions_counts_weighted_rows_in_the_order_of_the_labels():
    rng = np.random.default_rng(0)
    n, classes, groups = 300, ["low", "high", "mid"], ["f", "m"]
    y, p = rng.choice(classes, n), rng.choice(classes, n)
    a, w = rng.choice(groups, n), rng.integers(1, 5, n)
    given = {"sensitive_features": a, "sample_weight": w}
    table = fp.OutcomeTable.from_predictions(y, p, **given)
    assert table.classes == ("high", "low", "mid")  # sorted
    assert table.groups == ("f", "m")
    for (g, G), (i, I), (j, J) in itertools.product(
        enumerate(table.groups), enumerate(table.classes), enumerate(table.classes)
    ):
        count = sum(int(w[r]) for r in range(n) if (a[r], y[r], p[r]) == (G, I, J))  # plain Python
        assert table.Z[g, i, j] == pytest.approx(count / w.sum(), abs=1e-15)
    ordered = fp.OutcomeTable.from_predictions(
        list(y), list(p), classes=classes, groups=["m", "f"], **given
    )
    assert ordered.classes == tuple(classes)
    assert ordered.groups == ("m", "f")
    i = [table.classes.index(c) for c in classes]
    assert np.array_equal(ordered.Z, table.Z[np.ix_([1, 0], i, i)])
    # an integer weight is that many copies of the row
    y, p, a = (np.repeat(x, w) for x in (y, p, a))
    copies = fp.OutcomeTable.from_predictions(y, p, sensitive_features=a)
    assert np.allclose(copies.Z, table.Z, atol=1e-15)


def test_labels_may_be_any_hashables_and_a_class_may_never_be_predicted():
    y, p = [True, False, True], [True, True, True]
    table = fp.OutcomeTable.from_predictions(y, p, sensitive_features=[3, 10, 3])
    assert table.classes == (False, True)
    assert table.groups == (3, 10)
    assert table.Z[:, :, 0].sum() == 0
    mixed = fp.OutcomeTable.from_predictions(["a", 1], [1, 1], sensitive_features=["g", "g"])
    assert set(mixed.classes) == {"a", 1}


def test_one_column_is_a_vector():
    column = np.array([["x"], ["y"]])
    table = fp.OutcomeTable.from_predictions(column, column, sensitive_features=column)
    assert table.accuracy == 1.0


def test_masses_rates_and_accuracy():
    table = random_table(np.random.default_rng(1), 3, 2)
    for a, i in itertools.product(range(2), range(3)):
        mass = sum(table.Z[a, i, j] for j in range(3))
        assert table.cell_mass[a, i] == pytest.approx(mass)
        for j in range(3):
            assert table.rates()[a, i, j] == pytest.approx(table.Z[a, i, j] / mass)
    assert np.allclose(table.group_mass, table.cell_mass.sum(axis=1))
    assert table.accuracy == pytest.approx(1 - fp.ErrorRate().evaluate(table))


def test_tables_are_frozen_and_copied():
    Z = np.full((2, 2, 2), 0.125)
    table = fp.OutcomeTable(Z)
    Z[0, 0, 0] = 1.0
    assert table.Z[0, 0, 0] == 0.125
    with pytest.raises(ValueError, match="read-only"):
        table.Z[0, 0, 0] = 1.0
    with pytest.raises(AttributeError):
        table.Z = Z


@pytest.mark.parametrize(
    ("Z", "match"),
    [
        (np.full((2, 2), 0.25), r"shape \(2, 2\); needed is \(G, K, K\)"),
        (np.full((2, 2, 3), 1 / 12), r"shape \(2, 2, 3\); needed is \(G, K, K\)"),
        (np.full((2, 2, 2), 0.2), "sum 1.6"),
        ([[[0.6, -0.1], [0.2, 0.3]]], "smallest entry -0.1"),
        ([[[0.6, np.nan], [0.2, 0.3]]], r"finite; found nan at position \(0, 0, 1\)"),
        ([[[0.5, 0], [0, 0.5]], np.zeros((2, 2))], "no mass in group 1"),
        ([[["a", 0], [0, 0.5]]], "array of numbers"),
        (np.zeros((0, 2, 2)), "needed"),
    ],
)
def test_what_is_not_a_table(Z, match):
    with pytest.raises(fp.DataError, match=match) as error:
        fp.OutcomeTable(Z)
    assert error.value.argument == "Z"


@pytest.mark.parametrize(
    ("change", "argument", "match"),
    [
        ({"y_true": [0, 1, None]}, "y_true", "1 missing value.*row 2"),
        ({"y_true": None}, "y_true", "required"),
        ({"y_pred": [0, 1]}, "y_pred", "2 entries but there are 3 rows"),
        ({"y_pred": None}, "y_pred", "required"),
        ({"sensitive_features": ["a", "b"]}, "sensitive_features", "2 entries but there are 3"),
        ({"sensitive_features": None}, "sensitive_features", "required"),
        ({"sensitive_features": ["a", np.nan, "b"]}, "sensitive_features", "missing.*row 1"),
        ({"sensitive_features": np.zeros((3, 1, 2))}, "sensitive_features", "one-dimensional"),
        ({"sample_weight": [1, -1, 1]}, "sample_weight", "nonnegative.*-1"),
        ({"sample_weight": [1, 1]}, "sample_weight", r"shape \(2,\); needed is \(3,\)"),
        ({"sample_weight": [0, 0, 0]}, "sample_weight", "positive|zero"),
        ({"classes": [0]}, "y_true", r"label\(s\) \[1\] not seen.*known are \[0\]"),
        ({"groups": ["a", "z"]}, "sensitive_features", r"\['b'\] not seen.*row 1.*\['a', 'z'\]"),
        ({"y_true": [], "y_pred": [], "sensitive_features": []}, "y_true", "row"),
    ],
)
def test_predictions_that_make_no_table(change, argument, match):
    good = {"y_true": [0, 1, 1], "y_pred": [0, 0, 1], "sensitive_features": ["a", "b", "a"]}
    fp.OutcomeTable.from_predictions(**good)  # control
    with pytest.raises(fp.DataError, match=match) as error:
        fp.OutcomeTable.from_predictions(**(good | change))
    assert error.value.argument == argument


# -- notions: the numpy face against the definition --


def rate(table, a, hit, given=lambda i: True):
    """Return P(hit(Y, Yhat) | given(Y), A=a), counted in plain Python."""
    K = range(len(table.classes))
    top = sum(table.Z[a, i, j] for i in K for j in K if given(i) and hit(i, j))
    return top / sum(table.Z[a, i, j] for i in K for j in K if given(i))


def definition(name, table, positive):
    """Return the rates of a notion, events by groups, from the words of its definition."""
    K, G = range(len(table.classes)), range(len(table.groups))
    predicted = [positive] if len(K) == 2 else K
    if name == "demographic_parity":
        return [[rate(table, a, lambda i, j, k=k: j == k) for a in G] for k in predicted]
    if name == "equal_opportunity":
        return [[rate(table, a, lambda i, j: j == positive, lambda i: i == positive) for a in G]]
    if name == "predictive_equality":
        return [[rate(table, a, lambda i, j: j == positive, lambda i: i != positive) for a in G]]
    if name == "accuracy_parity":
        return [[rate(table, a, lambda i, j: i == j) for a in G]]
    assert name == "equalized_odds"
    return [
        [rate(table, a, lambda i, j, k=k: j == k, lambda i, t=t: i == t) for a in G]
        for t in K
        for k in predicted
    ]


@pytest.mark.parametrize(("K", "G"), SHAPES)
@given(seed=seeds)
@settings(max_examples=8)
def test_rates_are_those_of_the_definition(K, G, seed):
    table = random_table(np.random.default_rng(seed), K, G, classes="wxyz"[:K])
    for kind in notions_for(K):
        for positive in (None, *table.classes):
            k = K - 1 if positive is None else table.classes.index(positive)
            notion, expected = kind(positive=positive), definition(kind.name, table, k)
            assert np.allclose(notion.evaluate(table), expected, rtol=0, atol=1e-14)
            assert notion.gap(table) == pytest.approx(max(max(r) - min(r) for r in expected))


def test_gap_is_zero_where_all_groups_are_alike_and_one_at_the_extreme():
    rng = np.random.default_rng(2)
    one = rng.dirichlet(np.ones(9)).reshape(3, 3)
    alike = fp.OutcomeTable(np.stack([0.2 * one, 0.8 * one]))
    for kind in ANY_K:
        assert kind().gap(alike) == pytest.approx(0, abs=1e-15)
    worst = fp.OutcomeTable([[[0.25, 0], [0.25, 0]], [[0, 0.25], [0, 0.25]]])
    for kind in (fp.DemographicParity, fp.EqualOpportunity, fp.EqualizedOdds):
        assert kind().gap(worst) == 1.0
    assert fp.AccuracyParity().gap(worst) == 0.0  # half of each group is right


def test_a_gap_without_mass_in_its_condition_names_the_group():
    table = fp.OutcomeTable([[[0.25, 0], [0, 0.25]], [[0.5, 0], [0, 0]]], groups=["m", "f"])
    assert fp.DemographicParity().gap(table) == 0.5
    for notion in (fp.EqualOpportunity(), fp.EqualizedOdds(), fp.Parity("P(yhat=1 | y=1)")):
        with pytest.raises(fp.DataError, match="group 'f' has no mass") as error:
            notion.gap(table)
        assert error.value.cell == (None, "f")
        view = TableVariables(table.Z, table.cell_mass, table.classes, table.groups)
        with pytest.raises(fp.DataError, match="group 'f' has no mass") as error:
            notion.express(view)
        assert error.value.cell == (1, "f")


def test_predictive_equality_wants_a_binary_label():
    table = random_table(np.random.default_rng(3), 3)
    with pytest.raises(fp.ModelError, match=r"binary label.*EqualizedOdds"):
        fp.PredictiveEquality().gap(table)
    with pytest.raises(fp.DataError, match=r"`positive` names 'x'.*\[0, 1, 2\]"):
        fp.EqualOpportunity(positive="x").gap(table)


# -- Parity: a notion in one line --


@pytest.mark.parametrize("K", [2, 3])
def test_parity_spells_the_named_notions(K):
    table = random_table(np.random.default_rng(4), K, 3)
    last = K - 1
    for text, notion in [
        (f"P(yhat={last} | y={last})", fp.EqualOpportunity()),
        (f"P(yhat={last}|y={last})", fp.EqualOpportunity()),
        ("  P( yhat = 0 | y = 0 ) ", fp.EqualOpportunity(positive=0)),
        ("P(yhat=y)", fp.AccuracyParity()),
    ]:
        assert np.allclose(fp.Parity(text).evaluate(table), notion.evaluate(table), atol=1e-15)
        view = TableVariables(table.Z, table.cell_mass, table.classes, table.groups)
        mine = {t.address.split("[")[1].split(",")[0] for t in fp.Parity(text).express(view)}
        assert {g.strip("]") for g in mine} == {"0", "1", "2"}
    if K == 2:
        for text, notion in [
            ("P(yhat=1)", fp.DemographicParity()),
            ("P(yhat=1 | y=0)", fp.PredictiveEquality()),
            ("P(yhat=1 | y!=1)", fp.PredictiveEquality()),
        ]:
            assert np.allclose(fp.Parity(text).evaluate(table), notion.evaluate(table))


def test_parity_with_not_equal_and_labels_as_they_print():
    table = random_table(np.random.default_rng(5), 3, 2, classes=["no", "may be", 7])
    for text, hit, condition in [
        ("P(yhat!=no)", lambda i, j: j != 0, lambda i: True),
        ("P(yhat=may be | y!=7)", lambda i, j: j == 1, lambda i: i != 2),
        ("P(yhat!=7 | y=no)", lambda i, j: j != 2, lambda i: i == 0),
        ("P(yhat!=y)", lambda i, j: i != j, lambda i: True),
        ("P(yhat=y | y=may be)", lambda i, j: i == j, lambda i: i == 1),
        ("P(yhat!=y | y!=no)", lambda i, j: i != j, lambda i: i != 0),
    ]:
        expected = [rate(table, a, hit, condition) for a in range(2)]
        assert np.allclose(fp.Parity(text).evaluate(table), [expected], rtol=0, atol=1e-14)
        notion = fp.Parity(text, difference_bound=0.5)
        view = TableVariables(table.Z, table.cell_mass, table.classes, table.groups)
        terms = notion.express(view)
        (level,) = view.levels.values()
        level.value = 0.0
        assert np.allclose([t.expression.value for t in terms], expected)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yhat=1",
        "P(yhat=1",
        "P(y=1)",
        "P(yhat=1 | yhat=1)",
        "P(y=1 | yhat=1)",  # predictive parity: linear only at a fixed level
        "P(yhat>1)",
        "P(yhat=1 | a=0)",
    ],
)
def test_parity_says_what_it_cannot_read(text):
    with pytest.raises(fp.ModelError, match=r"rite 'P\(yhat=J\)'") as error:
        fp.Parity(text)
    assert error.value.argument == "rate"
    assert repr(text) in str(error.value)


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("P(yhat=2)", "2"),
        ("P(yhat=1 | y=3)", "3"),
        ("P(yhat=1 | y=y)", "y"),
        ("P(yhat=y | y=y)", "y"),
        ("P(yhat=1 | y!=no)", "no"),
        ("P(yhat=1 | y=0 | y=1)", "0 | y=1"),  # labels may print as anything
        ("P(yhat=1) + P(yhat=0)", "1) + P(yhat=0"),
    ],
)
def test_parity_names_the_unknown_label(text, label):
    table = random_table(np.random.default_rng(6))
    with pytest.raises(
        fp.DataError, match=rf"names class {re.escape(repr(label))}.*\['0', '1'\]"
    ) as error:
        fp.Parity(text).gap(table)
    assert error.value.argument == "rate"


def test_parity_wants_text():
    with pytest.raises(fp.ModelError, match="cannot be read"):
        fp.Parity(1)


# -- both faces agree --


def constant_view(table):
    """Return the view of a table whose numbers are known."""
    return TableVariables(table.Z, table.cell_mass, table.classes, table.groups)


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


# -- risks --


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


# -- templates as data --

TEMPLATES = [
    *(kind() for kind in [*ANY_K, fp.PredictiveEquality]),
    *(kind(difference_bound=0.02) for kind in ANY_K),
    fp.EqualizedOdds(ratio_bound=0.8),
    fp.EqualOpportunity(positive="hired"),
    fp.EqualOpportunity(positive=("a", 1), difference_bound=1.0),
    fp.DemographicParity(positive=0),
    fp.Parity("P(yhat=1 | y=1)"),
    fp.Parity("P(yhat!='x')", ratio_bound=0.5),
    fp.ErrorRate(),
    fp.CostSensitiveRisk({"fp": 1, "fn": 5}),
    fp.CostSensitiveRisk(np.arange(9.0).reshape(3, 3) / 7),
    fp.Translation(),
    fp.Scaling(),
    fp.Diagonal(),
    fp.Monotone(),
    fp.Monotone("identity"),
    fp.Monotone([[2.0, 0.1], [0.1, 1 / 3]]),
    fp.Whitened(),
    fp.Whitened(class_="high"),
    fp.Whitened(0),
]


@pytest.mark.parametrize("template", TEMPLATES, ids=repr)
def test_repr_and_json_rebuild_a_template(template):
    assert eval(repr(template), vars(fp)) == template
    text = json.dumps(template.to_dict(), allow_nan=False)
    again = fp.template_from_dict(json.loads(text))
    assert again == template
    assert type(again) is type(template)
    assert hash(again) == hash(template)
    with pytest.raises(AttributeError):
        template.difference_bound = 0.5


def test_templates_differ_where_their_data_or_class_differ():
    assert len(set(TEMPLATES)) == len(TEMPLATES)
    assert fp.DemographicParity() != fp.EqualOpportunity()


def test_numbers_out_of_numpy_make_the_same_template():
    for bound in np.linspace(0.01, 0.03, 3):
        notion = fp.EqualizedOdds(difference_bound=bound, positive=np.int64(1))
        assert eval(repr(notion), vars(fp)) == notion
        assert fp.template_from_dict(json.loads(json.dumps(notion.to_dict()))) == notion


def test_dictionaries_that_are_no_template():
    with pytest.raises(fp.ModelError, match="Unknown template 'Nothing'; known are"):
        fp.template_from_dict({"template": "Nothing"})
    with pytest.raises(fp.ModelError, match="Unknown template None"):
        fp.template_from_dict({})
    with pytest.raises(fp.ModelError, match=r"DemographicParity.*colour"):
        fp.template_from_dict({"template": "DemographicParity", "colour": "red"})
    with pytest.raises(fp.ModelError, match="cannot be written as JSON"):
        fp.EqualOpportunity(positive=frozenset("a")).to_dict()


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


def test_scores_are_no_predictions():
    """Every score its own class would make all rates zero, and every gap."""
    rng = np.random.default_rng(3)
    y, a = rng.integers(0, 2, 50), rng.integers(0, 2, 50)
    with pytest.raises(fp.DataError, match="Turn scores into classes"):
        fp.OutcomeTable.from_predictions(y, rng.random(50), sensitive_features=a)
    with pytest.raises(fp.DataError, match="no class of `y_true`"):
        fp.OutcomeTable.from_predictions(np.where(y, "yes", "no"), y, sensitive_features=a)
    never = fp.OutcomeTable.from_predictions(
        y, y + (rng.random(50) < 0.1), sensitive_features=a, classes=[0, 1, 2]
    )
    assert never.Z.shape == (2, 3, 3)
