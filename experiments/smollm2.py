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
import warnings
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from tqdm import tqdm

import fairprog as fp
from fairprog.errors import FairprogError, FairprogWarning
from fairprog.labels import Array
from fairprog.plotting import COLORS, style

from .baselines import LEACE, CovarianceMatching, MeanMatching, Step
from .bios import floor, tpr_gaps
from .claims import Claim, Unavailable, judged, write_csv
from .concept_steering import interval
from .instruct_texts import (
    GENRES,
    HIGH,
    MEN,
    PAN,
    PRAISE,
    VERDICTS,
    WOMEN,
    biographies,
    film_prompts,
    film_reviews,
)
from .language_model import LanguageModel, load_model
from .measured import Measured
from .pictures import mark_chance, save_picture

DRAWS = (0, 1, 2, 3, 4)  # of biographies, disjoint
SEEDS = (20, 21, 22, 23, 24)  # of reviews and probes; none was looked at before
GENERATED = SEEDS[:3]
N_BIOGRAPHIES, N_TOKENS_FITTED, N_REVIEWS, N_PERPLEXITY, N_TEXTS = 4000, 900, 1000, 40, 96
COMPONENTS = 64
WEIGHTS = (0.0, 0.25, 0.5, 0.75, 0.9, 1.0)  # of the whole law
TARGET = 1.5  # log-odds, of the group that responds best
SHARES = (0.06, 0.13, 0.25)  # of a median token's length, to calibrate on
NEAR = (0.85, 1.0, 1.18)  # in matched strengths, to calibrate on again
N_GENERATED = 14
TAIL = " In short, the film is"

SHARED, CONCEPT = "shared means", "shared concept"
OWN, RESCALED = "own means", "own means, rescaled"
IDEAL, CALIBRATED = "ideal", "ideal, calibrated"
METHODS = (SHARED, CONCEPT, OWN, RESCALED, IDEAL, CALIBRATED)
CHECKED = (SHARED, RESCALED, CALIBRATED)  # in generated text
FIGURES = (
    "log_odds",
    "log_odds_error",
    "probability",
    "probability_error",
    "perplexity_ratio",
    "perplexity_error",
)
Vectors = Mapping[Any, Array]


def _states(speaker: LanguageModel, texts: Sequence[str], y: Any, a: Any, **how: Any) -> Any:
    """Return rows, classes and groups of the layer's hidden states; texts sorted by length."""
    from fairprog.torch import HiddenStates

    order = np.argsort([len(text) for text in texts], kind="stable")
    parts = [order[k : k + speaker.batch] for k in range(0, len(order), speaker.batch)]
    batches = [
        (speaker.batches([texts[k] for k in part], len(part), side="right")[0], y[part], a[part])
        for part in parts
    ]
    with warnings.catch_warnings():  # sinks: the experiment is about them
        warnings.simplefilter("ignore", FairprogWarning)
        chunks = list(HiddenStates(speaker.model, speaker.layer, tqdm(batches, **BAR), **how))
    return [np.concatenate(column) for column in zip(*chunks, strict=True)]


BAR: dict[str, Any] = {"desc": "texts", "disable": None, "leave": False}


# -- D: perplexity --


def perplexities(speaker: LanguageModel, positions: str, n_fit: int) -> dict[str, float]:
    """Return perplexity of women's biographies, unsteered and aligned with the men's."""
    import torch

    from fairprog.torch import AlignHook

    texts, jobs, a = biographies(n_fit, 5)
    y = np.where(np.isin(jobs, HIGH), "high", "low")
    X, y, a = _states(speaker, texts, y, a, pooling="tokens", positions=positions)
    moments = fp.Moments()
    moments.partial_fit(X.astype(float), y, sensitive_features=a)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FairprogWarning)
        sol = fp.NearestIdeal(moments.population(shrinkage="auto"), steer=[WOMEN]).solve()
    texts, _, a = biographies(3 * N_PERPLEXITY, 77)
    women = [text for text, g in zip(texts, a, strict=True) if g == WOMEN][:N_PERPLEXITY]
    (inputs,) = speaker.batches(women, len(women), side="right")
    ignored = inputs["attention_mask"] == 0
    labels = inputs["input_ids"].masked_fill(ignored, -100)

    def perplexity() -> float:
        with torch.no_grad():
            return float(speaker.model(**inputs, labels=labels).loss.exp())

    out = {"rows": float(len(X)), "0": perplexity()}
    for strength in (0.25, 0.5, 1.0):
        hook = AlignHook(
            speaker.model, speaker.layer, sol, sensitive_features=WOMEN, strength=strength,
            positions=positions,
        )  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FairprogWarning)
            with hook:
                out[f"{strength:g}"] = perplexity()
        out["left"], out["moved"] = float(hook.n_left), float(hook.n_moved)
    return out


