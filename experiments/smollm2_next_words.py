"""Part B of `smollm2`: effects on the next word at matched strengths, and what they cost."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from copy import copy, deepcopy
from typing import Any

import numpy as np

import fairprog as fp
from fairprog.errors import FairprogWarning
from fairprog.labels import Array

from .claims import Claim, judged
from .instruct_texts import GENRES, PAN, PRAISE, VERDICTS, film_prompts, film_reviews
from .intervals import geometric, interval
from .language_model import LanguageModel
from .smollm2_states import hidden_states

TARGET = 1.5  # log-odds, of the group that responds best
SHARES = (0.06, 0.13, 0.25)  # of a median token's length, to calibrate on
NEAR = (0.85, 1.0, 1.18)  # in matched strengths, to calibrate on again
SHARED, CONCEPT = "shared means", "shared concept"
OWN, RESCALED = "own means", "own means, rescaled"
IDEAL, CALIBRATED = "ideal", "ideal, calibrated"
CHEAPER = "calibrated, cheaper direction"  # ideal or shared concept, whichever `calibrate` takes
ALONG = "shared direction taken"
METHODS = (SHARED, CONCEPT, OWN, RESCALED, IDEAL, CALIBRATED, CHEAPER)
FIGURES = (
    "log_odds",
    "log_odds_error",
    "probability",
    "probability_error",
    "perplexity_ratio",
    "perplexity_error",
)
COLUMNS = ("seed", "direction", "reference", "method", "genre", "length", *FIGURES)
Vectors = Mapping[Any, Array]


def review_states(speaker: LanguageModel, seed: int, n: int) -> tuple[Any, Any, Any, float]:
    """Return hidden states of reviews, sentiments, genres, and a median token's length."""
    texts, y, genre = film_reviews(n, seed)
    X, y, genre = hidden_states(speaker, texts, y, genre, pooling="last")
    tokens, _, _ = hidden_states(speaker, texts[:64], y[:64], genre[:64], pooling="tokens")
    return X.astype(float), y, genre, float(np.median(np.linalg.norm(tokens, axis=1)))


class Words:
    """The next words of both genres, for one purpose; praise is desired unless turned."""

    known: dict[Any, Any]

    def __init__(self, speaker: LanguageModel, purpose: str) -> None:
        from fairprog.torch.next_word import NextWords

        self.speaker, self.known = speaker, {}
        words = VERDICTS[PRAISE], VERDICTS[PAN]
        model, tokenizer, batch = speaker.model, speaker.tokenizer, speaker.batch
        self.of = {
            g: NextWords(model, tokenizer, film_prompts(g, purpose), *words, batch) for g in GENRES
        }

    def towards(self, desired: str) -> Words:
        """Return the same with the words of this verdict as the desired ones."""
        out = copy(self)
        out.known = {}
        if desired == PAN:
            out.of = {g: words.turned() for g, words in self.of.items()}
        return out

    def effect(self, genre: Any, vector: Array) -> Any:
        """Return the effect of a vector on a genre; none is measured twice."""
        key = genre, np.round(vector, 9).tobytes()
        if key not in self.known:
            self.known[key] = self._effect(genre, vector)
        return self.known[key]

    def figures(self, genre: Any, vector: Array) -> dict[str, float]:
        """Return effect and length as plain data; NaN where no vector reaches the target."""
        if not np.isfinite(vector).all():
            return dict.fromkeys((*FIGURES, "length"), float("nan"))
        effect = self.effect(genre, vector)
        found = {name: float(getattr(effect, name)) for name in FIGURES}
        return found | {"length": float(np.linalg.norm(vector))}

    def _effect(self, genre: Any, vector: Array) -> Any:
        from fairprog.torch import MapHook

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FairprogWarning)
            hook = MapHook(
                self.speaker.model, self.speaker.layer, {genre: vector}, sensitive_features=genre
            )
            return self.of[genre].effect(hook)

    def length(self, genre: Any, vector: Array, start: float) -> float:
        """Return the length at which a vector's effect is the target; NaN if it never is."""
        unit = vector / np.linalg.norm(vector)
        low, effect_low, high = 0.0, 0.0, start
        for _ in range(8):
            effect = self.effect(genre, high * unit).log_odds
            if effect >= TARGET:
                break
            low, effect_low, high = high, effect, 1.7 * high
        else:
            return float("nan")
        for _ in range(3):  # by the chord
            middle = low + (TARGET - effect_low) / (effect - effect_low) * (high - low)
            found = self.effect(genre, middle * unit).log_odds
            if abs(found - TARGET) < 0.01:
                return float(middle)
            if found < TARGET:
                low, effect_low = middle, found
            else:
                high, effect = middle, found
        return float(low + (TARGET - effect_low) / (effect - effect_low) * (high - low))


