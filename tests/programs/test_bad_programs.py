"""Bad programs: notions, transports and options are refused by name, and time runs out."""

from functools import partial

import numpy as np
import pytest

import fairprog as fp
from tests.bad_input import (
    D1,
    D2,
    D3,
    DATA,
    EITHER,
    MODEL,
    PRIOR,
    cases,
    check,
    program,
    small_shift,
)

# -- notions --


@pytest.mark.parametrize(
    "kind",
    [
        fp.DemographicParity,
        fp.EqualOpportunity,
        fp.PredictiveEquality,
        fp.EqualizedOdds,
        fp.AccuracyParity,
        lambda **b: fp.Parity("P(yhat=1)", **b),
    ],
)
def test_bounds_of_notions_out_of_range(kind):
    for bound in (-0.01, 1.01, np.nan, np.inf):
        check(
            lambda b=bound: kind(difference_bound=b),
            DATA,
            rf"`difference_bound` must be in \[0, 1\]; found {bound}",
            "difference_bound",
        )
    for bound in (0.0, -0.5, 1.01, np.nan):
        check(
            lambda b=bound: kind(ratio_bound=b),
            DATA,
            rf"`ratio_bound` must be in \(0, 1\]; found {bound}",
            "ratio_bound",
        )
    check(lambda: kind(difference_bound=0.1, ratio_bound=0.8), DATA, r"not both", "ratio_bound")
    for bound in ("a", None):
        check(
            lambda b=bound: kind(difference_bound=b),
            DATA,
            r"`difference_bound` must be",
            "difference_bound",
        )
    check(lambda: kind(ratio_bound="a"), DATA, r"`ratio_bound` must be", "ratio_bound")
    kind(difference_bound=0.0)  # the ends are allowed
    kind(difference_bound=1.0)
    kind(ratio_bound=1.0)  # fmt: skip


# -- transports --


@cases(
    ("metric word", lambda: fp.Monotone("euclidean"), MODEL,
     r"`metric` must be 'pooled', 'identity' or a matrix; found 'euclidean'", "metric"),
    ("metric not symmetric", lambda: fp.Monotone([[1, 1], [0, 1]]), DATA, r"symmetric", "metric"),
    ("metric indefinite", lambda: fp.Monotone([[1, 2], [2, 1]]), DATA,
     r"positive definite; its smallest eigenvalue is -1", "metric"),
    ("metric nan", lambda: fp.Monotone([[np.nan]]), DATA, r"`metric` must be finite", "metric"),
    ("metric size",
     lambda: fp.NearestIdeal(D2, steer=["b"], transport=fp.Monotone(np.eye(3))).solve(), DATA,
     r"`metric` has shape \(3, 3\); needed is \(2, 2\)", "metric"),
    ("whitened class, d = 2",
     lambda: fp.NearestIdeal(D2, steer=["b"], transport=fp.Whitened("maybe")).solve(), DATA,
     r"`class_` names 'maybe', which is not one of \['no', 'yes'\]", "class_"),
    ("whitened class, d = 1",
     lambda: fp.NearestIdeal(D1, steer=["b"], transport=fp.Whitened("maybe")).solve(), DATA,
     r"`class_` names 'maybe', which is not one of \['no', 'yes'\]", "class_"),
    ("singular map", lambda: fp.AffineMap(np.zeros((2, 2)), np.zeros(2)).inverse(), DATA,
     r"singular", "matrix"),
    ("map shapes", lambda: fp.AffineMap(np.eye(2), np.zeros(3)), DATA,
     r"`matrix` has shape \(2, 2\); needed is \(3, 3\)", "matrix"),
    ("map of other d", lambda: fp.AffineMap(np.eye(2), np.zeros(2))(np.zeros((4, 3))), DATA,
     r"`X` has 3 features; the population has 2", "X"),
)  # fmt: skip
def test_transports(row):
    check(*row)


# -- programs --


