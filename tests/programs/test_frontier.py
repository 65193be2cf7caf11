"""Frontiers: one compilation, the values of single solves, slopes, bands."""

from functools import partial

import numpy as np
import pytest

import fairprog as fp
from fairprog.programs.compile.standard_form import StandardForm
from tests.instances import UNIVARIATE, ideal_categorical, random_categorical

BOUNDS = np.linspace(0.0, 0.2, 9)


def frontier_program(seed=0, notion=fp.EqualizedOdds, risk=None, **shape):
    D = random_categorical(np.random.default_rng(seed), **shape)
    return fp.FairClassifier(D, risk or fp.ErrorRate(), [notion()])


def test_a_frontier_is_the_values_of_single_programs():
    for risk in (fp.ErrorRate(), fp.ErrorRate() + fp.GroupRiskVariance()):
        fc = frontier_program(risk=risk, X=10, G=3)
        frontier = fc.frontier(BOUNDS)
        for bound, value, price in zip(BOUNDS, frontier.risks, frontier.prices, strict=True):
            notion = fp.EqualizedOdds(difference_bound=bound)
            sol = fp.FairClassifier(fc.population, risk, [notion]).solve()
            assert value == pytest.approx(sol.risk, abs=1e-7)
            if sol.price_interval:
                low, high = sol.price_interval["equalized_odds"]
                assert low - 1e-7 <= price <= high + 1e-7
        assert np.all(np.diff(frontier.risks) <= 1e-9)
        assert np.all(np.diff(frontier.risks, 2) >= -1e-8)  # convex
        assert np.all(np.diff(frontier.prices) <= 1e-6)
        # every price is a subgradient: its line stays below the curve
        lines = frontier.risks[:, None] - frontier.prices[:, None] * (BOUNDS - BOUNDS[:, None])
        assert np.all(lines <= frontier.risks + 1e-7)


def test_forty_bounds_need_two_compilations_and_forty_solver_calls(monkeypatch):
    import cvxpy

    compiled, solved = [], []
    canonicalise, solve = cvxpy.Problem.get_problem_data, StandardForm.solve

    def counting(self, *args, **kwargs):
        if self._cache.param_prog is None:
            compiled.append(self)
        return canonicalise(self, *args, **kwargs)

    monkeypatch.setattr(cvxpy.Problem, "get_problem_data", counting)
    monkeypatch.setattr(
        StandardForm, "solve", lambda self, *args: solved.append(self) or solve(self, *args)
    )
    fc = frontier_program(X=12)
    frontier = fc.frontier(np.linspace(0, 0.2, 40), solver="HIGHS")
    assert len(compiled) == frontier.compilations == 2  # bound 0 compiles to equalities
    assert len(solved) == frontier.solves == 40
    assert fc.frontier(np.linspace(0.01, 0.2, 5), solver="HIGHS").compilations == 1


def test_frontiers_of_scores_sort_once_and_agree_with_the_linear_program(monkeypatch):
    from fairprog.programs.classifier import score_path

    D = random_categorical(np.random.default_rng(6), X=40)
    notions = [
        [fp.EqualOpportunity()],
        [fp.EqualizedOdds()],
        [fp.DemographicParity(), fp.AccuracyParity(difference_bound=0.05)],
        [fp.DemographicParity(ratio_bound=0.5)],
    ]
    for chosen in notions:
        fc = fp.FairClassifier(D, fp.CostSensitiveRisk({"fp": 1, "fn": 3}), chosen)
        bounds = 1.0 - BOUNDS if chosen[0].bound_field == "ratio_bound" else BOUNDS
        by_sorting = fc.frontier(bounds, constraint=chosen[0].name)
        by_program = fc.frontier(bounds, constraint=chosen[0].name, solver="HIGHS")
        assert (by_sorting.compilations, by_sorting.solves) == (0, len(bounds))
        assert by_program.compilations > 0
        assert np.abs(by_sorting.risks - by_program.risks).max() < 1e-9
        if chosen[0].bound_field == "ratio_bound":
            continue  # not convex in the ratio
        # every price is a subgradient, whoever found it: its line stays below the curve
        away = bounds - bounds[:, None]
        lines = by_sorting.risks[:, None] - by_sorting.prices[:, None] * away
        assert np.all(lines <= by_program.risks + 1e-8)
    with pytest.raises(fp.ModelError, match="'SORT' does not apply"):
        fp.FairClassifier(D, fp.WorstGroupRisk(), [fp.EqualOpportunity()]).frontier(
            [0.1], solver="SORT"
        )
    sorts = []
    monkeypatch.setattr(
        score_path,
        "sort_scores",
        lambda *args, sort=score_path.sort_scores: sorts.append(1) or sort(*args),
    )
    fp.FairClassifier(D, None, [fp.EqualOpportunity()]).frontier(BOUNDS)
    assert len(sorts) == D.n_groups


