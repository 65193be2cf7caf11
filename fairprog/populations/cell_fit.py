"""Maximum likelihood of a location and a scale, of one cell or of classes that share them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fairprog.kernels.scale_shift import minimise_scale_shift
from fairprog.labels import Array
from fairprog.populations.law import Law

__all__ = ["Term", "best_scale_shift", "maximum_likelihood"]


@dataclass(frozen=True, eq=False)
class Term:
    """One class of a fit: weight w, rows y with weights v (sum one), target law and cell."""

    w: float
    y: Array
    v: Array
    law: Law
    loc: float = 0.0
    scale: float = 1.0


def best_scale_shift(terms: Sequence[Term], start: Array, scales: bool = True) -> Array:
    r"""Minimise sum_i w_i (mean phi_i((S y + beta - l_i) / s_i) - log S) over (S, beta).

    Convex (theory.md, Theorem B with samples as reference). Newton's method; where phi has
    kinks, Nelder and Mead's simplex. S = 1 unless `scales`.
    """
    total = sum(t.w for t in terms)

    def split(x: Array) -> tuple[float, float]:
        return (float(x[0]), float(x[1])) if scales else (1.0, float(x[0]))

    def cost(x: Array) -> float:
        S, beta = split(x)
        if S <= 0:
            return float("inf")
        with np.errstate(over="ignore", invalid="ignore"):
            parts = [t.w * (t.v @ t.law.phi((S * t.y + beta - t.loc) / t.scale)) for t in terms]
        return float(sum(parts) - total * np.log(S))

    def gradient(x: Array) -> Array:
        S, beta = split(x)
        g = np.array([-total / S, 0.0])
        for t in terms:
            slope = t.v * t.law.derivative((S * t.y + beta - t.loc) / t.scale) * (t.w / t.scale)
            g += [slope @ t.y, slope.sum()]
        return g if scales else g[1:]

    x = start if scales else start[1:]
    if any(t.law.kinks for t in terms):
        from scipy.optimize import minimize

        options: Any = {"xatol": 1e-11, "fatol": 1e-15, "maxiter": 4000, "maxfev": 8000}
        for _ in range(3):  # a restart frees the simplex from collapsing early
            x = minimize(cost, np.asarray(x), method="Nelder-Mead", options=options).x
    else:
        x, _ = minimise_scale_shift(cost, gradient, x)
    return np.array([*split(x), cost(x)])


def maximum_likelihood(law: Law, x: Array, weight: Array) -> tuple[float, float]:
    """Return (loc, scale): the likelihood is concave in (1/scale, loc/scale)."""
    v = weight / weight.sum()
    center, unit = float(v @ x), float(np.sqrt(v @ (x - v @ x) ** 2))
    term = Term(1.0, (x - center) / unit, v, law)
    S, beta, _ = best_scale_shift([term], np.array([law.std, law.mean]))
    return float(center - unit / S * beta), float(unit / S)
