"""The pictures of the experiments: plain numbers on logarithmic axes, PNG files with a palette."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from PIL import Image

__all__ = ["mark_chance", "plain_ticks", "save_picture"]


def plain_ticks(ax: Axes, which: Literal["x", "y"], values: Sequence[float]) -> None:
    """Put ticks at these values, labelled as plain numbers, and keep the ends of the axis."""
    axis, ends, set_ends = (
        (ax.xaxis, ax.get_xlim(), ax.set_xlim)
        if which == "x"
        else (ax.yaxis, ax.get_ylim(), ax.set_ylim)
    )
    axis.set_ticks(values, [f"{v:,g}" for v in values])
    axis.set_minor_formatter(NullFormatter())
    set_ends(*ends)


def mark_chance(ax: Axes, gap: float) -> None:
    """Draw the gap that chance alone leaves as a dotted line."""
    ax.axvline(gap, color="0.5", linestyle=":", linewidth=1)
    ax.annotate(
        "chance",
        (gap, 0.98),
        xycoords=("data", "axes fraction"),
        xytext=(3, 0),
        textcoords="offset points",
        va="top",
        color="0.4",
        fontsize=7,
    )


def save_picture(fig: Figure, path: Path, dpi: int = 150) -> None:
    """Write a figure in at most 128 colours, a third of the size, and close it."""
    buffer = io.BytesIO()
    fig.savefig(buffer, dpi=dpi, format="png")
    plt.close(fig)
    with Image.open(buffer) as picture:
        small = picture.convert("RGB").quantize(
            128, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE
        )
    small.save(path, optimize=True, dpi=(dpi, dpi))
