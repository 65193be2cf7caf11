"""Part C of `smollm2`: verdicts after generated text, at the strengths that were matched."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from fairprog.labels import Array

from .instruct_texts import GENRES, PAN, PRAISE, VERDICTS, film_prompts
from .language_model import LanguageModel
from .smollm2_next_words import (
    ALONG,
    CHEAPER,
    CONCEPT,
    IDEAL,
    OWN,
    RESCALED,
    SHARED,
    to_length,
    vectors_of,
)

__all__ = ["COLUMNS", "generated", "rows_of"]

CHECKED = (SHARED, RESCALED, CHEAPER)
N_TEXTS, N_GENERATED = 96, 14  # per genre; tokens of each
TAIL = " In short, the film is"
COLUMNS = ("seed", "direction", "method", "genre", "effect", "error", "perplexity")


def generated(
    speaker: LanguageModel, seed: int, desired: str, lengths: Mapping[str, Any], states: Any
) -> dict[str, Any]:
    """Return, per method and genre, the rise of P(desired) as a verdict after generated text."""
    import torch

    from fairprog.torch import MapHook

    X, y, genre, _ = states(seed)
    _, vectors = vectors_of(X, y, genre, desired, seed)
    of = {SHARED: SHARED, RESCALED: OWN, CHEAPER: CONCEPT if lengths[ALONG] else IDEAL}
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
            vector = to_length(vectors[of[name]][g], lengths[name][g]["length"])
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


def rows_of(found: Mapping[Any, Any]) -> list[list[object]]:
    """Return the rows of the table, in the order of `COLUMNS`."""
    return [
        [seed, c, m, g, *cell.values()]
        for (seed, c), one in found.items()
        for m, cells in one.items()
        for g, cell in cells.items()
    ]
