"""Streaming sufficient statistics: counts, means and covariances of every cell, in one pass."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from operator import length_hint
from pathlib import Path
from typing import Any, Self

from numpy.typing import ArrayLike

from fairprog.codec import check_folder, check_suffix, load, register, save
from fairprog.errors import DataError, ModelError
from fairprog.fields import either, labels, read, refuse
from fairprog.groups import refuse_reordered
from fairprog.labels import (
    as_labels,
    check_weights,
    column_names,
    sorted_labels,
)
from fairprog.populations.cell_sums import CellSums
from fairprog.populations.cells import STRUCTURES, room_for_covariances
from fairprog.populations.moments_population import estimated
from fairprog.populations.normal import Normal
from fairprog.populations.rows import codes_of, refuse_missing, rows_of
from fairprog.populations.table_chunks import Chunk, Columns, chunks_of

__all__ = ["Moments"]


class Moments:
    r"""Counts, means and covariances per (class, group), gathered from any number of pieces.

    Rows are seen once and never kept, so data may be larger than memory; pieces may be gathered
    anywhere and merged. Of float32 (or float16) rows the products are float32 about a point near
    the cell's mean, and summed in float64, where that resolves the variance of every direction;
    of all others, and of rows such as a layer norm returns, everything is float64.

    Parameters
    ----------
    covariance : {"full", "tied", "diagonal"}
        What is kept: a (d, d) scatter per cell; one per group, of every row about the mean of its
        own cell; or the d variances of every cell.
    classes, groups : sequence of hashables, optional
        The labels and their order; default those met, sorted.

    Attributes
    ----------
    n_chunks : int
        Number of calls of `partial_fit`, those of merged pieces included.
    n_rows : int
        Number of rows of positive weight.
    source : str or None
        What the rows are, in words, if whoever gathers them says so: checkpoints and pieces of
        another source are refused.

    Notes
    -----
    Source: Chan, Golub and LeVeque (1983), theory.md section 9.

    Examples
    --------
    >>> import fairprog as fp
    >>> D = fp.Normal([[.3, .2], [.3, .2]], [[0., 1.], [2., 2.]], std=[[1., 1.], [1., 2.]])
    >>> X, y, a = D.sample(1000, random_state=0)
    >>> moments = fp.Moments()
    >>> for start in range(0, 1000, 100):
    ...     rows = slice(start, start + 100)
    ...     _ = moments.partial_fit(X[rows], y[rows], sensitive_features=a[rows])
    >>> E, F = moments.population(), fp.Normal.fit(X, y, sensitive_features=a)
    >>> bool(abs(E.mean - F.mean).max() < 1e-12), moments.n_rows
    (True, 1000)
    """

    def __init__(
        self,
        covariance: str = "full",
        *,
        classes: Sequence[Any] | None = None,
        groups: Sequence[Any] | None = None,
    ) -> None:
        if covariance not in STRUCTURES:
            raise ModelError(
                f"`covariance` must be one of {list(STRUCTURES)}; found {covariance!r}.",
                argument="covariance",
            )
        self.covariance = covariance
        self.classes = None if classes is None else as_labels(classes, len(classes), "classes")
        self.groups = None if groups is None else as_labels(groups, len(groups), "groups")
        self.feature_names: tuple[str, ...] | None = None
        self.source: str | None = None
        self.n_chunks = 0
        self._n_features: int | None = None
        self._sums = CellSums(covariance)

    @property
    def n_rows(self) -> int:
        """Number of rows of positive weight seen so far."""
        return sum(self._sums.count.values())

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
        refuse_reordered(X=X, y=y, sensitive_features=sensitive_features)
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
        piece = Moments(self.covariance)
        piece.n_chunks, piece._n_features, piece.feature_names = 1, d, names
        piece._sums = CellSums.of_rows(
            self.covariance, features, i * len(groups) + a, cells, weight
        )
        if not piece._sums.is_finite():
            refuse_missing(features)
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
        if not isinstance(other, Moments) or other.covariance != self.covariance:
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

    def _absorb(self, other: Moments, copy: bool) -> Self:
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
        self._sums.add(other._sums, copy=copy)
        self.n_chunks += other.n_chunks
        return self

    def update(
        self,
        chunks: Iterable[Any | Callable[[], Any]],
        *,
        y: str | None = None,
        sensitive_features: str | None = None,
        sample_weight: str | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        every: int = 10,
        progress: bool = True,
    ) -> Self:
        """Add the rows of an iterator of chunks: arrays, data frames, Arrow or Parquet batches.

        Parameters
        ----------
        chunks : iterable of (X, y, sensitive_features) or (..., sample_weight), or of tables
            The same chunks in the same order whenever the work is resumed. A chunk may be a
            function without arguments that returns it: those that are skipped are not called.
            Tables are data frames, Arrow batches or tables, such as those that
            ``pyarrow.parquet.ParquetFile(f).iter_batches()`` yields.
        y, sensitive_features, sample_weight : str, optional
            Names of these columns in tables; all other columns are features, a single one may
            hold a list of numbers per row.
        checkpoint : path-like, optional
            A .npz file written, atomically, after every few chunks and at the end. If it exists,
            what it holds is taken up and as many chunks are skipped: an interrupted run that is
            started again ends with the same bits as one that was not interrupted.
        every : int, default 10
            Chunks between two checkpoints.
        progress : bool, default True
            Show a progress bar.

        Raises
        ------
        ModelError
            If moments that are not empty are given a checkpoint, or one of another suffix.
        DataError
            As `partial_fit`, for tables without the named columns, and where there are fewer
            chunks than the checkpoint has seen.

        Examples
        --------
        >>> import fairprog as fp, pandas as pd
        >>> frames = [pd.DataFrame({"x": [0., 1., 2., 4.], "hired": [0, 0, 1, 1],
        ...                         "sex": ["f", "m", "f", "m"]})] * 3
        >>> fp.Moments().update(frames, y="hired", sensitive_features="sex", progress=False)
        Moments(covariance='full', rows=12, cells=4, features=1)
        """
        from tqdm import tqdm

        done = 0
        if checkpoint is not None:
            if self.n_chunks:  # a checkpoint counts the chunks of one iterator
                raise ModelError(
                    f"`checkpoint` {str(checkpoint)!r} is for work that can be resumed; start "
                    "from empty Moments(), and merge what was gathered before.",
                    argument="checkpoint",
                )
            check_suffix(checkpoint, "checkpoint")  # now, and not when hours have been spent
            check_folder(checkpoint, "checkpoint")
            if every < 1:
                raise ModelError(
                    f"`every` must be a positive integer; found {every!r}.", argument="every"
                )
            if Path(checkpoint).exists():
                self._take(load(checkpoint), checkpoint)
                done = self.n_chunks
        columns = Columns(y, sensitive_features, sample_weight)
        for k, chunk in enumerate(
            tqdm(
                chunks_of(_after(chunks, done, checkpoint), columns, done),
                total=length_hint(chunks) or None,
                initial=done,
                desc="moments",
                unit="chunk",
                disable=not progress,
            ),
            start=1,
        ):
            self._add(chunk)
            if checkpoint is not None and k % every == 0:
                self.save(checkpoint)
        if checkpoint is not None:
            self.save(checkpoint)
        return self

    @classmethod
    def from_dask(
        cls,
        X: Any,
        y: Any,
        *,
        sensitive_features: Any,
        sample_weight: Any = None,
        covariance: str = "full",
        classes: Sequence[Any] | None = None,
        groups: Sequence[Any] | None = None,
    ) -> Self:
        """Gather moments of dask arrays where their chunks are (extra: dask).

        The chunks are merged in the order of the rows: the answer has the bits of one process
        that takes the same chunks one after another.

        Parameters
        ----------
        X : dask array, shape (n, d)
            In chunks of whole rows, or rechunked to such.
        y, sensitive_features, sample_weight : dask arrays, shape (n,)
            Rechunked to the rows of X.
        covariance, classes, groups
            As for the class.

        Raises
        ------
        DataError
            As `partial_fit`.
        """
        from fairprog.populations.moments_dask import gather_dask

        vectors = [y, sensitive_features, *([] if sample_weight is None else [sample_weight])]
        empty = cls(covariance, classes=classes, groups=groups)
        found: Self = gather_dask(empty, X, vectors)
        return found

    # -- the population --

    def population(
        self,
        family: str = "normal",
        *,
        covariance: str | None = None,
        shrinkage: float | str = 0.0,
    ) -> Normal:
        """Return the population with these moments (maximum likelihood: divided by the weight).

        Parameters
        ----------
        family : {"normal"}
        covariance : {"full", "tied", "diagonal"}, optional
            Default what is kept. "tied": one covariance per group, the same for its classes.
        shrinkage : float in [0, 1] or "auto", default 0.0
            Weight of the group's OWN pooled covariance in that of its cells; "auto" estimates the
            best for every cell (:func:`fairprog.kernels.shrinkage.optimal_shrinkage`).

        Raises
        ------
        DataError
            For an empty cell, or one with too few rows for its covariance (naming it).
        ModelError
            For another family, a covariance that was not kept, or a shrinkage outside [0, 1].

        Warns
        -----
        FairprogWarning
            Where a cell has fewer than 5 d rows.
        """
        sums = self._sums
        with room_for_covariances(len(sums.scatter), self._n_features or 0, self.covariance):
            return estimated(self, family, covariance, shrinkage)

    # -- files --

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write to a .npz (or .json) file, atomically; read it by ``fp.load``."""
        save(path, "moments", self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that :meth:`from_dict` reads back."""
        return {
            "covariance": self.covariance,
            "classes": self.classes,
            "groups": self.groups,
            "feature_names": self.feature_names,
            "n_chunks": self.n_chunks,
            "n_features": self._n_features,
            "source": self.source,
            **self._sums.to_dict(),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Rebuild moments from :meth:`to_dict`."""
        sums = {k: data[k] for k in ("cells", "count", "mass", "mean", "slots", "scatter")}
        head = read({k: v for k, v in data.items() if k not in sums}, "moments", FIELDS)
        out = cls(head["covariance"], classes=head["classes"], groups=head["groups"])
        out.feature_names, out.n_chunks = head["feature_names"], head["n_chunks"]
        out._n_features, out.source = head["n_features"], head["source"]
        d = out._n_features or 0
        out._sums = CellSums.from_dict(out.covariance, sums, d)
        if len(out.feature_names or range(d)) != d or any(
            label not in known
            for cell in out._sums.count
            for label, known in zip(cell, (out.classes, out.groups), strict=True)
            if known is not None
        ):
            raise refuse("`moments` names other features or labels")
        return out

    # -- inner --

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

    def _take(self, stored: Any, path: str | os.PathLike[str]) -> None:
        """Become what a checkpoint holds."""
        mine = (self.covariance, self.classes, self.groups, self.source)
        if not isinstance(stored, Moments) or mine != (
            stored.covariance,
            stored.classes,
            stored.groups,
            stored.source,
        ):
            of = getattr(stored, "source", None)
            raise DataError(
                f"{str(path)!r} holds {stored!r}{f' of {of}' if of else ''}, not a checkpoint of "
                f"these moments{f' of {self.source}' if self.source else ''}.",
                argument="checkpoint",
            )
        vars(self).update(vars(stored))


def _after(
    chunks: Iterable[Any], done: int, checkpoint: str | os.PathLike[str] | None
) -> Iterator[Any]:
    """Yield the chunks after the first `done`, which must be there."""
    iterator = iter(chunks)
    found = sum(1 for _ in islice(iterator, done))
    if found < done:
        raise DataError(
            f"`checkpoint` {os.fspath(checkpoint or '')!r} has seen {done} chunks, and here are "
            f"{found}: it belongs to other work. Give another file, or remove it.",
            argument="checkpoint",
        )
    yield from iterator


FIELDS = {
    "covariance": frozenset(STRUCTURES),
    "classes groups": either(None, labels),
    "feature_names": either(None, [str]),
    "n_chunks": int,
    "n_features": either(None, int),
    "source?": str,
}
register("moments", Moments.from_dict)