def test_the_bound_may_belong_to_any_constraint():
    D = random_categorical(np.random.default_rng(2), X=9)
    free = fp.FairClassifier(D).solve().risk
    fc = fp.FairClassifier(
        D,
        fp.CostSensitiveRisk({"fp": 3, "fn": 1}),
        [fp.DemographicParity(ratio_bound=0.9), fp.RiskBound(fp.ErrorRate(), free + 0.05)],
    )
    with pytest.raises(fp.ModelError, match="must name one of the constraints"):
        fc.frontier([0.1, 0.2])
    ratio = fc.frontier([0.5, 0.8, 0.9], constraint="demographic_parity")
    assert np.all(np.diff(ratio.risks) >= -1e-10)  # a higher ratio is tighter
    assert np.all(ratio.prices >= -1e-9)
    error = fc.frontier(free + np.array([0.02, 0.03, 0.2]), constraint="bound_error_rate")
    assert error.risks[0] > error.risks[-1]
    assert error.bound_name == "upper of bound_error_rate"
    step = 1e-6
    near = fc.frontier([0.85 - step, 0.85, 0.85 + step], constraint="demographic_parity")
    slopes = np.sort(np.diff(near.risks) / step)
    assert slopes[0] - 1e-4 <= near.prices[1] <= slopes[1] + 1e-4
    with pytest.raises(fp.InfeasibleError, match="bound_error_rate"):
        fc.frontier([free - 0.01], constraint="bound_error_rate")


def test_an_ideal_population_has_a_flat_frontier():
    D = ideal_categorical(np.random.default_rng(3))
    frontier = fp.FairClassifier(D, fp.ErrorRate(), [fp.EqualizedOdds()]).frontier(BOUNDS)
    assert np.ptp(frontier.risks) < 1e-12
    assert np.abs(frontier.prices).max() < 1e-9


def test_bands_hold_the_frontiers_of_samples():
    fc = frontier_program(seed=4, X=5, notion=fp.EqualOpportunity)
    bounds = [0.02, 0.1]
    frontier = fc.frontier(bounds, bootstrap=15, sample_size=4000, progress=False)
    low, high = frontier.bands
    assert np.all(low < high)
    assert np.all((low < frontier.risks) & (frontier.risks < high))
    assert np.allclose(low, np.quantile(frontier.samples, 0.05, axis=0))
    again = fc.frontier(bounds, bootstrap=15, sample_size=4000, progress=False)
    assert np.array_equal(again.samples, frontier.samples)
    wide = fc.frontier(bounds, bootstrap=15, sample_size=400, progress=False)
    ratio = wide.samples.std(axis=0) / frontier.samples.std(axis=0)
    assert np.all((ratio > 1.5) & (ratio < 7))  # sqrt(10) = 3.2
    table = frontier.to_frame()
    assert list(table.columns) == ["bound", "risk", "price", "risk_low", "risk_high"]
    assert repr(frontier).endswith("in [0.02, 0.1], 90% bands of 15 samples)")
    _, ax = frontier.plot()
    assert "equal opportunity" in ax.get_xlabel()
    with pytest.raises(fp.ModelError, match="`sample_size` is required"):
        fc.frontier(bounds, bootstrap=2)
    X, y, a = fc.population.sample(500, random_state=0)
    counted = fp.Categorical.fit(X, y, sensitive_features=a)
    fp.FairClassifier(counted, fp.ErrorRate(), [fp.EqualOpportunity()]).frontier(
        [0.1], bootstrap=2, progress=False
    )


def test_bands_of_given_scores_are_those_of_fresh_rows():
    def rows(seed, n=1500):
        rng = np.random.default_rng(seed)
        a = rng.choice(["a", "b"], n)
        return fp.Categorical.from_scores(
            rng.beta(np.where(a == "a", 2.0, 3.0), 2.0), sensitive_features=a
        )

    notion = fp.EqualOpportunity(difference_bound=0.05)
    fc = fp.FairClassifier(rows(0), fp.ErrorRate(), [notion])
    frontier = fc.frontier([0.05], bootstrap=25, progress=False)
    low, high = frontier.bands
    assert np.all((low < frontier.risks) & (frontier.risks < high))
    fresh = [fp.FairClassifier(rows(k), None, [notion]).solve().risk for k in range(1, 81)]
    assert low[0] < np.mean(fresh) < high[0]
    assert 0.6 < frontier.samples.std() / np.std(fresh) < 1.6
    # control: were labels drawn, every row would know its own, and the band miss the curve
    fc.population.scores_given = False
    wrong = fc.frontier([0.05], bootstrap=3, progress=False)
    assert wrong.bands[1][0] < 0.6 * frontier.risks[0]


