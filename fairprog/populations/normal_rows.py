"""Rows of a normal population: estimated from, drawn, moved."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import cached_property, partial
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fairprog.door import Rows
from fairprog.errors import DataError, FairprogWarning
from fairprog.kernels.moments import cell_moments
from fairprog.kernels.normal import gaussian_map, push, symmetric_root
from fairprog.kernels.shrinkage import shrink
from fairprog.labels import Array, check_features, column_names
from fairprog.populations.cells import (
    check_cells_of_variances,
    check_classes,
    check_counts,
    check_shrinkage,
    check_structure,
    restrict,
    room_for_covariances,
)
from fairprog.populations.normal_cells import NormalCells
from fairprog.transports import AffineMap

__all__ = ["NormalRows"]


class ComputedMap:
    """A map of rows that is computed when it is first called, and kept.

    Two threads that call it at once compute the same map twice, and either is right.
    """

    def __init__(self, compute: Callable[[], Callable[[Array], Array]]) -> None:
        self._compute = compute

    @cached_property
    def map(self) -> Callable[[Array], Array]:
        """The map itself."""
        return self._compute()

    def __call__(self, X: Array) -> Array:
        return self.map(X)


class NormalRows(NormalCells):
    """What a normal population does with rows; see :class:`Normal`."""

    # -- moving --

    def mapped(self, maps: Mapping[Hashable, AffineMap]) -> Self:
        """Return the population whose group g is moved by maps[g], in normal coordinates."""
        tied = self.covariance == "tied"  # one map for all classes keeps them tied
        moved = [
            push(
                maps[g].matrix,
                maps[g].offset,
                self._mean[:, a],
                self._cells[a][:1] if tied else self._cells[a],
            )
            for a, g in enumerate(self.groups)
        ]
        mean, cov = (np.stack(parts, axis=1) for parts in zip(*moved, strict=True))
        data = self.to_dict() | {"mean": mean, "cov": cov[0] if tied else cov}
        if self.is_univariate:
            data |= {"mean": mean[..., 0], "std": np.sqrt(cov[..., 0, 0])}
            del data["cov"]
        del data["population"]
        return type(self)(**data)

    def cell_maps(self, target: Self) -> Mapping[tuple[int, int], Callable[[Array], Array]]:
        """Return per cell the monotone transport to the cell of `target`, in the pooled metric.

        Each is computed when it is first called, and kept: together they are as large as the
        cells that move.
        """
        W = symmetric_root(self.pooled_cov, -0.5)
        return {
            (i, a): ComputedMap(partial(self._cell_map, target, W, i, a))
            for i, a in np.ndindex(*self.prior.shape)
        }

    def _cell_map(self, target: Self, W: Array, i: int, a: int) -> Callable[[Array], Array]:
        """Return the map of one cell to that of `target`, W the root of the metric."""
        U, S, to = self._basis, self._cells[a][i], target.cov_of(a)[i]
        same = np.array_equal(self._mean[i, a], target.location[i, a])
        if same and np.array_equal(S, to):  # a group that stays
            return lambda X: X
        inner = gaussian_map(restrict(S, U), restrict(to, U), W)
        shift = target.location[i, a] @ U - inner @ self.support_mean[i, a]
        affine = AffineMap(U @ inner @ U.T + np.eye(len(U)) - U @ U.T, U @ shift)
        return self.user_map(affine)

    # -- estimating and sampling --

    @classmethod
    def fit(
        cls,
        X: ArrayLike,
        y: ArrayLike,
        *,
        sensitive_features: ArrayLike,
        sample_weight: ArrayLike | None = None,
        classes: Sequence[Any] | None = None,
        groups: Sequence[Any] | None = None,
        covariance: str = "full",
        shrinkage: str | float | None = None,
    ) -> Self:
        """Estimate a population by maximum likelihood (moments divided by n).

        Parameters
        ----------
        X : array_like, shape (n, d) or (n,)
            Features; one feature gives a univariate population.
        y, sensitive_features : array_like, shape (n,)
            Class and group of each row.
        sample_weight : array_like, shape (n,), optional
            Nonnegative weights.
        classes, groups : sequence, optional
            Label order: given, else sorted.
        covariance : {"full", "tied", "diagonal"}
            "tied" estimates one covariance per group, pooled over its classes; "diagonal" the
            variances of every cell.
        shrinkage : float in [0, 1] or "auto", optional
            Part of every cell's covariance that is replaced by its own group's pooled one (never
            another group's: that would hide the gap). "auto" takes, cell by cell, the part that
            minimises the expected squared error for normal rows of that number (after Ledoit and
            Wolf, 2004). Default: none.

        Raises
        ------
        DataError
            For missing or infinite values, lengths that differ, unknown labels, a cell with
            fewer than two rows, or a cell whose covariance is singular.

        Warns
        -----
        FairprogWarning
            Where a cell has fewer than 5 d rows (5 for variances only), or `y` holds one class
            and `classes` is not given.

        Examples
        --------
        >>> import fairprog as fp
        >>> X, y, a = [1., 3., 2., 4., 0., 2., 5., 7.], [0, 0, 1, 1] * 2, list("aaaabbbb")
        >>> fp.Normal.fit(X * 3, y * 3, sensitive_features=a * 3).mean
        array([[2., 1.],
               [3., 6.]])
        """
        features = cls._forward(cls.check_domain(check_features(X)))
        n, d = features.shape
        if n == 0:
            raise DataError("`X` has no rows.", argument="X")
        rows = Rows.check(
            y, sensitive_features, sample_weight, n, classes=classes, groups=groups, X=X
        )
        class_labels, group_labels = rows.classes, rows.groups
        tied = check_structure(covariance) == "tied"
        diagonal = covariance == "diagonal"
        amount = check_shrinkage(shrinkage, tied)
        shape = len(class_labels), len(group_labels)
        with room_for_covariances(shape[1] if tied else shape[0] * shape[1], d, covariance):
            count, mass, mean, cov = cell_moments(
                rows.of(features), rows.y, rows.a, rows.weight, shape, covariance
            )
        check_classes(class_labels, n)
        if len(class_labels) == 1 and classes is None:
            warnings.warn(
                f"`y` holds one class ({class_labels[0]!r}): labels are ignored, and a "
                "population of one class is ideal already. Give "
                f"classes={list(class_labels)} if that is meant.",
                FairprogWarning,
                stacklevel=2,
            )
        if diagonal:
            check_cells_of_variances(count, class_labels, group_labels)
        else:
            check_counts(count, d, mean, cov, class_labels, group_labels, amount)
        prior = mass / mass.sum()
        if amount is not None:
            repeated = np.zeros(shape)
            np.add.at(repeated, (rows.y, rows.a), rows.count)
            cov = shrink(cov, mass, repeated, "auto" if amount < 0 else amount)[0]
        labels: dict[str, Any] = {
            "classes": class_labels,
            "groups": group_labels,
            "feature_names": column_names(X),
        }
        if d == 1:
            std = np.broadcast_to(np.sqrt(cov.reshape(cov.shape[:2])), prior.shape)
            return cls(prior, mean[..., 0], std=std, **labels)
        return cls(prior, mean, cov=cov[0] if tied else cov, covariance=covariance, **labels)

    def sample(
        self, n: int, random_state: int | np.random.Generator | None = None
    ) -> tuple[Array, NDArray[Any], NDArray[Any]]:
        """Draw n rows.

        Parameters
        ----------
        n : int
            Number of rows.
        random_state : int or numpy Generator, optional

        Returns
        -------
        X : Array, shape (n, d)
        y, a : arrays of labels, shape (n,)
        """
        rng, cell, y, group = self._draw(n, random_state)
        X = rng.standard_normal((len(cell), self.n_features))
        for c in range(self.prior.size):
            i, a = divmod(c, self.n_groups)
            values, vectors = np.linalg.eigh(self._cells[a][i])
            root = vectors * np.sqrt(np.maximum(values, 0.0))
            X[cell == c] = self._mean[i, a] + X[cell == c] @ root.T
        return self._backward(X), y, group