@cases(
    ("population", lambda: fp.NearestIdeal(PRIOR), MODEL,
     r"`population` must be a population of one of the families .*found list", "population"),
    ("one group", lambda: fp.NearestIdeal(fp.Normal([[0.5], [0.5]], [[0.0], [1.0]],
     std=[[1.0], [1.0]])), MODEL, r"at least two groups", "population"),
    ("steer a name", lambda: fp.NearestIdeal(D1, steer="b"), MODEL,
     r"must be 'all' or a list of groups; found 'b'; write steer=\['b'\]", "steer"),
    ("steer another word", lambda: fp.NearestIdeal(D1, steer="both"), MODEL,
     r"must be 'all' or a list of groups; found 'both'\.", "steer"),
    ("steer nothing", lambda: fp.NearestIdeal(D1, steer=[]), DATA,
     r"`steer` must name at least one group.*\['a', 'b'\]", "steer"),
    ("steer twice", lambda: fp.NearestIdeal(D1, steer=["b", "b"]), DATA, r"each once", "steer"),
    ("steer unknown", lambda: fp.NearestIdeal(D1, steer=["b", "z"]), DATA,
     r"`steer` names 'z', which is not one of \['a', 'b'\]", "steer"),
    ("steer a number", lambda: fp.NearestIdeal(D1, steer=1), EITHER,
     r"`steer` must be 'all' or a list of groups; found 1", "steer"),
    ("steer None", lambda: fp.NearestIdeal(D1, steer=None), EITHER,
     r"`steer` must be 'all' or a list of groups; found None", "steer"),
    ("reference steered", lambda: program(reference="b"), MODEL,
     r"`reference` 'b' is steered; it must be one of the groups that stay: \['a'\]", "reference"),
    ("reference unknown", lambda: program(reference="z"), DATA,
     r"`reference` names 'z', which is not one of \['a', 'b'\]", "reference"),
    ("reference with all", lambda: fp.NearestIdeal(D1, reference="a"), MODEL,
     r"steer='all' has no reference group", "reference"),
    ("reference with everyone listed", lambda: program(steer="ab", reference="a"), MODEL,
     r"no reference group", "reference"),
    ("orientation", lambda: program(orientation="up"), MODEL,
     r"`orientation` must be 'preserve' or 'any'; found 'up'", "orientation"),
    ("orientation, d = 2", lambda: program(D2, orientation="any"), MODEL,
     r"orientation='any' needs a single feature, Scaling\(\) or Affine\(\); Monotone\(\) in 2 dim",
     "orientation"),
    ("orientation, translation",
     lambda: program(orientation="any", transport=fp.Translation()), MODEL,
     r"orientation='any'.*Translation\(\)", "orientation"),
    ("base rates word", lambda: program(base_rates="same"), MODEL,
     r"`base_rates` must be 'equalize', 'keep'.* or a vector; found 'same'", "base_rates"),
    ("base rates sum", lambda: fp.NearestIdeal(D1, base_rates=[0.5, 0.6]), DATA,
     r"`base_rates` must be positive and sum to one; found \[0\.5, 0\.6\]", "base_rates"),
    ("base rates zero", lambda: fp.NearestIdeal(D1, base_rates=[1.0, 0.0]), DATA,
     r"`base_rates` must be positive", "base_rates"),
    ("base rates shape", lambda: fp.NearestIdeal(D1, base_rates=[0.2, 0.3, 0.5]), DATA,
     r"`base_rates` has shape \(3,\); needed is \(2,\)", "base_rates"),
    ("base rates nan", lambda: fp.NearestIdeal(D1, base_rates=[0.5, np.nan]), DATA,
     r"`base_rates` must be finite", "base_rates"),
    ("base rates number", lambda: fp.NearestIdeal(D1, base_rates=0.5), EITHER,
     r"`base_rates`.*vector|`base_rates` has shape \(\); needed is \(2,\)", "base_rates"),
    ("base rates None", lambda: fp.NearestIdeal(D1, base_rates=None), EITHER,
     r"`base_rates`", "base_rates"),
    ("map bound", lambda: program(map_bound=-0.1), DATA,
     r"`map_bound` must be a finite number >= 0; found -0\.1", "map_bound"),
    ("map bound nan", lambda: program(map_bound=np.nan), DATA, r"found nan", "map_bound"),
    ("map bound inf", lambda: program(map_bound=np.inf), DATA, r"found inf", "map_bound"),
    ("map bound text", lambda: program(map_bound="wide"), EITHER,
     r"`map_bound` must be a finite number >= 0; found 'wide'", "map_bound"),
    ("map bound None", lambda: program(map_bound=None), EITHER,
     r"`map_bound` must be a finite number >= 0; found None", "map_bound"),
    ("transport name", lambda: program(transport="monotone"), MODEL,
     r"`transport` must be a Transport such as Monotone\(\); found 'monotone'", "transport"),
    ("transport class", lambda: program(transport=fp.Monotone), MODEL,
     r"`transport` must be a Transport such as Monotone\(\)", "transport"),
    ("notion as transport", lambda: program(transport=fp.EqualOpportunity()), MODEL,
     r"`transport` must be a Transport", "transport"),
    ("all with constraints", lambda: fp.NearestIdeal(D1, constraints=[small_shift]), MODEL,
     r"steer='all' is not one convex program.*steer all groups but one", "constraints"),
    ("all with map_bound", lambda: fp.NearestIdeal(D1, map_bound=0.1), MODEL,
     r"takes no `map_bound`: the common coordinates are then free.*steer=\[", "map_bound"),
    ("all has no problem", lambda: fp.NearestIdeal(D1).problem, MODEL,
     r"not one convex problem", "steer"),
    ("solver name", lambda: program().solve(solver="MOSEK"), MODEL,
     r"`solver` must be 'auto', .*'SCS'; found 'MOSEK'", "solver"),
    ("closed form, d = 2", lambda: program(D2).solve(solver="closed-form"), MODEL,
     r"'closed-form' exists for one feature; the population has 2", "solver"),
    ("closed form, constraints",
     lambda: program(constraints=[small_shift]).solve(solver="closed-form"), MODEL,
     r"'closed-form' knows neither custom constraints nor a `map_bound`", "solver"),
    ("newton, map_bound", lambda: program(map_bound=0.1).solve(solver="newton"), MODEL,
     r"'newton' knows neither custom constraints nor a `map_bound`", "solver"),
    ("closed form, all, d = 2", lambda: fp.NearestIdeal(D2).solve(solver="closed-form"), MODEL,
     r"does not apply to steer='all'.*one feature, two classes, two groups", "solver"),
    ("closed form, all, three groups",
     lambda: fp.NearestIdeal(D3).solve(solver="closed-form"), MODEL,
     r"does not apply to steer='all'", "solver"),
    ("conic, all", lambda: fp.NearestIdeal(D1).solve(solver="CLARABEL"), MODEL,
     r"does not apply to steer='all': it is not one convex problem", "solver"),
    ("not a function", lambda: program(constraints=["small"]).solve(), EITHER,
     r"`?constraints`?.*'small'", "constraints"),
    ("not in a list", lambda: program(constraints=small_shift), EITHER, r"`constraints`.*list",
     "constraints"),
    ("unknown solver option", lambda: program().solve(solver="CLARABEL", colour="red"), EITHER,
     r"colour", ...),
    ("unknown solver option, SCS", lambda: program().solve(solver="SCS", colour="red"), EITHER,
     r"colour", ...),
    ("negative time", lambda: program().solve(solver="CLARABEL", time_limit=-1), EITHER,
     r"`time_limit`", "time_limit"),
    ("negative time, SCS", lambda: program().solve(solver="SCS", time_limit=-1), EITHER,
     r"`time_limit`", "time_limit"),
    ("time no number", lambda: program().solve(solver="CLARABEL", time_limit="soon"), EITHER,
     r"`time_limit`", "time_limit"),
)  # fmt: skip
def test_programs(row):
    check(*row)


