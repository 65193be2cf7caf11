"""Solved maps of one steered group where features are independent, and what they prove."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fairprog.kernels.diagonal import diagonal_decrement, diagonal_gradients, diagonal_kl
from fairprog.labels import Array
from fairprog.transports import DiagonalMap, Kind

__all__ = ["DiagonalMaps"]


@dataclass(frozen=True, eq=False)
class DiagonalMaps:
    """The map x -> gain x + shift of one group, in the user's units, at the features that vary.

    Attributes
    ----------
    group : hashable
    kind : {"fixed", "scalar", "diagonal"}
    w : Array, shape (K,)
        Weights q~_is.
    mean, var, own_mean, own_var : Array, shape (K, k)
        The common cells and the group's own ones.
    pooled : Array, shape (k,)
        Pooled variances: the metric of prices.
    gain, shift : Array, shape (k,)
    varies : array of bool, shape (d,)
    """

    group: Hashable
    kind: Kind
    w: Array
    mean: Array
    var: Array
    own_mean: Array
    own_var: Array
    pooled: Array
    gain: Array
    shift: Array
    varies: NDArray[np.bool_]

    def cost(self) -> float:
        """Return the group's part of KL: sum_i w_i V_i."""
        moved = self.gain * self.mean + self.shift, self.gain**2 * self.var
        return float(self.w @ diagonal_kl(*moved, self.own_mean, self.own_var))

    def user_map(self) -> DiagonalMap:
        """Return the map of all features: the identity where nothing varies."""
        return DiagonalMap(self.spread(self.gain, 1.0), self.spread(self.shift))

    def spread(self, values: Array, rest: float = 0.0) -> Array:
        """Return values (k,) of the features that vary as (d,), `rest` at the others."""
        if self.varies.all():
            return values
        out = np.full(self.varies.shape, rest)
        out[self.varies] = values
        return out

    def gradients(self) -> tuple[Array, Array]:
        """Return the weighted gradients of every class in (gain, shift), shape (K, k) each."""
        cells = self.mean, self.var, self.own_mean, self.own_var
        N, n = diagonal_gradients(self.gain, self.shift, *cells)
        return self.w[:, None] * N, self.w[:, None] * n

    def class_gradient(self, i: int) -> tuple[Array, Array]:
        """Return that of one class, shape (k,) each."""
        cells = (x[i : i + 1] for x in (self.mean, self.var, self.own_mean, self.own_var))
        N, n = diagonal_gradients(self.gain, self.shift, *cells)
        return self.w[i] * N[0], self.w[i] * n[0]

    def linear(self, i: int) -> Array:
        """Return the sensitivity of one class's linear condition: () of a scale, (d,) else."""
        N = self.class_gradient(i)[0]
        return np.asarray(N.sum()) if self.kind == "scalar" else self.spread(N)

    def offset(self, i: int) -> Array:
        """Return the sensitivity of one class's offset, shape (d,)."""
        return self.spread(self.class_gradient(i)[1])

    def prices(self) -> list[tuple[float, float]]:
        r"""Return (linear, offset) prices of every class: norms dual to the consensus form.

        :math:`\|g_i - g\|` and :math:`\|P^{-1/2}(T_i(c) - T(c))\|`, c the weighted mean of the
        common cells and P the pooled variances: the gain moves with T(c) held.
        """
        N, n = self.gradients()
        center = self.w @ self.mean / self.w.sum()
        N = N - center * n
        offset = np.sqrt((n**2 * self.pooled).sum(axis=1))
        if self.kind == "fixed":
            return [(0.0, float(x)) for x in offset]
        linear = np.sqrt((N**2).sum(axis=1))
        if self.kind == "scalar":
            linear = np.abs(N.sum(axis=1)) / np.sqrt(N.shape[1])
        return [(float(x), float(y)) for x, y in zip(linear, offset, strict=True)]

    def decrement(self) -> float:
        """Return the Newton decrement of the cost at the map."""
        N, n = self.gradients()
        cells = self.mean, self.var, self.own_var
        total = N.sum(axis=0), n.sum(axis=0)
        return diagonal_decrement(self.kind, self.w, *cells, self.gain, *total)