# -- B: the next word --


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
    reference = max(GENRES, key=lambda g: ahead.effect(g, _to(vectors[SHARED][g], start)).log_odds)
    used: dict[str, Vectors] = {}
    for name, own in vectors.items():
        t = ahead.length(reference, own[reference], start) / np.linalg.norm(own[reference])
        used[name] = {g: t * v for g, v in own.items()}
    used[RESCALED] = {g: _to(v, ahead.length(g, v, start)) for g, v in vectors[OWN].items()}
    used[CALIBRATED], report = calibrated(step, ahead, size)
    judge = words("evaluate").towards(desired)
    found: dict[str, Any] = {"reference": reference, "report": report, "median length": size}
    for name, own in used.items():
        found[name] = {g: judge.figures(g, v) for g, v in own.items()}
    return found


def calibrated(step: Any, words: Words, size: float) -> tuple[Vectors, str]:
    """Calibrate twice, the second time near the matched strength; return vectors and report."""

    def measured(t: Array, vectors: Vectors) -> dict[Any, list[Any]]:
        return {g: [words.effect(g, s * v) for s in t] for g, v in vectors.items()}

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FairprogWarning)
        longest = max(np.linalg.norm(v) for v in step.vectors_.values())
        t = size / longest * np.array(SHARES)
        try:
            step.calibrate(t, measured(t, step.vectors_), target=TARGET)
            t = step.matched_strength_ * np.array(NEAR)
            step.calibrate(t, measured(t, step.vectors_), target=TARGET)
        except fp.DataError as error:  # a genre that does not respond at all
            return dict.fromkeys(GENRES, np.full(step.n_features_in_, np.nan)), str(error)
    used = {g: step.matched_strength_ * v for g, v in step.vectors_.items()}
    return used, str(step.calibration_)


def _to(vector: Array, length: float) -> Array:
    return length * vector / float(np.linalg.norm(vector))


def review_states(speaker: LanguageModel, seed: int, n: int) -> tuple[Any, Any, Any, float]:
    """Return hidden states of reviews, sentiments, genres, and a median token's length."""
    texts, y, genre = film_reviews(n, seed)
    X, y, genre = _states(speaker, texts, y, genre, pooling="last")
    tokens, _, _ = _states(speaker, texts[:64], y[:64], genre[:64], pooling="tokens")
    return X.astype(float), y, genre, float(np.median(np.linalg.norm(tokens, axis=1)))


# -- A: biographies --


def steps(weights: Sequence[float]) -> dict[str, Callable[[], Step] | None]:
    """Return makers of every method."""

    def ideal(weight: float) -> Callable[[], Step]:
        return lambda: fp.IdealSteering(
            steer=[WOMEN],
            transport=fp.Monotone(metric="identity"),
            class_weight="uniform",
            shrinkage=0.5,
            snap=False,
            marginal_weight=weight,
        )

    return {
        "none": None,
        "mean matching": lambda: MeanMatching(MEN),
        "MiMiC": lambda: CovarianceMatching(MEN),
        "LEACE": LEACE,
    } | {f"ideal, weight {weight:g}": ideal(weight) for weight in weights}


def biography_states(speaker: LanguageModel, draw: int, n: int) -> tuple[Array, Any, Any]:
    """Return mean hidden states of one draw of biographies, jobs and genders."""
    texts, y, a = biographies(n, 100 + draw)
    X, y, a = _states(speaker, texts, y, a, pooling="mean")
    return X.astype(float), y, a


