"""The command line: ``audit``, ``fit``, ``apply``, ``drift``, ``steer``, ``align``, ``reproduce``.

Exit codes: 0 done, 1 the data or the program cannot be used (one sentence on stderr says why),
2 the command line itself is wrong, 3 the rows say no (``fit``, ``drift``).
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from fairprog.cli.arguments import TRANSPORTS, count, folds, later, share
from fairprog.cli.drift import add_drift
from fairprog.cli.outputs import for_columns
from fairprog.cli.reproduce import run_reproduce
from fairprog.errors import FairprogError
from fairprog.labels import printable
from fairprog.versions import __version__

__all__ = ["build_parser", "main"]

DOCS = "documentation: docs/guides/compare.rst, docs/guides/real_data.rst (make docs)"

FIT = """\
Compare, on rows held out, what a boosted tree and a logistic model make of the table as it
is and of its features moved in several ways; write the step of the best method, for
`fairprog apply`, and a report. With --score it is the column of a score that is moved, made
by a model that was NOT trained on these rows: usually the better way for tables of
categories, and not tried without it. The step reads the group of a row, never its label.
Chosen is the method that lowers the held-out worst gap most, by more than one standard error
and from beyond chance, at a loss of at most --max-loss. Gaps given one outcome may grow
meanwhile, by up to two standard errors. Where there is no such method no step is written,
only the report, and the exit code is 3. Learners see text columns as 0/1 columns. Those of
three or more values do not move; those of two do, from one of their values to the other.
Columns that cannot be used are left out and named.
"""

APPLY = """\
Move the columns of new rows by a step of `fairprog fit` (or a model of `fairprog steer`). It
needs the columns the step moves and the sensitive one, no label; all else goes out as it
came in. The output is a CSV file.
"""

STEER = """\
Fit a normal population to the rows of a CSV file, find the ideal population nearest to
it in KL divergence, and bring the features of every group into common coordinates.
That reads the group of a row, never its label: rows are ALIGNED, not moved to the ideal
population, so gaps shrink only as far as the population is near to it, and may grow.
Every other column goes out exactly as it came in. Printed are the divergence, the price
of each condition, the certificate, and what a logistic model on held-out rows makes of
the features before and after.

Columns that cannot be features are an error that lists them; these options help:
  --onehot     text columns become 0/1 columns, one per value but the first; the model
               remembers the values
  --drop       COLUMNS that cannot be used are no features: not numeric, constant (in
               the file or among the rows of one class and group), missing in more than
               half of the rows
  --drop-rows  ROWS with a missing value in a column that is used are left out, also
               of the output
