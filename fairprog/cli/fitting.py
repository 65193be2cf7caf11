"""The commands ``fairprog fit`` and ``fairprog apply``: the step that held-out rows ask for."""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fairprog.cli.columns import Design, read_design, warn_of_text
from fairprog.cli.complaints import unusable_columns
from fairprog.cli.csv_table import Table, read_table
from fairprog.cli.outputs import check_outputs, check_table_name, for_columns, remarks_of
from fairprog.cli.printed_report import design_text, filled, note, warning, width
from fairprog.cli.tabular import Plan, TableSteering
from fairprog.codec import together, write_text
from fairprog.comparison import Comparison, compare
from fairprog.comparison.comparison_words import (
    UNSURE,
    comparison_summary,
    easier_words,
    findings_of,
    gap_words,
)
from fairprog.comparison.methods import (
    NOTHING,
    Fits,
    OnFeatures,
    OnScore,
    RememberedStep,
    steps_on_features,
    steps_on_scores,
)
from fairprog.comparison.result import choose, drawn, grown
from fairprog.errors import DataError, FairprogWarning, ModelError
from fairprog.estimators import IdealSteering
from fairprog.evidence.few_rows import few_rows_said
from fairprog.labels import Indices, printable
from fairprog.solution import ScoreSolution, Solution

ALIGN = "features, align"  # what `fairprog steer` does
SAY_NO = 3  # exit code
SOME = 0.0005  # decisions at random that are worth a word
ALL = 1e9  # a loss that forbids nothing


