"""Every kind of population against everything that a program and its answer offer.

A cell of the matrix is a kind and a question. It is answered, and rightly, or refused (REFUSED)
by an error of ours that names the argument, says why and what to do instead. What does neither
stands in FAULTS, with what is wrong: strict, so that whoever mends it strikes it out.
"""

import copy
import itertools
import pickle
import re

import cvxpy as cp
import numpy as np
import pytest

import fairprog as fp
from tests.instances import CONVEX
from tests.kinds import (
    BOUND,
    CONVEX_FREE,
    KINDS,
    LINES,
    ONE_MAP,
    case,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore::fairprog.FairprogWarning"),  # constant features
    pytest.mark.filterwarnings("ignore:Solution may be inaccurate"),  # of CVXPY, of `problem`
]

SOME_RATES = {2: [0.4, 0.6], 3: [0.2, 0.3, 0.5]}
TRANSPORTS = [fp.Identity(), *CONVEX, fp.Affine(), fp.PiecewiseLinear(8)]
# a sentence of a refusal that tells its reader what to do
REMEDY = re.compile(
    r"\b(use|let|leave|give|move|takes? the|take Trans\w*|instead|steer all|needs?|is for)\b",
    re.IGNORECASE,
)


# ---------------------------------------------------------------------------------- the questions


def solve(c):
    assert c.answer.certificate.ok and c.answer.population.is_ideal(1e-6)
    assert list(c.answer.settings["steer"]) == c.steer


def solve_free(c):
    assert c.free_answer.certificate.ok and c.free_answer.population.is_ideal(1e-6)
    assert c.free_answer.settings["steer"] == "all"
    if c.kind.free == {}:  # of the same transport: more may move
        assert c.free_answer.kl <= c.answer.kl + 1e-9
    check_multipliers(c.free_answer)
    assert f"{c.free_answer.kl:.6g}" in c.free_answer.summary()


def problem(c):
    assert c.program().problem.solve(solver=cp.CLARABEL) == pytest.approx(c.answer.kl, abs=1e-5)


def problem_free(c):
    value = c.free().problem.solve(solver=cp.CLARABEL)
    assert value == pytest.approx(c.free_answer.kl, abs=1e-5)


def options_are_attributes(c):
    if c.name not in REFUSED["map_bound"]:
        assert c.program(map_bound=BOUND).map_bound == BOUND
    program = c.program(base_rates="keep")
    assert program.population is c.D
    assert program.map_bound == 0.0 and program.constraints == ()
    assert program.orientation == "preserve" and program.base_rates == "keep"
    assert program.transport == c.answer.settings["transport"]


def map_bound(c):
    sol = c.bounded_answer
    assert sol.certificate.ok and sol.settings["map_bound"] == BOUND
    assert sol.kl < c.answer.kl - 1e-6


def at_map_bound(c):
    sol = c.program().at_map_bound(BOUND).solve()
    assert sol.settings["map_bound"] == BOUND and sol.kl < c.answer.kl - 1e-6
    assert sol.kl == pytest.approx(c.bounded_answer.kl, abs=1e-7)
    back = c.program(map_bound=BOUND).at_map_bound(0.0).solve()
    assert back.kl == pytest.approx(c.answer.kl, abs=1e-9)


def no_such_bound(c):
    for bad in (-1.0, float("nan"), "x"):
        with pytest.raises(fp.FairprogError, match="map_bound"):
            c.program().at_map_bound(bad)


def frontier(c):
    found = c.program().frontier([0.0, BOUND])
    assert found.risks[0] == pytest.approx(c.answer.kl, abs=1e-9)
    assert found.risks[1] == pytest.approx(c.bounded_answer.kl, abs=1e-7)
    assert found.prices[1] > 0 and list(found.to_frame()["kl"]) == list(found.risks)
    assert found.plot()


def frontier_free(c):
    assert c.free().frontier([0.0, BOUND]).risks[1] < c.free_answer.kl


def no_such_frontier(c):
    for bad in ([-1.0], [float("nan")], []):
        with pytest.raises(fp.FairprogError, match="map_bounds"):
            c.program().frontier(bad)


