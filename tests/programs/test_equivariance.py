"""Coordinates, names and mirror images do not matter to nearest ideal populations."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fairprog as fp
from tests.instances import multivariate, random_matrix, transformed

seeds = st.integers(0, 2**32 - 1)


@given(seed=seeds, d=st.integers(2, 8), steer=st.sampled_from(["one", "all"]))
@settings(max_examples=12)
def test_affine_equivariance(seed, d, steer):
    """KL and the steered population move along under every affine change of coordinates."""
    rng = np.random.default_rng(seed)
    D = multivariate(rng, d)
    A, b = random_matrix(rng, d), rng.normal(size=d)
    E = transformed(D, A, b)
    groups = ["b"] if steer == "one" else "all"
    for transport in (fp.Translation(), fp.Scaling(), fp.Monotone()):
        if steer == "all" and d > 4:
            continue
        here = fp.NearestIdeal(D, steer=groups, transport=transport).solve()
        there = fp.NearestIdeal(E, steer=groups, transport=transport).solve()
        assert there.kl == pytest.approx(here.kl, abs=1e-6)
        expected = transformed(here.population, A, b)
        if steer == "one":
            assert expected.kl(there.population) == pytest.approx(0.0, abs=1e-8)


def test_diagonal_is_equivariant_under_rescaling_only():
    rng = np.random.default_rng(4)
    D = multivariate(rng, 3)
    kl = fp.NearestIdeal(D, steer=["b"], transport=fp.Diagonal()).solve().kl
    scaled = transformed(D, np.diag([1e-3, 1.0, 50.0]), np.ones(3))
    turned = transformed(D, random_matrix(rng, 3), np.zeros(3))
    assert fp.NearestIdeal(
        scaled, steer=["b"], transport=fp.Diagonal()
    ).solve().kl == pytest.approx(kl, abs=1e-9)
    other = fp.NearestIdeal(turned, steer=["b"], transport=fp.Diagonal()).solve().kl
    assert abs(other - kl) > 1e-3  # negative control
    for transport in (fp.Monotone("identity"), fp.Whitened()):
        here = fp.NearestIdeal(D, steer=["b"], transport=transport).solve().kl
        there = fp.NearestIdeal(turned, steer=["b"], transport=transport).solve().kl
        assert abs(here - there) > 1e-5


@given(seed=seeds)
@settings(max_examples=8)
def test_relabelling_changes_nothing(seed):
    """Permuting classes and groups, and renaming them, leaves KL and sensitivities alone."""
    rng = np.random.default_rng(seed)
    D = multivariate(rng, 2, K=3, G=3)
    i, a = [2, 0, 1], [1, 2, 0]
    E = fp.Normal(
        D.prior[np.ix_(i, a)],
        D.location[np.ix_(i, a)],
        cov=D.cov[np.ix_(i, a)],
        classes=i,
        groups=[D.groups[k] for k in a],
    )
    here = fp.NearestIdeal(D, steer=["b", "c"]).solve(solver="newton")
    there = fp.NearestIdeal(E, steer=["c", "b"]).solve(solver="newton")
    assert there.kl == pytest.approx(here.kl, abs=1e-10)
    for where, value in here.sensitivity.items():
        assert np.allclose(there.sensitivity[where], value, atol=1e-9)


def test_scaling_mirror_images():
    rng = np.random.default_rng(19)
    D = multivariate(rng, 3)
    flipped = fp.Normal(
        np.full((2, 2), 0.25),
        np.stack([D.location[:, 0], 5.0 - 2.0 * D.location[:, 0]], axis=1),
        cov=np.stack([D.cov[:, 0], 4.0 * D.cov[:, 0]], axis=1),
        groups=["a", "b"],
    )
    for steer in (["b"], "all"):
        prog = fp.NearestIdeal(flipped, steer, fp.Scaling(), orientation="any")
        assert prog.solve().kl == pytest.approx(0.0, abs=1e-10)
        keep = fp.NearestIdeal(flipped, steer, fp.Scaling()).solve()
        assert keep.kl > 0.1
    with pytest.raises(fp.ModelError, match="mirror images"):
        fp.NearestIdeal(flipped, ["b"], fp.Monotone(), orientation="any")
