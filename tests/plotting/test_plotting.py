"""Pictures: what is on the axes, not how it looks."""

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest

import fairprog as fp
from fairprog.evidence.movement import movement_of_rows, population_movement
from fairprog.kernels.rates.bayes_rates import decision_regions
from fairprog.plotting import (
    plot_curves,
    plot_gaps,
    plot_movement,
    plot_population,
    plot_prices,
    plot_rates,
    plot_solution,
    save_figure,
    style,
)
from fairprog.plotting.style import short


def univariate(K, G, family=fp.Normal):
    rng = np.random.default_rng(K * 10 + G)
    mean = 2.0 * np.arange(K)[:, None] + 0.5 * rng.normal(size=(K, G))
    std = np.exp(0.3 * rng.normal(size=(K, G)))
    return family(np.full((K, G), 1 / (K * G)), mean, std=std, groups=list("abcdefgh")[:G])


def multivariate(d, K=2, G=2, family=fp.Normal, rank=None):
    """With `rank`, only the first features vary."""
    rng = np.random.default_rng(d)
    root = rng.normal(size=(K, G, d, 2 * d)) / np.sqrt(2 * d)
    mean = rng.normal(size=(K, G, d)) + np.arange(K)[:, None, None]
    if rank is not None:
        root[..., rank:, :] = 0.0
        mean[..., rank:] = 1.0
    cov = root @ np.swapaxes(root, -1, -2)
    return family(np.full((K, G), 1 / (K * G)), mean, cov=cov, groups=list("abcdefgh")[:G])


def solve(D, steer="all"):
    return fp.NearestIdeal(D, steer=steer).solve()


def check(sol, **options):
    fig, axes = plot_solution(sol, **options)
    assert isinstance(fig, plt.Figure)
    assert len(axes) == len(options.get("ax", "ab" if sol.original.n_features == 1 else "abc"))
    for ax in axes:
        assert ax.figure is fig
        assert ax.get_xlabel()
        assert ax.get_title()
        assert len(ax.lines) >= sol.original.n_classes * sol.original.n_groups
    assert axes[0].get_ylabel()
    fig.canvas.draw()
    return fig, axes


@pytest.mark.parametrize(("K", "G"), [(2, 2), (3, 2), (2, 3), (7, 8)])
def test_one_feature(K, G):
    D = univariate(K, G)
    _, axes = check(solve(D, steer=list(D.groups[1:])))
    assert "units" in axes[0].get_xlabel()
    ticks = [t.get_text() for t in axes[0].get_yticklabels()]
    assert all(f"rule {g}" in ticks for g in D.groups)


def test_the_bands_are_the_decision_regions():
    D = univariate(2, 2)
    _, (before, _) = check(solve(D))
    low, high = before.get_xlim()
    cost = 1.0 - np.eye(2)
    expected = []
    for a in range(2):
        points, decisions = decision_regions(cost, D.prior[:, a], D.mean[:, a], D.std[:, a])
        edges = np.concatenate([[low], np.clip(points, low, high), [high]])
        expected += [
            (x, y - x, str(j))
            for x, y, j in zip(edges[:-1], edges[1:], decisions, strict=True)
            if y > x
        ]
    drawn = [(r.get_x(), r.get_width()) for r in before.patches]
    np.testing.assert_allclose(drawn, [e[:2] for e in expected], atol=1e-9)
    wide = [label for _, width, label in expected if width > 0.05 * (high - low)]
    assert [t.get_text() for t in before.texts] == wide


def test_curves_of_a_group_integrate_to_its_base_rates():
    D = univariate(2, 2)
    _, axes = check(solve(D))
    for line, rate in zip(axes[0].lines, D.base_rates.ravel(), strict=False):
        assert np.trapezoid(line.get_ydata(), line.get_xdata()) == pytest.approx(rate, abs=2e-3)


def test_one_feature_given_by_covariances():
    check(solve(multivariate(1)))


def test_two_features():
    _, axes = check(solve(multivariate(2)))
    assert axes[0].get_xlabel() == "feature 1 (units of the data)"
    assert axes[0].get_ylabel() == "feature 2 (units of the data)"


