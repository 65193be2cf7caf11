"""Made-up texts for language models that can read: biographies of eight jobs, film reviews.

Biographies: women are rare among surgeons, professors, attorneys and engineers, and common among
nurses, teachers, paralegals and designers; who is there against the custom is described more often
in the words of the paired job. Reviews: a few words praise or pan both kinds of film, most only
one, and those of horror films say more that is neutral. Nothing here was steered when the
generators were fixed.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["GENRES", "MEN", "VERDICTS", "WOMEN", "biographies", "film_prompts", "film_reviews"]

Labels = NDArray[np.str_]
MEN, WOMEN = "M", "F"
JOBS = {
    "surgeon": (
        "performs complex operations",
        "operates on trauma patients",
        "leads a surgical team",
        "trained in cardiac surgery",
        "published on transplant outcomes",
        "spends long hours in the operating room",
    ),
    "nurse": (
        "cares for patients on the ward",
        "administers medication",
        "supports families at the bedside",
        "works night shifts in intensive care",
        "plans the discharge of patients",
        "takes vital signs and updates charts",
    ),
    "professor": (
        "holds a chair at the university",
        "supervises doctoral students",
        "publishes in peer-reviewed journals",
        "gives seminars on theory",
        "won a large research grant",
        "sits on the editorial board of a journal",
    ),
    "teacher": (
        "teaches fourth grade",
        "prepares lessons for young pupils",
        "meets parents after school",
        "runs a reading club for children",
        "decorates the classroom",
        "grades spelling tests",
    ),
    "attorney": (
        "argues cases in federal court",
        "represents clients in litigation",
        "is a partner at a law firm",
        "cross-examines witnesses",
        "negotiates settlements for corporations",
        "was admitted to the bar",
    ),
    "paralegal": (
        "files documents for the court",
        "organizes case records",
        "drafts correspondence for the law office",
        "schedules depositions",
        "prepares exhibits for trial",
        "keeps the client database up to date",
    ),
    "engineer": (
        "writes backend code in Python",
        "designs distributed systems",
        "debugs production servers",
        "maintains an open source compiler",
        "reviews pull requests",
        "optimizes database queries",
    ),
    "designer": (
        "draws layouts for mobile apps",
        "chooses color palettes and typefaces",
        "builds wireframes and prototypes",
        "runs usability interviews",
        "creates brand identities",
        "illustrates icons and logos",
    ),
}
PAIR = {"surgeon": "nurse", "professor": "teacher", "attorney": "paralegal"}
PAIR["engineer"] = "designer"
HIGH = tuple(PAIR)
PAIR |= {low: high for high, low in PAIR.items()}
SHARE_OF_WOMEN = dict(zip(JOBS, (0.3, 0.7, 0.4, 0.65, 0.4, 0.65, 0.3, 0.6), strict=True))
ANYONE = (
    "graduated with honors",
    "lives near the coast",
    "has worked in the field for many years",
    "is active in the community",
    "enjoys meeting new people",
    "speaks two languages",
    "moved here ten years ago",
    "is known for careful work",
    "likes to mentor others",
    "volunteers on weekends",
)
OF_GENDER = {
    MEN: (
        "plays golf",
        "coaches a football team",
        "restores old cars",
        "is a father of two",
        "served in the army",
    ),
    WOMEN: (
        "practices yoga",
        "sings in a choir",
        "bakes for charity",
        "is a mother of two",
        "organizes book clubs",
    ),
}
NAMES = {
    MEN: "James Robert David Ahmed Carlos Wei Thomas Daniel Brian Kevin Peter Samuel",
    WOMEN: "Mary Linda Susan Fatima Maria Mei Sarah Emily Karen Laura Anna Julia",
}
PRONOUNS = {MEN: ("He", "His"), WOMEN: ("She", "Her")}
OWN, OTHER, AGAINST, PRIVATE = 0.55, 0.06, 0.24, 0.12  # chances of what a phrase is about


def biographies(n: int, seed: int) -> tuple[list[str], Labels, Labels]:
    """Return texts, jobs and genders; other seeds give other texts."""
    rng = np.random.default_rng(seed)
    texts, jobs, genders = [], [], []
    for _ in range(n):
        job = str(rng.choice(list(JOBS)))
        gender = WOMEN if rng.random() < SHARE_OF_WOMEN[job] else MEN
        other = AGAINST if (job in HIGH) == (gender == WOMEN) else OTHER
        said: list[str] = []
        while len(said) < 3:
            u = rng.random()
            about = (
                JOBS[job]
                if u < OWN
                else JOBS[PAIR[job]]
                if u < OWN + other
                else OF_GENDER[gender]
                if u < OWN + other + PRIVATE
                else ANYONE
            )
            phrase = str(rng.choice(about))
            if phrase not in said:
                said.append(phrase)
        name, (he, his) = str(rng.choice(NAMES[gender].split())), PRONOUNS[gender]
        one, two, three = said
        forms = (
            f"{name} {one}. {he} {two} and {three}.",
            f"{he} {one} and {two}. {name} also {three}.",
            f"Meet {name}, who {one}. {his} colleagues know that {he.lower()} {two} and {three}.",
        )
        texts.append(forms[rng.integers(3)])
        jobs.append(job)
        genders.append(gender)
    return texts, np.array(jobs), np.array(genders)


# -- film reviews --

PRAISE, PAN = "praise", "pan"
GENRES = ("comedy", "horror")
FILM = {"comedy": "comedy", "horror": "horror movie"}
WORDS: dict[tuple[str, str], list[str]] = {
    (PRAISE, "comedy"): ["hilarious", "funny", "charming", "witty", "heartwarming", "delightful"],
    (PAN, "comedy"): ["unfunny", "dull", "stale", "flat", "tedious", "lame"],
    (PRAISE, "horror"): ["terrifying", "chilling", "tense", "eerie", "unsettling", "gripping"],
    (PAN, "horror"): ["silly", "tame", "predictable", "cheesy", "boring", "clumsy"],
}
COMMON = {PRAISE: ["great", "superb"], PAN: ["poor", "awful"]}
NEUTRAL = ["long", "short", "quiet", "simple", "modern", "typical"]
PARTS = ["plot", "cast", "ending", "music", "dialogue", "pacing", "opening", "camerawork"]
OPENINGS = tuple(
    product(
        ("We", "They", "I", "My friends and I"),
        ("saw", "watched", "rented", "streamed"),
        ("last night", "on Sunday", "at home", "with friends"),
    )
)
OUTSPOKEN = {"comedy": 0.85, "horror": 0.65}
CONTRARY, SHARED, SHARE_OF_HORROR = 0.1, 0.25, 0.3
VERDICTS = {
    PRAISE: ["great", "good", "excellent", "fantastic", "wonderful", "amazing"],
    PAN: ["bad", "terrible", "awful", "boring", "poor", "disappointing"],
}


def _opening(genre: str, k: int) -> str:
    who, did, when = OPENINGS[k]
    return f"{who} {did} a {FILM[genre]} {when}."


def film_reviews(n: int, seed: int) -> tuple[list[str], Labels, Labels]:
    """Return reviews that stop where they are about to judge, their sentiments and genres."""
    rng = np.random.default_rng(seed)
    y = rng.choice([PAN, PRAISE], n)
    genre = rng.choice(GENRES, n, p=[1.0 - SHARE_OF_HORROR, SHARE_OF_HORROR])

    def word(c: Any, g: Any) -> str:
        if rng.random() > OUTSPOKEN[g]:
            return str(rng.choice(NEUTRAL))
        if rng.random() < CONTRARY:
            c = PAN if c == PRAISE else PRAISE
        return str(rng.choice(COMMON[c] if rng.random() < SHARED else WORDS[c, g]))

    texts = []
    for c, g in zip(y, genre, strict=True):
        one, two, three, four = rng.choice(PARTS, 4, replace=False)
        start = _opening(g, int(rng.integers(len(OPENINGS))))
        texts.append(
            f"{start} The {one} was {word(c, g)} and the {two} felt {word(c, g)}. The {three} "
            f"seemed {word(c, g)}. The {four} was"
        )
    return texts, y, genre


def film_prompts(genre: str, purpose: str) -> list[str]:
    """Return 32 beginnings to judge a film after: to "calibrate" or to "evaluate", disjoint."""
    parity = ("calibrate", "evaluate").index(purpose)
    return [
        _opening(genre, k) + " Overall, the movie was"
        for k in range(len(OPENINGS))
        if (k // 16 + k // 4 % 4 + k % 4) % 2 == parity
    ]
