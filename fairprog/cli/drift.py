"""The command ``fairprog drift``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from fairprog.errors import ModelError

DRIFT = """\
Ask new rows whether they still belong to the population that a model of `fairprog steer
--model` was fitted to: has any cell moved, do steered rows of the groups still share
common laws, how large are the gaps. Without the label column only the mixture of each
group is checked. Exit code 3 where the rows say no.
"""
FIGURES = (".png", ".svg", ".pdf")


def add_drift(command: Any) -> None:
    """Add the command to the parser."""
    drift = command("drift", help="ask new rows whether a model still holds", description=DRIFT)
    drift.add_argument("model", metavar="model.json", help="of `fairprog steer --model`")
    drift.add_argument("data", metavar="new.csv", help="a table with the same columns")
    drift.add_argument("--confidence", type=float, default=0.95, metavar="P", help="default 0.95")
    drift.add_argument("--drop-rows", action="store_true", help="leave out incomplete rows")
    drift.add_argument("--plot", metavar="FILE.png", help="the figure; or .svg, .pdf")
    drift.set_defaults(run=run_drift)


def run_drift(options: argparse.Namespace) -> int:
    """Compare new rows with a model; exit code 0, or 3 where they say no."""
    from fairprog.cli.csv_table import read_table
    from fairprog.cli.fitting import SAY_NO
    from fairprog.cli.outputs import check_outputs
    from fairprog.cli.printed_report import note
    from fairprog.cli.tabular import TableSteering

    if options.plot is not None:
        if Path(options.plot).suffix not in FIGURES:
            raise ModelError(f"--plot must end in one of {FIGURES}; found {options.plot!r}.")
        check_outputs([Path(options.plot)], inputs=[Path(options.data), Path(options.model)])
    steering = TableSteering.load(options.model)
    if steering.step is not None:
        raise ModelError(
            f"{options.model} holds a step of `fairprog fit`, not a model: drift is asked of "
            "what `fairprog steer --model` writes. Of a step, ask `fairprog audit` on new rows.",
            argument="model",
        )
    table = read_table(options.data)
    labelled = steering.label in table.names
    for remark in table.remark:
        print(note(remark))
    rows, X, group = steering.read(
        table, beside=[steering.label] if labelled else [], drop_rows=options.drop_rows
    )
    y = rows.text(steering.label) if labelled else None
    found = steering.solved.drift(X, y, sensitive_features=group, confidence=options.confidence)
    print(found.summary())
    if not labelled:
        print(note(f"There is no column {steering.label!r}: classes are not checked."))
    if options.plot is not None:
        figure, _ = found.plot()
        figure.savefig(options.plot, bbox_inches="tight")
        print(f"\nWrote {options.plot}: the figure.")
    return SAY_NO if found.drifted else 0