def told(
    make: Callable[[], Step] | None, states: Callable[[int], Any], draw: int
) -> dict[str, Any] | str:
    """Return accuracy and gaps on the second half of a draw, or why there are none."""
    from sklearn.linear_model import LogisticRegression

    X, y, a = states(draw)
    order = np.random.default_rng(draw).permutation(len(X))
    train, test = np.array_split(order, 2)
    centre = X[train].mean(axis=0)
    _, axes = np.linalg.eigh(np.cov(X[train], rowvar=False))
    Z = (X - centre) @ axes[:, ::-1][:, :COMPONENTS]
    if make is not None:
        try:
            step = make()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FairprogWarning)
                step.fit(Z[train], y[train], sensitive_features=a[train])
            Z = np.asarray(step.transform(Z, sensitive_features=a))
        except FairprogError as error:  # what a method cannot do is a finding
            return str(error)
    unit = Z[train].std(axis=0)
    unit[unit == 0] = 1.0
    model = LogisticRegression(C=0.02, max_iter=300, tol=1e-3).fit(Z[train] / unit, y[train])
    predicted = model.predict(Z[test] / unit)
    out = {
        "accuracy": float(np.mean(predicted == y[test])),
        "gaps": tpr_gaps(y[test], predicted, a[test]).tolist(),
    }
    return out if make is not None else out | {"floor": floor(y[test], predicted, a[test], draw)}


# -- C: generated text --


def generated(
    speaker: LanguageModel, seed: int, desired: str, lengths: Mapping[str, Any], states: Any
) -> dict[str, Any]:
    """Return, per method and genre, the rise of P(desired) as a verdict after generated text."""
    import torch

    from fairprog.torch import MapHook

    X, y, genre, _ = states(seed)
    _, vectors = vectors_of(X, y, genre, desired, seed)
    of = {SHARED: SHARED, RESCALED: OWN, CALIBRATED: IDEAL}
    other = PAN if desired == PRAISE else PRAISE
    tokens = [
        [speaker.tokenizer(f" {w}", add_special_tokens=False)["input_ids"][0] for w in VERDICTS[c]]
        for c in (desired, other)
    ]

    def verdicts(g: Any, hook: Any) -> tuple[Array, float]:
        prompts = (film_prompts(g, "evaluate") * 3)[:N_TEXTS]
        said = speaker.generate(
            prompts, N_GENERATED, 10 * seed + GENRES.index(g), hook, speaker.batch
        )
        texts = [f"{p}{t}{TAIL}" for p, t in zip(prompts, said.text, strict=True)]
        law = []
        for inputs in speaker.batches(texts, speaker.batch):
            place = (inputs["attention_mask"].cumsum(1) - 1).clamp(min=0)
            with torch.no_grad():
                out = speaker.model(**inputs, position_ids=place, logits_to_keep=1).logits[:, -1]
            law.append(out.float().log_softmax(-1))
        found = torch.cat(law)
        wanted, rest = (found[:, k].logsumexp(1) for k in tokens)
        return torch.sigmoid(wanted - rest).double().numpy(), said.perplexity

    out: dict[str, Any] = {}
    for g in GENRES:
        base, fluent = verdicts(g, None)
        for name in CHECKED:
            vector = _to(vectors[of[name]][g], lengths[name][g]["length"])
            hook = partial(_hook, MapHook, speaker, g, vector)
            score, perplexity = verdicts(g, hook)
            rise = score - base
            out.setdefault(name, {})[g] = {
                "effect": float(rise.mean()),
                "error": float(rise.std(ddof=1) / np.sqrt(len(rise))),
                "perplexity": perplexity / fluent,
            }
    return out


def _hook(make: Any, speaker: LanguageModel, g: Any, vector: Array, n: int) -> Any:
    return make(speaker.model, speaker.layer, {g: vector}, sensitive_features=g)


# -- all of it --


def measure(speaker: LanguageModel, measured: Measured, quick: bool, parts: str) -> dict[str, Any]:
    """Return the figures of the parts that are asked for, in the order D, B, A, C."""
    n_fit, n_reviews, n_bios = (
        (60, 160, 320) if quick else (N_TOKENS_FITTED, N_REVIEWS, N_BIOGRAPHIES)
    )
    seeds, draws = ((0,), DRAWS[:1]) if quick else (SEEDS, DRAWS)
    out: dict[str, Any] = {"D": {}, "B": {}, "A": {}, "C": {}}
    make: Any
    reviews = lru_cache(maxsize=1)(lambda seed: review_states(speaker, seed, n_reviews))
    words = lru_cache(maxsize=2)(lambda purpose: Words(speaker, purpose))
    lives = lru_cache(maxsize=1)(lambda draw: biography_states(speaker, draw, n_bios))
    if "D" in parts:
        for positions in ("auto", "all"):
            make = partial(perplexities, speaker, positions, n_fit)
            out["D"][positions] = measured.get(("D", positions), make)
    directions = [(seed, desired) for seed in seeds for desired in (PRAISE, PAN)]
    if "B" in parts:
        for seed, desired in tqdm(directions, desc="next words", disable=None):
            make = partial(next_words, speaker, seed, desired, reviews, words)
            out["B"][seed, desired] = measured.get(("B", seed, desired), make)
    if "A" in parts:
        methods = steps(WEIGHTS)
        for draw in tqdm(draws, desc="biographies", disable=None):
            for name, make_step in methods.items():
                make = partial(told, make_step, lives, draw)
                out["A"][draw, name] = measured.get(("A", draw, name), make)
    if "C" in parts:
        for seed, desired in tqdm(directions, desc="generated texts", disable=None):
            if (quick or seed in GENERATED) and (seed, desired) in out["B"]:
                lengths = out["B"][seed, desired]
                make = partial(generated, speaker, seed, desired, lengths, reviews)
                out["C"][seed, desired] = measured.get(("C", seed, desired), make)
    return out


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


