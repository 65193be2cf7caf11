"""A real language model: what is fitted to it, what steering does, what it leaves of the language.

On any causal language model of ``transformers`` that lies on disk; the figures of the guide are
those of SmolLM2-135M-Instruct::

    fairprog reproduce --only smollm2 --model FOLDER [--gguf-file F] [--dtype float32] [--batch N]

D  perplexity under `AlignHook`, with the attention sinks left alone and with them;
B  effects on the next word at matched strengths, in two directions, of shared, own and ideal
   vectors, calibrated and not;
A  biographies: accuracy and gaps of a linear model on pooled hidden states, and the curve from
   class-conditional to marginal matching;
C  generated text at the matched strengths.

Every figure is written down when it is there, and an interrupted run goes on with the next.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from . import smollm2_biographies as lives
from . import smollm2_generated as speech
from . import smollm2_next_words as words
from . import smollm2_perplexity as fluency
from .claims import Claim, Unavailable, write_csv
from .instruct_texts import PAN, PRAISE
from .language_model import LanguageModel, load_model
from .measured import Measured
from .smollm2_picture import draw as draw_picture

__all__ = ["claims_of", "measure", "run", "write"]

DRAWS = (0, 1, 2, 3, 4)  # of biographies, disjoint
SEEDS = (30, 31, 32, 33, 34)  # of reviews and probes; none was looked at before
GENERATED = SEEDS[:3]
N_BIOGRAPHIES, N_TOKENS_FITTED, N_REVIEWS = 4000, 900, 1000


def measure(speaker: LanguageModel, measured: Measured, quick: bool, parts: str) -> dict[str, Any]:
    """Return the figures of the parts that are asked for, in the order D, B, A, C."""
    n_fit, n_reviews, n_lives = (
        (60, 160, 320) if quick else (N_TOKENS_FITTED, N_REVIEWS, N_BIOGRAPHIES)
    )
    seeds, draws = ((0,), DRAWS[:1]) if quick else (SEEDS, DRAWS)
    out: dict[str, Any] = {"D": {}, "B": {}, "A": {}, "C": {}}
    make: Any
    reviewed = lru_cache(maxsize=1)(lambda seed: words.review_states(speaker, seed, n_reviews))
    ahead = lru_cache(maxsize=2)(lambda purpose: words.Words(speaker, purpose))
    living = lru_cache(maxsize=1)(lambda draw: lives.biography_states(speaker, draw, n_lives))
    if "D" in parts:
        for positions in ("auto", "all"):
            make = partial(fluency.perplexities, speaker, positions, n_fit)
            out["D"][positions] = measured.get(("D", positions), make)
    directions = [(seed, desired) for seed in seeds for desired in (PRAISE, PAN)]
    if "B" in parts:
        for seed, desired in tqdm(directions, desc="next words", disable=None):
            make = partial(words.next_words, speaker, seed, desired, reviewed, ahead)
            out["B"][seed, desired] = measured.get(("B", seed, desired), make)
    if "A" in parts:
        methods = lives.steps(lives.WEIGHTS)
        for draw in tqdm(draws, desc="biographies", disable=None):
            for name, make_step in methods.items():
                make = partial(lives.told, make_step, living, draw)
                out["A"][draw, name] = measured.get(("A", draw, name), make)
    if "C" in parts:
        for seed, desired in tqdm(directions, desc="generated texts", disable=None):
            if (quick or seed in GENERATED) and (seed, desired) in out["B"]:
                lengths = out["B"][seed, desired]
                make = partial(speech.generated, speaker, seed, desired, lengths, reviewed)
                out["C"][seed, desired] = measured.get(("C", seed, desired), make)
    return out


def claims_of(found: Mapping[str, Any]) -> list[Claim]:
    """Return what was set out for, and what was found."""
    return [
        *fluency.claims_of(found["D"]),
        *words.claims_of(found["B"]),
        *lives.claims_of(found["A"]),
    ]


def write(found: Mapping[str, Any], out: Path) -> None:
    """Write perplexity.csv, next_words.csv, biographies.csv, generated.csv and the picture."""
    for name, part, key in (
        ("perplexity", fluency, "D"),
        ("next_words", words, "B"),
        ("biographies", lives, "A"),
        ("generated", speech, "C"),
    ):
        write_csv(out / f"{name}.csv", part.COLUMNS, part.rows_of(found[key]))
    table = lives.table_of(found["A"])
    if len(found["B"]) > 1 and table:
        draw_picture(found["B"], table, out / "smollm2.png")


def run(
    out: Path,
    quick: bool,
    model: str | None = None,
    gguf_file: str | None = None,
    dtype: str | None = None,
    batch: int | None = None,
    parts: str = "DBAC",
) -> list[Claim]:
    """Write perplexity.csv, next_words.csv, biographies.csv, generated.csv and smollm2.png."""
    if model is None:
        raise Unavailable("it needs --model, the folder of a causal language model")
    from fairprog.torch import memory_estimate

    batch = 64 if batch is None else batch
    about: dict[str, Any] = {"dtype": dtype, "gguf_file": gguf_file, "logits": "all"}
    print(f"{model}: {memory_estimate(model, batch, 48, **about)}")
    speaker = load_model(model, gguf_file=gguf_file, dtype=dtype, batch=batch)
    found = measure(speaker, Measured(out), quick, parts)
    write(found, out)
    return claims_of(found)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run from the command line, part by part."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("--model", required=True, help="folder of a causal language model")
    parser.add_argument("--gguf-file", help="the file in it, where that is its format")
    parser.add_argument("--dtype", help="such as bfloat16; default that of the model")
    parser.add_argument("--batch", type=int, default=64, help="texts per forward pass")
    parser.add_argument("--parts", default="DBAC", help="letters of the parts to run")
    parser.add_argument("--out", type=Path, default=Path("results/smollm2"))
    parser.add_argument("--quick", action="store_true", help="one small draw of everything")
    parser.add_argument("--threads", type=int, help="of torch")
    args = parser.parse_args(arguments)
    if args.threads:
        import torch

        torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    given = args.model, args.gguf_file, args.dtype, args.batch, args.parts
    for claim in run(args.out, args.quick, *given):
        print(f"{'holds' if claim.holds else 'does not hold'}: {claim.text}: {claim.measured}")


if __name__ == "__main__":
    main()
