"""Benchmarks: ratios of times measured in one run.

``make benchmark``, or ``python -m experiments.benchmark [NAME ...] [--full]``: the table, every
row with its budget and whether that was met, is printed and written to results/benchmark.csv, with
what grows drawn in results/benchmark.png. ``--page`` writes it as a page that names the machine;
docs/benchmark.rst is one. Peers that are not installed are named.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from fairprog.codec import write_text
from fairprog.plotting.style import save_figure
from fairprog.versions import versions

from . import (  # noqa: F401 - they register what they hold
    benchmark_growth,
    benchmark_moments,
    benchmark_newton,
    benchmark_peers,
    benchmark_scores,
    benchmark_torch,
)
from .claims import Unavailable, write_csv
from .timing import BENCHMARKS, LONG, Row, draw

__all__ = ["main"]

ALL_THREADS = ("newton", "maps_from_rows", "moments", "align")  # benchmarks of products

MADE = """\
``make benchmark`` makes this page. Times are processor time of one thread, the shortest of
several; of Newton's method and its peers (POT, LEACE, conic solvers by hand in CVXPY) wall time on
all cores. One ``eigh`` is scipy's decomposition of one covariance of the same size."""
MEMORY = """\
Memory: the steered population takes half of the moments of two groups, and five d x d matrices
stand beside it; the search takes a quarter of the moments and eight d x d matrices."""
BOUNDS: dict[str, str] = {  # by benchmark: what a missed budget is bound by, from profiles
    "newton_bios": f"""\
Of a solve at K = 6 (51 ``eigh`` of one thread in the profile, on a busy machine) ten Hessian
products are 12.5 ``eigh``, the span of the means beside them 3, the gradient in float64 4.7, the
basis and the cells in it 7, steps 2.7; the proof, the prices and the steered population 16, of
which the gradient of every class is 7, residuals 3.3, KL 2.8, the population 2.4. A product is two
float32 products of matrices per class, 0.13 ``eigh``: the fixed parts and the proof alone are
more than 2 (K + 4) = 20.
{MEMORY}""",
    "newton_embeddings": f"As for ``newton_bios``.\n{MEMORY}",
    "newton_one_class": """\
The map alone is faster than POT's; what is left is its proof, the steered population and KL.""",
    "all of these": """\
Solves with 768 features, and 12 groups.""",
    "streams": """\
Within the noise of a measurement: 1.23, 1.49 and 1.52 in three runs.""",
    "fair_score_1_000_000_rows": """\
Counting takes 1.5 argsorts (the sorts of the cells 0.6, their labels 0.5), the population 0.7, the
path with channels and proof 2.0.""",
    "maps_from_rows": """\
Of six occupations, on one thread of a busy machine, moments and their population take 1.7 fits of
LEACE (5.1 and 4.8 ``eigh``, LEACE 5.9), so that three fits leave 8 ``eigh`` for the program, its
proof and its prices. These take 48 (see ``newton_bios``), in products of matrices and triangular
solves. Twice are found Cholesky factors, which kept would take as much memory as the moments, and
the gradient: by Newton's method, and for the proof from the cells.""",
}


def main(arguments: list[str] | None = None) -> None:
    """Run the named benchmarks (all that are not long without names), print, write and draw."""
    parser = argparse.ArgumentParser(description="Benchmarks of fairprog.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--full", action="store_true", help="the long ones too: minutes each")
    parser.add_argument("--out", type=Path, default=Path("results"))
    parser.add_argument("--page", type=Path, help="write the table as a page of the documentation")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"there is no benchmark {unknown}; there are {list(BENCHMARKS)}")
    names = options.names or [n for n in BENCHMARKS if options.full or n not in LONG]
    table: list[list[Any]] = []
    busy = machine()  # before the benchmarks are what keeps it busy
    spent: dict[str, float] = {}
    for name in tqdm(names, disable=None):
        before = time.perf_counter()
        threads = None if name.startswith(ALL_THREADS) else 1
        with threadpool_limits(threads):  # a thread of BLAS that idles spins, and is counted
            table += [[name, *row, met(row[1], row[3])] for row in _rows(BENCHMARKS[name])]
        spent[name] = time.perf_counter() - before
    minutes, longest = sum(spent.values()) / 60, max(spent, key=spent.__getitem__)
    limit = "" if options.names or options.full else "<= 6"
    whole = f"time of this run, most of it ({spent[longest]:.0f} s) for {longest}"
    table.append(["all of these", whole, minutes, "min", limit, met(minutes, limit)])
    for name, what, value, unit, target, verdict in table:
        wanted = f"   wanted {target}: {verdict}" if target else ""
        found = "-" if np.isnan(value) else f"{value:.4g}"
        print(f"{name:22} {what:52} {found:>10} {unit:3}{wanted}")
    options.out.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(dir=options.out, suffix=".csv")
    os.close(handle)
    write_csv(Path(part), ["benchmark", "what", "value", "unit", "wanted", "met"], table)
    os.replace(part, options.out / "benchmark.csv")
    figure = draw()
    if figure is not None:
        save_figure(figure, options.out / "benchmark.png")
    if options.page is not None:
        write_text(options.page, page(table, busy))


def met(value: float, wanted: str) -> str:
    """Return whether a budget such as "<= 2" is met; nothing where there is none or no figure."""
    if not wanted or np.isnan(value):
        return ""
    sign, limit = wanted.split()
    return (
        "met" if (value <= float(limit) if sign == "<=" else value >= float(limit)) else "missed"
    )


def machine() -> str:
    """Return processor, cores, load and versions in a sentence."""
    name = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next((x.partition(":")[2].strip() for x in lines if "model name" in x), name)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    load = f"load {os.getloadavg()[0]:.1f} at the start" if hasattr(os, "getloadavg") else ""
    about = versions()
    with_ = ", ".join(f"{k} {about[k]}" for k in ("python", "numpy", "scipy", "cvxpy", "clarabel"))
    return f"{name}, {cores} cores, {load}; fairprog {about['fairprog']}, {with_}."


def page(table: list[list[Any]], on: str) -> str:
    """Return the table as a page in reStructuredText."""
    lines = ["Benchmarks", "==========", "", MADE, "", f"Measured in one run on {on}", ""]
    lines += [".. list-table::", "   :header-rows: 1", "   :widths: 22 40 13 6 11 8", ""]
    for row in [["benchmark", "what", "value", "unit", "wanted", "met"], *table]:
        cells = [f"{x:.4g}" if isinstance(x, float) else str(x) for x in row]
        lines += [f"   {'*' if not k else ' '} - {cell}".rstrip() for k, cell in enumerate(cells)]
    missed = list(dict.fromkeys(row[0] for row in table if row[-1] == "missed"))
    if missed:
        lines += ["", "Why budgets were missed", "-----------------------", ""]
        for name in missed:
            words = BOUNDS.get(name, "Not profiled.").replace("\n", "\n   ")
            lines += [f"``{name}``", f"   {words}"]
    return "\n".join(lines) + "\n"


def _rows(run: Callable[[], list[Row]]) -> list[Row]:
    """Run a benchmark; one that cannot run here says what it would need."""
    try:
        return run()
    except Unavailable as missing:
        return [(f"not measured: {missing}", float("nan"), "", "")]


if __name__ == "__main__":
    main()