def claims_of(found: Mapping[str, Any]) -> list[Claim]:
    """Return what was set out for, and what was found."""
    out = []
    if "auto" in found["D"]:
        D = found["D"]["auto"]
        ratio = D["1"] / D["0"]
        both = found["D"].get("all", {"1": float("nan")})
        out.append(
            judged(
                "smollm2, D: perplexity under AlignHook at most 1.5 times the unsteered one",
                f"{D['0']:.1f} -> {D['1']:.1f} at strength 1, {ratio:.2f} times; with attention "
                f"sinks fitted and moved {both['1']:,.0f}",
                ratio <= 1.5,
                "as measured; the guide says what it means",
            )
        )
    if found["B"]:
        out += _claims_on_words(found["B"])
    if found["A"]:
        out += _claims_on_biographies(found["A"])
    return out


def _claims_on_words(B: Mapping[Any, Any]) -> list[Claim]:
    size = {m: by_seed(B, np.abs(gaps_of(B, m)).tolist()) for m in METHODS}
    base = float(np.mean(size[SHARED]))
    share, low, high = interval([gap / base for gap in size[CALIBRATED]])
    ratio = perplexity_of(B, CALIBRATED) / perplexity_of(B, SHARED)
    fluency = float(np.exp(np.log(ratio).mean()))
    own = interval([a - b for a, b in zip(size[CALIBRATED], size[RESCALED], strict=True)])
    return [
        judged(
            "smollm2, B: upper end of the calibrated gap at most 0.55 of that of shared means, "
            "perplexity at most 1.03 times",
            f"{share:.2f} [{low:.2f}, {high:.2f}] of {base:.3f} log-odds, {fluency:.3f} times the "
            f"perplexity, {len(size[SHARED])} seeds",
            high <= 0.55 and fluency <= 1.03,
            "as measured; the guide says what it means",
        ),
        Claim(
            "smollm2, B: against own means, rescaled on the same prompts",
            f"gap {own[0]:+.3f} [{own[1]:.3f}, {own[2]:.3f}] log-odds wider",
            True,
        ),
    ]


def _claims_on_biographies(A: Mapping[Any, Any]) -> list[Claim]:
    table = biography_table(A)
    if "none" not in table:
        return []
    none, mimic = table["none"], table["MiMiC"]
    ours = {name: row for name, row in table.items() if name.startswith("ideal")}
    best = min(ours, key=lambda name: ours[name]["gap"][0])
    kept = {n: r for n, r in ours.items() if r["accuracy"][0] >= none["accuracy"][0] - 0.005}
    half = min(kept, key=lambda name: kept[name]["gap"][0], default=best)
    better = [
        name
        for name, row in ours.items()
        if row["gap"][0] <= mimic["gap"][0] and row["accuracy"][0] >= mimic["accuracy"][0] + 0.01
    ]
    return [
        judged(
            "smollm2, A: accuracy within 0.005 of none's at half its gap",
            f"none {_figures(none)}; {half} {_figures(ours[half])}",
            half in kept and ours[half]["gap"][0] <= 0.5 * none["gap"][0],
            "as measured; the guide says what it means",
        ),
        judged(
            "smollm2, A: some weight has a gap not above MiMiC's and a point more accuracy",
            f"MiMiC {_figures(mimic)}; {better[0] if better else best} "
            f"{_figures(ours[better[0] if better else best])}",
            bool(better),
            "as measured; the guide says what it means",
        ),
    ]


