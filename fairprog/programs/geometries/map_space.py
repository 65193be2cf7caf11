"""The space of all groups' maps as free coordinates, for quasi-Newton descent.

Positive definite matrices are written S = F F', positive numbers as exponentials, matrices of
any kind as they are (on one side of det = 0). The common cells are eliminated: for given maps
the best ones are known in closed form.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from fairprog.kernels.multivariate.all_groups import profile_cost, pull_back
from fairprog.kernels.multivariate.best_map import DENSE, best_map
from fairprog.kernels.multivariate.common_rates import best_rates
from fairprog.kernels.multivariate.normal import symmetric_root, symmetrize
from fairprog.kernels.multivariate.one_group import (
    cell_gradients,
    cell_kl,
    linear_size,
    project_gradient,
)
from fairprog.labels import Array
from fairprog.programs.geometries.frame import Frame, Map

RANDOM_STARTS = 2
OUTSIDE = 1e30  # cost where rounding has made a covariance singular


class MapSpace:
    """Maps (S~_a, beta_a) of all groups, their common cells and their cost.

    Parameters
    ----------
    frames : sequence of Frame
        All of one kind and one C, reference point at the origin.
    fixed : (class index, covariance) or None
        A common covariance fixed by choice of coordinates (`Whitened`).
    anchor : int or None
        The group whose own coordinates are the common ones (`Monotone`, `Affine`): its matrix is
        I.
    sides : Array, shape (G,), optional
        The signs of the determinants, which no step may change (`Affine`).
    log_rates : Array, shape (K, G), optional
        log rho_a(i), where the base rates are chosen with the maps: the cost is then the whole
        divergence and the weights are those of the best rates for the maps.
    """

    def __init__(
        self,
        frames: Sequence[Frame],
        fixed: tuple[int, Array] | None,
        anchor: int | None,
        sides: Array | None = None,
        log_rates: Array | None = None,
    ) -> None:
        self.sides, self.log_rates = sides, log_rates
        self.frames, self.fixed, self.anchor = list(frames), fixed, anchor
        self.kind, self.k = frames[0].kind, len(frames[0].root)
        factors = self.kind not in ("fixed", "scalar", "diagonal")  # S = F F'
        self.size = self.k**2 if factors else linear_size(self.kind, self.k)
        self._w = np.stack([f.w for f in frames], axis=1)
        self._mu = np.stack([f.mu for f in frames], axis=1)
        self._Sigma = np.stack([f.Sigma for f in frames], axis=1)
        self._root = np.stack([f.root for f in frames])
        # rates that are chosen with the maps need every cell's divergence
        self.many = self.k > DENSE and log_rates is None
        if self.many:
            self._precision = np.linalg.inv(self._Sigma)
            self._log_dets = np.linalg.slogdet(self._Sigma)[1]

    @cached_property
    def _units(self) -> Array:
        """Units of the coordinates in which the cost bends alike, as x.

        In balanced coordinates R~ is diag(r): near F = diag(r)^{-1/2} a change of F[j, k] changes
        B = F F' R~ by (r_j^2 + r_k^2)^{1/2} / r_k^{1/2} times as much.
        """
        G, k = len(self.frames), self.k
        linear = np.ones((G, self.size))
        if self.kind == "symmetric" and self.frames[0].is_balanced:
            r = np.abs(np.diagonal(self._root, axis1=1, axis2=2))
            bend = np.sqrt((r[:, :, None] ** 2 + r[:, None, :] ** 2) / (2.0 * r[:, None, :]))
            linear = (1.0 / bend).reshape(G, -1)
        return np.concatenate([linear, np.ones((G, k))], axis=1).ravel()

    # -- coordinates --

    def _split(self, x: Array) -> tuple[Array, Array]:
        """Return the linear coordinates (G, size) and offsets (G, k)."""
        parts = x.reshape(len(self.frames), self.size + self.k)
        return parts[:, : self.size], parts[:, self.size :]

    def maps(self, x: Array) -> tuple[Array, Array]:
        """Return S~ (G, k, k) and beta (G, k)."""
        linear, betas = self._split(x)
        if self.kind == "fixed":
            return np.broadcast_to(np.eye(self.k), (len(linear), self.k, self.k)), betas
        if self.kind not in ("symmetric", "full"):
            logs = linear if self.kind == "diagonal" else linear / np.sqrt(self.k)
            ones = np.ones((len(linear), self.k))
            return np.eye(self.k) * np.exp(logs * ones)[:, None, :], betas
        F = linear.reshape(-1, self.k, self.k)
        S = F.copy() if self.kind == "full" else F @ np.swapaxes(F, 1, 2)
        if self.anchor is not None:
            S[self.anchor] = np.linalg.inv(self.frames[self.anchor].root)
        return S, betas

    def _pull_gradient(self, x: Array, N: Array, S: Array) -> Array:
        """Return the gradient in the linear coordinates from gradients N (G, k, k) in S~."""
        linear, _ = self._split(x)
        if self.kind == "fixed":
            return np.zeros((len(N), 0))
        if self.kind not in ("symmetric", "full"):
            diagonal = np.einsum("ajj,ajj->aj", N, S)
            if self.kind == "diagonal":
                return diagonal
            return np.asarray(diagonal.sum(axis=1, keepdims=True) / np.sqrt(self.k))
        F = linear.reshape(-1, self.k, self.k)
        out = (N.copy() if self.kind == "full" else 2.0 * N @ F).reshape(len(F), -1)
        if self.anchor is not None:
            out[self.anchor] = 0.0
        return np.asarray(out)

    # -- cost --

    def common_cells(self, S: Array, betas: Array) -> tuple[Array, Array]:
        """Return the best common cells for given maps."""
        m, M = pull_back(self._w, S @ self._root, betas, self._mu, self._Sigma)
        if self.fixed is not None:
            M[self.fixed[0]] = self.fixed[1]
        return m, M

    def cost(self, x: Array) -> tuple[float, Array]:
        """Return sum_ia w_ia V_ia with the common cells eliminated, and its gradient."""
        try:
            with np.errstate(all="ignore"):
                S, betas = self.maps(x)
                if self.sides is not None and (np.linalg.slogdet(S)[0] != self.sides).any():
                    return OUTSIDE, np.zeros_like(x)
                value, N, n = (self._profile if self.many else self._sums)(S, betas)
                linear = self._pull_gradient(x, N, S)
        except np.linalg.LinAlgError:
            return OUTSIDE, np.zeros_like(x)
        gradient = np.concatenate([linear, n], axis=1).ravel()
        if not (np.isfinite(value) and np.isfinite(gradient).all()):
            return OUTSIDE, np.zeros_like(x)
        return value, gradient

    def _sums(self, S: Array, betas: Array) -> tuple[float, Array, Array]:
        """Return cost and gradients from the cells' divergences: exact where they are tiny."""
        m, M = self.common_cells(S, betas)
        w, cells = self._w, (m[:, None], M[:, None], self._mu, self._Sigma)
        B = S @ self._root
        V = cell_kl(B, betas, *cells)
        value = float((w * V).sum())
        if self.log_rates is not None:
            # the best common cells do not depend on the rates, only on p_a
            mass = w.sum(axis=0)
            rho, value = best_rates(V, mass, self.log_rates)
            w = rho[:, None] * mass
        G, g = cell_gradients(B, betas, *cells)
        G, g = (w[..., None, None] * G).sum(axis=0), (w[..., None] * g).sum(axis=0)
        return value, self._projected(G), g

    def _profile(self, S: Array, betas: Array) -> tuple[float, Array, Array]:
        """Return the same by determinants, in a few matrix products per cell."""
        value, G, g = profile_cost(
            self._w, S @ self._root, betas, self._mu, self._precision, self._log_dets, self.fixed
        )
        return value, self._projected(G), g

    def _projected(self, G: Array) -> Array:
        """Return gradients in S~ from those in the groups' matrices (G, k, k)."""
        return project_gradient(self.kind, G, self._root)

    # -- descent --

    def starts(self) -> list[Array]:
        """Return starting points: each group's laws as common ones, their average, mixtures."""
        G = len(self.frames)
        rng = np.random.default_rng(0)
        weights = [*np.eye(G), np.full(G, 1.0 / G)]
        weights += list(rng.dirichlet(np.full(G, 0.7), size=RANDOM_STARTS))
        out = []
        for number, v in enumerate(weights):
            m, M = np.einsum("a,iaj->ij", v, self._mu), np.einsum("a,iajk->ijk", v, self._Sigma)
            if number > G:
                m = m + 0.5 * rng.normal(size=m.shape)
            if self.fixed is not None:
                i, cov = self.fixed
                T = np.linalg.cholesky(cov) @ np.linalg.inv(np.linalg.cholesky(M[i]))
                m, M = m @ T.T, T @ M @ T.T
            out.append(self._start(m, M))
        return out

    def _start(self, m: Array, M: Array) -> Array:
        """Return the coordinates of every group's best maps for given common cells."""
        best = [best_map(f.kind, f.root, f.w, m, M, f.mu, f.Sigma) for f in self.frames]
        return self.coordinates(best)

    def coordinates(self, maps: Sequence[Map]) -> Array:
        """Return the coordinates of maps (S~, beta)."""
        rows = []
        for S, beta in maps:
            if self.kind in ("symmetric", "full"):
                linear = (S if self.kind == "full" else symmetric_root(symmetrize(S))).ravel()
            else:
                logs = np.log(np.diag(S))
                mean = np.sqrt(self.k) * logs[:1]
                linear = logs if self.kind == "diagonal" else mean[: self.size]
            rows.append(np.concatenate([linear, beta]))
        return np.concatenate(rows)

    def descend(self, x: Array, steps: int | None = None) -> tuple[float, Array]:
        """Return (cost, coordinates) of the local optimum below a start, or after some steps."""
        from scipy.optimize import minimize

        units = self._units

        def cost(y: Array) -> tuple[float, Array]:
            value, gradient = self.cost(units * y)
            return value, units * gradient

        value = self.cost(x)[0]
        for _ in range(6 if steps is None else 1):  # a restart frees it from stale curvature
            result = minimize(
                cost,
                x / units,
                jac=True,
                method="L-BFGS-B",
                options={
                    "maxiter": 3000 if steps is None else steps,
                    "maxfun": 6000,
                    "ftol": 0.0,
                    "gtol": 1e-10,
                    "maxcor": 40,
                },
            )
            gained, value, x = value - float(result.fun), float(result.fun), units * result.x
            if gained <= 1e-13 * max(1.0, abs(value)):
                break
        return value, x
