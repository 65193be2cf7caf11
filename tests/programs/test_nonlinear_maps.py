"""Nonlinear maps leave at most half of the gap that the best affine map leaves."""

import numpy as np
import pytest

import fairprog as fp


def squashed(rng, n):
    """Logistic-normal mixtures: logits N(-1.5, 1) and N(1.5, 1); group 1 squashed by tanh."""
    y, a = rng.integers(2, size=n), rng.integers(2, size=n)
    z = rng.normal(size=n) + np.array([-1.5, 1.5])[y]
    return np.where(a == 1, np.tanh(z), z), y, a


def chi_squares(rng, n):
    """Chi-squares with 3 and 9 degrees of freedom: logarithms in group 1, cube roots in group 0.

    The cube root of a chi-square is close to normal (Wilson & Hilferty), its logarithm is not.
    """
    y, a = rng.integers(2, size=n), rng.integers(2, size=n)
    z = rng.chisquare(np.array([3.0, 9.0])[y])
    return np.where(a == 1, np.log(z), np.cbrt(z)), y, a


def different_chi_squares(rng, n):
    """Logarithms of chi-squares, (4, 12) degrees of freedom in group 0 and (2, 8) in group 1.

    No map carries both classes of one group exactly to those of the other.
    """
    y, a = rng.integers(2, size=n), rng.integers(2, size=n)
    degrees = np.where(a == 1, np.array([2.0, 8.0])[y], np.array([4.0, 12.0])[y])
    return np.log(rng.chisquare(degrees)), y, a


def cube_root(x):
    """Return the cube root of exp(x), which makes log chi-squares close to normal."""
    return np.exp(x / 3.0)


def worst_gap(x, y, a):
    """The worst gap of TPR or FPR over all thresholds: a KS distance per class."""
    gaps = []
    for i in (0, 1):
        first, second = (np.sort(x[(y == i) & (a == g)]) for g in (0, 1))
        t = np.concatenate([first, second])
        F, G = (np.searchsorted(s, t, "right") / len(s) for s in (first, second))
        gaps.append(np.abs(F - G).max())
    return max(gaps)


def measure(draw, to_normal, seed, n_fit, n_test):
    """Held-out worst gaps: before, best affine map, quantile map, piecewise-linear program."""
    rng = np.random.default_rng(seed)
    x, y, a = draw(rng, n_fit)
    X, Y, A = draw(rng, n_test)
    D = fp.Normal.fit(x, y, sensitive_features=a)
    affine = [
        fp.NearestIdeal(D, steer=steer, base_rates="keep").solve() for steer in ([0], [1], "all")
    ]
    linear = min(worst_gap(s.align(X, sensitive_features=A), Y, A) for s in affine)
    Q = fp.QuantileMap.fit(x, y, sensitive_features=a, reference=0)
    balanced = worst_gap(Q.transform(X, sensitive_features=A), Y, A)
    goal = [to_normal(x[(y == i) & (a == 0)]) for i in (0, 1)]
    T = fp.fit_piecewise_linear(
        x[a == 1], y[a == 1], [g.mean() for g in goal], [g.std() for g in goal], classes=[0, 1]
    )
    moved = to_normal(X)
    moved[A == 1] = T(X[A == 1])
    return worst_gap(X, Y, A), linear, balanced, worst_gap(moved, Y, A)


CASES = [(squashed, np.copy), (chi_squares, np.copy), (different_chi_squares, cube_root)]


@pytest.mark.parametrize(("draw", "to_normal"), CASES[:2])
def test_nonlinear_maps_remove_at_least_half_of_what_the_affine_map_leaves(draw, to_normal):
    before, linear, balanced, program = measure(draw, to_normal, 0, 20_000, 80_000)
    assert linear < before
    assert balanced <= 0.5 * linear
    assert program <= 0.5 * linear


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("draw", "to_normal"), CASES)
def test_the_same_with_intervals(draw, to_normal):
    """Ten repetitions with 95 % intervals, and the DKW half width of one held-out gap."""
    gaps = np.array([measure(draw, to_normal, seed, 50_000, 400_000) for seed in range(10)])
    mean = gaps.mean(axis=0)
    error = 2.262 * gaps.std(axis=0, ddof=1) / np.sqrt(len(gaps))  # Student, 9 degrees
    band = 2.0 * np.sqrt(np.log(2 * 4 / 0.05) / (2 * 400_000 / 4))
    print(draw.__name__, "before, affine, quantile, program:", mean.round(4), "+-", error)
    print("DKW half width of one gap:", round(band, 4))
    if draw is different_chi_squares:  # no exact map: the means only
        error = 0.0 * error
    assert (mean[2:] + error[2:] <= 0.5 * (mean[1] - error[1])).all()
