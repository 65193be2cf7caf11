"""Numbers that textbook formulas, Newton's method or too few nodes get silently wrong."""

import gc
import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from scipy import stats
from scipy.integrate import quad
from scipy.optimize import minimize

import fairprog as fp
from fairprog.kernels.multivariate.balls import minimise_in_balls
from fairprog.kernels.multivariate.normal import unit_condition
from fairprog.populations.cell_fit import Term, best_scale_shift, maximum_likelihood
from fairprog.populations.location_scale import standard_law
from fairprog.populations.positive import log_gamma_law
from fairprog.programs.geometries import normal as normal_geometry
from fairprog.programs.geometries.normal import WORST
from tests.family_laws import Power15

Y, A = [0, 0, 1, 1], [0, 1, 0, 1]
Q = [[0.25, 0.25], [0.25, 0.25]]


def fit(family, x, **kwargs):
    n = len(x)
    return family.fit(np.tile(x, 4), np.repeat(Y, n), sensitive_features=np.repeat(A, n), **kwargs)


def cells(family, *parameters):
    return family(Q, *(np.full((2, 2), float(p)) for p in parameters))


# -- maximum likelihood --


def rows(kind, size=1000):
    rng = np.random.default_rng(1)
    return {
        "far below": lambda: np.r_[rng.gumbel(size=size - 1), -100.0],
        "farther below": lambda: np.r_[rng.gumbel(size=size - 1), -1e6],
        "far above": lambda: np.r_[rng.gumbel(size=size - 1), 1e9],
        "heavy tails": lambda: rng.standard_t(1.5, size=size),
        "Cauchy": lambda: rng.standard_cauchy(size=size),
        "mostly one value": lambda: np.r_[np.zeros(size - 100), rng.normal(size=100)],
        "two values": lambda: np.repeat([0.0, 1.0], 5),
    }[kind]()


