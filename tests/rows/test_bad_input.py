"""Bad input: the tree of errors; rows and options that solutions and steps refuse by name."""

import numpy as np
from sklearn.linear_model import LogisticRegression

import fairprog as fp
from tests.bad_input import DATA, MEAN, SOLUTION, SOLUTION2, STD, cases, check, normal, normal2
from tests.instances import multivariate


def test_the_good_input_the_cases_are_made_from_is_good():
    assert normal().n_groups == normal2().n_groups == 2
    assert SOLUTION.certificate.ok
    assert SOLUTION2.certificate.ok


def test_the_tree_of_errors():
    for kind in (fp.DataError, fp.ModelError, fp.InfeasibleError, fp.SolverError):
        assert issubclass(kind, fp.FairprogError)
        error = kind("what", argument="x", cell=(1, "a"), status="s", details={"k": 1})
        assert (error.argument, error.cell, error.status) == ("x", (1, "a"), "s")
        assert error.details == {"k": 1}
        assert str(error) == "what"
        assert kind("bare").cell is None
    assert issubclass(fp.FairprogWarning, UserWarning)


B = ["b"] * 3


@cases(
    ("align, unknown group",
     lambda: SOLUTION.align([0.0, 1.0, 2.0], sensitive_features=["a", "z", "z"]), DATA,
     r"`sensitive_features` has label\(s\) \['z'\] not seen before \(2 rows, the first in row 1\)"
     r"; known are \['a', 'b'\]", "sensitive_features"),
    ("align, no groups", lambda: SOLUTION.align([0.0], sensitive_features=None), DATA,
     r"`sensitive_features` is required", "sensitive_features"),
    ("align, missing group",
     lambda: SOLUTION.align([0.0, 1.0], sensitive_features=["a", None]), DATA,
     r"`sensitive_features` has 1 missing value\(s\), the first in row 1", "sensitive_features"),
    ("align, length", lambda: SOLUTION.align([0.0, 1.0], sensitive_features=B), DATA,
     r"`sensitive_features` has 3 entries but there are 2 rows", "sensitive_features"),
    ("align, features", lambda: SOLUTION.align(np.zeros((3, 2)), sensitive_features=B), DATA,
     r"`X` has 2 features; the population has 1", "X"),
    ("align, a vector, d = 2", lambda: SOLUTION2.align(np.zeros(3), sensitive_features=B), DATA,
     r"`X` has 1 features; the population has 2", "X"),
    ("align, 3-d", lambda: SOLUTION.align(np.zeros((3, 1, 1)), sensitive_features=B), DATA,
     r"`X` must have shape \(n, d\)", "X"),
    ("align, a number", lambda: SOLUTION.align(1.0, sensitive_features=["b"]), DATA,
     r"`X` must have shape \(n, d\); its shape is \(\)", "X"),
    ("align, nan", lambda: SOLUTION.align([0.0, np.nan, 1.0], sensitive_features=B), DATA,
     r"`X` must be finite; found nan at position \(1,\)", "X"),
    ("align, None", lambda: SOLUTION.align(None, sensitive_features=B), DATA, r"`X`", "X"),
    ("align, text", lambda: SOLUTION.align(["x", "y", "z"], sensitive_features=B), DATA,
     r"`X` must be an array of numbers", "X"),
    ("steer, unknown class",
     lambda: SOLUTION.steer([0.0], ["maybe"], sensitive_features=["b"]), DATA,
     r"`y` has label\(s\) \['maybe'\] not seen before.*known are \['no', 'yes'\]", "y"),
    ("steer, class by position", lambda: SOLUTION.steer([0.0], [1], sensitive_features=["b"]),
     DATA, r"`y` has label\(s\) \[1\] not seen before", "y"),
    ("steer, no labels", lambda: SOLUTION.steer([0.0], None, sensitive_features=["b"]), DATA,
     r"`y` is required", "y"),
    ("steer, length", lambda: SOLUTION.steer([0.0], ["no"] * 2, sensitive_features=["b"]), DATA,
     r"`y` has 2 entries but there are 1 rows", "y"),
    ("steer, unknown group",
     lambda: SOLUTION.steer([0.0], ["no"], sensitive_features=["z"]), DATA,
     r"`sensitive_features` has label\(s\) \['z'\]", "sensitive_features"),
    ("steer, no groups",
     lambda: SOLUTION.steer([0.0], ["no"], sensitive_features=None), DATA,
     r"`sensitive_features` is required", "sensitive_features"),
    ("weight, length",
     lambda: SOLUTION.sample_weight(["no"] * 2, sensitive_features=["b"]), DATA,
     r"`sensitive_features` has 1 entries but there are 2 rows", "sensitive_features"),
    ("weight, unknown class",
     lambda: SOLUTION.sample_weight([1], sensitive_features=["b"]), DATA,
     r"`y` has label\(s\) \[1\]", "y"),
    ("weight, nothing", lambda: SOLUTION.sample_weight(None, sensitive_features=B), DATA,
     r"`y` is required", "y"),
)  # fmt: skip
def test_moving_data(row):
    check(*row)


def test_a_well_separated_but_valid_population_is_not_refused():
    """Control for the many refusals: extreme numbers alone are no error."""
    D = normal(mean=np.array(MEAN) * 1e6, std=np.array(STD) * 1e-3)
    assert fp.NearestIdeal(D, steer=["b"]).solve(solver="closed-form").certificate.ok
    rng = np.random.default_rng(4)
    assert fp.NearestIdeal(multivariate(rng, 2), steer=["b"]).solve().certificate.ok


def test_options_of_another_kind_are_refused_by_name():
    D = fp.Normal([[0.3, 0.2], [0.3, 0.2]], [[0.0, 1.0], [2.0, 2.0]], std=np.ones((2, 2)))
    X, y, a = D.sample(200, random_state=0)
    by = {"sensitive_features": a}

    def steer(**options):
        return fp.IdealSteering(**options).fit(X, y, **by)

    check(
        lambda: steer(merge_groups=3), fp.ModelError, "mapping of groups to groups", "merge_groups"
    )
    check(lambda: steer(snap="foo"), fp.ModelError, "'auto', True or False", "snap")
    model = fp.SteeredClassifier(LogisticRegression(), cv="x")
    check(lambda: model.fit(X, y, **by), fp.ModelError, "splitter", "cv")
    check(lambda: D.is_ideal("x"), fp.DataError, "finite number", "atol")
    check(
        lambda: steer(snap=True, steer=[1], random_state=None).transform(X, **by),
        fp.ModelError,
        "whole number",
        "random_state",
    )