def test_the_ellipse_holds_half_of_its_cell():
    D = multivariate(2)
    _, axes = check(solve(D))
    X = np.random.default_rng(0).multivariate_normal(D.mean[0, 0], D.cov[0, 0], 20_000)
    ellipse = axes[0].patches[0].get_path()
    assert ellipse.contains_points(X).mean() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("K", [2, 3])
def test_more_features_are_seen_along_discriminants(K):
    D = multivariate(4, K=K)
    _, axes = check(solve(D, steer=["b"]))
    assert "discriminant" in axes[0].get_xlabel()
    assert "pooled s.d." in axes[0].get_ylabel()


@pytest.mark.filterwarnings("ignore::fairprog.FairprogWarning")
@pytest.mark.parametrize(("d", "rank"), [(4, 2), (4, 1), (2, 1)])
def test_null_directions(d, rank):
    check(solve(multivariate(d, rank=rank), steer=["b"]))


def test_log_normal_in_the_units_of_the_user():
    D = univariate(2, 2, fp.LogNormal)
    _, axes = check(solve(D))
    for ax in axes:
        assert ax.get_xscale() == "log"
    medians = [line.get_xdata()[np.argmax(line.get_ydata())] for line in axes[0].lines[:4]]
    np.testing.assert_allclose(medians, np.exp(D.mean).ravel(), rtol=0.01)


@pytest.mark.parametrize(("d", "scale"), [(2, "log"), (3, "linear")])
def test_log_normal_with_more_features(d, scale):
    _, axes = check(solve(multivariate(d, family=fp.LogNormal), steer=["b"]))
    assert axes[0].get_xscale() == scale


def test_the_given_axes_are_used():
    figure, own = plt.subplots(1, 2)
    fig, axes = check(solve(univariate(2, 2)), ax=own)
    assert fig is figure
    assert axes == tuple(own)
    assert own[0].get_legend() is not None
    assert len(plt.get_fignums()) == 1


def test_axes_of_a_subfigure_give_its_figure():
    figure = plt.figure()
    own = figure.subfigures(2, 1)[0].subplots(1, 2)
    fig, _ = plot_solution(solve(univariate(2, 2)), ax=own)
    assert fig is figure


@pytest.mark.parametrize(
    "make",
    [lambda ax: ax, lambda ax: [ax], lambda ax: [ax, "no axes"], lambda ax: [ax] * 4],
)
def test_anything_but_two_or_three_axes_is_refused(make):
    _, ax = plt.subplots()
    with pytest.raises(fp.DataError, match="two matplotlib Axes") as caught:
        plot_solution(solve(univariate(2, 2)), ax=make(ax))
    assert caught.value.argument == "ax"


def test_the_solution_plots_itself():
    fig, _ = solve(univariate(2, 2)).plot()
    assert isinstance(fig, plt.Figure)


def test_the_style_leaves_nothing_behind():
    before = dict(plt.rcParams)
    with style():
        assert dict(plt.rcParams) != before
    plot_solution(solve(univariate(2, 2)))
    assert dict(plt.rcParams) == before


def test_drawing_leaves_backend_and_interactive_to_the_user():
    """A notebook's backend is found, and made interactive, when the first figure is drawn."""
    before = plt.rcParams["interactive"], plt.get_backend()
    try:
        with style():
            plt.ion()
        assert plt.isinteractive()
        assert plt.get_backend() == before[1]
    finally:
        matplotlib.interactive(before[0])


def test_gaps():
    t = np.linspace(0.01, 0.99, 50)
    gaps = {"before": t * (1 - t), "after": 0 * t}
    fig, ax = plot_gaps(t, gaps, bands={"before": (0 * t, 2 * t * (1 - t))})
    assert [line.get_label() for line in ax.lines] == ["before", "after"]
    assert "threshold" in ax.get_xlabel()
    assert "probability" in ax.get_ylabel()
    assert ax.get_ylim()[0] < 0.0  # the curve at zero stays visible
    assert ax.get_ylim()[1] > 0.5
    assert plot_gaps(t, gaps, ax=ax) == (fig, ax)


