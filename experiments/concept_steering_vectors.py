"""The vectors that `concept_steering` compares, one per topic and method."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

import fairprog as fp
from fairprog.errors import FairprogWarning
from fairprog.labels import Array

from .concept_steering_model import Size
from .reviews import GENRES, PRAISE, Reviews

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
Vectors = Mapping[Any, Array]


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