def test_everyone_by_list_is_all():
    for D in (D1, D3):
        here, there = fp.NearestIdeal(D, steer=D.groups).solve(), fp.NearestIdeal(D).solve()
        assert here.kl == there.kl
        assert here.settings["steer"] == there.settings["steer"] == "all"


def test_groups_that_stay_must_be_ideal_among_themselves():
    def refused(prior, mean, words):
        D = fp.Normal(prior, mean, std=np.ones((2, 3)), groups=["a", "b", "c"])
        program = partial(fp.NearestIdeal, D, steer=["c"])
        return check(program, fp.InfeasibleError, words, "steer", (None, "b")), program

    error, _ = refused(
        np.full((2, 3), 1 / 6),
        [[0.0, 0.0, 1.0], [2.0, 3.0, 1.0]],
        r"Groups \['a', 'b'\] both stay but are not ideal among themselves: no affine map.*"
        r"residual .*needed is 1e-06\). Steer all groups but one",
    )
    assert error.details["groups"] == ["a", "b"]
    assert error.details["conditions"] == ["class_conditionals"]
    # base rates alone
    error, program = refused(
        [[0.2, 0.1, 0.2], [0.1, 0.2, 0.2]],
        [[0.0, 0.0, 1.0], [2.0, 2.0, 1.0]],
        r"Groups \['a', 'b'\] stay.*equal to each other; those of group 'b' are off by 0\.333.*"
        r"base_rates='keep'",
    )
    assert error.details == {"conditions": ["base_rates"], "groups": ["a", "b"]}
    assert program(base_rates="keep").solve().certificate.ok
    check(
        lambda: fp.NearestIdeal(D1, steer=["b"], base_rates=[0.3, 0.7]),
        fp.InfeasibleError,
        r"\['a'\] stay.*equal to the requested ones; those of group 'a' are off by 0\.2",
        "steer",
        (None, "a"),
    )


