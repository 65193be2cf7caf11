"""A table as text: what is not asked about goes out exactly as it came in."""

from __future__ import annotations

import difflib
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fairprog.codec import write_atomically
from fairprog.errors import DataError
from fairprog.labels import Array

if TYPE_CHECKING:
    import pandas as pd

Text = NDArray[Any]  # of dtype object, holding str

MISSING = frozenset(
    ["?", "#N/A", "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"]
) | {""}

DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
FORMATS = {  # by the first bytes of a file
    b"PK": "a workbook or a zip archive",
    b"\xd0\xcf\x11\xe0": "a workbook",
}


def quoted(names: Iterable[Any]) -> str:
    """Return ``'a', 'b', 'c'``."""
    return ", ".join(repr(str(name)) for name in names)


def in_order(labels: Iterable[str]) -> tuple[str, ...]:
    """Return the distinct labels, sorted: as numbers where all of them are, else as text.

    Examples
    --------
    >>> from fairprog.cli.csv_table import in_order
    >>> in_order(["10", "9", "10"])
    ('9', '10')
    >>> in_order(["10", "9", "b"])
    ('10', '9', 'b')
    """
    distinct = sorted(set(labels))
    numbers = as_numbers(np.array(distinct, dtype=object))
    if np.isnan(numbers).any():
        return tuple(distinct)
    return tuple(distinct[k] for k in np.argsort(numbers, kind="stable"))


def as_written(numbers: Array, text: Text) -> NDArray[Any]:
    """Return numbers as a column writes its own: whole ones without a point where it has none.

    Examples
    --------
    >>> as_written(np.array([38., 40.]), np.array(["44", "51"])).tolist()
    [38, 40]
    """
    digits = not any(mark in cell for cell in text.tolist() for mark in ".,eE")
    if digits and (numbers == np.rint(numbers)).all() and np.abs(numbers).max(initial=0.0) < 2**53:
        return numbers.astype(np.int64).astype(object)
    return numbers.astype(object)


