r"""The optimal fair rules of every cost at once: one path of nested thresholds.

For a cost c in (0, 1) the best rules whose rates differ by at most :math:`\epsilon` solve

.. math:: \min \sum_a c\, q_{0a} F_a - (1-c)\, q_{1a} T_a, \quad T_a \le \rho_a(F_a).

As c falls the optimum moves along edges, the steepest that the conditions allow first: a
parametric linear program with so few directions that they are written down. A `Path` is

    points (V + 1, G, 2)    (F_a, T_a) from (0, 0) to (1, 1)
    cost (V,)               at which the edge to the next point is optimal, falling
    multiplier (V, E, G)    of every event's rates there; they sum to zero over the groups

An event is a pair of weights (G, 2) that makes a rate of (F, T). Between two of these costs
optimal multipliers are the line between theirs. Source: theory.md section 11 (Theorems D and F).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fairprog.kernels.scores.one_rate import balanced_slopes
from fairprog.kernels.scores.roc_hulls import TINY, height, least_curve, without_tiny_edges
from fairprog.labels import Array

TIE = 1e-12  # of a difference that counts as the bound
Path = tuple[Array, Array, Array]


def common_path(curves: Sequence[Array], q: Array) -> Path:
    """Return the path of bound 0 for both rates: the least of the curves (Theorem D).

    Its edges lie on edges of one group each, which bears all the multipliers.
    """
    least = least_curve(curves)
    step, middle = np.diff(least, axis=0), 0.5 * (least[1:, 0] + least[:-1, 0])
    heights = np.array([height(c, middle) for c in curves])
    upright = step[:, 0] == 0.0
    heights[:, upright] = np.array([[height(c, np.zeros(1))[0]] for c in curves])
    owner = np.argmin(heights, axis=0)
    cost, rest = _cost(q[0].sum() * step[:, 0], q[1].sum() * step[:, 1])
    own = np.eye(len(curves))[owner]
    of_F = cost[:, None] * (q[0] - own * q[0].sum())
    of_T = rest[:, None] * (own * q[1].sum() - q[1])
    return np.repeat(least[:, None], len(curves), 1), cost, np.stack([of_F, of_T], axis=1)


def _cost(paid: Any, gained: Any) -> tuple[Any, Any]:
    """Return the cost c at which c * paid = (1 - c) * gained, and 1 - c."""
    return gained / (paid + gained), paid / (paid + gained)


@dataclass
class _Walk:
    """Where every group is on its curve, and what has been walked."""

    curves: Sequence[Array]
    q: Array
    at: Array = field(init=False)
    edge: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.curves = [without_tiny_edges(c) for c in self.curves]
        self.at, self.edge = np.zeros((len(self.curves), 2)), [0] * len(self.curves)
        self.points: list[Array] = [self.at.copy()]
        self.costs: list[float] = []
        self.multipliers: list[Array] = []

    def step(self, a: int, k: int = 0) -> Array:
        """Return the k-th edge from here on of group a, as a vector; none is left: NaN."""
        k += self.edge[a]
        c = self.curves[a]
        return c[k + 1] - c[k] if 0 <= k < len(c) - 1 else np.full(2, np.nan)

    def below(self, a: int) -> float:
        """Return how far group a is below the line of its edge; on a vertical one it is not."""
        (f, t), away = self.step(a), self.at[a] - self.curves[a][self.edge[a]]
        return float(away[0] * t / f - away[1]) if f > 0.0 else 0.0

    def walk(self, d: Array, length: float, cost: float, multiplier: Array) -> None:
        """Move by length * d; edges that end there are left."""
        self.at = self.at + length * d
        for a, c in enumerate(self.curves):
            while self.edge[a] < len(c) - 1:
                left = c[self.edge[a] + 1] - self.at[a]
                if left[0] > TINY or (left[1] > TINY and self.below(a) <= TIE):
                    break
                self.edge[a] += 1
                if left[1] <= TIE:  # no rounding is carried on
                    self.at[a] = c[self.edge[a]]
        if length > 0.0:
            self.points.append(self.at.copy())
            self.costs.append(cost)
            self.multipliers.append(multiplier)

    def path(self) -> Path:
        """Return what was walked, with the way to (1, 1), which gains nothing, at cost 0."""
        self.walk(1.0 - self.at, 1.0, 0.0, np.zeros_like(self.multipliers[0]))
        return np.array(self.points), np.array(self.costs), np.array(self.multipliers)


def one_rate_path(curves: Sequence[Array], q: Array, event: Array, bound: float) -> Path:
    """Return the path where one rate u = event . (F, T) of all groups is within the bound.

    A group moves alone where it is free to; those at the top of the window move together with
    all at its bottom.

    Parameters
    ----------
    curves : sequence of G arrays (m + 1, 2)
    q : Array, shape (2, G)
    event : Array, shape (G, 2)
    bound : float
    """
    w, G = _Walk(curves, q), len(curves)

    def slope(a: int, k: int) -> Array:
        """Return what group a pays and gains per unit of the rate, on an edge from here on."""
        d = w.step(a, k)
        u = float(event[a] @ d)
        return d * q[:, a] / u if u > 0 else np.full(2, np.nan)

    while True:
        for a in range(G):  # what does not change the rate and gains comes for nothing
            d = w.step(a)
            if event[a] @ d == 0.0 and d[1] > 0.0:
                free = np.zeros((G, 2))
                free[a] = d
                w.walk(free, 1.0, 1.0, np.zeros((1, G)))
        u = np.einsum("ae,ae->a", event, w.at)
        pay = np.array([slope(a, 0) for a in range(G)])
        ratio = np.where(np.isfinite(pay[:, 1]), _ratio(pay), -1.0)
        low, top = u <= u.min() + TIE, u >= u.min() + bound - TIE
        sets = [np.arange(G) == a for a in np.flatnonzero(~top)]
        if (ratio[low] >= 0.0).all():
            rest = [a for a in np.argsort(-ratio) if top[a] and not low[a] and ratio[a] >= 0.0]
            sets += [
                low | np.isin(np.arange(G), rest[:k]) for k in range(not low.all(), len(rest) + 1)
            ]
        sets = [s for s in sets if s.any() and (ratio[s] >= 0.0).all()]
        best = max(sets, key=lambda s: _ratio(pay[s].sum(axis=0)), default=None)
        if best is None or not pay[best, 1].sum() > 0.0:
            return w.path()
        cost, rest = _cost(*pay[best].sum(axis=0))
        d = np.zeros((G, 2))
        d[best] = pay[best] / q[:, best].T
        room = [
            float(event[a] @ (w.curves[a][w.edge[a] + 1] - w.at[a]))
            for a in np.flatnonzero(best).tolist()
        ]
        if not best.all():
            room.append(float(u[~best].min() + bound - u[best].max()))
        bounds = np.zeros((G, 2))
        for a in range(G):
            mine = [cost * s[0] - rest * s[1] for s in (_before(w, slope, a, u), pay[a])]
            if best[a]:
                mine[0] = mine[1]
            least, most = (-np.inf if np.isnan(mine[0]) else mine[0]), mine[1]
            most = np.inf if np.isnan(most) else most
            if not best[a]:
                least, most = (
                    (least if top[a] else max(least, 0.0)),
                    (most if low[a] else min(most, 0.0)),
                )
            bounds[a] = min(least, most), most
        w.walk(d, max(min(room), 0.0), cost, balanced_slopes(bounds)[None])


def both_rates_path(curves: Sequence[Array], q: Array, bound: float) -> Path:
    """Return the path of two groups where the differences of F and of T are within a bound > 0.

    Either a group moves alone, or both with their F, or their T, tied. A group whose T may not
    rise as its curve does leaves it, and follows the other (off, off) the bound.
    """
    w = _Walk(curves, q)
    while True:
        gap = w.at[0] - w.at[1]
        tied = np.where(np.abs(gap) >= bound - TIE, np.sign(gap), 0.0)
        off = [w.below(a) > TIE for a in (0, 1)]
        steps = np.array([[0.0, 1.0] if off[a] else w.step(a) for a in (0, 1)])
        with np.errstate(divide="ignore", invalid="ignore"):
            s = steps[:, 1] / steps[:, 0]
            capped = s.copy()
            if tied[1]:
                first = 0 if tied[1] > 0 else 1  # whose T is ahead
                capped[first] = min(s[first], s[1 - first])
            moves = [
                np.array([[1.0, capped[0]], [1.0, capped[1]]]),
                np.array([[1.0 / s[0], 1.0], [1.0 / s[1], 1.0]]),
                *(np.eye(2)[:, [a]] * steps[a] for a in (0, 1) if not off[a]),
            ]
        found = []
        for kind, d in enumerate(moves):
            if np.isfinite(d).all() and (tied * (d[0] - d[1]) <= 1e-15).all():
                found.append((_ratio(np.array([q[0] @ d[:, 0], q[1] @ d[:, 1]])), -kind, kind, d))
        ratio, _, kind, d = max(found, key=lambda m: m[:2], default=(0.0, 0, 0, np.zeros((2, 2))))
        if not ratio > 0.0:
            return w.path()
        cost, rest = _cost(q[0] @ d[:, 0], q[1] @ d[:, 1])
        W = np.stack([cost * q[0], rest * q[1]])
        if kind == 0:
            W[0] = np.where(np.isfinite(s), s, 0.0) * W[1]
            leaves = capped < s
            if leaves.any():  # the other bears all
                W = ~leaves * np.array([[cost * q[0].sum()], [rest * q[1].sum()]])
        elif kind == 1:
            W[1] = W[0] / s
        K = np.stack([cost * q[0] - W[0], W[1] - rest * q[1]])
        w.walk(d, _room(w, d, s, capped if kind == 0 else s, gap, bound), cost, K)


def _room(w: _Walk, d: Array, s: Array, taken: Array, gap: Array, bound: float) -> float:
    """Return how far both can go along d: to the end of an edge, to a curve, to the bound."""
    room = []
    for a in np.flatnonzero(d.any(axis=1)).tolist():
        if w.at[a, 0] == 0.0 and taken[a] < s[a] and w.step(a)[0] == 0.0:
            w.edge[a] += 1  # it leaves its vertical edge
        end = w.curves[a][w.edge[a] + 1] - w.at[a]
        if taken[a] < s[a] or w.below(a) > TIE:
            f, t = w.step(a)
            closing = d[a, 1] - d[a, 0] * t / f
            room += [end[0] / d[a, 0]] if d[a, 0] > 0 else []
            room += [w.below(a) / closing] if closing > 0 and w.below(a) > TIE else []
        else:
            k = int(np.argmax(d[a]))
            room.append(end[k] / d[a, k])
    for rate, at in zip(d[0] - d[1], gap, strict=True):
        if rate != 0.0:
            room.append((bound - np.sign(rate) * at) / abs(rate))
    return max(min(room), 0.0)


def _before(w: _Walk, slope: Any, a: int, u: Array) -> Array:
    inside = w.edge[a] < len(w.curves[a]) - 1 and (w.at[a] - w.curves[a][w.edge[a]]).max() > TINY
    return np.asarray(slope(a, 0 if inside else -1))


def _ratio(pay: Array) -> Any:
    """Return gain over payment."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return pay[..., 1] / pay[..., 0]
