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
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import t as student
from tqdm import tqdm

import fairprog as fp
from fairprog.errors import FairprogWarning
from fairprog.labels import Array
from fairprog.plotting import COLORS, style

from .claims import Claim, write_csv
from .language_model import LanguageModel, load_model, new_model, train
from .pictures import save_picture
from .reviews import GENRES, PRAISE, Reviews, Scorer, prompts, write_reviews

SEEDS = (5, 6, 7, 8, 9)  # 0 to 4 were looked at while the calibration was written
TARGET = 0.2  # effect of the reference topic at matched strength
TOLERANCE = 0.03  # texts are fluent up to this rise of perplexity over the unsteered ones
WEAKEST, STRONGEST = 0.25, 8.0  # strengths to calibrate on, in the reference's at `TARGET`
RELATIVE = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5)  # strengths of the curves, in matched ones
START = 2.0  # length of the first push that is tried, in units of the hidden states
LAYER = -2  # the last block but one
LEARNT = 0.05  # nats that earlier clauses must tell of the last judgement; all there is: 0.13
N_TOKENS = 22  # about four clauses

SHARED, SHARED_MEANS = "shared vector", "shared difference in means"
OWN, OWN_MEANS = "own concept vectors", "own differences in means"
RESCALED = "own vectors, rescaled"
IDEAL, MONOTONE = "ideal steering", "ideal steering, monotone"
IDEAL_CALIBRATED = "ideal steering, calibrated"
METHODS = (
    SHARED,
    SHARED_MEANS,
    OWN,
    OWN_MEANS,
    RESCALED,
    MONOTONE,
    IDEAL,
    IDEAL_CALIBRATED,
)
DRAWN = (SHARED_MEANS, SHARED, IDEAL, IDEAL_CALIBRATED)
Vectors = Mapping[Any, Array]


@dataclass(frozen=True)
class Size:
    """How much of everything: the full experiment, or a look."""

    n_train: int = 14400  # texts the model is trained on, as many of each topic
    epochs: int = 4  # of a cycle of training
    cycles: int = 4  # at most; one is enough for most seeds
    n_probe: int = 4000  # texts whose hidden states the probes see
    n_score: int = 6000  # texts the scorer is fitted to
    n_probes: int = 100
    n_strengths: int = 16  # to calibrate on
    repeat_calibrate: int = 48  # times 32 prompts per topic and strength
    repeat_evaluate: int = 64
    repeat_curve: int = 8


QUICK = Size(600, 1, 1, 300, 300, 20, 4, 1, 1, 1)


@dataclass
class Measured:
    """What one method does at one seed, on the evaluation prompts."""

    method: str
    seed: int
    target: float  # effect at which strengths are matched
    strength: float  # matched; NaN where the reference never reaches the target
    effect: dict[Any, float] = field(default_factory=dict)  # at matched strength
    perplexity: dict[Any, float] = field(default_factory=dict)
    curve: dict[Any, list[tuple[float, float]]] = field(default_factory=dict)
    cosine: float = np.nan  # between the other topic's vector and its own concept vector

    @property
    def gap(self) -> float:
        """Reference's effect minus the other's, worst over the others by size."""
        first, *rest = self.effect.values()
        return float(max((first - other for other in rest), key=abs))

    @property
    def mean_perplexity(self) -> float:
        """Geometric mean over the topics."""
        return float(np.exp(np.mean(np.log(list(self.perplexity.values())))))


