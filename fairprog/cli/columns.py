"""Which columns of a table are features, and how each becomes numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from fairprog.cli.complaints import (
    LEVELS,
    complaint,
    complete_rows,
    identifiers,
    listed,
    unusable_columns,
)
from fairprog.cli.csv_table import Table, Text, as_numbers, in_order, quoted
from fairprog.errors import DataError
from fairprog.estimators.tied_columns import warn_of_contradictions
from fairprog.labels import Array


@dataclass(frozen=True)
class Feature:
    """One column of the table and the numeric features it becomes.

    Attributes
    ----------
    name : str
        The column.
    levels : tuple of str
        Every value of a text column; empty for a numeric one.
    kept : tuple of str
        The levels with a 0/1 feature of their own: all but the first, and but those left out.
    """

    name: str
    levels: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()

    @property
    def encoded(self) -> tuple[str, ...]:
        """Names of the numeric features."""
        return tuple(f"{self.name}={v}" for v in self.kept) if self.levels else (self.name,)

    def unseen(self, table: Table) -> NDArray[np.bool_]:
        """Return which rows hold a level that did not occur when the model was fitted."""
        if not self.levels:
            return np.zeros(len(table), dtype=bool)
        return ~np.isin(table.text(self.name).astype(str), self.levels)

    def encode(self, table: Table, *, allow_unseen: bool = False) -> Array:
        """Return the numeric features of every row, shape (n, len(encoded)).

        Parameters
        ----------
        table : Table
        allow_unseen : bool
            Encode levels not seen when fitting as none of the known ones: 0 throughout.

        Raises
        ------
        DataError
            For values that are not finite numbers, or levels not seen when fitting.
        """
        text = table.text(self.name)
        if not self.levels:
            values = as_numbers(text)
            bad = np.flatnonzero(~np.isfinite(values))
            if bad.size:
                raise DataError(
                    f"Column {self.name!r} of {table.name} must hold finite numbers; found "
                    f"{text[bad[0]]!r} in data row {bad[0] + 1} ({bad.size} such rows).",
                    argument=self.name,
                )
            return values[:, None]
        where = self.unseen(table)
        if where.any() and not allow_unseen:
            raise DataError(
                f"Column {self.name!r} of {table.name} has the value(s) "
                f"{quoted(in_order(text[where])[:5])} ({where.sum()} rows), which did not occur "
                f"when the model was fitted; known are {quoted(self.levels)}. Give "
                "unseen='drop' to leave such rows out, or unseen='zeros' to encode them as none "
                "of these.",
                argument=self.name,
            )
        return np.stack([text == v for v in self.kept], axis=1).astype(np.float64)


@dataclass(frozen=True, eq=False)
class Design:
    """What a table says to a program: numbers, labels, groups.

    Attributes
    ----------
    label : str
        Column of the class.
    sensitive : tuple of str
        Columns of the group; several are crossed.
    features : tuple of Feature
    X : Array, shape (n, d)
    y, group : Text, shape (n,)
    classes, groups : tuple of str
        In order; the positive class comes last.
    rows : array of bool
        Which rows of the table these are.
    dropped : dict column -> reason
        Columns left out, on request or because they look like identifiers.
    """

    label: str
    sensitive: tuple[str, ...]
    features: tuple[Feature, ...]
    X: Array
    y: Text
    group: Text
    classes: tuple[str, ...]
    groups: tuple[str, ...]
    rows: NDArray[np.bool_]
    dropped: Mapping[str, str] = field(default_factory=dict)

    @property
    def encoded(self) -> tuple[str, ...]:
        """Names of the numeric features, in the order of the columns of X."""
        return tuple(name for feature in self.features for name in feature.encoded)


def read_design(
    table: Table,
    label: str,
    sensitive: str | Sequence[str],
    *,
    features: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
    positive: str | None = None,
    onehot: bool = False,
    drop: bool = False,
    drop_rows: bool = False,
) -> Design:
    """Choose and encode the columns of a table.

    Parameters
    ----------
    table : Table
    label : str
        Column of the class.
    sensitive : str or sequence of str
        Columns of the group; several are crossed.
    features : sequence of str, optional
        Default: every other column but those that look like identifiers.
    exclude : sequence of str
        Columns that are no features.
    positive : str, optional
        The class that counts as positive; default the last in order.
    onehot : bool
        Encode text columns by 0/1 features, one per level but the first.
    drop : bool
        Leave out columns that cannot be used: not numeric, constant (in the file or among the
        rows of one class and group), missing in more than half of the rows, named twice.
    drop_rows : bool
        Leave out rows with a missing value in a column that is used.

    Raises
    ------
    DataError
        Listing every column that is unknown or cannot be used, why, and which option helps.
    """
    sensitive = (sensitive,) if isinstance(sensitive, str) else tuple(sensitive)
    table.require(exclude)
    chosen = [n for n in _chosen(table, label, sensitive, features) if n not in exclude]
    for name in (label, *sensitive):  # first: a wrong column here makes all else meaningless
        _two(name, in_order(table.text(name)[~table.missing(name)]))
    dropped = dict.fromkeys(exclude, "excluded")
    unusable = {name: "its name occurs twice" for name in chosen if name in table.repeated}
    if features is None:  # named ones are meant
        dropped |= identifiers(table, [name for name in chosen if name not in unusable])
        chosen = [name for name in chosen if name not in dropped]
    unusable |= unusable_columns(table, [name for name in chosen if name not in unusable], onehot)
    if drop:
        dropped, unusable = dropped | unusable, {}
        chosen = [name for name in chosen if name not in dropped]
    rows, gaps = complete_rows(table, [label, *sensitive, *chosen])
    if unusable or (gaps and not drop_rows):
        raise DataError(complaint(table, unusable, {} if drop_rows else gaps), argument="features")
    if not chosen:
        raise DataError(
            f"{table.name} has no usable feature column"
            + (f" (left out: {listed(dropped)})." if dropped else "."),
            argument="features",
        )
    used = table.keep(rows)
    if len(used) == 0:
        raise DataError(
            f"Every row of {table.name} has a missing value in one of {quoted(chosen)}.",
            argument="features",
        )
    y, group = used.text(label), used.crossed(sensitive)
    classes, groups = _classes(label, y, positive), _two(" & ".join(sensitive), in_order(group))
    built = [_feature(used, name, onehot) for name in chosen]
    built, more = _without_constant_cells(used, built, y, group, classes, groups)
    if more and not drop:
        raise DataError(
            f"{table.name} has features that do not vary among the rows of one class and one "
            f"group, so no normal law fits there: {listed(more)}. Give --drop to leave them "
            "out, or name the columns to use by --features.",
            argument="features",
        )
    dropped |= more
    if not built:
        raise DataError(
            f"{table.name} has no usable feature column (left out: {listed(dropped)}).",
            argument="features",
        )
    X = np.hstack([feature.encode(used) for feature in built])
    taken = set(table.names) & {v for f in built if f.levels for v in f.encoded}
    if taken:
        raise DataError(
            f"{table.name} already has columns named {quoted(sorted(taken))}, which one-hot "
            "encoding would add; rename them.",
            argument="features",
        )
    return Design(label, sensitive, tuple(built), X, y, group, classes, groups, rows, dropped)


def warn_of_text(table: Table, design: Design, moved: Array) -> None:
    """Warn where text that is no feature, and stays, says what a column that moves says.

    Parameters
    ----------
    table : Table
    design : Design
    moved : Array, shape (n, d)
        The features after they were moved.
    """
    used, names = table.keep(design.rows), np.array(design.encoded, dtype=object)
    numbers = np.isin(names, [f.name for f in design.features if not f.levels])
    known = {design.label, *design.sensitive, *(f.name for f in design.features)}
    for name in used.names:
        if name in known or name in used.repeated:
            continue
        text = used.text(name)
        levels = in_order(text)
        if len(levels) <= LEVELS and np.isnan(as_numbers(text)).any():
            said = text[:, None] == np.array(levels, dtype=object)
            before, after = design.X[:, numbers], moved[:, numbers]
            warn_of_contradictions(before, after, said, [*names[numbers]], [name] * len(levels))


# -- which columns --


def _chosen(
    table: Table, label: str, sensitive: Sequence[str], features: Sequence[str] | None
) -> list[str]:
    """Return the columns asked for, once the names make sense."""
    if label in sensitive:
        raise DataError(
            f"Column {label!r} is named both as --label and as --sensitive.", argument="label"
        )
    if len(set(sensitive)) < len(sensitive):
        raise DataError(
            f"--sensitive names a column twice: {quoted(sensitive)}.", argument="sensitive"
        )
    table.require([label, *sensitive, *(features or ())])
    both = [name for name in (label, *sensitive) if name in (features or ())]
    if both:
        raise DataError(
            f"Column(s) {quoted(both)} are named by --features and also as --label or "
            "--sensitive; a column has one role.",
            argument="features",
        )
    if features is None:
        features = [name for name in table.names if name not in (label, *sensitive)]
        unnamed = [k + 1 for k, name in enumerate(table.names) if not name]
        if unnamed and not identifiers(table, [""]):
            raise DataError(
                f"Column(s) {unnamed} have no name (an index, perhaps). Write the file without "
                "them, or say which columns to use: --features.",
                argument="features",
            )
    return list(dict.fromkeys(features))


# -- labels and encoding --


def _classes(label: str, y: Text, positive: str | None) -> tuple[str, ...]:
    """Return the classes in order, the positive one last."""
    classes = _two(label, in_order(y))
    if positive is None:
        return classes
    if positive not in classes:
        raise DataError(
            f"--positive names {positive!r}, which column {label!r} does not hold; its values "
            f"are {quoted(classes[:10])}.",
            argument="positive",
        )
    return (*(c for c in classes if c != positive), positive)


def _two(column: str, labels: tuple[str, ...]) -> tuple[str, ...]:
    if not 2 <= len(labels) <= LEVELS:
        raise DataError(
            f"Column {column!r} holds {len(labels)} different value(s) "
            f"({quoted(labels[:5])}{', ...' if len(labels) > 5 else ''}); needed are 2 to "
            f"{LEVELS}.",
            argument=column,
        )
    return labels


def _feature(table: Table, name: str, onehot: bool) -> Feature:
    text = table.text(name)
    if onehot and np.isnan(as_numbers(text)).any():
        levels = in_order(text)
        return Feature(name, levels, levels[1:])
    return Feature(name)


def _without_constant_cells(
    table: Table,
    features: Sequence[Feature],
    y: Text,
    group: Text,
    classes: Sequence[str],
    groups: Sequence[str],
) -> tuple[list[Feature], dict[str, str]]:
    """Leave out features with no variance in a cell: a normal law needs some (and says why)."""
    cells = {
        (c, g): rows
        for c in classes
        for g in groups
        if (rows := (y == c) & (group == g)).sum() > 1
    }
    kept: list[Feature] = []
    reasons: dict[str, str] = {}
    for feature in features:
        X = feature.encode(table)
        good: list[str] = []
        for k, name in enumerate(feature.encoded):
            flat = next((cell for cell, rows in cells.items() if np.ptp(X[rows, k]) == 0), None)
            if flat is None:
                good.append(name if not feature.levels else feature.kept[k])
            else:
                reasons[name] = f"constant in class {flat[0]!r} of group {flat[1]!r}"
        if good:
            kept.append(replace(feature, kept=tuple(good)) if feature.levels else feature)
    return kept, reasons
