"""Benchmarks of what touches every row: gathering moments, and aligning.

Rows are float32 in a memory map (a temporary file), as embeddings are stored. The environment
variable FAIRPROG_FULL takes 2,000,000 rows of 384 features (3 GB) in place of 200,000.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fairprog as fp
from fairprog.labels import Array

from .timing import Row, benchmark

__all__ = ["align_rows", "diagonal_100_000_features", "moments_of_a_memory_map"]

FEATURES = 384
CHUNK = 50_000  # rows taken at once by the reference products


def n_rows() -> int:
    """Return how many rows are asked for."""
    return 2_000_000 if os.environ.get("FAIRPROG_FULL") else 200_000


def processor_time(call: Callable[[], Any]) -> float:
    """Return the processor time of one call, all threads together."""
    started = time.process_time()
    call()
    return time.process_time() - started


@contextmanager
def mapped_rows(n: int) -> Iterator[NDArray[np.float32]]:
    """Give n float32 rows in a file that is removed afterwards, opened as a memory map."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.npy"
        rows = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(n, FEATURES))
        block = rng.standard_normal((min(n, CHUNK), FEATURES), dtype=np.float32)
        for start in range(0, n, CHUNK):  # other rows each time, without drawing them all
            part = rows[start : start + CHUNK]
            part[...] = np.roll(block, start // CHUNK, axis=1)[: len(part)]
        rows.flush()
        del rows
        yield np.load(path, mmap_mode="r")


def blocked_gram(X: NDArray[np.float32]) -> Array:
    """Return X'X in float64, a chunk of rows at a time: what the moments are measured against."""
    out = np.zeros((FEATURES, FEATURES))
    for start in range(0, len(X), CHUNK):
        part = X[start : start + CHUNK].astype(np.float64)
        out += part.T @ part
    return out


def labels(n: int, K: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return classes and groups of n rows, in no order."""
    rng = np.random.default_rng(K)
    return rng.integers(0, K, n), rng.integers(0, 2, n)


PEAK = """
import resource, sys
import numpy as np
import fairprog as fp
from experiments.benchmark_moments import labels

X = np.load(sys.argv[1], mmap_mode="r")
y, a = labels(len(X), int(sys.argv[2]))

def anonymous():
    with open("/proc/self/status") as lines:
        return next(int(x.split()[1]) for x in lines if x.startswith("RssAnon"))

import threading, time
peak, done = [anonymous()], False
def watch():
    while not done:
        peak.append(anonymous())
        time.sleep(0.01)
before = anonymous()
thread = threading.Thread(target=watch)
thread.start()
fp.Moments().partial_fit(X, y, sensitive_features=a)
done = True
thread.join()
print((max(peak) - before) * 1024)
"""


def peak_memory(X: NDArray[np.float32], K: int) -> float:
    """Return the peak of anonymous memory that gathering adds, in bytes, in a process of its own.

    Pages of the file itself do not count: the system takes them back whenever it needs them.
    """
    command = [sys.executable, "-c", PEAK, str(getattr(X, "filename", "")), str(K)]
    root = str(Path(__file__).resolve().parents[1])
    environment = {**os.environ, "PYTHONPATH": root}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return float(done.stdout)


@benchmark
def moments_of_a_memory_map() -> list[Row]:
    """Full moments of every cell against X'X in float64 by blocks: rates and peak memory."""
    n = n_rows()
    rows: list[Row] = [("rows", n, "", "")]
    with mapped_rows(n) as X:
        blocked_gram(X)  # the file is in the cache of the system for everybody
        for K, wanted in ((6, ">= 0.8"), (28, ">= 0.65")):
            y, a = labels(n, K)
            ours, reference = [], []
            for _ in range(3 if n < 1_000_000 else 1):
                reference.append(processor_time(lambda: blocked_gram(X)))
                gather = partial(fp.Moments().partial_fit, X, y, sensitive_features=a)
                ours.append(processor_time(gather))
            rows += [
                (f"K={K}: X'X in float64, blocked", min(reference), "s", ""),
                (f"K={K}: Moments", min(ours), "s", ""),
                (f"K={K}: rate relative to X'X", min(reference) / min(ours), "", wanted),
            ]
            moments = 8.0 * 2 * K * FEATURES * (FEATURES + 1)
            peak = peak_memory(X, K)
            rows += [
                (f"K={K}: peak memory over the moments", peak / moments, "", ""),
                (f"K={K}: peak memory over the file", peak / X.nbytes, "", ""),
            ]
    return rows


@benchmark
def align_rows() -> list[Row]:
    """Aligning two groups by full matrices against one product X A' of all rows."""
    n = min(n_rows(), 200_000)
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, FEATURES))
    a = (rng.random(n) < 0.4).astype(int)
    means = rng.normal(size=(2, 2, FEATURES)) / FEATURES
    cov = np.stack([np.diag(rng.uniform(0.5, 2.0, FEATURES)) for _ in range(4)])
    D = fp.Normal(np.full((2, 2), 0.25), means, cov=cov.reshape(2, 2, FEATURES, FEATURES))
    sol = fp.NearestIdeal(D, transport=fp.Translation()).solve()
    A = np.eye(FEATURES) + rng.normal(size=(FEATURES, FEATURES)) / 40
    sol = replace(sol, affine={g: fp.AffineMap(A, T.offset) for g, T in sol.affine.items()})
    found: list[Row] = [("rows", n, "", "")]
    for dtype in (np.float64, np.float32):
        rows, matrix = X.astype(dtype), A.astype(dtype)
        out = np.empty_like(rows)
        calls: dict[str, Callable[[], Any]] = {
            "product": partial(np.matmul, rows, matrix.T, out=out),
            "align": partial(sol.align, rows, sensitive_features=a, out=out),
        }
        best = {name: min(processor_time(call) for _ in range(4)) for name, call in calls.items()}
        name = np.dtype(dtype).name
        found += [
            (f"{name}: X A'", best["product"], "s", ""),
            (f"{name}: align over X A'", best["align"] / best["product"], "", ""),
        ]
    return found


@benchmark
def diagonal_100_000_features() -> list[Row]:
    """Independent features: seconds for 100,000, two groups, one or both of them steered."""
    rows: list[Row] = []
    d, rng = 100_000, np.random.default_rng(0)
    for K in (2, 10):
        prior = rng.dirichlet(np.full(2 * K, 5.0)).reshape(K, 2)
        mean = 0.01 * rng.normal(size=(K, 2, d))
        D = fp.Normal(prior, mean, cov=rng.uniform(0.3, 2.0, (K, 2, d)), covariance="diagonal")
        for steer in ([1], "all"):
            for transport in (fp.Translation(), fp.Scaling(), fp.Diagonal()):
                program = fp.NearestIdeal(D, steer, transport)
                seconds = processor_time(program.solve)
                who = "all groups" if steer == "all" else "one group"
                rows.append((f"K={K}, {who}, {transport!r}", seconds, "s", ""))
    return rows