def test_gaps_that_are_all_zero():
    fig, ax = plot_gaps([0.1, 0.9], {"after": [0.0, 0.0]})
    assert ax.get_ylim()[1] > 0.0
    fig.canvas.draw()


def test_curves():
    _, ax = plot_curves([0, 1], {"one": [1, 2], "two": [2, 1]}, xlabel="x (m)", ylabel="y (s)")
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("x (m)", "y (s)")
    colors = {line.get_color() for line in ax.lines}
    assert len(colors) == 2


def test_saving_closes_the_figure(tmp_path):
    fig, _ = plot_solution(solve(univariate(2, 2)))
    path = save_figure(fig, tmp_path / "picture.png")
    assert path.stat().st_size > 10_000
    assert plt.get_fignums() == []


# -------------------------------------------------------------- the other results, one by one


@pytest.fixture(scope="module")
def plane():
    return solve(multivariate(2), steer=["b"])


def test_every_result_plots_itself_on_its_own_figure_and_on_given_axes(plane):
    results = [
        plane.original,
        plane.population,
        plane.bounds,
        plane.certificate,
        plane.original.evaluate(),
        plane.original.evaluate().table,
    ]
    for result in results:
        own, axes = result.plot()
        assert axes.figure is own
        own.canvas.draw()
        figure, given = plt.subplots()
        assert result.plot(ax=given) == (figure, given)
        assert given.get_xlabel()
        with pytest.raises(fp.DataError, match="matplotlib Axes") as caught:
            result.plot(ax="no axes")
        assert caught.value.argument == "ax"
        plt.close("all")


def test_the_groups_coincide_in_common_coordinates(plane):
    _, axes = plane.plot()
    lines = [line.get_xydata() for line in axes[2].lines if len(line.get_xydata()) > 100]
    assert len(lines) == 4  # class by class, group by group
    for a, b in (lines[:2], lines[2:]):
        centre = a.mean(axis=0)
        np.testing.assert_allclose(b.mean(axis=0), centre, atol=1e-3)
        reach = [np.ptp(line, axis=0) for line in (a, b)]
        np.testing.assert_allclose(*reach, rtol=2e-3)
    apart = [line.get_xydata() for line in axes[0].lines if len(line.get_xydata()) > 100]
    assert not np.allclose(apart[0].mean(axis=0), apart[1].mean(axis=0), atol=0.05)
    aligned = plane.aligned
    np.testing.assert_allclose(aligned.mean[:, 0], aligned.mean[:, 1], atol=1e-9)
    np.testing.assert_allclose(aligned.cov[:, 0], aligned.cov[:, 1], atol=1e-9)


@pytest.mark.parametrize("K", [2, 3])
def test_boundaries_are_where_the_odds_are_even(K):
    D = multivariate(2, K=K)
    _, ax = plot_population(D)
    paths = [path for c in ax.collections for path in c.get_paths() if len(path.vertices) > 5]
    colors = [tuple(c.get_edgecolor()[0]) for c in ax.collections if len(c.get_paths())]
    assert paths
    assert len(set(colors)) == 2
    for path in paths:
        margins = []
        for a in range(2):
            scores = np.sort(D.log_posterior(path.vertices, np.full(len(path.vertices), a)))
            margins.append(np.median(np.abs(scores[:, -1] - scores[:, -2])))
        assert min(margins) < 0.02  # of the group it belongs to


def test_prices_are_bars_with_their_addresses(plane):
    _, ax = plot_prices(plane)
    names = [t.get_text() for t in ax.get_yticklabels()]
    assert names == ["price of consensus", *plane.sensitivity]
    widths = [bar.get_width() for bar in ax.patches]
    want = [plane.price["consensus"], *(np.linalg.norm(v) for v in plane.sensitivity.values())]
    np.testing.assert_allclose(widths, want)
    one = solve(univariate(2, 2), steer=["b"])
    _, ax = plot_prices(one)
    signed = [bar.get_width() for bar in ax.patches][1:]
    np.testing.assert_allclose(signed, [float(v) for v in one.sensitivity.values()])


