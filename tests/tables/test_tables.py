"""Outcome tables: rows are counted by weight, and what makes no table is refused."""

import itertools

import numpy as np
import pytest

import fairprog as fp
from tests.outcome_tables import random_table


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
