"""One style for every picture, colour-blind-safe; and writing pictures atomically."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from fairprog.errors import DataError
from fairprog.labels import printable

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
LINES = ("--", "-", ":", "-.", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)))
MARKERS = ("o", "s", "^", "D", "v", "P")

_STYLE: Any = {  # Any: matplotlib types the keys one by one, and differently by version
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.labelsize": 9,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 9,
    "font.size": 9,
    "grid.color": "0.9",
    "grid.linewidth": 0.6,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "savefig.dpi": 150,
    "text.parse_math": False,  # labels are the user's: a $ is a $
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
}


@contextmanager
def style() -> Iterator[None]:
    """Apply the style of the package to the figures made inside a ``with`` block.

    Examples
    --------
    >>> from fairprog.plotting import style
    >>> import matplotlib.pyplot as plt
    >>> with style():
    ...     fig, ax = plt.subplots()
    """
    with settings(_STYLE):
        yield


@contextmanager
def settings(values: dict[str, Any]) -> Iterator[None]:
    """Set some of matplotlib's settings inside a ``with`` block, and only these back after it.

    ``plt.rc_context`` sets all of them back, also the backend that was found meanwhile and whether
    it is interactive: a notebook would then show no picture of its own any more.
    """
    params: Any = plt.rcParams
    before = {name: params[name] for name in values}
    params.update(values)
    try:
        yield
    finally:
        params.update(before)


def save_figure(fig: Figure, path: str | os.PathLike[str], dpi: int = 150) -> Path:
    """Write a figure and close it.

    Parameters
    ----------
    fig : Figure
    path : path-like
        The suffix says the format.
    dpi : int
        Dots per inch of a pixel format.

    Returns
    -------
    Path
    """
    target = Path(path)
    fig.savefig(target, dpi=dpi)
    plt.close(fig)
    return target


def class_line(i: int) -> Any:
    """Return the line style of a class."""
    return LINES[i % len(LINES)]


def group_color(a: int) -> str:
    """Return the colour of a group."""
    return COLORS[a % len(COLORS)]


def figure_of(ax: Axes) -> Figure:
    """Return the figure that axes belong to."""
    fig = ax.figure
    return fig.figure if isinstance(fig, SubFigure) else fig


def legend_columns(labels: Sequence[str], width: float) -> int:
    """Return how many legend entries fit beside each other on a figure that many inches wide."""
    longest = max(len(label) for label in labels)
    return max(1, min(len(labels), 6, int(14.0 * width / (longest + 6))))


def new_axes(ax: Axes | None, figsize: tuple[float, float]) -> tuple[Figure, Axes]:
    """Return the given axes with their figure, or a new figure with axes of its own.

    Raises
    ------
    DataError
        If `ax` is something else.
    """
    if ax is None:
        fig, own = plt.subplots(figsize=figsize, layout="constrained")
        return fig, own
    if not isinstance(ax, Axes):
        raise DataError(f"`ax` must be matplotlib Axes; found {type(ax).__name__}.", argument="ax")
    return figure_of(ax), ax


def short(label: object, length: int = 24) -> str:
    """Return the text of a label, its middle left out where it is long.

    Examples
    --------
    >>> from fairprog.plotting.style import short
    >>> short("people who moved here in the last five years")
    'people who m…five years'
    """
    text = printable(str(label), [label])
    if len(text) <= length:
        return text
    half = (length - 1) // 2
    return f"{text[: length - 1 - half].rstrip()}…{text[-half:].lstrip()}"