class Bench:
    """A model with its scorer and prompts: measures what vectors do to generated text."""

    def __init__(self, speaker: LanguageModel, scorer: Scorer, seed: int, n_tokens: int) -> None:
        self.speaker, self.scorer, self.seed, self.n_tokens = speaker, scorer, seed, n_tokens
        self._known: dict[tuple[Any, ...], tuple[float, float]] = {}  # no text is made twice

    def run(
        self, genre: Any, purpose: str, repeat: int, vector: Array | None, strength: float
    ) -> tuple[float, float]:
        """Return mean P(praise) and perplexity of continuations."""
        push = b"" if vector is None else np.round(strength * vector, 9).tobytes()
        key = (genre, purpose, repeat, push)
        if key in self._known:
            return self._known[key]
        steering = None
        if vector is not None:
            from fairprog.torch import MapHook

            def steering(n: int) -> Any:
                return MapHook(
                    self.speaker.model,
                    self.speaker.layer,
                    {genre: vector},
                    sensitive_features=genre,
                    strength=strength,
                )

        # one stream of chance per purpose and topic: an effect is a difference with common noise
        stream = 1000 * self.seed + 10 * ("calibrate", "evaluate").index(purpose)
        stream += GENRES.index(genre)
        said = self.speaker.generate(
            prompts(genre, purpose) * repeat, self.n_tokens, stream, steering
        )
        out = float(self.scorer(said.text, genre).mean()), said.perplexity
        self._known[key] = out
        return out

    def effect(
        self, genre: Any, purpose: str, repeat: int, vector: Array, strength: float
    ) -> tuple[float, float]:
        """Return the rise of mean P(praise) over the unsteered texts, and the perplexity."""
        base, _ = self.run(genre, purpose, repeat, None, 0.0)
        score, perplexity = self.run(genre, purpose, repeat, vector, strength)
        return score - base, perplexity

    def strength_for(
        self, genre: Any, vector: Array, target: float, repeat: int, start: float
    ) -> float:
        """Return the least strength at which the calibration prompts show the target effect.

        Doubled from `start` until the target is passed, then bisected; NaN if eight doublings do
        not pass it.
        """
        effect = partial(self._calibrating, genre, vector, repeat)
        low, high = 0.0, start
        for _ in range(8):
            if effect(high) >= target:
                break
            low, high = high, 2.0 * high
        else:
            return float("nan")
        for _ in range(6):
            middle = 0.5 * (low + high)
            low, high = (low, middle) if effect(middle) >= target else (middle, high)
        return 0.5 * (low + high)

    def _calibrating(self, genre: Any, vector: Array, repeat: int, strength: float) -> float:
        return self.effect(genre, "calibrate", repeat, vector, strength)[0]


# -- one seed --


def states(speaker: LanguageModel, data: Reviews) -> Array:
    """Return the hidden states of the layer where every text is about to give its last judgement.

    The last word and the full stop are left out: at the token before, the model has made up its
    mind about the word to come.
    """
    from fairprog.torch import HiddenStates

    size = 256
    parts = speaker.batches([text.rsplit(" ", 2)[0] for text in data.text], size, side="right")
    batches = [
        (inputs, data.y[k * size : (k + 1) * size], data.genre[k * size : (k + 1) * size])
        for k, inputs in enumerate(parts)
    ]
    rows = [X for X, *_ in HiddenStates(speaker.model, speaker.layer, batches, pooling="last")]
    return np.concatenate(rows).astype(float)


