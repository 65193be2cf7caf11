"""Global optimality is proven without a solver: the bound holds and refuses what is no optimum."""

from dataclasses import replace

import pytest

import fairprog as fp
from fairprog.programs.assemble import assemble
from fairprog.programs.geometries.group_map import GroupMaps
from tests.fixed_populations import diagonal, line, normal, normal1

B = ["b"]
PROGRAMS = {
    "one feature": lambda: fp.NearestIdeal(normal1(), B),
    "several": lambda: fp.NearestIdeal(normal(3, 3), B),
    "several, shift": lambda: fp.NearestIdeal(normal(3, 3), B, transport=fp.Translation()),
    "several, gain": lambda: fp.NearestIdeal(normal(3, 3), B, transport=fp.Scaling()),
    "many": lambda: fp.NearestIdeal(normal(16, 3), B),
    "independent": lambda: fp.NearestIdeal(diagonal(3), B),
    "piecewise": lambda: fp.NearestIdeal(normal1(), B, transport=fp.PiecewiseLinear(8)),
    "Laplace": lambda: fp.NearestIdeal(line(fp.Laplace), B),
    "Logistic": lambda: fp.NearestIdeal(line(fp.Logistic), B),
    "Gumbel": lambda: fp.NearestIdeal(line(fp.Gumbel), B),
    "Logistic, shift": lambda: fp.NearestIdeal(line(fp.Logistic), B, transport=fp.Translation()),
    "half-line": lambda: fp.NearestIdeal(line(fp.ShiftedExponential), B),
    "half-line, 3": lambda: fp.NearestIdeal(line(fp.ShiftedExponential, 2, 3), B),
}


def perturbed(answer, relative):
    """Return the answer with its map moved off the optimum."""
    (g,) = answer.groups
    fixed = len(g.theta) - len(g.problem.parts)
    theta = [part * (1.0 + relative) for part in g.theta]
    theta[:fixed] = g.theta[:fixed]
    if len(theta) > 1:  # an offset that may be nothing
        theta[1] = theta[1] + 0.1 * relative
    return replace(answer, groups=[GroupMaps(g.problem, tuple(theta))])


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_optimum_is_proven_and_what_is_none_is_refused(name):
    geometry = PROGRAMS[name]().geometry
    answer = geometry.exact("auto")
    proof = assemble(geometry, answer, 0.0).certificate
    assert proof.globally_optimal and 0.0 < proof.optimality_gap < 1e-9
    off = perturbed(answer, 0.1)
    control = assemble(geometry, off, 0.0).certificate
    assert off.cost() > answer.cost() + 1e-5
    assert not control.globally_optimal and not control.ok and control.optimality_gap > 1e-6


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("relative", [1e-6, 1e-4, 1e-3, 1e-2, -1e-4, -1e-2, -0.3])
def test_the_bound_is_one(name, relative):
    """However far the map is off, its cost is above the optimum by no more than is said."""
    geometry = PROGRAMS[name]().geometry
    answer = geometry.exact("auto")
    off = perturbed(answer, relative)
    (g,) = off.groups
    assert off.cost() - answer.cost() <= g.optimality_gap() + 1e-14


def test_all_groups_in_shifts_are_proven_by_tangents():
    D = line(fp.Logistic, 3, 3, 3, one_scale=True)
    program = fp.NearestIdeal(D, transport=fp.Translation())
    proof = program.solve().certificate
    assert proof.globally_optimal and proof.optimality_gap < 1e-9 and proof.conic_gap is None
    assert program.solve(second_opinion=True).certificate.conic_gap < 1e-7


def test_a_conic_solver_is_asked_where_it_is_cheap_or_wanted():
    small, large = (fp.NearestIdeal(normal(d, 3), B) for d in (2, 9))
    assert small.solve().certificate.conic_gap < 1e-7
    alone, asked = large.solve(), large.solve(second_opinion=True)
    assert alone.certificate.conic_gap is None and alone.certificate.globally_optimal
    assert alone.kl == asked.kl and asked.certificate.conic_gap < 1e-7
    assert large.solve("newton", second_opinion=True).certificate.conic_gap is not None


def test_nothing_to_decide_has_no_gap():
    proof = fp.NearestIdeal(line(fp.GumbelMin), B, transport=fp.Identity()).solve().certificate
    assert proof.ok and proof.globally_optimal and proof.optimality_gap is None


def test_a_second_opinion_on_what_is_not_convex_is_refused():
    with pytest.raises(fp.ModelError, match="second_opinion=True asks CLARABEL, which does not"):
        fp.NearestIdeal(normal(2)).solve(second_opinion=True)


def test_a_bound_is_in_files_and_may_be_missing_in_older_ones(tmp_path):
    solution = fp.NearestIdeal(normal1(), B).solve()
    solution.save(tmp_path / "new.json")
    assert fp.load(tmp_path / "new.json").certificate == solution.certificate