def condition(c):
    where = c.D.classes[-1], "b"

    @fp.constraint
    def unmoved(view, population):
        if c.name == "finite":
            return view.law[where][0] <= 0.9 * c.free_answer.population.joint[0, -1, 1] / c.mass
        return cp.sum(view.mean[where]) == np.sum(population.mean[where])

    if c.name == "finite":
        c.mass = c.free_answer.population.prior[-1, 1]
        sol, free = c.free(constraints=[unmoved]).solve(), c.free_answer
    else:
        sol, free = c.program(constraints=[unmoved]).solve(), c.answer
    assert sol.certificate.ok and sol.kl > free.kl + 1e-9
    assert any(address.startswith("unmoved") for address in sol.sensitivity)
    assert f"{sol.kl:.6g}" in sol.summary() and sol.bounds.kl == sol.kl


def summary(c):
    sol = c.answer
    assert f"{sol.kl:.6g}" in sol.summary() and f"kl={sol.kl:.6g}" in repr(sol)


def plot(c):
    figure, _ = c.answer.plot()
    assert figure.axes


def other_pictures(c):
    assert c.answer.certificate.plot() and c.answer.bounds.plot() and c.D.plot()


def to_html(c):
    page = c.answer.to_html()
    assert page.startswith("<!DOCTYPE html>") and f"{c.answer.kl:.4f}"[:5] in page


def bounded_report(c):
    sol = c.bounded_answer
    assert f"{sol.kl:.6g}" in sol.summary() and sol.bounds.kl == sol.kl
    assert sol.population.kl(sol.original) == pytest.approx(sol.kl, abs=1e-12)


def save_and_load(c, folder):
    for suffix in (".json", ".npz"):
        c.answer.save(folder / f"answer{suffix}")
        again = fp.load(folder / f"answer{suffix}")
        assert again.kl == c.answer.kl and type(again) is type(c.answer)
        moved = again.align(c.X, sensitive_features=c.group)
        np.testing.assert_array_equal(moved, c.answer.align(c.X, sensitive_features=c.group))


def pickled(c):
    c.answer.population.ideality_gap()  # and what it keeps
    for sol in (c.answer, pickle.loads(pickle.dumps(c.answer)), copy.deepcopy(c.answer)):
        assert sol.kl == c.answer.kl
    again = pickle.loads(pickle.dumps(c.program()))
    assert again.solve().kl == pytest.approx(c.answer.kl, abs=1e-12)


def align(c):
    moved = c.answer.align(c.X, sensitive_features=c.group)
    assert moved.shape == c.X.shape
    stay = [g == "a" for g in c.group]
    np.testing.assert_array_equal(moved[stay], c.X[stay])
    for k, g in enumerate(c.group):
        np.testing.assert_allclose(c.answer.maps[g](moved[k : k + 1]), c.X[k : k + 1], atol=1e-9)


def steer(c):
    moved = c.answer.steer(c.X, c.y, sensitive_features=c.group)
    assert moved.shape == c.X.shape and np.isfinite(moved).all()
    stay = [g == "a" for g in c.group]
    np.testing.assert_allclose(moved[stay], c.X[stay], atol=1e-12)


def sample_weight(c):
    weight = c.answer.sample_weight(c.y, sensitive_features=c.group)
    ratio = c.answer.population.prior / c.D.prior
    at = [(c.D.classes.index(i), c.D.groups.index(g)) for i, g in zip(c.y, c.group, strict=True)]
    np.testing.assert_allclose(weight, [ratio[cell] for cell in at], rtol=1e-12)


def maps(c):
    assert tuple(c.answer.maps) == tuple(c.answer.affine) == c.D.groups
    assert c.answer.aligned.is_ideal(1e-6)


def duals(c):
    check_multipliers(c.answer)


def check_multipliers(sol):
    assert list(sol.duals) == list(sol.sensitivity) != []
    for address, value in sol.sensitivity.items():
        np.testing.assert_allclose(sol.duals[address], -value, atol=1e-12)
    if sol.price_by_condition:
        total = sum(sol.price_by_condition.values())
        assert total == pytest.approx(sol.price["consensus"], abs=1e-9)


