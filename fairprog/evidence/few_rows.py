"""When rows are too few to say much: one rule for audits, comparisons, steps and commands."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from fairprog.errors import FairprogWarning
from fairprog.kernels.statistics.sample_size import rows_for_gap
from fairprog.labels import Indices

WHICH = "The smallest cell"
FEW = 50  # rows of a cell: of fewer a rate is known to within a tenth or two


def few_rows_words(count: Indices, classes: Sequence[Hashable], groups: Sequence[Hashable]) -> str:
    """Return that the smallest cell is too small and what it takes, without an end; or ''.

    Parameters
    ----------
    count : Indices, shape (K, G)
    classes, groups : sequence of labels

    Examples
    --------
    >>> import numpy as np
    >>> from fairprog.evidence.few_rows import few_rows_words
    >>> few_rows_words(np.array([[70, 12], [80, 90]]), [0, 1], ["f", "m"])
    'The smallest cell (class 0, group m) has 12 rows, and a gap of 0.1 needs 633 in each ...'
    """
    i, a = (int(k) for k in np.unravel_index(int(np.argmin(count)), np.shape(count)))
    least: Any = count[i][a]
    if least >= FEW:
        return ""
    return (
        f"{WHICH} (class {classes[i]}, group {groups[a]}) has {int(least)} rows, and a "
        f"gap of 0.1 needs {rows_for_gap(0.1, 0.95, 0.8)} in each cell to be seen"
    )


def warn_of_few_rows(count: Indices, classes: Sequence[Any], groups: Sequence[Any]) -> None:
    """Warn that the smallest cell of rows fitted is too small, with the remedy."""
    if said := few_rows_words(count, classes, groups):
        text = f"{said}, nor is a map known better: gather more, or join groups by merge_groups."
        warnings.warn(text, FairprogWarning, stacklevel=3)


def few_rows_said() -> None:
    """Keep that warning back within ``warnings.catch_warnings()``: it was given already."""
    warnings.filterwarnings("ignore", WHICH, FairprogWarning)
