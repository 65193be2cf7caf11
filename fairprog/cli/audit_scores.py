"""The command ``fairprog audit``."""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np

from fairprog.audits import Audit, audit
from fairprog.cli.columns import Feature
from fairprog.cli.complaints import require_values
from fairprog.cli.csv_table import Table, Text, in_order, quoted, read_table
from fairprog.cli.outputs import check_outputs, for_columns, remarks_of
from fairprog.cli.printed_report import note
from fairprog.errors import DataError, FairprogWarning, ModelError
from fairprog.labels import Array


def run_audit(options: argparse.Namespace) -> int:
    """Measure the gaps of a score in a table, print them, write a report; exit code 0."""
    if options.report is not None:
        if Path(options.report).suffix not in (".html", ".htm"):
            raise ModelError(f"--report must end in .html; found {options.report!r}.")
        check_outputs([Path(options.report)], inputs=[Path(options.data)])
    table = read_table(options.data)
    extra = [name for name in (options.after, options.weight) if name is not None]
    columns = [options.label, *options.score, *options.sensitive, *extra]
    table.require(columns)
    if options.drop_rows:
        complete = ~np.any([table.missing(name) for name in columns], axis=0)
        if not complete.any():
            raise DataError(f"Every row of {table.name} has a missing value.")
        table = table.keep(complete)
    require_values(table, columns)
    y = table.text(options.label)
    classes = list(in_order(y))
    if options.positive is not None:
        if options.positive not in classes:
            raise DataError(
                f"--positive is {options.positive!r}; the values of {options.label!r} are "
                f"{quoted(classes)}.",
                argument="positive",
            )
        classes.remove(options.positive)
        classes.append(options.positive)
    if len(options.score) != (1 if len(classes) == 2 else len(classes)):
        raise ModelError(
            f"--score names {len(options.score)} column(s); needed is "
            + (
                f"one, the score of the positive class {classes[1]!r}."
                if len(classes) == 2
                else f"one for each of the {len(classes)} classes of {options.label!r}, in this "
                f"order: {quoted(classes[:10])}."
            )
        )
    groups = table.crossed(options.sensitive)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", FairprogWarning)
        found = _audit(options, table, y, classes, groups)
    print(for_columns(found.summary()))
    for remark in table.remark + remarks_of(caught):
        print(note(remark))
    if options.report is not None:
        found.to_html(options.report, title=f"Audit of {table.name}")
        print(f"\nWrote {options.report}: the report.")
    return 0


def _audit(
    options: argparse.Namespace, table: Table, y: Text, classes: list[str], groups: Text
) -> Audit:
    return audit(
        y,
        np.hstack([_numbers(table, name) for name in options.score]),
        sensitive_features=groups,
        classes=classes,
        confidence=options.confidence,
        sample_weight=None if options.weight is None else _numbers(table, options.weight)[:, 0],
        y_score_after=None if options.after is None else _numbers(table, options.after),
        threshold=options.threshold,
        random_state=options.seed,
    )


def _numbers(table: Table, name: str) -> Array:
    return Feature(name).encode(table)