For tables of mostly categorical columns it is better to steer the scores of a model
(fit --score), and `fairprog fit` is the command that asks held-out rows before it writes.
"""

ALIGN = """\
Align the features of a CSV file by a model of `fairprog steer --model`. It needs the
feature columns and the sensitive one, no label. The same rows give the same output as
`fairprog steer --out`.
"""

AUDIT = """\
Measure how unequally groups are treated by every threshold on a score: gaps of all
notions with bands, what chance alone gives, how well the score reveals the group within
a class, and which tool fits. The score must be of rows its model was not trained on.
With more than two classes name one score column per class, in the order of the
classes (numbers ascending, else alphabetical).
"""

TABLE = "a table with a header line: CSV of any kind, Parquet, Feather"
POSITIVE = (
    "the class that counts as positive (default: the last, numbers ascending, else alphabetical)"
)

SEVERAL: dict[str, Any] = {"action": "extend", "nargs": "+"}
NEEDED: dict[str, Any] = {**SEVERAL, "required": True, "metavar": "COL"}
DROP_ROWS: dict[str, Any] = {"action": "store_true", "help": "leave out rows with missing values"}

UNSEEN: dict[str, Any] = {
    "choices": ["error", "drop", "zeros"],
    "default": "error",
    "help": "text that did not occur when the model was fitted: an error (default), drop its "
    "rows, or encode it as none of the known values",
}

REPRODUCE = """\
Make the tables and figures of the experiments on this machine.
"""


def example(*lines: str) -> str:
    """Return what stands under the options: examples, and where to read more."""
    return "\n".join(["example:", *(f"  {line}" for line in lines), "", DOCS])


def _loss(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"must lie between 0 and 1; found {value}")
    return value


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="fairprog",
        description="Exact group fairness by convex optimisation.",
        epilog=DOCS,
        formatter_class=partial(argparse.HelpFormatter, max_help_position=28),
    )
    parser.add_argument("--version", action="version", version=f"fairprog {__version__}")
    raw = partial(argparse.RawDescriptionHelpFormatter, max_help_position=28)
    commands = parser.add_subparsers(dest="command", title="commands")
    command = partial(commands.add_parser, formatter_class=raw)

    fit = command("fit", help="find the step that held-out rows ask for", description=FIT)
    fit.epilog = example(
        "fairprog fit data.csv --label hired --sensitive sex --out step.json --report fit.html",
        "fairprog fit scores.csv --label hired --sensitive sex --score p --out step.json",
    )
    fit.add_argument("data", metavar="data.csv", help=TABLE)
    columns = fit.add_argument_group("columns")
    columns.add_argument("--label", required=True, metavar="COL", help="the class to predict")
    columns.add_argument("--sensitive", **NEEDED, help="the group; several: crossed")
    columns.add_argument("--positive", metavar="V", help=POSITIVE)
    columns.add_argument("--score", metavar="COL", help="move this score, not features")
    columns.add_argument(
        "--features", **SEVERAL, metavar="COL", help="default: every other usable column"
    )
    columns.add_argument("--exclude", **SEVERAL, default=[], metavar="COL", help="no features")
    columns.add_argument("--drop-rows", **DROP_ROWS)
    how = fit.add_argument_group("method")
    how.add_argument(
        "--method",
        metavar="NAME",
        help="each, all or align; with --score: quantile, normal, ... (default: the best)",
    )
    how.add_argument(
        "--max-loss",
        type=_loss,
        default=0.01,
        metavar="P",
        help="of the accuracy, at most (default 0.01)",
    )
    how.add_argument(
        "--no-lots", action="store_true", help="choose no method that decides at random (channels)"
    )
    how.add_argument("--force", action="store_true", help="write though held-out gaps grow")
    how.add_argument("--splits", type=folds, default=5, metavar="N", help="folds (default 5)")
    how.add_argument("--seed", type=count, default=0, help="of the folds (default 0)")
    how.add_argument("--quiet", action="store_true", help="show no progress bar")
    files = fit.add_argument_group("output (each written whole or not)")
    files.add_argument(
        "--out", metavar="STEP.json", help="the step, for `fairprog apply`; or .npz"
    )
    files.add_argument("--report", metavar="FILE.html", help="all of it with pictures, one page")
    fit.set_defaults(run=later("fitting", "run_fit"))

    apply_ = command("apply", help="apply a step to new rows, without labels", description=APPLY)
    apply_.epilog = example("fairprog apply step.json new.csv --out new_fair.csv")
    apply_.add_argument("step", metavar="step.json", help="of `fairprog fit` (or `steer`)")
    apply_.add_argument("data", metavar="new.csv", help=TABLE)
    apply_.add_argument("--out", required=True, metavar="FILE.csv", help="the table, moved")
    apply_.add_argument("--key", metavar="COL", help="identifiers, by which lots are drawn")
    apply_.add_argument("--drop-rows", **DROP_ROWS)
    apply_.add_argument("--unseen", **UNSEEN)
    apply_.set_defaults(run=later("fitting", "run_apply"))

    steer = command(
        "steer", help="bring the groups of a CSV file into common coordinates", description=STEER
    )
    steer.epilog = example(
        "fairprog steer data.csv --label hired --sensitive sex --out aligned.csv --model m.json"
    )
    steer.add_argument("data", metavar="data.csv", help=TABLE)
    columns = steer.add_argument_group("columns")
    columns.add_argument("--label", required=True, metavar="COL", help="the class to predict")
    columns.add_argument("--sensitive", **NEEDED, help="the group; several: crossed")
    columns.add_argument("--positive", metavar="V", help=POSITIVE)
    columns.add_argument(
        "--features",
        **SEVERAL,
        metavar="COL",
        help="default: every other column but identifiers (nearly all different whole numbers)",
    )
    columns.add_argument("--exclude", **SEVERAL, default=[], metavar="COL", help="no features")
    columns.add_argument("--onehot", action="store_true", help="encode text columns")
    columns.add_argument("--drop", action="store_true", help="leave out unusable columns")
    columns.add_argument("--drop-rows", **DROP_ROWS)
    program = steer.add_argument_group("program")
    program.add_argument(
        "--steer",
        **SEVERAL,
        metavar="GROUP",
        help="the groups to move, or `all` (default: every group but the reference, or but the "
        "largest)",
    )
    program.add_argument(
        "--reference", metavar="GROUP", help="the group whose coordinates are the common ones"
    )
    program.add_argument(
        "--transport",
        choices=TRANSPORTS,
        default="monotone",
        help="the class of maps (default: monotone)",
    )
    program.add_argument(
        "--base-rates",
        choices=["equalize", "keep"],
        default="equalize",
        help="of the ideal population (default: equalize)",
    )
    held = steer.add_argument_group("held-out figures")
    held.add_argument(
        "--splits",
        type=count,
        default=20,
        metavar="N",
        help="random splits; 0: none (default 20)",
    )
    held.add_argument(
        "--test-size", type=share, default=0.4, metavar="P", help="share held out (default 0.4)"
    )
    held.add_argument("--seed", type=count, default=0, help="of the splits (default 0)")
    held.add_argument("--quiet", action="store_true", help="show no progress bar")
    files = steer.add_argument_group("output (never the input file; each written whole or not)")
    files.add_argument("--out", metavar="FILE.csv", help="the table with aligned features")
    files.add_argument(
        "--weights",
        metavar="COL",
        help="add to --out a column of this name: the weights that carry the base rates of the "
        "ideal population (to train a model on)",
    )
    files.add_argument("--model", metavar="FILE.json", help="for `fairprog align`; or .npz")
    files.add_argument(
        "--report",
        metavar="FILE.html",
        help="all of it with pictures, as one page; of the first "
        "split: gaps at every threshold with 95%% bands",
    )
    steer.set_defaults(run=later("steering", "run_steer"))

    align = command(
        "align", help="align new rows by a saved model, without labels", description=ALIGN
    )
    align.epilog = example("fairprog align new.csv --model m.json --out new_aligned.csv")
    align.add_argument("data", metavar="new.csv", help=TABLE)
    align.add_argument("--model", required=True, metavar="FILE.json", help="of `fairprog steer`")
    align.add_argument("--out", required=True, metavar="FILE.csv", help="the aligned table")
    align.add_argument("--drop-rows", **DROP_ROWS)
    align.add_argument("--unseen", **UNSEEN)
    align.set_defaults(run=later("steering", "run_align"))

    add_drift(command)

    audit = command(
        "audit", help="measure the gaps of a score at every threshold", description=AUDIT
    )
    audit.epilog = example(
        "fairprog audit scores.csv --label hired --score p --sensitive sex --report audit.html"
    )
    audit.add_argument("data", metavar="scores.csv", help=TABLE)
    audit.add_argument("--label", required=True, metavar="COL", help="the true class")
    audit.add_argument("--score", **NEEDED, help="the score")
    audit.add_argument("--sensitive", **NEEDED, help="the group; several: crossed")
    audit.add_argument("--positive", metavar="V", help=POSITIVE)
    audit.add_argument("--after", metavar="COL", help="the score after steering, to compare")
    audit.add_argument("--weight", metavar="COL", help="weights of the rows")
    audit.add_argument(
        "--threshold",
        type=float,
        metavar="T",
        help="of the predictions (default: 0.5, or 0 where scores leave [0, 1])",
    )
    audit.add_argument("--confidence", type=share, default=0.95, metavar="P", help="default 0.95")
    audit.add_argument("--seed", type=count, default=0, help="of permutations (default 0)")
    audit.add_argument("--drop-rows", **DROP_ROWS)
    audit.add_argument("--report", metavar="FILE.html", help="all of it with pictures, one page")
    audit.set_defaults(run=later("audit_scores", "run_audit"))

    again = command("reproduce", help="run the experiments", description=REPRODUCE)
    again.add_argument(
        "--only",
        **SEVERAL,
        metavar="NAME",
        help="these experiments only; real: those on real data, which run only if named",
    )
    again.add_argument(
        "--out", type=Path, default=Path("results"), metavar="DIR", help="default: results"
    )
    again.add_argument("--quick", action="store_true", help="smaller samples, coarser grids")
    again.add_argument("--list", action="store_true", help="print the names of the experiments")
    again.add_argument("--model", metavar="DIR", help="smollm2: folder of a language model")
    again.add_argument("--gguf-file", metavar="F", help="the file in it, if that is its format")
    again.add_argument("--dtype", help="such as bfloat16 (default: that of the model)")
    again.add_argument("--batch", type=count, metavar="N", help="texts per pass (default 64)")
    again.set_defaults(
        run=lambda o: run_reproduce(
            o.only, o.out, o.quick, o.list,
            model=o.model, gguf_file=o.gguf_file, dtype=o.dtype, batch=o.batch,
        )
    )  # fmt: skip
    return parser


class _Terminal(io.TextIOBase):
    """Standard output until its reader has seen enough (`| head`); the work goes on without.

    Control characters of names are shown instead of obeyed.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream: TextIO | None = stream

    def write(self, text: str) -> int:
        """Write and flush, or drop the text."""
        try:
            if self.stream is not None:
                self.stream.write(printable(text))
                self.stream.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            self.stream = None
        return len(text)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments after the program's name; default those of the process.

    Returns
    -------
    int
        0 done, 1 a :class:`fairprog.FairprogError` or a file that cannot be read or written
        (one sentence on stderr), 2 wrong usage, 3 the rows say no (`drift`), 130 interrupted.

    Examples
    --------
    >>> from fairprog.cli import main
    >>> main(["--version"])
    fairprog 0.1.0
    0
    """
    parser = build_parser()
    try:
        options = parser.parse_args(argv)
    except SystemExit as stop:  # argparse has said why
        return stop.code if isinstance(stop.code, int) else 2
    if options.command is None:
        parser.print_help(sys.stderr)
        return 2
    try:
        with redirect_stdout(_Terminal(sys.stdout)):
            code = int(options.run(options))
            sys.stdout.flush()
    except (FairprogError, OSError) as error:
        from fairprog.cli.printed_report import filled

        said = f"fairprog {options.command}: {for_columns(printable(str(error)))}"
        print(filled(said) if sys.stderr.isatty() else said, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"fairprog {options.command}: interrupted.", file=sys.stderr)
        return 130
    return code
