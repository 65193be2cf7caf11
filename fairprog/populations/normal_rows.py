"""Rows of a normal population: estimated from, drawn, moved."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fairprog.door import Rows
from fairprog.errors import DataError, FairprogWarning
from fairprog.kernels.moments.cell_moments import cell_moments
from fairprog.kernels.moments.shrinkage import shrink
from fairprog.labels import Array, Indices, check_features, column_names
from fairprog.populations.cell_checks import (
    check_cells_of_variances,
    check_classes,
    check_counts,
    check_shrinkage,
    check_structure,
    room_for_covariances,
)
from fairprog.populations.coded_rows import refuse_empty
from fairprog.populations.normal_maps import NormalMaps


class NormalRows(NormalMaps):
    """What a normal population does with rows; see :class:`Normal`."""

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
        n, d = refuse_empty(features), features.shape[1]
        rows = Rows.check(
            y, sensitive_features, sample_weight, n, classes=classes, groups=groups, X=X
        )
        tied = check_structure(covariance) == "tied"
        amount = check_shrinkage(shrinkage, tied)
        K, G = rows.shape
        room = room_for_covariances(G if tied else K * G, d, covariance)
        with room, np.errstate(over="ignore", invalid="ignore"):
            count, mass, mean, cov = cell_moments(
                rows.of(features), rows.y, rows.a, rows.weight, rows.shape, covariance
            )
        check_classes(rows.classes, n)
        if not np.isfinite(cov).all():
            raise DataError(
                f"The features are so large (up to {np.abs(features).max():.3g}) that their "
                "squares are no numbers; change their units.",
                argument="X",
            )
        if K == 1 and classes is None:
            warnings.warn(
                f"`y` holds one class ({rows.classes[0]!r}): labels are ignored, and a "
                "population of one class is ideal already. Give "
                f"classes={list(rows.classes)} if that is meant.",
                FairprogWarning,
                stacklevel=2,
            )
        if covariance == "diagonal":
            check_cells_of_variances(count, rows.classes, rows.groups)
        else:
            check_counts(count, d, mean, cov, rows.classes, rows.groups, amount)
        if amount is not None:
            cov = shrink(cov, mass, rows.cells, "auto" if amount < 0 else amount)[0]
        labels = {"classes": rows.classes, "groups": rows.groups, "feature_names": column_names(X)}
        return cls._of_moments(rows.cells, mass, mean, cov, covariance, labels)

    @classmethod
    def _of_moments(
        cls,
        count: Indices,
        mass: Array,
        mean: Array,
        cov: Array,
        covariance: str,
        labels: Mapping[str, Any],
    ) -> Self:
        """Return the population of counts, sums of weights, means and covariances of cells.

        Parameters
        ----------
        count, mass : array, shape (K, G)
        mean : Array, shape (K, G, d)
        cov : Array, shape (K, G, d, d), or (K, G, d) where diagonal
            Tied ones are the same for all classes, or shape (1, G, d, d).
        covariance : {"full", "tied", "diagonal"}
        labels : mapping
            classes, groups, feature_names.
        """
        prior = mass / mass.sum()
        if mean.shape[2] == 1:
            std = np.broadcast_to(np.sqrt(cov.reshape(cov.shape[:2])), prior.shape)
            out = cls(prior, mean[..., 0], std=std, **labels)
        else:
            given = cov[0] if covariance == "tied" else cov
            out = cls(prior, mean, cov=given, covariance=covariance, **labels)
        return out.with_rows(count, mass)

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
            X[cell == c] = self._mean[i, a] + self._coloured(X[cell == c], i, a)
        return self._backward(X), y, group

    def _coloured(self, z: Array, i: int, a: int) -> Array:
        """Return standard normal rows (n, d) with the covariance of a cell."""
        values, vectors = np.linalg.eigh(self._cells[a][i])
        return z @ (vectors * np.sqrt(np.maximum(values, 0.0))).T
