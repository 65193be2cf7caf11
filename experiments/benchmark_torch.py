"""Language models: what a hooked layer costs, and the memory of gathering hidden states."""

from __future__ import annotations

from contextlib import nullcontext
from importlib.util import find_spec

import numpy as np

import fairprog as fp

from . import collect_memory
from .claims import Unavailable
from .timing import Row, benchmark, best_of

__all__: list[str] = []


def need_extra() -> None:
    """Refuse where torch or transformers is missing."""
    if not (find_spec("torch") and find_spec("transformers")):
        raise Unavailable("it needs pip install 'fairprog[transformers]'")


@benchmark(long=True)
def hook_in_gpt2() -> list[Row]:
    """One hooked layer against a whole forward pass: 12 layers, 768 wide, random weights."""
    need_extra()
    import torch
    from transformers import GPT2Config, GPT2Model

    from fairprog.torch import MapHook

    torch.manual_seed(0)
    torch.set_num_threads(1)
    model, tokens = GPT2Model(GPT2Config()).eval(), torch.randint(0, 50257, (8, 16))
    rng, d = np.random.default_rng(0), model.config.n_embd
    maps = {
        g: fp.AffineMap(np.eye(d) + 0.01 * rng.normal(size=(d, d)), rng.normal(size=d))
        for g in ("b", "c")
    }
    maps["a"] = fp.AffineMap.identity(d)
    rows: list[Row] = []
    for name, groups in (
        ("all examples moved", ["b"] * 8),
        ("half of them moved, of one group", ["a", "b"] * 4),
        ("all moved, of two groups", ["b", "c"] * 4),
    ):
        times: dict[bool, list[float]] = {False: [], True: []}
        hook = MapHook(model, "h.5", maps, sensitive_features=groups)
        with torch.no_grad():
            model(tokens)
            for turn in range(60):  # interleaved, so that both meet the same machine
                hooked = turn % 2 == 1
                with hook if hooked else nullcontext():
                    times[hooked].append(best_of(1, lambda: model(tokens))[0])
        if not rows:
            rows.append(("forward pass of 8 x 16 tokens", 1e3 * min(times[False]), "ms", ""))
        rows.append((f"cost, {name}", min(times[True]) / min(times[False]) - 1, "", "<= 0.03"))
    return rows


@benchmark
def collect_100_000_sequences() -> list[Row]:
    """Moments of the hidden states of 800,000 tokens: time, and how the peak of memory grows."""
    need_extra()
    figures = collect_memory.measured()
    return [
        ("eight tokens each, 256 wide", figures["seconds"], "s", ""),
        ("growth of the peak after 10,000", figures["growth"], "MB", "<= 20"),
        ("hidden states, if they were held", figures["held"], "MB", ""),
    ]
