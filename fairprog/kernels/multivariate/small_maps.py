r"""One group steered by translations, scalings or diagonal maps: the small quadratics, exactly.

Over A = I, g I or diag(g) with the offset eliminated, f is

.. math:: \tfrac12 g'Hg - c'g - Q \sum_j \log g_j + const, \qquad g \in R^p,\ p = 0, 1, d,

with H collected class by class (:math:`\Sigma_i^{-1} \circ (\Gamma_i + m_i m_i')` for diagonal
maps, its sum for scalings), less what the best offset takes away. Scalings are solved in closed
form, diagonal maps by damped Newton steps with the d x d Hessian.
"""

from __future__ import annotations

import numpy as np

from fairprog.kernels.algebra.blas import cholesky, inverse, product, solve
from fairprog.kernels.multivariate.cells import distinct_cells
from fairprog.kernels.multivariate.one_group import exact_step
from fairprog.labels import Array
from fairprog.transports import Kind


def small_map(
    kind: Kind, sign: float, w: Array, m: Array, Gamma: Array, mu: Array, Sigma: Array
) -> tuple[Array, Array]:
    """Return (g, beta): the best diagonal g (d,) of A = sign diag(g), and its offset (d,).

    Parameters
    ----------
    kind : {"fixed", "scalar", "diagonal"}
    sign : float
        -1 for mirror images.
    w, m, Gamma, mu, Sigma : Array
        Weights (K,), reference cells (K, d), (K, d, d), target cells (K, d), (K, d, d).
    """
    d, Q = m.shape[1], float(w.sum())
    m = sign * m
    P, H, cross = np.zeros((d, d)), np.zeros((d, d)), np.zeros((d, d))
    pulled, linear = np.zeros(d), np.zeros(d)
    for members in distinct_cells(Gamma, Sigma):
        k, v = members[0], w[members]
        inner = inverse(cholesky(Sigma[k]))
        P += v.sum() * inner
        H += inner * (v.sum() * Gamma[k] + (m[members].T * v) @ m[members])
        cross += inner * (v @ m[members])  # Sigma^{-1} diag(m)
        towards = inner @ mu[members].T
        pulled += towards @ v
        linear += np.einsum("jk,kj,k->j", towards, m[members], v)
    U = cholesky(P)
    if kind == "fixed":
        return np.ones(d), solve(U, pulled - cross.sum(axis=1))
    if kind == "scalar":
        moved = cross.sum(axis=1)
        a = float(H.sum() - moved @ solve(U, moved))
        c = float(linear.sum() - moved @ solve(U, pulled))
        root = np.sqrt(c * c + 4.0 * a * Q * d)
        g = np.full(d, (c + root) / (2.0 * a) if c >= 0 else 2.0 * Q * d / (root - c))
    else:
        reduced = H - product(cross.T, solve(U, cross))
        g = _diagonal(reduced, linear - cross.T @ solve(U, pulled), Q)
    return g, solve(U, pulled - cross @ g)


def _diagonal(H: Array, c: Array, Q: float, max_iter: int = 100) -> Array:
    """Minimise g'Hg / 2 - c'g - Q sum log g over g > 0."""
    g = np.sqrt(Q / np.diagonal(H))
    last = np.inf
    for _ in range(max_iter):
        gradient = H @ g - c - Q / g
        full = H.copy()
        full[np.diag_indices(len(g))] += Q / g**2
        step = -solve(cholesky(full), gradient)
        size = float(np.sqrt(max(-gradient @ step, 0.0) / Q))
        if size > 0.25:
            slope = float(step @ (H @ g - c))
            g = g + exact_step(float(step @ (H @ step)), slope, Q, step / g) * step
            continue
        if size >= 0.5 * last:  # quadratic convergence has ended in rounding
            break
        g, last = g + step, size
        if size < 1e-15:
            break
    return g
