"""`family_free_bound`: below every ideal population, and its counterexamples."""

import numpy as np
import pytest

import fairprog as fp
from fairprog.kernels.atoms.level_prices import bound_over_levels, dual_value, moved
from tests.instances import README


def random_normal(rng, d=1, equal=True):
    share, rate = rng.dirichlet([4, 4]), rng.uniform(0.2, 0.8, 1 if equal else 2)
    prior = np.stack([(1 - rate) * share, rate * share])
    mean = rng.normal(size=(2, 2, d)) + np.array([0.0, 1.5])[:, None, None]
    root = np.eye(d) + 0.3 * rng.normal(size=(2, 2, d, d))
    return fp.Normal(prior, mean, cov=root @ np.swapaxes(root, -1, -2))


@pytest.mark.parametrize(("steer", "ratio"), [("all", 0.45), (["women"], 0.45)])
def test_readme(steer, ratio):
    sol = fp.NearestIdeal(README, steer=steer).solve()
    bound = sol.family_free_bound(24)
    assert ratio * sol.kl <= bound <= sol.kl
    assert bound <= fp.NearestFair(README.discretize(1000), "all", steer=steer).solve().kl
    text = sol.summary()
    assert f"nearer than {bound:.4f} nats" in text and "in this family" in text
    assert f"{bound:.4f}" in sol.to_html()


@pytest.mark.parametrize("count", [4, pytest.param(200, marks=pytest.mark.slow)])
def test_random_normal_populations(count):
    rng, ratios = np.random.default_rng(3), []
    for k in range(count):
        D = random_normal(rng, 1 + (k % 4 == 3), equal=k % 2)
        steer, T = [([1], None), ("all", None), ([1], fp.Affine())][k % 3]
        sol = fp.NearestIdeal(D, steer=steer, transport=T).solve()
        bound = sol.family_free_bound(16)
        assert 0 <= bound <= sol.kl + 1e-9
        ratios.append(bound / sol.kl)
    assert np.median(ratios) > 0.3
    print(f"{count} programs: median bound / KL {np.median(ratios):.3f}")


@pytest.mark.parametrize(
    "D",
    [
        fp.Gumbel([[0.3, 0.2], [0.3, 0.2]], [[0.0, 1.0], [2.0, 2.0]], [[1.0, 1.0], [1.0, 2.0]]),
        fp.Laplace([[0.3, 0.2], [0.3, 0.2]], [[0.0, 1.0], [2.0, 2.0]], [[1.0, 1.0], [1.0, 1.0]]),
        fp.LogNormal([[0.3, 0.2], [0.3, 0.2]], [[0.0, 1.0], [2.0, 2.0]], std=np.ones((2, 2))),
    ],
    ids=["gumbel", "laplace", "log-normal"],
)
def test_other_families(D):
    sol = fp.NearestIdeal(D, steer=[1]).solve()
    assert 0.1 * sol.kl < sol.family_free_bound(16) <= sol.kl


def test_an_ideal_population_has_bound_zero():
    D = fp.Normal([[0.3, 0.2], [0.3, 0.2]], [[0.0, 1.0], [2.0, 3.0]], std=np.ones((2, 2)))
    assert fp.NearestIdeal(D).solve().family_free_bound() < 1e-9


def test_finite_populations_use_their_own_atoms():
    """A = {.1, .55}, B = {.2, .8} at .5 agree; A binned to its mean .325 would not."""
    low, high, p = np.array([0.0, 0.5]), np.array([0.5, 1.0]), np.full(2, 0.5)
    half = np.full(2, 0.5)
    atoms = [(np.array(e), np.array(e), half) for e in ([0.1, 0.55], [0.2, 0.8])]
    none = np.zeros(2, dtype=bool)
    assert bound_over_levels(low, high, atoms, p, none, None) < 1e-9
    mean = [(np.array([0.325]), np.array([0.325]), np.ones(1)), atoms[1]]
    wrong = bound_over_levels(low, high, mean, p, none, None)
    assert wrong > 0.015  # the bin's mean makes no bound
    wide = [(np.array([0.1]), np.array([0.55]), np.ones(1)), atoms[1]]
    assert bound_over_levels(low, high, wide, p, none, None) < 1e-9  # its interval does


def test_separated_classes():
    """Ideal for equalized odds at KL 0, not for demographic parity: the bound is of the latter."""
    joint = np.zeros((2, 2, 2))
    joint[0, 0], joint[1, 1] = [0.35, 0.15], [0.15, 0.35]
    D = fp.Categorical(joint)
    assert D.ideality_gap(fp.EqualizedOdds()) == 0 and not D.is_ideal()
    bound = fp.NearestIdeal(D).solve().family_free_bound()
    assert bound == pytest.approx(0.0872, abs=1e-3)
    assert "demographic parity" in fp.Solution.family_free_bound.__doc__


def test_any_prices_are_a_bound():
    rng = np.random.default_rng(0)
    eta, law = np.sort(rng.random((2, 30)), axis=1), rng.dirichlet(np.ones(30), 2)
    low, high = np.array([0.0, 0.4, 0.6]), np.array([0.4, 0.6, 1.0])
    groups, p = [(e, e, f) for e, f in zip(eta, law, strict=True)], np.array([0.4, 0.6])
    best = bound_over_levels(low, high, groups, p, np.zeros(3, dtype=bool), None)
    for _ in range(50):
        first = rng.normal(scale=0.2, size=3)
        prices = np.repeat(np.stack([first, -first * p[0] / p[1]])[:, :, None], 2, axis=2)
        assert dual_value(low, high, groups, p, prices, False) <= best + 2e-6


def test_the_cheapest_posterior_of_a_level():
    rng = np.random.default_rng(1)
    low, high = np.array([0.0, 0.3]), np.array([0.3, 1.0])
    for _ in range(20):
        price, ends = rng.normal(size=(2, 2)), np.sort(rng.random(2))
        group = (ends[:1], ends[1:], np.ones(1))
        cost, _ = moved(low, high, group, price)
        for k in (0, 1):
            grid = np.linspace(low[k] + 1e-12, high[k] - 1e-12, 4001)
            eta = np.clip(grid, *ends)
            kl = grid * np.log(grid / eta) + (1 - grid) * np.log((1 - grid) / (1 - eta))
            values = kl + grid * price[k, 1] + (1 - grid) * price[k, 0]
            assert cost[0, k] <= values.min() + 1e-9
            assert cost[0, k] == pytest.approx(values.min(), abs=1e-4)


def test_refusals():
    kept = fp.NearestIdeal(
        fp.Normal([[0.4, 0.2], [0.2, 0.2]], [[0.0, 1.0], [2.0, 2.0]], std=np.ones((2, 2))),
        base_rates="keep",
    ).solve()
    with pytest.raises(fp.ModelError, match="not ideal"):
        kept.family_free_bound()
    rng = np.random.default_rng(0)
    three = fp.Normal(rng.dirichlet(np.ones(6)).reshape(3, 2), rng.normal(size=(3, 2)),
                      std=np.ones((3, 2)))  # fmt: skip
    with pytest.raises(fp.ModelError, match="two classes"):
        fp.NearestIdeal(three, steer=[1]).solve().family_free_bound()
