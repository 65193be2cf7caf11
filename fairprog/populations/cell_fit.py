"""Maximum likelihood of a location and a scale, of one cell or of classes that share them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fairprog.errors import DataError, SolverError
from fairprog.kernels.line.scale_shift import bracket_scale_shift, minimise_scale_shift
from fairprog.labels import Array
from fairprog.populations.law import Law

SCORE = 1e-7  # largest derivative of a fit's likelihood, relative to the sum of its parts


@dataclass(frozen=True, eq=False)
class Term:
    """One class of a fit: weight w, rows y with weights v (sum one), target law and cell."""

    w: float
    y: Array
    v: Array
    law: Law
    loc: float = 0.0
    scale: float = 1.0


@np.errstate(over="ignore", invalid="ignore")
def best_scale_shift(terms: Sequence[Term], start: Array, scales: bool = True) -> Array:
    r"""Minimise sum_i w_i (mean phi_i((S y + beta - l_i) / s_i) - log S) over (S, beta).

    Convex (theory.md, Theorem B with samples as reference), S = 1 unless `scales`. Newton's
    method; brackets where it stops short of the score equations, as with rows far out on a thin
    tail, and where phi has kinks or bounded support.

    Raises
    ------
    SolverError
        Where neither solves the score equations: no fit is returned unverified.
    """
    total = sum(t.w for t in terms)

    def split(x: Array) -> tuple[float, float]:
        return (float(x[0]), float(x[1])) if scales else (1.0, float(x[0]))

    def cost(x: Array) -> float:
        S, beta = split(x)
        if S <= 0:
            return float("inf")
        parts = [t.w * (t.v @ t.law.phi((S * t.y + beta - t.loc) / t.scale)) for t in terms]
        return float(sum(parts) - total * np.log(S))

    def slopes(S: float, beta: float) -> Array:
        """Return the derivatives in log S and in beta, and the size of what each sums."""
        out = np.array([-total, 0.0, total, 0.0])
        for t in terms:
            slope = t.law.bounded_slope((S * t.y + beta - t.loc) / t.scale)
            slope = slope * t.v * (t.w / t.scale)
            parts = np.stack([S * t.y * slope, slope])
            out += np.concatenate([parts.sum(axis=1), np.abs(parts).sum(axis=1)])
        return out

    def gradient(x: Array) -> Array:
        S, beta = split(x)
        slope, shift = slopes(S, beta)[:2]
        return np.array([slope / S, shift] if scales else [shift])

    x, kept = start if scales else start[1:], slice(None if scales else 1, 2)
    if all(t.law.smooth for t in terms):
        x, _ = minimise_scale_shift(cost, gradient, x)
        score = slopes(*split(x))
        if (np.abs(score[:2]) <= SCORE * score[2:])[kept].all():
            return np.array([*split(x), cost(x)])
    S, beta, score = bracket_scale_shift(slopes, start, scales)
    if not (np.abs(score[:2]) <= SCORE * score[2:])[kept].all():
        raise SolverError(
            "The likelihood of these rows has no maximum that could be verified: its derivatives "
            f"in scale and location are {score[0]:.2g} and {score[1]:.2g} there. Look for rows "
            "that are far out, or mostly the same."
        )
    return np.array([S, beta, cost(np.array([S, beta] if scales else [beta]))])


def maximum_likelihood(law: Law, x: Array, weight: Array) -> tuple[float, float]:
    """Return (loc, scale): the likelihood is concave in (1/scale, loc/scale).

    Rows are taken about their median: about a mean, one row 1e16 away would erase the others.
    """
    v = weight / weight.sum()
    center = float(np.median(x))
    unit = float(v @ np.abs(x - center))
    if not 0 < unit < np.inf:
        raise DataError(
            f"The values lie within {np.ptp(x):.3g} of one another, about {center:.6g}: a spread "
            "that doubles cannot hold. Change their unit or subtract a constant.",
            argument="X",
        )
    term = Term(1.0, (x - center) / unit, v, law)
    S, beta, _ = best_scale_shift([term], np.array([law.std, law.mean]))
    return float(center - unit / S * beta), float(unit / S)
