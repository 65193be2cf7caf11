"""The picture of `smollm2`: gaps between the genres per method, and the curve of biographies."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from fairprog.plotting import COLORS, style

from .intervals import interval
from .pictures import mark_chance, save_picture
from .smollm2_next_words import CHEAPER, METHODS, by_seed, gaps_of

__all__ = ["draw"]

NEAR_POINT: dict[str, Any] = {"textcoords": "offset points", "fontsize": 7}


def draw(words: Mapping[Any, Any], table: Mapping[str, Any], path: Path) -> None:
    """Draw gaps between the genres per method, and the curve between two matchings."""
    with style():
        fig, (left, right) = plt.subplots(1, 2, figsize=(8.6, 3.4), layout="constrained")
        for k, method in enumerate(METHODS):
            gaps = np.abs(gaps_of(words, method))
            mean, low, high = interval(by_seed(words, gaps.tolist()))
            left.plot(gaps, np.full(len(gaps), k), ".", color="0.6", markersize=4)
            color = COLORS[1] if method == CHEAPER else COLORS[0]
            left.plot([low, high], [k, k], color=color, linewidth=2)
            left.plot(mean, k, "o", color=color)
        left.set_yticks(range(len(METHODS)), METHODS)
        left.invert_yaxis()
        left.set(xlabel="gap between the genres, log-odds of the next word", xlim=(0, None))
        curve = [name for name in table if name.startswith("ideal")]
        points = np.array([[table[n]["gap"][0], table[n]["accuracy"][0]] for n in curve])
        right.plot(*points.T, "o-", color=COLORS[0])
        for name, (x, y) in zip(curve, points, strict=True):
            right.annotate(name.rpartition(" ")[2], (x, y), xytext=(4, 4), **NEAR_POINT)
        for k, name in enumerate(n for n in table if n not in curve):
            x, y = table[name]["gap"][0], table[name]["accuracy"][0]
            right.plot(x, y, "s", color=COLORS[1 + k % 4])
            right.annotate(name, (x, y), xytext=(4, -10), **NEAR_POINT)
        mark_chance(right, table["none"]["chance"])
        right.set(xlabel="RMS TPR gap", ylabel="accuracy on test rows")
        right.margins(x=0.15, y=0.12)
    save_picture(fig, path)
