"""Steer the sentiment of generated reviews so that it works equally well for two topics.

On the test bed (:mod:`experiments.reviews`, a GPT-2 trained here) or, by ``--model``, on any
causal language model of ``transformers`` on disk::

    python -m experiments.concept_steering --out results/concept
    python -m experiments.concept_steering --model PATH --layer transformer.h.6 --out results/own

Every method has its vectors, one per topic. Its strength is set on the calibration prompts so
that the reference topic's effect there is `TARGET`, or the largest effect that all topics reach
by `ConceptSteering.calibrate` while their texts stay fluent; gap and perplexity are measured on
other prompts. The effect is the mean rise of P(praise) of the generated text over the unsteered
one, by a scorer that sees words only.

The model, the vectors, what they do to generated text, the tables and the picture are a
module each.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from .claims import Claim
from .concept_steering_generated import Bench, Measured, evaluate_seed
from .concept_steering_model import QUICK, Size, learnt_model, states
from .concept_steering_picture import draw
from .concept_steering_tables import claims_of, write_tables
from .language_model import load_model
from .reviews import Scorer, write_reviews

__all__ = ["main", "run"]

SEEDS = (5, 6, 7, 8, 9)  # 0 to 4 were looked at while the calibration was written
N_TOKENS = 22  # about four clauses


def run_bed(seed: int, size: Size) -> list[Measured]:
    """Train, fit and measure at one seed of data, weights, probes and sampling."""
    speaker = learnt_model(seed, size)
    scorer = Scorer(write_reviews(size.n_score, 10 * seed + 1))
    data = write_reviews(size.n_probe, 10 * seed + 2)
    bench = Bench(speaker, scorer, seed, N_TOKENS)
    return evaluate_seed(bench, data, states(speaker, data), size)


def report(found: Sequence[Measured], out: Path) -> list[Claim]:
    """Write tables and picture."""
    write_tables(found, out)
    draw(found, out / "concept_steering.png")
    return claims_of(found)


def run(out: Path, quick: bool) -> list[Claim]:
    """Write seeds.csv, curves.csv, summary.csv and concept_steering.png of the test bed."""
    size, seeds = (QUICK, SEEDS[:1]) if quick else (Size(), SEEDS)
    found: list[Measured] = []
    for seed in tqdm(seeds, desc="seeds", disable=None, leave=False):
        found += run_bed(seed, size)
    return report(found, out)


def run_model(path: str, layer: str | None, size: Size, seeds: Sequence[int], out: Path) -> None:
    """Do the same with a model on disk, which stays as it is; seeds are of probes and sampling."""
    speaker = load_model(path, layer)
    longest = 16 + N_TOKENS
    from fairprog.torch import memory_estimate

    takes = memory_estimate(speaker.model, 1024, longest, logits="all", cache=True)
    print(f"{path}, layer {speaker.layer}: {takes}")
    found: list[Measured] = []
    for seed in tqdm(seeds, desc="seeds", disable=None):
        scorer = Scorer(write_reviews(size.n_score, 10 * seed + 1))
        data = write_reviews(size.n_probe, 10 * seed + 2)
        bench = Bench(speaker, scorer, seed, N_TOKENS)
        found += evaluate_seed(bench, data, states(speaker, data), size)
    for claim in report(found, out):
        print(f"{'holds' if claim.holds else 'does not hold'}: {claim.text}: {claim.measured}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("--model", help="folder of a causal language model; default the test bed")
    parser.add_argument("--layer", help="module to steer, such as transformer.h.6")
    parser.add_argument("--out", type=Path, default=Path("results/concept_steering"))
    parser.add_argument("--seeds", type=int, default=len(SEEDS), help="how many")
    parser.add_argument("--quick", action="store_true", help="one seed of everything, tiny")
    parser.add_argument("--threads", type=int, help="of torch")
    args = parser.parse_args(arguments)
    args.out.mkdir(parents=True, exist_ok=True)
    if args.threads:
        import torch

        torch.set_num_threads(args.threads)
    if args.model:
        size = QUICK if args.quick else Size()
        run_model(args.model, args.layer, size, range(args.seeds), args.out)
        return
    for claim in run(args.out, args.quick):
        print(f"{'holds' if claim.holds else 'does not hold'}: {claim.text}: {claim.measured}")


if __name__ == "__main__":
    main()
