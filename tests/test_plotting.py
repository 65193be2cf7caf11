"""Pictures: what is on the axes, not how it looks."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

import fairprog as fp
from fairprog.kernels.bayes_rates import decision_regions
from fairprog.plotting import plot_curves, plot_gaps, plot_solution, save_figure, style


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
