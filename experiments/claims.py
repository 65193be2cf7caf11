"""What an experiment says, and how it writes its numbers down."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Claim", "Unavailable", "judged", "rst_table", "write_csv"]


@dataclass(frozen=True)
class Claim:
    """One statement and what was measured.

    Attributes
    ----------
    text : str
        The statement.
    measured : str
        The figures, with units.
    holds : bool
    note : str
        Why it does not hold (then required), or what else a reader should know.
    """

    text: str
    measured: str
    holds: bool
    note: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "holds", bool(self.holds))  # numpy's is not JSON


def judged(text: str, measured: str, holds: bool, why_not: str) -> Claim:
    """Return a claim with the reason why it does not hold, where it does not."""
    return Claim(text, measured, holds, "" if holds else why_not)


class Unavailable(Exception):  # noqa: N818 - not an error: the experiment says what it needs
    """Raised by an experiment that cannot run here, with what it would need (data, a package)."""


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write rows; floats as their shortest exact text (``repr``), units stand in the header."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        for row in rows:
            writer.writerow([repr(float(x)) if isinstance(x, float) else x for x in row])


def rst_table(rows: Sequence[Sequence[str]]) -> str:
    """Return a table of the documentation in reStructuredText; the first row is its header."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rule = "  ".join("=" * width for width in widths)
    head, *body = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
    return "\n".join([rule, head, rule, *body, rule, ""])
