"""Benchmarks: ratios of times measured in one run.

``make benchmark``, or ``python -m experiments.benchmark [NAME ...] [--full]``: the table is
printed and written to results/benchmark.csv, with what grows drawn in results/benchmark.png.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from tqdm import tqdm

from fairprog.plotting.style import save_figure

from . import (  # noqa: F401 - they register what they hold
    benchmark_moments,
    benchmark_newton,
    benchmark_scores,
    benchmark_torch,
)
from .claims import Unavailable, write_csv
from .timing import BENCHMARKS, LONG, Row, draw

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> None:
    """Run the named benchmarks (all that are not long without names), print, write and draw."""
    parser = argparse.ArgumentParser(description="Benchmarks of fairprog.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--full", action="store_true", help="the long ones too: minutes each")
    parser.add_argument("--out", type=Path, default=Path("results"))
    options = parser.parse_args(arguments)
    unknown = [name for name in options.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"there is no benchmark {unknown}; there are {list(BENCHMARKS)}")
    names = options.names or [n for n in BENCHMARKS if options.full or n not in LONG]
    table = []
    for name in tqdm(names, disable=None):
        table += [[name, *row] for row in _rows(BENCHMARKS[name])]
    for name, what, value, unit, target in table:
        wanted = f"   wanted {target}" if target else ""
        found = "-" if np.isnan(value) else f"{value:.4g}"
        print(f"{name:22} {what:52} {found:>10} {unit:3}{wanted}")
    options.out.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(dir=options.out, suffix=".csv")
    os.close(handle)
    write_csv(Path(part), ["benchmark", "what", "value", "unit", "wanted"], table)
    os.replace(part, options.out / "benchmark.csv")
    figure = draw()
    if figure is not None:
        save_figure(figure, options.out / "benchmark.png")


def _rows(run: Callable[[], list[Row]]) -> list[Row]:
    """Run a benchmark; one that cannot run here says what it would need."""
    try:
        return run()
    except Unavailable as missing:
        return [(f"not measured: {missing}", float("nan"), "", "")]


if __name__ == "__main__":
    main()
