"""Custom conditions bind, have prices, and see the steered population's parameters."""

import cvxpy as cp
import numpy as np
import pytest

import fairprog as fp
from tests.instances import CONVEX, multivariate


@fp.constraint
def small_shift(view, population):
    """The mean of class 1 in group b moves by at most .1 in every feature."""
    return cp.abs(view.mean[1, "b"] - population.mean[1, "b"]) <= 0.1


@fp.constraint
def keep_spread(view, population):
    """Two conditions at once: an equality and a semidefinite one."""
    A = view.matrix[0, "b"]
    return [view.offset[0, "b"] == 0, 5 * np.eye(2) >> (A + A.T) / 2]


def test_custom_constraints_bind_and_have_prices():
    D = multivariate(np.random.default_rng(14), 2)
    free = fp.NearestIdeal(D, steer=["b"]).solve()
    tied = fp.NearestIdeal(D, steer=["b"], constraints=[small_shift]).solve()
    moved = np.abs(tied.population.mean[1, 1] - D.mean[1, 1])
    assert moved.max() <= 0.1 + 1e-6
    assert np.abs(free.population.mean[1, 1] - D.mean[1, 1]).max() > 0.1
    assert tied.kl > free.kl + 1e-4
    assert tied.certificate.ok
    assert tied.population.is_ideal()

    def kl(bound):
        @fp.constraint
        def shift(view, population):
            return cp.abs(view.mean[1, "b"] - population.mean[1, "b"]) <= bound

        return fp.NearestIdeal(D, steer=["b"], constraints=[shift]).solve().kl

    h = 1e-3
    assert tied.price["small_shift"] == pytest.approx(
        (kl(0.1 - h) - kl(0.1 + h)) / 2 / h, rel=0.02
    )
    both = fp.NearestIdeal(D, steer=["b"], constraints=[keep_spread], map_bound=0.1).solve()
    assert both.certificate.ok
    assert {"keep_spread[0]", "keep_spread[1]"} <= both.duals.keys()


def test_conditions_through_steered_parameters_agree_with_the_population():
    """The view's expressions, at the optimum, are the parameters of the steered population."""
    seen = {}

    def record(view, population):
        seen.update(mean=view.mean[1, "b"], factor=view.factor[1, "b"], stay=view.mean[0, "a"])
        seen.update(matrix=view.matrix[1, "b"], offset=view.offset[1, "b"])
        return view.mean[1, "b"] <= population.mean[1, "b"] + 100

    D = multivariate(np.random.default_rng(15), 3)
    for transport in CONVEX:
        prog = fp.NearestIdeal(D, steer=["b"], transport=transport, constraints=[record])
        sol = prog.solve()
        E = sol.population
        assert np.allclose(seen["mean"].value, E.mean[1, 1], atol=1e-5)
        F = getattr(seen["factor"], "value", seen["factor"])
        assert np.allclose(F @ F.T, E.cov[1, 1], atol=1e-5)
        assert np.allclose(np.asarray(seen["stay"]), D.mean[0, 0])
        A = getattr(seen["matrix"], "value", seen["matrix"])
        assert np.allclose(A, sol.maps["b"].matrix, atol=1e-5)
        assert np.allclose(seen["offset"].value, sol.maps["b"].offset, atol=1e-5)


def test_the_problem_can_be_looked_at_and_extended():
    D = multivariate(np.random.default_rng(16), 2)
    prog = fp.NearestIdeal(D, steer=["b"])
    problem = prog.problem
    labels = [c.label for c in problem.constraints]
    assert labels == ["linear[b,0]", "offset[b,0]", "linear[b,1]", "offset[b,1]"]
    value = problem.solve(solver="CLARABEL")
    assert value == pytest.approx(prog.solve().kl, abs=1e-6)
    offset = next(v for v in problem.variables() if v.name() == "offset[b]")
    more = cp.Problem(problem.objective, [*problem.constraints, offset == 0])
    assert more.solve(solver="CLARABEL") > value + 1e-4
    with pytest.raises(fp.ModelError, match="not one convex problem"):
        _ = fp.NearestIdeal(D).problem
