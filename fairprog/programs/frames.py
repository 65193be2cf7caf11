"""Whitened coordinates of one steered group, and the way back to the user's units.

With C C' the pooled within-cell covariance, reference points c_r (weighted mean of the reference
cells) and c_s (of the group's own), x = c + C y turns A = S R into B = C^{-1} A C = S~ R~ with
S~ = C^{-1} S C^{-T}, R~ = C' R C: everything the solvers see is of order one.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from fairprog.errors import ModelError
from fairprog.kernels.normal import pooled_covariance, symmetric_root, symmetrize
from fairprog.kernels.one_group import cell_gradients, cell_kl, decrement, project_gradient
from fairprog.labels import Array
from fairprog.populations import Normal
from fairprog.transports import AffineMap, Kind, Transport

__all__ = ["Frame", "dual_norms", "make_frame", "pooled_root"]


@dataclass(frozen=True, eq=False)
class Frame:
    """One steered group in whitened coordinates.

    Attributes
    ----------
    group : hashable
        Label of the group.
    kind : str
        Linear space of S ("scalar" whenever d = 1).
    root : Array, shape (k, k)
        R~, negated for a mirror image.
    C, center, target_center : Array
        x = center + C y on the reference side, target_center + C y on the group's.
    user_root : Array, shape (k, k)
        R in support coordinates.
    basis : Array, shape (d, k)
        Support basis.
    metric : Array, shape (k, k)
        C' P^{-1} C: the pooled metric in whitened coordinates.
    w, m, Gamma, mu, Sigma : Array
        Weights q~_is, reference cells, the group's own cells.
    sign : float
        -1 for a mirror image.
    """

    group: Hashable
    kind: Kind
    root: Array
    C: Array
    center: Array
    target_center: Array
    user_root: Array
    basis: Array
    metric: Array
    w: Array
    m: Array
    Gamma: Array
    mu: Array
    Sigma: Array
    sign: float = 1.0

    def mirrored(self) -> Frame:
        """Return the frame of the maps with A = -S R."""
        fields = vars(self) | {"root": -self.root, "sign": -self.sign}
        return Frame(**fields)

    @property
    def args(self) -> tuple[Array, Array, Array, Array]:
        """Reference and target cells, in the order the kernels take them."""
        return self.m, self.Gamma, self.mu, self.Sigma

    def cost(self, S: Array, beta: Array) -> float:
        """Return sum_i w_i V_i, nats; S may be one matrix or one per class."""
        return float(self.w @ cell_kl(S @ self.root, beta, *self.args))

    def gradients(self, S: Array, beta: Array) -> tuple[Array, Array]:
        """Return the weighted gradients of every class in (S~, beta): (K, k, k), (K, k).

        S (k, k) and beta (k,) are shared, or one per class is given.
        """
        B = S @ self.root
        if B.ndim == 2:
            G, g = cell_gradients(B, beta, *self.args)
        else:
            parts = [
                cell_gradients(B[i], beta[i], *(x[i : i + 1] for x in self.args))
                for i in range(len(self.w))
            ]
            G, g = (np.concatenate(p) for p in zip(*parts, strict=True))
        G = project_gradient(self.kind, G, self.root)
        return self.w[:, None, None] * G, self.w[:, None] * g

    def decrement(
        self, S: Array, N: Array, n: Array, classes: Sequence[int] | None = None
    ) -> float:
        """Return the Newton decrement of a gradient (N, n) in (S~, beta), over some classes."""
        k = slice(None) if classes is None else list(classes)
        return decrement(
            self.kind, self.root, S, self.w[k], self.m[k], self.Gamma[k], self.Sigma[k], (N, n)
        )

    def user_map(self, S: Array, beta: Array) -> AffineMap:
        """Return the map of (S~, beta) in the user's (normal) coordinates."""
        A = self.C @ (S @ self.root) @ np.linalg.inv(self.C)
        b = self.target_center + self.C @ beta - A @ self.center
        U = self.basis
        return AffineMap(U @ A @ U.T + np.eye(len(U)) - U @ U.T, U @ b)

    def user_multipliers(self, N: Array, n: Array) -> tuple[Array | None, Array]:
        """Turn gradients in (S~, beta) of one class into gradients in the user's (S, b).

        Returns
        -------
        linear : Array or None
            () for a scale, (d,) for a diagonal, (d, d) for S in A = S R (for A itself where
            any A is allowed); None for translations.
        offset : Array, shape (d,)
        """
        U, inverse_t = self.basis, np.linalg.inv(self.C).T
        pulled = inverse_t @ n
        offset = U @ pulled
        if self.kind == "fixed":
            return None, offset
        # b = c_s + C beta - A c_r: moving S at fixed b moves beta as well
        through_beta = project_gradient(
            self.kind, np.outer(pulled, self.center), self.sign * self.user_root
        )
        if self.kind == "symmetric":
            return U @ (inverse_t @ N @ inverse_t.T + through_beta) @ U.T, offset
        if self.kind == "full":
            return U @ (inverse_t @ N @ self.C.T + through_beta) @ U.T, offset
        total = N + through_beta
        if self.kind == "scalar":
            return np.asarray(self.sign * np.trace(total)), offset
        return np.asarray(np.diag(U @ total @ U.T)), offset


