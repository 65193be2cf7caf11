"""What the vectors of `concept_steering` do to generated text, at matched strengths."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from tqdm import tqdm

import fairprog as fp
from fairprog.errors import FairprogWarning
from fairprog.labels import Array

from .concept_steering_model import Size
from .concept_steering_vectors import (
    IDEAL_CALIBRATED,
    METHODS,
    OWN,
    RESCALED,
    Vectors,
    all_vectors,
)
from .language_model import LanguageModel
from .reviews import GENRES, Reviews, Scorer, prompts

__all__ = ["RELATIVE", "Bench", "Measured", "evaluate_seed"]

TARGET = 0.2  # effect of the reference topic at matched strength
TOLERANCE = 0.03  # texts are fluent up to this rise of perplexity over the unsteered ones
WEAKEST, STRONGEST = 0.25, 8.0  # strengths to calibrate on, in the reference's at `TARGET`
RELATIVE = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5)  # strengths of the curves, in matched ones
START = 2.0  # length of the first push that is tried, in units of the hidden states


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
