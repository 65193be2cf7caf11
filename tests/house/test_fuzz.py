"""A fixed part of ``make fuzz``, and proof that its checks tell wrong answers from right ones."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from scipy.integrate import quad

import fairprog as fp
from tests.fuzz_checks import check_nearest
from tests.fuzz_classifiers import check_classifier
from tests.fuzz_laws import divergence
from tests.fuzz_programs import BAD, KINDS, draw, run

SEEDS = range(2000, 2004)  # of every kind


@pytest.mark.parametrize("kind", KINDS)
def test_random_programs_are_answered_rightly_or_not_at_all(kind):
    outcomes = {seed: run(draw(seed, kind)) for seed in SEEDS}
    wrong = {seed: found for seed, found in outcomes.items() if found[0] in BAD}
    assert not wrong
    assert sum(found[0] == "answered" for found in outcomes.values()) >= 2


def test_a_case_is_the_same_program_every_time():
    for kind in KINDS:
        case = draw(7, kind)
        assert case.code() == draw(7, kind).code()
        assert case.code() != draw(8, kind).code()


def answered(kind, **wanted):
    """Return the first case of a kind with some options, and what it is answered."""
    for seed in range(3000, 3200):
        case = draw(seed, kind)
        if all(case.parts.get(k, 0) == v for k, v in wanted.items()):
            try:
                D, sol = case.solve()
            except fp.FairprogError:
                continue
            if sol.kl > 1e-3:
                return case, D, sol
    raise AssertionError


def replace_offset(T, offset):
    diagonal = isinstance(T, fp.DiagonalMap)
    return fp.DiagonalMap(T.diagonal, offset) if diagonal else fp.AffineMap(T.matrix, offset)


@pytest.mark.parametrize("kind", ["Normal", "normal", "diagonal", "Gumbel", "Logistic", "Weibull"])
def test_the_checks_see_an_answer_that_is_not_the_nearest(kind):
    case, D, sol = answered(kind, map_bound=0, everyone=False, base_rates="equalize")
    assert not check_nearest(D, sol, case.parts)
    assert "has KL" in check_nearest(
        D, replace(sol, kl=sol.kl + 1e-5 * max(1, sol.kl)), case.parts
    )
    g = D.groups[-1]
    T = sol.affine[g]
    spread = np.sqrt(np.diagonal(np.atleast_2d(np.cov(D.sample(4000, 0)[0].T))))
    step = 0.01 * (1.0 if kind == "Weibull" else spread)
    moved = replace_offset(T, T.offset + step)
    affine = {**sol.affine, g: moved}
    assert "from the image" in check_nearest(D, replace(sol, affine=affine), case.parts)
    identity = type(T).identity(len(T.offset))
    shift = replace_offset(identity, np.broadcast_to(step, len(T.offset)))
    still = dict.fromkeys(D.groups, identity)
    population = sol.population.mapped({**still, g: shift})
    worse = replace(sol, affine=affine, population=population, kl=population.kl(D))
    said = check_nearest(D, worse, case.parts)
    assert "nearer" in said


def test_the_checks_see_a_classifier_that_is_not_the_best():
    case = draw(3, "classifier")
    D, sol = case.solve()
    assert not check_classifier(D, sol, case.parts)
    always = np.zeros_like(sol.classifier.h)
    always[:, 0] = 1.0
    table = D.table(always)
    risk = float(np.einsum("aij,ij->", table.Z, case.parts["cost"]))
    assert "HiGHS finds" in check_classifier(D, replace(sol, table=table, risk=risk), case.parts)
    assert "has risk" in check_classifier(D, replace(sol, risk=sol.risk + 1.0), case.parts)


@pytest.mark.parametrize(
    ("kind", "law"),
    [
        ("Laplace", stats.laplace),
        ("Logistic", stats.logistic),
        ("Gumbel", stats.gumbel_r),
        ("GumbelMin", stats.gumbel_l),
        ("ShiftedExponential", stats.expon),
    ],
)
def test_the_divergences_of_the_checks_are_those_of_scipys_laws(kind, law):
    first, second = (1.0, 0.7), (0.4, 1.3)
    p, q = law(*first), law(*second)
    low, high = p.ppf(1e-15), p.isf(1e-15)
    value = quad(lambda x: p.pdf(x) * (p.logpdf(x) - q.logpdf(x)), low, high, limit=400)[0]
    assert divergence(kind, first, second)[0] == pytest.approx(value, abs=1e-9)
