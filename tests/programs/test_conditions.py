"""Custom conditions: what is none is refused by its name, and conditions that clash are named."""

import cvxpy as cp
import numpy as np
import pytest

import fairprog as fp
from tests.bad_input import D1, D2, DATA, MODEL, cases, check, program


def solve_with(*functions, D=D1, **options):
    """Solve with conditions on the group b."""
    return program(D, constraints=functions, **options).solve()


def up(view, population):
    return view.mean["yes", "b"] >= population.mean["yes", "b"] + 1


def down(view, population):
    return view.mean["yes", "b"] <= population.mean["yes", "b"] - 1


def harmless(view, population):
    return view.mean["no", "b"] <= 1e3


def test_conditions_that_clash_are_named():
    error = check(
        lambda: solve_with(up, down, harmless),
        fp.InfeasibleError,
        r"\['up', 'down'\] clash.*\['b'\]",
        "constraints",
    )
    assert error.status in ("infeasible", "infeasible_inaccurate")
    assert error.details["conditions"] == ["up", "down"]
    assert error.details["groups"] == ["b"]
    assert solve_with(up).certificate.ok  # controls: each alone can be met
    assert solve_with(down, harmless).certificate.ok


def test_conditions_that_clash_with_one_map_per_group():
    def swap(view, population):  # an increasing map keeps the order of the classes
        return [view.mean["yes", "b"] <= -1, view.mean["no", "b"] >= 1]

    error = check(
        lambda: solve_with(swap), fp.InfeasibleError, r"swap\[0\].*swap\[1\]", "constraints"
    )
    assert set(error.details["conditions"]) == {"swap[0]", "swap[1]"}


def quadratic(view, population):
    return view.std["yes", "b"] ** 2 >= 1


def curved_equality(view, population):
    return cp.abs(view.mean["yes", "b"]) == 1


def product(view, population):
    return view.mean["yes", "b"] * view.mean["no", "b"] <= 1


def boolean(view, population):
    return True


def nothing(view, population):
    return None


def stays(view, population):
    return view.mean["yes", "a"] == population.mean["yes", "a"]


def expression(view, population):
    return view.mean["yes", "b"] - 1


def nested(view, population):
    return [[harmless(view, population)]]


def cone(view, population):
    return cp.SOC(view.mean["yes", "b"] + 10, view.mean["no", "b"] + np.zeros(2))


def one_label(view, population):
    return view.mean["yes"] <= 1


def unknown_group(view, population):
    return view.mean["yes", "z"] <= 1


def unknown_class(view, population):
    return population.mean["maybe", "b"] <= 1


def with_std(view, population):
    return view.std["yes", "b"] <= 1


@cases(
    ("not convex", lambda: solve_with(quadratic), MODEL,
     r"fp\.constraint\(quadratic\) is not convex: at 'quadratic'.*DCP", "constraints"),
    ("curved equality", lambda: solve_with(curved_equality), MODEL,
     r"curved_equality\) is not convex", "constraints"),
    ("product", lambda: solve_with(product), MODEL, r"product\) is not convex", "constraints"),
    ("bool", lambda: solve_with(boolean), MODEL,
     r"boolean\) must return CVXPY constraints; .*it returned bool \(True\)", "constraints"),
    ("None", lambda: solve_with(nothing), MODEL, r"nothing\).*returned NoneType", "constraints"),
    ("group that stays", lambda: solve_with(stays), MODEL,
     r"stays\).*comparison of plain numbers", "constraints"),
    ("expression", lambda: solve_with(expression), MODEL, r"expression\) must return",
     "constraints"),
    ("nested list", lambda: solve_with(nested), MODEL, r"'nested\[0\]' it returned list",
     "constraints"),
    ("cone", lambda: solve_with(cone), MODEL, r"cone\).*SOC is not supported", "constraints"),
    ("same name", lambda: solve_with(up, up), MODEL,
     r"Two conditions share the address 'up'; rename one function", "constraints"),
    ("two lambdas", lambda: solve_with(lambda v, p: up(v, p), lambda v, p: up(v, p)), MODEL,
     r"Two conditions share the address '<lambda>'", "constraints"),
    ("one label", lambda: solve_with(one_label), MODEL,
     r"`mean` is indexed \[class, group\]; found 'yes'", None),
    ("unknown group", lambda: solve_with(unknown_group), DATA,
     r"`mean\[group\]` names 'z', which is not one of \['a', 'b'\]", "mean[group]"),
    ("unknown class", lambda: solve_with(unknown_class), DATA,
     r"`mean\[class\]` names 'maybe'", "mean[class]"),
    ("std, d = 2", lambda: solve_with(with_std, D=D2), MODEL,
     r"`view\.std` exists for univariate populations; use `view\.factor`", None),
)  # fmt: skip
def test_conditions(row):
    check(*row)


def test_an_error_inside_a_condition_is_the_users_with_a_note():
    def broken(view, population):
        return view.mean["yes", "b"] <= 1 / 0

    with pytest.raises(ZeroDivisionError) as error:
        solve_with(broken)
    assert any("fp.constraint(broken)" in note for note in error.value.__notes__)


def test_what_cvxpy_refuses_inside_a_condition_names_the_condition():
    def by_numpy(view, population):
        return np.abs(view.mean["yes", "b"]) <= 1

    def chained(view, population):
        return view.mean["yes", "b"] <= 1 and view.mean["no", "b"] <= 1

    def one_argument(view):
        return view.mean["yes", "b"] <= 1

    refused = r"CVXPY refuses what the condition fp.constraint\(%s\)"
    check(lambda: solve_with(by_numpy), MODEL, refused % "by_numpy", "constraints")
    check(lambda: solve_with(chained), MODEL, refused % "chained", "constraints")
    arity = r"fp.constraint\(one_argument\) must take two arguments, \(view, population\)"
    check(lambda: solve_with(one_argument), MODEL, arity, "constraints")
    D = fp.Categorical.from_scores([0.2, 0.8, 0.4, 0.9], sensitive_features=list("aabb"))
    for asked in (
        fp.FairClassifier(D, None, [one_argument]),
        fp.NearestIdeal(fp.Categorical(np.full((2, 2, 2), 0.125)), constraints=[one_argument]),
    ):
        check(asked.solve, MODEL, arity, "constraints")


def test_a_single_constraint_is_answered_by_how_to_write_it():
    D = fp.Categorical.from_scores([0.2, 0.8, 0.4, 0.9], sensitive_features=list("aabb"))
    check(
        lambda: fp.FairClassifier(D, fp.ErrorRate(), fp.EqualOpportunity()),
        MODEL,
        r"must be a list; .* write constraints=\[EqualOpportunity\(\)\]",
        "constraints",
    )
    check(lambda: fp.NearestIdeal(D1, constraints=up), MODEL, r"constraints=\[up\]", "constraints")


def test_a_condition_may_not_take_the_name_of_another_price():
    """`price["consensus"]` is that of the maps' agreement, `offset[b,yes]` one of its parts."""

    def consensus(view, population):
        return view.mean["yes", "b"] <= 0.5

    check(lambda: solve_with(consensus), MODEL, r"consensus", "constraints")