def balanced(n: int, seed: int) -> Reviews:
    """Return n reviews, as many of each topic: what the model is trained on."""
    drawn = write_reviews(int(2.2 * n) + 100, seed)
    rows = [np.flatnonzero(drawn.genre == g)[: n // len(GENRES)] for g in GENRES]
    return drawn.take(np.sort(np.concatenate(rows)))


def gained(speaker: LanguageModel, held_out: Reviews) -> dict[str, float]:
    """Return what earlier clauses tell the model of the last judgement, in nats, per topic.

    The mean log-probability of the last word, less the one where only the opening sentence and
    the last clause are left. Zero: the model does not carry the sentiment of the topic, and there
    is nothing to steer.
    """
    short = []
    for text in held_out.text:
        first, *_, last = text.removesuffix(" .").split(" . ")
        short.append(f"{first} . {last} .")
    gain = speaker.last_word(held_out.text) - speaker.last_word(short)
    return {g: float(gain[held_out.genre == g].mean()) for g in GENRES}


def learnt_model(seed: int, size: Size) -> LanguageModel:
    """Train until held-out texts show that the model carries the sentiment of both topics."""
    texts = balanced(size.n_train, 10 * seed).text
    speaker = train(new_model(texts, seed, LAYER), texts, size.epochs)
    held_out = write_reviews(size.n_train // 4, 10 * seed + 3)
    for cycle in range(1, size.cycles):
        if min(gained(speaker, held_out).values()) >= LEARNT:
            break
        train(speaker, texts, size.epochs, seed=1000 * cycle + seed)
    return speaker


def all_vectors(data: Reviews, X: Array, size: Size, seed: int) -> tuple[Any, dict[str, Vectors]]:
    """Return the fitted `ConceptSteering` and the vectors of every method but the calibrated."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FairprogWarning)  # few probes in the quick form
        make = partial(fp.ConceptSteering, n_probes=size.n_probes, random_state=seed)
        ideal = make().fit(X, data.y, sensitive_features=data.genre)
        monotone = make(transport=fp.Monotone())
        try:
            along = monotone.fit(X, data.y, sensitive_features=data.genre).vectors_
        except fp.DataError:  # turned too far for monotone maps: there is nothing to steer with
            along = dict.fromkeys(GENRES, np.full(X.shape[1], np.nan))
    good = data.y == PRAISE

    def difference(rows: Any) -> Array:
        out: Array = X[rows & good].mean(axis=0) - X[rows & ~good].mean(axis=0)
        return out

    everyone = np.ones(len(X), dtype=bool)
    return ideal, {
        SHARED: dict.fromkeys(GENRES, ideal.shared_vector_),
        SHARED_MEANS: dict.fromkeys(GENRES, difference(everyone)),
        OWN: {g: v / np.linalg.norm(v) for g, v in ideal.concept_vectors_.items()},
        OWN_MEANS: {g: difference(data.genre == g) for g in GENRES},
        MONOTONE: along,
        IDEAL: dict(ideal.vectors_),
    }


def evaluate_seed(bench: Bench, data: Reviews, X: Array, size: Size) -> list[Measured]:
    """Return what every method does with one model: strengths first, then the other prompts."""
    ideal, vectors = all_vectors(data, X, size, bench.seed)
    reference, others = ideal.reference_, [g for g in GENRES if g != ideal.reference_]
    repeat = size.repeat_calibrate
    target, vectors[IDEAL_CALIBRATED] = calibrated(bench, ideal, size)
    found = []
    with tqdm(METHODS, desc=f"seed {bench.seed}", disable=None, leave=False) as progress:
        for method in progress:
            progress.set_postfix_str(method)
            used = dict(vectors[OWN if method == RESCALED else method])
            t = matched(bench, reference, used[reference], target, repeat)
            if method == RESCALED:
                for g in others:  # the same effect at the same strength, by calibration prompts
                    used[g] = used[g] * matched(bench, g, used[g], target, repeat) / t
            one = Measured(method, bench.seed, target, t)
            _measure(bench, one, used, [reference, *others], ideal, size)
            found.append(one)
    return found


def calibrated(bench: Bench, ideal: Any, size: Size) -> tuple[float, Vectors]:
    """Calibrate on generated texts; return the effect at which all are matched, and the vectors.

    The vectors are NaN where a topic does not respond at all: nothing can be matched.
    """
    repeat = size.repeat_calibrate
    nothing = dict.fromkeys(GENRES, np.full(ideal.n_features_in_, np.nan))
    first = ideal.vectors_[ideal.reference_]
    start = matched(bench, ideal.reference_, first, TARGET, repeat)
    if not np.isfinite(start):
        return TARGET, nothing
    t = start * np.geomspace(WEAKEST, STRONGEST, size.n_strengths)
    effects, ratios = {}, {}
    for g, v in ideal.vectors_.items():
        _, base = bench.run(g, "calibrate", repeat, None, 0.0)
        measured = [bench.effect(g, "calibrate", repeat, v, strength) for strength in t]
        effects[g] = [effect for effect, _ in measured]
        ratios[g] = [perplexity / base for _, perplexity in measured]
    limits = {"target": TARGET, "perplexity_ratio": ratios, "tolerance": TOLERANCE}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FairprogWarning)  # of a lower target: the tables tell it
        try:
            ideal.calibrate(t, effects, **limits)
        except fp.DataError:
            return TARGET, nothing
    return float(ideal.matched_effect_), dict(ideal.vectors_)


def matched(bench: Bench, genre: Any, vector: Array, target: float, repeat: int) -> float:
    """Return the strength that gives a topic the target effect on the calibration prompts."""
    length = float(np.linalg.norm(vector))
    if not np.isfinite(length):
        return float("nan")
    unit = np.round(vector / length, 12)
    return bench.strength_for(genre, unit, target, repeat, START) / length


def _measure(
    bench: Bench, out: Measured, used: Vectors, order: Sequence[Any], ideal: Any, size: Size
) -> None:
    """Measure on the evaluation prompts; NaN where there is no matched strength."""
    other, t = order[-1], out.strength
    own = ideal.concept_vectors_[other]
    length = float(np.linalg.norm(used[other]) * np.linalg.norm(own))
    out.cosine = float(used[other] @ own) / length
    for g in order:
        v = used[g]
        if not (np.isfinite(t) and np.isfinite(v).all()):
            out.effect[g] = out.perplexity[g] = float("nan")
            out.curve[g] = [(float("nan"), float("nan"))] * len(RELATIVE)
            continue
        out.effect[g], out.perplexity[g] = bench.effect(g, "evaluate", size.repeat_evaluate, v, t)
        out.curve[g] = [
            bench.effect(g, "evaluate", size.repeat_curve, v, share * t) for share in RELATIVE
        ]


def run_bed(seed: int, size: Size) -> list[Measured]:
    """Train, fit and measure at one seed of data, weights, probes and sampling."""
    speaker = learnt_model(seed, size)
    scorer = Scorer(write_reviews(size.n_score, 10 * seed + 1))
    data = write_reviews(size.n_probe, 10 * seed + 2)
    bench = Bench(speaker, scorer, seed, N_TOKENS)
    return evaluate_seed(bench, data, states(speaker, data), size)


# -- what comes out --


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the mean and the ends of its 95 % interval (Student's t over the seeds)."""
    x = np.asarray(values, dtype=float)
    mean = float(x.mean())
    if len(x) < 2:
        return mean, float("nan"), float("nan")
    half = float(student.ppf(0.975, len(x) - 1) * x.std(ddof=1) / np.sqrt(len(x)))
    return mean, mean - half, mean + half


def geometric(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the geometric mean and the ends of its 95 % interval, for perplexities."""
    mean, low, high = (float(np.exp(x)) for x in interval(np.log(values).tolist()))
    return mean, low, high


def by_method(found: Sequence[Measured]) -> dict[str, list[Measured]]:
    """Return the seeds of every method, those without a matched strength left out."""
    out: dict[str, list[Measured]] = {method: [] for method in METHODS}
    for one in found:
        if np.isfinite(one.strength) and np.isfinite(list(one.effect.values())).all():
            out[one.method].append(one)
    return out


def write_tables(found: Sequence[Measured], out: Path) -> None:
    """Write seeds.csv, curves.csv and summary.csv."""
    header = ["method", "seed", "matched effect", "matched strength", "reference"]
    header += ["effect of reference", "effect of other topic", "gap", "perplexity"]
    header += ["perplexity of other topic", "cosine to own vector"]
    rows: list[list[object]] = []
    for m in found:
        (reference, first), (_, second) = m.effect.items()
        row: list[object] = [m.method, m.seed, m.target, m.strength, reference, first, second]
        fluency = list(m.perplexity.values())[-1]
        rows.append([*row, m.gap, m.mean_perplexity, fluency, m.cosine])
    write_csv(out / "seeds.csv", header, rows)
    header = ["method", "seed", "topic", "strength, in matched ones", "effect", "perplexity"]
    write_csv(
        out / "curves.csv",
        header,
        [
            [m.method, m.seed, g, share, effect, perplexity]
            for m in found
            for g, points in m.curve.items()
            for share, (effect, perplexity) in zip(RELATIVE, points, strict=True)
        ],
    )
    header = ["method", "seeds", "size of gap", "low", "high", "signed gap", "low", "high"]
    header += ["perplexity", "low", "high", "median perplexity", "worst perplexity"]
    header += ["effect of other topic", "cosine to own vector"]
    lines: list[list[object]] = []
    for method, seeds in by_method(found).items():
        if not seeds:
            lines.append([method, 0, *[""] * 13])
            continue
        row = [method, len(seeds), *interval([abs(m.gap) for m in seeds])]
        row += [*interval([m.gap for m in seeds]), *geometric([m.mean_perplexity for m in seeds])]
        each = [m.mean_perplexity for m in seeds]
        row += [float(np.median(each)), max(each)]
        row += [float(np.mean([list(m.effect.values())[-1] for m in seeds]))]
        lines.append([*row, float(np.mean([m.cosine for m in seeds]))])
    write_csv(out / "summary.csv", header, lines)


def compared(
    found: Sequence[Measured], ours: str, baseline: str
) -> tuple[tuple[float, float, float], tuple[float, float, float]] | None:
    """Return gap and perplexity of ours against a baseline's, with intervals over the seeds.

    The size of the gap as a share of the baseline's, and the perplexity as a ratio, paired by
    seed; None without a seed that has both.
    """
    methods = by_method(found)
    there = {m.seed: m for m in methods[baseline]}
    pairs = [(m, there[m.seed]) for m in methods[ours] if m.seed in there]
    if not pairs:
        return None
    base = float(np.mean([abs(b.gap) for _, b in pairs]))
    return (
        interval([abs(m.gap) / base for m, _ in pairs]),
        geometric([m.mean_perplexity / b.mean_perplexity for m, b in pairs]),
    )


def draw(found: Sequence[Measured], path: Path) -> None:
    """Draw effect against strength per topic, before and after."""
    methods = by_method(found)
    t = np.array([0.0, *RELATIVE])
    with style():
        fig, cells = plt.subplots(
            2, 2, figsize=(6.5, 5.4), layout="constrained", sharex=True, sharey=True
        )
        for k, (ax, method) in enumerate(zip(cells.flat, DRAWN, strict=True)):
            seeds = methods[method]
            for j, g in enumerate(GENRES):
                values = np.array([[0.0, *(e for e, _ in m.curve[g])] for m in seeds])
                _band(ax, t, values, COLORS[j], ("-", "--")[j], g)
            ax.axhline(0.0, color="0.6", linewidth=0.7)
            ax.set(title=("before: " if k < 2 else "after: ") + method)
        for ax in cells[:, 0]:
            ax.set_ylabel("effect: rise of P(praise)")
        for ax in cells[1]:
            ax.set_xlabel("strength (1: matched)")
        cells[0, 0].legend(loc="upper left")
    save_picture(fig, path)


def _band(ax: Any, t: Array, values: Array, color: str, dash: str, label: str) -> None:
    """Draw the mean over seeds with its 95 % band."""
    if not len(values):
        return
    ends = np.array([interval(column) for column in values.T])
    ax.plot(t, ends[:, 0], color=color, linestyle=dash, label=label)
    if len(values) > 1:
        ax.fill_between(t, ends[:, 1], ends[:, 2], color=color, alpha=0.15, linewidth=0)


def claims_of(found: Sequence[Measured]) -> list[Claim]:
    """Return the negative control and the comparisons with the shared and the rescaled vectors."""
    methods = by_method(found)
    out = []
    for shared in (SHARED_MEANS, SHARED):
        seeds = methods[shared]
        if seeds:
            gap = interval([m.gap for m in seeds])
            out.append(
                Claim(
                    f"concept steering, control: a {shared} does less for one of the topics",
                    f"effect of the reference minus the other's {_ratio(gap)}",
                    len(seeds) < 2 or gap[1] > 0.0,
                    "the interval of five seeds holds zero" if gap[1] <= 0.0 else "",
                )
            )
    for ours in (IDEAL, IDEAL_CALIBRATED):
        for shared in (SHARED_MEANS, SHARED):
            against = compared(found, ours, shared)
            if against is None:
                continue
            share, ratio = against
            holds = share[0] <= 0.2 and ratio[0] <= 1.03
            out.append(
                Claim(
                    f"{ours}: gap at least 80 % below that of a {shared}, perplexity at most 3 % "
                    "higher",
                    f"{_percent(share)} of its gap, {_ratio(ratio)} times its perplexity",
                    holds,
                    "" if holds else "as measured; the guide says what it means",
                )
            )
    against = compared(found, IDEAL_CALIBRATED, RESCALED)
    if against is not None:
        share, ratio = against
        better = share[0] <= 1.1 and ratio[2] < 1.0
        out.append(
            Claim(
                f"{IDEAL_CALIBRATED}: the gap of rescaled own vectors at lower perplexity",
                f"{_percent(share)} of their gap, {_ratio(ratio)} times their perplexity",
                better,
                "" if better else "own vectors rescaled on calibration texts suffice here",
            )
        )
    return out


def _percent(x: tuple[float, float, float]) -> str:
    return f"{100 * x[0]:.0f} % [{100 * x[1]:.0f}, {100 * x[2]:.0f}]"


def _ratio(x: tuple[float, float, float]) -> str:
    return f"{x[0]:.3f} [{x[1]:.3f}, {x[2]:.3f}]"


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
