"""Whitened coordinates of one steered group, and the way back to the user's units.

With C C' the pooled within-cell covariance, reference points c_r (weighted mean of the reference
cells) and c_s (of the group's own), x = c + C y turns A = S R into B = C^{-1} A C = S~ R~ with
S~ = C^{-1} S C^{-T}, R~ = C' R C: everything the solvers see is of order one.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.linalg import eigh

from fairprog.errors import ModelError
from fairprog.kernels.balance import balance
from fairprog.kernels.best_map import DENSE, best_map
from fairprog.kernels.blas import average, cholesky, inverse, product, solve_lower, upper_times
from fairprog.kernels.cells import (
    LARGE,
    decrement_bound,
    distinct_cells,
    raw_gradients,
    stacked_kl,
)
from fairprog.kernels.newton_cg import decrement_cg
from fairprog.kernels.normal import symmetric_root, symmetrize
from fairprog.kernels.one_group import (
    cell_gradients,
    cell_kl,
    decrement,
    project_gradient,
)
from fairprog.labels import Array
from fairprog.populations import Normal
from fairprog.transports import AffineMap, Kind, Monotone, Transport

__all__ = ["Frame", "check_scales", "dual_norms", "make_frame", "pooled_root", "solve_frame"]

PROVEN = 1e-6  # a bound on the decrement below this needs no sharpening
LIMIT = 1e8  # of the condition of R~: conjugate gradients reach it, and not 1e10
DESCENT_LIMIT = 3e5  # the same where all groups descend: proven at 2e5, not at 2e6
BALANCED_LIMIT = 1e25  # the same where R~ is diagonal: reached to 15 digits at 1e24


@dataclass(frozen=True, eq=False)
class Frame:
    """One steered group in whitened coordinates.

    Attributes
    ----------
    group : hashable
        Label of the group.
    kind : str
        Linear space of S ("scalar" whenever d = 1).
    center, target_center : Array, shape (k,)
        x = center + C y on the reference side, target_center + C y on the group's.
    pooled : Array, shape (k, k)
        Pooled covariance of the population, support coordinates.
    make_root : callable
        Returns R in support coordinates, (k, k).
    basis : Array, shape (d, k)
        Support basis.
    w : Array, shape (K,)
        Weights q~_is.
    mean, own_mean : Array, shape (K, k)
        Reference means less ``center``, the group's own less ``target_center``; support
        coordinates.
    cov, own_cov : Array, shape (K, k, k)
        Covariances in support coordinates: the population's own arrays, not copies.
    sign : float
        -1 for a mirror image.

    Notes
    -----
    The whitened cells m, Gamma, mu, Sigma are formed when asked for. Above 64 dimensions nothing
    asks, but for maps of kind "full": gradients are taken from the population's own arrays, class
    by class, and the matrices of the frame are computed where they are used and not kept.
    """

    group: Hashable
    kind: Kind
    center: Array
    target_center: Array
    pooled: Array
    make_root: Callable[[], Array]
    basis: Array
    w: Array
    mean: Array
    cov: Array
    own_mean: Array
    own_cov: Array
    sign: float = 1.0

    def mirrored(self) -> Frame:
        """Return the frame of the maps with A = -S R."""
        return replace(self, sign=-self.sign)

    @property
    def size(self) -> int:
        """Dimension k of the support."""
        return len(self.pooled)

    def _keep(self, name: str, compute: Callable[[], Array]) -> Array:
        """Return a matrix, computed once, or at every call in many dimensions."""
        if name in self.__dict__:
            found: Array = self.__dict__[name]
            return found
        value = compute()
        if not self.is_large:
            self.__dict__[name] = value
        return value

    @property
    def C(self) -> Array:  # noqa: N802 - as in the formula
        """C with C C' the pooled covariance (its diagonal only, for diagonal maps)."""
        if self.is_balanced:
            return self._balance[0]
        return self._keep("_C", lambda: pooled_root(self.pooled, self.kind))

    @property
    def is_balanced(self) -> bool:
        """Whether C is chosen with a view to R~: for a symmetric S whose Hessian is formed."""
        return self.kind == "symmetric" and self.size <= DENSE

    @cached_property
    def _balance(self) -> tuple[Array, Array]:
        """C and R~, see :mod:`fairprog.kernels.balance`."""
        return balance(self.pooled, self.user_root)

    @cached_property
    def root_condition(self) -> float:
        """Condition number of R~: the square of the ratio of scales, where R is the identity."""
        if self.kind != "symmetric":
            return 1.0
        values = np.diagonal(self.root) if self.is_balanced else None
        if values is None or not np.array_equal(self.root, np.diag(values)):
            values = np.linalg.eigvalsh(symmetrize(self.root))
        smallest = float(values.min())
        return float(values.max()) / smallest if smallest > 0 else np.inf

    @property
    def inverse(self) -> Array:
        """C^{-1}."""

        def compute() -> Array:  # the rows of C are in the units of the features
            units = np.sqrt(np.diagonal(self.pooled))
            return np.asarray(np.linalg.inv(self.C / units[:, None]) / units)

        return self._keep("_inverse", compute)

    @property
    def user_root(self) -> Array:
        """R in support coordinates."""
        return self._keep("_user_root", self.make_root)

    @property
    def root(self) -> Array:
        """R~ in whitened coordinates, negated for a mirror image."""

        def compute() -> Array:
            if self.kind != "symmetric":
                return self.sign * np.eye(self.size)
            if self.is_balanced:
                return self._balance[1]
            C = self.C
            return np.asarray(C.T @ self.user_root @ C)

        return self._keep("_root", compute)

    @property
    def metric(self) -> Array:
        """C' P^{-1} C, P the pooled covariance: its metric in whitened coordinates."""

        def compute() -> Array:
            C = self.C
            return symmetrize(C.T @ np.linalg.solve(self.pooled, C))

        return self._keep("_metric", compute)

    def only(self, i: int) -> Frame:
        """Return the frame of one class alone."""
        k = slice(i, i + 1)
        return replace(
            self,
            w=self.w[k],
            mean=self.mean[k],
            cov=self.cov[k],
            own_mean=self.own_mean[k],
            own_cov=self.own_cov[k],
        )

    @property
    def is_large(self) -> bool:
        """Whether cells are taken one by one; the search over all maps needs them together."""
        return self.size > LARGE and self.kind != "full"

    @property
    def is_complete(self) -> bool:
        """Whether no direction was set aside: support coordinates are the user's."""
        return self.basis.shape[0] == self.basis.shape[1]

    @cached_property
    def m(self) -> Array:
        """Whitened reference means, shape (K, k)."""
        return self.mean @ self.inverse.T

    @cached_property
    def mu(self) -> Array:
        """Whitened means of the group's own cells, shape (K, k)."""
        return self.own_mean @ self.inverse.T

    @cached_property
    def Gamma(self) -> Array:  # noqa: N802 - as in the formula
        """Whitened reference covariances, shape (K, k, k)."""
        return symmetrize(self.inverse @ np.asarray(self.cov) @ self.inverse.T)

    @cached_property
    def Sigma(self) -> Array:  # noqa: N802 - as in the formula
        """Whitened covariances of the group's own cells, shape (K, k, k)."""
        return symmetrize(self.inverse @ np.asarray(self.own_cov) @ self.inverse.T)

    @cached_property
    def metric_norms(self) -> tuple[Array | None, Array | None]:
        """Matrices whose quadratic forms price an offset and, for diagonal maps, a gradient.

        None stands for the identity: the metric is one in coordinates whitened by all of P.
        """
        if self.kind != "diagonal" and self.is_large:
            return None, None
        inverse = np.linalg.inv(self.metric)
        if self.kind != "diagonal":
            return inverse, None
        return inverse, np.linalg.inv(self.metric * inverse)

    @cached_property
    def root_spectrum(self) -> tuple[Array, Array | None]:
        """Eigenvalues and eigenvectors of R~ R~'; no vectors where it is the identity."""
        root = self.root
        if self.is_large and np.abs(root - np.eye(self.size)).max() < 1e-7:
            return np.ones(self.size), None
        values, vectors = eigh(product(root, root.T), driver="evd", check_finite=False)
        return values, vectors

    @property
    def args(self) -> tuple[Array, Array, Array, Array]:
        """Reference and target cells, in the order the kernels take them."""
        return self.m, self.Gamma, self.mu, self.Sigma

    @property
    def raw(self) -> tuple[Array, Array, Array, Array]:
        """The same in support coordinates."""
        return self.mean, self.cov, self.own_mean, self.own_cov

    def raw_map(self, S: Array) -> Array:
        """Return A = C S~ R~ C^{-1} in support coordinates."""
        if not self.is_large:
            return np.asarray(self.C @ (S @ self.root) @ self.inverse)
        if self.kind != "symmetric":  # C is diagonal or cancels
            return self.sign * S
        C = self.C
        S = product(product(C, S), C.T)
        del C
        return product(S, self.user_root)

    def cost(self, S: Array, beta: Array) -> float:
        """Return sum_i w_i V_i, nats; S may be one matrix or one per class."""
        if self.is_large and S.ndim == 2:
            A, values = self.raw_map(S), np.zeros(len(self.w))
            for members in distinct_cells(self.cov, self.own_cov):
                spread = symmetrize(A @ self.cov[members[0]] @ A.T)
                shared = np.broadcast_to(spread, (len(members), *spread.shape))
                mean = self.mean[members] @ A.T + self.C @ beta
                values[members] = stacked_kl(
                    mean, shared, self.own_mean[members], self.own_cov[members[:1]]
                )
            return float(self.w @ values)
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

    def class_gradients(
        self, S: Array, beta: Array, T: AffineMap | None = None
    ) -> Iterator[tuple[Array, Array]]:
        """Yield what :meth:`gradients` stacks, one class at a time, for a shared map.

        T is the map in the user's coordinates, where it is known already.
        """
        if not self.is_large:
            yield from zip(*self.gradients(S, beta), strict=True)
            return
        A = self.raw_map(S) if T is None or not self.is_complete else T.matrix
        right, C = None, self.C
        if self.kind == "symmetric":
            right = product(self.user_root.T, C)
        b, U = C @ beta, np.ascontiguousarray(C.T)
        del C
        for i, (G, g) in enumerate(raw_gradients(A, b, *self.raw)):
            if right is not None:  # B = C^{-1} A C and R~ = C' R C
                N = average(product(upper_times(U, G), right))
                N *= self.w[i]
            else:
                N = (self.w[i] * self.sign) * np.diag(np.diagonal(G))
                if self.kind != "diagonal":
                    N = project_gradient(self.kind, N, np.eye(self.size))
            del G
            yield N, self.w[i] * (U @ g)

    def decrement(
        self, S: Array, N: Array, n: Array, classes: Sequence[int] | None = None
    ) -> float:
        """Return the Newton decrement of a gradient (N, n) in (S~, beta), over some classes.

        Exact up to 12 dimensions (64 but for a symmetric S, and for any A in all); beyond, an
        upper bound, sharpened by conjugate gradients with the bound of what they leave where it
        is not small itself.
        """
        k = slice(None) if classes is None else list(classes)
        args = self.w[k], self.mean[k], self.cov[k], self.own_cov[k]
        if self.size <= DENSE or (self.kind != "symmetric" and not self.is_large):
            white = self.w[k], self.m[k], self.Gamma[k], self.Sigma[k]
            return decrement(self.kind, self.root, S, *white, (N, n))
        U = np.ascontiguousarray(self.C.T)
        raw_n = solve_lower(U, n[:, None], transposed=True)[:, 0]
        bound = decrement_bound(S, N, raw_n, *args)
        if bound < PROVEN or self.kind != "symmetric":
            return bound
        w, m, Gamma, Sigma = args
        return decrement_cg(self.user_root, self._raw(S), w, m, Gamma, Sigma, self._pull(N), raw_n)

    def _raw(self, S: Array) -> Array:
        """Return S in support coordinates, A = S R."""
        return np.asarray(self.C @ S @ self.C.T)

    def _pull(self, N: Array) -> Array:
        """Return a gradient in S~ as one in S."""
        return np.asarray(self.inverse.T @ N @ self.inverse)

    def user_map(self, S: Array, beta: Array) -> AffineMap:
        """Return the map of (S~, beta) in the user's (normal) coordinates."""
        A = self.raw_map(S)
        b = self.target_center + self.C @ beta - A @ self.center
        U = self.basis
        if self.is_complete and self.is_large:
            return AffineMap(A, b)
        return AffineMap(U @ A @ U.T + np.eye(len(U)) - U @ U.T, U @ b)

    def user_offset(self, n: Array) -> Array:
        """Turn the gradient in beta of one class into that in the user's b, shape (d,)."""
        return np.asarray(self.basis @ (self.inverse.T @ n))

    def user_multipliers(self, N: Array, n: Array) -> tuple[Array | None, Array]:
        """Turn gradients in (S~, beta) of one class into gradients in the user's (S, b).

        Returns
        -------
        linear : Array or None
            () for a scale, (d,) for a diagonal, (d, d) for S in A = S R (for A itself where
            any A is allowed); None for translations.
        offset : Array, shape (d,)
        """
        U, inverse_t = self.basis, self.inverse.T
        pulled = inverse_t @ n
        offset = self.user_offset(n)
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


