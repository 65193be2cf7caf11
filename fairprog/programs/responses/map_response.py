r"""How the map of one steered group, and its cost, follow the cells: analytic derivatives.

With B = S R, :math:`\delta_i = B m_i + \beta - \mu_i`, :math:`P_i = \Sigma_i^{-1}` and
:math:`N_i = B\Gamma_iB' + \delta_i\delta_i'` the cost is

.. math:: f = \sum_i w_i V_i, \qquad 2 V_i = \mathrm{tr}\,P_iN_i - d + \log|\Sigma_i|
    - \log|\Gamma_i| - 2\log|B| .

At its minimum x = (S, beta) a number phi of map and cells has the total derivative
:math:`\phi_\theta - f_{\theta x} H^{-1} \phi_x`: one system with the Hessian H per number, however
many parameters the cells have. Products with H and with :math:`f_{\theta x}` are a few matrix
products per class, for many directions at once; leading axes of all arguments are such directions.
Source: theory.md section 13.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from scipy.linalg import eigh, lu_factor, lu_solve
from scipy.sparse import csr_array

from fairprog.kernels.algebra.stacks import apply, both, dot, flip, outer, trace
from fairprog.kernels.multivariate.best_map import DENSE
from fairprog.kernels.multivariate.normal import symmetrize
from fairprog.kernels.multivariate.one_group import linear_basis
from fairprog.labels import Array
from fairprog.transports import Kind, Pattern

PRECISE = 1e-5  # residual of conjugate gradients over the right-hand side
STEPS = 200
CHUNK = 256  # directions at a time
SPARSE = 1_000_000  # numbers in a basis from which zeros are left out


class Slopes(NamedTuple):
    """Derivatives in weights, reference cells, the group's own cells, and the root R."""

    weight: Array  # (..., K)
    mean: Array  # (..., K, d)
    cov: Array  # (..., K, d, d)
    own_mean: Array
    own_cov: Array
    root: Array  # (..., d, d)


class Motion(NamedTuple):
    """How weights, cells and root move, to first order, and weights and root to second."""

    weight: Array
    mean: Array
    cov: Array
    own_mean: Array
    own_cov: Array
    root: Array
    weight2: Array
    root2: Array