def pooled_root(D: Normal, kind: Kind) -> Array:
    """Return C with C C' the pooled covariance (its diagonal only, for diagonal maps)."""
    pooled = pooled_covariance(D.prior, D.support_cov)
    if kind == "diagonal":
        return np.diag(np.sqrt(np.diag(pooled)))
    return np.linalg.cholesky(pooled)


def check_diagonal(D: Normal, transport: Transport) -> None:
    """Refuse diagonal maps where a null direction mixes features."""
    mixed = np.flatnonzero((np.abs(D.support_basis) > 1e-8).sum(axis=1) > 1)
    if transport.kind == "diagonal" and mixed.size:
        raise ModelError(
            f"{transport!r} cannot keep the linear dependence among features "
            f"{mixed.tolist()}; drop one of them or use Monotone().",
            argument="transport",
        )


def make_frame(
    D: Normal,
    transport: Transport,
    group: int,
    w: Array,
    reference: tuple[Array, Array],
) -> Frame:
    """Whiten one group.

    Parameters
    ----------
    D : Normal
    transport : Transport
    group : int
        Position of the steered group.
    w : Array, shape (K,)
        Steered weights q~_is.
    reference : (means (K, k), covariances (K, k, k))
        Reference cells in support coordinates.
    """
    kind: Kind = transport.kind
    k = D.support_basis.shape[1]
    if D.n_features == 1 and kind != "fixed":
        kind = "scalar"
    C = pooled_root(D, kind)
    inverse = np.linalg.inv(C)
    pooled = pooled_covariance(D.prior, D.support_cov)
    mean, cov = reference
    R = (
        np.eye(k)
        if kind != "symmetric"
        else (transport.root(pooled, cov, D.classes, D.support_basis))
    )
    center = w @ mean / w.sum()
    own = D.support_mean[:, group]
    target_center = w @ own / w.sum()
    return Frame(
        group=D.groups[group],
        kind=kind,
        root=C.T @ R @ C if kind == "symmetric" else np.eye(k),
        C=C,
        center=center,
        target_center=target_center,
        user_root=R,
        basis=D.support_basis,
        metric=symmetrize(C.T @ np.linalg.solve(pooled, C)),
        w=w,
        m=(mean - center) @ inverse.T,
        Gamma=symmetrize(inverse @ cov @ inverse.T),
        mu=(own - target_center) @ inverse.T,
        Sigma=symmetrize(inverse @ D.support_cov[:, group] @ inverse.T),
    )


def dual_norms(frame: Frame, N: Array, n: Array) -> tuple[float, float]:
    r"""Return the prices of one class's two consensus conditions.

    The norms dual to the consensus form :math:`\|W(A_i - A)W^{-1}\|_F` and
    :math:`\|W(T_i(c) - T(c))\|`, W'W the pooled metric, of gradients N in S~ and n in beta.
    """
    offset = float(np.sqrt(max(float(n @ np.linalg.solve(frame.metric, n)), 0.0)))
    if frame.kind == "fixed":
        return 0.0, offset
    if frame.kind == "scalar":
        return abs(float(np.trace(N))) / np.sqrt(len(N)), offset
    if frame.kind == "diagonal":
        g = np.diag(N)
        H = frame.metric * np.linalg.inv(frame.metric)
        return float(np.sqrt(max(float(g @ np.linalg.solve(H, g)), 0.0))), offset
    if frame.kind == "full":
        W, inverse = symmetric_root(frame.metric), symmetric_root(frame.metric, -0.5)
        return float(np.linalg.norm(inverse @ N @ W)), offset
    # maximise <N, X> over symmetric X with |X R~|_F <= 1: X H + H X = 2 N up to scale, H = R~ R~'
    values, V = np.linalg.eigh(frame.root @ frame.root.T)
    rotated = V.T @ N @ V
    squared = float((rotated**2 * 2.0 / (values[:, None] + values[None, :])).sum())
    return float(np.sqrt(squared)), offset
