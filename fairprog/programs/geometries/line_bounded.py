r"""One group where densities have a lower end of support, such as the exponential law's.

KL is finite only if supports nest: S low_r + beta >= low_s in every class. For each S the best
shift is either free or at the largest of these bounds; what remains is convex in S alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from scipy.optimize import nnls

from fairprog.kernels.multivariate.normal import pooled_covariance
from fairprog.labels import Array
from fairprog.populations import LocationScale
from fairprog.populations.law import Law
from fairprog.programs.geometries.line_frame import LineFrame, Map

ACTIVE = 1e-7  # slack of a support that counts as none


class BoundedLineFrame(LineFrame):
    """One group whose densities have a lower end of support."""

    @property
    def ends(self) -> tuple[Array, Array]:
        """(c_i, d_i): supports nest where beta >= c_i - S d_i."""
        low = np.array([law.support[0] for law in self.laws])
        own = np.array([law.support[0] for law in self.own_laws])
        return self.own_loc + self.own_scale * own, self.sign * self.loc + self.scale * low

    def class_gradients(self, theta: Map) -> Iterator[Map]:
        """Yield the gradient of every class, less what the ends of supports take of it."""
        N, n = self.gradients(*theta)
        _, multipliers = self._rest(theta, self.free(float(N.sum()), float(n.sum())))
        N = N - multipliers * self.ends[1] * self.scales
        yield from zip(N, n - multipliers, strict=True)

    def decrement(self, theta: Map, gradient: Map) -> float:
        """Return the size of a gradient, less what the ends of supports take.

        The cost is -Q log S plus a linear function: measured against its only curvature.
        """
        rest, _ = self._rest(theta, self.free(*gradient))
        return float(np.sqrt(float(rest @ rest) / float(self.w.sum())))

    def inside(self, theta: Map) -> Array:
        """Return how far beyond the ends of the group's supports those of the map's are."""
        (S, beta), (c, d) = theta, self.ends
        slack = np.maximum(beta - (c - S * d), 0.0)
        columns = (slack, d, np.ones_like(d)) if self.scales else (slack, np.ones_like(d))
        return np.stack(columns, axis=1)

    def _rest(self, theta: Map, gradient: Array) -> tuple[Array, Array]:
        """Return what is left of a gradient after nonnegative multipliers, and these (K,)."""
        (S, beta), (c, d) = theta, self.ends
        active = np.flatnonzero(beta - (c - S * d) <= ACTIVE)
        multipliers = np.zeros(c.size)
        if active.size:
            columns = np.stack([self.free(float(d[k]), 1.0) for k in active], axis=1)
            multipliers[active] = nnls(columns, gradient)[0]
            gradient = gradient - columns @ multipliers[active]
        return gradient, multipliers

    def best(self, closed: bool) -> Map:
        """Return the optimum, by bisection on the slope in S of the best cost."""
        if not self.scales:
            return 1.0, self._best_shift(1.0)[0]
        low, high = np.log(1e-9), np.log(1e9)
        for _ in range(110):
            middle = 0.5 * (low + high)
            rising = self._slope_in_scale(float(np.exp(middle))) > 0
            low, high = (low, middle) if rising else (middle, high)
        S = float(np.exp(0.5 * (low + high)))
        return S, self._best_shift(S)[0]

    def _best_shift(self, S: float) -> tuple[float, bool]:
        """Return the best beta for a scale, and whether it is at a bound."""
        c, d = self.ends
        bound = float((c - S * d).max())
        if self.gradients(S, bound)[1].sum() >= 0:
            return bound, True
        low, step = bound, 1.0
        while self.gradients(S, bound + step)[1].sum() < 0:
            low, step = bound + step, 2.0 * step
        high = bound + step
        for _ in range(80):
            middle = 0.5 * (low + high)
            rising = self.gradients(S, middle)[1].sum() > 0
            low, high = (low, middle) if rising else (middle, high)
        return 0.5 * (low + high), False

    def _slope_in_scale(self, S: float) -> float:
        beta, tight = self._best_shift(S)
        N, n = self.gradients(S, beta)
        if not tight:
            return float(N.sum())
        c, d = self.ends
        return float(N.sum() - n.sum() * d[int(np.argmax(c - S * d))])


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
    has_end = np.isfinite(D.law(0, group).support[0])
    return (BoundedLineFrame if has_end else LineFrame)(
        group=D.groups[group],
        scales=scales,
        w=w,
        laws=list(laws),
        own_laws=[D.law(i, group) for i in range(D.n_classes)],
        loc=(loc - center) / C,
        scale=scale / C,
        own_loc=(D.base_loc[:, group] - target_center) / C,
        own_scale=D.base_scale[:, group] / C,
        family=type(D),
        C=C,
        center=center,
        target_center=target_center,
    )