def vectors_of(
    X: Array, y: Any, genre: Any, desired: str, seed: int
) -> tuple[Any, dict[str, Any]]:
    """Return the fitted step, and the vectors of every method before calibration."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FairprogWarning)
        step = fp.ConceptSteering(random_state=seed, desired=desired)
        step.fit(X, y, sensitive_features=genre)

    def means(rows: Any) -> Array:
        return X[rows & (y == desired)].mean(axis=0) - X[rows & (y != desired)].mean(axis=0)

    return step, {
        SHARED: dict.fromkeys(GENRES, means(y == y)),
        CONCEPT: dict.fromkeys(GENRES, step.shared_vector_),
        OWN: {g: means(genre == g) for g in GENRES},
        IDEAL: dict(step.vectors_),
    }


def next_words(
    speaker: LanguageModel,
    seed: int,
    desired: str,
    states: Callable[[int], Any],
    words: Callable[[str], Words],
) -> dict[str, Any]:
    """Return, per method, its vectors' lengths and effects on both genres at matched strength."""
    X, y, genre, size = states(seed)
    step, vectors = vectors_of(X, y, genre, desired, seed)
    ahead = words("calibrate").towards(desired)
    start = 0.1 * size
    reference = max(
        GENRES, key=lambda g: ahead.effect(g, to_length(vectors[SHARED][g], start)).log_odds
    )
    used: dict[str, Vectors] = {}
    for name, own in vectors.items():
        t = ahead.length(reference, own[reference], start) / np.linalg.norm(own[reference])
        used[name] = {g: t * v for g, v in own.items()}
    used[RESCALED] = {g: to_length(v, ahead.length(g, v, start)) for g, v in vectors[OWN].items()}
    found: dict[str, Any] = {"reference": reference, "median length": size}
    for name in (CALIBRATED, CHEAPER):
        used[name], found[f"{name}: report"] = calibrated(step, ahead, size, name == CHEAPER)
    found[ALONG] = "every group: the shared vector" in found[f"{CHEAPER}: report"]
    judge = words("evaluate").towards(desired)
    for name, own in used.items():
        found[name] = {g: judge.figures(g, v) for g, v in own.items()}
    return found


def calibrated(step: Any, words: Words, size: float, either: bool) -> tuple[Vectors, str]:
    """Calibrate twice, the second time near the matched strength; return vectors and report.

    With `either` the step may take the shared direction, else it keeps the groups' own.
    """
    step = deepcopy(step)
    shared = dict.fromkeys(GENRES, step.shared_vector_)

    def measured(t: Array, vectors: Vectors) -> dict[Any, list[Any]]:
        return {g: [words.effect(g, s * v) for s in t] for g, v in vectors.items()}

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FairprogWarning)
        longest = max(np.linalg.norm(v) for v in step.vectors_.values())
        t = size / longest * np.array(SHARES)
        try:
            also = {"shared": measured(t, shared)} if either else {}
            step.calibrate(t, measured(t, step.vectors_), target=TARGET, **also)
            report = step.calibration_
            t = step.matched_strength_ * np.array(NEAR)
            step.calibrate(t, measured(t, step.vectors_), target=TARGET)
        except fp.DataError as error:  # a genre that does not respond at all
            return dict.fromkeys(GENRES, np.full(step.n_features_in_, np.nan)), str(error)
    used = {g: step.matched_strength_ * v for g, v in step.vectors_.items()}
    return used, f"{report}\n\n{step.calibration_}"


def to_length(vector: Array, length: float) -> Array:
    """Return a vector with another length."""
    return length * vector / float(np.linalg.norm(vector))


def rows_of(found: Mapping[Any, Any]) -> list[list[object]]:
    """Return the rows of the table, in the order of `COLUMNS`."""
    return [
        [seed, c, one["reference"], m, g, *(one[m][g][f] for f in COLUMNS[5:])]
        for (seed, c), one in found.items()
        for m in METHODS
        for g in GENRES
    ]


def gaps_of(found: Mapping[Any, Any], method: str, figure: str = "log_odds") -> list[float]:
    """Return the reference's effect minus the other genre's, by seed and direction."""
    out = []
    for one in found.values():
        r = one["reference"]
        (other,) = (g for g in GENRES if g != r)
        out.append(one[method][r][figure] - one[method][other][figure])
    return out


def perplexity_of(found: Mapping[Any, Any], method: str) -> Array:
    """Return geometric mean perplexity ratios over the genres, by seed and direction."""
    every = [[one[method][g]["perplexity_ratio"] for g in GENRES] for one in found.values()]
    return np.exp(np.log(every).mean(axis=1))


def by_seed(found: Mapping[Any, Any], values: Sequence[float]) -> list[float]:
    """Return means over the directions of every seed: directions share their texts."""
    seeds = [seed for seed, _ in found]
    return [
        float(np.mean([v for v, s in zip(values, seeds, strict=True) if s == seed]))
        for seed in dict.fromkeys(seeds)
    ]


def claims_of(found: Mapping[Any, Any]) -> list[Claim]:
    """Return what was set out for, and what was found."""
    if not found:
        return []
    size = {m: by_seed(found, np.abs(gaps_of(found, m)).tolist()) for m in METHODS}
    base = float(np.mean(size[SHARED]))
    share, low, high = interval([gap / base for gap in size[CHEAPER]])
    ratio = perplexity_of(found, CHEAPER) / perplexity_of(found, SHARED)
    fluency, cheap, dear = geometric(np.exp(by_seed(found, np.log(ratio).tolist())).tolist())
    own = interval([a - b for a, b in zip(size[CHEAPER], size[RESCALED], strict=True)])
    return [
        judged(
            "smollm2, B: upper end of the calibrated gap at most 0.55 of that of shared means, "
            "perplexity at most 1.03 times",
            f"{share:.2f} [{low:.2f}, {high:.2f}] of {base:.3f} log-odds, {fluency:.3f} "
            f"[{cheap:.3f}, {dear:.3f}] times the perplexity, {len(size[SHARED])} seeds",
            high <= 0.55 and fluency <= 1.03,
            "as measured; the guide says what it means",
        ),
        Claim(
            "smollm2, B: against own means, rescaled on the same prompts",
            f"gap {own[0]:+.3f} [{own[1]:.3f}, {own[2]:.3f}] log-odds wider",
            True,
        ),
    ]
