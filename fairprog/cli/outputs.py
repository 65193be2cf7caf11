"""Where commands write, checked before any work; and what was warned of, as remarks."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

from fairprog.codec import check_folder
from fairprog.errors import FairprogWarning, ModelError

OTHER_FORMATS = {".feather", ".json", ".npy", ".npz", ".parquet", ".tsv", ".xls", ".xlsx"}


WORDS = (  # of Python: those of the commands
    (r", as merge_groups=\{.*?\} does", " in that column"),
    (r"join groups by merge_groups|merge_groups\b", "give small groups one label in their column"),
    (r"Give snap=False for a learner that is no tree, leave the column out",
     "Leave the column out by --exclude"),
    (r"Compare on held-out rows \(fairprog\.compare\), leave such columns out",
     "Leave such columns out by --exclude"),
    (r"raise `shrinkage`,? ", ""),
    (r"covariance='diagonal', which needs variances only, or ", ""),
    (r"or steer scores( by ScoreSteering)?", "or move the score of a model (fit --score)"),
    (r"fewer folds: `cv`", "fewer folds: --splits"),
    (r"name another by `threshold`", "name another by --threshold"),
    (r"Pass key=, an", "Say `fairprog apply --key`, an"),
    (r"drop_rows=True", "--drop-rows"),
    (r"unseen='(\w+)'", r"--unseen \1"),
    (r"`key` holds", "The column of --key holds"),
    (r"Pass an identifier of every row", "Name a column that identifies every row"),
    (r"method='(\w+)' with all groups steered", r"--method \1"),
    (r"method='(\w+)'", r"--method \1"),
    (r"\(1 - score, or the other column of predict_proba\), or name the classes the other way "
     r"round", "(1 - score), or name the positive class by --positive"),
    (r"were labels and `sensitive_features` swapped", "were --label and --sensitive swapped"),
)  # fmt: skip


def for_columns(text: str, names: Sequence[str] = ()) -> str:
    """Return what Python says in the words of the commands, columns by their names.

    Examples
    --------
    >>> from fairprog.cli.outputs import for_columns
    >>> for_columns("column 1: 2 of 9 values are left", ["age", "pay"])
    'pay: 2 of 9 values are left'
    """
    for pattern, word in WORDS:
        text = re.sub(pattern, word, text)

    def name(found: re.Match[str]) -> str:
        return names[int(found[1])] if int(found[1]) < len(names) else found[0]

    return re.sub(r"\bcolumn (\d+)\b", name, text)


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


def remarks_of(caught: Iterable[warnings.WarningMessage], names: Sequence[str] = ()) -> list[str]:
    """Return fairprog's own warnings as text, once each, and pass the others on."""
    texts = []
    for entry in caught:
        if issubclass(entry.category, FairprogWarning):
            texts.append(for_columns(str(entry.message), names))
        else:
            warnings.warn_explicit(entry.message, entry.category, entry.filename, entry.lineno)
    return list(dict.fromkeys(texts))