def learners() -> dict[str, Any]:
    """Return the learners that measure."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return {
        "boosted trees": HistGradientBoostingClassifier(max_iter=60, random_state=0),
        "logistic model": make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
    }


def codes_of(design: Design) -> Indices:
    """Return the classes as positions, the positive one last."""
    return np.array([design.classes.index(label) for label in design.y])


def steps_for(design: Design, score: bool) -> dict[str, Any]:
    """Return the steps that can be written, by the name of their method."""
    sizes = [int((design.group == g).sum()) for g in design.groups]
    order = [design.groups[k] for k in np.argsort(sizes, kind="stable")]
    if score:
        inside = design.X.min() >= 0.0 and design.X.max() <= 1.0
        return steps_on_scores(order[:-1], space="logit" if inside else "identity")
    plain = IdealSteering(order[:-1], snap=False, shrinkage=0.0)
    return {**steps_on_features(order[:-1]), ALIGN: plain}


def measured(
    design: Design, steps: dict[str, Any], score: bool, **options: Any
) -> dict[str, Comparison]:
    """Return comparisons of steps by learner; of a score that is given there is one."""
    found = _measured(design, steps, score, **options)  # of codes, which keep the order of classes
    out = {}
    for name, c in found.items():
        why = {m: for_columns(said, design.encoded) for m, said in c.failures.items()}
        out[name] = replace(c, classes=tuple(design.classes), failures=why)
    return out


def _measured(
    design: Design, steps: dict[str, Any], score: bool, **options: Any
) -> dict[str, Comparison]:
    y = codes_of(design)
    if score:
        methods = {NOTHING: OnScore(), **{name: OnScore(step) for name, step in steps.items()}}
        own = {"the score as it is given": compare(
            None, design.X, y, sensitive_features=design.group, methods=methods, **options
        )}  # fmt: skip
        return own
    fits = Fits()
    shared = {name: RememberedStep(step, fits) for name, step in steps.items()}
    return {
        name: compare(
            learner, design.X, y, sensitive_features=design.group,
            methods={m: OnFeatures(learner, step) for m, step in shared.items()}, **options,
        )
        for name, learner in learners().items()
    }  # fmt: skip


def run_fit(options: argparse.Namespace) -> int:
    """Compare, choose, write the step and a report; exit code 0, or 3 where rows say no."""
    outputs = [Path(p) for p in (options.out, options.report) if p is not None]
    check_outputs(outputs, inputs=[Path(options.data)])
    if options.out is not None and Path(options.out).suffix not in (".json", ".npz"):
        raise ModelError(f"--out must end in .json or .npz; found {options.out!r}.")
    if options.report is not None and Path(options.report).suffix not in (".html", ".htm"):
        raise ModelError(f"--report must end in .html; found {options.report!r}.")
    table = read_table(options.data)
    score = options.score is not None
    if score:
        table.require([options.score])
        for name, why in unusable_columns(table, [options.score], onehot=False).items():
            raise DataError(
                f"--score names {name!r}, which is {why}. A score is a column of numbers, larger "
                "for the positive class; leave --score out to move features.",
                argument="score",
            )
    design = read_design(
        table,
        options.label,
        options.sensitive,
        features=[options.score] if score else options.features,
        exclude=options.exclude,
        positive=options.positive,
        onehot=not score,
        drop=not score and options.features is None,
        drop_rows=options.drop_rows,
    )
    if score and len(design.classes) > 2:
        raise ModelError("A score is of two classes; leave --score out to move features.")
    plan = Plan.choose(design)
    names = (*table.names, *np.unique(design.y), *np.unique(design.group))
    print(printable(design_text(table, design, None, options.positive is None), names))
    if not score:
        print(note(
            "Features are moved here, and no score is tried. `--score COL`, a score that a model "
            "of yours gave rows it was not trained on, is the other way, and usually the better "
            "one for tables of categories."
        ))  # fmt: skip
    steps = steps_for(design, score)
    wanted = _wanted(options.method, steps)
    if wanted is not None:
        steps = {wanted: steps[wanted]}
    steps = {m: step for m, step in steps.items() if m == wanted or m != ALIGN}  # by name only
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", FairprogWarning)
        found = measured(
            design, steps, score,
            cv=options.splits, random_state=options.seed, progress=not options.quiet,
        )  # fmt: skip
    for name, comparison in found.items():
        print(f"\n{name[0].upper()}{name[1:]}, by methods")
        print(printable(comparison_summary(comparison, filled, width()), names))
    for remark in table.remark + remarks_of(caught, design.encoded):
        print(note(remark))
    every, loss, lots = list(found.values()), options.max_loss, not options.no_lots
    best = choose(every, loss, lots) if wanted is None else wanted
    passed = passed_over(found, best, loss, lots) if wanted is None else []
    refusal = _refusal(found, best, wanted, loss)
    ran = all(best in c.values for c in every)
    banned = ran and not lots and drawn(every, best) > 0
    if banned:
        refusal = (
            f"{best} draws lots, which --no-lots forbids: two draws for one row differ in "
            f"{drawn(every, best):.2%} of decisions."
        )
    if refusal and (not options.force or best == NOTHING or banned or not ran):
        print("\n" + warning(" ".join([refusal, *passed, "No step was written."])))
        if options.report is not None:  # the evidence is what was asked for
            shown = best if ran else NOTHING
            said = [refusal, *passed]
            write_text(
                options.report, _page(found, shown, table, design.encoded, None, said, False)
            )
            print(f"Wrote {options.report}: the report.")
        return SAY_NO
    if refusal:
        print("\n" + warning(refusal))
    gains = _gains(found, best)
    print("\n" + filled(f"Method: {best}. {gains}"))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", FairprogWarning)
        few_rows_said()  # by the comparison
        fitted = _fitted(design, plan, best, steps)
        warn_of_text(table, design, fitted.moved(design.X, design.group, np.arange(len(design.y))))
    remarks = [
        *passed,
        *filter(None, [easier_words(every, best)]),
        *remarks_of(caught, design.encoded),
    ]
    if UNSURE in gains:
        remarks.append(
            "A change may be chance: another split of the rows (--seed) may decide otherwise. "
            "Look at more rows."
        )
    if (lot := drawn(every, best)) > SOME:
        remarks.append(
            f"This step draws lots: two draws for one row differ in {lot:.1%} of decisions. The "
            "held-out figures are of rows with lots of their own, so say `fairprog apply --key "
            "COLUMN`, a column that identifies every row. --no-lots leaves such methods out of "
            "the choice."
        )
    for remark in remarks:
        print(note(remark))
    with together():
        if options.out is not None:
            fitted.save(options.out)
        if options.report is not None:
            columns = [name for f in fitted.features for name in f.encoded]
            said = [*filter(None, [refusal]), *remarks]
            write_text(options.report, _page(found, best, table, columns, fitted.solution, said))
    if options.out is not None:
        print(f"Wrote {options.out}: the step, for `fairprog apply`.")
    if options.report is not None:
        print(f"Wrote {options.report}: the report.")
    if not outputs:
        print("Nothing was written: neither --out nor --report was given.")
    return 0


def _wanted(name: str | None, steps: dict[str, Any]) -> str | None:
    """Return the method that was asked for by its last words."""
    if name is None:
        return None
    ends = [m for m in steps if m == name or m.split(", ")[-1].split()[0] == name]
    if not ends:
        known = ", ".join(m.split(", ")[-1].split()[0] for m in steps)
        raise ModelError(f"--method is {name!r}; for these columns there are {known}.")
    return ends[0]


def _refusal(found: dict[str, Comparison], best: str, wanted: str | None, max_loss: float) -> str:
    """Return why the rows say no, or ''."""
    if wanted is not None and any(best not in c.values for c in found.values()):
        return f"{best} could not run: {next(iter(found.values())).failures[best]}"
    if best == NOTHING:
        others = [(c, m) for c in found.values() for m in c.values if m != NOTHING]
        if all(grown(c, m) for c, m in others):
            return "Held-out gaps GROW under every method."
        return (
            "No method lowers a held-out worst gap that is beyond chance by more than one "
            f"standard error, at a loss of at most {max_loss:g} of the accuracy and with no gap, "
            "also given one outcome, that grows by more than two. A score of a model of yours "
            "(--score COLUMN) is often moved at a smaller loss than features are; --max-loss "
            "allows a larger one."
        )
    larger = [
        f"{name}: {f} {c.mean(NOTHING, f)[0]:.3f} -> {c.mean(best, f)[0]:.3f}"
        for name, c in found.items()
        for f in grown(c, best)
    ]
    return f"Held-out gaps GROW: {'; '.join(larger)}." if larger else ""


def passed_over(found: dict[str, Comparison], best: str, max_loss: float, lots: bool) -> list[str]:
    """Return which methods would win if more were allowed, and what forbids them."""
    every, said = list(found.values()), []
    other = choose(every, ALL, lots)
    if other not in (best, NOTHING):
        losses = [-c.change(other, "score")[0] for c in every]
        mean = sum(losses) / len(losses)
        loses = mean if mean > max_loss else max(losses)
        said.append(
            f"{other} would win, but loses {loses:.3g} of the accuracy, more than --max-loss "
            f"{max_loss:g}."
        )
    other = best if lots else choose(every, max_loss)
    if other != best:
        said.append(
            f"{other} would win, but draws lots, which --no-lots forbids: two draws for one row "
            f"differ in {drawn(every, other):.2%} of decisions."
        )
    return said


def _gains(found: dict[str, Comparison], best: str) -> str:
    said = []
    for name, c in found.items():
        gaps = gap_words(c, partial(c.change, best))
        a, b = (c.mean(m, "score")[0] for m in (NOTHING, best))
        said.append(f"{name}: {gaps}, accuracy {a:.4f} -> {b:.4f}")
    how = "means over folds held out ± standard errors, of each the gap at its worst threshold"
    return f"{'; '.join(said)} ({how})."


def _fitted(design: Design, plan: Plan, method: str, steps: dict[str, Any]) -> TableSteering:
    """Return the step fitted to all rows."""
    if method == ALIGN:
        return TableSteering.fit(design, plan)
    y = codes_of(design)
    step = steps[method].fit(design.X, y, sensitive_features=design.group)
    columns = design.label, design.sensitive, design.features
    return TableSteering(*columns, step.solution_, step)


def _page(
    found: dict[str, Comparison], best: str, table: Table, columns: Sequence[str],
    solution: Solution | ScoreSolution | None, remarks: list[str], written: bool = True,
) -> str:  # fmt: skip
    from fairprog.plotting.comparison_picture import fit_report

    said = list(remarks)
    for name, comparison in found.items():
        said += [f"{name}: {text}" for text in findings_of(comparison)]
    report = fit_report(found, best, said, columns, solution, written)
    return report.page(f"Fit report: {table.name}")


def run_apply(options: argparse.Namespace) -> int:
    """Apply a step of any kind to new rows; exit code 0."""
    check_outputs([Path(options.out)], inputs=[Path(options.data), Path(options.step)])
    check_table_name(options.out)
    fitted = TableSteering.load(options.step)
    table = read_table(options.data)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", FairprogWarning)
        out = fitted.align(
            table, drop_rows=options.drop_rows, unseen=options.unseen, key=options.key
        )
    for remark in table.remark + remarks_of(caught):
        print(note(remark))
    if len(table) > len(out):
        print(note(f"{len(table) - len(out):,} rows were left out."))
    encoded = [
        f"{f.name} as {f.encoded[0]}" + f" and {len(f.encoded) - 1} more" * (len(f.encoded) > 1)
        for f in fitted.features
        if f.levels and not fitted.keeps(f)
    ]
    if encoded:
        print(note(
            f"Text columns went out as 0/1 columns, moved, in their own place: "
            f"{'; '.join(encoded)}."
        ))  # fmt: skip
    out.write(options.out)
    print(f"Wrote {options.out}: {len(out):,} rows as CSV, moved without labels.")
    print(filled("Move rows once: they would be moved again if this file were given to `apply`."))
    return 0