def test_of_many_conditions_the_most_costly_are_drawn():
    sol = solve(univariate(4, 4), steer=["b", "c", "d"])
    assert len(sol.sensitivity) == 24
    _, ax = plot_prices(sol)
    assert len(ax.patches) == 17
    parts = sol.price_by_condition
    dearest = sorted(parts, key=parts.__getitem__, reverse=True)[:16]
    costs = sorted(abs(float(sol.sensitivity[where])) for where in dearest)
    drawn = sorted(abs(bar.get_width()) for bar in ax.patches[1:])
    np.testing.assert_allclose(drawn, costs)


def test_bounds_and_residuals_are_what_they_say(plane):
    _, ax = plane.bounds.plot()
    moves = plane.bounds.cell_total_variation
    np.testing.assert_allclose([bar.get_width() for bar in ax.patches], moves.T.ravel())
    _, ax = plane.certificate.plot()
    checks = plane.certificate.checks()
    names = [t.get_text() for t in ax.get_yticklabels()]
    assert names == [name.replace("_", " ") for name, *_ in checks]
    marks = [line.get_xdata()[0] for line in ax.lines]
    np.testing.assert_allclose(marks, [limit for *_, limit in checks])
    ends = [bar.get_x() + bar.get_width() for bar in ax.patches]
    np.testing.assert_allclose(ends, [max(value, 1e-17) for _, value, _ in checks], rtol=1e-6)


def test_rates_are_those_of_the_table():
    table = univariate(3, 2).evaluate().table
    _, ax = plot_rates(table, standard_error=0.01)
    drawn = [c.lines[0].get_ydata() for c in ax.containers]
    np.testing.assert_allclose(drawn, np.einsum("aii->ai", table.rates()))
    empty = fp.OutcomeTable([[[0.3, 0.2], [0, 0]], [[0.3, 0.2], [0, 0]]])
    fig, _ = plot_rates(empty)
    fig.canvas.draw()


def test_displacements_of_groups_that_move(plane):
    move = population_movement(plane)
    _, ax = plot_movement(move)
    middles = [line.get_xdata()[0] for line in ax.lines if len(line.get_xdata()) == 1]
    np.testing.assert_allclose(middles, move.quantiles[2, :, 1].T.ravel())
    X, y, a = plane.original.sample(300, random_state=0)
    plot_movement(movement_of_rows(plane, X, y, sensitive_features=a), ax=plt.subplots()[1])


def test_a_dollar_is_a_dollar():
    D = univariate(2, 2)
    D = fp.Normal(D.prior, D.mean, std=D.std, groups=["$a_1$", "$<b>^{"], classes=["_no", "$"])
    for fig, _ in (D.plot(), plot_prices(solve(D)), D.evaluate().plot()):
        fig.canvas.draw()


def test_names_of_features_are_on_the_axes():
    D = multivariate(2)
    D = fp.Normal(D.prior, D.mean, cov=D.cov, feature_names=["height", "a" * 60])
    _, ax = D.plot()
    assert ax.get_xlabel() == "height (units of the data)"
    assert len(ax.get_ylabel()) < 50


def test_short_labels():
    assert short("abc", 5) == "abc"
    assert len(short("x" * 99, 12)) == 12


def test_names_of_atoms_and_cells_cover_nothing():
    joint = np.random.default_rng(0).random((12, 2, 4))
    values = [f"a rather long name {k}" for k in range(12)]
    D = fp.Categorical(
        joint / joint.sum(), values=values, groups=["north", "south", "east", "west"]
    )
    for draw in (D.plot, fp.NearestIdeal(D, steer="all").solve().plot):
        fig, panels = draw()
        fig.canvas.draw()
        lowest = fig.legends[0].get_window_extent().y1
        for axes in np.ravel(np.asarray(panels, dtype=object)):
            names = [text for text in axes.get_xticklabels() if text.get_text()]
            assert len(names) == 12 and axes.get_legend() is None
            assert {text.get_rotation() for text in names} == {45.0}
            assert all(text.get_window_extent().y0 > lowest for text in names)
        plt.close(fig)
