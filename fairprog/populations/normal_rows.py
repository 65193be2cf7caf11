"""Rows of a normal population: estimated from, drawn, moved."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fairprog.errors import DataError, FairprogWarning
from fairprog.groups import refuse_reordered
from fairprog.kernels.moments import cell_moments
from fairprog.kernels.shrinkage import shrink
from fairprog.labels import (
    Array,
    check_features,
    check_weights,
    column_names,
    encode,
    label_order,
    label_vector,
)
from fairprog.populations.cells import (
    check_cells_of_variances,
    check_classes,
    check_counts,
    check_shrinkage,
    check_structure,
    room_for_covariances,
)
from fairprog.populations.normal_maps import NormalMaps

__all__ = ["NormalRows"]


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
        refuse_reordered(X=X, y=y, sensitive_features=sensitive_features)
        features = cls._forward(cls.check_domain(check_features(X)))
        n, d = features.shape
        if n == 0:
            raise DataError("`X` has no rows.", argument="X")
        y_vector = label_vector(y, "y", n)
        a_vector = label_vector(sensitive_features, "sensitive_features", n)
        class_labels = label_order(classes, y_vector, "classes")
        group_labels = label_order(groups, a_vector, "groups")
        i = encode(y, class_labels, "y", n)
        g = encode(sensitive_features, group_labels, "sensitive_features", n)
        weight = check_weights(sample_weight, n)
        tied = check_structure(covariance) == "tied"
        diagonal = covariance == "diagonal"
        amount = check_shrinkage(shrinkage, tied)
        shape = len(class_labels), len(group_labels)
        with room_for_covariances(shape[1] if tied else shape[0] * shape[1], d, covariance):
            count, mass, mean, cov = cell_moments(features, i, g, weight, shape, covariance)
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
            cov = shrink(cov, mass, count, "auto" if amount < 0 else amount)[0]
        labels: dict[str, Any] = {
            "classes": class_labels,
            "groups": group_labels,
            "feature_names": column_names(X),
        }
        if d == 1:
            std = np.broadcast_to(np.sqrt(cov.reshape(cov.shape[:2])), prior.shape)
            return cls(prior, mean[..., 0], std=std, **labels).with_rows(count, mass)
        cov = cov[0] if tied else cov
        out = cls(prior, mean, cov=cov, covariance=covariance, **labels)
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
            values, vectors = np.linalg.eigh(self._cells[a][i])
            root = vectors * np.sqrt(np.maximum(values, 0.0))
            X[cell == c] = self._mean[i, a] + X[cell == c] @ root.T
        return self._backward(X), y, group
