"""Where commands write, checked before any work; and what was warned of, as remarks."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterable
from pathlib import Path

from fairprog.codec import check_folder
from fairprog.errors import FairprogWarning, ModelError

OTHER_FORMATS = {".feather", ".json", ".npy", ".npz", ".parquet", ".tsv", ".xls", ".xlsx"}


def for_columns(text: str) -> str:
    """Return text that advises options of Python as advice for the columns of a table."""
    text = re.sub(r", as merge_groups=\{.*?\} does", " in that column", text)
    return text.replace(
        "join groups by merge_groups", "give small groups one label in their column"
    )


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
            texts.append(
                str(entry.message).replace("Pass key=, an", "Say `fairprog apply --key`, an")
            )
        else:
            warnings.warn_explicit(entry.message, entry.category, entry.filename, entry.lineno)
    return list(dict.fromkeys(texts))
