"""One steered group where features are independent: every feature at once, at unit variance.

With P the pooled variances and c_r, c_s weighted means of the common cells and of the group's own,
x = c + P^{1/2} y turns gain x + shift into gain y + beta.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import eye_array

from fairprog.kernels.independent.diagonal import (
    best_diagonal,
    diagonal_decrement,
    diagonal_gradients,
    diagonal_kl,
)
from fairprog.kernels.multivariate.balls import Quadratics
from fairprog.kernels.multivariate.cells import LARGE
from fairprog.kernels.multivariate.lower_bounds import self_concordant_gap
from fairprog.labels import Array
from fairprog.populations import Normal
from fairprog.programs.geometries.group_map import relative_gap
from fairprog.transports import AffineMap, DiagonalMap, Kind

Cells = tuple[Array, Array]  # means and variances (K, k)
Map = tuple[Array, Array]  # gain and beta (k,), or derivatives by them


@dataclass(frozen=True, eq=False)
class IndependentFrame:
    """The problem of one steered group over x -> gain x + beta, at the features that vary.

    Attributes
    ----------
    group : hashable
    kind : {"fixed", "scalar", "diagonal"}
    w : Array, shape (K,)
        Weights q~_is.
    mean, var, own_mean, own_var : Array, shape (K, k)
        The common cells and the group's own ones, less their centers, over units.
    unit : Array, shape (k,)
        Pooled standard deviations.
    center, target_center : Array, shape (k,)
        Weighted means of the common cells and of the group's own ones.
    varies : array of bool, shape (d,)
    squeezed : bool
        Whether the population is univariate: its parameters are numbers, not vectors.
    outside : Array, shape (K, d)
        The group's means where nothing varies, else 0.
    is_large : bool
        Whether multipliers are computed when they are asked for.
    sign : float
        -1 for a mirror image.
    """

    group: Hashable
    kind: Kind
    w: Array
    mean: Array
    var: Array
    own_mean: Array
    own_var: Array
    unit: Array
    center: Array
    target_center: Array
    varies: NDArray[np.bool_]
    outside: Array
    squeezed: bool
    is_large: bool
    sign: float = 1.0

    def mirrored(self) -> IndependentFrame:
        """Return the problem over maps with negative gains."""
        return replace(self, sign=-self.sign)

    def only(self, i: int) -> IndependentFrame:
        """Return the problem of one class alone."""
        names = ("w", "mean", "var", "own_mean", "own_var", "outside")
        return replace(self, **{name: getattr(self, name)[i : i + 1] for name in names})

    # -- the cost and its derivatives --

    def cost(self, theta: Map) -> float:
        """Return sum_i w_i V_i, nats."""
        gain, beta = theta
        moved = gain * self.mean + beta, gain**2 * self.var
        return float(self.w @ diagonal_kl(*moved, self.own_mean, self.own_var))

    def class_gradients(self, theta: Map) -> list[Map]:
        """Return the weighted gradient of every class in (gain, beta), shape (k,) each."""
        cells = self.mean, self.var, self.own_mean, self.own_var
        N, n = diagonal_gradients(*theta, *cells)
        return list(zip(self.w[:, None] * N, self.w[:, None] * n, strict=True))

    def decrement(self, theta: Map, gradient: Map) -> float:
        """Return the Newton decrement of a gradient."""
        cells = self.mean, self.var, self.own_var
        return diagonal_decrement(self.kind, self.w, *cells, theta[0], *gradient)

    def shortfall(self, theta: Map, decrement: float) -> float:
        """Return the bound of self-concordance: a quadratic less Q log det."""
        return self_concordant_gap(decrement, float(self.w.sum()))

    def best(self, closed: bool) -> Map:
        """Return the closed form, feature by feature."""
        cells = self.mean, self.var, self.own_mean, self.own_var
        return best_diagonal(self.kind, self.w, *cells, self.sign)

    def gap(self, theta: Map, other: Map) -> float:
        """Return the largest difference of two maps, relative where above one."""
        return relative_gap(theta, other)

    # -- the user's units --

    def user_map(self, theta: Map) -> AffineMap:
        """Return the map of all features: the identity where nothing varies."""
        gain, beta = theta
        shift = self.target_center + self.unit * beta - gain * self.center
        if self.squeezed:
            return AffineMap(gain[:, None], shift)
        return DiagonalMap(self._spread(gain, 1.0), self._spread(shift))

    def from_user(self, gain: Array, shift: Array) -> Map:
        """Return the map x -> gain x + shift of the features that vary."""
        return gain, (shift - self.target_center + gain * self.center) / self.unit

    def _spread(self, values: Array, rest: float = 0.0) -> Array:
        """Return values (k,) of the features that vary as (d,), `rest` at the others."""
        if self.varies.all():
            return values
        out = np.full(self.varies.shape, rest)
        out[self.varies] = values
        return out

    def multipliers(self, gradient: Map) -> tuple[Array, ...]:
        """Return a class's gradients in the gain, () of a scale, (d,) else, and the shift."""
        N, n = gradient[0], gradient[1] / self.unit
        offset = np.asarray(n[0]) if self.squeezed else self._spread(n)
        if self.kind == "fixed":
            return (offset,)
        N = N + self.center * n  # moving the gain at fixed shift moves beta as well
        return np.asarray(N.sum()) if self.kind == "scalar" else self._spread(N), offset

    def prices(self, gradient: Map) -> tuple[float, ...]:
        r"""Return the prices of one class's conditions: norms dual to the consensus form.

        :math:`\|g_i - g\|` and :math:`\|P^{-1/2}(T_i(c) - T(c))\|`.
        """
        N, n = gradient
        offset = float(np.linalg.norm(n))
        if self.kind == "fixed":
            return (offset,)
        if self.kind == "scalar":
            return float(abs(N.sum()) / np.sqrt(len(N))), offset
        return float(np.linalg.norm(N)), offset

    def lengths(self, theta: Map, other: Map) -> tuple[float, ...]:
        """Return the lengths of which `prices` are the dual norms."""
        linear, offset = (float(np.linalg.norm(x - y)) for x, y in zip(theta, other, strict=True))
        return (offset,) if self.kind == "fixed" else (linear, offset)

    # -- CVXPY --

    @property
    def parts(self) -> Mapping[str, tuple[int, ...]]:
        """The variables of the consensus form."""
        k = len(self.unit)
        linear = {"linear": (1 if self.kind == "scalar" else k,)}
        return ({} if self.kind == "fixed" else linear) | {"offset": (k,)}

    def quadratics(self) -> Quadratics:
        """Return the classes' costs and the balls' metrics in these coordinates."""
        k = len(self.unit)
        spread = np.zeros((k, 0)) if self.kind == "fixed" else np.eye(k)
        if self.kind == "scalar":
            spread = np.ones((k, 1))
        n, inverse, mean = spread.shape[1], 1.0 / self.own_var, self.sign * self.mean
        H, c = np.zeros((len(self.w), n + k, n + k)), np.zeros((len(self.w), n + k))
        for i, w in enumerate(self.w):
            P, m = w * inverse[i], mean[i]
            cross = spread.T * (P * m)
            H[i, :n, :n] = (spread.T * (P * (self.var[i] + m**2))) @ spread
            H[i, :n, n:], H[i, n:, :n], H[i, n:, n:] = cross, cross.T, np.diag(P)
            c[i] = np.concatenate([cross @ self.own_mean[i], P * self.own_mean[i]])
            if not n:
                c[i] -= P * m

        def barrier(x: Array) -> tuple[Array, Array] | None:
            gain, g, H = spread @ x[:n], np.zeros(n + k), np.zeros((n + k, n + k))
            if not n:
                return g, H
            if gain.min() <= 0:
                return None
            g[:n], H[:n, :n] = -(1.0 / gain) @ spread, (spread.T / gain**2) @ spread
            return g, H

        return H, c, self.w, barrier, [spread.T @ spread, np.eye(k)][not n :]

    def coordinates(self, theta: Map) -> Array:
        """Return the values of the variables, one after the other."""
        linear = self.sign * theta[0][: self.parts.get("linear", (0,))[0]]
        return np.concatenate([linear, theta[1]])

    def express(self, cp: Any, i: int, x: Mapping[str, Any]) -> tuple[Any, list[Any]]:
        """Return w_i V_i: squares of gains and offsets minus their logarithms."""
        k, ratio = len(self.unit), np.sqrt(self.var[i] / self.own_var[i])
        gain = x.get("linear", np.ones(k))
        if self.kind == "scalar":
            gain = gain[0] * np.ones(k)
        moved = cp.multiply(self.sign * self.mean[i], gain) + x["offset"] - self.own_mean[i]
        squares = cp.sum_squares(cp.multiply(ratio, gain))
        squares += cp.sum_squares(cp.multiply(1.0 / np.sqrt(self.own_var[i]), moved))
        log: Any = 0.0
        if self.kind != "fixed":
            log = (k if self.kind == "scalar" else 1) * cp.sum(cp.log(x["linear"]))
        constant = -0.5 * k - float(np.log(ratio).sum())
        return self.w[i] * (0.5 * squares + constant - log), []

    def length(self, cp: Any, part: str, x: Any) -> Any:
        """Return the lengths of `lengths` as expressions of a difference."""
        shared = self.kind == "scalar" and part == "linear"
        return (np.sqrt(len(self.unit)) if shared else 1.0) * cp.norm(x, 2)

    def theta(self, x: Mapping[str, Array]) -> Map:
        """Return (gain, beta) of the variables' values."""
        ones = np.ones(len(self.unit))
        return self.sign * ones * x.get("linear", 1.0), x["offset"]

    def gradient(self, x: Mapping[str, Array]) -> Map:
        """Return the gradient in (gain, beta) of derivatives by the variables."""
        zeros = np.zeros(len(self.unit))
        N = self.sign * (zeros + x.get("linear", 0.0))
        return (N / len(N) if self.kind == "scalar" else N), zeros + x["offset"]

    def view(self, cp: Any, name: str, i: int, x: Mapping[str, Any]) -> Any:
        """Return mean, std, factor, matrix or offset as an expression."""
        ones, spread = np.ones(len(self.unit)), eye_array(len(self.varies)).tocsc()[:, self.varies]
        gain = x.get("linear", ones)
        gain = self.sign * (gain[0] * ones if self.kind == "scalar" else gain)
        std = cp.multiply(self.unit * np.sqrt(self.var[i]), self.sign * gain)
        if name == "matrix":
            return cp.diag(spread @ gain + ~self.varies * 1.0)
        if name == "factor":
            return cp.diag(spread @ std)
        if name == "std":
            return std[0] if self.squeezed else spread @ std
        inner, at = cp.multiply(self.mean[i], gain) + x["offset"], self.target_center
        if name == "offset":
            inner, at = x["offset"], at - cp.multiply(self.center, gain)
        out = spread @ (at + cp.multiply(self.unit, inner))
        if name == "mean":
            out = out + self.outside[i]
        return out[0] if self.squeezed else out


def independent_frame(
    D: Normal, kind: Kind, a: int, w: Array, cells: Cells, own: Cells
) -> IndependentFrame:
    """Return the problem of the group at `a` with weights w (K,).

    `cells` and `own` are means and variances (K, k) of the common laws and of the group's own
    cells, at the features that vary.
    """
    center, target_center = w @ cells[0] / w.sum(), w @ own[0] / w.sum()
    univariate = D.is_univariate
    pooled = D.pooled_cov[0] if univariate else D.pooled_variances  # type: ignore[attr-defined]
    unit, varies = np.sqrt(pooled), np.array([True]) if univariate else D.varies  # type: ignore[attr-defined]
    return IndependentFrame(
        group=D.groups[a],
        kind=kind,
        w=w,
        mean=(cells[0] - center) / unit,
        var=cells[1] / pooled,
        own_mean=(own[0] - target_center) / unit,
        own_var=own[1] / pooled,
        unit=unit,
        center=center,
        target_center=target_center,
        varies=varies,
        outside=np.where(varies, 0.0, D.location[:, a]),
        squeezed=univariate,
        is_large=len(unit) > LARGE,
    )