def population(c):
    D, E = c.answer.original, c.answer.population
    assert type(E) is type(D) or c.name == "piecewise"
    assert D is c.D and (E.classes, E.groups) == (D.classes, D.groups)
    assert E.kl(D) == pytest.approx(c.answer.kl, abs=1e-12)
    assert E.is_ideal(1e-6) and not D.is_ideal(1e-6)
    assert E.discretize(64).n_classes == D.n_classes
    assert len(E.sample(5, 0)[1]) == 5
    assert E.evaluate(n_samples=256).gap(fp.EqualizedOdds()) <= 1e-6


def attempt(ask):
    """Return what is answered, or None where it is refused in words that help."""
    try:
        return ask()
    except (fp.ModelError, fp.DataError, fp.InfeasibleError) as error:
        check_refusal(error)
        return None


def check_refusal(error):
    assert error.argument, f"no argument is named by: {error}"
    assert REMEDY.search(str(error)), f"no remedy in: {error}"


def transports(c):
    for transport in TRANSPORTS:
        sol = attempt(lambda transport=transport: c.program(transport=transport).solve())
        assert sol is None or (sol.settings["transport"] == transport and sol.certificate.ok)


def orientations(c):
    sol = attempt(lambda: c.program(orientation="any").solve())
    assert sol is None or (sol.settings["orientation"] == "any" and sol.kl <= c.answer.kl + 1e-9)


def base_rates(c):
    rates = SOME_RATES[c.D.n_classes]
    for build in (c.program, c.free) if c.kind.free is not None else (c.program,):
        kept = attempt(lambda build=build: build(base_rates="keep").solve())
        np.testing.assert_allclose(kept.population.prior, c.D.prior, atol=1e-12)
        asked = attempt(lambda build=build: build(base_rates=rates).solve())
        if asked is not None:
            np.testing.assert_allclose(asked.population.base_rates[:, 1], rates, atol=1e-6)
        joint = attempt(lambda build=build: build(base_rates="joint").solve())
        assert (joint is None) == (build == c.program)  # rates that stay leave nothing to choose
        assert joint is None or joint.kl <= c.free_answer.kl + 1e-9


def solvers(c):
    for solver in ("closed-form", "newton", "CLARABEL"):
        sol = attempt(lambda solver=solver: c.program().solve(solver))
        assert sol is None or sol.kl == pytest.approx(c.answer.kl, abs=1e-6)


def named(*functions):
    return {f.__name__: f for f in functions}


TWO = (
    (2, 2),
)  # classes and groups; the slow ones, and those that differ by option and not by size
THREE = ((2, 2), (3, 3))
AT_ALL_SIZES = named(
    solve,
    solve_free,
    problem,
    problem_free,
    map_bound,
    at_map_bound,
    frontier,
    condition,
    summary,
    plot,
    bounded_report,
    save_and_load,
    align,
    steer,
    sample_weight,
    maps,
    duals,
)
QUESTIONS = AT_ALL_SIZES | named(
    options_are_attributes,
    no_such_bound,
    frontier_free,
    no_such_frontier,
    other_pictures,
    to_html,
    pickled,
    population,
    transports,
    orientations,
    base_rates,
    solvers,
)

NO_BOUND = [*LINES, *ONE_MAP, "affine-2"]
REFUSED = {
    "solve_free": ONE_MAP,
    "problem": ["affine-2"],
    "problem_free": [k for k in KINDS if k not in CONVEX_FREE],
    "map_bound": NO_BOUND,
    "at_map_bound": NO_BOUND,
    "bounded_report": NO_BOUND,
    "frontier": NO_BOUND,
    "frontier_free": [k for k in KINDS if k != "finite"],
    "condition": [*ONE_MAP, "affine-2"],
    "steer": ["finite"],
}

# where a page, a search over rates or a scan takes a second: asked of these, of others if `slow`
CORE = ["normal-1", "Logistic", "normal-2", "tied-2", "diagonal-2", "log of diagonal", "finite"]
SECONDS = ["other_pictures", "to_html", "base_rates", "pickled", "transports"]

