r"""One steered group of normal laws: its cost, its derivatives, its optimum, its CVXPY face.

The map is theta = (S~, beta) in the coordinates of :mod:`.whitening`, and with B = S~ R~

.. math:: f(\tilde S, \beta) = \sum_i w_i\,KL((B, \beta) \# N(m_i, \Gamma_i) \|
    N(\mu_i, \Sigma_i))

is convex (theory.md, Theorem B).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fairprog.errors import ModelError
from fairprog.kernels.algebra.blas import (
    average,
    over_upper,
    product,
    solve_lower,
    upper_times,
)
from fairprog.kernels.algebra.null_directions import extend, restrict
from fairprog.kernels.multivariate.balls import Quadratics
from fairprog.kernels.multivariate.best_map import DENSE, best_map
from fairprog.kernels.multivariate.cells import (
    LARGE,
    decrement_bound,
    distinct_cells,
    raw_gradients,
    stacked_kl,
)
from fairprog.kernels.multivariate.lower_bounds import self_concordant_gap
from fairprog.kernels.multivariate.newton_cg import decrement_cg
from fairprog.kernels.multivariate.normal import symmetric_root, symmetrize
from fairprog.kernels.multivariate.one_group import (
    barrier,
    cell_gradients,
    cell_kl,
    decrement,
    linear_basis,
    linear_size,
    project_gradient,
    quadratics,
)
from fairprog.labels import Array
from fairprog.populations import Normal
from fairprog.programs.geometries.group_map import relative_gap
from fairprog.programs.geometries.whitening import Whitening
from fairprog.transports import AffineMap, Kind, Monotone, Pattern, Transport

PROVEN = 1e-6  # a bound on the decrement below this needs no sharpening

Map = tuple[Array, Array]  # S~ (k, k) and beta (k,), or gradients in them


@dataclass(eq=False)
class Frame(Whitening):
    """The problem of one steered group; see :class:`~.group_map.GroupProblem`."""

    # -- the cost and its derivatives --

    def cost(self, theta: Map) -> float:
        """Return sum_i w_i V_i, nats."""
        S, beta = theta
        if not self.is_large:
            return float(self.w @ cell_kl(S @ self.root, beta, *self.args))
        A, values = self.raw_map(S), np.zeros(len(self.w))
        for members in distinct_cells(self.cov, self.own_cov):
            spread = symmetrize(A @ self.cov[members[0]] @ A.T)
            shared = np.broadcast_to(spread, (len(members), *spread.shape))
            mean = self.mean[members] @ A.T + self.C @ beta
            values[members] = stacked_kl(
                mean, shared, self.own_mean[members], self.own_cov[members[:1]]
            )
        return float(self.w @ values)

    def class_gradients(self, theta: Map) -> Iterator[Map]:
        """Yield the weighted gradient of every class in (S~, beta): (k, k), (k,)."""
        S, beta = theta
        if not self.is_large:
            G, g = cell_gradients(S @ self.root, beta, *self.args)
            G = project_gradient(self.kind, G, self.root)
            yield from zip(self.w[:, None, None] * G, self.w[:, None] * g, strict=True)
            return
        symmetric, right = self.kind == "symmetric", None
        if symmetric and len(self.w) > 1:
            self.root_spectrum  # noqa: B018 - before the pass, which needs the memory
        A, U = self.raw_map(S), np.ascontiguousarray(self.C.T)
        if symmetric and self.make_root is not None:
            right = product(self.user_root.T, U.T)
        for i, (G, g) in enumerate(raw_gradients(A, beta @ U, *self.raw)):
            if symmetric:  # B = C^{-1} A C and R~ = C' R C
                N = upper_times(U, G, overwrite=True)
                N = over_upper(N, U, overwrite=True) if right is None else product(N, right)
                N = average(N)
                N *= self.w[i]
            else:
                N = (self.w[i] * self.sign) * np.diag(np.diagonal(G))
                if self.kind != "diagonal":
                    N = project_gradient(self.kind, N, np.eye(self.size))
            del G
            yield N, self.w[i] * (U @ g)

    def decrement(self, theta: Map, gradient: Map) -> float:
        """Return the Newton decrement of a gradient (N, n) in (S~, beta).

        Exact up to 12 dimensions (64 but for a symmetric S, and for any A in all); beyond, an
        upper bound, sharpened by conjugate gradients with the bound of what they leave where it
        is not small itself.
        """
        (S, _), (N, n) = theta, gradient
        if self.size <= DENSE or (self.kind != "symmetric" and not self.is_large):
            white = self.w, self.m, self.Gamma, self.Sigma
            return decrement(self.kind, self.root, S, *white, (N, n))
        args = self.w, self.mean, self.cov, self.own_cov
        U = np.ascontiguousarray(self.C.T)
        raw_n = solve_lower(U, n[:, None], transposed=True)[:, 0]
        bound = decrement_bound(S, N, raw_n, *args)
        if bound < PROVEN or self.kind != "symmetric":
            return bound
        w, m, Gamma, Sigma = args
        return decrement_cg(self.user_root, self._raw(S), w, m, Gamma, Sigma, self._pull(N), raw_n)

    def shortfall(self, theta: Map, decrement: float) -> float:
        """Return the bound of self-concordance: a quadratic less Q log det."""
        return self_concordant_gap(decrement, float(self.w.sum()))

    def best(self, closed: bool) -> Map:
        """Return the optimum by Newton's method, dense or by conjugate gradients."""
        if not self.is_large:
            return best_map(self.kind, self.root, self.w, *self.args)
        if self.kind != "symmetric":
            S, beta = best_map(self.kind, self.root, self.w, *self.raw)
            return S, np.linalg.solve(self.C, beta)
        S, beta = best_map(self.kind, self.user_root, self.w, *self.raw)
        U = np.ascontiguousarray(self.C.T)  # S~ = C^{-1} S C^{-T}
        S = np.ascontiguousarray(solve_lower(U, S, overwrite=True).T)
        return average(solve_lower(U, S, overwrite=True)), solve_lower(U, beta[:, None])[:, 0]

    def gap(self, theta: Map, other: Map) -> float:
        """Return the largest difference of two maps, relative where above one."""
        return relative_gap(theta, other)

    def _raw(self, S: Array) -> Array:
        """Return S in support coordinates, A = S R."""
        return np.asarray(self.C @ S @ self.C.T)

    def _pull(self, N: Array) -> Array:
        """Return a gradient in S~ as one in S."""
        return np.asarray(self.inverse.T @ N @ self.inverse)

    # -- the user's units --

    def user_map(self, theta: Map) -> AffineMap:
        """Return the map of (S~, beta) in the user's (normal) coordinates."""
        S, beta = theta
        A = self.raw_map(S)
        b = self.target_center + self.C @ beta - A @ self.center
        return AffineMap(extend(A, self.basis), self.basis @ b)

    def from_user(self, T: AffineMap) -> tuple[Frame, Map]:
        """Read (S~, beta) off a map in the user's coordinates; of its own sign for a scale."""
        U, inverse = self.basis, self.inverse
        A, b = restrict(T.matrix, U), U.T @ T.offset
        if self.kind in ("fixed", "scalar", "diagonal"):  # C is diagonal or cancels
            B = np.diag(np.diagonal(A))
        else:
            B = inverse @ A @ self.C
        frame = self.mirrored() if self.kind == "scalar" and B[0, 0] < 0 else self
        S = B @ np.linalg.inv(frame.root)
        beta = inverse @ (b - self.target_center + A @ self.center)
        return frame, (S if self.kind == "full" else symmetrize(S), beta)

    def multipliers(self, gradient: Map) -> tuple[Array, ...]:
        """Turn a gradient in (S~, beta) of one class into those in the user's S and b.

        The offset's has shape (d,); the linear one () for a scale, (d,) for a diagonal, (d, d) for
        S in A = S R (for A itself where any A is allowed).
        """
        N, n = gradient
        U, inverse_t = self.basis, self.inverse.T
        pulled = inverse_t @ n
        offset = np.asarray(U @ pulled)
        if self.kind == "fixed":
            return (offset,)
        # b = c_s + C beta - A c_r: moving S at fixed b moves beta as well
        through_beta = project_gradient(
            self.kind, np.outer(pulled, self.center), self.sign * self.user_root
        )
        if self.is_symmetric:
            return U @ (inverse_t @ N @ inverse_t.T + through_beta) @ U.T, offset
        if self.kind == "full":
            return U @ (inverse_t @ N @ self.C.T + through_beta) @ U.T, offset
        total = N + through_beta
        if self.kind == "scalar":
            return np.asarray(self.sign * np.trace(total)), offset
        return np.diag(U @ total @ U.T), offset

    def prices(self, gradient: Map) -> tuple[float, ...]:
        r"""Return the prices of one class's consensus conditions, part by part.

        The norms dual to the consensus form :math:`\|W(A_i - A)W^{-1}\|_F` and
        :math:`\|W(T_i(c) - T(c))\|`, W'W the pooled metric, of gradients N in S~ and n in beta.
        """
        N, n = gradient
        by_offset, by_diagonal = self.metric_norms
        offset = float(np.sqrt(max(float(n @ (n if by_offset is None else by_offset @ n)), 0.0)))
        if self.kind == "fixed":
            return (offset,)
        if self.kind == "scalar":
            return abs(float(np.trace(N))) / float(np.sqrt(len(N))), offset
        if self.kind == "diagonal":
            assert by_diagonal is not None
            g = np.diag(N)
            return float(np.sqrt(max(float(g @ by_diagonal @ g), 0.0))), offset
        if self.kind == "full":
            W, back = self.metric_roots
            return float(np.linalg.norm(back @ N @ W)), offset
        if isinstance(self.kind, Pattern):  # the same over the span of `linear`
            W, back = self.metric_roots
            J = (W @ self.linear @ self.root @ back).reshape(len(self.linear), -1)
            g = np.tensordot(self.linear, N, 2)
            return float(np.sqrt(max(float(g @ np.linalg.solve(J @ J.T, g)), 0.0))), offset
        # maximise <N, X> over symmetric X with |X R~|_F <= 1: X H + H X = 2 N up to scale,
        # H = R~ R~'
        values, V = self.root_spectrum
        if V is None:
            return float(np.linalg.norm(N)), offset
        rotated = V.T @ N @ V
        squared = float((rotated**2 * 2.0 / (values[:, None] + values[None, :])).sum())
        return float(np.sqrt(squared)), offset

    def lengths(self, theta: Map, other: Map) -> tuple[float, ...]:
        """Return |W (A - A') W^{-1}|_F and |W (T(c) - T'(c))|."""
        W, back = self.metric_roots
        offset = float(np.linalg.norm(W @ (theta[1] - other[1])))
        if self.kind == "fixed":
            return (offset,)
        moved = W @ (theta[0] - other[0]) @ self.root @ back
        return float(np.linalg.norm(moved)), offset

    # -- CVXPY: theta in an orthonormal basis of the matrices S~ --

    @property
    def linear(self) -> Array:
        """Orthonormal basis of the linear space of S~, shape (p, k, k)."""
        return self._keep("_linear", lambda: linear_basis(self.kind, self.size))

    @property
    def parts(self) -> Mapping[str, tuple[int, ...]]:
        """The variables of the consensus form."""
        p, offset = linear_size(self.kind, self.size), {"offset": (self.size,)}
        return {"linear": (p,), **offset} if p else offset

    def quadratics(self) -> Quadratics:
        """Return the classes' costs and the balls' metrics in these coordinates."""
        kind, k, (W, back) = self.kind, self.size, self.metric_roots
        metrics = [W @ W]
        if len(self.linear):
            moved = (W @ self.linear @ self.root @ back).reshape(len(self.linear), -1)
            metrics.insert(0, moved @ moved.T)
        H, c = quadratics(kind, self.root, self.w, *self.args)
        return H, c, self.w, lambda x: barrier(kind, k, x), metrics

    def coordinates(self, theta: Map) -> Array:
        """Return the values of the variables, one after the other."""
        return np.concatenate([np.tensordot(self.linear, theta[0], 2), theta[1]])

    def _matrix(self, cp: Any, x: Any) -> Any:
        """Return S~ as an affine expression (the identity for translations)."""
        k = self.size
        if x is None:
            return np.eye(k)
        flat = self.linear.reshape(-1, k * k).T
        return cp.reshape(flat @ x, (k, k), order="C")

    def express(self, cp: Any, i: int, x: Mapping[str, Any]) -> tuple[Any, list[Any]]:
        """Return w_i V_i: a convex quadratic minus log det S~, constants included."""
        S, beta = self._matrix(cp, x.get("linear")), x["offset"]
        P_root = symmetric_root(self.Sigma[i], -0.5)
        Gamma_root = symmetric_root(self.Gamma[i])
        k = self.size
        spread = cp.sum_squares(cp.vec(P_root @ S @ (self.root @ Gamma_root), order="C"))
        shift = cp.sum_squares(P_root @ (S @ (self.root @ self.m[i]) + beta - self.mu[i]))
        constant = -0.5 * k + 0.5 * (
            np.linalg.slogdet(self.Sigma[i])[1]
            - np.linalg.slogdet(self.Gamma[i])[1]
            - 2.0 * np.linalg.slogdet(self.root)[1]
        )
        log_det: Any = 0.0
        if self.kind == "scalar":  # S = theta I / sqrt(k)
            log_det = k * cp.log(x["linear"][0]) - 0.5 * k * np.log(k)
        elif self.kind == "diagonal":
            log_det = cp.sum(cp.log(x["linear"]))
        elif self.kind != "fixed":
            log_det = cp.log_det(S)
        return self.w[i] * (0.5 * (spread + shift) + constant - log_det), []

    def length(self, cp: Any, part: str, x: Any) -> Any:
        """Return the norms of `lengths` as expressions of a difference."""
        W, back = self.metric_roots
        if part == "offset":
            return cp.norm(W @ x, 2)
        return cp.norm(cp.vec(W @ self._matrix(cp, x) @ self.root @ back, order="C"), 2)

    def theta(self, x: Mapping[str, Array]) -> Map:
        """Return (S~, beta) of the variables' values."""
        if self.kind == "fixed":
            return np.eye(self.size), x["offset"]
        return np.tensordot(x["linear"], self.linear, 1), x["offset"]

    def gradient(self, x: Mapping[str, Array]) -> Map:
        """Return the gradient in (S~, beta) of derivatives by the variables."""
        n = np.zeros(self.size) + x["offset"]
        if self.kind == "fixed":
            return np.zeros((self.size, self.size)), n
        return np.tensordot(np.zeros(len(self.linear)) + x["linear"], self.linear, 1), n

    def view(self, cp: Any, name: str, i: int, x: Mapping[str, Any]) -> Any:
        """Return mean, std, factor (cov = F F'), matrix or offset as an expression."""
        U, C = self.basis, self.C
        inner = C @ self._matrix(cp, x.get("linear")) @ (self.root @ self.inverse)
        b = self.target_center + C @ x["offset"]
        if name == "factor":
            return U @ inner @ (C @ symmetric_root(self.Gamma[i]))
        if name == "std":
            raise ModelError("`view.std` exists for univariate populations; use `view.factor`.")
        if name == "matrix":
            return U @ inner @ U.T + np.eye(len(U)) - U @ U.T
        if name == "mean":  # A m + b with b = c_s + C beta - A c_r
            return U @ (inner @ (C @ self.m[i]) + b) + self.outside[i]
        return U @ (b - inner @ self.center)


def make_frame(
    D: Normal, transport: Transport, group: int, w: Array, reference: tuple[Array, Array]
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
    mean, cov = reference

    def root() -> Array:
        if kind != "symmetric":
            return np.eye(k)
        return transport.root(D.pooled_cov, cov, D.classes, D.support_basis)

    is_pooled = kind == "symmetric" and k > LARGE and transport == Monotone()
    center = w @ mean / w.sum()
    own = D.support_mean[:, group]
    target_center = w @ own / w.sum()
    return Frame(
        group=D.groups[group],
        kind=kind,
        center=center,
        target_center=target_center,
        pooled=D.pooled_cov,
        make_root=None if is_pooled else root,
        basis=D.support_basis,
        w=w,
        mean=mean - center,
        cov=cov,
        own_mean=own - target_center,
        own_cov=D.support_cov_of(group),
        outside=D.location[:, group]
        - (D.location[:, group] @ D.support_basis) @ D.support_basis.T,
    )