def test_groups_that_stay_may_differ_by_less_than_one_part_in_a_million():
    """ "Ideal among themselves to 1e-6": what the program accepts it must be able to solve."""
    mean = [[0.0, 0.0, 1.0], [2.0, 2.0 + 1e-7, 1.0]]
    D = fp.Normal(np.full((2, 3), 1 / 6), mean, std=np.ones((2, 3)))
    assert fp.NearestIdeal(D, steer=[2]).solve().certificate.ok


def test_what_only_the_answer_has_is_asked_of_solve():
    program = fp.NearestIdeal(D1)
    with pytest.raises(AttributeError, match=r"call \.solve\(\) first: program\.solve\(\)\.kl"):
        _ = program.kl
    with pytest.raises(AttributeError, match=r"\.solve\(\)\.sample_weight"):
        _ = program.sample_weight
    with pytest.raises(AttributeError, match=r"no attribute 'klm'\.$"):
        _ = program.klm
    assert not hasattr(program, "__array__")


# -- time limits --


@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("solver", ["auto", "CLARABEL", "SCS"])
@pytest.mark.parametrize("options", [{}, {"map_bound": 0.1}, {"constraints": [small_shift]}])
def test_no_time_gives_a_valid_answer_or_a_solver_error(solver, options):
    """(The warnings of numpy on unfinished iterates have a test of their own below.)"""
    best = program(D2, **options).solve().kl if "constraints" not in options else None
    try:
        sol = program(D2 if best is not None else D1, **options).solve(solver, time_limit=1e-9)
    except fp.SolverError as error:
        assert error.status
        assert error.details
        assert "Try another solver" in str(error) or "No solver found an answer" in str(error)
    else:
        assert sol.certificate.ok
        if best is not None:
            assert sol.kl == pytest.approx(best, abs=1e-6)


@pytest.mark.parametrize("solver", ["CLARABEL", "SCS"])
def test_no_time_warns_of_nothing(solver):
    with pytest.raises(fp.SolverError):
        program(D1).solve(solver, time_limit=1e-9)


def test_enough_time_changes_nothing():
    sol = program(D2).solve(time_limit=60.0)
    assert sol.kl == pytest.approx(program(D2).solve().kl, abs=1e-12)
