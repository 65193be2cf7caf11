"""From gathered moments to a population: maximum likelihood, shrunk where asked for."""

from __future__ import annotations

import warnings
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fairprog.errors import DataError, FairprogWarning, ModelError
from fairprog.kernels.shrinkage import shrink
from fairprog.labels import Array, sorted_labels
from fairprog.populations.cells import (
    STRUCTURES,
    check_cells_of_variances,
    check_counts,
    refuse_single_rows,
)
from fairprog.populations.normal import Normal

if TYPE_CHECKING:
    from fairprog.populations.moments import Moments

__all__ = ["estimated"]


def estimated(
    moments: Moments, family: str, covariance: str | None, shrinkage: float | str
) -> Normal:
    """Return the population with these moments; see :meth:`Moments.population`."""
    if family != "normal":
        raise ModelError(
            f"`family` must be 'normal'; found {family!r}. For a log-normal population gather "
            "the moments of log X.",
            argument="family",
        )
    form = moments.covariance if covariance is None else covariance
    if form not in STRUCTURES or (moments.covariance != "full" and form != moments.covariance):
        raise ModelError(
            f"`covariance` is {form!r}, but {moments.covariance!r} ones were gathered.",
            argument="covariance",
        )
    if shrinkage != "auto" and not (isinstance(shrinkage, (int, float)) and 0 <= shrinkage <= 1):
        raise ModelError(
            f"`shrinkage` must be 'auto' or lie in [0, 1]; found {shrinkage!r}.",
            argument="shrinkage",
        )
    classes, groups, count, mass, mean = cells_of(moments)
    if form != "tied":
        refuse_single_rows(count, classes, groups)
    cov = _covariances(moments, form, classes, groups, mass)
    small = count < (5 * mean.shape[2] if form == "full" else 5)
    if shrinkage == 0.0 and form == "full":
        check_counts(count, mean.shape[2], mean, cov, classes, groups)
    elif shrinkage == 0.0 and form == "diagonal":
        check_cells_of_variances(count, classes, groups)
    elif shrinkage != 0.0:
        cov, used = shrink(cov, mass, count, shrinkage)
        if small.any():
            warnings.warn(
                f"{int(small.sum())} cell(s) have fewer than 5 d rows; their covariances are "
                f"shrunk towards their own group's pooled one by {used[small].min():.2g} to "
                f"{used[small].max():.2g}.",
                FairprogWarning,
                stacklevel=3,
            )
    labels: dict[str, Any] = {
        "classes": classes,
        "groups": groups,
        "feature_names": moments.feature_names,
    }
    prior = mass / mass.sum()
    if mean.shape[2] == 1:
        std = np.sqrt(cov.reshape(prior.shape))
        return Normal(prior, mean[..., 0], std=std, **labels).with_rows(count, mass)
    if form == "tied":
        cov = cov[0]
    return Normal(prior, mean, cov=cov, covariance=form, **labels).with_rows(count, mass)


def _covariances(
    moments: Moments,
    form: str,
    classes: tuple[Hashable, ...],
    groups: tuple[Hashable, ...],
    mass: Array,
) -> Array:
    """Return the cells' covariances, (K, G, d, d) or, of diagonal ones, (K, G, d)."""
    shape = mass.shape
    if moments.covariance == "tied":
        pooled = np.stack([moments._sums.scatter[g] for g in groups])
        pooled /= mass.sum(axis=0)[:, None, None]
        return np.broadcast_to(pooled, (*shape, *pooled.shape[1:]))
    scatter = np.stack([moments._sums.scatter[c, g] for c in classes for g in groups])
    if form == "diagonal" and scatter.ndim == 3:
        scatter = np.diagonal(scatter, axis1=1, axis2=2)
    scatter = scatter.reshape(*shape, *scatter.shape[1:])
    extra = (None,) * (scatter.ndim - 2)
    if form == "tied":
        pooled = scatter.sum(axis=0) / mass.sum(axis=0)[:, *extra]
        return np.broadcast_to(pooled, scatter.shape)
    return scatter / mass[..., *extra]


def cells_of(
    moments: Moments,
) -> tuple[tuple[Hashable, ...], tuple[Hashable, ...], NDArray[np.intp], Array, Array]:
    """Return labels, counts, masses and means as arrays; DataError for an empty cell."""
    if not moments._sums.count:
        raise DataError("No rows have been gathered yet.", argument="X")
    classes = moments.classes or sorted_labels(c for c, _ in moments._sums.count)
    groups = moments.groups or sorted_labels(g for _, g in moments._sums.count)
    empty = [(c, g) for c in classes for g in groups if (c, g) not in moments._sums.count]
    if empty:
        c, g = empty[0]
        raise DataError(
            f"Class {c!r}, group {g!r} has no rows; every cell needs some. Merge the group or "
            "class with another, or leave it out.",
            argument="X",
            cell=(c, g),
        )
    shape = len(classes), len(groups)
    count = np.array([[moments._sums.count[c, g] for g in groups] for c in classes])
    mass = np.array([[moments._sums.mass[c, g] for g in groups] for c in classes])
    mean = np.stack([moments._sums.mean[c, g] for c in classes for g in groups])
    return classes, groups, count, mass, mean.reshape(*shape, -1)
