"""Figures that were measured already: an interrupted experiment goes on where it was.

One line of JSON per figure, appended when it is there. The runner keeps the file of an interrupted
run as long as the experiment and the package are the same, and leaves it among the results: they
hold every figure of every split.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["FILE", "Measured"]

FILE = "measured.jsonl"


class Measured:
    """A file of figures.

    Parameters
    ----------
    folder : Path or None
        Where the file is or is to be; None keeps figures in memory only.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.path = None if folder is None else folder / FILE
        self.known: dict[tuple[Any, ...], Any] = {}
        if self.path is None or not self.path.is_file():
            return
        whole = [
            line for line in self.path.read_text("utf-8").splitlines(True) if line[-1] == "\n"
        ]
        self.path.write_text("".join(whole), encoding="utf-8")  # what was cut off is lost
        for line in whole:
            key, value = json.loads(line)
            self.known[tuple(key)] = value

    def __contains__(self, key: tuple[Any, ...]) -> bool:
        return key in self.known

    def get(self, key: tuple[Any, ...], measure: Callable[[], Any]) -> Any:
        """Return the figure of a key; measured and written down where it is new.

        Parameters
        ----------
        key : tuple of str and int
        measure : callable
            Returns plain data: numbers, texts, lists of them.
        """
        if key not in self.known:
            value = measure()
            if self.path is not None:
                with self.path.open("a", encoding="utf-8") as stream:
                    stream.write(json.dumps([list(key), value]) + "\n")
            self.known[key] = value
        return self.known[key]
