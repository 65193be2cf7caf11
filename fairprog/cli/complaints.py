"""What is wrong with the columns of a table, said all at once."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from fairprog.cli.csv_table import Table, as_numbers
from fairprog.errors import DataError
from fairprog.labels import Array

MOST = 0.5  # a column with a larger share of missing values is "mostly missing"
MANY = 30  # rows of which whole numbers differ by chance no more
NEARLY = 0.9  # of the rows: so many different whole numbers may be identifiers
SAYS = re.compile(  # which names say so
    r"(?i:(^|[^a-z])(u?u?id|guid|identifier|ac(count|ct)|n(umber|um|o|r)|key|ref|ssn|row|index))"
    r"(?![a-z])|[a-z]I[Dd](?![a-z])"
)
FEW = 12  # different whole numbers that may be codes
LEVELS = 50  # a text column with more different values is taken for an identifier


def unusable_columns(table: Table, names: Sequence[str], onehot: bool) -> dict[str, str]:
    """Return why a column cannot be a feature, judged from the column alone."""
    found: dict[str, str] = {}
    for name in names:
        missing = table.missing(name)
        text = table.text(name)[~missing]
        numbers = as_numbers(text)
        if missing.mean() > MOST:
            found[name] = f"missing in {missing.sum()} of {len(table)} rows"
        elif len(set(text)) == 1 or (not np.isnan(numbers).any() and np.ptp(numbers) == 0):
            found[name] = f"constant: {text[0]!r}"
        elif np.isinf(numbers).any():
            found[name] = f"infinite in {np.isinf(numbers).sum()} rows"
        elif np.isnan(numbers).any() and not onehot:
            found[name] = f"not numeric: {text[np.isnan(numbers)][0]!r}"
        elif np.isnan(numbers).any() and len(set(text)) > LEVELS:
            found[name] = f"not numeric, and {len(set(text))} different values"
    return found


def identifiers(table: Table, names: Sequence[str]) -> dict[str, str]:
    """Return the columns that look like identifiers: whole numbers, every one different.

    Nine in ten different are enough where the name says so too, or the column has none. Only where
    there are at least 30 rows, so that this is no accident; read as text, whatever their length.
    """
    found = {}
    for name in names:
        text = table.text(name).astype(str)
        if len(table) < MANY or not np.char.isdecimal(np.char.lstrip(text, "+-")).all():
            continue
        different = len(set(text.tolist()))
        if different == len(text):
            found[name] = "whole numbers, every one different: an identifier"
        elif different > NEARLY * len(text) and (not name or SAYS.search(name)):
            found[name] = f"whole numbers, {different:,} different: an identifier"
    return found


def codes(X: Array, names: Sequence[str]) -> list[str]:
    """Return the features that take a few whole numbers, as codes of categories do."""
    return [
        name
        for name, x in zip(names, X.T, strict=True)
        if np.unique(x[:MANY]).size >= 3 and np.array_equal(x, np.round(x))
        if np.unique(x).size <= FEW
    ]


def complete_rows(table: Table, names: Sequence[str]) -> tuple[NDArray[np.bool_], dict[str, int]]:
    """Return the rows without a missing value in these columns, and the missing per column."""
    rows = np.ones(len(table), dtype=bool)
    gaps = {}
    for name in dict.fromkeys(names):
        if name in table.repeated:
            continue
        missing = table.missing(name)
        rows &= ~missing
        if missing.any():
            gaps[name] = int(missing.sum())
    return rows, gaps


def listed(reasons: Mapping[str, str]) -> str:
    """Return columns and reasons as ``'a' (why); 'b' (why)``."""
    return "; ".join(f"{name!r} ({why})" for name, why in reasons.items())


def complaint(table: Table, unusable: Mapping[str, str], gaps: Mapping[str, int]) -> str:
    """Say everything that is wrong with the columns, and which option helps with what."""
    parts, advice = [], []
    gaps = {name: count for name, count in gaps.items() if name not in unusable}
    if unusable:
        parts.append(f"has columns that cannot be features: {listed(unusable)}")
        options = ["--drop to leave such columns out", "--features to name the columns to use"]
        if any(why.startswith("not numeric:") for why in unusable.values()):
            options.insert(0, "--onehot to encode text by 0/1 columns")
        advice.append(f"Give {', or '.join(options)}.")
    if gaps:
        counts = ", ".join(f"{name!r} ({count} rows)" for name, count in gaps.items())
        parts.append(f"has missing values in {counts}")
        also = "For the missing values also give" if unusable else "Give"
        advice.append(f"{also} drop_rows=True to leave out rows with a missing value.")
    return f"{table.name} {' and '.join(parts)}. {' '.join(advice)}"


def require_values(table: Table, columns: Sequence[str]) -> None:
    """Raise a DataError listing the columns that have missing values, with their counts."""
    _, gaps = complete_rows(table, columns)
    if gaps:
        raise DataError(complaint(table, {}, gaps), argument="columns")
