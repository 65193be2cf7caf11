"""The law of a quadratic form against closed forms, quadrature and simulation."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, special, stats

from fairprog.kernels.rates import contour_integral
from fairprog.kernels.rates.quadratic_form import spectral_cdf
from tests.quadratic_forms import cdf, spectral_form


@pytest.mark.parametrize("df", [2, 3, 8, 400])
def test_equal_weights_are_chi_square(df):
    x = np.linspace(-1, 4 * df, 300)
    values, error = cdf(x, np.ones(df), np.zeros(df))
    np.testing.assert_allclose(values, stats.chi2.cdf(x, df), atol=1e-12)
    assert np.all(values[x <= 0] == 0) and error.max() < 1e-10


@pytest.mark.parametrize(("df", "shift"), [(1, 2.0), (2, 0.3), (5, 3.0), (3, 30.0)])
def test_shifted_weights_are_noncentral_chi_square(df, shift):
    noncentrality = df * shift**2
    x = np.linspace(0, noncentrality + 8 * np.sqrt(2 * df + 4 * noncentrality) + 10, 300)
    values, _ = cdf(x, np.ones(df), np.full(df, shift))
    np.testing.assert_allclose(values, stats.ncx2.cdf(x, df, noncentrality), atol=1e-11)
    mirrored, _ = cdf(-x, -np.ones(df), np.full(df, shift))
    np.testing.assert_allclose(mirrored, stats.ncx2.sf(x, df, noncentrality), atol=1e-11)


def test_four_distinct_pairs_are_hypoexponential():
    rate = 1 / (2 * np.array([3.0, 1.0, 0.2, 0.05]))
    share = [np.prod(np.delete(rate, k) / (np.delete(rate, k) - rate[k])) for k in range(4)]
    x = np.linspace(0.01, 40, 200)
    expected = 1 - np.exp(-np.outer(x, rate)) @ share
    values, _ = cdf(x, np.repeat(1 / (2 * rate), 2), np.zeros(8))
    np.testing.assert_allclose(values, expected, atol=1e-12)


@pytest.mark.parametrize(
    ("weights", "shifts", "sigma"),
    [
        ((1.0, -1.0), (0.0, 0.0), 0.0),
        ((2.0, -0.3), (1.0, 3.0), 0.0),
        ((-1e-3, 1e3), (2.0, 0.1), 0.0),
        ((0.5,), (2.0,), 0.7),
        ((-1e-3,), (20.0,), 0.2),
        ((1.0, 0.1), (0.4, 5.0), 0.0),
    ],
)
def test_two_terms_match_quadrature(weights, shifts, sigma):
    w, h = weights[0], shifts[0]

    def second(t):  # cdf of the other term, in closed form
        if sigma:
            return special.ndtr(t / sigma)
        root = np.sqrt(max(t / weights[1], 0.0))
        mass = special.ndtr(root - shifts[1]) - special.ndtr(-root - shifts[1])
        return mass if weights[1] > 0 else 1 - mass

    def density(z, point):
        return np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi) * second(point - w * (z + h) ** 2)

    size, move = np.array(weights), np.array(shifts)
    spread = np.sqrt(np.sum(2 * size**2 + 4 * (size * move) ** 2) + sigma**2)
    x = np.sum(size * (1 + move**2)) + spread * np.array([-2.0, -0.5, 0.0, 0.7, 3.0])
    values, _ = cdf(x, weights, shifts, sigma)
    for value, point in zip(values, x, strict=True):
        kinks = [-h]
        if not sigma and point / w > 0:
            kinks += [-h - np.sqrt(point / w), -h + np.sqrt(point / w)]
        ends = np.unique(np.clip([-12.0, *kinks, 12.0, *np.linspace(-10, 10, 21)], -12, 12))
        expected = sum(
            integrate.quad(density, *piece, (point,), epsabs=1e-12, epsrel=1e-10, limit=200)[0]
            for piece in pairwise(ends)
        )
        assert value == pytest.approx(expected, abs=1e-9)


def test_mixed_terms_match_simulation():
    rng = np.random.default_rng(0)
    weights, shifts = np.array([1.0, -2.0, 0.01, 0.4]), np.array([2.0, 0.5, 30.0, 0.0])
    z = rng.standard_normal((400_000, 5))
    Q = 3 + (z[:, :4] + shifts) ** 2 @ weights + 0.5 * z[:, 4]
    x = np.quantile(Q, [0.001, 0.1, 0.5, 0.9, 0.999])
    values, _ = cdf(x, weights, shifts, 0.5, 3.0)
    np.testing.assert_allclose(values, np.mean(x[:, None] >= Q, axis=1), atol=4e-3)


def test_no_weights_is_normal_and_no_spread_is_a_step():
    x = np.linspace(-3, 3, 7)
    np.testing.assert_allclose(cdf(x, [0.0], [0.0], 2.0, 1.0)[0], special.ndtr((x - 1) / 2))
    np.testing.assert_array_equal(cdf(x, [0.0], [0.0], 0.0, 1.0)[0], x >= 1)


def test_infinite_points_and_shape():
    values, error = cdf([[-np.inf, 0.0, np.inf]], [1.0, -1.0], [0.0, 0.0])
    np.testing.assert_allclose(values, [[0, 0.5, 1]], atol=1e-12)
    assert error.shape == (1, 3)


def test_vanishing_weight_tends_to_the_normal_law():
    x = np.linspace(-4, 4, 41)
    for tiny in (1e-6, 1e-9, 1e-12, 1e-15):
        values, _ = spectral_cdf(x, [tiny, -tiny], [0.6, 0.8])
        np.testing.assert_allclose(values, special.ndtr(x), atol=tiny + 1e-11)


def test_wide_range_of_weights_has_an_honest_error():
    rng = np.random.default_rng(1)
    for d in (3, 8, 60):
        weights = rng.choice([-1, 1], d) * 10 ** rng.uniform(-6, 3, d)
        shifts = rng.normal(size=d) * 10
        x = np.sum(weights * (1 + shifts**2)) + np.linspace(-1, 1, 101) * 1e4
        values, error = cdf(x, weights, shifts)
        finer, _ = cdf(x, weights, shifts, tol=1e-14)
        assert np.abs(values - finer).max() < 1e-10 and error.max() < 1e-9


def test_the_textbook_form_has_the_moments_of_its_rows():
    rng = np.random.default_rng(2)
    A, b, mean, root = (rng.normal(size=s) for s in ((3, 3), 3, 3, (3, 3)))
    weights, slopes, offset = spectral_form(A, b, 0.3, mean, root @ root.T)
    X = mean + rng.standard_normal((200_000, 3)) @ root.T
    Q = np.einsum("ni,ij,nj->n", X, A, X) + X @ b + 0.3
    assert Q.mean() == pytest.approx(offset + weights.sum(), abs=0.02 * Q.std())
    assert Q.std() == pytest.approx(np.sqrt(np.sum(2 * weights**2 + slopes**2)), rel=0.02)


terms = st.lists(
    st.tuples(st.floats(0.01, 100), st.sampled_from([-1, 1]), st.floats(-30, 30)),
    min_size=1,
    max_size=5,
)


@settings(max_examples=60, deadline=None)
@given(terms, st.sampled_from([0.0, 0.5]), st.floats(0.1, 10), st.floats(-10, 10))
def test_cdf_is_monotone_and_equivariant(parts, sigma, scale, move):
    size, sign, shifts = (np.array(column) for column in zip(*parts, strict=True))
    weights = size * sign
    spread = np.sqrt(np.sum(2 * weights**2 + 4 * (weights * shifts) ** 2) + sigma**2)
    x = np.sum(weights * (1 + shifts**2)) + spread * np.linspace(-6, 6, 61)
    values, _ = cdf(x, weights, shifts, sigma)
    assert np.all((values >= 0) & (values <= 1)) and np.diff(values).min() > -1e-10
    moved, _ = cdf(scale * x + move, scale * weights, shifts, scale * sigma, move)
    smooth = np.abs(x) > 1e-3 * spread  # a bounded support starts with a square root at 0
    np.testing.assert_allclose(moved[smooth], values[smooth], atol=1e-9)
    mirrored, _ = cdf(-x, -weights, shifts, sigma)
    np.testing.assert_allclose(mirrored, 1 - values, atol=1e-9)


@pytest.mark.parametrize("flat", [0.0, 0.5])
@pytest.mark.slow
def test_many_small_weights_are_one_power_series(monkeypatch, flat):
    """Thousands of features: the series gives what the terms one by one give, in any form."""
    rng = np.random.default_rng(0)
    weights = np.append(rng.normal(size=3000) / 60.0, [0.7, -1.1])
    slopes = np.append(rng.normal(size=3000) / 60.0, [0.0, 2.0])
    weights[:200] *= 1e-6  # spectral
    weights[200] = 0.0 if flat == 0.0 else weights[200]
    slopes[200] = flat
    x = np.linspace(-8.0, 8.0, 25)
    series, error = spectral_cdf(x, weights, slopes)
    assert error.max() < 1e-11 and 0 < series[0] < 0.1 and 0.9 < series[-1] < 1
    monkeypatch.setattr(contour_integral, "FEW", weights.size)
    np.testing.assert_allclose(series, spectral_cdf(x, weights, slopes)[0], atol=1e-12)
    monkeypatch.setattr(contour_integral, "FEW", 64)
    monkeypatch.setattr(contour_integral, "TERMS", 3)  # control: the series cut short
    assert np.abs(spectral_cdf(x, weights, slopes)[0] - series).max() > 1e-7


def test_a_tail_that_is_bounded_away_is_zero():
    """Log odds of classes thousands of nats apart: Chernoff's bound, and no integral."""
    weights, slopes = np.full(5000, 0.5), np.zeros(5000)
    values, error = spectral_cdf([1.0, 2500.0, 9000.0], weights, slopes)
    assert values[0] == 0.0 and values[2] == 1.0 and error.max() < 1e-11
    assert values[1] == pytest.approx(stats.chi2.cdf(5000.0, 5000), abs=1e-11)
