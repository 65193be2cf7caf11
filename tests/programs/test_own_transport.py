"""A class of maps of one's own: symmetric within blocks of features, from a `Pattern` alone."""

from dataclasses import dataclass

import numpy as np
import pytest
from scipy.optimize import minimize

import fairprog as fp
from fairprog.transports import Pattern, Transport
from tests.instances import multivariate


@dataclass(frozen=True, repr=False)
class Blocks(Transport):
    """Maps x -> S x + b, S positive definite within blocks of features and zero between them."""

    blocks: tuple = ()

    @property
    def kind(self):
        return Pattern(tuple(map(tuple, self.blocks)))


def solve(D, transport, **options):
    return fp.NearestIdeal(D, steer=["b"], transport=transport).solve(**options)


@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_newton_clarabel_and_brute_force_agree(scale):
    D = multivariate(np.random.default_rng(0), 4, K=3)
    units = np.array([1.0, scale, 1.0, 1.0 / scale])
    D = fp.Normal(D.prior, D.mean * units, cov=D.cov * np.outer(units, units), groups=D.groups)
    sol = solve(D, Blocks(((0, 1), (2, 3))), second_opinion=scale == 1.0)
    assert sol.certificate.ok
    assert scale > 1.0 or sol.certificate.conic_gap < 1e-7
    S = sol.affine["b"].matrix
    assert np.allclose(S, S.T) and not S[:2, 2:].any()

    def cost(x):
        A, lower = np.zeros((4, 4)), np.tril_indices(2)
        for k in (0, 2):
            F = np.zeros((2, 2))
            F[lower] = x[3 * (k // 2) : 3 * (k // 2) + 3]
            A[k : k + 2, k : k + 2] = F @ F.T
        A = A * np.outer(units, units) / units**2  # near one at the start
        T = fp.AffineMap(A, x[6:] * units)
        return D.pushed(sol.population.prior, D.laws_of(0), {"b": T}).kl(D)

    start = np.array([1.0, 0.0, 1.0, 1.0, 0.0, 1.0, *np.zeros(4)])
    if scale == 1.0:
        found = minimize(cost, start, method="BFGS", options={"gtol": 1e-9, "maxiter": 500})
        assert found.fun == pytest.approx(sol.kl, abs=1e-8)


def test_blocks_of_one_feature_are_diagonal_and_one_block_is_monotone():
    D = multivariate(np.random.default_rng(1), 3)
    for blocks, known in (
        (((0,), (1,), (2,)), fp.Diagonal()),
        (((0, 1, 2),), fp.Monotone("identity")),
    ):
        one, other = solve(D, Blocks(blocks)), solve(D, known)
        assert one.kl == pytest.approx(other.kl, rel=1e-10)
        assert one.price["consensus"] == pytest.approx(other.price["consensus"], rel=1e-6)
        assert np.allclose(one.affine["b"].matrix, other.affine["b"].matrix, atol=1e-7)


def test_a_bound_prices_and_conditions_work_on_it():
    D = multivariate(np.random.default_rng(2), 3)
    transport = Blocks(((0, 2), (1,)))
    price = solve(D, transport).price["consensus"]
    h = 1e-5
    near = fp.NearestIdeal(D, steer=["b"], transport=transport, map_bound=h).solve()
    assert (solve(D, transport).kl - near.kl) / h == pytest.approx(price, rel=1e-3)


def test_what_it_does_not_take_is_said():
    D = multivariate(np.random.default_rng(3), 3)
    with pytest.raises(fp.DataError, match="each of the 3 features once"):
        solve(D, Blocks(((0, 1),)))
    with pytest.raises(fp.ModelError, match="let one group stay"):
        fp.NearestIdeal(D, transport=Blocks(((0, 1), (2,))))
