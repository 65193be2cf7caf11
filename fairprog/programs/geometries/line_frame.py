r"""One steered group of a univariate family, in whitened coordinates.

With C the pooled standard deviation and c_r, c_s weighted means of the reference's and the group's
own cells, x = c + C y turns A x + b into sign S y + beta. The cost of class i is

.. math:: w_i (E\,\varphi_{is}(\alpha_i Z + \beta_i) - H_{ir} - \log\alpha_i),\quad
    \alpha_i = S s_{ir}/s_{is},\quad \beta_i = (\pm S l_{ir} + \beta - l_{is})/s_{is}

(theory.md, Theorem B); mirror images only where phi is symmetric.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from fairprog.kernels.normal import pooled_covariance
from fairprog.kernels.one_group import closed_form
from fairprog.kernels.scale_shift import hessian, minimise_scale_shift, newton_step
from fairprog.labels import Array
from fairprog.populations import LocationScale
from fairprog.populations.law import Law
from fairprog.transports import AffineMap

__all__ = ["LineFrame", "line_frame"]


@dataclass(frozen=True, eq=False)
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
    C: float
    center: float
    target_center: float
    sign: float = 1.0
    near: tuple[float, float] | None = None

    def mirrored(self) -> LineFrame:
        """Return the frame of the maps with A < 0."""
        return replace(self, sign=-self.sign)

    def standard(self, S: float, beta: float) -> tuple[Array, Array]:
        """Return (alpha_i, beta_i) of every class."""
        alpha = S * self.scale / self.own_scale
        return alpha, (self.sign * S * self.loc + beta - self.own_loc) / self.own_scale

    def costs(self, S: float, beta: float) -> Array:
        """Return w_i V_i of every class, nats."""
        alpha, shift = self.standard(S, beta)
        return self.w * np.array(
            [
                law.divergence(own, a, b)
                for law, own, a, b in zip(self.laws, self.own_laws, alpha, shift, strict=True)
            ]
        )

    def gradients(self, S: float, beta: float) -> tuple[Array, Array]:
        """Return the derivatives of `costs` in S and in beta, (K,) each."""
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

    # -- the program in the free coordinates --

    def split(self, x: Array) -> tuple[float, float]:
        """Return (S, beta) of the free coordinates (S, beta) or (beta,)."""
        return (float(x[0]), float(x[1])) if self.scales else (1.0, float(x[0]))

    def free(self, S: float, beta: float) -> Array:
        """Return the free coordinates."""
        return np.array([S, beta]) if self.scales else np.array([beta])

    def gradient(self, x: Array) -> Array:
        """Return the gradient of the cost in the free coordinates."""
        N, n = self.gradients(*self.split(x))
        return self.free(float(N.sum()), float(n.sum()))

    def minimise(self) -> tuple[float, float]:
        """Return the optimal (S, beta) by Newton's method."""
        S, beta = self._start()
        x, _ = minimise_scale_shift(
            lambda x: float(self.costs(*self.split(x)).sum()),
            self.gradient,
            self.free(S, beta),
            self.unit,
        )
        return self.split(x)

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
    def optimum(self) -> tuple[float, float]:
        """The optimal (S, beta)."""
        return self.minimise()

    def _start(self) -> tuple[float, float]:
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

    def decrement(self, S: float, beta: float, gradient: Array) -> float:
        """Return the Newton decrement of a gradient in the free coordinates."""
        H = hessian(self.gradient, self.free(S, beta), self.unit)
        return newton_step(H, gradient)[1]

    # -- the user's units --

    def user_map(self, S: float, beta: float) -> AffineMap:
        """Return the map in the family's coordinates."""
        A = self.sign * S
        b = self.target_center + self.C * beta - A * self.center
        return AffineMap(np.array([[A]]), np.array([b]))

    def user_multipliers(self, N: Array, n: Array) -> tuple[Array | None, Array]:
        """Turn gradients in (S, beta) into gradients in the user's (A, b), class by class."""
        offset = n / self.C
        return (self.sign * N + offset * self.center if self.scales else None), offset

    def prices(self, N: Array, n: Array) -> tuple[Array, Array]:
        """Return minus d KL / d bound of consensus balls: |A_i - A| and |T_i(c) - T(c)| over C."""
        return np.abs(N), np.abs(n)


def line_frame(
    D: LocationScale,
    scales: bool,
    group: int,
    w: Array,
    reference: tuple[Sequence[Law], Array, Array],
) -> LineFrame:
    """Whiten one group; `reference` holds the common cells (laws, locations, scales)."""
    laws, loc, scale = reference
    C = float(np.sqrt(pooled_covariance(D.prior, D.base_std[..., None, None] ** 2)[0, 0]))
    mean = loc + scale * np.array([law.mean for law in laws])
    center = float(w @ mean / w.sum())
    target_center = float(w @ D.base_mean[:, group] / w.sum())
    return LineFrame(
        group=D.groups[group],
        scales=scales,
        w=w,
        laws=list(laws),
        own_laws=[D.law(i, group) for i in range(D.n_classes)],
        loc=(loc - center) / C,
        scale=scale / C,
        own_loc=(D.base_loc[:, group] - target_center) / C,
        own_scale=D.base_scale[:, group] / C,
        C=C,
        center=center,
        target_center=target_center,
    )
