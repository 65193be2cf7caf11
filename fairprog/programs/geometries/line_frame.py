r"""One steered group of a univariate family, in whitened coordinates.

With C the pooled standard deviation and c_r, c_s weighted means of the reference's and the group's
own cells, x = c + C y turns A x + b into sign S y + beta. The cost of class i is

.. math:: w_i (E\,\varphi_{is}(\alpha_i Z + \beta_i) - H_{ir} - \log\alpha_i),\quad
    \alpha_i = S s_{ir}/s_{is},\quad \beta_i = (\pm S l_{ir} + \beta - l_{is})/s_{is}

(theory.md, Theorem B); mirror images only where phi is symmetric.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from fairprog.kernels.line.scale_shift import (
    bracket_scale_shift,
    hessian,
    minimise_scale_shift,
    newton_step,
)
from fairprog.kernels.multivariate.lower_bounds import tangent_gap
from fairprog.kernels.multivariate.one_group import closed_form
from fairprog.labels import Array
from fairprog.populations.law import Law
from fairprog.programs.geometries.group_map import relative_gap
from fairprog.programs.geometries.line_atoms import expected_atom
from fairprog.transports import AffineMap

UNSEEN = 1e-6  # of a cross entropy, by the nodes of the conic form
SETTLED = 1e-6  # decrement of an optimum
Map = tuple[float, float]  # S and beta, or derivatives by them


@dataclass(eq=False)
class LineFrame:
    """A group's cells and the reference's, at unit pooled scale.

    Attributes
    ----------
    group : hashable
    scales : bool
        Whether S is free (else 1).
    w : Array, shape (K,)
        Weights q~_is.
    laws, own_laws : list of Law
        Standard laws of the reference's and of the group's cells.
    loc, scale, own_loc, own_scale : Array, shape (K,)
    family : type of population
    C, center, target_center : float
    near : (float, float) or None
        About where the conic answer is expected, (S, beta); default the unconstrained optimum.
    sign : float
        -1 for a mirror image.
    """

    group: Hashable
    scales: bool
    w: Array
    laws: Sequence[Law]
    own_laws: Sequence[Law]
    loc: Array
    scale: Array
    own_loc: Array
    own_scale: Array
    family: Any
    C: float
    center: float
    target_center: float
    sign: float = 1.0
    near: Map | None = None

    def mirrored(self) -> LineFrame:
        """Return the problem over maps with A < 0."""
        return replace(self, sign=-self.sign)

    def only(self, i: int) -> LineFrame:
        """Return the problem of one class alone."""
        k = slice(i, i + 1)
        per_class = ("w", "laws", "own_laws", "loc", "scale", "own_loc", "own_scale")
        return replace(self, **{name: getattr(self, name)[k] for name in per_class})

    # -- the cost and its derivatives --

    def standard(self, S: float, beta: float) -> tuple[Array, Array]:
        """Return (alpha_i, beta_i) of every class."""
        alpha = S * self.scale / self.own_scale
        return alpha, (self.sign * S * self.loc + beta - self.own_loc) / self.own_scale

    def cost(self, theta: Map) -> float:
        """Return sum_i w_i V_i, nats."""
        alpha, shift = self.standard(*theta)
        values = [
            law.divergence(own, a, b)
            for law, own, a, b in zip(self.laws, self.own_laws, alpha, shift, strict=True)
        ]
        return float((self.w * np.array(values)).sum())

    def gradients(self, S: float, beta: float) -> tuple[Array, Array]:
        """Return the derivatives of every class's w_i V_i in S and in beta, (K,) each."""
        alpha, shift = self.standard(S, beta)
        d = np.array(
            [
                law.gradient(own, a, b)
                for law, own, a, b in zip(self.laws, self.own_laws, alpha, shift, strict=True)
            ]
        )
        n = self.w * d[:, 1] / self.own_scale
        N = self.w * (d[:, 0] * self.scale / self.own_scale - 1.0 / S) + self.sign * self.loc * n
        return (N if self.scales else np.zeros_like(N)), n

    def class_gradients(self, theta: Map) -> Iterator[Map]:
        """Yield the gradient of every class."""
        yield from zip(*self.gradients(*theta), strict=True)

    def decrement(self, theta: Map, gradient: Map) -> float:
        """Return the Newton decrement of a gradient."""
        H = hessian(self.slope, self.free(*theta), self.unit)
        return newton_step(H, self.free(*gradient))[1]

    def shortfall(self, theta: Map, decrement: float) -> float:
        """Return the bound of tangents, the cost being convex (theory.md, Theorem B)."""

        def cost(x: Array) -> float:
            at = self.split(x)
            return self.cost(at) if at[0] > 0 else np.inf

        return tangent_gap(cost, self.slope, self.free(*theta), self.unit, self.inside(theta))

    def inside(self, theta: Map) -> Array | None:
        """Return the constraints of a map as rows (slack, normal); None without."""
        return None

    def best(self, closed: bool) -> Map:
        """Return the optimum by Newton's method."""
        return self.optimum

    def gap(self, theta: Map, other: Map) -> float:
        """Return the largest difference of two maps, relative where above one."""
        return relative_gap(theta, other)

    # -- the program in the free coordinates --

    def split(self, x: Array) -> Map:
        """Return (S, beta) of the free coordinates (S, beta) or (beta,)."""
        return (float(x[0]), float(x[1])) if self.scales else (1.0, float(x[0]))

    def free(self, S: float, beta: float) -> Array:
        """Return the free coordinates."""
        return np.array([S, beta]) if self.scales else np.array([beta])

    def slope(self, x: Array) -> Array:
        """Return the gradient of the cost in the free coordinates."""
        N, n = self.gradients(*self.split(x))
        return self.free(float(N.sum()), float(n.sum()))

    @cached_property
    def unit(self) -> Array:
        """Changes of S and beta that move some standardised cell by about its scale."""
        reach = (self.scale + np.abs(self.loc)) / self.own_scale
        return self.free(float(1.0 / reach.max()), float(self.own_scale.min()))

    def pulled_kinks(self, i: int) -> list[float]:
        """Return where phi_i(alpha z + beta) is not smooth at the expected map, in z."""
        if not self.own_laws[i].kinks:
            return []
        alpha, beta = self.standard(*(self.near or self.optimum))
        return [float((k - beta[i]) / alpha[i]) for k in self.own_laws[i].kinks]

    @cached_property
    def optimum(self) -> Map:
        """The optimal (S, beta), by Newton's method; from a bracket where it stops far away.

        So it does where tails are exponentially steep and the cells' scales differ widely.
        """

        def descend(start: Map) -> Map:
            x, _ = minimise_scale_shift(
                lambda x: self.cost(self.split(x)), self.slope, self.free(*start), self.unit
            )
            return self.split(x)

        def slopes(S: float, beta: float) -> Array:
            N, n = self.gradients(S, beta)
            return np.array([S * N.sum(), n.sum()])

        start = self._start()
        found = descend(start)
        N, n = self.gradients(*found)
        if self.decrement(found, (float(N.sum()), float(n.sum()))) <= SETTLED:
            return found
        S, beta, _ = bracket_scale_shift(slopes, np.array(start), self.scales)
        return descend((S, beta))

    def _start(self) -> Map:
        """Return the optimum for normal laws with the cells' means and variances."""
        m = self.sign * (self.loc + self.scale * np.array([law.mean for law in self.laws]))
        s = self.scale * np.array([law.std for law in self.laws])
        mu = self.own_loc + self.own_scale * np.array([law.mean for law in self.own_laws])
        sigma = self.own_scale * np.array([law.std for law in self.own_laws])
        if not self.scales:
            u = self.w / sigma**2
            return 1.0, float(u @ (mu - m) / u.sum())
        gamma, b = closed_form(self.w, m, s, mu, sigma)
        return float(gamma), float(b)

    # -- the user's units --

    def user_map(self, theta: Map) -> AffineMap:
        """Return the map in the family's coordinates."""
        S, beta = theta
        A = self.sign * S
        b = self.target_center + self.C * beta - A * self.center
        return AffineMap(np.array([[A]]), np.array([b]))

    def multipliers(self, gradient: Map) -> tuple[Array, ...]:
        """Turn a class's gradient in (S, beta) into those in the user's A and b."""
        N, n = gradient
        offset = np.asarray(n / self.C)
        return (np.asarray(self.sign * N + offset * self.center), offset)[not self.scales :]

    def prices(self, gradient: Map) -> tuple[float, ...]:
        """Return minus d KL / d bound of consensus balls: |A_i - A| and |T_i(c) - T(c)| over C."""
        sizes = tuple(abs(float(x)) for x in gradient)
        return sizes if self.scales else sizes[1:]

    def lengths(self, theta: Map, other: Map) -> tuple[float, ...]:
        """Return the same of the difference between two maps."""
        return self.prices((theta[0] - other[0], theta[1] - other[1]))

    # -- CVXPY --

    is_large: ClassVar[bool] = False

    @property
    def parts(self) -> Mapping[str, tuple[int, ...]]:
        """The variables of the consensus form: numbers."""
        return {"linear": (), "offset": ()} if self.scales else {"offset": ()}

    def _cell(self, i: int, x: Mapping[str, Any]) -> tuple[Any, Any]:
        """Return location and scale of a steered cell in whitened coordinates."""
        S = x.get("linear", 1.0)
        return S * (self.sign * self.loc[i]) + x["offset"], S * self.scale[i]

    def express(self, cp: Any, i: int, x: Mapping[str, Any]) -> tuple[Any, list[Any]]:
        """Return w_i V_i; the expectation is a sum over nodes, exact to about 1e-8."""
        loc, scale = self._cell(i, x)
        alpha, beta = scale / self.own_scale[i], (loc - self.own_loc[i]) / self.own_scale[i]
        kinks = self.pulled_kinks(i)
        expected, cones = expected_atom(
            cp, self.family, self.laws[i], self.own_laws[i], alpha, beta, kinks
        )
        constant = self.laws[i].entropy + np.log(self.scale[i] / self.own_scale[i])
        log_S = cp.log(x["linear"]) if self.scales else 0.0
        return self.w[i] * (expected - constant - log_S), cones

    def resolved(self, theta: Map) -> bool:
        """Whether the nodes of the conic form see the tails that the exact cost sees."""
        alpha, shift = self.standard(*theta)
        for i, (law, own) in enumerate(zip(self.laws, self.own_laws, strict=True)):
            nodes, weights = law.solver_rule(self.pulled_kinks(i))
            with np.errstate(over="ignore"):
                seen = float(weights @ own.phi(alpha[i] * nodes + shift[i]))
            exact = law.expected(own, alpha[i], shift[i])
            if not self.w[i] * abs(seen - exact) <= UNSEEN * max(1.0, abs(exact)):
                return False
        return True

    def length(self, cp: Any, part: str, x: Any) -> Any:
        """Return the size of a difference."""
        return cp.abs(x)

    def theta(self, x: Mapping[str, Array]) -> Map:
        """Return (S, beta) of the variables' values."""
        return float(x.get("linear", 1.0)), float(x["offset"])

    def gradient(self, x: Mapping[str, Array]) -> Map:
        """Return the gradient of derivatives by the variables."""
        return float(np.sum(x.get("linear", 0.0))), float(np.sum(x["offset"]))

    def view(self, cp: Any, name: str, i: int, x: Mapping[str, Any]) -> Any:
        """Return loc, scale, mean, std, matrix or offset, in the family's coordinates."""
        S, law = x.get("linear", 1.0), self.laws[i]
        loc, scale = self._cell(i, x)
        loc, scale = self.target_center + self.C * loc, self.C * scale
        return {
            "loc": loc,
            "scale": scale,
            "mean": loc + scale * law.mean,
            "std": scale * law.std,
            "matrix": S * self.sign,
            "offset": self.target_center + self.C * x["offset"] - S * (self.sign * self.center),
        }[name]
