"""Scores as `ScoreSteering` takes them: one per row, in the space where maps act."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, logit

from fairprog.errors import DataError
from fairprog.labels import Array, check_finite

CLIP = float(np.finfo(np.float64).eps)
ROUNDING = 1e-9  # beyond [0, 1]


def check_scores(X: ArrayLike, space: str) -> Array:
    """Return scores of shape (n,), probabilities in space "logit"."""
    array = check_finite(X, "X", rows=True)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        hint = ""
        if array.ndim == 2 and array.shape[1] == 2:
            hint = " Of two columns of probabilities pass the last: predict_proba(...)[:, 1]."
        raise DataError(
            f"`X` must hold one score per row, shape (n,) or (n, 1); its shape is "
            f"{array.shape}.{hint}",
            argument="X",
        )
    if space == "logit":
        out = np.flatnonzero((array < -ROUNDING) | (array > 1 + ROUNDING))
        if out.size:
            raise DataError(
                f"`X` must hold scores in [0, 1]; row {out[0]} is {float(array[out[0]])!r} "
                f"({out.size} such rows). Pass probabilities, or space='identity' for scores "
                "without bounds such as those of decision_function.",
                argument="X",
            )
        array = np.clip(array, 0.0, 1.0)
    return array


def forward(s: Array, space: str) -> Array:
    """Return scores in the space where maps act; 0 and 1 get the logits of eps and 1 - eps."""
    return (
        np.asarray(logit(np.minimum(np.maximum(s, CLIP), 1.0 - CLIP))) if space == "logit" else s
    )


def backward(z: Array, space: str) -> Array:
    """Return moved scores as they were given: probabilities in space "logit"."""
    return np.asarray(expit(z)) if space == "logit" else z


def check_binary(classes: tuple[Hashable, ...]) -> None:
    """Refuse another number of classes than two."""
    if len(classes) == 2:
        return
    if len(classes) == 1:
        raise DataError(
            f"`y` holds the one class {classes[0]!r}; two are needed to give every class its "
            "weight. Pass rows of both classes.",
            argument="y",
        )
    raise DataError(
        "Only binary classification is supported. The type of the target is multiclass: `y` "
        f"holds {len(classes)} classes {list(classes)[:6]}. SteeredClassifier takes more with a "
        "`notion`; else steer the score of each class against the rest by a step of its own, or "
        "features by IdealSteering; or were `y` and `sensitive_features` swapped?",
        argument="y",
    )
