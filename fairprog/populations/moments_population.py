"""From gathered moments to a population: maximum likelihood, shrunk where asked for."""

from __future__ import annotations

import warnings
from collections.abc import Hashable

import numpy as np
from numpy.typing import NDArray

from fairprog.errors import DataError, FairprogWarning, ModelError
from fairprog.kernels.moments.shrinkage import shrink
from fairprog.labels import Array, sorted_labels
from fairprog.populations.cell_checks import (
    STRUCTURES,
    check_cells_of_variances,
    check_counts,
    refuse_single_rows,
)
from fairprog.populations.cell_sums import CellSums
from fairprog.populations.normal import Normal


def estimated(
    sums: CellSums,
    classes: tuple[Hashable, ...] | None,
    groups: tuple[Hashable, ...] | None,
    feature_names: tuple[str, ...] | None,
    *,
    family: str,
    covariance: str | None,
    shrinkage: float | str,
) -> Normal:
    """Return the population with these moments; see ``Moments.population``."""
    if family != "normal":
        raise ModelError(
            f"`family` must be 'normal'; found {family!r}. For a log-normal population gather "
            "the moments of log X.",
            argument="family",
        )
    form = sums.covariance if covariance is None else covariance
    if form not in STRUCTURES or (sums.covariance != "full" and form != sums.covariance):
        raise ModelError(
            f"`covariance` is {form!r}, but {sums.covariance!r} ones were gathered.",
            argument="covariance",
        )
    if shrinkage != "auto" and not (isinstance(shrinkage, (int, float)) and 0 <= shrinkage <= 1):
        raise ModelError(
            f"`shrinkage` must be 'auto' or lie in [0, 1]; found {shrinkage!r}.",
            argument="shrinkage",
        )
    classes, groups, count, mass, mean = _cells_of(sums, classes, groups)
    if form != "tied":
        refuse_single_rows(count, classes, groups)
    cov = _covariances(sums, form, classes, groups, mass)
    small = count < (5 * mean.shape[2] if form == "full" else 5)
    if shrinkage == 0.0 and form == "full":
        check_counts(count, mean.shape[2], mean, cov, classes, groups)
    elif shrinkage == 0.0 and form == "diagonal":
        check_cells_of_variances(count, classes, groups)
    elif shrinkage != 0.0:
        cov, used = shrink(cov, mass, count, shrinkage)
        if small.any():
            ends = dict.fromkeys(f"{end(used[small]):.2g}" for end in (np.min, np.max))
            warnings.warn(
                f"{int(small.sum())} cell(s) have fewer than 5 d rows; their covariances are "
                f"shrunk towards their own group's pooled one by {' to '.join(ends)}.",
                FairprogWarning,
                stacklevel=3,
            )
    labels = {"classes": classes, "groups": groups, "feature_names": feature_names}
    return Normal._of_moments(count, mass, mean, cov, form, labels)


def _covariances(
    sums: CellSums,
    form: str,
    classes: tuple[Hashable, ...],
    groups: tuple[Hashable, ...],
    mass: Array,
) -> Array:
    """Return the cells' covariances, (K, G, d, d) or, of diagonal ones, (K, G, d)."""
    shape = mass.shape
    if sums.covariance == "tied":
        pooled = np.stack([sums.scatter[g] for g in groups])
        pooled /= mass.sum(axis=0)[:, None, None]
        return np.broadcast_to(pooled, (*shape, *pooled.shape[1:]))
    scatter = np.stack([sums.scatter[c, g] for c in classes for g in groups])
    if form == "diagonal" and scatter.ndim == 3:
        scatter = np.diagonal(scatter, axis1=1, axis2=2)
    scatter = scatter.reshape(*shape, *scatter.shape[1:])
    extra = (None,) * (scatter.ndim - 2)
    if form == "tied":
        pooled = scatter.sum(axis=0) / mass.sum(axis=0)[:, *extra]
        return np.broadcast_to(pooled, scatter.shape)
    return scatter / mass[..., *extra]


def _cells_of(
    sums: CellSums, classes: tuple[Hashable, ...] | None, groups: tuple[Hashable, ...] | None
) -> tuple[tuple[Hashable, ...], tuple[Hashable, ...], NDArray[np.intp], Array, Array]:
    """Return labels, counts, masses and means as arrays; DataError for an empty cell."""
    if not sums.count:
        raise DataError("No rows have been gathered yet.", argument="X")
    classes = classes or sorted_labels(c for c, _ in sums.count)
    groups = groups or sorted_labels(g for _, g in sums.count)
    cells = [(c, g) for c in classes for g in groups]
    for c, g in cells:
        if (c, g) not in sums.count:
            raise DataError(
                f"Class {c!r}, group {g!r} has no rows; every cell needs some. Merge the group or "
                "class with another, or leave it out.",
                argument="X",
                cell=(c, g),
            )
    shape = len(classes), len(groups)
    count, mass, mean = (
        np.array([part[cell] for cell in cells]) for part in (sums.count, sums.mass, sums.mean)
    )
    return classes, groups, count.reshape(shape), mass.reshape(shape), mean.reshape(*shape, -1)
