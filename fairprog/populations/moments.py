"""Streaming sufficient statistics: counts, means and covariances of every cell, in one pass."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from operator import length_hint
from pathlib import Path
from typing import Any, Self

from fairprog.codec import Saved, check_folder, check_suffix, load, register
from fairprog.errors import DataError, ModelError
from fairprog.fields import either, labels, read, refuse
from fairprog.populations.cell_checks import STRUCTURES, room_for_covariances
from fairprog.populations.cell_sums import CellSums
from fairprog.populations.gathered import Gathered
from fairprog.populations.moments_arrow import merge_lines, to_arrow
from fairprog.populations.moments_dask import gather_dask
from fairprog.populations.moments_population import estimated
from fairprog.populations.normal import Normal
from fairprog.populations.table_chunks import Columns, chunks_of


class Moments(Gathered, Saved):
    r"""Counts, means and covariances per (class, group), gathered from any number of pieces.

    Rows are seen once and never kept, so data may be larger than memory; pieces may be gathered
    anywhere and merged. Of float32 (or float16) rows the products are float32 about a point near
    the cell's mean, and summed in float64, where that resolves the variance of every direction;
    of all others, and of rows such as a layer norm returns, everything is float64.

    Source: Chan, Golub and LeVeque (1983), theory.md section 9.

    Parameters
    ----------
    covariance : {"full", "tied", "diagonal"}
        What is kept: a (d, d) scatter per cell; one per group, of every row about the mean of its
        own cell; or the d variances of every cell.
    classes, groups : sequence of hashables, optional
        The labels and their order; default those met, sorted.
    bootstrap : int, default 0
        Number of replicates gathered beside, each row with a Poisson weight of mean one: for
        ``Solution.inference(method="bootstrap", moments=)``. The weights are drawn from a hash of
        the rows of a chunk, so that pieces may be gathered anywhere and merged. Files and
        checkpoints do not hold them.

    Attributes
    ----------
    n_chunks : int
        Number of calls of `partial_fit`, those of merged pieces included.
    n_rows : int
        Number of rows of positive weight.
    source : str or None
        What the rows are, in words, if whoever gathers them says so: checkpoints and pieces of
        another source are refused.

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

    _kind = "moments"

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
        vectors = [y, sensitive_features, *([] if sample_weight is None else [sample_weight])]
        empty = cls(covariance, classes=classes, groups=groups)
        return gather_dask(empty, X, vectors)

    def to_arrow(self) -> Any:
        """Return a pyarrow.Table of one line, in the column "moments" what `save` writes.

        What a worker returns from Spark's ``mapInArrow``, or a file between two machines.
        """
        return to_arrow(self)

    @classmethod
    def from_arrow(
        cls,
        table: Any,
        *,
        covariance: str = "full",
        classes: Sequence[Any] | None = None,
        groups: Sequence[Any] | None = None,
    ) -> Self:
        """Merge the lines of tables of :meth:`to_arrow`, in their order.

        Parameters
        ----------
        table : pyarrow.Table, RecordBatch or data frame
        covariance, classes, groups
            As for the class.

        Raises
        ------
        DataError
            For lines that hold no moments, or such as `merge` refuses.
        """
        out = cls(covariance, classes=classes, groups=groups)
        merge_lines(out, table)
        return out

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
            best for every cell (:func:`fairprog.kernels.moments.shrinkage.optimal_shrinkage`).

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
            return estimated(
                sums,
                self.classes,
                self.groups,
                self.feature_names,
                family=family,
                covariance=covariance,
                shrinkage=shrinkage,
            )

    def replicates(
        self, *, covariance: str | None = None, shrinkage: float | str = 0.0
    ) -> Iterator[Normal]:
        """Yield the population of every bootstrap replicate that has all cells.

        Parameters
        ----------
        covariance, shrinkage
            As of :meth:`population`.

        Raises
        ------
        ModelError
            If none were gathered.
        """
        if not self._replicates:
            raise ModelError(
                "These moments hold no replicates; gather them by Moments(bootstrap=200).",
                argument="moments",
            )
        labels = self.classes, self.groups
        if None in labels:
            D = self.population(covariance=covariance, shrinkage=shrinkage)
            labels = D.classes, D.groups
        for sums in self._replicates:
            with suppress(DataError):  # a cell without rows
                yield estimated(
                    sums,
                    *labels,
                    self.feature_names,
                    family="normal",
                    covariance=covariance,
                    shrinkage=shrinkage,
                )

    # -- files --

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
