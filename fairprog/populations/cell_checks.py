"""What the cells of a normal population must satisfy, checked with messages that name the cell."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairprog.errors import DataError, FairprogWarning, ModelError
from fairprog.kernels.algebra.blas import cholesky
from fairprog.kernels.algebra.null_directions import (
    MEAN_SPREAD,
    mean_spread,
    restrict,
    split_support,
)
from fairprog.kernels.multivariate.normal import pooled_covariance
from fairprog.labels import Array, Indices, check_number

LEAST_VARIANCE = 1e-300  # below it numbers have fewer digits, and inverses none
ROUNDING = (
    "A feature whose deviation is below 1e-10 of its mean counts as constant, as rounding may be "
    "all that varies: subtract a constant from it."
)
STRUCTURES = ("full", "tied", "diagonal")
MEASURED = {
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
            f"{MEASURED.get(needed, 'found')} {found[i, a]:.6g}.",
            argument=argument,
            cell=(classes[i], groups[a]),
        )


def support_of_cells(
    prior: Array,
    mean: Array,
    cov: Array,
    within: Array,
    classes: Sequence[Hashable],
    groups: Sequence[Hashable],
) -> tuple[Array, Array]:
    """Return bases of the support and of the null directions, (d, k) and (d, d - k).

    `cov` has one symmetric matrix per cell, or (1, G, d, d) where classes share them; `within` is
    the pooled covariance.

    Raises
    ------
    DataError
        If nothing varies, if a direction is constant within cells but differs between them, or
        if a cell's covariance has negative eigenvalues.
    """
    largest = float(np.diagonal(cov, axis1=-2, axis2=-1).max())
    if 0.0 < largest < LEAST_VARIANCE:
        raise DataError(
            f"The largest standard deviation is {np.sqrt(largest):.3g}: squares as small as its "
            "cannot be inverted. Scale the features up.",
            argument="X",
        )
    refuse_below(list(np.moveaxis(cov, 1, 0)), -1e-8, classes, groups)
    basis, null = split_support(prior, mean, within)
    if basis.shape[1] == 0 or not largest > 0:
        raise DataError(
            f"`cov` has no direction with positive variance: the largest standard deviation is "
            f"{np.sqrt(largest):.3g}, about means up to {np.abs(mean).max():.3g}. {ROUNDING}",
            argument="cov",
        )
    spread = mean_spread(prior, mean, within, null)
    if spread.size and spread.max() > MEAN_SPREAD:
        direction = null[:, int(np.argmax(spread))]
        columns = [int(j) for j in np.flatnonzero(np.abs(direction) > 1e-8)]
        more = f" and {len(columns) - 8} more" if len(columns) > 8 else ""
        shown = f"{columns[:8]}{more}"
        raise DataError(
            f"The features {shown} have a combination that is constant within every cell but "
            f"differs between cells (by {spread.max():.3g} of its scale): the divergence between "
            f"cells is infinite. Drop one of these features. {ROUNDING}",
            argument="mean",
        )
    return basis, null


def refuse_asymmetric(cov: Array, classes: Sequence[Hashable], groups: Sequence[Hashable]) -> None:
    """Refuse matrices that are not symmetric to 1e-8 of their largest entry."""
    asymmetry, size = np.zeros(cov.shape[:2]), np.zeros(cov.shape[:2])
    for cell in np.ndindex(asymmetry.shape):
        asymmetry[cell] = np.abs(cov[cell] - cov[cell].T).max()
        size[cell] = np.abs(cov[cell]).max()
    refuse_cells(asymmetry > 1e-8 * size, asymmetry, "cov", "symmetric", classes, groups)


def refuse_below(
    cells: Sequence[Array], bound: float, classes: Sequence[Hashable], groups: Sequence[Hashable]
) -> None:
    """Refuse matrices (K, d, d) of a group with an eigenvalue, at unit variances, below a bound.

    Each cell is settled by a Cholesky factor, and by its eigenvalues only where that fails.
    """
    smallest = np.full((len(cells[0]), len(cells)), np.inf)
    for i, a in np.ndindex(smallest.shape):
        S = cells[a][i]
        variances = np.abs(np.diagonal(S))
        positive = variances > 0
        scale = np.where(positive, 1.0 / np.sqrt(np.where(positive, variances, 1.0)), 1.0)
        shifted = S * np.outer(scale, scale)
        shifted[np.diag_indices(len(S))] -= bound
        try:
            cholesky(shifted)
        except np.linalg.LinAlgError:
            smallest[i, a] = np.linalg.eigvalsh(shifted)[0] + bound
    refuse_cells(smallest <= bound, smallest, "cov", "positive definite", classes, groups)


@contextmanager
def room_for_covariances(n_cells: int, d: int, covariance: str) -> Iterator[None]:
    """Where memory does not suffice, say how much the covariances take and what takes less."""
    try:
        yield
    except MemoryError as error:
        if covariance == "diagonal":
            raise
        count, what = f"{n_cells} cell(s)", "tied ones, one per group, take less"
        if covariance == "tied":
            count, what = f"{n_cells} group(s)", "those are tied already"
        raise DataError(
            f"The covariances of {count} and {d} features are {8.0 * n_cells * d**2 / 2**30:.3g} "
            "GiB, and memory does not suffice. covariance='diagonal' keeps variances only; "
            f"{what}; or use fewer features (for instance their principal components).",
            argument="X",
        ) from error


class RestrictedCells:
    """U' S_i U for the covariances S_i (K, d, d) of one group, each computed when asked for.

    What is returned belongs to the caller, who may overwrite it.
    """

    def __init__(self, cells: Array, basis: Array) -> None:
        self._cells, self._basis = cells, basis
        self.strides = cells.strides
        self.shape = (len(cells), basis.shape[1], basis.shape[1])

    def __len__(self) -> int:
        return len(self._cells)

    def __getitem__(self, k: Any) -> Any:
        """Return one covariance, or the sequence of those at a slice or list of positions."""
        if not isinstance(k, int | np.integer):
            return RestrictedCells(self._cells[k], self._basis)
        if not 0 <= k < len(self):
            raise IndexError(k)
        d, width = self._basis.shape
        S = restrict(self._cells[k], self._basis)
        return S.copy() if d == width else np.ascontiguousarray(S)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.stack([self[k] for k in range(len(self))])


def check_structure(covariance: Any) -> str:
    """Return the structure of the covariances, if it is one."""
    if not isinstance(covariance, str) or covariance not in STRUCTURES:
        raise ModelError(
            f"`covariance` must be one of {list(STRUCTURES)}; found {covariance!r:.60}. The "
            "matrices themselves are `cov`.",
            argument="covariance",
        )
    return covariance


def check_classes(classes: Sequence[Hashable], n: int) -> None:
    """Refuse a label that is clearly continuous."""
    if len(classes) > max(20, n // 4):
        raise DataError(
            f"`y` has {len(classes)} distinct values in {n} rows: it must hold classes. Bin a "
            "continuous label first.",
            argument="y",
        )


def check_shrinkage(shrinkage: str | float | None, tied: bool) -> float | None:
    """Return None, the part in [0, 1], or -1 for "auto"."""
    if shrinkage is None:
        return None
    if tied:
        raise ModelError(
            "`shrinkage` moves class covariances towards their group's pooled one; "
            "covariance='tied' is that one already.",
            argument="shrinkage",
        )
    if isinstance(shrinkage, str):
        if shrinkage != "auto":
            raise ModelError(
                f"`shrinkage` must be 'auto' or a number in [0, 1]; found {shrinkage!r}.",
                argument="shrinkage",
            )
        return -1.0
    amount = check_number(shrinkage, "shrinkage")
    if amount > 1.0:
        raise DataError(
            f"`shrinkage` must be at most 1; found {shrinkage!r}.", argument="shrinkage"
        )
    return amount


def refuse_single_rows(
    count: Indices, classes: Sequence[Hashable], groups: Sequence[Hashable]
) -> None:
    """Refuse cells with fewer than two rows."""
    for i, c in enumerate(classes):
        for a, g in enumerate(groups):
            if count[i, a] < 2:
                raise DataError(
                    f"Class {c!r}, group {g!r} has {count[i, a]} row(s); at least 2 are needed "
                    "in every cell. Merge the group or class with another, or leave it out.",
                    argument="X",
                    cell=(c, g),
                )


def small_cells(
    count: Array | Indices, least: int, classes: Sequence[Hashable], groups: Sequence[Hashable]
) -> str:
    """Return the cells with fewer rows than that and their numbers, as text."""
    found = [(int(count[i, a]), classes[i], groups[a]) for i, a in np.argwhere(count < least)]
    return ", ".join(f"({c!r}, {g!r}): {n}" for n, c, g in found)


def warn_small(
    count: Array | Indices,
    classes: Sequence[Hashable],
    groups: Sequence[Hashable],
    stacklevel: int = 3,
) -> None:
    """Warn of cells with fewer than five rows."""
    small = small_cells(count, 5, classes, groups)
    if small:
        warnings.warn(
            f"Cells (class, group) with fewer than 5 rows: {small}.",
            FairprogWarning,
            stacklevel=stacklevel,
        )


def check_cells_of_variances(
    count: Indices, classes: Sequence[Hashable], groups: Sequence[Hashable]
) -> None:
    """Refuse cells with fewer than two rows, warn of fewer than five: variances need no more."""
    refuse_single_rows(count, classes, groups)
    warn_small(count, classes, groups, stacklevel=4)


def check_counts(
    count: Indices,
    d: int,
    mean: Array,
    cov: Array,
    classes: Sequence[Hashable],
    groups: Sequence[Hashable],
    shrinkage: float | None = None,
) -> None:
    """Refuse cells with too few rows for a covariance; warn of cells with fewer than 5 d.

    Tied and shrunk covariances draw on all rows of their group.
    """
    refuse_single_rows(count, classes, groups)
    weights = count / count.sum()
    tied = len(cov) < len(count)
    within = pooled_covariance(weights.sum(axis=0)[None] if tied else weights, cov)
    varying = split_support(weights, mean, within)[0].shape[1]
    shrunk = shrinkage is not None and shrinkage != 0.0
    if tied or shrunk:
        rows = count.sum(axis=0)
        for a, g in enumerate(groups):
            if rows[a] < varying + len(classes):
                raise DataError(
                    f"Group {g!r} has {rows[a]} rows for {varying} features that vary and "
                    f"{len(classes)} class means; its pooled covariance needs at least "
                    f"{varying + len(classes)}. Use covariance='diagonal', fewer "
                    "features (for instance their principal components) or merge groups.",
                    argument="X",
                    cell=(None, g),
                )
    if tied:
        return
    for i, c in enumerate(classes):
        for a, g in enumerate(groups):
            if count[i, a] <= varying and not shrunk:
                raise DataError(
                    f"Class {c!r}, group {g!r} has {count[i, a]} rows for {varying} features "
                    f"that vary; a covariance needs at least {varying + 1}. Give "
                    "shrinkage='auto', which draws on all rows of the group, gather more rows, "
                    "merge cells, or use covariance='diagonal' or fewer features.",
                    argument="X",
                    cell=(c, g),
                )
    small = small_cells(count, 5 * d, classes, groups)
    if small:
        warnings.warn(
            f"Cells (class, group) with fewer than 5 d = {5 * d} rows: {small}. Their "
            + (
                f"covariances were shrunk towards their group's ({_shrinkage_text(shrinkage)})."
                if shrunk
                else "covariances are maximum-likelihood estimates; no shrinkage was used."
            ),
            FairprogWarning,
            stacklevel=3,
        )


def _shrinkage_text(amount: float | None) -> str:
    """Return the amount as it was given."""
    automatic = amount is not None and amount < 0
    return "shrinkage='auto'" if automatic else f"shrinkage={amount:g}"