def biography_table(A: Mapping[Any, Any]) -> dict[str, dict[str, Any]]:
    """Return accuracy, RMS gap and chance of every method, with intervals over the draws."""
    out: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys(name for _, name in A):
        rows = [v for (_, n), v in A.items() if n == name and not isinstance(v, str)]
        if rows:
            out[name] = {
                "draws": len(rows),
                "accuracy": interval([row["accuracy"] for row in rows]),
                "gap": interval([np.sqrt(np.mean(np.square(row["gaps"]))) for row in rows]),
                "chance": float(np.mean([row.get("floor", np.nan) for row in rows])),
            }
    return out


def _figures(row: Mapping[str, Any]) -> str:
    (a, low, high), (g, small, large) = row["accuracy"], row["gap"]
    return f"{a:.4f} [{low:.4f}, {high:.4f}] / {g:.4f} [{small:.4f}, {large:.4f}]"


def write(found: Mapping[str, Any], out: Path) -> None:
    """Write perplexity.csv, next_words.csv, biographies.csv, generated.csv and the pictures."""
    header = ["positions", "rows", "left alone", "moved", "0", "0.25", "0.5", "1"]
    keys = ("rows", "left", "moved", "0", "0.25", "0.5", "1")
    rows: list[list[object]] = [[p, *(D[k] for k in keys)] for p, D in found["D"].items()]
    write_csv(out / "perplexity.csv", header, rows)
    header = ["seed", "direction", "reference", "method", "genre", "length", *FIGURES]
    rows = [
        [seed, c, one["reference"], m, g, *(one[m][g][f] for f in header[5:])]
        for (seed, c), one in found["B"].items()
        for m in METHODS
        for g in GENRES
    ]
    write_csv(out / "next_words.csv", header, rows)
    header = ["method", "draws", "accuracy", "low", "high", "RMS TPR gap", "low", "high", "chance"]
    table = biography_table(found["A"])
    rows = [[m, r["draws"], *r["accuracy"], *r["gap"], r["chance"]] for m, r in table.items()]
    write_csv(out / "biographies.csv", header, rows)
    header = ["seed", "direction", "method", "genre", "effect", "error", "perplexity"]
    rows = [
        [seed, c, m, g, *cell.values()]
        for (seed, c), one in found["C"].items()
        for m, cells in one.items()
        for g, cell in cells.items()
    ]
    write_csv(out / "generated.csv", header, rows)
    if len(found["B"]) > 1 and table:
        draw(found, table, out / "smollm2.png")


def draw(found: Mapping[str, Any], table: Mapping[str, Any], path: Path) -> None:
    """Draw gaps between the genres per method, and the curve between two matchings."""
    B = found["B"]
    with style():
        fig, (left, right) = plt.subplots(1, 2, figsize=(8.6, 3.4), layout="constrained")
        for k, method in enumerate(METHODS):
            gaps = np.abs(gaps_of(B, method))
            mean, low, high = interval(by_seed(B, gaps.tolist()))
            left.plot(gaps, np.full(len(gaps), k), ".", color="0.6", markersize=4)
            color = COLORS[1] if method == CALIBRATED else COLORS[0]
            left.plot([low, high], [k, k], color=color, linewidth=2)
            left.plot(mean, k, "o", color=color)
        left.set_yticks(range(len(METHODS)), METHODS)
        left.invert_yaxis()
        left.set(xlabel="gap between the genres, log-odds of the next word", xlim=(0, None))
        curve = [name for name in table if name.startswith("ideal")]
        points = np.array([[table[n]["gap"][0], table[n]["accuracy"][0]] for n in curve])
        right.plot(*points.T, "o-", color=COLORS[0])
        for name, (x, y) in zip(curve, points, strict=True):
            right.annotate(name.rpartition(" ")[2], (x, y), xytext=(4, 4), **NEAR_POINT)
        for k, name in enumerate(n for n in table if n not in curve):
            x, y = table[name]["gap"][0], table[name]["accuracy"][0]
            right.plot(x, y, "s", color=COLORS[1 + k % 4])
            right.annotate(name, (x, y), xytext=(4, -10), **NEAR_POINT)
        mark_chance(right, table["none"]["chance"])
        right.set(xlabel="RMS TPR gap", ylabel="accuracy on test rows")
        right.margins(x=0.15, y=0.12)
    save_picture(fig, path)


NEAR_POINT: dict[str, Any] = {"textcoords": "offset points", "fontsize": 7}


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
