"""Maximum likelihood in every cell of a univariate family."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from fairprog.door import Rows
from fairprog.errors import DataError, FairprogWarning
from fairprog.kernels.scale_shift import minimise_scale_shift
from fairprog.labels import Array, check_features, column_names
from fairprog.populations.cells import check_classes
from fairprog.populations.law import Law

if TYPE_CHECKING:
    from fairprog.populations.location_scale import LocationScale

__all__ = ["Term", "best_scale_shift", "fit_cells", "maximum_likelihood"]


def fit_cells(
    family: type[LocationScale],
    X: ArrayLike,
    y: ArrayLike,
    sensitive_features: ArrayLike,
    sample_weight: ArrayLike | None,
    classes: Sequence[Any] | None,
    groups: Sequence[Any] | None,
) -> Any:
    """Return the population of a family fitted cell by cell; see ``LocationScale.fit``."""
    features = family.check_domain(check_features(X, dim=1))[:, 0]
    n = len(features)
    if n == 0:
        raise DataError("`X` has no rows.", argument="X")
    found = Rows.check(
        y, sensitive_features, sample_weight, n, classes=classes, groups=groups, X=X
    )
    class_labels, group_labels = found.classes, found.groups
    check_classes(class_labels, n)
    features, weight = found.of(features), found.weight
    mass = np.zeros((len(class_labels), len(group_labels)))
    cells: list[tuple[float, ...]] = []
    small = []
    for k, a in np.ndindex(*mass.shape):
        rows = (found.y == k) & (found.a == a)
        mass[k, a] = weight[rows].sum()
        where = class_labels[k], group_labels[a]
        if np.unique(features[rows]).size < 2:
            raise DataError(
                f"Class {where[0]!r}, group {where[1]!r} has {int(rows.sum())} row(s) and "
                f"{np.unique(features[rows]).size} distinct value(s); at least 2 are needed in "
                "every cell. Merge the group or class with another, or leave it out.",
                argument="X",
                cell=where,
            )
        if rows.sum() < 5:
            small.append(f"({where[0]!r}, {where[1]!r}): {int(rows.sum())}")
        cells.append(family.fit_cell(features[rows], weight[rows]))
    if small:
        warnings.warn(
            f"Cells (class, group) with fewer than 5 rows: {', '.join(small)}.",
            FairprogWarning,
            stacklevel=3,
        )
    columns = [np.array(c).reshape(mass.shape) for c in zip(*cells, strict=True)]
    return family(
        mass / mass.sum(),
        *columns,
        classes=class_labels,
        groups=group_labels,
        feature_names=column_names(X),
    )


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
