"""Which rows a model is trained on and which its map is fitted to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from fairprog.door import Rows
from fairprog.errors import DataError, ModelError
from fairprog.labels import Array, Indices


def folds(cv: Any, rows: Rows, least: int, lot: Array) -> list[tuple[Indices, Indices]]:
    """Return (train, held out) for every model.

    A number of folds, or a share, is drawn by the rows' lots, cell by cell: rows in another order
    fall into the same folds. Rows that are the same are dealt out in turn: what a model scores
    when it is used, it has seen as often.

    Raises
    ------
    DataError
        Naming a cell that cannot be, or is not, in every fold.
    ModelError
        For a `cv` that is none.
    """
    rows.require(1)
    everything = np.arange(rows.y.size)
    if isinstance(cv, str) and cv == "prefit":
        return [(everything[:0], everything)]
    if hasattr(cv, "split") and not isinstance(cv, str):
        cell = len(rows.groups) * rows.y + rows.a
        return _checked(cv.split(np.zeros((cell.size, 1)), cell), rows, least)
    if isinstance(cv, (list, tuple)):
        kept = np.ones(rows.y.size, bool) if rows.kept is None else rows.kept
        place = np.cumsum(kept) - 1  # of the rows given, some of which weigh nothing
        return _checked([[place[k][kept[k]] for k in pair] for pair in cv], rows, least)
    share = isinstance(cv, float) and 0 < cv < 1
    if not share and not (isinstance(cv, int) and not isinstance(cv, bool) and cv >= 2):
        raise ModelError(
            f"`cv` must be a number of folds >= 2, a share in (0, 1), 'prefit', or a splitter "
            f"with `split`; found {cv!r}.",
            argument="cv",
        )
    if share:
        rows.require(np.ceil(least / min(cv, 1 - cv)))
    else:
        rows.require_folds(cv, least)
    fold = np.empty(rows.y.size, np.intp)
    for i, a in np.ndindex(len(rows.classes), len(rows.groups)):
        own = np.flatnonzero((rows.y == i) & (rows.a == a))
        place = np.argsort(np.lexsort([rows.weight[own], lot[own]]))
        fold[own] = place >= np.ceil(cv * own.size) if share else place % cv
    order = np.lexsort([rows.weight, rows.a, rows.y, lot])  # learners need not see the file's
    return [(order[fold[order] != k], order[fold[order] == k]) for k in range(1 if share else cv)]


def _checked(
    splits: Iterable[Sequence[Indices]], rows: Rows, least: int
) -> list[tuple[Indices, Indices]]:
    """Return the splits of a splitter, every cell being in every part."""
    found = []
    G = len(rows.groups)
    for k, (train, test) in enumerate(splits):
        for part, name, needed in (
            (train, "trained on", 1),
            (test, "held out for its map", least),
        ):
            cell, repeated = G * rows.y[part] + rows.a[part], rows.count[part]
            count = np.bincount(cell, repeated, G * len(rows.classes)).astype(int)
            short = np.flatnonzero(count < needed)
            if short.size:
                i, a = divmod(int(short[0]), G)
                raise DataError(
                    f"Fold {k} of `cv` has {count[short[0]]} row(s) of class {rows.classes[i]!r}, "
                    f"group {rows.groups[a]!r} {name}; needed are {needed}. Rows may be sorted by "
                    "group: shuffle them, as KFold(5, shuffle=True) does, or give a number of "
                    "folds, which takes a share of every class and group.",
                    argument="cv",
                    cell=(rows.classes[i], rows.groups[a]),
                )
        found.append((train, test))
    return found
