r"""A law on the real line in standard coordinates: what a location-scale family is made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import ndtr

from fairprog.kernels.line.line_quadrature import (
    effective_range,
    numeric_slope,
    panel_edges,
    panel_rule,
    partial_integrals,
)
from fairprog.labels import Array

SOLVER_PANELS = 10  # enough for 1e-9; answers are evaluated anew
KINKED_PANELS = 24


@dataclass(eq=False)
class Law:
    r"""The law with density :math:`e^{-\varphi(z)}`.

    Attributes
    ----------
    name : str
    phi : callable
        -log density, normalised.
    draw : callable (rng, size) -> Array
    slope : callable, optional
        phi'; default by differences.
    cdf_ : callable, optional
        Default by quadrature.
    expectation : callable (target, alpha, beta) -> float or None, optional
        Closed form of E phi_target(alpha Z + beta), None where there is none.
    expectation_slopes : callable (target, alpha, beta) -> Array or None, optional
        Closed form of its derivatives in alpha and beta.
    gap : callable (target, alpha, beta) -> float or None, optional
        Closed form of the divergence, where the difference of expectations loses digits.
    kinks : tuple of float
        Where phi is not smooth.
    support : (float, float)
    symmetric : bool
        Whether phi(-z) = phi(z).
    shape : float
        Shape parameter, for families that have one.
    """

    name: str
    phi: Callable[[Array], Array]
    draw: Callable[[np.random.Generator, int], Array]
    slope: Callable[[Array], Array] | None = None
    cdf_: Callable[[Array], Array] | None = None
    expectation: Callable[[Law, float, float], float | None] | None = None
    expectation_slopes: Callable[[Law, float, float], Array | None] | None = None
    gap: Callable[[Law, float, float], float | None] | None = None
    kinks: tuple[float, ...] = ()
    support: tuple[float, float] = (-np.inf, np.inf)
    symmetric: bool = False
    shape: float = np.nan

    def is_same(self, other: Law) -> bool:
        """Return whether the other is this law: of one family, and one shape where it has any."""
        return self is other or (self.name == other.name and self.shape == other.shape)

    @cached_property
    def lopsided_at(self) -> float | None:
        """Return where phi(-z) is not phi(z) although the law is called symmetric, if anywhere."""
        if not self.symmetric:
            return None
        z = self.points
        off = np.abs(self.phi(z) - self.phi(-z)) / np.maximum(1.0, np.abs(self.phi(z)))
        k = int(np.argmax(off))
        return None if off[k] <= 1e-9 else float(z[k])

    @cached_property
    def range(self) -> Array:
        """Return (low, mode, high) of the part that has mass."""
        return effective_range(self.phi, self.support, self.name)

    @cached_property
    def edges(self) -> Array:
        """Panels for integrands that are smooth where phi is."""
        return panel_edges(self.range, self.kinks)

    @cached_property
    def rule(self) -> tuple[Array, Array]:
        """Nodes and probability weights."""
        return self._weighted(self.edges)

    def solver_rule(self, breaks: Sequence[float] = ()) -> tuple[Array, Array]:
        """Return a coarser rule for conic solvers, broken at given points.

        Nodes of weight below 1e-13 are left out.
        """
        panels = KINKED_PANELS if self.kinks or breaks else SOLVER_PANELS
        z, w = self._weighted(panel_edges(self._bulk(), (*self.kinks, *breaks), panels))
        keep = w > 1e-13
        return z[keep], w[keep] / w[keep].sum()

    def _bulk(self) -> Array:
        """Return (low, mode, high) of what weighs anything in double precision."""
        z, ends = self.edges, self.range.copy()
        inside = z[self.phi(z) - self.phi(ends[1:2]) < 40.0]
        for end, found in ((0, inside.min()), (2, inside.max())):
            if not np.isfinite(self.support[end // 2]):
                ends[end] = found
        return ends

    @cached_property
    def points(self) -> Array:
        """Points that show the whole density, dense around the mode."""
        low, mode, high = self.range
        t = np.linspace(np.arcsinh(low - mode), np.arcsinh(high - mode), 405)
        return np.asarray(mode + np.sinh(t))[1:-1]

    @cached_property
    def concave_chord(self) -> tuple[float, float] | None:
        """Two points between which phi lies above its chord; None for log-concave densities."""
        x, y = self.points[:-2], self.points[2:]
        sag = self.phi(0.5 * (x + y)) - 0.5 * (self.phi(x) + self.phi(y))
        sag = sag / np.maximum(1.0, np.abs(self.phi(x)))
        k = int(np.argmax(sag))
        return None if sag[k] <= 1e-9 else (float(x[k]), float(y[k]))

    def _weighted(self, edges: Array) -> tuple[Array, Array]:
        z, w = panel_rule(edges)
        return z, w * np.exp(-self.phi(z))

    def _rule_for(self, target: Law, alpha: float, beta: float) -> tuple[Array, Array]:
        """Return a rule that also resolves phi_target(alpha z + beta), however steep it is."""
        steepness = abs(alpha)
        if not target.kinks and steepness <= 1.0:
            return self.rule
        breaks = [*self.kinks, *((k - beta) / alpha for k in target.kinks)]
        if steepness > 1.0:
            ends = self.range[0], (target.range[1] - beta) / alpha, self.range[2]
            breaks += list(panel_edges(np.array(ends), (), unit=1.0 / steepness))
        return self._weighted(panel_edges(self.range, breaks))

    def derivative(self, z: Array) -> Array:
        """Return phi'(z)."""
        if self.slope is not None:
            return self.slope(z)
        return numeric_slope(self.phi, (*self.kinks, *self.support), z)

    @property
    def smooth(self) -> bool:
        """Whether phi is smooth on the whole line."""
        return not self.kinks and not np.isfinite(self.support).any()

    def bounded_slope(self, z: Array) -> Array:
        """Return phi'(z) within +-1e200, the ends of which stand for walls of the support."""
        slope = np.clip(self.derivative(z), -1e200, 1e200)
        out = np.where(z < self.support[0], -1e200, slope)
        return np.where(z > self.support[1], 1e200, out)

    def expected(self, target: Law, alpha: float, beta: float) -> float:
        r"""Return :math:`E\,\varphi_{target}(\alpha Z + \beta)`; infinite unless supports nest."""
        if not self.nests(target, alpha, beta):
            return float("inf")
        closed = None if self.expectation is None else self.expectation(target, alpha, beta)
        if closed is not None:
            return closed
        z, w = self._rule_for(target, alpha, beta)
        with np.errstate(over="ignore"):
            return float(w @ target.phi(alpha * z + beta))

    def gradient(self, target: Law, alpha: float, beta: float) -> Array:
        """Return the derivatives of `expected` in alpha and beta."""
        closed = self.expectation_slopes and self.expectation_slopes(target, alpha, beta)
        if closed is not None:
            return closed
        z, w = self._rule_for(target, alpha, beta)
        with np.errstate(over="ignore", invalid="ignore"):
            slope = target.derivative(alpha * z + beta)
            return np.array([w @ (z * slope), w @ slope])

    def nests(self, target: Law, alpha: float, beta: float) -> bool:
        """Return whether alpha Z + beta stays within the support of the target."""
        low, high = sorted(alpha * np.array(self.support) + beta)
        slack = 1e-12 * (1.0 + abs(beta))
        return bool(low >= target.support[0] - slack and high <= target.support[1] + slack)

    def divergence(self, target: Law, alpha: float, beta: float) -> float:
        """Return KL of the law of alpha Z + beta from the target, nats."""
        closed = None if self.gap is None else self.gap(target, alpha, beta)
        if closed is not None:
            return closed
        cross = self.expected(target, alpha, beta)
        return cross - self.entropy - float(np.log(abs(alpha)))

    @cached_property
    def entropy(self) -> float:
        """Differential entropy, nats."""
        return self.expected(self, 1.0, 0.0)

    @cached_property
    def mass(self) -> float:
        """The integral of exp(-phi), which is 1 for a law."""
        return float(self.rule[1].sum())

    @cached_property
    def mean(self) -> float:
        """E Z."""
        z, w = self.rule
        return float(w @ z)

    @cached_property
    def std(self) -> float:
        """Standard deviation of Z."""
        z, w = self.rule
        return float(np.sqrt(w @ (z - self.mean) ** 2))

    def quantiles(self, scores: Array) -> Array:
        """Return z with P(Z <= z) = Phi(score); scores are cut at 6, where cdfs lose digits.

        Newton's method on the cdf, halving a bracket wherever a step would leave it.
        """
        level = ndtr(np.clip(np.asarray(scores, dtype=float), -6.0, 6.0))
        grid = np.concatenate([self.range[:1], self.points, self.range[2:]])
        k = np.clip(np.searchsorted(self.cdf(grid), level), 1, grid.size - 1)
        low, high = grid[k - 1], grid[k]
        z = 0.5 * (low + high)
        for _ in range(80):
            off = self.cdf(z) - level
            low, high = np.where(off < 0, z, low), np.where(off < 0, high, z)
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
                step = z - off * np.exp(self.phi(z))
            inside = (step > low) & (step < high)
            new = np.where(inside, step, 0.5 * (low + high))
            done = np.abs(new - z) <= 1e-14 * (1.0 + np.abs(new))
            z = new
            if done.all():
                break
        return np.asarray(z)

    def cdf(self, z: Array) -> Array:
        """P(Z <= z)."""
        if self.cdf_ is not None:
            return self.cdf_(z)
        return np.clip(partial_integrals(lambda x: np.exp(-self.phi(x)), self.edges, z), 0.0, 1.0)
