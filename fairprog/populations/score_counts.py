"""Counts of (score, class, group): all that fair scores need, from rows that come in chunks."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fairprog.codec import Saved, register
from fairprog.door import Rows
from fairprog.errors import DataError, ModelError
from fairprog.fields import array, either, fits, labels, least, read, refuse
from fairprog.labels import (
    Array,
    as_labels,
    check_finite,
    label_array,
    label_vector,
    sorted_labels,
)
from fairprog.populations.categorical import Categorical
from fairprog.populations.score_bins import ScoreBins
from fairprog.populations.score_tables import add_table, gather_dask, split, summed, to_arrow
from fairprog.populations.support import Support

Counts = tuple[Array, ...]  # distinct keys, their weights; in bins parts of the sums of scores


class ScoreCounts(Saved):
    """Count labelled scores, exactly or in bins; `partial_fit` and `merge` change and return it.

    What comes out is a :class:`Categorical` whose atoms are the scores and whose posteriors are
    counted, group by group; :func:`audit`, :class:`ScoreSteering`, :class:`FairScore` and
    :class:`FairClassifier` take the counts themselves. Pieces may be counted anywhere, saved,
    merged in any order (without weights to the same bits), or come as lines of a table, such as
    SQL's GROUP BY returns.

    Source: theory.md section 11.

    Parameters
    ----------
    bins : int or array_like, optional
        Increasing inner edges, or a number of equal bins of [0, 1]. Without, every distinct score
        is counted.
    classes, groups : sequence, optional
        Labels in order; default sorted, as they come.

    Raises
    ------
    DataError
        For edges that do not increase.

    Examples
    --------
    >>> import fairprog as fp
    >>> s, y, a = [.2, .8, .8, .4, .4, .9], [0, 1, 0, 0, 1, 1], list("aaabbb")
    >>> first = fp.ScoreCounts().partial_fit(s[:3], y[:3], sensitive_features=a[:3])
    >>> both = first.merge(fp.ScoreCounts().partial_fit(s[3:], y[3:], sensitive_features=a[3:]))
    >>> D = both.population()
    >>> D.values, D.prior.round(3)
    (array([0.2, 0.4, 0.8, 0.9]), array([[0.333, 0.167],
           [0.167, 0.333]]))
    """

    _kind = "score_counts"

    def __init__(
        self,
        bins: int | ArrayLike | None = None,
        *,
        classes: Iterable[Any] | None = None,
        groups: Iterable[Any] | None = None,
    ) -> None:
        if bins is not None and np.ndim(bins) == 0:
            number = np.asarray(bins).item()
            if not (isinstance(number, int) and number >= 1):
                raise DataError(
                    f"`bins` must be a whole number >= 1 or increasing edges; found {bins!r}.",
                    argument="bins",
                )
            bins = np.arange(1, number) / number
        self.edges = None if bins is None else np.atleast_1d(check_finite(bins, "bins"))
        if self.edges is not None and np.any(np.diff(self.edges) <= 0):
            raise DataError("`bins` must be increasing edges.", argument="bins")
        self.classes = None if classes is None else tuple(classes)
        self.groups = None if groups is None else tuple(groups)
        self._cells: dict[tuple[Hashable, Hashable], Counts] = {}
        self._rows: dict[tuple[Hashable, Hashable], float] = {}
        self._squares = 0.0

    def fresh(self) -> ScoreCounts:
        """Return empty counts with the same bins and labels."""
        return ScoreCounts(self.edges, classes=self.classes, groups=self.groups)

    def partial_fit(
        self,
        s: ArrayLike,
        y: ArrayLike,
        *,
        sensitive_features: ArrayLike,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Count rows.

        Parameters
        ----------
        s : array_like, shape (n,)
            Scores, higher for the positive (last) class.
        y, sensitive_features : array_like, shape (n,)
        sample_weight : array_like, shape (n,), optional

        Raises
        ------
        DataError
            For missing values, lengths that differ, labels that are not listed, `s` and `y` in
            each other's place.
        """
        score = check_finite(s, "s", rows=True)
        score = score[:, 0] if score.ndim == 2 and score.shape[1] == 1 else score
        if score.ndim != 1:
            raise DataError(f"`s` must have shape (n,); its shape is {score.shape}.", argument="s")
        refuse_exchanged(score, y)
        rows = Rows.check(
            y, sensitive_features, sample_weight, len(score),
            classes=self.classes, groups=self.groups, s=s,
        )  # fmt: skip
        score = rows.of(score)
        self._squares += float(rows.weight @ rows.weight)
        cells = rows.cells
        for i, label in enumerate(rows.classes):
            for a, group in enumerate(rows.groups):
                own = (rows.y == i) & (rows.a == a)
                weight = None if sample_weight is None else rows.weight[own]
                self._add((label, group), self._counted(score[own], weight), cells[i, a])
        return self

    def merge(self, other: ScoreCounts) -> Self:
        """Add the counts of another; ModelError if its bins differ."""
        if self._bins() != other._bins():
            raise ModelError("`other` must be ScoreCounts with the same bins.", argument="other")
        for cell, counts in other._cells.items():
            self._add(cell, counts, other._rows[cell])
        self._squares += other._squares
        return self

    def _bins(self) -> list[float] | None:
        return None if self.edges is None else self.edges.tolist()

    def _counted(self, score: Array, weight: Array | None) -> Counts:
        mass = np.ones(score.size) if weight is None else weight
        if self.edges is not None:
            code = np.searchsorted(self.edges, score, "right")
            held = np.flatnonzero(np.bincount(code))
            columns = (mass, *(mass * part for part in split(score)))
            return held * 1.0, *(np.bincount(code, x)[held].astype(float) for x in columns)
        if weight is not None:
            return summed(score, mass)
        key = np.sort(score)
        first = np.flatnonzero(np.append(True, key[1:] != key[:-1])[: key.size])
        return key[first], np.diff(np.append(first, key.size)).astype(float)

    def _add(self, cell: tuple[Hashable, Hashable], counts: Counts, rows: float) -> None:
        old = self._cells.get(cell)
        if old is not None:
            counts = summed(*(np.concatenate(pair) for pair in zip(old, counts, strict=True)))
        self._cells[cell] = counts
        self._rows[cell] = self._rows.get(cell, 0) + rows

    def population(self) -> Categorical:
        """Return the empirical law of score, class and group.

        Raises
        ------
        DataError
            For another number of classes than two, a class without rows in a group.
        """
        classes = self.classes or sorted_labels({c for c, _ in self._cells})
        groups = self.groups or sorted_labels({g for _, g in self._cells})
        classes, groups = (
            as_labels(v, len(v), n) for v, n in ((classes, "classes"), (groups, "groups"))
        )
        if len(classes) != 2:
            raise DataError(
                f"`y` must hold two classes; counted were {list(classes)}.", argument="y"
            )
        for cell in ((c, g) for g in groups for c in classes):
            if not self._rows.get(cell):
                raise DataError(
                    f"Class {cell[0]!r}, group {cell[1]!r} has no rows.", argument="y", cell=cell
                )
        pieces = [k for k, *_ in self._cells.values()]
        keys = np.concatenate(pieces)
        order = np.argsort(keys, kind="stable")  # of sorted pieces: merged
        keys = keys[order]
        first = np.append(True, keys[1:] != keys[:-1])
        place, keys = np.empty_like(order), keys[first]
        place[order] = np.cumsum(first) - 1
        ends = np.cumsum([len(k) for k in pieces])
        at = dict(zip(self._cells, np.split(place, ends[:-1]), strict=True))
        total = sum(float(w.sum()) for _, w, *_ in self._cells.values())
        atom, weight, score = [], [], []
        for g in groups:
            mass = np.zeros((2, len(keys)))
            for i, c in enumerate(classes):
                mass[i, at[c, g]] = self._cells[c, g][1]
            both = mass.sum(axis=0)
            own = np.flatnonzero(both)
            atom.append(own)
            weight.append(both[own] / total)
            score.append(mass[1, own] / both[own])
        code = np.repeat(np.arange(len(groups)), [len(x) for x in atom])
        support = Support(
            np.concatenate(atom), code, np.concatenate(weight), np.concatenate(score)
        )
        values, bins = keys, None
        if self.edges is not None:
            cells = zip(*self._cells.values(), strict=True)
            _, weights, high, middle, low = summed(*(np.concatenate(x) for x in cells))
            values = (high + (middle + low)) / weights
            bins = ScoreBins((self.edges,), keys[:, None].astype(np.intp))
        out = Categorical._from_support(support, len(keys), values, classes, groups)
        out = out.with_rows([[self._rows[c, g] for g in groups] for c in classes])
        out.effective_rows = max(1, int(total**2 / self._squares + 1e-6))
        out.score_bins = bins
        return out

    def __repr__(self) -> str:
        how = "exact" if self.edges is None else f"{len(self.edges) + 1} bins"
        return f"ScoreCounts({int(sum(self._rows.values()))} rows, {how})"

    # -- tables and files --

    def to_arrow(self) -> Any:
        """Return a pyarrow.Table with a line per score or bin of a class and group.

        Columns: score (in bins its mean), class, group, weight; rows and squares, the number of
        rows and the sum of squared weights of a cell, in its first line; and for bins what
        :meth:`from_arrow` needs to lose nothing. Tables of pieces may be concatenated.
        """
        return to_arrow(self)

    @classmethod
    def from_arrow(
        cls,
        table: Any,
        *,
        bins: int | ArrayLike | None = None,
        classes: Iterable[Any] | None = None,
        groups: Iterable[Any] | None = None,
        score: str = "score",
        y: str = "class",
        sensitive_features: str = "group",
        rows: str = "rows",
    ) -> Self:
        """Count the lines of a table: of :meth:`to_arrow`, or of a GROUP BY.

        Parameters
        ----------
        table : pyarrow.Table, RecordBatch or data frame
            In SQL ``SELECT score, class, "group", COUNT(*) AS rows FROM t GROUP BY ALL``; for bins
            ``AVG(score) AS score`` of each. A column ``weight`` is the sum of the weights of a
            line, ``squares`` that of their squares; without, rows weigh one, or the same.
        bins, classes, groups
            As for the class.
        score, y, sensitive_features, rows : str
            Names of the columns.

        Raises
        ------
        DataError
            For columns that are missing, hold missing values or negative counts.

        Examples
        --------
        >>> import fairprog as fp, pandas as pd
        >>> lines = pd.DataFrame({"score": [.2, .8, .4, .9], "class": [0, 1, 0, 1],
        ...                       "group": list("aabb"), "rows": [30, 20, 10, 40]})
        >>> fp.ScoreCounts.from_arrow(lines)
        ScoreCounts(100 rows, exact)
        """
        out = cls(bins, classes=classes, groups=groups)
        names = {"score": score, "y": y, "sensitive_features": sensitive_features, "rows": rows}
        add_table(out, table, names)
        return out

    @classmethod
    def from_dask(
        cls,
        s: Any,
        y: Any,
        *,
        sensitive_features: Any,
        sample_weight: Any = None,
        bins: int | ArrayLike | None = None,
        classes: Iterable[Any] | None = None,
        groups: Iterable[Any] | None = None,
    ) -> ScoreCounts:
        """Count dask arrays of shape (n,) where their chunks are (extra: dask).

        Parameters
        ----------
        s, y, sensitive_features, sample_weight : dask arrays, shape (n,)
            Rechunked to the rows of s.
        bins, classes, groups
            As for the class. Give bins where scores are many: distinct scores are kept.
        """
        vectors = [s, y, sensitive_features, *([] if sample_weight is None else [sample_weight])]
        counted: ScoreCounts = gather_dask(cls(bins, classes=classes, groups=groups), vectors)
        return counted

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that :meth:`from_dict` reads back."""
        return {
            "edges": self.edges,
            "classes": self.classes,
            "groups": self.groups,
            "cells": tuple(self._cells),
            "counts": tuple(np.stack(counts) for counts in self._cells.values()),
            "rows": tuple(float(self._rows[cell]) for cell in self._cells),
            "squares": self._squares,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Rebuild counts from :meth:`to_dict`."""
        data = read(data, "score_counts", FIELDS)
        out = cls(data["edges"], classes=data["classes"], groups=data["groups"])
        n = 2 if out.edges is None else 5
        if not len(data["cells"]) == len(data["counts"]) == len(data["rows"]) or any(
            len(x) != n or (np.diff(x[0]) <= 0).any() or (x[1] <= 0).any() for x in data["counts"]
        ):
            raise refuse("`score_counts.counts` do not fit its cells")
        out._cells = {k: tuple(x) for k, x in zip(data["cells"], data["counts"], strict=True)}
        out._rows = dict(zip(data["cells"], data["rows"], strict=True))
        out._squares = data["squares"]
        return out


