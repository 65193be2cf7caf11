"""Peak memory of `fairprog.torch.collect` over many sequences, in a process of its own.

``python -m experiments.collect_memory [SEQUENCES]`` prints JSON: processor seconds, rows, the
megabytes by which the peak grew after the first batches, and those all hidden states would take.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

__all__ = ["main", "measured"]

BATCH, LENGTH, WIDTH, WARM_UP = 250, 8, 256, 40


def measured(sequences: int = 100_000) -> dict[str, float]:
    """Return what a fresh process that runs this module prints."""
    command = [sys.executable, "-m", __name__, str(sequences)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def peak() -> float:
    """Return the peak of the process's memory in megabytes."""
    import resource  # not on Windows

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def main(sequences: int) -> None:
    """Gather the moments of every token of a small model and print the figures."""
    import torch

    from fairprog.torch import collect

    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = torch.nn.Sequential(torch.nn.Embedding(1000, WIDTH), torch.nn.Linear(WIDTH, WIDTH))
    peaks = {}

    def batches() -> Iterator[tuple[Any, Any, Any]]:
        for number in range(sequences // BATCH):
            if number == WARM_UP:
                peaks["before"] = peak()
            row = torch.arange(BATCH)
            yield torch.randint(0, 1000, (BATCH, LENGTH)), row % 2, row // 2 % 2

    started = time.process_time()
    moments = collect(model, "1", batches(), pooling="tokens", progress=False)
    figures = {
        "seconds": time.process_time() - started,
        "growth": peak() - peaks["before"],
        "held": 4e-6 * moments.n_rows * WIDTH,
        "rows": moments.n_rows,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
