"""Directions without variance are set aside, and cells near to it are told of."""

from dataclasses import replace

import numpy as np
import pytest

import fairprog as fp
from fairprog.programs.verified import verified
from tests.instances import multivariate, transformed


def tilted_plane(scale=1.0, slope=3e-6):
    """Return cells whose null direction, where 1e-15 is left, leans a little, by cell."""
    rng = np.random.default_rng(0)
    cov, mean = np.empty((2, 2, 4, 4)), np.zeros((2, 2, 4))
    Q = np.linalg.qr(rng.standard_normal((4, 4)))[0]
    for i, a in np.ndindex(2, 2):
        V = np.eye(4)
        V[3, 2] = slope * (1 + i - 3 * a)  # along the direction of least variance
        V[:2, :2] += 0.2 * rng.standard_normal((2, 2))
        V[2, 2] += 0.2 * rng.standard_normal()
        mean[i, a, :3] = rng.standard_normal(3) * [1.0, 1.0, 3e-3]
        mean[i, a, 3] = 1e-7 * rng.standard_normal()
        V = Q @ V * np.sqrt([1.0, 0.5, 1e-5, 1e-15]) * scale
        cov[i, a], mean[i, a] = V @ V.T, scale * (Q @ mean[i, a])
    return fp.Normal(np.full((2, 2), 0.25), mean, cov=cov)


@pytest.mark.filterwarnings("ignore::fairprog.FairprogWarning")
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_null_directions_may_lean_by_what_is_left_of_their_variance(scale):
    """As the mean of tokens after a layer norm, saved in float32, makes them."""
    D = tilted_plane(scale)
    assert D.null_dimension == 1
    sol = fp.NearestIdeal(D, steer=[1]).solve()
    P = fp.Normal(sol.population.prior, sol.population.mean, cov=sol.population.cov)  # as of rows
    lean = np.abs(D._null.T @ P.support_basis).max()
    assert lean > 1e-6 and P._same_support(D) and D._same_support(P)
    on_the_same = D._moved(P.prior, P.location, [P.cov_of(a) for a in range(2)]).kl(D)
    assert sol.kl == pytest.approx(on_the_same, rel=1e-6) and sol.certificate.ok
    assert sol.kl == pytest.approx(fp.NearestIdeal(tilted_plane(), steer=[1]).solve().kl, rel=1e-4)
    # the controls: another plane, and the same one elsewhere
    turn = fp.AffineMap(np.linalg.qr(np.eye(4) + 1e-2 * np.eye(4, k=-1))[0], np.zeros(4))
    shift = fp.AffineMap(np.eye(4), 1e-3 * scale * D._null[:, 0])
    for T in (turn, shift):
        assert D.mapped({0: T, 1: T}).kl(D) == np.inf


def test_an_infinite_divergence_is_never_returned():
    D = tilted_plane(slope=0.0)
    with pytest.warns(fp.FairprogWarning, match="1 direction.*they are set aside"):
        sol = fp.NearestIdeal(D, steer=[1]).solve()
    assert verified(sol, advice=pytest.fail) is sol  # nobody asks
    with pytest.raises(fp.SolverError, match="infinitely far from the population"):
        verified(replace(sol, kl=np.inf), advice="Pray.")


def advice(population, **options):
    """What the program would say of an answer that it cannot prove."""
    return fp.NearestIdeal(population, **options)._geometry.advice()


def test_advice_follows_the_condition_of_the_cells():
    rng = np.random.default_rng(0)
    prior, mean = np.full((2, 2), 0.25), rng.standard_normal((2, 2, 3))
    plain = np.broadcast_to(np.eye(3), (2, 2, 3, 3)).copy()
    assert advice(fp.Normal(prior, mean, cov=plain)).startswith("Try another solver")
    alike, once = plain.copy(), plain.copy()
    alike[..., :2, :2] = once[0, 0, :2, :2] = np.array([[1.0, 1.0 - 1e-8], [1.0 - 1e-8, 1.0]])
    said = advice(fp.Normal(prior, mean, cov=alike))
    assert "number 2e+08" in said and "principal components" in said and "all groups but" in said
    said = advice(fp.Normal(prior, mean, cov=once), steer=[1])
    assert "raise `shrinkage`" in said and "all groups but" not in said
    wide = fp.Normal(
        prior, np.zeros((2, 2, 50_000)), cov=np.ones((2, 2, 50_000)), covariance="diagonal"
    )
    assert advice(wide, transport=fp.Diagonal()).startswith("Try another solver")
    lifted = fp.Transformed(fp.Normal(prior, mean, cov=alike), fp.Power(0.5))
    assert "number 2e+08" in advice(lifted)


def test_null_directions_are_set_aside():
    """A constant column and an exact linear dependence change nothing but their own rows."""
    rng = np.random.default_rng(21)
    D = multivariate(rng, 3)
    T = np.vstack([np.eye(3), np.zeros((1, 3)), [[1.0, -2.0, 0.5]]])  # x4 constant, x5 dependent
    mean = D.location @ T.T + np.array([0, 0, 0, 7.0, 1.0])
    wide = fp.Normal(D.prior, mean, cov=T @ D.cov @ T.T, groups=D.groups)
    assert wide.null_dimension == 2
    with pytest.warns(fp.FairprogWarning, match=r"2 direction\(s\)"):
        prog = fp.NearestIdeal(wide, steer=["b"])
    sol, plain = prog.solve(), fp.NearestIdeal(D, steer=["b"]).solve()
    assert sol.null_dimension == 2
    assert sol.kl == pytest.approx(plain.kl, abs=1e-8)
    assert sol.population.is_ideal()
    x = rng.normal(size=(50, 3)) @ T.T + np.array([0, 0, 0, 7.0, 1.0])
    aligned = sol.align(x, sensitive_features=["b"] * 50)
    assert np.allclose(aligned[:, 3], 7.0, atol=1e-8)
    assert np.allclose(
        aligned[:, :3], plain.align(x[:, :3], sensitive_features=["b"] * 50), atol=1e-6
    )
    with pytest.raises(fp.ModelError, match="dependence"):
        fp.NearestIdeal(wide, steer=["b"], transport=fp.Diagonal())
    with pytest.warns(fp.FairprogWarning):
        diagonal = fp.Normal(
            D.prior, mean[..., :4], cov=(T @ D.cov @ T.T)[..., :4, :4], groups=D.groups
        )
        sol = fp.NearestIdeal(diagonal, steer=["b"], transport=fp.Diagonal()).solve()
    assert sol.certificate.ok
    bad = mean.copy()
    bad[1, 1, 3] += 0.1
    with pytest.raises(fp.DataError, match="constant within every cell but differs"):
        fp.Normal(D.prior, bad, cov=T @ D.cov @ T.T)


def test_ill_conditioned_features():
    """Columns from 1e-5 to 1e5 and correlations of .999999."""
    rng = np.random.default_rng(22)
    D = multivariate(rng, 4)
    A = np.diag([1e-5, 1.0, 10.0, 1e5]) @ (np.ones((4, 4)) + 1e-3 * np.eye(4))
    E = transformed(D, A, np.zeros(4))
    here, there = (fp.NearestIdeal(P, steer=["b"]).solve() for P in (D, E))
    assert there.kl == pytest.approx(here.kl, abs=1e-6)
    assert there.certificate.ok
