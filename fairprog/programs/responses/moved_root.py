"""How the root R of maps A = S R follows the cells it is computed from.

That of `Monotone` in the pooled metric is the inverse of the pooled covariance; a metric that is
given does not move; of `Whitened` and classes of maps of the user's own it is taken by differences
of the transport's `root`, a function of one matrix per class.
"""

from __future__ import annotations

from collections.abc import Hashable
from functools import cached_property
from typing import Any

import numpy as np

from fairprog.kernels.multivariate.one_group import linear_basis
from fairprog.labels import Array
from fairprog.programs.geometries.frame import Frame
from fairprog.transports import Monotone, Transport

STEP = 1e-4  # of differences, in units of the pooled covariance


class MovedRoot:
    """The root of one steered group in whitened coordinates.

    Parameters
    ----------
    transport : Transport
    frame : Frame
    cov, pooled : Array, shapes (K, k, k) and (k, k)
        Reference covariances and the pooled one, whitened.
    classes : tuple
    """

    def __init__(
        self, transport: Transport, frame: Frame, cov: Array, pooled: Array,
        classes: tuple[Hashable, ...],
    ) -> None:  # fmt: skip
        self.transport, self.frame, self.classes = transport, frame, classes
        self.cov, self.pooled, self.R = cov, pooled, frame.root
        metric = getattr(transport, "metric", None) if type(transport) is Monotone else None
        own = frame.is_symmetric and type(transport).root is not Transport.root
        self.by_pool, self.by_differences = own and metric == "pooled", own and metric is None

    def pulled(self, by_root: Array) -> tuple[Any, Any]:
        """Return derivatives in the pooled covariance and the reference's from those in R."""
        if self.by_pool:
            return -self.R @ by_root @ self.R, 0.0
        if not self.by_differences:
            return 0.0, 0.0
        E, J = self._jacobian
        found = np.einsum("cejk,...jk->...ce", J, by_root)
        found = np.einsum("...ce,ejk->...cjk", found, E)
        return found[..., 0, :, :], found[..., 1:, :, :]

    def moved(self, pooled: Array, pooled2: Array, cov: Array) -> tuple[Array, Array]:
        """Return R' and R'' where the pooled covariance moves so, to second order, and others."""
        if self.by_pool:
            away = -self.R @ pooled @ self.R
            return away, -2.0 * away @ pooled @ self.R - self.R @ pooled2 @ self.R
        first: Array = np.zeros(pooled.shape)
        second: Array = np.zeros(pooled.shape)
        if not self.by_differences:
            return first, second
        for k in range(len(pooled)):
            size = max(np.abs(pooled[k]).max(), np.abs(cov[k]).max())
            h = STEP**0.5 / size if size > 0 else 1.0
            low, high = (
                self._root(
                    self.pooled + t * pooled[k] + 0.5 * t**2 * pooled2[k], self.cov + t * cov[k]
                )
                for t in (-h, h)
            )
            first[k] = (high - low) / (2.0 * h)
            second[k] = (high + low - 2.0 * self.R) / h**2
        return first, second

    def at(self, pooled: Array, cov: Array) -> Array:
        """Return the roots (n, k, k) where the covariances are these."""
        if self.by_pool:
            return np.asarray(np.linalg.inv(pooled))
        if not self.by_differences:
            return np.broadcast_to(self.R, pooled.shape)
        return np.stack([self._root(*one) for one in zip(pooled, cov, strict=True)])

    def _root(self, pooled: Array, cov: Array) -> Array:
        """Return R of other covariances, all in whitened coordinates."""
        C, frame = self.frame.C, self.frame
        found = self.transport.root(C @ pooled @ C.T, C @ cov @ C.T, self.classes, frame.basis)
        return np.asarray(C.T @ found @ C)

    @cached_property
    def _jacobian(self) -> tuple[Array, Array]:
        """A basis of symmetric matrices, and how R moves along it, (1 + K, p, k, k)."""
        E = linear_basis("symmetric", len(self.pooled))
        whole = np.concatenate([self.pooled[None], self.cov])
        rows = []
        for cell in range(len(whole)):
            ends = []
            for sign in (1.0, -1.0):
                moved = np.repeat(whole[None], len(E), axis=0)
                moved[:, cell] += sign * STEP * E
                ends.append(np.stack([self._root(one[0], one[1:]) for one in moved]))
            rows.append((ends[0] - ends[1]) / (2.0 * STEP))
        return E, np.stack(rows)