def as_numbers(text: ArrayLike) -> Array:
    """Return text as numbers, NaN where it is none."""
    import pandas as pd

    column = pd.Series(np.asarray(text, dtype=object))
    return np.asarray(pd.to_numeric(column, errors="coerce"), dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Table:
    """The cells of a CSV file as text, and its header.

    Attributes
    ----------
    name : str
        The file's name, for messages.
    header : tuple of str
        Column names as they stand in the file.
    cells : DataFrame
        Text; columns are numbered, so that a name may occur twice.
    found : tuple of str
        How the file is written, where not as a CSV file in UTF-8.
    comma : bool
        Whether numbers have decimal commas.
    """

    name: str
    header: tuple[str, ...]
    cells: pd.DataFrame
    found: tuple[str, ...] = ()
    comma: bool = False

    @property
    def remark(self) -> list[str]:
        """What was found out about the file, as a sentence."""
        said = " and ".join(self.found)
        return [f"{self.name} was read as it is: {said}."] if self.found else []

    def __len__(self) -> int:
        return len(self.cells)

    @property
    def names(self) -> list[str]:
        """Column names without surrounding blanks: those by which columns are asked for."""
        return [name.strip() for name in self.header]

    @property
    def repeated(self) -> list[str]:
        """Names that occur more than once."""
        names = self.names
        return [name for name in dict.fromkeys(names) if names.count(name) > 1]

    def require(self, wanted: Iterable[str]) -> None:
        """Check that each of these columns is there once.

        Raises
        ------
        DataError
            Listing every unknown name with the nearest known ones, or names that occur twice.
        """
        names = self.names
        unknown = [name for name in dict.fromkeys(wanted) if name not in names]
        if unknown:
            found = []
            for name in unknown:
                close = _closest(name, names)
                found.append(repr(name) + (f" (did you mean {quoted(close)}?)" if close else ""))
            raise DataError(
                f"{self.name} has no column {', '.join(found)}; its columns are {quoted(names)}.",
                argument="columns",
            )
        twice = [name for name in dict.fromkeys(wanted) if names.count(name) > 1]
        if twice:
            raise DataError(
                f"{self.name} has more than one column named {quoted(twice)}; rename one of them.",
                argument="columns",
            )

    def text(self, name: str) -> Text:
        """Return one column as text without surrounding blanks, numbers with a decimal point."""
        column = self.cells[self.names.index(name)].str.strip()
        if self.comma:
            column = column.str.replace(r"^([-+]?\d*),(\d+)$", r"\1.\2", regex=True)
        return np.asarray(column, dtype=object)

    def crossed(self, names: Sequence[str]) -> Text:
        """Return one column as text; of several the values of each row, joined by " & "."""
        columns = [self.text(name) for name in names]
        joined = [" & ".join(values) for values in zip(*columns, strict=True)]
        if len(set(joined)) < len(set(zip(*columns, strict=True))):
            raise DataError(
                f"Two groups of the columns {quoted(names)} of {self.name} read alike once their "
                "values are joined by ' & '; rename a value.",
                argument="sensitive",
            )
        return np.array(joined, dtype=object)

    def missing(self, name: str) -> NDArray[np.bool_]:
        """Return where a column has no value: an empty cell, NA, NaN, null, ...."""
        return np.isin(self.text(name).astype(str), sorted(MISSING))

    def keep(self, rows: NDArray[np.bool_]) -> Table:
        """Return the table of these rows only."""
        return replace(self, cells=self.cells[rows].reset_index(drop=True))

    def replace(self, columns: Mapping[str, Sequence[tuple[str, ArrayLike]]]) -> Table:
        """Return a table in which columns gave way to others, in their places.

        Parameters
        ----------
        columns : mapping from name to a sequence of (new name, values)
        """
        import pandas as pd

        header: list[str] = []
        parts: list[Any] = []
        for k, (raw, name) in enumerate(zip(self.header, self.names, strict=True)):
            if name not in columns:
                header.append(raw)
                parts.append(self.cells[k])
            for new, values in columns.get(name, ()):
                header.append(raw if new == name else new)
                parts.append(pd.Series(np.asarray(values)))
        cells = pd.concat(parts, axis=1)
        cells.columns = pd.RangeIndex(len(header))
        return replace(self, header=tuple(header), cells=cells)

    def append(self, name: str, values: ArrayLike) -> Table:
        """Return a table with one more column at the end; NaN is an empty cell."""
        import pandas as pd

        cells = pd.concat([self.cells, pd.Series(np.asarray(values))], axis=1)
        cells.columns = pd.RangeIndex(len(self.header) + 1)
        return replace(self, header=(*self.header, name), cells=cells)

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write a CSV file (compressed where the suffix says so), all of it or nothing."""
        write_atomically(
            path, lambda target: self.cells.to_csv(target, index=False, header=list(self.header))
        )


def _closest(name: str, names: list[str]) -> list[str]:
    """Return up to three names like this one, whatever their case."""
    by_lower = {known.lower(): known for known in names}
    return [by_lower[k] for k in difflib.get_close_matches(name.lower(), list(by_lower), n=3)]


def read_table(path: str | os.PathLike[str]) -> Table:
    """Read a table with a header line, as text: CSV in any of the usual hands, Parquet, Feather.

    Commas, semicolons (with decimal commas), tabs or bars; UTF-8, UTF-16 or latin-1; rows may
    begin with a name that the header does not have. What was found stands in ``Table.found``.

    Raises
    ------
    DataError
        If there is no such file, it is no table, or has no rows.
    """
    import pandas as pd

    source = Path(path)
    if source.is_dir():
        raise DataError(f"{str(path)!r} is a folder; a CSV file is needed.", argument="path")
    if not source.exists():
        raise DataError(f"There is no file {str(path)!r}.", argument="path")
    with source.open("rb") as stream:  # a pipe is read once, and whole
        start = stream.read(1 << 16 if source.is_file() else -1)
    for magic, what in FORMATS.items():
        if start.startswith(magic):
            raise DataError(
                f"{source.name} cannot be read: it seems to be {what}; write it as a CSV file.",
                argument="path",
            )
    kinds = {b"PAR1": "Parquet", b"ARROW1": "Feather"}
    kind = next((name for magic, name in kinds.items() if start.startswith(magic)), "CSV")
    try:
        if kind != "CSV":
            return _from_arrow(source, kind)
        return _from_text(source, start, source if source.is_file() else start)
    except pd.errors.EmptyDataError:
        raise DataError(f"{source.name} is empty.", argument="path") from None
    except (pd.errors.ParserError, ImportError, UnicodeError, OSError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        said = " ".join(str(error).split())
        raise DataError(
            f"{source.name} cannot be read as a {kind} file: {said}.", argument="path"
        ) from None


def _from_text(source: Path, start: bytes, content: Path | bytes) -> Table:
    import pandas as pd

    def read(**more: Any) -> pd.DataFrame:
        data = io.BytesIO(content) if isinstance(content, bytes) else content
        return pd.read_csv(data, **options | more)

    options: dict[str, Any] = {"header": None, "dtype": str, "na_filter": False}
    options |= {"encoding": "utf-8-sig", "index_col": False}
    found = []
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        options["encoding"] = "utf-16"
        found.append("its text is UTF-16")
    head = start.decode(options["encoding"], "replace").split("\n")[0]
    if source.suffix in (".gz", ".bz2", ".xz", ".zst"):
        head = str(read(sep="\x01", nrows=1).iloc[0, 0])
    mark = max(DELIMITERS, key=lambda m: (head.count(m), m == ","))
    if mark != ",":
        found.append(f"its columns are separated by {DELIMITERS[mark]}")
    try:
        cells = read(sep=mark)
    except UnicodeDecodeError:
        options["encoding"] = "latin-1"
        found.append("its text is latin-1")
        cells = read(sep=mark)
    except pd.errors.ParserError:  # rows of one more cell than the header: they begin with a name
        wide = read(sep=mark, skiprows=1)
        names = read(sep=mark, nrows=1).iloc[0]
        if wide.shape[1] != len(names) + 1 or len(wide) < 2:
            raise
        found.append("its first column, which the header does not name, is an index")
        cells = pd.concat([pd.DataFrame([["", *names]]), wide])
    if len(cells) < 2:
        raise DataError(f"{source.name} has a header but no rows.", argument="path")
    header = tuple(str(name) for name in cells.iloc[0])
    cells = cells.iloc[1:].reset_index(drop=True)
    found += _thousands(header, cells)
    return Table(source.name, header, cells, tuple(found), comma=mark == ";")


def _thousands(header: tuple[str, ...], cells: pd.DataFrame) -> list[str]:
    """Return what is said of a column whose every point has three digits behind it: 1.234."""
    said = []
    for k, name in enumerate(header):
        dotted = cells[k][cells[k].str.contains(".", regex=False)]
        grouped = dotted.str.fullmatch(r"\s*[-+]?[1-9]\d{0,2}(\.\d{3})+\s*")
        if len(dotted) < len(cells) and len(dotted) > 2 and grouped.all():
            said.append(
                f"column {name.strip()!r} holds {dotted.iloc[0].strip()!r}, read with a decimal "
                "point (if the points group thousands, take them out)"
            )
    return said


def _from_arrow(source: Path, kind: str) -> Table:
    import pandas as pd

    frame = pd.read_parquet(source) if kind == "Parquet" else pd.read_feather(source)
    if not isinstance(frame.index, pd.RangeIndex):
        frame = frame.reset_index()
    if not len(frame):
        raise DataError(f"{source.name} has a header but no rows.", argument="path")
    header = tuple(str(name) for name in frame.columns)
    cells = frame.astype(object).where(frame.notna(), "").astype(str)
    cells.columns = pd.RangeIndex(len(header))
    return Table(source.name, header, cells, (f"it is a {kind} file",))
