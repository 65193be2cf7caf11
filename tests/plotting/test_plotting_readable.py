"""Pictures that can be read: nothing cut off or hidden; slopes and steps say what they mean."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

import fairprog as fp
from fairprog.plotting import plot_gaps


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_gaps_on_axes_that_share_a_scale_are_not_cut_off():
    t = np.linspace(0.0, 1.0, 20)
    _, axes = plt.subplots(1, 2, sharey=True)
    plot_gaps(t, {"large": 0.5 * t}, bands={"large": (0.0 * t, 0.8 * t)}, ax=axes[0])
    plot_gaps(t, {"small": 0.1 * t}, ax=axes[1])
    assert axes[0].get_ylim() == axes[1].get_ylim()
    assert axes[0].get_ylim()[1] > 0.8


def test_many_densities_stand_group_by_group():
    rng = np.random.default_rng(0)
    D = fp.Normal(
        np.full((3, 3), 1 / 9),
        2.0 * np.arange(3)[:, None] + rng.random((3, 3)),
        std=np.ones((3, 3)),
    )
    fig, (before, _) = fp.NearestIdeal(D, steer=[1, 2]).solve().plot()
    labels = [t.get_text() for t in before.get_yticklabels()]
    assert labels == ["rule 0", "rule 1", "rule 2"]
    curves = [line for line in before.lines if len(line.get_xdata()) > 10]
    feet = sorted({round(float(line.get_ydata().min()), 3) for line in curves})
    assert len(feet) == 3
    assert max(line.get_ydata().max() for line in curves) < before.get_ylim()[1]
    fig.canvas.draw()


@pytest.fixture(scope="module")
def program():
    joint = np.random.default_rng(1).dirichlet(np.ones(24)).reshape(6, 2, 2)
    D = fp.Categorical(joint, groups=["men", "women"])
    return fp.FairClassifier(D, fp.ErrorRate(), [fp.EqualOpportunity(difference_bound=0.02)])


def test_tangents_of_a_frontier_bear_their_prices(program):
    frontier = program.frontier(np.linspace(0.0, 0.3, 7))
    _, ax = frontier.plot()
    words = [text.get_text() for text in ax.texts]
    assert words[0] == f"price {frontier.prices[0]:.2g}"
    low, high = ax.get_xlim()
    assert all(low <= x <= high for line in ax.lines for x in line.get_xdata())


def test_a_classifier_says_the_threshold_of_every_group(program):
    solution = program.solve()
    _, ax = solution.plot()
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    for label, (group, at) in zip(labels, solution.classifier.thresholds.items(), strict=True):
        assert label == f"{group}: threshold {at:.3f}"
