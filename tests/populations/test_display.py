"""Every family is drawn, reported and cut into atoms; the figures are those of its law."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy import stats

import fairprog as fp
from fairprog.evidence.held_out import posterior
from fairprog.evidence.movement import LEVELS, movement_of_rows, population_movement
from fairprog.evidence.words import conditions_words, settings_rows
from fairprog.plotting.cells_picture import frame_of
from fairprog.populations.evaluation import tables_at_thresholds
from tests.reports import Reader, sound

Q = np.array([[0.3, 0.2], [0.25, 0.25]])
M, S = np.array([[0.0, 1.0], [2.0, 2.5]]), np.array([[1.0, 1.5], [1.0, 2.0]])
RNG = np.random.default_rng(0)
BENT = fp.PiecewiseLinearMap([0.0, 1.0, 2.0], [0.0, 2.0, 3.0])


def normal(d):
    spread = np.array([[1.0, 2.0], [1.0, 1.5]])[..., None, None]
    return fp.Normal(Q, RNG.normal(size=(2, 2, d)), cov=np.eye(d) * spread)


LINE = {
    "normal": fp.Normal(Q, M, std=S),
    "log-normal": fp.LogNormal(Q, M, std=S),
    "laplace": fp.Laplace(Q, M, S),
    "logistic": fp.Logistic(Q, M, S),
    "gumbel": fp.Gumbel(Q, M, S),
    "gumbel-min": fp.GumbelMin(Q, M, S),
    "shifted-exponential": fp.ShiftedExponential(Q, 0 * M, S),
    "exponential": fp.Exponential(Q, M + 1),
    "gamma": fp.Gamma(Q, S, M + 1),
    "weibull": fp.Weibull(Q, S, M + 1),
    "logit laplace": fp.Transformed(fp.Laplace(Q, M, S), "logit"),
    "log of a power": fp.Transformed(fp.LogNormal(Q, M, std=S), fp.Power(2.0)),
}
LAWS = {**LINE, "pushforward": fp.Pushforward(LINE["normal"], {1: BENT})}
SOLVED = {
    **LINE,
    "log plane": fp.Transformed(normal(2), "log"),
    "bent space": fp.Transformed(normal(3), fp.YeoJohnson([0.5, 1.0, 1.5])),
    "finite": fp.Categorical(RNG.dirichlet(np.full(24, 2.0)).reshape(6, 2, 2)),
    "nonlinear maps": LINE["normal"],
    "nonlinear maps of log x": fp.Transformed(LINE["normal"], "log"),
}
FAST = {"laplace", "gamma", "logit laplace", "nonlinear maps", "finite", "log plane"}


@pytest.fixture(scope="module")
def solve():
    known = {}

    def solution(name):
        if name not in known:
            bent = fp.PiecewiseLinear(8) if "maps" in name else None
            known[name] = fp.NearestIdeal(SOLVED[name], steer=[1], transport=bent).solve()
        return known[name]

    return solution


@pytest.mark.parametrize("name", LAWS)
def test_cells_are_one_law_however_they_are_asked(name):
    D, scores = LAWS[name], np.array([-3.0, -1.0, 0.0, 0.5, 3.0])
    z = D.cell_quantiles(scores)
    for i, a in np.ndindex(2, 2):
        below = np.cumsum(D.cell_masses(z[:, i, a]), axis=0)[:-1, i, a]
        np.testing.assert_allclose(below, stats.norm.cdf(scores), atol=1e-12)
        edges = np.union1d(np.linspace(z[0, i, a], z[-1, i, a], 4001), D.density_breaks())
        edges = edges[(edges >= z[0, i, a]) & (edges <= z[-1, i, a])]
        middle = 0.5 * (edges[1:] + edges[:-1])  # densities jump at edges only
        total = D.cell_density(middle)[:, i, a] @ np.diff(edges)
        assert total == pytest.approx(stats.norm.cdf(3) - stats.norm.cdf(-3), abs=2e-6)
    X, _, a = D.sample(2000, random_state=1)
    Z = D.to_coordinates(X)
    np.testing.assert_allclose(D.from_coordinates(Z), X, rtol=1e-9)
    std = [Z[a == g].std() for g in (0, 1)]
    assert 0.5 < D.coordinate_std.mean() / np.mean(std) < 1.5


@pytest.mark.parametrize("name", LAWS)
def test_posteriors_rules_and_thresholds_agree(name):
    D = LAWS[name]
    X, _, a = D.sample(300, random_state=2)
    P, Z = posterior(D, X, sensitive_features=a), D.to_coordinates(X)[:, 0]
    density = D.cell_density(Z)[np.arange(300), :, a] * D.base_rates[:, a].T
    np.testing.assert_allclose(P, density / density.sum(axis=1, keepdims=True), atol=1e-9)
    table = tables_at_thresholds(D, np.array([0.5]))[0]
    np.testing.assert_allclose(table.Z, D.evaluate().table.Z, atol=1e-9)
    for g in (0, 1):
        points, actions = D.decision_regions(1.0 - np.eye(2), g)
        told = np.asarray(actions)[np.searchsorted(points, Z[a == g])]
        clear = np.abs(P[a == g, 1] - 0.5) > 1e-9
        assert (told == P[a == g].argmax(axis=1))[clear].all()


def test_where_nothing_has_a_density_nothing_is_learnt():
    D = fp.ShiftedExponential(Q, M, S)
    found = posterior(D, [-5.0, -5.0], sensitive_features=[0, 1])
    np.testing.assert_allclose(found, D.base_rates.T)


@pytest.mark.parametrize("name", LAWS)
def test_on_atoms_rules_stay_and_ideal_populations_stay_ideal(name):
    D = LAWS[name]
    E = D.discretize(200)
    assert np.abs(E.evaluate().table.Z - D.evaluate().table.Z).max() < 0.01
    assert abs(E.evaluate().error - D.evaluate().error) <= 2 * E.discretization_error
    assert not E.is_ideal()
    low, high = (D.from_coordinates(np.array([[t]]))[0, 0] for t in (-60.0, 60.0))
    assert ((E.values > low) & (E.values < high)).all()


@pytest.mark.parametrize("name", SOLVED)
def test_the_ideal_population_is_ideal_aligned_and_on_atoms(name, solve):
    sol = solve(name)
    assert sol.aligned.is_ideal(1e-7)
    assert sol.population.discretize(64).is_ideal()
    assert sol.aligned.evaluate().error == pytest.approx(sol.population.evaluate().error, abs=1e-6)
    if sol.original.n_features == 1 and sol.moves_rows:
        z = sol.aligned.cell_quantiles(np.array([-2.0, 0.0, 2.0]))
        np.testing.assert_allclose(z[..., 0], z[..., 1], atol=1e-7)
    assert "certificate: ok" in sol.summary()


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in FAST else pytest.mark.slow) for n in SOLVED]
)
def test_everything_is_drawn_and_reported(name, solve):
    sol = solve(name)
    for result in (sol.original, sol.population, sol):
        fig, _ = result.plot()
        fig.canvas.draw()
    plt.close("all")
    page = sound(sol.to_html()) if sol.moves_rows else Reader(sol.to_html())
    assert page.faults == []
    D = sol.original
    assert settings_rows(sol)[0][1] in page.words
    if D.coordinate != "x":
        assert f"(as {D.coordinate})" in page.words
    assert ("Who moves how far" in page.words) is sol.moves_rows
    assert 'class="fairprog notebook"' in sol._repr_html_()
    assert plt.get_fignums() == []


@pytest.mark.parametrize("name", ["gamma", "nonlinear maps"])
@pytest.mark.slow
def test_rows_are_evidence(name, solve):
    sol = solve(name)
    X, y, a = sol.original.sample(400, random_state=0)
    assert "95% confidence" in sol.to_html(X=X, y=y, sensitive_features=a)


def test_finite_populations_move_no_rows(solve):
    sol = solve("finite")
    X, y, a = sol.original.sample(400, random_state=0)
    with pytest.raises(fp.ModelError, match="move no rows") as caught:
        sol.to_html(X=X, y=y, sensitive_features=a)
    assert caught.value.argument == "X"
    scores = {"mine": np.linspace(0, 1, 400)}
    assert "mine" in sol.to_html(y=y, sensitive_features=a, scores=scores)


@pytest.mark.parametrize("name", ["normal", "laplace", "gamma", "weibull", "nonlinear maps"])
def test_displacements_of_the_population_are_those_of_many_rows(name, solve):
    sol = solve(name)
    exact = population_movement(sol)
    X, y, a = sol.original.sample(200_000, random_state=0)
    rows = movement_of_rows(sol, X, y, sensitive_features=a)
    np.testing.assert_allclose(exact.quantiles, rows.quantiles, atol=0.03)
    np.testing.assert_allclose(exact.rms, rows.rms, atol=0.01)
    assert (exact.rank == 1.0).all()


def test_displacements_of_a_normal_cell_have_a_closed_form(solve):
    sol = solve("normal")
    move, back = population_movement(sol), sol.affine[1].inverse()
    scale = np.sqrt((Q * S**2).sum())
    gain = back.matrix[0, 0] - 1.0
    mean = (gain * M[:, 1] + back.offset[0]) / scale
    spread = np.abs(gain) * S[:, 1] / scale
    want = mean + stats.norm.ppf(LEVELS)[:, None] * spread
    np.testing.assert_allclose(move.quantiles[:, :, 1, 0], want, atol=1e-12)
    np.testing.assert_allclose(move.rms[:, 1], np.hypot(mean, spread), rtol=1e-10)


def test_axes_are_in_the_units_of_the_user_spaced_by_the_coordinates():
    D = LINE["logit laplace"]
    fig, ax = D.plot()
    fig.canvas.draw()
    assert ax.get_xlabel() == "feature x (data units, spaced by logit x)"
    ticks = ax.get_xticks()
    assert len(ticks) >= 3 and ((ticks > 0) & (ticks < 1)).all()
    low, high = ax.get_xlim()
    frame = frame_of([D])
    np.testing.assert_allclose([low, high], frame.show(np.append(frame.low, frame.high)))
    share = ax.transAxes.inverted().transform(ax.transData.transform([[0.5, 0.0]]))[0, 0]
    z = -frame.low[0] / (frame.high[0] - frame.low[0])
    assert share == pytest.approx(z, abs=1e-6)


@pytest.mark.parametrize("name", ["logistic", "gamma", "logit laplace", "nonlinear maps"])
def test_frontiers_are_refused_with_a_reason(name):
    bent = fp.PiecewiseLinear(8) if "maps" in name else None
    with pytest.raises(fp.ModelError, match="map_bound") as caught:
        fp.NearestIdeal(SOLVED[name], steer=[1], transport=bent).frontier([0.0, 0.1])
    assert caught.value.argument == "map_bound"


def test_frontiers_through_a_bijection_and_of_finite_populations():
    bounds = [0.0, 0.1]
    log = fp.NearestIdeal(LINE["log-normal"], steer=[1]).frontier(bounds)
    seen = fp.Transformed(LINE["normal"], "log")
    other = fp.NearestIdeal(seen, steer=[1]).frontier(bounds)
    np.testing.assert_allclose(other.risks, log.risks, rtol=1e-7)
    np.testing.assert_allclose(other.prices, log.prices, rtol=1e-4)
    finite = fp.NearestIdeal(SOLVED["finite"], steer=[1]).frontier(bounds)
    sol = fp.NearestIdeal(SOLVED["finite"], steer=[1], map_bound=0.1).solve()
    assert finite.risks[1] == pytest.approx(sol.kl, abs=1e-7)
    assert finite.risks[1] < finite.risks[0]


def test_words_name_the_family_and_the_units(solve):
    assert settings_rows(solve("bent space"))[0][1].startswith("Normal seen as g(x) (YeoJohnson(")
    assert "units are those of log x" in conditions_words(solve("gamma"))
    assert "knots" in conditions_words(solve("nonlinear maps"))
    assert "reweighted" in solve("finite").summary().splitlines()[0]


def test_moving_a_pushforward():
    D = LAWS["pushforward"]
    stretch = fp.AffineMap(np.array([[2.0]]), np.array([1.0]))
    moved = D.mapped({1: stretch})
    scores = np.array([-1.0, 0.0, 2.0])
    want = D.cell_quantiles(scores)
    want[..., 1] = 2.0 * want[..., 1] + 1.0
    np.testing.assert_allclose(moved.cell_quantiles(scores), want, atol=1e-12)
    assert type(D.mapped({1: BENT.inverse()})) is fp.Normal
    with pytest.raises(fp.ModelError, match="mirrors"):
        D.mapped({1: fp.AffineMap(np.array([[-1.0]]), np.array([0.0]))})