def test_bands_of_given_scores_in_bins_and_after_loading(tmp_path):
    rng = np.random.default_rng(5)
    a, p = rng.choice(["a", "b"], 800), rng.beta(2, 2, 800)
    D = fp.Categorical.from_scores(p, bins=10, sensitive_features=a)
    E = fp.Categorical.from_scores(
        p, y=rng.random(800) < p, bins=10, sensitive_features=a, classes=[False, True]
    )
    assert D.scores_given and not E.scores_given
    sol = fp.FairClassifier(D, None, [fp.EqualOpportunity()]).solve()
    sol.save(tmp_path / "bins.npz")
    loaded = fp.load(tmp_path / "bins.npz").classifier.population
    assert (loaded.scores_given, loaded.effective_rows) == (True, 800)
    curves = [
        fp.FairClassifier(P, None, [fp.EqualOpportunity()]).frontier(
            [0.1], bootstrap=4, progress=False
        )
        for P in (D, loaded)
    ]
    assert np.allclose(curves[0].samples, curves[1].samples, atol=1e-9)
    rare = fp.Categorical.from_scores(
        [0.0, 1.0, 0.4, 0.6], sensitive_features=list("aabb"), sample_weight=[1e-9, 1e-9, 1, 1]
    )
    with pytest.raises(fp.DataError, match="too few for bands"):
        fp.FairClassifier(rare, None, [fp.EqualOpportunity()]).frontier(
            [0.1], bootstrap=2, sample_size=20, progress=False
        )


def test_nearest_populations_have_the_same_frontier():
    prog = fp.NearestIdeal(UNIVARIATE, steer=["b"])
    bounds = [0.0, 0.1, 0.3, 0.6]
    frontier = prog.frontier(bounds)
    assert isinstance(frontier, fp.Frontier)
    assert frontier.compilations == 0  # the barrier method needs none
    assert frontier.solves == 4
    for bound, kl, price in zip(bounds, frontier.risks, frontier.prices, strict=True):
        sol = fp.NearestIdeal(UNIVARIATE, steer=["b"], map_bound=bound).solve()
        assert kl == pytest.approx(sol.kl, abs=1e-8)
        assert price == pytest.approx(sol.price["consensus"], abs=1e-5)
    step = 1e-4
    near = prog.frontier([0.2 - step, 0.2, 0.2 + step])
    slope = (near.risks[0] - near.risks[2]) / (2 * step)
    assert near.prices[1] == pytest.approx(slope, rel=1e-4)
    mirrored = fp.NearestIdeal(UNIVARIATE, steer=["b"], orientation="any").frontier([0.0, 0.2])
    assert np.all(mirrored.risks <= prog.frontier([0.0, 0.2]).risks + 1e-9)
    frontier.plot()
    assert list(frontier.to_frame().columns) == ["bound", "kl", "price"]
    assert repr(frontier) == "Frontier(kl, 4 values of 'map_bound' in [0, 0.6])"
    with pytest.raises(fp.ModelError, match="steer='all'"):
        fp.NearestIdeal(UNIVARIATE).frontier([0.1])
    with pytest.raises(fp.DataError, match="none below 0"):
        prog.frontier([-0.1])


@pytest.mark.parametrize("solver", ["SORT", "HIGHS"])
def test_a_bound_of_either_sign_may_be_swept(solver):
    D = frontier_program().population
    gain = fp.RiskBound(fp.CostSensitiveRisk([[-1.0, 1.0], [1.0, -1.0]]), 0.2)
    program = fp.FairClassifier(D, fp.CostSensitiveRisk([[0, 1], [3, 0]]), [gain])
    bounds = [-0.1, 0.0, 0.2]
    found = program.frontier(bounds, solver=solver)
    for bound, risk in zip(bounds, found.risks, strict=True):
        alone = fp.FairClassifier(D, program.risk, [gain.with_bound(bound)]).solve()
        assert risk == pytest.approx(alone.risk, abs=1e-8)


def test_a_time_limit_is_one_of_every_solve():
    """HiGHS counts seconds from its first run on: a warm start needs a later deadline."""
    program = frontier_program(notion=partial(fp.EqualizedOdds, difference_bound=0.1))
    compiled = program.question.compile()
    form, deadlines = StandardForm(compiled.problem), []
    for bound in (0.1, 0.05, 0.02):
        next(iter(compiled.bounds.values())).value = bound
        assert form.solve("HIGHS", 10.0, False, {}) == "optimal"
        deadlines.append(form._highs.getOptionValue("time_limit")[1])
    assert deadlines[0] == 10.0
    assert deadlines[0] < deadlines[1] < deadlines[2]
