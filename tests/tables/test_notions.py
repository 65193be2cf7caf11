"""Notions: every rate is that of its definition, and `Parity` reads one from a line."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fairprog as fp
from fairprog.programs.compile.terms import TableVariables
from tests.outcome_tables import ANY_K, SHAPES, notions_for, random_table

seeds = st.integers(0, 2**32 - 1)


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
