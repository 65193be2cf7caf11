"""Moments gathered from pieces of rows, and added up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from numpy.typing import ArrayLike

from fairprog.door import refuse_reordered
from fairprog.errors import DataError, ModelError
from fairprog.labels import as_labels, check_weights, column_names, sorted_labels
from fairprog.populations.bootstrap_sums import poisson_sums
from fairprog.populations.cell_checks import check_structure
from fairprog.populations.cell_sums import CellSums
from fairprog.populations.coded_rows import codes_of, refuse_missing, rows_of
from fairprog.populations.table_chunks import Chunk


class Gathered:
    """What `Moments` gathers, row by row or from others; see there."""

    def __init__(
        self,
        covariance: str = "full",
        *,
        classes: Sequence[Any] | None = None,
        groups: Sequence[Any] | None = None,
        bootstrap: int = 0,
    ) -> None:
        self.covariance = check_structure(covariance)
        self.classes = None if classes is None else as_labels(classes, len(classes), "classes")
        self.groups = None if groups is None else as_labels(groups, len(groups), "groups")
        self.feature_names: tuple[str, ...] | None = None
        self.source: str | None = None
        self.n_chunks = 0
        self._n_features: int | None = None
        self._sums = CellSums(covariance)
        self._replicates = [CellSums(covariance) for _ in range(bootstrap)]

    @property
    def n_rows(self) -> int:
        """Number of rows of positive weight seen so far; a whole weight counts as that many."""
        return sum(self._sums.count.values())

    @property
    def n_replicates(self) -> int:
        """Number of bootstrap replicates gathered beside."""
        return len(self._replicates)

    @property
    def n_features(self) -> int | None:
        """Number of features, None before the first rows."""
        return self._n_features

    def __repr__(self) -> str:
        return (
            f"Moments(covariance={self.covariance!r}, rows={self.n_rows}, cells="
            f"{len(self._sums.count)}, features={self._n_features})"
        )

    # -- gathering --

    def partial_fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        sensitive_features: ArrayLike,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Add rows; all of them or, if an error is raised, none.

        Parameters
        ----------
        X : array_like, shape (n, d) or (n,)
            Features: an array, a data frame or a memory map (which is not copied).
        y, sensitive_features : array_like, shape (n,)
            Class and group of each row.
        sample_weight : array_like, shape (n,), optional
            Nonnegative weights.

        Raises
        ------
        DataError
            For missing or infinite values (naming the row), lengths that differ, labels not
            listed at construction, another number of features or other column names than before,
            and where memory does not suffice for the covariances.
        """
        refuse_reordered(
            X=X, y=y, sensitive_features=sensitive_features, sample_weight=sample_weight
        )
        return self._add(Chunk(rows_of(X), y, sensitive_features, sample_weight, column_names(X)))

    def _add(self, chunk: Chunk) -> Self:
        """Add the rows of a chunk; all of them or none."""
        features, names = chunk.X, chunk.names
        n, d = features.shape
        self._check_features(d, names)
        i, classes = codes_of(chunk.y, self.classes, "y", n)
        a, groups = codes_of(chunk.group, self.groups, "sensitive_features", n)
        weight = None if chunk.weight is None else check_weights(chunk.weight, n)
        if not n:
            self.n_chunks += 1
            return self
        cells = [(c, g) for c in classes for g in groups]
        piece = Gathered(self.covariance)
        piece.n_chunks, piece._n_features, piece.feature_names = 1, d, names
        piece._sums = CellSums.of_rows(
            self.covariance, features, i * len(groups) + a, cells, weight
        )
        if not piece._sums.is_finite():
            refuse_missing(features)
        code = i * len(groups) + a
        piece._replicates = poisson_sums(
            len(self._replicates), self.covariance, features, code, cells, weight
        )
        return self._absorb(piece, copy=False)

    def merge(self, other: Any) -> Self:
        """Add what another has gathered, which is left as it is.

        Raises
        ------
        ModelError
            If the other keeps other covariances.
        DataError
            If it has other features or labels not listed at construction.
        """
        if not isinstance(other, Gathered) or other.covariance != self.covariance:
            raise ModelError(
                f"`other` must be Moments(covariance={self.covariance!r}); found {other!r}.",
                argument="other",
            )
        if other is self:
            raise ModelError("`other` is this very object.", argument="other")
        if self.source is not None and other.source not in (None, self.source):
            raise ModelError(
                f"`other` holds {other.source}; these moments are of {self.source}.",
                argument="other",
            )
        return self._absorb(other, copy=True)

    def _absorb(self, other: Gathered, copy: bool) -> Self:
        """Add another's sums; without `copy` its arrays become ours."""
        if other._n_features is not None:
            self._check_features(other._n_features, other.feature_names)
        for k, axis, known in ((0, "classes", self.classes), (1, "groups", self.groups)):
            new = {cell[k] for cell in other._sums.count} - set(known or ())
            if known is not None and new:
                raise DataError(
                    f"`other` has the {axis} {list(sorted_labels(new))}; known are {list(known)}.",
                    argument="other",
                )
        self._n_features = self._n_features or other._n_features
        self.feature_names = self.feature_names or other.feature_names
        if len(other._replicates) != len(self._replicates):
            raise ModelError(
                f"`other` has {len(other._replicates)} bootstrap replicates; needed are "
                f"{len(self._replicates)}.",
                argument="other",
            )
        self._sums.add(other._sums, copy=copy)
        for mine, theirs in zip(self._replicates, other._replicates, strict=True):
            mine.add(theirs, copy=copy)
        self.n_chunks += other.n_chunks
        return self

    def _check_features(self, d: int, names: tuple[str, ...] | None) -> None:
        if self._n_features not in (None, d):
            raise DataError(
                f"`X` has {d} features; the rows before had {self._n_features}.", argument="X"
            )
        if names is not None and self.feature_names not in (None, names):
            raise DataError(
                f"`X` has the columns {list(names)}; the rows before had "
                f"{list(self.feature_names or ())}, in this order.",
                argument="X",
            )
