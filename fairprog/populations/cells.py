"""What the cells of a normal population must satisfy, checked with messages that name the cell."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from fairprog.errors import DataError, FairprogWarning
from fairprog.kernels.support import mean_spread, split_support
from fairprog.labels import Array, Indices

__all__ = ["check_classes", "check_counts", "refuse_cells", "support_of_cells"]

MEASURED = {
    "positive": "found",
    "symmetric": "its largest asymmetry is",
    "positive definite": "its smallest eigenvalue, at unit variances, is",
}


def refuse_cells(
    bad: NDArray[np.bool_],
    found: Array,
    argument: str,
    needed: str,
    classes: Sequence[Hashable],
    groups: Sequence[Hashable],
) -> None:
    """Raise a DataError naming the first bad cell, what was found and what is needed."""
    where = np.argwhere(bad)
    if where.size:
        i, a = (int(k) for k in where[0])
        raise DataError(
            f"`{argument}` of class {classes[i]!r}, group {groups[a]!r} must be {needed}; "
            f"{MEASURED[needed]} {found[i, a]:.6g}.",
            argument=argument,
            cell=(classes[i], groups[a]),
        )


def support_of_cells(
    prior: Array,
    mean: Array,
    cov: Array,
    classes: Sequence[Hashable],
    groups: Sequence[Hashable],
) -> tuple[Array, Array]:
    """Return bases of the support and of the null directions, (d, k) and (d, d - k).

    Raises
    ------
    DataError
        If nothing varies, if a direction is constant within cells but differs between them, or
        if a cell's covariance is not positive definite on the support.
    """
    _refuse_indefinite(cov, classes, groups)
    basis, null = split_support(prior, mean, cov)
    if basis.shape[1] == 0 or not np.diagonal(cov, axis1=-2, axis2=-1).max() > 0:
        raise DataError("`cov` has no direction with positive variance.", argument="cov")
    spread = mean_spread(prior, mean, cov, null)
    if spread.size and spread.max() > 1e-5:
        direction = null[:, int(np.argmax(spread))]
        columns = [int(j) for j in np.flatnonzero(np.abs(direction) > 1e-8)]
        raise DataError(
            f"The features {columns} have a combination that is constant within every cell but "
            f"differs between cells (by {spread.max():.3g} of its scale): the divergence between "
            "cells is infinite. Drop one of these features.",
            argument="mean",
        )
    smallest = _smallest_eigenvalue(basis.T @ cov @ basis)
    refuse_cells(smallest <= 1e-13, smallest, "cov", "positive definite", classes, groups)
    return basis, null


def _refuse_indefinite(
    cov: Array, classes: Sequence[Hashable], groups: Sequence[Hashable]
) -> None:
    """Refuse what is no covariance at all, before anything is set aside as constant."""
    smallest = _smallest_eigenvalue(cov)
    refuse_cells(smallest < -1e-8, smallest, "cov", "positive definite", classes, groups)


def _smallest_eigenvalue(cov: Array) -> Array:
    """Return the smallest eigenvalue of every cell at unit variances (so size does not matter)."""
    variances = np.abs(np.diagonal(cov, axis1=-2, axis2=-1))
    scale = np.where(variances > 0, 1.0 / np.sqrt(np.where(variances > 0, variances, 1.0)), 1.0)
    out: Array = np.linalg.eigvalsh(cov * scale[..., :, None] * scale[..., None, :])[..., 0]
    return out


def check_classes(classes: Sequence[Hashable], n: int) -> None:
    """Refuse a label that is clearly continuous."""
    if len(classes) > max(20, n // 4):
        raise DataError(
            f"`y` has {len(classes)} distinct values in {n} rows: it must hold classes. Bin a "
            "continuous label first.",
            argument="y",
        )


def check_counts(
    count: Indices,
    d: int,
    mean: Array,
    cov: Array,
    classes: Sequence[Hashable],
    groups: Sequence[Hashable],
) -> None:
    """Refuse cells with too few rows for a covariance; warn of cells with fewer than 5 d."""
    for i, c in enumerate(classes):
        for a, g in enumerate(groups):
            if count[i, a] < 2:
                raise DataError(
                    f"Class {c!r}, group {g!r} has {count[i, a]} row(s); at least 2 are needed "
                    "in every cell. Merge the group or class with another, or leave it out.",
                    argument="X",
                    cell=(c, g),
                )
    mass = count / count.sum()
    varying = split_support(mass, mean, cov)[0].shape[1]
    for i, c in enumerate(classes):
        for a, g in enumerate(groups):
            if count[i, a] <= varying:
                raise DataError(
                    f"Class {c!r}, group {g!r} has {count[i, a]} rows for {varying} features "
                    f"that vary; a covariance needs at least {varying + 1}. Use fewer features "
                    "(for instance their principal components) or merge cells.",
                    argument="X",
                    cell=(c, g),
                )
    small = [
        f"({c!r}, {g!r}): {count[i, a]}"
        for i, c in enumerate(classes)
        for a, g in enumerate(groups)
        if count[i, a] < 5 * d
    ]
    if small:
        warnings.warn(
            f"Cells (class, group) with fewer than 5 d = {5 * d} rows: {', '.join(small)}. Their "
            "covariances are maximum-likelihood estimates; no shrinkage was used.",
            FairprogWarning,
            stacklevel=3,
        )
