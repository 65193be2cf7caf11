"""Whitened coordinates of one steered group, and the way back to the user's units.

With C C' the pooled within-cell covariance, reference points c_r (weighted mean of the reference
cells) and c_s (of the group's own), x = c + C y turns A = S R into B = C^{-1} A C = S~ R~ with
S~ = C^{-1} S C^{-T}, R~ = C' R C: everything the solvers see is of order one.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Self

import numpy as np
from scipy.linalg import eigh

from fairprog.kernels.algebra.blas import cholesky, inverse, lower_times, over_lower, product
from fairprog.kernels.multivariate.balance import balance
from fairprog.kernels.multivariate.best_map import DENSE
from fairprog.kernels.multivariate.cells import LARGE
from fairprog.kernels.multivariate.normal import symmetric_root, symmetrize
from fairprog.labels import Array
from fairprog.transports import Kind, Pattern


@dataclass(eq=False)
class Whitening:
    """One steered group in whitened coordinates: its cells, and the matrices between the two.

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
    make_root : callable or None
        Returns R in support coordinates, (k, k). None is the pooled precision of many dimensions:
        R~ is the identity.
    basis : Array, shape (d, k)
        Support basis.
    w : Array, shape (K,)
        Weights q~_is.
    mean, own_mean : Array, shape (K, k)
        Reference means less ``center``, the group's own less ``target_center``; support
        coordinates.
    cov, own_cov : Array, shape (K, k, k)
        Covariances in support coordinates: the population's own arrays, not copies.
    outside : Array, shape (K, d)
        The part of the group's means in directions in which nothing varies.
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
    make_root: Callable[[], Array] | None
    basis: Array
    w: Array
    mean: Array
    cov: Array
    own_mean: Array
    own_cov: Array
    outside: Array
    sign: float = 1.0
    _kept: dict[str, Array] = field(default_factory=dict)  # what all classes share

    def mirrored(self) -> Self:
        """Return the frame of the maps with A = -S R."""
        return replace(self, sign=-self.sign, _kept={})

    @property
    def size(self) -> int:
        """Dimension k of the support."""
        return len(self.pooled)

    def _keep(self, name: str, compute: Callable[[], Array]) -> Array:
        """Return a matrix, computed once, or at every call in many dimensions."""
        if name in self._kept:
            return self._kept[name]
        value = compute()
        if not self.is_large:
            self._kept[name] = value
        return value

    @property
    def C(self) -> Array:  # noqa: N802 - as in the formula
        """C with C C' the pooled covariance (its diagonal only, for diagonal maps)."""
        if self.is_balanced:
            return self._balance[0]
        return self._keep("_C", lambda: pooled_root(self.pooled, self.kind))

    @property
    def is_symmetric(self) -> bool:
        """Whether S is symmetric and R is not plus or minus the identity in these coordinates."""
        return self.kind == "symmetric" or isinstance(self.kind, Pattern)

    @property
    def is_balanced(self) -> bool:
        """Whether C is chosen with a view to R~: for a symmetric S whose Hessian is formed."""
        return self.is_symmetric and (self.size <= DENSE or self.kind != "symmetric")

    @cached_property
    def _balance(self) -> tuple[Array, Array]:
        """C and R~, see `kernels.multivariate.balance`; a pattern keeps the user's features."""
        if self.kind == "symmetric":
            return balance(self.pooled, self.user_root)
        C = np.diag(np.diagonal(self.pooled) ** 0.25)
        return C, C @ self.user_root @ C

    @cached_property
    def root_condition(self) -> float:
        """Condition number of R~: the square of the ratio of scales, where R is the identity."""
        if not self.is_symmetric:
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
        if self.make_root is None:  # not by LU
            return inverse(cholesky(self.pooled), overwrite=True)
        return self._keep("_user_root", self.make_root)

    @property
    def root(self) -> Array:
        """R~ in whitened coordinates, negated for a mirror image."""

        def compute() -> Array:
            if not self.is_symmetric:
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

    def only(self, i: int) -> Self:
        """Return the frame of one class alone."""
        k = slice(i, i + 1)
        per_class = ("w", "mean", "cov", "own_mean", "own_cov", "outside")
        return replace(self, **{name: getattr(self, name)[k] for name in per_class})

    @property
    def is_large(self) -> bool:
        """Whether cells are taken one by one; the search over all maps needs them together."""
        return self.size > LARGE and self.kind != "full"

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
    def metric_roots(self) -> tuple[Array, Array]:
        """W and W^{-1}, W'W the metric."""
        return symmetric_root(self.metric), symmetric_root(self.metric, -0.5)

    @cached_property
    def root_spectrum(self) -> tuple[Array, Array | None]:
        """Eigenvalues and eigenvectors of R~ R~'; no vectors where it is the identity."""
        if self.make_root is None:
            return np.ones(self.size), None
        root = self.root
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
        if self.kind in ("fixed", "scalar", "diagonal"):  # C is diagonal or cancels
            return self.sign * S
        if not self.is_large:
            return np.asarray(self.C @ (S @ self.root) @ self.inverse)
        U = cholesky(self.pooled)  # C = U'
        if self.make_root is None:
            return over_lower(lower_times(U, S), U)
        S = product(lower_times(U, S), U)
        del U
        return product(S, self.user_root)


def pooled_root(pooled: Array, kind: Kind) -> Array:
    """Return C with C C' the pooled covariance (its diagonal only, for diagonal maps)."""
    if kind == "diagonal":
        return np.diag(np.sqrt(np.diag(pooled)))
    if len(pooled) > LARGE:
        return np.ascontiguousarray(cholesky(pooled).T)
    return np.linalg.cholesky(pooled)
