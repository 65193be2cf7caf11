"""What the benchmarks share: how they are registered, timed and drawn.

A benchmark is a function that returns rows ``(what, value, unit, wanted)``, registered under its
name by ``@benchmark`` (or ``@benchmark(long=True)`` if it takes minutes). Figures are ratios of
times taken in one run: a busy machine changes them little. What is to be drawn over a size goes
to :func:`point` as well.
"""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from typing import Any, overload

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from fairprog.plotting.style import COLORS, MARKERS, style

from .pictures import plain_ticks

__all__ = [
    "BENCHMARKS",
    "LONG",
    "Row",
    "benchmark",
    "best_of",
    "draw",
    "growth",
    "peak_memory",
    "point",
    "turns",
]

Row = tuple[str, float, str, str]
Benchmark = Callable[[], list[Row]]
BENCHMARKS: dict[str, Benchmark] = {}
LONG: set[str] = set()  # left out unless asked for
CURVES: dict[str, dict[str, dict[float, float]]] = {}  # panel, curve, size: seconds


@overload
def benchmark(function: Benchmark) -> Benchmark: ...
@overload
def benchmark(*, long: bool) -> Callable[[Benchmark], Benchmark]: ...


def benchmark(function: Benchmark | None = None, *, long: bool = False) -> Any:
    """Register a benchmark under its function's name."""

    def register(function: Benchmark) -> Benchmark:
        BENCHMARKS[function.__name__] = function
        if long:
            LONG.add(function.__name__)
        return function

    return register if function is None else register(function)


def best_of(
    repeats: int, call: Callable[[], Any], clock: Callable[[], float] = time.process_time
) -> tuple[float, Any]:
    """Return the shortest time of several calls, in seconds, and the last result.

    Processor time by default; `time.perf_counter` where threads are part of what is measured.
    """
    times, result = [], None
    for _ in range(repeats):
        started = clock()
        result = call()
        times.append(clock() - started)
    return min(times), result


def turns(repeats: int, *calls: Callable[[], Any]) -> list[float]:
    """Return the shortest wall time of each call, in seconds; they take turns."""
    best = [float("inf")] * len(calls)
    for _ in range(repeats):
        for k, call in enumerate(calls):
            best[k] = min(best[k], best_of(1, call, time.perf_counter)[0])
    return best


def peak_memory(call: Callable[[], Any]) -> int:
    """Return the largest memory a call holds beyond what there was before it, in bytes."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        result = call()
        peak = tracemalloc.get_traced_memory()[1] - before
        del result
    finally:
        tracemalloc.stop()
    return peak


def point(panel: str, curve: str, size: float, seconds: float) -> float:
    """Keep a point to draw, and return its seconds."""
    CURVES.setdefault(panel, {}).setdefault(curve, {})[size] = seconds
    return seconds


def growth(sizes: list[float], seconds: list[float]) -> float:
    """Return the exponent p of seconds ~ sizes^p, by least squares on the logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def draw() -> Figure | None:
    """Draw what was kept, a panel each: seconds against size, both logarithmic."""
    if not CURVES:
        return None
    names = list(dict.fromkeys(curve for curves in CURVES.values() for curve in curves))
    with style():
        fig, axes = plt.subplots(
            1, len(CURVES), figsize=(3.6 * len(CURVES) + 0.6, 3.9), squeeze=False
        )
        for ax, (panel, curves) in zip(axes[0], CURVES.items(), strict=True):
            for name, found in curves.items():
                k = names.index(name)
                sizes = sorted(found)
                ax.loglog(
                    sizes,
                    [found[s] for s in sizes],
                    color=COLORS[k % len(COLORS)],
                    marker=MARKERS[k % len(MARKERS)],
                    label=name,
                )
            every = sorted({size for found in curves.values() for size in found})
            apart = [every[0]]
            for size in every[1:]:  # labels need room
                if np.log(size / apart[-1]) > 0.15 * np.log(every[-1] / every[0]):
                    apart.append(size)
            plain_ticks(ax, "x", apart)
            low, high = ax.get_ylim()
            ticks = [10.0**k for k in range(-6, 6) if low <= 10.0**k <= high]
            plain_ticks(ax, "y", ticks)
            ax.set_xlabel(panel)
            ax.legend(loc="upper left", bbox_to_anchor=(0.0, -0.2))
        axes[0, 0].set_ylabel("seconds")
        fig.tight_layout()
    return fig
