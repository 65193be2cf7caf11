"""The commands ``fairprog steer`` and ``fairprog align``."""

from __future__ import annotations

import argparse
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
from sklearn.model_selection import StratifiedShuffleSplit

from fairprog import transports
from fairprog.cli.columns import Design, read_design, warn_of_text
from fairprog.cli.complaints import codes, identifiers
from fairprog.cli.csv_table import Table, quoted, read_table
from fairprog.cli.fitting import codes_of, learners
from fairprog.cli.outputs import check_outputs, check_table_name, remarks_of
from fairprog.cli.printed_report import design_text, filled, note, solution_text, width
from fairprog.cli.steering_page import ALIGNED, write_report
from fairprog.cli.tabular import Plan, TableSteering
from fairprog.codec import together
from fairprog.comparison import Comparison, compare
from fairprog.comparison.comparison_words import comparison_summary
from fairprog.comparison.methods import OnFeatures
from fairprog.errors import DataError, FairprogWarning, ModelError
from fairprog.estimators import IdealSteering
from fairprog.labels import printable


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
    transport = getattr(transports, options.transport.capitalize())()
    plan = Plan.choose(design, options.steer, options.reference, transport, options.base_rates)
    names = (*table.names, *np.unique(design.y), *np.unique(design.group))
    print(printable(design_text(table, design, plan, options.positive is None), names))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", FairprogWarning)
        steering = TableSteering.fit(design, plan)
        warn_of_text(table, design, steering.moved(design.X, design.group))
    remarks = table.remark + remarks_of(caught) + _two_valued(design) + _identifiers(table, design)
    print("\n" + printable(solution_text(steering.solved), names))
    for remark in remarks:
        print(note(remark))
    aligned = steering.align(table, drop_rows=options.drop_rows)
    if options.weights is not None:
        aligned = aligned.append(options.weights, steering.weights(aligned))
    comparison = None
    if options.splits:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FairprogWarning)  # the table says it
                comparison = _held_out(design, plan, options)
            print("\n" + printable(comparison_summary(comparison, filled, width()), names))
        except DataError as error:
            said = f"There are no held-out figures: {error}"
            remarks.append(said)
            print("\n" + printable(note(said), names))
    print()
    with together():  # files of one run, whatever happens to it
        if options.model is not None:
            steering.save(options.model)
        if options.out is not None:
            aligned.write(options.out)
        if options.report is not None:
            write_report(
                options.report,
                steering.solved,
                design,
                comparison,
                source=f"{table.name}, {len(design.y):,} rows",
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


def _held_out(design: Design, plan: Plan, options: argparse.Namespace) -> Comparison:
    """Compare a logistic model on raw features and on rows aligned as `TableSteering` does."""
    steer = plan.steer if plan.steer == "all" else list(plan.steer)
    step = IdealSteering(
        steer,
        transport=plan.transport,
        reference=plan.reference,
        base_rates=plan.base_rates,
        snap=False,
        shrinkage=0.0,
        solver="auto" if steer == "all" else "newton",
    )
    learner = learners()["logistic model"]
    # No sample weights, though `solution.sample_weight` carries the steered base rates: where the
    # class conditionals agree, X' is independent of A given Y, and EVERY classifier on X' has
    # equal rates whatever weights it was trained with (theory.md section 1). They would train it
    # for base rates that the held-out rows do not have, and cost accuracy.
    found = compare(
        learner,
        design.X,
        codes_of(design),
        sensitive_features=design.group,
        methods={ALIGNED: OnFeatures(learner, step)},
        cv=StratifiedShuffleSplit(
            options.splits, test_size=options.test_size, random_state=options.seed
        ),
        random_state=options.seed,
        progress=not options.quiet,
    )
    return replace(found, classes=tuple(design.classes))


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
    return f"Wrote {path}: {len(table):,} rows as CSV, features aligned without labels."