SILENT = pytest.fail.Exception  # nothing was raised
FAULTS = [  # (what happens, what is wrong, questions, kinds)
    (
        AssertionError,
        "maps that mix independent features: the answer's original is the one with matrices",
        ["population"],
        ["diagonal monotone", "log of diagonal monotone"],
    ),
]


def fault(question, kind):
    """Return the mark of a cell that is not right today."""
    for happens, reason, questions, kinds in FAULTS:
        if question in questions and kind in kinds:
            return [pytest.mark.xfail(raises=happens, strict=True, reason=reason)]
    return []


def cells():
    for kind, question in itertools.product(KINDS, QUESTIONS):
        for size in THREE if question in AT_ALL_SIZES else TWO:
            slow = [pytest.mark.slow] if question in SECONDS and kind not in CORE else []
            name = f"{kind}-{question}-{size[0]}"
            yield pytest.param(kind, question, size, marks=slow + fault(question, kind), id=name)


@pytest.mark.parametrize(("kind", "question", "size"), list(cells()))
def test_the_answer_is_right_or_refused_with_a_remedy(kind, question, size, tmp_path):
    c, ask = case(kind, *size), QUESTIONS[question]
    more = (tmp_path,) if ask is save_and_load else ()
    if kind in REFUSED.get(question, ()):
        with pytest.raises((fp.ModelError, fp.DataError, fp.InfeasibleError)) as caught:
            ask(c, *more)
        check_refusal(caught.value)
    else:
        ask(c, *more)


# ------------------------------------------------------------------------ what is no population


def moments():
    X, y, a = KINDS["normal-1"].population(2, 2).sample(50, 0)
    return fp.Moments().partial_fit(X, y, sensitive_features=a)


NO_POPULATIONS = {  # what is given -> the call that its refusal should name
    "rows": (lambda: np.zeros((4, 2)), r"Normal\.fit"),
    "a sample": (lambda: fp.Empirical([0.0, 1.0], [0, 1]), r"fit_map|Normal\.fit"),
    "moments": (moments, r"\.population\("),
    "an answer": (lambda: case("normal-1", 2, 2).answer, r"\.population"),
    "a law of piecewise maps": (
        lambda: case("piecewise", 2, 2).answer.population,
        r"\.discretize\(|\.original",
    ),
}


@pytest.mark.parametrize("name", NO_POPULATIONS)
def test_what_is_no_population_is_refused_with_the_call_that_makes_one(name):
    make, call = NO_POPULATIONS[name]
    with pytest.raises(fp.ModelError) as caught:
        fp.NearestIdeal(make())
    assert caught.value.argument == "population"
    assert re.search(call, str(caught.value))


def test_a_finite_population_seen_through_a_bijection_is_refused_or_answered_in_full():
    D = KINDS["finite"].population(2, 2)
    seen = fp.Categorical(D.joint, values=[1.0, 2.0, 3.0, 4.0], groups=D.groups)
    sol = attempt(lambda: fp.NearestIdeal(fp.Transformed(seen, "log"), ["b"]).solve())
    if sol is not None:
        assert sol.plot() and sol.to_html()
        assert sol.sample_weight([0], X=[np.e], sensitive_features=["b"]) > 0


# ------------------------------------------------------------------------------------- controls


def test_control_the_tables_speak_of_cells_that_exist():
    tables = [*REFUSED.items(), *((q, kinds) for *_, qs, kinds in FAULTS for q in qs)]
    for question, kinds in tables:
        assert question in QUESTIONS and set(kinds) <= set(KINDS)
    assert set(SECONDS) <= set(QUESTIONS) and set(CORE) <= set(KINDS)


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (fp.ModelError("It takes no bound; use 0.", argument="map_bound"), True),
        (fp.ModelError("It takes no bound.", argument="map_bound"), False),
        (fp.ModelError("It takes no bound; use 0."), False),
    ],
)
def test_control_a_refusal_names_its_argument_and_a_remedy(error, passes):
    if passes:
        check_refusal(error)
    else:
        with pytest.raises(AssertionError):
            check_refusal(error)


def test_control_an_error_that_is_not_ours_is_no_refusal():
    with pytest.raises(AttributeError):
        attempt(lambda: None.no_such_name)
