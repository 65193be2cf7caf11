"""The commands ``fairprog steer`` and ``fairprog align``."""

from __future__ import annotations

import argparse
import os
import warnings
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from fairprog.cli.audit_split import compare_held_out
from fairprog.cli.columns import Design, read_design
from fairprog.cli.complaints import codes, identifiers
from fairprog.cli.csv_table import Table, quoted, read_table
from fairprog.cli.printed_report import comparison_text, design_text, note, solution_text
from fairprog.cli.steering_page import write_report
from fairprog.cli.tabular import Plan, TableSteering
from fairprog.codec import check_folder, together
from fairprog.errors import FairprogWarning, ModelError
from fairprog.labels import printable
from fairprog.transports import Diagonal, Monotone, Scaling, Translation, Transport, Whitened

TRANSPORTS: dict[str, type[Transport]] = {
    "monotone": Monotone,
    "whitened": Whitened,
    "diagonal": Diagonal,
    "scaling": Scaling,
    "translation": Translation,
}

OTHER_FORMATS = {".feather", ".json", ".npy", ".npz", ".parquet", ".tsv", ".xls", ".xlsx"}


def run_steer(options: argparse.Namespace) -> int:
    """Fit a normal population to a table, solve, align, measure, write; exit code 0."""
    wanted = (options.out, options.model, options.report)
    outputs = [Path(path) for path in wanted if path is not None]
    check_outputs(outputs, inputs=[Path(options.data)])
    check_table_name(options.out)
    if options.model is not None and Path(options.model).suffix not in (".json", ".npz"):
        raise ModelError(f"--model must end in .json or .npz; found {options.model!r}.")
    if options.report is not None and Path(options.report).suffix not in (".html", ".htm"):
        raise ModelError(f"--report must end in .html; found {options.report!r}.")
    if options.weights is not None and options.out is None:
        raise ModelError("--weights is a column of the table that --out names; give --out.")
    table = read_table(options.data)
    if options.weights in table.names:
        raise ModelError(
            f"{table.name} already has a column {options.weights!r}; give --weights another name."
        )
    design = read_design(
        table,
        options.label,
        options.sensitive,
        features=options.features,
        exclude=options.exclude,
        positive=options.positive,
        onehot=options.onehot,
        drop=options.drop,
        drop_rows=options.drop_rows,
    )
    transport = TRANSPORTS[options.transport]()
    plan = Plan.choose(design, options.steer, options.reference, transport, options.base_rates)
    names = (*table.names, *np.unique(design.y), *np.unique(design.group))
    print(printable(design_text(table, design, plan, options.positive is None), names))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", FairprogWarning)
        steering = TableSteering.fit(design, plan)
    assert steering.solution is not None
    remarks = table.remark + remarks_of(caught) + _two_valued(design) + _identifiers(table, design)
    print("\n" + printable(solution_text(steering.solution), names))
    for remark in remarks:
        print(note(remark))
    aligned = steering.align(table, drop_rows=options.drop_rows)
    if options.weights is not None:
        aligned = aligned.append(options.weights, steering.weights(aligned))
    comparison = None
    if options.splits:
        comparison = compare_held_out(
            design,
            plan,
            splits=options.splits,
            test_size=options.test_size,
            seed=options.seed,
            progress=not options.quiet,
        )
        text = comparison_text(comparison, design, options.test_size, options.splits)
        print("\n" + printable(text, names))
    print()
    with together():  # files of one run, whatever happens to it
        if options.model is not None:
            steering.save(options.model)
        if options.out is not None:
            aligned.write(options.out)
        if options.report is not None:
            write_report(
                options.report,
                steering.solution,
                design,
                plan,
                comparison,
                source=f"{table.name}, {len(design.y):,} rows",
                test_size=options.test_size,
                seed=options.seed,
                remarks=remarks,
            )
    if options.model is not None:
        print(f"Wrote {options.model}: the model, for `fairprog align`.")
    if options.out is not None:
        print(_wrote(aligned, options.out))
    if options.report is not None:
        print(f"Wrote {options.report}: the report.")
    if not outputs:
        print("Nothing was written: neither --out nor --model nor --report was given.")
    return 0


