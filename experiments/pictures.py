"""Write the pictures of the experiments: PNG with a palette, a third of the size, same look."""

from __future__ import annotations

import io
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from PIL import Image

__all__ = ["save_picture"]


def save_picture(fig: Figure, path: Path, dpi: int = 150) -> None:
    """Write a figure in at most 128 colours and close it."""
    buffer = io.BytesIO()
    fig.savefig(buffer, dpi=dpi, format="png")
    plt.close(fig)
    with Image.open(buffer) as picture:
        small = picture.convert("RGB").quantize(
            128, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE
        )
    small.save(path, optimize=True, dpi=(dpi, dpi))