def refuse_exchanged(score: Array, y: ArrayLike) -> None:
    """Refuse scores of two values beside labels of more: each was passed as the other."""
    if np.unique(score[:1000]).size > 2:  # without a sort of them all
        return
    few = np.unique(score)
    if few.size <= 2 < (many := len(sorted_labels(label_vector(y, "y", score.size).tolist()))):
        raise DataError(
            f"`s` holds {few.size} value(s) and `y` {many}: were scores and labels swapped? The "
            "scores come first, partial_fit(s, y, sensitive_features=...), and `y` holds two "
            "classes.",
            argument="s",
        )


def uncounted(population: Any) -> Any:
    """Return the population of counts; anything else as it is."""
    return population.population() if isinstance(population, ScoreCounts) else population


def counted_rows(counts: ScoreCounts | Categorical) -> tuple[Array, NDArray[Any], NDArray[Any]]:
    """Return scores, classes and groups of the rows that were counted, one entry for each.

    Raises
    ------
    ModelError
        Where rows had weights, of which counts keep only sums, or nothing was counted.
    """
    D = uncounted(counts)
    n_rows, held, values = D.n_rows, D.support, D.values
    n = 0 if n_rows is None else int(n_rows.sum())
    counted = not D.scores_given and D.group_known and held.score.ndim == 1 == np.ndim(values)
    if not n or D.effective_rows != n or not counted:
        raise ModelError(
            "Needed are ScoreCounts of rows without weights, or their population(); found "
            f"{counts!r}. Pass the rows themselves: scores, classes, groups, weights.",
            argument="counts",
        )
    positive = np.rint(n * held.weight * held.score)
    repeats = np.append(np.rint(n * held.weight) - positive, positive).astype(np.intp)
    y = np.repeat(np.repeat([0, 1], held.score.size), repeats)
    atom, group = (np.repeat(np.tile(x, 2), repeats) for x in (held.atom, held.group))
    return np.asarray(values)[atom], label_array(D.classes)[y], label_array(D.groups)[group]


FIELDS = {
    "edges": either(None, array(None)),
    "classes groups": either(None, labels),
    "cells": lambda v: fits(v, [(Hashable, Hashable)]) and len(set(v)) == len(v),
    "counts": [array(None, None)],
    "rows": [least(0)],
    "squares": least(0),
}
register("score_counts", ScoreCounts.from_dict)