LAWS = {fp.Gumbel: stats.gumbel_r, fp.GumbelMin: stats.gumbel_l, fp.Logistic: stats.logistic}
KINDS = (
    "far below", "farther below", "far above", "heavy tails", "Cauchy", "mostly one value",
    "two values",
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", LAWS)
def test_no_row_leads_a_fit_astray(family, kind):
    x = rows(kind)
    D = fit(family, x)
    law, (loc, scale) = LAWS[family], (D.loc[0, 0], D.scale[0, 0])
    found = law.logpdf(x, loc, scale).sum()
    best = law.logpdf(x, *law.fit(x)).sum()
    assert found >= best - 1e-9 * abs(best)
    for near in ((loc + 1e-3 * scale, scale), (loc, 1.001 * scale)):  # a maximum, and a strict one
        assert law.logpdf(x, *near).sum() < found


@pytest.mark.parametrize("far", [1e6, 1e-6, 1e16])
def test_a_weibull_fit_survives_a_sentinel(far):
    x = np.r_[np.random.default_rng(1).weibull(2.0, size=999), far]
    D = fit(fp.Weibull, x)
    k, scale = D.shape[0, 0], D.scale[0, 0]
    power = (x / scale) ** k
    assert power.mean() == pytest.approx(1.0, rel=1e-9)  # the score equations
    assert (power * np.log(x)).mean() - np.log(x).mean() == pytest.approx(1 / k, rel=1e-8)
    if far == 1e6:
        assert k == pytest.approx(0.38344, abs=1e-5)


@pytest.mark.parametrize("spread", [1.0, 1e-2, 1e-4])
def test_a_gamma_fit_solves_its_equation_for_nearly_constant_rows(spread):
    x = 1.0 + spread * np.array([0.0, 1.0, 2.0, 4.0, 4.0])
    k = fit(fp.Gamma, x).shape[0, 0]
    d = x / x.mean() - 1.0
    s = (
        sum((-1) ** j * (d**j).mean() / j for j in range(2, 60))
        if spread < 1
        else (np.log(x.mean()) - np.log(x).mean())
    )
    series = 1 / (2 * k) + 1 / (12 * k**2) - 1 / (120 * k**4) + 1 / (252 * k**6)
    assert series == pytest.approx(s, rel=1e-9 if spread < 1 else 1e-4)


@pytest.mark.parametrize("family", [fp.Gamma, fp.Weibull, fp.Gumbel, fp.Logistic])
def test_rows_without_a_spread_are_refused_in_words(family):
    with pytest.raises(fp.DataError, match="Class 0, group 0") as caught:
        fit(family, np.array([1.0, 1.0, 1.0, 1.0]))
    assert caught.value.cell == (0, 0)
    with pytest.raises(fp.DataError, match=r"Class 0, group 0: The values lie between"):
        fit(fp.Gamma, 1.0 + 1e-9 * np.arange(5.0))


def test_brackets_find_maxima_at_kinks_and_walls():
    rng = np.random.default_rng(3)
    x, w = rng.laplace(size=301), np.ones(301)
    loc, scale = maximum_likelihood(standard_law(fp.Laplace), x, w)
    assert (loc, scale) == pytest.approx(fp.Laplace.fit_cell(x, w), rel=1e-12)
    x = 5.0 + rng.exponential(size=301)
    loc, scale = maximum_likelihood(standard_law(fp.ShiftedExponential), x, w)
    assert (loc, scale) == pytest.approx(fp.ShiftedExponential.fit_cell(x, w), rel=1e-12)
    x = Power15.draw(rng, 301)

    def cost(p):
        return Power15.neg_log_density((x - p[0]) / np.exp(p[1])).mean() + p[1]

    loc, scale = maximum_likelihood(standard_law(Power15), x, w)
    other = minimize(cost, [0.0, 0.0], method="Nelder-Mead", options={"fatol": 1e-14}).fun
    assert cost([loc, np.log(scale)]) <= other + 1e-12


@pytest.mark.parametrize("family", [fp.Gumbel, fp.Logistic, fp.Laplace])
def test_a_fit_that_is_no_maximum_is_never_returned(family):
    """Rows of one value: the likelihood grows for ever as the scale shrinks."""
    law, weight = standard_law(family), np.full(5, 0.2)
    with pytest.raises(fp.SolverError, match="no maximum that could be verified"):
        best_scale_shift([Term(1.0, np.zeros(5), weight, law)], np.array([1.0, 0.0]))
    S, beta, _ = best_scale_shift([Term(1.0, np.arange(5.0), weight, law)], np.array([1.0, 0.0]))
    assert 0 < S < 10 and -10 < beta < 0  # with a spread there is one


# -- divergences --


def test_the_divergence_along_a_bent_map_does_not_depend_on_the_origin():
    def solved(offset):
        mean = np.array([[0.0, 1.0], [2.0, 2.5]]) + offset
        D = fp.Normal([[0.3, 0.2], [0.2, 0.3]], mean, std=[[1.0, 1.2], [1.0, 2.0]])
        return fp.NearestIdeal(D, steer=[1], transport=fp.PiecewiseLinear(16)).solve()

    here = solved(0.0)
    assert here.kl == pytest.approx(0.0837287, abs=1e-7)
    for offset in (-1e5, 1e6, 1e8, 1e9):
        there = solved(offset)
        assert there.kl == pytest.approx(here.kl, rel=1e-15 * abs(offset) + 1e-9)
        assert there.population.mean - offset == pytest.approx(here.population.mean, abs=1e-6)
        assert there.population.std == pytest.approx(here.population.std, rel=1e-6)
        assert there.population.kl(there.population) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("ratio", [1e-6, 0.1, 3.0, 500.0, 1e4, 1e9])
@pytest.mark.parametrize("shift", [0.0, 0.3, 30.0])
def test_the_logistic_divergence_is_exact_at_every_ratio_of_scales(ratio, shift):
    def phi(z):
        return abs(z) + 2 * np.log1p(np.exp(-abs(z)))

    steps = np.array([0.0, 1, 4, 16, 64, 256]) / ratio
    kink = -shift / ratio + np.r_[steps, -steps]
    points = np.unique(np.r_[-700, -40, -10, 0, 10, 40, 700, kink[np.abs(kink) < 700]])
    cross = sum(
        quad(lambda z: np.exp(-phi(z)) * phi(ratio * z + shift), a, b, epsrel=1e-13)[0]
        for a, b in pairwise(points)
    )
    found = cells(fp.Logistic, shift, ratio).kl(cells(fp.Logistic, 0, 1))
    assert found == pytest.approx(cross - 2 - np.log(ratio), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize(
    ("k", "m", "k2", "m2", "value"),
    [  # in 60 digits
        (1e-3, 1.0, 2e-3, 3.0, 0.30733123719019958),
        (2.5, 1.0, 2.5, 1.25, 0.057858878285524389),
        (19.0, 1.0, 21.0, 1.5, 1.5174010667056889),
        (1e5, 1.0, 1.1e5, 1.0001, 0.0028948443485108112),
        (1e8, 2.0, 1.5e8, 2.0001, 0.23475494678868549),
        (0.1122, 4e-13, 0.1122, 5093.0, 4.0485052143999157),
        (1e3, 1e-9, 1e-3, 1.0, 8.9695828462149558),
        (1e10, 1.0, 1e10, 1.00001, 0.49999333341488361),
    ],
)
def test_the_gamma_divergence_keeps_its_digits_at_every_shape(k, m, k2, m2, value):
    assert cells(fp.Gamma, k, m).kl(cells(fp.Gamma, k2, m2)) == pytest.approx(value, abs=1e-9)


@pytest.mark.parametrize("k", [1e-4, 0.01, 1.0, 1e3, 1e7, 1e10])
def test_narrow_and_wide_log_gamma_laws_are_integrated(k):
    law, exact = log_gamma_law(k), stats.loggamma(k)
    assert law.mass == pytest.approx(1.0, abs=1e-9)
    assert law.mean == pytest.approx(exact.mean(), rel=1e-9)
    assert law.std == pytest.approx(exact.std(), rel=1e-6)


def test_shapes_that_no_double_can_follow_are_refused():
    for k in (1e-5, 1e11):
        with pytest.raises(fp.DataError, match="class 0, group 0 must be between"):
            cells(fp.Gamma, k, 1.0)


@pytest.mark.slow
def test_ever_new_shapes_leave_no_memory_behind():
    def solve(k):
        D = fp.Gamma(Q, [[2 + k, 2 + k], [3 + k, 3 + k]], [[1.0, 2.0], [3.0, 4.0]])
        fp.NearestIdeal(D, steer=[1]).solve()

    for k in range(40):
        solve(1e-3 * k)
    gc.collect()
    tracemalloc.start()
    for k in range(120):
        solve(1.0 + 1e-6 * k)
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert grown < 4e6


def test_features_lost_in_rounding_are_named_as_such():
    with pytest.raises(fp.DataError, match="subtract a constant"):
        fp.Normal(Q, [[1e12, 1e12], [1e12 + 1, 1e12]], std=np.ones((2, 2)))


# -- programs --


@pytest.mark.parametrize("bound", [1e-6, 1e-3, 0.3])
@pytest.mark.parametrize("mass", [0.3, 1e-9])
def test_maps_in_balls_are_as_far_apart_as_their_bound_and_no_farther(bound, mass):
    """By brute force: for each common map every class takes its best one in a box about it."""
    prior = np.array([[0.2, 0.5 - mass], [0.3, mass]])
    mean, std = np.array([[0.0, 1.0], [1.0, 40.0]]), np.array([[1.0, 1.5], [2.0, 0.7]])
    D = fp.Normal(prior, mean, std=std)
    sol = fp.NearestIdeal(D, steer=[1], map_bound=bound).solve()
    assert sol.solver == "barrier" and sol.certificate.kkt_residual < 1e-6
    C = np.sqrt((prior * std**2).sum())
    q = np.asarray(sol.population.prior)[:, 1]
    center = q @ mean[:, 0] / q.sum()

    def cell(i, g, t):  # the map x -> t + g (x - center)
        ratio, shift = g * std[i, 0] / std[i, 1], t + g * (mean[i, 0] - center) - mean[i, 1]
        return 0.5 * (ratio**2 - 1 + (shift / std[i, 1]) ** 2) - np.log(ratio)

    for g, maps in ((sol.affine[1], sol.population),):
        A, b = float(g.matrix[0, 0]), float(g.offset[0])
        own = maps.std[:, 1] / std[:, 0]
        at = maps.mean[:, 1] - own * (mean[:, 0] - center)
        assert np.abs(own - A).max() <= bound * (1 + 1e-6)
        assert np.abs(at - (A * center + b)).max() / C <= bound * (1 + 1e-6)

    def best(common):
        g, t = np.exp(common[0]), C * common[1]
        total = 0.0
        for i in range(2):
            low, high = max(g - bound, 1e-9), g + bound
            found = minimize(
                lambda u, i=i: cell(i, u[0], C * u[1]),
                [g, t / C],
                bounds=[(low, high), (t / C - bound, t / C + bound)],
                method="L-BFGS-B",
                options={"ftol": 0.0, "gtol": 1e-13},
            )
            total += q[i] * found.fun
        return total

    A, b = float(sol.affine[1].matrix[0, 0]), float(sol.affine[1].offset[0])
    start = np.array([np.log(A), (A * center + b) / C])
    around = minimize(best, start, method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-15})
    rates = float((sol.population.prior * np.log(sol.population.prior / prior)).sum())
    assert sol.kl == pytest.approx(around.fun + rates, rel=1e-7, abs=1e-12)
    if mass == 0.3:
        conic = fp.NearestIdeal(D, steer=[1], map_bound=bound).solve("CLARABEL")
        assert conic.kl == pytest.approx(sol.kl, rel=1e-6)


@pytest.mark.parametrize("family", [fp.Gumbel, fp.GumbelMin, fp.Logistic, fp.Laplace])
@pytest.mark.parametrize("transport", [fp.Translation(), fp.Monotone()])
@pytest.mark.parametrize(("ratio", "apart"), [(40.0, 1.0), (2.0, 1000.0), (1e4, 100.0)])
def test_wide_references_and_classes_far_apart(family, transport, ratio, apart):
    loc = np.array([[0.0, 0.0], [1.0, apart]])
    D = family([[0.3, 0.2], [0.2, 0.3]], loc, [[ratio, 1.0], [1.0, 1.0]])
    sol = fp.NearestIdeal(D, steer=[1], transport=transport).solve()
    assert sol.certificate.kkt_residual < 1e-6
    T, q = sol.affine[1], np.asarray(sol.population.prior)

    def cost(A, b):
        moved = family(q, A * D.loc[:, [0, 0]] + b, A * D.scale[:, [0, 0]])
        to = family(q, D.loc[:, [1, 1]], D.scale[:, [1, 1]])
        return moved.kl(to)

    A, b = float(T.matrix[0, 0]), float(T.offset[0])
    here = cost(A, b)
    for step in (1e-3, 0.1):
        grown = [cost(A, b + s * A * ratio) for s in (-step, step)]
        if transport.kind != "fixed":
            grown += [cost(A * np.exp(s), b) for s in (-step, step)]
        assert min(grown) >= here - 1e-9 * max(1.0, here)


@pytest.mark.parametrize("family", [fp.Gumbel, fp.GumbelMin, fp.Logistic, fp.Laplace])
def test_all_groups_are_shifted_however_far_they_are_apart(family):
    rng = np.random.default_rng(0)
    D = family(np.full((2, 2), 0.25), rng.normal(size=(2, 2)) * 300, [[1.0, 1.0], [3.0, 3.0]])
    sol = fp.NearestIdeal(D, transport=fp.Translation()).solve()
    assert sol.certificate.ok and sol.population.is_ideal()
    for i, a, step in ((0, 0, 1e-2), (0, 0, -1e-2), (1, 1, 1.0), (1, 1, -1.0)):
        near = np.array(sol.population.loc)
        near[i] += step if a == 0 else 0.0
        near[:, a] += step if a == 1 else 0.0
        there = family(sol.population.prior, near, D.scale).kl(D)
        assert there >= sol.kl - 1e-9 * sol.kl


def test_a_condition_far_away_is_not_called_infeasible():
    D = fp.Normal(Q, [[0.0, 1.0], [2.0, 2.0]], std=[[1.0, 1.0], [1.0, 2.0]], groups=["a", "b"])

    @fp.constraint
    def far(steered, original):
        return steered.mean[0, "b"] >= 1e9

    try:
        sol = fp.NearestIdeal(D, steer=["b"], constraints=[far]).solve()
        assert sol.population.mean[0, 1] >= 1e9 * (1 - 1e-6)
    except fp.SolverError as error:
        assert "No population" not in str(error)

    @fp.constraint
    def nothing(steered, original):
        return steered.std[0, "b"] <= -1.0

    with pytest.raises(fp.InfeasibleError, match="nothing"):
        fp.NearestIdeal(D, steer=["b"], constraints=[nothing]).solve()
    with pytest.raises(fp.InfeasibleError, match="leaves every scale as it is"):
        fp.NearestIdeal(D, ["b"], fp.Translation(), constraints=[nothing]).solve()


@pytest.mark.parametrize("apart", [100, 300, 1000])
@pytest.mark.parametrize("seed", range(3))
def test_monotone_maps_of_classes_far_apart(apart, seed):
    mean = np.random.default_rng(seed).normal(size=(3, 2, 3)) * apart
    D = fp.Normal(np.full((3, 2), 1 / 6), mean, cov=np.broadcast_to(np.eye(3), (3, 2, 3, 3)))
    sol = fp.NearestIdeal(D, steer=[1]).solve()
    assert sol.certificate.kkt_residual < 1e-6
    S, b = sol.affine[1].matrix, sol.affine[1].offset
    values, V = np.linalg.eigh(0.5 * (S + S.T))
    rng, here = np.random.default_rng(0), _far_cost(D, S, b)
    for _ in range(20):  # neighbours, each direction in its own size
        Z = rng.normal(size=(3, 3))
        root = V * np.sqrt(values)
        moved = S + 1e-3 * root @ (Z + Z.T) @ root.T
        assert _far_cost(D, moved, b) >= here - 1e-9 * here


@pytest.mark.parametrize("cov", [[[1.0, 1e30], [1e30, 1.0]], [[1.0, 0.0], [0.0, -1.0]]])
def test_the_condition_of_what_is_no_covariance_is_infinite(cov):
    assert unit_condition(np.array(cov)) == np.inf  # Newton's steps astray may hand these over


def test_a_ball_that_rounding_lets_nothing_move_in_keeps_its_point():
    start = np.ones(1)
    flat = np.zeros(1), np.zeros((1, 1))

    def barrier(x):  # any step, however small, leaves its domain
        return flat if x[0] == 1.0 else None

    f = np.ones((2, 1, 1)), np.array([[0.0], [2.0]]), np.ones(2), barrier, [np.ones((1, 1))]
    x, own = minimise_in_balls(f, start, 0.25)
    assert x.tolist() == [1.0] and own.tolist() == [[1.0], [1.0]]


def test_a_population_that_rounding_leaves_far_from_ideal_is_refused(monkeypatch):
    mean = np.random.default_rng(2).normal(size=(3, 2, 3)) * 30_000
    D = fp.Normal(np.full((3, 2), 1 / 6), mean, cov=np.broadcast_to(np.eye(3), (3, 2, 3, 3)))
    worst = fp.NearestIdeal(D, steer=[1]).solve().certificate
    assert 1e-7 < worst.ideality_residual <= worst.ideality_tolerance == WORST  # said, not hidden
    monkeypatch.setattr(normal_geometry, "WORST", 1e-7)
    with pytest.raises(fp.SolverError, match="fails its certificate"):
        fp.NearestIdeal(D, steer=[1]).solve()


def _far_cost(D, S, b):
    """KL of S N(m, I) + b from N(mu, I), summed over classes: by eigenvalues of S alone."""
    values = np.linalg.eigvalsh(0.5 * (S + S.T))
    shift = D.mean[:, 0] @ S.T + b - D.mean[:, 1]
    return float(0.5 * (3 * (values**2 - 1 - 2 * np.log(values)).sum() + (shift**2).sum()) / 6)