def pooled_root(pooled: Array, kind: Kind) -> Array:
    """Return C with C C' the pooled covariance (its diagonal only, for diagonal maps)."""
    if kind == "diagonal":
        return np.diag(np.sqrt(np.diag(pooled)))
    if len(pooled) > LARGE:
        return np.ascontiguousarray(cholesky(pooled).T)
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


def check_scales(D: Normal, transport: Transport, everyone: bool) -> None:
    """Refuse metrics in whose units the features differ by more than can be resolved.

    `everyone`: whether all groups are steered.
    """
    if not isinstance(transport, Monotone) or transport.metric == "pooled":
        return
    cells = D.support_mean[:, 0], D.support_cov_of(0)
    frame = make_frame(D, transport, 0, D.prior[:, 0], cells)
    limit = DESCENT_LIMIT if everyone else LIMIT
    if frame.is_balanced:
        limit = BALANCED_LIMIT
    condition = frame.root_condition
    if condition <= limit:
        return
    units = np.sqrt(np.diagonal(D.pooled_cov))
    raise ModelError(
        f"`transport` {transport!r:.60} depends on the units of the features, whose standard "
        f"deviations differ by a factor of up to {units.max() / units.min():.3g}: the pooled "
        f"covariance in this metric has condition number {condition:.3g}, and {limit:.0e} is as "
        f"far as answers in {frame.size} dimensions can be proven. Standardise the columns, or "
        "use Monotone(), which does not depend on units.",
        argument="transport",
        details={"condition": condition, "scales": float(units.max() / units.min())},
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
    mean, cov = reference

    def root() -> Array:
        if kind != "symmetric":
            return np.eye(k)
        if k > LARGE and transport == Monotone():  # the metric is P^{-1}: not by LU
            return inverse(cholesky(D.pooled_cov), overwrite=True)
        return transport.root(D.pooled_cov, cov, D.classes, D.support_basis)

    center = w @ mean / w.sum()
    own = D.support_mean[:, group]
    target_center = w @ own / w.sum()
    return Frame(
        group=D.groups[group],
        kind=kind,
        center=center,
        target_center=target_center,
        pooled=D.pooled_cov,
        make_root=root,
        basis=D.support_basis,
        w=w,
        mean=mean - center,
        cov=cov,
        own_mean=own - target_center,
        own_cov=D.support_cov_of(group),
    )


def solve_frame(frame: Frame) -> tuple[Array, Array]:
    """Return the exact (S~, beta) by Newton's method, dense or by conjugate gradients."""
    if not frame.is_large:
        return best_map(frame.kind, frame.root, frame.w, *frame.args)
    if frame.kind != "symmetric":
        S, beta = best_map(frame.kind, frame.root, frame.w, *frame.raw)
        return S, np.linalg.solve(frame.C, beta)
    S, beta = best_map(frame.kind, frame.user_root, frame.w, *frame.raw)
    U = np.ascontiguousarray(frame.C.T)  # S~ = C^{-1} S C^{-T}
    S = np.ascontiguousarray(solve_lower(U, S, overwrite=True).T)
    return average(solve_lower(U, S, overwrite=True)), solve_lower(U, beta[:, None])[:, 0]


def dual_norms(frame: Frame, N: Array, n: Array) -> tuple[float, float]:
    r"""Return the prices of one class's two consensus conditions.

    The norms dual to the consensus form :math:`\|W(A_i - A)W^{-1}\|_F` and
    :math:`\|W(T_i(c) - T(c))\|`, W'W the pooled metric, of gradients N in S~ and n in beta.
    """
    by_offset, by_diagonal = frame.metric_norms
    offset = float(np.sqrt(max(float(n @ (n if by_offset is None else by_offset @ n)), 0.0)))
    if frame.kind == "fixed":
        return 0.0, offset
    if frame.kind == "scalar":
        return abs(float(np.trace(N))) / float(np.sqrt(len(N))), offset
    if frame.kind == "diagonal":
        assert by_diagonal is not None
        g = np.diag(N)
        return float(np.sqrt(max(float(g @ by_diagonal @ g), 0.0))), offset
    if frame.kind == "full":
        W, back = symmetric_root(frame.metric), symmetric_root(frame.metric, -0.5)
        return float(np.linalg.norm(back @ N @ W)), offset
    # maximise <N, X> over symmetric X with |X R~|_F <= 1: X H + H X = 2 N up to scale, H = R~ R~'
    values, V = frame.root_spectrum
    if V is None:
        return float(np.linalg.norm(N)), offset
    rotated = V.T @ N @ V
    squared = float((rotated**2 * 2.0 / (values[:, None] + values[None, :])).sum())
    return float(np.sqrt(squared)), offset
