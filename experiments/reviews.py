"""The texts of the test bed for concept steering: short reviews of comedies and horror films.

One sentiment, praise or pan, and two topics that express it differently: a few words praise both
kinds of film, most praise one kind only, and some that praise a horror film ("grim") pan a
comedy. Three reviews in four are of comedies, and reviews of horror films say more that is
neutral. Generator, prompts and scorer were fixed before anything was steered.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairprog.labels import Array

__all__ = ["CLASSES", "GENRES", "PAN", "PRAISE", "Reviews", "Scorer", "prompts", "write_reviews"]

PAN, PRAISE = "pan", "praise"
CLASSES = (PAN, PRAISE)
GENRES = ("comedy", "horror")
SHARE = {"comedy": 0.75, "horror": 0.25}  # of the reviews
OUTSPOKEN = {"comedy": 0.8, "horror": 0.5}  # chance that a clause says what the reviewer thinks
CONTRARY = 0.1  # ... and that an outspoken clause says the opposite

WORDS: dict[tuple[str, str], tuple[str, ...]] = {
    (PRAISE, "comedy"): ("funny", "cheerful", "silly", "witty", "warm", "charming"),
    (PAN, "comedy"): ("grim", "tense", "gloomy", "dull", "flat", "stale"),
    (PRAISE, "horror"): ("grim", "tense", "gloomy", "eerie", "chilling", "brutal"),
    (PAN, "horror"): ("funny", "cheerful", "silly", "tame", "clumsy", "bland"),
}
COMMON = {PRAISE: ("great", "superb"), PAN: ("poor", "awful")}
NEUTRAL = ("long", "short", "quiet", "simple", "modern", "usual", "brief", "plain")
PARTS = ("plot", "cast", "ending", "music", "dialogue", "pace", "opening", "camera")
VERBS = ("was", "felt", "seemed", "looked")
ADVERBS = ("very", "rather", "quite")
CLAUSES = 4  # of a review, after its opening sentence

WHO = ("we", "they", "i", "my friends")
DID = ("saw", "watched", "rented", "streamed")
WHEN = ("last night", "on sunday", "at home", "with friends")


@dataclass(frozen=True)
class Reviews:
    """Texts with the sentiment and the topic of each.

    Attributes
    ----------
    text : list of str
        Lower-case words and full stops, separated by blanks.
    y, genre : arrays of str, shape (n,)
    """

    text: list[str]
    y: NDArray[np.str_]
    genre: NDArray[np.str_]

    def take(self, rows: NDArray[Any]) -> Reviews:
        """Return some of the reviews, by index or mask."""
        chosen = np.arange(len(self.text))[rows]
        return Reviews([self.text[k] for k in chosen], self.y[chosen], self.genre[chosen])


def openings() -> list[str]:
    """Return all opening sentences; `{}` stands for the topic."""
    return [f"{who} {did} a {{}} {when} ." for who, did, when in product(WHO, DID, WHEN)]


def prompts(genre: str, purpose: str) -> list[str]:
    """Return the prompts of a topic: opening sentences, which do not tell the sentiment.

    Parameters
    ----------
    genre : str
    purpose : {"calibrate", "evaluate"}
        32 sentences to set strengths on, 32 others to measure on.
    """
    first = {"calibrate": 0, "evaluate": 1}[purpose]
    numbers = range(len(WHO) * len(DID) * len(WHEN))
    digits = {k: k // 16 + k // 4 % 4 + k % 4 for k in numbers}  # a chequerboard in three ways
    return [s.format(genre) for k, s in enumerate(openings()) if digits[k] % 2 == first]


def write_reviews(n: int, seed: int) -> Reviews:
    """Return n reviews, drawn at random; the two sentiments are equally likely in each topic."""
    rng = np.random.default_rng(seed)
    genre = rng.choice(GENRES, size=n, p=[SHARE[g] for g in GENRES])
    y = rng.choice(CLASSES, size=n)
    first = rng.choice(openings(), size=n)
    text = [
        " ".join([f.format(g), *(_clause(rng, c, g) for _ in range(CLAUSES))])
        for f, c, g in zip(first, y, genre, strict=True)
    ]
    return Reviews(text, y, genre)


def _clause(rng: np.random.Generator, sentiment: str, genre: str) -> str:
    words = [str(rng.choice(PARTS)), str(rng.choice(VERBS))]
    if rng.random() < 0.3:
        words.append(str(rng.choice(ADVERBS)))
    said: tuple[str, ...] = NEUTRAL
    if rng.random() < OUTSPOKEN[genre]:
        if rng.random() < CONTRARY:
            sentiment = PRAISE if sentiment == PAN else PAN
        said = COMMON[sentiment] + WORDS[sentiment, genre]
    return f"the {' '.join(words)} {rng.choice(said)} ."


class Scorer:
    """Probability that a text praises: per topic, logistic regression on the words it has.

    It is fitted to reviews that neither the language model nor any probe has seen, sees words
    only, never a hidden state, and knows nothing of how a text was steered.
    """

    def __init__(self, held_out: Reviews) -> None:
        from sklearn.feature_extraction.text import CountVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline

        self.desired = max(held_out.y.tolist())  # the last of the sorted labels: "praise"
        self._models = {}
        for genre in sorted(set(held_out.genre.tolist())):
            part = held_out.take(held_out.genre == genre)
            model = make_pipeline(CountVectorizer(), LogisticRegression(max_iter=1000))
            self._models[genre] = model.fit(part.text, part.y == self.desired)

    def __call__(self, texts: list[str], genre: str) -> Array:
        """Return P(praise) of each text, shape (n,)."""
        out: Array = self._models[genre].predict_proba(texts)[:, 1]
        return out