def run_align(options: argparse.Namespace) -> int:
    """Align the features of a table by a saved model; exit code 0."""
    check_outputs([Path(options.out)], inputs=[Path(options.data), Path(options.model)])
    check_table_name(options.out)
    steering = TableSteering.load(options.model)
    table = read_table(options.data)
    aligned = steering.align(table, drop_rows=options.drop_rows, unseen=options.unseen)
    for remark in table.remark:
        print(note(remark))
    left_out = len(table) - len(aligned)
    if left_out:
        unknown = " or values the model does not know" if options.unseen == "drop" else ""
        print(note(f"{left_out:,} rows with missing values{unknown} were left out."))
    aligned.write(options.out)
    print(_wrote(aligned, options.out))
    return 0


def _two_valued(design: Design) -> list[str]:
    """Return a remark where features are far from normal for certain."""
    names = [
        name for name, x in zip(design.encoded, design.X.T, strict=True) if np.unique(x).size == 2
    ]
    if not names:
        return []
    return [
        f"{quoted(names)} take(s) two values only, which no normal law fits: go by the held-out "
        "figures and not by what holds for the population."
    ]


def _identifiers(table: Table, design: Design) -> list[str]:
    """Return a remark on columns that look like identifiers, left out or not."""
    used = identifiers(table.keep(design.rows), [feature.name for feature in design.features])
    left = [name for name, why in design.dropped.items() if why.endswith("an identifier")]
    few = codes(design.X, design.encoded)
    out = []
    if left:
        out.append(
            f"{quoted(left)}: whole numbers, (nearly) every one different, so taken for "
            "identifiers and left out. If they are features, name all features by --features."
        )
    if used:
        out.append(
            f"{quoted(used)}: whole numbers, (nearly) every one different. If these are "
            "identifiers, leave them out of --features: they are moved like any other feature."
        )
    if few:
        out.append(
            f"{quoted(few)}: a few whole numbers, read as amounts. If these are codes of "
            "categories, write them as text and give --onehot, or leave them out by --exclude."
        )
    return out


def _wrote(table: Table, path: str) -> str:
    return f"Wrote {path}: {len(table):,} rows, features aligned without labels."


def check_table_name(path: str | None) -> None:
    """Refuse to write a table of commas under a name that promises another format."""
    if path is not None and Path(path).suffix.lower() in OTHER_FORMATS:
        raise ModelError(f"--out is a CSV file; found {path!r}. End its name in .csv.")


def check_outputs(outputs: list[Path], inputs: list[Path]) -> None:
    """Refuse, before any work, to write where it cannot or must not be written.

    Raises
    ------
    ModelError
        If an output is an input or another output.
    DataError
        If it cannot be written.
    """
    for k, path in enumerate(outputs):
        if str(path) == "-":
            raise ModelError("'-' is no file; output is written whole, so name a file.")
        check_folder(path)
        if any(_same_file(path, other) for other in (*inputs, *outputs[:k])):
            raise ModelError(
                f"{str(path)!r} is read from or written to already; name another file, nothing "
                "is overwritten in place."
            )


def _same_file(a: Path, b: Path) -> bool:
    if a.exists() and b.exists():
        return os.path.samefile(a, b)
    return a.resolve() == b.resolve()


def remarks_of(caught: Iterable[warnings.WarningMessage]) -> list[str]:
    """Return fairprog's own warnings as text, once each, and pass the others on."""
    texts = []
    for entry in caught:
        if issubclass(entry.category, FairprogWarning):
            texts.append(str(entry.message))
        else:
            warnings.warn_explicit(entry.message, entry.category, entry.filename, entry.lineno)
    return list(dict.fromkeys(texts))
