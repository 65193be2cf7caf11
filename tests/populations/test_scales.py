"""Monotone maps in metrics that depend on units, on badly scaled features."""

import cvxpy as cp
import numpy as np
import pytest

import fairprog as fp
from fairprog.programs.compile.consensus import Compiled
from fairprog.programs.compile.solve import solve
from fairprog.programs.geometries.map_space import MapSpace


def population(scales: np.ndarray) -> fp.Normal:
    rng, d = np.random.default_rng(0), len(scales)
    root = np.eye(d) + 0.5 * rng.normal(size=(3, 2, d, d)) / np.sqrt(d)
    cov = root @ np.swapaxes(root, -1, -2) * scales[:, None] * scales
    mean = 0.7 * rng.normal(size=(3, 2, d)) * scales
    return fp.Normal(np.full((3, 2), 1 / 6), mean, cov=cov)


def check_units(scales: np.ndarray, steer: object, rel: float, residual: float) -> None:
    """A metric undoes the units of the features, and without it the answer depends on them."""
    plain, scaled = population(np.ones(len(scales))), population(scales)

    def solve(D: fp.Normal, metric: object) -> fp.Solution:
        return fp.NearestIdeal(D, steer=steer, transport=fp.Monotone(metric)).solve()

    back = solve(scaled, np.diag(scales**-2.0))
    assert back.kl == pytest.approx(solve(plain, "identity").kl, rel=rel)
    forth = solve(scaled, "identity")
    assert forth.certificate.ok and forth.certificate.kkt_residual < residual
    assert forth.kl == pytest.approx(solve(plain, np.diag(scales**2.0)).kl, rel=rel)
    assert abs(forth.kl - back.kl) > 1e-4  # the answer does depend on units


@pytest.mark.parametrize("first", [[1e-3], [1e-4], [1e-3, 1e3], [1e-6, 1e6]])
def test_badly_scaled_columns_are_solved_and_units_are_a_metric(first: list[float]) -> None:
    scales = np.ones(10)
    scales[: len(first)] = first
    check_units(scales, [1], 1e-10, residual=1e-9)


@pytest.mark.parametrize("scales", [[1e-9, 1e9], [1e-12, 1e12], [1e10, 1.0, 1e-10]], ids=str)
@pytest.mark.parametrize("steer", [[1], "all"], ids=str)
def test_units_far_apart_do_not_matter(scales: list[float], steer: object) -> None:
    """Divergences of the group that stays were -32, 108 or -0.7, and all groups had no answer."""

    def solve(scales: np.ndarray) -> fp.Solution:
        return fp.NearestIdeal(population(scales), steer=steer).solve()

    plain, scaled = solve(np.ones(len(scales))), solve(np.array(scales))
    assert scaled.kl == pytest.approx(plain.kl, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("scales", [[1e-9, 1e9], [1.0, 1e-30]], ids=str)
@pytest.mark.parametrize("steer", [[1], "all"], ids=str)
@pytest.mark.parametrize(
    "transport", [fp.Monotone(), fp.Translation(), fp.Scaling(), fp.Diagonal()], ids=str
)
def test_rows_go_to_the_same_place_in_units_far_apart(
    transport: object, steer: object, scales: list[float]
) -> None:
    """Rows of verified answers went up to 750 standard deviations astray."""
    X, y, a = population(np.ones(2)).sample(1500, random_state=0)

    def aligned(units: np.ndarray) -> np.ndarray:
        D = fp.Normal.fit(X * units, y, sensitive_features=a)
        sol = fp.NearestIdeal(D, steer=steer, transport=transport).solve()
        return np.asarray(sol.align(X * units, sensitive_features=a)) / units

    np.testing.assert_allclose(aligned(np.array(scales)), aligned(np.ones(2)), atol=1e-5)


@pytest.mark.parametrize("steer", [[1], "all"], ids=str)
@pytest.mark.parametrize(
    ("transport", "close", "far"),
    [(fp.Affine(), 1e6, 1e9), (fp.Whitened(), 100.0, 1e4)],
    ids=["affine", "whitened"],
)
def test_units_too_far_apart_are_refused_with_the_remedy(
    transport: object, close: float, far: float, steer: object
) -> None:
    def solve(unit: float) -> fp.Solution:
        D = population(np.array([1.0 / unit, unit]))
        return fp.NearestIdeal(D, steer=steer, transport=transport).solve()

    assert solve(close).certificate.ok
    with pytest.raises(fp.ModelError, match="Standardise the columns"):
        solve(far)


def test_all_groups_in_a_metric_with_units() -> None:
    """Units of one column: the same answer in the metric that undoes them, not beside it."""
    scales = np.array([1e-3, 1.0, 1.0, 1e2])
    check_units(scales, "all", 1e-9, residual=1e-7)


def test_all_groups_need_units_of_their_coordinates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Descent in coordinates that bend alike takes less than half the steps it takes without."""
    D, taken = population(np.array([1e-3, 1.0, 1.0, 1.0])), []

    def evaluations() -> int:
        count, cost = [0], MapSpace.cost

        def counted(self: MapSpace, x: np.ndarray) -> tuple[float, np.ndarray]:
            count[0] += 1
            return cost(self, x)

        with monkeypatch.context() as patch:
            patch.setattr(MapSpace, "cost", counted)
            fp.NearestIdeal(D, transport=fp.Monotone("identity")).solve()
        return count[0]

    taken.append(evaluations())
    monkeypatch.setattr(MapSpace, "_units", 1.0)
    taken.append(evaluations())
    assert 2 * taken[0] < taken[1]


def test_scales_beyond_float64_are_refused() -> None:
    D = population(np.geomspace(1.0, 1e-6, 20))
    with pytest.raises(fp.ModelError, match=r"Standardise the columns") as caught:
        fp.NearestIdeal(D, steer=[1], transport=fp.Monotone("identity"))
    assert caught.value.argument == "transport"
    assert fp.NearestIdeal(D, steer=[1]).solve().certificate.ok
    D = population(np.append(1e-3, np.ones(19)))  # too much for all groups at once
    fp.NearestIdeal(D, steer=[1], transport=fp.Monotone("identity"))
    with pytest.raises(fp.ModelError, match=r"Standardise the columns"):
        fp.NearestIdeal(D, transport=fp.Monotone("identity"))


@pytest.mark.parametrize("conditions", [False, True])
def test_only_conditions_can_clash(conditions: bool) -> None:
    """A solver that calls a program without conditions infeasible is wrong: no proof of a clash.

    Rounding makes solvers say so on badly scaled columns; here the status is forced.
    """
    x = cp.Variable()
    clash = {"never": x >= 1.0}
    problem = cp.Problem(cp.Minimize(x), [*clash.values(), x <= 0.0])
    named = clash if conditions else {}  # control
    compiled = Compiled(problem, (0, 1), [], {}, {}, named)
    with pytest.raises(fp.InfeasibleError if conditions else fp.SolverError) as caught:
        solve(compiled, ("CLARABEL", "SCS"), None, False, {})
    assert caught.value.status == "infeasible"
    tried = caught.value.details.get("log", [])
    assert tried == ([] if conditions else ["CLARABEL: infeasible", "SCS: infeasible"])
