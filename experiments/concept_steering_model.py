"""The test bed of `concept_steering`: a small model that carries the sentiment, and its states."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fairprog.labels import Array

from .language_model import LanguageModel, new_model, train
from .reviews import GENRES, Reviews, write_reviews

__all__ = ["QUICK", "Size", "learnt_model", "states"]

LAYER = -2  # the last block but one
LEARNT = 0.05  # nats that earlier clauses must tell of the last judgement; all there is: 0.13


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
