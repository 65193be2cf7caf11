"""What is wrong with the columns of a table, said all at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from fairprog.cli.csv_table import Table, as_numbers
from fairprog.errors import DataError

__all__ = [
    "LEVELS",
    "complaint",
    "complete_rows",
    "identifiers",
    "listed",
    "require_values",
    "unusable_columns",
]

MOST = 0.5  # a column with a larger share of missing values is "mostly missing"
MANY = 30  # rows of which whole numbers differ by chance no more
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

    Only where there are at least 30 rows, so that this is no accident.
    """
    found = {}
    for name in names:
        numbers = as_numbers(table.text(name))
        whole = np.isfinite(numbers).all() and np.array_equal(numbers, np.round(numbers))
        if len(table) >= MANY and whole and np.unique(numbers).size == len(numbers):
            found[name] = "whole numbers, every one different: an identifier"
    return found


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
        advice.append(f"{also} --drop-rows to leave out rows with a missing value.")
    return f"{table.name} {' and '.join(parts)}. {' '.join(advice)}"


def require_values(table: Table, columns: Sequence[str]) -> None:
    """Raise a DataError listing the columns that have missing values, with their counts."""
    _, gaps = complete_rows(table, columns)
    if gaps:
        raise DataError(complaint(table, {}, gaps), argument="columns")