@dataclass(frozen=True, eq=False)
class MapResponse:
    """One steered group at its best map.

    Attributes
    ----------
    kind : str or Pattern
        Linear space of S.
    w : Array, shape (K,)
    m, Gamma, mu, Sigma : Array, shapes (K, d), (K, d, d), (K, d), (K, d, d)
        Reference cells and the group's own.
    root, S : Array, shape (d, d)
    beta : Array, shape (d,)
    """

    kind: Kind
    w: Array
    m: Array
    Gamma: Array
    mu: Array
    Sigma: Array
    root: Array
    S: Array
    beta: Array

    @cached_property
    def _at(self) -> tuple[Array, ...]:
        """B, B^{-1}, delta, P, P delta, P B, N."""
        B = self.S @ self.root
        P = np.linalg.inv(self.Sigma)
        delta = self.m @ B.T + self.beta - self.mu
        N = B @ self.Gamma @ B.T + outer(delta, delta)
        return B, np.linalg.inv(B), delta, P, apply(P, delta), P @ B, N

    @cached_property
    def values(self) -> Array:
        """V_i, shape (K,)."""
        B, _, _, P, _, _, N = self._at
        log_dets = [np.linalg.slogdet(X)[1] for X in (self.Sigma, self.Gamma, B)]
        spread = log_dets[0] - log_dets[1] - 2.0 * log_dets[2]
        return np.asarray(0.5 * (dot(P, N) - len(B) + spread))

    @cached_property
    def gradients(self) -> tuple[Array, Array]:
        """The gradients of V_i in B and beta, shapes (K, d, d) and (K, d)."""
        _, inverse, _, _, pulled, PB, _ = self._at
        return PB @ self.Gamma + outer(pulled, self.m) - inverse.T, pulled

    def in_map(self, B: Array, beta: Array) -> tuple[Array, Array]:
        """Return derivatives in (S, beta) from those in (B, beta)."""
        return self.project(B @ self.root.T), beta

    def project(self, N: Array) -> Array:
        """Return the part of matrices that derivatives in S have."""
        if self.kind == "fixed":
            return np.zeros_like(N)
        if self.kind == "scalar":
            d = N.shape[-1]
            return np.trace(N, axis1=-2, axis2=-1)[..., None, None] * (np.eye(d) / d)
        if self.kind == "diagonal":
            return np.asarray(N * np.eye(N.shape[-1]))
        if isinstance(self.kind, Pattern):
            N = N * self.kind.mask(N.shape[-1])
        return N if self.kind == "full" else symmetrize(N)

    # -- derivatives in the cells --

    def slopes(self, c: Array) -> Slopes:
        """Return the derivatives of sum_i c_i V_i at the map as it is; c is (..., K)."""
        B, _, _, P, pulled, PB, N = self._at
        v, M = c[..., None], c[..., None, None]
        return Slopes(
            np.zeros(c.shape),
            v * apply(B.T, pulled),
            0.5 * M * (B.T @ PB - np.linalg.inv(self.Gamma)),
            -v * pulled,
            0.5 * M * (P - P @ N @ P),
            self.S.T @ (M * self.gradients[0]).sum(axis=-3),
        )

    def along(self, X: Array, x: Array) -> Slopes:
        """Return how the derivatives of f change along directions of the map.

        X is (..., K, d, d) and x (..., K, d): of every class, or with 1 in place of K of all.
        """
        B, _, delta, P, pulled, PB, _ = self._at
        G, g = self.gradients
        v, M = self.w[:, None], self.w[:, None, None]
        dB, shift, moved = self._shifted(X, x)
        P_shift = apply(P, shift)
        dN = both(dB @ (self.Gamma @ B.T) + outer(shift, delta))
        dG = self._bent(dB, moved, P_shift)
        return Slopes(
            dot(G, dB) + (g * x).sum(axis=-1),
            v * (apply(flip(dB), pulled) + apply(B.T, P_shift)),
            0.5 * M * both(flip(dB) @ PB),
            -v * P_shift,
            -0.5 * M * (P @ dN @ P),
            (M * (flip(X) @ G + self.S.T @ dG)).sum(axis=-3),
        )

    def _shifted(self, X: Array, x: Array) -> tuple[Array, Array, Array]:
        """Return dB, d delta and P dB."""
        dB = X @ self.root
        return dB, apply(dB, self.m) + x, self._at[3] @ dB

    def _bent(self, dB: Array, moved: Array, P_shift: Array) -> Array:
        """Return how the gradients of V_i in B change."""
        away = self._at[1].T
        return moved @ self.Gamma + outer(P_shift, self.m) + away @ flip(dB) @ away

    def product(self, X: Array, x: Array) -> tuple[Array, Array]:
        """Return the Hessian of f times directions as in `along`."""
        dB, shift, moved = self._shifted(X, x)
        P_shift = apply(self._at[3], shift)
        dG = self._bent(dB, moved, P_shift)
        total = np.einsum("i,...ijk->...jk", self.w, dG)
        return self.in_map(total, np.einsum("i,...ij->...j", self.w, P_shift))

    def curvature(self, v: Motion) -> tuple[Array, Array, Array]:
        """Return f'' along motions at the map as it is, and the change (N, n) of its gradient."""
        B, inverse, delta, P, pulled, _, N = self._at
        dB, ddB = (self.S @ v.root)[..., None, :, :], (self.S @ v.root2)[..., None, :, :]
        shift = apply(dB, self.m) + apply(B, v.mean) - v.own_mean
        bend = apply(ddB, self.m) + 2.0 * apply(dB, v.mean)
        BG = B @ self.Gamma
        dBG = dB @ self.Gamma + B @ v.cov  # of B Gamma
        dN = both(dB @ flip(BG) + outer(shift, delta)) + B @ v.cov @ B.T
        ddN = both(ddB @ flip(BG) + 2.0 * dB @ v.cov @ B.T + outer(bend, delta))
        ddN = ddN + 2.0 * (dB @ self.Gamma @ flip(dB) + outer(shift, shift))
        white, W = P @ v.own_cov, np.linalg.inv(self.Gamma) @ v.cov
        dP = -white @ P
        turn = inverse @ dB
        first = dot(dP, N) + dot(P, dN) + trace(white - W - 2.0 * turn)
        second = 2.0 * dot(flip(white @ white), P @ N) + 2.0 * dot(dP, dN) + dot(P, ddN)
        second = second - trace(white @ white) + trace(W @ W)
        second = second + 2.0 * trace(turn @ turn) - 2.0 * trace(inverse @ ddB)
        total = (0.5 * self.w * second + v.weight * first + v.weight2 * self.values).sum(axis=-1)
        dg = apply(dP, delta) + apply(P, shift)
        dG = dP @ BG + P @ dBG + outer(dg, self.m) + outer(pulled, v.mean)
        dG = dG + inverse.T @ flip(dB) @ inverse.T
        G, _ = self.gradients
        bent = (self.w[:, None, None] * dG + v.weight[..., None, None] * G).sum(axis=-3)
        n = (self.w[:, None] * dg + v.weight[..., None] * pulled).sum(axis=-2)
        whole = np.einsum("i,ijk->jk", self.w, G)
        return total, self.project(bent @ self.root.T + whole @ flip(v.root)), n

    # -- systems with the Hessian --

    def solve(self, N: Array, n: Array, many: bool = False) -> tuple[Array, Array]:
        """Return H^{-1} (N, n), of right-hand sides along the leading axis; factorised if many."""
        if many or self.kind != "symmetric" or len(self.root) <= DENSE:
            return self._factorised(N, n)
        return self._conjugate_gradients(N, n)

    @cached_property
    def _basis(self) -> Any:
        """The basis of the maps S, (p, d * d)."""
        flat = linear_basis(self.kind, len(self.root)).reshape(-1, len(self.root) ** 2)
        return csr_array(flat) if flat.size > SPARSE else flat

    @cached_property
    def _factors(self) -> tuple[Any, Array]:
        """The Hessian factorised, in units that make its diagonal one, and these units."""
        (p, _), d = self._basis.shape, len(self.root)
        H = np.empty((p + d, p + d))
        for start in range(0, p + d, CHUNK):
            unit = np.eye(min(CHUNK, p + d - start), p + d, start)
            H[start : start + len(unit)] = self._numbers(*self.product(*self._alike(unit)))
        scale = 1.0 / np.sqrt(np.abs(np.diagonal(H)))
        return lu_factor(H * scale[:, None] * scale, check_finite=False), scale

    def _numbers(self, N: Array, n: Array) -> Array:
        return np.concatenate([(self._basis @ N.reshape(len(N), -1).T).T, n], axis=1)

    def _alike(self, y: Array) -> tuple[Array, Array]:
        """Return directions of the map, the same for all classes, from their numbers."""
        p, d = self._basis.shape[0], len(self.root)
        X = (self._basis.T @ y[:, :p].T).T.reshape(-1, 1, d, d)
        return X, y[:, None, p:]

    def _factorised(self, N: Array, n: Array) -> tuple[Array, Array]:
        factors, scale = self._factors
        y = lu_solve(factors, (scale * self._numbers(N, n)).T, check_finite=False)
        X, x = self._alike(scale * y.T)
        return X[:, 0], x[:, 0]

    @cached_property
    def _balanced(self) -> tuple[Array, ...]:
        """T, the Hessian's matrices in coordinates S = T Y T', and its diagonal; see `newton_cg`.

        The weighted precisions add up to I, the weighted second moments of R x to a diagonal.
        """
        P, Q, w = self._at[3], float(self.w.sum()), self.w
        moment = self.root @ (self.Gamma + outer(self.m, self.m)) @ self.root.T
        values, T = eigh(
            symmetrize(np.einsum("i,ijk->jk", w, moment)), np.einsum("i,ijk->jk", w, P)
        )
        inner = T.T @ np.linalg.solve(self.S, T)
        own = np.diagonal(inner)
        diagonal = 0.5 * (values[:, None] + values) + Q * outer(own, own)
        m = (self.m @ self.root.T @ T)[..., None]
        whole = np.block([[T.T @ moment @ T, m], [flip(m), np.ones((len(w), 1, 1))]])
        return T, w[:, None, None] * (T.T @ P @ T), whole, np.sqrt(Q) * inner, diagonal

    def _conjugate_gradients(self, N: Array, n: Array) -> tuple[Array, Array]:
        """Solve for all right-hand sides [N | n] side by side."""
        T, P, moment, inner, diagonal = self._balanced
        k, tiny = len(T), np.finfo(float).tiny
        ease = np.concatenate([1.0 / diagonal, np.ones((k, 1))], axis=1)

        def product(z: Array) -> Array:
            out: Array = (P @ z[:, None] @ moment).sum(axis=1)
            out[..., :k] = symmetrize(out[..., :k]) + inner @ z[..., :k] @ inner
            return out

        r = np.concatenate([T.T @ N @ T, (n @ T)[..., None]], axis=2)
        y, p = np.zeros_like(r), ease * r
        slope = dot(r, p)
        goal = PRECISE**2 * slope + tiny
        for _ in range(STEPS):
            Hp = product(p)
            t = (slope / np.maximum(dot(p, Hp), tiny))[:, None, None]
            y += t * p
            r -= t * Hp
            z = ease * r
            last, slope = slope, dot(r, z)
            if (slope <= goal).all():
                break
            p = z + (slope / np.maximum(last, tiny))[:, None, None] * p
        return T @ y[..., :k] @ T.T, y[..., k] @ T.T
